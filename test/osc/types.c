/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Accumulates: every predefined datatype with each of its operations, derived
 * types, pairs, and many ranks at one place at a time. The results are compared
 * with those of MPI_Reduce_local().
 *
 * usage: types KIND PATH, as in window.h
 */

#define _GNU_SOURCE

#include "window.h"

#include <complex.h>
#include <stdbool.h>
#include <stdint.h>

#define SIZE  65536
#define COUNT 3 /* elements */
#define MAX_BYTES (COUNT * 64)

typedef enum type_class {
    INTEGER, REAL, COMPLEX, LOGICAL, BYTES, PAIR, FORTRAN_INTEGER,
    FORTRAN_LOGICAL
} type_class_t;

typedef struct type {
    MPI_Datatype type;
    type_class_t class;
    const char   *name;
    int          is_long_double; /* 16 bytes of which 10 count, each */
} type_t;

static MPI_Op integer_ops[] = {MPI_SUM, MPI_PROD, MPI_MAX, MPI_MIN, MPI_LAND,
                               MPI_LOR, MPI_LXOR, MPI_BAND, MPI_BOR, MPI_BXOR,
                               MPI_OP_NULL};
static MPI_Op fortran_ops[] = {MPI_SUM, MPI_PROD, MPI_MAX, MPI_MIN, MPI_BAND,
                               MPI_BOR, MPI_BXOR, MPI_OP_NULL};
static MPI_Op real_ops[]    = {MPI_SUM, MPI_PROD, MPI_MAX, MPI_MIN,
                               MPI_OP_NULL};
static MPI_Op complex_ops[] = {MPI_SUM, MPI_PROD, MPI_OP_NULL};
static MPI_Op logical_ops[] = {MPI_LAND, MPI_LOR, MPI_LXOR, MPI_OP_NULL};
static MPI_Op byte_ops[]    = {MPI_BAND, MPI_BOR, MPI_BXOR, MPI_OP_NULL};
static MPI_Op pair_ops[]    = {MPI_MINLOC, MPI_MAXLOC, MPI_OP_NULL};

static MPI_Op *const ops[]  = {integer_ops, real_ops, complex_ops, logical_ops,
                               byte_ops, pair_ops, fortran_ops, logical_ops};

#define TYPE(_type, _class) {_type, _class, #_type, 0}

static const type_t types[] = {
    TYPE(MPI_SIGNED_CHAR, INTEGER), TYPE(MPI_UNSIGNED_CHAR, INTEGER),
    TYPE(MPI_SHORT, INTEGER), TYPE(MPI_UNSIGNED_SHORT, INTEGER),
    TYPE(MPI_INT, INTEGER), TYPE(MPI_UNSIGNED, INTEGER),
    TYPE(MPI_LONG, INTEGER), TYPE(MPI_UNSIGNED_LONG, INTEGER),
    TYPE(MPI_LONG_LONG, INTEGER), TYPE(MPI_UNSIGNED_LONG_LONG, INTEGER),
    TYPE(MPI_INT8_T, INTEGER), TYPE(MPI_INT16_T, INTEGER),
    TYPE(MPI_INT32_T, INTEGER), TYPE(MPI_INT64_T, INTEGER),
    TYPE(MPI_UINT8_T, INTEGER), TYPE(MPI_UINT16_T, INTEGER),
    TYPE(MPI_UINT32_T, INTEGER), TYPE(MPI_UINT64_T, INTEGER),
    TYPE(MPI_AINT, INTEGER), TYPE(MPI_OFFSET, INTEGER),
    TYPE(MPI_COUNT, INTEGER),
    TYPE(MPI_FLOAT, REAL), TYPE(MPI_DOUBLE, REAL),
    {MPI_LONG_DOUBLE, REAL, "MPI_LONG_DOUBLE", 1},
    TYPE(MPI_C_FLOAT_COMPLEX, COMPLEX), TYPE(MPI_C_DOUBLE_COMPLEX, COMPLEX),
    {MPI_C_LONG_DOUBLE_COMPLEX, COMPLEX, "MPI_C_LONG_DOUBLE_COMPLEX", 1},
#ifdef MPI_CXX_FLOAT_COMPLEX
    TYPE(MPI_CXX_FLOAT_COMPLEX, COMPLEX),
#endif
#ifdef MPI_CXX_DOUBLE_COMPLEX
    TYPE(MPI_CXX_DOUBLE_COMPLEX, COMPLEX),
#endif
#ifdef MPI_CXX_LONG_DOUBLE_COMPLEX
    {MPI_CXX_LONG_DOUBLE_COMPLEX, COMPLEX, "MPI_CXX_LONG_DOUBLE_COMPLEX", 1},
#endif
    TYPE(MPI_C_BOOL, LOGICAL), TYPE(MPI_CXX_BOOL, LOGICAL),
#ifdef MPI_LOGICAL1
    TYPE(MPI_LOGICAL1, FORTRAN_LOGICAL),
#endif
#ifdef MPI_LOGICAL2
    TYPE(MPI_LOGICAL2, FORTRAN_LOGICAL),
#endif
#ifdef MPI_LOGICAL4
    TYPE(MPI_LOGICAL4, FORTRAN_LOGICAL),
#endif
#ifdef MPI_LOGICAL8
    TYPE(MPI_LOGICAL8, FORTRAN_LOGICAL),
#endif
    TYPE(MPI_LOGICAL, FORTRAN_LOGICAL), TYPE(MPI_BYTE, BYTES),
    TYPE(MPI_INTEGER, FORTRAN_INTEGER), TYPE(MPI_INTEGER1, FORTRAN_INTEGER),
    TYPE(MPI_INTEGER2, FORTRAN_INTEGER), TYPE(MPI_INTEGER4, FORTRAN_INTEGER),
    TYPE(MPI_INTEGER8, FORTRAN_INTEGER),
    TYPE(MPI_REAL, REAL), TYPE(MPI_REAL4, REAL), TYPE(MPI_REAL8, REAL),
    TYPE(MPI_DOUBLE_PRECISION, REAL),
    TYPE(MPI_COMPLEX, COMPLEX), TYPE(MPI_COMPLEX8, COMPLEX),
    TYPE(MPI_COMPLEX16, COMPLEX), TYPE(MPI_DOUBLE_COMPLEX, COMPLEX),
    TYPE(MPI_2INTEGER, PAIR), TYPE(MPI_2REAL, PAIR),
    TYPE(MPI_2DOUBLE_PRECISION, PAIR),
    TYPE(MPI_2INT, PAIR), TYPE(MPI_FLOAT_INT, PAIR),
    TYPE(MPI_DOUBLE_INT, PAIR), TYPE(MPI_LONG_INT, PAIR),
    TYPE(MPI_SHORT_INT, PAIR),
    {MPI_LONG_DOUBLE_INT, PAIR, "MPI_LONG_DOUBLE_INT", 1}
};

#define TYPES ((int)(sizeof(types) / sizeof(types[0])))

static window_t window;
static MPI_Win win;
static int left, right;

static MPI_Aint extent_of(MPI_Datatype type)
{
    MPI_Aint lb, extent;

    MPI_Type_get_extent(type, &lb, &extent);
    return extent;
}

/* Set a number of a type that is "i"nteger, "r"eal or "c"omplex, and has so
 * many bytes; 16 are those of a long double */
static void set_number(char kind, size_t size, void *element, int number)
{
    float complex single = (float)number + 2.0f * I;
    double complex twice = number + 2.0 * I;
    int64_t integer      = number;

    if (kind == 'i') {
        memcpy(element, &integer, size);
    } else if (size == 2 * sizeof(long double)) {
        *(long double complex*)element = number + 2.0L * I;
    } else if ((kind == 'r') && (size == sizeof(long double))) {
        *(long double*)element = number;
    } else if (size == ((kind == 'r') ? sizeof(float) : sizeof(single))) {
        memcpy(element, &single, size);
    } else {
        memcpy(element, &twice, size);
    }
}

/* The members of pairs: the value, the location, and where the location is */
static const struct {
    MPI_Datatype type;
    char         value, location;
    size_t       value_size, location_size, offset;
} pairs[] = {
    {MPI_2INT, 'i', 'i', 4, 4, 4},
    {MPI_FLOAT_INT, 'r', 'i', 4, 4, 4},
    {MPI_DOUBLE_INT, 'r', 'i', 8, 4, 8},
    {MPI_LONG_INT, 'i', 'i', 8, 4, 8},
    {MPI_SHORT_INT, 'i', 'i', 2, 4, 4},
    {MPI_LONG_DOUBLE_INT, 'r', 'i', 16, 4, 16},
    {MPI_2INTEGER, 'i', 'i', 4, 4, 4},
    {MPI_2REAL, 'r', 'r', 4, 4, 4},
    {MPI_2DOUBLE_PRECISION, 'r', 'r', 8, 8, 8}
};

static void set_pair(const type_t *type, char *element, int number,
                     int location)
{
    size_t i;

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); ++i) {
        if (type->type == pairs[i].type) {
            set_number(pairs[i].value, pairs[i].value_size, element, number);
            set_number(pairs[i].location, pairs[i].location_size,
                       element + pairs[i].offset, location);
            return;
        }
    }
    check(0, "%s is no pair", type->name);
}

static void set_element(const type_t *type, void *element, int number,
                        int location)
{
    int size;

    MPI_Type_size(type->type, &size);
    switch (type->class) {
    case PAIR:
        set_pair(type, element, number, location);
        break;
    case REAL:
    case COMPLEX:
        set_number((type->class == REAL) ? 'r' : 'c', size, element, number);
        break;
    case LOGICAL:
    case FORTRAN_LOGICAL:
        set_number('i', size, element, number % 2);
        break;
    default:
        set_number('i', size, element, number);
        break;
    }
}

static void set(const type_t *type, void *buffer, int seed)
{
    MPI_Aint extent = extent_of(type->type);
    int i;

    memset(buffer, 0, MAX_BYTES);
    for (i = 0; i < COUNT; ++i) {
        set_element(type, (char*)buffer + i * extent,
                    (seed * 7 + i * 3) % 11 + 1, seed + i);
    }
}

static int equal(const type_t *type, const void *left_p, const void *right_p,
                 int count)
{
    size_t size = extent_of(type->type) * count;
    const char *a = left_p, *b = right_p;
    size_t i;

    for (i = 0; i < size; ++i) {
        if ((a[i] != b[i]) && (!type->is_long_double || (i % 16 < 10))) {
            return 0;
        }
    }
    return 1;
}

/*
 * One by one: the left neighbour accumulates to this rank's memory
 */

static char origin[MAX_BYTES], result[MAX_BYTES], before[MAX_BYTES],
            after[MAX_BYTES];

typedef void (*call_func_t)(const type_t *type, MPI_Op op);

static void do_accumulate(const type_t *type, MPI_Op op)
{
    check_mpi(MPI_Accumulate(origin, COUNT, type->type, right, 1, COUNT,
                             type->type, op, win), type->name);
}

static void do_raccumulate(const type_t *type, MPI_Op op)
{
    MPI_Request request;

    check_mpi(MPI_Raccumulate(origin, COUNT, type->type, right, 1, COUNT,
                              type->type, op, win, &request), "raccumulate");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
}

static void do_get_accumulate(const type_t *type, MPI_Op op)
{
    check_mpi(MPI_Get_accumulate(origin, COUNT, type->type, result, COUNT,
                                 type->type, right, 1, COUNT, type->type, op,
                                 win), "get_accumulate");
}

static void do_rget_accumulate(const type_t *type, MPI_Op op)
{
    MPI_Request request;

    check_mpi(MPI_Rget_accumulate(origin, COUNT, type->type, result, COUNT,
                                  type->type, right, 1, COUNT, type->type, op,
                                  win, &request), "rget_accumulate");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
}

static void do_fetch_and_op(const type_t *type, MPI_Op op)
{
    check_mpi(MPI_Fetch_and_op(origin, result, type->type, right, 1, op, win),
              "fetch_and_op");
}

static const struct {
    call_func_t func;
    int         count;
    int         fetches;
    const char  *name;
} calls[] = {
    {do_accumulate, COUNT, 0, "accumulate"},
    {do_raccumulate, COUNT, 0, "raccumulate"},
    {do_get_accumulate, COUNT, 1, "get_accumulate"},
    {do_rget_accumulate, COUNT, 1, "rget_accumulate"},
    {do_fetch_and_op, 1, 1, "fetch_and_op"}
};

static void test_one(const type_t *type, MPI_Op op, int call)
{
    char name[64] = "";
    char *mine = window.base + 64;
    size_t bytes = extent_of(type->type) * calls[call].count;

    set(type, before, 3);
    set(type, origin, 5);
    memset(mine, 0, MAX_BYTES);
    memcpy(mine, before, bytes);
    memset(after, 0, sizeof(after));
    memset(result, 0, sizeof(result));
    memcpy(after, (op == MPI_REPLACE) ? origin : before, bytes);
    if ((op != MPI_REPLACE) && (op != MPI_NO_OP)) {
        MPI_Reduce_local(origin, after, calls[call].count, type->type, op);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win), "lock");
    calls[call].func(type, op);
    check_mpi(MPI_Win_unlock(right, win), "unlock");
    MPI_Barrier(MPI_COMM_WORLD);
    snprintf(name, sizeof(name), "%s of %s", calls[call].name, type->name);
    check(equal(type, mine, after, calls[call].count),
          "%s, operation %d: the target is wrong", name, MPI_Op_c2f(op));
    if (calls[call].fetches) {
        check(equal(type, result, before, calls[call].count),
              "%s, operation %d: the result is wrong", name, MPI_Op_c2f(op));
    }
}

static void test_ops(const type_t *type)
{
    MPI_Op *op;
    int call;

    for (call = 0; call < 5; ++call) {
        for (op = ops[type->class]; *op != MPI_OP_NULL; ++op) {
            test_one(type, *op, call);
        }
        test_one(type, MPI_REPLACE, call);
        if (calls[call].fetches) {
            test_one(type, MPI_NO_OP, call);
        }
    }
}

/*
 * All at once: every rank adds ones at rank 0, by all calls in turn
 */

static void test_at_once(const type_t *type, int times)
{
    char one[64] = "", sum[64] = "", old[64] = "";
    int i;

    set_element(type, one, 1, 0);
    memset(window.base, 0, MAX_BYTES);
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    for (i = 0; i < times; ++i) {
        switch (i % 3) {
        case 0:
            MPI_Accumulate(one, 1, type->type, 0, 0, 1, type->type, MPI_SUM,
                           win);
            break;
        case 1:
            MPI_Fetch_and_op(one, old, type->type, 0, 0, MPI_SUM, win);
            break;
        default:
            MPI_Get_accumulate(one, 1, type->type, old, 1, type->type, 0, 0, 1,
                               type->type, MPI_SUM, win);
            break;
        }
        check_mpi(MPI_Win_flush(0, win), "flush");
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < times * check_size; ++i) {
        MPI_Reduce_local(one, sum, 1, type->type, MPI_SUM);
    }
    check((check_rank != 0) || equal(type, window.base, sum, 1),
          "%s: the sum of %d ones is wrong", type->name, times * check_size);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* A lock made of compare-and-swap, and a counter that it protects */
static void test_compare_and_swap(void)
{
    int64_t free_word = 0, mine = check_rank + 1, seen, count;
    int i;

    memset(window.base, 0, MAX_BYTES);
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    for (i = 0; i < 50; ++i) {
        do {
            check_mpi(MPI_Compare_and_swap(&mine, &free_word, &seen,
                                           MPI_INT64_T, 0, 0, win), "cas");
            MPI_Win_flush(0, win);
        } while (seen != 0);
        MPI_Get(&count, 1, MPI_INT64_T, 0, 1, 1, MPI_INT64_T, win);
        MPI_Win_flush(0, win);
        ++count;
        MPI_Put(&count, 1, MPI_INT64_T, 0, 1, 1, MPI_INT64_T, win);
        MPI_Win_flush(0, win);
        MPI_Compare_and_swap(&free_word, &mine, &seen, MPI_INT64_T, 0, 0, win);
        MPI_Win_flush(0, win);
        check(seen == mine, "the lock is %ld's", (long)seen);
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank != 0) ||
                  (((int64_t*)window.base)[1] == 50 * check_size),
          "the counter is %ld", (long)((int64_t*)window.base)[1]);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* A type that not each Open MPI has operations on: MPI_Fetch_and_op, for which
 * daxpin checks that, agrees with MPI_Get_accumulate */
static void test_agree(MPI_Datatype type, const char *name)
{
    int ret;

    memset(origin, 0, sizeof(origin));
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win), "lock");
    ret = MPI_Get_accumulate(origin, 1, type, result, 1, type, right, 1, 1,
                             type, MPI_SUM, win);
    if (ret != MPI_SUCCESS) {
        MPI_Error_class(ret, &ret);
    }
    check_class(MPI_Fetch_and_op(origin, result, type, right, 1, MPI_SUM, win),
                ret, name);
    check_mpi(MPI_Win_unlock(right, win), "unlock");
}

static void test_swap_types(void)
{
    char value[64], compare[64], seen[64];
    char *mine = window.base + 64;
    int i, j, size;

    for (i = 0; i < TYPES; ++i) {
        if ((types[i].class == REAL) || (types[i].class == COMPLEX) ||
            (types[i].class == PAIR)) {
            continue;
        }
        MPI_Type_size(types[i].type, &size);
        for (j = 0; j < 2; ++j) {
            memset(mine, 0, 64);
            set_element(&types[i], mine, 1, 0);
            set_element(&types[i], compare, j ? 1 : 2, 0);
            set_element(&types[i], value, j ? 4 : 3, 0);
            MPI_Win_fence(0, win);
            MPI_Compare_and_swap(value, compare, seen, types[i].type, right, 1,
                                 win);
            MPI_Win_fence(0, win);
            set_element(&types[i], compare, 1, 0);
            check(memcmp(seen, compare, size) == 0,
                  "cas of %s: the result is wrong", types[i].name);
            check(memcmp(mine, j ? value : compare, size) == 0,
                  "cas of %s: the target is wrong", types[i].name);
        }
    }
}

/*
 * Derived types
 */

static void test_vector(void)
{
    double *mine = (double*)window.base, values[6], old[6];
    MPI_Datatype vector;
    int i;

    MPI_Type_vector(3, 2, 4, MPI_DOUBLE, &vector);
    MPI_Type_commit(&vector);
    for (i = 0; i < 12; ++i) {
        mine[i] = i;
    }
    for (i = 0; i < 6; ++i) {
        values[i] = 0.5 + i;
    }
    MPI_Win_fence(0, win);
    check_mpi(MPI_Get_accumulate(values, 6, MPI_DOUBLE, old, 6, MPI_DOUBLE,
                                 right, 0, 1, vector, MPI_SUM, win),
              "get_accumulate of a vector");
    MPI_Win_fence(0, win);
    for (i = 0; i < 12; ++i) {
        int in = i % 4 < 2, k = i / 4 * 2 + i % 4;
        check(mine[i] == i + (in ? values[k] : 0), "vector: [%d] is %g", i,
              mine[i]);
        check(!in || (old[k] == i), "vector: result [%d] is %g", k, old[k]);
    }
    MPI_Win_fence(0, win);
    MPI_Type_free(&vector);
}

typedef struct short_int {
    short value;
    int   location;
} short_int_t;

/* A pair with a gap in it, in a type of its own */
static void test_pairs(void)
{
    short_int_t *mine = (short_int_t*)window.base, values[4];
    MPI_Datatype twice;
    int i;

    MPI_Type_contiguous(2, MPI_SHORT_INT, &twice);
    MPI_Type_commit(&twice);
    for (i = 0; i < 4; ++i) {
        mine[i]   = (short_int_t){10, 100};
        values[i] = (short_int_t){(short)(i % 2 ? 5 : 15), 200 + i};
    }
    MPI_Win_fence(0, win);
    check_mpi(MPI_Accumulate(values, 2, twice, right, 0, 2, twice, MPI_MINLOC,
                             win), "accumulate of pairs");
    MPI_Win_fence(0, win);
    for (i = 0; i < 4; ++i) {
        check((mine[i].value == (i % 2 ? 5 : 10)) &&
              (mine[i].location == (i % 2 ? 200 + i : 100)),
              "pairs: [%d] is %d at %d", i, mine[i].value, mine[i].location);
    }
    MPI_Win_fence(0, win);
    MPI_Type_free(&twice);
}

int main(int argc, char **argv)
{
    int i, times;

    check_init(&argc, &argv);
    check(argc == 3, "usage: types KIND PATH");
    right  = (check_rank + 1) % check_size;
    left   = (check_rank + check_size - 1) % check_size;
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 64, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    win = window.win;
    for (i = 0; i < TYPES; ++i) {
        test_ops(&types[i]);
    }
#ifdef MPI_REAL16
    test_agree(MPI_REAL16, "MPI_REAL16");
#endif
#ifdef MPI_COMPLEX32
    test_agree(MPI_COMPLEX32, "MPI_COMPLEX32");
#endif
#ifdef MPI_INTEGER16
    test_agree(MPI_INTEGER16, "MPI_INTEGER16");
#endif
    test_agree(MPI_INT, "MPI_INT");
    window_close(&window);

    window.unit = 8;
    check_mpi(window_open(&window), "window");
    win = window.win;
    for (i = 0; i < TYPES; ++i) {
        if (types[i].class <= COMPLEX) {
            test_at_once(&types[i], 12);
        }
    }
    times = is_one_node() ? 3000 : 100;
    test_at_once(&(type_t){MPI_INT, INTEGER, "MPI_INT", 0}, times);
    test_at_once(&(type_t){MPI_DOUBLE, REAL, "MPI_DOUBLE", 0}, times);
    test_compare_and_swap();
    test_vector();
    test_pairs();
    window_close(&window);

    window.unit = 64;
    check_mpi(window_open(&window), "window");
    win = window.win;
    test_swap_types();
    window_close(&window);
    MPI_Finalize();
    return 0;
}
