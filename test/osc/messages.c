/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Ranks of one node that do not meet, because each has a directory of its own to
 * meet in: they reach each other's memory in a dynamic window by messages. All
 * access each other at once, with short and long messages, and what takes several
 * of them. Then a rank has no memory left for what another one puts. With MS,
 * which is longer than ranks wait for each other, rank 1 is stopped so long while
 * rank 0 gets from it, and its late answer is none to a later message.
 *
 * usage: messages DIRECTORY [MS]
 */

#define _GNU_SOURCE

#include "check.h"

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE   ((size_t)40 << 20)
#define SPARE  ((rlim_t)24 << 20) /* less than SIZE */
#define BLOCK  ((size_t)3 << 20)
#define BLOCKS 3

#define MESSAGES 20010 /* a few more than there are tags, twice */

static MPI_Win win;
static char *memory, *buffer;
static MPI_Aint starts[64];
static int left, right;

/* Give this rank its directory, before MPI_Init() */
static void part(const char *directory)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s.%s", directory, rank ? rank : "0");
    if ((mkdir(path, 0700) != 0) ||
        (setenv("DAXPIN_RUNTIME_DIR", path, 1) != 0)) {
        printf("%s: %m\n", path);
        exit(1);
    }
}

static void check_all(const char *what, const char *data, size_t size,
                      int value)
{
    size_t i;

    for (i = 0; i < size; ++i) {
        check(data[i] == (char)value, "%s: byte %zu of %zu is %d, wanted %d",
              what, i, size, data[i], value);
    }
}

/* Each rank gets from one neighbour and puts to it, while it does */
static void test_size(size_t size, int turns)
{
    int i;

    for (i = 1; i <= turns; ++i) {
        memset(memory, i + check_rank, size);
        MPI_Barrier(MPI_COMM_WORLD);
        check_mpi(MPI_Get(buffer, (int)size, MPI_BYTE, right, starts[right],
                          (int)size, MPI_BYTE, win), "get");
        check_mpi(MPI_Win_flush(right, win), "flush");
        check_all("get", buffer, size, i + right);
        memset(buffer, i + turns + check_rank, size);
        MPI_Barrier(MPI_COMM_WORLD);
        check_mpi(MPI_Put(buffer, (int)size, MPI_BYTE, right, starts[right],
                          (int)size, MPI_BYTE, win), "put");
        check_mpi(MPI_Win_flush(right, win), "flush");
        MPI_Barrier(MPI_COMM_WORLD);
        check_all("put", memory, size, i + turns + left);
    }
}

/* A message may end within a block */
static void test_blocks(void)
{
    MPI_Datatype type;
    int i;

    MPI_Type_vector(BLOCKS, BLOCK, 2 * BLOCK, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    memset(memory, 0, SIZE);
    for (i = 0; i < BLOCKS; ++i) {
        memset(buffer + i * BLOCK, 10 * check_rank + i, BLOCK);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Put(buffer, BLOCKS * BLOCK, MPI_BYTE, right, starts[right],
                      1, type, win), "put of blocks");
    check_mpi(MPI_Win_flush(right, win), "flush");
    memset(buffer, 1, BLOCKS * BLOCK);
    check_mpi(MPI_Get(buffer, BLOCKS * BLOCK, MPI_BYTE, right, starts[right],
                      1, type, win), "get of blocks");
    check_mpi(MPI_Win_flush(right, win), "flush");
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < BLOCKS; ++i) {
        check_all("block", memory + 2 * i * BLOCK, BLOCK, 10 * left + i);
        check_all("gap", memory + (2 * i + 1) * BLOCK, BLOCK, 0);
        check_all("block that came back", buffer + i * BLOCK, BLOCK,
                  10 * check_rank + i);
    }
    MPI_Type_free(&type);
}

/* A target refuses what it has not attached, and goes on */
static void test_refused(void)
{
    const int size = 1 << 20;

    MPI_Barrier(MPI_COMM_WORLD);
    check_class(MPI_Get(buffer, size, MPI_BYTE, right,
                        starts[right] + (MPI_Aint)SIZE - 8, size, MPI_BYTE,
                        win), MPI_ERR_RMA_RANGE, "get behind the memory");
    check_class(MPI_Put(buffer, size, MPI_BYTE, right,
                        starts[right] + (MPI_Aint)SIZE - 8, size, MPI_BYTE,
                        win), MPI_ERR_RMA_RANGE, "put behind the memory");
    MPI_Win_flush(right, win);
    test_size(8, 2);
}

/* Leave this process little address space beside what it has */
static void limit_memory(struct rlimit *old)
{
    FILE *file = fopen("/proc/self/statm", "r");
    struct rlimit limit;
    unsigned long pages;

    check((file != NULL) && (fscanf(file, "%lu", &pages) == 1), "statm: %m");
    fclose(file);
    check(getrlimit(RLIMIT_AS, old) == 0, "getrlimit: %m");
    limit          = *old;
    limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + SPARE;
    check((limit.rlim_cur > limit.rlim_max) ||
          (setrlimit(RLIMIT_AS, &limit) == 0), "setrlimit: %m");
}

/* A put, and a get, that are larger than what the target may allocate */
static void test_memory(void)
{
    struct rlimit old;

    memset(buffer, 7, SIZE);
    memset(memory, 8, SIZE);
    if (check_rank == 1) {
        limit_memory(&old);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        check_mpi(MPI_Put(buffer, SIZE, MPI_BYTE, 1, starts[1], SIZE, MPI_BYTE,
                          win), "put to a rank without memory");
        check_mpi(MPI_Win_flush(1, win), "flush");
        memset(buffer, 9, SIZE);
        check_mpi(MPI_Get(buffer, SIZE, MPI_BYTE, 1, starts[1], SIZE, MPI_BYTE,
                          win), "get from a rank without memory");
        check_mpi(MPI_Win_flush(1, win), "flush");
        check_all("get without memory", buffer, SIZE, 7);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        check(setrlimit(RLIMIT_AS, &old) == 0, "setrlimit: %m");
        check_all("put without memory", memory, SIZE, 7);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Have a child continue this process, which stops itself. */
static void stop_for(long ms)
{
    const struct timespec pause = {.tv_sec  = ms / 1000,
                                   .tv_nsec = ms % 1000 * 1000000};
    const pid_t self            = getpid();
    pid_t pid                   = fork();

    check(pid >= 0, "fork: %m");
    if (pid == 0) {
        nanosleep(&pause, NULL);
        kill(self, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    waitpid(pid, NULL, 0);
}

static void await_stop(int pid)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000000};
    char path[64], state        = ' ';
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    while (state != 'T') {
        nanosleep(&pause, NULL);
        file = fopen(path, "r");
        check((file != NULL) && (fscanf(file, "%*d %*s %c", &state) == 1),
              "%s: %m", path);
        fclose(file);
    }
}

/* A message is given up, and answered then. More follow than there are tags. */
static void test_late(long ms)
{
    uint64_t value = 0;
    int pid        = (int)getpid();
    uint64_t i;

    memset(memory, 0, sizeof(value));
    MPI_Bcast(&pid, 1, MPI_INT, 1, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        stop_for(ms);
    } else if (check_rank == 0) {
        await_stop(pid);
        check_class(MPI_Get(&value, 1, MPI_UINT64_T, 1, starts[1], 1,
                            MPI_UINT64_T, win), MPI_ERR_OTHER,
                    "get from a rank that is stopped");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 1; (check_rank == 0) && (i <= MESSAGES / 2); ++i) {
        check_mpi(MPI_Put(&i, 1, MPI_UINT64_T, 1, starts[1], 1, MPI_UINT64_T,
                          win), "put after a late answer");
        check_mpi(MPI_Get(&value, 1, MPI_UINT64_T, 1, starts[1], 1,
                          MPI_UINT64_T, win), "get after a late answer");
        check(value == i, "put %lu, got %lu", i, value);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    if ((argc < 2) || (argc > 3)) {
        return 2;
    }
    part(argv[1]);
    check_init(&argc, &argv);
    check((check_size >= 2) && (check_size <= 64), "2 to 64 ranks");
    right  = (check_rank + 1) % check_size;
    left   = (check_rank + check_size - 1) % check_size;
    memory = malloc(SIZE);
    buffer = malloc(SIZE);
    check((memory != NULL) && (buffer != NULL), "no memory");
    check_mpi(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win),
              "create_dynamic");
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    check_mpi(MPI_Win_attach(win, memory, (MPI_Aint)SIZE), "attach");
    MPI_Get_address(memory, &starts[check_rank]);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, starts, 1, MPI_AINT,
                  MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");

    if (argc == 3) {
        test_late(atol(argv[2]));
    } else {
        test_size(8, 20);
        test_size(60000, 20);
        test_size(1 << 20, 10);
        test_size(((size_t)9 << 20) - 3, 2);
        test_blocks();
        test_refused();
        test_memory();
    }
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_detach(win, memory), "detach");
    check_mpi(MPI_Win_free(&win), "free");
    free(memory);
    free(buffer);
    MPI_Finalize();
    return 0;
}
