/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * To be preloaded: counts what makes files durable on file systems that have a
 * page cache. One byte a call goes to the file that DAXPIN_TEST_COUNT names.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int (*msync_func_t)(void *addr, size_t length, int flags);


int msync(void *addr, size_t length, int flags)
{
    const char *path = getenv("DAXPIN_TEST_COUNT");
    int fd           = (path != NULL) ? open(path, O_WRONLY | O_APPEND) : -1;
    msync_func_t next;

    if (fd >= 0) {
        if (write(fd, ".", 1) != 1) {
            abort();
        }
        close(fd);
    }
    next = (msync_func_t)dlsym(RTLD_NEXT, "msync");
    return next(addr, length, flags);
}
