/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Synchronisation. The order at the end of an epoch: what went to other nodes
 * is complete; the states of the targets that were accessed; the inner
 * component's synchronisation, also where a state is bad, since others wait
 * for it; then this rank's own part, which by now has what others wrote.
 */

#include "osc_daxpin.h"

#include <stdlib.h>


static inline void osc_daxpin_keep_first(int *ret_p, int ret)
{
    if (*ret_p == OMPI_SUCCESS) {
        *ret_p = ret;
    }
}


/* What was written to one target is there, and durable if asked for */
static inline int osc_daxpin_settle_one(osc_daxpin_module_t *module,
                                        int target, int persist)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    int ret;

    if (!peer->touched) {
        return OMPI_SUCCESS;
    }
    if (persist) {
        ret = osc_daxpin_peer_persist(module, target);
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
    }
    return osc_daxpin_peer_is_held(peer) ?
                   OMPI_SUCCESS :
                   osc_daxpin_peer_check(module, target);
}


static inline int osc_daxpin_settle(osc_daxpin_module_t *module, int target,
                                    int persist)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret                   = OMPI_SUCCESS;

    if (!module->peers[target].touched) {
        return OMPI_SUCCESS;
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (module->peers[target].mem.base == NULL) {
        ret = data->module->osc_flush(target, data->win);
    }
    osc_daxpin_keep_first(&ret,
                          osc_daxpin_settle_one(module, target, persist));
    return ret;
}


static int osc_daxpin_settle_all(osc_daxpin_module_t *module, int persist)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret                   = OMPI_SUCCESS;
    int i;

    atomic_thread_fence(memory_order_seq_cst);
    if (module->remote) {
        ret = data->module->osc_flush_all(data->win);
    }
    for (i = 0; i < module->size; ++i) {
        osc_daxpin_keep_first(&ret, osc_daxpin_settle_one(module, i, persist));
    }
    return ret;
}


static void osc_daxpin_forget_all(osc_daxpin_module_t *module)
{
    int i;

    for (i = 0; i < module->size; ++i) {
        osc_daxpin_peer_forget(&module->peers[i]);
    }
}


/* The own part, when others have written to it or this rank says so */
static int osc_daxpin_settle_own(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;

    atomic_thread_fence(memory_order_seq_cst);
    if (module->spec.persist != OSC_DAXPIN_PERSIST_NONE) {
        ret = osc_daxpin_own_persist(module);
    }
    osc_daxpin_keep_first(&ret, osc_daxpin_own_check(module));
    return ret;
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
    ret   = module->sync.module->osc_fence(hints, module->sync.win);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open = !(hints & MPI_MODE_NOSUCCEED);
    osc_daxpin_forget_all(module);
    osc_daxpin_keep_first(&error, osc_daxpin_settle_own(module));
    return error;
}


/*
 * Post, start, complete, wait
 */

static int osc_daxpin_start_targets(osc_daxpin_module_t *module,
                                    ompi_group_t *group)
{
    int count = ompi_group_size(group);
    ompi_group_t *all;
    int *ranks, i, ret;

    free(module->started);
    module->num_started = 0;
    module->started     = malloc((count + 1) * sizeof(*ranks));
    ranks               = malloc((count + 1) * sizeof(*ranks));
    if ((ranks == NULL) || (module->started == NULL)) {
        ret = OMPI_ERR_OUT_OF_RESOURCE;
        goto out;
    }
    for (i = 0; i < count; ++i) {
        ranks[i] = i;
    }
    ret = ompi_comm_group(module->comm, &all);
    if (ret != OMPI_SUCCESS) {
        goto out;
    }
    ret = ompi_group_translate_ranks(group, count, ranks, all,
                                     module->started);
    ompi_group_free(&all);
    if (ret == OMPI_SUCCESS) {
        module->num_started = count;
    }
out:
    free(ranks);
    return ret;
}


int osc_daxpin_start(ompi_group_t *group, int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int i, ret;

    ret = osc_daxpin_start_targets(module, group);
    if (ret == OMPI_SUCCESS) {
        ret = module->sync.module->osc_start(group, hints, module->sync.win);
    }
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open = 0;
    for (i = 0; i < module->num_started; ++i) {
        module->peers[module->started[i]].open = 1;
    }
    return OMPI_SUCCESS;
}


int osc_daxpin_complete(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error, i, ret;

    error = osc_daxpin_settle_all(module, 0);
    ret   = module->sync.module->osc_complete(module->sync.win);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    for (i = 0; i < module->num_started; ++i) {
        module->peers[module->started[i]].open = 0;
    }
    module->num_started = 0;
    osc_daxpin_forget_all(module);
    return error;
}


int osc_daxpin_post(ompi_group_t *group, int hints, ompi_win_t *win)
{
    osc_daxpin_shadow_t *sync = &osc_daxpin_module(win)->sync;

    return sync->module->osc_post(group, hints, sync->win);
}


int osc_daxpin_wait(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = module->sync.module->osc_wait(module->sync.win);
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_settle_own(module);
}


int osc_daxpin_test(ompi_win_t *win, int *flag)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = module->sync.module->osc_test(module->sync.win, flag);
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

    ret = module->sync.module->osc_lock(type, target, hints,
                                        module->sync.win);
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

    error = osc_daxpin_settle(module, target,
                              osc_daxpin_persists_flush(module));
    ret   = module->sync.module->osc_unlock(target, module->sync.win);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->peers[target].open   = 0;
    module->peers[target].locked = 0;
    osc_daxpin_peer_forget(&module->peers[target]);
    return error;
}


int osc_daxpin_lock_all(int hints, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = module->sync.module->osc_lock_all(hints, module->sync.win);
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
    ret   = module->sync.module->osc_unlock_all(module->sync.win);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    module->all_open   = 0;
    module->all_locked = 0;
    osc_daxpin_forget_all(module);
    return error;
}


/* For the ranks of a shared window it orders loads and stores in any epoch,
 * which not all inner components would let it do */
int osc_daxpin_sync(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret                     = OMPI_SUCCESS;

    if (module->flavor != MPI_WIN_FLAVOR_SHARED) {
        ret = module->sync.module->osc_sync(module->sync.win);
    }
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_settle_own(module);
}


/*
 * Flush. The inner component's would have nothing to wait for, and takes longer
 * than a put; it is the data window, if any, that is flushed. What could not
 * be made durable is for the next flush, too.
 */

static inline int osc_daxpin_flush_begin(osc_daxpin_module_t *module,
                                         int is_locked)
{
    if (OPAL_UNLIKELY(!is_locked)) {
        return OMPI_ERR_RMA_SYNC;
    }
    if (OPAL_UNLIKELY(module->remote)) {
        /* The program may be waiting for what others put here */
        opal_progress();
    } else {
        osc_daxpin_progress(module, 0);
    }
    return OMPI_SUCCESS;
}


static inline int osc_daxpin_is_locked(const osc_daxpin_module_t *module,
                                       int target)
{
    return module->all_locked | module->peers[target].locked;
}


/* Any target */
static int osc_daxpin_are_locked(const osc_daxpin_module_t *module)
{
    int i;

    for (i = 0; i < module->size; ++i) {
        if (osc_daxpin_is_locked(module, i)) {
            return 1;
        }
    }
    return 0;
}


int osc_daxpin_flush(int target, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_is_locked(module, target));
    if ((ret != OMPI_SUCCESS) || !module->peers[target].touched) {
        return ret;
    }
    ret = osc_daxpin_settle(module, target, osc_daxpin_persists_flush(module));
    if (ret != MPI_ERR_IO) {
        osc_daxpin_peer_forget(&module->peers[target]);
    }
    return ret;
}


int osc_daxpin_flush_all(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_are_locked(module));
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_settle_all(module, osc_daxpin_persists_flush(module));
    if (ret != MPI_ERR_IO) {
        osc_daxpin_forget_all(module);
    }
    return ret;
}


int osc_daxpin_flush_local(int target, ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_is_locked(module, target));
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_settle(module, target, 0);
}


int osc_daxpin_flush_local_all(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    ret = osc_daxpin_flush_begin(module, osc_daxpin_are_locked(module));
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_settle_all(module, 0);
}
