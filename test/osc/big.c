/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A window of more than 2 GiB: displacement units, strides and types as large
 * as 1 GiB and more. Few bytes are touched, but all blocks are allocated.
 *
 * usage: big KIND PATH [counts], as in window.h
 *   counts  operations of more than 2^31 elements as well, which MPI has since
 *           4.0; exit status 77 if it has not. All bytes are touched.
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>
#include <sys/mman.h>

#define GIB  (1l << 30)
#define SIZE (2 * GIB + GIB / 4)
#define LAST (SIZE - 8)

static window_t window;
static MPI_Win win;

static uint64_t *word_at(MPI_Aint offset)
{
    return (uint64_t*)(window.base + offset);
}

/* Only rank 0 has memory */
static void test_unit(uint64_t value)
{
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    check_mpi(MPI_Accumulate(&value, 1, MPI_UINT64_T, 0, 2, 1, MPI_UINT64_T,
                             MPI_SUM, win), "accumulate");
    check_class(MPI_Put(&value, 1, MPI_UINT64_T, 0, 3, 1, MPI_UINT64_T, win),
                MPI_ERR_RMA_RANGE, "put behind the end");
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check((check_rank != 0) || (*word_at(2 * GIB) == value * check_size),
          "at 2 GiB is %lu", *word_at(2 * GIB));
}

static void test_types(void)
{
    uint64_t values[3] = {1, 2, 3}, got[3] = {0}, last = 9, back = 0;
    MPI_Aint where[]   = {LAST};
    MPI_Datatype vector, far;
    int one = 1;

    MPI_Type_create_hvector(3, 1, GIB, MPI_UINT64_T, &vector);
    MPI_Type_create_hindexed(1, &one, where, MPI_UINT64_T, &far);
    MPI_Type_commit(&vector);
    MPI_Type_commit(&far);
    check_mpi(MPI_Win_fence(0, win), "fence");
    if (check_rank == check_size - 1) {
        check_mpi(MPI_Put(values, 3, MPI_UINT64_T, 0, 0, 1, vector, win),
                  "put of a vector");
        check_mpi(MPI_Put(&last, 1, MPI_UINT64_T, 0, 0, 1, far, win),
                  "put to the end");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check_mpi(MPI_Get(got, 3, MPI_UINT64_T, 0, 0, 1, vector, win),
              "get of a vector");
    check_mpi(MPI_Get(&back, 1, MPI_UINT64_T, 0, 0, 1, far, win),
              "get of the end");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    check((got[0] == 1) && (got[1] == 2) && (got[2] == 3) && (back == 9),
          "%lu, %lu, %lu and %lu came back", got[0], got[1], got[2], back);
    check((check_rank != 0) || ((*word_at(GIB) == 2) &&
                                (*word_at(LAST) == 9)), "the file is wrong");
    MPI_Type_free(&vector);
    MPI_Type_free(&far);
}

#if MPI_VERSION >= 4
#  define COUNT (2 * GIB + 4096) /* of bytes; an int has 4096 of it */
#  define PIECE (2l << 20)

/* Return COUNT bytes that take the memory of PIECE: words that count, and begin
 * again after PIECE */
static uint64_t *map_pieces(void)
{
    const int fd = memfd_create("big", 0);
    char *base   = mmap(NULL, COUNT + PIECE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t *words;
    size_t i;

    check((fd >= 0) && (base != MAP_FAILED) && (ftruncate(fd, PIECE) == 0),
          "memory for counts: %m");
    for (i = 0; i < COUNT; i += PIECE) {
        check(mmap(base + i, PIECE, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED, "mmap: %m");
    }
    close(fd);
    words = (uint64_t*)base;
    for (i = 0; i < PIECE / sizeof(*words); ++i) {
        words[i] = i + 1;
    }
    return words;
}

/* Count the words of the window that are not as map_pieces() has them */
static size_t count_wrong(void)
{
    size_t wrong = 0, i;

    for (i = 0; i < COUNT / sizeof(uint64_t); ++i) {
        wrong += *word_at(i * sizeof(uint64_t)) !=
                 i % (PIECE / sizeof(uint64_t)) + 1;
    }
    return wrong;
}

/* The last rank puts, gets and accumulates more bytes than an int can count */
static void test_counts(void)
{
    const int last = check_rank == check_size - 1;
    uint64_t *words = map_pieces();
    size_t wrong;

    check_mpi(MPI_Win_fence(0, win), "fence");
    if (last) {
        check_mpi(MPI_Put_c(words, COUNT, MPI_BYTE, 0, 0, COUNT, MPI_BYTE, win),
                  "put of 2 GiB");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    wrong = (check_rank == 0) ? count_wrong() : 0;
    check(wrong == 0, "after a put, %zu words are wrong", wrong);
    if (check_rank == 0) { /* the end of all of it, which comes last */
        *word_at(COUNT - 8) = 77;
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    if (last) {
        check_mpi(MPI_Get_c(words, COUNT, MPI_BYTE, 0, 0, COUNT, MPI_BYTE, win),
                  "get of 2 GiB");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check(!last || (words[COUNT / 8 - 1] == 77), "after a get, the end is %lu",
          words[COUNT / 8 - 1]);
    if (last) {
        words[COUNT / 8 - 1] = 1;
        check_mpi(MPI_Accumulate_c(words, COUNT, MPI_BYTE, 0, 0, COUNT,
                                   MPI_BYTE, MPI_REPLACE, win),
                  "accumulate of 2 GiB");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check((check_rank != 0) || (*word_at(COUNT - 8) == 1),
          "after an accumulate, the end is %lu", *word_at(COUNT - 8));
    MPI_Barrier(MPI_COMM_WORLD);
    if (last) {
        check_mpi(MPI_Accumulate_c(words, COUNT, MPI_BYTE, 0, 0, COUNT,
                                   MPI_BYTE, MPI_BXOR, win), "xor of 2 GiB");
    }
    check_mpi(MPI_Win_fence(0, win), "fence");
    check((check_rank != 0) || ((*word_at(COUNT - 8) == 0) &&
                                (*word_at(0) == 0) && (*word_at(GIB) == 0)),
          "after a xor, the end is %lu", *word_at(COUNT - 8));
    munmap(words, COUNT + PIECE);
}
#else
static void test_counts(void)
{
}
#endif

int main(int argc, char **argv)
{
    const int counts = (argc == 4) && (strcmp(argv[3], "counts") == 0);

    check_init(&argc, &argv);
    check((argc == 3) || counts, "usage: big KIND PATH [counts]");
    if (counts && (MPI_VERSION < 4)) {
        MPI_Finalize();
        return 77;
    }
    window = (window_t){.kind = argv[1], .path = argv[2],
                        .size = (check_rank == 0) ? SIZE : 0,
                        .unit = (int)GIB, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    win = window.win;
    if (check_rank == 0) {
        *word_at(2 * GIB) = 0;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    test_unit(7);
    test_types();
    if (counts) {
        test_counts();
    }
    window_close(&window);
    MPI_Finalize();
    return 0;
}
