/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A rank ends in the middle of an accumulate, as memory cannot be read: that of
 * many operands, or the word that it accumulates at. The others get an error when
 * they accumulate at the same target, and do not wait for ever. Run this so that
 * the job outlives a rank.
 *
 * usage: orphan PATH many|word
 */

#define _GNU_SOURCE

#include "window.h"

#include <signal.h>
#include <stdint.h>

#define SIZE   65536
#define TARGET 1 /* which ends */

static void die(int signo)
{
    kill(getpid(), SIGKILL);
    (void)signo;
}

/* Accumulate from memory that cannot be read */
static void end_within(const window_t *window)
{
    void *none = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);

    check(none != MAP_FAILED, "mmap: %m");
    check(signal(SIGSEGV, die) != SIG_ERR, "signal: %m");
    MPI_Accumulate(none, SIZE / 8, MPI_UINT64_T, TARGET, 0, SIZE / 8,
                   MPI_UINT64_T, MPI_SUM, window->win);
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

int main(int argc, char **argv)
{
    window_t window = {.kind = "own", .size = SIZE, .unit = 8,
                       .info = MPI_INFO_NULL};
    MPI_Comm others;
    int ret;

    check_init(&argc, &argv);
    check((argc == 3) && (check_size > 2), "usage: orphan PATH many|word");
    window.path = argv[1];
    check_mpi(window_open(&window), "the window");
    check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, window.win), "lock_all");
    check_mpi(accumulate(&window), "fetch_and_op");
    MPI_Comm_split(MPI_COMM_WORLD, check_rank == TARGET, 0, &others);
    MPI_Barrier(MPI_COMM_WORLD);
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
