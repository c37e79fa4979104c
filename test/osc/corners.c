/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The corners of the standard: MPI_PROC_NULL, nothing to move, parts of no
 * bytes, MPI_Win_shared_query() of any window, and wrong arguments, which are
 * an error of the class that the standard names and change nothing.
 *
 * usage: corners KIND PATH INTRUDE, as in window.h
 */

#define _GNU_SOURCE

#include "window.h"

#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>

#define SIZE  4096
#define WORDS (SIZE / 8)
#define BEYOND 1000000 /* units; in no window */

extern char **environ;

static window_t window;
static MPI_Win win;
static int left, right;

static uint64_t pattern(int rank, int word)
{
    return ((uint64_t)(rank + 1) << 32) + (uint64_t)word;
}

static void fill(uint64_t *words, size_t count)
{
    size_t i;

    for (i = 0; i < count; ++i) {
        words[i] = pattern(check_rank, (int)i);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void check_unchanged(const uint64_t *words, size_t count,
                            const char *what)
{
    size_t i;

    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < count; ++i) {
        check(words[i] == pattern(check_rank, (int)i), "%s: word %zu is %lx",
              what, i, words[i]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/*
 * Each call once, with the same target, place and count
 */

static uint64_t origin[16], result[16];

typedef struct place {
    int          target;
    MPI_Aint     disp;
    int          count; /* at the origin and at the target */
    MPI_Datatype type;
} place_t;

static int put(const place_t *at)
{
    return MPI_Put(origin, at->count, at->type, at->target, at->disp,
                   at->count, at->type, win);
}

static int get(const place_t *at)
{
    return MPI_Get(result, at->count, at->type, at->target, at->disp,
                   at->count, at->type, win);
}

static int accumulate(const place_t *at)
{
    return MPI_Accumulate(origin, at->count, at->type, at->target, at->disp,
                          at->count, at->type, MPI_SUM, win);
}

static int get_accumulate(const place_t *at)
{
    return MPI_Get_accumulate(origin, at->count, at->type, result, at->count,
                              at->type, at->target, at->disp, at->count,
                              at->type, MPI_SUM, win);
}

static int fetch_and_op(const place_t *at)
{
    return MPI_Fetch_and_op(origin, result, at->type, at->target, at->disp,
                            MPI_SUM, win);
}

static int compare_and_swap(const place_t *at)
{
    return MPI_Compare_and_swap(origin, origin, result, at->type, at->target,
                                at->disp, win);
}

/* Return ret; if it is success, the request is complete at once */
static int finish(int ret, MPI_Request *request)
{
    int flag = 0;

    if (ret == MPI_SUCCESS) {
        ret = MPI_Test(request, &flag, MPI_STATUS_IGNORE);
        check(flag, "a request with nothing to do is not complete");
    }
    return ret;
}

static int rput(const place_t *at)
{
    MPI_Request request;

    return finish(MPI_Rput(origin, at->count, at->type, at->target, at->disp,
                           at->count, at->type, win, &request), &request);
}

static int rget(const place_t *at)
{
    MPI_Request request;

    return finish(MPI_Rget(result, at->count, at->type, at->target, at->disp,
                           at->count, at->type, win, &request), &request);
}

static int raccumulate(const place_t *at)
{
    MPI_Request request;

    return finish(MPI_Raccumulate(origin, at->count, at->type, at->target,
                                  at->disp, at->count, at->type, MPI_SUM, win,
                                  &request), &request);
}

static int rget_accumulate(const place_t *at)
{
    MPI_Request request;

    return finish(MPI_Rget_accumulate(origin, at->count, at->type, result,
                                      at->count, at->type, at->target,
                                      at->disp, at->count, at->type, MPI_SUM,
                                      win, &request), &request);
}

static const struct {
    int (*func)(const place_t *at);
    int        has_count;
    const char *name;
} calls[] = {
    {put, 1, "put"}, {get, 1, "get"}, {rput, 1, "rput"}, {rget, 1, "rget"},
    {accumulate, 1, "accumulate"}, {raccumulate, 1, "raccumulate"},
    {get_accumulate, 1, "get_accumulate"},
    {rget_accumulate, 1, "rget_accumulate"},
    {fetch_and_op, 0, "fetch_and_op"},
    {compare_and_swap, 0, "compare_and_swap"}
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* All calls return this error class; with_count: only those with a count */
static void all_return(int class, int with_count, const char *what,
                       const place_t *at)
{
    char name[128];
    size_t i;

    for (i = 0; i < CALLS; ++i) {
        if (calls[i].has_count || !with_count) {
            snprintf(name, sizeof(name), "%s, %s", calls[i].name, what);
            check_class(calls[i].func(at), class, name);
        }
    }
}

/*
 * Nothing to do
 */

static void test_nothing(void)
{
    place_t at = {MPI_PROC_NULL, 0, 1, MPI_UINT64_T};

    all_return(MPI_SUCCESS, 0, "MPI_PROC_NULL", &at);
    at.disp = BEYOND;
    all_return(MPI_SUCCESS, 0, "MPI_PROC_NULL, beyond the end", &at);
    at = (place_t){right, window_disp(&window, right, 0), 0, MPI_UINT64_T};
    all_return(MPI_SUCCESS, 1, "a count of 0", &at);
    at.disp = window_disp(&window, right, WORDS);
    all_return(MPI_SUCCESS, 1, "a count of 0 at the end", &at);
    check_mpi(MPI_Win_flush_all(win), "flush_all");
}

/*
 * Wrong targets, displacements, counts
 */

static void test_targets(void)
{
    place_t at         = {check_size, 0, 1, MPI_UINT64_T};
    const int wrong[]  = {check_size, -1, MPI_ANY_SOURCE, MPI_ROOT, -17};
    MPI_Aint bytes;
    void *base;
    size_t i;
    int unit;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i) {
        at.target = wrong[i];
        if (at.target != MPI_PROC_NULL) {
            all_return(MPI_ERR_RANK, 0, "no such rank", &at);
            check_class(MPI_Win_shared_query(win, at.target, &bytes, &unit,
                                             &base), MPI_ERR_RANK,
                        "shared_query of no rank");
        }
    }
    at = (place_t){right, window_disp(&window, right, 0), -1, MPI_UINT64_T};
    all_return(MPI_ERR_COUNT, 1, "a negative count", &at);
}

/* Displacements that are beyond the end, or overflow */
static void test_displacements(void)
{
    const MPI_Aint beyond[] = {
        WORDS, BEYOND, INT64_MAX, INT64_MAX / 8, INT64_MAX / 8 + 1,
        INT64_MAX / 4 + 1, INT64_MAX / 4 + 2, INT64_MAX / 2 + 1, INT64_MAX - 7
    };
    place_t at = {right, 0, 1, MPI_UINT64_T};
    size_t i;

    for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); ++i) {
        at.disp = window_is(&window, "dynamic") ?
                          (MPI_Aint)((uint64_t)window.starts[right] +
                                     (uint64_t)beyond[i] * ((i < 2) ? 8 : 1)) :
                          beyond[i];
        all_return(MPI_ERR_RMA_RANGE, 0, "beyond the end", &at);
    }
    at.disp = window_disp(&window, right, WORDS - 1);
    at.count = 2;
    all_return(MPI_ERR_RMA_RANGE, 1, "across the end", &at);
    if (!window_is(&window, "dynamic")) {
        at = (place_t){right, -1, 1, MPI_UINT64_T};
        all_return(MPI_ERR_DISP, 0, "a negative displacement", &at);
    }
}

/* Types whose bytes are before the displacement, or so far apart that the sum
 * of their extents overflows */
static void test_extents(void)
{
    const MPI_Aint extents[] = {
        INT64_MAX / 4 + 1, INT64_MAX / 8 + 1, INT64_MAX / 8, INT64_MIN / 8,
        -8
    };
    MPI_Datatype wide;
    place_t at = {.target = right, .disp = window_disp(&window, right, 0)};
    size_t i;

    for (i = 0; i < sizeof(extents) / sizeof(extents[0]); ++i) {
        MPI_Type_create_resized(MPI_UINT64_T, 0, extents[i], &wide);
        MPI_Type_commit(&wide);
        check_class(MPI_Put(result, 9, MPI_UINT64_T, at.target, at.disp, 9,
                            wide, win), MPI_ERR_RMA_RANGE, "put, extents");
        check_class(MPI_Get(result, 8, MPI_UINT64_T, at.target, at.disp, 8,
                            wide, win), MPI_ERR_RMA_RANGE, "get, extents");
        check_class(MPI_Accumulate(result, 8, MPI_UINT64_T, at.target, at.disp,
                                   8, wide, MPI_SUM, win), MPI_ERR_RMA_RANGE,
                    "accumulate, extents");
        MPI_Type_free(&wide);
    }
}

/*
 * Wrong types and operations
 */

static void test_types(void)
{
    MPI_Aint disp = window_disp(&window, right, 0);
    place_t at    = {right, disp, 1, MPI_DATATYPE_NULL};
    MPI_Datatype vector;

    all_return(MPI_ERR_TYPE, 0, "no type", &at);
    MPI_Type_vector(2, 1, 2, MPI_UINT64_T, &vector);
    at.type = vector;
    all_return(MPI_ERR_TYPE, 0, "a type that is not committed", &at);
    MPI_Type_commit(&vector);
    check_class(compare_and_swap(&at), MPI_ERR_TYPE,
                "compare_and_swap of a type with a gap");
    at.type = MPI_SHORT_INT;
    check_class(compare_and_swap(&at), MPI_ERR_TYPE,
                "compare_and_swap of a pair with a gap");
    MPI_Type_free(&vector);
}

/* The two sides have to be equally long */
static void test_lengths(void)
{
    MPI_Aint disp = window_disp(&window, right, 0);
    MPI_Request request;

    check_class(MPI_Put(origin, 2, MPI_UINT64_T, right, disp, 1, MPI_UINT64_T,
                        win), MPI_ERR_TRUNCATE, "put of too much");
    check_class(MPI_Rput(origin, 16, MPI_BYTE, right, disp, 1, MPI_UINT64_T,
                         win, &request), MPI_ERR_TRUNCATE, "rput of too much");
    check_class(MPI_Put(origin, 1, MPI_UINT64_T, right, disp, 0, MPI_UINT64_T,
                        win), MPI_ERR_TRUNCATE, "put to nothing");
    check_class(MPI_Get(result, 1, MPI_UINT64_T, right, disp, 2, MPI_UINT64_T,
                        win), MPI_ERR_TRUNCATE, "get of too much");
    check_class(MPI_Rget(result, 1, MPI_UINT64_T, right, disp, 2, MPI_UINT64_T,
                         win, &request), MPI_ERR_TRUNCATE, "rget of too much");
    check_class(MPI_Accumulate(origin, 2, MPI_UINT64_T, right, disp, 1,
                               MPI_UINT64_T, MPI_SUM, win), MPI_ERR_TRUNCATE,
                "accumulate of too much");
    check_class(MPI_Accumulate(origin, 1, MPI_UINT64_T, right, disp, 2,
                               MPI_UINT64_T, MPI_SUM, win), MPI_ERR_TYPE,
                "accumulate of too little");
    check_class(MPI_Accumulate(origin, 1, MPI_UINT64_T, right, disp, 2,
                               MPI_UINT64_T, MPI_REPLACE, win), MPI_ERR_TYPE,
                "replace by too little");
    check_class(MPI_Get_accumulate(origin, 2, MPI_UINT64_T, result, 1,
                                   MPI_UINT64_T, right, disp, 2, MPI_UINT64_T,
                                   MPI_SUM, win), MPI_ERR_TRUNCATE,
                "get_accumulate of too much");
    /* The origin does not count */
    check_mpi(MPI_Get_accumulate(NULL, 0, MPI_DATATYPE_NULL, result, 2,
                                 MPI_UINT64_T, right, disp, 2, MPI_UINT64_T,
                                 MPI_NO_OP, win), "get_accumulate, MPI_NO_OP");
}

/* The address of a result may be in its type: MPI_BOTTOM is NULL */
static void test_bottom(void)
{
    const MPI_Aint disp   = window_disp(&window, right, 0);
    uint64_t *const words = (uint64_t*)window.base;
    uint64_t seen         = 0;
    int length            = 1;
    MPI_Datatype there;
    MPI_Request request;
    MPI_Aint address;

    /* What a call with an error has moved, see below, may still be under way */
    check_mpi(MPI_Win_flush_all(win), "flush_all");
    MPI_Barrier(MPI_COMM_WORLD);
    fill(words, WORDS);
    MPI_Get_address(&seen, &address);
    MPI_Type_create_struct(1, &length, &address, (MPI_Datatype[]){MPI_UINT64_T},
                           &there);
    MPI_Type_commit(&there);
    check_mpi(MPI_Get_accumulate(NULL, 0, MPI_UINT64_T, MPI_BOTTOM, 1, there,
                                 right, disp, 1, MPI_UINT64_T, MPI_NO_OP, win),
              "get_accumulate to MPI_BOTTOM");
    check_mpi(MPI_Win_flush(right, win), "flush");
    check(seen == pattern(right, 0), "get_accumulate to MPI_BOTTOM: %lx", seen);
    seen = 0;
    check_mpi(MPI_Rget_accumulate(NULL, 0, MPI_UINT64_T, MPI_BOTTOM, 1, there,
                                  right, disp, 1, MPI_UINT64_T, MPI_NO_OP, win,
                                  &request), "rget_accumulate to MPI_BOTTOM");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
    check(seen == pattern(right, 0), "rget_accumulate to MPI_BOTTOM: %lx",
          seen);
    MPI_Type_free(&there);
    check_unchanged(words, WORDS, "get_accumulate to MPI_BOTTOM");
    MPI_Barrier(MPI_COMM_WORLD); /* before the next test changes them */
}

static void user_function(void *in, void *inout, int *count,
                          MPI_Datatype *type)
{
    memcpy(inout, in, sizeof(uint64_t) * (size_t)*count);
}

/* An error of a window is for the window's error handler */
static void other_handler(MPI_Comm *comm, int *error, ...)
{
    fail("the error handler of MPI_COMM_WORLD got error %d", *error);
}

static void test_operations(void)
{
    MPI_Aint disp = window_disp(&window, right, 0);
    MPI_Errhandler handler;
    MPI_Op user;
    const struct {
        MPI_Op       op;
        MPI_Datatype type;
    } wrong[] = {
        {MPI_OP_NULL, MPI_UINT64_T}, {MPI_BAND, MPI_DOUBLE},
        {MPI_LXOR, MPI_FLOAT}, {MPI_MAXLOC, MPI_UINT64_T},
        {MPI_MINLOC, MPI_DOUBLE}, {MPI_MAX, MPI_2INT},
        {MPI_MIN, MPI_C_DOUBLE_COMPLEX}, {MPI_SUM, MPI_C_BOOL},
        {MPI_MAXLOC, MPI_CHAR}, {MPI_SUM, MPI_WCHAR}, {MPI_BXOR, MPI_REAL8},
        {MPI_MAXLOC, MPI_INTEGER8}, {MPI_LAND, MPI_INTEGER4}
    };
    size_t i;

    MPI_Comm_create_errhandler(other_handler, &handler);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, handler);
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i) {
        check_class(MPI_Fetch_and_op(origin, result, wrong[i].type, right,
                                     disp, wrong[i].op, win), MPI_ERR_OP,
                    "fetch_and_op");
        check_class(MPI_Accumulate(origin, 1, wrong[i].type, right, disp, 1,
                                   wrong[i].type, wrong[i].op, win),
                    MPI_ERR_OP, "accumulate");
    }
    MPI_Op_create(user_function, 1, &user);
    check_class(MPI_Fetch_and_op(origin, result, MPI_UINT64_T, right, disp,
                                 user, win), MPI_ERR_OP,
                "fetch_and_op, a function of the program");
    check_class(MPI_Get_accumulate(origin, 1, MPI_UINT64_T, result, 1,
                                   MPI_UINT64_T, right, disp, 1, MPI_UINT64_T,
                                   user, win), MPI_ERR_OP,
                "get_accumulate, a function of the program");
    MPI_Op_free(&user);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Errhandler_free(&handler);
}

static void test_flavors(void)
{
    MPI_Aint bytes;
    void *base;
    int unit;

    if (window_is(&window, "dynamic")) {
        check_class(MPI_Win_shared_query(win, 0, &bytes, &unit, &base),
                    MPI_ERR_RMA_FLAVOR, "shared_query of a dynamic window");
        return;
    }
    check_class(MPI_Win_attach(win, origin, sizeof(origin)),
                MPI_ERR_RMA_FLAVOR, "attach");
    check_class(MPI_Win_detach(win, origin), MPI_ERR_RMA_FLAVOR, "detach");
}

/* What can be attached, and detached again */
static void test_attach(void)
{
    char *inside = window.base + SIZE / 2;

    if (!window_is(&window, "dynamic")) {
        return;
    }
    check_class(MPI_Win_attach(win, inside, 8), MPI_ERR_RMA_ATTACH,
                "attach what is attached");
    check_class(MPI_Win_attach(win, origin, -8), MPI_ERR_SIZE,
                "attach a negative number of bytes");
    check_mpi(MPI_Win_attach(win, inside, 0), "attach 0 bytes");
    check_mpi(MPI_Win_detach(win, inside), "detach 0 bytes");
    check_class(MPI_Win_detach(win, inside), MPI_ERR_BASE,
                "detach what is not attached");
}

/*
 * Parts of no bytes
 */

/* Odd ranks have no bytes. Return the window's memory. */
static uint64_t *open_halves(const char *path, int first)
{
    MPI_Aint bytes = (check_rank % 2 == first) ? SIZE : 0;
    char name[PATH_MAX];
    uint64_t *base;
    MPI_Info info;

    snprintf(name, sizeof(name), "%s%s", path,
             window_is(&window, "own") ? ".%r" : "");
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", name);
    if (window_is(&window, "shared")) {
        check_mpi(MPI_Win_allocate_shared(bytes, 8, info, MPI_COMM_WORLD,
                                          &base, &win), "allocate_shared");
    } else {
        check_mpi(MPI_Win_allocate(bytes, 8, info, MPI_COMM_WORLD, &base,
                                   &win), "allocate");
    }
    MPI_Info_free(&info);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    return base;
}

/* The place of a part of no bytes is where the part before it ends */
static void test_half_query(int first)
{
    MPI_Aint bytes, none;
    char *base, *other;
    int rank, unit;

    check_mpi(MPI_Win_shared_query(win, MPI_PROC_NULL, &bytes, &unit, &base),
              "shared_query of the first");
    check((bytes == SIZE) && (base != NULL) && (unit == 8),
          "the first part with memory has %ld bytes at %p", bytes,
          (void*)base);
    check_mpi(MPI_Win_shared_query(win, first, &bytes, &unit, &other),
              "shared_query");
    check(other == base, "the first part with memory is at %p, not %p",
          (void*)base, (void*)other);
    for (rank = 0; rank < check_size; ++rank) {
        check_mpi(MPI_Win_shared_query(win, rank, &none, &unit, &other),
                  "shared_query of any part");
        check(none == ((rank % 2 == first) ? SIZE : 0),
              "part %d has %ld bytes", rank, none);
        check(!window_is(&window, "shared") ||
                      (other == base + (rank + 1 - first) / 2 * SIZE),
              "part %d is at %p, and the first at %p", rank, (void*)other,
              (void*)base);
    }
}

static void test_halves(const char *path, int first)
{
    uint64_t *base = open_halves(path, first);
    place_t at     = {.type = MPI_UINT64_T};

    if (check_rank % 2 == first) {
        fill(base, WORDS);
    } else {
        fill(NULL, 0);
    }
    if (is_one_node()) {
        test_half_query(first);
    }
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    for (at.target = 1 - first; at.target < check_size; at.target += 2) {
        at.count = 0;
        all_return(MPI_SUCCESS, 1, "0 bytes at a part of 0 bytes", &at);
        at.count = 1;
        all_return(MPI_ERR_RMA_RANGE, 0, "8 bytes at a part of 0 bytes", &at);
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    check_unchanged(base, (check_rank % 2 == first) ? WORDS : 0,
                    "parts of 0 bytes");
    check_mpi(MPI_Win_free(&win), "free");
}

/* Parts that are apart have no place if they have no bytes */
static void test_apart(const char *path)
{
    MPI_Aint bytes = (check_rank % 2 == 0) ? SIZE : 0;
    char *base, *other;
    MPI_Info info;
    int rank, unit;

    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    MPI_Info_set(info, "alloc_shared_noncontig", "true");
    check_mpi(MPI_Win_allocate_shared(bytes, 8, info, MPI_COMM_WORLD, &base,
                                      &win), "allocate_shared");
    MPI_Info_free(&info);
    check((base == NULL) == (bytes == 0), "%ld bytes that are apart are at %p",
          bytes, (void*)base);
    for (rank = 0; rank < check_size; ++rank) {
        check_mpi(MPI_Win_shared_query(win, rank, &bytes, &unit, &other),
                  "shared_query of what is apart");
        check(bytes == ((rank % 2 == 0) ? SIZE : 0),
              "part %d has %ld bytes", rank, bytes);
        check((other == NULL) == (bytes == 0), "part %d, %ld bytes, is at %p",
              rank, bytes, (void*)other);
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Put(origin, 0, MPI_UINT64_T, (check_rank | 1) % check_size, 0,
                      0, MPI_UINT64_T, win), "put 0 bytes");
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Win_free(&win), "free");
}

/*
 * MPI_Win_shared_query() of any window
 */

/* Return whether the memory of a rank is in this process */
static int query(int rank, uint64_t **words_p)
{
    MPI_Aint bytes;
    int unit;

    check_mpi(MPI_Win_shared_query(win, rank, &bytes, &unit, words_p),
              "shared_query");
    check((bytes == 0) == (*words_p == NULL), "%ld bytes at %p", bytes,
          (void*)*words_p);
    check((bytes == 0) || ((bytes == SIZE) && (unit == 8)), "%ld bytes, unit "
          "%d", bytes, unit);
    return bytes > 0;
}

static void test_query(void)
{
    uint64_t *words = (uint64_t*)window.base, *own, *theirs;
    int here;

    check(query(check_rank, &own) && (own == words), "this rank's own memory "
          "is at %p, not %p", (void*)own, (void*)words);
    here = query(right, &theirs);
    check(here || !is_one_node(), "rank %d is on this node, and not in this "
          "process", right);
    check(query(MPI_PROC_NULL, &own), "no rank has memory");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    if (here) {
        theirs[5] = 500 + (uint64_t)check_rank;
    }
    check_mpi(MPI_Win_sync(win), "sync");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_sync(win), "sync");
    check((words[5] == 500 + (uint64_t)left) || !is_one_node(),
          "rank %d stored %lu", left, words[5]);
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
}

/* Who stores through the query hears of a revoke, once */
static void test_query_revoked(const char *path, const char *intrude)
{
    char file[PATH_MAX], copy[PATH_MAX + 8], text[MPI_MAX_ERROR_STRING];
    char *argv[] = {(char*)intrude, file, copy, NULL};
    uint64_t *theirs;
    int length, ret, status;
    pid_t pid;

    if (!window_is(&window, "own") || !is_one_node() || (check_size < 2)) {
        return;
    }
    query(0, &theirs);
    snprintf(file, sizeof(file), "%s.0", path);
    snprintf(copy, sizeof(copy), "%s.copy", file);
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        check((posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0) &&
                      (waitpid(pid, &status, 0) == pid) && (status == 0),
              "the intruder failed");
        unlink(copy);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    theirs[9] = 1;
    ret = MPI_Win_fence(0, win);
    check(ret != MPI_SUCCESS, "a fence after a store to a revoked file");
    MPI_Error_string(ret, text, &length);
    check(strstr(text, "MPIX_ERR_DAXPIN_REVOKED: target rank 0: ") == text,
          "the error is %s", text);
    check((check_rank == 0) ||
                  (MPI_Win_fence(MPI_MODE_NOSUCCEED, win) == MPI_SUCCESS),
          "the error comes twice");
    if (check_rank == 0) {
        (void)MPI_Win_fence(MPI_MODE_NOSUCCEED, win);
    }
}

/*
 * All
 */

static void test_wrong(void)
{
    uint64_t *words = (uint64_t*)window.base;

    fill(words, WORDS);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    test_nothing();
    test_targets();
    test_displacements();
    test_extents();
    test_types();
    test_lengths();
    test_bottom();
    test_operations();
    test_flavors();
    test_attach();
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    if (is_one_node() || !window_is(&window, "dynamic")) {
        check_unchanged(words, WORDS, "wrong calls");
    } /* else what is in the window is moved, before the error */
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];

    check_init(&argc, &argv);
    check(argc == 4, "usage: corners KIND PATH INTRUDE");
    right  = (check_rank + 1) % check_size;
    left   = (check_rank + check_size - 1) % check_size;
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 8, .info = MPI_INFO_NULL};
    memset(origin, 1, sizeof(origin));
    check_mpi(window_open(&window), "window");
    win = window.win;
    test_wrong();
    if (!window_is(&window, "dynamic")) {
        test_query();
    }
    test_query_revoked(argv[2], argv[3]);
    (void)MPI_Win_free(&window.win);
    if (!window_is_mapped(&window)) {
        snprintf(path, sizeof(path), "%s.half", argv[2]);
        test_halves(path, 0);
        if (check_size > 1) {
            test_halves(path, 1);
        }
        if (window_is(&window, "shared") && is_one_node()) {
            test_apart(path);
        }
    }
    MPI_Finalize();
    return 0;
}
