/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_PERSIST_H_
#define OSC_DAXPIN_PERSIST_H_

/* Making data durable */

#include "osc_daxpin.h"

/* Make what this rank wrote to a target durable */
int osc_daxpin_peer_persist(osc_daxpin_module_t *module, int target);

/* Return whether a flush has to make any of it durable. Caller holds the lock of
 * the peers. */
int osc_daxpin_peer_is_dirty(osc_daxpin_module_t *module, int target);

/* Have the next flush make a range of a target's memory durable */
void osc_daxpin_dirty_add(osc_daxpin_module_t *module, osc_daxpin_mem_t *mem,
                          uint64_t start, uint64_t end);

/* Make all that this rank exposes durable, but for files of which the program
 * knows that they are revoked */
int osc_daxpin_own_persist(osc_daxpin_module_t *module);

/* Make a range of this rank's segment durable */
int osc_daxpin_segment_persist(osc_daxpin_module_t *module, uint64_t start,
                               size_t length);

#endif
