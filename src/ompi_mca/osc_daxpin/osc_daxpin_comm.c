/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Communication. A target whose file is mapped here is accessed by this
 * process, under guard. Accumulates are done by the origin, on mapped memory
 * or on a copy that it gets and puts back, under a lock of the target: no
 * component of Open MPI 4.1 gets all types and operations right (osc/ucx adds
 * doubles in MPI_Fetch_and_op() as if they were integers, and fails with pairs
 * and derived types in MPI_Get_accumulate()), and those that are right one by
 * one are not atomic with respect to each other.
 */

#include "osc_daxpin.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define OSC_DAXPIN_SPINS 1000

/* What an operation accesses at the target */
typedef struct osc_daxpin_range {
    osc_daxpin_mem_t *mem;
    int              target;
    char             *addr;  /* as the datatype counts; here or there */
    uint64_t         start;  /* first byte, in the memory */
    uint64_t         length; /* up to the last one */
    ptrdiff_t        first;  /* from addr to it */
} osc_daxpin_range_t;

static inline int osc_daxpin_is_simple(const ompi_datatype_t *dt)
{
    const uint16_t flags = OMPI_DATATYPE_FLAG_PREDEFINED |
                           OPAL_DATATYPE_FLAG_NO_GAPS;

    return (dt->super.flags & flags) == flags;
}

static void osc_daxpin_span(const ompi_datatype_t *dt, int count,
                            ptrdiff_t *first_p, size_t *length_p)
{
    ptrdiff_t lb, extent, true_lb, true_extent, low, high;

    if (osc_daxpin_is_simple(dt)) {
        *first_p  = 0;
        *length_p = count * dt->super.size;
        return;
    }
    *first_p  = 0;
    *length_p = 0;
    if ((count == 0) || (dt->super.size == 0)) {
        return;
    }
    ompi_datatype_get_extent(dt, &lb, &extent);
    ompi_datatype_get_true_extent(dt, &true_lb, &true_extent);
    low       = (count - 1) * extent;
    high      = (low > 0) ? low : 0;
    low       = (low < 0) ? low : 0;
    *first_p  = true_lb + low;
    *length_p = (size_t)(high - low + true_extent);
}

/* Of a dynamic window, displacements are addresses at the target */
static int osc_daxpin_range_find(osc_daxpin_module_t *module, int target,
                                 ptrdiff_t from, osc_daxpin_range_t *range)
{
    osc_daxpin_mem_t *mem;

    mem = osc_daxpin_region_find(module, target, range->start, range->length);
    if (mem == NULL) {
        return MPI_ERR_RMA_RANGE;
    }
    mem->touched  = 1;
    range->mem    = mem;
    range->addr   = (mem->base != NULL) ?
                            mem->base + (from - (ptrdiff_t)mem->start) :
                            (char*)from;
    range->start -= mem->start;
    return mem->dead ? osc_daxpin_peer_revoked(module, target) : OMPI_SUCCESS;
}

/* Is it allowed, and where is it? */
static inline int osc_daxpin_range_get(osc_daxpin_module_t *module, int target,
                                       ptrdiff_t disp, int count,
                                       const ompi_datatype_t *dt,
                                       osc_daxpin_range_t *range)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_mem_t *mem   = &peer->mem;
    ptrdiff_t from;
    size_t length;

    if (!(peer->open | module->all_open)) {
        return OMPI_ERR_RMA_SYNC;
    }
    osc_daxpin_span(dt, count, &range->first, &length);
    from          = disp * peer->disp_unit;
    range->mem    = mem;
    range->target = target;
    range->addr   = mem->base + from;
    range->start  = (uint64_t)(from + range->first);
    range->length = length;
    if (length == 0) {
        return OMPI_SUCCESS;
    }
    peer->touched = 1;
    osc_daxpin_poll(module, length);
    if (peer->mems != mem) {
        return osc_daxpin_range_find(module, target, from, range);
    }
    if ((from + range->first < 0) || (length > mem->size) ||
        (range->start > mem->size - length)) {
        return MPI_ERR_RMA_RANGE;
    }
    return OMPI_SUCCESS;
}

/* The program may let a flush make this durable. After the access was begun:
 * another thread's flush may come between, see osc_daxpin_peer_persist(). */
static inline void osc_daxpin_range_dirty(osc_daxpin_module_t *module,
                                          const osc_daxpin_range_t *range)
{
    if (OPAL_UNLIKELY(module->spec.persist == OSC_DAXPIN_PERSIST_FLUSH)) {
        osc_daxpin_dirty_add(module, range->mem, range->start,
                             range->start + range->length);
    }
}

static inline int osc_daxpin_enter(osc_daxpin_module_t *module,
                                   const osc_daxpin_range_t *range)
{
    daxpin_access_t *access = &range->mem->access;

    if ((access->file == NULL) || (daxpin_access_begin(access) == 0)) {
        return OMPI_SUCCESS;
    }
    return osc_daxpin_peer_revoked(module, range->target);
}

/* @a ret is what came of it meanwhile */
static inline int osc_daxpin_leave(osc_daxpin_module_t *module,
                                   const osc_daxpin_range_t *range, int ret)
{
    daxpin_access_t *access = &range->mem->access;

    if ((access->file == NULL) ||
        (daxpin_access_end(access, range->mem->offset + range->start,
                           range->length) == 0)) {
        return ret;
    }
    return osc_daxpin_peer_revoked(module, range->target);
}

/* A revoke does not wait for all of a long copy */
static __attribute__((noinline)) void
osc_daxpin_copy_long(const osc_daxpin_mem_t *mem, char *dest,
                     const char *source, size_t length)
{
    size_t chunk;

    while (length > 0) {
        chunk = (length < DAXPIN_ACCESS_CHUNK) ? length : DAXPIN_ACCESS_CHUNK;
        memcpy(dest, source, chunk);
        dest   += chunk;
        source += chunk;
        length -= chunk;
        if ((length > 0) && (mem->access.file != NULL) &&
            !daxpin_access_may_go_on(&mem->access)) {
            break; /* which the end of the access reports */
        }
    }
}

static inline void osc_daxpin_copy(const osc_daxpin_mem_t *mem, char *dest,
                                  const char *source, size_t length)
{
    if (length == sizeof(uint64_t)) {
        memcpy(dest, source, sizeof(uint64_t)); /* inline */
    } else if (OPAL_LIKELY(length <= DAXPIN_ACCESS_CHUNK)) {
        memcpy(dest, source, length);
    } else {
        osc_daxpin_copy_long(mem, dest, source, length);
    }
}

/*
 * Put and get: move data between the origin and the target
 */

/* The same as on the side of the target: so many bytes to copy */
static inline int osc_daxpin_is_plain(int origin_count,
                                      const ompi_datatype_t *origin_dt,
                                      int target_count,
                                      const ompi_datatype_t *target_dt)
{
    return (origin_dt == target_dt) && (origin_count == target_count) &&
           osc_daxpin_is_simple(origin_dt);
}

static inline int
osc_daxpin_move_mapped(osc_daxpin_module_t *module, void *origin,
                       int origin_count, ompi_datatype_t *origin_dt,
                       int target_count, ompi_datatype_t *target_dt,
                       const osc_daxpin_range_t *range, int is_put)
{
    int ret = osc_daxpin_enter(module, range);

    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    if (OPAL_LIKELY(osc_daxpin_is_plain(origin_count, origin_dt, target_count,
                                        target_dt))) {
        osc_daxpin_copy(range->mem, is_put ? range->addr : origin,
                        is_put ? origin : range->addr, range->length);
    } else if (is_put) {
        ret = ompi_datatype_sndrcv(origin, origin_count, origin_dt,
                                   range->addr, target_count, target_dt);
    } else {
        ret = ompi_datatype_sndrcv(range->addr, target_count, target_dt,
                                   origin, origin_count, origin_dt);
    }
    if (is_put) {
        osc_daxpin_range_dirty(module, range);
    }
    return osc_daxpin_leave(module, range, ret);
}

/* Between an origin and memory of another process that it has attached: on this
 * node, if it is not in a file; on another one in any case */
static int osc_daxpin_copy_unmapped(osc_daxpin_module_t *module, void *origin,
                                    int origin_count,
                                    ompi_datatype_t *origin_dt,
                                    int target_count,
                                    ompi_datatype_t *target_dt,
                                    const osc_daxpin_range_t *range,
                                    int is_put)
{
    size_t size  = target_dt->super.size * target_count;
    void *packed = malloc(size);
    int ret      = OMPI_SUCCESS;

    if ((packed == NULL) || (size > INT_MAX)) {
        free(packed);
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    if (is_put) {
        ret = ompi_datatype_sndrcv(origin, origin_count, origin_dt, packed,
                                   (int)size, MPI_PACKED);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_region_copy(module, range->target, packed,
                                     range->addr, target_count, target_dt,
                                     is_put);
    }
    if (is_put) {
        osc_daxpin_range_dirty(module, range);
    }
    if ((ret == OMPI_SUCCESS) && !is_put) {
        ret = ompi_datatype_sndrcv(packed, (int)size, MPI_PACKED, origin,
                                   origin_count, origin_dt);
    }
    free(packed);
    return ret;
}

/* What is not mapped here, of this node or another */
static int osc_daxpin_move_unmapped(osc_daxpin_module_t *module, void *origin,
                                    int origin_count,
                                    ompi_datatype_t *origin_dt, ptrdiff_t disp,
                                    int target_count,
                                    ompi_datatype_t *target_dt,
                                    const osc_daxpin_range_t *range,
                                    int is_put)
{
    osc_daxpin_shadow_t *data = &module->data;
    int ret;

    if (data->module == NULL) {
        return osc_daxpin_copy_unmapped(module, origin, origin_count,
                                        origin_dt, target_count, target_dt,
                                        range, is_put);
    }
    if (is_put) {
        ret = data->module->osc_put(origin, origin_count, origin_dt,
                                    range->target, disp, target_count,
                                    target_dt, data->win);
        osc_daxpin_range_dirty(module, range);
        return ret;
    }
    return data->module->osc_get(origin, origin_count, origin_dt,
                                 range->target, disp, target_count, target_dt,
                                 data->win);
}

static __attribute__((always_inline)) inline int
osc_daxpin_move(void *origin, int origin_count, ompi_datatype_t *origin_dt,
                int target, ptrdiff_t disp, int target_count,
                ompi_datatype_t *target_dt, ompi_win_t *win, int is_put)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_range_t range;
    int ret;

    osc_daxpin_peers_lock(module);
    ret = osc_daxpin_range_get(module, target, disp, target_count, target_dt,
                               &range);
    if ((ret != OMPI_SUCCESS) || (range.length == 0)) {
        goto out;
    }
    if (OPAL_LIKELY(range.mem->base != NULL)) {
        ret = osc_daxpin_move_mapped(module, origin, origin_count, origin_dt,
                                     target_count, target_dt, &range, is_put);
    } else {
        ret = osc_daxpin_move_unmapped(module, origin, origin_count, origin_dt,
                                       disp, target_count, target_dt, &range,
                                       is_put);
    }
out:
    osc_daxpin_peers_unlock(module);
    return ret;
}

int osc_daxpin_put(const void *origin, int origin_count,
                   ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                   int target_count, ompi_datatype_t *target_dt,
                   ompi_win_t *win)
{
    return osc_daxpin_move((void*)origin, origin_count, origin_dt, target,
                           disp, target_count, target_dt, win, 1);
}

int osc_daxpin_get(void *origin, int origin_count, ompi_datatype_t *origin_dt,
                   int target, ptrdiff_t disp, int target_count,
                   ompi_datatype_t *target_dt, ompi_win_t *win)
{
    return osc_daxpin_move(origin, origin_count, origin_dt, target, disp,
                           target_count, target_dt, win, 0);
}

/*
 * Accumulates
 */

static uint64_t osc_daxpin_cswap(osc_daxpin_module_t *module, int target,
                                 uint64_t compare, uint64_t value)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    uint64_t seen               = ~compare;

    if ((shadow->module->osc_compare_and_swap(&value, &compare, &seen,
                                              MPI_UINT64_T, target, 0,
                                              shadow->win) != OMPI_SUCCESS) ||
        (shadow->module->osc_flush(target, shadow->win) != OMPI_SUCCESS)) {
        seen = ~compare;
    }
    return seen;
}

/* Ranks of other nodes come through the inner component, and what a NIC does
 * is not atomic for a CPU: if one has to, all do. */
static void osc_daxpin_acc_lock(osc_daxpin_module_t *module, int target)
{
    uint64_t mine = (uint64_t)module->rank + 1;
    unsigned spins = 0;
    uint64_t seen;
    _Atomic uint64_t *word;

    if (module->remote) {
        while (osc_daxpin_cswap(module, target, 0, mine) != 0) {
            opal_progress();
        }
        return;
    }
    word = &module->node.slots[module->peers[target].node_rank].lock;
    for (seen = 0; !atomic_compare_exchange_weak(word, &seen, mine);
         seen = 0) {
        if (++spins % OSC_DAXPIN_SPINS == 0) {
            sched_yield();
        }
    }
}

static void osc_daxpin_acc_unlock(osc_daxpin_module_t *module, int target)
{
    uint64_t mine = (uint64_t)module->rank + 1;

    if (module->remote) {
        while (osc_daxpin_cswap(module, target, mine, 0) != mine) {
            opal_progress();
        }
        return;
    }
    atomic_store_explicit(
            &module->node.slots[module->peers[target].node_rank].lock, 0,
            memory_order_release);
}

/* What a datatype of an accumulate consists of, and how many of it */
static ompi_datatype_t *osc_daxpin_primitive(ompi_datatype_t *dt, int count,
                                             size_t *number_p)
{
    ompi_datatype_t *primitive = dt;
    size_t each                = 1;

    if (!ompi_datatype_is_predefined(dt)) {
        primitive = ompi_datatype_get_single_predefined_type_from_args(dt);
        if (primitive == NULL) {
            return NULL;
        }
        each = dt->super.size / primitive->super.size;
    }
    *number_p = each * count;
    return (*number_p <= INT_MAX) ? primitive : NULL;
}

/* Where types differ or have structure: both as arrays of the primitive type.
 * ompi_osc_base_sndrcv_op() would work on what a type's pieces of memory are,
 * which for a pair with a gap in it are no pairs. */
static int osc_daxpin_reduce_packed(const void *origin, int origin_count,
                                    ompi_datatype_t *origin_dt, void *target,
                                    int target_count,
                                    ompi_datatype_t *target_dt, ompi_op_t *op)
{
    ompi_datatype_t *primitive;
    char *left, *right;
    ptrdiff_t lb, extent;
    size_t number;
    int ret;

    primitive = osc_daxpin_primitive(target_dt, target_count, &number);
    if (primitive == NULL) {
        return MPI_ERR_TYPE;
    }
    ompi_datatype_get_extent(primitive, &lb, &extent);
    left  = malloc(number * extent);
    right = malloc(number * extent);
    if ((left == NULL) || (right == NULL)) {
        ret = OMPI_ERR_OUT_OF_RESOURCE;
        goto out;
    }
    ret = ompi_datatype_sndrcv(origin, origin_count, origin_dt, left,
                               (int)number, primitive);
    if (ret == OMPI_SUCCESS) {
        ret = ompi_datatype_sndrcv(target, target_count, target_dt, right,
                                   (int)number, primitive);
    }
    if (ret == OMPI_SUCCESS) {
        ret = PMPI_Reduce_local(left, right, (int)number, primitive, op);
    }
    if (ret == OMPI_SUCCESS) {
        ret = ompi_datatype_sndrcv(right, (int)number, primitive, target,
                                   target_count, target_dt);
    }
out:
    free(left);
    free(right);
    return ret;
}

static int osc_daxpin_reduce(const void *origin, int origin_count,
                             ompi_datatype_t *origin_dt, void *target,
                             int target_count, ompi_datatype_t *target_dt,
                             ompi_op_t *op)
{
    if (op == MPI_NO_OP) {
        return OMPI_SUCCESS;
    }
    if (op == MPI_REPLACE) {
        return ompi_datatype_sndrcv(origin, origin_count, origin_dt, target,
                                    target_count, target_dt);
    }
    if (ompi_datatype_is_predefined(target_dt) && (origin_dt == target_dt) &&
        (origin_count == target_count)) {
        return PMPI_Reduce_local(origin, target, target_count, target_dt, op);
    }
    return osc_daxpin_reduce_packed(origin, origin_count, origin_dt, target,
                                    target_count, target_dt, op);
}

/* All accumulates are this; parts that are NULL are left out */
typedef struct osc_daxpin_acc {
    const void      *origin;
    int             origin_count;
    ompi_datatype_t *origin_dt;
    const void      *compare; /* NULL, or: only where it is the same */
    void            *result;
    int             result_count;
    ompi_datatype_t *result_dt;
    int             target_count;
    ompi_datatype_t *target_dt;
    ompi_op_t       *op;
} osc_daxpin_acc_t;

/* On memory here, be it a copy. *changed_p: it is to be put back. */
static int osc_daxpin_acc_do(const osc_daxpin_acc_t *acc, void *target,
                             int *changed_p)
{
    int ret;

    *changed_p = acc->op != MPI_NO_OP;
    if ((acc->compare != NULL) &&
        (memcmp(target, acc->compare, acc->target_dt->super.size) != 0)) {
        *changed_p = 0;
    }
    if (acc->result != NULL) {
        ret = ompi_datatype_sndrcv(target, acc->target_count, acc->target_dt,
                                   acc->result, acc->result_count,
                                   acc->result_dt);
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
    }
    return !*changed_p ? OMPI_SUCCESS :
                         osc_daxpin_reduce(acc->origin, acc->origin_count,
                                           acc->origin_dt, target,
                                           acc->target_count, acc->target_dt,
                                           acc->op);
}

static int osc_daxpin_acc_mapped(osc_daxpin_module_t *module,
                                 const osc_daxpin_acc_t *acc,
                                 const osc_daxpin_range_t *range)
{
    int ret = osc_daxpin_enter(module, range);
    int changed;

    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_acc_do(acc, range->addr, &changed);
    if (changed) {
        osc_daxpin_range_dirty(module, range);
    }
    return osc_daxpin_leave(module, range, ret);
}

static int osc_daxpin_complete_data(osc_daxpin_module_t *module, int target)
{
    osc_daxpin_shadow_t *data = &module->data;

    return (data->module == NULL) ? OMPI_SUCCESS :
                                    data->module->osc_flush(target, data->win);
}

static int osc_daxpin_acc_unmapped(osc_daxpin_module_t *module,
                                   const osc_daxpin_acc_t *acc, ptrdiff_t disp,
                                   const osc_daxpin_range_t *range)
{
    char *copy = malloc(range->length);
    char *addr = copy - range->first;
    int changed, ret;

    if (copy == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = osc_daxpin_move_unmapped(module, addr, acc->target_count,
                                   acc->target_dt, disp, acc->target_count,
                                   acc->target_dt, range, 0);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_complete_data(module, range->target);
    }
    if (ret != OMPI_SUCCESS) {
        goto out;
    }
    ret = osc_daxpin_acc_do(acc, addr, &changed);
    if ((ret == OMPI_SUCCESS) && changed) {
        ret = osc_daxpin_move_unmapped(module, addr, acc->target_count,
                                       acc->target_dt, disp, acc->target_count,
                                       acc->target_dt, range, 1);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_complete_data(module, range->target);
    }
out:
    free(copy);
    return ret;
}

static int osc_daxpin_acc(ompi_win_t *win, int target, ptrdiff_t disp,
                          const osc_daxpin_acc_t *acc)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_range_t range;
    int ret;

    osc_daxpin_peers_lock(module);
    ret = osc_daxpin_range_get(module, target, disp, acc->target_count,
                               acc->target_dt, &range);
    if ((ret != OMPI_SUCCESS) || (range.length == 0)) {
        goto out;
    }
    osc_daxpin_acc_lock(module, target);
    ret = (range.mem->base != NULL) ?
                  osc_daxpin_acc_mapped(module, acc, &range) :
                  osc_daxpin_acc_unmapped(module, acc, disp, &range);
    osc_daxpin_acc_unlock(module, target);
out:
    osc_daxpin_peers_unlock(module);
    return ret;
}

int osc_daxpin_accumulate(const void *origin, int origin_count,
                          ompi_datatype_t *origin_dt, int target,
                          ptrdiff_t disp, int target_count,
                          ompi_datatype_t *target_dt, ompi_op_t *op,
                          ompi_win_t *win)
{
    const osc_daxpin_acc_t acc = {
        .origin       = origin,
        .origin_count = origin_count,
        .origin_dt    = origin_dt,
        .target_count = target_count,
        .target_dt    = target_dt,
        .op           = op
    };

    return osc_daxpin_acc(win, target, disp, &acc);
}

int osc_daxpin_get_accumulate(const void *origin, int origin_count,
                              ompi_datatype_t *origin_dt, void *result,
                              int result_count, ompi_datatype_t *result_dt,
                              int target, ptrdiff_t disp, int target_count,
                              ompi_datatype_t *target_dt, ompi_op_t *op,
                              ompi_win_t *win)
{
    const osc_daxpin_acc_t acc = {
        .origin       = origin,
        .origin_count = origin_count,
        .origin_dt    = origin_dt,
        .result       = result,
        .result_count = result_count,
        .result_dt    = result_dt,
        .target_count = target_count,
        .target_dt    = target_dt,
        .op           = op
    };

    return osc_daxpin_acc(win, target, disp, &acc);
}

int osc_daxpin_fetch_and_op(const void *origin, void *result,
                            ompi_datatype_t *dt, int target, ptrdiff_t disp,
                            ompi_op_t *op, ompi_win_t *win)
{
    return osc_daxpin_get_accumulate(origin, 1, dt, result, 1, dt, target,
                                     disp, 1, dt, op, win);
}

int osc_daxpin_compare_and_swap(const void *origin, const void *compare,
                                void *result, ompi_datatype_t *dt, int target,
                                ptrdiff_t disp, ompi_win_t *win)
{
    const osc_daxpin_acc_t acc = {
        .origin       = origin,
        .origin_count = 1,
        .origin_dt    = dt,
        .compare      = compare,
        .result       = result,
        .result_count = 1,
        .result_dt    = dt,
        .target_count = 1,
        .target_dt    = dt,
        .op           = MPI_REPLACE
    };

    return osc_daxpin_acc(win, target, disp, &acc);
}

/*
 * With requests. What is mapped is done at once, and so are accumulates.
 */

static int osc_daxpin_request_done(osc_daxpin_module_t *module, int target,
                                   int ret, ompi_request_t **request)
{
    if ((ret == OMPI_SUCCESS) && (module->peers[target].mem.base == NULL)) {
        ret = osc_daxpin_complete_data(module, target);
        if (ret == OMPI_SUCCESS) {
            ret = osc_daxpin_peer_check(module, target);
        }
    }
    *request = &ompi_request_empty;
    return ret;
}

/* To another node */
static int osc_daxpin_rmove(void *origin, int origin_count,
                            ompi_datatype_t *origin_dt, int target,
                            ptrdiff_t disp, int target_count,
                            ompi_datatype_t *target_dt, ompi_win_t *win,
                            ompi_request_t **request, int is_put)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_shadow_t *data   = &module->data;
    ompi_request_t *inner       = NULL;
    osc_daxpin_range_t range;
    int ret;

    *request = &ompi_request_empty;
    ret      = osc_daxpin_range_get(module, target, disp, target_count,
                                    target_dt, &range);
    if ((ret != OMPI_SUCCESS) || (range.length == 0)) {
        return ret;
    }
    if (is_put) {
        ret = data->module->osc_rput(origin, origin_count, origin_dt, target,
                                     disp, target_count, target_dt, data->win,
                                     &inner);
        osc_daxpin_range_dirty(module, &range);
    } else {
        ret = data->module->osc_rget(origin, origin_count, origin_dt, target,
                                     disp, target_count, target_dt, data->win,
                                     &inner);
    }
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   osc_daxpin_request_start(module, target, inner, request);
}

static inline int osc_daxpin_is_on_another_node(const ompi_win_t *win,
                                                int target)
{
    const osc_daxpin_module_t *module = osc_daxpin_module(win);

    return (module->data.module != NULL) &&
           (module->peers[target].mem.base == NULL);
}

int osc_daxpin_rput(const void *origin, int origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    int target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, ompi_request_t **request)
{
    if (osc_daxpin_is_on_another_node(win, target)) {
        return osc_daxpin_rmove((void*)origin, origin_count, origin_dt, target,
                                disp, target_count, target_dt, win, request,
                                1);
    }
    *request = &ompi_request_empty;
    return osc_daxpin_put(origin, origin_count, origin_dt, target, disp,
                          target_count, target_dt, win);
}

int osc_daxpin_rget(void *origin, int origin_count, ompi_datatype_t *origin_dt,
                    int target, ptrdiff_t disp, int target_count,
                    ompi_datatype_t *target_dt, ompi_win_t *win,
                    ompi_request_t **request)
{
    if (osc_daxpin_is_on_another_node(win, target)) {
        return osc_daxpin_rmove(origin, origin_count, origin_dt, target, disp,
                                target_count, target_dt, win, request, 0);
    }
    *request = &ompi_request_empty;
    return osc_daxpin_get(origin, origin_count, origin_dt, target, disp,
                          target_count, target_dt, win);
}

int osc_daxpin_raccumulate(const void *origin, int origin_count,
                           ompi_datatype_t *origin_dt, int target,
                           ptrdiff_t disp, int target_count,
                           ompi_datatype_t *target_dt, ompi_op_t *op,
                           ompi_win_t *win, ompi_request_t **request)
{
    int ret = osc_daxpin_accumulate(origin, origin_count, origin_dt, target,
                                    disp, target_count, target_dt, op, win);

    return osc_daxpin_request_done(osc_daxpin_module(win), target, ret,
                                   request);
}

int osc_daxpin_rget_accumulate(const void *origin, int origin_count,
                               ompi_datatype_t *origin_dt, void *result,
                               int result_count, ompi_datatype_t *result_dt,
                               int target, ptrdiff_t disp, int target_count,
                               ompi_datatype_t *target_dt, ompi_op_t *op,
                               ompi_win_t *win, ompi_request_t **request)
{
    int ret = osc_daxpin_get_accumulate(origin, origin_count, origin_dt,
                                        result, result_count, result_dt,
                                        target, disp, target_count, target_dt,
                                        op, win);

    return osc_daxpin_request_done(osc_daxpin_module(win), target, ret,
                                   request);
}
