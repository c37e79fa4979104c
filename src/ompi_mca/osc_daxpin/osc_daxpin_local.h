/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_LOCAL_H_
#define OSC_DAXPIN_LOCAL_H_

/* Epochs of a window whose ranks are all on one node */

#include "osc_daxpin.h"

extern const osc_daxpin_epochs_t osc_daxpin_epochs_local;

/* Return the bytes of so many whole cache lines */
static inline size_t osc_daxpin_lines(size_t size)
{
    return (size + DAXPIN_CACHELINE - 1) / DAXPIN_CACHELINE * DAXPIN_CACHELINE;
}

/* Return the bytes that ranks share for each of them, with a word of each other
 * one in each part: posts, completions, waiters. */
static inline size_t osc_daxpin_pairs_stride(size_t count)
{
    return 2 * osc_daxpin_lines(count * sizeof(uint32_t)) +
           osc_daxpin_lines(count * sizeof(uint64_t));
}

int  osc_daxpin_local_init(osc_daxpin_module_t *module);
void osc_daxpin_local_cleanup(osc_daxpin_module_t *module);

#endif
