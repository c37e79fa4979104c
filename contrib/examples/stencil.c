/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Heat in a plate, with checkpoints: an ordinary stencil program that uses
 * checkpoint.h. Kill it at any moment and start it again, with another number
 * of ranks if you like: the result has the same bytes.
 *
 * usage: stencil NAME ROWS COLUMNS STEPS [EVERY [RESULT [SECONDS [BEFORE]]]]
 *
 * NAME is that of the checkpoint, which is written after EVERY steps (default:
 * 10; 0: neither read nor written). Rank 0 writes the plate after the last step
 * to RESULT, and how far a checkpoint is, at most once in SECONDS (default: 1).
 * It goes on from the last version before BEFORE (default: from the last one).
 */

#include "checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST (1ull << 30) /* rows, and columns: no product overflows */

typedef struct plate {
    uint64_t rows, columns; /* of all ranks */
    uint64_t first, count;  /* rows of this rank */
    double   *now, *next;   /* with a row of the neighbours at either end */
} plate_t;

/* When rank 0 printed how far a checkpoint is */
typedef struct progress {
    double seconds, last;
} progress_t;

static int rank, size;

static void give_up(const char *why)
{
    fprintf(stderr, "rank %d: %s\n", rank, why);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

static double *row_of(const plate_t *plate, double *values, uint64_t row)
{
    return values + row * plate->columns;
}

static void begin(plate_t *plate)
{
    uint64_t cells = (plate->count + 2) * plate->columns, row, column;

    plate->now  = calloc(cells, sizeof(double));
    plate->next = calloc(cells, sizeof(double));
    if ((plate->now == NULL) || (plate->next == NULL)) {
        give_up("no memory");
    }
    for (row = 0; row < plate->count; ++row) {
        for (column = 0; column < plate->columns; ++column) {
            row_of(plate, plate->now, row + 1)[column] =
                (double)(((plate->first + row) * 7919 + column * 104729) % 1000);
        }
    }
}

/* Get the rows of the neighbours. Beyond the plate all is 0. */
static void exchange(const plate_t *plate)
{
    int up   = (rank > 0) ? rank - 1 : MPI_PROC_NULL;
    int down = (rank < size - 1) ? rank + 1 : MPI_PROC_NULL;
    int n    = (int)plate->columns;

    MPI_Sendrecv(row_of(plate, plate->now, 1), n, MPI_DOUBLE, up, 0,
                 row_of(plate, plate->now, plate->count + 1), n, MPI_DOUBLE,
                 down, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Sendrecv(row_of(plate, plate->now, plate->count), n, MPI_DOUBLE, down,
                 0, row_of(plate, plate->now, 0), n, MPI_DOUBLE, up, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

/* The sum is the same whatever the distribution is, to the last bit. The middle
 * is heated by an amount that depends on the step. */
static void compute(plate_t *plate, uint64_t step)
{
    uint64_t row, column, last = plate->columns - 1;
    double *above, *here, *below, *to, *swap;

    exchange(plate);
    for (row = 1; row <= plate->count; ++row) {
        above = row_of(plate, plate->now, row - 1);
        here  = row_of(plate, plate->now, row);
        below = row_of(plate, plate->now, row + 1);
        to    = row_of(plate, plate->next, row);
        for (column = 0; column <= last; ++column) {
            to[column] = 0.25 * (((above[column] + below[column]) +
                                  ((column > 0) ? here[column - 1] : 0)) +
                                 ((column < last) ? here[column + 1] : 0));
        }
        if (plate->first + row - 1 == plate->rows / 2) {
            to[plate->columns / 2] = (double)(step % 1009);
        }
    }
    swap        = plate->now;
    plate->now  = plate->next;
    plate->next = swap;
}

static void print_progress(void *arg, uint64_t done, uint64_t total)
{
    progress_t *progress = arg;

    if ((rank == 0) && (MPI_Wtime() - progress->last >= progress->seconds)) {
        progress->last = MPI_Wtime();
        printf("checkpoint: %" PRIu64 " of %" PRIu64 " KiB of rank 0 are "
               "durable\n", done / 1024, total / 1024);
        fflush(stdout);
    }
}

/* The plate is at two places in turn, and the library wants one: a copy */
static void write_checkpoint(const plate_t *plate, checkpoint_t *checkpoint,
                             double *copy, uint64_t step, progress_t *progress)
{
    progress->last = MPI_Wtime();
    memcpy(copy, row_of(plate, plate->now, 1),
           plate->count * plate->columns * sizeof(double));
    if (checkpoint_write(checkpoint, step) != 0) {
        give_up(checkpoint_error());
    }
    if (rank == 0) {
        printf("step %" PRIu64 " is durable\n", step);
        fflush(stdout);
    }
}

/* Go on from the last checkpoint. Return its step, or 0. */
static uint64_t restart(plate_t *plate, const char *name, double *copy,
                        uint64_t before, progress_t *progress,
                        checkpoint_t **checkpoint_p)
{
    checkpoint_options_t options = {.copies   = 1,
                                    .progress = print_progress,
                                    .arg      = progress,
                                    .before   = before};
    checkpoint_array_t array     = {.name  = "temperature",
                                    .unit  = plate->columns * sizeof(double),
                                    .total = plate->rows,
                                    .first = plate->first,
                                    .count = plate->count,
                                    .data  = copy};
    checkpoint_found_t found;

    progress->last = MPI_Wtime();
    if (checkpoint_open(MPI_COMM_WORLD, name, &array, 1, &options, &found,
                        checkpoint_p) != 0) {
        give_up(checkpoint_error());
    }
    if (found.version > 0) {
        memcpy(row_of(plate, plate->now, 1), copy,
               plate->count * plate->columns * sizeof(double));
    }
    if ((rank == 0) && (found.version > 0)) {
        printf("goes on after step %" PRIu64 ", version %" PRIu64 " of %d "
               "ranks, %d parts from copies\n", found.step, found.version,
               found.ranks, found.copies);
    } else if (rank == 0) {
        printf("starts at the beginning\n");
    }
    fflush(stdout);
    return found.step;
}

/* All ranks send their rows to rank 0 */
static void write_result(const plate_t *plate, const char *path)
{
    uint64_t bytes = plate->columns * sizeof(double), row;
    double *buffer = malloc(bytes);
    FILE *file     = (rank == 0) ? fopen(path, "w") : NULL;
    int owner;

    if ((buffer == NULL) || ((rank == 0) && (file == NULL))) {
        give_up("cannot write the result");
    }
    for (row = 0; row < plate->rows; ++row) {
        owner = (int)(((row + 1) * size - 1) / plate->rows);
        if (owner == rank) {
            memcpy(buffer, row_of(plate, plate->now, row - plate->first + 1),
                   bytes);
        }
        MPI_Bcast(buffer, (int)plate->columns, MPI_DOUBLE, owner,
                  MPI_COMM_WORLD);
        if ((rank == 0) && (fwrite(buffer, bytes, 1, file) != 1)) {
            give_up("cannot write the result");
        }
    }
    if ((rank == 0) && (fclose(file) != 0)) {
        give_up("cannot write the result");
    }
    free(buffer);
}

static void run(plate_t *plate, const char *name, uint64_t steps,
                uint64_t every, uint64_t before, progress_t *progress)
{
    checkpoint_t *checkpoint = NULL;
    double *copy             = NULL;
    uint64_t step            = 0;

    if (every > 0) {
        copy = malloc((plate->count + 1) * plate->columns * sizeof(double));
        if (copy == NULL) {
            give_up("no memory");
        }
        step = restart(plate, name, copy, before, progress, &checkpoint);
        if (step > steps) {
            give_up("the checkpoint is of a later step than the last one");
        }
    }
    while (step < steps) {
        compute(plate, ++step);
        if ((every > 0) && ((step % every == 0) || (step == steps))) {
            write_checkpoint(plate, checkpoint, copy, step, progress);
        }
    }
    if ((checkpoint != NULL) && (checkpoint_close(checkpoint) != 0)) {
        give_up(checkpoint_error());
    }
    free(copy);
}

int main(int argc, char **argv)
{
    progress_t progress = {.seconds = 1};
    plate_t plate;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc < 5) {
        give_up("usage: stencil NAME ROWS COLUMNS STEPS "
                "[EVERY [RESULT [SECONDS [BEFORE]]]]");
    }
    plate.rows    = strtoull(argv[2], NULL, 10);
    plate.columns = strtoull(argv[3], NULL, 10);
    if ((plate.rows < (uint64_t)size) || (plate.columns == 0) ||
        (plate.rows > MOST) || (plate.columns > MOST)) {
        give_up("there must be a row for each rank, a column, and at most "
                "2^30 of either");
    }
    plate.first = plate.rows * rank / size;
    plate.count = plate.rows * (rank + 1) / size - plate.first;
    if (argc > 7) {
        progress.seconds = atof(argv[7]);
    }
    begin(&plate);
    run(&plate, argv[1], strtoull(argv[4], NULL, 10),
        (argc > 5) ? strtoull(argv[5], NULL, 10) : 10,
        (argc > 8) ? strtoull(argv[8], NULL, 10) : 0, &progress);
    if (argc > 6) {
        write_result(&plate, argv[6]);
    }
    free(plate.now);
    free(plate.next);
    MPI_Finalize();
    return 0;
}
