/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Count what windows and ranks cost */

/*
 * usage: windows KIND FILE WINDOWS [TURNS]
 *   KIND  own   MPI_Win_allocate, a file for each rank and window
 *         one   MPI_Win_allocate, a file for each window
 *         same  MPI_Win_create over one mapping of a file of each rank
 *         none  MPI_Win_allocate without a file
 * rank 0 prints lines of KIND STAGE FIELD VALUE: the greatest that has been added
 * to a rank
 *   used  by WINDOWS windows, all of which are used between all ranks
 *   left  after TURNS times so many were freed again
 */

#define _GNU_SOURCE

#include "check.h"

#include "usage.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#define LENGTH 4096 /* of a segment */

static const char *kind, *file;
static int windows;

static int is(const char *name)
{
    return strcmp(kind, name) == 0;
}

static char *map_file(void)
{
    char path[PATH_MAX];
    char *base;
    int fd;

    snprintf(path, sizeof(path), "%s.%d", file, check_rank);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    check((fd >= 0) && (posix_fallocate(fd, 0, LENGTH) == 0), "%s: %m", path);
    base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(base != MAP_FAILED, "%s: %m", path);
    close(fd);
    return base;
}

static MPI_Win open_window(int i, char *mapped)
{
    char path[PATH_MAX];
    MPI_Info info;
    MPI_Win win;
    void *base;

    if (is("same")) {
        check_mpi(MPI_Win_create(mapped, LENGTH, 1, MPI_INFO_NULL,
                                 MPI_COMM_WORLD, &win), "MPI_Win_create");
        return win;
    }
    MPI_Info_create(&info);
    snprintf(path, sizeof(path), "%s.%d%s", file, i, is("own") ? ".%r" : "");
    if (!is("none")) {
        MPI_Info_set(info, "daxpin_path", path);
    }
    check_mpi(MPI_Win_allocate(LENGTH, 1, info, MPI_COMM_WORLD, &base, &win),
              path);
    MPI_Info_free(&info);
    return win;
}

/* Put to all ranks. */
static void use_window(MPI_Win win)
{
    const int value = check_rank;
    int target;

    check_mpi(MPI_Win_lock_all(0, win), "MPI_Win_lock_all");
    for (target = 0; target < check_size; ++target) {
        check_mpi(MPI_Put(&value, 1, MPI_INT, target,
                          check_rank * (int)sizeof(value), 1, MPI_INT, win),
                  "MPI_Put");
    }
    check_mpi(MPI_Win_flush_all(win), "MPI_Win_flush_all");
    check_mpi(MPI_Win_unlock_all(win), "MPI_Win_unlock_all");
}

/* What the first window brings, such as connections, is no cost of the next */
static void warm_up(char *mapped)
{
    MPI_Win win = open_window(-1, mapped);

    use_window(win);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_free(&win);
}

/* Print the greatest difference of a rank's usage since then. */
static void report(const char *stage, const usage_t *before)
{
    usage_t usage, most;

    MPI_Barrier(MPI_COMM_WORLD);
    usage_get(&usage);
    usage_subtract(&usage, before);
    MPI_Reduce(&usage, &most, sizeof(usage) / sizeof(long), MPI_LONG, MPI_MAX,
               0, MPI_COMM_WORLD);
    if (check_rank == 0) {
        usage_print(kind, stage, &most);
    }
}

static void open_all(MPI_Win *wins, char *mapped)
{
    int i;

    for (i = 0; i < windows; ++i) {
        wins[i] = open_window(i, mapped);
        use_window(wins[i]);
    }
}

static void free_all(MPI_Win *wins)
{
    int i;

    for (i = 0; i < windows; ++i) {
        check_mpi(MPI_Win_free(&wins[i]), "MPI_Win_free");
    }
}

/* Wait until this rank has closed what it had open for windows: the holder of a
 * file does so a moment after the window is freed */
static void await_closed(const usage_t *before)
{
    usage_t usage;
    int tries;

    for (tries = 0; tries < 1000; ++tries) {
        usage_get(&usage);
        if (usage.descriptors <= before->descriptors) {
            break;
        }
        usleep(10000);
    }
}

int main(int argc, char **argv)
{
    usage_t before;
    MPI_Win *wins;
    char *mapped;
    int turn, turns;

    check_init(&argc, &argv);
    check((argc == 4) || (argc == 5),
          "usage: windows KIND FILE WINDOWS [TURNS]");
    kind    = argv[1];
    file    = argv[2];
    windows = atoi(argv[3]);
    turns   = (argc == 5) ? atoi(argv[4]) : 1;
    wins    = calloc((size_t)windows, sizeof(MPI_Win));
    mapped  = is("same") ? map_file() : NULL;
    warm_up(mapped);
    MPI_Barrier(MPI_COMM_WORLD);
    usage_get(&before);
    for (turn = 1; turn <= turns; ++turn) {
        MPI_Barrier(MPI_COMM_WORLD);
        open_all(wins, mapped);
        if (turn == turns) {
            report("used", &before);
        }
        free_all(wins);
    }
    await_closed(&before);
    report("left", &before);
    MPI_Finalize();
    return 0;
}
