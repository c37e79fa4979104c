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

/* Return whether a target has to be checked. What could not be made durable is
 * left from an epoch before. */
static inline int osc_daxpin_is_unsettled(osc_daxpin_module_t *module,
                                          int target, int persist)
{
    int ret = module->peers[target].touched;

    if (!ret && persist) {
        osc_daxpin_peers_lock(module);
        ret = osc_daxpin_peer_is_dirty(module, target);
        osc_daxpin_peers_unlock(module);
    }
    return ret;
}

/* Check that what was written to a target is in its file; persist: make it
 * durable first */
static inline int osc_daxpin_settle_one(osc_daxpin_module_t *module,
                                        int target, int persist)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                 = OMPI_SUCCESS;

    if (!osc_daxpin_is_unsettled(module, target, persist)) {
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
osc_daxpin_settle_touched(osc_daxpin_module_t *module, int target, int persist,
                          int *settled_p)
{
    const osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                       = OMPI_SUCCESS;
    int error;

    atomic_thread_fence(memory_order_seq_cst);
    if (OPAL_UNLIKELY(peer->way->is_remote)) {
        ret   = osc_daxpin_requests_begin_all(module);
        error = peer->way->complete(module, target);
        if (ret == OMPI_SUCCESS) {
            *settled_p = osc_daxpin_error_is_gone(error);
            ret        = error;
        }
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
    }
    *settled_p = 1;
    return osc_daxpin_settle_one(module, target, persist);
}

/* *settled_p: the error is that of the target, so that it may be forgotten.
 * Otherwise the next call checks the target. */
static inline int osc_daxpin_settle(osc_daxpin_module_t *module, int target,
                                    int persist, int *settled_p)
{
    *settled_p = !osc_daxpin_is_unsettled(module, target, persist);
    return *settled_p ? OMPI_SUCCESS :
                        osc_daxpin_settle_touched(module, target, persist,
                                                  settled_p);
}

/* Check the targets up to the first that has an error. *settled_p: their number,
 * with that one. A call returns one error, so the next call checks the others. */
static int osc_daxpin_settle_all(osc_daxpin_module_t *module, int persist,
                                 int *settled_p)
{
    int i, ret;

    atomic_thread_fence(memory_order_seq_cst);
    ret = osc_daxpin_requests_begin_all(module);
    osc_daxpin_keep_first(&ret, osc_daxpin_inner_complete_all(module));
    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_settle_one(module, i, persist);
    }
    *settled_p = i;
    return ret;
}

/* Caller holds the lock of the peers. */
static void osc_daxpin_forget_one(osc_daxpin_module_t *module, int target,
                                  int error)
{
    osc_daxpin_peer_t *peer = &module->peers[target];

    if (OPAL_UNLIKELY(error == osc_daxpin_error_code())) {
        osc_daxpin_peer_forget_told(peer);
    } else {
        osc_daxpin_peer_forget(peer);
    }
}

/* error: what was found, of this target */
static void osc_daxpin_forget(osc_daxpin_module_t *module, int target,
                              int error)
{
    osc_daxpin_peers_lock(module);
    osc_daxpin_forget_one(module, target, error);
    osc_daxpin_peers_unlock(module);
}

/* Forget the targets before last, which are good, the last one, which has an
 * error, and those whose memory is in the same file: its error names the file */
static void osc_daxpin_forget_up_to(osc_daxpin_module_t *module, int last,
                                    int error)
{
    int i;

    osc_daxpin_peers_lock(module);
    for (i = 0; i < module->size; ++i) {
        if (i < last) {
            osc_daxpin_peer_forget(&module->peers[i]);
        } else if ((i == last) ||
                   ((error == osc_daxpin_error_code()) &&
                    osc_daxpin_peers_share(&module->peers[last],
                                           &module->peers[i]))) {
            osc_daxpin_forget_one(module, i, error);
        }
    }
    osc_daxpin_peers_unlock(module);
}

/* Forget the targets that osc_daxpin_settle_all() has checked. error: its
 * result */
static void osc_daxpin_forget_all(osc_daxpin_module_t *module, int settled,
                                  int error)
{
    if (error == OMPI_SUCCESS) {
        osc_daxpin_forget_up_to(module, settled, error);
    } else if (settled > 0) {
        osc_daxpin_forget_up_to(module, settled - 1, error);
    }
}

int osc_daxpin_settle_rest(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    int error, i;

    for (i = 0; i < module->size; ++i) {
        if (module->peers[i].gone) {
            continue;
        }
        error = osc_daxpin_settle_one(module, i, 0);
        if (error != OMPI_SUCCESS) {
            osc_daxpin_forget_up_to(module, i, error);
            ret = (error == osc_daxpin_error_code()) ? error : ret;
            osc_daxpin_keep_first(&ret, error);
        }
    }
    return ret;
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
    int error, settled, ret;

    error = osc_daxpin_settle_all(module, 0, &settled);
    ret   = module->epochs->fence(module, hints);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open = !(hints & MPI_MODE_NOSUCCEED);
    osc_daxpin_forget_all(module, settled, error);
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
    int error, settled, i, ret;

    error = osc_daxpin_settle_all(module, 0, &settled);
    ret   = module->epochs->complete(module, module->started);
    if (ret == OMPI_ERR_RMA_SYNC) {
        return ret;
    }
    for (i = 0; i < module->started->count; ++i) {
        module->peers[module->started->ranks[i]].open = 0;
    }
    OPAL_THREAD_LOCK(&module->local.mutex);
    osc_daxpin_ranks_put(&module->started);
    OPAL_THREAD_UNLOCK(&module->local.mutex);
    osc_daxpin_forget_all(module, settled, error);
    osc_daxpin_keep_first(&error, ret); /* The epoch has ended also then */
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
    int error, settled, ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    error = osc_daxpin_settle(module, target, osc_daxpin_persists_flush(module),
                              &settled);
    ret   = module->epochs->unlock(module, target);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->peers[target].open   = 0;
    module->peers[target].locked = 0;
    if (settled) {
        osc_daxpin_forget(module, target, error);
    }
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
    int error, settled, ret;

    error = osc_daxpin_settle_all(module, osc_daxpin_persists_flush(module),
                                  &settled);
    ret   = module->epochs->unlock_all(module);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open   = 0;
    module->all_locked = 0;
    osc_daxpin_forget_all(module, settled, error);
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
    int settled, ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    ret = osc_daxpin_flush_begin(module, osc_daxpin_is_locked(module, target));
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_settle(module, target, osc_daxpin_persists_flush(module),
                            &settled);
    if (settled && osc_daxpin_error_is_final(ret) && osc_daxpin_may_forget()) {
        osc_daxpin_forget(module, target, ret);
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
    int settled, ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_any_locked(module));
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_settle_all(module, osc_daxpin_persists_flush(module),
                                &settled);
    if (osc_daxpin_error_is_final(ret) && osc_daxpin_may_forget()) {
        osc_daxpin_forget_all(module, settled, ret);
    }
    return osc_daxpin_settle_stores_all(module, ret);
}

int osc_daxpin_flush_local(int target, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int settled, ret;

    if (!osc_daxpin_has_target(module, target, &ret)) {
        return ret;
    }
    ret = osc_daxpin_flush_begin(module, osc_daxpin_is_locked(module, target));
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_settle(module, target, 0, &settled);
    }
    return osc_daxpin_settle_stores(module, target, ret);
}

int osc_daxpin_flush_local_all(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int settled, ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_any_locked(module));
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_settle_all(module, 0, &settled);
    }
    return osc_daxpin_settle_stores_all(module, ret);
}
