/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Put to one of many regions of a dynamic window, and flush, again and again
 *
 * usage: regions FILE REGIONS TIMES; 2 ranks, of which rank 0 puts
 */

#define _GNU_SOURCE

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION 16
#define STEP   32 /* from a region to the next one */

static char *map_file(const char *file, size_t length)
{
    char path[PATH_MAX];
    char *base;
    int fd;

    snprintf(path, sizeof(path), "%s.%d", file, check_rank);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    check((fd >= 0) && (posix_fallocate(fd, 0, (off_t)length) == 0), "%s: %m",
          path);
    base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(base != MAP_FAILED, "%s: %m", path);
    close(fd);
    return base;
}

/* Put to the last region. */
static void put(MPI_Win win, MPI_Aint at, int times)
{
    long value = 1;
    int i;

    for (i = 0; i < times; ++i) {
        check_mpi(MPI_Put(&value, 1, MPI_LONG, 1, at, 1, MPI_LONG, win), "put");
        check_mpi(MPI_Win_flush(1, win), "flush");
    }
}

int main(int argc, char **argv)
{
    MPI_Aint at[2], own;
    int regions, i;
    char *base;
    MPI_Win win;

    check_init(&argc, &argv);
    check((argc == 4) && (check_size == 2),
          "usage: regions FILE REGIONS TIMES");
    regions = atoi(argv[2]);
    base    = map_file(argv[1], (size_t)regions * STEP);
    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    for (i = 0; i < regions; ++i) {
        check_mpi(MPI_Win_attach(win, base + STEP * i, REGION), "attach");
    }
    MPI_Get_address(base + STEP * (regions - 1), &own);
    MPI_Allgather(&own, 1, MPI_AINT, at, 1, MPI_AINT, MPI_COMM_WORLD);
    MPI_Win_lock_all(0, win);
    if (check_rank == 0) {
        put(win, at[1], atoi(argv[3]));
    }
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank == 0) || (*(long*)(base + STEP * (regions - 1)) == 1),
          "the put did not arrive");
    for (i = 0; i < regions; ++i) {
        check_mpi(MPI_Win_detach(win, base + STEP * i), "detach");
    }
    MPI_Win_free(&win);
    MPI_Finalize();
    return 0;
}
