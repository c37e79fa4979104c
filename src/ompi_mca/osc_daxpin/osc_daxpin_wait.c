/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Epochs of a window on several nodes, and waiting for ranks that may wait for
 * this rank to reply to their active messages. While osc/ucx waits for a lock,
 * only its own worker makes progress, and messages are not received. So these
 * functions wait first, with all progress; the call of osc/ucx then returns
 * without waiting.
 *
 * Posts and completions are messages, and a fence is a barrier, because osc/ucx
 * would wait for ever for a rank that has ended. What was moved is at its target
 * before: see osc_daxpin_sync.c.
 */

#include "osc_daxpin_wait.h"

#include "osc_daxpin_error.h"

#include <stddef.h>
#include <stdlib.h>

#define OSC_DAXPIN_POST_TAG 0

/* After those of active messages */
#define OSC_DAXPIN_COMPLETE_TAG 30000

int osc_daxpin_access_change(osc_daxpin_module_t *module,
                             osc_daxpin_epoch_t from,
                             osc_daxpin_epoch_t or_from,
                             osc_daxpin_epoch_t to)
{
    osc_daxpin_local_t *local = &module->local;
    int ret                   = OMPI_ERR_RMA_SYNC;

    OPAL_THREAD_LOCK(&local->mutex);
    if ((local->access == from) || (local->access == or_from)) {
        local->access = to;
        ret           = OMPI_SUCCESS;
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
    return ret;
}

int osc_daxpin_access_fence(osc_daxpin_module_t *module, int hints)
{
    return osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                    OSC_DAXPIN_EPOCH_FENCE,
                                    (hints & MPI_MODE_NOSUCCEED) ?
                                            OSC_DAXPIN_EPOCH_NONE :
                                            OSC_DAXPIN_EPOCH_FENCE);
}

int osc_daxpin_access_lock(osc_daxpin_module_t *module, int target,
                           int *has_locks_p)
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

void osc_daxpin_access_unlock(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_local_t *local = &module->local;

    OPAL_THREAD_LOCK(&local->mutex);
    module->peers[target].locked = 0;
    if (--local->num_locks == 0) {
        local->access = OSC_DAXPIN_EPOCH_NONE;
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
}

/*
 * Locks. Without active messages only the inner component waits.
 */

static int osc_daxpin_epochs_add(osc_daxpin_module_t *module, int target,
                                 uint64_t value, uint64_t *before_p)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    int ret;

    if (module->peers[target].gone) {
        return osc_daxpin_error_gone(module, target);
    }
    osc_daxpin_inside_begin(module, target);
    ret = shadow->module->osc_fetch_and_op(
            &value, before_p, MPI_UINT64_T, target,
            offsetof(osc_daxpin_slot_t, epochs) / sizeof(value), MPI_SUM,
            shadow->win);
    if (ret == OMPI_SUCCESS) {
        ret = shadow->module->osc_flush(target, shadow->win);
    }
    return osc_daxpin_inside_end(module, target, ret);
}

static int osc_daxpin_epochs_try(osc_daxpin_module_t *module, int target,
                                 uint64_t share, int *done_p)
{
    const uint64_t most = (share == 1) ? OSC_DAXPIN_EXCLUSIVE - 1 : 0;
    uint64_t before;
    int ret;

    ret = osc_daxpin_epochs_add(module, target, share, &before);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    *done_p = before <= most;
    return *done_p ? OMPI_SUCCESS :
                     osc_daxpin_epochs_add(module, target, -share, &before);
}

static int osc_daxpin_wait_lock(osc_daxpin_module_t *module, int type,
                                int target, int hints)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    uint64_t share = (type == MPI_LOCK_EXCLUSIVE) ? OSC_DAXPIN_EXCLUSIVE : 1;
    int done       = 0;
    int ret        = OMPI_SUCCESS;
    osc_daxpin_bound_t bound;

    if (!module->has_am || (hints & MPI_MODE_NOCHECK)) {
        return OMPI_SUCCESS;
    }
    /* Any rank may have the lock */
    osc_daxpin_bound_begin(module, OSC_DAXPIN_ANY_RANK, &bound);
    while (!done && (ret == OMPI_SUCCESS)) {
        ret = osc_daxpin_epochs_try(module, target, share, &done);
        opal_progress();
        if ((ret == OMPI_SUCCESS) && !done) {
            ret = osc_daxpin_bound_check(&bound);
        }
    }
    peer->share = done ? share : 0;
    return ret;
}

static int osc_daxpin_wait_unlock(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    uint64_t share          = peer->share;
    uint64_t before;

    peer->share = 0;
    return (share == 0) ? OMPI_SUCCESS :
                          osc_daxpin_epochs_add(module, target, -share,
                                                &before);
}

static int osc_daxpin_wait_lock_all(osc_daxpin_module_t *module, int hints)
{
    int ret = OMPI_SUCCESS;
    int i;

    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_wait_lock(module, MPI_LOCK_SHARED, i, hints);
    }
    return ret;
}

static int osc_daxpin_wait_unlock_all(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    int i;

    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_wait_unlock(module, i);
    }
    return ret;
}

int osc_daxpin_group_ranks(osc_daxpin_module_t *module, ompi_group_t *group,
                           int **ranks_p, int *count_p)
{
    int count  = ompi_group_size(group);
    int *from  = malloc((count + 1) * sizeof(*from));
    int *ranks = malloc((count + 1) * sizeof(*ranks));
    int ret    = OMPI_ERR_OUT_OF_RESOURCE;
    ompi_group_t *all;
    int i;

    if ((from == NULL) || (ranks == NULL)) {
        goto err;
    }
    for (i = 0; i < count; ++i) {
        from[i] = i;
    }
    ret = ompi_comm_group(module->comm, &all);
    if (ret != OMPI_SUCCESS) {
        goto err;
    }
    ret = ompi_group_translate_ranks(group, count, from, all, ranks);
    ompi_group_free(&all);
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        ret = (ranks[i] >= 0) ? OMPI_SUCCESS : MPI_ERR_GROUP;
    }
    if (ret != OMPI_SUCCESS) {
        goto err;
    }
    free(from);
    *ranks_p = ranks;
    *count_p = count;
    return OMPI_SUCCESS;

err:
    free(ranks);
    free(from);
    return ret;
}

/*
 * Posts and completions
 */

static int osc_daxpin_notify(osc_daxpin_module_t *module, int rank, int tag)
{
    MPI_Request request;
    int ret;

    ret = PMPI_Isend(NULL, 0, MPI_BYTE, rank, tag, module->comm, &request);
    return (ret != MPI_SUCCESS) ?
                   osc_daxpin_error_gone(module, rank) :
                   osc_daxpin_bound_finish(module, rank, &request);
}

int osc_daxpin_test_check(osc_daxpin_module_t *module, int missing)
{
    osc_daxpin_bound_t *tested = &module->local.tested;

    if (tested->rank != missing) {
        osc_daxpin_bound_begin(module, missing, tested);
        return OMPI_SUCCESS;
    }
    return osc_daxpin_bound_check(tested);
}

/* Wait for posts. A post by this rank itself may come later. */
static int osc_daxpin_wait_posts(osc_daxpin_module_t *module, const int *ranks,
                                 int count)
{
    int ret = OMPI_SUCCESS;
    MPI_Request request;
    int i;

    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        if (ranks[i] == module->rank) {
            continue;
        }
        ret = PMPI_Irecv(NULL, 0, MPI_BYTE, ranks[i], OSC_DAXPIN_POST_TAG,
                         module->comm, &request);
        if (ret == MPI_SUCCESS) {
            ret = osc_daxpin_bound_finish(module, ranks[i], &request);
        }
    }
    return ret;
}

/* Expose this rank to others: receive their completions, and post to them */
static int osc_daxpin_expose(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local = &module->local;
    int ret                   = OMPI_SUCCESS;
    int i;

    for (i = 0; (i < local->num_ranks) && (ret == MPI_SUCCESS); ++i) {
        ret = PMPI_Irecv(NULL, 0, MPI_BYTE, local->ranks[i],
                         OSC_DAXPIN_COMPLETE_TAG, module->comm,
                         &local->requests[i]);
    }
    for (i = 0; (i < local->num_ranks) && (ret == MPI_SUCCESS); ++i) {
        if (local->ranks[i] != module->rank) {
            ret = osc_daxpin_notify(module, local->ranks[i],
                                    OSC_DAXPIN_POST_TAG);
        }
    }
    return ret;
}

/* End the exposure, also one that failed */
static void osc_daxpin_unexpose(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local = &module->local;
    int i;

    for (i = 0; i < local->num_ranks; ++i) {
        if (local->requests[i] != MPI_REQUEST_NULL) {
            (void)PMPI_Cancel(&local->requests[i]);
            (void)PMPI_Request_free(&local->requests[i]);
        }
    }
    free(local->requests);
    free(local->ranks);
    local->requests   = NULL;
    local->ranks      = NULL;
    local->num_ranks  = 0;
    local->is_exposed = 0;
}

/*
 * The calls
 */

/* The inner component need not check for conflicts of locks if these functions
 * have waited for their end */
static int osc_daxpin_inner_hints(const osc_daxpin_module_t *module, int hints)
{
    return module->has_am ? hints | MPI_MODE_NOCHECK : hints;
}

static int osc_daxpin_inner_fence(osc_daxpin_module_t *module, int hints)
{
    int ret;

    ret = osc_daxpin_access_fence(module, hints);
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_bound_barrier(module);
}

static int osc_daxpin_inner_start(osc_daxpin_module_t *module,
                                  ompi_group_t *group, const int *ranks,
                                  int count, int hints)
{
    int ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                   OSC_DAXPIN_EPOCH_FENCE,
                                   OSC_DAXPIN_EPOCH_START);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_wait_posts(module, ranks, count);
    if (ret != OMPI_SUCCESS) {
        module->local.access = OSC_DAXPIN_EPOCH_NONE;
    }
    return ret;
}

static int osc_daxpin_inner_complete(osc_daxpin_module_t *module,
                                     const int *ranks, int count)
{
    int error, i, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_NONE);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    for (i = 0; i < count; ++i) {
        error = osc_daxpin_notify(module, ranks[i], OSC_DAXPIN_COMPLETE_TAG);
        ret   = (ret != OMPI_SUCCESS) ? ret : error;
    }
    return ret;
}

static int osc_daxpin_inner_post(osc_daxpin_module_t *module,
                                 ompi_group_t *group, int hints)
{
    osc_daxpin_local_t *local = &module->local;
    int i, ret;

    if (local->is_exposed) {
        return OMPI_ERR_RMA_SYNC;
    }
    ret = osc_daxpin_group_ranks(module, group, &local->ranks,
                                 &local->num_ranks);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    local->requests = malloc((local->num_ranks + 1) * sizeof(*local->requests));
    if (local->requests == NULL) {
        local->num_ranks = 0;
        osc_daxpin_unexpose(module);
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    for (i = 0; i < local->num_ranks; ++i) {
        local->requests[i] = MPI_REQUEST_NULL;
    }
    local->tested.rank = OSC_DAXPIN_ANY_RANK;
    local->is_exposed  = 1;
    ret                = osc_daxpin_expose(module);
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_unexpose(module);
    }
    return ret;
}

static int osc_daxpin_inner_wait(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local = &module->local;
    int ret                   = OMPI_SUCCESS;
    int i;

    if (!local->is_exposed) {
        return OMPI_ERR_RMA_SYNC;
    }
    for (i = 0; (i < local->num_ranks) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_bound_finish(module, local->ranks[i],
                                      &local->requests[i]);
    }
    osc_daxpin_unexpose(module);
    return ret;
}

/* Test for completions, up to the first that is missing */
static int osc_daxpin_inner_test(osc_daxpin_module_t *module, int *flag_p)
{
    osc_daxpin_local_t *local = &module->local;
    int flag                  = 1;
    int ret                   = MPI_SUCCESS;
    int i;

    if (!local->is_exposed) {
        return OMPI_ERR_RMA_SYNC;
    }
    for (i = 0; (i < local->num_ranks) && flag && (ret == MPI_SUCCESS); ++i) {
        ret = PMPI_Test(&local->requests[i], &flag, MPI_STATUS_IGNORE);
    }
    if (ret != MPI_SUCCESS) {
        ret = osc_daxpin_error_gone(module, local->ranks[i - 1]);
    } else if (!flag) {
        ret = osc_daxpin_test_check(module, local->ranks[i - 1]);
    }
    *flag_p = flag && (ret == MPI_SUCCESS);
    if ((ret != MPI_SUCCESS) || flag) {
        osc_daxpin_unexpose(module);
    }
    return ret;
}

static int osc_daxpin_inner_lock(osc_daxpin_module_t *module, int type,
                                 int target, int hints)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int has_locks, ret;

    ret = osc_daxpin_access_lock(module, target, &has_locks);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_wait_lock(module, type, target, hints);
    if (ret == OMPI_SUCCESS) {
        osc_daxpin_inside_begin(module, OSC_DAXPIN_ANY_RANK);
        ret = sync->module->osc_lock(type, target,
                                     osc_daxpin_inner_hints(module, hints),
                                     sync->win);
        ret = osc_daxpin_inside_end(module, target, ret);
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_access_unlock(module, target);
    }
    return ret;
}

static int osc_daxpin_inner_unlock(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int ret;

    if (!module->peers[target].locked) {
        return OMPI_ERR_RMA_SYNC;
    }
    osc_daxpin_inside_begin(module, target);
    ret = sync->module->osc_unlock(target, sync->win);
    ret = osc_daxpin_inside_end(module, target, ret);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_wait_unlock(module, target);
    }
    osc_daxpin_access_unlock(module, target);
    return ret;
}

static int osc_daxpin_inner_lock_all(osc_daxpin_module_t *module, int hints)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                   OSC_DAXPIN_EPOCH_FENCE,
                                   OSC_DAXPIN_EPOCH_LOCK_ALL);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_wait_lock_all(module, hints);
    if (ret == OMPI_SUCCESS) {
        osc_daxpin_inside_begin(module, OSC_DAXPIN_ANY_RANK);
        ret = sync->module->osc_lock_all(osc_daxpin_inner_hints(module, hints),
                                         sync->win);
        ret = osc_daxpin_inside_end(module, OSC_DAXPIN_ANY_RANK, ret);
    }
    if (ret != OMPI_SUCCESS) {
        module->local.access = OSC_DAXPIN_EPOCH_NONE;
    }
    return ret;
}

static int osc_daxpin_inner_unlock_all(osc_daxpin_module_t *module)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_LOCK_ALL,
                                   OSC_DAXPIN_EPOCH_LOCK_ALL,
                                   OSC_DAXPIN_EPOCH_NONE);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    osc_daxpin_inside_begin(module, OSC_DAXPIN_ANY_RANK);
    ret = sync->module->osc_unlock_all(sync->win);
    ret = osc_daxpin_inside_end(module, OSC_DAXPIN_ANY_RANK, ret);
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_wait_unlock_all(module);
}

const osc_daxpin_epochs_t osc_daxpin_epochs_inner = {
    .fence      = osc_daxpin_inner_fence,
    .start      = osc_daxpin_inner_start,
    .complete   = osc_daxpin_inner_complete,
    .post       = osc_daxpin_inner_post,
    .wait       = osc_daxpin_inner_wait,
    .test       = osc_daxpin_inner_test,
    .lock       = osc_daxpin_inner_lock,
    .unlock     = osc_daxpin_inner_unlock,
    .lock_all   = osc_daxpin_inner_lock_all,
    .unlock_all = osc_daxpin_inner_unlock_all
};
