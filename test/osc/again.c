/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Making a window fails, because the last rank's file cannot be opened. If a
 * first window is on the same files, it stays usable; else the files are left
 * as they were before.
 *
 * usage: again PATH
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>
#include <sys/stat.h>

#define SIZE 65536

/* Fail to make a window, longer than the first one */
static void fail_to_open(const char *kind, const char *path)
{
    window_t window = {.kind = kind, .size = 4 * SIZE, .unit = 1,
                       .info = MPI_INFO_NULL};

    window.path = (check_rank == check_size - 1) ? "/nonexistent/window" : path;
    check_class(window_open(&window), MPI_ERR_WIN, "a window without a file");
}

static void put_everywhere(window_t *window, uint64_t value)
{
    int rank;

    check_mpi(MPI_Win_lock_all(0, window->win), "lock_all");
    for (rank = 0; rank < check_size; ++rank) {
        check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, rank, check_rank, 1,
                          MPI_UINT64_T, window->win), "put");
        check_mpi(MPI_Win_flush(rank, window->win), "flush");
    }
    check_mpi(MPI_Win_unlock_all(window->win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_fence(0, window->win), "fence");
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, window->win), "fence");
}

static void test_in_use(const char *kind, const char *path)
{
    window_t window = {.kind = kind, .path = path, .size = SIZE, .unit = 8,
                       .info = MPI_INFO_NULL};
    uint64_t words[SIZE / 8];
    int rank;

    check_mpi(window_open(&window), "window");
    memset(window.base, 0, SIZE);
    put_everywhere(&window, 1);
    fail_to_open(kind, path);
    put_everywhere(&window, 2);
    window_close(&window);
    MPI_Barrier(MPI_COMM_WORLD);
    window_read(&window, words);
    for (rank = 0; rank < check_size; ++rank) {
        check(words[rank] == 2, "%s: in the file is %lu", window.file,
              words[rank]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    unlink(window.file);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void test_not_in_use(const char *kind, const char *path, off_t before)
{
    char file[PATH_MAX];
    struct stat st;
    int fd;

    snprintf(file, sizeof(file), (strcmp(kind, "own") == 0) ? "%s.%d" : "%s",
             path, check_rank);
    if (before >= 0) {
        fd = open(file, O_WRONLY | O_CREAT, 0600);
        check((fd >= 0) && (ftruncate(fd, before) == 0), "%s: %m", file);
        close(fd);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    fail_to_open(kind, path);
    MPI_Barrier(MPI_COMM_WORLD);
    if (before >= 0) {
        check((stat(file, &st) == 0) && (st.st_size == before), "%s: the file "
              "had %ld bytes, and has %ld", file, (long)before,
              (long)st.st_size);
    } else {
        check(stat(file, &st) != 0, "%s: the file exists, and did not before",
              file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    unlink(file);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    const char *kinds[] = {"own", "one"};
    size_t i;

    check_init(&argc, &argv);
    check(argc == 2, "usage: again PATH");
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
        test_in_use(kinds[i], argv[1]);
        test_not_in_use(kinds[i], argv[1], 100);
        test_not_in_use(kinds[i], argv[1], -1);
    }
    MPI_Finalize();
    return 0;
}
