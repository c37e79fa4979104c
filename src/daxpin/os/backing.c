/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The file behind a mapping of this process */

#include "backing.h"

#include "memfd.h"
#include "proc.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
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

/* Use the path if it still leads to the file, else a descriptor. The device is
 * not compared with the path's: a mapping shows the device of the file system,
 * and stat() may show another. */
void daxpin_backing_locate(daxpin_backing_t *backing)
{
    uint64_t ino = backing->vma.ino;
    int fd       = -1;

    if ((stat(backing->vma.path, &backing->st) == 0) &&
        (backing->st.st_ino == ino)) {
        return;
    }
    memset(&backing->st, 0, sizeof(backing->st));
    if (daxpin_fd_for_each(ino, 0, daxpin_fd_take_writable, &fd) <= 0) {
        daxpin_fd_for_each(ino, 0, daxpin_fd_take_any, &fd);
    }
    if ((fd < 0) || (fstat(fd, &backing->st) != 0) ||
        (backing->st.st_dev != backing->vma.dev)) {
        memset(&backing->st, 0, sizeof(backing->st));
    }
}

int daxpin_backing_is_dax(const daxpin_backing_t *backing)
{
    struct statx stx;
    int fd = -1;

    if ((statx(AT_FDCWD, backing->vma.path, 0, STATX_INO, &stx) != 0) ||
        (stx.stx_ino != backing->vma.ino)) {
        daxpin_fd_for_each(backing->st.st_ino, backing->st.st_dev,
                           daxpin_fd_take_any, &fd);
        if ((fd < 0) || (statx(fd, "", AT_EMPTY_PATH, 0, &stx) != 0)) {
            return 0;
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

int daxpin_range_is_dax(uintptr_t addr, size_t length, daxpin_vma_t *vma)
{
    uintptr_t end = addr + length;
    daxpin_backing_t backing;

    while ((addr < end) && (daxpin_vma_query(addr, &backing.vma) == 0) &&
           (backing.vma.start < end)) {
        if (daxpin_vma_has_file(&backing.vma)) {
            daxpin_backing_locate(&backing);
            if ((backing.st.st_ino == 0) || (S_ISREG(backing.st.st_mode) &&
                                             daxpin_backing_is_dax(&backing))) {
                *vma = backing.vma;
                return 1;
            }
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
