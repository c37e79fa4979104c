/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time truncate(2) of a file with a segment of a window */

/*
 * usage: truncate FILE; rank 0 prints: MS
 *
 * Rank 0 has its segment of the window in the file, and all other ranks put
 * into it while another process truncates the file.
 */

#include <mpi.h>

#include "stats.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH     65536
#define SETTLE_SEC 0.2  /* traffic before the truncate */
#define LIMIT_SEC  60.0 /* for the error to come */

/* Have another process truncate the file, which is none of MPI's */
static pid_t start_truncate(const char *path, int result)
{
    pid_t pid = fork();
    double start, ms;

    if (pid != 0) {
        return pid;
    }
    usleep((useconds_t)(SETTLE_SEC * 1e6));
    start = now();
    if (truncate(path, 0) != 0) {
        perror(path);
        _exit(1);
    }
    ms = (now() - start) * 1e3;
    _exit(write(result, &ms, sizeof(ms)) == sizeof(ms) ? 0 : 1);
}

/* Put until that fails. Return 0 if it does not fail within the limit. */
static int put_until_error(MPI_Win win)
{
    double end  = now() + LIMIT_SEC;
    long value  = 1;
    int ret     = MPI_SUCCESS;

    while ((ret == MPI_SUCCESS) && (now() < end)) {
        ret = MPI_Put(&value, 8, MPI_BYTE, 0, 0, 8, MPI_BYTE, win);
        ret = (ret == MPI_SUCCESS) ? MPI_Win_flush(0, win) : ret;
    }
    return ret != MPI_SUCCESS;
}

int main(int argc, char **argv)
{
    int result[2], status = 1, rank;
    double ms = 0;
    MPI_Info info;
    MPI_Win win;
    pid_t pid = 0;
    void *base;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if ((argc != 2) || (pipe(result) != 0)) {
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", argv[1]);
    MPI_Win_allocate((rank == 0) ? LENGTH : 0, 1, info, MPI_COMM_WORLD, &base,
                     &win);
    MPI_Info_free(&info);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    MPI_Win_lock_all(0, win);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        pid = start_truncate(argv[1], result[1]);
    }
    if (!put_until_error(win)) {
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    if (rank == 0) {
        waitpid(pid, &status, 0);
        if ((status != 0) ||
            (read(result[0], &ms, sizeof(ms)) != sizeof(ms))) {
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
        printf("%.3f\n", ms);
    }
    /* The first call may report the error once more */
    if (MPI_Win_unlock_all(win) != MPI_SUCCESS) {
        MPI_Win_unlock_all(win);
    }
    MPI_Win_free(&win);
    MPI_Finalize();
    return 0;
}
