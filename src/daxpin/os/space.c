/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Blocks of a file: allocate, fill, cut, and wait for a truncate to end */

#include "space.h"

#include "clock.h"
#include "hold.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int daxpin_space_is_allocated(int fd, uint64_t end)
{
    struct stat st;

    return (fstat(fd, &st) == 0) && ((uint64_t)st.st_size >= end) &&
           ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
}

int daxpin_space_await_truncate(const char *path, int fd, uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};

    while (daxpin_hold_is_contended(fd)) {
        if (daxpin_now() > deadline) {
            return daxpin_error(EAGAIN, "%s: cannot open: a process waits to "
                                "truncate it until all that is registered of "
                                "it is released; free its windows and "
                                "registrations, then try again", path);
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

int daxpin_space_allocate(const char *path, int fd, uint64_t offset,
                          size_t length)
{
    int ret;

    do {
        ret = fallocate(fd, 0, (off_t)offset, (off_t)length);
    } while ((ret != 0) && (errno == EINTR));
    if (ret == 0) {
        return 0;
    }
    ret = errno;
    /* XFS reserves blocks for its own metadata first. This fails if the file
     * takes all of its file system, although the file needs none of them. */
    if (((ret == EOPNOTSUPP) || (ret == ENOSPC)) &&
        daxpin_space_is_allocated(fd, offset + length)) {
        return 0;
    }
    errno = ret;
    return daxpin_error(ret, "%s: cannot allocate %zu bytes at offset %lu: "
                        "%m; free space first, because a later store there "
                        "could fail without an error", path, length, offset);
}

/* Write zeros to the blocks that were never written. On DAX the first store
 * would convert such a block in a page fault, which a NIC cannot wait for. */
static int daxpin_space_zero_holes(const char *path, int fd, off_t from,
                                   off_t end)
{
    static const char zeros[65536];
    off_t hole, data;
    ssize_t ret;
    size_t part;

    for (hole = lseek(fd, from, SEEK_HOLE); (hole >= 0) && (hole < end);
         hole = lseek(fd, data, SEEK_HOLE)) {
        data = lseek(fd, hole, SEEK_DATA);
        data = ((data < 0) || (data > end)) ? end : data;
        while (hole < data) {
            part = ((size_t)(data - hole) < sizeof(zeros)) ?
                           (size_t)(data - hole) :
                           sizeof(zeros);
            ret  = pwrite(fd, zeros, part, hole);
            if (ret < 0) {
                return daxpin_error(errno, "%s: cannot zero %zu bytes at "
                                    "offset %ld: %m", path, part, (long)hole);
            }
            hole += ret;
        }
    }
    return 0;
}

/* One process at a time grows the file. Members share an open file description,
 * so the lock is of a kind that belongs to the process. */
int daxpin_space_grow(const char *path, int fd, int is_dax, size_t length,
                      int fresh)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;
    int ret;

    while ((fcntl(fd, F_SETLKW, &lock) != 0) && (errno == EINTR)) {
    }
    if (fstat(fd, &st) != 0) {
        ret = daxpin_error(errno, "%s: cannot stat: %m", path);
        goto out;
    }
    length = (length > (size_t)st.st_size) ? length : (size_t)st.st_size;
    if (length == 0) {
        ret = daxpin_error(EINVAL, "%s: cannot open: the file is empty, and no "
                           "length was given; give a length", path);
        goto out;
    }
    ret = daxpin_space_allocate(path, fd, 0, length);
    if ((ret == 0) && is_dax) {
        ret = daxpin_space_zero_holes(path, fd, fresh ? 0 : st.st_size,
                                      (off_t)length);
    }
    if ((ret != 0) && (ftruncate(fd, st.st_size) != 0)) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot cut back to %ld bytes: %m",
                   path, (long)st.st_size);
    }
out:
    lock.l_type = F_UNLCK;
    fcntl(fd, F_SETLK, &lock);
    return ret;
}

int daxpin_space_cut(int fd, size_t length)
{
    struct stat st;

    return ((fstat(fd, &st) == 0) && ((size_t)st.st_size > length) &&
            (ftruncate(fd, (off_t)length) != 0)) ? -errno : 0;
}
