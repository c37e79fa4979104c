/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A window in which rank 0 has a file and the others have memory that is in
 * none: all ranks accumulate at the last one. Ranks may return an error instead
 * of making the window.
 *
 * usage: mixed PATH TURNS
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

#define SIZE 65536

static window_t window;

static int open_mixed(void)
{
    if (check_rank == 0) {
        window_map(&window);
    } else {
        window.base = calloc(1, SIZE);
        check(window.base != NULL, "no memory");
    }
    return MPI_Win_create(window.base, SIZE, 8, MPI_INFO_NULL, MPI_COMM_WORLD,
                          &window.win);
}

static void accumulate(int turns)
{
    const int last      = check_size - 1;
    const uint64_t *sum = (const uint64_t*)window.base;
    uint64_t one        = 1, was;
    int i;

    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    for (i = 0; i < turns; ++i) {
        check_mpi(MPI_Fetch_and_op(&one, &was, MPI_UINT64_T, last, 0, MPI_SUM,
                                   window.win), "fetch_and_op");
        check_mpi(MPI_Win_flush(last, window.win), "flush");
    }
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank != last) || (*sum == (uint64_t)turns * check_size),
          "the sum is %lu", *sum);
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    check((argc == 3) && (check_size > 1), "usage: mixed PATH TURNS");
    window = (window_t){.kind = "create", .path = argv[1], .size = SIZE,
                        .unit = 8, .info = MPI_INFO_NULL};
    snprintf(window.file, sizeof(window.file), "%s", argv[1]);
    if (open_mixed() == MPI_SUCCESS) {
        accumulate(atoi(argv[2]));
        check_mpi(MPI_Win_free(&window.win), "free");
        printf("window\n");
    } else {
        printf("no window\n");
    }
    MPI_Finalize();
    return 0;
}
