/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Mappings of a file in this process, which a revoke replaces */

#include "maps.h"

#include "daxpin/os/hold.h"
#include "daxpin/os/log.h"
#include "daxpin/os/sink.h"
#include "daxpin/os/vma.h"
#include "fault.h"

#include <errno.h>
#include <libpmem2.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a pass over the mappings of this process replaces */
typedef struct daxpin_replace {
    daxpin_file_t *file;
    daxpin_sink_t sink;
} daxpin_replace_t;

static void daxpin_replace_failed(const daxpin_file_t *file, uintptr_t addr,
                                  int error)
{
    daxpin_log(DAXPIN_LOG_ERROR, "%s: cannot replace its mapping at %p: %s; an "
               "access there may meet the end of the file", file->path,
               (void*)addr, strerror(-error));
}

static void daxpin_replace_piece(daxpin_replace_t *replace, uintptr_t start,
                                 uintptr_t end, int prot)
{
    int ret;

    if (start < end) {
        ret = daxpin_sink_replace(&replace->sink, (void*)start, end - start,
                                  prot);
        if (ret != 0) {
            daxpin_replace_failed(replace->file, start, ret);
        }
    }
}

/* Return whether a mapping is the page that the fault handler has put there. */
static int daxpin_piece_is_page(const daxpin_piece_t *piece)
{
    return piece->shared && (piece->offset == 0) &&
           daxpin_sink_is_reserve(piece->dev, piece->ino);
}

/* Return whether a mapping shows the file, or the page of the fault handler. */
static int daxpin_piece_is_of(const daxpin_piece_t *piece,
                              const daxpin_file_t *file)
{
    return daxpin_piece_is_page(piece) ||
           (piece->shared && (piece->ino == file->map_ino) &&
            (piece->dev == file->map_dev));
}

/* Replace what still shows the file in a range, up to the end of its last page:
 * the program may have unmapped some of it, mapped other memory there, or
 * protected it. If that cannot be found out, replace all. */
static void daxpin_replace_range(daxpin_replace_t *replace,
                                 const daxpin_map_t *map)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t addr    = (uintptr_t)map->addr;
    uintptr_t end     = (addr + map->length + page - 1) & ~(page - 1);
    daxpin_piece_t piece;
    int ret;

    while (addr < end) {
        ret = daxpin_vma_find(addr, &piece);
        if ((ret == -ENOENT) || ((ret == 0) && (piece.start >= end))) {
            return;
        }
        if (ret != 0) {
            daxpin_replace_piece(replace, addr, end, map->prot);
            return;
        }
        addr = (piece.start > addr) ? piece.start : addr;
        if (piece.end > end) {
            piece.end = end;
        }
        if (daxpin_piece_is_of(&piece, replace->file)) {
            daxpin_replace_piece(replace, addr, piece.end, piece.prot);
        }
        addr = piece.end;
    }
}

/* Return whether another handle, which is not revoked, has the mapping. */
static int daxpin_replace_spares(const daxpin_file_t *file,
                                 const daxpin_piece_t *piece)
{
    const daxpin_file_t *other;
    const daxpin_map_t *map;

    LIST_FOREACH(other, &daxpin_files, link) {
        LIST_FOREACH(map, &other->maps, link) {
            if ((other != file) && ((uintptr_t)map->addr < piece->end) &&
                ((uintptr_t)map->addr + map->length > piece->start)) {
                return 1;
            }
        }
    }
    return 0;
}

/* Replace a mapping of the file outside of the known ranges: the program has
 * moved it, or made it later. A mapping of a description that is open for
 * reading only is another one, and stays: mprotect() tells. The held page
 * stays, too: it keeps the blocks until the hold is dropped. */
static int daxpin_replace_elsewhere(const daxpin_piece_t *piece, void *arg)
{
    daxpin_replace_t *replace = arg;
    daxpin_file_t *file       = replace->file;
    uintptr_t held            = (uintptr_t)file->hold.page;
    uintptr_t held_end        = held + (uintptr_t)sysconf(_SC_PAGESIZE);

    if (!piece->shared || (piece->ino != file->map_ino) ||
        (piece->dev != file->map_dev) || daxpin_replace_spares(file, piece)) {
        return 0;
    }
    if ((held < piece->start) || (held >= piece->end)) {
        held = held_end = piece->end;
    }
    if (!(piece->prot & PROT_WRITE) && (piece->start < held) &&
        (mprotect((void*)piece->start, held - piece->start,
                  piece->prot | PROT_WRITE) != 0)) {
        return 0;
    }
    daxpin_replace_piece(replace, piece->start, held, piece->prot);
    daxpin_replace_piece(replace, held_end, piece->end, piece->prot);
    return 0;
}

void daxpin_file_replace_maps(daxpin_file_t *file)
{
    daxpin_replace_t replace = {.file = file};
    size_t longest           = 0;
    daxpin_map_t *map;
    int ret;

    if (LIST_EMPTY(&file->maps)) {
        return; /* Mappings that were never adopted stay the program's */
    }
    LIST_FOREACH(map, &file->maps, link) {
        longest = (map->length > longest) ? map->length : longest;
    }
    daxpin_sink_open(&replace.sink, longest);
    atomic_store(&file->sink_dev, replace.sink.dev);
    atomic_store(&file->sink_ino, replace.sink.ino);
    LIST_FOREACH(map, &file->maps, link) {
        daxpin_replace_range(&replace, map);
    }
    ret = daxpin_vma_scan_shared(daxpin_replace_elsewhere, &replace);
    daxpin_sink_close(&replace.sink);
    if (ret != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot read /proc/self/maps: %s; a "
                   "mapping that the program has moved still shows the file",
                   file->path, strerror(-ret));
    }
}

/* Replace the pages of the fault handler in a range. One that cannot be
 * replaced stays, which is memory, too. */
static void daxpin_replace_pages(const daxpin_map_t *map)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t addr    = (uintptr_t)map->addr, end = addr + map->length;
    daxpin_piece_t piece;

    while ((addr < end) && (daxpin_vma_find(addr, &piece) == 0) &&
           (piece.start < end)) {
        if ((piece.start >= addr) && daxpin_piece_is_page(&piece)) {
            (void)daxpin_vma_replace((void*)piece.start, page, piece.prot,
                                     MAP_NORESERVE);
        }
        addr = piece.end;
    }
}

void daxpin_file_replace_late(const daxpin_file_t *file)
{
    const daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        daxpin_replace_pages(map);
    }
}

void daxpin_file_forbid_own_maps(daxpin_file_t *file)
{
    daxpin_map_t *map;
    int ret;

    LIST_FOREACH(map, &file->maps, link) {
        ret = map->is_own ? daxpin_vma_forbid(map->addr, map->length) : 0;
        if (ret != 0) {
            daxpin_replace_failed(file, (uintptr_t)map->addr, ret);
        }
    }
}

/* Return whether a range still shows the file at its beginning: the program may
 * have unmapped an adopted range without a word. */
static int daxpin_map_is_there(const daxpin_file_t *file,
                               const daxpin_map_t *map)
{
    daxpin_piece_t piece;

    return map->is_own ||
           ((daxpin_vma_find((uintptr_t)map->addr, &piece) == 0) &&
            (piece.start <= (uintptr_t)map->addr) &&
            daxpin_piece_is_of(&piece, file));
}

static void daxpin_map_unmap_held(const daxpin_file_t *file,
                                  const daxpin_map_t *map)
{
    if ((file->revoke.phase == DAXPIN_PHASE_NONE) &&
        !atomic_load(&file->faulted) && daxpin_map_is_there(file, map)) {
        daxpin_hold_unmap(map->addr, map->length, map->offset);
    }
}

void daxpin_file_unmap_held(const daxpin_file_t *file)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        daxpin_map_unmap_held(file, map);
    }
}

/* Add a mapping; those of the library come first, because there are few. */
static void daxpin_file_insert_map(daxpin_file_t *file, daxpin_map_t *map)
{
    daxpin_map_t *own = LIST_FIRST(&file->maps), *next;

    if (map->is_own || (own == NULL) || !own->is_own) {
        LIST_INSERT_HEAD(&file->maps, map, link);
    } else {
        while (((next = LIST_NEXT(own, link)) != NULL) && next->is_own) {
            own = next;
        }
        LIST_INSERT_AFTER(own, map, link);
    }
    if (!map->is_own) {
        map->range.start = (uintptr_t)map->addr;
        map->range.end   = (uintptr_t)map->addr + map->length;
        daxpin_ranges_insert(&file->adopted_maps, &map->range);
    }
}

static daxpin_map_t *daxpin_file_find_adopted(const daxpin_file_t *file,
                                              uintptr_t addr, size_t length)
{
    daxpin_range_t *range = daxpin_ranges_find(&file->adopted_maps, addr,
                                               addr + length);

    return (range == NULL) ? NULL :
           (daxpin_map_t*)((char*)range - offsetof(daxpin_map_t, range));
}

/* Map the whole file by libpmem2, which knows how stores to it become durable.
 * No length is set, because libpmem2 requires one to be a multiple of a page.
 * Return 0, or an error with a message. */
static int daxpin_map_by_pmem2(const daxpin_file_t *file, daxpin_map_t *map)
{
    struct pmem2_config *config = NULL;
    struct pmem2_source *source = NULL;
    int ret                     = 0;

    if ((pmem2_source_from_fd(&source, file->fd) != 0) ||
        (pmem2_config_new(&config) != 0) ||
        (pmem2_config_set_required_store_granularity(
                 config, PMEM2_GRANULARITY_PAGE) != 0) ||
        (pmem2_map_new(&map->pmem2, config, source) != 0)) {
        ret = daxpin_error(ENOMEM, "%s: cannot map it: %s", file->path,
                           pmem2_errormsg());
    } else {
        map->addr   = pmem2_map_get_address(map->pmem2);
        map->length = pmem2_map_get_size(map->pmem2);
    }
    pmem2_config_delete(&config);
    pmem2_source_delete(&source);
    return ret;
}

/* Map the whole file, which is in the page cache. libpmem2 is not asked: it looks
 * for devices at each map, and changes the working directory of the process for
 * that, so a name that another thread opens at that moment is not found. Return
 * 0, or an error with a message. */
static int daxpin_map_by_kernel(const daxpin_file_t *file, daxpin_map_t *map)
{
    struct stat st;
    void *addr = MAP_FAILED;

    if (fstat(file->fd, &st) == 0) {
        addr = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
                    MAP_SHARED, file->fd, 0);
    }
    if (addr == MAP_FAILED) {
        return daxpin_error(errno, "%s: cannot map it: %s", file->path,
                            strerror(errno));
    }
    map->addr   = addr;
    map->length = (size_t)st.st_size;
    return 0;
}

/* Map the whole file. Return NULL with a message if that fails. Caller holds
 * daxpin_mutex. */
static daxpin_map_t *daxpin_file_map(daxpin_file_t *file)
{
    daxpin_map_t *map = calloc(1, sizeof(*map));

    if (map == NULL) {
        daxpin_error(ENOMEM, "%s: out of memory", file->path);
        return NULL;
    }
    if ((file->is_dax ? daxpin_map_by_pmem2(file, map) :
                        daxpin_map_by_kernel(file, map)) != 0) {
        free(map);
        return NULL;
    }
    map->is_own = 1;
    map->prot   = PROT_READ | PROT_WRITE;
    map->refs   = 1;
    daxpin_file_insert_map(file, map);
    if (daxpin_fault_watch(file, (uintptr_t)map->addr,
                           (uintptr_t)map->addr + map->length) != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s", daxpin_errormsg());
    }
    return map;
}

void daxpin_map_unmap(daxpin_map_t *map)
{
    if (map->pmem2 != NULL) {
        (void)pmem2_map_delete(&map->pmem2);
    } else {
        munmap(map->addr, map->length);
    }
}

daxpin_map_t *daxpin_file_find_map(daxpin_file_t *file, uint64_t end)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if (!map->is_own || (map->length >= end)) {
            break;
        }
    }
    return ((map != NULL) && map->is_own) ? map : NULL;
}

const daxpin_map_t *daxpin_file_find_own_map(const daxpin_file_t *file,
                                             uintptr_t addr, size_t length)
{
    const daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if (!map->is_own) {
            return NULL;
        }
        if ((addr >= (uintptr_t)map->addr) && (length <= map->length) &&
            (addr - (uintptr_t)map->addr <= map->length - length)) {
            return map;
        }
    }
    return NULL;
}

void *daxpin_file_addr(daxpin_file_t *file, uint64_t offset, size_t length)
{
    daxpin_map_t *map = NULL;
    uint64_t end;
    size_t size;

    pthread_mutex_lock(&daxpin_mutex);
    size = daxpin_file_size(file);
    if (!__builtin_add_overflow(offset, length, &end) && (end <= size)) {
        map = daxpin_file_find_map(file, end);
        if ((map == NULL) && daxpin_file_is_alive(file)) {
            map = daxpin_file_map(file);
        } else if (map == NULL) {
            daxpin_error(ESTALE, "%s: is not under lease any more: %s",
                         file->path, file->control->cause);
        }
    } else {
        daxpin_error(EFAULT, "%s: cannot map bytes %lu to %lu: the file has "
                     "%zu bytes", file->path, offset, end, size);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return (map != NULL) ? (char*)map->addr + offset : NULL;
}

/* Drop a reference to an adopted range. With the last one the fault handler
 * forgets the range. */
static void daxpin_map_put(daxpin_file_t *file, daxpin_map_t *map)
{
    uintptr_t start = (uintptr_t)map->addr;
    uintptr_t end   = start + map->length;

    if (--map->refs == 0) {
        LIST_REMOVE(map, link);
        daxpin_ranges_remove(&file->adopted_maps, &map->range);
        free(map);
        daxpin_fault_unwatch_range(file, start, end);
    }
}

int daxpin_file_add_map(daxpin_file_t *file, uintptr_t addr, size_t length,
                        uint64_t offset, int prot)
{
    daxpin_map_t *map;
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    map = daxpin_file_find_adopted(file, addr, length);
    if (map != NULL) {
        ++map->refs;
        goto out;
    }
    map = calloc(1, sizeof(*map));
    if (map == NULL) {
        ret = daxpin_error(ENOMEM, "%s: out of memory", file->path);
        goto out;
    }
    map->addr   = (void*)addr;
    map->length = length;
    map->offset = offset;
    map->prot   = prot;
    map->refs   = 1;
    daxpin_file_insert_map(file, map);
    ret = daxpin_fault_watch(file, addr, addr + length);
    if (ret != 0) {
        daxpin_map_put(file, map);
    }
out:
    /* A revoke before the range was in the list has not replaced it */
    if ((ret == 0) && !daxpin_file_is_alive(file)) {
        ret = daxpin_error(ESTALE, "%s", file->control->cause);
        daxpin_map_put(file, map);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

void daxpin_file_remove_map(daxpin_file_t *file, uintptr_t addr, size_t length)
{
    daxpin_map_t *map;

    pthread_mutex_lock(&daxpin_mutex);
    map = daxpin_file_find_adopted(file, addr, length);
    if (map != NULL) {
        if ((map->refs == 1) && file->is_dax && (file->fd >= 0) &&
            daxpin_hold_is_contended(file->fd)) {
            daxpin_map_unmap_held(file, map);
        }
        daxpin_map_put(file, map);
    }
    pthread_mutex_unlock(&daxpin_mutex);
}

const char *daxpin_file_granularity(daxpin_file_t *file)
{
    const char *name  = "page";
    daxpin_map_t *map = NULL;

    /* An adopted file may have no mapping of the library's own yet */
    (void)daxpin_file_addr(file, 0, 0);
    pthread_mutex_lock(&daxpin_mutex);
    map = daxpin_file_find_map(file, 0);
    if ((map != NULL) && (map->pmem2 != NULL)) {
        switch (pmem2_map_get_store_granularity(map->pmem2)) {
        case PMEM2_GRANULARITY_BYTE:
            name = "byte";
            break;
        case PMEM2_GRANULARITY_CACHE_LINE:
            name = "cache line";
            break;
        default:
            break;
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return name;
}
