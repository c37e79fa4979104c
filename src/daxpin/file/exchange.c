/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Exchange the program's mappings and descriptors for the holder's
 * description */

#include "exchange.h"

#include "daxpin/os/log.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/vma.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int daxpin_exchange_vma(daxpin_file_t *file, const daxpin_vma_t *vma)
{
    size_t length = vma->end - vma->start;
    void *addr    = (void*)vma->start;

    /* One system call: no thread meets an unmapped range, and the pages are
     * those of the file before and after */
    if (file->is_dax &&
        (mmap(addr, length, vma->prot,
              MAP_SHARED_VALIDATE | MAP_SYNC | MAP_FIXED, file->fd,
              (off_t)vma->offset) == addr)) {
        return 0;
    }
    if (mmap(addr, length, vma->prot, MAP_SHARED | MAP_FIXED, file->fd,
             (off_t)vma->offset) != addr) {
        return daxpin_error(errno, "%s: cannot map it again at %p through the "
                            "descriptor of its holder: %m", file->path, addr);
    }
    return 0;
}

static int daxpin_exchange_map(const daxpin_vma_t *vma, void *arg)
{
    daxpin_file_t *file = arg;
    int ret;

    if (!vma->shared || (vma->ino != file->map_ino) ||
        (vma->dev != file->map_dev)) {
        return 0;
    }
    ret = daxpin_exchange_vma(file, vma);
    return (ret != 0) ? ret : daxpin_fault_watch(file, vma->start, vma->end);
}

static int daxpin_exchange_fd(int fd, void *arg)
{
    const daxpin_file_t *file = arg;
    int flags                 = fcntl(fd, F_GETFD);
    int status                = fcntl(fd, F_GETFL);

    /* O_PATH does not keep a lease away. O_APPEND stays as it is, because
     * through the holder's description its writes would go elsewhere. */
    if ((fd == file->fd) || (status & (O_PATH | O_APPEND)) ||
        (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, file->fd) ==
         0)) {
        return 0;
    }
    dup3(file->fd, fd, (flags & FD_CLOEXEC) ? O_CLOEXEC : 0);
    return 0;
}

int daxpin_file_exchange(daxpin_file_t *file)
{
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    if (file->fd >= 0) {
        ret = daxpin_vma_for_each(daxpin_exchange_map, file);
        daxpin_fd_for_each(file->ino, file->dev, daxpin_exchange_fd, file);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}
