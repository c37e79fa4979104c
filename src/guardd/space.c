/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Allocation of entries in the kernel's table of ranges */

#include "space.h"

#include "programs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

/* Runs that were freed and wait for reuse, most. A client can free one with each
 * message: so few cost no time that others would notice, and so many make it seldom
 * that the daemon waits for the kernel. */
#define GUARD_SPACE_USED 16384

/* A run of entries that are not in use */
typedef struct guard_run {
    uint32_t first;
    uint32_t count;
} guard_run_t;

/* One that is free */
typedef struct guard_extent {
    LIST_ENTRY(guard_extent) link;
    guard_run_t run;
} guard_extent_t;

/* By position; no two of them touch */
static LIST_HEAD(, guard_extent) guard_free =
        LIST_HEAD_INITIALIZER(guard_free);

static guard_run_t guard_used[GUARD_SPACE_USED];
static size_t      guard_used_count;
static uint32_t    guard_top; /* later entries were never used */

static int guard_space_compare(const void *first, const void *second)
{
    const guard_run_t *a = first, *b = second;

    return (a->first > b->first) - (a->first < b->first);
}

/* Return whether the second one begins where the first one ends. */
static int guard_space_touch(const guard_extent_t *extent,
                             const guard_run_t *run)
{
    return (extent != NULL) &&
           (extent->run.first + extent->run.count == run->first);
}

/* Free a run behind `last`, which is NULL at the beginning of the list. Return the
 * extent that has it now. */
static guard_extent_t *guard_space_insert(guard_extent_t *last,
                                          const guard_run_t *run)
{
    guard_extent_t *extent;

    if (guard_space_touch(last, run)) {
        last->run.count += run->count;
        return last;
    }
    extent = malloc(sizeof(*extent));
    if (extent == NULL) {
        return last; /* The entries are lost until the daemon restarts */
    }
    extent->run = *run;
    if (last == NULL) {
        LIST_INSERT_HEAD(&guard_free, extent, link);
    } else {
        LIST_INSERT_AFTER(last, extent, link);
    }
    return extent;
}

/* Let all runs that were freed be used again, in one pass by position. */
static int guard_space_reuse(void)
{
    guard_extent_t *last = NULL, *next = LIST_FIRST(&guard_free);
    size_t i;

    if ((guard_used_count == 0) || !guard_programs_settle()) {
        return 0;
    }
    qsort(guard_used, guard_used_count, sizeof(*guard_used),
          guard_space_compare);
    for (i = 0; i < guard_used_count; ++i) {
        while ((next != NULL) && (next->run.first < guard_used[i].first)) {
            last = next;
            next = LIST_NEXT(next, link);
        }
        last = guard_space_insert(last, &guard_used[i]);
        if ((next != NULL) && guard_space_touch(last, &next->run)) {
            last->run.count += next->run.count;
            LIST_REMOVE(next, link);
            free(next);
            next = LIST_NEXT(last, link);
        }
    }
    guard_used_count = 0;
    return 1;
}

static int guard_space_take(uint32_t count, uint32_t *first_p)
{
    guard_extent_t *extent;

    LIST_FOREACH(extent, &guard_free, link) {
        if (extent->run.count < count) {
            continue;
        }
        *first_p           = extent->run.first;
        extent->run.first += count;
        extent->run.count -= count;
        if (extent->run.count == 0) {
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
    if ((guard_used_count == GUARD_SPACE_USED) && !guard_space_reuse()) {
        return; /* The entries are lost until the daemon restarts */
    }
    guard_used[guard_used_count++] = (guard_run_t){first, count};
}
