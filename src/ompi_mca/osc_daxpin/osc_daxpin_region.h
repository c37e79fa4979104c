/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_REGION_H_
#define OSC_DAXPIN_REGION_H_

/* Targets of this node in a dynamic window */

#include "osc_daxpin.h"

extern const osc_daxpin_way_t osc_daxpin_way_region;

/* Find the memory of a target that a range is in. Return MPI_ERR_RMA_RANGE if
 * it is not attached, and another error if it is in a file that cannot be shared
 * now. */
int osc_daxpin_region_find(osc_daxpin_module_t *module, int target,
                           uint64_t start, uint64_t length,
                           osc_daxpin_mem_t **mem_p);

/* Try to copy a word of another process, and back. Return whether both are
 * allowed, and the word is what it should be. */
int osc_daxpin_region_probe(int pid, uint64_t addr, uint64_t is);

void osc_daxpin_regions_close(osc_daxpin_module_t *module);

#endif
