/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Count what registrations of mapped files cost */

/*
 * usage: registrations DIRECTORY MAPPINGS TIMES
 * prints lines of process STAGE FIELD VALUE
 *
 * A file is mapped at MAPPINGS places, and at one more that is adopted before
 * anything is counted. Then a piece of each of them is adopted and pinned
 * ("first"), and TIMES further pieces of each ("again").
 */

#define _GNU_SOURCE

#include "daxpin/daxpin.h"
#include "usage.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PIECES 32 /* pages of a mapping */

static size_t page, length;

static void give_up(const char *what)
{
    fprintf(stderr, "registrations: %s: %s\n", what, daxpin_errormsg());
    exit(1);
}

static void be_silent(daxpin_log_level_t level, const char *message)
{
    if (level == DAXPIN_LOG_ERROR) {
        fprintf(stderr, "registrations: %s\n", message);
    }
}

/* Make the file, with data: space that was only allocated is a hole on tmpfs, and
 * to register a hole takes a look and a turn of the loop more. */
static int make_file(const char *path)
{
    int fd     = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char *zero = calloc(1, length);

    if ((fd < 0) || (zero == NULL) ||
        (pwrite(fd, zero, length, 0) != (ssize_t)length)) {
        give_up(path);
    }
    free(zero);
    return fd;
}

/* Map a file at places that do not touch, so that the kernel shows each. */
static char *map_places(int fd, int count)
{
    const size_t stride = 2 * length;
    char *base;
    int i;

    base = mmap(NULL, stride * (size_t)count, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (i = 0; i < count; ++i) {
        if (mmap(base + stride * (size_t)i, length, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
            give_up("mmap");
        }
    }
    return base;
}

/* Adopt and pin a piece, which stays so until the process ends. */
static void adopt(char *addr)
{
    daxpin_file_t *file;
    daxpin_pin_t *pin;
    uint64_t offset;

    if ((daxpin_file_adopt(addr, page, NULL, &file, &offset) != 0) ||
        (daxpin_pin(file, offset, page, NULL, &pin) != 0)) {
        give_up("daxpin_file_adopt");
    }
}

static void adopt_each(char *base, int mappings, int piece)
{
    int i;

    for (i = 1; i <= mappings; ++i) {
        adopt(base + 2 * length * (size_t)i + page * (size_t)piece);
    }
}

int main(int argc, char **argv)
{
    const char *const files[] = {argv[1], NULL};
    int mappings, times, i, fd;
    usage_t before, usage;
    char path[4096], *base;

    if (argc != 4) {
        fprintf(stderr, "usage: registrations DIRECTORY MAPPINGS TIMES\n");
        return 2;
    }
    mappings = atoi(argv[2]);
    times    = atoi(argv[3]);
    page     = (size_t)sysconf(_SC_PAGESIZE);
    length   = PIECES * page;
    if ((mappings < 1) || (times < 1) || (times >= PIECES)) {
        return 2;
    }
    daxpin_set_log(be_silent);
    if (daxpin_set_files(files) != 0) {
        give_up(argv[1]);
    }
    snprintf(path, sizeof(path), "%s/registrations", argv[1]);
    fd   = make_file(path);
    base = map_places(fd, mappings + 1);
    adopt(base);
    usage_get(&before);
    adopt_each(base, mappings, 0);
    usage_get(&usage);
    usage_subtract(&usage, &before);
    usage_print("process", "first", &usage);
    usage_get(&before);
    for (i = 1; i <= times; ++i) {
        adopt_each(base, mappings, i);
    }
    usage_get(&usage);
    usage_subtract(&usage, &before);
    usage_print("process", "again", &usage);
    return 0;
}
