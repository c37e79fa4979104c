/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_WAIT_H_
#define OSC_DAXPIN_WAIT_H_

/* Epochs by the inner component, without waiting for ranks that may wait for
 * this rank */

#include "osc_daxpin.h"

extern const osc_daxpin_epochs_t osc_daxpin_epochs_inner;

/* What a lock adds to a word of its target; a shared lock adds 1 */
#define OSC_DAXPIN_EXCLUSIVE (1ull << 32)

/* Return the ranks of a group in the window, to be freed. MPI_ERR_GROUP if one
 * is not in the window. */
int osc_daxpin_group_ranks(osc_daxpin_module_t *module, ompi_group_t *group,
                           int **ranks_p, int *count_p);

/* How long to wait for another rank, in seconds in which this process runs. If
 * the time between two checks is longer than a step, then this process was
 * stopped, maybe with the whole job, as by `scontrol suspend`, and the other rank
 * had no time either. */
#define OSC_DAXPIN_PATIENCE_STEP_SEC 0.1

typedef struct osc_daxpin_patience {
    double left;
    double last; /* check */
} osc_daxpin_patience_t;

static inline void osc_daxpin_patience_begin(osc_daxpin_patience_t *patience,
                                             double seconds)
{
    patience->left = seconds;
    patience->last = PMPI_Wtime();
}

/* Check whether the time is over; to be called again and again meanwhile */
static inline int osc_daxpin_patience_ends(osc_daxpin_patience_t *patience)
{
    const double now  = PMPI_Wtime();
    const double step = now - patience->last;

    patience->last  = now;
    patience->left -= (step < OSC_DAXPIN_PATIENCE_STEP_SEC) ?
                              step : OSC_DAXPIN_PATIENCE_STEP_SEC;
    return patience->left < 0;
}

/* An access by this process's own CPU lets Open MPI make no progress, but other
 * ranks may wait for some, for example for a lock that the inner component
 * grants here. Progress costs more than an operation, so it is made once in so
 * many small operations, or in fewer that are as much work. */
#define OSC_DAXPIN_POLL_WORK  2048
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
