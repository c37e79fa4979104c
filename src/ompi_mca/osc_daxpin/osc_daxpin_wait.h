/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_WAIT_H_
#define OSC_DAXPIN_WAIT_H_

/* Waiting for ranks that may wait for this rank */

#include "osc_daxpin.h"

/* All of these but osc_daxpin_wait_completions() do nothing in a window
 * without active messages */
int osc_daxpin_wait_lock(osc_daxpin_module_t *module, int type, int target,
                         int hints);
int osc_daxpin_wait_unlock(osc_daxpin_module_t *module, int target);
int osc_daxpin_wait_lock_all(osc_daxpin_module_t *module, int hints);
int osc_daxpin_wait_unlock_all(osc_daxpin_module_t *module);

/* MPI_Win_post() notifies ranks that may wait in MPI_Win_start() */
int osc_daxpin_wait_notify(osc_daxpin_module_t *module, ompi_group_t *group);
int osc_daxpin_wait_posts(osc_daxpin_module_t *module, const int *ranks,
                          int count);

/* MPI_Win_wait() */
int osc_daxpin_wait_completions(osc_daxpin_module_t *module);

/* Return the ranks of a group in the window, to be freed */
int osc_daxpin_group_ranks(osc_daxpin_module_t *module, ompi_group_t *group,
                           int **ranks_p, int *count_p);

/* Add that the inner component need not check for conflicts: these functions
 * have waited for their end */
static inline int osc_daxpin_wait_hints(const osc_daxpin_module_t *module,
                                        int hints)
{
    return module->has_am ? hints | MPI_MODE_NOCHECK : hints;
}

/* An access by this process's own CPU lets Open MPI make no progress, but other
 * ranks may wait for some, for example for a lock that the inner component
 * grants here. Progress costs more than an operation, so it is made once in so
 * many small operations, or in fewer that are as much work. */
#define OSC_DAXPIN_POLL_WORK  512
#define OSC_DAXPIN_POLL_SHIFT 12

static inline void osc_daxpin_poll(osc_daxpin_module_t *module, size_t length)
{
    module->work += 1 + (length >> OSC_DAXPIN_POLL_SHIFT);
    if (OPAL_UNLIKELY(module->work >= OSC_DAXPIN_POLL_WORK)) {
        module->work = 0;
        opal_progress();
    }
}

#endif
