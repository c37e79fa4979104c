/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Shared windows of the ranks of each node, while there are other nodes: loads
 * and stores, puts, empty segments, and a truncate that is an error for the
 * ranks of one node only.
 *
 * usage: shared PATH INTRUDE
 */

#define _GNU_SOURCE

#include "window.h"

#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>

#define WORDS 512

extern char **environ;

static MPI_Comm node;
static MPI_Win win;
static int rank, size; /* on this node */

/* Return a rank's segment; that of an odd rank has no bytes */
static uint64_t *segment_of(int other, MPI_Aint *bytes_p)
{
    uint64_t *base;
    int unit;

    check_mpi(MPI_Win_shared_query(win, other, bytes_p, &unit, &base),
              "shared_query");
    return base;
}

static void test_segments(void)
{
    MPI_Aint bytes;
    uint64_t *first = segment_of(0, &bytes);
    int other;

    for (other = 0; other < size; ++other) {
        check(segment_of(other, &bytes) == first + (other + 1) / 2 * WORDS,
              "the segment of rank %d is at %p, and the first at %p", other,
              (void*)segment_of(other, &bytes), (void*)first);
        check(bytes == ((other % 2 == 1) ? 0 : WORDS * 8),
              "the segment of rank %d has %ld bytes", other, bytes);
    }
}

static void test_stores(void)
{
    uint64_t *words, value = 100 + rank;
    MPI_Aint bytes;
    int other;

    words = segment_of(0, &bytes);
    check_mpi(MPI_Win_fence(0, win), "fence");
    words[rank] = rank;
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 0, 64 + rank, 1, MPI_UINT64_T,
                      win), "put");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    for (other = 0; other < size; ++other) {
        check((words[other] == (uint64_t)other) &&
                      (words[64 + other] == 100u + other),
              "rank %d stored %lu and put %lu", other, words[other],
              words[64 + other]);
    }
    MPI_Barrier(node);
}

/* Truncate the file of the first node only */
static void test_truncate(const char *path, const char *intrude, int is_first)
{
    char copy[PATH_MAX], text[MPI_MAX_ERROR_STRING];
    char *argv[]   = {(char*)intrude, (char*)path, copy, NULL};
    uint64_t value = 1;
    int ret, length, status;
    pid_t pid;

    snprintf(copy, sizeof(copy), "%s.copy", path);
    if (is_first && (rank == 0)) {
        check((posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0) &&
                      (waitpid(pid, &status, 0) == pid) && (status == 0),
              "the intruder failed");
        unlink(copy);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock_all(0, win);
    ret = MPI_Put(&value, 1, MPI_UINT64_T, 0, rank, 1, MPI_UINT64_T, win);
    check((ret != MPI_SUCCESS) == is_first, "put: %d", ret);
    ret = MPI_Win_unlock_all(win);
    check((ret != MPI_SUCCESS) == is_first, "unlock_all: %d", ret);
    if (is_first) {
        MPI_Error_string(ret, text, &length);
        check(strstr(text, "MPIX_ERR_DAXPIN_REVOKED: target rank 0: ") == text,
              "the error is %s", text);
        /* The epoch has ended, and the next one begins as usual */
        check_class(MPI_Win_unlock_all(win), MPI_ERR_RMA_SYNC,
                    "unlock_all again");
    }
    check_mpi(MPI_Win_lock_all(0, win), "the next lock_all");
    check_mpi(MPI_Win_unlock_all(win), "the next unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    MPI_Info info;
    char *base;
    int first = 0;

    check_init(&argc, &argv);
    check(argc == 3, "usage: shared PATH INTRUDE");
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &node);
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &size);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", argv[1]);
    check_mpi(MPI_Win_allocate_shared((rank % 2 == 1) ? 0 : WORDS * 8, 8, info,
                                      node, &base, &win), "allocate_shared");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    test_segments();
    test_stores();
    first = check_rank == 0;
    MPI_Bcast(&first, 1, MPI_INT, 0, node);
    test_truncate(argv[1], argv[2], first);
    check_mpi(MPI_Win_free(&win), "free");
    MPI_Info_free(&info);
    MPI_Comm_free(&node);
    MPI_Finalize();
    return 0;
}
