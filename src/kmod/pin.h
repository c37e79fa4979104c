/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* Kernel pins: pinned pages of fsdax files, and their accounting */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

#include "anchor.h"

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

/* Pages that follow each other in the file and in memory */
struct daxpin_extent {
    unsigned long first; /* number of its first page in the pin */
    unsigned long count;
    struct page   *page;
};

/* The pinned blocks behind a range of a file */
struct daxpin_pin {
    struct inode         *inode; /* kept by the anchor mapping */
    pgoff_t              index;  /* in the file */
    unsigned long        count;  /* number of pages */
    struct daxpin_extent *extents;
    unsigned int         num_extents;
    unsigned int         max_extents;
    struct dev_pagemap   *pgmap; /* keeps the struct pages */
    struct mm_struct     *mm;    /* its pinned_vm counts the pages */
    struct daxpin_anchor anchor;
    unsigned int         seen_extents; /* extents without a page in use */
    unsigned long        seen_pages;   /* the same of the next extent */
    unsigned long        pause;        /* between checks, in jiffies */
    struct delayed_work  work;
};

/* Numbers of all pins, for /sys/class/misc/daxpin */
struct daxpin_pin_total {
    atomic_long_t pins;      /* pins that a process has */
    atomic_long_t lingering; /* pins that only a device uses */
    atomic_long_t pages;     /* of both */
};

extern struct daxpin_pin_total daxpin_pin_total;

/* Pin the range of the file that the calling process has mapped at addr. Fail
 * if the mapping shows something else. index and count are in pages. May sleep
 * long. */
int daxpin_pin_create(struct file *file, unsigned long addr, pgoff_t index,
                      unsigned long count, struct daxpin_pin **pin_p);

/* Unpin at once. The anchor mapping and the accounting stay for as long as
 * another user, such as an RDMA device, uses one of the pages. */
void daxpin_pin_release(struct daxpin_pin *pin);

/* Store count pages from first on, all within the pin. first and count are in
 * pages of the pin. */
void daxpin_pin_pages(const struct daxpin_pin *pin, unsigned long first,
                      unsigned long count, struct page **pages);

/* Return the first page of a range. NULL: the range is not contiguous in
 * memory, or not within the pin. */
struct page *daxpin_pin_range(const struct daxpin_pin *pin, unsigned long first,
                              unsigned long count);

#endif
