/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Blocks of a file: allocate, fill, cut, and wait for a truncate to end */

#include "space.h"

#include "clock.h"
#include "hold.h"
#include "lease.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Bytes that are allocated or converted between two checks */
#define DAXPIN_SPACE_PIECE  (64l << 20)

#define DAXPIN_SPACE_EXTENTS 64

/* The part of lease-break-time for which a lease that was whole cannot have
 * ended, with a margin for the change that follows */
#define DAXPIN_SPACE_PERCENT 50

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

/*
 * The holes of a file
 */

static off_t daxpin_space_round_up(off_t offset, off_t unit)
{
    return (offset + unit - 1) / unit * unit;
}

static int daxpin_space_add_hole(const daxpin_space_t *space,
                                 daxpin_holes_t *holes, off_t start, off_t end)
{
    daxpin_hole_t *list;
    size_t capacity;

    if (start >= end) {
        return 0;
    }
    if (holes->count == holes->capacity) {
        capacity = 2 * holes->capacity + 16;
        list     = realloc(holes->list, capacity * sizeof(*list));
        if (list == NULL) {
            return daxpin_error(ENOMEM, "%s: out of memory for the list of its "
                                "holes", space->path);
        }
        holes->list     = list;
        holes->capacity = capacity;
    }
    holes->list[holes->count++] = (daxpin_hole_t){.start = start, .end = end};
    return 0;
}

/* List what has no extent, or also those that were never written. SEEK_HOLE
 * does not find these if a page of zeros was ever mapped there. Return 0; 1 if
 * the file system lists no extents; or -errno with a message. */
static int daxpin_space_list_extents(const daxpin_space_t *space, off_t from,
                                     off_t end, int unwritten,
                                     daxpin_holes_t *holes)
{
    struct {
        struct fiemap        map;
        struct fiemap_extent extents[DAXPIN_SPACE_EXTENTS];
    } list;
    const struct fiemap_extent *extent;
    off_t hole = from, next = from;
    int ret = 0;
    unsigned i;

    do {
        memset(&list, 0, sizeof(list));
        list.map.fm_start        = (uint64_t)next;
        list.map.fm_length       = (uint64_t)(end - next);
        list.map.fm_extent_count = DAXPIN_SPACE_EXTENTS;
        if (ioctl(space->fd, FS_IOC_FIEMAP, &list.map) != 0) {
            holes->count = 0;
            return 1;
        }
        for (i = 0; (i < list.map.fm_mapped_extents) && (ret == 0); ++i) {
            extent = &list.map.fm_extents[i];
            next   = (off_t)(extent->fe_logical + extent->fe_length);
            if (!unwritten || !(extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN)) {
                ret  = daxpin_space_add_hole(space, holes, hole,
                                             (off_t)extent->fe_logical);
                hole = next;
            }
        }
    } while ((ret == 0) && (list.map.fm_mapped_extents > 0) && (next < end));
    return (ret == 0) ? daxpin_space_add_hole(space, holes, hole, end) : ret;
}

/* List what has no data. That includes blocks that were never written, if the
 * file has more blocks than data; if it has fewer, the file system does not
 * report its holes. Return 0, or -errno with a message. */
static int daxpin_space_list_seek(daxpin_space_t *space, const struct stat *st,
                                  off_t from, off_t end)
{
    const off_t last   = daxpin_space_round_up(st->st_size, st->st_blksize);
    const off_t blocks = st->st_blocks * 512;
    off_t hole, data, bytes = last;
    int ret = 0;

    for (data = 0; (ret == 0) && (data < last);) {
        hole = lseek(space->fd, data, SEEK_HOLE);
        if ((hole < 0) || (hole >= st->st_size)) {
            break;
        }
        data   = lseek(space->fd, hole, SEEK_DATA);
        data   = ((data < 0) || (data > last)) ? last : data;
        bytes -= data - hole;
        ret    = daxpin_space_add_hole(space, &space->holes,
                                       (hole > from) ? hole : from,
                                       (data < end) ? data : end);
    }
    space->exact = blocks == bytes;
    if (blocks < bytes) {
        space->holes.count = 0;
        return daxpin_space_add_hole(space, &space->holes, from, end);
    }
    return (ret != 0) ? ret :
           daxpin_space_add_hole(space, &space->holes,
                                 (last > from) ? last : from, end);
}

/* List the holes of the range, and what is behind the end of the file. */
static int daxpin_space_list(daxpin_space_t *space)
{
    off_t from, end;
    struct stat st;
    int ret;

    if (fstat(space->fd, &st) != 0) {
        return daxpin_error(errno, "%s: cannot stat: %m", space->path);
    }
    space->old_size = st.st_size;
    space->exact    = 1;
    from = (off_t)space->offset / st.st_blksize * st.st_blksize;
    end  = daxpin_space_round_up((off_t)space->end, st.st_blksize);
    ret  = daxpin_space_list_extents(space, from, end, 0, &space->holes);
    return (ret == 1) ? daxpin_space_list_seek(space, &st, from, end) : ret;
}

/*
 * Fill
 */

/* Check that the file system has the blocks, as far as can be known before:
 * ext4 keeps what it has allocated when fallocate() fails. */
static int daxpin_space_check_free(const daxpin_space_t *space)
{
    uint64_t missing = 0, there, unused;
    struct statvfs fs;
    struct stat st;
    size_t i;

    for (i = 0; i < space->holes.count; ++i) {
        missing += (uint64_t)(space->holes.list[i].end -
                              space->holes.list[i].start);
    }
    if (!space->exact) { /* other blocks than those of the range may be there */
        there   = (fstat(space->fd, &st) == 0) ? (uint64_t)st.st_blocks * 512 :
                                                 missing;
        missing = (missing > there) ? missing - there : 0;
    }
    if ((fstatvfs(space->fd, &fs) != 0) || (fs.f_blocks == 0)) {
        return 0; /* It has no limit, or does not report one */
    }
    unused = ((geteuid() == 0) ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
    return (missing <= unused) ? 0 :
           daxpin_error(ENOSPC, "%s: cannot allocate its %lu bytes: %lu bytes "
                        "of it have no block, and its file system has %lu "
                        "bytes of free space; free space first, or make the "
                        "file smaller", space->path, space->end, missing,
                        unused);
}

static int daxpin_space_check(daxpin_space_t *space)
{
    int ret;

    const uint64_t now = daxpin_now();

    if (daxpin_lease_is_whole(space->fd)) {
        space->owned = now;
    }
    ret = (space->check != NULL) ? space->check(space->arg) : 0;
    if ((ret != 0) && (ret != -ECANCELED)) {
        space->owned = 0; /* A revoke has given the lease back */
    }
    return ret;
}

static int daxpin_space_allocate_piece(daxpin_space_t *space, off_t start,
                                       off_t end)
{
    int ret;

    space->changed = 1;
    do {
        ret = fallocate(space->fd, FALLOC_FL_KEEP_SIZE, start, end - start);
    } while ((ret != 0) && (errno == EINTR));
    if (ret == 0) {
        return 0;
    }
    ret = errno;
    /* XFS reserves blocks for its own metadata first. This fails if the file
     * takes all of its file system, although the file needs none of them. */
    if (((ret == EOPNOTSUPP) || (ret == ENOSPC)) &&
        daxpin_space_is_allocated(space->fd, space->end)) {
        return 0;
    }
    errno = ret;
    return daxpin_error(ret, "%s: cannot allocate %ld bytes at offset %ld: "
                        "%m; free space first, because a later store there "
                        "could fail without an error", space->path, end - start,
                        start);
}

static off_t daxpin_space_min(off_t a, off_t b)
{
    return (a < b) ? a : b;
}

/* Allocate the holes, many small ones in one piece. */
static int daxpin_space_allocate_holes(daxpin_space_t *space)
{
    const daxpin_holes_t *holes = &space->holes;
    off_t start, next = 0, end;
    size_t i;
    int ret = 0;

    for (i = 0; (i < holes->count) && (ret == 0); ++i) {
        end   = daxpin_space_min(holes->list[holes->count - 1].end,
                                 (off_t)space->end);
        start = holes->list[i].start;
        for (start = (start > next) ? start : next;
             (start < daxpin_space_min(holes->list[i].end, end)) && (ret == 0);
             start = next) {
            next = daxpin_space_min(start + DAXPIN_SPACE_PIECE, end);
            ret  = daxpin_space_check(space);
            if (ret == 0) {
                ret = daxpin_space_allocate_piece(space, start, next);
            }
        }
    }
    return ret;
}

/* Store to each page what it has, as Linux before 5.14 needs it. The kernel
 * does it, and reports an error where a store would raise SIGBUS. */
static int daxpin_space_touch(char *start, size_t length)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int or_zero = FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0);
    uint32_t unused   = 0;
    size_t at;

    for (at = 0; at < length; at += page) {
        if (syscall(SYS_futex, &unused, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0,
                    0L, start + at, or_zero) < 0) {
            return -errno;
        }
    }
    return 0;
}

/* Convert a piece by a page fault as of a store, which changes no byte. */
static int daxpin_space_convert_piece(const daxpin_space_t *space, off_t start,
                                      off_t end)
{
    const off_t page = sysconf(_SC_PAGESIZE);
    const off_t from = start / page * page;
    size_t length    = (size_t)(end - from);
    void *memory;
    int ret;

    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, space->fd,
                  from);
    if (memory == MAP_FAILED) {
        return daxpin_error(errno, "%s: cannot map %zu bytes at offset %ld to "
                            "fill its holes: %m", space->path, length, from);
    }
    do {
        ret = (madvise(memory, length, MADV_POPULATE_WRITE) == 0) ? 0 : -errno;
    } while (ret == -EINTR);
    if (ret == -EINVAL) {
        ret = daxpin_space_touch(memory, length);
    }
    munmap(memory, length);
    return (ret == 0) ? 0 :
           daxpin_error(-ret, "%s: cannot fill the holes in %zu bytes at "
                        "offset %ld: %s; check whether another process "
                        "truncates it, or its file system is full",
                        space->path, length, from, strerror(-ret));
}

static int daxpin_space_convert_hole(daxpin_space_t *space, off_t start,
                                     off_t end)
{
    off_t next;
    int ret = 0;

    for (; (start < end) && (ret == 0); start = next) {
        next = daxpin_space_min(start + DAXPIN_SPACE_PIECE, end);
        ret  = daxpin_space_check(space);
        if (ret == 0) {
            ret = daxpin_space_convert_piece(space, start, next);
        }
    }
    return ret;
}

/* Convert all blocks that were never written; if they are not known, all. */
static int daxpin_space_convert(daxpin_space_t *space)
{
    const off_t from = (off_t)space->offset, end = (off_t)space->end;
    daxpin_holes_t holes = {0};
    size_t i;
    int ret;

    ret = daxpin_space_list_extents(space, from, end, 1, &holes);
    if (ret == 1) {
        ret = daxpin_space_convert_hole(space, from, end);
    }
    for (i = 0; (i < holes.count) && (ret == 0); ++i) {
        ret = daxpin_space_convert_hole(space, holes.list[i].start,
                                        holes.list[i].end);
    }
    free(holes.list);
    return ret;
}

/* Make the file as long as the range. A process that was let in may append to
 * the file at the same time, so that ftruncate() could cut what it has written;
 * fallocate() makes no file shorter. It may need free blocks though it
 * allocates none. Where only this process has the file, ftruncate() does. */
static int daxpin_space_set_size(const daxpin_space_t *space)
{
    int ret;

    do {
        ret = fallocate(space->fd, 0, (off_t)space->end - 1, 1);
    } while ((ret != 0) && (errno == EINTR));
    if ((ret != 0) && !space->shared &&
        ((errno == ENOSPC) || (errno == EOPNOTSUPP))) {
        ret = ftruncate(space->fd, (off_t)space->end);
    }
    return ret;
}

/* Grow the file, which has its blocks by now. */
static int daxpin_space_extend(daxpin_space_t *space)
{
    struct stat st;

    if (fstat(space->fd, &st) != 0) {
        return daxpin_error(errno, "%s: cannot stat: %m", space->path);
    }
    space->old_size = st.st_size; /* by now */
    if (st.st_size >= (off_t)space->end) {
        return 0;
    }
    if (daxpin_space_set_size(space) != 0) {
        return daxpin_error(errno, "%s: cannot grow to %lu bytes: %m",
                            space->path, space->end);
    }
    space->grown = 1;
    return 0;
}

int daxpin_space_fill(daxpin_space_t *space)
{
    int ret = daxpin_space_list(space);

    if (ret == 0) {
        ret = daxpin_space_check_free(space);
    }
    if (ret == 0) {
        ret = daxpin_space_allocate_holes(space);
    }
    if ((ret == 0) && (space->old_size < (off_t)space->end)) {
        ret = daxpin_space_check(space);
        ret = (ret == 0) ? daxpin_space_extend(space) : ret;
    }
    if ((ret == 0) && space->converts) {
        ret = daxpin_space_convert(space);
    }
    if (ret != 0) {
        daxpin_space_undo(space);
    }
    return ret;
}

/*
 * Undo
 */

/* Return whether no other process can have the file open yet: the lease is
 * whole; or it was so recently that it cannot have ended since, and nobody has
 * given it back. */
static int daxpin_space_is_owned(daxpin_space_t *space)
{
    const uint64_t now = daxpin_now();
    uint64_t bound     = daxpin_lease_break_time() * DAXPIN_SEC;

    if (daxpin_lease_is_whole(space->fd)) {
        space->owned = now;
        return 1;
    }
    return (space->owned != 0) && !space->lends &&
           ((bound == 0) || /* it does not end by itself */
            (now < space->owned + bound / 100 * DAXPIN_SPACE_PERCENT));
}

static int daxpin_space_punch(const daxpin_space_t *space, off_t start,
                              off_t end)
{
    int ret;

    do {
        ret = fallocate(space->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        start, end - start);
    } while ((ret != 0) && (errno == EINTR));
    return (ret == 0) ? 0 : -errno;
}

/* Punch the part of a hole that still has no data. A store to the mapping of
 * another process makes data of it at once. */
static int daxpin_space_punch_clean(daxpin_space_t *space, off_t start,
                                    off_t end)
{
    off_t hole, data;
    int ret = 0;

    for (hole = start; (ret == 0) && (hole < end); hole = data) {
        hole = lseek(space->fd, hole, SEEK_HOLE);
        if ((hole < 0) || (hole >= end)) {
            break;
        }
        data = lseek(space->fd, hole, SEEK_DATA);
        data = ((data < 0) || (data > end)) ? end : data;
        ret  = daxpin_space_is_owned(space) ?
                       daxpin_space_punch(space, hole, data) : -EAGAIN;
    }
    return ret;
}

static int daxpin_space_undo_blocks(daxpin_space_t *space)
{
    size_t i;
    int ret = 0;

    for (i = 0; (i < space->holes.count) && (ret == 0); ++i) {
        if (space->holes.list[i].start >= space->old_size) {
            break; /* A truncate has freed those behind the end */
        }
        if (!daxpin_space_is_owned(space)) {
            return -EAGAIN;
        }
        ret = space->shared ?
              daxpin_space_punch_clean(space, space->holes.list[i].start,
                                       space->holes.list[i].end) :
              daxpin_space_punch(space, space->holes.list[i].start,
                                 space->holes.list[i].end);
    }
    return ret;
}

/* Cut what was added, even if that is only blocks behind the end. */
static int daxpin_space_undo_length(daxpin_space_t *space)
{
    const off_t size = space->grown ? (off_t)space->end : space->old_size;
    struct stat st;

    if (((off_t)space->end <= space->old_size) ||
        (space->grown && space->shared)) {
        return 0;
    }
    if (!daxpin_space_is_owned(space) || (fstat(space->fd, &st) != 0) ||
        (st.st_size != size)) {
        return -EAGAIN;
    }
    return (ftruncate(space->fd, space->old_size) == 0) ? 0 : -errno;
}

void daxpin_space_undo(daxpin_space_t *space)
{
    int ret = 0;

    if (space->changed || space->grown) {
        ret = daxpin_space_undo_length(space);
    }
    if ((ret == 0) && space->changed && space->exact) {
        ret = daxpin_space_undo_blocks(space);
    }
    if (ret != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot free the blocks that were "
                   "allocated in vain: %s; they stay part of the file",
                   space->path, (ret == -EAGAIN) ?
                   "another process may use it by now" : strerror(-ret));
    }
    space->changed = space->grown = 0;
}

void daxpin_space_free(daxpin_space_t *space)
{
    free(space->holes.list);
    space->holes = (daxpin_holes_t){0};
}

int daxpin_space_cut(int fd, size_t length)
{
    struct stat st;

    return ((fstat(fd, &st) == 0) && ((size_t)st.st_size > length) &&
            (ftruncate(fd, (off_t)length) != 0)) ? -errno : 0;
}
