/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_AM_H_
#define OSC_DAXPIN_AM_H_

/* Active messages: dynamic windows between nodes, and on one node between
 * processes that may not access each other's memory */

#include "osc_daxpin.h"

#include <sys/uio.h>

extern const osc_daxpin_way_t osc_daxpin_way_am;

/* Serve other ranks, whenever this one makes progress */
void osc_daxpin_am_open(osc_daxpin_module_t *module);

/* Copy by a message, in a window that is open for active messages. As
 * osc_daxpin_pack_copy_t. */
int osc_daxpin_am_copy(osc_daxpin_module_t *module, int target,
                       const struct iovec *local, const struct iovec *remote,
                       unsigned count, int is_put);

#endif
