/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A window over files that are mapped read-only: gets get what is in them, and
 * whatever would store is an error of the class MPI_ERR_ACCESS, here and at
 * other ranks. Nothing of the file or of its mapping changes.
 *
 * usage: reading KIND PATH
 *   KIND  create or dynamic, as in window.h
 *   PATH  of a file for all ranks of a node, in which each byte is an x; if
 *         there is none, the first rank makes it
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>
#include <sys/stat.h>

#define XXXXXXXX 0x7878787878787878ul
#define WORDS    64

static MPI_Win win;
static uint64_t *words;
static size_t bytes;
static MPI_Aint starts[64];

static void make(const char *path)
{
    static char block[65536];
    int fd, size;

    if (node_rank(&size) == 0) {
        memset(block, 'x', sizeof(block));
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        check((fd < 0) || (write(fd, block, sizeof(block)) ==
                           (ssize_t)sizeof(block)), "%s: %m", path);
        close(fd);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void map(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;

    check((fd >= 0) && (fstat(fd, &st) == 0), "%s: %m", path);
    bytes = (size_t)st.st_size;
    words = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    check(words != MAP_FAILED, "%s: mmap: %m", path);
    close(fd);
}

static void expose(const char *kind)
{
    if (strcmp(kind, "create") == 0) {
        check_mpi(MPI_Win_create(words, (MPI_Aint)bytes, 1, MPI_INFO_NULL,
                                 MPI_COMM_WORLD, &win), "create");
    } else {
        check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
                  "create_dynamic");
        check_mpi(MPI_Win_attach(win, words, (MPI_Aint)bytes), "attach");
        MPI_Get_address(words, &starts[check_rank]);
        MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, starts, 1, MPI_AINT,
                      MPI_COMM_WORLD);
    }
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
}

static void test_gets(int target)
{
    uint64_t got[WORDS] = {0}, one = 0, same = 0;
    MPI_Request request;
    int i;

    check_mpi(MPI_Get(got, WORDS, MPI_UINT64_T, target, starts[target], WORDS,
                      MPI_UINT64_T, win), "get");
    check_mpi(MPI_Win_flush(target, win), "flush");
    for (i = 0; i < WORDS; ++i) {
        check(got[i] == XXXXXXXX, "word %d of rank %d is %lx", i, target,
              got[i]);
    }
    check_mpi(MPI_Rget(&one, 8, MPI_BYTE, target,
                       starts[target] + (MPI_Aint)bytes - 8, 8, MPI_BYTE, win,
                       &request), "rget");
    check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
    check_mpi(MPI_Fetch_and_op(NULL, &same, MPI_UINT64_T, target,
                               starts[target] + 8, MPI_NO_OP, win),
              "fetch_and_op, MPI_NO_OP");
    check_mpi(MPI_Win_flush(target, win), "flush");
    check((one == XXXXXXXX) && (same == XXXXXXXX), "%lx and %lx of rank %d",
          one, same, target);
}

static void test_stores(int target)
{
    MPI_Aint at = starts[target];
    uint64_t one = 1, same = XXXXXXXX, result;
    MPI_Request request;

    check_class(MPI_Put(&one, 1, MPI_UINT64_T, target, at, 1, MPI_UINT64_T,
                        win), MPI_ERR_ACCESS, "put");
    check_class(MPI_Rput(&one, 8, MPI_BYTE, target, at, 1, MPI_UINT64_T, win,
                         &request), MPI_ERR_ACCESS, "rput");
    check_class(MPI_Accumulate(&one, 1, MPI_UINT64_T, target, at, 1,
                               MPI_UINT64_T, MPI_SUM, win), MPI_ERR_ACCESS,
                "accumulate");
    check_class(MPI_Fetch_and_op(&one, &result, MPI_UINT64_T, target, at,
                                 MPI_SUM, win), MPI_ERR_ACCESS,
                "fetch_and_op");
    check_class(MPI_Compare_and_swap(&one, &same, &result, MPI_UINT64_T, target,
                                     at, win), MPI_ERR_ACCESS,
                "compare_and_swap");
}

int main(int argc, char **argv)
{
    int rank;

    check_init(&argc, &argv);
    check(argc == 3, "usage: reading KIND PATH");
    make(argv[2]);
    map(argv[2]);
    expose(argv[1]);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    for (rank = 0; rank < check_size; ++rank) {
        test_gets(rank);
        test_stores(rank);
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check(mprotect(words, bytes, PROT_READ) == 0, "mprotect: %m");
    check((words[0] == XXXXXXXX) && (words[bytes / 8 - 1] == XXXXXXXX),
          "the file is %lx", words[0]);
    check_mpi(MPI_Win_free(&win), "free");
    check(words[1] == XXXXXXXX, "after the free, there is %lx", words[1]);
    if (check_rank == 0) {
        printf("read\n");
    }
    MPI_Finalize();
    return 0;
}
