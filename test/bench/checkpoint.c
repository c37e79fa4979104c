/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Checkpoints of two arrays by the library of contrib/examples, without and with
 * copies, beside a collective write of the same arrays by MPI-IO and a sync, in
 * turns. Rank 0 prints a line "MS COPIES_MS MPIIO_MS" a turn.
 *
 * usage: checkpoint FILE KIB TURNS     KIB of each rank
 */

#include "../../contrib/examples/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAYS 2

static int rank, size;
static checkpoint_array_t arrays[ARRAYS];

static void check(int good, const char *why)
{
    if (!good) {
        fprintf(stderr, "rank %d: %s\n", rank, why);
        MPI_Abort(MPI_COMM_WORLD, 1);
        exit(1);
    }
}

static void make_arrays(uint64_t bytes)
{
    checkpoint_array_t *array;
    int i;

    for (i = 0; i < ARRAYS; ++i) {
        array        = &arrays[i];
        array->unit  = 1;
        array->count = bytes / ARRAYS;
        array->total = array->count * size;
        array->first = array->count * rank;
        array->data  = malloc(array->count);
        check(array->data != NULL, "no memory");
        snprintf(array->name, sizeof(array->name), "array %d", i);
    }
}

/* Open a checkpoint of this name, whose files are new */
static checkpoint_t *open_new(const char *file, const char *end, int copies)
{
    checkpoint_options_t options = {.copies = copies};
    checkpoint_found_t found;
    checkpoint_t *checkpoint;
    char name[4096];

    snprintf(name, sizeof(name), "%s.%s", file, end);
    check(checkpoint_open(MPI_COMM_WORLD, name, arrays, ARRAYS, &options,
                          &found, &checkpoint) == 0, checkpoint_error());
    return checkpoint;
}

/* The time of all ranks since start, in ms */
static double since(double start)
{
    MPI_Barrier(MPI_COMM_WORLD);
    return (MPI_Wtime() - start) * 1e3;
}

static double time_library(checkpoint_t *checkpoint, uint64_t step)
{
    double start = (MPI_Barrier(MPI_COMM_WORLD), MPI_Wtime());

    check(checkpoint_write(checkpoint, step) == 0, checkpoint_error());
    return since(start);
}

/* As checkpoints have two slots, the file has two places */
static double time_mpiio(MPI_File file, uint64_t step)
{
    double start      = (MPI_Barrier(MPI_COMM_WORLD), MPI_Wtime());
    MPI_Offset offset = (MPI_Offset)((step % 2) * ARRAYS * arrays[0].total);
    int i;

    for (i = 0; i < ARRAYS; ++i) {
        check(MPI_File_write_at_all(file, offset + (MPI_Offset)arrays[i].first,
                                    arrays[i].data, (int)arrays[i].count,
                                    MPI_BYTE, MPI_STATUS_IGNORE) == MPI_SUCCESS,
              "MPI_File_write_at_all fails");
        offset += (MPI_Offset)arrays[i].total;
    }
    check(MPI_File_sync(file) == MPI_SUCCESS, "MPI_File_sync fails");
    return since(start);
}

static void run(const char *path, uint64_t turns)
{
    checkpoint_t *plain  = open_new(path, "plain", 0);
    checkpoint_t *copied = open_new(path, "copies", 1);
    double alone, copies, mpiio;
    MPI_File file;
    char name[4096];
    uint64_t turn;
    int i;

    snprintf(name, sizeof(name), "%s.mpiio", path);
    check(MPI_File_open(MPI_COMM_WORLD, name, MPI_MODE_RDWR | MPI_MODE_CREATE,
                        MPI_INFO_NULL, &file) == MPI_SUCCESS, "no file");
    /* The first turns allocate blocks */
    for (turn = 1; turn <= turns + 2; ++turn) {
        for (i = 0; i < ARRAYS; ++i) {
            memset(arrays[i].data, (int)(turn * 16 + rank), arrays[i].count);
        }
        alone  = time_library(plain, turn);
        copies = time_library(copied, turn);
        mpiio  = time_mpiio(file, turn);
        if ((rank == 0) && (turn > 2)) {
            printf("%.3f %.3f %.3f\n", alone, copies, mpiio);
        }
    }
    MPI_File_close(&file);
    checkpoint_close(plain);
    checkpoint_close(copied);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    check(argc == 4, "usage: checkpoint FILE KIB TURNS");
    make_arrays(strtoull(argv[2], NULL, 10) * 1024);
    run(argv[1], strtoull(argv[3], NULL, 10));
    MPI_Finalize();
    return 0;
}
