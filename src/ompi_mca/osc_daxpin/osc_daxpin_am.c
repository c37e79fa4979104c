/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Dynamic windows between nodes. No inner component is asked to do it: osc/ucx
 * of Open MPI 4.1 frees a remote key while operations with it are under way
 * and has room for 32 regions, osc/rdma cannot do it over TCP. So the origin
 * sends a message, and the target does the access with its own CPU, under the
 * guard, whenever it makes progress: what is answered is known to be in the
 * file or not. The origin waits for the answer.
 */

#include "osc_daxpin.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OSC_DAXPIN_AM_TAG   1
#define OSC_DAXPIN_AM_TAGS  10000 /* of requests under way, at one origin */
#define OSC_DAXPIN_AM_CAUSE 256

typedef enum osc_daxpin_am_type {
    OSC_DAXPIN_AM_PUT,    /* followed by the data */
    OSC_DAXPIN_AM_GET,
    OSC_DAXPIN_AM_CHECK,  /* what this origin has accessed in its epoch; in
                               epoch 0: all that is attached */
    OSC_DAXPIN_AM_PERSIST
} osc_daxpin_am_type_t;

typedef enum osc_daxpin_am_result {
    OSC_DAXPIN_AM_DONE,
    OSC_DAXPIN_AM_NOT_ATTACHED,
    OSC_DAXPIN_AM_REVOKED,
    OSC_DAXPIN_AM_FAILED
} osc_daxpin_am_result_t;

typedef struct osc_daxpin_am_range {
    uint64_t start;
    uint64_t length;
} osc_daxpin_am_range_t;

typedef struct osc_daxpin_am {
    int                     type;
    int                     tag;   /* of data; one more: of the answer */
    uint64_t                epoch; /* of the origin, at this target */
    uint64_t                length;
    unsigned                count;
    osc_daxpin_am_range_t ranges[OSC_DAXPIN_IOV_MAX];
} osc_daxpin_am_t;

/* Followed by data, if it is of a get that was done */
typedef struct osc_daxpin_am_reply {
    int  result;
    char cause[OSC_DAXPIN_AM_CAUSE];
} osc_daxpin_am_reply_t;

/* Windows that get am. Who has the flag may look at the list; progress that
 * does not get it leaves it to him who has. */
static osc_daxpin_module_t *osc_daxpin_am_list;
static atomic_flag osc_daxpin_am_busy = ATOMIC_FLAG_INIT;

/*
 * At the target
 */

/* The access itself, in one region. With the lock: nothing is detached. */
static int osc_daxpin_am_access(osc_daxpin_segment_t *segment,
                                  const osc_daxpin_am_range_t *range,
                                  char *data, int is_put)
{
    char *addr = (char*)(uintptr_t)range->start;
    daxpin_access_t access;

    if (segment->file != NULL) {
        daxpin_access_init(segment->file, DAXPIN_SLOTS - 1, &access);
        if (daxpin_access_begin(&access) != 0) {
            return OSC_DAXPIN_AM_REVOKED;
        }
    }
    if (is_put) {
        memcpy(addr, data, range->length);
    } else {
        memcpy(data, addr, range->length);
    }
    if ((segment->file != NULL) &&
        (daxpin_access_end(&access, segment->offset + (addr - segment->base),
                           range->length) != 0)) {
        return OSC_DAXPIN_AM_REVOKED;
    }
    return OSC_DAXPIN_AM_DONE;
}

/* It may lie in several regions that are next to each other */
static int osc_daxpin_am_copy_range(osc_daxpin_module_t *module, int origin,
                                      const osc_daxpin_am_t *am,
                                      const osc_daxpin_am_range_t *range,
                                      char *data)
{
    osc_daxpin_am_range_t rest = *range, here;
    int ret                      = OSC_DAXPIN_AM_DONE;
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
        ret = osc_daxpin_am_access(segment, &here, data,
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
    uint64_t i, count = osc_daxpin_attached_count(module);
    uint64_t start, end, from, to;
    osc_daxpin_segment_t *segment;

    for (i = 0; i < count; ++i) {
        segment  = &module->attached[i];
        start = (uintptr_t)segment->base;
        end   = start + segment->size;
        from  = (range->start > start) ? range->start : start;
        to    = range->start + range->length;
        to    = (to < end) ? to : end;
        if ((segment->file == NULL) || (from >= to)) {
            continue;
        }
        if (daxpin_file_persist(segment->file, segment->offset + (from - start),
                                to - from) != 0) {
            opal_output(0, "osc/daxpin: rank %d: %s", module->rank,
                        daxpin_errormsg());
            return OSC_DAXPIN_AM_FAILED;
        }
    }
    return OSC_DAXPIN_AM_DONE;
}

/* The first of the revoked files */
static int osc_daxpin_am_check_all(osc_daxpin_module_t *module, int origin,
                                     const osc_daxpin_am_t *am,
                                     osc_daxpin_am_reply_t *answer)
{
    uint64_t i, count = osc_daxpin_attached_count(module);
    osc_daxpin_segment_t *segment;

    for (i = 0; i < count; ++i) {
        segment = &module->attached[i];
        if ((segment->touched != NULL) &&
            ((segment->touched[origin] == am->epoch) || (am->epoch == 0)) &&
            !osc_daxpin_file_is_good(segment->file)) {
            daxpin_file_cause(segment->file, answer->cause,
                              sizeof(answer->cause));
            return OSC_DAXPIN_AM_REVOKED;
        }
    }
    return OSC_DAXPIN_AM_DONE;
}

static void osc_daxpin_am_do(osc_daxpin_module_t *module, int origin,
                               const osc_daxpin_am_t *am, char *data,
                               osc_daxpin_am_reply_t *answer)
{
    memset(answer, 0, sizeof(*answer));
    OPAL_THREAD_LOCK(&module->attach_mutex);
    switch (am->type) {
    case OSC_DAXPIN_AM_CHECK:
        answer->result = osc_daxpin_am_check_all(module, origin, am,
                                                   answer);
        break;
    case OSC_DAXPIN_AM_PERSIST:
        answer->result = osc_daxpin_am_persist_all(module, am->ranges);
        break;
    default:
        answer->result = (data == NULL) ?
                                 OSC_DAXPIN_AM_FAILED :
                                 osc_daxpin_am_copy_all(module, origin, am,
                                                          data);
        break;
    }
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
}

static int osc_daxpin_am_serve(osc_daxpin_module_t *module,
                                 MPI_Message *message, int origin)
{
    osc_daxpin_am_reply_t answer;
    osc_daxpin_am_t am;
    char *data = NULL;
    int ret;

    ret = PMPI_Mrecv(&am, sizeof(am), MPI_BYTE, message,
                     MPI_STATUS_IGNORE);
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    if (am.length > 0) {
        data = malloc(am.length);
    }
    if (am.type == OSC_DAXPIN_AM_PUT) {
        ret = PMPI_Recv(data, (data != NULL) ? (int)am.length : 0, MPI_BYTE,
                        origin, am.tag, module->comm, MPI_STATUS_IGNORE);
    }
    if (ret == MPI_SUCCESS) {
        osc_daxpin_am_do(module, origin, &am, data, &answer);
        ret = PMPI_Send(&answer, sizeof(answer), MPI_BYTE, origin,
                        am.tag + 1, module->comm);
    }
    if ((ret == MPI_SUCCESS) && (am.type == OSC_DAXPIN_AM_GET) &&
        (answer.result == OSC_DAXPIN_AM_DONE)) {
        ret = PMPI_Send(data, (int)am.length, MPI_BYTE, origin,
                        am.tag + 1, module->comm);
    }
    free(data);
    return ret;
}

static int osc_daxpin_am_progress(void)
{
    osc_daxpin_module_t *module;
    MPI_Message message;
    MPI_Status status;
    int count = 0, flag;

    if (atomic_flag_test_and_set(&osc_daxpin_am_busy)) {
        return 0;
    }
    for (module = osc_daxpin_am_list; module != NULL;
         module = module->am_next) {
        if ((PMPI_Improbe(MPI_ANY_SOURCE, OSC_DAXPIN_AM_TAG, module->comm,
                          &flag, &message, &status) == MPI_SUCCESS) && flag) {
            (void)osc_daxpin_am_serve(module, &message, status.MPI_SOURCE);
            ++count;
        }
    }
    atomic_flag_clear(&osc_daxpin_am_busy);
    return count;
}

static void osc_daxpin_am_lock(void)
{
    while (atomic_flag_test_and_set(&osc_daxpin_am_busy)) {
        sched_yield();
    }
}

void osc_daxpin_am_open(osc_daxpin_module_t *module)
{
    osc_daxpin_am_lock();
    if (osc_daxpin_am_list == NULL) {
        opal_progress_register(osc_daxpin_am_progress);
    }
    module->has_am    = 1;
    module->am_next    = osc_daxpin_am_list;
    osc_daxpin_am_list = module;
    atomic_flag_clear(&osc_daxpin_am_busy);
}

void osc_daxpin_am_close(osc_daxpin_module_t *module)
{
    osc_daxpin_module_t **link = &osc_daxpin_am_list;

    if (!module->has_am) {
        return;
    }
    osc_daxpin_am_lock();
    while (*link != module) {
        link = &(*link)->am_next;
    }
    *link             = module->am_next;
    module->has_am = 0;
    if (osc_daxpin_am_list == NULL) {
        opal_progress_unregister(osc_daxpin_am_progress);
    }
    atomic_flag_clear(&osc_daxpin_am_busy);
}

/*
 * At the origin
 */

static int osc_daxpin_am_send(osc_daxpin_module_t *module, int target,
                                osc_daxpin_am_t *am, char *data,
                                osc_daxpin_am_reply_t *answer)
{
    static _Atomic unsigned number;
    int ret;

    am->tag   = OSC_DAXPIN_AM_TAG + 1 +
                  2 * (int)(atomic_fetch_add(&number, 1) %
                            OSC_DAXPIN_AM_TAGS);
    ret = PMPI_Send(am, sizeof(*am), MPI_BYTE, target,
                            OSC_DAXPIN_AM_TAG, module->comm);
    if ((ret == MPI_SUCCESS) && (am->type == OSC_DAXPIN_AM_PUT)) {
        ret = PMPI_Send(data, (int)am->length, MPI_BYTE, target, am->tag,
                        module->comm);
    }
    if (ret == MPI_SUCCESS) {
        ret = PMPI_Recv(answer, sizeof(*answer), MPI_BYTE, target,
                        am->tag + 1, module->comm, MPI_STATUS_IGNORE);
    }
    if ((ret == MPI_SUCCESS) && (am->type == OSC_DAXPIN_AM_GET) &&
        (answer->result == OSC_DAXPIN_AM_DONE)) {
        ret = PMPI_Recv(data, (int)am->length, MPI_BYTE, target,
                        am->tag + 1, module->comm, MPI_STATUS_IGNORE);
    }
    return ret;
}

int osc_daxpin_am_copy(osc_daxpin_module_t *module, int target,
                         const struct iovec *local,
                         const struct iovec *remote, unsigned count,
                         int is_put)
{
    osc_daxpin_am_t am = {
        .type   = is_put ? OSC_DAXPIN_AM_PUT : OSC_DAXPIN_AM_GET,
        .epoch  = module->peers[target].epoch,
        .length = local->iov_len,
        .count  = count
    };
    osc_daxpin_am_reply_t answer;
    unsigned i;
    int ret;

    for (i = 0; i < count; ++i) {
        am.ranges[i].start  = (uintptr_t)remote[i].iov_base;
        am.ranges[i].length = remote[i].iov_len;
    }
    ret = osc_daxpin_am_send(module, target, &am, local->iov_base,
                               &answer);
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    switch (answer.result) {
    case OSC_DAXPIN_AM_DONE:
        return OMPI_SUCCESS;
    case OSC_DAXPIN_AM_NOT_ATTACHED:
        return MPI_ERR_RMA_RANGE;
    case OSC_DAXPIN_AM_REVOKED:
        return osc_daxpin_peer_revoked(module, target);
    default:
        return MPI_ERR_OTHER;
    }
}

int osc_daxpin_am_check(osc_daxpin_module_t *module, int target, int all,
                          char *cause, size_t size)
{
    osc_daxpin_am_t am = {
        .type  = OSC_DAXPIN_AM_CHECK,
        .epoch = all ? 0 : module->peers[target].epoch
    };
    osc_daxpin_am_reply_t answer;
    int ret = osc_daxpin_am_send(module, target, &am, NULL, &answer);

    if (ret == MPI_SUCCESS) {
        answer.cause[sizeof(answer.cause) - 1] = '\0';
        snprintf(cause, size, "%s", answer.cause);
    }
    return ret;
}

int osc_daxpin_am_persist(osc_daxpin_module_t *module, int target,
                            uint64_t start, uint64_t length)
{
    osc_daxpin_am_t am = {
        .type   = OSC_DAXPIN_AM_PERSIST,
        .ranges = {{start, length}}
    };
    osc_daxpin_am_reply_t answer;
    int ret;

    ret = osc_daxpin_am_send(module, target, &am, NULL, &answer);
    if ((ret != MPI_SUCCESS) || (answer.result == OSC_DAXPIN_AM_DONE)) {
        return ret;
    }
    /* Because it was revoked, or because the file system says so */
    ret = osc_daxpin_peer_check(module, target);
    return (ret != OMPI_SUCCESS) ? ret : MPI_ERR_IO;
}
