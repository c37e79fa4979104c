/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Windows of a job and of ranks that it has spawned, with a file for each rank
 * and with one for all; then the spawned ranks end, and the others go on.
 *
 * usage: spawn PATH
 */

#define _GNU_SOURCE

#include "check.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#define SPAWNED 2
#define SIZE    16384

static void test_window(MPI_Comm comm, const char *path, const char *end)
{
    int rank, size, right, left;
    char name[PATH_MAX];
    uint64_t value, *base;
    MPI_Info info;
    MPI_Win win;

    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    right = (rank + 1) % size;
    left  = (rank + size - 1) % size;
    value = 100 + (uint64_t)rank;
    snprintf(name, sizeof(name), "%s%s", path, end);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", name);
    check_mpi(MPI_Win_allocate(SIZE, 8, info, comm, &base, &win), name);
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, right, 1, 1, MPI_UINT64_T, win),
              "put");
    check_mpi(MPI_Accumulate(&value, 1, MPI_UINT64_T, 0, 2, 1, MPI_UINT64_T,
                             MPI_SUM, win), "accumulate");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    check(base[1] == 100 + (uint64_t)left, "rank %d put %lu", left, base[1]);
    check((rank != 0) || (base[2] ==
                          (uint64_t)(100 * size + size * (size - 1) / 2)),
          "the sum is %lu", base[2]);
    check_mpi(MPI_Win_free(&win), "free");
    MPI_Info_free(&info);
}

int main(int argc, char **argv)
{
    char *spawned_argv[] = {argv[1], NULL};
    MPI_Comm parent, other, merged;

    check_init(&argc, &argv);
    check(argc == 2, "usage: spawn PATH");
    MPI_Comm_get_parent(&parent);
    other = parent;
    if (parent == MPI_COMM_NULL) {
        check_mpi(MPI_Comm_spawn(argv[0], spawned_argv, SPAWNED, MPI_INFO_NULL,
                                 0, MPI_COMM_WORLD, &other,
                                 MPI_ERRCODES_IGNORE), "spawn");
    }
    MPI_Intercomm_merge(other, parent != MPI_COMM_NULL, &merged);
    test_window(merged, argv[1], ".own.%r");
    test_window(merged, argv[1], ".one");
    MPI_Comm_free(&merged);
    MPI_Comm_disconnect(&other);
    if (parent == MPI_COMM_NULL) {
        test_window(MPI_COMM_WORLD, argv[1], ".after");
    }
    MPI_Finalize();
    return 0;
}
