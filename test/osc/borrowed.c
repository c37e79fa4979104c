/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Windows over memory that is in a shared window of Open MPI's own already, in a
 * file without a name of a directory that UCX_DAXPIN_FILES names. They are made,
 * and the memory stays shared.
 *
 * usage: borrowed DIRECTORY; ends with status 77 where Open MPI has made no file
 * there
 */

#include "check.h"

#include <stdint.h>
#include <string.h>

#define WORDS 8192

static MPI_Win shared;
static uint64_t *words, *theirs; /* of this rank, and of the next one */
static int right, left;

/* Return whether this process has mapped a file of the directory there */
static int is_in(const char *dir, const void *addr)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long start, end;
    char line[512];
    int found = 0;

    check(maps != NULL, "/proc/self/maps: %m");
    while (fgets(line, sizeof(line), maps) != NULL) {
        found |= (sscanf(line, "%lx-%lx", &start, &end) == 2) &&
                 (start <= (uintptr_t)addr) && ((uintptr_t)addr < end) &&
                 (strstr(line, dir) != NULL);
    }
    fclose(maps);
    return found;
}

static void allocate(void)
{
    MPI_Aint size;
    int unit;

    check_mpi(MPI_Win_allocate_shared(WORDS * 8, 8, MPI_INFO_NULL,
                                      MPI_COMM_WORLD, &words, &shared),
              "allocate_shared");
    check_mpi(MPI_Win_shared_query(shared, right, &size, &unit, &theirs),
              "shared_query");
}

/* A store to the next rank's memory is seen there */
static void check_shared(uint64_t number)
{
    check_mpi(MPI_Win_fence(0, shared), "fence");
    theirs[1] = number + (uint64_t)check_rank;
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, shared), "fence");
    check(words[1] == number + (uint64_t)left,
          "rank %d stored, and here is %lu", left, words[1]);
}

static void put(MPI_Win win, uint64_t number, MPI_Aint disp)
{
    number += (uint64_t)check_rank;
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Put(&number, 1, MPI_UINT64_T, right, disp, 1, MPI_UINT64_T,
                      win), "put");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    number += (uint64_t)(left - check_rank);
    check(words[0] == number, "rank %d put %lu, and here is %lu", left, number,
          words[0]);
}

static void test_create(void)
{
    MPI_Win win;

    check_mpi(MPI_Win_create(words, WORDS * 8, 8, MPI_INFO_NULL, MPI_COMM_WORLD,
                             &win), "create");
    put(win, 100, 0);
    check_shared(200);
    check_mpi(MPI_Win_free(&win), "free");
    check_shared(300);
}

static void test_attach(void)
{
    MPI_Aint own, disp;
    MPI_Win win;

    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    check_mpi(MPI_Win_attach(win, words, WORDS * 8), "attach");
    MPI_Get_address(words, &own);
    MPI_Sendrecv(&own, 1, MPI_AINT, left, 0, &disp, 1, MPI_AINT, right, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    put(win, 400, disp);
    check_shared(500);
    check_mpi(MPI_Win_detach(win, words), "detach");
    check_mpi(MPI_Win_free(&win), "free");
    check_shared(600);
}

int main(int argc, char **argv)
{
    int is_there;

    check_init(&argc, &argv);
    check(argc == 2, "usage: borrowed DIRECTORY");
    right = (check_rank + 1) % check_size;
    left  = (check_rank + check_size - 1) % check_size;
    allocate();
    is_there = is_in(argv[1], words);
    if (is_there) {
        test_create();
        test_attach();
    }
    check_mpi(MPI_Win_free(&shared), "free the shared window");
    MPI_Finalize();
    return is_there ? 0 : 77;
}
