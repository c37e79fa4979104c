/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Rank 1 has attached memory that is in no file, and ends. A child of rank 0 gets
 * its pid, and has memory at the same address: what rank 0 puts and gets does not
 * reach the child. Run this so that the job outlives a rank. The status is 77 if
 * a child cannot have that pid.
 *
 * usage: reused
 */

#define _GNU_SOURCE

#include "check.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ADDR         ((void*)0x200000000000)
#define SIZE         4096
#define TRIES        100
#define PATIENCE_SEC 30

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_nsec = ms * 1000000};

    nanosleep(&pause, NULL);
}

/* Return a child that has this pid, or 0. Another process may take the pid first:
 * try again. */
static pid_t fork_as(pid_t wanted)
{
    FILE *last;
    pid_t pid;
    int i;

    for (i = 0; i < TRIES; ++i) {
        last = fopen("/proc/sys/kernel/ns_last_pid", "w");
        if ((last == NULL) || (fprintf(last, "%d", wanted - 1) < 0) ||
            (fclose(last) != 0)) {
            return 0;
        }
        pid = fork();
        check(pid >= 0, "fork: %m");
        if (pid == 0) {
            for (;;) {
                pause();
            }
        }
        if (pid == wanted) {
            return pid;
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return 0;
}

/* Wait until nothing of a process is left. */
static void await_end(pid_t pid)
{
    const double end = MPI_Wtime() + PATIENCE_SEC;

    while ((kill(pid, 0) == 0) || (errno != ESRCH)) {
        check(MPI_Wtime() < end, "pid %d is there for %d s", pid, PATIENCE_SEC);
        pause_ms(10);
    }
}

/* Return the status */
static int access_child(MPI_Win win, const uint64_t *word, pid_t pid)
{
    uint64_t value = 7;
    pid_t child;

    await_end(pid);
    child = fork_as(pid);
    if (child == 0) {
        return 77;
    }
    pause_ms(100);
    check_class(MPI_Put(&value, 1, MPI_UINT64_T, 1, (MPI_Aint)word, 1,
                        MPI_UINT64_T, win), MPI_ERR_OTHER, "put");
    check(*word == 0, "the child has %lu", *word);
    check_class(MPI_Get(&value, 1, MPI_UINT64_T, 1, (MPI_Aint)word, 1,
                        MPI_UINT64_T, win), MPI_ERR_OTHER, "get");
    check(value == 7, "got %lu", value);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t *word;
    uint64_t value = 5;
    int status     = 0;
    int pid        = (int)getpid();
    MPI_Win win;

    check_init(&argc, &argv);
    check((argc == 1) && (check_size == 2), "usage: reused");
    /* The child shares it with rank 0 */
    word = mmap(ADDR, SIZE, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    check(word == ADDR, "no memory at %p", ADDR);
    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    check_mpi(MPI_Win_attach(win, word, SIZE), "attach");
    MPI_Bcast(&pid, 1, MPI_INT, 1, MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 1, (MPI_Aint)word, 1,
                          MPI_UINT64_T, win), "put to the rank");
        check_mpi(MPI_Win_flush(1, win), "flush");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        check(*word == 5, "the word is %lu", *word);
        _exit(0);
    }
    status = access_child(win, word, pid);
    printf("rank 0 has status %d\n", status);
    fflush(stdout);
    _exit(0); /* MPI would wait for rank 1 */
}
