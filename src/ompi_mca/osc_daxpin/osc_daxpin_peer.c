/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Targets: where their parts are, what their leases are doing, and the error */

#include "osc_daxpin.h"

#include "ompi/errhandler/errcode.h"
#include "ompi/errhandler/errhandler.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OSC_DAXPIN_ERROR_NAME "MPIX_ERR_DAXPIN_REVOKED"

/* A holder that lives looks at a file that is read every 20 ms */
#define OSC_DAXPIN_LENT_BOUND_SEC 30.0

/* 1 ms between them */
#define OSC_DAXPIN_CAUSE_LOOKS 1000

_Static_assert((offsetof(osc_daxpin_view_t, state) ==
                offsetof(daxpin_control_t, state) - OSC_DAXPIN_VIEW_OFFSET) &&
               (offsetof(osc_daxpin_view_t, locks) ==
                offsetof(daxpin_control_t, locks) - OSC_DAXPIN_VIEW_OFFSET),
               "a view is a piece of the control page");

/* What each rank tells all others */
typedef struct osc_daxpin_peer_info {
    daxpin_key_t key;
    uint64_t     offset;
    uint64_t     size;
    uint64_t     file_length;
    int          disp_unit;
    int          has_file;
    int          node;      /* id */
    int          node_rank;
    int          pid;
} osc_daxpin_peer_info_t;

static void osc_daxpin_peer_info_fill(const osc_daxpin_module_t *module,
                                 int disp_unit, osc_daxpin_peer_info_t *info)
{
    const osc_daxpin_segment_t *segment = &module->segment;

    memset(info, 0, sizeof(*info));
    if (segment->file != NULL) {
        daxpin_file_key(segment->file, &info->key);
    }
    info->has_file    = segment->file != NULL;
    info->offset      = segment->offset;
    info->size        = segment->size;
    info->file_length = (segment->file_length > 0) ?
                                segment->file_length :
                                segment->offset + segment->size;
    info->disp_unit   = disp_unit;
    info->node        = module->node.id;
    info->node_rank   = ompi_comm_rank(module->node.comm);
    info->pid         = getpid();
}

/* Parts of one file are next to each other here as they are there */
static char *osc_daxpin_peer_map(osc_daxpin_module_t *module,
                                 const osc_daxpin_peer_info_t *infos,
                                 int target, daxpin_file_t *file)
{
    const osc_daxpin_segment_t *segment = &module->segment;
    const osc_daxpin_peer_info_t *info = &infos[target];
    char *base;
    int i;

    if ((file == segment->file) && !segment->adopted) {
        return segment->base - segment->offset + info->offset;
    }
    for (i = 0; i < target; ++i) {
        if ((module->peers[i].mem.access.file == file) &&
            (infos[i].file_length == info->file_length)) {
            return module->peers[i].mem.base - infos[i].offset + info->offset;
        }
    }
    base = daxpin_file_addr(file, 0, info->file_length);
    return (base != NULL) ? base + info->offset : NULL;
}

static void osc_daxpin_peer_fill(const osc_daxpin_module_t *module,
                                 const osc_daxpin_peer_info_t *info,
                                 osc_daxpin_peer_t *peer)
{
    peer->mem.dirty_start = UINT64_MAX;
    peer->mem.offset      = info->offset;
    peer->mem.size        = info->size;
    peer->disp_unit       = info->disp_unit;
    peer->node_rank       = (info->node == module->node.id) ?
                                    info->node_rank : -1;
    peer->pid             = info->pid;
    peer->epoch           = 1;
    peer->mems            = &peer->mem;
    peer->num_mems        = 1;
}

/* What it will attach is not known yet */
static void osc_daxpin_peer_open_dynamic(osc_daxpin_module_t *module,
                                         osc_daxpin_peer_t *peer)
{
    if (peer->node_rank < 0) {
        peer->mem.size = UINT64_MAX; /* only the target knows */
        return;
    }
    peer->mem.base = module->sync_memory;
    peer->mems     = NULL;
    peer->num_mems = 0;
}

/* The control page of a holder is one for all who share the file. His own is
 * read: RDMA devices register no memory that, as with the others, may only be
 * read, so that these would have to take part in each look. */
static int osc_daxpin_peer_info_state_rank(const osc_daxpin_peer_info_t *infos,
                                           int size, int target)
{
    const osc_daxpin_peer_info_t *info = &infos[target];
    int i;

    if (!info->has_file || (info->pid == (int)info->key.pid)) {
        return target;
    }
    for (i = 0; i < size; ++i) {
        if ((infos[i].pid == (int)info->key.pid) &&
            (infos[i].node == info->node) &&
            (memcmp(&infos[i].key, &info->key, sizeof(info->key)) == 0)) {
            return i;
        }
    }
    return target;
}

static int osc_daxpin_peer_open(osc_daxpin_module_t *module,
                                const osc_daxpin_peer_info_t *infos, int target)
{
    const osc_daxpin_peer_info_t *info = &infos[target];
    osc_daxpin_peer_t *peer       = &module->peers[target];
    osc_daxpin_mem_t *mem         = &peer->mem;
    daxpin_file_t *file;

    osc_daxpin_peer_fill(module, info, peer);
    peer->state_rank = osc_daxpin_peer_info_state_rank(infos, module->size,
                                                       target);
    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        osc_daxpin_peer_open_dynamic(module, peer);
        return OMPI_SUCCESS;
    }
    if (target == module->rank) {
        /* Also where it is not a file */
        mem->base = (module->segment.base != NULL) ? module->segment.base :
                                                  module->sync_memory;
        file      = module->segment.file;
        if (file == NULL) {
            return OMPI_SUCCESS;
        }
        daxpin_file_ref(file);
    } else if (!info->has_file && (info->size == 0)) {
        mem->base = module->sync_memory; /* where nobody accesses anything */
        return OMPI_SUCCESS;
    } else if ((peer->node_rank < 0) || !info->has_file) {
        return OMPI_SUCCESS;
    } else if (daxpin_file_attach(&info->key, &file) != 0) {
        return osc_daxpin_error(OMPI_ERR_FILE_OPEN_FAILURE, "rank %d: cannot "
                                "share the file of rank %d: %s", module->rank,
                                target, daxpin_errormsg());
    }
    daxpin_access_init(file, module->slot, &mem->access);
    if (mem->base == NULL) {
        mem->base = osc_daxpin_peer_map(module, infos, target, file);
    }
    if (mem->base == NULL) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: cannot map "
                                "the part of rank %d: %s", module->rank,
                                target, daxpin_errormsg());
    }
    return OMPI_SUCCESS;
}

/* Two names may lead to one file: then its parts were not laid out together */
static int osc_daxpin_peer_info_check(const osc_daxpin_module_t *module,
                                  const osc_daxpin_peer_info_t *infos)
{
    const osc_daxpin_peer_info_t *own = &infos[module->rank];
    const osc_daxpin_peer_info_t *info;
    int i;

    for (i = 0; i < module->size; ++i) {
        info = &infos[i];
        if ((i != module->rank) && (info->node == own->node) &&
            (info->key.dev == own->key.dev) &&
            (info->key.ino == own->key.ino) &&
            (info->offset < own->offset + own->size) &&
            (own->offset < info->offset + info->size)) {
            return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: ranks %d and %d "
                                    "came to this file by different names, and "
                                    "their parts overlap; use one name",
                                    module->segment.path, module->rank, i);
        }
    }
    return OMPI_SUCCESS;
}

/* What one rank needs for targets on other nodes, all make */
static int osc_daxpin_remote_agree(osc_daxpin_module_t *module)
{
    int any[]                 = {module->remote, module->spec.persist ==
                                                 OSC_DAXPIN_PERSIST_FLUSH};
    ompi_communicator_t *comm = module->comm;
    int ret;

    ret = comm->c_coll->coll_allreduce(MPI_IN_PLACE, any, 2, MPI_INT, MPI_MAX,
                                       comm,
                                       comm->c_coll->coll_allreduce_module);
    module->remote       = any[0];
    module->progress.wanted = any[0] && any[1];
    return ret;
}

int osc_daxpin_peers_open(osc_daxpin_module_t *module, int disp_unit)
{
    ompi_communicator_t *comm = module->comm;
    osc_daxpin_peer_info_t *infos, own;
    int i, ret;

    module->peers      = calloc(module->size, sizeof(*module->peers));
    module->dummy_control = calloc(1, DAXPIN_CONTROL_SIZE);
    infos              = calloc(module->size, sizeof(*infos));
    ret                = ((module->peers == NULL) || (infos == NULL) ||
                          (module->dummy_control == NULL)) ?
                                 OMPI_ERR_OUT_OF_RESOURCE : OMPI_SUCCESS;
    ret                = osc_daxpin_agree(module, ret);
    if (ret != OMPI_SUCCESS) {
        goto out;
    }
    atomic_store(&module->dummy_control->state, DAXPIN_STATE_HELD);
    /* A slot is for one thread at a time; the last one for many */
    module->slot = opal_using_threads() ? DAXPIN_SLOTS - 1 : daxpin_slot_get();
    module->has_slot = 1;
    osc_daxpin_peer_info_fill(module, disp_unit, &own);
    ret = comm->c_coll->coll_allgather(&own, sizeof(own), MPI_BYTE, infos,
                                       sizeof(own), MPI_BYTE, comm,
                                       comm->c_coll->coll_allgather_module);
    if ((ret == OMPI_SUCCESS) && (module->segment.path[0] != '\0')) {
        ret = osc_daxpin_peer_info_check(module, infos);
    }
    module->remote = 0;
    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret             = osc_daxpin_peer_open(module, infos, i);
        module->remote |= module->peers[i].mem.base == NULL;
    }
    ret = osc_daxpin_agree(module, ret);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_remote_agree(module);
    }
out:
    free(infos);
    return ret;
}

void osc_daxpin_peers_close(osc_daxpin_module_t *module)
{
    int i;

    if (module->peers == NULL) {
        return;
    }
    osc_daxpin_regions_close(module);
    for (i = 0; i < module->size; ++i) {
        daxpin_file_close(module->peers[i].mem.access.file);
    }
    if (module->has_slot) {
        daxpin_slot_put(module->slot);
    }
    free(module->dummy_control);
    free(module->peers);
    module->dummy_control = NULL;
    module->peers      = NULL;
}

/*
 * State
 */

const daxpin_control_t *osc_daxpin_own_control(osc_daxpin_module_t *module)
{
    const daxpin_file_t *file = module->peers[module->rank].mem.access.file;

    return (file != NULL) ? daxpin_file_control(file) : module->dummy_control;
}

/* Read from the control page of a target's file, by way of the inner window */
static int osc_daxpin_state_read(osc_daxpin_module_t *module, int target,
                                 size_t offset, void *buffer, size_t length)
{
    osc_daxpin_shadow_t *shadow = &module->state;
    int ret;

    target = module->peers[target].state_rank;
    ret    = shadow->module->osc_get(buffer, (int)length, MPI_BYTE, target,
                                     (ptrdiff_t)offset, (int)length, MPI_BYTE,
                                     shadow->win);
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   shadow->module->osc_flush(target, shadow->win);
}

/* While a reader is let in, the lease does not tell of a truncate. Who accesses
 * the file with his own CPU looks at its size himself; for others, a lock that
 * makes truncates wait is good enough, or that the holder has seen the whole
 * file once more. Twice: he may have been about to say so before. */
osc_daxpin_verdict_t osc_daxpin_view_judge(const osc_daxpin_view_t *view,
                                           uint64_t *first_p)
{
    if (!daxpin_state_allows(view->state)) {
        return OSC_DAXPIN_VIEW_BAD;
    }
    if ((view->state != DAXPIN_STATE_LENT) ||
        (view->locks & DAXPIN_LOCK_HOLD)) {
        return OSC_DAXPIN_VIEW_GOOD;
    }
    if (*first_p == OSC_DAXPIN_VIEW_FIRST) {
        *first_p = view->checks;
    }
    return (view->checks - *first_p >= 2) ? OSC_DAXPIN_VIEW_GOOD :
                                            OSC_DAXPIN_VIEW_UNCLEAR;
}

/* Of a target on another node */
static int osc_daxpin_remote_check(osc_daxpin_module_t *module, int target)
{
    const double end = PMPI_Wtime() + OSC_DAXPIN_LENT_BOUND_SEC;
    uint64_t first   = OSC_DAXPIN_VIEW_FIRST;
    osc_daxpin_view_t view;
    int ret;

    for (;;) {
        ret = osc_daxpin_state_read(module, target, OSC_DAXPIN_VIEW_OFFSET,
                                    &view, sizeof(view));
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
        switch (osc_daxpin_view_judge(&view, &first)) {
        case OSC_DAXPIN_VIEW_GOOD:
            return OMPI_SUCCESS;
        case OSC_DAXPIN_VIEW_BAD:
            return osc_daxpin_peer_revoked(module, target);
        default:
            break;
        }
        if (PMPI_Wtime() > end) {
            return osc_daxpin_error(MPI_ERR_OTHER, "rank %d: whether the file "
                                    "of rank %d is whole, while somebody reads "
                                    "it, was not said for %g s; is the process "
                                    "that holds its lease stopped?",
                                    module->rank, target,
                                    OSC_DAXPIN_LENT_BOUND_SEC);
        }
        opal_progress();
    }
}

int osc_daxpin_file_is_good(const daxpin_file_t *file)
{
    return daxpin_state_allows((uint32_t)daxpin_file_state(file));
}

static int osc_daxpin_mem_is_good(const osc_daxpin_mem_t *mem)
{
    return !mem->dead && ((mem->access.file == NULL) ||
                          osc_daxpin_file_is_good(mem->access.file));
}

/* Of a dynamic window what was accessed counts, unless it is to be all; of
 * another there is only the segment, and who asks has accessed it */
static osc_daxpin_mem_t *osc_daxpin_peer_bad(osc_daxpin_module_t *module,
                                             int target, int all)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    unsigned i;

    for (i = 0; i < peer->num_mems; ++i) {
        if (!osc_daxpin_mem_is_good(&peer->mems[i]) &&
            (all || peer->mems[i].touched || (peer->mems == &peer->mem))) {
            return &peer->mems[i];
        }
    }
    return NULL;
}

static int osc_daxpin_is_remote(const osc_daxpin_peer_t *peer)
{
    return peer->mem.base == NULL;
}

static int osc_daxpin_am_is_good(osc_daxpin_module_t *module, int target)
{
    char cause[DAXPIN_CAUSE_MAX];
    int ret = osc_daxpin_am_check(module, target, 0, cause, sizeof(cause));

    return ((ret != OMPI_SUCCESS) || (cause[0] == '\0')) ?
                   ret :
                   osc_daxpin_peer_revoked(module, target);
}

int osc_daxpin_peer_check(osc_daxpin_module_t *module, int target)
{
    if (osc_daxpin_is_remote(&module->peers[target])) {
        return module->has_am ? osc_daxpin_am_is_good(module, target) :
                                   osc_daxpin_remote_check(module, target);
    }
    return (osc_daxpin_peer_bad(module, target, 0) == NULL) ?
                   OMPI_SUCCESS :
                   osc_daxpin_peer_revoked(module, target);
}

/* The first of this rank's files that is revoked */
static daxpin_file_t *osc_daxpin_own_bad(const osc_daxpin_module_t *module)
{
    const osc_daxpin_segment_t *segment = &module->segment;
    uint64_t i, count = 1;

    if (module->attached != NULL) {
        segment  = module->attached;
        count = module->node.tables[ompi_comm_rank(module->node.comm)].count;
    }
    for (i = 0; i < count; ++i) {
        if ((segment[i].file != NULL) &&
            !osc_daxpin_file_is_good(segment[i].file)) {
            return segment[i].file;
        }
    }
    return NULL;
}

int osc_daxpin_own_check(osc_daxpin_module_t *module)
{
    return (osc_daxpin_own_bad(module) == NULL) ?
                   OMPI_SUCCESS :
                   osc_daxpin_peer_revoked(module, module->rank);
}

static int osc_daxpin_remote_cause(osc_daxpin_module_t *module, int target,
                                   char *buffer, size_t size)
{
    daxpin_control_t control;
    int ret;

    if (module->has_am) {
        ret = osc_daxpin_am_check(module, target, 0, buffer, size);
        return ((ret != OMPI_SUCCESS) || (buffer[0] != '\0')) ?
                       ret :
                       osc_daxpin_am_check(module, target, 1, buffer, size);
    }
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

int osc_daxpin_peer_cause(osc_daxpin_module_t *module, int target,
                          char *buffer, size_t size)
{
    char path[OSC_DAXPIN_NAME_MAX];
    daxpin_file_t *file = NULL;
    osc_daxpin_mem_t *mem;

    buffer[0] = '\0';
    if (osc_daxpin_is_remote(&module->peers[target])) {
        return osc_daxpin_remote_cause(module, target, buffer, size);
    }
    mem = osc_daxpin_peer_bad(module, target, 0);
    mem = (mem != NULL) ? mem : osc_daxpin_peer_bad(module, target, 1);
    if ((mem != NULL) && mem->dead) {
        osc_daxpin_region_path(module, target, mem, path, sizeof(path));
        snprintf(buffer, size, "%s was revoked before rank %d could share it",
                 (path[0] != '\0') ? path : "a file that it had attached",
                 module->rank);
        return OMPI_SUCCESS;
    }
    if (mem != NULL) {
        file = mem->access.file;
    } else if (target == module->rank) {
        file = osc_daxpin_own_bad(module);
    }
    if (file != NULL) {
        daxpin_file_cause(file, buffer, size);
    }
    return OMPI_SUCCESS;
}

int osc_daxpin_peer_raise(osc_daxpin_module_t *module, int target,
                          const char *cause)
{
    osc_daxpin_component_t *osc     = &mca_osc_daxpin_component;
    char text[MPI_MAX_ERROR_STRING] = "";

    snprintf(text, sizeof(text), OSC_DAXPIN_ERROR_NAME
             ": target rank %d: %.200s", target, cause);
    ompi_mpi_errnum_add_string(osc->error_code, text, sizeof(text));
    if (module->win->error_handler == &ompi_mpi_errors_are_fatal.eh) {
        /* MPI says it as well, but when several ranks end at once Open MPI
         * loses what they say now and then */
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank, text);
    }
    return osc->error_code;
}

int osc_daxpin_peer_revoked(osc_daxpin_module_t *module, int target)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    char cause[DAXPIN_CAUSE_MAX];
    unsigned i;

    /* An access may have found it out before the thread that says why */
    for (i = 0; i < OSC_DAXPIN_CAUSE_LOOKS; ++i) {
        if ((osc_daxpin_peer_cause(module, target, cause, sizeof(cause)) !=
             OMPI_SUCCESS) ||
            (cause[0] != '\0')) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    return osc_daxpin_peer_raise(module, target, cause);
}

/*
 * Persistence
 */

static void osc_daxpin_dirty_take(osc_daxpin_module_t *module,
                                  osc_daxpin_mem_t *mem, uint64_t *start_p,
                                  uint64_t *end_p)
{
    OPAL_THREAD_LOCK(&module->mutex);
    *start_p         = mem->dirty_start;
    *end_p           = mem->dirty_end;
    mem->dirty_start = UINT64_MAX;
    mem->dirty_end   = 0;
    OPAL_THREAD_UNLOCK(&module->mutex);
}

void osc_daxpin_dirty_add(osc_daxpin_module_t *module, osc_daxpin_mem_t *mem,
                          uint64_t start, uint64_t end)
{
    OPAL_THREAD_LOCK(&module->mutex);
    if (start < mem->dirty_start) {
        mem->dirty_start = start;
    }
    if (end > mem->dirty_end) {
        mem->dirty_end = end;
    }
    OPAL_THREAD_UNLOCK(&module->mutex);
}

static int osc_daxpin_file_persist(osc_daxpin_module_t *module, int target,
                                   const osc_daxpin_mem_t *mem, uint64_t start,
                                   uint64_t length)
{
    int ret;

    if (mem->access.file == NULL) {
        return OMPI_SUCCESS;
    }
    ret = daxpin_file_persist(mem->access.file, mem->offset + start, length);
    if (ret == -ESTALE) {
        return osc_daxpin_peer_revoked(module, target);
    }
    if (ret != 0) {
        return osc_daxpin_error(MPI_ERR_IO, "rank %d, target rank %d: %s",
                                module->rank, target, daxpin_errormsg());
    }
    return OMPI_SUCCESS;
}

/* What other threads have put since the data was flushed is not there yet, but
 * may be in the range that is taken by now */
static int osc_daxpin_remote_persist(osc_daxpin_module_t *module, int target,
                                     uint64_t start, uint64_t length)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret                   = OMPI_SUCCESS;

    if (module->has_am) {
        return osc_daxpin_am_persist(module, target, start, length);
    }
    if (opal_using_threads()) {
        ret = data->module->osc_flush(target, data->win);
    }
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   osc_daxpin_progress_persist_at(module, target, start,
                                                  length);
}

/* What fails is to be persisted still, when it is tried again */
static int osc_daxpin_mem_persist(osc_daxpin_module_t *module, int target,
                                  osc_daxpin_mem_t *mem)
{
    uint64_t start, end;
    int ret;

    osc_daxpin_dirty_take(module, mem, &start, &end);
    if (start >= end) {
        return OMPI_SUCCESS;
    }
    if (osc_daxpin_is_remote(&module->peers[target])) {
        ret = osc_daxpin_remote_persist(module, target, start, end - start);
    } else {
        ret = osc_daxpin_file_persist(module, target, mem, start, end - start);
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_dirty_add(module, mem, start, end);
    }
    return ret;
}

int osc_daxpin_peer_persist(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                 = OMPI_SUCCESS;
    unsigned i;

    /* Another thread may be at what this one has put: who finds nothing to do
     * has waited for him */
    OPAL_THREAD_LOCK(&module->persist_mutex);
    for (i = 0; (i < peer->num_mems) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_mem_persist(module, target, &peer->mems[i]);
    }
    OPAL_THREAD_UNLOCK(&module->persist_mutex);
    return ret;
}
