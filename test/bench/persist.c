/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time how long it takes to make a copy durable */

/*
 * usage: persist DIRECTORY; prints lines of WHAT BYTES NS, medians
 *
 * msync   msync() of a mapping
 * pmem2   pmem2_persist() of libpmem2, as it is for this file system
 * daxpin  daxpin_file_persist() of a file under lease
 *
 * Each after a memcpy() of the same bytes. The three take turns.
 */

#define _GNU_SOURCE

#include "daxpin.h"
#include "stats.h"

#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH   (64l << 20)
#define ROUNDS   51
#define SIZE_SEC 1.0 /* the greatest for all rounds of a size but three */

static const long sizes[] = {8,       64,      512,      4096,    32768,
                             1 << 18, 1 << 21, 16 << 20, 64 << 20};

enum { MSYNC, PMEM2, DAXPIN, KINDS };

static const char *const names[KINDS] = {"msync", "pmem2", "daxpin"};

static char *bases[KINDS], *source;
static daxpin_file_t *file;
static struct pmem2_map *map;
static pmem2_persist_fn persist;

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "persist: %s: %s\n", what, why);
    exit(1);
}

static int create(const char *directory, const char *name)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if ((fd < 0) || (posix_fallocate(fd, 0, LENGTH) != 0)) {
        give_up(path, "cannot be created");
    }
    return fd;
}

static void open_pmem2(int fd)
{
    struct pmem2_config *config;
    struct pmem2_source *from;

    if ((pmem2_config_new(&config) != 0) ||
        (pmem2_config_set_required_store_granularity(
                 config, PMEM2_GRANULARITY_PAGE) != 0) ||
        (pmem2_source_from_fd(&from, fd) != 0) ||
        (pmem2_map_new(&map, config, from) != 0)) {
        give_up("pmem2", pmem2_errormsg());
    }
    bases[PMEM2] = pmem2_map_get_address(map);
    persist      = pmem2_get_persist_fn(map);
}

static void open_all(const char *directory)
{
    char path[4096];

    bases[MSYNC] = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
                        create(directory, "msync"), 0);
    open_pmem2(create(directory, "pmem2"));
    snprintf(path, sizeof(path), "%s/daxpin", directory);
    if (daxpin_file_open(path, LENGTH, NULL, &file) != 0) {
        give_up(path, daxpin_errormsg());
    }
    bases[DAXPIN] = daxpin_file_addr(file, 0, LENGTH);
}

static double time_one(int kind, long bytes)
{
    double start = now();

    memcpy(bases[kind], source, (size_t)bytes);
    switch (kind) {
    case MSYNC:
        msync(bases[kind], (size_t)bytes, MS_SYNC);
        break;
    case PMEM2:
        persist(bases[kind], (size_t)bytes);
        break;
    default:
        if (daxpin_file_persist(file, 0, (size_t)bytes) != 0) {
            give_up("daxpin_file_persist", daxpin_errormsg());
        }
        break;
    }
    return (now() - start) * 1e9;
}

static void measure(long bytes)
{
    double ns[KINDS][ROUNDS], start = now();
    int i, kind;

    for (i = 0; (i < ROUNDS) && ((i < 3) || (now() - start < SIZE_SEC)); ++i) {
        for (kind = 0; kind < KINDS; ++kind) {
            source[0]      = (char)i;
            ns[kind][i] = time_one(kind, bytes);
        }
    }
    for (kind = 0; kind < KINDS; ++kind) {
        printf("%s %ld %.1f\n", names[kind], bytes, median(ns[kind], i));
    }
}

int main(int argc, char **argv)
{
    size_t i;

    if (argc != 2) {
        fprintf(stderr, "usage: persist DIRECTORY\n");
        return 2;
    }
    source = malloc(LENGTH);
    memset(source, 1, LENGTH);
    open_all(argv[1]);
    for (i = 0; i < KINDS; ++i) {
        memset(bases[i], 0, LENGTH);
    }
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        measure(sizes[i]);
    }
    daxpin_file_close(file);
    pmem2_map_delete(&map);
    return 0;
}
