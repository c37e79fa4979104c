/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * While a window over a file is made, ranks that wait for each other yield, so
 * that threads of libdaxpin get a processor. Otherwise they do what the program
 * wants: with the MCA parameter mpi_yield_when_idle 0 they do not yield.
 *
 * usage: yields PATH
 */

#define _GNU_SOURCE

#include "window.h"

#include <sched.h>
#include <sys/syscall.h>

#define WINDOWS 20

static unsigned yields; /* of the program's thread */

/* Takes the place of the C library's */
int sched_yield(void)
{
    yields += gettid() == getpid();
    return (int)syscall(SYS_sched_yield);
}

/* Return how often this rank yields while it waits for another one */
static unsigned wait_for_others(void)
{
    const unsigned before = yields;

    if (check_rank == 0) {
        usleep(50000);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return yields - before;
}

int main(int argc, char **argv)
{
    unsigned making = 0, waiting = 0, before;
    window_t window;
    int i;

    check_init(&argc, &argv);
    check((argc == 2) && (check_size > 1), "usage: yields PATH");
    for (i = 0; i < WINDOWS; ++i) {
        window  = (window_t){.kind = "one", .path = argv[1], .size = 4096,
                             .unit = 1, .info = MPI_INFO_NULL};
        before  = yields;
        check_mpi(window_open(&window), "window");
        making += yields - before;
        check_mpi(MPI_Win_free(&window.win), "free");
    }
    waiting = wait_for_others();
    /* Rank 0 yields in any case, while it shares the memory of the node, and
     * others do so once when libdaxpin starts */
    check((check_rank == 0) || (making > WINDOWS), "%u yields while making "
          "windows", making);
    check(waiting < WINDOWS, "%u yields without a window", waiting);
    MPI_Finalize();
    return 0;
}
