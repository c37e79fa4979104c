/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Epochs of a window whose ranks are all on one node. The ranks synchronise by
 * words in the memory that they share, without another osc component. A word
 * only counts up, or is a lock, so that no rank has to reset it in time:
 *
 *   fences       of rank 0: how often any rank has called MPI_Win_fence
 *   posts        for each pair of ranks: how often the one has posted to the
 *                other
 *   completions  of a rank: how often others have completed an access to it
 *   holders      of a rank: who has locked it
 *   next, turn   the queue of those who want to
 *
 * A rank that waits leaves the processor to others after a few looks at a word,
 * because ranks may share a processor, and then the other one cannot run
 * before. Where each has its own, sched_yield() costs less than sleeping and
 * waking. Now and then the rank lets Open MPI make progress, because another
 * rank may wait for that; it costs more than many looks.
 */

#include "osc_daxpin_local.h"

#include "osc_daxpin_wait.h"

#include <sched.h>
#include <stdlib.h>

#define OSC_DAXPIN_LOOKS  32 /* for each sched_yield() */
#define OSC_DAXPIN_YIELDS 16 /* for each opal_progress() */

static inline void osc_daxpin_pause(unsigned *looks)
{
    if (++*looks % OSC_DAXPIN_LOOKS != 0) {
        return;
    }
    sched_yield();
    if (*looks % (OSC_DAXPIN_LOOKS * OSC_DAXPIN_YIELDS) == 0) {
        opal_progress();
    }
}

/*
 * Fence
 */

static int osc_daxpin_local_fence(osc_daxpin_module_t *module, int hints)
{
    _Atomic uint64_t *fences = &module->node.slots[0].fences;
    uint64_t size            = (uint64_t)module->size;
    unsigned looks           = 0;
    uint64_t last;
    int ret;

    ret = osc_daxpin_access_fence(module, hints);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    last = (atomic_fetch_add(fences, 1) / size + 1) * size;
    while (atomic_load_explicit(fences, memory_order_acquire) < last) {
        osc_daxpin_pause(&looks);
    }
    return OMPI_SUCCESS;
}

/*
 * Post, start, complete, wait
 */

/* How often a rank has posted to another one */
static inline _Atomic uint32_t *osc_daxpin_posts(osc_daxpin_module_t *module,
                                                 int from, int to)
{
    return &module->node.posts[(size_t)to * module->size + from];
}

/* Wait for posts. A post by this rank itself may come later. */
static int osc_daxpin_local_start(osc_daxpin_module_t *module,
                                  ompi_group_t *group, const int *ranks,
                                  int count, int hints)
{
    unsigned looks = 0;
    int i, rank, ret;
    _Atomic uint32_t *posts;
    uint32_t wanted;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                   OSC_DAXPIN_EPOCH_FENCE,
                                   OSC_DAXPIN_EPOCH_START);
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        rank   = ranks[i];
        posts  = osc_daxpin_posts(module, rank, module->rank);
        wanted = ++module->local.started[rank];
        if ((rank == module->rank) || (hints & MPI_MODE_NOCHECK)) {
            continue;
        }
        while ((int32_t)(atomic_load_explicit(posts, memory_order_acquire) -
                         wanted) < 0) {
            osc_daxpin_pause(&looks);
        }
    }
    return ret;
}

static int osc_daxpin_local_complete(osc_daxpin_module_t *module,
                                     const int *ranks, int count)
{
    int i, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_NONE);
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i) {
        atomic_fetch_add(&module->node.slots[ranks[i]].completions, 1);
    }
    return ret;
}

static int osc_daxpin_local_post(osc_daxpin_module_t *module,
                                 ompi_group_t *group, int hints)
{
    osc_daxpin_local_t *local = &module->local;
    int *ranks                = NULL;
    int count, i, ret;

    ret = osc_daxpin_group_ranks(module, group, &ranks, &count);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    OPAL_THREAD_LOCK(&local->mutex);
    if (local->is_exposed) {
        ret = OMPI_ERR_RMA_SYNC;
        goto out;
    }
    local->is_exposed   = 1;
    local->is_own       = (count == 1) && (ranks[0] == module->rank);
    local->completions += (uint64_t)count;
    for (i = 0; i < count; ++i) {
        atomic_fetch_add(osc_daxpin_posts(module, module->rank, ranks[i]), 1);
    }
out:
    OPAL_THREAD_UNLOCK(&local->mutex);
    free(ranks);
    return ret;
}

static int osc_daxpin_local_test(osc_daxpin_module_t *module, int *flag_p)
{
    osc_daxpin_local_t *local = &module->local;
    osc_daxpin_slot_t *slot   = &module->node.slots[module->rank];
    int ret                   = OMPI_SUCCESS;

    OPAL_THREAD_LOCK(&local->mutex);
    if (!local->is_exposed) {
        ret = OMPI_ERR_RMA_SYNC;
    } else {
        *flag_p           = atomic_load_explicit(&slot->completions,
                                                 memory_order_acquire) >=
                            local->completions;
        local->is_exposed = !*flag_p;
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
    return ret;
}

static int osc_daxpin_local_test_once(osc_daxpin_module_t *module, int *flag_p)
{
    int ret = osc_daxpin_local_test(module, flag_p);

    if ((ret == OMPI_SUCCESS) && !*flag_p) {
        opal_progress();
    }
    return ret;
}

/* Return an error where the rank would wait for itself */
static int osc_daxpin_local_wait(osc_daxpin_module_t *module)
{
    unsigned looks = 0;
    int flag       = 0;
    int ret;

    for (;;) {
        ret = osc_daxpin_local_test(module, &flag);
        if ((ret != OMPI_SUCCESS) || flag) {
            return ret;
        }
        if (module->local.is_own && !opal_using_threads()) {
            return OMPI_ERR_RMA_SYNC;
        }
        osc_daxpin_pause(&looks);
    }
}

/*
 * Locks. Who finds a queue waits in it, so that neither kind of lock keeps the
 * other kind out for ever. A rank that has locked a target already does not
 * queue for a shared lock on another one: those before it may wait for what it
 * has locked.
 */

static inline int osc_daxpin_lock_try(osc_daxpin_slot_t *slot, uint64_t share)
{
    uint64_t most   = (share == 1) ? OSC_DAXPIN_EXCLUSIVE - 1 : 0;
    uint64_t before = 0;

    while (!atomic_compare_exchange_weak_explicit(&slot->holders, &before,
                                                  before + share,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) {
        if (before > most) {
            return 0;
        }
    }
    return 1;
}

static __attribute__((noinline)) void
osc_daxpin_lock_wait(osc_daxpin_slot_t *slot, uint64_t share, int may_pass)
{
    unsigned looks = 0;
    uint32_t number;

    if (may_pass) {
        while (!osc_daxpin_lock_try(slot, share)) {
            osc_daxpin_pause(&looks);
        }
        return;
    }
    number = atomic_fetch_add(&slot->next, 1);
    while (atomic_load_explicit(&slot->turn, memory_order_acquire) != number) {
        osc_daxpin_pause(&looks);
    }
    while (!osc_daxpin_lock_try(slot, share)) {
        osc_daxpin_pause(&looks);
    }
    atomic_store_explicit(&slot->turn, number + 1, memory_order_release);
}

static inline void osc_daxpin_lock_take(osc_daxpin_slot_t *slot,
                                        uint64_t share, int has_locks)
{
    int may_pass = has_locks && (share == 1);
    uint32_t turn;

    turn = atomic_load_explicit(&slot->turn, memory_order_relaxed);
    if (OPAL_UNLIKELY((!may_pass &&
                       (atomic_load_explicit(&slot->next,
                                             memory_order_relaxed) != turn)) ||
                      !osc_daxpin_lock_try(slot, share))) {
        osc_daxpin_lock_wait(slot, share, may_pass);
    }
}

static inline void osc_daxpin_lock_drop(osc_daxpin_slot_t *slot,
                                        uint64_t share)
{
    if (share == 1) {
        atomic_fetch_sub_explicit(&slot->holders, 1, memory_order_release);
    } else if (share != 0) {
        atomic_store_explicit(&slot->holders, 0, memory_order_release);
    }
}

static int osc_daxpin_local_lock(osc_daxpin_module_t *module, int type,
                                 int target, int hints)
{
    uint64_t share = (hints & MPI_MODE_NOCHECK)    ? 0 :
                     (type == MPI_LOCK_EXCLUSIVE) ? OSC_DAXPIN_EXCLUSIVE : 1;
    int has_locks, ret;

    ret = osc_daxpin_access_lock(module, target, &has_locks);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->peers[target].share = share;
    if (share != 0) {
        osc_daxpin_lock_take(&module->node.slots[target], share, has_locks);
    }
    return OMPI_SUCCESS;
}

static int osc_daxpin_local_unlock(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer = &module->peers[target];

    if (!peer->locked) {
        return OMPI_ERR_RMA_SYNC;
    }
    osc_daxpin_lock_drop(&module->node.slots[target], peer->share);
    osc_daxpin_access_unlock(module, target);
    return OMPI_SUCCESS;
}

static int osc_daxpin_local_lock_all(osc_daxpin_module_t *module, int hints)
{
    uint64_t share = (hints & MPI_MODE_NOCHECK) ? 0 : 1;
    int i, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                   OSC_DAXPIN_EPOCH_FENCE,
                                   OSC_DAXPIN_EPOCH_LOCK_ALL);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->local.share = share;
    for (i = 0; (i < module->size) && (share != 0); ++i) {
        osc_daxpin_lock_take(&module->node.slots[i], share, i > 0);
    }
    return OMPI_SUCCESS;
}

static int osc_daxpin_local_unlock_all(osc_daxpin_module_t *module)
{
    int i, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_LOCK_ALL,
                                   OSC_DAXPIN_EPOCH_LOCK_ALL,
                                   OSC_DAXPIN_EPOCH_NONE);
    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        osc_daxpin_lock_drop(&module->node.slots[i], module->local.share);
    }
    return ret;
}

int osc_daxpin_local_init(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local = &module->local;

    local->started = calloc(module->size, sizeof(*local->started));
    return (local->started == NULL) ? OMPI_ERR_OUT_OF_RESOURCE : OMPI_SUCCESS;
}

void osc_daxpin_local_cleanup(osc_daxpin_module_t *module)
{
    free(module->local.started);
    module->local.started = NULL;
}

const osc_daxpin_epochs_t osc_daxpin_epochs_local = {
    .fence      = osc_daxpin_local_fence,
    .start      = osc_daxpin_local_start,
    .complete   = osc_daxpin_local_complete,
    .post       = osc_daxpin_local_post,
    .wait       = osc_daxpin_local_wait,
    .test       = osc_daxpin_local_test_once,
    .lock       = osc_daxpin_local_lock,
    .unlock     = osc_daxpin_local_unlock,
    .lock_all   = osc_daxpin_local_lock_all,
    .unlock_all = osc_daxpin_local_unlock_all
};
