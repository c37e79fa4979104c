/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Adopt: take a mapping that the program made by itself under lease */

#include "adopt.h"

#include "daxpin/file/exchange.h"
#include "daxpin/file/fault.h"
#include "daxpin/file/file.h"
#include "daxpin/file/holder.h"
#include "daxpin/file/keep.h"
#include "daxpin/file/life.h"
#include "daxpin/file/maps.h"
#include "daxpin/file/params.h"
#include "daxpin/file/report.h"
#include "daxpin/os/backing.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/space.h"
#include "daxpin/os/vma.h"
#include "daxpin.h"
#include "description.h"
#include "elect.h"
#include "library.h"
#include "policy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAXPIN_DELETED  " (deleted)"

/* Cut off what the kernel adds to the name of a file that was deleted. Return
 * whether that was there. */
static int daxpin_strip_deleted(char *path)
{
    size_t length = strlen(path), tail = strlen(DAXPIN_DELETED);

    if ((length <= tail) ||
        (strcmp(path + length - tail, DAXPIN_DELETED) != 0)) {
        return 0;
    }
    path[length - tail] = '\0';
    return 1;
}

/* End because the kernel does not answer: silence is not the answer that the
 * memory is of no file. */
static int daxpin_adopt_unknown(uintptr_t addr, int error)
{
    return daxpin_error(-error, "cannot find out what is mapped at %p, and "
                        "whether that is to be leased: %s; raise the limit of "
                        "open files (ulimit -n), and check that /proc is "
                        "mounted", (void*)addr, strerror(-error));
}

/* Return whether the mapping is of a file that daxpin_set_files() names: 1, 0,
 * or -errno without a message if that cannot be found out. A file that has
 * neither a name nor a descriptor in this process cannot be leased, and no
 * process opens it by a name. It is foreign: MPI libraries and others make
 * shared memory so. */
static int daxpin_adopt_names(daxpin_backing_t *backing)
{
    daxpin_vma_t *vma = &backing->vma;
    char path[PATH_MAX];
    int is_deleted, is_named, ret;

    memset(&backing->st, 0, sizeof(backing->st));
    if (!vma->shared || !daxpin_vma_has_file(vma)) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s", vma->path);
    is_deleted = daxpin_strip_deleted(path);
    is_named   = daxpin_policy_names_path(path);
    if (!is_named && !daxpin_policy_names_fsdax()) {
        return 0;
    }
    ret = daxpin_backing_locate(backing);
    if (ret != 0) {
        return ret;
    }
    if (!is_named) {
        return S_ISREG(backing->st.st_mode) ? daxpin_backing_is_dax(backing) :
                                              0;
    }
    if (backing->st.st_ino != 0) {
        return S_ISREG(backing->st.st_mode);
    }
    if (is_deleted) {
        daxpin_log(DAXPIN_LOG_INFO, "%s: not leased: the file mapped at %p has "
                   "no name any more and no descriptor in this process; keep "
                   "it open to have it leased", path, (void*)vma->start);
    }
    return !is_deleted;
}

static int daxpin_vma_continues(const daxpin_vma_t *vma,
                                const daxpin_vma_t *next)
{
    return (next->start == vma->end) && (next->ino == vma->ino) &&
           (next->dev == vma->dev) && next->shared &&
           (next->offset == vma->offset + (vma->end - vma->start));
}

/* Check that no mapping from backing->vma up to the end of the range is of a
 * named file, and insert the mappings into the cache. Return DAXPIN_FOREIGN, or
 * -errno with a message. */
static int daxpin_adopt_check_foreign(uintptr_t addr, size_t length,
                                      daxpin_backing_t *backing, unsigned epoch)
{
    uintptr_t end = addr + length;
    int ret;

    while (backing->vma.start < end) {
        ret = daxpin_adopt_names(backing);
        if (ret < 0) {
            return daxpin_adopt_unknown(backing->vma.start, ret);
        }
        if (ret > 0) {
            return daxpin_error(EFAULT, "%s: cannot adopt the %zu bytes at %p: "
                                "they begin in other memory and reach into its "
                                "mapping; register the two apart",
                                backing->vma.path, length, (void*)addr);
        }
        daxpin_cache_insert(backing->vma.start, backing->vma.end, epoch);
        if (backing->vma.end >= end) {
            break;
        }
        ret = daxpin_vma_query(backing->vma.end, &backing->vma);
        if (ret == -ENOENT) {
            break;
        }
        if (ret != 0) {
            return daxpin_adopt_unknown(backing->vma.end, ret);
        }
    }
    return DAXPIN_FOREIGN;
}

/* Check that all of the range is mapped from one file in one piece, and get what
 * all mappings allow. */
static int daxpin_adopt_check_extent(uintptr_t addr, size_t length,
                                     const daxpin_backing_t *backing,
                                     int *prot_p)
{
    uintptr_t end = addr + length;
    daxpin_vma_t last, next;
    int ret;

    *prot_p = backing->vma.prot;
    for (last = backing->vma; last.end < end; last = next) {
        ret = daxpin_vma_query(last.end, &next);
        if ((ret != 0) && (ret != -ENOENT)) {
            return daxpin_adopt_unknown(last.end, ret);
        }
        if ((ret != 0) || !daxpin_vma_continues(&last, &next)) {
            return daxpin_error(EFAULT, "%s: cannot adopt the %zu bytes at %p: "
                                "they reach beyond its mapping, which ends at "
                                "%p; register the mapping alone",
                                backing->vma.path, length, (void*)addr,
                                (void*)last.end);
        }
        *prot_p &= next.prot;
    }
    return 0;
}

/* Check what all mappings of a range allow. */
static int daxpin_adopt_check_prot(const daxpin_backing_t *backing,
                                   uintptr_t addr, int prot, int read_only)
{
    if (!(prot & PROT_READ)) {
        return daxpin_error(EACCES, "%s: cannot adopt the mapping at %p: it "
                            "cannot be read; map the file with PROT_READ",
                            backing->vma.path, (void*)addr);
    }
    if (!(prot & PROT_WRITE) && !read_only) {
        return daxpin_error(EROFS, "%s: cannot adopt the mapping at %p: it is "
                            "read-only; map the file with PROT_READ and "
                            "PROT_WRITE for one-sided access",
                            backing->vma.path, (void*)addr);
    }
    return 0;
}

static int daxpin_adopt_hidden(uintptr_t addr, const daxpin_backing_t *backing)
{
    return daxpin_error(ENOENT, "%s: cannot lease the file mapped at %p: the "
                        "name does not lead to it in this process, which has "
                        "no descriptor of it; keep it open", backing->vma.path,
                        (void*)addr);
}

/* Find the file behind a range. Return 0 with *backing filled in,
 * DAXPIN_FOREIGN, or -errno with a message. */
static int daxpin_adopt_locate(uintptr_t addr, size_t length, int read_only,
                               daxpin_backing_t *backing)
{
    unsigned epoch = daxpin_cache_epoch();
    int prot, ret;

    ret = daxpin_vma_query(addr, &backing->vma);
    if (ret == -ENOENT) {
        return DAXPIN_FOREIGN;
    }
    if (ret == 0) {
        ret = (backing->vma.start > addr) ? 0 : daxpin_adopt_names(backing);
        if (ret == 0) {
            return daxpin_adopt_check_foreign(addr, length, backing, epoch);
        }
    }
    if (ret < 0) {
        return daxpin_adopt_unknown(addr, ret);
    }

    ret = daxpin_adopt_check_extent(addr, length, backing, &prot);
    if (ret == 0) {
        ret = daxpin_adopt_check_prot(backing, addr, prot, read_only);
    }
    if (ret != 0) {
        return ret;
    }
    return (backing->st.st_ino != 0) ? 0 : daxpin_adopt_hidden(addr, backing);
}

static const daxpin_description_ops_t daxpin_adopt_description;

/* Duplicate the program's descriptor of the file; open the file if there is
 * none. */
static int daxpin_adopt_descriptor(void *arg, const char *path,
                                   const struct stat *st, uint64_t deadline)
{
    int own = daxpin_backing_find_fd(st->st_ino, st->st_dev);
    int fd;

    *(int*)arg = 1;
    if (own < 0) {
        return daxpin_description_open(path, st, deadline,
                                       &daxpin_adopt_description);
    }
    fd = daxpin_close_reuse(own);
    return (fd >= 0) ? fd :
           daxpin_error(errno, "%s: cannot duplicate descriptor %d of the "
                        "mapped file: %m", path, own);
}

/* Allocate all blocks on DAX, before the hold is placed. The program and the
 * members may store to their mappings meanwhile. */
static int daxpin_adopt_fill(void *arg, daxpin_file_t *file, int fd)
{
    daxpin_space_t space = {.path   = file->path,
                            .fd     = fd,
                            .end    = daxpin_file_length(file),
                            .shared = 1,
                            .check  = daxpin_description_check,
                            .arg    = file};
    int ret;

    (void)arg;
    if (!file->is_dax || (space.end == 0)) {
        return 0;
    }
    ret = daxpin_space_fill(&space);
    daxpin_space_free(&space);
    return ret;
}

static const daxpin_description_ops_t daxpin_adopt_description = {
    .open          = daxpin_adopt_descriptor,
    .other_error   = ENOENT,
    .other_message = "cannot open the mapped file: its path leads to another "
                     "file now; keep a descriptor of the mapped one",
    .fill          = daxpin_adopt_fill
};

static void daxpin_page_range(uintptr_t *addr_p, size_t *length_p)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end  = (*addr_p + *length_p + page - 1) & ~(page - 1);

    *addr_p   &= ~(page - 1);
    *length_p  = end - *addr_p;
}

static int daxpin_adopt_allocate_locked(daxpin_file_t *file, uint64_t offset,
                                        size_t length)
{
    daxpin_space_t space = {.path   = file->path,
                            .fd     = daxpin_file_borrow_fd(file),
                            .offset = offset,
                            .end    = offset + length,
                            .shared = 1,
                            .lends  = 1,
                            .check  = daxpin_description_check,
                            .arg    = file};
    int ret;

    if (space.fd < 0) {
        return space.fd;
    }
    ret = daxpin_space_fill(&space);
    daxpin_space_free(&space);
    daxpin_file_return_fd(file);
    return ret;
}

/* Allocate the blocks of the range, because no hole may be mapped. With a hold
 * the blocks were allocated before the hold was placed; fallocate() would wait
 * for the hold. */
static int daxpin_adopt_allocate(daxpin_file_t *file, uint64_t offset,
                                 size_t length, uint64_t deadline)
{
    int ret;

    if ((daxpin_file_locks(file) & DAXPIN_LOCK_HOLD) ||
        atomic_load(&file->control->waived)) {
        return 0;
    }
    ret = daxpin_file_lock_growth(file, deadline);
    if (ret == 0) {
        ret = daxpin_adopt_allocate_locked(file, offset, length);
        daxpin_file_unlock_growth(file);
    }
    return ret;
}

static int daxpin_adopt_finish(daxpin_file_t *file,
                               const daxpin_backing_t *backing, uintptr_t addr,
                               size_t length, uint64_t offset,
                               uint64_t deadline)
{
    uintptr_t start = addr;
    size_t size     = length;
    int ret;

    if (offset + length > daxpin_file_length(file)) {
        return daxpin_error(EFAULT, "%s: cannot adopt the mapping at %p: its "
                            "%zu bytes from offset %lu reach beyond the end of "
                            "the file at %zu; make the file as long as the "
                            "window", file->path, (void*)addr, length, offset,
                            daxpin_file_length(file));
    }
    ret = daxpin_adopt_allocate(file, offset, length, deadline);
    if (ret != 0) {
        return ret;
    }
    daxpin_page_range(&start, &size);
    return daxpin_file_add_map(file, start, size, offset - (addr - start),
                               backing->vma.prot);
}

/* Find the file of memory that daxpin_file_addr() returned, and take a
 * reference. Such a file is leased already, whatever daxpin_set_files() names.
 * Return NULL if there is none. */
static daxpin_file_t *daxpin_adopt_find_own(uintptr_t addr, size_t length,
                                       uint64_t *offset_p)
{
    unsigned tries = 0;
    const daxpin_map_t *map;
    daxpin_file_t *file;

    pthread_mutex_lock(&daxpin_mutex);
    do {
        LIST_FOREACH(file, &daxpin_files, link) {
            map = daxpin_file_find_own_map(file, addr, length);
            if ((map != NULL) && daxpin_file_is_alive(file)) {
                *offset_p = map->offset + (addr - (uintptr_t)map->addr);
                break;
            }
        }
    } while ((file != NULL) && daxpin_file_await_cut(file, &tries));
    if ((file != NULL) && file->shrinking) {
        file = NULL;
    } else if (file != NULL) {
        ++file->refs;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return file;
}

int daxpin_adoption_locate(void *address, size_t length,
                           const daxpin_params_t *params,
                           daxpin_adoption_t *adoption)
{
    uintptr_t addr = (uintptr_t)address;
    int ret;

    memset(adoption, 0, sizeof(*adoption));
    adoption->addr   = addr;
    adoption->length = length;
    ret              = daxpin_params_copy(params, &adoption->params);
    if (ret != 0) {
        return ret;
    }
    if ((length == 0) || daxpin_cache_is_foreign(addr, length)) {
        return DAXPIN_FOREIGN;
    }
    adoption->file = daxpin_adopt_find_own(addr, length, &adoption->offset);
    if (adoption->file != NULL) {
        adoption->complete = 1;
        adoption->located  = 1;
        return 0;
    }
    ret = daxpin_adopt_locate(addr, length, adoption->params.read_only,
                              &adoption->backing);
    if (ret != 0) {
        return ret;
    }
    adoption->offset = adoption->backing.vma.offset +
                       (addr - adoption->backing.vma.start);
    ret = daxpin_library_start();
    adoption->located = ret == 0;
    return ret;
}

daxpin_inode_t daxpin_adoption_inode(const daxpin_adoption_t *adoption)
{
    const daxpin_file_t *file = adoption->file;

    return (file != NULL) ?
                   (daxpin_inode_t){.dev     = file->dev,
                                    .ino     = file->ino,
                                    .map_dev = file->map_dev,
                                    .map_ino = file->map_ino} :
                   (daxpin_inode_t){.dev     = adoption->backing.st.st_dev,
                                    .ino     = adoption->backing.st.st_ino,
                                    .map_dev = adoption->backing.vma.dev,
                                    .map_ino = adoption->backing.vma.ino};
}

/* Find a file that this process has, with a reference, if nothing of the process
 * is left to be exchanged. Return 1 with *file_p set, 0, or -errno with a
 * message. */
static int daxpin_adopt_find(dev_t dev, uint64_t ino, const daxpin_vma_t *vma,
                             daxpin_file_t **file_p)
{
    daxpin_file_t *file = daxpin_file_find(dev, ino);
    int ret             = (file == NULL) ? 0 :
                          daxpin_file_is_exchanged(file, vma);

    if (ret == 1) {
        *file_p = file;
    } else {
        daxpin_file_close(file);
    }
    return ret;
}

/* Check that the file is that of the memory, as mappings number the two: what
 * stat() reports does not always show that. */
static int daxpin_adopt_check_file(const daxpin_file_t *file, uintptr_t addr,
                                   const daxpin_backing_t *backing)
{
    if (file->map_ino == 0) {
        return daxpin_error(ENOMEM, "%s: cannot adopt the mapping at %p: "
                            "cannot map a page of the file to compare the two; "
                            "check the limits of memory (ulimit -v) and of "
                            "mappings (vm.max_map_count)", file->path,
                            (void*)addr);
    }
    return ((file->map_ino == backing->vma.ino) &&
            (file->map_dev == backing->vma.dev)) ?
                   0 :
                   daxpin_adopt_hidden(addr, backing);
}

static int daxpin_adopt_elect(daxpin_adoption_t *adoption)
{
    const daxpin_vma_t *vma = &adoption->backing.vma;
    const struct stat *st   = &adoption->backing.st;
    int ret;

    adoption->deadline = daxpin_elect_deadline(&adoption->params) + DAXPIN_SEC;
    if (adoption->length <= vma->end - adoption->addr) {
        ret = daxpin_adopt_find(st->st_dev, st->st_ino, vma, &adoption->file);
        if (ret != 0) {
            return (ret > 0) ? 0 : ret;
        }
    }
    return daxpin_elect(vma->path, st, 1, &adoption->params,
                        &daxpin_adopt_description, &adoption->elected,
                        &adoption->file);
}

int daxpin_adoption_begin(daxpin_adoption_t *adoption)
{
    int ret;

    if (adoption->complete) {
        return 0;
    }
    ret = daxpin_adopt_elect(adoption);
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_adopt_check_file(adoption->file, adoption->addr,
                                  &adoption->backing);
    if (ret != 0) {
        daxpin_adoption_cancel(adoption);
    }
    return ret;
}

int daxpin_adoption_end(daxpin_adoption_t *adoption)
{
    int ret;

    if (adoption->complete) {
        return 0;
    }
    ret = adoption->elected ?
          daxpin_description_fill(adoption->file, &daxpin_adopt_description,
                                  &adoption->elected, adoption->deadline) :
          daxpin_file_wait(adoption->file, adoption->deadline);
    if (ret == 0) {
        ret = daxpin_adopt_finish(adoption->file, &adoption->backing,
                                  adoption->addr, adoption->length,
                                  adoption->offset, adoption->deadline);
    }
    if (ret != 0) {
        daxpin_adoption_cancel(adoption);
    }
    return ret;
}

void daxpin_adoption_cancel(daxpin_adoption_t *adoption)
{
    if ((adoption->file != NULL) && adoption->elected) {
        pthread_mutex_lock(&daxpin_mutex);
        daxpin_holder_give_up_fill(adoption->file);
        pthread_mutex_unlock(&daxpin_mutex);
    }
    daxpin_file_close(adoption->file);
    adoption->file = NULL;
}

int daxpin_file_adopt(void *address, size_t length,
                      const daxpin_params_t *params, daxpin_file_t **file_p,
                      uint64_t *offset_p)
{
    daxpin_adoption_t adoption;
    int ret;

    *file_p = NULL;
    ret     = daxpin_adoption_locate(address, length, params, &adoption);
    if (ret == 0) {
        ret = daxpin_adoption_begin(&adoption);
    }
    if (ret == 0) {
        ret = daxpin_adoption_end(&adoption);
    }
    if (ret == 0) {
        *file_p   = adoption.file;
        *offset_p = adoption.offset;
    }
    return ret;
}

/*
 * Without memory that is adopted
 */

/* What a process has of a file that another process adopts */
typedef struct daxpin_lend {
    const daxpin_inode_t *inode;
    char                 path[PATH_MAX];
} daxpin_lend_t;

static int daxpin_lend_find_fd(int fd, void *arg)
{
    daxpin_lend_t *lend = arg;
    char name[64];
    ssize_t length;

    if (fcntl(fd, F_GETFL) & O_PATH) {
        return 0;
    }
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    length = readlink(name, lend->path, sizeof(lend->path) - 1);
    lend->path[(length > 0) ? length : 0] = '\0';
    return 1;
}

static int daxpin_lend_find_vma(const daxpin_vma_t *vma, void *arg)
{
    daxpin_lend_t *lend = arg;

    if ((vma->ino != lend->inode->map_ino) ||
        (vma->dev != lend->inode->map_dev)) {
        return 0;
    }
    snprintf(lend->path, sizeof(lend->path), "%s", vma->path);
    return 1;
}

/* Find a descriptor or a mapping of the file. Return 0 with lend->path,
 * DAXPIN_FOREIGN, or -errno with a message. */
static int daxpin_lend_find(daxpin_lend_t *lend)
{
    const daxpin_inode_t *inode = lend->inode;
    int fds, maps;

    fds  = daxpin_fd_for_each(inode->ino, inode->dev, daxpin_lend_find_fd, lend);
    maps = (fds > 0) ? 0 : daxpin_vma_for_each(daxpin_lend_find_vma, lend);
    if ((fds > 0) || (maps > 0)) {
        return 0;
    }
    fds = (fds < 0) ? fds : maps;
    return (fds == 0) ? DAXPIN_FOREIGN :
           daxpin_error(-fds, "inode %lu: cannot find out whether this process "
                        "has the file open or mapped, which another process "
                        "exposes: %s; raise the limit of open files (ulimit "
                        "-n), and check that /proc is mounted", inode->ino,
                        strerror(-fds));
}

/* Check that nothing of this process keeps the lease away still. */
static int daxpin_lend_check(daxpin_file_t *file)
{
    const daxpin_inode_t inode = {.dev     = file->dev,
                                  .ino     = file->ino,
                                  .map_dev = file->map_dev,
                                  .map_ino = file->map_ino};
    int keeps, fd = daxpin_file_borrow_fd(file);
    char what[128];

    if (fd < 0) {
        return fd;
    }
    keeps = daxpin_proc_keeps_file(getpid(), &inode, fd, what, sizeof(what));
    daxpin_file_return_fd(file);
    return (keeps <= 0) ? 0 :
           daxpin_error(EBUSY, "%s: cannot share it with the process that "
                        "exposes it: this process has %s, which cannot be "
                        "exchanged and keeps the lease away; close it",
                        file->path, what);
}

int daxpin_file_lend(const daxpin_inode_t *inode, const daxpin_params_t *params,
                     daxpin_file_t **file_p)
{
    const struct stat st = {.st_dev = inode->dev, .st_ino = inode->ino};
    daxpin_lend_t lend   = {.inode = inode};
    daxpin_params_t known;
    int ret;

    *file_p = NULL;
    if (daxpin_adopt_find(inode->dev, inode->ino, NULL, file_p) == 1) {
        return 0;
    }
    ret = daxpin_lend_find(&lend);
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_params_copy(params, &known);
    if (ret == 0) {
        ret = daxpin_library_start();
    }
    if (ret == 0) {
        ret = daxpin_elect_lend(lend.path, &st, &known, file_p);
    }
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_lend_check(*file_p);
    if (ret != 0) {
        daxpin_file_close(*file_p);
        *file_p = NULL;
    }
    return ret;
}

void daxpin_file_unadopt(daxpin_file_t *file, void *address, size_t length)
{
    uintptr_t addr = (uintptr_t)address;

    daxpin_page_range(&addr, &length);
    daxpin_file_remove_map(file, addr, length);
}
