/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * All ranks are stopped for longer than a lease lasts that another process
 * wants to end. What rank 0 puts after that is not in the file under lease, so
 * no synchronisation may say so, however soon it comes.
 *
 * usage: stopped HOW PATH
 *   flush, unlock  how rank 0 ends each put
 *
 * Prints its processes, and how the first put ends that begins after SIGCONT.
 */

#define _GNU_SOURCE

#include "window.h"

#include <signal.h>

static window_t window;
static volatile sig_atomic_t was_stopped;

static void note_stop(int signo)
{
    was_stopped = 1;
}

static int put(long value, int by_flush)
{
    const MPI_Aint disp = window_disp(&window, 1, 0);
    int ret             = MPI_SUCCESS;

    if (!by_flush) {
        ret = MPI_Win_lock(MPI_LOCK_SHARED, 1, MPI_MODE_NOCHECK, window.win);
    }
    if (ret == MPI_SUCCESS) {
        ret = MPI_Put(&value, 1, MPI_LONG, 1, disp, 1, MPI_LONG, window.win);
    }
    if (by_flush) {
        return (ret == MPI_SUCCESS) ? MPI_Win_flush(1, window.win) : ret;
    }
    return (ret == MPI_SUCCESS) ? MPI_Win_unlock(1, window.win) : ret;
}

/* Put until all was stopped, and once more */
static int put_all(int by_flush)
{
    int is_last = 0;
    int ret     = MPI_SUCCESS;
    long i;

    for (i = 1; (ret == MPI_SUCCESS) && !is_last; ++i) {
        is_last = was_stopped;
        ret     = put(i, by_flush);
    }
    return ret;
}

int main(int argc, char **argv)
{
    char text[MPI_MAX_ERROR_STRING] = "no error";
    int by_flush, length, ret;

    check_init(&argc, &argv);
    check((argc == 3) && (check_size == 2), "usage: stopped HOW PATH");
    signal(SIGCONT, note_stop);
    by_flush = strcmp(argv[1], "flush") == 0;
    window   = (window_t){.kind = "own", .path = argv[2], .size = 4096,
                          .unit = 8, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "the window");
    if (by_flush) {
        check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, window.win), "lock_all");
    }
    printf("process %d\n", (int)getpid());
    fflush(stdout);
    if (check_rank == 0) {
        ret = put_all(by_flush);
        if (ret != MPI_SUCCESS) {
            MPI_Error_string(ret, text, &length);
        }
        printf("after the stop: %s\n", text);
        fflush(stdout);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    _exit(0); /* the window is revoked, at one rank or both */
}
