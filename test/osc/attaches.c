/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Threads of rank 0 that attach memory of files to a dynamic window at once. Rank 1
 * has all of the files open, so that each lease needs what it lends.
 *
 * usage: attaches FILE TURNS
 */

#define _GNU_SOURCE

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 4
#define SIZE    4096

static const char *file;
static MPI_Win win;
static int turns;
static int fds[THREADS];
static void *memory[THREADS];

static void open_files(void)
{
    char path[PATH_MAX];
    int i;

    for (i = 0; i < THREADS; ++i) {
        snprintf(path, sizeof(path), "%s.%d", file, i);
        fds[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        check((fds[i] >= 0) && (posix_fallocate(fds[i], 0, SIZE) == 0),
              "%s: %m", path);
    }
}

static void *attach(void *arg)
{
    const int i = (int)(intptr_t)arg;

    check_mpi(MPI_Win_attach(win, memory[i], SIZE), "attach");
    return NULL;
}

/* Each file is one that nobody has under lease. */
static void attach_all(void)
{
    pthread_t threads[THREADS];
    intptr_t i;

    for (i = 0; i < THREADS; ++i) {
        memory[i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i],
                         0);
        check(memory[i] != MAP_FAILED, "mmap: %m");
    }
    for (i = 0; i < THREADS; ++i) {
        check(pthread_create(&threads[i], NULL, attach, (void*)i) == 0,
              "no thread");
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
    }
    for (i = 0; i < THREADS; ++i) {
        MPI_Win_detach(win, memory[i]);
        munmap(memory[i], SIZE);
    }
}

int main(int argc, char **argv)
{
    int provided, turn, i;

    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check((argc == 3) && (check_size == 2), "usage: attaches FILE TURNS");
    if (provided != MPI_THREAD_MULTIPLE) {
        MPI_Finalize();
        return 77;
    }
    file  = argv[1];
    turns = atoi(argv[2]);
    for (turn = 0; turn < turns; ++turn) {
        open_files();
        check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
                  "create_dynamic");
        MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
        if (check_rank == 0) {
            attach_all();
        }
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Win_free(&win);
        for (i = 0; i < THREADS; ++i) {
            close(fds[i]);
        }
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return 0;
}
