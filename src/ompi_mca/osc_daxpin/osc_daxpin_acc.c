/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Accumulates. The origin does them, on mapped memory or on a copy that it gets
 * and puts back, under a lock of the target. No component of Open MPI 4.1 gets
 * all types and operations right: osc/ucx adds doubles in MPI_Fetch_and_op() as
 * if they were integers, and fails with pairs and derived types in
 * MPI_Get_accumulate(). Those that are right one by one are not atomic with
 * respect to each other.
 */

#include "osc_daxpin_acc.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_lock.h"
#include "osc_daxpin_node.h"
#include "osc_daxpin_op.h"
#include "osc_daxpin_pack.h"
#include "osc_daxpin_peer.h"
#include "osc_daxpin_range.h"
#include "osc_daxpin_wait.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * The lock of a target
 */

/* Longer than an accumulate of INT_MAX elements takes on a slow network */
#define OSC_DAXPIN_ACC_BOUND_SEC 600.0

/* The lock is a number and, below it, 1 + the rank that has it */
#define OSC_DAXPIN_ACC_SHIFT 32
#define OSC_DAXPIN_ACC_OWNER ((UINT64_C(1) << OSC_DAXPIN_ACC_SHIFT) - 1)

static int osc_daxpin_cswap(osc_daxpin_module_t *module, int target,
                            uint64_t compare, uint64_t value, uint64_t *seen_p)
{
    osc_daxpin_shadow_t *shadow = &module->lock;
    int ret;

    if (module->peers[target].gone) {
        return osc_daxpin_error_gone(module, target);
    }
    osc_daxpin_inside_begin(module, target);
    ret = shadow->module->osc_compare_and_swap(&value, &compare, seen_p,
                                               MPI_UINT64_T, target, 0,
                                               shadow->win);
    if (ret == OMPI_SUCCESS) {
        ret = shadow->module->osc_flush(target, shadow->win);
    }
    return osc_daxpin_inside_end(module, target, ret);
}

/* Return a value of the lock that no other use of it by any rank has: so a lock
 * that stays can be told from one that is taken again and again. 0 without such
 * a lock. */
static uint64_t osc_daxpin_acc_value(const osc_daxpin_module_t *module)
{
    static _Atomic uint32_t number;

    if (module->lock.module == NULL) {
        return 0;
    }
    return ((uint64_t)atomic_fetch_add(&number, 1) << OSC_DAXPIN_ACC_SHIFT) |
           ((uint64_t)module->rank + 1);
}

static int osc_daxpin_acc_error(const osc_daxpin_module_t *module, int target,
                                uint64_t owner)
{
    return osc_daxpin_error(MPI_ERR_OTHER, "rank %d: cannot accumulate at rank "
                            "%d: rank %" PRIu64 " has been in the middle of an "
                            "accumulate there for %g s; has it ended, or is it "
                            "stopped?", module->rank, target,
                            (owner & OSC_DAXPIN_ACC_OWNER) - 1,
                            OSC_DAXPIN_ACC_BOUND_SEC);
}

/* Ranks of other nodes use the inner component. What a NIC does is not atomic
 * with respect to a CPU, so if one rank has to use it, all do. */
static int osc_daxpin_acc_lock(osc_daxpin_module_t *module, int target,
                               uint64_t mine)
{
    uint64_t owner = 0, seen = 0;
    osc_daxpin_patience_t patience = {0, 0};
    int ret;

    if (module->lock.module == NULL) {
        return osc_daxpin_node_lock(module, module->peers[target].node_rank);
    }
    for (;;) {
        ret = osc_daxpin_cswap(module, target, 0, mine, &seen);
        if ((ret != OMPI_SUCCESS) || (seen == 0)) {
            return ret;
        }
        if (seen != owner) {
            owner = seen;
            osc_daxpin_patience_begin(&patience, OSC_DAXPIN_ACC_BOUND_SEC);
        } else if (osc_daxpin_patience_ends(&patience)) {
            return osc_daxpin_acc_error(module, target, owner);
        }
        opal_progress();
    }
}

static int osc_daxpin_acc_unlock(osc_daxpin_module_t *module, int target,
                                 uint64_t mine)
{
    uint64_t seen;

    if (module->lock.module == NULL) {
        osc_daxpin_node_unlock(module, module->peers[target].node_rank);
        return OMPI_SUCCESS;
    }
    return osc_daxpin_cswap(module, target, mine, 0, &seen);
}

/*
 * The operation on memory in this process
 */

/* Return the predefined type that a datatype consists of, and how many of it */
static ompi_datatype_t *osc_daxpin_primitive(ompi_datatype_t *dt,
                                             osc_daxpin_count_t count,
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
    return (!__builtin_mul_overflow(each, (size_t)count, number_p) &&
            (*number_p <= OSC_DAXPIN_COUNT_MAX)) ? primitive : NULL;
}

/* PMPI_Reduce_local() would crash in a program that uses MPI sessions alone,
 * because it takes the function of MPI_COMM_SELF */
static int osc_daxpin_reduce_local(const osc_daxpin_module_t *module,
                                   const void *origin, void *target,
                                   osc_daxpin_count_t count,
                                   ompi_datatype_t *dt, ompi_op_t *op)
{
    const mca_coll_base_comm_coll_t *coll = module->comm->c_coll;

    return coll->coll_reduce_local(origin, target, count, dt, op,
                                   coll->coll_reduce_local_module);
}

/* Reduce types that differ or have structure, as arrays of the primitive type.
 * ompi_osc_base_sndrcv_op() is no use: it works on a type's pieces of memory,
 * and the pieces of a pair with a gap in it are no pairs. */
static int osc_daxpin_reduce_packed(const osc_daxpin_module_t *module,
                                    const void *origin,
                                    osc_daxpin_count_t origin_count,
                                    ompi_datatype_t *origin_dt, void *target,
                                    osc_daxpin_count_t target_count,
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
    ret = osc_daxpin_copy(origin, origin_count, origin_dt, left,
                          (osc_daxpin_count_t)number, primitive);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_copy(target, target_count, target_dt, right,
                              (osc_daxpin_count_t)number, primitive);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_reduce_local(module, left, right,
                                      (osc_daxpin_count_t)number, primitive,
                                      op);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_copy(right, (osc_daxpin_count_t)number, primitive,
                              target, target_count, target_dt);
    }
out:
    free(left);
    free(right);
    return ret;
}

/* Copy elements of one type. One word is copied in one piece: a get of it takes
 * no lock. */
static inline void osc_daxpin_acc_copy(void *dest, const void *source,
                                       osc_daxpin_count_t count,
                                       const ompi_datatype_t *dt)
{
    const size_t length = count * dt->super.size;

    if (OPAL_LIKELY(length == sizeof(uint64_t))) {
        memcpy(dest, source, sizeof(uint64_t)); /* inline */
    } else {
        memcpy(dest, source, length);
    }
}

/* Add one integer of 8 bytes, signed or not, as most programs do that fetch and
 * add. Return whether it is one. */
static inline int osc_daxpin_acc_add(const void *origin, void *target,
                                     const ompi_datatype_t *dt)
{
    uint64_t value, sum;

    if ((dt->super.size != sizeof(sum)) || !osc_daxpin_op_is_integer(dt)) {
        return 0;
    }
    memcpy(&value, origin, sizeof(value));
    memcpy(&sum, target, sizeof(sum));
    sum += value;
    memcpy(target, &sum, sizeof(sum));
    return 1;
}

static int osc_daxpin_reduce(const osc_daxpin_module_t *module,
                             const void *origin,
                             osc_daxpin_count_t origin_count,
                             ompi_datatype_t *origin_dt, void *target,
                             osc_daxpin_count_t target_count,
                             ompi_datatype_t *target_dt, ompi_op_t *op)
{
    if (op == MPI_NO_OP) {
        return OMPI_SUCCESS;
    }
    if ((op == MPI_SUM) && (origin_dt == target_dt) && (origin_count == 1) &&
        (target_count == 1) && osc_daxpin_acc_add(origin, target, target_dt)) {
        return OMPI_SUCCESS;
    }
    if (op == MPI_REPLACE) {
        return osc_daxpin_copy(origin, origin_count, origin_dt, target,
                               target_count, target_dt);
    }
    if (ompi_datatype_is_predefined(target_dt) && (origin_dt == target_dt) &&
        (origin_count == target_count)) {
        return osc_daxpin_reduce_local(module, origin, target, target_count,
                                       target_dt, op);
    }
    return osc_daxpin_reduce_packed(module, origin, origin_count, origin_dt,
                                    target, target_count, target_dt, op);
}

/* Any accumulate; steps whose pointer is NULL are left out */
typedef struct osc_daxpin_acc {
    const void      *origin;
    osc_daxpin_count_t             origin_count;
    ompi_datatype_t *origin_dt;
    const void      *compare; /* only if the target is equal to this */
    void            *result; /* may be MPI_BOTTOM */
    osc_daxpin_count_t             result_count;
    ompi_datatype_t *result_dt; /* NULL: there is no result */
    osc_daxpin_count_t             target_count;
    ompi_datatype_t *target_dt;
    ompi_op_t       *op;
} osc_daxpin_acc_t;

/* Accumulate on memory in this process, perhaps a copy. *changed_p: it has to
 * be put back. */
static int osc_daxpin_acc_apply(const osc_daxpin_module_t *module,
                                const osc_daxpin_acc_t *acc, void *target,
                                int *changed_p)
{
    int ret;

    *changed_p = acc->op != MPI_NO_OP;
    if ((acc->compare != NULL) &&
        (memcmp(target, acc->compare, acc->target_dt->super.size) != 0)) {
        *changed_p = 0;
    }
    if ((acc->result_dt != NULL) &&
        osc_daxpin_is_plain(acc->result_count, acc->result_dt,
                            acc->target_count, acc->target_dt)) {
        osc_daxpin_acc_copy(acc->result, target, acc->target_count,
                            acc->target_dt);
    } else if (acc->result_dt != NULL) {
        ret = osc_daxpin_copy(target, acc->target_count, acc->target_dt,
                              acc->result, acc->result_count,
                              acc->result_dt);
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
    }
    return !*changed_p ? OMPI_SUCCESS :
                         osc_daxpin_reduce(module, acc->origin,
                                           acc->origin_count, acc->origin_dt,
                                           target, acc->target_count,
                                           acc->target_dt, acc->op);
}

/*
 * One word of memory that is mapped here: all else is done first or afterwards,
 * so that the lock is held for a few instructions
 */

typedef enum osc_daxpin_word {
    OSC_DAXPIN_WORD_GET,
    OSC_DAXPIN_WORD_REPLACE,
    OSC_DAXPIN_WORD_CSWAP,
    OSC_DAXPIN_WORD_ADD,
    OSC_DAXPIN_WORD_ADD_DOUBLE,
    OSC_DAXPIN_WORD_AND,
    OSC_DAXPIN_WORD_OR,
    OSC_DAXPIN_WORD_XOR,
    OSC_DAXPIN_WORD_REDUCE /* by Open MPI */
} osc_daxpin_word_t;

/* Find out what an operation does to a value of a predefined type. All but
 * OSC_DAXPIN_WORD_REDUCE are allowed with the type. */
static inline osc_daxpin_word_t osc_daxpin_word_of(const ompi_op_t *op,
                                                   const ompi_datatype_t *dt)
{
    if (op == MPI_NO_OP) {
        return OSC_DAXPIN_WORD_GET;
    }
    if (op == MPI_REPLACE) {
        return OSC_DAXPIN_WORD_REPLACE;
    }
    if (!osc_daxpin_op_is_integer(dt)) {
        return ((op == MPI_SUM) && (dt == MPI_DOUBLE)) ?
                       OSC_DAXPIN_WORD_ADD_DOUBLE :
                       OSC_DAXPIN_WORD_REDUCE;
    }
    return (op == MPI_SUM)  ? OSC_DAXPIN_WORD_ADD :
           (op == MPI_BAND) ? OSC_DAXPIN_WORD_AND :
           (op == MPI_BOR)  ? OSC_DAXPIN_WORD_OR :
           (op == MPI_BXOR) ? OSC_DAXPIN_WORD_XOR :
                              OSC_DAXPIN_WORD_REDUCE;
}

/* A value of 4 or 8 bytes in memory, read and written in one piece: a get of it
 * takes no lock */
static OSC_DAXPIN_INLINE uint64_t osc_daxpin_word_load(const void *addr,
                                                       size_t size)
{
    uint64_t value;
    uint32_t half;

    if (OPAL_LIKELY(size == sizeof(value))) {
        memcpy(&value, addr, sizeof(value));
        return value;
    }
    memcpy(&half, addr, sizeof(half));
    return half;
}

static OSC_DAXPIN_INLINE void osc_daxpin_word_store(void *addr, uint64_t value,
                                                    size_t size)
{
    uint32_t half = (uint32_t)value;

    if (OPAL_LIKELY(size == sizeof(value))) {
        memcpy(addr, &value, sizeof(value));
    } else {
        memcpy(addr, &half, sizeof(half));
    }
}

static inline uint64_t osc_daxpin_word_add_double(uint64_t a, uint64_t b)
{
    double left, right;

    memcpy(&left, &a, sizeof(left));
    memcpy(&right, &b, sizeof(right));
    right += left;
    memcpy(&b, &right, sizeof(b));
    return b;
}

/* Return what is in the place of a value afterwards */
static OSC_DAXPIN_INLINE uint64_t osc_daxpin_word_apply(osc_daxpin_word_t word,
                                                        uint64_t before,
                                                        uint64_t value)
{
    switch (word) {
    case OSC_DAXPIN_WORD_ADD:
        return before + value;
    case OSC_DAXPIN_WORD_ADD_DOUBLE:
        return osc_daxpin_word_add_double(value, before);
    case OSC_DAXPIN_WORD_AND:
        return before & value;
    case OSC_DAXPIN_WORD_OR:
        return before | value;
    case OSC_DAXPIN_WORD_XOR:
        return before ^ value;
    default:
        return value;
    }
}

/* Caller has the lock, and the access has begun. Return the value before. */
static OSC_DAXPIN_INLINE uint64_t osc_daxpin_word_change(
        const osc_daxpin_module_t *module, osc_daxpin_word_t word,
        ompi_op_t *op, ompi_datatype_t *dt, char *addr, size_t size,
        uint64_t value, uint64_t compare)
{
    const uint64_t before = osc_daxpin_word_load(addr, size);
    uint64_t operand[1]; /* or the half of it that comes first */

    if (word == OSC_DAXPIN_WORD_REDUCE) {
        osc_daxpin_word_store(operand, value, size);
        osc_daxpin_reduce_local(module, operand, addr, 1, dt, op);
    } else if ((word != OSC_DAXPIN_WORD_GET) &&
               ((word != OSC_DAXPIN_WORD_CSWAP) || (before == compare))) {
        osc_daxpin_word_store(addr, osc_daxpin_word_apply(word, before, value),
                              size);
    }
    return before;
}

/* Return whether elements of a predefined type are mapped here, and all ranks
 * take the lock of the node for them. *start_p: the first byte, in the memory */
static OSC_DAXPIN_INLINE int
osc_daxpin_quick_find(const osc_daxpin_module_t *module,
                      const osc_daxpin_peer_t *peer, ptrdiff_t disp,
                      ompi_datatype_t *dt, size_t length, uint64_t *start_p,
                      osc_daxpin_thread_t **thread_p)
{
    return osc_daxpin_is_simple(dt) && (module->lock.module == NULL) &&
           osc_daxpin_range_is_short(module, peer, disp, length, 1, start_p) &&
           ((*thread_p = osc_daxpin_thread_self()) != NULL) &&
           daxpin_access_is_open(&peer->mem.access);
}

/* Begin an access, and take the lock, if neither has to wait. Return 0 if one
 * has. */
static OSC_DAXPIN_INLINE int
osc_daxpin_quick_begin(osc_daxpin_mem_t *mem, osc_daxpin_thread_t *thread,
                       osc_daxpin_lock_t *lock)
{
    if (OPAL_LIKELY(daxpin_access_try_begin(&mem->access) &&
                    osc_daxpin_lock_quick(thread, lock))) {
        return 1;
    }
    daxpin_access_leave(&mem->access);
    return 0;
}

/* Accumulate one value of a predefined type if it is mapped here, and all ranks
 * take the lock of the node. The program's memory is accessed without the lock,
 * because a program may end that does so. compare, result: may be NULL. Return 0
 * if it has to be done in the other way: it has to wait for the lock or for the
 * lease, or fails. */
static OSC_DAXPIN_INLINE int
osc_daxpin_word_try(osc_daxpin_module_t *module, int target, ptrdiff_t disp,
                    ompi_datatype_t *dt, size_t size, ompi_op_t *op,
                    osc_daxpin_word_t word, const void *origin,
                    const void *compare, void *result, int *ret_p)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_mem_t *mem   = &peer->mem;
    uint64_t value = 0, expected = 0, start, before;
    osc_daxpin_thread_t *thread;
    osc_daxpin_lock_t *lock;

    if (((size != sizeof(uint64_t)) && (size != sizeof(uint32_t))) ||
        !osc_daxpin_quick_find(module, peer, disp, dt, size, &start,
                               &thread)) {
        return 0;
    }
    if (word != OSC_DAXPIN_WORD_GET) {
        value = osc_daxpin_word_load(origin, size);
    }
    if (word == OSC_DAXPIN_WORD_CSWAP) {
        expected = osc_daxpin_word_load(compare, size);
    }
    peer->touched = 1;
    osc_daxpin_poll(module, size);
    lock = &module->node.locks[peer->node_rank];
    if (!osc_daxpin_quick_begin(mem, thread, lock)) {
        return 0;
    }
    before = osc_daxpin_word_change(module, word, op, dt, mem->base + start,
                                    size, value, expected);
    osc_daxpin_unlock_quick(thread, lock);
    if (OPAL_UNLIKELY(daxpin_access_end(&mem->access, mem->offset + start,
                                        size) != 0)) {
        *ret_p = osc_daxpin_peer_revoked(module, target);
        return 1;
    }
    if (result != NULL) {
        osc_daxpin_word_store(result, before, size);
    }
    *ret_p = OMPI_SUCCESS;
    return 1;
}

/* The same for an operation that Open MPI does */
static __attribute__((noinline)) int
osc_daxpin_word_reduce(osc_daxpin_module_t *module, int target, ptrdiff_t disp,
                       ompi_datatype_t *dt, ompi_op_t *op, const void *origin,
                       void *result, int *ret_p)
{
    return osc_daxpin_word_try(module, target, disp, dt, dt->super.size, op,
                               OSC_DAXPIN_WORD_REDUCE, origin, NULL, result,
                               ret_p);
}

/* Return whether it is what most programs do that fetch and add */
static inline int osc_daxpin_word_adds(const ompi_op_t *op,
                                       const ompi_datatype_t *dt)
{
    return (op == MPI_SUM) && (dt->super.size == sizeof(uint64_t)) &&
           osc_daxpin_op_is_integer(dt);
}

/* The same for any operation. is_checked: it is allowed with the type; else fail
 * if it is not */
static OSC_DAXPIN_INLINE int
osc_daxpin_word(osc_daxpin_module_t *module, int target, ptrdiff_t disp,
                ompi_datatype_t *dt, ompi_op_t *op, int is_checked,
                const void *origin, void *result, int *ret_p)
{
    osc_daxpin_word_t word;

    if (osc_daxpin_word_adds(op, dt)) {
        return osc_daxpin_word_try(module, target, disp, dt, sizeof(uint64_t),
                                   op, OSC_DAXPIN_WORD_ADD, origin, NULL,
                                   result, ret_p);
    }
    word = osc_daxpin_word_of(op, dt);
    if (word != OSC_DAXPIN_WORD_REDUCE) {
        return osc_daxpin_word_try(module, target, disp, dt, dt->super.size, op,
                                   word, origin, NULL, result, ret_p);
    }
    *ret_p = is_checked ? OMPI_SUCCESS : osc_daxpin_op_check(op, dt);
    return (*ret_p != OMPI_SUCCESS) ||
           osc_daxpin_word_reduce(module, target, disp, dt, op, origin, result,
                                  ret_p);
}

/*
 * A few elements of memory that is mapped here, under the same lock
 */

/* The most bytes, which take about as long as the lock */
#define OSC_DAXPIN_ACC_SHORT 512

/* Caller has the lock, and the access has begun. */
static int osc_daxpin_short_change(const osc_daxpin_module_t *module,
                                   ompi_op_t *op, ompi_datatype_t *dt,
                                   osc_daxpin_count_t count,
                                   const void *operands, char *addr)
{
    if (op == MPI_REPLACE) {
        memcpy(addr, operands, osc_daxpin_bytes(count, dt));
        return OMPI_SUCCESS;
    }
    return osc_daxpin_reduce_local(module, operands, addr, count, dt, op);
}

/* Accumulate up to OSC_DAXPIN_ACC_SHORT bytes without a result, as
 * osc_daxpin_word_try() does one word, and return as it does. */
static __attribute__((noinline)) int
osc_daxpin_short_try(osc_daxpin_module_t *module, int target, ptrdiff_t disp,
                     ompi_datatype_t *dt, osc_daxpin_count_t count,
                     ompi_op_t *op, const void *origin, int *ret_p)
{
    const size_t length     = osc_daxpin_bytes(count, dt);
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_mem_t *mem   = &peer->mem;
    char operands[OSC_DAXPIN_ACC_SHORT] __attribute__((aligned(16)));
    osc_daxpin_thread_t *thread;
    osc_daxpin_lock_t *lock;
    uint64_t start;

    if ((op == MPI_NO_OP) ||
        !osc_daxpin_quick_find(module, peer, disp, dt, length, &start,
                               &thread)) {
        return 0;
    }
    memcpy(operands, origin, length);
    peer->touched = 1;
    osc_daxpin_poll(module, length);
    lock = &module->node.locks[peer->node_rank];
    if (!osc_daxpin_quick_begin(mem, thread, lock)) {
        return 0;
    }
    *ret_p = osc_daxpin_short_change(module, op, dt, count, operands,
                                     mem->base + start);
    osc_daxpin_unlock_quick(thread, lock);
    if (OPAL_UNLIKELY(daxpin_access_end(&mem->access, mem->offset + start,
                                        length) != 0)) {
        *ret_p = osc_daxpin_peer_revoked(module, target);
    }
    return 1;
}

/*
 * The calls
 */

static int osc_daxpin_acc_mapped(osc_daxpin_module_t *module,
                                 const osc_daxpin_acc_t *acc,
                                 const osc_daxpin_range_t *range)
{
    int ret = osc_daxpin_range_begin(module, range);
    int changed;

    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    ret = osc_daxpin_acc_apply(module, acc, range->addr, &changed);
    if (changed) {
        osc_daxpin_range_dirty(module, range);
    }
    return osc_daxpin_range_end(module, range, ret);
}

/* Get a copy, work on it, and put it back */
static int osc_daxpin_acc_unmapped(osc_daxpin_module_t *module,
                                   const osc_daxpin_acc_t *acc, ptrdiff_t disp,
                                   const osc_daxpin_range_t *range)
{
    const osc_daxpin_way_t *way = module->peers[range->target].way;
    char *copy                  = malloc(range->length);
    osc_daxpin_move_t move      = {
        .origin       = copy - range->first,
        .origin_count = acc->target_count,
        .origin_dt    = acc->target_dt,
        .disp         = disp,
        .target_count = acc->target_count,
        .target_dt    = acc->target_dt
    };
    int changed, ret;

    if (copy == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ret = osc_daxpin_range_move(module, range, &move);
    if (ret == OMPI_SUCCESS) {
        ret = way->complete(module, range->target);
    }
    if (ret != OMPI_SUCCESS) {
        goto out;
    }
    ret = osc_daxpin_acc_apply(module, acc, move.origin, &changed);
    if ((ret == OMPI_SUCCESS) && changed) {
        move.is_put = 1;
        ret         = osc_daxpin_range_move(module, range, &move);
    }
    if (ret == OMPI_SUCCESS) {
        ret = way->complete(module, range->target);
    }
out:
    osc_daxpin_error_free(ret, copy);
    return ret;
}

/* Return whether an element has no gaps, so that two can be compared */
static int osc_daxpin_acc_is_dense(const ompi_datatype_t *dt)
{
    ptrdiff_t lb, extent;

    ompi_datatype_get_true_extent(dt, &lb, &extent);
    return (lb == 0) && ((size_t)extent == dt->super.size);
}

/* Check that all sides are of one length. With too few operands, an operation
 * would have to invent the others. */
static int osc_daxpin_acc_match(const osc_daxpin_acc_t *acc)
{
    const int same = (acc->origin_dt == acc->target_dt) &&
                     (acc->origin_count == acc->target_count);
    int ret = OMPI_SUCCESS;

    if (acc->compare != NULL) {
        return osc_daxpin_acc_is_dense(acc->target_dt) ? OMPI_SUCCESS :
                                                         MPI_ERR_TYPE;
    }
    if ((acc->op != MPI_NO_OP) && !same) {
        ret = osc_daxpin_range_match(acc->origin_count, acc->origin_dt,
                                     acc->target_count, acc->target_dt);
        if ((ret == OMPI_SUCCESS) &&
            (osc_daxpin_range_match(acc->target_count, acc->target_dt,
                                    acc->origin_count, acc->origin_dt) !=
             OMPI_SUCCESS)) {
            ret = MPI_ERR_TYPE;
        }
    }
    if ((ret == OMPI_SUCCESS) && (acc->result_dt != NULL) &&
        ((acc->result_dt != acc->target_dt) ||
         (acc->result_count != acc->target_count))) {
        ret = osc_daxpin_range_match(acc->target_count, acc->target_dt,
                                     acc->result_count, acc->result_dt);
    }
    return ret;
}

static int osc_daxpin_acc(ompi_win_t *win, int target, ptrdiff_t disp,
                          const osc_daxpin_acc_t *acc)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    const uint64_t lock         = osc_daxpin_acc_value(module);
    osc_daxpin_range_t range;
    int ret, error;

    osc_daxpin_peers_lock(module);
    ret = osc_daxpin_range_get(module, target, disp, acc->target_count,
                               acc->target_dt, &range);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_acc_match(acc);
    }
    if ((ret != OMPI_SUCCESS) || (range.length == 0)) {
        goto out;
    }
    if (range.mem->read_only && (acc->op != MPI_NO_OP)) {
        ret = osc_daxpin_error_read_only(module, target);
        goto out;
    }
    ret = osc_daxpin_acc_lock(module, target, lock);
    if (ret != OMPI_SUCCESS) {
        goto out;
    }
    ret = (range.mem->base != NULL) ?
                  osc_daxpin_acc_mapped(module, acc, &range) :
                  osc_daxpin_acc_unmapped(module, acc, disp, &range);
    error = osc_daxpin_acc_unlock(module, target, lock);
    ret   = (ret != OMPI_SUCCESS) ? ret : error;
out:
    osc_daxpin_peers_unlock(module);
    return ret;
}

static __attribute__((noinline)) int
osc_daxpin_acc_any(const void *origin, osc_daxpin_count_t origin_count,
                   ompi_datatype_t *origin_dt, void *result,
                   osc_daxpin_count_t result_count, ompi_datatype_t *result_dt,
                   int target, ptrdiff_t disp, osc_daxpin_count_t target_count,
                   ompi_datatype_t *target_dt, ompi_op_t *op, ompi_win_t *win)
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

/* result_dt NULL: there is no result; the address may be MPI_BOTTOM */
static OSC_DAXPIN_INLINE int osc_daxpin_acc_both(
        const void *origin, osc_daxpin_count_t origin_count,
        ompi_datatype_t *origin_dt, void *result,
        osc_daxpin_count_t result_count, ompi_datatype_t *result_dt, int target,
        ptrdiff_t disp, osc_daxpin_count_t target_count,
        ompi_datatype_t *target_dt, ompi_op_t *op, ompi_win_t *win)
{
    int ret;

    if ((target_count == 1) &&
        ((op == MPI_NO_OP) ||
         ((origin_count == 1) && (origin_dt == target_dt))) &&
        ((result_dt == NULL) ||
         ((result_count == 1) && (result_dt == target_dt))) &&
        osc_daxpin_word(osc_daxpin_module(win), target, disp, target_dt, op,
                        1, origin, result, &ret)) {
        return ret;
    }
    return osc_daxpin_acc_any(origin, origin_count, origin_dt, result,
                              result_count, result_dt, target, disp,
                              target_count, target_dt, op, win);
}

int osc_daxpin_get_accumulate(const void *origin,
                              osc_daxpin_count_t origin_count,
                              ompi_datatype_t *origin_dt, void *result,
                              osc_daxpin_count_t result_count,
                              ompi_datatype_t *result_dt, int target,
                              ptrdiff_t disp, osc_daxpin_count_t target_count,
                              ompi_datatype_t *target_dt, ompi_op_t *op,
                              ompi_win_t *win)
{
    return osc_daxpin_acc_both(origin, origin_count, origin_dt, result,
                               result_count, result_dt, target, disp,
                               target_count, target_dt, op, win);
}

int osc_daxpin_accumulate(const void *origin, osc_daxpin_count_t origin_count,
                          ompi_datatype_t *origin_dt, int target,
                          ptrdiff_t disp, osc_daxpin_count_t target_count,
                          ompi_datatype_t *target_dt, ompi_op_t *op,
                          ompi_win_t *win)
{
    int ret;

    if ((target_count > 1) && (origin_count == target_count) &&
        (origin_dt == target_dt) &&
        (osc_daxpin_bytes(target_count, target_dt) <= OSC_DAXPIN_ACC_SHORT) &&
        osc_daxpin_short_try(osc_daxpin_module(win), target, disp, target_dt,
                             target_count, op, origin, &ret)) {
        return ret;
    }
    return osc_daxpin_acc_both(origin, origin_count, origin_dt, NULL, 0, NULL,
                               target, disp, target_count, target_dt, op, win);
}

int osc_daxpin_fetch_and_op(const void *origin, void *result,
                            ompi_datatype_t *dt, int target, ptrdiff_t disp,
                            ompi_op_t *op, ompi_win_t *win)
{
    int ret;

    return osc_daxpin_word(osc_daxpin_module(win), target, disp, dt, op, 0,
                           origin, result, &ret) ?
                   ret :
                   osc_daxpin_acc_any(origin, 1, dt, result, 1, dt, target,
                                      disp, 1, dt, op, win);
}

static __attribute__((noinline)) int
osc_daxpin_cswap_any(const void *origin, const void *compare, void *result,
                     ompi_datatype_t *dt, int target, ptrdiff_t disp,
                     ompi_win_t *win)
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

int osc_daxpin_compare_and_swap(const void *origin, const void *compare,
                                void *result, ompi_datatype_t *dt, int target,
                                ptrdiff_t disp, ompi_win_t *win)
{
    int ret;

    return osc_daxpin_word_try(osc_daxpin_module(win), target, disp, dt,
                               dt->super.size, MPI_REPLACE,
                               OSC_DAXPIN_WORD_CSWAP, origin, compare, result,
                               &ret) ?
                   ret :
                   osc_daxpin_cswap_any(origin, compare, result, dt, target,
                                        disp, win);
}

/*
 * With requests, which are complete when the accumulate returns
 */

static int osc_daxpin_acc_finish(ompi_win_t *win, int target, int ret,
                                 ompi_request_t **request)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    const osc_daxpin_way_t *way = module->peers[target].way;

    if ((ret == OMPI_SUCCESS) && way->is_remote) {
        ret = way->complete(module, target);
    }
    if (ret == OMPI_SUCCESS) {
        osc_daxpin_peers_lock(module);
        ret = osc_daxpin_peer_check(module, target);
        osc_daxpin_peers_unlock(module);
    }
    *request = &ompi_request_empty;
    return ret;
}

int osc_daxpin_raccumulate(const void *origin, osc_daxpin_count_t origin_count,
                           ompi_datatype_t *origin_dt, int target,
                           ptrdiff_t disp, osc_daxpin_count_t target_count,
                           ompi_datatype_t *target_dt, ompi_op_t *op,
                           ompi_win_t *win, ompi_request_t **request)
{
    int ret = osc_daxpin_accumulate(origin, origin_count, origin_dt, target,
                                    disp, target_count, target_dt, op, win);

    return osc_daxpin_acc_finish(win, target, ret, request);
}

int osc_daxpin_rget_accumulate(const void *origin,
                               osc_daxpin_count_t origin_count,
                               ompi_datatype_t *origin_dt, void *result,
                               osc_daxpin_count_t result_count,
                               ompi_datatype_t *result_dt, int target,
                               ptrdiff_t disp, osc_daxpin_count_t target_count,
                               ompi_datatype_t *target_dt, ompi_op_t *op,
                               ompi_win_t *win, ompi_request_t **request)
{
    int ret = osc_daxpin_get_accumulate(origin, origin_count, origin_dt,
                                        result, result_count, result_dt,
                                        target, disp, target_count, target_dt,
                                        op, win);

    return osc_daxpin_acc_finish(win, target, ret, request);
}
