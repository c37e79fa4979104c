/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Count the puts and bytes a second of all ranks together */

/*
 * usage: rate KIND FILE; rank 0 prints lines of WHAT RANKS PER_SECOND
 *   KIND  path      MPI_Win_allocate with FILE as its daxpin_path
 *         allocate  MPI_Win_allocate
 *
 * messages  puts of 8 bytes, with a flush after each 100
 * bytes     of puts of 1 MiB, with a flush after each
 *
 * All ranks put at a time, each to the next one. The values are medians.
 */

#define _GNU_SOURCE

#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "stats.h"

#define LENGTH    (1l << 20)
#define ROUNDS    7
#define ROUND_SEC 0.1
#define BATCH     100

static char buffer[LENGTH];
static MPI_Win win;
static int rank, size;

/* Put for a while. Return puts a second of this rank. */
static double put_for_a_while(int bytes, int batch)
{
    const int target = (rank + 1) % size;
    double start, seconds;
    long count = 0;
    int i;

    MPI_Barrier(MPI_COMM_WORLD);
    start = now();
    do {
        for (i = 0; i < batch; ++i) {
            MPI_Put(buffer, bytes, MPI_BYTE, target, 0, bytes, MPI_BYTE, win);
        }
        MPI_Win_flush(target, win);
        count  += batch;
        seconds = now() - start;
    } while (seconds < ROUND_SEC);
    return count / seconds;
}

static void measure(const char *what, int bytes, int batch, double unit)
{
    double all[ROUNDS], own;
    int i;

    for (i = 0; i < ROUNDS; ++i) {
        own = put_for_a_while(bytes, batch);
        MPI_Reduce(&own, &all[i], 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    }
    if (rank == 0) {
        printf("%s %d %.0f\n", what, size, median(all, ROUNDS) * unit);
    }
}

int main(int argc, char **argv)
{
    char name[4096];
    MPI_Info info;
    void *base;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 3) {
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    MPI_Info_create(&info);
    if (strcmp(argv[1], "path") == 0) {
        snprintf(name, sizeof(name), "%s.%%r", argv[2]);
        MPI_Info_set(info, "daxpin_path", name);
        MPI_Info_set(info, "daxpin_persist", "none");
    }
    MPI_Win_allocate(LENGTH, 1, info, MPI_COMM_WORLD, &base, &win);
    MPI_Info_free(&info);
    memset(base, 0, LENGTH);
    MPI_Win_lock_all(0, win);
    measure("messages", 8, BATCH, 1);
    measure("bytes", LENGTH, 1, LENGTH);
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
    MPI_Finalize();
    return 0;
}
