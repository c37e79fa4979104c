/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The file behind a mapping of this process */

#include "backing.h"

#include "memfd.h"
#include "mount.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int daxpin_fd_is_writable(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return ((flags & O_ACCMODE) == O_RDWR) && !(flags & (O_PATH | O_APPEND));
}

static int daxpin_fd_take_writable(int fd, void *arg)
{
    if (!daxpin_fd_is_writable(fd)) {
        return 0;
    }
    *(int*)arg = fd;
    return 1;
}

static int daxpin_fd_take_any(int fd, void *arg)
{
    *(int*)arg = fd;
    return 1;
}

/* Return whether a file is the one of a mapping: 1, 0, or -errno if that cannot
 * be found out. A number alone is that of many files, one per file system. A
 * mapping shows the device of the file system, and stat() may show another: on
 * btrfs the mount shows which it is. On an overlay the mapping may show the file
 * system below; daxpin_file_adopt() compares again when the file is open. */
static int daxpin_backing_is_file(int dir_fd, const char *path,
                                  const struct stat *st,
                                  const daxpin_vma_t *vma)
{
    daxpin_mount_t mount;
    int ret;

    if (st->st_ino != vma->ino) {
        return 0;
    }
    if (st->st_dev == vma->dev) {
        return 1;
    }
    ret = daxpin_mount_find(dir_fd, path, &mount);
    if (ret != 0) {
        return (ret == -ENOENT) ? 0 : ret; /* gone meanwhile */
    }
    return (mount.dev == vma->dev) || (strcmp(mount.type, "overlay") == 0);
}

static int daxpin_fd_take_backing(int fd, void *arg)
{
    daxpin_backing_t *backing = arg;
    struct stat st;
    int ret;

    if (fstat(fd, &st) != 0) {
        return 0;
    }
    ret = daxpin_backing_is_file(fd, "", &st, &backing->vma);
    if (ret > 0) {
        backing->st = st;
    }
    return ret;
}

/* Use the path if it still leads to the file, else a descriptor: one on the
 * device of the mapping, if there is any. */
int daxpin_backing_locate(daxpin_backing_t *backing)
{
    const daxpin_vma_t *vma = &backing->vma;
    struct stat st;
    int ret = 0;

    memset(&backing->st, 0, sizeof(backing->st));
    if (stat(vma->path, &st) == 0) {
        ret = daxpin_backing_is_file(AT_FDCWD, vma->path, &st, vma);
    }
    if (ret > 0) {
        backing->st = st;
    }
    if (ret == 0) {
        ret = daxpin_fd_for_each(vma->ino, vma->dev, daxpin_fd_take_backing,
                                 backing);
    }
    if (ret == 0) {
        ret = daxpin_fd_for_each(vma->ino, 0, daxpin_fd_take_backing, backing);
    }
    return (ret < 0) ? ret : 0;
}

int daxpin_backing_is_dax(const daxpin_backing_t *backing)
{
    struct statx stx;
    int ret, fd = -1;

    if ((statx(AT_FDCWD, backing->vma.path, 0, STATX_INO, &stx) != 0) ||
        (stx.stx_ino != backing->st.st_ino) ||
        (makedev(stx.stx_dev_major, stx.stx_dev_minor) !=
         backing->st.st_dev)) {
        ret = daxpin_fd_for_each(backing->st.st_ino, backing->st.st_dev,
                                 daxpin_fd_take_any, &fd);
        if (ret <= 0) {
            return ret;
        }
        if (statx(fd, "", AT_EMPTY_PATH, 0, &stx) != 0) {
            return -errno;
        }
    }
    return (stx.stx_attributes & STATX_ATTR_DAX) != 0;
}

/* Return the device of shared memory without a name: System V, memfd,
 * MAP_ANONYMOUS. Its paths in /proc lead nowhere. */
static dev_t daxpin_nameless_dev(void)
{
    static _Atomic dev_t dev;
    struct stat st;
    int fd;

    if (dev == 0) {
        fd = daxpin_memfd_create("daxpin", 0);
        if (fd >= 0) {
            dev = (fstat(fd, &st) == 0) ? st.st_dev : 0;
            close(fd);
        }
    }
    return dev;
}

int daxpin_vma_has_file(const daxpin_vma_t *vma)
{
    return (vma->ino != 0) && (vma->path[0] == '/') &&
           (vma->dev != daxpin_nameless_dev());
}

static int daxpin_vma_is_dax(daxpin_backing_t *backing)
{
    int ret;

    if (!daxpin_vma_has_file(&backing->vma)) {
        return 0;
    }
    ret = daxpin_backing_locate(backing);
    if (ret != 0) {
        return ret;
    }
    if (backing->st.st_ino == 0) {
        return 1;
    }
    return S_ISREG(backing->st.st_mode) ? daxpin_backing_is_dax(backing) : 0;
}

int daxpin_range_is_dax(uintptr_t addr, size_t length, daxpin_vma_t *vma)
{
    uintptr_t end = addr + length;
    daxpin_backing_t backing;
    int ret;

    while (addr < end) {
        ret = daxpin_vma_query(addr, &backing.vma);
        if (ret != 0) {
            return (ret == -ENOENT) ? 0 : ret;
        }
        if (backing.vma.start >= end) {
            return 0;
        }
        ret = daxpin_vma_is_dax(&backing);
        if (ret != 0) {
            *vma = backing.vma;
            return ret;
        }
        addr = backing.vma.end;
    }
    return 0;
}

int daxpin_backing_find_fd(uint64_t ino, dev_t dev)
{
    int fd = -1;

    daxpin_fd_for_each(ino, dev, daxpin_fd_take_writable, &fd);
    return fd;
}
