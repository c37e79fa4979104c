/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * An ordinary program with a window over files: each rank maps one and puts into
 * that of the next one. Rank 0 goes on until MPI reports an error, which is that
 * another process has truncated the file of rank 1, or until its seconds are over.
 *
 * usage: window FILE SECONDS [keep]
 *
 * keep: the files are there
 */

#define _GNU_SOURCE

#include "../mpi/segment.h"

#define BYTES 65536

static MPI_Win win;

/* Print what MPI answers to an operation and its flush: its name */
static int answer(const char *what, int ret, int target)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int class = MPI_SUCCESS, length;

    if (ret == MPI_SUCCESS) {
        ret = MPI_Win_flush(target, win);
    }
    MPI_Error_class(ret, &class);
    MPI_Error_string(ret, text, &length);
    if (what != NULL) {
        printf("%s: %s: %.200s\n", what,
               (class == MPI_SUCCESS) ? "success" : "error", text);
        fflush(stdout);
    }
    return class;
}

/* Put a word of each number into the file of a rank. Return MPI's first error,
 * or MPI_SUCCESS when the time is over. */
static int put_words(int target, double seconds)
{
    double end      = now() + seconds;
    uint64_t number = 0;
    int class;

    do {
        ++number;
        class = answer(NULL, MPI_Put(&number, 8, MPI_BYTE, target,
                                     8 * (number % (BYTES / 8)), 8, MPI_BYTE,
                                     win), target);
    } while ((class == MPI_SUCCESS) && (now() < end));
    printf("puts: %s after some\n", (class == MPI_SUCCESS) ? "no error" :
           (number > 1) ? "error" : "none; error");
    return class;
}

/* Print what all kinds of operations answer */
static void try_all(int target)
{
    uint64_t buffer[1024] = {1}, old = 0;
    MPI_Datatype vector;

    MPI_Type_vector(64, 1, 2, MPI_UINT64_T, &vector);
    MPI_Type_commit(&vector);
    answer("put", MPI_Put(buffer, sizeof(buffer), MPI_BYTE, target, 0,
                          sizeof(buffer), MPI_BYTE, win), target);
    answer("get", MPI_Get(buffer, sizeof(buffer), MPI_BYTE, target, 0,
                          sizeof(buffer), MPI_BYTE, win), target);
    answer("accumulate", MPI_Accumulate(buffer, 4, MPI_UINT64_T, target, 0, 4,
                                        MPI_UINT64_T, MPI_SUM, win), target);
    answer("fetch", MPI_Fetch_and_op(buffer, &old, MPI_UINT64_T, target, 0,
                                     MPI_SUM, win), target);
    answer("vector", MPI_Put(buffer, 1, vector, target, 0, 1, vector, win),
           target);
    MPI_Type_free(&vector);
}

/* Check that the file of a rank takes and gives bytes */
static void try_other(int target)
{
    uint64_t sent = 4711, got = 0;
    int class;

    class = answer(NULL, MPI_Put(&sent, 8, MPI_BYTE, target, 0, 8, MPI_BYTE,
                                 win), target);
    CHECK(class == MPI_SUCCESS, "put to rank %d: %d", target, class);
    class = answer(NULL, MPI_Get(&got, 8, MPI_BYTE, target, 0, 8, MPI_BYTE,
                                 win), target);
    CHECK((class == MPI_SUCCESS) && (got == sent), "get from rank %d: %d, %lu",
          target, class, (unsigned long)got);
}

static void use_window(segment_t *segment, double seconds)
{
    int failed = 0;

    MPI_Win_lock_all(0, win);
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank == 0) {
        printf("the window is there, %s\n",
               segment_has_lease(segment) ? "with a lease" : "without a lease");
        fflush(stdout);
        failed = put_words(1, seconds) != MPI_SUCCESS;
    }
    MPI_Bcast(&failed, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (comm_rank == 0) {
        try_all(1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank != 0) {
        try_other(0);
        /* No signal, wherever the bytes go */
        memset(segment->base, 0xab, segment->length);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    /* After an error, the epoch may end with one as well */
    MPI_Win_unlock_all(win);
    if (comm_rank == 0) {
        uint64_t word = 0;

        segment_read(segment, &word, 0, sizeof(word));
        CHECK(word == 4711, "the put of rank 1 is not in the file: %lu",
              (unsigned long)word);
    }
}

int main(int argc, char **argv)
{
    segment_t segment;
    int ret;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &comm_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm_size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    CHECK((argc >= 3) && (comm_size > 1), "usage: window FILE SECONDS [keep]");

    if (argc == 3) {
        segment_create(argv[1], 0, BYTES);
    }
    segment_open(&segment, argv[1], 0, BYTES);
    ret = MPI_Win_create(segment.base, BYTES, 1, MPI_INFO_NULL, MPI_COMM_WORLD,
                         &win);
    CHECK(ret == MPI_SUCCESS, "no window: class %d", ret);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    use_window(&segment, atof(argv[2]));
    ret = MPI_Win_free(&win);
    CHECK(ret == MPI_SUCCESS, "the window cannot be freed: %d", ret);
    segment_close(&segment);
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank == 0) {
        printf("the job goes on\n");
    }
    MPI_Finalize();
    return 0;
}
