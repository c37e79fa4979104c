/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Synchronisation of a window of one process. No component of Open MPI 4.1 does
 * it in every configuration. There is no other rank to wait for, so only the
 * epoch has to be known.
 */

#include "osc_daxpin_single.h"

#include <stdlib.h>

typedef enum osc_daxpin_epoch {
    OSC_DAXPIN_EPOCH_NONE,
    OSC_DAXPIN_EPOCH_FENCE,
    OSC_DAXPIN_EPOCH_START,
    OSC_DAXPIN_EPOCH_LOCK,
    OSC_DAXPIN_EPOCH_LOCK_ALL
} osc_daxpin_epoch_t;

typedef struct osc_daxpin_single {
    ompi_osc_base_module_t super;
    osc_daxpin_epoch_t     access;
    int                    posted;
    int                    completed;
} osc_daxpin_single_t;

static osc_daxpin_single_t *osc_daxpin_single(const ompi_win_t *win)
{
    return (osc_daxpin_single_t*)win->w_osc_module;
}

/* Change from one of two epochs to another */
static int osc_daxpin_single_change(ompi_win_t *win, osc_daxpin_epoch_t from,
                                    osc_daxpin_epoch_t or_from,
                                    osc_daxpin_epoch_t to)
{
    osc_daxpin_single_t *single = osc_daxpin_single(win);

    if ((single->access != from) && (single->access != or_from)) {
        return OMPI_ERR_RMA_SYNC;
    }
    single->access = to;
    return OMPI_SUCCESS;
}

static int osc_daxpin_single_fence(int hints, ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_NONE,
                                    OSC_DAXPIN_EPOCH_FENCE,
                                    (hints & MPI_MODE_NOSUCCEED) ?
                                    OSC_DAXPIN_EPOCH_NONE :
                                    OSC_DAXPIN_EPOCH_FENCE);
}

static int osc_daxpin_single_start(ompi_group_t *group, int hints,
                                   ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_NONE,
                                    OSC_DAXPIN_EPOCH_FENCE,
                                    OSC_DAXPIN_EPOCH_START);
}

static int osc_daxpin_single_complete(ompi_win_t *win)
{
    osc_daxpin_single(win)->completed = 1;
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_START,
                                    OSC_DAXPIN_EPOCH_START,
                                    OSC_DAXPIN_EPOCH_NONE);
}

static int osc_daxpin_single_post(ompi_group_t *group, int hints,
                                  ompi_win_t *win)
{
    osc_daxpin_single_t *single = osc_daxpin_single(win);

    if (single->posted) {
        return OMPI_ERR_RMA_SYNC;
    }
    single->posted    = 1;
    single->completed = ompi_group_size(group) == 0;
    return OMPI_SUCCESS;
}

static int osc_daxpin_single_test(ompi_win_t *win, int *flag)
{
    osc_daxpin_single_t *single = osc_daxpin_single(win);

    if (!single->posted) {
        return OMPI_ERR_RMA_SYNC;
    }
    *flag        = single->completed;
    single->posted = !single->completed;
    return OMPI_SUCCESS;
}

/* Return an error instead of waiting: the process would wait for itself */
static int osc_daxpin_single_wait(ompi_win_t *win)
{
    int flag = 0;
    int ret  = osc_daxpin_single_test(win, &flag);

    return ((ret == OMPI_SUCCESS) && !flag) ? OMPI_ERR_RMA_SYNC : ret;
}

static int osc_daxpin_single_lock(int type, int target, int hints,
                                  ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_NONE,
                                    OSC_DAXPIN_EPOCH_FENCE,
                                    OSC_DAXPIN_EPOCH_LOCK);
}

static int osc_daxpin_single_unlock(int target, ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_LOCK,
                                    OSC_DAXPIN_EPOCH_LOCK,
                                    OSC_DAXPIN_EPOCH_NONE);
}

static int osc_daxpin_single_lock_all(int hints, ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_NONE,
                                    OSC_DAXPIN_EPOCH_FENCE,
                                    OSC_DAXPIN_EPOCH_LOCK_ALL);
}

static int osc_daxpin_single_unlock_all(ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_LOCK_ALL,
                                    OSC_DAXPIN_EPOCH_LOCK_ALL,
                                    OSC_DAXPIN_EPOCH_NONE);
}

static int osc_daxpin_single_flush_all(ompi_win_t *win)
{
    return osc_daxpin_single_change(win, OSC_DAXPIN_EPOCH_LOCK,
                                    OSC_DAXPIN_EPOCH_LOCK_ALL,
                                    osc_daxpin_single(win)->access);
}

static int osc_daxpin_single_flush(int target, ompi_win_t *win)
{
    return osc_daxpin_single_flush_all(win);
}

static int osc_daxpin_single_free(ompi_win_t *win)
{
    free(win->w_osc_module);
    win->w_osc_module = NULL;
    return OMPI_SUCCESS;
}

int osc_daxpin_single_new(ompi_win_t *win, int *model)
{
    osc_daxpin_single_t *single = calloc(1, sizeof(*single));

    if (single == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    single->super = (ompi_osc_base_module_t){
        .osc_free            = osc_daxpin_single_free,
        .osc_fence           = osc_daxpin_single_fence,
        .osc_start           = osc_daxpin_single_start,
        .osc_complete        = osc_daxpin_single_complete,
        .osc_post            = osc_daxpin_single_post,
        .osc_wait            = osc_daxpin_single_wait,
        .osc_test            = osc_daxpin_single_test,
        .osc_lock            = osc_daxpin_single_lock,
        .osc_unlock          = osc_daxpin_single_unlock,
        .osc_lock_all        = osc_daxpin_single_lock_all,
        .osc_unlock_all      = osc_daxpin_single_unlock_all,
        .osc_sync            = osc_daxpin_single_flush_all,
        .osc_flush           = osc_daxpin_single_flush,
        .osc_flush_all       = osc_daxpin_single_flush_all,
        .osc_flush_local     = osc_daxpin_single_flush,
        .osc_flush_local_all = osc_daxpin_single_flush_all
    };
    *model            = MPI_WIN_UNIFIED;
    win->w_osc_module = &single->super;
    return OMPI_SUCCESS;
}
