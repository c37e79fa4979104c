/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Active messages: dynamic windows between nodes. No inner component can do it:
 * osc/ucx of Open MPI 4.1 frees a remote key while operations with it are under
 * way and has room for 32 regions, and osc/rdma does not support it over TCP.
 * So the origin sends a message, and the target does the access with its own
 * CPU, within the access check, whenever it makes progress. Its reply reports
 * whether the access is in the file. The origin waits for the reply.
 *
 * The origin serves others while it waits, and what it does in such a nested call
 * may have to wait in turn for the rank that it waits for itself. So each side
 * posts all transfers of a message before it waits for one of them: then no
 * transfer of an outer call is missing while an inner one waits.
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
#define OSC_DAXPIN_AM_TAGS  10000u /* of messages under way, at one origin */
#define OSC_DAXPIN_AM_CAUSE 256
#define OSC_DAXPIN_AM_DATA  ((size_t)4 << 20) /* of one message, at most */
#define OSC_DAXPIN_AM_POSTS 3 /* transfers of one message, at most */

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
    int                   tag;   /* of the data of a put; one more: of the
                                    reply, and of the data of a get */
    uint64_t              epoch; /* of the origin, at this target */
    daxpin_key_t          known; /* a file whose error ended an access of the
                                    epoch; inode 0: none */
    uint64_t              length;
    unsigned              count;
    osc_daxpin_am_range_t ranges[OSC_DAXPIN_IOV_MAX];
} osc_daxpin_am_t;

/* Followed by the data of a get, which is empty if that is not done */
typedef struct osc_daxpin_am_reply {
    int          result;
    int          more; /* another file is revoked, too */
    daxpin_key_t file; /* a revoked one */
    char         cause[OSC_DAXPIN_AM_CAUSE];
} osc_daxpin_am_reply_t;

/* A message and the answer to it, in memory that outlives a transfer that was
 * given up: see osc_daxpin_error_is_gone() */
typedef struct osc_daxpin_am_pair {
    osc_daxpin_am_t       am;
    osc_daxpin_am_reply_t reply;
} osc_daxpin_am_pair_t;

/* What was posted of a message, and has not been waited for */
typedef struct osc_daxpin_am_posts {
    osc_daxpin_transfer_t transfers[OSC_DAXPIN_AM_POSTS];
    int                   count;
    int                   ret; /* of the first that could not be posted */
} osc_daxpin_am_posts_t;

/* Begin to send or to receive, unless an earlier transfer could not begin */
static void osc_daxpin_am_post(osc_daxpin_module_t *module, int rank, int tag,
                               void *data, size_t length, int is_send,
                               osc_daxpin_am_posts_t *posts)
{
    osc_daxpin_transfer_t *transfer = &posts->transfers[posts->count];
    int ret;

    if (posts->ret != MPI_SUCCESS) {
        return;
    }
    transfer->is_send = is_send;
    if (is_send) {
        ret = PMPI_Isend(data, (int)length, MPI_BYTE, rank, tag, module->comm,
                         &transfer->request);
    } else {
        ret = PMPI_Irecv(data, (int)length, MPI_BYTE, rank, tag, module->comm,
                         &transfer->request);
    }
    if (ret == MPI_SUCCESS) {
        ++posts->count;
    } else {
        posts->ret = osc_daxpin_error_gone(module, rank);
    }
}

/* Wait for what was posted, for as long as the other rank is there. Of the
 * errors, the caller may free the memory after those that are not
 * osc_daxpin_error_is_gone(). */
static int osc_daxpin_am_finish(osc_daxpin_module_t *module, int rank,
                                osc_daxpin_am_posts_t *posts)
{
    return osc_daxpin_bound_finish_all(module, rank, posts->transfers,
                                       posts->count, posts->ret);
}

/*
 * At the target
 */

/* The message that is served, and its data. One at a time is, in all windows.
 * What a transfer that was given up may still use is left to it, and replaced. */
typedef struct osc_daxpin_am_served {
    osc_daxpin_am_pair_t pair;
    char                 data[OSC_DAXPIN_AM_DATA];
} osc_daxpin_am_served_t;

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

/* Return the first segment of a revoked file other than one, which may be
 * NULL */
static const osc_daxpin_segment_t *
osc_daxpin_am_find_bad(osc_daxpin_module_t *module, int origin,
                       const osc_daxpin_am_t *am, const daxpin_file_t *other)
{
    const osc_daxpin_segment_t *segment;
    uint64_t i, count;

    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; i < count; ++i, ++segment) {
        if ((segment->touched != NULL) && (segment->file != other) &&
            ((segment->touched[origin] == am->epoch) || (am->epoch == 0)) &&
            !osc_daxpin_file_is_good(segment->file)) {
            return segment;
        }
    }
    return NULL;
}

/* Forget that an origin has accessed a file. A file's generation may be another
 * one after the revoke. */
static void osc_daxpin_am_forget(osc_daxpin_module_t *module, int origin,
                                 const daxpin_key_t *file)
{
    const osc_daxpin_segment_t *segment;
    uint64_t i, count;
    daxpin_key_t key;

    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; i < count; ++i, ++segment) {
        if ((segment->touched == NULL) || (segment->file == NULL)) {
            continue;
        }
        daxpin_file_key(segment->file, &key);
        if ((key.ino == file->ino) && (key.dev == file->dev)) {
            segment->touched[origin] = 0;
        }
    }
}

/* Report the first of the revoked files */
static int osc_daxpin_am_check_all(osc_daxpin_module_t *module, int origin,
                                   const osc_daxpin_am_t *am,
                                   osc_daxpin_am_reply_t *reply)
{
    const osc_daxpin_segment_t *segment;

    if (am->known.ino != 0) {
        osc_daxpin_am_forget(module, origin, &am->known);
    }
    segment = osc_daxpin_am_find_bad(module, origin, am, NULL);
    if (segment == NULL) {
        return OSC_DAXPIN_AM_DONE;
    }
    daxpin_file_key(segment->file, &reply->file);
    daxpin_file_cause(segment->file, reply->cause, sizeof(reply->cause));
    reply->more = (am->epoch != 0) &&
                  (osc_daxpin_am_find_bad(module, origin, am, segment->file) !=
                   NULL);
    return OSC_DAXPIN_AM_REVOKED;
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
        reply->result = osc_daxpin_am_copy_all(module, origin, am, data);
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
                   osc_daxpin_bound_finish(module, origin, &request, 0);
}

/* Receive the data of a put */
static int osc_daxpin_am_receive_data(osc_daxpin_module_t *module, int origin,
                                      osc_daxpin_am_served_t *served)
{
    const osc_daxpin_am_t *am   = &served->pair.am;
    osc_daxpin_am_posts_t posts = {.ret = MPI_SUCCESS};

    osc_daxpin_am_post(module, origin, am->tag, served->data, am->length, 0,
                       &posts);
    return osc_daxpin_am_finish(module, origin, &posts);
}

static int osc_daxpin_am_reply(osc_daxpin_module_t *module, int origin,
                               osc_daxpin_am_served_t *served)
{
    const osc_daxpin_am_t *am    = &served->pair.am;
    osc_daxpin_am_reply_t *reply = &served->pair.reply;
    osc_daxpin_am_posts_t posts  = {.ret = MPI_SUCCESS};

    osc_daxpin_am_post(module, origin, am->tag + 1, reply, sizeof(*reply), 1,
                       &posts);
    if (am->type == OSC_DAXPIN_AM_GET) {
        osc_daxpin_am_post(module, origin, am->tag + 1, served->data,
                           (reply->result == OSC_DAXPIN_AM_DONE) ? am->length :
                                                                   0,
                           1, &posts);
    }
    return osc_daxpin_am_finish(module, origin, &posts);
}

/* Receive a message, do what it wants, and reply */
static int osc_daxpin_am_answer(osc_daxpin_module_t *module,
                                MPI_Message *message, int origin,
                                osc_daxpin_am_served_t *served)
{
    osc_daxpin_am_t *am = &served->pair.am;
    int ret;

    ret = osc_daxpin_am_receive_header(module, message, origin, am);
    if ((ret == MPI_SUCCESS) && (am->type == OSC_DAXPIN_AM_PUT)) {
        ret = osc_daxpin_am_receive_data(module, origin, served);
    }
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    osc_daxpin_am_handle(module, origin, am, served->data,
                         &served->pair.reply);
    return osc_daxpin_am_reply(module, origin, served);
}

/* Receive and answer the next message for a window, if there is one. The first
 * memory for it is there from the beginning: a target that has no more can
 * answer. Caller has the mutex of the service. */
static int osc_daxpin_am_serve(osc_daxpin_module_t *module)
{
    static osc_daxpin_am_served_t first;
    static osc_daxpin_am_served_t *served = &first;
    int flag                              = 0;
    MPI_Message message;
    MPI_Status status;
    int ret;

    if ((PMPI_Iprobe(MPI_ANY_SOURCE, OSC_DAXPIN_AM_TAG, module->comm, &flag,
                     &status) != MPI_SUCCESS) || !flag) {
        return 0;
    }
    if (served == NULL) {
        served = malloc(sizeof(*served));
    }
    if (served == NULL) {
        return 0;
    }
    ret = PMPI_Improbe(MPI_ANY_SOURCE, OSC_DAXPIN_AM_TAG, module->comm, &flag,
                       &message, &status);
    if ((ret == MPI_SUCCESS) && flag) {
        ret = osc_daxpin_am_answer(module, &message, status.MPI_SOURCE, served);
    }
    if (osc_daxpin_error_is_gone(ret)) {
        served = NULL;
    }
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

/* The numbers of messages that were given up. Their replies may still come, and
 * those of others must not be taken for them: they are not used again, unless no
 * other one is left. */
static _Atomic char osc_daxpin_am_lost[OSC_DAXPIN_AM_TAGS];

/* Return the number of a new message */
static unsigned osc_daxpin_am_number(void)
{
    static _Atomic unsigned next;
    unsigned tries = OSC_DAXPIN_AM_TAGS;
    unsigned number;

    do {
        number = atomic_fetch_add(&next, 1) % OSC_DAXPIN_AM_TAGS;
    } while (atomic_load(&osc_daxpin_am_lost[number]) && (--tries > 0));
    return number;
}

/* Send a message, and receive the reply. The message itself is the last that is
 * posted: when the target knows of it, all else is there. */
static int osc_daxpin_am_exchange(osc_daxpin_module_t *module, int target,
                                  osc_daxpin_am_pair_t *pair, char *data)
{
    const unsigned number        = osc_daxpin_am_number();
    osc_daxpin_am_t *am          = &pair->am;
    osc_daxpin_am_reply_t *reply = &pair->reply;
    osc_daxpin_am_posts_t posts  = {.ret = MPI_SUCCESS};
    int ret;

    am->tag = OSC_DAXPIN_AM_TAG + 1 + 2 * (int)number;
    osc_daxpin_am_post(module, target, am->tag + 1, reply, sizeof(*reply), 0,
                       &posts);
    if (am->type == OSC_DAXPIN_AM_GET) {
        osc_daxpin_am_post(module, target, am->tag + 1, data, am->length, 0,
                           &posts);
    } else if (am->type == OSC_DAXPIN_AM_PUT) {
        osc_daxpin_am_post(module, target, am->tag, data, am->length, 1,
                           &posts);
    }
    osc_daxpin_am_post(module, target, OSC_DAXPIN_AM_TAG, am, sizeof(*am), 1,
                       &posts);
    ret = osc_daxpin_am_finish(module, target, &posts);
    if (osc_daxpin_error_is_gone(ret)) {
        atomic_store(&osc_daxpin_am_lost[number], 1);
    }
    return ret;
}

/* Send a message, and return the reply to it. The data is the caller's, which
 * frees it as osc_daxpin_am_finish() says. */
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
    osc_daxpin_error_free(ret, pair);
    return ret;
}

/* Return the error of a reply to a put or a get */
static int osc_daxpin_am_result(osc_daxpin_module_t *module, int target,
                                const osc_daxpin_am_reply_t *reply)
{
    switch (reply->result) {
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

/* Fill a message with the next ranges, as many as it has space for. *done_p: the
 * bytes of the first one that other messages have moved. Return the number of
 * ranges that are moved whole. */
static unsigned osc_daxpin_am_fill(osc_daxpin_am_t *am,
                                   const struct iovec *remote, unsigned count,
                                   size_t *done_p)
{
    unsigned i = 0;
    size_t length;

    am->count  = 0;
    am->length = 0;
    while ((i < count) && (am->length < OSC_DAXPIN_AM_DATA)) {
        length = remote[i].iov_len - *done_p;
        if (length > OSC_DAXPIN_AM_DATA - am->length) {
            length = OSC_DAXPIN_AM_DATA - am->length;
        }
        am->ranges[am->count].start  = (uintptr_t)remote[i].iov_base + *done_p;
        am->ranges[am->count].length = length;
        am->length                  += length;
        *done_p                     += length;
        ++am->count;
        if (*done_p == remote[i].iov_len) {
            *done_p = 0;
            ++i;
        }
    }
    return i;
}

int osc_daxpin_am_copy(osc_daxpin_module_t *module, int target,
                       const struct iovec *local, const struct iovec *remote,
                       unsigned count, int is_put)
{
    osc_daxpin_am_t am = {
        .type  = is_put ? OSC_DAXPIN_AM_PUT : OSC_DAXPIN_AM_GET,
        .epoch = module->peers[target].epoch
    };
    char *data  = local->iov_base;
    size_t done = 0;
    int ret     = OMPI_SUCCESS;
    unsigned i  = 0;
    osc_daxpin_am_reply_t reply;

    while ((i < count) && (ret == OMPI_SUCCESS)) {
        i  += osc_daxpin_am_fill(&am, &remote[i], count - i, &done);
        ret = osc_daxpin_am_send(module, target, &am, data, &reply);
        if (ret == MPI_SUCCESS) {
            ret = osc_daxpin_am_result(module, target, &reply);
        }
        data += am.length;
    }
    return ret;
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
    osc_daxpin_am_t am      = {.type = OSC_DAXPIN_AM_CHECK, .epoch = epoch};
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_am_reply_t reply;
    int ret;

    if (peer->known_epoch == epoch) {
        am.known = peer->known;
    }
    ret = osc_daxpin_am_send(module, target, &am, NULL, &reply);
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    reply.cause[sizeof(reply.cause) - 1] = '\0';
    snprintf(cause, size, "%s", reply.cause);
    *revoked_p     = reply.result != OSC_DAXPIN_AM_DONE;
    peer->told     = reply.file;
    peer->has_more = reply.more;
    return MPI_SUCCESS;
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
    return ((ret != OMPI_SUCCESS) || revoked) ?
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
