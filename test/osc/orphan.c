/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A rank ends in the middle of an accumulate, as memory cannot be read: that of
 * many operands, or the word that it accumulates at. The others get an error when
 * they accumulate at the same target, and do not wait for ever. Run this so that
 * the job outlives a rank.
 *
 * Or the rank stops there. The others wait until it is continued, by the caller;
 * or they get an error after osc_daxpin_peer_timeout_ms, and continue it.
 *
 * usage: orphan PATH many|word|stop|silent
 */

#define _GNU_SOURCE

#include "window.h"

#include <signal.h>
#include <stdint.h>

#define SIZE   65536
#define TARGET 1 /* which ends, or stops */

static void *none; /* memory that cannot be read */

static void die(int signo)
{
    kill(getpid(), SIGKILL);
    (void)signo;
}

static void stop(int signo)
{
    raise(SIGSTOP);
    mprotect(none, SIZE, PROT_READ);
    (void)signo;
}

/* Accumulate from memory that cannot be read */
static void accumulate_none(const window_t *window, void (*handler)(int))
{
    none = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(none != MAP_FAILED, "mmap: %m");
    check(signal(SIGSEGV, handler) != SIG_ERR, "signal: %m");
    check_mpi(MPI_Accumulate(none, SIZE / 8, MPI_UINT64_T, TARGET, 0, SIZE / 8,
                             MPI_UINT64_T, MPI_SUM, window->win),
              "accumulate");
}

static void end_within(const window_t *window)
{
    accumulate_none(window, die);
    fail("the accumulate returned");
}

static int accumulate(const window_t *window)
{
    uint64_t one = 1, old;

    return MPI_Fetch_and_op(&one, &old, MPI_UINT64_T, TARGET, 0, MPI_SUM,
                            window->win);
}

/* Accumulate at a word that cannot be read here */
static void end_at_word(const window_t *window)
{
    check(mprotect(window->base, SIZE, PROT_NONE) == 0, "mprotect: %m");
    check(signal(SIGSEGV, die) != SIG_ERR, "signal: %m");
    accumulate(window);
    fail("the accumulate returned");
}

/* Accumulate until the target goes on */
static void wait_for_target(const window_t *window)
{
    MPI_Request request;
    int flag;

    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    do {
        check_mpi(accumulate(window), "fetch_and_op");
        MPI_Test(&request, &flag, MPI_STATUS_IGNORE);
    } while (!flag);
}

/* Accumulate until there is an error, and let the target go on */
static void give_target_up(const window_t *window, MPI_Comm others, int pid)
{
    MPI_Request request;
    int ret;

    do {
        ret = accumulate(window);
    } while (ret == MPI_SUCCESS);
    check_class(ret, MPI_ERR_OTHER, "fetch_and_op");
    MPI_Barrier(others);
    if (check_rank == 0) {
        check(kill(pid, SIGCONT) == 0, "kill: %m");
    }
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

static int test_stop(window_t *window, MPI_Comm others, int is_silent)
{
    MPI_Request request;
    int pid = getpid();

    MPI_Bcast(&pid, 1, MPI_INT, TARGET, MPI_COMM_WORLD);
    if (check_rank == TARGET) {
        accumulate_none(window, stop);
        MPI_Ibarrier(MPI_COMM_WORLD, &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    } else if (is_silent) {
        give_target_up(window, others, pid);
    } else {
        wait_for_target(window);
    }
    check_mpi(accumulate(window), "fetch_and_op after the stop");
    check_mpi(MPI_Win_unlock_all(window->win), "unlock_all");
    window_close(window);
    MPI_Finalize();
    return 0;
}

int main(int argc, char **argv)
{
    window_t window = {.kind = "own", .size = SIZE, .unit = 8,
                       .info = MPI_INFO_NULL};
    MPI_Comm others;
    int ret;

    check_init(&argc, &argv);
    check((argc == 3) && (check_size > 2), "usage: orphan PATH HOW");
    window.path = argv[1];
    check_mpi(window_open(&window), "the window");
    check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, window.win), "lock_all");
    check_mpi(accumulate(&window), "fetch_and_op");
    MPI_Comm_split(MPI_COMM_WORLD, check_rank == TARGET, 0, &others);
    MPI_Barrier(MPI_COMM_WORLD);
    if ((strcmp(argv[2], "stop") == 0) || (strcmp(argv[2], "silent") == 0)) {
        return test_stop(&window, others, strcmp(argv[2], "silent") == 0);
    }
    if (check_rank == TARGET) {
        (strcmp(argv[2], "word") == 0) ? end_at_word(&window) :
                                         end_within(&window);
    }
    do { /* until the rank has come so far */
        ret = accumulate(&window);
    } while (ret == MPI_SUCCESS);
    check_class(ret, MPI_ERR_OTHER, "fetch_and_op");
    check_class(accumulate(&window), MPI_ERR_OTHER, "the next fetch_and_op");
    MPI_Barrier(others);
    printf("rank %d has its error\n", check_rank);
    fflush(stdout);
    _exit(0); /* MPI would wait for the rank that has ended */
}
