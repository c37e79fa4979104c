/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The state of a target's file, and the error if it is revoked */

#include "osc_daxpin_state.h"

#include "osc_daxpin_attached.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_mapped.h"
#include "osc_daxpin_segment.h"

#include <time.h>

/* Queries of the cause, 1 ms apart */
#define OSC_DAXPIN_CAUSE_QUERIES 1000

int osc_daxpin_peer_check(osc_daxpin_module_t *module, int target)
{
    int ret = module->peers[target].way->check(module, target);

    return (ret == OSC_DAXPIN_REVOKED) ?
                   osc_daxpin_peer_revoked(module, target) :
                   ret;
}

int osc_daxpin_peer_cause(osc_daxpin_module_t *module, int target,
                          char *buffer, size_t size)
{
    buffer[0] = '\0';
    return module->peers[target].way->cause(module, target, buffer, size);
}

/* Return the memory whose file is the cause: first of those accessed in this
 * epoch. NULL if this process does not share the file; no other one is reported
 * then. */
static const osc_daxpin_mem_t *
osc_daxpin_peer_bad_mem(const osc_daxpin_peer_t *peer)
{
    const osc_daxpin_mem_t *bad = NULL;
    const osc_daxpin_mem_t *mem;
    unsigned i;

    for (i = 0; i < peer->num_mems; ++i) {
        mem = &peer->mems[i];
        if (((bad == NULL) || mem->touched) && !osc_daxpin_mem_is_good(mem)) {
            bad = mem;
            if (mem->touched) {
                break;
            }
        }
    }
    return bad;
}

/* Note that the program knows of a revoked file. The memory of several ranks
 * may be in one file. Caller holds attach_mutex. */
static void osc_daxpin_note_reported(osc_daxpin_module_t *module,
                                     const daxpin_file_t *file)
{
    osc_daxpin_segment_t *segment;
    uint64_t i, count;
    int rank;

    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; i < count; ++i, ++segment) {
        if (segment->file == file) {
            atomic_store(&segment->reported, 1);
        }
    }
    for (rank = 0; rank < module->size; ++rank) {
        if (module->peers[rank].mem.access.file == file) {
            atomic_store(&module->peers[rank].reported, 1);
            if (module->peers[rank].queried) {
                module->peers[rank].touched = module->peers[rank].queried = 0;
            }
        }
    }
}

/* An access may find a revoked file before libdaxpin's loop thread has set the
 * cause, so wait for the cause */
int osc_daxpin_peer_revoked(osc_daxpin_module_t *module, int target)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    osc_daxpin_peer_t *peer      = &module->peers[target];
    char cause[DAXPIN_CAUSE_MAX];
    const osc_daxpin_mem_t *bad;
    unsigned i;

    for (i = 0; i < OSC_DAXPIN_CAUSE_QUERIES; ++i) {
        if ((osc_daxpin_peer_cause(module, target, cause, sizeof(cause)) !=
             OMPI_SUCCESS) ||
            (cause[0] != '\0')) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    bad = osc_daxpin_peer_bad_mem(peer);
    if (bad != NULL) {
        peer->told = bad->key;
    }
    if ((bad != NULL) && (bad->access.file != NULL)) {
        OPAL_THREAD_LOCK(&module->attach_mutex);
        osc_daxpin_note_reported(module, bad->access.file);
        OPAL_THREAD_UNLOCK(&module->attach_mutex);
    }
    return osc_daxpin_error_revoked(module, target, cause);
}

int osc_daxpin_file_revoked(osc_daxpin_module_t *module, int target,
                            daxpin_file_t *file)
{
    const struct timespec pause  = {.tv_nsec = 1000 * 1000};
    char cause[DAXPIN_CAUSE_MAX] = "";
    unsigned i;

    for (i = 0; i < OSC_DAXPIN_CAUSE_QUERIES; ++i) {
        daxpin_file_cause(file, cause, sizeof(cause));
        if (cause[0] != '\0') {
            break;
        }
        nanosleep(&pause, NULL);
    }
    osc_daxpin_note_reported(module, file);
    return osc_daxpin_error_revoked(module, target, cause);
}

/*
 * What this rank stores with its own CPU
 */

static int osc_daxpin_segment_check(osc_daxpin_module_t *module,
                                    const osc_daxpin_segment_t *segment)
{
    if ((segment->file == NULL) || atomic_load(&segment->reported) ||
        osc_daxpin_file_is_good(segment->file)) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_file_revoked(module, module->rank, segment->file);
}

static int osc_daxpin_own_check(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    const osc_daxpin_segment_t *segment;
    uint64_t i, count;

    OPAL_THREAD_LOCK(&module->attach_mutex);
    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i, ++segment) {
        ret = osc_daxpin_segment_check(module, segment);
    }
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    return ret;
}

int osc_daxpin_attached_check(osc_daxpin_module_t *module, const void *base)
{
    int ret = OMPI_SUCCESS;
    const osc_daxpin_segment_t *segment;

    OPAL_THREAD_LOCK(&module->attach_mutex);
    segment = osc_daxpin_attached_find(module, (uintptr_t)base);
    if (segment != NULL) {
        ret = osc_daxpin_segment_check(module, segment);
    }
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    return ret;
}

int osc_daxpin_stores_check(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer = &module->peers[target];

    if (target == module->rank) {
        return osc_daxpin_own_check(module);
    }
    if (((module->flavor != MPI_WIN_FLAVOR_SHARED) && !peer->queried) ||
        osc_daxpin_peer_is_held(peer) || atomic_load(&peer->reported) ||
        osc_daxpin_mem_is_good(&peer->mem)) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_file_revoked(module, target, peer->mem.access.file);
}

int osc_daxpin_stores_check_all(osc_daxpin_module_t *module)
{
    int ret = osc_daxpin_own_check(module);
    int i;

    for (i = 0; (i < module->size) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_stores_check(module, i);
    }
    return ret;
}
