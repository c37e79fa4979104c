/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Every call of MPI's one-sided interface on a window, in every kind of epoch.
 * Then the file must have what was stored.
 *
 * usage: calls KIND PATH, as in window.h
 */

#define _GNU_SOURCE

#include "window.h"

#include <daxpin_mpi.h>
#include <stdint.h>
#include <sys/stat.h>

#define SIZE (256 * 1024)
#define WORDS (SIZE / 8)

static window_t window;
static uint64_t *words; /* this rank's memory */
static MPI_Win win;
static int left, right;

/*
 * Attributes, names, info
 */

static void test_attributes(void)
{
    static const struct {
        const char *kind;
        int        flavor;
    } flavors[] = {
        {"shared", MPI_WIN_FLAVOR_SHARED}, {"create", MPI_WIN_FLAVOR_CREATE},
        {"", MPI_WIN_FLAVOR_ALLOCATE}
    };
    int flavor = 0, *value, flag, i = 0, length, size;
    char name[MPI_MAX_OBJECT_NAME];
    MPI_Group group;
    MPI_Aint *bytes;
    void *base;

    while ((flavors[i].kind[0] != '\0') &&
           (strcmp(flavors[i].kind, window.kind) != 0)) {
        ++i;
    }
    flavor = flavors[i].flavor;
    MPI_Win_get_attr(win, MPI_WIN_BASE, &base, &flag);
    check(flag && (base == window.base), "MPI_WIN_BASE is %p", base);
    MPI_Win_get_attr(win, MPI_WIN_SIZE, &bytes, &flag);
    check(flag && (*bytes == SIZE), "MPI_WIN_SIZE is %ld", (long)*bytes);
    MPI_Win_get_attr(win, MPI_WIN_DISP_UNIT, &value, &flag);
    check(flag && (*value == window.unit), "MPI_WIN_DISP_UNIT is %d", *value);
    MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &value, &flag);
    check(flag && (*value == flavor), "flavor is %d, not %d", *value, flavor);
    MPI_Win_get_attr(win, MPI_WIN_MODEL, &value, &flag);
    check(flag && (*value == MPI_WIN_UNIFIED), "model is %d", *value);
    MPI_Win_set_name(win, "mine");
    MPI_Win_get_name(win, name, &length);
    check(strcmp(name, "mine") == 0, "name is %s", name);
    MPI_Win_get_group(win, &group);
    MPI_Group_size(group, &size);
    check(size == check_size, "group has %d ranks", size);
    MPI_Group_free(&group);
}

/* Check by name, which breaks no lease */
static int is_dax(void)
{
    struct statx stx;

    check(statx(AT_FDCWD, window.file, 0, 0, &stx) == 0, "%s: %m",
          window.file);
    return (stx.stx_attributes & STATX_ATTR_DAX) != 0;
}

static void test_info(void)
{
    char value[MPI_MAX_INFO_VAL + 1] = "";
    MPI_Info info;
    int dax, flag;

    check_mpi(MPI_Win_get_info(win, &info), "MPI_Win_get_info");
    MPI_Info_get(info, "daxpin_path", MPI_MAX_INFO_VAL, value, &flag);
    if (window_is(&window, "none")) {
        check(!flag, "a window without a file has daxpin_path %s", value);
    } else if (!window_is(&window, "dir")) {
        check(flag && (strcmp(value, window.file) == 0),
              "daxpin_path is %s, not %s", value, window.file);
        dax = is_dax();
        MPI_Info_get(info, "daxpin_dax", MPI_MAX_INFO_VAL, value, &flag);
        check(flag && (strcmp(value, dax ? "true" : "false") == 0),
              "daxpin_dax is %s", value);
        MPI_Info_get(info, "daxpin_granularity", MPI_MAX_INFO_VAL, value,
                     &flag);
        check(flag && ((strcmp(value, "page") == 0) == !dax),
              "daxpin_granularity is %s", value);
        MPI_Info_get(info, "daxpin_locks", MPI_MAX_INFO_VAL, value, &flag);
        check(flag && (strcmp(value, dax ? "lease,hold" : "lease") == 0),
              "daxpin_locks is %s", value);
        MPI_Info_get(info, "daxpin_file_system", MPI_MAX_INFO_VAL, value,
                     &flag);
        check(flag && (value[0] != '\0'), "no daxpin_file_system");
    }
    MPI_Info_free(&info);

    /* A change of the info reaches the inner window */
    MPI_Info_create(&info);
    MPI_Info_set(info, "no_locks", "false");
    check_mpi(MPI_Win_set_info(win, info), "MPI_Win_set_info");
    MPI_Info_free(&info);
}

static void test_header(void)
{
    daxpin_file_t *file = NULL;
    MPI_Aint offset     = -1;
    char cause[256], text[MPI_MAX_ERROR_STRING];
    int class, length;

    if (window_is(&window, "none")) {
        check(daxpin_mpi_file(win, &file, &offset) == MPI_ERR_WIN,
              "daxpin_mpi_file of another window");
        return;
    }
    check_mpi(daxpin_mpi_file(win, &file, &offset), "daxpin_mpi_file");
    check((file != NULL) && (window_is(&window, "dir") ||
                             (offset == window.offset)),
          "daxpin_mpi_file returns %p, offset %ld", (void*)file, (long)offset);
    check_mpi(daxpin_mpi_cause(win, right, cause, sizeof(cause)), "cause");
    check(cause[0] == '\0', "there is a cause: %s", cause);
    check_mpi(daxpin_mpi_persist(win, 4096, 8192), "daxpin_mpi_persist");
    check_class(daxpin_mpi_persist(win, check_rank ? 0 : SIZE, 1),
                check_rank ? MPI_ERR_OTHER : MPI_ERR_RMA_RANGE,
                "daxpin_mpi_persist behind the end of a segment");
    check_mpi(daxpin_mpi_error_class(win, &class), "error class");
    MPI_Error_string(class, text, &length);
    check(strcmp(text, "MPIX_ERR_DAXPIN_REVOKED") == 0, "class is %s", text);
}

/*
 * Epochs around one function that accesses a target
 */

typedef void (*access_func_t)(int target, void *arg);

static void in_fence(access_func_t func, void *arg)
{
    check_mpi(MPI_Win_fence(MPI_MODE_NOPRECEDE, win), "fence");
    func(right, arg);
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
}

static void in_start(access_func_t func, void *arg)
{
    MPI_Group all, from, to;
    int flag = 0;

    MPI_Win_get_group(win, &all);
    MPI_Group_incl(all, 1, &left, &from);
    MPI_Group_incl(all, 1, &right, &to);
    check_mpi(MPI_Win_post(from, 0, win), "post");
    check_mpi(MPI_Win_start(to, 0, win), "start");
    func(right, arg);
    check_mpi(MPI_Win_complete(win), "complete");
    if (check_rank % 2) {
        check_mpi(MPI_Win_wait(win), "wait");
    } else {
        while (!flag) {
            check_mpi(MPI_Win_test(win, &flag), "test");
        }
    }
    MPI_Group_free(&all);
    MPI_Group_free(&from);
    MPI_Group_free(&to);
}

static void in_lock(int type, access_func_t func, void *arg)
{
    check_mpi(MPI_Win_lock(type, right, 0, win), "lock");
    func(right, arg);
    check_mpi(MPI_Win_flush_local(right, win), "flush_local");
    check_mpi(MPI_Win_flush(right, win), "flush");
    check_mpi(MPI_Win_unlock(right, win), "unlock");
    MPI_Barrier(MPI_COMM_WORLD);
}

static void in_lock_exclusive(access_func_t func, void *arg)
{
    in_lock(MPI_LOCK_EXCLUSIVE, func, arg);
}

static void in_lock_shared(access_func_t func, void *arg)
{
    in_lock(MPI_LOCK_SHARED, func, arg);
}

static void in_lock_all(access_func_t func, void *arg)
{
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    func(right, arg);
    check_mpi(MPI_Win_flush_local_all(win), "flush_local_all");
    check_mpi(MPI_Win_flush_all(win), "flush_all");
    check_mpi(MPI_Win_sync(win), "sync");
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
}

typedef void (*epoch_func_t)(access_func_t func, void *arg);

static const epoch_func_t epochs[] = {
    in_fence, in_start, in_lock_exclusive, in_lock_shared, in_lock_all
};
static const char *epoch_names[] = {
    "fence", "start", "lock exclusive", "lock shared", "lock_all"
};
#define EPOCHS (sizeof(epochs) / sizeof(epochs[0]))

/*
 * Put and get
 */

static uint64_t buffer[WORDS], buffer2[WORDS];
static size_t amount; /* words */

static void fill(uint64_t *words_p, size_t count, int rank, int seed)
{
    size_t i;

    for (i = 0; i < count; ++i) {
        words_p[i] = ((uint64_t)(rank + 1) << 48) + ((uint64_t)seed << 32) + i;
    }
}

static void check_fill(const uint64_t *words_p, size_t count, int rank,
                       int seed, const char *what)
{
    size_t i;

    for (i = 0; i < count; ++i) {
        check(words_p[i] == ((uint64_t)(rank + 1) << 48) +
                                    ((uint64_t)seed << 32) + i,
              "%s: word %zu of %zu is %lx", what, i, count, words_p[i]);
    }
}

static void do_put(int target, void *arg)
{
    check_mpi(MPI_Put(buffer, (int)amount, MPI_UINT64_T, target, 8,
                      (int)amount, MPI_UINT64_T, win), "put");
}

static void do_rput(int target, void *arg)
{
    MPI_Request request;

    check_mpi(MPI_Rput(buffer, (int)amount, MPI_UINT64_T, target, 8,
                       (int)amount, MPI_UINT64_T, win, &request), "rput");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait for rput");
}

static void do_get(int target, void *arg)
{
    check_mpi(MPI_Get(buffer2, (int)amount, MPI_UINT64_T, target, 8,
                      (int)amount, MPI_UINT64_T, win), "get");
}

static void do_rget(int target, void *arg)
{
    MPI_Request request;

    check_mpi(MPI_Rget(buffer2, (int)amount, MPI_UINT64_T, target, 8,
                       (int)amount, MPI_UINT64_T, win, &request), "rget");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait for rget");
    check_fill(buffer2, amount, right, 7, "rget");
}

static void test_put_get(void)
{
    static const size_t amounts[] = {0, 1, 2, 513, WORDS - 16};
    unsigned epoch, i;
    int seed = 1;

    for (epoch = 0; epoch < EPOCHS; ++epoch) {
        for (i = 0; i < sizeof(amounts) / sizeof(amounts[0]); ++i) {
            amount = amounts[i];
            fill(buffer, amount, check_rank, ++seed);
            MPI_Barrier(MPI_COMM_WORLD);
            epochs[epoch](do_put, NULL);
            check_fill(words + 8, amount, left, seed, epoch_names[epoch]);
            MPI_Barrier(MPI_COMM_WORLD);
            fill(words + 8, amount, check_rank, 7);
            memset(buffer2, 0, sizeof(buffer2));
            MPI_Barrier(MPI_COMM_WORLD);
            epochs[epoch](do_get, NULL);
            check_fill(buffer2, amount, right, 7, epoch_names[epoch]);
            MPI_Barrier(MPI_COMM_WORLD);
        }
    }
    amount = 100;
    fill(buffer, amount, check_rank, 7);
    in_lock_all(do_rput, NULL);
    check_fill(words + 8, amount, left, 7, "rput");
    fill(words + 8, amount, check_rank, 7);
    MPI_Barrier(MPI_COMM_WORLD);
    in_lock_all(do_rget, NULL);
}

/*
 * Derived types
 */

static void test_derived(void)
{
    MPI_Datatype vector, indexed;
    int lengths[] = {1, 3, 2}, where[] = {9, 2, 5};
    int i;

    MPI_Type_vector(10, 2, 5, MPI_UINT64_T, &vector);
    MPI_Type_commit(&vector);
    MPI_Type_indexed(3, lengths, where, MPI_UINT64_T, &indexed);
    MPI_Type_commit(&indexed);

    memset(words, 0, 1024);
    fill(buffer, 20, check_rank, 3);
    MPI_Win_fence(0, win);
    MPI_Put(buffer, 20, MPI_UINT64_T, right, 4, 1, vector, win);
    MPI_Win_fence(0, win);
    for (i = 0; i < 50; ++i) {
        uint64_t want = (i % 5 < 2) ? ((uint64_t)(left + 1) << 48) +
                                      (3ull << 32) + (i / 5 * 2 + i % 5) : 0;
        check(words[4 + i] == want, "vector: word %d is %lx", i, words[4 + i]);
    }
    MPI_Win_fence(0, win);
    memset(buffer2, 0, 1024);
    MPI_Get(buffer2, 20, MPI_UINT64_T, right, 4, 1, vector, win);
    MPI_Win_fence(0, win);
    check_fill(buffer2, 20, check_rank, 3, "get of a vector");

    fill(buffer, 16, check_rank, 4);
    memset(words, 0, 1024);
    MPI_Win_fence(0, win);
    MPI_Put(buffer, 1, indexed, right, 0, 1, indexed, win);
    MPI_Win_fence(0, win);
    for (i = 0; i < 12; ++i) {
        int in = (i == 9) || ((i >= 2) && (i < 7));
        check(words[i] == (in ? ((uint64_t)(left + 1) << 48) + (4ull << 32) +
                                i : 0), "indexed: word %d is %lx", i, words[i]);
    }
    MPI_Win_fence(0, win);
    MPI_Type_free(&vector);
    MPI_Type_free(&indexed);
}

/*
 * Wrong calls
 */

static void test_wrong(void)
{
    uint64_t value = 1;

    if (window_is(&window, "none")) {
        return; /* daxpin does not check it */
    }
    MPI_Win_fence(MPI_MODE_NOSUCCEED, win);
    check_class(MPI_Put(&value, 1, MPI_UINT64_T, right, 0, 1, MPI_UINT64_T,
                        win), MPI_ERR_RMA_SYNC, "put outside of an epoch");
    check_class(MPI_Win_unlock(right, win), MPI_ERR_RMA_SYNC,
                "unlock without lock");
    check_class(MPI_Win_flush(right, win), MPI_ERR_RMA_SYNC,
                "flush without lock");
    check_class(MPI_Win_flush_local_all(win), MPI_ERR_RMA_SYNC,
                "flush_local_all without lock");
    check_mpi(MPI_Win_sync(win), "sync outside of an epoch");
#ifndef MPI_ABI_VERSION /* libmpi_abi of Open MPI 6.0.0rc2 takes it for a rank */
    check_mpi(MPI_Win_flush(MPI_PROC_NULL, win), "flush of MPI_PROC_NULL");
    check_mpi(MPI_Win_flush_local(MPI_PROC_NULL, win),
              "flush_local of MPI_PROC_NULL");
#endif
    check_class(MPI_Win_flush(check_size, win), MPI_ERR_RANK,
                "flush of no rank");
    check_class(MPI_Win_flush_local(-7, win), MPI_ERR_RANK,
                "flush_local of no rank");
    MPI_Win_fence(MPI_MODE_NOPRECEDE, win);
    check_mpi(MPI_Win_sync(win), "sync between fences");
    MPI_Win_fence(MPI_MODE_NOSUCCEED, win);
    MPI_Win_lock_all(0, win);
    check_class(MPI_Put(&value, 1, MPI_UINT64_T, right, WORDS, 1, MPI_UINT64_T,
                        win), MPI_ERR_RMA_RANGE, "put behind the end");
    check_class(MPI_Accumulate(&value, 1, MPI_UINT64_T, right, WORDS, 1,
                               MPI_UINT64_T, MPI_SUM, win), MPI_ERR_RMA_RANGE,
                "accumulate behind the end");
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, MPI_PROC_NULL, 0, 1,
                      MPI_UINT64_T, win), "put to MPI_PROC_NULL");
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
}

/*
 * What only shared windows have
 */

static void test_shared(void)
{
    uint64_t *peer;
    MPI_Aint size;
    int unit;

    if (!window_is(&window, "shared")) {
        return; /* see corners.c */
    }
    check_mpi(MPI_Win_shared_query(win, right, &size, &unit, &peer),
              "shared_query");
    check((size == SIZE) && (unit == 8), "shared_query returns %ld bytes, %d",
          (long)size, unit);
    check((check_rank == check_size - 1) || ((char*)peer == window.base + SIZE),
          "rank %d's memory is not behind this one's", right);
    MPI_Win_lock_all(0, win);
    peer[3] = 1000 + check_rank;
    check_mpi(MPI_Win_sync(win), "sync");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_sync(win), "sync");
    check(words[3] == 1000 + (uint64_t)left, "a peer's store: %lu", words[3]);
    MPI_Win_unlock_all(win);
    check_mpi(MPI_Win_shared_query(win, MPI_PROC_NULL, &size, &unit, &peer),
              "shared_query of the first");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* The last content is in the file, and in the next window over it */
static void test_file(void)
{
    if (window_is(&window, "dir") || window_is(&window, "none")) {
        window_close(&window);
        return;
    }
    fill(words, WORDS, check_rank, 99);
    MPI_Win_fence(0, win);
    window_close(&window);
    MPI_Barrier(MPI_COMM_WORLD);
    window_read(&window, buffer);
    check_fill(buffer, WORDS, check_rank, 99, "file");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(window_open(&window), "another window");
    check_fill((uint64_t*)window.base, WORDS, check_rank, 99, "window");
    window_close(&window);
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    check(argc == 3, "usage: calls KIND PATH");
    right  = (check_rank + 1) % check_size;
    left   = (check_rank + check_size - 1) % check_size;
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 8, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    words = (uint64_t*)window.base;
    win   = window.win;

    test_attributes();
    test_info();
    test_header();
    test_put_get();
    test_derived();
    test_wrong();
    test_shared();
    test_file();
    MPI_Finalize();
    return 0;
}
