/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A window that lives in files: MPI_Win_allocate() with an info key, no more.
 * Every rank counts at its neighbour for some seconds, and goes on counting
 * where it was when it is started again. Truncate one of the files meanwhile:
 * the one rank that counts there hears of it, the others go on.
 *
 * usage: allocate FILE [SECONDS [KEY VALUE]...]
 *
 * FILE may have %r for the rank, %h for the host, %n for the NUMA node;
 * without, the ranks of a node share it. KEY and VALUE: see daxpin-window(7).
 * Exit status 0: this rank lived to the end, with or without errors from MPI.
 */

#include <inttypes.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_BYTES 4096

static int rank, size;

static MPI_Info make_info(int argc, char **argv)
{
    MPI_Info info;
    int i;

    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", argv[1]);
    for (i = 3; i + 1 < argc; i += 2) {
        MPI_Info_set(info, argv[i], argv[i + 1]);
    }
    return info;
}

/* What daxpin made of the keys; a window without a file has none of them */
static void say_info(MPI_Win win)
{
    static const char *keys[] = {
        "daxpin_path", "daxpin_offset", "daxpin_file_system", "daxpin_dax",
        "daxpin_persist"
    };
    char value[MPI_MAX_INFO_VAL + 1];
    MPI_Info info;
    size_t i;
    int flag;

    MPI_Win_get_info(win, &info);
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i) {
        MPI_Info_get(info, keys[i], MPI_MAX_INFO_VAL, value, &flag);
        printf("rank %d: %s is %s\n", rank, keys[i],
               flag ? value : "not known: is osc_daxpin there?");
    }
    MPI_Info_free(&info);
}

static void print_error(int neighbour, int error)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;

    MPI_Error_string(error, text, &length);
    printf("rank %d: counting at rank %d ends: %s\n", rank, neighbour, text);
}

static int count(MPI_Win win, int neighbour, double seconds)
{
    const uint64_t one = 1;
    double end         = MPI_Wtime() + seconds;
    uint64_t old       = 0;
    int ret;

    do {
        ret = MPI_Fetch_and_op(&one, &old, MPI_UINT64_T, neighbour, 0, MPI_SUM,
                               win);
        if (ret == MPI_SUCCESS) {
            ret = MPI_Win_flush(neighbour, win);
        }
    } while ((ret == MPI_SUCCESS) && (MPI_Wtime() < end));
    if (ret == MPI_SUCCESS) {
        printf("rank %d: counted to %" PRIu64 " at rank %d\n", rank, old + 1,
               neighbour);
    }
    return ret;
}

int main(int argc, char **argv)
{
    int neighbour, ret;
    uint64_t *mine;
    MPI_Info info;
    MPI_Win win;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE [SECONDS [KEY VALUE]...]\n", argv[0]);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    neighbour = (rank + 1) % size;

    info = make_info(argc, argv);
    MPI_Win_allocate(SEGMENT_BYTES, sizeof(*mine), info, MPI_COMM_WORLD, &mine,
                     &win);
    MPI_Info_free(&info);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    say_info(win);
    printf("rank %d: the count here is %" PRIu64 "\n", rank, mine[0]);
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Win_lock_all(0, win);
    ret = count(win, neighbour, (argc > 2) ? atof(argv[2]) : 5);
    if (ret != MPI_SUCCESS) {
        print_error(neighbour, ret);
    }
    MPI_Win_unlock_all(win);

    /* This rank's memory is still memory after a truncate */
    mine[1] = rank;
    ret     = MPI_Win_free(&win);
    printf("rank %d: still alive\n", rank);
    MPI_Finalize();
    return (ret == MPI_SUCCESS) ? 0 : 1;
}
