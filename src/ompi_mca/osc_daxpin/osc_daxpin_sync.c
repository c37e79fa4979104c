/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Synchronisation. At the end of an epoch: first wait until data is complete at
 * other nodes; then check the states of the targets that were accessed; then
 * end the epoch, even if a state is bad, because other ranks wait for it; then
 * check this rank's own memory, to which the others have written by then, and
 * this rank has stored at any time.
 */

#include "osc_daxpin_sync.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_inner.h"
#include "osc_daxpin_peer.h"
#include "osc_daxpin_persist.h"
#include "osc_daxpin_request.h"
#include "osc_daxpin_state.h"
#include "osc_daxpin_wait.h"

static inline void osc_daxpin_keep_first(int *ret_p, int ret)
{
    if (*ret_p == OMPI_SUCCESS) {
        *ret_p = ret;
    }
}

/* Check that what was written to a target is in its file; persist: make it
 * durable first */
static inline int osc_daxpin_settle_one(osc_daxpin_module_t *module,
                                        int target, int persist)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                 = OMPI_SUCCESS;

    if (!peer->touched) {
        return OMPI_SUCCESS;
    }
    osc_daxpin_peers_lock(module);
    if (persist) {
        ret = osc_daxpin_peer_persist(module, target);
    }
    if ((ret == OMPI_SUCCESS) && !osc_daxpin_peer_is_held(peer)) {
        ret = osc_daxpin_peer_check(module, target);
    }
    osc_daxpin_peers_unlock(module);
    return ret;
}

static __attribute__((noinline)) int
osc_daxpin_settle_touched(osc_daxpin_module_t *module, int target, int persist)
{
    const osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                       = OMPI_SUCCESS;

    atomic_thread_fence(memory_order_seq_cst);
    if (OPAL_UNLIKELY(peer->way->is_remote)) {
        ret = osc_daxpin_requests_begin_all(module);
        osc_daxpin_keep_first(&ret, peer->way->complete(module, target));
    }
    osc_daxpin_keep_first(&ret,
                          osc_daxpin_settle_one(module, target, persist));
    return ret;
}

static inline int osc_daxpin_settle(osc_daxpin_module_t *module, int target,
                                    int persist)
{
    return !module->peers[target].touched ? OMPI_SUCCESS :
           osc_daxpin_settle_touched(module, target, persist);
}

static int osc_daxpin_settle_all(osc_daxpin_module_t *module, int persist)
{
    int i, ret;

    atomic_thread_fence(memory_order_seq_cst);
    ret = osc_daxpin_requests_begin_all(module);
    osc_daxpin_keep_first(&ret, osc_daxpin_inner_complete_all(module));
    for (i = 0; i < module->size; ++i) {
        osc_daxpin_keep_first(&ret, osc_daxpin_settle_one(module, i, persist));
    }
    return ret;
}

static void osc_daxpin_forget_all(osc_daxpin_module_t *module)
{
    int i;

    osc_daxpin_peers_lock(module);
    for (i = 0; i < module->size; ++i) {
        osc_daxpin_peer_forget(&module->peers[i]);
    }
    osc_daxpin_peers_unlock(module);
}

int osc_daxpin_settle_own(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;

    atomic_thread_fence(memory_order_seq_cst);
    if (module->spec.persist != OSC_DAXPIN_PERSIST_NONE) {
        ret = osc_daxpin_own_persist(module);
    }
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_stores_check_all(module);
}

/* Check what this rank stored with its own CPU, unless there is an error
 * already: a revoke that is not returned now is returned by the next call */
static inline int osc_daxpin_settle_stores(osc_daxpin_module_t *module,
                                           int target, int error)
{
    if ((error != OMPI_SUCCESS) ||
        osc_daxpin_peer_is_held(&module->peers[target])) {
        return error;
    }
    return osc_daxpin_stores_check(module, target);
}

static int osc_daxpin_settle_stores_all(osc_daxpin_module_t *module, int error)
{
    return (error != OMPI_SUCCESS) ? error :
                                     osc_daxpin_stores_check_all(module);
}

/* Return whether a target is a rank of the window. MPI 4.1 does not check it
 * for every call, and a call for MPI_PROC_NULL has no effect: *ret_p. */
static inline int osc_daxpin_has_target(const osc_daxpin_module_t *module,
                                        int target, int *ret_p)
{
    if (OPAL_LIKELY((unsigned)target < (unsigned)module->size)) {
        return 1;
    }
    *ret_p = (target == MPI_PROC_NULL) ? OMPI_SUCCESS : MPI_ERR_RANK;
    return 0;
}

/* The program may wait for what others put here */
static inline void osc_daxpin_flush_poll(osc_daxpin_module_t *module)
{
    if (OPAL_UNLIKELY(module->remote)) {
        opal_progress();
    } else {
        osc_daxpin_poll(module, 0);
    }
}

static inline int osc_daxpin_persists_flush(const osc_daxpin_module_t *module)
{
    return module->spec.persist == OSC_DAXPIN_PERSIST_FLUSH;
}

/*
 * Fence
 */

int osc_daxpin_fence(int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error, ret;

    error = osc_daxpin_settle_all(module, 0);
    ret   = module->epochs->fence(module, hints);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open = !(hints & MPI_MODE_NOSUCCEED);
    osc_daxpin_forget_all(module);
    return (error != OMPI_SUCCESS) ? error : osc_daxpin_settle_own(module);
}

/*
 * Post, start, complete, wait
 */

int osc_daxpin_start(ompi_group_t *group, int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_local_t *local   = &module->local;
    osc_daxpin_ranks_t *ranks   = NULL;
    int i, ret;

    OPAL_THREAD_LOCK(&local->mutex);
    ret = osc_daxpin_ranks_get(module, group, &local->last_start, &ranks);
    OPAL_THREAD_UNLOCK(&local->mutex);
    if (ret == OMPI_SUCCESS) {
        ret = module->epochs->start(module, ranks, hints);
    }
    if (ret != OMPI_SUCCESS) {
        OPAL_THREAD_LOCK(&local->mutex);
        osc_daxpin_ranks_put(&ranks);
        OPAL_THREAD_UNLOCK(&local->mutex);
        return ret;
    }
    module->started  = ranks;
    module->all_open = 0;
    for (i = 0; i < ranks->count; ++i) {
        module->peers[ranks->ranks[i]].open = 1;
    }
    return OMPI_SUCCESS;
}

int osc_daxpin_complete(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error, i, ret;

    error = osc_daxpin_settle_all(module, 0);
    ret   = module->epochs->complete(module, module->started);
    if (ret == OMPI_ERR_RMA_SYNC) {
        return ret;
    }
    osc_daxpin_keep_first(&error, ret); /* The epoch has ended also then */
    for (i = 0; i < module->started->count; ++i) {
        module->peers[module->started->ranks[i]].open = 0;
    }
    OPAL_THREAD_LOCK(&module->local.mutex);
    osc_daxpin_ranks_put(&module->started);
    OPAL_THREAD_UNLOCK(&module->local.mutex);
    osc_daxpin_forget_all(module);
    return osc_daxpin_settle_stores_all(module, error);
}

int osc_daxpin_post(ompi_group_t *group, int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);

    return module->epochs->post(module, group, hints);
}

int osc_daxpin_wait(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = module->epochs->wait(module);
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_settle_own(module);
}

int osc_daxpin_test(ompi_win_t *win, int *flag)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = module->epochs->test(module, flag);
    return ((ret != OMPI_SUCCESS) || !*flag) ? ret :
                                               osc_daxpin_settle_own(module);
}

/*
 * Locks
 */

int osc_daxpin_lock(int type, int target, int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    ret = module->epochs->lock(module, type, target, hints);
    if (ret == OMPI_SUCCESS) {
        module->all_open             = 0;
        module->peers[target].open   = 1;
        module->peers[target].locked = 1;
    }
    return ret;
}

int osc_daxpin_unlock(int target, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error, ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    error = osc_daxpin_settle(module, target,
                              osc_daxpin_persists_flush(module));
    ret   = module->epochs->unlock(module, target);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->peers[target].open   = 0;
    module->peers[target].locked = 0;
    osc_daxpin_peers_lock(module);
    osc_daxpin_peer_forget(&module->peers[target]);
    osc_daxpin_peers_unlock(module);
    return osc_daxpin_settle_stores(module, target, error);
}

int osc_daxpin_lock_all(int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = module->epochs->lock_all(module, hints);
    if (ret == OMPI_SUCCESS) {
        module->all_open   = 1;
        module->all_locked = 1;
    }
    return ret;
}

int osc_daxpin_unlock_all(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error, ret;

    error = osc_daxpin_settle_all(module, osc_daxpin_persists_flush(module));
    ret   = module->epochs->unlock_all(module);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open   = 0;
    module->all_locked = 0;
    osc_daxpin_forget_all(module);
    return osc_daxpin_settle_stores_all(module, error);
}

/* Order loads and stores, in any epoch or none. Not all inner components allow
 * that, and none has anything to do. */
int osc_daxpin_sync(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);

    osc_daxpin_flush_poll(module);
    return osc_daxpin_settle_own(module);
}

/*
 * Flush. The sync window's flush would have nothing to wait for, and takes
 * longer than a put; the data window, if there is one, is flushed instead. What
 * could not be made durable stays for the next flush.
 */

static inline int osc_daxpin_flush_begin(osc_daxpin_module_t *module,
                                         int is_locked)
{
    if (OPAL_UNLIKELY(!is_locked)) {
        return OMPI_ERR_RMA_SYNC;
    }
    osc_daxpin_flush_poll(module);
    return OPAL_UNLIKELY(module->remote) ?
                   osc_daxpin_requests_begin_all(module) :
                   OMPI_SUCCESS;
}

static inline int osc_daxpin_is_locked(const osc_daxpin_module_t *module,
                                       int target)
{
    return module->all_locked | module->peers[target].locked;
}

/* Return whether any target is locked */
static int osc_daxpin_any_locked(const osc_daxpin_module_t *module)
{
    int i;

    for (i = 0; i < module->size; ++i) {
        if (osc_daxpin_is_locked(module, i)) {
            return 1;
        }
    }
    return 0;
}

/* With threads, another one may access a target at any time, and its own flush
 * has to find that */
static int osc_daxpin_may_forget(void)
{
    return !opal_using_threads();
}

/* Return whether a flush of a target has nothing to do if its file is under
 * lease: the target is mapped, and nothing has to be made durable */
static inline int osc_daxpin_flush_is_short(const osc_daxpin_module_t *module,
                                            const osc_daxpin_peer_t *peer)
{
    return (peer->mems == &peer->mem) && !peer->way->is_remote &&
           osc_daxpin_may_forget() && !osc_daxpin_persists_flush(module);
}

static __attribute__((noinline)) int osc_daxpin_flush_any(int target,
                                                          ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    ret = osc_daxpin_flush_begin(module, osc_daxpin_is_locked(module, target));
    if ((ret != OMPI_SUCCESS) || !module->peers[target].touched) {
        return osc_daxpin_settle_stores(module, target, ret);
    }
    ret = osc_daxpin_settle(module, target, osc_daxpin_persists_flush(module));
    if (osc_daxpin_error_is_final(ret) && osc_daxpin_may_forget()) {
        osc_daxpin_peer_forget(&module->peers[target]);
    }
    return osc_daxpin_settle_stores(module, target, ret);
}

int osc_daxpin_flush(int target, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_peer_t *peer;

    if (OPAL_LIKELY(((unsigned)target < (unsigned)module->size) &&
                    osc_daxpin_is_locked(module, target))) {
        peer = &module->peers[target];
        if (OPAL_LIKELY(osc_daxpin_flush_is_short(module, peer))) {
            osc_daxpin_flush_poll(module);
            atomic_thread_fence(memory_order_seq_cst);
            if (osc_daxpin_peer_is_held(peer)) {
                osc_daxpin_peer_forget(peer);
                return OMPI_SUCCESS;
            }
        }
    }
    return osc_daxpin_flush_any(target, win);
}

int osc_daxpin_flush_all(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_any_locked(module));
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_settle_all(module, osc_daxpin_persists_flush(module));
    if (osc_daxpin_error_is_final(ret) && osc_daxpin_may_forget()) {
        osc_daxpin_forget_all(module);
    }
    return osc_daxpin_settle_stores_all(module, ret);
}

int osc_daxpin_flush_local(int target, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    ret = osc_daxpin_flush_begin(module, osc_daxpin_is_locked(module, target));
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_settle(module, target, 0);
    }
    return osc_daxpin_settle_stores(module, target, ret);
}

int osc_daxpin_flush_local_all(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_any_locked(module));
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_settle_all(module, 0);
    }
    return osc_daxpin_settle_stores_all(module, ret);
}
