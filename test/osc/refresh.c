/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Threads of rank 0 that access a dynamic window, with requests and without, while
 * rank 1 attaches and detaches memory: what a thread knows of rank 1's memory is
 * then replaced under another one. Freed memory is not there any more.
 *
 * usage: refresh SECONDS
 */

#define _GNU_SOURCE

#include "check.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define REGIONS   2000 /* that stay: each look at all of them takes long */
#define THRESHOLD 65536

static MPI_Win win;
static MPI_Aint start; /* of the first region of rank 1 */
static _Atomic int stop;

static void *put(void *arg)
{
    uint64_t value = 1;

    while (!atomic_load(&stop)) {
        check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 1, start, 1, MPI_UINT64_T,
                          win), "put");
    }
    return NULL;
}

static void *rput(void *arg)
{
    uint64_t value = 1;
    MPI_Request request;

    while (!atomic_load(&stop)) {
        check_mpi(MPI_Rput(&value, 1, MPI_UINT64_T, 1, start + 32, 1,
                           MPI_UINT64_T, win, &request), "rput");
        check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
    }
    return NULL;
}

static void *raccumulate(void *arg)
{
    uint64_t value = 1;
    MPI_Request request;

    while (!atomic_load(&stop)) {
        check_mpi(MPI_Raccumulate(&value, 1, MPI_UINT64_T, 1, start + 64, 1,
                                  MPI_UINT64_T, MPI_SUM, win, &request),
                  "raccumulate");
        check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
    }
    return NULL;
}

static void access_all(double end)
{
    void *(*const funcs[])(void*) = {put, rput, raccumulate};
    const unsigned count          = sizeof(funcs) / sizeof(funcs[0]);
    pthread_t threads[sizeof(funcs) / sizeof(funcs[0])];
    unsigned i;

    for (i = 0; i < count; ++i) {
        check(pthread_create(&threads[i], NULL, funcs[i], NULL) == 0,
              "no thread");
    }
    while (MPI_Wtime() < end) {
        sched_yield();
    }
    atomic_store(&stop, 1);
    for (i = 0; i < count; ++i) {
        pthread_join(threads[i], NULL);
    }
}

/* Most accesses find that nothing has changed since, and end by their look at all
 * regions */
static void attach_again(uint64_t *words, double end)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};

    while (MPI_Wtime() < end) {
        check_mpi(MPI_Win_attach(win, words, 16), "attach again");
        check_mpi(MPI_Win_detach(win, words), "detach again");
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv)
{
    uint64_t *words;
    int provided, i;
    double end;

    (void)mallopt(M_MMAP_THRESHOLD, THRESHOLD);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check((argc == 2) && (check_size == 2), "usage: refresh SECONDS");
    if (provided != MPI_THREAD_MULTIPLE) {
        MPI_Finalize();
        return 77;
    }
    words = calloc(REGIONS + 1, 32);
    check(words != NULL, "no memory");
    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    for (i = 0; i < REGIONS; ++i) {
        check_mpi(MPI_Win_attach(win, words + 4 * i, 16), "attach");
    }
    MPI_Get_address(words, &start);
    MPI_Bcast(&start, 1, MPI_AINT, 1, MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    end = MPI_Wtime() + atof(argv[1]);
    if (check_rank == 0) {
        access_all(end);
    } else {
        attach_again(words + 4 * REGIONS, end);
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_free(&win), "free");
    free(words);
    MPI_Finalize();
    return 0;
}
