/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A rank of another node ends while the others wait for it. They get an error
 * that names the rank, and do not wait for ever. Run this so that the job
 * outlives a rank, with rank 1 alone on its node.
 *
 * usage: gone HOW KIND PATH [MS]
 *   put    it ends, and others put
 *   get    the same with get
 *   add    the same with accumulates
 *   rput   the same with requests
 *   lock   it ends while it has locked rank 0
 *   start  it ends before it posts
 *   wait   it ends before it completes
 *   post   it ends, and others post to it
 *   fence, free
 *   stopped  the rank is stopped for MS in a fence: that is no error
 */

#define _GNU_SOURCE

#include "window.h"

#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

#define SIZE   65536
#define VICTIM 1
#define MANY   20

#define MS     500 /* until the others wait */

#ifdef MPI_ERR_PROC_ABORTED
#  define GONE MPI_ERR_PROC_ABORTED
#else
#  define GONE MPI_ERR_OTHER
#endif

static window_t window;

static int is_how(const char *how, const char *name)
{
    return strcmp(how, name) == 0;
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec  = ms / 1000,
                                   .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* Put with many requests at once, and return an error if any has one */
static int put_many(MPI_Aint disp)
{
    MPI_Request requests[MANY];
    MPI_Status statuses[MANY];
    uint64_t value = 1;
    int i, ret;

    for (i = 0; i < MANY; ++i) {
        ret = MPI_Rput(&value, 1, MPI_UINT64_T, VICTIM, disp, 1, MPI_UINT64_T,
                       window.win, &requests[i]);
        if (ret != MPI_SUCCESS) {
            return ret;
        }
    }
    ret = MPI_Waitall(MANY, requests, statuses);
    for (i = 0; (ret == MPI_ERR_IN_STATUS) && (i < MANY); ++i) {
        if ((statuses[i].MPI_ERROR != MPI_SUCCESS) &&
            (statuses[i].MPI_ERROR != MPI_ERR_PENDING)) {
            ret = statuses[i].MPI_ERROR;
        }
    }
    return ret;
}

/* Access the rank that has ended, until that is an error */
static int access_it(const char *how)
{
    uint64_t value = 1, old;
    MPI_Aint disp  = window_disp(&window, VICTIM, 0);
    int ret;

    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, VICTIM, MPI_MODE_NOCHECK,
                           window.win), "lock");
    do {
        if (is_how(how, "rput")) {
            ret = put_many(disp);
        } else if (is_how(how, "put")) {
            ret = MPI_Put(&value, 1, MPI_UINT64_T, VICTIM, disp, 1,
                          MPI_UINT64_T, window.win);
        } else if (is_how(how, "get")) {
            ret = MPI_Get(&value, 1, MPI_UINT64_T, VICTIM, disp, 1,
                          MPI_UINT64_T, window.win);
        } else {
            ret = MPI_Fetch_and_op(&value, &old, MPI_UINT64_T, VICTIM, disp,
                                   MPI_SUM, window.win);
        }
        if (ret == MPI_SUCCESS) {
            ret = MPI_Win_flush(VICTIM, window.win);
        }
    } while (ret == MPI_SUCCESS);
    return ret;
}

static int start(MPI_Group group)
{
    int ret = MPI_Win_start(group, 0, window.win);

    return (ret != MPI_SUCCESS) ? ret : MPI_Win_complete(window.win);
}

static int post(MPI_Group group)
{
    int ret;

    do { /* each waits until the last one has ended */
        ret = MPI_Win_post(group, 0, window.win);
        if (ret == MPI_SUCCESS) {
            ret = MPI_Win_wait(window.win);
        }
    } while (ret == MPI_SUCCESS);
    return ret;
}

/* Stop this process for a time */
static void stop(long ms)
{
    const pid_t self = getpid();
    const pid_t pid  = fork();

    check(pid >= 0, "fork: %m");
    if (pid == 0) {
        pause_ms(ms);
        kill(self, SIGCONT);
        _exit(0);
    }
    kill(self, SIGSTOP);
    waitpid(pid, NULL, 0);
}

/* End this process, when the others wait for it */
static void victim(const char *how, MPI_Group others)
{
    if (is_how(how, "lock")) {
        check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win), "lock");
    } else if (is_how(how, "wait")) {
        check_mpi(MPI_Win_start(others, 0, window.win), "start");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    pause_ms(MS);
    kill(getpid(), SIGKILL);
}

static int outlive(const char *how, MPI_Group group)
{
    if (is_how(how, "lock")) {
        MPI_Barrier(MPI_COMM_WORLD);
        return MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win);
    }
    if (is_how(how, "wait")) {
        check_mpi(MPI_Win_post(group, 0, window.win), "post");
        MPI_Barrier(MPI_COMM_WORLD);
        return MPI_Win_wait(window.win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (is_how(how, "start")) {
        return start(group);
    }
    if (is_how(how, "post")) {
        return post(group);
    }
    if (is_how(how, "fence")) {
        return MPI_Win_fence(0, window.win);
    }
    return is_how(how, "free") ? MPI_Win_free(&window.win) : access_it(how);
}

/* A rank that is stopped is waited for */
static int outlive_stop(long ms)
{
    check_mpi(MPI_Win_fence(0, window.win), "fence");
    if (check_rank == VICTIM) {
        stop(ms);
    }
    check_mpi(MPI_Win_fence(0, window.win), "the next fence");
    window_close(&window);
    MPI_Finalize();
    return 0;
}

int main(int argc, char **argv)
{
    char text[MPI_MAX_ERROR_STRING];
    int victims[] = {VICTIM};
    MPI_Group world, one, others;
    MPI_Comm left;
    int length, ret;

    check_init(&argc, &argv);
    check((argc >= 4) && (check_size > 2), "usage: gone HOW KIND PATH [MS]");
    window = (window_t){.kind = argv[2], .path = argv[3], .size = SIZE,
                        .unit = 8, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "the window");
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, 1, victims, &one);
    MPI_Group_excl(world, 1, victims, &others);
    MPI_Comm_split(MPI_COMM_WORLD, check_rank == VICTIM, 0, &left);
    if (is_how(argv[1], "stopped")) {
        return outlive_stop((argc > 4) ? atol(argv[4]) : MS);
    }
    if (check_rank == VICTIM) {
        victim(argv[1], others);
    }
    ret = outlive(argv[1], one);
    check(ret != MPI_SUCCESS, "%s: no error", argv[1]);
    MPI_Error_string(ret, text, &length);
    check(strncmp(text, "rank 1 ", 7) == 0, "%s: the error is: %s", argv[1],
          text);
    check_class(ret, GONE, argv[1]);
    MPI_Barrier(left);
    printf("rank %d has its error\n", check_rank);
    fflush(stdout);
    _exit(0); /* MPI would wait for the rank that has ended */
}
