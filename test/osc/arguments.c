/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Checkpoints that cannot be opened: all ranks return the same error, and none
 * waits for another.
 *
 * usage: arguments NAME
 */

#define _GNU_SOURCE

#include "../../contrib/examples/checkpoint.h"
#include "check.h"

#include <string.h>

static int have_no_window;

/* Rank 1 gets no window, the others one */
int MPI_Win_allocate(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm,
                     void *base, MPI_Win *win)
{
    int ret = PMPI_Win_allocate(size, unit, info, comm, base, win);

    return (have_no_window && (check_rank == 1)) ? MPI_ERR_NO_MEM : ret;
}

static void check_open(const char *name, const checkpoint_array_t *array,
                       const char *wanted)
{
    checkpoint_t *checkpoint = (checkpoint_t*)name;
    checkpoint_found_t found;
    int ret = checkpoint_open(MPI_COMM_WORLD, name, array, 1, NULL, &found,
                              &checkpoint);

    check((ret == -1) && (checkpoint == NULL), "it is opened: %s", wanted);
    check(strstr(checkpoint_error(), wanted) != NULL, "\"%s\" is not in: %s",
          wanted, checkpoint_error());
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    char data[8]             = "";
    checkpoint_array_t array = {.name = "array", .unit = 1, .count = 8,
                                .data = data};

    check_init(&argc, &argv);
    check(argc == 2, "usage: arguments NAME");
    array.total = 8 * check_size;
    array.first = 8 * check_rank;
    have_no_window = 1;
    check_open(argv[1], &array, ".1: cannot make the window");
    if (check_rank == 0) {
        printf("all are refused\n");
    }
    MPI_Finalize();
    return 0;
}
