/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Two ranks that reach each other only through RDMA devices. There are windows
 * over files in DIRECTORY and over ordinary memory, created and attached, with
 * both kinds of memory as buffers. The operations are put, get, accumulate,
 * fetch and op, and messages from 8 bytes to 4 MiB.
 *
 * usage: nic DIRECTORY
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE  (5ul << 20)
#define PART  (1ul << 18) /* for each operation, one behind the other */
#define LONGS 8192

enum { FSDAX, ORDINARY, KINDS };

static const char *const kind_names[] = { "fsdax", "ordinary memory" };
static const char *directory;
static int rank, other;
static char *windows[KINDS], *locals[KINDS];

#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "rank %d, line %d: ", rank, __LINE__); \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, "\n"); \
            MPI_Abort(MPI_COMM_WORLD, 1); \
        } \
    } while (0)

static void make_path(const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s.%d", directory, name, rank);
}

static char *make_memory(int kind, const char *name)
{
    int flags = MAP_SHARED, fd = -1;
    char path[4096], *memory;

    if (kind == FSDAX) {
        make_path(name, path, sizeof(path));
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        REQUIRE((fd >= 0) && (posix_fallocate(fd, 0, SIZE) == 0),
                "cannot make %s", path);
    } else {
        flags = MAP_PRIVATE | MAP_ANONYMOUS;
    }
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
    REQUIRE(memory != MAP_FAILED, "cannot map");
    if (fd >= 0) {
        close(fd);
    }
    return memory;
}

static int is_filled(const char *memory, int value, size_t length)
{
    return (memory[0] == value) &&
           (memcmp(memory, memory + 1, length - 1) == 0);
}

/* Do all operations on a window at `base` of the other rank. There it is the
 * memory that is at `mine` in this process. */
static void operate(MPI_Win win, char *mine, MPI_Aint base, char *local)
{
    long one = 5, old = -1, *longs = (long*)(local + (2 * PART));
    long *sums = (long*)(mine + (2 * PART));
    int i;

    memset(mine, rank + 1, SIZE);
    memset(sums, 0, LONGS * sizeof(long));
    memset(local, 0x40 + rank, SIZE);
    for (i = 0; i < LONGS; ++i) {
        longs[i] = i;
    }
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Win_lock_all(0, win);
    MPI_Put(local, PART, MPI_BYTE, other, base, PART, MPI_BYTE, win);
    MPI_Put(local, 8, MPI_BYTE, other, base + PART, 8, MPI_BYTE, win);
    MPI_Get(local + PART, PART, MPI_BYTE, other, base + (3 * PART), PART,
            MPI_BYTE, win);
    MPI_Accumulate(longs, LONGS, MPI_LONG, other, base + (2 * PART), LONGS,
                   MPI_LONG, MPI_SUM, win);
    MPI_Win_flush(other, win);
    MPI_Fetch_and_op(&one, &old, MPI_LONG, other, base + (2 * PART), MPI_SUM,
                     win);
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);

    REQUIRE(is_filled(mine, 0x40 + other, PART), "put: wrong bytes");
    REQUIRE(is_filled(mine + PART, 0x40 + other, 8), "put of 8: wrong bytes");
    REQUIRE(mine[PART + 8] == rank + 1, "put of 8: too many");
    REQUIRE(is_filled(local + PART, other + 1, PART), "get: wrong bytes");
    REQUIRE(old == 0, "fetch and op: %ld was there", old);
    REQUIRE(sums[0] == 5, "fetch and op: %ld is there", sums[0]);
    for (i = 1; i < LONGS; ++i) {
        REQUIRE(sums[i] == i, "accumulate: %ld, not %d", sums[i], i);
    }
}

/* Check that the file has what the mapping has. The window must be freed,
 * because a file can be opened for reading only when it is not pinned. */
static void check_file(void)
{
    char path[4096], *copy = malloc(SIZE);
    int fd;

    make_path("window", path, sizeof(path));
    fd = open(path, O_RDONLY);
    REQUIRE((fd >= 0) && (pread(fd, copy, SIZE, 0) == (ssize_t)SIZE),
            "cannot read %s", path);
    REQUIRE(memcmp(copy, windows[FSDAX], SIZE) == 0, "%s: wrong bytes", path);
    close(fd);
    free(copy);
}

static void created(int kind, int local)
{
    MPI_Win win;

    MPI_Win_create(windows[kind], SIZE, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    operate(win, windows[kind], 0, locals[local]);
    MPI_Win_free(&win);
}

static void attached(int kind, int local)
{
    MPI_Aint mine, theirs;
    MPI_Win win;

    MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    MPI_Win_attach(win, windows[kind], SIZE);
    MPI_Get_address(windows[kind], &mine);
    MPI_Sendrecv(&mine, 1, MPI_AINT, other, 0, &theirs, 1, MPI_AINT, other, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    operate(win, windows[kind], theirs, locals[local]);
    MPI_Win_detach(win, windows[kind]);
    MPI_Win_free(&win);
}

static void message(int from, int to, size_t length)
{
    char *in = windows[to], *out = locals[from];

    memset(in, 0, length + 1);
    memset(out, 0x21 + rank, length);
    MPI_Sendrecv(out, length, MPI_BYTE, other, 1, in, length, MPI_BYTE, other,
                 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    REQUIRE(is_filled(in, 0x21 + other, length) && (in[length] == 0),
            "message of %zu from %s to %s: wrong bytes", length,
            kind_names[from], kind_names[to]);
}

static void messages(int from, int to)
{
    static const size_t lengths[] = { 8, 8192, 65536, 1ul << 20, 4ul << 20 };
    unsigned i;

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); ++i) {
        /* Long messages between ordinary memory are not tested */
        if ((from == FSDAX) || (to == FSDAX) || (lengths[i] <= 65536)) {
            message(from, to, lengths[i]);
        }
    }
}

int main(int argc, char **argv)
{
    int kind, local;

    /* UCX and daxpin take another IPC namespace for another node */
    if ((argc != 2) || (unshare(CLONE_NEWIPC) != 0)) {
        perror("nic DIRECTORY; unshare");
        return 1;
    }
    directory = argv[1];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    other = 1 - rank;
    for (kind = 0; kind < KINDS; ++kind) {
        windows[kind] = make_memory(kind, "window");
        locals[kind]  = make_memory(kind, "local");
    }

    for (kind = 0; kind < KINDS; ++kind) {
        for (local = 0; local < KINDS; ++local) {
            created(kind, local);
            if (kind == FSDAX) {
                attached(kind, local);
            }
            messages(kind, local);
        }
    }
    created(FSDAX, FSDAX);
    check_file();
    MPI_Finalize();
    return 0;
}
