/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_MAPPED_H_
#define OSC_DAXPIN_MAPPED_H_

/* Targets whose segment is mapped in this process */

#include "osc_daxpin.h"

extern const osc_daxpin_way_t osc_daxpin_way_mapped;

/* Return whether memory of a target can be accessed */
int osc_daxpin_mem_is_good(const osc_daxpin_mem_t *mem);

/* As the operation of osc_daxpin_way_t */
int osc_daxpin_mem_persist(osc_daxpin_module_t *module, int target,
                           const osc_daxpin_mem_t *mem, uint64_t start,
                           uint64_t length);

/* Return at once, because a move is complete when it returns */
int osc_daxpin_mem_complete(osc_daxpin_module_t *module, int target);

#endif
