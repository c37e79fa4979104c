/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Epochs by the inner component, and waiting for ranks that may wait for this
 * rank to reply to their active messages. While osc/ucx waits for a lock, for
 * posts or for completions, only its own worker makes progress, and messages
 * are not received. So these functions wait first, with all progress; the call
 * of osc/ucx then returns without waiting.
 */

#include "osc_daxpin_wait.h"

#include <stddef.h>
#include <stdlib.h>

#define OSC_DAXPIN_POST_TAG 0

/*
 * Waiting. Without active messages these do nothing, but for the last.
 */

static int osc_daxpin_epochs_add(osc_daxpin_module_t *module, int target,
                                 uint64_t value, uint64_t *before_p)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    int ret;

    ret = shadow->module->osc_fetch_and_op(
            &value, before_p, MPI_UINT64_T, target,
            offsetof(osc_daxpin_slot_t, epochs) / sizeof(value), MPI_SUM,
            shadow->win);
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   shadow->module->osc_flush(target, shadow->win);
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

    if (!module->has_am || (hints & MPI_MODE_NOCHECK)) {
        return OMPI_SUCCESS;
    }
    while (!done && (ret == OMPI_SUCCESS)) {
        ret = osc_daxpin_epochs_try(module, target, share, &done);
        opal_progress();
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

static int osc_daxpin_wait_notify(osc_daxpin_module_t *module,
                                  ompi_group_t *group)
{
    int *ranks, count, i, ret;

    if (!module->has_am) {
        return OMPI_SUCCESS;
    }
    ret = osc_daxpin_group_ranks(module, group, &ranks, &count);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        ret = PMPI_Send(NULL, 0, MPI_BYTE, ranks[i], OSC_DAXPIN_POST_TAG,
                        module->comm);
    }
    free(ranks);
    return ret;
}

static int osc_daxpin_wait_posts(osc_daxpin_module_t *module, const int *ranks,
                                 int count)
{
    int ret = OMPI_SUCCESS;
    int i;

    if (!module->has_am) {
        return OMPI_SUCCESS;
    }
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        ret = PMPI_Recv(NULL, 0, MPI_BYTE, ranks[i], OSC_DAXPIN_POST_TAG,
                        module->comm, MPI_STATUS_IGNORE);
    }
    return ret;
}

static int osc_daxpin_wait_completions(osc_daxpin_module_t *module)
{
    osc_daxpin_shadow_t *sync = &module->sync;
    int flag                  = 0;
    int ret;

    if (!module->has_am) {
        return sync->module->osc_wait(sync->win);
    }
    do {
        ret = sync->module->osc_test(sync->win, &flag);
        opal_progress();
    } while ((ret == OMPI_SUCCESS) && !flag);
    return ret;
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
    return module->sync.module->osc_fence(hints, module->sync.win);
}

static int osc_daxpin_inner_start(osc_daxpin_module_t *module,
                                  ompi_group_t *group, const int *ranks,
                                  int count, int hints)
{
    int ret = osc_daxpin_wait_posts(module, ranks, count);

    return (ret != OMPI_SUCCESS) ? ret :
                                   module->sync.module->osc_start(
                                           group, hints, module->sync.win);
}

static int osc_daxpin_inner_complete(osc_daxpin_module_t *module,
                                     const int *ranks, int count)
{
    return module->sync.module->osc_complete(module->sync.win);
}

static int osc_daxpin_inner_post(osc_daxpin_module_t *module,
                                 ompi_group_t *group, int hints)
{
    int ret = module->sync.module->osc_post(group, hints, module->sync.win);

    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_wait_notify(module, group);
}

static int osc_daxpin_inner_test(osc_daxpin_module_t *module, int *flag_p)
{
    return module->sync.module->osc_test(module->sync.win, flag_p);
}

static int osc_daxpin_inner_lock(osc_daxpin_module_t *module, int type,
                                 int target, int hints)
{
    int ret = osc_daxpin_wait_lock(module, type, target, hints);

    return (ret != OMPI_SUCCESS) ?
                   ret :
                   module->sync.module->osc_lock(
                           type, target, osc_daxpin_inner_hints(module, hints),
                           module->sync.win);
}

static int osc_daxpin_inner_unlock(osc_daxpin_module_t *module, int target)
{
    int ret = module->sync.module->osc_unlock(target, module->sync.win);

    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_wait_unlock(module, target);
}

static int osc_daxpin_inner_lock_all(osc_daxpin_module_t *module, int hints)
{
    int ret = osc_daxpin_wait_lock_all(module, hints);

    return (ret != OMPI_SUCCESS) ?
                   ret :
                   module->sync.module->osc_lock_all(
                           osc_daxpin_inner_hints(module, hints),
                           module->sync.win);
}

static int osc_daxpin_inner_unlock_all(osc_daxpin_module_t *module)
{
    int ret = module->sync.module->osc_unlock_all(module->sync.win);

    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_wait_unlock_all(module);
}

const osc_daxpin_epochs_t osc_daxpin_epochs_inner = {
    .fence      = osc_daxpin_inner_fence,
    .start      = osc_daxpin_inner_start,
    .complete   = osc_daxpin_inner_complete,
    .post       = osc_daxpin_inner_post,
    .wait       = osc_daxpin_wait_completions,
    .test       = osc_daxpin_inner_test,
    .lock       = osc_daxpin_inner_lock,
    .unlock     = osc_daxpin_inner_unlock,
    .lock_all   = osc_daxpin_inner_lock_all,
    .unlock_all = osc_daxpin_inner_unlock_all
};
