/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Checkpoints of arrays whose content says of which step it is. A board, a file
 * that survives what is done to the job, has the last step whose checkpoint was
 * reported. What the next job restores must be of that step or the one after it,
 * and nothing else.
 *
 * usage: versions NAME BOARD STEPS [nocopies]
 */

#define _GNU_SOURCE

#include "../../contrib/examples/checkpoint.h"
#include "window.h"

#define ARRAYS 3

static const uint64_t totals[ARRAYS] = {40007, 5, 12000};
static checkpoint_array_t arrays[ARRAYS];
static int board;

/* Blocks of all ranks, one of which is empty if there are many */
static void make_arrays(void)
{
    checkpoint_array_t *array;
    int i;

    for (i = 0; i < ARRAYS; ++i) {
        array        = &arrays[i];
        array->unit  = sizeof(uint64_t);
        array->total = totals[i];
        array->first = totals[i] * check_rank / check_size;
        array->count = totals[i] * (check_rank + 1) / check_size - array->first;
        array->data  = calloc(array->count + 1, sizeof(uint64_t));
        snprintf(array->name, sizeof(array->name), "array %d", i);
        check(array->data != NULL, "no memory");
    }
}

static uint64_t value_at(int i, uint64_t step, uint64_t index)
{
    return (step * 1000003 + i) * 31 + index;
}

static void compute(uint64_t step)
{
    uint64_t k;
    int i;

    for (i = 0; i < ARRAYS; ++i) {
        for (k = 0; k < arrays[i].count; ++k) {
            ((uint64_t*)arrays[i].data)[k] = value_at(i, step,
                                                      arrays[i].first + k);
        }
    }
}

static void check_arrays(uint64_t step)
{
    uint64_t k;
    int i;

    for (i = 0; i < ARRAYS; ++i) {
        for (k = 0; k < arrays[i].count; ++k) {
            check(((uint64_t*)arrays[i].data)[k] ==
                  value_at(i, step, arrays[i].first + k),
                  "array %d, element %lu is not that of step %lu", i,
                  arrays[i].first + k, step);
        }
    }
}

/* Return the step on the board */
static uint64_t open_board(const char *path)
{
    uint64_t step = 0;

    board = open(path, O_RDWR | O_CREAT, 0600);
    check((board >= 0) && (pread(board, &step, sizeof(step), 0) >= 0), "%s: %m",
          path);
    return step;
}

static void report(uint64_t step)
{
    if (check_rank == 0) {
        check(pwrite(board, &step, sizeof(step), 0) == sizeof(step),
              "cannot report step %lu: %m", step);
    }
}

int main(int argc, char **argv)
{
    checkpoint_options_t options = {.copies = (argc == 4)};
    checkpoint_found_t found;
    checkpoint_t *checkpoint;
    uint64_t step, steps, reported;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check(argc >= 4, "usage: versions NAME BOARD STEPS [nocopies]");
    steps = strtoull(argv[3], NULL, 10);
    make_arrays();
    reported = open_board(argv[2]);
    MPI_Barrier(MPI_COMM_WORLD);
    check(checkpoint_open(MPI_COMM_WORLD, argv[1], arrays, ARRAYS, &options,
                          &found, &checkpoint) == 0, "%s", checkpoint_error());
    step = found.step;
    check((step == reported) || (step == reported + 1),
          "neither old nor new: step %lu, and %lu was reported", step,
          reported);
    if (step > 0) {
        check_arrays(step);
    }
    report(step);
    printf("restored step %lu of %d ranks\n", step, found.ranks);
    fflush(stdout);
    while (step < steps) {
        compute(++step);
        check(checkpoint_write(checkpoint, step) == 0, "%s",
              checkpoint_error());
        report(step);
    }
    check(checkpoint_close(checkpoint) == 0, "%s", checkpoint_error());
    MPI_Finalize();
    return 0;
}
