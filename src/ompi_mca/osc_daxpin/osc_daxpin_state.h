/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_STATE_H_
#define OSC_DAXPIN_STATE_H_

/* The state of a target's file, and the error if it is revoked */

#include "osc_daxpin.h"

/* Return 0, or the error if a target's file is revoked. Waits for a target on
 * another node. */
int osc_daxpin_peer_check(osc_daxpin_module_t *module, int target);

/* The same for this rank's own files */
int osc_daxpin_own_check(osc_daxpin_module_t *module);

/* Report why a target's file is revoked; empty if it is not */
int osc_daxpin_peer_cause(osc_daxpin_module_t *module, int target,
                          char *buffer, size_t size);

/* Find out the cause, make the text of the error and return its code */
int osc_daxpin_peer_revoked(osc_daxpin_module_t *module, int target);

/* Return whether a file is mapped and its lease held: nothing else has to be
 * checked then */
static inline int osc_daxpin_peer_is_held(const osc_daxpin_peer_t *peer)
{
    const daxpin_access_t *access = &peer->mem.access;

    return OPAL_LIKELY((access->file != NULL) &&
                       (atomic_load_explicit(access->state,
                                             memory_order_acquire) ==
                        DAXPIN_STATE_HELD));
}

#endif
