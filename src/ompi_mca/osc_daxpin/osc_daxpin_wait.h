/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_WAIT_H_
#define OSC_DAXPIN_WAIT_H_

/* Epochs by the inner component, without waiting for ranks that may wait for
 * this rank */

#include "osc_daxpin_bound.h"

extern const osc_daxpin_epochs_t osc_daxpin_epochs_inner;

/* What a lock adds to a word of its target; a shared lock adds 1 */
#define OSC_DAXPIN_EXCLUSIVE (1ull << 32)

/* Begin an access epoch, which one of two others may precede */
int osc_daxpin_access_change(osc_daxpin_module_t *module,
                             osc_daxpin_epoch_t from,
                             osc_daxpin_epoch_t or_from,
                             osc_daxpin_epoch_t to);

/* Return the error if tests for the end of an exposure have to end, because a
 * rank that has not completed its access has ended, or does not answer. */
int osc_daxpin_test_check(osc_daxpin_module_t *module, int missing);

/* Begin or end the epochs of a fence. OMPI_ERR_RMA_SYNC if the epoch cannot begin
 * now. */
int osc_daxpin_access_fence(osc_daxpin_module_t *module, int hints);

/* Begin or end the epoch of a lock, likewise. *has_locks_p: whether this rank has
 * other ones. */
static inline int osc_daxpin_access_lock(osc_daxpin_module_t *module,
                                         int target, int *has_locks_p)
{
    osc_daxpin_local_t *local = &module->local;
    osc_daxpin_peer_t *peer   = &module->peers[target];
    int ret                   = OMPI_ERR_RMA_SYNC;

    OPAL_THREAD_LOCK(&local->mutex);
    if (!peer->locked && (local->access != OSC_DAXPIN_EPOCH_START) &&
        (local->access != OSC_DAXPIN_EPOCH_LOCK_ALL)) {
        local->access = OSC_DAXPIN_EPOCH_LOCK;
        peer->locked  = 1;
        *has_locks_p  = local->num_locks++ > 0;
        ret           = OMPI_SUCCESS;
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
    return ret;
}

static inline void osc_daxpin_access_unlock(osc_daxpin_module_t *module,
                                            int target)
{
    osc_daxpin_local_t *local = &module->local;

    OPAL_THREAD_LOCK(&local->mutex);
    module->peers[target].locked = 0;
    if (--local->num_locks == 0) {
        local->access = OSC_DAXPIN_EPOCH_NONE;
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
}

/* Return the ranks of a group in the window. MPI_ERR_GROUP if one is not in the
 * window. last_p: those of the last call, which the module keeps. Caller holds
 * the mutex of local, as below. */
int osc_daxpin_ranks_get(osc_daxpin_module_t *module, ompi_group_t *group,
                         osc_daxpin_ranks_t **last_p,
                         osc_daxpin_ranks_t **ranks_p);

/* Give the ranks back, and forget them */
void osc_daxpin_ranks_put(osc_daxpin_ranks_t **ranks_p);

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
