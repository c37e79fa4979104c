/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Making data durable: what this rank wrote to targets, and its own memory */

#include "osc_daxpin_persist.h"

#include "osc_daxpin_attached.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_state.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Targets
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

/* Make the error of a failed persist */
static int osc_daxpin_persist_error(osc_daxpin_module_t *module, int target,
                                    uint64_t start, uint64_t length, int ret)
{
    if (ret == OSC_DAXPIN_REVOKED) {
        return osc_daxpin_peer_revoked(module, target);
    }
    if (ret == OSC_DAXPIN_FAILED) {
        ret = osc_daxpin_peer_check(module, target);
        if (ret == OMPI_SUCCESS) {
            ret = osc_daxpin_error(MPI_ERR_IO, "rank %d, target rank %d: "
                                   "cannot persist %" PRIu64 " bytes at %"
                                   PRIu64 "; see the message of the target",
                                   module->rank, target, length, start);
        }
    }
    return ret;
}

/* A range that fails stays dirty, for the next flush, unless its file is
 * revoked */
static int osc_daxpin_dirty_persist(osc_daxpin_module_t *module, int target,
                                    osc_daxpin_mem_t *mem)
{
    uint64_t start, end;
    int ret;

    osc_daxpin_dirty_take(module, mem, &start, &end);
    if (start >= end) {
        return OMPI_SUCCESS;
    }
    ret = module->peers[target].way->persist(module, target, mem, start,
                                             end - start);
    if (ret != OMPI_SUCCESS) {
        ret = osc_daxpin_persist_error(module, target, start, end - start,
                                       ret);
        if (ret != osc_daxpin_error_code()) {
            osc_daxpin_dirty_add(module, mem, start, end);
        }
    }
    return ret;
}

int osc_daxpin_peer_is_dirty(osc_daxpin_module_t *module, int target)
{
    const osc_daxpin_peer_t *peer = &module->peers[target];
    int is_dirty                  = 0;
    unsigned i;

    OPAL_THREAD_LOCK(&module->mutex);
    for (i = 0; (i < peer->num_mems) && !is_dirty; ++i) {
        is_dirty = peer->mems[i].dirty_start < peer->mems[i].dirty_end;
    }
    OPAL_THREAD_UNLOCK(&module->mutex);
    return is_dirty;
}

int osc_daxpin_peer_persist(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    int ret                 = OMPI_SUCCESS;
    unsigned i;

    /* Another thread may be making durable what this thread has put. If this
     * one finds no dirty range, it has waited for the other one here. */
    OPAL_THREAD_LOCK(&module->persist_mutex);
    for (i = 0; (i < peer->num_mems) && (ret == OMPI_SUCCESS); ++i) {
        ret = osc_daxpin_dirty_persist(module, target, &peer->mems[i]);
    }
    OPAL_THREAD_UNLOCK(&module->persist_mutex);
    return ret;
}

/*
 * This rank
 */

static int osc_daxpin_persist(osc_daxpin_module_t *module,
                              const osc_daxpin_segment_t *segment,
                              uint64_t start, size_t length)
{
    int ret;

    if ((segment->file == NULL) || (length == 0)) {
        return OMPI_SUCCESS;
    }
    ret = daxpin_file_persist(segment->file, segment->offset + start, length);
    if (ret == -ESTALE) {
        return osc_daxpin_file_revoked(module, module->rank, segment->file);
    }
    if (ret != 0) {
        return osc_daxpin_error(MPI_ERR_IO, "rank %d: %s", module->rank,
                                daxpin_errormsg());
    }
    return OMPI_SUCCESS;
}

int osc_daxpin_segment_persist(osc_daxpin_module_t *module, uint64_t start,
                               size_t length)
{
    return osc_daxpin_persist(module, &module->segment, start, length);
}

int osc_daxpin_own_persist(osc_daxpin_module_t *module)
{
    int ret = OMPI_SUCCESS;
    const osc_daxpin_segment_t *segment;
    uint64_t i, count;

    OPAL_THREAD_LOCK(&module->attach_mutex);
    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; (i < count) && (ret == OMPI_SUCCESS); ++i, ++segment) {
        if (!atomic_load(&segment->reported)) {
            ret = osc_daxpin_persist(module, segment, 0, segment->size);
        }
    }
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    return ret;
}
