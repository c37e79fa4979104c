/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Several threads of each rank make, use and free windows at once, each thread
 * on a communicator of its own, while one more maps and unmaps files.
 *
 * usage: atonce PATH
 */

#define _GNU_SOURCE

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 3
#define WINDOWS 6
#define SIZE    16384

typedef struct worker {
    pthread_t thread;
    int       number;
    MPI_Comm  comm;
} worker_t;

static const char *path;
static _Atomic int stop;

/* Thread 0: a file a rank; 1: one file; 2: a dynamic window over no file */
static MPI_Win make(const worker_t *worker, int round, uint64_t **base_p,
                    MPI_Aint *disp_p)
{
    static uint64_t memory[SIZE / 8];
    int right = (check_rank + 1) % check_size;
    int left  = (check_rank + check_size - 1) % check_size;
    char name[PATH_MAX];
    MPI_Info info;
    MPI_Aint own;
    MPI_Win win;

    if (worker->number == 2) {
        check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, worker->comm, &win),
                  "create_dynamic");
        check_mpi(MPI_Win_attach(win, memory, SIZE), "attach");
        *base_p = memory;
        MPI_Get_address(memory, &own);
        MPI_Sendrecv(&own, 1, MPI_AINT, left, 0, disp_p, 1, MPI_AINT, right, 0,
                     worker->comm, MPI_STATUS_IGNORE);
        return win;
    }
    snprintf(name, sizeof(name), "%s.%d.%d%s", path, worker->number, round,
             (worker->number == 0) ? ".%r" : "");
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", name);
    MPI_Info_set(info, "daxpin_unlink", "true");
    check_mpi(MPI_Win_allocate(SIZE, 1, info, worker->comm, base_p, &win),
              "allocate");
    MPI_Info_free(&info);
    *disp_p = 0;
    return win;
}

static void *work(void *arg)
{
    worker_t *worker = arg;
    int right        = (check_rank + 1) % check_size;
    int left         = (check_rank + check_size - 1) % check_size;
    uint64_t value, *base;
    MPI_Aint disp;
    MPI_Win win;
    int round;

    for (round = 0; round < WINDOWS; ++round) {
        win   = make(worker, round, &base, &disp);
        value = (uint64_t)(1000 * worker->number + 100 * round + check_rank);
        check_mpi(MPI_Win_lock_all(0, win), "lock_all");
        check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, right, disp, 1,
                          MPI_UINT64_T, win), "put");
        check_mpi(MPI_Win_unlock_all(win), "unlock_all");
        MPI_Barrier(worker->comm);
        check(base[0] == value - (uint64_t)check_rank + (uint64_t)left,
              "thread %d: rank %d put %lu", worker->number, left, base[0]);
        MPI_Barrier(worker->comm);
        check_mpi(MPI_Win_free(&win), "free");
    }
    return NULL;
}

static void *map_and_unmap(void *arg)
{
    char name[PATH_MAX];
    void *memory;
    int fd;

    snprintf(name, sizeof(name), "%s.maps.%d", path, check_rank);
    fd = open(name, O_RDWR | O_CREAT, 0600);
    check((fd >= 0) && (ftruncate(fd, SIZE) == 0), "%s: %m", name);
    while (!atomic_load(&stop)) {
        memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        check(memory != MAP_FAILED, "mmap: %m");
        memset(memory, 1, SIZE);
        munmap(memory, SIZE);
        usleep(100);
    }
    close(fd);
    unlink(name);
    return NULL;
}

int main(int argc, char **argv)
{
    worker_t workers[THREADS];
    pthread_t mapper;
    int level, i;

    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    if (level < MPI_THREAD_MULTIPLE) {
        MPI_Finalize();
        return 77;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check(argc == 2, "usage: atonce PATH");
    path = argv[1];
    for (i = 0; i < THREADS; ++i) {
        workers[i].number = i;
        MPI_Comm_dup(MPI_COMM_WORLD, &workers[i].comm);
        MPI_Comm_set_errhandler(workers[i].comm, MPI_ERRORS_RETURN);
    }
    check(pthread_create(&mapper, NULL, map_and_unmap, NULL) == 0, "thread");
    for (i = 0; i < THREADS; ++i) {
        check(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0,
              "thread %d", i);
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(workers[i].thread, NULL);
        MPI_Comm_free(&workers[i].comm);
    }
    atomic_store(&stop, 1);
    pthread_join(mapper, NULL);
    MPI_Finalize();
    return 0;
}
