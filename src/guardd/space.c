/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Allocation of entries in the kernel's table of ranges */

#include "space.h"

#include "programs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

/* A run of entries that are not in use */
typedef struct guard_extent {
    LIST_ENTRY(guard_extent) link;
    uint32_t first;
    uint32_t count;
} guard_extent_t;

LIST_HEAD(guard_extents, guard_extent);

static struct guard_extents guard_free = LIST_HEAD_INITIALIZER(guard_free);
static struct guard_extents guard_used = LIST_HEAD_INITIALIZER(guard_used);
static uint32_t             guard_top; /* later entries were never used */

/* Insert by position, and join with neighbours. */
static void guard_space_merge(guard_extent_t *extent)
{
    guard_extent_t *last = NULL, *next;

    LIST_FOREACH(next, &guard_free, link) {
        if (next->first > extent->first) {
            break;
        }
        last = next;
    }
    if (last == NULL) {
        LIST_INSERT_HEAD(&guard_free, extent, link);
    } else {
        LIST_INSERT_AFTER(last, extent, link);
    }
    if ((next != NULL) && (extent->first + extent->count == next->first)) {
        extent->count += next->count;
        LIST_REMOVE(next, link);
        free(next);
    }
    if ((last != NULL) && (last->first + last->count == extent->first)) {
        last->count += extent->count;
        LIST_REMOVE(extent, link);
        free(extent);
    }
}

static int guard_space_reuse(void)
{
    guard_extent_t *extent;

    if (LIST_EMPTY(&guard_used) || !guard_programs_settle()) {
        return 0;
    }
    while ((extent = LIST_FIRST(&guard_used)) != NULL) {
        LIST_REMOVE(extent, link);
        guard_space_merge(extent);
    }
    return 1;
}

static int guard_space_take(uint32_t count, uint32_t *first_p)
{
    guard_extent_t *extent;

    LIST_FOREACH(extent, &guard_free, link) {
        if (extent->count < count) {
            continue;
        }
        *first_p       = extent->first;
        extent->first += count;
        extent->count -= count;
        if (extent->count == 0) {
            LIST_REMOVE(extent, link);
            free(extent);
        }
        return 1;
    }
    if (count > GUARD_RANGES_MAX - guard_top) {
        return 0;
    }
    *first_p   = guard_top;
    guard_top += count;
    return 1;
}

int guard_space_get(uint32_t count, uint32_t *first_p)
{
    if (guard_space_take(count, first_p)) {
        return 0;
    }
    return (guard_space_reuse() && guard_space_take(count, first_p)) ?
                   0 :
                   -ENOSPC;
}

void guard_space_put(uint32_t first, uint32_t count)
{
    guard_extent_t *extent = malloc(sizeof(*extent));

    if (extent == NULL) {
        return; /* The entries are lost until the daemon restarts */
    }
    extent->first = first;
    extent->count = count;
    LIST_INSERT_HEAD(&guard_used, extent, link);
}
