/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What is mapped at an address: the kernel's answer, and a cache of answers */

#include "vma.h"

#include "daxpin/daxpin.h"
#include "fork.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* From <linux/fs.h> of Linux 6.11; older headers lack the structure */
typedef struct daxpin_procmap_query {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start;
    uint64_t vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t vma_name_size;
    uint32_t build_id_size;
    uint64_t vma_name_addr;
    uint64_t build_id_addr;
} daxpin_procmap_query_t;

#define DAXPIN_PROCMAP_QUERY       _IOWR('f', 17, daxpin_procmap_query_t)
#define DAXPIN_PROCMAP_READABLE    0x01
#define DAXPIN_PROCMAP_WRITABLE    0x02
#define DAXPIN_PROCMAP_EXECUTABLE  0x04
#define DAXPIN_PROCMAP_SHARED      0x08
#define DAXPIN_PROCMAP_COVER_NEXT  0x10

/* Stays open, because a signal handler uses the descriptor, too */
static _Atomic int daxpin_maps_fd = -1;

static int daxpin_maps_open(void)
{
    int fd = atomic_load(&daxpin_maps_fd);
    int none = -1;

    if (fd >= 0) {
        return fd;
    }
    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if ((fd >= 0) && !atomic_compare_exchange_strong(&daxpin_maps_fd, &none,
                                                     fd)) {
        close(fd);
        fd = none;
    }
    return fd;
}

int daxpin_vma_replace(void *addr, size_t length, int prot, int flags)
{
    const int anonymous = MAP_ANONYMOUS | MAP_FIXED | flags;

    /* Shared memory does not count as data (RLIMIT_DATA) */
    return ((mmap(addr, length, prot, MAP_PRIVATE | anonymous, -1, 0) !=
             MAP_FAILED) ||
            (mmap(addr, length, prot, MAP_SHARED | anonymous, -1, 0) !=
             MAP_FAILED)) ?
                   0 :
                   -errno;
}

int daxpin_vma_forbid(void *addr, size_t length)
{
    if (mmap(addr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
             MAP_NORESERVE, -1, 0) != MAP_FAILED) {
        return 0;
    }
    /* The process may have no more mappings */
    return (mprotect(addr, length, PROT_NONE) == 0) ? 0 : -errno;
}

void daxpin_vma_fork(void)
{
    int fd = atomic_exchange(&daxpin_maps_fd, -1);

    if (fd >= 0) {
        close(fd);
    }
}

static int daxpin_procmap_prot(uint64_t flags)
{
    return ((flags & DAXPIN_PROCMAP_READABLE) ? PROT_READ : 0) |
           ((flags & DAXPIN_PROCMAP_WRITABLE) ? PROT_WRITE : 0) |
           ((flags & DAXPIN_PROCMAP_EXECUTABLE) ? PROT_EXEC : 0);
}

/* Return the error of an open of the maps. -ENOENT would be the answer that
 * nothing is mapped. */
static int daxpin_maps_error(int error)
{
    return (error == ENOENT) ? -ENOSYS : -error;
}

/* Query the first mapping at or above an address. flags: what it has to be, such
 * as DAXPIN_PROCMAP_SHARED; 0: any. */
static int daxpin_procmap_query(uintptr_t addr, unsigned flags,
                                daxpin_procmap_query_t *query)
{
    int fd = daxpin_maps_open();

    if (fd < 0) {
        return daxpin_maps_error(errno);
    }
    query->size        = sizeof(*query);
    query->query_flags = DAXPIN_PROCMAP_COVER_NEXT | flags;
    query->query_addr  = addr;
    return (ioctl(fd, DAXPIN_PROCMAP_QUERY, query) != 0) ? -errno : 0;
}

static int daxpin_vma_ioctl(uintptr_t addr, daxpin_vma_t *vma)
{
    daxpin_procmap_query_t query;
    int ret;

    memset(&query, 0, sizeof(query));
    query.vma_name_addr = (uintptr_t)vma->path;
    query.vma_name_size = sizeof(vma->path);
    /* valgrind does not know that the kernel writes to it */
    memset(vma->path, 0, sizeof(vma->path));
    ret = daxpin_procmap_query(addr, 0, &query);
    if (ret != 0) {
        return ret;
    }
    if (query.vma_name_size == 0) {
        vma->path[0] = '\0';
    }

    vma->start  = query.vma_start;
    vma->end    = query.vma_end;
    vma->offset = query.vma_offset;
    vma->dev    = makedev(query.dev_major, query.dev_minor);
    vma->ino    = query.inode;
    vma->shared = (query.vma_flags & DAXPIN_PROCMAP_SHARED) != 0;
    vma->prot   = daxpin_procmap_prot(query.vma_flags);
    return 0;
}

static int daxpin_vma_parse(const char *line, daxpin_vma_t *vma)
{
    unsigned long start, end, offset, ino;
    unsigned major_id, minor_id;
    char perms[5];
    int path = 0;

    if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, perms,
               &offset, &major_id, &minor_id, &ino, &path) < 7) {
        return 0;
    }
    vma->start  = start;
    vma->end    = end;
    vma->offset = offset;
    vma->dev    = makedev(major_id, minor_id);
    vma->ino    = ino;
    vma->shared = perms[3] == 's';
    vma->prot   = ((perms[0] == 'r') ? PROT_READ : 0) |
                  ((perms[1] == 'w') ? PROT_WRITE : 0) |
                  ((perms[2] == 'x') ? PROT_EXEC : 0);
    snprintf(vma->path, sizeof(vma->path), "%s", line + path);
    vma->path[strcspn(vma->path, "\n")] = '\0';
    return 1;
}

int daxpin_vma_read(const char *maps, daxpin_vma_func_t func, void *arg)
{
    char line[PATH_MAX + 128];
    daxpin_vma_t vma;
    int ret    = 0;
    FILE *file = fopen(maps, "re");

    if (file == NULL) {
        return -errno;
    }
    while ((ret == 0) && (fgets(line, sizeof(line), file) != NULL)) {
        if (daxpin_vma_parse(line, &vma)) {
            ret = func(&vma, arg);
        }
    }
    fclose(file);
    return ret;
}

int daxpin_vma_for_each(daxpin_vma_func_t func, void *arg)
{
    return daxpin_vma_read("/proc/self/maps", func, arg);
}

typedef struct daxpin_vma_search {
    uintptr_t    addr;
    daxpin_vma_t *vma;
} daxpin_vma_search_t;

static int daxpin_vma_found(const daxpin_vma_t *vma, void *arg)
{
    const daxpin_vma_search_t *search = arg;

    if (search->addr >= vma->end) {
        return 0;
    }
    *search->vma = *vma;
    return 1;
}

/* Query the text of /proc/self/maps, for kernels before 6.11 */
static int daxpin_vma_text(uintptr_t addr, daxpin_vma_t *vma)
{
    daxpin_vma_search_t search = {.addr = addr, .vma = vma};
    int ret                    = daxpin_vma_for_each(daxpin_vma_found, &search);

    return (ret == 1) ? 0 : ((ret == 0) ? -ENOENT : daxpin_maps_error(-ret));
}

/* A line of /proc/self/maps, read one character after the other:
 * start-end perms offset major:minor inode name */
typedef struct daxpin_maps_line {
    unsigned       field;
    uint64_t       value; /* of the field, so far */
    unsigned       major_id;
    daxpin_piece_t piece;
} daxpin_maps_line_t;

static void daxpin_maps_line_digit(daxpin_maps_line_t *line, char c)
{
    unsigned base  = (line->field == 6) ? 10 : 16;
    unsigned digit = (c >= 'a') ? (unsigned)(c - 'a') + 10 :
                                  (unsigned)(c - '0');

    line->value = line->value * base + digit;
}

static void daxpin_maps_line_perm(daxpin_piece_t *piece, char c)
{
    piece->prot   |= (c == 'r') ? PROT_READ :
                     (c == 'w') ? PROT_WRITE :
                     (c == 'x') ? PROT_EXEC : 0;
    piece->shared |= c == 's';
}

static void daxpin_maps_line_end_field(daxpin_maps_line_t *line)
{
    daxpin_piece_t *piece = &line->piece;

    switch (line->field) {
    case 0:
        piece->start = line->value;
        break;
    case 1:
        piece->end = line->value;
        break;
    case 3:
        piece->offset = line->value;
        break;
    case 4:
        line->major_id = (unsigned)line->value;
        break;
    case 5:
        piece->dev = makedev(line->major_id, (unsigned)line->value);
        break;
    case 6:
        piece->ino = line->value;
        break;
    default:
        break;
    }
    line->value = 0;
    ++line->field;
}

/* Return whether the line is complete. */
static int daxpin_maps_line_add(daxpin_maps_line_t *line, char c)
{
    static const char ends[] = "-   : ";

    if (c == '\n') {
        daxpin_maps_line_end_field(line);
        return 1;
    }
    if (line->field > 6) {
        return 0; /* the name */
    }
    if (c == ((line->field < 6) ? ends[line->field] : ' ')) {
        daxpin_maps_line_end_field(line);
    } else if (line->field == 2) {
        daxpin_maps_line_perm(&line->piece, c);
    } else {
        daxpin_maps_line_digit(line, c);
    }
    return 0;
}

int daxpin_vma_scan(daxpin_piece_func_t func, void *arg)
{
    int own = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int fd  = (own >= 0) ? own : atomic_load(&daxpin_maps_fd);
    int ret = 0;
    daxpin_maps_line_t line = {0};
    char buffer[512]; /* the stack of a signal handler may be small */
    off_t at = 0;
    ssize_t got, i;

    do {
        got = pread(fd, buffer, sizeof(buffer), at);
        for (i = 0; (i < got) && (ret == 0); ++i) {
            if (daxpin_maps_line_add(&line, buffer[i])) {
                ret  = func(&line.piece, arg);
                line = (daxpin_maps_line_t){0};
            }
        }
        at += got;
    } while ((got > 0) && (ret == 0));
    ret = (got < 0) ? -errno : ret;
    if (own >= 0) {
        close(own);
    }
    return ret;
}

typedef struct daxpin_piece_search {
    uintptr_t      addr;
    daxpin_piece_t *piece;
} daxpin_piece_search_t;

static int daxpin_piece_found(const daxpin_piece_t *piece, void *arg)
{
    const daxpin_piece_search_t *search = arg;

    if (search->addr >= piece->end) {
        return 0;
    }
    *search->piece = *piece;
    return 1;
}

/* Query a mapping without its name; flags: as above. */
static int daxpin_piece_query(uintptr_t addr, unsigned flags,
                              daxpin_piece_t *piece)
{
    daxpin_procmap_query_t query;
    int ret;

    memset(&query, 0, sizeof(query));
    ret = daxpin_procmap_query(addr, flags, &query);
    if (ret != 0) {
        return ret;
    }
    piece->start  = query.vma_start;
    piece->end    = query.vma_end;
    piece->offset = query.vma_offset;
    piece->dev    = makedev(query.dev_major, query.dev_minor);
    piece->ino    = query.inode;
    piece->prot   = daxpin_procmap_prot(query.vma_flags);
    piece->shared = (query.vma_flags & DAXPIN_PROCMAP_SHARED) != 0;
    return 0;
}

int daxpin_vma_find(uintptr_t addr, daxpin_piece_t *piece)
{
    daxpin_piece_search_t search = {.addr = addr, .piece = piece};
    int ret                      = daxpin_piece_query(addr, 0, piece);

    if ((ret != 0) && (ret != -ENOENT)) {
        /* The kernel is older than 6.11, or refuses */
        ret = daxpin_vma_scan(daxpin_piece_found, &search);
        return (ret == 1) ? 0 : ((ret == 0) ? -ENOENT : ret);
    }
    return ret;
}

/* Query a mapping after another way has failed, with @a error, if it is not of a
 * file: then it needs no name. */
static int daxpin_vma_without_file(uintptr_t addr, int error, daxpin_vma_t *vma)
{
    daxpin_piece_t piece;
    int ret = daxpin_vma_find(addr, &piece);

    if (ret != 0) {
        return (ret == -ENOENT) ? ret : error;
    }
    if (piece.ino != 0) {
        return error;
    }
    vma->start   = piece.start;
    vma->end     = piece.end;
    vma->offset  = piece.offset;
    vma->dev     = piece.dev;
    vma->ino     = 0;
    vma->prot    = piece.prot;
    vma->shared  = piece.shared;
    vma->path[0] = '\0';
    return 0;
}

int daxpin_vma_query(uintptr_t addr, daxpin_vma_t *vma)
{
    int ret = daxpin_vma_ioctl(addr, vma);

    if ((ret == -ENAMETOOLONG) || (ret == -ENOTTY) || (ret == -EINVAL)) {
        /* Nobody can open a path that is too long; the text form cuts it off */
        ret = daxpin_vma_text(addr, vma);
    }
    return ((ret == 0) || (ret == -ENOENT)) ?
                   ret :
                   daxpin_vma_without_file(addr, ret, vma);
}

int daxpin_vma_scan_shared(daxpin_piece_func_t func, void *arg)
{
    daxpin_piece_t piece = {0};
    int ret, done;

    while ((ret = daxpin_piece_query(piece.end, DAXPIN_PROCMAP_SHARED,
                                     &piece)) == 0) {
        done = func(&piece, arg);
        if (done != 0) {
            return done;
        }
    }
    return (ret == -ENOENT) ? 0 : daxpin_vma_scan(func, arg);
}

#define DAXPIN_CACHE_MAX 256

typedef struct daxpin_range {
    uintptr_t start;
    uintptr_t end;
} daxpin_range_t;

/* The ranges with one answer, sorted and disjoint. Written under the lock. */
typedef struct daxpin_answers {
    _Atomic unsigned count;
    daxpin_range_t   ranges[DAXPIN_CACHE_MAX];
} daxpin_answers_t;

/* Has a spinlock, because handlers of memory events must neither allocate nor
 * sleep. A range may have both answers: whether a file is to be leased is one
 * question, whether it is on fsdax another. */
static struct {
    atomic_flag      lock;
    _Atomic int      enabled;
    unsigned         epoch;
    daxpin_answers_t foreign;
    daxpin_answers_t fsdax;
} daxpin_cache = {.lock = ATOMIC_FLAG_INIT};

static void daxpin_cache_lock(void)
{
    while (atomic_flag_test_and_set_explicit(&daxpin_cache.lock,
                                             memory_order_acquire)) {
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
    }
}

static void daxpin_cache_unlock(void)
{
    atomic_flag_clear_explicit(&daxpin_cache.lock, memory_order_release);
}

/* Return the index of the first range that ends above the address */
static unsigned daxpin_answers_find(const daxpin_answers_t *answers,
                                    uintptr_t addr)
{
    unsigned low = 0, high = answers->count, mid;

    while (low < high) {
        mid = (low + high) / 2;
        if (answers->ranges[mid].end > addr) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

/* Replace ranges i to j - 1 by one, or by none if @a by is NULL */
static void daxpin_answers_replace(daxpin_answers_t *answers, unsigned i,
                                   unsigned j, const daxpin_range_t *by)
{
    unsigned added = (by != NULL);

    memmove(&answers->ranges[i + added], &answers->ranges[j],
            (answers->count - j) * sizeof(*answers->ranges));
    if (by != NULL) {
        answers->ranges[i] = *by;
    }
    answers->count += added + i - j;
}

static void daxpin_cache_fork(void)
{
    daxpin_cache.foreign.count = 0;
    daxpin_cache.fsdax.count   = 0;
    ++daxpin_cache.epoch;
    daxpin_cache_unlock();
}

DAXPIN_FORK_CHILD(DAXPIN_FORK_CACHE, daxpin_cache_fork)

void daxpin_cache_enable(int enable)
{
    daxpin_cache_lock();
    daxpin_cache.foreign.count = 0;
    daxpin_cache.fsdax.count   = 0;
    ++daxpin_cache.epoch;
    daxpin_cache_unlock();
    atomic_store(&daxpin_cache.enabled, enable);
}

int daxpin_cache_is_foreign(uintptr_t addr, size_t length)
{
    const daxpin_answers_t *foreign = &daxpin_cache.foreign;
    const daxpin_range_t *range;
    unsigned i;
    int ret;

    if (!atomic_load_explicit(&daxpin_cache.enabled, memory_order_relaxed)) {
        return 0;
    }
    daxpin_cache_lock();
    i     = daxpin_answers_find(foreign, addr);
    range = &foreign->ranges[i];
    ret   = (i < foreign->count) && (range->start <= addr) &&
            (length <= range->end - addr);
    daxpin_cache_unlock();
    return ret;
}

int daxpin_cache_is_fsdax(uintptr_t addr, size_t length)
{
    const daxpin_answers_t *fsdax = &daxpin_cache.fsdax;
    unsigned i;
    int ret;

    if (atomic_load_explicit(&fsdax->count, memory_order_relaxed) == 0) {
        return 0;
    }
    daxpin_cache_lock();
    i   = daxpin_answers_find(fsdax, addr);
    ret = (i < fsdax->count) && (fsdax->ranges[i].start < addr + length);
    daxpin_cache_unlock();
    return ret;
}

unsigned daxpin_cache_epoch(void)
{
    unsigned epoch;

    daxpin_cache_lock();
    epoch = daxpin_cache.epoch;
    daxpin_cache_unlock();
    return epoch;
}

static void daxpin_answers_insert(daxpin_answers_t *answers, uintptr_t start,
                                  uintptr_t end, unsigned epoch)
{
    daxpin_range_t range   = {start, end};
    daxpin_range_t *ranges = answers->ranges;
    unsigned i, j;

    if (!atomic_load(&daxpin_cache.enabled)) {
        return;
    }
    daxpin_cache_lock();
    if (epoch != daxpin_cache.epoch) {
        goto out;
    }
    /* Merge all ranges that touch [start, end) */
    i = daxpin_answers_find(answers, (start > 0) ? start - 1 : 0);
    for (j = i; (j < answers->count) && (ranges[j].start <= end); ++j) {
        range.start = (ranges[j].start < range.start) ? ranges[j].start :
                                                        range.start;
        range.end   = (ranges[j].end > range.end) ? ranges[j].end : range.end;
    }
    if ((i == j) && (answers->count == DAXPIN_CACHE_MAX)) {
        answers->count = 0; /* Rare: begin again */
        i = j = 0;
    }
    daxpin_answers_replace(answers, i, j, &range);
out:
    daxpin_cache_unlock();
}

void daxpin_cache_insert(uintptr_t start, uintptr_t end, unsigned epoch)
{
    daxpin_answers_insert(&daxpin_cache.foreign, start, end, epoch);
}

void daxpin_cache_insert_fsdax(uintptr_t start, uintptr_t end, unsigned epoch)
{
    daxpin_answers_insert(&daxpin_cache.fsdax, start, end, epoch);
}

/* Remove every range that overlaps [start, end) */
static void daxpin_answers_remove(daxpin_answers_t *answers, uintptr_t start,
                                  uintptr_t end)
{
    unsigned i = daxpin_answers_find(answers, start);
    unsigned j = i;

    while ((j < answers->count) && (answers->ranges[j].start < end)) {
        ++j;
    }
    if (j > i) {
        daxpin_answers_replace(answers, i, j, NULL);
    }
}

void daxpin_cache_forget(void *addr, size_t length)
{
    uintptr_t start = (uintptr_t)addr;
    uintptr_t end   = start + length;

    if (!atomic_load_explicit(&daxpin_cache.enabled, memory_order_relaxed)) {
        return;
    }
    daxpin_cache_lock();
    ++daxpin_cache.epoch;
    daxpin_answers_remove(&daxpin_cache.foreign, start, end);
    daxpin_answers_remove(&daxpin_cache.fsdax, start, end);
    daxpin_cache_unlock();
}
