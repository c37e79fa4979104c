/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Mappings of a file in this process, which a revoke replaces */

#include "maps.h"

#include "daxpin/os/log.h"
#include "daxpin/os/vma.h"
#include "fault.h"

#include <errno.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void daxpin_map_replace(const daxpin_file_t *file,
                               const daxpin_map_t *map)
{
    int ret = daxpin_vma_replace(map->addr, map->length, map->prot,
                                 MAP_NORESERVE);

    if (ret != 0) {
        daxpin_log(DAXPIN_LOG_ERROR, "%s: cannot replace its mapping at %p: "
                   "%s; an access there may meet the end of the file",
                   file->path, map->addr, strerror(-ret));
    }
}

void daxpin_file_replace_maps(daxpin_file_t *file)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        daxpin_map_replace(file, map);
    }
}

void daxpin_file_replace_own_maps(daxpin_file_t *file)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if (map->pmem2 != NULL) {
            daxpin_map_replace(file, map);
        }
    }
}

/* Map the whole file. No length is set, because libpmem2 requires one to be a
 * multiple of a page. Caller holds daxpin_mutex. */
static daxpin_map_t *daxpin_file_map(daxpin_file_t *file)
{
    struct pmem2_config *config = NULL;
    struct pmem2_source *source = NULL;
    daxpin_map_t *map           = calloc(1, sizeof(*map));

    if ((map == NULL) || (pmem2_source_from_fd(&source, file->fd) != 0) ||
        (pmem2_config_new(&config) != 0) ||
        (pmem2_config_set_required_store_granularity(
                 config, PMEM2_GRANULARITY_PAGE) != 0) ||
        (pmem2_map_new(&map->pmem2, config, source) != 0)) {
        daxpin_error(ENOMEM, "%s: cannot map it: %s", file->path,
                     pmem2_errormsg());
        free(map);
        map = NULL;
        goto out;
    }
    map->addr   = pmem2_map_get_address(map->pmem2);
    map->length = pmem2_map_get_size(map->pmem2);
    map->prot   = PROT_READ | PROT_WRITE;
    map->refs   = 1;
    LIST_INSERT_HEAD(&file->maps, map, link);
    if (daxpin_fault_watch(file, (uintptr_t)map->addr,
                           (uintptr_t)map->addr + map->length) != 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s", daxpin_errormsg());
    }
out:
    pmem2_config_delete(&config);
    pmem2_source_delete(&source);
    return map;
}

daxpin_map_t *daxpin_file_find_map(daxpin_file_t *file, uint64_t end)
{
    daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if ((map->pmem2 != NULL) && (map->length >= end)) {
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

int daxpin_file_add_map(daxpin_file_t *file, uintptr_t addr, size_t length,
                        uint64_t offset, int prot)
{
    daxpin_map_t *map;
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    LIST_FOREACH(map, &file->maps, link) {
        if ((map->addr == (void*)addr) && (map->length == length) &&
            (map->pmem2 == NULL)) {
            ++map->refs;
            goto out;
        }
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
    LIST_INSERT_HEAD(&file->maps, map, link);
out:
    /* A revoke before the range was in the list has not replaced it */
    if ((ret == 0) && !daxpin_file_is_alive(file)) {
        ret = daxpin_error(ESTALE, "%s", file->control->cause);
        if (--map->refs == 0) {
            LIST_REMOVE(map, link);
            free(map);
        }
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

void daxpin_file_remove_map(daxpin_file_t *file, uintptr_t addr, size_t length)
{
    daxpin_map_t *map;

    pthread_mutex_lock(&daxpin_mutex);
    LIST_FOREACH(map, &file->maps, link) {
        if ((map->addr == (void*)addr) && (map->length == length) &&
            (map->pmem2 == NULL)) {
            break;
        }
    }
    if ((map != NULL) && (--map->refs == 0)) {
        LIST_REMOVE(map, link);
        free(map);
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
    if (map != NULL) {
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
