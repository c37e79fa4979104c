/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A file system that behaves as a test wants it
 *
 * The functions below replace those of the C library in this program and its
 * children. For a file PATH, these marks are files beside it:
 *
 *   PATH.dax    statx() reports that PATH is on DAX
 *   PATH.wait   fallocate() of PATH waits until the mark is gone; PATH.waits
 *               shows that it does
 *   PATH.full   the next fallocate() of PATH does half of its work, and fails
 *               with ENOSPC; disk_full_hook() is called in between
 *   PATH.never  fallocate() of PATH does nothing and fails with ENOSPC
 */

#ifndef DISK_H_
#define DISK_H_

#include "unit.h"

#include <dlfcn.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/syscall.h>

#define DISK_WRITTEN 'w' /* a byte that another program writes */
#define DISK_BEHIND  8192 /* so many bytes behind the begin of a hole */
#define DISK_POPULATE 23  /* MADV_POPULATE_WRITE */

static unsigned disk_allocations; /* calls of fallocate() for a marked file */
static int      disk_is_old;      /* no MADV_POPULATE_WRITE */
static int      disk_hides_holes; /* all of a file seems to be data */
static int      disk_writes;      /* another program writes to each hole that
                                     the library has just found */
static unsigned disk_written;     /* bytes */
static void     (*disk_full_hook)(int fd, off_t offset);

/* Called when the library is about to set the length of a file, and after
 * ftruncate() */
static void     (*disk_length_hook)(int fd);
static void     (*disk_cut_hook)(int fd);

/* Called after fallocate(), with the end of the range */
static void     (*disk_fill_hook)(int fd, off_t end);

/* Called when the library asks what a descriptor is of */
static void     (*disk_look_hook)(int fd);

/* Called when the library makes a path absolute, which it does between the
 * creation of a file and the lease */
static void     (*disk_path_hook)(const char *path);

static UNIT_UNUSED const char *disk_mark_path(const char *path,
                                              const char *what)
{
    static __thread char mark[PATH_MAX + 64];

    snprintf(mark, sizeof(mark), "%s.%s", path, what);
    return mark;
}

static UNIT_UNUSED void disk_mark(const char *path, const char *what)
{
    int fd = open(disk_mark_path(path, what), O_CREAT | O_WRONLY | O_CLOEXEC,
                  0666);

    assert_true(fd >= 0);
    close(fd);
}

static UNIT_UNUSED void disk_unmark(const char *path, const char *what)
{
    assert_int_equal(unlink(disk_mark_path(path, what)), 0);
}

static UNIT_UNUSED int disk_is_marked(const char *path, const char *what)
{
    return access(disk_mark_path(path, what), F_OK) == 0;
}

/* Return whether the file of a descriptor has a mark. */
static int disk_has_mark(int fd, const char *what)
{
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    return disk_is_marked(path, what);
}

int statx(int dir, const char *restrict path, int flags, unsigned mask,
          struct statx *restrict stx)
{
    int ret   = (int)syscall(SYS_statx, dir, path, flags, mask, stx);
    int error = errno;

    if ((path[0] == '\0') && (disk_look_hook != NULL)) {
        disk_look_hook(dir);
    }
    if ((ret == 0) && (path[0] == '\0') && disk_has_mark(dir, "dax")) {
        stx->stx_attributes |= STATX_ATTR_DAX;
    }
    errno = error;
    return ret;
}

/* Allocate half of a range, and fail. */
static int disk_fill_up(int fd, int mode, off_t offset, off_t length)
{
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    if ((unlink(disk_mark_path(path, "full")) != 0) ||
        (syscall(SYS_fallocate, fd, mode, offset, (length + 1) / 2) != 0)) {
        return -1;
    }
    if (disk_full_hook != NULL) {
        disk_full_hook(fd, offset);
    }
    errno = ENOSPC;
    return -1;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    char path[PATH_MAX];
    int ret;

    if (mode & ~FALLOC_FL_KEEP_SIZE) {
        return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    }
    if ((mode == 0) && (disk_length_hook != NULL)) {
        disk_length_hook(fd);
    }
    unit_fd_path(fd, path);
    while (disk_is_marked(path, "wait")) {
        disk_mark(path, "waits");
        unit_sleep_ms(1);
    }
    if (disk_has_mark(fd, "never")) {
        ++disk_allocations;
        errno = ENOSPC;
        return -1;
    }
    ret = disk_has_mark(fd, "full") ?
          disk_fill_up(fd, mode, offset, length) :
          (int)syscall(SYS_fallocate, fd, mode, offset, length);
    if ((ret == 0) && (disk_fill_hook != NULL)) {
        disk_fill_hook(fd, offset + length);
    }
    return ret;
}

int ftruncate(int fd, off_t length)
{
    int ret;

    if (disk_length_hook != NULL) {
        disk_length_hook(fd);
    }
    ret = (int)syscall(SYS_ftruncate, fd, length);
    if (disk_cut_hook != NULL) {
        disk_cut_hook(fd);
    }
    return ret;
}

off_t lseek(int fd, off_t offset, int whence)
{
    const char byte = DISK_WRITTEN;
    off_t ret       = syscall(SYS_lseek, fd, offset, whence);
    int error       = errno;
    struct stat st;

    if (disk_hides_holes && (whence == SEEK_HOLE) && (fstat(fd, &st) == 0)) {
        return (offset < st.st_size) ? st.st_size : ret;
    }
    if (disk_writes && (whence == SEEK_DATA)) {
        assert_int_equal(pwrite(fd, &byte, 1, offset + DISK_BEHIND), 1);
        ++disk_written;
    }
    errno = error;
    return ret;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void*);
    va_end(ap);
    if (disk_hides_holes && (request == FS_IOC_FIEMAP)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_ioctl, fd, request, arg);
}

typedef char *(*disk_realpath_t)(const char *path, char *resolved);

char *realpath(const char *restrict path, char *restrict resolved)
{
    disk_realpath_t next = (disk_realpath_t)dlsym(RTLD_NEXT, "realpath");

    if (disk_path_hook != NULL) {
        disk_path_hook(path);
    }
    return next(path, resolved);
}

int madvise(void *addr, size_t length, int advice)
{
    if (disk_writes && (advice == DISK_POPULATE) && (length > DISK_BEHIND) &&
        (((char*)addr)[DISK_BEHIND] == 0)) {
        ((char*)addr)[DISK_BEHIND] = DISK_WRITTEN;
        ++disk_written;
    }
    if (disk_is_old && (advice == DISK_POPULATE)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, addr, length, advice);
}

#endif
