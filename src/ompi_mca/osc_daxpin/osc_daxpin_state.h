/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_STATE_H_
#define OSC_DAXPIN_STATE_H_

/* The state of a target's file, and the error if it is revoked */

#include "osc_daxpin.h"

/* Return 0, or the error if a target's file is revoked. Waits for a target on
 * another node. */
int osc_daxpin_peer_check(osc_daxpin_module_t *module, int target);

/* Report why a target's file is revoked; empty if it is not */
int osc_daxpin_peer_cause(osc_daxpin_module_t *module, int target,
                          char *buffer, size_t size);

/* Find out the cause, make the text of the error and return its code */
int osc_daxpin_peer_revoked(osc_daxpin_module_t *module, int target);

/* The same for one file of the target that this process shares */
int osc_daxpin_file_revoked(osc_daxpin_module_t *module, int target,
                            daxpin_file_t *file);

/* Check the memory of a target if this rank may have stored into it with its
 * own CPU, which no operation reports: its own memory, or any of a shared
 * window. Return the error of a revoked file, once for each file. */
int osc_daxpin_stores_check(osc_daxpin_module_t *module, int target);
int osc_daxpin_stores_check_all(osc_daxpin_module_t *module);

/* The same for memory that is about to be detached */
int osc_daxpin_attached_check(osc_daxpin_module_t *module, const void *base);

/* Return whether a file is mapped and its lease was held up to now: nothing else
 * has to be checked then */
static inline int osc_daxpin_peer_is_held(osc_daxpin_peer_t *peer)
{
    daxpin_access_t *access = &peer->mem.access;

    return OPAL_LIKELY((access->file != NULL) && daxpin_access_is_sure(access));
}

#endif
