/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_BOUND_H_
#define OSC_DAXPIN_BOUND_H_

/* Bounds of waits for other ranks */

#include "osc_daxpin.h"

/* How long to wait for another rank, in seconds in which this process runs. If
 * the time between two checks is longer than a step, then this process was
 * stopped, maybe with the whole job, as by `scontrol suspend`, and the other rank
 * had no time either. */
#define OSC_DAXPIN_PATIENCE_STEP_SEC 0.1

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

void osc_daxpin_bound_begin(osc_daxpin_module_t *module, int rank,
                            osc_daxpin_bound_t *bound);

/* Return the error if the wait has to end, because the rank has ended, or does
 * not answer for too long; to be called again and again */
int osc_daxpin_bound_check(osc_daxpin_bound_t *bound);

/* A message that is sent or received */
typedef struct osc_daxpin_transfer {
    MPI_Request request;
    int         is_send;
} osc_daxpin_transfer_t;

/* End the request of a message that will not be complete, if there is one. A
 * message that is sent cannot be cancelled, nor one that is about to be received:
 * its buffer stays in use. */
void osc_daxpin_bound_give_up(MPI_Request *request, int is_send);

/* Complete a request of a message from or to a rank, with all progress. After
 * an error there is no request any more. */
int osc_daxpin_bound_finish(osc_daxpin_module_t *module, int rank,
                            MPI_Request *request, int is_send);

/* Likewise of several messages. ret: an error after which they are all given
 * up. */
int osc_daxpin_bound_finish_all(osc_daxpin_module_t *module, int rank,
                                osc_daxpin_transfer_t *transfers, int count,
                                int ret);

/* Wait for all ranks of a window */
int osc_daxpin_bound_barrier(osc_daxpin_module_t *module);

/*
 * Calls of the inner component, which may wait without returning. While one
 * does, Open MPI makes progress, and with it the wait is checked. These two
 * functions are called before and after it, with its target, or with
 * OSC_DAXPIN_ANY_RANK.
 */
void osc_daxpin_inside_begin(osc_daxpin_module_t *module, int target);

/* Return the result of the call, or the error that names its target */
int osc_daxpin_inside_end(osc_daxpin_module_t *module, int target, int ret);

/* For a window on several nodes */
int  osc_daxpin_inside_open(osc_daxpin_module_t *module);
void osc_daxpin_inside_close(osc_daxpin_module_t *module);

/* Close it for windows that could not be freed, because a rank has ended */
void osc_daxpin_inside_finalize(void);

#endif
