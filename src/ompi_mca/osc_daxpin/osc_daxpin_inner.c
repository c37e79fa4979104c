/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Targets that are reached through shadow windows of the inner component: on
 * another node, or on this one with memory that is in no file. The inner
 * component moves the data; then the target's control page shows whether the
 * data went into the file.
 */

#include "osc_daxpin_inner.h"

#include "daxpin/os/clock.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_progress.h"
#include "osc_daxpin_wait.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((offsetof(osc_daxpin_view_t, state) ==
                offsetof(daxpin_control_t, state) - OSC_DAXPIN_VIEW_OFFSET) &&
               (offsetof(osc_daxpin_view_t, locks) ==
                offsetof(daxpin_control_t, locks) - OSC_DAXPIN_VIEW_OFFSET) &&
               (offsetof(osc_daxpin_view_t, sure_until) ==
                offsetof(daxpin_control_t, sure_until) -
                        OSC_DAXPIN_VIEW_OFFSET) &&
               (offsetof(osc_daxpin_view_t, sure_for) ==
                offsetof(daxpin_control_t, sure_for) - OSC_DAXPIN_VIEW_OFFSET),
               "a view is a piece of the control page");

/*
 * Data
 */

static int osc_daxpin_inner_move(osc_daxpin_module_t *module,
                                 const osc_daxpin_range_t *range,
                                 const osc_daxpin_move_t *move)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret;

    osc_daxpin_inside_begin(module, range->target);
    ret = move->is_put ?
                  data->module->osc_put(move->origin, move->origin_count,
                                        move->origin_dt, range->target,
                                        move->disp, move->target_count,
                                        move->target_dt, data->win) :
                  data->module->osc_get(move->origin, move->origin_count,
                                        move->origin_dt, range->target,
                                        move->disp, move->target_count,
                                        move->target_dt, data->win);
    return osc_daxpin_inside_end(module, range->target, ret);
}

static int osc_daxpin_inner_rmove(osc_daxpin_module_t *module,
                                  const osc_daxpin_range_t *range,
                                  const osc_daxpin_move_t *move,
                                  ompi_request_t **request_p)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret;

    osc_daxpin_inside_begin(module, range->target);
    ret = move->is_put ?
                  data->module->osc_rput(move->origin, move->origin_count,
                                         move->origin_dt, range->target,
                                         move->disp, move->target_count,
                                         move->target_dt, data->win,
                                         request_p) :
                  data->module->osc_rget(move->origin, move->origin_count,
                                         move->origin_dt, range->target,
                                         move->disp, move->target_count,
                                         move->target_dt, data->win,
                                         request_p);
    return osc_daxpin_inside_end(module, range->target, ret);
}

static int osc_daxpin_inner_complete(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret;

    osc_daxpin_inside_begin(module, target);
    ret = data->module->osc_flush(target, data->win);
    return osc_daxpin_inside_end(module, target, ret);
}

int osc_daxpin_inner_complete_all(osc_daxpin_module_t *module)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret;

    if (data->module == NULL) {
        return OMPI_SUCCESS;
    }
    osc_daxpin_inside_begin(module, OSC_DAXPIN_ANY_RANK);
    ret = data->module->osc_flush_all(data->win);
    return osc_daxpin_inside_end(module, OSC_DAXPIN_ANY_RANK, ret);
}

/*
 * State
 */

/* Read from the control page of a target's file. A get that is given up may still
 * write to its memory. */
static int osc_daxpin_state_read(osc_daxpin_module_t *module, int target,
                                 size_t offset, void *buffer, size_t length)
{
    osc_daxpin_shadow_t *shadow = &module->state;
    void *copy                  = malloc(length);
    int ret;

    if (copy == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    osc_daxpin_inside_begin(module, target);
    ret = shadow->module->osc_get(copy, (int)length, MPI_BYTE, target,
                                  (ptrdiff_t)offset, (int)length, MPI_BYTE,
                                  shadow->win);
    if (ret == OMPI_SUCCESS) {
        ret = shadow->module->osc_flush(target, shadow->win);
    }
    ret = osc_daxpin_inside_end(module, target, ret);
    if (ret == OMPI_SUCCESS) {
        memcpy(buffer, copy, length);
    }
    osc_daxpin_error_free(ret, copy);
    return ret;
}

/* While the holder is stopped, the kernel ends its lease after
 * fs.lease-break-time, and the page does not show that. It shows until when the
 * lease is sure, in time of the other node. When that changes, the holder has
 * looked at the lease since this rank read the page before, so that it is sure
 * for the same time after that. */
static int osc_daxpin_view_is_sure(osc_daxpin_sure_t *sure,
                                   const osc_daxpin_view_t *view,
                                   uint64_t begun)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    uint64_t until;
    int is_sure;

    pthread_mutex_lock(&mutex);
    if (view->sure_until > sure->seen) {
        until       = daxpin_later(sure->looked, view->sure_for);
        sure->seen  = view->sure_until;
        sure->until = (until > sure->until) ? until : sure->until;
    }
    sure->looked = (begun > sure->looked) ? begun : sure->looked;
    is_sure      = daxpin_now() < sure->until;
    pthread_mutex_unlock(&mutex);
    return is_sure;
}

/* While the lease is lent, it does not show a truncate. A process that accesses
 * the file with its own CPU checks the size itself. Other accesses are in the
 * file if a lock makes truncates wait, or if the holder has checked the whole
 * file since. Wait for two checks: the first may have begun before the
 * access. */
osc_daxpin_verdict_t osc_daxpin_view_judge(osc_daxpin_peer_t *peer,
                                           const osc_daxpin_view_t *view,
                                           uint64_t begun, uint64_t *first_p)
{
    if (!daxpin_state_allows(view->state)) {
        return OSC_DAXPIN_VIEW_BAD;
    }
    if (view->state == DAXPIN_STATE_HELD) {
        return osc_daxpin_view_is_sure(&peer->sure, view, begun) ?
                       OSC_DAXPIN_VIEW_GOOD :
                       OSC_DAXPIN_VIEW_UNCLEAR;
    }
    if ((view->state == DAXPIN_STATE_RELEASED) ||
        (view->locks & DAXPIN_LOCK_HOLD)) {
        return OSC_DAXPIN_VIEW_GOOD;
    }
    if (*first_p == OSC_DAXPIN_VIEW_FIRST) {
        *first_p = view->checks;
    }
    return (view->checks - *first_p >= 2) ? OSC_DAXPIN_VIEW_GOOD :
                                            OSC_DAXPIN_VIEW_UNCLEAR;
}

int osc_daxpin_view_error(const osc_daxpin_module_t *module, int target)
{
    return osc_daxpin_error(MPI_ERR_OTHER, "rank %d: cannot find out whether "
                            "the file of rank %d is whole: its holder has not "
                            "checked it for %g s; is that process stopped?",
                            module->rank, target, OSC_DAXPIN_VIEW_BOUND_SEC);
}

static int osc_daxpin_inner_check(osc_daxpin_module_t *module, int target)
{
    uint64_t first = OSC_DAXPIN_VIEW_FIRST;
    osc_daxpin_patience_t patience;
    osc_daxpin_view_t view;
    uint64_t begun;
    int ret;

    osc_daxpin_patience_begin(&patience, OSC_DAXPIN_VIEW_BOUND_SEC);
    for (;;) {
        begun = daxpin_now();
        ret = osc_daxpin_state_read(module, target, OSC_DAXPIN_VIEW_OFFSET,
                                    &view, sizeof(view));
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
        switch (osc_daxpin_view_judge(&module->peers[target], &view, begun,
                                      &first)) {
        case OSC_DAXPIN_VIEW_GOOD:
            return OMPI_SUCCESS;
        case OSC_DAXPIN_VIEW_BAD:
            return OSC_DAXPIN_REVOKED;
        default:
            break;
        }
        if (osc_daxpin_patience_ends(&patience)) {
            return osc_daxpin_view_error(module, target);
        }
        opal_progress();
    }
}

static int osc_daxpin_inner_cause(osc_daxpin_module_t *module, int target,
                                  char *buffer, size_t size)
{
    daxpin_control_t control;
    int ret;

    ret = osc_daxpin_state_read(module, target, 0, &control, sizeof(control));
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    control.cause[sizeof(control.cause) - 1] = '\0';
    if (!daxpin_state_allows(atomic_load(&control.state))) {
        snprintf(buffer, size, "%s", control.cause);
    }
    return OMPI_SUCCESS;
}

/*
 * Persistence
 */

/* Data that other threads moved into the range may still be under way, so wait
 * for it before the target makes the range durable */
static int osc_daxpin_inner_persist(osc_daxpin_module_t *module, int target,
                                    const osc_daxpin_mem_t *mem,
                                    uint64_t start, uint64_t length)
{
    int error = 0;
    int ret   = OMPI_SUCCESS;

    if (opal_using_threads()) {
        ret = osc_daxpin_inner_complete(module, target);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_progress_request(module, target, start, length,
                                          &error);
    }
    if ((ret != OMPI_SUCCESS) || (error == 0)) {
        return ret;
    }
    if (error == ESTALE) {
        return OSC_DAXPIN_FAILED;
    }
    return osc_daxpin_error(MPI_ERR_IO, "rank %d, target rank %d: cannot "
                            "persist %" PRIu64 " bytes at offset %" PRIu64
                            " of its segment: %s", module->rank, target,
                            length, start, strerror(error));
}

const osc_daxpin_way_t osc_daxpin_way_inner = {
    .is_remote = 1,
    .move      = osc_daxpin_inner_move,
    .rmove     = osc_daxpin_inner_rmove,
    .complete  = osc_daxpin_inner_complete,
    .check     = osc_daxpin_inner_check,
    .cause     = osc_daxpin_inner_cause,
    .persist   = osc_daxpin_inner_persist
};
