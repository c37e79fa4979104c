/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Threads of rank 0 that put to rank 1 and flush, with daxpin_persist=flush.
 * Whoever makes a range durable calls msync(), which here notes what the range
 * had then: what a thread has put must have been noted when its flush returns,
 * whichever thread's flush it was that made it durable.
 *
 * usage: durable KIND PATH NOTES TURNS
 *
 * KIND is own, for two nodes, or shared. NOTES is a file to be made, which both
 * ranks can see.
 */

#define _GNU_SOURCE

#include "window.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#define THREADS 4
#define SIZE    4096
#define WORDS   (SIZE / 8)

static window_t window;
static MPI_Win win;
static int turns;
static _Atomic uint64_t *notes; /* of all words of rank 1's part */
static char *_Atomic target;    /* where that is in this process */


/* Notes only grow: two may be at it at once */
static void note(size_t word, uint64_t value)
{
    uint64_t was = atomic_load(&notes[word]);

    while ((was < value) &&
           !atomic_compare_exchange_weak(&notes[word], &was, value)) {
    }
}


/* In place of the C library's, for libdaxpin too */
int msync(void *addr, size_t length, int flags)
{
    const struct timespec pause = {.tv_nsec = 50000};
    const _Atomic uint64_t *words;
    char *start = addr, *base = atomic_load(&target);
    size_t i;

    nanosleep(&pause, NULL); /* A device takes its time, too */
    words = (const _Atomic uint64_t*)base;
    for (i = 0; (base != NULL) && (i < WORDS); ++i) {
        if ((base + i * 8 >= start) && (base + i * 8 < start + length)) {
            note(i, atomic_load(&words[i]));
        }
    }
    return (int)syscall(SYS_msync, addr, length, flags);
}


static void *work(void *arg)
{
    int thread = (int)(intptr_t)arg;
    uint64_t i;

    for (i = 1; i <= (uint64_t)turns; ++i) {
        check_mpi(MPI_Put(&i, 1, MPI_UINT64_T, 1, thread, 1, MPI_UINT64_T,
                          win), "put");
        check_mpi((i % 4 == 0) ? MPI_Win_flush_all(win) :
                                 MPI_Win_flush(1, win), "flush");
        check(atomic_load(&notes[thread]) >= i, "thread %d: flush %lu is over, "
              "and durable is %lu", thread, i, atomic_load(&notes[thread]));
    }
    return NULL;
}


static void run_threads(void)
{
    pthread_t threads[THREADS];
    intptr_t i;

    for (i = 0; i < THREADS; ++i) {
        check(pthread_create(&threads[i], NULL, work, (void*)i) == 0,
              "no thread");
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
    }
}


static void map_notes(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    check((fd >= 0) && (ftruncate(fd, SIZE) == 0), "%s: %m", path);
    notes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(notes != MAP_FAILED, "%s: mmap: %m", path);
    close(fd);
}


static void find_target(void)
{
    char *base = (check_rank == 1) ? window.base : NULL;
    MPI_Aint size;
    int unit;

    if (window_is(&window, "shared")) {
        check_mpi(MPI_Win_shared_query(win, 1, &size, &unit, &base),
                  "shared_query");
    }
    atomic_store(&target, base);
}


int main(int argc, char **argv)
{
    int provided;

    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check((argc == 5) && (check_size == 2),
          "usage: durable KIND PATH NOTES TURNS");
    if (provided != MPI_THREAD_MULTIPLE) {
        MPI_Finalize();
        return 77;
    }
    turns  = atoi(argv[4]);
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 8};
    map_notes(argv[3]);
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", "flush");
    check_mpi(window_open(&window), "window");
    win = window.win;
    find_target();
    memset(window.base, 0, SIZE);
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    if (check_rank == 0) {
        run_threads();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    atomic_store(&target, NULL);
    MPI_Info_free(&window.info);
    window_close(&window);
    MPI_Finalize();
    return 0;
}
