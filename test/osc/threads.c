/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Threads that use one window at once: they put, get, accumulate and flush.
 * Then an intruder truncates rank 0's file in the middle of it.
 *
 * usage: threads KIND PATH INTRUDE TURNS
 */

#define _GNU_SOURCE

#include "../pace.h"
#include "window.h"

#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>

#define THREADS      4
#define SIZE         65536
#define COUNTER      1024 /* word to which all threads add */
#define PATIENCE_SEC 60.0

extern char **environ;

static window_t window;
static MPI_Win win;
static int turns;
static int victims; /* number of ranks, from 0 on, that lose their file */

/* Return where a thread's own word at a target is */
static MPI_Aint word_of(int target, int thread)
{
    return window_disp(&window, target, check_rank * THREADS + thread);
}

static void turn(int target, int thread, uint64_t number)
{
    uint64_t got = 0;
    double one = 1, was;

    check_mpi(MPI_Put(&number, 1, MPI_UINT64_T, target,
                      word_of(target, thread), 1, MPI_UINT64_T, win), "put");
    check_mpi(MPI_Win_flush(target, win), "flush");
    check_mpi(MPI_Get(&got, 1, MPI_UINT64_T, target, word_of(target, thread),
                      1, MPI_UINT64_T, win), "get");
    check_mpi(MPI_Win_flush(target, win), "flush");
    check(got == number, "thread %d put %lu and got %lu", thread, number, got);
    check_mpi(MPI_Accumulate(&one, 1, MPI_DOUBLE, target,
                             window_disp(&window, target, COUNTER), 1,
                             MPI_DOUBLE, MPI_SUM, win), "accumulate");
    check_mpi(MPI_Fetch_and_op(&one, &was, MPI_DOUBLE, target,
                               window_disp(&window, target, COUNTER), MPI_SUM,
                               win), "fetch_and_op");
    check_mpi(MPI_Win_flush_all(win), "flush_all");
}

static void *work(void *arg)
{
    int thread = (int)(intptr_t)arg;
    int target;
    uint64_t i;

    for (i = 1; i <= (uint64_t)turns; ++i) {
        for (target = 0; target < check_size; ++target) {
            turn(target, thread, i);
        }
    }
    return NULL;
}

/* Put until there is an error. Targets that are no victims have none. */
static void *put_until_error(void *arg)
{
    int thread = (int)(intptr_t)arg;
    double sec = PATIENCE_SEC * pace_slow();
    double end = MPI_Wtime() + sec;
    int target, put_ret, ret, failed = 0;
    uint64_t i;

    for (i = 1; !failed; ++i) {
        check(MPI_Wtime() < end, "no error in %g s", sec);
        for (target = 0; target < check_size; ++target) {
            put_ret = MPI_Put(&i, 1, MPI_UINT64_T, target,
                              word_of(target, thread), 1, MPI_UINT64_T, win);
            ret     = MPI_Win_flush(target, win);
            check((put_ret == MPI_SUCCESS) || (ret != MPI_SUCCESS),
                  "a put failed, and the flush did not");
            check((ret == MPI_SUCCESS) || (target < victims),
                  "an error for target %d", target);
            failed |= ret != MPI_SUCCESS;
        }
    }
    return NULL;
}

static void run_threads(void *(*func)(void*))
{
    pthread_t threads[THREADS];
    intptr_t i;

    for (i = 0; i < THREADS; ++i) {
        check(pthread_create(&threads[i], NULL, func, (void*)i) == 0,
              "no thread");
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
    }
}

static pid_t send_intruder(const char *intrude)
{
    char copy[PATH_MAX];
    char *argv[] = {(char*)intrude, window.file, copy, NULL};
    pid_t pid;

    snprintf(copy, sizeof(copy), "%s.copy", window.path);
    check(posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0,
          "%s: cannot start: %m", intrude);
    return pid;
}

static void test_truncate(const char *intrude)
{
    char copy[PATH_MAX];
    pid_t pid  = 0;
    int status = 0;

    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    if (check_rank == 0) {
        pid = send_intruder(intrude);
    }
    run_threads(put_until_error);
    if (check_rank == 0) {
        check((waitpid(pid, &status, 0) == pid) && (status == 0),
              "the intruder failed");
        snprintf(copy, sizeof(copy), "%s.copy", window.path);
        unlink(copy);
    }
    MPI_Win_unlock_all(win);
}

int main(int argc, char **argv)
{
    int provided, size;

    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check(argc == 5, "usage: threads KIND PATH INTRUDE TURNS");
    if (provided != MPI_THREAD_MULTIPLE) {
        MPI_Finalize();
        return 77;
    }
    window  = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                         .unit = 8, .info = MPI_INFO_NULL};
    turns   = atoi(argv[4]);
    victims = 1;
    if (window_is(&window, "one")) {
        node_rank(&size);
        victims = check_size;
        check(size == check_size, "one file is for one node");
    }
    check_mpi(window_open(&window), "window");
    win = window.win;
    memset(window.base, 0, SIZE);
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    run_threads(work);
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check(((double*)window.base)[COUNTER] == 2.0 * check_size * THREADS * turns,
          "the threads counted to %g", ((double*)window.base)[COUNTER]);
    MPI_Barrier(MPI_COMM_WORLD);
    test_truncate(argv[3]);
    MPI_Barrier(MPI_COMM_WORLD);
    window_close(&window);
    MPI_Finalize();
    return 0;
}
