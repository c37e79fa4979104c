/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A window of more than 2 GiB: displacement units, strides and types as large
 * as 1 GiB and more. Few bytes are touched, but all blocks are allocated.
 *
 * usage: big KIND PATH, as in window.h
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

#define GIB  (1l << 30)
#define SIZE (2 * GIB + GIB / 4)
#define LAST (SIZE - 8)

static window_t window;
static MPI_Win win;

static uint64_t *word_at(MPI_Aint offset)
{
    return (uint64_t*)(window.base + offset);
}

/* Only rank 0 has memory */
static void test_unit(uint64_t value)
{
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    check_mpi(MPI_Accumulate(&value, 1, MPI_UINT64_T, 0, 2, 1, MPI_UINT64_T,
                             MPI_SUM, win), "accumulate");
    check_class(MPI_Put(&value, 1, MPI_UINT64_T, 0, 3, 1, MPI_UINT64_T, win),
                MPI_ERR_RMA_RANGE, "put behind the end");
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank != 0) || (*word_at(2 * GIB) == value * check_size),
          "at 2 GiB is %lu", *word_at(2 * GIB));
}

static void test_types(void)
{
    uint64_t values[3] = {1, 2, 3}, got[3] = {0}, last = 9, back = 0;
    MPI_Aint where[]   = {LAST};
    MPI_Datatype vector, far;
    int one = 1;

    MPI_Type_create_hvector(3, 1, GIB, MPI_UINT64_T, &vector);
    MPI_Type_create_hindexed(1, &one, where, MPI_UINT64_T, &far);
    MPI_Type_commit(&vector);
    MPI_Type_commit(&far);
    check_mpi(MPI_Win_fence(0, win), "fence");
    if (check_rank == check_size - 1) {
        check_mpi(MPI_Put(values, 3, MPI_UINT64_T, 0, 0, 1, vector, win),
                  "put of a vector");
        check_mpi(MPI_Put(&last, 1, MPI_UINT64_T, 0, 0, 1, far, win),
                  "put to the end");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Get(got, 3, MPI_UINT64_T, 0, 0, 1, vector, win),
              "get of a vector");
    check_mpi(MPI_Get(&back, 1, MPI_UINT64_T, 0, 0, 1, far, win),
              "get of the end");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    check((got[0] == 1) && (got[1] == 2) && (got[2] == 3) && (back == 9),
          "%lu, %lu, %lu and %lu came back", got[0], got[1], got[2], back);
    check((check_rank != 0) || ((*word_at(GIB) == 2) &&
                                (*word_at(LAST) == 9)), "the file is wrong");
    MPI_Type_free(&vector);
    MPI_Type_free(&far);
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    check(argc == 3, "usage: big KIND PATH");
    window = (window_t){.kind = argv[1], .path = argv[2],
                        .size = (check_rank == 0) ? SIZE : 0,
                        .unit = (int)GIB, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    win = window.win;
    if (check_rank == 0) {
        *word_at(2 * GIB) = 0;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    test_unit(7);
    test_types();
    window_close(&window);
    MPI_Finalize();
    return 0;
}
