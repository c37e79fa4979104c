/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Taking what a program has mapped by itself under lease */

#include "daxpin/file/fault.h"
#include "daxpin/file/file.h"
#include "daxpin/file/report.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/space.h"
#include "daxpin/os/vma.h"
#include "daxpin.h"
#include "elect.h"
#include "library.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DAXPIN_DIRS_MAX 64
#define DAXPIN_DELETED  " (deleted)"

/* Which files concern us; set before the first adoption, then only read */
static struct {
    pthread_mutex_t lock;
    int             fsdax;
    unsigned        num_dirs;
    char            *dirs[DAXPIN_DIRS_MAX]; /* absolute, no slash at the end */
} daxpin_policy = {.lock = PTHREAD_MUTEX_INITIALIZER, .fsdax = 1};

static void daxpin_policy_clear(void)
{
    while (daxpin_policy.num_dirs > 0) {
        free(daxpin_policy.dirs[--daxpin_policy.num_dirs]);
    }
    daxpin_policy.fsdax = 0;
}

static int daxpin_policy_add(const char *path)
{
    char *dir;

    if (strcmp(path, "fsdax") == 0) {
        daxpin_policy.fsdax = 1;
        return 0;
    }
    if (daxpin_policy.num_dirs == DAXPIN_DIRS_MAX) {
        return daxpin_error(ENOMEM, "more than %d directories of files to "
                            "lease", DAXPIN_DIRS_MAX);
    }
    dir = realpath(path, NULL);
    if (dir == NULL) {
        return daxpin_error(errno, "%s: is named as a directory of files to "
                            "lease, but: %m", path);
    }
    daxpin_policy.dirs[daxpin_policy.num_dirs++] = dir;
    return 0;
}

int daxpin_set_files(const char *const *paths)
{
    int ret = 0;

    pthread_mutex_lock(&daxpin_policy.lock);
    daxpin_policy_clear();
    for (; (*paths != NULL) && (ret == 0); ++paths) {
        ret = daxpin_policy_add(*paths);
    }
    pthread_mutex_unlock(&daxpin_policy.lock);
    /* What was foreign under the old rule may not be under the new */
    daxpin_cache_forget(NULL, SIZE_MAX);
    /* Says to holders that this process will join, and not intrude */
    pthread_mutex_lock(&daxpin_lock);
    daxpin_report_open();
    pthread_mutex_unlock(&daxpin_lock);
    return ret;
}

static int daxpin_policy_names_path(const char *path)
{
    int found = 0;
    size_t length;
    unsigned i;

    pthread_mutex_lock(&daxpin_policy.lock);
    for (i = 0; !found && (i < daxpin_policy.num_dirs); ++i) {
        length = strlen(daxpin_policy.dirs[i]);
        found  = (strncmp(path, daxpin_policy.dirs[i], length) == 0) &&
                 ((path[length] == '/') || (length == 1));
    }
    pthread_mutex_unlock(&daxpin_policy.lock);
    return found;
}

/*
 * The file behind a mapping
 */

typedef struct daxpin_found {
    struct stat  st;  /* st_ino 0: it cannot be found */
    daxpin_vma_t vma; /* where the range begins */
} daxpin_found_t;

typedef int (*daxpin_fd_func_t)(int fd, void *arg);

/* A file of which descriptors are looked for */
typedef struct daxpin_fd_search {
    uint64_t         ino;
    dev_t            dev; /* 0: any */
    daxpin_fd_func_t func;
    void             *arg;
} daxpin_fd_search_t;

static int daxpin_fd_search_one(int dir_fd, const char *name, void *arg)
{
    const daxpin_fd_search_t *search = arg;
    int fd                           = atoi(name);
    struct stat st;

    (void)dir_fd;
    return ((fstat(fd, &st) == 0) && (st.st_ino == search->ino) &&
            ((search->dev == 0) || (st.st_dev == search->dev)) &&
            S_ISREG(st.st_mode)) ?
                   search->func(fd, search->arg) :
                   0;
}

/* Call func for each descriptor of this file until it returns non-zero */
static int daxpin_fd_for_each(uint64_t ino, dev_t dev, daxpin_fd_func_t func,
                              void *arg)
{
    daxpin_fd_search_t search = {ino, dev, func, arg};

    return daxpin_proc_each_fd(0, daxpin_fd_search_one, &search);
}

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

static void daxpin_strip_deleted(char *path)
{
    size_t length = strlen(path), tail = strlen(DAXPIN_DELETED);

    if ((length > tail) &&
        (strcmp(path + length - tail, DAXPIN_DELETED) == 0)) {
        path[length - tail] = '\0';
    }
}

/* By its path if that still leads there, else by a descriptor. The device is
 * not compared: a mapping shows the one of the file system, fstat() may not. */
static void daxpin_found_locate(daxpin_found_t *found)
{
    uint64_t ino = found->vma.ino;
    int fd       = -1;

    if ((stat(found->vma.path, &found->st) == 0) &&
        (found->st.st_ino == ino)) {
        return;
    }
    memset(&found->st, 0, sizeof(found->st));
    if (daxpin_fd_for_each(ino, 0, daxpin_fd_take_writable, &fd) <= 0) {
        daxpin_fd_for_each(ino, 0, daxpin_fd_take_any, &fd);
    }
    if ((fd < 0) || (fstat(fd, &found->st) != 0) ||
        (found->st.st_dev != found->vma.dev)) {
        memset(&found->st, 0, sizeof(found->st));
    }
}

static int daxpin_found_is_dax(const daxpin_found_t *found)
{
    struct statx stx;
    int fd = -1;

    if ((statx(AT_FDCWD, found->vma.path, 0, STATX_INO, &stx) != 0) ||
        (stx.stx_ino != found->vma.ino)) {
        daxpin_fd_for_each(found->st.st_ino, found->st.st_dev,
                           daxpin_fd_take_any, &fd);
        if ((fd < 0) || (statx(fd, "", AT_EMPTY_PATH, 0, &stx) != 0)) {
            return 0;
        }
    }
    return (stx.stx_attributes & STATX_ATTR_DAX) != 0;
}

/* The file system of shared memory that has no name: System V, memfd,
 * MAP_ANONYMOUS. Its paths in /proc lead nowhere. */
static dev_t daxpin_nameless_dev(void)
{
    static _Atomic dev_t dev;
    struct stat st;
    int fd;

    if (dev == 0) {
        fd = memfd_create("daxpin", MFD_CLOEXEC);
        if (fd >= 0) {
            dev = (fstat(fd, &st) == 0) ? st.st_dev : 0;
            close(fd);
        }
    }
    return dev;
}

static int daxpin_vma_has_file(const daxpin_vma_t *vma)
{
    return (vma->ino != 0) && (vma->path[0] == '/') &&
           (vma->dev != daxpin_nameless_dev());
}

int daxpin_range_is_dax(uintptr_t addr, size_t length, daxpin_vma_t *vma)
{
    uintptr_t end = addr + length;
    daxpin_found_t found;

    while ((addr < end) && (daxpin_vma_query(addr, &found.vma) == 0) &&
           (found.vma.start < end)) {
        if (daxpin_vma_has_file(&found.vma)) {
            daxpin_found_locate(&found);
            if ((found.st.st_ino == 0) ||
                (S_ISREG(found.st.st_mode) && daxpin_found_is_dax(&found))) {
                *vma = found.vma;
                return 1;
            }
        }
        addr = found.vma.end;
    }
    return 0;
}

/* Is this mapping one of a file that we are to lease? */
static int daxpin_vma_concerns(daxpin_found_t *found)
{
    daxpin_vma_t *vma = &found->vma;
    char path[PATH_MAX];

    memset(&found->st, 0, sizeof(found->st));
    if (!vma->shared || !daxpin_vma_has_file(vma)) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s", vma->path);
    daxpin_strip_deleted(path);
    if (!daxpin_policy_names_path(path)) {
        if (!daxpin_policy.fsdax) {
            return 0;
        }
        daxpin_found_locate(found);
        return S_ISREG(found->st.st_mode) && daxpin_found_is_dax(found);
    }
    daxpin_found_locate(found);
    return (found->st.st_ino == 0) || S_ISREG(found->st.st_mode);
}

static int daxpin_vma_continues(const daxpin_vma_t *vma,
                                const daxpin_vma_t *next)
{
    return (next->start == vma->end) && (next->ino == vma->ino) &&
           (next->dev == vma->dev) && next->shared &&
           (next->offset == vma->offset + (vma->end - vma->start));
}

/* DAXPIN_FOREIGN, 0 with *found filled, or an error */
static int daxpin_adopt_look(uintptr_t addr, size_t length,
                             daxpin_found_t *found)
{
    unsigned epoch = daxpin_cache_epoch();
    uintptr_t end  = addr + length;
    daxpin_vma_t last;
    int ret;

    ret = daxpin_vma_query(addr, &found->vma);
    if ((ret != 0) || (found->vma.start > addr) ||
        !daxpin_vma_concerns(found)) {
        /* Not ours, so far: the rest of the range must not be either */
        while ((ret == 0) && (found->vma.start < end)) {
            if (daxpin_vma_concerns(found)) {
                return daxpin_error(EFAULT, "%s: the %zu bytes at %p begin in "
                                    "other memory and reach into its mapping; "
                                    "register the two apart", found->vma.path,
                                    length, (void*)addr);
            }
            daxpin_cache_insert(found->vma.start, found->vma.end, epoch);
            if (found->vma.end >= end) {
                break;
            }
            ret = daxpin_vma_query(found->vma.end, &found->vma);
        }
        return DAXPIN_FOREIGN;
    }

    for (last = found->vma; last.end < end;) {
        daxpin_vma_t next;

        ret = daxpin_vma_query(last.end, &next);
        if ((ret != 0) || !daxpin_vma_continues(&last, &next)) {
            return daxpin_error(EFAULT, "%s: the %zu bytes at %p reach beyond "
                                "its mapping, which ends at %p; register it "
                                "by itself", found->vma.path, length,
                                (void*)addr, (void*)last.end);
        }
        last = next;
    }
    if ((found->vma.prot & (PROT_READ | PROT_WRITE)) !=
        (PROT_READ | PROT_WRITE)) {
        return daxpin_error(EACCES, "%s: is mapped read-only at %p; map it "
                            "with PROT_READ and PROT_WRITE for one-sided "
                            "access", found->vma.path, (void*)addr);
    }
    if (found->st.st_ino == 0) {
        return daxpin_error(ENOENT, "%s: the file mapped at %p has no name any "
                            "more and no descriptor in this process, so that "
                            "no lease can be had; keep it open",
                            found->vma.path, (void*)addr);
    }
    return 0;
}

/* elect.h: this process is the holder; use what it has open, else open it */
static int daxpin_adopt_description(void *arg, const struct stat *st,
                                    uint64_t deadline, int *fd_p)
{
    const daxpin_found_t *found = arg;
    int own = -1, fd, ret;
    struct stat now;

    daxpin_fd_for_each(st->st_ino, st->st_dev, daxpin_fd_take_writable, &own);
    fd = (own >= 0) ? fcntl(own, F_DUPFD_CLOEXEC, 0) :
         open(found->vma.path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return daxpin_error(errno, "%s: is mapped, but cannot be opened for "
                            "reading and writing: %m", found->vma.path);
    }
    if ((fstat(fd, &now) != 0) || (now.st_ino != st->st_ino) ||
        (now.st_dev != st->st_dev)) {
        close(fd);
        return daxpin_error(ENOENT, "%s: is another file now than the one "
                            "mapped; keep that one open", found->vma.path);
    }
    if (daxpin_found_is_dax(found) && (now.st_size > 0)) {
        ret = daxpin_space_await_truncate(found->vma.path, fd, deadline);
        if (ret == 0) {
            ret = daxpin_space_allocate(found->vma.path, fd, 0,
                                       (size_t)now.st_size);
        }
        if (ret != 0) {
            close(fd);
            return ret;
        }
    }
    *fd_p = fd;
    return 0;
}

/*
 * Exchange
 */

static int daxpin_exchange_vma(daxpin_file_t *file, const daxpin_vma_t *vma)
{
    size_t length = vma->end - vma->start;
    void *addr    = (void*)vma->start;

    /* One system call: no thread ever sees the range unmapped, and the pages
     * are those of the file before and after */
    if (file->is_dax &&
        (mmap(addr, length, vma->prot,
              MAP_SHARED_VALIDATE | MAP_SYNC | MAP_FIXED, file->fd,
              (off_t)vma->offset) == addr)) {
        return 0;
    }
    if (mmap(addr, length, vma->prot, MAP_SHARED | MAP_FIXED, file->fd,
             (off_t)vma->offset) != addr) {
        return daxpin_error(errno, "%s: cannot map it again at %p through the "
                            "description of its holder: %m", file->path, addr);
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

    /* O_PATH is no open file to a lease; with O_APPEND, writes would go
     * elsewhere through another description */
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

    pthread_mutex_lock(&daxpin_lock);
    if (file->fd >= 0) {
        ret = daxpin_vma_for_each(daxpin_exchange_map, file);
        daxpin_fd_for_each(file->ino, file->dev, daxpin_exchange_fd, file);
    }
    pthread_mutex_unlock(&daxpin_lock);
    return ret;
}

/*
 * Adopt
 */

static void daxpin_page_range(uintptr_t *addr_p, size_t *length_p)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end  = (*addr_p + *length_p + page - 1) & ~(page - 1);

    *addr_p   &= ~(page - 1);
    *length_p  = end - *addr_p;
}

/* No hole may be mapped. A file whose blocks somebody holds was filled before:
 * fallocate() would wait for the hold. */
static int daxpin_adopt_allocate(daxpin_file_t *file, uint64_t offset,
                                 size_t length)
{
    int fd, ret;

    if ((daxpin_file_locks(file) & DAXPIN_LOCK_HOLD) ||
        atomic_load(&file->control->waived)) {
        return 0;
    }
    fd = daxpin_file_dup(file);
    if (fd < 0) {
        return fd;
    }
    ret = daxpin_space_allocate(file->path, fd, offset, length);
    close(fd);
    return ret;
}

static int daxpin_adopt_finish(daxpin_file_t *file, const daxpin_found_t *found,
                               uintptr_t addr, size_t length, uint64_t offset)
{
    uintptr_t start = addr;
    size_t size     = length;
    int ret;

    if (offset + length > daxpin_file_length(file)) {
        return daxpin_error(EFAULT, "%s: the mapping at %p, %zu bytes from "
                            "offset %lu, reaches beyond the end of the file "
                            "at %zu; make the file as long as the window",
                            file->path, (void*)addr, length, offset,
                            daxpin_file_length(file));
    }
    ret = daxpin_adopt_allocate(file, offset, length);
    if (ret != 0) {
        return ret;
    }
    daxpin_page_range(&start, &size);
    return daxpin_file_add_map(file, start, size, offset - (addr - start),
                               found->vma.prot);
}

/* Memory that daxpin_file_addr() gave out: leased already, whatever
 * daxpin_set_files() names */
static daxpin_file_t *daxpin_adopt_own(uintptr_t addr, size_t length,
                                       uint64_t *offset_p)
{
    daxpin_map_t *map = NULL;
    daxpin_file_t *file;

    pthread_mutex_lock(&daxpin_lock);
    LIST_FOREACH(file, &daxpin_files, link) {
        LIST_FOREACH(map, &file->maps, link) {
            if ((map->pmem2 != NULL) && (addr >= (uintptr_t)map->addr) &&
                (length <= map->length) &&
                (addr - (uintptr_t)map->addr <= map->length - length)) {
                break;
            }
        }
        if ((map != NULL) && daxpin_file_is_alive(file)) {
            *offset_p = map->offset + (addr - (uintptr_t)map->addr);
            ++file->refs;
            break;
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    return file;
}

int daxpin_file_adopt(void *address, size_t length,
                      const daxpin_params_t *params, daxpin_file_t **file_p,
                      uint64_t *offset_p)
{
    const daxpin_params_t defaults = {0};
    uintptr_t addr                 = (uintptr_t)address;
    daxpin_file_t *file            = NULL;
    daxpin_found_t found;
    uint64_t deadline;
    int ret;

    *file_p = NULL;
    if ((length == 0) || daxpin_cache_is_foreign(addr, length)) {
        return DAXPIN_FOREIGN;
    }
    *file_p = daxpin_adopt_own(addr, length, offset_p);
    if (*file_p != NULL) {
        return 0;
    }
    ret = daxpin_adopt_look(addr, length, &found);
    if (ret != 0) {
        return ret;
    }
    params   = (params != NULL) ? params : &defaults;
    deadline = daxpin_elect_deadline(params);
    ret      = daxpin_library_start();
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_elect(found.vma.path, &found.st, 1, params,
                            daxpin_adopt_description, &found, &file);
    if (ret != 0) {
        return ret;
    }
    *offset_p = found.vma.offset + (addr - found.vma.start);
    ret       = daxpin_file_wait(file, deadline + DAXPIN_SEC);
    if (ret == 0) {
        ret = daxpin_adopt_finish(file, &found, addr, length, *offset_p);
    }
    if (ret != 0) {
        daxpin_file_close(file);
        return ret;
    }
    *file_p = file;
    return 0;
}

void daxpin_file_unadopt(daxpin_file_t *file, void *address, size_t length)
{
    uintptr_t addr = (uintptr_t)address;

    daxpin_page_range(&addr, &length);
    daxpin_file_remove_map(file, addr, length);
}
