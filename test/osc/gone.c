/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A rank ends while the others wait for it. They get an error that names the
 * rank, and do not wait for ever. Run this so that the job outlives a rank, on
 * one node, or with rank 1 alone on its node.
 *
 * usage: gone HOW KIND PATH [MS]
 *   put    it ends, and others put
 *   get    the same with get
 *   add    the same with accumulates
 *   rput   the same with requests
 *   lock   it ends while it has locked rank 0
 *   start  it ends before it posts
 *   wait   it ends before it completes
 *   test   the same, and others test for that
 *   post   it ends, and others post to it
 *   fence, free
 *   stopped  the rank is stopped for MS in a fence: that is no error
 *   shares it ends, and others lock all: they keep no lock, so that one of them
 *          gets an exclusive one. Only with a dynamic window on two nodes, or with
 *          any on one.
 * Only on one node, where the waits are daxpin's own:
 *   shared   it ends while it shares a lock of rank 0
 *   lockall  it ends while it has locked rank 0, and others lock all
 *   queue    it ends while it waits for a lock of rank 0, which the next one in
 *            the queue gets: that is no error
 *   fences   as fence; another fence has the same error
 *   leaves   it is stopped while it is the first that waits for a lock of rank 0,
 *            and another one gives up waiting several times: both get the lock
 *            later
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
#define LAST   2
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

/* Test for the end of an exposure, until it has ended */
static int test(void)
{
    int flag = 0;
    int ret  = MPI_SUCCESS;

    while ((ret == MPI_SUCCESS) && !flag) {
        ret = MPI_Win_test(window.win, &flag);
    }
    return ret;
}

/* Fence once more after the error */
static int fences(void)
{
    int ret = MPI_Win_fence(0, window.win);

    return (ret == MPI_SUCCESS) ? ret : MPI_Win_fence(0, window.win);
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

/* Have a child send this process a signal after a time. Return its pid. */
static pid_t signal_later(long ms, int signo)
{
    const pid_t self = getpid();
    const pid_t pid  = fork();

    check(pid >= 0, "fork: %m");
    if (pid == 0) {
        pause_ms(ms);
        kill(self, signo);
        _exit(0);
    }
    return pid;
}

/* Stop this process for a time */
static void stop(long ms)
{
    const pid_t pid = signal_later(ms, SIGCONT);

    kill(getpid(), SIGSTOP);
    waitpid(pid, NULL, 0);
}

/* End this process, when the others wait for it */
static void victim(const char *how, MPI_Group others)
{
    if (is_how(how, "lock") || is_how(how, "lockall")) {
        check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win), "lock");
    } else if (is_how(how, "shared")) {
        check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window.win), "lock");
    } else if (is_how(how, "wait") || is_how(how, "test")) {
        check_mpi(MPI_Win_start(others, 0, window.win), "start");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    pause_ms(MS);
    kill(getpid(), SIGKILL);
}

static int outlive(const char *how, MPI_Group group)
{
    if (is_how(how, "wait") || is_how(how, "test")) {
        check_mpi(MPI_Win_post(group, 0, window.win), "post");
        MPI_Barrier(MPI_COMM_WORLD);
        return is_how(how, "wait") ? MPI_Win_wait(window.win) : test();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (is_how(how, "lock") || is_how(how, "shared")) {
        return MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win);
    }
    if (is_how(how, "lockall")) {
        return MPI_Win_lock_all(0, window.win);
    }
    if (is_how(how, "fences")) {
        return fences();
    }
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

/* Rank 0 has its own lock, the victim waits for it, and after it the last rank.
 * When the victim has ended, the last one gets the lock. */
static int outlive_queue(MPI_Comm left)
{
    if (check_rank == 0) {
        check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win), "lock");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == VICTIM) {
        (void)signal_later(MS, SIGKILL); /* when it waits in the call */
        (void)MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win);
        check(0, "the victim has the lock");
    }
    pause_ms(2 * MS);
    MPI_Barrier(left); /* The victim is in the queue, and has ended */
    if (check_rank == 0) {
        pause_ms(MS);
        check_mpi(MPI_Win_unlock(0, window.win), "unlock");
    } else {
        check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win),
                  "the next lock");
        check_mpi(MPI_Win_unlock(0, window.win), "its unlock");
    }
    MPI_Barrier(left);
    printf("rank %d has its error\n", check_rank); /* or its lock */
    fflush(stdout);
    _exit(0);
}

/* All know that the victim has ended when they lock it */
static int outlive_shares(MPI_Comm left)
{
    MPI_Barrier(MPI_COMM_WORLD);
    check_class(MPI_Win_fence(0, window.win), GONE, "fence");
    check_class(MPI_Win_lock_all(0, window.win), GONE, "lock_all");
    MPI_Barrier(left);
    if (check_rank == LAST) {
        check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win),
                  "a lock that nobody has");
        check_mpi(MPI_Win_unlock(0, window.win), "its unlock");
    }
    MPI_Barrier(left);
    printf("rank %d has its error\n", check_rank);
    fflush(stdout);
    _exit(0);
}

/* Lock rank 0, and unlock it */
static int lock_once(void)
{
    int ret = MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win);

    if (ret == MPI_SUCCESS) {
        check_mpi(MPI_Win_unlock(0, window.win), "unlock");
    }
    return ret;
}

/* Have the victim stopped when it is in the queue. It may give up, too, when it
 * goes on. */
static void leaves_owner(pid_t pid)
{
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window.win), "lock");
    MPI_Barrier(MPI_COMM_WORLD);
    pause_ms(MS / 2);
    check(kill(pid, SIGSTOP) == 0, "kill: %m");
    MPI_Send(NULL, 0, MPI_BYTE, LAST, 0, MPI_COMM_WORLD);
    MPI_Recv(NULL, 0, MPI_BYTE, LAST, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    check_mpi(MPI_Win_unlock(0, window.win), "unlock");
    check(kill(pid, SIGCONT) == 0, "kill: %m");
}

/* Needs a short osc_daxpin_peer_timeout_ms that is longer than MS, and 3 ranks */
static int outlive_leaves(void)
{
    int pid = getpid();
    int i, ret;

    MPI_Bcast(&pid, 1, MPI_INT, VICTIM, MPI_COMM_WORLD);
    if (check_rank == 0) {
        leaves_owner(pid);
    } else if (check_rank == VICTIM) {
        MPI_Barrier(MPI_COMM_WORLD);
        (void)lock_once();
    } else {
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Recv(NULL, 0, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (i = 0; i <= check_size; ++i) {
            check(lock_once() != MPI_SUCCESS, "a lock that rank 0 has");
        }
        MPI_Send(NULL, 0, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0, ret = MPI_ERR_OTHER; (i < 10) && (ret != MPI_SUCCESS); ++i) {
        ret = lock_once(); /* the machine may be slow */
    }
    check_mpi(ret, "a lock that nobody has");
    MPI_Barrier(MPI_COMM_WORLD);
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
    if (is_how(argv[1], "leaves")) {
        return outlive_leaves();
    }
    if (is_how(argv[1], "queue")) {
        return outlive_queue(left);
    }
    if (check_rank == VICTIM) {
        victim(argv[1], others);
    }
    if (is_how(argv[1], "shares")) {
        return outlive_shares(left);
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
