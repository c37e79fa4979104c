/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Windows with daxpin_persist=flush, and targets that only a thread of theirs
 * makes durable: the process has one such thread for all of them, which answers
 * to each, also while others are freed, and which ends with the last.
 *
 * usage: served PATH COUNT
 *
 * On one node rank 0 has a file in each window, and the others have memory that
 * is in none. On several nodes all ranks have files.
 */

#define _GNU_SOURCE

#include "window.h"

#include <dirent.h>
#include <stdint.h>

#define SIZE 4096

static window_t *windows;
static MPI_Info info;

static void open_mixed(window_t *window)
{
    if (check_rank == 0) {
        window_map(window);
    } else {
        window->base = calloc(1, SIZE);
        check(window->base != NULL, "no memory");
    }
    check_mpi(MPI_Win_create(window->base, SIZE, 8, info, MPI_COMM_WORLD,
                             &window->win), "window");
}

static void open_one(const char *path, int i)
{
    window_t *window = &windows[i];
    char name[64];

    snprintf(name, sizeof(name), "%s.%d", path, i);
    *window = (window_t){.kind = "own", .path = name, .size = SIZE, .unit = 8,
                         .info = info};
    snprintf(window->file, sizeof(window->file), "%s.%d", path, i);
    if (is_one_node()) {
        open_mixed(window);
    } else {
        check_mpi(window_open(window), "window");
    }
}

/* Each put waits for the target's thread */
static void put(const window_t *window, uint64_t number)
{
    const int target = (check_rank + 1) % check_size;

    check_mpi(MPI_Win_lock_all(0, window->win), "lock_all");
    check_mpi(MPI_Put(&number, 1, MPI_UINT64_T, target, 0, 1, MPI_UINT64_T,
                      window->win), "put");
    check_mpi(MPI_Win_flush(target, window->win), "flush");
    check_mpi(MPI_Win_unlock_all(window->win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check(*(volatile uint64_t*)window->base == number, "not what was put");
}

static int count_threads(void)
{
    DIR *dir  = opendir("/proc/self/task");
    int count = 0;

    check(dir != NULL, "/proc/self/task: %m");
    while (readdir(dir) != NULL) {
        ++count;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count, first, all, none, i;

    check_init(&argc, &argv);
    check((argc == 3) && (check_size > 1), "usage: served PATH COUNT");
    count   = atoi(argv[2]);
    windows = calloc((size_t)count, sizeof(*windows));
    check(windows != NULL, "no memory");
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_persist", "flush");

    open_one(argv[1], 0);
    put(&windows[0], 1);
    first = count_threads();
    for (i = 1; i < count; ++i) {
        open_one(argv[1], i);
    }
    for (i = 0; i < count; ++i) {
        put(&windows[i], 2);
    }
    all = count_threads();
    check(all == first, "%d threads with one window, %d with %d", first, all,
          count);
    for (i = 0; i < count; i += 2) {
        check_mpi(MPI_Win_free(&windows[i].win), "free");
    }
    for (i = 1; i < count; i += 2) {
        put(&windows[i], 3);
        check_mpi(MPI_Win_free(&windows[i].win), "free");
    }
    none = count_threads();
    check(none < first, "%d threads with windows, %d without", first, none);
    MPI_Info_free(&info);
    MPI_Finalize();
    return 0;
}
