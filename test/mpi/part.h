/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_PART_H_
#define DAXPIN_TEST_PART_H_

/*
 * The part of a file that a rank exposes: a file of its own, or its share of
 * one file that every rank opens and maps by itself.
 */

#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

typedef struct part {
    char    path[4096];
    int     fd;
    off_t   offset; /* in the file */
    size_t  length;
    uint8_t *base;
} part_t;

#define CHECK(_cond, _format, ...) \
    do { \
        if (!(_cond)) { \
            fprintf(stderr, "%s:%d: rank %d: %s: " _format "\n", __FILE__, \
                    __LINE__, comm_rank, #_cond, ##__VA_ARGS__); \
            MPI_Abort(MPI_COMM_WORLD, 1); \
            exit(1); \
        } \
    } while (0)

static int comm_rank = -1;
static int comm_size;

static inline double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + (ts.tv_nsec * 1e-9);
}

static inline void part_path(char *path, size_t size, const char *prefix,
                             int shared, int rank)
{
    if (shared) {
        snprintf(path, size, "%s.all", prefix);
    } else {
        snprintf(path, size, "%s.%d", prefix, rank);
    }
}

/* Open and map; the file exists and is long enough */
static inline void part_open(part_t *part, const char *prefix, int shared,
                             size_t length)
{
    part_path(part->path, sizeof(part->path), prefix, shared, comm_rank);
    part->offset = shared ? (off_t)(comm_rank * length) : 0;
    part->length = length;

    part->fd = open(part->path, O_RDWR);
    CHECK(part->fd >= 0, "%s: %m", part->path);
    part->base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
                      part->fd, part->offset);
    CHECK(part->base != MAP_FAILED, "%s: %m", part->path);
}

/* Make the file new, full of zeroes; collective, returns when all are there */
static inline void part_create(const char *prefix, int shared, size_t length)
{
    char path[4096];
    int fd, ret;

    if (!shared || (comm_rank == 0)) {
        part_path(path, sizeof(path), prefix, shared, comm_rank);
        unlink(path);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        CHECK(fd >= 0, "%s: %m", path);
        ret = posix_fallocate(fd, 0, length * (shared ? comm_size : 1));
        CHECK(ret == 0, "%s: %s", path, strerror(ret));
        close(fd);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static inline void part_close(part_t *part)
{
    munmap(part->base, part->length);
    close(part->fd);
}

/* Read from the rank's own descriptor, which opens nothing */
static inline void part_read(const part_t *part, void *buffer, size_t offset,
                             size_t length)
{
    ssize_t ret = pread(part->fd, buffer, length, part->offset + offset);

    CHECK(ret == (ssize_t)length, "%s: read %zd of %zu: %m", part->path, ret,
          length);
}

/* Does the kernel say that there is a write lease on the part's file? */
static inline int part_has_lease(const part_t *part)
{
    char id[64], line[256], type[32], what[32], kind[32], seen[64];
    int found = 0;
    struct stat st;
    FILE *file;

    CHECK(fstat(part->fd, &st) == 0, "%s: %m", part->path);
    snprintf(id, sizeof(id), "%02x:%02x:%lu", major(st.st_dev),
             minor(st.st_dev), (unsigned long)st.st_ino);

    file = fopen("/proc/locks", "r");
    CHECK(file != NULL, "/proc/locks: %m");
    while (fgets(line, sizeof(line), file) != NULL) {
        found |= (sscanf(line, "%*s %31s %31s %31s %*s %63s", type, what, kind,
                         seen) == 4) &&
                 (strcmp(type, "LEASE") == 0) &&
                 (strcmp(what, "ACTIVE") == 0) &&
                 (strcmp(kind, "WRITE") == 0) && (strcmp(seen, id) == 0);
    }
    fclose(file);
    return found;
}

/* Is this run one with daxpin? */
static inline int with_daxpin(void)
{
    const char *md = getenv("UCX_MD");

    return (md != NULL) && (strstr(md, "daxpin") != NULL);
}

#endif
