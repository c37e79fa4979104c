/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Requests of MPI_Rput() and MPI_Rget() to other nodes. Each uses a request of
 * the inner component for the data, then one for the state of the target's
 * file, and if that is bad, one for the cause. They advance whenever Open MPI
 * makes progress. What the inner component cannot do yet waits for that, too.
 */

#include "osc_daxpin_request.h"

#include "daxpin/os/clock.h"

#include "osc_daxpin_bound.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_inner.h"
#include "osc_daxpin_wait.h"

#include "ompi/errhandler/errcode-internal.h"
#include "opal/class/opal_list.h"

#include <string.h>

typedef enum osc_daxpin_phase {
    OSC_DAXPIN_PHASE_WAITING,
    OSC_DAXPIN_PHASE_DATA,
    OSC_DAXPIN_PHASE_STATE,
    OSC_DAXPIN_PHASE_CAUSE
} osc_daxpin_phase_t;

typedef struct osc_daxpin_request {
    ompi_request_t      super;
    osc_daxpin_module_t *module;
    osc_daxpin_move_t   move;
    osc_daxpin_range_t  range;
    osc_daxpin_note_put_t note_put;
    osc_daxpin_phase_t  phase;
    ompi_request_t      *inner;
    osc_daxpin_bound_t  bound;   /* of the wait for it, if it is the first */
    uint64_t            first;   /* as in osc_daxpin_view_judge() */
    uint64_t            begun;   /* likewise */
    osc_daxpin_patience_t patience; /* for a clear view */
    daxpin_control_t    control; /* as far as it was read */
} osc_daxpin_request_t;

OBJ_CLASS_INSTANCE(osc_daxpin_request_t, ompi_request_t, NULL, NULL);

static struct {
    opal_mutex_t     mutex;
    opal_list_t      list;    /* requests that have not ended, in order */
    _Atomic unsigned active;  /* of them, with an inner request */
    _Atomic unsigned waiting; /* without */
    _Atomic unsigned ended;   /* how many have, ever */
    unsigned         users;   /* windows */
} osc_daxpin_requests;

static osc_daxpin_request_t *osc_daxpin_request_of(opal_list_item_t *item)
{
    return (osc_daxpin_request_t*)item;
}

static int osc_daxpin_request_free(ompi_request_t **request_p)
{
    ompi_request_t *request = *request_p;

    if (!REQUEST_COMPLETE(request)) {
        return MPI_ERR_REQUEST; /* as MPI has it for requests of windows */
    }
    OMPI_REQUEST_FINI(request);
    OBJ_RELEASE(request);
    *request_p = MPI_REQUEST_NULL;
    return OMPI_SUCCESS;
}

static int osc_daxpin_request_cancel(ompi_request_t *request, int complete)
{
    return MPI_ERR_REQUEST;
}

/* Read from the target's control page */
static int osc_daxpin_request_read(osc_daxpin_request_t *request,
                                   osc_daxpin_phase_t phase, size_t offset,
                                   size_t length)
{
    osc_daxpin_module_t *module = request->module;
    osc_daxpin_shadow_t *shadow = &module->state;
    int target                  = request->range.target;
    int ret;

    request->phase = phase;
    osc_daxpin_inside_begin(module, target);
    ret = shadow->module->osc_rget((char*)&request->control + offset,
                                   (int)length, MPI_BYTE, target,
                                   (ptrdiff_t)offset, (int)length, MPI_BYTE,
                                   shadow->win, &request->inner);
    return osc_daxpin_inside_end(module, target, ret);
}

static int osc_daxpin_request_read_state(osc_daxpin_request_t *request)
{
    request->begun = daxpin_now();
    return osc_daxpin_request_read(request, OSC_DAXPIN_PHASE_STATE,
                                   OSC_DAXPIN_VIEW_OFFSET,
                                   sizeof(osc_daxpin_view_t));
}

/* The inner request is complete: start the next one. *done_p: there is none. */
static int osc_daxpin_request_next(osc_daxpin_request_t *request, int *done_p)
{
    const char *control     = (const char*)&request->control;
    osc_daxpin_peer_t *peer = &request->module->peers[request->range.target];
    osc_daxpin_view_t view;

    switch (request->phase) {
    case OSC_DAXPIN_PHASE_DATA:
        osc_daxpin_patience_begin(&request->patience,
                                  OSC_DAXPIN_VIEW_BOUND_SEC);
        return osc_daxpin_request_read_state(request);
    case OSC_DAXPIN_PHASE_STATE:
        memcpy(&view, control + OSC_DAXPIN_VIEW_OFFSET, sizeof(view));
        switch (osc_daxpin_view_judge(peer, &view, request->begun,
                                      &request->first)) {
        case OSC_DAXPIN_VIEW_GOOD:
            *done_p = 1;
            return OMPI_SUCCESS;
        case OSC_DAXPIN_VIEW_UNCLEAR:
            return osc_daxpin_patience_ends(&request->patience) ?
                           osc_daxpin_view_error(request->module,
                                                 request->range.target) :
                           osc_daxpin_request_read_state(request);
        default:
            return osc_daxpin_request_read(request, OSC_DAXPIN_PHASE_CAUSE, 0,
                                           sizeof(request->control));
        }
    default:
        return osc_daxpin_error_revoked(request->module, request->range.target,
                                        request->control.cause);
    }
}

/* The program reads the error from the request's status, where nothing makes an
 * error of MPI out of one of the inner component. Those are negative. */
static void osc_daxpin_request_end(osc_daxpin_request_t *request, int ret)
{
    opal_list_remove_item(&osc_daxpin_requests.list,
                          (opal_list_item_t*)request);
    ++osc_daxpin_requests.ended;
    request->super.req_status.MPI_ERROR = ompi_errcode_get_mpi_code(ret);
    ompi_request_complete(&request->super, true);
}

/* Have the inner component move the data */
static int osc_daxpin_request_begin(osc_daxpin_request_t *request)
{
    osc_daxpin_module_t *module = request->module;
    int target                  = request->range.target;
    int ret;

    request->phase = OSC_DAXPIN_PHASE_DATA;
    osc_daxpin_bound_begin(module, target, &request->bound);
    ret = module->peers[target].way->rmove(module, &request->range,
                                           &request->move, &request->inner);
    if ((ret == OMPI_SUCCESS) && request->move.is_put) {
        request->note_put(module, &request->range);
    }
    return ret;
}

static int osc_daxpin_requests_may_begin(const osc_daxpin_module_t *module)
{
    const unsigned most = module->component->requests_max;

    return osc_daxpin_requests.active < ((most > 0) ? most : 1);
}

/* The program may have freed the types since the call */
static void osc_daxpin_request_retain(osc_daxpin_request_t *request)
{
    OMPI_DATATYPE_RETAIN(request->move.origin_dt);
    OMPI_DATATYPE_RETAIN(request->move.target_dt);
    ++osc_daxpin_requests.waiting;
}

static void osc_daxpin_request_release(osc_daxpin_request_t *request)
{
    --osc_daxpin_requests.waiting;
    OMPI_DATATYPE_RELEASE(request->move.origin_dt);
    OMPI_DATATYPE_RELEASE(request->move.target_dt);
}

static int osc_daxpin_request_leave_queue(osc_daxpin_request_t *request)
{
    int ret;

    if (!osc_daxpin_requests_may_begin(request->module)) {
        return 0;
    }
    ++osc_daxpin_requests.active;
    ret = osc_daxpin_request_begin(request);
    osc_daxpin_request_release(request);
    if (ret != OMPI_SUCCESS) {
        --osc_daxpin_requests.active;
        osc_daxpin_request_end(request, ret);
    }
    return 1;
}

/* End a request if its target has ended: the inner component does not for what
 * was under way then. Its request is lost. */
static int osc_daxpin_request_bound(osc_daxpin_request_t *request)
{
    osc_daxpin_module_t *module = request->module;
    int target                  = request->range.target;
    int ret;

    ret = module->peers[target].gone ?
                  osc_daxpin_error_gone(module, target) :
                  osc_daxpin_bound_check(&request->bound);
    if (ret == OMPI_SUCCESS) {
        return 0;
    }
    OBJ_RETAIN(request); /* For ever: the answer may still come into it */
    --osc_daxpin_requests.active;
    osc_daxpin_request_end(request, ret);
    return 1;
}

/* Is_first: of all requests, so that few are checked at a time */
static int osc_daxpin_request_advance(osc_daxpin_request_t *request,
                                      int is_first)
{
    int done = 0;
    int ret;

    if (request->phase == OSC_DAXPIN_PHASE_WAITING) {
        return osc_daxpin_request_leave_queue(request);
    }
    if (!REQUEST_COMPLETE(request->inner)) {
        return is_first ? osc_daxpin_request_bound(request) : 0;
    }
    ret = request->inner->req_status.MPI_ERROR;
    ompi_request_free(&request->inner);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_request_next(request, &done);
    }
    if ((ret == OMPI_SUCCESS) && !done) {
        return 0;
    }
    --osc_daxpin_requests.active;
    osc_daxpin_request_end(request, ret);
    return 1;
}

/* Open MPI calls this also while it is running already: a request of the inner
 * component may make progress */
static int osc_daxpin_requests_progress(void)
{
    opal_list_item_t *item, *next;
    int count = 0;

    if (opal_list_is_empty(&osc_daxpin_requests.list) ||
        (opal_mutex_trylock(&osc_daxpin_requests.mutex) != 0)) {
        return 0;
    }
    OPAL_LIST_FOREACH_SAFE(item, next, &osc_daxpin_requests.list,
                           opal_list_item_t)
    {
        count += osc_daxpin_request_advance(
                osc_daxpin_request_of(item),
                item == opal_list_get_first(&osc_daxpin_requests.list));
    }
    opal_mutex_unlock(&osc_daxpin_requests.mutex);
    return count;
}

void osc_daxpin_requests_init(void)
{
    OBJ_CONSTRUCT(&osc_daxpin_requests.mutex, opal_mutex_t);
    OBJ_CONSTRUCT(&osc_daxpin_requests.list, opal_list_t);
}

void osc_daxpin_requests_finalize(void)
{
    if (osc_daxpin_requests.users > 0) { /* a window could not be freed */
        opal_progress_unregister(osc_daxpin_requests_progress);
        osc_daxpin_requests.users = 0;
    }
    OBJ_DESTRUCT(&osc_daxpin_requests.list);
    OBJ_DESTRUCT(&osc_daxpin_requests.mutex);
}

void osc_daxpin_requests_open(osc_daxpin_module_t *module)
{
    module->has_requests = 1;
    opal_mutex_lock(&osc_daxpin_requests.mutex);
    if (osc_daxpin_requests.users++ == 0) {
        opal_progress_register(osc_daxpin_requests_progress);
    }
    opal_mutex_unlock(&osc_daxpin_requests.mutex);
}

/* Return whether any request of a window has not ended; waiting: not begun */
static int osc_daxpin_requests_any(const osc_daxpin_module_t *module,
                                   int waiting)
{
    const osc_daxpin_request_t *request;
    opal_list_item_t *item;
    int found = 0;

    opal_mutex_lock(&osc_daxpin_requests.mutex);
    OPAL_LIST_FOREACH(item, &osc_daxpin_requests.list, opal_list_item_t)
    {
        request = osc_daxpin_request_of(item);
        found  |= (request->module == module) &&
                  (!waiting || (request->phase == OSC_DAXPIN_PHASE_WAITING));
    }
    opal_mutex_unlock(&osc_daxpin_requests.mutex);
    return found;
}

void osc_daxpin_requests_close(osc_daxpin_module_t *module)
{
    if (!module->has_requests) {
        return;
    }
    while (osc_daxpin_requests_any(module, 0)) {
        opal_progress();
    }
    opal_mutex_lock(&osc_daxpin_requests.mutex);
    if (--osc_daxpin_requests.users == 0) {
        opal_progress_unregister(osc_daxpin_requests_progress);
    }
    opal_mutex_unlock(&osc_daxpin_requests.mutex);
}

static int osc_daxpin_requests_error(const osc_daxpin_module_t *module)
{
    return osc_daxpin_error(MPI_ERR_OTHER, "rank %d: %u requests of MPI_Rput "
                            "and MPI_Rget are under way, others wait for them, "
                            "and none has come to its end for %g s; is one of "
                            "their targets stopped?", module->rank,
                            osc_daxpin_requests.active,
                            module->component->requests_timeout_ms / 1e3);
}

int osc_daxpin_requests_begin_all(const osc_daxpin_module_t *module)
{
    const double seconds = module->component->requests_timeout_ms / 1e3;
    unsigned ended       = osc_daxpin_requests.ended;
    osc_daxpin_patience_t patience;

    if (OPAL_LIKELY(osc_daxpin_requests.waiting == 0)) {
        return OMPI_SUCCESS;
    }
    osc_daxpin_patience_begin(&patience, seconds);
    while (osc_daxpin_requests_any(module, 1)) {
        opal_progress();
        if (osc_daxpin_requests.ended != ended) {
            ended = osc_daxpin_requests.ended;
            osc_daxpin_patience_begin(&patience, seconds);
        } else if (osc_daxpin_patience_ends(&patience)) {
            return osc_daxpin_requests_error(module);
        }
    }
    return OMPI_SUCCESS;
}

static osc_daxpin_request_t *
osc_daxpin_request_new(osc_daxpin_module_t *module,
                       const osc_daxpin_move_t *move,
                       const osc_daxpin_range_t *range)
{
    osc_daxpin_request_t *request = OBJ_NEW(osc_daxpin_request_t);
    ompi_request_t *super;

    if (request == NULL) {
        return NULL;
    }
    super = &request->super;
    OMPI_REQUEST_INIT(super, false);
    super->req_type           = OMPI_REQUEST_WIN;
    super->req_mpi_object.win = module->win;
    super->req_free           = osc_daxpin_request_free;
    super->req_cancel         = osc_daxpin_request_cancel;
    super->req_state          = OMPI_REQUEST_ACTIVE;
    super->req_status         = ompi_status_empty;
    request->module           = module;
    request->move             = *move;
    request->range            = *range;
    request->phase            = OSC_DAXPIN_PHASE_WAITING;
    request->first            = OSC_DAXPIN_VIEW_FIRST;
    request->inner            = NULL;
    return request;
}

/* Requests begin in the order of their calls */
int osc_daxpin_request_start(osc_daxpin_module_t *module,
                             const osc_daxpin_move_t *move,
                             const osc_daxpin_range_t *range,
                             osc_daxpin_note_put_t note_put,
                             ompi_request_t **request_p)
{
    osc_daxpin_request_t *request = osc_daxpin_request_new(module, move, range);
    int ret;

    if (request == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    request->note_put = note_put;
    if ((osc_daxpin_requests.waiting > 0) ||
        !osc_daxpin_requests_may_begin(module)) {
        osc_daxpin_request_retain(request);
    } else {
        ++osc_daxpin_requests.active;
        ret = osc_daxpin_request_begin(request);
        if (ret != OMPI_SUCCESS) {
            --osc_daxpin_requests.active;
            OMPI_REQUEST_FINI(&request->super);
            OBJ_RELEASE(request);
            return ret;
        }
    }
    *request_p = &request->super;
    opal_mutex_lock(&osc_daxpin_requests.mutex);
    opal_list_append(&osc_daxpin_requests.list, (opal_list_item_t*)request);
    opal_mutex_unlock(&osc_daxpin_requests.mutex);
    return OMPI_SUCCESS;
}
