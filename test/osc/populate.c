/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * With daxpin_persist=flush, a large put to a file in the page cache has its pages
 * made writable before it stores to them, and no other put or get does so. Each
 * rank puts to the next one.
 *
 * usage: populate PERSIST PATH
 *
 * Ends with 77 if the file is not on a file system with a page cache and a disk.
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>
#include <sys/syscall.h>

#define SIZE  (4 << 20)
#define LARGE ((1 << 20) + 77)
#define FIRST 4099 /* bytes before those that are put */

#define ADVICE 23 /* MADV_POPULATE_WRITE */

static window_t window;
static char *first, *last; /* of what was made writable */
static char data[LARGE], got[LARGE];

/* Takes the place of the C library's */
int madvise(void *addr, size_t length, int advice)
{
    if (advice == ADVICE) {
        first = ((first == NULL) || ((char*)addr < first)) ? addr : first;
        last  = ((char*)addr + length > last) ? (char*)addr + length : last;
    }
    return (int)syscall(SYS_madvise, addr, length, advice);
}

static int info_is(MPI_Info info, const char *key, const char *is)
{
    char value[MPI_MAX_INFO_VAL + 1];
    int flag;

    MPI_Info_get(info, key, MPI_MAX_INFO_VAL, value, &flag);
    return flag && (strcmp(value, is) == 0);
}

static int has_disk_and_cache(void)
{
    MPI_Info info;
    int has;

    MPI_Win_get_info(window.win, &info);
    has = info_is(info, "daxpin_granularity", "page") &&
          !info_is(info, "daxpin_file_system", "tmpfs");
    MPI_Info_free(&info);
    return has;
}

static void move(int turn, int is_put, size_t length)
{
    const int target = (check_rank + 1) % check_size;

    memset(data, turn, sizeof(data));
    first = last = NULL;
    check_mpi(is_put ? MPI_Put(data, (int)length, MPI_BYTE, target, FIRST,
                               (int)length, MPI_BYTE, window.win) :
                       MPI_Get(got, (int)length, MPI_BYTE, target, FIRST,
                               (int)length, MPI_BYTE, window.win), "move");
    check_mpi(MPI_Win_flush(target, window.win), "flush");
}

static void put_large(int flushes, int turn)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    move(turn, 1, LARGE);
    check((first != NULL) == flushes, "%s made writable", flushes ? "not" : "");
    check(!flushes || ((uintptr_t)first % page == 0), "not whole pages");
    check(!flushes || ((last - first >= LARGE) &&
                       (last - first < LARGE + (long)page)),
          "%ld bytes made writable", (long)(last - first));
    move(turn, 0, LARGE);
    check(first == NULL, "made writable for a get");
    check(memcmp(data, got, LARGE) == 0, "not what was put");
    move(turn, 1, 64);
    check(first == NULL, "made writable for a few bytes");
}

int main(int argc, char **argv)
{
    int flushes, turn, has;

    check_init(&argc, &argv);
    check(argc == 3, "usage: populate PERSIST PATH");
    flushes = strcmp(argv[1], "flush") == 0;
    window  = (window_t){.kind = "own", .path = argv[2], .size = SIZE,
                         .unit = 1};
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", argv[1]);
    check_mpi(window_open(&window), "window");
    has = has_disk_and_cache();
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    for (turn = 1; has && (turn < 4); ++turn) {
        put_large(flushes, turn);
        MPI_Barrier(MPI_COMM_WORLD);
        check((window.base[FIRST] == turn) && (window.base[FIRST - 1] == 0) &&
              (window.base[FIRST + LARGE - 1] == turn) &&
              (window.base[FIRST + LARGE] == 0), "other bytes were put");
        MPI_Barrier(MPI_COMM_WORLD);
    }
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    check_mpi(MPI_Win_free(&window.win), "free");
    MPI_Info_free(&window.info);
    MPI_Finalize();
    return has ? 0 : 77;
}
