/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The component, and making a window. It wants every window, so that all ranks
 * can decide together whether one is over a file; if not, another component
 * gets it as it is.
 */

#include "osc_daxpin.h"

#include "ompi/errhandler/errcode.h"
#include "opal/util/info.h"

#include "wire/ucx_md.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OSC_DAXPIN_PRIORITY   1000
#define OSC_DAXPIN_TIMEOUT_MS DAXPIN_TIMEOUT_DEFAULT_MS

static int osc_daxpin_register(void)
{
    osc_daxpin_component_t *osc        = &mca_osc_daxpin_component;
    const mca_base_component_t *version = &osc->super.osc_version;

    osc->priority   = OSC_DAXPIN_PRIORITY;
    osc->timeout_ms = OSC_DAXPIN_TIMEOUT_MS;
    (void)mca_base_component_var_register(
            version, "priority", "Priority of the osc/daxpin component",
            MCA_BASE_VAR_TYPE_INT, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->priority);
    (void)mca_base_component_var_register(
            version, "inner",
            "Name of the osc component that does the work behind windows over "
            "files (default: the best that there is)",
            MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->inner);
    (void)mca_base_component_var_register(
            version, "dir",
            "Directory: windows of MPI_Win_allocate() and "
            "MPI_Win_allocate_shared() that name no file get one there, which "
            "has no name any more when the call returns (default: none)",
            MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->dir);
    (void)mca_base_component_var_register(
            version, "timeout_ms",
            "Milliseconds to wait for the lease on a window's file while other "
            "programs have it open",
            MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_5,
            MCA_BASE_VAR_SCOPE_LOCAL, &osc->timeout_ms);
    return OMPI_SUCCESS;
}

static int osc_daxpin_init(bool progress_threads, bool mpi_threads)
{
    osc_daxpin_requests_init();
    return OMPI_SUCCESS;
}

static int osc_daxpin_finalize(void)
{
    osc_daxpin_requests_finalize();
    return OMPI_SUCCESS;
}

static int osc_daxpin_query(ompi_win_t *win, void **base, size_t size,
                            int disp_unit, ompi_communicator_t *comm,
                            opal_info_t *info, int flavor)
{
    return mca_osc_daxpin_component.priority;
}

/* Not in osc_init: MPI's table of error codes is made after it */
static int osc_daxpin_error_code_make(void)
{
    static const char name[MPI_MAX_ERROR_STRING] = "MPIX_ERR_DAXPIN_REVOKED";
    osc_daxpin_component_t *osc                  = &mca_osc_daxpin_component;

    if (osc->error_code != 0) {
        return OMPI_SUCCESS;
    }
    osc->error_class = ompi_mpi_errclass_add();
    osc->error_code  = ompi_mpi_errcode_add(osc->error_class);
    if ((osc->error_class < 0) || (osc->error_code < 0)) {
        osc->error_code = 0;
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ompi_mpi_errnum_add_string(osc->error_class, name, sizeof(name));
    ompi_mpi_errnum_add_string(osc->error_code, name, sizeof(name));
    return OMPI_SUCCESS;
}

int osc_daxpin_agree(osc_daxpin_module_t *module, int ret)
{
    ompi_communicator_t *comm = module->comm;
    int all                   = (ret > 0) ? -ret : ret;

    if (comm->c_coll->coll_allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN,
                                     comm,
                                     comm->c_coll->coll_allreduce_module) !=
        OMPI_SUCCESS) {
        return OMPI_ERROR;
    }
    return (all == 0) ? OMPI_SUCCESS : (ret != OMPI_SUCCESS) ? ret : OMPI_ERROR;
}

/*
 * Which windows
 */

/* What one rank finds out about a window-to-be by itself */
typedef struct osc_daxpin_params {
    osc_daxpin_spec_t spec;
    osc_daxpin_segment_t segment;   /* of a program's own mapping */
    int               wanted; /* there is a file */
} osc_daxpin_params_t;

static int osc_daxpin_params_get(void *base, size_t size,
                               ompi_communicator_t *comm, opal_info_t *info,
                               int flavor, osc_daxpin_params_t *params)
{
    int ret;

    ret = osc_daxpin_spec_read(info, ompi_comm_rank(comm), &params->spec,
                               &params->wanted);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    switch (flavor) {
    case MPI_WIN_FLAVOR_ALLOCATE:
    case MPI_WIN_FLAVOR_SHARED:
        return OMPI_SUCCESS;
    case MPI_WIN_FLAVOR_CREATE:
        if (params->wanted) {
            break;
        }
        /* Mappings of the program's own; a file that an info key names is the
         * user's wish in any case */
        if (!daxpin_ucx_md_names_us()) {
            return OMPI_SUCCESS;
        }
        ret          = osc_daxpin_segment_adopt(base, size, &params->segment);
        params->wanted = params->segment.file != NULL;
        return ret;
    default:
        if (params->wanted) {
            break;
        }
        /* What will be attached, nobody knows yet: files may be */
        params->wanted = (params->spec.attach >= 0) ? params->spec.attach :
                                                  daxpin_ucx_md_names_us();
        return OMPI_SUCCESS;
    }
    return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: is named as the file of a "
                            "window over memory that the program has already; "
                            "use MPI_Win_allocate(), or map the file and leave "
                            "the info key out", params->spec.path);
}

/* A name that no other window has, the same on all ranks. The ranks of a node
 * share one file, which is quicker to have than one for each: nobody can revoke
 * what has no name. */
static int osc_daxpin_params_name(ompi_communicator_t *comm,
                                osc_daxpin_params_t *params)
{
    static unsigned number;
    char name[128], host[64] = "";
    int length;

    gethostname(host, sizeof(host) - 1);
    snprintf(name, sizeof(name), "daxpin-window.%s.%d.%u", host, (int)getpid(),
             number++);
    comm->c_coll->coll_bcast(name, sizeof(name), MPI_BYTE, 0, comm,
                             comm->c_coll->coll_bcast_module);
    length = snprintf(params->spec.path, sizeof(params->spec.path), "%s/%s",
                      mca_osc_daxpin_component.dir, name);
    if (length >= (int)sizeof(params->spec.path) - OSC_DAXPIN_NODE_ID_MAX) {
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "the MCA parameter "
                                "osc_daxpin_dir is too long a path");
    }
    params->spec.temporary = 1;
    params->wanted         = 1;
    return OMPI_SUCCESS;
}

static int osc_daxpin_allocates(int flavor)
{
    return (flavor == MPI_WIN_FLAVOR_ALLOCATE) ||
           (flavor == MPI_WIN_FLAVOR_SHARED);
}

static int osc_daxpin_dir_is_set(int flavor)
{
    const char *dir = mca_osc_daxpin_component.dir;

    return (dir != NULL) && (dir[0] != '\0') && osc_daxpin_allocates(flavor);
}

/* All ranks have a file, or none; *wanted_p is the same everywhere. Where the
 * program has mapped its memory, each rank may have it its way. */
static int osc_daxpin_params_agree(ompi_communicator_t *comm, int flavor,
                                 int ret, osc_daxpin_params_t *params,
                                 int *wanted_p)
{
    int counts[2] = {params->wanted, ret != OMPI_SUCCESS};
    int all       = ompi_comm_size(comm);
    int status;

    status = comm->c_coll->coll_allreduce(MPI_IN_PLACE, counts, 2, MPI_INT,
                                          MPI_SUM, comm,
                                          comm->c_coll->coll_allreduce_module);
    if ((status != OMPI_SUCCESS) || (ret != OMPI_SUCCESS)) {
        return (ret != OMPI_SUCCESS) ? ret : status;
    }
    if (counts[1] > 0) {
        return OMPI_ERROR;
    }
    if ((counts[0] == 0) && osc_daxpin_dir_is_set(flavor)) {
        counts[0] = all;
        ret       = osc_daxpin_params_name(comm, params);
    }
    *wanted_p = counts[0] > 0;
    if (osc_daxpin_allocates(flavor) && *wanted_p && (counts[0] < all)) {
        return params->wanted ? OMPI_ERROR :
               osc_daxpin_error(OMPI_ERR_BAD_PARAM, "rank %d: other ranks name "
                                "a file for the window, this one does not; "
                                "give all ranks the info key daxpin_path",
                                ompi_comm_rank(comm));
    }
    return ret;
}

/*
 * Windows
 */

static void osc_daxpin_shadow_unlock(osc_daxpin_shadow_t *shadow)
{
    if (shadow->module != NULL) {
        (void)shadow->module->osc_unlock_all(shadow->win);
    }
}

static osc_daxpin_module_t *
osc_daxpin_module_new(ompi_win_t *win, ompi_communicator_t *comm, int flavor,
                      const osc_daxpin_params_t *params)
{
    osc_daxpin_module_t *module = calloc(1, sizeof(*module));

    if (module == NULL) {
        return NULL;
    }
    OBJ_CONSTRUCT(&module->mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->persist_mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->attach_mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&module->peers_mutex, opal_recursive_mutex_t);
    module->has_threads = (flavor == MPI_WIN_FLAVOR_DYNAMIC) &&
                          opal_using_threads();
    module->super  = osc_daxpin_module_template;
    module->win    = win;
    module->flavor = flavor;
    module->rank   = ompi_comm_rank(comm);
    module->size   = ompi_comm_size(comm);
    module->spec   = params->spec;
    module->segment   = params->segment;
    return module;
}

static void osc_daxpin_module_free(osc_daxpin_module_t *module)
{
    osc_daxpin_progress_free(module);
    free(module->started);
    OBJ_DESTRUCT(&module->peers_mutex);
    OBJ_DESTRUCT(&module->attach_mutex);
    OBJ_DESTRUCT(&module->persist_mutex);
    OBJ_DESTRUCT(&module->mutex);
    free(module);
}

void osc_daxpin_module_delete(osc_daxpin_module_t *module)
{
    ompi_communicator_t *comm = module->comm;

    osc_daxpin_requests_close(module);
    osc_daxpin_progress_stop(module);
    osc_daxpin_am_close(module);
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
    /* Nobody serves files any more that another rank still uses */
    comm->c_coll->coll_barrier(comm, comm->c_coll->coll_barrier_module);
    osc_daxpin_segment_close(module, module->undo);
    osc_daxpin_node_close(&module->node);
    ompi_comm_free(&module->comm);
    osc_daxpin_module_free(module);
}

/* Over memory of all ranks, in an epoch that lasts as long as the window */
static int osc_daxpin_shadow_locked(osc_daxpin_module_t *module,
                                    const ompi_win_t *win, void *base,
                                    size_t size, int disp_unit,
                                    osc_daxpin_shadow_t *shadow)
{
    int model, ret;

    ret = osc_daxpin_shadow_open(win, module->comm, base, size, disp_unit,
                                 NULL, &model, shadow);
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   shadow->module->osc_lock_all(MPI_MODE_NOCHECK, shadow->win);
}

/* What others ask for, and the thread that does it */
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
                sizeof(uint64_t), &module->persist);
    }
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_progress_start(module);
}

static int osc_daxpin_shadows_open(osc_daxpin_module_t *module,
                                   const ompi_win_t *win, opal_info_t *info,
                                   int disp_unit, int *model)
{
    osc_daxpin_slot_t *slot;
    int ret;

    ret = osc_daxpin_shadow_open(win, module->comm, module->sync_memory,
                                 sizeof(module->sync_memory), 1, info, model,
                                 &module->sync);
    if ((ret != OMPI_SUCCESS) || !module->remote) {
        return ret;
    }
    slot = &module->node.slots[ompi_comm_rank(module->node.comm)];
    ret  = osc_daxpin_shadow_locked(module, win, slot, sizeof(*slot),
                                    sizeof(uint64_t), &module->lock);
    if ((ret != OMPI_SUCCESS) || module->has_am) {
        return ret;
    }
    osc_daxpin_requests_open(module);
    ret = osc_daxpin_shadow_locked(module, win, module->segment.base,
                                   module->segment.size, disp_unit,
                                   &module->data);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_shadow_locked(module, win,
                                       (void*)osc_daxpin_own_control(module),
                                       DAXPIN_CONTROL_SIZE, 1, &module->state);
    }
    return (ret != OMPI_SUCCESS) ? ret : osc_daxpin_progress_open(module, win);
}

static int osc_daxpin_module_fill(osc_daxpin_module_t *module,
                                  const ompi_win_t *win, size_t size,
                                  int disp_unit, opal_info_t *info, int *model)
{
    int ret;

    ret = osc_daxpin_node_open(module);
    if ((ret == OMPI_SUCCESS) && osc_daxpin_allocates(module->flavor)) {
        ret = osc_daxpin_segment_open(module, size);
    }
    if ((ret == OMPI_SUCCESS) &&
        (module->flavor == MPI_WIN_FLAVOR_DYNAMIC)) {
        ret = osc_daxpin_agree(module, osc_daxpin_regions_open(module));
    }
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_peers_open(module, disp_unit);
    if ((ret == OMPI_SUCCESS) && module->remote &&
        (module->flavor == MPI_WIN_FLAVOR_DYNAMIC)) {
        osc_daxpin_am_open(module);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_shadows_open(module, win, info, disp_unit, model);
    }
    return osc_daxpin_agree(module, ret);
}

/* Keys that inner components look at when a program changes the info of a
 * window later; they subscribe to their own window */
static const char *osc_daxpin_inner_keys[] = {
    "no_locks", "acc_single_intrinsic"
};

static char *osc_daxpin_info_changed(opal_infosubscriber_t *object, char *key,
                                     char *value)
{
    ompi_win_t *win             = (ompi_win_t*)object;
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    ompi_win_t *inner           = module->sync.win;
    opal_info_t *info           = OBJ_NEW(opal_info_t);

    if ((info != NULL) && (value != NULL) && (value[0] != '\0') &&
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

/* The part that is wished for is the window's from now on, or released */
static int osc_daxpin_window(ompi_win_t *win, void **base, size_t size,
                             int disp_unit, ompi_communicator_t *comm,
                             opal_info_t *info, int flavor, int *model,
                             osc_daxpin_params_t *params)
{
    osc_daxpin_module_t *module = osc_daxpin_module_new(win, comm, flavor,
                                                        params);
    char name[MPI_MAX_OBJECT_NAME];
    int ret;

    if (module == NULL) {
        osc_daxpin_segment_release(&params->segment);
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = ompi_comm_dup(comm, &module->comm);
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_segment_release(&module->segment);
        osc_daxpin_module_free(module);
        return ret;
    }
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
        *base = module->segment.base;
    }
    win->w_osc_module = &module->super;
    win->w_flags     |= module->sync.win->w_flags;
    snprintf(name, sizeof(name), "daxpin window %d",
             ompi_comm_get_cid(module->comm));
    ompi_win_set_name(win, name);
    osc_daxpin_info_subscribe(win);
    osc_daxpin_spec_publish(module, win->super.s_info);
    return OMPI_SUCCESS;
}

static int osc_daxpin_select(ompi_win_t *win, void **base, size_t size,
                             int disp_unit, ompi_communicator_t *comm,
                             opal_info_t *info, int flavor, int *model)
{
    osc_daxpin_params_t *params = calloc(1, sizeof(*params));
    int wanted              = 0;
    int ret;

    if (params == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = osc_daxpin_params_get((flavor == MPI_WIN_FLAVOR_CREATE) ? *base :
                                                                    NULL,
                                size, comm, info, flavor, params);
    ret = osc_daxpin_params_agree(comm, flavor, ret, params, &wanted);
    if ((ret == OMPI_SUCCESS) && wanted) {
        ret = osc_daxpin_error_code_make();
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_segment_release(&params->segment);
    } else if (wanted) {
        ret = osc_daxpin_window(win, base, size, disp_unit, comm, info, flavor,
                                model, params);
    } else {
        ret = osc_daxpin_pass_through(win, base, size, disp_unit, comm, info,
                                      flavor, model);
    }
    free(params);
    return ret;
}

osc_daxpin_component_t mca_osc_daxpin_component = {
    .super = {
        .osc_version = {
            OMPI_OSC_BASE_VERSION_3_0_0,
            .mca_component_name            = "daxpin",
            .mca_component_major_version   = 0,
            .mca_component_minor_version   = 1,
            .mca_component_release_version = 0,
            .mca_register_component_params = osc_daxpin_register
        },
        .osc_data     = {MCA_BASE_METADATA_PARAM_NONE},
        .osc_init     = osc_daxpin_init,
        .osc_query    = osc_daxpin_query,
        .osc_select   = osc_daxpin_select,
        .osc_finalize = osc_daxpin_finalize
    }
};
