/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_SEGMENT_H_
#define DAXPIN_TEST_SEGMENT_H_

/*
 * The segment of a file that a rank exposes: a file of its own, or its share of
 * one file that every rank opens and maps itself
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

typedef struct segment {
    char    path[4096];
    int     fd;
    off_t   offset; /* in the file */
    size_t  length;
    uint8_t *base;
} segment_t;

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

static inline void segment_path(char *path, size_t size, const char *prefix,
                                int shared, int rank)
{
    if (shared) {
        snprintf(path, size, "%s.all", prefix);
    } else {
        snprintf(path, size, "%s.%d", prefix, rank);
    }
}

/* Open and map a file that exists and is long enough */
static inline void segment_open(segment_t *segment, const char *prefix,
                                int shared, size_t length)
{
    segment_path(segment->path, sizeof(segment->path), prefix, shared,
                 comm_rank);
    segment->offset = shared ? (off_t)(comm_rank * length) : 0;
    segment->length = length;

    segment->fd = open(segment->path, O_RDWR);
    CHECK(segment->fd >= 0, "%s: %m", segment->path);
    segment->base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
                         segment->fd, segment->offset);
    CHECK(segment->base != MAP_FAILED, "%s: %m", segment->path);
}

/* Make the files, full of zeroes. Collective; returns when all are there. */
static inline void segment_create(const char *prefix, int shared, size_t length)
{
    char path[4096];
    int fd, ret;

    if (!shared || (comm_rank == 0)) {
        segment_path(path, sizeof(path), prefix, shared, comm_rank);
        unlink(path);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        CHECK(fd >= 0, "%s: %m", path);
        ret = posix_fallocate(fd, 0, length * (shared ? comm_size : 1));
        CHECK(ret == 0, "%s: %s", path, strerror(ret));
        close(fd);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static inline void segment_close(segment_t *segment)
{
    munmap(segment->base, segment->length);
    close(segment->fd);
}

/* Read through the rank's own descriptor, so that no other process opens the
 * file */
static inline void segment_read(const segment_t *segment, void *buffer,
                                size_t offset, size_t length)
{
    ssize_t ret = pread(segment->fd, buffer, length, segment->offset + offset);

    CHECK(ret == (ssize_t)length, "%s: read %zd of %zu: %m", segment->path, ret,
          length);
}

/* Return whether the kernel has a write lease on the segment's file */
static inline int segment_has_lease(const segment_t *segment)
{
    char id[64], line[256], type[32], what[32], kind[32], seen[64];
    int found = 0;
    struct stat st;
    FILE *file;

    CHECK(fstat(segment->fd, &st) == 0, "%s: %m", segment->path);
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

/* Return whether this job uses daxpin */
static inline int with_daxpin(void)
{
    const char *md = getenv("UCX_MD");

    return (md != NULL) && (strstr(md, "daxpin") != NULL);
}

#endif
