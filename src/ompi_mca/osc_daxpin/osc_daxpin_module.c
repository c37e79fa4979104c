/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The end of a window, what a shared one tells, and the table of functions */

#include "osc_daxpin.h"

#include <stdlib.h>

int osc_daxpin_shared_query(ompi_win_t *win, int rank, size_t *size,
                            int *disp_unit, void *baseptr)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int i;

    if (module->flavor != MPI_WIN_FLAVOR_SHARED) {
        return MPI_ERR_RMA_FLAVOR;
    }
    if (rank == MPI_PROC_NULL) {
        /* The first that has memory */
        for (i = 0; (i < module->size) && (module->peers[i].mem.size == 0);
             ++i) {
        }
        rank = (i < module->size) ? i : 0;
    }
    *size            = module->peers[rank].mem.size;
    *disp_unit       = module->peers[rank].disp_unit;
    *(void**)baseptr = (*size > 0) ? module->peers[rank].mem.base : NULL;
    return OMPI_SUCCESS;
}

/* When a persist failed, MPI keeps the window, and the program may want to
 * free it once more */
static int osc_daxpin_free_nothing(ompi_win_t *win)
{
    return OMPI_SUCCESS;
}

static const ompi_osc_base_module_t osc_daxpin_freed = {
    .osc_free = osc_daxpin_free_nothing
};

int osc_daxpin_free(ompi_win_t *win)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    ompi_communicator_t *comm   = module->comm;
    int ret                     = OMPI_SUCCESS;

    comm->c_coll->coll_barrier(comm, comm->c_coll->coll_barrier_module);
    if (module->spec.persist != OSC_DAXPIN_PERSIST_NONE) {
        ret = osc_daxpin_own_persist(module);
        if (ret == mca_osc_daxpin_component.error_code) {
            ret = OMPI_SUCCESS; /* Of a revoked window there is only the end */
        }
    }
    osc_daxpin_module_delete(module);
    win->w_osc_module = (ompi_osc_base_module_t*)&osc_daxpin_freed;
    return ret;
}

const ompi_osc_base_module_t osc_daxpin_module_template = {
    .osc_win_shared_query = osc_daxpin_shared_query,
    .osc_win_attach       = osc_daxpin_win_attach,
    .osc_win_detach       = osc_daxpin_win_detach,
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
