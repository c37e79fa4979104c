/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the component has once in a process, for all memory domains */

#ifndef UCT_DAXPIN_PROCESS_H_
#define UCT_DAXPIN_PROCESS_H_

#include "abi/adapt.h"
#include "daxpin/daxpin.h"

/* Connect libdaxpin with UCX: messages go to UCX's log, and UCX's memory events
 * to libdaxpin's cache. Call put once for every get. */
void uct_daxpin_process_get(void);
void uct_daxpin_process_put(void);

/* Have messages go to UCX's log also while no memory domain is open, or not */
void uct_daxpin_process_log(int on);

/* Note that a memory domain of daxpin was opened with these parameters, or that
 * one was closed */
void uct_daxpin_process_add_md(const daxpin_params_t *params);
void uct_daxpin_process_remove_md(void);

/* Return the parameters of the memory domain that was opened last, for
 * daxpin_file_adopt(). Return 0 if no memory domain is open. */
int uct_daxpin_process_params(daxpin_params_t *params);

/* Return the status for a negative errno value of libdaxpin */
ucs_status_t uct_daxpin_status(int ret);

/* Return whether a file is revoked, or about to be: its memory shows something
 * else then */
static inline int uct_daxpin_is_over(const daxpin_file_t *file)
{
    const daxpin_state_t state = daxpin_file_state(file);

    return (state == DAXPIN_STATE_BREAKING) || (state == DAXPIN_STATE_REVOKED);
}

#endif
