/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A library to be preloaded: it counts calls of msync(), which make files
 * durable on file systems that have a page cache. Each call appends a line with
 * the number of bytes to the file that DAXPIN_TEST_COUNT names. A call fails
 * while the file that DAXPIN_TEST_FAIL names exists.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int (*msync_func_t)(void *addr, size_t length, int flags);

static void count(const char *path, size_t length)
{
    int fd = open(path, O_WRONLY | O_APPEND);

    if ((fd >= 0) && (dprintf(fd, "%zu\n", length) < 0)) {
        abort();
    }
    close(fd);
}

int msync(void *addr, size_t length, int flags)
{
    const char *counts = getenv("DAXPIN_TEST_COUNT");
    const char *fails  = getenv("DAXPIN_TEST_FAIL");
    msync_func_t next;

    if (counts != NULL) {
        count(counts, length);
    }
    if ((fails != NULL) && (access(fails, F_OK) == 0)) {
        errno = EIO;
        return -1;
    }
    next = (msync_func_t)dlsym(RTLD_NEXT, "msync");
    return next(addr, length, flags);
}
