/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Active messages: dynamic windows between nodes. No inner component can do it:
 * osc/ucx of Open MPI 4.1 frees a remote key while operations with it are under
 * way and has room for 32 regions, and osc/rdma does not support it over TCP.
 * So the origin sends a message, and the target does the access with its own
 * CPU, within the access check, whenever it makes progress. Its reply reports
 * whether the access is in the file. The origin waits for the reply.
 */

#include "osc_daxpin_am.h"

#include "osc_daxpin_attached.h"
#include "osc_daxpin_bound.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_mapped.h"
#include "osc_daxpin_pack.h"
#include "osc_daxpin_segment.h"
#include "osc_daxpin_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OSC_DAXPIN_AM_TAG   1
#define OSC_DAXPIN_AM_TAGS  10000 /* of messages under way, at one origin */
#define OSC_DAXPIN_AM_CAUSE 256

typedef enum osc_daxpin_am_type {
    OSC_DAXPIN_AM_PUT,    /* followed by the data */
    OSC_DAXPIN_AM_GET,
    OSC_DAXPIN_AM_CHECK,  /* files that the origin accessed in its epoch; epoch
                             0: all files */
    OSC_DAXPIN_AM_PERSIST
} osc_daxpin_am_type_t;

typedef enum osc_daxpin_am_result {
    OSC_DAXPIN_AM_DONE,
    OSC_DAXPIN_AM_NOT_ATTACHED,
    OSC_DAXPIN_AM_READ_ONLY,
    OSC_DAXPIN_AM_REVOKED,
    OSC_DAXPIN_AM_FAILED
} osc_daxpin_am_result_t;

typedef struct osc_daxpin_am_range {
    uint64_t start;
    uint64_t length;
} osc_daxpin_am_range_t;

typedef struct osc_daxpin_am {
    int                   type;
    int                   tag;   /* of the data; one more: of the reply */
    uint64_t              epoch; /* of the origin, at this target */
    uint64_t              length;
    unsigned              count;
    osc_daxpin_am_range_t ranges[OSC_DAXPIN_IOV_MAX];
} osc_daxpin_am_t;

/* Followed by the data of a get, if that is done */
typedef struct osc_daxpin_am_reply {
    int  result;
    char cause[OSC_DAXPIN_AM_CAUSE];
} osc_daxpin_am_reply_t;

/* A message and the answer to it, in memory that outlives a transfer that was
 * given up: see osc_daxpin_error_is_gone() */
typedef struct osc_daxpin_am_pair {
    osc_daxpin_am_t       am;
    osc_daxpin_am_reply_t reply;
} osc_daxpin_am_pair_t;

static void osc_daxpin_am_pair_free(osc_daxpin_am_pair_t *pair, int ret)
{
    if (!osc_daxpin_error_is_gone(ret)) {
        free(pair);
    }
}

/* Send or receive, for as long as the other rank is there. Of the errors, the
 * caller may free the memory after those that are not
 * osc_daxpin_error_is_gone(). */
static int osc_daxpin_am_transfer(osc_daxpin_module_t *module, int rank,
                                  int tag, void *data, size_t length,
                                  int is_send)
{
    MPI_Request request;
    int ret;

    ret = is_send ? PMPI_Isend(data, (int)length, MPI_BYTE, rank, tag,
                               module->comm, &request) :
                    PMPI_Irecv(data, (int)length, MPI_BYTE, rank, tag,
                               module->comm, &request);
    return (ret != MPI_SUCCESS) ?
                   osc_daxpin_error_gone(module, rank) :
                   osc_daxpin_bound_finish(module, rank, &request);
}

/*
 * At the target
 */

/* Caller holds attach_mutex, so that nothing is detached. Access a
 * segment. */
static int osc_daxpin_am_access(osc_daxpin_segment_t *segment,
                                const osc_daxpin_am_range_t *range, char *data,
                                int is_put)
{
    char *addr             = (char*)(uintptr_t)range->start;
    daxpin_access_t *check = NULL, access;

    if (is_put && segment->read_only) {
        return OSC_DAXPIN_AM_READ_ONLY;
    }
    if (segment->file != NULL) {
        check = &access;
        daxpin_access_init(segment->file, DAXPIN_SLOTS - 1, check);
        if (daxpin_access_begin(check) != 0) {
            return OSC_DAXPIN_AM_REVOKED;
        }
    }
    osc_daxpin_copy_chunks(check, NULL, is_put ? addr : data,
                           is_put ? data : addr, range->length);
    if ((check != NULL) &&
        (daxpin_access_end(check, segment->offset + (addr - segment->base),
                           range->length) != 0)) {
        return OSC_DAXPIN_AM_REVOKED;
    }
    return OSC_DAXPIN_AM_DONE;
}

/* A range may lie in several segments that are next to each other */
static int osc_daxpin_am_copy_range(osc_daxpin_module_t *module, int origin,
                                    const osc_daxpin_am_t *am,
                                    const osc_daxpin_am_range_t *range,
                                    char *data)
{
    osc_daxpin_am_range_t rest = *range, here;
    int ret                    = OSC_DAXPIN_AM_DONE;
    osc_daxpin_segment_t *segment;

    while ((rest.length > 0) && (ret == OSC_DAXPIN_AM_DONE)) {
        segment = osc_daxpin_attached_find(module, rest.start);
        if (segment == NULL) {
            return OSC_DAXPIN_AM_NOT_ATTACHED;
        }
        if (segment->touched != NULL) {
            segment->touched[origin] = am->epoch;
        }
        here        = rest;
        here.length = (uintptr_t)segment->base + segment->size - rest.start;
        here.length = (here.length < rest.length) ? here.length : rest.length;
        ret         = osc_daxpin_am_access(segment, &here, data,
                                           am->type == OSC_DAXPIN_AM_PUT);
        rest.start  += here.length;
        rest.length -= here.length;
        data        += here.length;
    }
    return ret;
}

static int osc_daxpin_am_copy_all(osc_daxpin_module_t *module, int origin,
                                  const osc_daxpin_am_t *am, char *data)
{
    const osc_daxpin_am_range_t *range = am->ranges;
    unsigned i;
    int ret;

    for (i = 0; i < am->count; ++i, ++range) {
        ret = osc_daxpin_am_copy_range(module, origin, am, range, data);
        if (ret != OSC_DAXPIN_AM_DONE) {
            return ret;
        }
        data += range->length;
    }
    return OSC_DAXPIN_AM_DONE;
}

static int osc_daxpin_am_persist_all(osc_daxpin_module_t *module,
                                     const osc_daxpin_am_range_t *range)
{
    const osc_daxpin_segment_t *segment;
    uint64_t start, end, from, to;
    uint64_t i, count;
    int ret;

    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; i < count; ++i, ++segment) {
        start = (uintptr_t)segment->base;
        end   = start + segment->size;
        from  = (range->start > start) ? range->start : start;
        to    = range->start + range->length;
        to    = (to < end) ? to : end;
        if ((segment->file == NULL) || (from >= to)) {
            continue;
        }
        ret = daxpin_file_persist(segment->file,
                                  segment->offset + (from - start), to - from);
        if (ret == -ESTALE) {
            continue; /* AM_CHECK tells, if the origin has accessed it */
        }
        if (ret != 0) {
            opal_output(0, "osc/daxpin: rank %d: %s", module->rank,
                        daxpin_errormsg());
            return OSC_DAXPIN_AM_FAILED;
        }
    }
    return OSC_DAXPIN_AM_DONE;
}

/* Report the first of the revoked files */
static int osc_daxpin_am_check_all(osc_daxpin_module_t *module, int origin,
                                   const osc_daxpin_am_t *am,
                                   osc_daxpin_am_reply_t *reply)
{
    const osc_daxpin_segment_t *segment;
    uint64_t i, count;

    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; i < count; ++i, ++segment) {
        if ((segment->touched != NULL) &&
            ((segment->touched[origin] == am->epoch) || (am->epoch == 0)) &&
            !osc_daxpin_file_is_good(segment->file)) {
            daxpin_file_cause(segment->file, reply->cause,
                              sizeof(reply->cause));
            return OSC_DAXPIN_AM_REVOKED;
        }
    }
    return OSC_DAXPIN_AM_DONE;
}

static void osc_daxpin_am_handle(osc_daxpin_module_t *module, int origin,
                                 const osc_daxpin_am_t *am, char *data,
                                 osc_daxpin_am_reply_t *reply)
{
    memset(reply, 0, sizeof(*reply));
    OPAL_THREAD_LOCK(&module->attach_mutex);
    switch (am->type) {
    case OSC_DAXPIN_AM_CHECK:
        reply->result = osc_daxpin_am_check_all(module, origin, am, reply);
        break;
    case OSC_DAXPIN_AM_PERSIST:
        reply->result = osc_daxpin_am_persist_all(module, am->ranges);
        break;
    default:
        reply->result = (data == NULL) ?
                                OSC_DAXPIN_AM_FAILED :
                                osc_daxpin_am_copy_all(module, origin, am,
                                                       data);
        break;
    }
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
}

static int osc_daxpin_am_receive_header(osc_daxpin_module_t *module,
                                        MPI_Message *message, int origin,
                                        osc_daxpin_am_t *am)
{
    MPI_Request request;
    int ret;

    ret = PMPI_Imrecv(am, sizeof(*am), MPI_BYTE, message, &request);
    return (ret != MPI_SUCCESS) ?
                   ret :
                   osc_daxpin_bound_finish(module, origin, &request);
}

/* Receive the data, do what the message wants, and reply */
static int osc_daxpin_am_answer(osc_daxpin_module_t *module, int origin,
                                osc_daxpin_am_pair_t *pair, char *data)
{
    const osc_daxpin_am_t *am    = &pair->am;
    osc_daxpin_am_reply_t *reply = &pair->reply;
    int ret                      = MPI_SUCCESS;

    if (am->type == OSC_DAXPIN_AM_PUT) {
        /* Into nothing, if there is no memory for it */
        ret = osc_daxpin_am_transfer(module, origin, am->tag, data,
                                     (data != NULL) ? am->length : 0, 0);
    }
    if (ret == MPI_SUCCESS) {
        osc_daxpin_am_handle(module, origin, am, data, reply);
        ret = osc_daxpin_am_transfer(module, origin, am->tag + 1, reply,
                                     sizeof(*reply), 1);
    }
    if ((ret == MPI_SUCCESS) && (am->type == OSC_DAXPIN_AM_GET) &&
        (reply->result == OSC_DAXPIN_AM_DONE)) {
        ret = osc_daxpin_am_transfer(module, origin, am->tag + 1, data,
                                     am->length, 1);
    }
    return ret;
}

static int osc_daxpin_am_receive(osc_daxpin_module_t *module,
                                 MPI_Message *message, int origin,
                                 osc_daxpin_am_pair_t *pair)
{
    char *data = NULL;
    int ret;

    ret = osc_daxpin_am_receive_header(module, message, origin, &pair->am);
    if (ret == MPI_SUCCESS) {
        if (pair->am.length > 0) {
            data = malloc(pair->am.length);
        }
        ret = osc_daxpin_am_answer(module, origin, pair, data);
    }
    if (!osc_daxpin_error_is_gone(ret)) {
        free(data);
    }
    return ret;
}

/* Receive and answer the next message for a window, if there is one and memory
 * for it */
static int osc_daxpin_am_serve(osc_daxpin_module_t *module)
{
    int flag = 0;
    osc_daxpin_am_pair_t *pair;
    MPI_Message message;
    MPI_Status status;
    int ret;

    if ((PMPI_Iprobe(MPI_ANY_SOURCE, OSC_DAXPIN_AM_TAG, module->comm, &flag,
                     &status) != MPI_SUCCESS) || !flag) {
        return 0;
    }
    pair = malloc(sizeof(*pair));
    if (pair == NULL) {
        return 0;
    }
    ret = PMPI_Improbe(MPI_ANY_SOURCE, OSC_DAXPIN_AM_TAG, module->comm, &flag,
                       &message, &status);
    if ((ret == MPI_SUCCESS) && flag) {
        ret = osc_daxpin_am_receive(module, &message, status.MPI_SOURCE, pair);
    }
    osc_daxpin_am_pair_free(pair, ret);
    return flag;
}

void osc_daxpin_am_open(osc_daxpin_module_t *module)
{
    module->has_am = 1;
    osc_daxpin_service_open(module, OSC_DAXPIN_SERVICE_AM, osc_daxpin_am_serve);
}

/*
 * At the origin
 */

/* Send a message, and receive the reply */
static int osc_daxpin_am_exchange(osc_daxpin_module_t *module, int target,
                                  osc_daxpin_am_pair_t *pair, char *data)
{
    static _Atomic unsigned number;
    osc_daxpin_am_t *am          = &pair->am;
    osc_daxpin_am_reply_t *reply = &pair->reply;
    int ret;

    am->tag = OSC_DAXPIN_AM_TAG + 1 +
              2 * (int)(atomic_fetch_add(&number, 1) % OSC_DAXPIN_AM_TAGS);
    ret     = osc_daxpin_am_transfer(module, target, OSC_DAXPIN_AM_TAG, am,
                                     sizeof(*am), 1);
    if ((ret == MPI_SUCCESS) && (am->type == OSC_DAXPIN_AM_PUT)) {
        ret = osc_daxpin_am_transfer(module, target, am->tag, data, am->length,
                                     1);
    }
    if (ret == MPI_SUCCESS) {
        ret = osc_daxpin_am_transfer(module, target, am->tag + 1, reply,
                                     sizeof(*reply), 0);
    }
    if ((ret == MPI_SUCCESS) && (am->type == OSC_DAXPIN_AM_GET) &&
        (reply->result == OSC_DAXPIN_AM_DONE)) {
        ret = osc_daxpin_am_transfer(module, target, am->tag + 1, data,
                                     am->length, 0);
    }
    return ret;
}

/* Send a message, and return the reply to it. The data is the caller's, which
 * frees it as osc_daxpin_am_transfer() says. */
static int osc_daxpin_am_send(osc_daxpin_module_t *module, int target,
                              const osc_daxpin_am_t *am, char *data,
                              osc_daxpin_am_reply_t *reply)
{
    osc_daxpin_am_pair_t *pair = malloc(sizeof(*pair));
    int ret;

    if (pair == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    pair->am = *am;
    ret      = osc_daxpin_am_exchange(module, target, pair, data);
    if (ret == MPI_SUCCESS) {
        *reply = pair->reply;
    }
    osc_daxpin_am_pair_free(pair, ret);
    return ret;
}

int osc_daxpin_am_copy(osc_daxpin_module_t *module, int target,
                       const struct iovec *local, const struct iovec *remote,
                       unsigned count, int is_put)
{
    osc_daxpin_am_t am = {
        .type   = is_put ? OSC_DAXPIN_AM_PUT : OSC_DAXPIN_AM_GET,
        .epoch  = module->peers[target].epoch,
        .length = local->iov_len,
        .count  = count
    };
    osc_daxpin_am_reply_t reply;
    unsigned i;
    int ret;

    for (i = 0; i < count; ++i) {
        am.ranges[i].start  = (uintptr_t)remote[i].iov_base;
        am.ranges[i].length = remote[i].iov_len;
    }
    ret = osc_daxpin_am_send(module, target, &am, local->iov_base, &reply);
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    switch (reply.result) {
    case OSC_DAXPIN_AM_DONE:
        return OMPI_SUCCESS;
    case OSC_DAXPIN_AM_NOT_ATTACHED:
        return MPI_ERR_RMA_RANGE;
    case OSC_DAXPIN_AM_READ_ONLY:
        return osc_daxpin_error_read_only(module, target);
    case OSC_DAXPIN_AM_REVOKED:
        return OSC_DAXPIN_REVOKED;
    default:
        return MPI_ERR_OTHER;
    }
}

static int osc_daxpin_am_move(osc_daxpin_module_t *module,
                              const osc_daxpin_range_t *range,
                              const osc_daxpin_move_t *move)
{
    return osc_daxpin_pack_move(module, range, move, osc_daxpin_am_copy);
}

/* Query whether a file that this rank accessed in an epoch is revoked, and why;
 * epoch 0: any file. The cause may come later, and is empty until then. */
static int osc_daxpin_am_query(osc_daxpin_module_t *module, int target,
                               uint64_t epoch, int *revoked_p, char *cause,
                               size_t size)
{
    osc_daxpin_am_t am = {.type = OSC_DAXPIN_AM_CHECK, .epoch = epoch};
    osc_daxpin_am_reply_t reply;
    int ret = osc_daxpin_am_send(module, target, &am, NULL, &reply);

    if (ret == MPI_SUCCESS) {
        reply.cause[sizeof(reply.cause) - 1] = '\0';
        snprintf(cause, size, "%s", reply.cause);
        *revoked_p = reply.result != OSC_DAXPIN_AM_DONE;
    }
    return ret;
}

static int osc_daxpin_am_check(osc_daxpin_module_t *module, int target)
{
    char cause[DAXPIN_CAUSE_MAX];
    int revoked, ret;

    ret = osc_daxpin_am_query(module, target, module->peers[target].epoch,
                              &revoked, cause, sizeof(cause));
    return ((ret != OMPI_SUCCESS) || !revoked) ? ret : OSC_DAXPIN_REVOKED;
}

static int osc_daxpin_am_cause(osc_daxpin_module_t *module, int target,
                               char *buffer, size_t size)
{
    int revoked, ret;

    ret = osc_daxpin_am_query(module, target, module->peers[target].epoch,
                              &revoked, buffer, size);
    return ((ret != OMPI_SUCCESS) || (buffer[0] != '\0')) ?
                   ret :
                   osc_daxpin_am_query(module, target, 0, &revoked, buffer,
                                       size);
}

static int osc_daxpin_am_persist(osc_daxpin_module_t *module, int target,
                                 const osc_daxpin_mem_t *mem, uint64_t start,
                                 uint64_t length)
{
    osc_daxpin_am_t am = {
        .type   = OSC_DAXPIN_AM_PERSIST,
        .ranges = {{start, length}}
    };
    osc_daxpin_am_reply_t reply;
    int ret;

    ret = osc_daxpin_am_send(module, target, &am, NULL, &reply);
    return ((ret != MPI_SUCCESS) || (reply.result == OSC_DAXPIN_AM_DONE)) ?
                   ret :
                   OSC_DAXPIN_FAILED;
}

const osc_daxpin_way_t osc_daxpin_way_am = {
    .is_remote = 1,
    .move      = osc_daxpin_am_move,
    .complete  = osc_daxpin_mem_complete,
    .check     = osc_daxpin_am_check,
    .cause     = osc_daxpin_am_cause,
    .persist   = osc_daxpin_am_persist
};
