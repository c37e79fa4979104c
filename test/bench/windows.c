/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time MPI_Put and flush on a window over a file and on anonymous memory */

/*
 * usage: windows FILE [BYTES [COUNT]]; rank 0 prints: FILE_NS ANONYMOUS_NS
 *   BYTES of each put, 8; COUNT of puts in a turn, 2000
 *
 * Rank 0 puts to rank 1, in turns.
 */

#define _GNU_SOURCE

#include <mpi.h>

#include "side.h"
#include "stats.h"

#define LENGTH 65536
#define ROUNDS 101

static int bytes = 8;
static int count = 2000;

static double put_ns(MPI_Win win)
{
    static char buffer[LENGTH];
    double start = now();
    int i;

    for (i = 0; i < count; ++i) {
        MPI_Put(buffer, bytes, MPI_BYTE, 1, 0, bytes, MPI_BYTE, win);
        MPI_Win_flush(1, win);
    }
    return (now() - start) * 1e9 / count;
}

int main(int argc, char **argv)
{
    double file_ns[ROUNDS], anonymous_ns[ROUNDS];
    MPI_Win file, anonymous;
    char path[4096];
    void *base;
    int rank, i;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc < 2) {
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    bytes = (argc > 2) ? atoi(argv[2]) : bytes;
    count = (argc > 3) ? atoi(argv[3]) : count;
    if ((bytes < 1) || (bytes > LENGTH) || (count < 1)) {
        MPI_Abort(MPI_COMM_WORLD, 2);
    }

    snprintf(path, sizeof(path), "%s.%d", argv[1], rank);
    MPI_Win_create(map_file(path, LENGTH), LENGTH, 1, MPI_INFO_NULL,
                   MPI_COMM_WORLD, &file);
    MPI_Win_allocate(LENGTH, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                     &anonymous);
    MPI_Win_lock_all(0, file);
    MPI_Win_lock_all(0, anonymous);
    if (rank == 0) {
        put_ns(file);
        put_ns(anonymous);
        for (i = 0; i < ROUNDS; ++i) {
            file_ns[i]      = put_ns(file);
            anonymous_ns[i] = put_ns(anonymous);
        }
        printf("%.1f %.1f\n", median(file_ns, ROUNDS),
               median(anonymous_ns, ROUNDS));
    }
    MPI_Win_unlock_all(anonymous);
    MPI_Win_unlock_all(file);
    MPI_Win_free(&anonymous);
    MPI_Win_free(&file);
    MPI_Finalize();
    return 0;
}
