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

static void check_open(const char *name, const checkpoint_array_t *arrays,
                       int count, int copies, const char *wanted)
{
    checkpoint_options_t options = {.copies = copies};
    checkpoint_t *checkpoint     = (checkpoint_t*)name;
    checkpoint_found_t found;
    int ret = checkpoint_open(MPI_COMM_WORLD, name, arrays, count, &options,
                              &found, &checkpoint);

    check((ret == -1) && (checkpoint == NULL), "it is opened: %s", wanted);
    check(strstr(checkpoint_error(), wanted) != NULL, "\"%s\" is not in: %s",
          wanted, checkpoint_error());
    MPI_Barrier(MPI_COMM_WORLD);
}

/* What is good at rank 0 only */
static void check_differences(const char *name, const checkpoint_array_t *good)
{
    checkpoint_array_t arrays[2] = {*good, *good};
    int odd                      = (check_rank > 0);

    arrays[0].unit = odd ? 2 : 1;
    check_open(name, arrays, 1, 0, "the ranks differ in");
    arrays[0]       = *good;
    arrays[0].total = good->total + odd;
    check_open(name, arrays, 1, 0, "the ranks differ in");
    arrays[0]          = *good;
    arrays[0].name[0] += odd;
    check_open(name, arrays, 1, 0, "the ranks differ in");
    arrays[0] = *good;
    check_open(name, arrays, 1 + odd, 0, "the ranks differ in");
    check_open(name, arrays, 1, odd, "the ranks differ in");
}

/* Products and sums that overflow to what is good */
static void check_overflow(const char *name, const checkpoint_array_t *good)
{
    checkpoint_array_t array = *good;

    array.unit = 1ull << 61;
    check_open(name, &array, 1, 0, "is too large for a file");
    array.unit = 1ull << 56;
    check_open(name, &array, 1, 0, "is too large for a file");
    array = *good;
    if (check_rank == 1) {
        array.count = -array.first;
    } else if (check_rank == 2) {
        array.first = 0;
        array.count = array.total;
    }
    check_open(name, &array, 1, 0, "is not in its 24");
}

/* A name that is not terminated, and one with other bytes behind its end, are no
 * difference */
static void check_good(const char *name, const checkpoint_array_t *good)
{
    checkpoint_array_t arrays[2] = {*good, *good};
    checkpoint_found_t found;
    checkpoint_t *checkpoint;

    memset(arrays[0].name, 'x', sizeof(arrays[0].name));
    arrays[1].name[10] = (char)check_rank;
    check((checkpoint_open(MPI_COMM_WORLD, name, arrays, 2, NULL, &found,
                           &checkpoint) == 0) &&
          (checkpoint_write(checkpoint, 1) == 0) &&
          (checkpoint_close(checkpoint) == 0), "%s", checkpoint_error());
}

int main(int argc, char **argv)
{
    char data[8]             = "";
    checkpoint_array_t array = {.name = "array", .unit = 1, .count = 8,
                                .data = data};
    char other[4096];

    check_init(&argc, &argv);
    check(argc == 2, "usage: arguments NAME");
    array.total = 8 * check_size;
    array.first = 8 * check_rank;
    check_differences(argv[1], &array);
    check_overflow(argv[1], &array);
    have_no_window = 1;
    check_open(argv[1], &array, 1, 0, ".1: cannot make the window");
    have_no_window = 0;
    snprintf(other, sizeof(other), "%s.other", argv[1]);
    check_good(other, &array);
    if (check_rank == 0) {
        printf("all are refused\n");
    }
    MPI_Finalize();
    return 0;
}
