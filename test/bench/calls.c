/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time calls of MPI's one-sided interface from rank 0 to rank 1 */

/*
 * usage: calls WINDOW-FILE|- [OTHER-FILE]; rank 0 prints lines of CALL BYTES NS
 *
 * Each call includes a flush, on a window of MPI_Win_allocate(). For
 * comparison, the same bytes are written by MPI_File_write_at() and
 * MPI_File_sync().
 */

#define _GNU_SOURCE

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "stats.h"

#define LENGTH    (1024 * 1024)
#define ROUNDS    21
#define ROUND_SEC 2e-3 /* about */

static char buffer[LENGTH], result[LENGTH];
static MPI_Win win;
static MPI_File file;

typedef void (*call_func_t)(int bytes);

static void call_put(int bytes)
{
    MPI_Put(buffer, bytes, MPI_BYTE, 1, 0, bytes, MPI_BYTE, win);
    MPI_Win_flush(1, win);
}

static void call_get(int bytes)
{
    MPI_Get(result, bytes, MPI_BYTE, 1, 0, bytes, MPI_BYTE, win);
    MPI_Win_flush(1, win);
}

static void call_accumulate(int bytes)
{
    MPI_Accumulate(buffer, bytes / 8, MPI_INT64_T, 1, 0, bytes / 8,
                   MPI_INT64_T, MPI_SUM, win);
    MPI_Win_flush(1, win);
}

static void call_fetch_and_op(int bytes)
{
    MPI_Fetch_and_op(buffer, result, MPI_INT64_T, 1, 0, MPI_SUM, win);
    MPI_Win_flush(1, win);
}

static void call_flush(int bytes)
{
    MPI_Win_flush(1, win);
}

static void call_write(int bytes)
{
    MPI_File_write_at(file, 0, buffer, bytes, MPI_BYTE, MPI_STATUS_IGNORE);
    MPI_File_sync(file);
}

static double ns_of(call_func_t func, int bytes, int count)
{
    double start = now();
    int i;

    for (i = 0; i < count; ++i) {
        func(bytes);
    }
    return (now() - start) * 1e9 / count;
}

static void measure(const char *name, call_func_t func, int bytes)
{
    double ns[ROUNDS];
    int count, i;

    count = (int)(ROUND_SEC * 1e9 / ns_of(func, bytes, 10)) + 1;
    for (i = 0; i < ROUNDS; ++i) {
        ns[i] = ns_of(func, bytes, count);
    }
    printf("%s %d %.1f\n", name, bytes, median(ns, ROUNDS));
}

static void measure_all(void)
{
    static const int sizes[] = {8, 512, 4096, 65536, LENGTH};
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        measure("put", call_put, sizes[i]);
        measure("get", call_get, sizes[i]);
        measure("accumulate", call_accumulate, sizes[i]);
        if (file != MPI_FILE_NULL) {
            measure("write", call_write, sizes[i]);
        }
    }
    measure("fetch_and_op", call_fetch_and_op, 0);
    measure("flush", call_flush, 0);
}

/* Called by both ranks, which fence the same number of times */
static void measure_fence(int rank)
{
    double ns[ROUNDS], start;
    int i, j;

    for (i = 0; i < ROUNDS; ++i) {
        start = now();
        for (j = 0; j < 200; ++j) {
            MPI_Win_fence(0, win);
        }
        ns[i] = (now() - start) * 1e9 / 200;
    }
    if (rank == 0) {
        printf("fence 0 %.1f\n", median(ns, ROUNDS));
    }
}

int main(int argc, char **argv)
{
    MPI_Info info;
    void *base;
    int rank;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc < 2) {
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    MPI_Info_create(&info);
    if (strcmp(argv[1], "-") != 0) {
        MPI_Info_set(info, "daxpin_path", argv[1]);
    }
    MPI_Win_allocate(LENGTH, 1, info, MPI_COMM_WORLD, &base, &win);
    memset(base, 0, LENGTH);
    file = MPI_FILE_NULL;
    if ((argc > 2) && (rank == 0)) {
        MPI_File_open(MPI_COMM_SELF, argv[2],
                      MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file);
    }
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Win_lock_all(0, win);
    if (rank == 0) {
        measure_all();
    }
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    measure_fence(rank);

    if (file != MPI_FILE_NULL) {
        MPI_File_close(&file);
    }
    MPI_Win_free(&win);
    MPI_Info_free(&info);
    MPI_Finalize();
    return 0;
}
