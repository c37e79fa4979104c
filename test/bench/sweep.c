/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time calls of MPI's one-sided interface over all sizes, for a report */

/*
 * usage: sweep KIND FILE [OTHER]; rank 0 prints lines of CALL BYTES NS
 *   KIND  path      MPI_Win_allocate with FILE as its daxpin_path
 *         durable   the same, with daxpin_persist=flush; puts only
 *         synced    the same, with daxpin_persist=sync; rank 0 stores to its own
 *                   memory, and calls MPI_Win_sync() instead of a flush
 *         create    MPI_Win_create over a mapping of FILE
 *         allocate  MPI_Win_allocate
 *   OTHER a file for MPI_File_write_at() and MPI_File_sync(): the call "write".
 *         With it, rank 0 times "memcpy" to its own memory, too
 *
 * Rank 0 calls, rank 1 is the target. A call on bytes includes a flush. NS is a
 * median. Calls without a size have 0 bytes.
 */

#define _GNU_SOURCE

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "side.h"
#include "stats.h"

#define LENGTH     (64l << 20)
#define ROUNDS     15
#define ROUND_SEC  2e-3 /* about, if a call takes less */
#define CALL_SEC   0.5  /* the greatest for all rounds but three */
#define EPOCHS     200  /* of a round */
#define WINDOWS    20   /* made and freed */

static const long sizes[] = {8,       64,      512,      4096,    32768,
                             1 << 18, 1 << 21, 16 << 20, 64 << 20};

static char *buffer, *result, *own;
static const char *kind, *path;
static MPI_Win win;
static MPI_File file = MPI_FILE_NULL;
static int rank;

typedef void (*call_func_t)(long bytes);

static int is(const char *name)
{
    return strcmp(kind, name) == 0;
}

static void call_put(long bytes)
{
    MPI_Put(buffer, (int)bytes, MPI_BYTE, 1, 0, (int)bytes, MPI_BYTE, win);
    MPI_Win_flush(1, win);
}

static void call_store(long bytes)
{
    memcpy(own, buffer, (size_t)bytes);
    MPI_Win_sync(win);
}

static void call_get(long bytes)
{
    MPI_Get(result, (int)bytes, MPI_BYTE, 1, 0, (int)bytes, MPI_BYTE, win);
    MPI_Win_flush(1, win);
}

static void call_accumulate(long bytes)
{
    MPI_Accumulate(buffer, (int)(bytes / 8), MPI_INT64_T, 1, 0,
                   (int)(bytes / 8), MPI_INT64_T, MPI_SUM, win);
    MPI_Win_flush(1, win);
}

static void call_fetch_and_op(long bytes)
{
    (void)bytes;
    MPI_Fetch_and_op(buffer, result, MPI_INT64_T, 1, 0, MPI_SUM, win);
    MPI_Win_flush(1, win);
}

static void call_compare_and_swap(long bytes)
{
    (void)bytes;
    MPI_Compare_and_swap(buffer, buffer + 8, result, MPI_INT64_T, 1, 0, win);
    MPI_Win_flush(1, win);
}

static void call_flush(long bytes)
{
    (void)bytes;
    MPI_Win_flush(1, win);
}

static void call_lock(long bytes)
{
    (void)bytes;
    MPI_Win_lock(MPI_LOCK_SHARED, 1, 0, win);
    MPI_Win_unlock(1, win);
}

static void call_write(long bytes)
{
    MPI_File_write_at(file, 0, buffer, (int)bytes, MPI_BYTE,
                      MPI_STATUS_IGNORE);
    MPI_File_sync(file);
}

/* The compiler must not leave the copy out */
static void call_memcpy(long bytes)
{
    memcpy(result, buffer, (size_t)bytes);
    __asm__ volatile("" : : "r"(result) : "memory");
}

static double ns_of(call_func_t func, long bytes, int count)
{
    double start = now();
    int i;

    for (i = 0; i < count; ++i) {
        func(bytes);
    }
    return (now() - start) * 1e9 / count;
}

static void measure(const char *name, call_func_t func, long bytes)
{
    double ns[ROUNDS], start = now();
    int count, i;

    count = (int)(ROUND_SEC * 1e9 / ns_of(func, bytes, 2)) + 1;
    for (i = 0; (i < ROUNDS) && ((i < 3) || (now() - start < CALL_SEC)); ++i) {
        ns[i] = ns_of(func, bytes, count);
    }
    printf("%s %ld %.1f\n", name, bytes, median(ns, i));
}

static void measure_sizes(const char *name, call_func_t func)
{
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        measure(name, func, sizes[i]);
    }
}

static void epoch_fence(MPI_Group other)
{
    (void)other;
    MPI_Win_fence(0, win);
}

static void epoch_pscw(MPI_Group other)
{
    if (rank == 0) {
        MPI_Win_start(other, 0, win);
        MPI_Win_complete(win);
    } else {
        MPI_Win_post(other, 0, win);
        MPI_Win_wait(win);
    }
}

/* Time epochs without any call, by both ranks */
static void measure_epoch(const char *name, void (*epoch)(MPI_Group other))
{
    MPI_Group world, other;
    const int peer = 1 - rank;
    double ns[ROUNDS], start;
    int i, j;

    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, 1, &peer, &other);
    for (i = 0; i < ROUNDS; ++i) {
        MPI_Barrier(MPI_COMM_WORLD);
        start = now();
        for (j = 0; j < EPOCHS; ++j) {
            epoch(other);
        }
        ns[i] = (now() - start) * 1e9 / EPOCHS;
    }
    if (rank == 0) {
        printf("%s 0 %.1f\n", name, median(ns, ROUNDS));
    }
    MPI_Group_free(&other);
    MPI_Group_free(&world);
}

static void *open_window(const char *name, long length, MPI_Win *win_p)
{
    char mine[4096];
    MPI_Info info;
    void *base;

    if (is("create")) {
        snprintf(mine, sizeof(mine), "%s.%d", name, rank);
        base = map_file(mine, (size_t)length);
        MPI_Win_create(base, length, 1, MPI_INFO_NULL, MPI_COMM_WORLD, win_p);
        return base;
    }
    MPI_Info_create(&info);
    if (!is("allocate")) {
        snprintf(mine, sizeof(mine), "%s.%%r", name);
        MPI_Info_set(info, "daxpin_path", mine);
        MPI_Info_set(info, "daxpin_persist", is("durable") ? "flush" :
                                             is("synced")  ? "sync" : "none");
    }
    MPI_Win_allocate(length, 1, info, MPI_COMM_WORLD, &base, win_p);
    MPI_Info_free(&info);
    return base;
}

/* Time a window and its end. The next window has the same file. */
static void measure_windows(void)
{
    double ns[WINDOWS], start;
    char name[4096];
    MPI_Win other;
    int i;

    snprintf(name, sizeof(name), "%s.made", path);
    for (i = 0; i < WINDOWS; ++i) {
        MPI_Barrier(MPI_COMM_WORLD);
        start = now();
        open_window(name, 65536, &other);
        MPI_Win_free(&other);
        ns[i] = (now() - start) * 1e9;
    }
    if (rank == 0) {
        printf("window 0 %.1f\n", median(ns, WINDOWS));
    }
}

/* Return whether it is about puts alone */
static int is_short(void)
{
    return is("durable") || is("synced");
}

static void measure_calls(void)
{
    measure_sizes("put", is("synced") ? call_store : call_put);
    if (is_short()) {
        return;
    }
    measure_sizes("get", call_get);
    measure_sizes("accumulate", call_accumulate);
    measure("fetch_and_op", call_fetch_and_op, 0);
    measure("compare_and_swap", call_compare_and_swap, 0);
    measure("flush", call_flush, 0);
}

static void measure_others(const char *name)
{
    measure_sizes("memcpy", call_memcpy);
    if (MPI_File_open(MPI_COMM_SELF, name, MPI_MODE_CREATE | MPI_MODE_RDWR,
                      MPI_INFO_NULL, &file) == MPI_SUCCESS) {
        measure_sizes("write", call_write);
        MPI_File_close(&file);
    }
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc < 3) {
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    kind   = argv[1];
    path   = argv[2];
    buffer = malloc(LENGTH);
    result = malloc(LENGTH);
    memset(buffer, 1, LENGTH);
    memset(result, 0, LENGTH);
    own = open_window(path, LENGTH, &win);
    memset(own, 0, LENGTH);
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Win_lock_all(0, win);
    if (rank == 0) {
        measure_calls();
    }
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    if (!is_short()) {
        if (rank == 0) {
            measure("lock", call_lock, 0);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        measure_epoch("fence", epoch_fence);
        measure_epoch("pscw", epoch_pscw);
        measure_windows();
    }
    if ((argc > 3) && (rank == 0)) {
        measure_others(argv[3]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_free(&win);
    MPI_Finalize();
    return 0;
}
