/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A child of fork() reads the memory of its parent's window: what is there, or
 * it faults. The window goes on.
 *
 * usage: fork KIND PATH
 */

#include "window.h"

#include <signal.h>
#include <sys/wait.h>

#define SIZE 65536

/* Return the wait status of a child that exits with 0 if all words are there,
 * and then stores to the last one. */
static int read_in_child(long *words, long last)
{
    long i, count = SIZE / (long)sizeof(*words);
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* Open MPI has a handler that prints */
        for (i = 0; i < count; ++i) {
            if (words[i] != i + 1) {
                _exit(1);
            }
        }
        words[count - 1] = last;
        _exit(0);
    }
    check((pid > 0) && (waitpid(pid, &status, 0) == pid), "fork: %m");
    return status;
}

/* Put into the first word of the next rank */
static void put(const window_t *window, long *words)
{
    const int target = (check_rank + 1) % check_size;
    long value       = 1000 + check_rank;

    check_mpi(MPI_Win_fence(0, window->win), "fence");
    check_mpi(MPI_Put(&value, 1, MPI_LONG, target, 0, 1, MPI_LONG,
                      window->win), "put");
    check_mpi(MPI_Win_fence(0, window->win), "fence");
    value = 1000 + (check_rank + check_size - 1) % check_size;
    check(words[0] == value, "the first word is %ld", words[0]);
}

int main(int argc, char **argv)
{
    window_t window = {.size = SIZE, .unit = 1, .info = MPI_INFO_NULL};
    long i, last = SIZE / (long)sizeof(long);
    long *words;
    int status;

    check_init(&argc, &argv);
    check(argc == 3, "usage: fork KIND PATH");
    window.kind = argv[1];
    window.path = argv[2];
    check_mpi(window_open(&window), "window");
    words = (long*)window.base;
    for (i = 0; i < last; ++i) {
        words[i] = i + 1;
    }
    check_mpi(MPI_Win_fence(0, window.win), "fence");
    status = read_in_child(words, 77);
    if (window_is_mapped(&window)) {
        check(WIFEXITED(status) && (WEXITSTATUS(status) == 0),
              "the child did not see the program's own mapping");
        check(words[last - 1] == 77, "the child's store is not there");
    } else {
        check(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV),
              "the child read what was not there: status %x", status);
        check(words[last - 1] == last, "the last word is %ld",
              words[last - 1]);
    }
    put(&window, words);
    window_close(&window);
    MPI_Finalize();
    return 0;
}
