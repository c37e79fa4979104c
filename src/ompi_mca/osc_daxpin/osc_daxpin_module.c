/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A window: making it, its table of functions, and freeing it */

#include "osc_daxpin_module.h"

#include "osc_daxpin_acc.h"
#include "osc_daxpin_am.h"
#include "osc_daxpin_attached.h"
#include "osc_daxpin_bound.h"
#include "osc_daxpin_comm.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_lend.h"
#include "osc_daxpin_local.h"
#include "osc_daxpin_node.h"
#include "osc_daxpin_peer.h"
#include "osc_daxpin_persist.h"
#include "osc_daxpin_progress.h"
#include "osc_daxpin_request.h"
#include "osc_daxpin_segment.h"
#include "osc_daxpin_service.h"
#include "osc_daxpin_shadow.h"
#include "osc_daxpin_state.h"
#include "osc_daxpin_sync.h"
#include "osc_daxpin_wait.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Freeing it
 */

static void osc_daxpin_shadow_unlock(osc_daxpin_shadow_t *shadow)
{
    if (shadow->module != NULL) {
        (void)shadow->module->osc_unlock_all(shadow->win);
    }
}

static void osc_daxpin_module_free(osc_daxpin_module_t *module)
{
    osc_daxpin_progress_free(module);
    osc_daxpin_local_cleanup(module);
    osc_daxpin_ranks_put(&module->started);
    osc_daxpin_ranks_put(&module->local.exposed);
    osc_daxpin_ranks_put(&module->local.last_start);
    osc_daxpin_ranks_put(&module->local.last_post);
    free(module->peers);
    OBJ_DESTRUCT(&module->local.mutex);
    OBJ_DESTRUCT(&module->peers_mutex);
    OBJ_DESTRUCT(&module->attach_mutex);
    OBJ_DESTRUCT(&module->lend_mutex);
    OBJ_DESTRUCT(&module->persist_mutex);
    OBJ_DESTRUCT(&module->mutex);
    free(module);
}

static int osc_daxpin_module_barrier(osc_daxpin_module_t *module)
{
    ompi_communicator_t *comm = module->comm;

    return module->undo ?
                   comm->c_coll->coll_barrier(
                           comm, comm->c_coll->coll_barrier_module) :
                   osc_daxpin_bound_barrier(module);
}

static void osc_daxpin_module_delete(osc_daxpin_module_t *module)
{
    osc_daxpin_requests_close(module);
    osc_daxpin_progress_stop(module);
    osc_daxpin_services_close(module);
    osc_daxpin_inside_close(module);
    osc_daxpin_shadow_unlock(&module->persist);
    osc_daxpin_shadow_unlock(&module->state);
    osc_daxpin_shadow_unlock(&module->lock);
    osc_daxpin_shadow_unlock(&module->data);
    osc_daxpin_shadow_close(&module->persist);
    osc_daxpin_shadow_close(&module->state);
    osc_daxpin_shadow_close(&module->lock);
    osc_daxpin_shadow_close(&module->data);
    osc_daxpin_shadow_close(&module->sync);
    osc_daxpin_peers_close(module);
    osc_daxpin_attached_close(module);
    /* Wait before the file is closed, because this rank may be the holder of a
     * file that another rank still uses */
    if (osc_daxpin_module_barrier(module) != OMPI_SUCCESS) {
        return; /* The rest stays, as in osc_daxpin_free() */
    }
    osc_daxpin_segment_close(module, module->undo);
    osc_daxpin_node_close(&module->node);
    ompi_comm_free(&module->comm);
    osc_daxpin_module_free(module);
}

/* When freeing it returns an error, MPI keeps the window, and the program may
 * free it again */
static int osc_daxpin_free_nothing(ompi_win_t *win)
{
    return OMPI_SUCCESS;
}

static const ompi_osc_base_module_t osc_daxpin_freed = {
    .osc_free = osc_daxpin_free_nothing
};

/* Keep the error to return: that of a revoked file, which is printed only if it is
 * not the first one, or else the first */
static void osc_daxpin_free_keep(int *ret_p, int error)
{
    if ((error != OMPI_SUCCESS) &&
        ((*ret_p == OMPI_SUCCESS) || (error == osc_daxpin_error_code()))) {
        *ret_p = error;
    }
}

/* End what the program has locked, and left so. Osc/ucx would wait for that for
 * ever, and another rank may wait for such a lock before it frees the window. */
static int osc_daxpin_free_locks(osc_daxpin_module_t *module)
{
    int ret = module->all_locked ? osc_daxpin_unlock_all(module->win) :
                                   OMPI_SUCCESS;
    int i;

    for (i = 0; i < module->size; ++i) {
        if (module->peers[i].locked) {
            osc_daxpin_free_keep(&ret, osc_daxpin_unlock(i, module->win));
        }
    }
    osc_daxpin_free_keep(&ret, osc_daxpin_settle_rest(module));
    return ret;
}

/* Check this rank's own memory, and what else it has stored to, up to the last
 * file: each error is that of another one */
static int osc_daxpin_free_own(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    int error;

    do {
        error = osc_daxpin_settle_own(module);
        osc_daxpin_free_keep(&ret, error);
    } while ((error != OMPI_SUCCESS) && (error == osc_daxpin_error_code()));
    return ret;
}

/* Free a window. If a rank has ended, or does not answer, everything stays as it
 * is until this process ends: all that is done together would wait for that
 * rank, and others may still access this one. */
static int osc_daxpin_free(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error, ret;

    module->freeing = 1;
    ret   = osc_daxpin_free_locks(module);
    error = osc_daxpin_bound_barrier(module);
    osc_daxpin_free_keep(&ret, osc_daxpin_free_own(module));
    if (error == OMPI_SUCCESS) {
        osc_daxpin_module_delete(module);
    } else {
        osc_daxpin_progress_stop(module);
        if (module->free_revoked) {
            osc_daxpin_error_print_revoked(module);
        }
        ret = error;
    }
    win->w_osc_module = (ompi_osc_base_module_t*)&osc_daxpin_freed;
    return ret;
}

int osc_daxpin_module_is_own(const ompi_win_t *win)
{
    return win->w_osc_module->osc_free == osc_daxpin_free;
}

/*
 * Its functions
 */

/* Return the first rank whose memory is in this process; if there is none, this
 * rank */
static int osc_daxpin_shared_first(const osc_daxpin_module_t *module)
{
    int i;

    for (i = 0; i < module->size; ++i) {
        if ((module->peers[i].mem.size > 0) &&
            (osc_daxpin_peer_base(module, i) != NULL)) {
            return i;
        }
    }
    return module->rank;
}

/* Return where the program finds the part of a rank; NULL: nowhere. A part of 0
 * bytes has a place, too, if it is part of a file, unless the program wanted
 * parts that are apart: then Open MPI's own windows give NULL. */
static char *osc_daxpin_place(const osc_daxpin_module_t *module, int rank)
{
    if ((module->flavor == MPI_WIN_FLAVOR_SHARED) &&
        module->spec.noncontiguous && (module->peers[rank].mem.size == 0)) {
        return NULL;
    }
    return osc_daxpin_peer_base(module, rank);
}

/* The answer for memory that is not in this process is a size of 0. */
static int osc_daxpin_shared_query(ompi_win_t *win, int rank, size_t *size,
                                   osc_daxpin_unit_t *disp_unit, void *baseptr)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_peer_t *peer;
    char *base;

    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        return MPI_ERR_RMA_FLAVOR;
    }
    if (rank == MPI_PROC_NULL) {
        rank = osc_daxpin_shared_first(module);
    }
    peer             = &module->peers[rank];
    base             = osc_daxpin_place(module, rank);
    *size            = (base != NULL) ? peer->mem.size : 0;
    *disp_unit       = peer->disp_unit;
    *(void**)baseptr = base;
    if ((*size > 0) && (peer->mem.access.file != module->segment.file)) {
        peer->touched = peer->queried = 1; /* else it is checked as its own */
    }
    return OMPI_SUCCESS;
}

/* Nothing would report a revoke of what is detached */
static int osc_daxpin_detach_checked(ompi_win_t *win, const void *base)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int error                   = OMPI_SUCCESS;
    int ret;

    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        error = osc_daxpin_attached_check(module, base);
    }
    ret = osc_daxpin_win_detach(win, base);
    return (ret != OMPI_SUCCESS) ? ret : error;
}

static const ompi_osc_base_module_t osc_daxpin_module_template = {
    .osc_win_shared_query = osc_daxpin_shared_query,
    .osc_win_attach       = osc_daxpin_win_attach,
    .osc_win_detach       = osc_daxpin_detach_checked,
    .osc_free             = osc_daxpin_free,
    .osc_put              = osc_daxpin_put,
    .osc_get              = osc_daxpin_get,
    .osc_accumulate       = osc_daxpin_accumulate,
    .osc_compare_and_swap = osc_daxpin_compare_and_swap,
    .osc_fetch_and_op     = osc_daxpin_fetch_and_op,
    .osc_get_accumulate   = osc_daxpin_get_accumulate,
    .osc_rput             = osc_daxpin_rput,
    .osc_rget             = osc_daxpin_rget,
    .osc_raccumulate      = osc_daxpin_raccumulate,
    .osc_rget_accumulate  = osc_daxpin_rget_accumulate,
    .osc_fence            = osc_daxpin_fence,
    .osc_start            = osc_daxpin_start,
    .osc_complete         = osc_daxpin_complete,
    .osc_post             = osc_daxpin_post,
    .osc_wait             = osc_daxpin_wait,
    .osc_test             = osc_daxpin_test,
    .osc_lock             = osc_daxpin_lock,
    .osc_unlock           = osc_daxpin_unlock,
    .osc_lock_all         = osc_daxpin_lock_all,
    .osc_unlock_all       = osc_daxpin_unlock_all,
    .osc_sync             = osc_daxpin_sync,
    .osc_flush            = osc_daxpin_flush,
    .osc_flush_all        = osc_daxpin_flush_all,
    .osc_flush_local      = osc_daxpin_flush_local,
    .osc_flush_local_all  = osc_daxpin_flush_local_all
};

/*
 * Making it
 */

static osc_daxpin_module_t *
osc_daxpin_module_new(const osc_daxpin_component_t *component,
                      const osc_daxpin_spec_t *spec,
                      const osc_daxpin_segment_t *segment, ompi_win_t *win,
                      ompi_communicator_t *comm, int flavor)
{
    osc_daxpin_module_t *module = calloc(1, sizeof(*module));

    if (module == NULL) {
        return NULL;
    }
    OBJ_CONSTRUCT(&module->local.mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->persist_mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->attach_mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->lend_mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->peers_mutex, opal_recursive_mutex_t);
    module->super       = osc_daxpin_module_template;
    module->component   = component;
    module->timeout_ms  = component->timeout_ms;
    module->win         = win;
    module->flavor      = flavor;
    module->rank        = ompi_comm_rank(comm);
    module->size        = ompi_comm_size(comm);
    module->has_threads = (flavor == MPI_WIN_FLAVOR_DYNAMIC) &&
                          opal_using_threads();
    module->spec        = *spec;
    module->segment     = *segment;
    return module;
}

/* Make a shadow window over memory of all ranks, with an epoch that lasts as
 * long as the window */
static int osc_daxpin_shadow_locked(osc_daxpin_module_t *module,
                                    const ompi_win_t *win, void *base,
                                    size_t size, osc_daxpin_unit_t disp_unit,
                                    opal_info_t *info,
                                    osc_daxpin_shadow_t *shadow)
{
    int model, ret;

    ret = osc_daxpin_shadow_open(module, win, base, size, disp_unit, info,
                                 &model, shadow);
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   osc_daxpin_agree(module, shadow->module->osc_lock_all(
                                                    MPI_MODE_NOCHECK,
                                                    shadow->win));
}

/* Make the records of requests to persist, for the progress thread */
static int osc_daxpin_progress_open(osc_daxpin_module_t *module,
                                    const ompi_win_t *win)
{
    int ret;

    if (!module->progress.wanted) {
        return OMPI_SUCCESS;
    }
    ret = osc_daxpin_agree(module, osc_daxpin_progress_alloc(module));
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_shadow_locked(
                module, win, module->progress.records,
                module->size * sizeof(*module->progress.records),
                sizeof(uint64_t), NULL, &module->persist);
    }
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_progress_start(module);
}

/* Make the shadow window of locks. All that is done to it are atomic operations
 * on one word, for which osc/ucx from 5.0 on needs no lock of its own if it knows
 * that: such a lock stays taken after an error, and all others wait for it. */
static int osc_daxpin_lock_open(osc_daxpin_module_t *module,
                                const ompi_win_t *win)
{
    osc_daxpin_slot_t *slot;
    opal_info_t *info = OBJ_NEW(opal_info_t);
    int ret           = OMPI_ERR_OUT_OF_RESOURCE;

    if (info != NULL) {
        ret = opal_info_set(info, (char*)"acc_single_intrinsic", "true");
    }
    ret = osc_daxpin_agree(module, ret);
    if (ret == OMPI_SUCCESS) {
        slot = &module->node.slots[ompi_comm_rank(module->node.comm)];
        ret  = osc_daxpin_shadow_locked(module, win, slot, sizeof(*slot),
                                        sizeof(uint64_t), info, &module->lock);
    }
    if (info != NULL) {
        OBJ_RELEASE(info);
    }
    return ret;
}

/* Open what makes epochs and accumulates */
static int osc_daxpin_epochs_open(osc_daxpin_module_t *module,
                                  const ompi_win_t *win, opal_info_t *info,
                                  int *model)
{
    int ret;

    if (module->node.is_all) {
        module->epochs = &osc_daxpin_epochs_local;
        *model         = MPI_WIN_UNIFIED;
        ret            = osc_daxpin_local_init(module);
        if ((ret == OMPI_SUCCESS) && module->remote) {
            ret = osc_daxpin_inside_open(module);
        }
        /* Else osc_daxpin_module_fill() agrees next */
        return module->remote ? osc_daxpin_agree(module, ret) : ret;
    }
    module->epochs = &osc_daxpin_epochs_inner;
    ret = osc_daxpin_agree(module, osc_daxpin_inside_open(module));
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_shadow_open(module, win, module->sync_memory,
                                 sizeof(module->sync_memory), 1, info, model,
                                 &module->sync);
    if ((ret != OMPI_SUCCESS) || !module->remote) {
        return ret;
    }
    return osc_daxpin_lock_open(module, win);
}

static int osc_daxpin_shadows_open(osc_daxpin_module_t *module,
                                   const ompi_win_t *win, opal_info_t *info,
                                   osc_daxpin_unit_t disp_unit, int *model)
{
    int ret;

    ret = osc_daxpin_epochs_open(module, win, info, model);
    if ((ret != OMPI_SUCCESS) || !module->remote || module->has_am) {
        return ret;
    }
    osc_daxpin_requests_open(module);
    if (module->segment.file != NULL) {
        daxpin_file_set_distant(module->segment.file);
    }
    ret = osc_daxpin_shadow_locked(module, win, module->segment.base,
                                   module->segment.size, disp_unit, NULL,
                                   &module->data);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_shadow_locked(module, win,
                                       (void*)osc_daxpin_own_control(module),
                                       DAXPIN_CONTROL_SIZE, 1, NULL,
                                       &module->state);
    }
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_progress_open(module, win);
}

static int osc_daxpin_module_fill(osc_daxpin_module_t *module,
                                  const ompi_win_t *win, size_t size,
                                  osc_daxpin_unit_t disp_unit,
                                  opal_info_t *info, int *model)
{
    int ret;

    ret = osc_daxpin_node_open(module);
    if ((ret == OMPI_SUCCESS) && osc_daxpin_allocates(module->flavor)) {
        ret = osc_daxpin_segment_open(module, size);
    }
    if ((ret == OMPI_SUCCESS) &&
        (module->flavor == MPI_WIN_FLAVOR_DYNAMIC)) {
        ret = osc_daxpin_agree(module, osc_daxpin_attached_open(module));
    }
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_peers_open(module, disp_unit);
    if ((ret == OMPI_SUCCESS) && module->remote &&
        (module->flavor == MPI_WIN_FLAVOR_DYNAMIC)) {
        osc_daxpin_am_open(module);
    }
    if ((ret == OMPI_SUCCESS) &&
        (module->flavor == MPI_WIN_FLAVOR_DYNAMIC)) {
        osc_daxpin_lend_open(module);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_shadows_open(module, win, info, disp_unit, model);
    }
    return osc_daxpin_agree(module, ret);
}

/* Keys that inner components read when a program changes the info of a window
 * later. They subscribe to the sync window, so a change is passed on to it. A
 * window that could not be freed without an error has none. */
static const char *osc_daxpin_inner_keys[] = {
    "no_locks", "acc_single_intrinsic"
};

static osc_daxpin_info_char_t *
osc_daxpin_info_changed(opal_infosubscriber_t *object,
                        osc_daxpin_info_char_t *key,
                        osc_daxpin_info_char_t *value)
{
    ompi_win_t *win   = (ompi_win_t*)object;
    ompi_win_t *inner = osc_daxpin_module_is_own(win) ?
                                osc_daxpin_module(win)->sync.win : NULL;
    opal_info_t *info = OBJ_NEW(opal_info_t);

    if ((inner != NULL) && (info != NULL) && (value != NULL) &&
        (value[0] != '\0') &&
        (opal_info_set(info, key, value) == OPAL_SUCCESS)) {
        opal_infosubscribe_change_info(&inner->super, info);
        win->w_flags = (win->w_flags & ~OMPI_WIN_NO_LOCKS) |
                       (inner->w_flags & OMPI_WIN_NO_LOCKS);
    }
    if (info != NULL) {
        OBJ_RELEASE(info);
    }
    return ((value != NULL) && (value[0] != '\0')) ? value : NULL;
}

static void osc_daxpin_info_subscribe(ompi_win_t *win)
{
    size_t i;

    for (i = 0; i < sizeof(osc_daxpin_inner_keys) /
                            sizeof(osc_daxpin_inner_keys[0]); ++i) {
        opal_infosubscribe_subscribe(&win->super,
                                     (char*)osc_daxpin_inner_keys[i], "",
                                     osc_daxpin_info_changed);
    }
}

int osc_daxpin_module_open(const osc_daxpin_component_t *component,
                           const osc_daxpin_spec_t *spec,
                           osc_daxpin_segment_t *segment, ompi_win_t *win,
                           void **base, size_t size,
                           osc_daxpin_unit_t disp_unit,
                           ompi_communicator_t *comm, opal_info_t *info,
                           int flavor, int *model)
{
    osc_daxpin_module_t *module;
    char name[MPI_MAX_OBJECT_NAME];
    int ret;

    module = osc_daxpin_module_new(component, spec, segment, win, comm,
                                   flavor);
    ret    = (module == NULL) ? OMPI_ERR_OUT_OF_RESOURCE :
                                osc_daxpin_error_add();
    ret    = osc_daxpin_agree_in(comm, ret);
    if (ret == OMPI_SUCCESS) {
        ret = ompi_comm_dup(comm, &module->comm);
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_segment_release(segment);
        if (module != NULL) {
            osc_daxpin_module_free(module);
        }
        return ret;
    }
    PMPI_Comm_set_errhandler(module->comm, MPI_ERRORS_RETURN);
    ret = osc_daxpin_module_fill(module, win, size, disp_unit, info, model);
    if (ret != OMPI_SUCCESS) {
        module->undo = 1;
        osc_daxpin_module_delete(module);
        return ret;
    }
    if (module->spec.temporary) {
        osc_daxpin_segment_unlink(module);
    }
    if (flavor != MPI_WIN_FLAVOR_DYNAMIC) {
        *base = osc_daxpin_place(module, module->rank);
    }
    win->w_osc_module = &module->super;
    if (module->sync.win != NULL) {
        win->w_flags |= module->sync.win->w_flags;
    }
    snprintf(name, sizeof(name), "daxpin window %d",
             osc_daxpin_comm_number(module->comm));
    ompi_win_set_name(win, name);
    osc_daxpin_info_subscribe(win);
    return OMPI_SUCCESS;
}
