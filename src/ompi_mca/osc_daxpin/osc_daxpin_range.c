/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The bytes that an operation accesses: all but the fast path */

#include "osc_daxpin_range.h"

#include "osc_daxpin_peer.h"
#include "osc_daxpin_region.h"

#include <sys/mman.h>
#include <unistd.h>

/* Since Linux 5.14 */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* No process of a 64-bit system has more */
#define OSC_DAXPIN_ADDRESSES ((ptrdiff_t)1 << 57)

int osc_daxpin_range_span(const ompi_datatype_t *dt, osc_daxpin_count_t count,
                          osc_daxpin_range_t *range)
{
    ptrdiff_t lb, extent, true_lb, true_extent, low, high;

    range->first  = 0;
    range->length = 0;
    if ((count == 0) || (dt->super.size == 0)) {
        return OMPI_SUCCESS;
    }
    ompi_datatype_get_extent(dt, &lb, &extent);
    ompi_datatype_get_true_extent(dt, &true_lb, &true_extent);
    if (__builtin_mul_overflow((ptrdiff_t)count - 1, extent, &low)) {
        return MPI_ERR_RMA_RANGE;
    }
    high = (low > 0) ? low : 0;
    low  = (low < 0) ? low : 0;
    if (__builtin_add_overflow(true_lb, low, &range->first) ||
        __builtin_sub_overflow(high, low, &high) ||
        __builtin_add_overflow(high, true_extent, &high) ||
        (high > OSC_DAXPIN_ADDRESSES)) {
        return MPI_ERR_RMA_RANGE;
    }
    range->length = (uint64_t)high;
    return OMPI_SUCCESS;
}

int osc_daxpin_range_match(osc_daxpin_count_t from_count,
                           const ompi_datatype_t *from_dt,
                           osc_daxpin_count_t to_count,
                           const ompi_datatype_t *to_dt)
{
    return (osc_daxpin_bytes(from_count, from_dt) <=
            osc_daxpin_bytes(to_count, to_dt)) ? OMPI_SUCCESS :
                                                 MPI_ERR_TRUNCATE;
}

/* Displacements in a dynamic window are addresses at the target */
int osc_daxpin_range_find(osc_daxpin_module_t *module, int target,
                          ptrdiff_t from, osc_daxpin_range_t *range)
{
    osc_daxpin_mem_t *mem;
    int ret;

    ret = osc_daxpin_region_find(module, target, range->start, range->length,
                                 &mem);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    osc_daxpin_peer_touch(&module->peers[target], mem);
    range->mem    = mem;
    range->addr   = (mem->base != NULL) ?
                            mem->base + (from - (ptrdiff_t)mem->start) :
                            (char*)from;
    range->start -= mem->start;
    return mem->dead ? osc_daxpin_peer_revoked(module, target) : OMPI_SUCCESS;
}

/* Have the kernel make pages writable that are about to be written. It does so
 * when they are stored to, too, but then by a fault for each page, which takes
 * longer than the copy. If it cannot, because pages are missing, the copy finds
 * out. */
static void osc_daxpin_range_populate(char *start, size_t length)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const size_t skip    = (uintptr_t)start & (page - 1);

    (void)madvise(start - skip, skip + length, MADV_POPULATE_WRITE);
}

void osc_daxpin_range_copy_long(const osc_daxpin_mem_t *mem, char *dest,
                                const char *source, size_t length)
{
    const int populates = mem->faults && (dest >= mem->base) &&
                          (dest < mem->base + mem->size);
    size_t chunk;

    while (length > 0) {
        chunk = (length < DAXPIN_ACCESS_CHUNK) ? length : DAXPIN_ACCESS_CHUNK;
        if (populates) {
            osc_daxpin_range_populate(dest, chunk);
        }
        memcpy(dest, source, chunk);
        dest   += chunk;
        source += chunk;
        length -= chunk;
        if ((length > 0) && (mem->access.file != NULL) &&
            !daxpin_access_may_go_on(&mem->access)) {
            break; /* the end of the access reports it */
        }
    }
}

int osc_daxpin_range_move(osc_daxpin_module_t *module,
                          const osc_daxpin_range_t *range,
                          const osc_daxpin_move_t *move)
{
    int ret = module->peers[range->target].way->move(module, range, move);

    if (move->is_put) {
        osc_daxpin_range_dirty(module, range);
    }
    return osc_daxpin_range_result(module, range->target, ret);
}
