/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A set of ranges that may overlap, as an interval treap */

#include "ranges.h"

/* Return a random number (xorshift). It is for balance, not for secrecy. */
static uint32_t daxpin_range_priority(void)
{
    static uint32_t x = 2463534242u;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

static void daxpin_range_update(daxpin_range_t *range)
{
    range->max_end = range->end;
    if ((range->left != NULL) && (range->left->max_end > range->max_end)) {
        range->max_end = range->left->max_end;
    }
    if ((range->right != NULL) && (range->right->max_end > range->max_end)) {
        range->max_end = range->right->max_end;
    }
}

/* Order by start, end and address, so that each range has one place. */
static int daxpin_range_before(const daxpin_range_t *a,
                               const daxpin_range_t *b)
{
    return (a->start != b->start) ? (a->start < b->start) :
           (a->end != b->end)     ? (a->end < b->end) :
                                    ((uintptr_t)a < (uintptr_t)b);
}

static daxpin_range_t *daxpin_range_merge(daxpin_range_t *a, daxpin_range_t *b)
{
    if ((a == NULL) || (b == NULL)) {
        return (a != NULL) ? a : b;
    }
    if (a->priority > b->priority) {
        a->right = daxpin_range_merge(a->right, b);
        daxpin_range_update(a);
        return a;
    }
    b->left = daxpin_range_merge(a, b->left);
    daxpin_range_update(b);
    return b;
}

static void daxpin_range_split(daxpin_range_t *root, const daxpin_range_t *at,
                               daxpin_range_t **before_p,
                               daxpin_range_t **after_p)
{
    if (root == NULL) {
        *before_p = *after_p = NULL;
    } else if (daxpin_range_before(root, at)) {
        daxpin_range_split(root->right, at, &root->right, after_p);
        daxpin_range_update(root);
        *before_p = root;
    } else {
        daxpin_range_split(root->left, at, before_p, &root->left);
        daxpin_range_update(root);
        *after_p = root;
    }
}

static daxpin_range_t *daxpin_range_cut(daxpin_range_t *root,
                                        const daxpin_range_t *range)
{
    if (root == range) {
        return daxpin_range_merge(root->left, root->right);
    }
    if (daxpin_range_before(range, root)) {
        root->left = daxpin_range_cut(root->left, range);
    } else {
        root->right = daxpin_range_cut(root->right, range);
    }
    daxpin_range_update(root);
    return root;
}

void daxpin_ranges_insert(daxpin_ranges_t *ranges, daxpin_range_t *range)
{
    daxpin_range_t *before, *after;

    range->left     = NULL;
    range->right    = NULL;
    range->max_end  = range->end;
    range->priority = daxpin_range_priority();
    daxpin_range_split(ranges->root, range, &before, &after);
    ranges->root = daxpin_range_merge(daxpin_range_merge(before, range),
                                      after);
    ++ranges->count;
}

void daxpin_ranges_remove(daxpin_ranges_t *ranges, daxpin_range_t *range)
{
    ranges->root = daxpin_range_cut(ranges->root, range);
    --ranges->count;
}

daxpin_range_t *daxpin_ranges_find(const daxpin_ranges_t *ranges,
                                   uint64_t start, uint64_t end)
{
    daxpin_range_t *root = ranges->root;

    while ((root != NULL) && ((root->start != start) || (root->end != end))) {
        root = ((root->start < start) ||
                ((root->start == start) && (root->end < end))) ? root->right :
                                                                 root->left;
    }
    return root;
}

daxpin_range_t *daxpin_ranges_overlap(const daxpin_ranges_t *ranges,
                                      uint64_t start, uint64_t end)
{
    daxpin_range_t *root = ranges->root;

    while ((root != NULL) && (root->max_end > start)) {
        if ((root->left != NULL) && (root->left->max_end > start)) {
            /* If no range on the left overlaps although one ends after start,
             * that range begins at or after end. So do all ranges on the
             * right. */
            root = root->left;
        } else if ((root->start < end) && (root->end > start)) {
            return root;
        } else {
            root = root->right;
        }
    }
    return NULL;
}

static daxpin_range_t *daxpin_range_cover(daxpin_range_t *root, uint64_t start,
                                          uint64_t end,
                                          daxpin_range_func_t func, void *arg)
{
    daxpin_range_t *range;

    if ((root == NULL) || (root->max_end < end)) {
        return NULL;
    }
    range = daxpin_range_cover(root->left, start, end, func, arg);
    if ((range != NULL) || (root->start > start)) {
        return range;
    }
    if ((root->end >= end) && func(root, arg)) {
        return root;
    }
    return daxpin_range_cover(root->right, start, end, func, arg);
}

daxpin_range_t *daxpin_ranges_cover(const daxpin_ranges_t *ranges,
                                    uint64_t start, uint64_t end,
                                    daxpin_range_func_t func, void *arg)
{
    return daxpin_range_cover(ranges->root, start, end, func, arg);
}

static int daxpin_range_each(daxpin_range_t *root, daxpin_range_func_t func,
                             void *arg)
{
    return (root == NULL) || (daxpin_range_each(root->left, func, arg) &&
                              func(root, arg) &&
                              daxpin_range_each(root->right, func, arg));
}

int daxpin_ranges_each(const daxpin_ranges_t *ranges, daxpin_range_func_t func,
                       void *arg)
{
    return daxpin_range_each(ranges->root, func, arg);
}
