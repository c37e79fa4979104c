/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Messages from and to mapped files: mapped read-only, by both ranks, and
 * changed meanwhile by another process. These files are not leased, because
 * nothing of them is exposed.
 *
 * usage: messages PATH
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (1024 * 1024)

static int rank;

#define check(_condition, ...) \
    do { \
        if (!(_condition)) { \
            printf("rank %d: ", rank); \
            printf(__VA_ARGS__); \
            printf("\n"); \
            fflush(stdout); \
            MPI_Abort(MPI_COMM_WORLD, 1); \
        } \
    } while (0)

static char *map(const char *path, int prot)
{
    int fd     = open(path, (prot & PROT_WRITE) ? O_RDWR : O_RDONLY);
    char *base = mmap(NULL, SIZE, prot, MAP_SHARED, fd, 0);

    check((fd >= 0) && (base != MAP_FAILED), "%s: %m", path);
    close(fd);
    return base;
}

static void make(const char *path, char fill)
{
    static char block[SIZE];
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    memset(block, fill, SIZE);
    check((fd >= 0) && (write(fd, block, SIZE) == SIZE), "%s: %m", path);
    close(fd);
}

/* Another process changes the file, and can open it at once */
static void change(const char *path, char fill)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        make(path, fill);
        _exit(0);
    }
    check((waitpid(pid, &status, 0) == pid) && (status == 0),
          "%s: it cannot be changed", path);
}

/* Rank 0 sends length bytes, rank 1 receives them */
static void move(char *buffer, int length, char fill, const char *what)
{
    int i;

    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        MPI_Send(buffer, length, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
    } else if (rank == 1) {
        MPI_Recv(buffer, length, MPI_CHAR, 0, 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        for (i = 0; i < length; ++i) {
            check(buffer[i] == fill, "%s: byte %d of %d is %x", what, i,
                  length, buffer[i]);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    static const int lengths[] = {1, 8, 4096, 65537, SIZE};
    char mine[PATH_MAX], shared[PATH_MAX];
    char *own, *both;
    size_t i;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    check(argc == 2, "usage: messages PATH");
    snprintf(mine, sizeof(mine), "%s.%d", argv[1], rank);
    snprintf(shared, sizeof(shared), "%s.all", argv[1]);
    make(mine, (char)('a' + rank));
    if (rank == 0) {
        make(shared, 's');
    }
    MPI_Barrier(MPI_COMM_WORLD);
    own  = map(mine, (rank == 0) ? PROT_READ : PROT_READ | PROT_WRITE);
    both = map(shared, PROT_READ | PROT_WRITE);
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); ++i) {
        move(own, lengths[i], 'a', "from a read-only mapping");
        move((rank == 0) ? both : own, lengths[i], 's', "from a shared one");
    }
    if (rank == 0) {
        change(mine, 'c');
        change(shared, 'd');
    }
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); ++i) {
        move(own, lengths[i], 'c', "from a mapping that was changed");
        move((rank == 0) ? own : both, lengths[i], 'c', "to a shared one");
        if (rank == 0) {
            check(both[0] == 'c', "the shared file has %x", both[0]);
        }
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return 0;
}
