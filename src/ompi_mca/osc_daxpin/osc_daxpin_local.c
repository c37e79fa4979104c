/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Epochs of a window whose ranks are all on one node. The ranks synchronise by
 * words in the memory that they share, without another osc component. A word
 * only counts up, or is a lock, so that no rank has to reset it in time:
 *
 *   fences       of a rank: how often it has called MPI_Win_fence
 *   posts        for each pair of ranks: how often the one has posted to the
 *                other
 *   completions  likewise: how often the one has completed an access to the
 *                other
 *   holders      of a rank: who has locked it
 *   next, turn   the queue of those who want to
 *   waiters      of a rank: who is in that queue
 *
 * All but the last four are written by one rank, so that none needs an atomic
 * operation, and others find out for which rank they wait.
 *
 * A rank that waits leaves the processor to others after a number of looks at a
 * word, because ranks may share a processor, and then the other one cannot run
 * before. Where each has its own, sched_yield() takes longer than the other one
 * needs, so the number changes with what was of use. Now and then the rank lets
 * Open MPI make progress, because another rank may wait for that; it costs more
 * than many looks. Then it also checks whether the other rank has ended.
 */

#include "osc_daxpin_local.h"

#include "osc_daxpin_wait.h"

#include <sched.h>
#include <stdlib.h>

#define OSC_DAXPIN_LOOKS_MIN 32 /* for each sched_yield() */
#define OSC_DAXPIN_LOOKS_MAX 1024
#define OSC_DAXPIN_YIELDS    16 /* for each opal_progress() */

typedef struct osc_daxpin_pause {
    osc_daxpin_module_t *module;
    int                 rank; /* that is waited for, or OSC_DAXPIN_ANY_RANK */
    unsigned            looks;
    unsigned            yields;
    unsigned            most; /* looks */
    osc_daxpin_bound_t  bound;
} osc_daxpin_pause_t;

static inline void osc_daxpin_pause_begin(osc_daxpin_module_t *module, int rank,
                                          osc_daxpin_pause_t *pause)
{
    pause->module = module;
    pause->rank   = rank;
    pause->looks  = 0;
    pause->yields = 0;
    pause->most   = atomic_load_explicit(&module->local.looks,
                                         memory_order_relaxed);
}

static __attribute__((noinline)) int
osc_daxpin_pause_yield(osc_daxpin_pause_t *pause)
{
    pause->looks = 0;
    sched_yield();
    if (++pause->yields % OSC_DAXPIN_YIELDS != 0) {
        return OMPI_SUCCESS;
    }
    opal_progress();
    if (pause->yields == OSC_DAXPIN_YIELDS) {
        osc_daxpin_bound_begin(pause->module, pause->rank, &pause->bound);
        return OMPI_SUCCESS;
    }
    pause->bound.rank = pause->rank;
    return osc_daxpin_bound_check(&pause->bound);
}

/* Return the error if the wait has to end; to be called after each look */
static inline int osc_daxpin_pause(osc_daxpin_pause_t *pause)
{
    return (++pause->looks < pause->most) ? OMPI_SUCCESS :
                                            osc_daxpin_pause_yield(pause);
}

/* Note whether the word has changed while this rank looked at it, or while
 * others ran */
static inline void osc_daxpin_pause_end(const osc_daxpin_pause_t *pause)
{
    unsigned most = (pause->looks > 0) ? pause->most * 2 : pause->most / 2;

    if ((pause->looks + pause->yields == 0) ||
        (most < OSC_DAXPIN_LOOKS_MIN) || (most > OSC_DAXPIN_LOOKS_MAX)) {
        return;
    }
    atomic_store_explicit(&pause->module->local.looks, most,
                          memory_order_relaxed);
}

/*
 * Fence
 */

static int osc_daxpin_fences_wait(osc_daxpin_module_t *module, uint64_t wanted)
{
    int ret = OMPI_SUCCESS;
    osc_daxpin_pause_t pause;
    int i;

    osc_daxpin_pause_begin(module, OSC_DAXPIN_ANY_RANK, &pause);
    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        while ((ret == OMPI_SUCCESS) &&
               (atomic_load_explicit(&module->node.slots[i].fences,
                                     memory_order_acquire) < wanted)) {
            ret = osc_daxpin_pause(&pause);
        }
    }
    osc_daxpin_pause_end(&pause);
    return ret;
}

/* After a fence that has failed there is none any more: it would end for other
 * ranks that still wait in the one before */
static int osc_daxpin_local_fence(osc_daxpin_module_t *module, int hints)
{
    osc_daxpin_local_t *local = &module->local;
    int ret;

    ret = osc_daxpin_access_fence(module, hints);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    if (local->fence_error == OMPI_SUCCESS) {
        atomic_store_explicit(&module->node.slots[module->rank].fences,
                              ++local->fences, memory_order_release);
        local->fence_error = osc_daxpin_fences_wait(module, local->fences);
    }
    return local->fence_error;
}

/*
 * Post, start, complete, wait
 */

/* Return how often a rank has posted to another one */
static inline _Atomic uint32_t *osc_daxpin_posts(osc_daxpin_module_t *module,
                                                 int from, int to)
{
    const size_t size = (size_t)module->size;

    return (_Atomic uint32_t*)(module->node.pairs +
                               to * osc_daxpin_pairs_stride(size)) + from;
}

/* Return how often a rank has completed an access to another one */
static inline _Atomic uint32_t *
osc_daxpin_completions(osc_daxpin_module_t *module, int from, int to)
{
    return (_Atomic uint32_t*)((char*)osc_daxpin_posts(module, from, to) +
                               osc_daxpin_lines(module->size *
                                                sizeof(uint32_t)));
}

/* Count up what no other rank writes */
static inline void osc_daxpin_count(_Atomic uint32_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count,
                                                      memory_order_relaxed) + 1,
                          memory_order_release);
}

static inline int osc_daxpin_has_count(_Atomic uint32_t *count, uint32_t wanted)
{
    return (int32_t)(atomic_load_explicit(count, memory_order_acquire) -
                     wanted) >= 0;
}

static int osc_daxpin_count_wait(osc_daxpin_module_t *module, int rank,
                                 _Atomic uint32_t *count, uint32_t wanted)
{
    int ret = OMPI_SUCCESS;
    osc_daxpin_pause_t pause;

    osc_daxpin_pause_begin(module, rank, &pause);
    while ((ret == OMPI_SUCCESS) && !osc_daxpin_has_count(count, wanted)) {
        ret = osc_daxpin_pause(&pause);
    }
    osc_daxpin_pause_end(&pause);
    return ret;
}

/* Wait for posts. A post by this rank itself may come later. After an error the
 * posts that were there stay for another start. */
static int osc_daxpin_local_start(osc_daxpin_module_t *module,
                                  const osc_daxpin_ranks_t *group, int hints)
{
    uint32_t *started = module->local.started;
    int i, rank, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_NONE,
                                   OSC_DAXPIN_EPOCH_FENCE,
                                   OSC_DAXPIN_EPOCH_START);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    for (i = 0; (i < group->count) && (ret == OMPI_SUCCESS); ++i) {
        rank = group->ranks[i];
        ++started[rank];
        if ((rank != module->rank) && !(hints & MPI_MODE_NOCHECK)) {
            ret = osc_daxpin_count_wait(module, rank,
                                        osc_daxpin_posts(module, rank,
                                                         module->rank),
                                        started[rank]);
        }
    }
    if (ret != OMPI_SUCCESS) {
        while (i-- > 0) {
            --started[group->ranks[i]];
        }
        module->local.access = OSC_DAXPIN_EPOCH_NONE;
    }
    return ret;
}

static int osc_daxpin_local_complete(osc_daxpin_module_t *module,
                                     const osc_daxpin_ranks_t *group)
{
    int i, ret;

    ret = osc_daxpin_access_change(module, OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_START,
                                   OSC_DAXPIN_EPOCH_NONE);
    for (i = 0; (ret == OMPI_SUCCESS) && (i < group->count); ++i) {
        osc_daxpin_count(osc_daxpin_completions(module, module->rank,
                                                group->ranks[i]));
    }
    return ret;
}

/* Caller holds the mutex. */
static void osc_daxpin_local_unexpose(osc_daxpin_local_t *local)
{
    osc_daxpin_ranks_put(&local->exposed);
    local->is_exposed = 0;
}

/* Caller holds the mutex. */
static void osc_daxpin_local_expose(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local       = &module->local;
    const osc_daxpin_ranks_t *group = local->exposed;
    int i;

    local->is_exposed  = 1;
    local->tested.rank = OSC_DAXPIN_ANY_RANK;
    for (i = 0; i < group->count; ++i) {
        ++local->posted[group->ranks[i]];
        osc_daxpin_count(osc_daxpin_posts(module, module->rank,
                                          group->ranks[i]));
    }
}

static int osc_daxpin_local_post(osc_daxpin_module_t *module,
                                 ompi_group_t *group, int hints)
{
    osc_daxpin_local_t *local = &module->local;
    int ret                   = OMPI_ERR_RMA_SYNC;

    OPAL_THREAD_LOCK(&local->mutex);
    if (!local->is_exposed) {
        ret = osc_daxpin_ranks_get(module, group, &local->last_post,
                                   &local->exposed);
        if (ret == OMPI_SUCCESS) {
            osc_daxpin_local_expose(module);
        }
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
    return ret;
}

/* Return a rank that has not completed its access, or OSC_DAXPIN_ANY_RANK if
 * there is none. Caller holds the mutex. */
static int osc_daxpin_local_missing(osc_daxpin_module_t *module)
{
    const osc_daxpin_local_t *local = &module->local;
    int i, rank;

    for (i = 0; i < local->exposed->count; ++i) {
        rank = local->exposed->ranks[i];
        if (!osc_daxpin_has_count(osc_daxpin_completions(module, rank,
                                                         module->rank),
                                  local->posted[rank])) {
            return rank;
        }
    }
    return OSC_DAXPIN_ANY_RANK;
}

/* End the exposure if all ranks have completed their accesses. Otherwise
 * *missing_p is one that has not. */
static int osc_daxpin_local_try(osc_daxpin_module_t *module, int *missing_p)
{
    osc_daxpin_local_t *local = &module->local;
    int ret                   = OMPI_SUCCESS;

    OPAL_THREAD_LOCK(&local->mutex);
    if (!local->is_exposed) {
        ret = OMPI_ERR_RMA_SYNC;
    } else {
        *missing_p = osc_daxpin_local_missing(module);
        if (*missing_p == OSC_DAXPIN_ANY_RANK) {
            osc_daxpin_local_unexpose(local);
        }
    }
    OPAL_THREAD_UNLOCK(&local->mutex);
    return ret;
}

/* End an exposure that has failed */
static int osc_daxpin_local_fail(osc_daxpin_module_t *module, int error)
{
    osc_daxpin_local_t *local = &module->local;

    OPAL_THREAD_LOCK(&local->mutex);
    osc_daxpin_local_unexpose(local);
    OPAL_THREAD_UNLOCK(&local->mutex);
    return error;
}

static int osc_daxpin_local_test(osc_daxpin_module_t *module, int *flag_p)
{
    int missing = OSC_DAXPIN_ANY_RANK;
    int ret;

    ret     = osc_daxpin_local_try(module, &missing);
    *flag_p = (ret == OMPI_SUCCESS) && (missing == OSC_DAXPIN_ANY_RANK);
    if ((ret != OMPI_SUCCESS) || *flag_p) {
        return ret;
    }
    opal_progress();
    ret = osc_daxpin_test_check(module, missing);
    return (ret != OMPI_SUCCESS) ? osc_daxpin_local_fail(module, ret) : ret;
}

/* Return an error where the rank would wait for itself */
static int osc_daxpin_local_wait(osc_daxpin_module_t *module)
{
    osc_daxpin_pause_t pause;
    int ret;

    osc_daxpin_pause_begin(module, OSC_DAXPIN_ANY_RANK, &pause);
    for (;;) {
        ret = osc_daxpin_local_try(module, &pause.rank);
        if ((ret != OMPI_SUCCESS) || (pause.rank == OSC_DAXPIN_ANY_RANK)) {
            break;
        }
        if ((pause.rank == module->rank) && !opal_using_threads()) {
            return OMPI_ERR_RMA_SYNC;
        }
        ret = osc_daxpin_pause(&pause);
        if (ret != OMPI_SUCCESS) {
            return osc_daxpin_local_fail(module, ret);
        }
    }
    osc_daxpin_pause_end(&pause);
    return ret;
}

/*
 * Locks. Who finds a queue waits in it, so that neither kind of lock keeps the
 * other kind out for ever. A rank that has locked a target already does not
 * queue for a shared lock on another one: those before it may wait for what it
 * has locked.
 *
 * An exclusive lock shows whose it is, a shared one does not: so a rank that
 * waits for shared locks to end gives up if any rank of the window has ended.
 * One that has ended in the queue is passed over.
 */

/* In the word of a waiter, below its number in the queue. Each rank has one word
 * in the queue of a target: it takes no other number before turn has passed the
 * one that it has left, but waits with that one again. */
#define OSC_DAXPIN_WAITER_LEFT UINT32_MAX

static inline uint64_t osc_daxpin_exclusive(const osc_daxpin_module_t *module)
{
    return ((uint64_t)module->rank + 1) * OSC_DAXPIN_EXCLUSIVE;
}

/* Return the word of the waiter with a number: that number, and its rank and 1.
 * Another number is that of an earlier waiter. */
static _Atomic uint64_t *osc_daxpin_waiter(osc_daxpin_module_t *module,
                                           int target, uint32_t number)
{
    const size_t size = (size_t)module->size;

    return (_Atomic uint64_t*)(module->node.pairs +
                               target * osc_daxpin_pairs_stride(size) +
                               2 * osc_daxpin_lines(size * sizeof(uint32_t))) +
           number % size;
}

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

static int osc_daxpin_lock_spin(osc_daxpin_pause_t *pause,
                                osc_daxpin_slot_t *slot, uint64_t share)
{
    int ret = OMPI_SUCCESS;
    uint64_t holders;

    while ((ret == OMPI_SUCCESS) && !osc_daxpin_lock_try(slot, share)) {
        holders     = atomic_load_explicit(&slot->holders,
                                           memory_order_relaxed);
        pause->rank = (int)(holders / OSC_DAXPIN_EXCLUSIVE) - 1;
        ret         = osc_daxpin_pause(pause);
    }
    return ret;
}

/* Wait for the first of the queue. If it has ended or left, go on to the next
 * one. */
static int osc_daxpin_queue_step(osc_daxpin_pause_t *pause, int target,
                                 uint32_t turn)
{
    osc_daxpin_module_t *module = pause->module;
    osc_daxpin_slot_t *slot     = &module->node.slots[target];
    uint64_t first;
    uint32_t rank;
    int ret;

    first = atomic_load(osc_daxpin_waiter(module, target, turn));
    rank  = (first >> 32 == turn) ? (uint32_t)first : 0;
    if (rank != OSC_DAXPIN_WAITER_LEFT) {
        pause->rank = (int)rank - 1; /* 0: not known yet */
        ret         = osc_daxpin_pause(pause);
        if ((ret == OMPI_SUCCESS) || (rank == 0) ||
            !module->peers[pause->rank].gone) {
            return ret;
        }
    }
    (void)atomic_compare_exchange_strong(&slot->turn, &turn, turn + 1);
    return OMPI_SUCCESS;
}

/* Return how many numbers of the queue come before one; less than 0: its turn is
 * over */
static int32_t osc_daxpin_queue_before(osc_daxpin_slot_t *slot, uint32_t number,
                                       uint32_t *turn_p)
{
    *turn_p = atomic_load_explicit(&slot->turn, memory_order_acquire);
    return (int32_t)(number - *turn_p);
}

/* Change the word of this rank, unless another one has it by now */
static int osc_daxpin_queue_mark(osc_daxpin_module_t *module, int target,
                                 uint32_t number, uint32_t from, uint32_t to)
{
    const uint64_t word = (uint64_t)number << 32;
    uint64_t before     = word | from;

    return atomic_compare_exchange_strong(
            osc_daxpin_waiter(module, target, number), &before, word | to);
}

/* Enter the queue, and return the number. It is the old one if its turn is not
 * over: another rank may pass over it all the same, having seen that this one
 * had left. */
static uint32_t osc_daxpin_queue_enter(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_slot_t *slot = &module->node.slots[target];
    osc_daxpin_peer_t *peer = &module->peers[target];
    const uint32_t self     = (uint32_t)module->rank + 1;
    uint32_t number, turn;

    if (peer->has_left) {
        peer->has_left = 0;
        if ((osc_daxpin_queue_before(slot, peer->left, &turn) >= 0) &&
            osc_daxpin_queue_mark(module, target, peer->left,
                                  OSC_DAXPIN_WAITER_LEFT, self)) {
            return peer->left;
        }
    }
    number = atomic_fetch_add(&slot->next, 1);
    atomic_store(osc_daxpin_waiter(module, target, number),
                 ((uint64_t)number << 32) | self);
    return number;
}

static void osc_daxpin_queue_leave(osc_daxpin_module_t *module, int target,
                                   uint32_t number)
{
    osc_daxpin_peer_t *peer = &module->peers[target];

    peer->left     = number;
    peer->has_left = osc_daxpin_queue_mark(module, target, number,
                                           (uint32_t)module->rank + 1,
                                           OSC_DAXPIN_WAITER_LEFT);
}

static int osc_daxpin_queue_wait(osc_daxpin_pause_t *pause, int target,
                                 uint64_t share)
{
    osc_daxpin_module_t *module = pause->module;
    osc_daxpin_slot_t *slot     = &module->node.slots[target];
    uint32_t number             = osc_daxpin_queue_enter(module, target);
    int ret                     = OMPI_SUCCESS;
    int32_t before;
    uint32_t turn;

    while ((before = osc_daxpin_queue_before(slot, number, &turn)) != 0) {
        if (before < 0) {
            number = osc_daxpin_queue_enter(module, target);
            continue;
        }
        ret = osc_daxpin_queue_step(pause, target, turn);
        if (ret != OMPI_SUCCESS) {
            osc_daxpin_queue_leave(module, target, number);
            return ret;
        }
    }
    ret = osc_daxpin_lock_spin(pause, slot, share);
    (void)atomic_compare_exchange_strong(&slot->turn, &turn, number + 1);
    return ret;
}

static __attribute__((noinline)) int
osc_daxpin_lock_wait(osc_daxpin_module_t *module, int target, uint64_t share,
                     int may_pass)
{
    osc_daxpin_pause_t pause;
    int ret;

    osc_daxpin_pause_begin(module, OSC_DAXPIN_ANY_RANK, &pause);
    ret = may_pass ? osc_daxpin_lock_spin(&pause, &module->node.slots[target],
                                          share) :
                     osc_daxpin_queue_wait(&pause, target, share);
    osc_daxpin_pause_end(&pause);
    return ret;
}

static inline int osc_daxpin_lock_take(osc_daxpin_module_t *module, int target,
                                       uint64_t share, int has_locks)
{
    osc_daxpin_slot_t *slot = &module->node.slots[target];
    int may_pass            = has_locks && (share == 1);
    uint32_t turn;

    turn = atomic_load_explicit(&slot->turn, memory_order_relaxed);
    if (OPAL_UNLIKELY((!may_pass &&
                       (atomic_load_explicit(&slot->next,
                                             memory_order_relaxed) != turn)) ||
                      !osc_daxpin_lock_try(slot, share))) {
        return osc_daxpin_lock_wait(module, target, share, may_pass);
    }
    return OMPI_SUCCESS;
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
                     (type == MPI_LOCK_EXCLUSIVE) ?
                             osc_daxpin_exclusive(module) : 1;
    int has_locks, ret;

    ret = osc_daxpin_access_lock(module, target, &has_locks);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->peers[target].share = share;
    if (share != 0) {
        ret = osc_daxpin_lock_take(module, target, share, has_locks);
    }
    if (OPAL_UNLIKELY(ret != OMPI_SUCCESS)) {
        osc_daxpin_access_unlock(module, target);
    }
    return ret;
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
    for (i = 0; (i < module->size) && (share != 0) && (ret == OMPI_SUCCESS);
         ++i) {
        ret = osc_daxpin_lock_take(module, i, share, i > 0);
    }
    if (OPAL_UNLIKELY(ret != OMPI_SUCCESS)) {
        for (i -= 2; i >= 0; --i) { /* the last one was not taken */
            osc_daxpin_lock_drop(&module->node.slots[i], share);
        }
        module->local.access = OSC_DAXPIN_EPOCH_NONE;
    }
    return ret;
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

    atomic_init(&local->looks, OSC_DAXPIN_LOOKS_MAX);
    local->started = calloc(module->size, sizeof(*local->started));
    local->posted  = calloc(module->size, sizeof(*local->posted));
    return ((local->started == NULL) || (local->posted == NULL)) ?
                   OMPI_ERR_OUT_OF_RESOURCE :
                   OMPI_SUCCESS;
}

void osc_daxpin_local_cleanup(osc_daxpin_module_t *module)
{
    osc_daxpin_local_t *local = &module->local;

    free(local->posted);
    free(local->started);
    local->posted  = NULL;
    local->started = NULL;
}

const osc_daxpin_epochs_t osc_daxpin_epochs_local = {
    .fence      = osc_daxpin_local_fence,
    .start      = osc_daxpin_local_start,
    .complete   = osc_daxpin_local_complete,
    .post       = osc_daxpin_local_post,
    .wait       = osc_daxpin_local_wait,
    .test       = osc_daxpin_local_test,
    .lock       = osc_daxpin_local_lock,
    .unlock     = osc_daxpin_local_unlock,
    .lock_all   = osc_daxpin_local_lock_all,
    .unlock_all = osc_daxpin_local_unlock_all
};
