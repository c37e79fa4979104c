/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * With daxpin_persist=flush, a long put to persistent memory is durable by its own
 * copy, and a flush has nothing left to do for it. Each rank puts to the next one,
 * and finds in its file what the one before has put.
 *
 * usage: copied PATH
 *
 * Ends with 77 if the file is right and not on persistent memory.
 */

#define _GNU_SOURCE

#include "window.h"

#include <dlfcn.h>
#include <libpmem2.h>

#define SIZE   (4 << 20)
#define FIRST  4099 /* bytes before those that are put */
#define LONGER (64 * 1024)

static window_t window;
static char data[SIZE], is[SIZE];
static size_t copied, flushed;
static pmem2_memcpy_fn next_copy;
static pmem2_persist_fn next_persist;

typedef pmem2_memcpy_fn (*get_copy_t)(struct pmem2_map *map);
typedef pmem2_persist_fn (*get_persist_t)(struct pmem2_map *map);

static void *find(const char *name)
{
    void *pmem2  = dlopen("libpmem2.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *symbol = (pmem2 != NULL) ? dlsym(pmem2, name) : NULL;

    check(symbol != NULL, "there is no %s", name);
    return symbol;
}

static void *count_copy(void *dest, const void *source, size_t length,
                        unsigned flags)
{
    check(flags == 0, "a copy that is not durable");
    copied += length;
    return next_copy(dest, source, length, flags);
}

static void count_persist(const void *addr, size_t length)
{
    flushed += length;
    next_persist(addr, length);
}

/* These take the place of libpmem2's */
pmem2_memcpy_fn pmem2_get_memcpy_fn(struct pmem2_map *map)
{
    next_copy = ((get_copy_t)find("pmem2_get_memcpy_fn"))(map);
    return count_copy;
}

pmem2_persist_fn pmem2_get_persist_fn(struct pmem2_map *map)
{
    next_persist = ((get_persist_t)find("pmem2_get_persist_fn"))(map);
    return count_persist;
}

static int is_persistent_memory(void)
{
    char value[MPI_MAX_INFO_VAL + 1];
    MPI_Info info;
    int flag;

    MPI_Win_get_info(window.win, &info);
    MPI_Info_get(info, "daxpin_granularity", MPI_MAX_INFO_VAL, value, &flag);
    MPI_Info_free(&info);
    return flag && (strcmp(value, "cache line") == 0);
}

/* Check the own file as another process would read it. */
static void check_file(int turn, size_t length)
{
    int fd = open(window.file, O_RDONLY | O_CLOEXEC);

    check(pread(fd, is, SIZE, 0) == SIZE, "pread: %m");
    close(fd);
    check((memcmp(is + FIRST, data, length) == 0) && (is[FIRST - 1] == 0) &&
          (is[FIRST + length] == 0) &&
          (memcmp(is, window.base, SIZE) == 0),
          "turn %d: the file does not have the %zu bytes", turn, length);
}

static void turn_put(int turn, size_t length, int persistent)
{
    const int target   = (check_rank + 1) % check_size;
    const int by_copy  = persistent && (length >= LONGER);
    const size_t other = persistent && !by_copy ? length : 0;
    size_t i;

    for (i = 0; i < length; ++i) {
        data[i] = (char)(i * 7 + (size_t)turn);
    }
    copied = flushed = 0;
    check_mpi(MPI_Put(data, (int)length, MPI_BYTE, target, FIRST, (int)length,
                      MPI_BYTE, window.win), "put");
    check_mpi(MPI_Win_flush(target, window.win), "flush");
    check((copied == (by_copy ? length : 0)) && (flushed == other),
          "of %zu bytes %zu were copied and %zu flushed", length, copied,
          flushed);
    MPI_Barrier(MPI_COMM_WORLD);
    check_file(turn, length);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* A few bytes within a long put, and a put of what is there already, leave the
 * flush something to do. */
static void put_both(int persistent)
{
    const int target = (check_rank + 1) % check_size;
    const size_t own = (size_t)persistent * LONGER;

    memset(data, 'l', LONGER);
    copied = flushed = 0;
    check_mpi(MPI_Put(data, LONGER, MPI_BYTE, target, FIRST, LONGER, MPI_BYTE,
                      window.win), "long put");
    memset(data + 100, 's', 8);
    check_mpi(MPI_Put(data + 100, 8, MPI_BYTE, target, FIRST + 100, 8,
                      MPI_BYTE, window.win), "short put");
    check_mpi(MPI_Win_flush(target, window.win), "flush");
    check((copied == own) && (flushed == (size_t)persistent * 8),
          "%zu bytes were copied and %zu flushed", copied, flushed);
    MPI_Barrier(MPI_COMM_WORLD);
    check(memcmp(window.base + FIRST, data, LONGER) == 0, "not both puts");
    copied = flushed = 0;
    check_mpi(MPI_Put(window.base + FIRST, LONGER, MPI_BYTE, check_rank, FIRST,
                      LONGER, MPI_BYTE, window.win), "put to the same place");
    check_mpi(MPI_Win_flush(check_rank, window.win), "flush");
    check((copied == 0) && (flushed == own),
          "of the same bytes %zu were copied and %zu flushed", copied, flushed);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    const size_t lengths[] = {8, LONGER - 1, LONGER, 300001, (3 << 20) + 77};
    int turn, persistent;

    check_init(&argc, &argv);
    check(argc == 2, "usage: copied PATH");
    window = (window_t){.kind = "own", .path = argv[1], .size = SIZE,
                        .unit = 1};
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", "flush");
    check_mpi(window_open(&window), "window");
    persistent = is_persistent_memory();
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    for (turn = 1; turn <= 5; ++turn) {
        turn_put(turn, lengths[turn - 1], persistent);
    }
    put_both(persistent);
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    check_mpi(MPI_Win_free(&window.win), "free");
    MPI_Info_free(&window.info);
    MPI_Finalize();
    return persistent ? 0 : 77;
}
