/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Windows over files that the pin module pins, with two ranks on two nodes,
 * each with its own RDMA device: put, get, accumulate, fetch and op, compare
 * and swap, with such memory on either side. The number of messages that a
 * device received shows whether the transport moved the bytes by RDMA, as rc
 * does, or by messages, as ud has to.
 *
 * usage: mpirun -n 2 ... rma DIRECTORY rc|ud
 *        (UCX_TLS has to name the same transport)
 */

#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_DEVICE 2 /* rxe2 and rxe3, see test_rma */
#define SIZE         (1ul << 20)
#define BLOCK        65536ul
#define PUTS         32
#define WORD         (SIZE - 4096) /* of atomics, in the window */

static int rank, other;

#define REQUIRE(_condition, ...) \
    do { \
        if (!(_condition)) { \
            fprintf(stderr, "rank %d, line %d: ", rank, __LINE__); \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, "\n"); \
            MPI_Abort(MPI_COMM_WORLD, 1); \
        } \
    } while (0)

/* Return the number of messages that this rank's device has received. */
static long received(void)
{
    char path[128];
    long count = -1;
    FILE *file;

    snprintf(path, sizeof(path),
             "/sys/class/infiniband/rxe%d/ports/1/hw_counters/rdma_recvs",
             FIRST_DEVICE + rank);
    file = fopen(path, "r");
    REQUIRE((file != NULL) && (fscanf(file, "%ld", &count) == 1), "%s: %s",
            path, strerror(errno));
    fclose(file);
    return count;
}

static char *make_window(const char *directory, const char *name, MPI_Win *win)
{
    char path[4096];
    MPI_Info info;
    char *base;

    snprintf(path, sizeof(path), "%s/%s.%%r", directory, name);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    REQUIRE(MPI_Win_allocate(SIZE, 1, info, MPI_COMM_WORLD, &base, win) ==
            MPI_SUCCESS, "no window");
    MPI_Info_free(&info);
    memset(base, 0, SIZE);
    MPI_Barrier(MPI_COMM_WORLD);
    return base;
}

/* Put blocks. Return the number of messages that this rank's device received
 * meanwhile, from all ranks: the last message may arrive at any time. */
static long put_blocks(MPI_Win win, const char *local)
{
    long before;
    int i;

    MPI_Barrier(MPI_COMM_WORLD);
    before = received();
    for (i = 0; i < PUTS; ++i) {
        MPI_Put(local, BLOCK, MPI_BYTE, other, (i % 8) * (MPI_Aint)BLOCK, BLOCK,
                MPI_BYTE, win);
        MPI_Win_flush(other, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return received() - before;
}

static void get_blocks(MPI_Win win, char *local, char letter)
{
    size_t i;

    memset(local, 0, 8 * BLOCK);
    MPI_Get(local, 8 * BLOCK, MPI_BYTE, other, 0, 8 * BLOCK, MPI_BYTE, win);
    MPI_Win_flush(other, win);
    for (i = 0; i < 8 * BLOCK; ++i) {
        REQUIRE(local[i] == letter, "get: byte %zu is %c", i, local[i]);
    }
}

static void atomics(MPI_Win win, const char *base)
{
    long one = 1, old = -1, seven = 7, more = 9, sum;
    int i;

    for (i = 0; i < 10; ++i) {
        MPI_Fetch_and_op(&one, &old, MPI_LONG, other, WORD, MPI_SUM, win);
        MPI_Win_flush(other, win);
        REQUIRE(old == i, "fetch and op %d: %ld was there", i, old);
    }
    sum = 10;
    MPI_Compare_and_swap(&more, &sum, &old, MPI_LONG, other, WORD + 8, win);
    MPI_Win_flush(other, win);
    REQUIRE(old == 0, "compare and swap: %ld was there", old);
    sum = 0;
    MPI_Compare_and_swap(&more, &sum, &old, MPI_LONG, other, WORD + 8, win);
    MPI_Accumulate(&seven, 1, MPI_LONG, other, WORD + 16, 1, MPI_LONG, MPI_SUM,
                   win);
    MPI_Win_flush(other, win);
    MPI_Barrier(MPI_COMM_WORLD);
    memcpy(&sum, base + WORD, sizeof(sum));
    REQUIRE(sum == 10, "fetch and op: %ld", sum);
    memcpy(&sum, base + WORD + 8, sizeof(sum));
    REQUIRE(sum == 9, "compare and swap: %ld", sum);
    memcpy(&sum, base + WORD + 16, sizeof(sum));
    REQUIRE(sum == 7, "accumulate: %ld", sum);
}

/* Check the file after the window, and so the lease, has ended. */
static void check_file(const char *directory, char letter)
{
    char path[4096], *bytes = malloc(SIZE);
    size_t i;
    int fd;

    snprintf(path, sizeof(path), "%s/target.%d", directory, rank);
    fd = open(path, O_RDONLY);
    REQUIRE((fd >= 0) && (pread(fd, bytes, SIZE, 0) == (ssize_t)SIZE),
            "cannot read %s", path);
    for (i = 0; i < 8 * BLOCK; ++i) {
        REQUIRE(bytes[i] == letter, "%s: byte %zu is %c", path, i, bytes[i]);
    }
    close(fd);
    free(bytes);
}

static void judge(const char *what, long messages, int is_rc)
{
    long by_messages = PUTS *
                       (long)(BLOCK / 8192); /* UCX sends no longer ones */

    printf("# rank %d: %d puts of %lu bytes from %s, and as many to it: %ld "
           "messages received\n", rank, PUTS, BLOCK, what, messages);
    REQUIRE(is_rc ? (messages < by_messages / 2) : (messages >= by_messages),
            "%ld messages received, against %ld without RDMA", messages,
            by_messages);
}

int main(int argc, char **argv)
{
    const char *number = getenv("OMPI_COMM_WORLD_RANK");
    char device[16], *target, *source, *dram;
    MPI_Win target_win, source_win;
    int is_rc;

    if ((argc != 3) || (number == NULL)) {
        fprintf(stderr, "usage: mpirun -n 2 ... rma DIRECTORY rc|ud\n");
        return 2;
    }
    snprintf(device, sizeof(device), "rxe%d:1",
             FIRST_DEVICE + atoi(number) % 2);
    setenv("UCX_NET_DEVICES", device, 1);
    is_rc = strcmp(argv[2], "rc") == 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    other  = 1 - rank;
    target = make_window(argv[1], "target", &target_win);
    source = make_window(argv[1], "source", &source_win);
    dram   = malloc(SIZE);
    MPI_Win_lock_all(0, target_win);
    memset(dram, 'd' + rank, SIZE);
    judge("DRAM", put_blocks(target_win, dram), is_rc);
    get_blocks(target_win, source, (char)('d' + rank));
    memset(source, 's' + rank, SIZE);
    judge("a file", put_blocks(target_win, source), is_rc);
    get_blocks(target_win, dram, (char)('s' + rank));
    atomics(target_win, target);
    MPI_Win_unlock_all(target_win);
    MPI_Win_free(&source_win);
    MPI_Win_free(&target_win);
    check_file(argv[1], (char)('s' + other));
    free(dram);
    MPI_Finalize();
    return 0;
}
