/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The memory that takes the place of a revoked file */

#include "sink.h"

#include "memfd.h"
#include "vma.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAXPIN_SINK_SIZE    (1ul << 50) /* of the sparse file */
#define DAXPIN_SINK_REPEATS 1024
#define DAXPIN_SPARE_MAPS   128

static struct {
    _Atomic int      fd;
    _Atomic dev_t    dev;
    _Atomic uint64_t ino;
} daxpin_reserve = {.fd = -1};

/* Mappings that are given up where the process may have no more of them
 * (vm.max_map_count). At that limit not even a whole mapping can be replaced. */
static _Atomic uintptr_t daxpin_spare;

static uint64_t daxpin_sink_page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Return the largest size that a file may have. A larger one would be answered
 * with SIGXFSZ. */
static uint64_t daxpin_sink_size(void)
{
    struct rlimit limit;

    if ((getrlimit(RLIMIT_FSIZE, &limit) != 0) ||
        (limit.rlim_cur == RLIM_INFINITY) ||
        (limit.rlim_cur > DAXPIN_SINK_SIZE)) {
        return DAXPIN_SINK_SIZE;
    }
    return limit.rlim_cur & ~(daxpin_sink_page_size() - 1);
}

/* Return the length of the part that is repeated over a range. */
static uint64_t daxpin_sink_part(size_t length)
{
    uint64_t part = DAXPIN_SINK_MIN;

    while (part < length / DAXPIN_SINK_REPEATS) {
        part *= 2;
    }
    return part;
}

/* Create a sparse file that nothing in this process can make shorter. */
static int daxpin_sink_create(uint64_t size)
{
    int fd;

    if (size == 0) {
        errno = EFBIG;
        return -1;
    }
    fd = daxpin_memfd_create("daxpin-revoked", MFD_ALLOW_SEALING);
    if ((fd >= 0) &&
        ((ftruncate(fd, (off_t)size) != 0) ||
         (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
          0))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Make the spare mappings: neighbours differ, so that they stay apart. */
static void daxpin_spare_make(void)
{
    const size_t page = daxpin_sink_page_size();
    char *area;
    int i;

    if (atomic_load(&daxpin_spare) != 0) {
        return;
    }
    area = mmap(NULL, DAXPIN_SPARE_MAPS * page, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return;
    }
    for (i = 0; i < DAXPIN_SPARE_MAPS; i += 2) {
        (void)mprotect(area + (size_t)i * page, page, PROT_READ);
    }
    atomic_store(&daxpin_spare, (uintptr_t)area);
}

static void daxpin_spare_drop(void)
{
    uintptr_t area = atomic_exchange(&daxpin_spare, 0);

    if (area != 0) {
        munmap((void*)area, DAXPIN_SPARE_MAPS * daxpin_sink_page_size());
    }
}

void daxpin_sink_reserve(void)
{
    struct stat st;
    int fd;

    daxpin_spare_make();
    if (atomic_load(&daxpin_reserve.fd) >= 0) {
        return;
    }
    fd = daxpin_sink_create(daxpin_sink_size());
    if (fd < 0) {
        return;
    }
    if ((fstat(fd, &st) != 0) ||
        (fallocate(fd, 0, 0, (off_t)daxpin_sink_page_size()) != 0)) {
        close(fd);
        return;
    }
    atomic_store(&daxpin_reserve.dev, st.st_dev);
    atomic_store(&daxpin_reserve.ino, st.st_ino);
    atomic_store(&daxpin_reserve.fd, fd);
}

void daxpin_sink_fork(void)
{
    int fd = atomic_exchange(&daxpin_reserve.fd, -1);

    if (fd >= 0) {
        close(fd);
    }
}

void daxpin_sink_open(daxpin_sink_t *sink, size_t length)
{
    uint64_t size = daxpin_sink_size(), part = daxpin_sink_part(length);
    struct stat st;

    *sink = (daxpin_sink_t){.fd = (size >= part) ? daxpin_sink_create(size) :
                                                   -1};
    sink->own = sink->fd >= 0;
    if (!sink->own) {
        sink->fd   = atomic_load(&daxpin_reserve.fd);
        sink->base = daxpin_sink_page_size();
    }
    if ((sink->fd < 0) || (fstat(sink->fd, &st) != 0) ||
        ((uint64_t)st.st_size < sink->base + part)) {
        daxpin_sink_close(sink);
        return;
    }
    sink->dev  = st.st_dev;
    sink->ino  = st.st_ino;
    sink->next = sink->base;
    sink->end  = sink->base + part;
}

void daxpin_sink_close(daxpin_sink_t *sink)
{
    if (sink->own) {
        close(sink->fd);
    }
    sink->fd  = -1;
    sink->own = 0;
}

static int daxpin_sink_map(int fd, void *addr, size_t length, int prot,
                           uint64_t offset)
{
    const int flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;

    if (mmap(addr, length, prot, flags, fd, (off_t)offset) != MAP_FAILED) {
        return 0;
    }
    /* After mlockall(MCL_FUTURE) the old mapping and the new one count
     * together */
    if ((errno != EAGAIN) || (munlock(addr, length) != 0)) {
        return -errno;
    }
    return (mmap(addr, length, prot, flags, fd, (off_t)offset) != MAP_FAILED) ?
                   0 :
                   -errno;
}

/* Replace a range by one mapping, because the process may have no more of
 * them. Its memory is not bounded. */
static int daxpin_sink_replace_once(const daxpin_sink_t *sink, void *addr,
                                    size_t length, int prot)
{
    daxpin_spare_drop();
    if ((sink->fd >= 0) && (daxpin_sink_map(sink->fd, addr, length, prot,
                                            sink->base) == 0)) {
        return 0;
    }
    return daxpin_vma_replace(addr, length, prot, MAP_NORESERVE);
}

int daxpin_sink_replace(daxpin_sink_t *sink, void *addr, size_t length,
                        int prot)
{
    char *at = addr;
    size_t size;

    while (length > 0) {
        size = sink->end - sink->next;
        size = (size < length) ? size : length;
        if ((sink->fd < 0) ||
            (daxpin_sink_map(sink->fd, at, size, prot, sink->next) != 0)) {
            return daxpin_sink_replace_once(sink, at, length, prot);
        }
        sink->next += size;
        if (sink->next == sink->end) {
            sink->next = sink->base;
        }
        at     += size;
        length -= size;
    }
    return 0;
}

int daxpin_sink_replace_range(void *addr, size_t length, int prot)
{
    daxpin_sink_t sink;
    int ret;

    daxpin_sink_open(&sink, length);
    ret = daxpin_sink_replace(&sink, addr, length, prot);
    daxpin_sink_close(&sink);
    return ret;
}

int daxpin_sink_replace_page(uintptr_t addr, size_t size)
{
    const int prot = PROT_READ | PROT_WRITE;
    int fd         = atomic_load(&daxpin_reserve.fd);

    if ((fd >= 0) && (daxpin_sink_map(fd, (void*)addr, size, prot, 0) == 0)) {
        return 0;
    }
    daxpin_spare_drop();
    if ((fd >= 0) && (daxpin_sink_map(fd, (void*)addr, size, prot, 0) == 0)) {
        return 0;
    }
    return daxpin_vma_replace((void*)addr, size, prot, MAP_NORESERVE);
}

int daxpin_sink_is_reserve(dev_t dev, uint64_t ino)
{
    return (atomic_load(&daxpin_reserve.fd) >= 0) &&
           (dev == atomic_load(&daxpin_reserve.dev)) &&
           (ino == atomic_load(&daxpin_reserve.ino));
}
