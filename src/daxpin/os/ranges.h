/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_RANGES_H_
#define DAXPIN_RANGES_H_

/* A set of ranges that may overlap. It is a treap ordered by start. Each node
 * has the greatest end of itself and all nodes below, so that an overlap is
 * found in O(log n). The caller embeds daxpin_range_t, and serialises all calls
 * for one set. */

#include <stddef.h>
#include <stdint.h>

typedef struct daxpin_range daxpin_range_t;

struct daxpin_range {
    uint64_t       start;
    uint64_t       end;      /* the first byte after the range */
    daxpin_range_t *left;
    daxpin_range_t *right;
    uint64_t       max_end;  /* of this node and all below */
    uint32_t       priority; /* a heap: the root has the greatest */
};

/* A set; when zeroed, it is empty */
typedef struct daxpin_ranges {
    daxpin_range_t *root;
    size_t         count;
} daxpin_ranges_t;

typedef int (*daxpin_range_func_t)(daxpin_range_t *range, void *arg);

/* Add a range. Its start and end are set. */
void daxpin_ranges_insert(daxpin_ranges_t *ranges, daxpin_range_t *range);

/* Remove a range that is in the set. */
void daxpin_ranges_remove(daxpin_ranges_t *ranges, daxpin_range_t *range);

/* Return a range with this start and end, or NULL. */
daxpin_range_t *daxpin_ranges_find(const daxpin_ranges_t *ranges,
                                   uint64_t start, uint64_t end);

/* Return a range that overlaps start to end, or NULL. */
daxpin_range_t *daxpin_ranges_overlap(const daxpin_ranges_t *ranges,
                                      uint64_t start, uint64_t end);

/* Return a range that has all bytes from start to end, and for which func does
 * not return 0; or NULL. */
daxpin_range_t *daxpin_ranges_cover(const daxpin_ranges_t *ranges,
                                    uint64_t start, uint64_t end,
                                    daxpin_range_func_t func, void *arg);

/* Call func for every range, by start, until func returns 0. Return the last
 * result of func; 1 if the set is empty. */
int daxpin_ranges_each(const daxpin_ranges_t *ranges, daxpin_range_func_t func,
                       void *arg);

#endif
