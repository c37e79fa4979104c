/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Two ranks with threads that put to the other rank and flush, with
 * daxpin_persist=flush. A range is made durable by msync(), which this program
 * replaces by one that notes the content of the range. When a thread's flush
 * returns, what the thread has put must have been noted, perhaps by another
 * thread's flush.
 *
 * usage: durable KIND PATH NOTES TURNS
 *
 * KIND is own, for two nodes, or shared. NOTES is a file to be made, which both
 * ranks can open.
 */

#define _GNU_SOURCE

#include "window.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#define RANKS   2
#define THREADS 4
#define SIZE    4096
#define WORDS   (SIZE / 8)

static window_t window;
static MPI_Win win;
static int turns;
static _Atomic uint64_t *notes;     /* of all words of all segments */
static char *_Atomic targets[RANKS]; /* where the segments are mapped */

/* Set a note to a greater value; two threads may do so at once */
static void note(_Atomic uint64_t *of, uint64_t value)
{
    uint64_t was = atomic_load(of);

    while ((was < value) && !atomic_compare_exchange_weak(of, &was, value)) {
    }
}

static void note_segment(int rank, const char *start, const char *end)
{
    const char *base = atomic_load(&targets[rank]);
    const _Atomic uint64_t *words;
    size_t i;

    words = (const _Atomic uint64_t*)base;
    for (i = 0; (base != NULL) && (i < WORDS); ++i) {
        if ((base + i * 8 >= start) && (base + i * 8 < end)) {
            note(&notes[rank * WORDS + i], atomic_load(&words[i]));
        }
    }
}

/* Replace the C library's, for libdaxpin too */
int msync(void *addr, size_t length, int flags)
{
    const struct timespec pause = {.tv_nsec = 50000};
    int rank;

    nanosleep(&pause, NULL); /* as a device takes time */
    for (rank = 0; rank < RANKS; ++rank) {
        note_segment(rank, addr, (char*)addr + length);
    }
    return (int)syscall(SYS_msync, addr, length, flags);
}

static void *work(void *arg)
{
    int thread            = (int)(intptr_t)arg;
    int target            = 1 - check_rank;
    _Atomic uint64_t *own = &notes[target * WORDS + thread];
    uint64_t i;

    for (i = 1; i <= (uint64_t)turns; ++i) {
        check_mpi(MPI_Put(&i, 1, MPI_UINT64_T, target, thread, 1, MPI_UINT64_T,
                          win), "put");
        check_mpi((i % 4 == 0) ? MPI_Win_flush_all(win) :
                                 MPI_Win_flush(target, win), "flush");
        check(atomic_load(own) >= i, "thread %d: flush %lu is over, and "
              "durable is %lu", thread, i, atomic_load(own));
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

    check((fd >= 0) && (ftruncate(fd, RANKS * SIZE) == 0), "%s: %m",
          path);
    notes = mmap(NULL, RANKS * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(notes != MAP_FAILED, "%s: mmap: %m", path);
    close(fd);
}

static void find_targets(void)
{
    MPI_Aint size;
    char *base;
    int rank, unit;

    for (rank = 0; rank < RANKS; ++rank) {
        base = (rank == check_rank) ? window.base : NULL;
        if (window_is(&window, "shared")) {
            check_mpi(MPI_Win_shared_query(win, rank, &size, &unit, &base),
                      "shared_query");
        }
        atomic_store(&targets[rank], base);
    }
}

int main(int argc, char **argv)
{
    int provided;

    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check((argc == 5) && (check_size == RANKS),
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
    find_targets();
    memset(window.base, 0, SIZE);
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    run_threads();
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    atomic_store(&targets[0], NULL);
    atomic_store(&targets[1], NULL);
    MPI_Info_free(&window.info);
    window_close(&window);
    MPI_Finalize();
    return 0;
}
