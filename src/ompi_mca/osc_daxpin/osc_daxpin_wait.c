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

/* Return the first error */
static int osc_daxpin_wait_unlock_all(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    int error, i;

    for (i = 0; i < module->size; ++i) {
        error = osc_daxpin_wait_unlock(module, i);
        ret   = (ret != OMPI_SUCCESS) ? ret : error;
    }
    return ret;
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

static int osc_daxpin_ranks_translate(osc_daxpin_module_t *module,
                                      ompi_group_t *group, int *ranks)
{
    int count = ompi_group_size(group);
    int *from = malloc((count + 1) * sizeof(*from));
    ompi_group_t *all;
    int i, ret;

    if (from == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    for (i = 0; i < count; ++i) {
        from[i] = i;
    }
    ret = ompi_comm_group(module->comm, &all);
    if (ret == OMPI_SUCCESS) {
        ret = ompi_group_translate_ranks(group, count, from, all, ranks);
        ompi_group_free(&all);
    }
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        ret = (ranks[i] >= 0) ? OMPI_SUCCESS : MPI_ERR_GROUP;
    }
    free(from);
    return ret;
}

static int osc_daxpin_ranks_new(osc_daxpin_module_t *module,
                                ompi_group_t *group,
                                osc_daxpin_ranks_t **ranks_p)
{
    int count = ompi_group_size(group);
    osc_daxpin_ranks_t *ranks;
    int ret;

    ranks = malloc(sizeof(*ranks) + (count + 1) * sizeof(*ranks->ranks));
    if (ranks == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = osc_daxpin_ranks_translate(module, group, ranks->ranks);
    if (ret != OMPI_SUCCESS) {
        free(ranks);
        return ret;
    }
    OBJ_RETAIN(group); /* so that no other group gets its address */
    ranks->users = 1;
    ranks->group = group;
    ranks->count = count;
    *ranks_p     = ranks;
    return OMPI_SUCCESS;
}

int osc_daxpin_ranks_get(osc_daxpin_module_t *module, ompi_group_t *group,
                         osc_daxpin_ranks_t **last_p,
                         osc_daxpin_ranks_t **ranks_p)
{
    int ret = OMPI_SUCCESS;

    if (OPAL_UNLIKELY((*last_p == NULL) || ((*last_p)->group != group))) {
        osc_daxpin_ranks_put(last_p);
        ret = osc_daxpin_ranks_new(module, group, last_p);
    }
    if (ret == OMPI_SUCCESS) {
        *ranks_p = *last_p;
        ++(*ranks_p)->users;
    }
    return ret;
}

void osc_daxpin_ranks_put(osc_daxpin_ranks_t **ranks_p)
{
    osc_daxpin_ranks_t *ranks = *ranks_p;

    *ranks_p = NULL;
    if ((ranks != NULL) && (--ranks->users == 0)) {
        OBJ_RELEASE(ranks->group);
        free(ranks);
    }
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
                   osc_daxpin_bound_finish(module, rank, &request, 1);
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
static int osc_daxpin_wait_posts(osc_daxpin_module_t *module,
                                 const osc_daxpin_ranks_t *group)
{
    int ret = OMPI_SUCCESS;
    MPI_Request request;
    int i, rank;

    for (i = 0; (i < group->count) && (ret == OMPI_SUCCESS); ++i) {
        rank = group->ranks[i];
        if (rank == module->rank) {
            continue;
        }
        ret = PMPI_Irecv(NULL, 0, MPI_BYTE, rank, OSC_DAXPIN_POST_TAG,
                         module->comm, &request);
        if (ret == MPI_SUCCESS) {
            ret = osc_daxpin_bound_finish(module, rank, &request, 0);
        }
    }
    return ret;
}

/* Expose this rank to others: receive their completions, and post to them */
static int osc_daxpin_expose(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local       = &module->local;
    const osc_daxpin_ranks_t *group = local->exposed;
    int ret                         = OMPI_SUCCESS;
    int i;

    for (i = 0; (i < group->count) && (ret == MPI_SUCCESS); ++i) {
        ret = PMPI_Irecv(NULL, 0, MPI_BYTE, group->ranks[i],
                         OSC_DAXPIN_COMPLETE_TAG, module->comm,
                         &local->requests[i]);
    }
    for (i = 0; (i < group->count) && (ret == MPI_SUCCESS); ++i) {
        if (group->ranks[i] != module->rank) {
            ret = osc_daxpin_notify(module, group->ranks[i],
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

    for (i = 0; (local->requests != NULL) && (i < local->exposed->count); ++i) {
        osc_daxpin_bound_give_up(&local->requests[i], 0);
    }
    free(local->requests);
    local->requests   = NULL;
    local->is_exposed = 0;
    OPAL_THREAD_LOCK(&local->mutex);
    osc_daxpin_ranks_put(&local->exposed);
    OPAL_THREAD_UNLOCK(&local->mutex);
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
                                  const osc_daxpin_ranks_t *group, int hints)
{
    int ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                   OSC_DAXPIN_EPOCH_FENCE,
                                   OSC_DAXPIN_EPOCH_START);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_wait_posts(module, group);
    if (ret != OMPI_SUCCESS) {
        module->local.access = OSC_DAXPIN_EPOCH_NONE;
    }
    return ret;
}

static int osc_daxpin_inner_complete(osc_daxpin_module_t *module,
                                     const osc_daxpin_ranks_t *group)
{
    int error, i, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_NONE);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    for (i = 0; i < group->count; ++i) {
        error = osc_daxpin_notify(module, group->ranks[i],
                                  OSC_DAXPIN_COMPLETE_TAG);
        ret   = (ret != OMPI_SUCCESS) ? ret : error;
    }
    return ret;
}

static int osc_daxpin_inner_post(osc_daxpin_module_t *module,
                                 ompi_group_t *group, int hints)
{
    osc_daxpin_local_t *local = &module->local;
    int count, i, ret;

    if (local->is_exposed) {
        return OMPI_ERR_RMA_SYNC;
    }
    OPAL_THREAD_LOCK(&local->mutex);
    ret = osc_daxpin_ranks_get(module, group, &local->last_post,
                               &local->exposed);
    OPAL_THREAD_UNLOCK(&local->mutex);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    count           = local->exposed->count;
    local->requests = malloc((count + 1) * sizeof(*local->requests));
    if (local->requests == NULL) {
        osc_daxpin_unexpose(module);
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    for (i = 0; i < count; ++i) {
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
    for (i = 0; (i < local->exposed->count) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_bound_finish(module, local->exposed->ranks[i],
                                      &local->requests[i], 0);
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
    for (i = 0; (i < local->exposed->count) && flag && (ret == MPI_SUCCESS);
         ++i) {
        ret = PMPI_Test(&local->requests[i], &flag, MPI_STATUS_IGNORE);
    }
    if (ret != MPI_SUCCESS) {
        ret = osc_daxpin_error_gone(module, local->exposed->ranks[i - 1]);
    } else if (!flag) {
        ret = osc_daxpin_test_check(module, local->exposed->ranks[i - 1]);
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
        (void)osc_daxpin_wait_unlock(module, target);
        osc_daxpin_access_unlock(module, target);
    }
    return ret;
}

static int osc_daxpin_inner_unlock(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int error, ret;

    if (!module->peers[target].locked) {
        return OMPI_ERR_RMA_SYNC;
    }
    osc_daxpin_inside_begin(module, target);
    ret   = sync->module->osc_unlock(target, sync->win);
    ret   = osc_daxpin_inside_end(module, target, ret);
    error = osc_daxpin_wait_unlock(module, target);
    osc_daxpin_access_unlock(module, target);
    return (ret != OMPI_SUCCESS) ? ret : error;
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
        (void)osc_daxpin_wait_unlock_all(module);
        module->local.access = OSC_DAXPIN_EPOCH_NONE;
    }
    return ret;
}

static int osc_daxpin_inner_unlock_all(osc_daxpin_module_t *module)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int error, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_LOCK_ALL,
                                   OSC_DAXPIN_EPOCH_LOCK_ALL,
                                   OSC_DAXPIN_EPOCH_NONE);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    osc_daxpin_inside_begin(module, OSC_DAXPIN_ANY_RANK);
    ret   = sync->module->osc_unlock_all(sync->win);
    ret   = osc_daxpin_inside_end(module, OSC_DAXPIN_ANY_RANK, ret);
    error = osc_daxpin_wait_unlock_all(module);
    return (ret != OMPI_SUCCESS) ? ret : error;
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
