/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_RANGE_H_
#define OSC_DAXPIN_RANGE_H_

/* The bytes that an operation accesses, and the access to them */

#include "osc_daxpin.h"
#include "osc_daxpin_persist.h"
#include "osc_daxpin_state.h"
#include "osc_daxpin_wait.h"

#include <string.h>

/* Copies of more bytes are long: they prepare pages, and are made in chunks */
#define OSC_DAXPIN_SHORT (256u * 1024)

/* Puts to persistent memory from so many bytes on are made durable by their own
 * copy */
#define OSC_DAXPIN_DURABLE (64u * 1024)

/* Caller holds the lock of the peers. Find the region of a dynamic window. */
int osc_daxpin_range_find(osc_daxpin_module_t *module, int target,
                          ptrdiff_t from, osc_daxpin_range_t *range);

/* Set first and length to the bytes that a datatype with gaps covers. Fail if
 * there are more than addresses. */
int osc_daxpin_range_span(const ompi_datatype_t *dt, osc_daxpin_count_t count,
                          osc_daxpin_range_t *range);

/* Return MPI_ERR_TRUNCATE if the bytes of one side of an operation are too many
 * for the other one */
int osc_daxpin_range_match(osc_daxpin_count_t from_count,
                           const ompi_datatype_t *from_dt,
                           osc_daxpin_count_t to_count,
                           const ompi_datatype_t *to_dt);

/* Copy in chunks, because a revoke does not wait for all of a long copy */
void osc_daxpin_range_copy_long(const osc_daxpin_mem_t *mem, char *dest,
                                const char *source, size_t length);

/* Return whether a put of plain data is long enough to be durable by its own copy,
 * and then needs no flush: for less, to flush the caches once is as fast. What is
 * put where it is already is not copied. */
static inline int osc_daxpin_range_is_durable(const osc_daxpin_range_t *range,
                                              const void *origin)
{
    return (range->mem->copy != NULL) &&
           (range->length >= OSC_DAXPIN_DURABLE) && (range->addr != origin);
}

/* Put or get what is not mapped in this process */
int osc_daxpin_range_move(osc_daxpin_module_t *module,
                          const osc_daxpin_range_t *range,
                          const osc_daxpin_move_t *move);

/* Return the result of an operation of osc_daxpin_way_t, with the error of a
 * revoked file */
static inline int osc_daxpin_range_result(osc_daxpin_module_t *module,
                                          int target, int ret)
{
    return (ret == OSC_DAXPIN_REVOKED) ?
                   osc_daxpin_peer_revoked(module, target) :
                   ret;
}

static inline int osc_daxpin_is_simple(const ompi_datatype_t *dt)
{
    const uint32_t flags = OMPI_DATATYPE_FLAG_PREDEFINED |
                           OPAL_DATATYPE_FLAG_NO_GAPS;

    return (dt->super.flags & flags) == flags;
}

/* Return the bytes of data, without gaps; SIZE_MAX if they are more than that:
 * a count may have 64 bits since MPI 4.0 */
static inline size_t osc_daxpin_bytes(osc_daxpin_count_t count,
                                      const ompi_datatype_t *dt)
{
    size_t bytes;

    return __builtin_mul_overflow((size_t)count, dt->super.size, &bytes) ?
                   SIZE_MAX : bytes;
}

/* Return whether both sides are alike: a number of bytes to copy */
static inline int osc_daxpin_is_plain(osc_daxpin_count_t origin_count,
                                      const ompi_datatype_t *origin_dt,
                                      osc_daxpin_count_t target_count,
                                      const ompi_datatype_t *target_dt)
{
    return (origin_dt == target_dt) && (origin_count == target_count) &&
           osc_daxpin_is_simple(origin_dt);
}

/* Check that an access is allowed, and find its bytes */
static inline int osc_daxpin_range_get(osc_daxpin_module_t *module, int target,
                                       ptrdiff_t disp, osc_daxpin_count_t count,
                                       const ompi_datatype_t *dt,
                                       osc_daxpin_range_t *range)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_mem_t *mem   = &peer->mem;
    ptrdiff_t first         = 0;
    ptrdiff_t from, start;
    size_t length;

    if (!(peer->open | module->all_open)) {
        return OMPI_ERR_RMA_SYNC;
    }
    if (OPAL_LIKELY(osc_daxpin_is_simple(dt))) {
        length = osc_daxpin_bytes(count, dt);
    } else if (osc_daxpin_range_span(dt, count, range) == OMPI_SUCCESS) {
        first  = range->first;
        length = range->length;
    } else {
        return MPI_ERR_RMA_RANGE;
    }
    range->length = length;
    if (length == 0) {
        return OMPI_SUCCESS; /* wherever that is */
    }
    if (__builtin_mul_overflow(disp, (ptrdiff_t)peer->disp_unit, &from) ||
        __builtin_add_overflow(from, first, &start)) {
        return MPI_ERR_RMA_RANGE;
    }
    range->mem    = mem;
    range->target = target;
    range->addr   = mem->base + from;
    range->start  = (uint64_t)start;
    range->first  = first;
    peer->touched = 1;
    osc_daxpin_poll(module, length);
    if (peer->mems != mem) {
        return osc_daxpin_range_find(module, target, from, range);
    }
    if ((start < 0) || (length > mem->size) ||
        (range->start > mem->size - length)) {
        return MPI_ERR_RMA_RANGE;
    }
    return OMPI_SUCCESS;
}

/* Return whether a few bytes have to be accessed in memory that is mapped here,
 * and no more has to be done. All else takes osc_daxpin_range_get(), and so do
 * errors. *start_p: the first byte, in the memory */
static OSC_DAXPIN_INLINE int
osc_daxpin_range_is_short(const osc_daxpin_module_t *module,
                          const osc_daxpin_peer_t *peer, ptrdiff_t disp,
                          size_t length, int is_put, uint64_t *start_p)
{
    const uint64_t size = is_put ? peer->short_put : peer->short_get;

    return (peer->open | module->all_open) && (length - 1 < size) &&
           (length <= OSC_DAXPIN_SHORT) &&
           !__builtin_mul_overflow(disp, (ptrdiff_t)peer->disp_unit,
                                   (ptrdiff_t*)start_p) &&
           (*start_p <= size - length);
}

/* With daxpin_persist=flush, have the next flush make the range durable. Called
 * after the access has begun, because another thread may flush at the same
 * time, see osc_daxpin_peer_persist(). */
static inline void osc_daxpin_range_dirty(osc_daxpin_module_t *module,
                                          const osc_daxpin_range_t *range)
{
    if (OPAL_UNLIKELY(module->spec.persist == OSC_DAXPIN_PERSIST_FLUSH)) {
        osc_daxpin_dirty_add(module, range->mem, range->start,
                             range->start + range->length);
    }
}

/* Begin an access to mapped memory */
static inline int osc_daxpin_range_begin(osc_daxpin_module_t *module,
                                         const osc_daxpin_range_t *range)
{
    daxpin_access_t *access = &range->mem->access;

    if ((access->file == NULL) || (daxpin_access_begin(access) == 0)) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_peer_revoked(module, range->target);
}

/* End it. @a ret is the result of the access; returned if the file is good. */
static inline int osc_daxpin_range_end(osc_daxpin_module_t *module,
                                       const osc_daxpin_range_t *range,
                                       int ret)
{
    daxpin_access_t *access = &range->mem->access;

    if ((access->file == NULL) ||
        (daxpin_access_end(access, range->mem->offset + range->start,
                           range->length) == 0)) {
        return ret;
    }
    return osc_daxpin_peer_revoked(module, range->target);
}

static inline void osc_daxpin_range_copy(const osc_daxpin_mem_t *mem,
                                         char *dest, const char *source,
                                         size_t length)
{
    if (length == sizeof(uint64_t)) {
        memcpy(dest, source, sizeof(uint64_t)); /* inline */
    } else if (OPAL_LIKELY(length <= OSC_DAXPIN_SHORT)) {
        memcpy(dest, source, length);
    } else {
        osc_daxpin_range_copy_long(mem, dest, source, length);
    }
}

#endif
