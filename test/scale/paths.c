/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * One call on 8 bytes, and a flush, again and again
 *
 * usage: paths FILE|- put|fetch_and_op TIMES; 2 ranks, of which rank 0 calls. -: a
 * window in memory
 */

#define _GNU_SOURCE

#include "check.h"

static long one = 1, result;

static void call_put(MPI_Win win)
{
    MPI_Put(&one, 1, MPI_LONG, 1, 0, 1, MPI_LONG, win);
    MPI_Win_flush(1, win);
}

static void call_fetch_and_op(MPI_Win win)
{
    MPI_Fetch_and_op(&one, &result, MPI_LONG, 1, 0, MPI_SUM, win);
    MPI_Win_flush(1, win);
}

static void repeat(void (*call)(MPI_Win), int times, MPI_Win win)
{
    for (; times > 0; --times) {
        call(win);
    }
}

int main(int argc, char **argv)
{
    void (*call)(MPI_Win);
    MPI_Info info;
    long *base;
    int times;
    MPI_Win win;

    check_init(&argc, &argv);
    check((argc == 4) && (check_size == 2),
          "usage: paths FILE|- put|fetch_and_op TIMES");
    call  = (strcmp(argv[2], "put") == 0) ? call_put : call_fetch_and_op;
    times = atoi(argv[3]);
    MPI_Info_create(&info);
    if (strcmp(argv[1], "-") != 0) {
        MPI_Info_set(info, "daxpin_path", argv[1]);
    }
    check_mpi(MPI_Win_allocate(4096, 1, info, MPI_COMM_WORLD, &base, &win),
              "allocate");
    MPI_Info_free(&info);
    *base = 0;
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock_all(0, win);
    if (check_rank == 0) {
        repeat(call, times, win);
    }
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank == 0) || (*base == ((call == call_put) ? 1 : times)),
          "the calls did not arrive");
    MPI_Win_free(&win);
    MPI_Finalize();
    return 0;
}
