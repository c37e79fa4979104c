/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Unusual ends of windows, after data was put.
 *
 * usage: ends HOW PATH
 *   left      the window is never freed
 *   self      it is freed when MPI_COMM_SELF goes, in MPI_Finalize()
 *   unmapped  its memory is unmapped and its file removed before it is freed
 *   errors    MPI_Abort() in an epoch, with status 7
 *   locked    it is freed while all of it is locked, another one while its ranks
 *             lock a part one after the other, and none unlocks it
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

static window_t window;

static int free_window(MPI_Comm comm, int key, void *value, void *extra)
{
    check_mpi(MPI_Win_free(&window.win), "free");
    return MPI_SUCCESS;
}

static void free_with_self(void)
{
    int key;

    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, free_window, &key, NULL);
    MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
}

/* Each rank but the first waits for the lock until the one before it frees the
 * window */
static void free_locked(void)
{
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    check_mpi(MPI_Win_free(&window.win), "free in an epoch of lock_all");
    check_mpi(window_open(&window), "another window");
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win), "lock");
    check_mpi(MPI_Win_free(&window.win), "free in an epoch of a lock");
}

int main(int argc, char **argv)
{
    const char *how;
    uint64_t value;
    int right;

    check_init(&argc, &argv);
    check(argc == 3, "usage: ends HOW PATH");
    how    = argv[1];
    right  = (check_rank + 1) % check_size;
    value  = 100 + (uint64_t)check_rank;
    window = (window_t){.kind = (strcmp(how, "unmapped") == 0) ? "create" :
                                                                 "own",
                        .path = argv[2], .size = 65536, .unit = 8,
                        .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, right, 0, 1, MPI_UINT64_T,
                      window.win), "put");
    if (strcmp(how, "errors") == 0) {
        MPI_Abort(MPI_COMM_WORLD, 7);
    }
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check(*(uint64_t*)window.base ==
                  100u + (unsigned)((check_rank + check_size - 1) %
                                    check_size), "the data is wrong");
    if (strcmp(how, "self") == 0) {
        free_with_self();
    } else if (strcmp(how, "unmapped") == 0) {
        munmap(window.base, window.size);
        unlink(window.file);
        check_mpi(MPI_Win_free(&window.win), "free");
    } else if (strcmp(how, "locked") == 0) {
        free_locked();
    }
    MPI_Finalize();
    return 0;
}
