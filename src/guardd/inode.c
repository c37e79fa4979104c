/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* An inode: a guarded file, and the ranges of all its clients */

#include "inode.h"

#include "log.h"
#include "programs.h"
#include "space.h"
#include "user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define GUARD_INODE_BUCKETS 4096

LIST_HEAD(guard_inodes, guard_inode);

static struct guard_inodes guard_buckets[GUARD_INODE_BUCKETS];
static struct guard_inodes guard_dirty = LIST_HEAD_INITIALIZER(guard_dirty);

static struct guard_inodes *guard_inode_bucket(dev_t dev, ino_t ino)
{
    return &guard_buckets[(ino ^ (dev << 4)) % GUARD_INODE_BUCKETS];
}

guard_inode_t *guard_inode_find(dev_t dev, ino_t ino)
{
    guard_inode_t *inode;

    LIST_FOREACH(inode, guard_inode_bucket(dev, ino), link) {
        if ((inode->ino == ino) && (inode->dev == dev)) {
            return inode;
        }
    }
    return NULL;
}

static void guard_inode_touch(guard_inode_t *inode)
{
    if (!inode->dirty) {
        inode->dirty = 1;
        LIST_INSERT_HEAD(&guard_dirty, inode, dirty_link);
    }
}

int guard_inode_get(int path_fd, const guard_proof_t *proof, uid_t owner,
                    uid_t uid, guard_inode_t **inode_p)
{
    guard_inode_t *inode = guard_inode_find(proof->dev, proof->ino);

    if (inode != NULL) {
        close(path_fd);
    } else {
        inode = calloc(1, sizeof(*inode));
        if (inode == NULL) {
            close(path_fd);
            return -ENOMEM;
        }
        inode->dev     = proof->dev;
        inode->ino     = proof->ino;
        inode->shown   = proof->owner;
        inode->path_fd = path_fd;
        LIST_INSERT_HEAD(guard_inode_bucket(proof->dev, proof->ino), inode,
                         link);
    }
    if ((inode->owner != owner) && (inode->count > 0)) {
        guard_inode_touch(inode);
    }
    ++inode->refs;
    inode->owner     = owner;
    inode->uid       = uid;
    inode->is_roots |= (uid == 0);
    *inode_p         = inode;
    return 0;
}

/* The inode is freed when it has been cleared in the kernel. */
void guard_inode_put(guard_inode_t *inode)
{
    if (--inode->refs == 0) {
        guard_inode_touch(inode);
    }
}

static int guard_entry_before(const guard_entry_t *entry, const void *owner,
                              const guard_range_t *range)
{
    if (entry->range.start != range->start) {
        return entry->range.start < range->start;
    }
    if (entry->range.end != range->end) {
        return entry->range.end < range->end;
    }
    return (uintptr_t)entry->owner < (uintptr_t)owner;
}

/* Return the first entry from low on that is not before this range; high if all
 * are. */
static size_t guard_inode_search(const guard_inode_t *inode, const void *owner,
                                 const guard_range_t *range, size_t low,
                                 size_t high)
{
    size_t middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (guard_entry_before(&inode->entries[middle], owner, range)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int guard_range_compare(const void *first, const void *second)
{
    const guard_range_t *a = first, *b = second;

    if (a->start != b->start) {
        return (a->start > b->start) ? 1 : -1;
    }
    return (a->end > b->end) - (a->end < b->end);
}

static void guard_inode_move(guard_inode_t *inode, size_t to, size_t from,
                             size_t count)
{
    memmove(&inode->entries[to], &inode->entries[from],
            count * sizeof(*inode->entries));
}

static int guard_inode_reserve(guard_inode_t *inode, size_t count)
{
    size_t capacity = (inode->capacity > 0) ? inode->capacity : 4;
    guard_entry_t *entries;

    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity == inode->capacity) {
        return 0;
    }
    entries = realloc(inode->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    inode->entries  = entries;
    inode->capacity = capacity;
    return 0;
}

int guard_inode_add(guard_inode_t *inode, const void *owner,
                    guard_range_t *ranges, size_t count)
{
    size_t tail = inode->count, at, i;

    if (guard_inode_reserve(inode, inode->count + count) != 0) {
        return -ENOMEM;
    }
    qsort(ranges, count, sizeof(*ranges), guard_range_compare);
    for (i = count; i-- > 0;) {
        at = guard_inode_search(inode, owner, &ranges[i], 0, tail);
        guard_inode_move(inode, at + i + 1, at, tail - at);
        inode->entries[at + i].range = ranges[i];
        inode->entries[at + i].owner = owner;
        tail                         = at;
    }
    inode->count += count;
    guard_inode_touch(inode);
    return 0;
}

static int guard_entry_is(const guard_entry_t *entry, const void *owner,
                          const guard_range_t *range)
{
    return (entry->owner == owner) &&
           (guard_range_compare(&entry->range, range) == 0);
}

size_t guard_inode_remove(guard_inode_t *inode, const void *owner,
                          guard_range_t *ranges, size_t count)
{
    size_t to = 0, from = 0, at, i;

    qsort(ranges, count, sizeof(*ranges), guard_range_compare);
    for (i = 0; i < count; ++i) {
        at = guard_inode_search(inode, owner, &ranges[i], from, inode->count);
        if ((at == inode->count) ||
            !guard_entry_is(&inode->entries[at], owner, &ranges[i])) {
            continue;
        }
        if (to != from) {
            guard_inode_move(inode, to, from, at - from);
        }
        to  += at - from;
        from = at + 1;
    }
    if (to == from) {
        return 0;
    }
    guard_inode_move(inode, to, from, inode->count - from);
    inode->count -= from - to;
    guard_inode_touch(inode);
    return from - to;
}

void guard_inode_remove_all(guard_inode_t *inode, const void *owner)
{
    size_t i, kept = 0;

    for (i = 0; i < inode->count; ++i) {
        if (inode->entries[i].owner != owner) {
            inode->entries[kept++] = inode->entries[i];
        }
    }
    inode->count = kept;
    guard_inode_touch(inode);
}

/*
 * The kernel's view
 */

/* Those that overlap or touch become one. ranges NULL: only count them */
static uint32_t guard_inode_merge(const guard_inode_t *inode,
                                  guard_range_t *ranges)
{
    guard_range_t last = inode->entries[0].range;
    uint32_t count     = 0;
    size_t i;

    for (i = 1; i < inode->count; ++i) {
        const guard_range_t *range = &inode->entries[i].range;

        if (range->start > last.end) {
            if (ranges != NULL) {
                ranges[count] = last;
            }
            ++count;
            last = *range;
        } else if (range->end > last.end) {
            last.end = range->end;
        }
    }
    if (ranges != NULL) {
        ranges[count] = last;
    }
    return count + 1;
}

static uint64_t guard_inode_end(const guard_inode_t *inode)
{
    uint64_t end = 0;
    size_t i;

    for (i = 0; i < inode->count; ++i) {
        end = (inode->entries[i].range.end > end) ?
                      inode->entries[i].range.end :
                      end;
    }
    return end;
}

/* More than one range needs room in the kernel's table. Without room, the gaps
 * between the ranges are guarded as well. */
static void guard_inode_layout(const guard_inode_t *inode, guard_map_t *map,
                               uint32_t *space_p)
{
    uint32_t count = guard_inode_merge(inode, NULL);

    memset(map, 0, sizeof(*map));
    map->uid   = inode->uid;
    map->owner = inode->is_roots ? GUARD_ANY_OWNER : inode->owner;
    map->start = inode->entries[0].range.start;
    map->end   = guard_inode_end(inode);
    *space_p   = 0;
    if (count == 1) {
        return;
    }
    if (guard_space_get(count, &map->first) != 0) {
        guard_log(LOG_WARNING, "inode %lu: cannot store its %u ranges: the "
                  "table is full; the gaps between them are guarded too",
                  (unsigned long)inode->ino, count);
        return;
    }
    guard_inode_merge(inode, guard_programs_ranges() + map->first);
    map->count = count;
    *space_p   = count;
}

static int guard_inode_set(guard_inode_t *inode)
{
    static long next; /* time to log once more */
    guard_map_t map;
    uint32_t space;
    int ret;

    guard_inode_layout(inode, &map, &space);
    ret = guard_programs_set(inode->path_fd, &map);
    if (ret != 0) {
        if (guard_user_is_due(&next)) {
            guard_log(LOG_ERR, "inode %lu: cannot guard: %s",
                      (unsigned long)inode->ino, strerror(-ret));
        }
        if (space > 0) {
            guard_space_put(map.first, space);
        }
        return ret;
    }
    if (inode->space > 0) {
        guard_space_put(inode->map.first, inode->space);
    }
    inode->map   = map;
    inode->space = space;
    return 0;
}

static int guard_inode_clear(guard_inode_t *inode)
{
    int ret = guard_programs_clear(inode->path_fd);

    if ((ret != 0) && (ret != -ENOENT)) { /* ENOENT: it never had it */
        if (inode->error == 0) {
            guard_log(LOG_ERR, "inode %lu: cannot end its guard: %s; tries "
                      "again", (unsigned long)inode->ino, strerror(-ret));
        }
        return ret;
    }
    if (inode->space > 0) {
        guard_space_put(inode->map.first, inode->space);
    }
    memset(&inode->map, 0, sizeof(inode->map));
    inode->space = 0;
    return 0;
}

static void guard_inode_destroy(guard_inode_t *inode)
{
    LIST_REMOVE(inode, link);
    close(inode->path_fd);
    free(inode->entries);
    free(inode);
}

/* Call a function for each inode. */
static void guard_inodes_each(void (*visit)(guard_inode_t *inode))
{
    guard_inode_t *inode;
    size_t i;

    for (i = 0; i < GUARD_INODE_BUCKETS; ++i) {
        LIST_FOREACH(inode, &guard_buckets[i], link) {
            visit(inode);
        }
    }
}

static void guard_inode_check(guard_inode_t *inode)
{
    struct stat st;

    if ((fstat(inode->path_fd, &st) == 0) && (st.st_uid != inode->shown)) {
        /* On a mount with mapped owners only its next client shows the owner */
        inode->owner  = (inode->owner == inode->shown) ? st.st_uid :
                                                         GUARD_NO_OWNER;
        inode->shown  = st.st_uid;
        inode->is_new = 1;
    }
}

void guard_inodes_check(void)
{
    guard_inodes_each(guard_inode_check);
}

static void guard_inode_accept(guard_inode_t *inode)
{
    if (inode->is_new) {
        inode->is_new = 0;
        guard_inode_touch(inode);
    }
}

void guard_inodes_accept(void)
{
    guard_inodes_each(guard_inode_accept);
}

/* One that the kernel does not let go of stays dirty: nobody else would end its
 * guard while the daemon lives. */
void guard_inodes_publish(void)
{
    struct guard_inodes again = LIST_HEAD_INITIALIZER(again);
    guard_inode_t *inode;

    while ((inode = LIST_FIRST(&guard_dirty)) != NULL) {
        LIST_REMOVE(inode, dirty_link);
        inode->dirty = 0;
        inode->error = (inode->count > 0) ? -guard_inode_set(inode) :
                                            -guard_inode_clear(inode);
        if ((inode->error != 0) && (inode->count == 0)) {
            inode->dirty = 1;
            LIST_INSERT_HEAD(&again, inode, dirty_link);
        } else if (inode->refs == 0) {
            guard_inode_destroy(inode);
        }
    }
    while ((inode = LIST_FIRST(&again)) != NULL) {
        LIST_REMOVE(inode, dirty_link);
        LIST_INSERT_HEAD(&guard_dirty, inode, dirty_link);
    }
}
