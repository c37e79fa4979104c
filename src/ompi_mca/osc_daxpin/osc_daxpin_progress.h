/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_PROGRESS_H_
#define OSC_DAXPIN_PROGRESS_H_

/* The thread that makes this rank's segments durable for other nodes */

#include "osc_daxpin.h"

/* Make and free the records, over which the shadow window is */
int  osc_daxpin_progress_alloc(osc_daxpin_module_t *module);
void osc_daxpin_progress_free(osc_daxpin_module_t *module);

/* Have the thread serve a window, and not any more. It runs from the first
 * window to the last. */
int  osc_daxpin_progress_start(osc_daxpin_module_t *module);
void osc_daxpin_progress_stop(osc_daxpin_module_t *module);

/* Request a target to make a range of its segment durable, and wait. *error_p:
 * errno of the target, or 0. One thread at a time: there is one record for each
 * rank. */
int osc_daxpin_progress_request(osc_daxpin_module_t *module, int target,
                                uint64_t start, uint64_t length, int *error_p);

#endif
