/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

#include "guard.h"

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

/* Pages that follow each other in the file and in memory */
struct daxpin_extent {
    unsigned long first; /* of the pin's pages */
    unsigned long count;
    struct page   *page;
};

/* The pinned blocks behind a range of a file */
struct daxpin_pin {
    struct inode         *inode; /* kept by the guard */
    pgoff_t              index;  /* in the file */
    unsigned long        count;  /* of pages */
    struct daxpin_extent *extents;
    unsigned int         num_extents;
    unsigned int         max_extents;
    struct dev_pagemap   *pgmap; /* keeps the device's struct pages */
    struct mm_struct     *mm;    /* whose pinned_vm counts it */
    struct daxpin_guard  guard;
    unsigned int         seen_extents; /* of which no page is in use any more */
    unsigned long        seen_pages;   /* of the next one */
    unsigned long        pause;        /* between looks, in jiffies */
    struct delayed_work  work;
};

/* All pins there are, for /sys/class/misc/daxpin */
struct daxpin_pin_total {
    atomic_long_t pins;      /* those that some process has */
    atomic_long_t lingering; /* those that only a device still uses */
    atomic_long_t pages;     /* of both */
};

extern struct daxpin_pin_total daxpin_pin_total;

/* Pin what the calling process has mapped at addr, if that is the range of the
 * file. index and count are in pages. May sleep long. */
int daxpin_pin_create(struct file *file, unsigned long addr, pgoff_t index,
                      unsigned long count, struct daxpin_pin **pin_p);

/* Unpin at once. The guard, and what counts for the user, stay for as long as
 * somebody else, such as an RDMA device, uses one of the pages. */
void daxpin_pin_release(struct daxpin_pin *pin);

/* The count pages from first on, which are there; first and count are in pages
 * of the pin */
void daxpin_pin_pages(const struct daxpin_pin *pin, unsigned long first,
                      unsigned long count, struct page **pages);

/* The first of them; NULL if they do not follow each other in memory, or are
 * not there */
struct page *daxpin_pin_range(const struct daxpin_pin *pin, unsigned long first,
                              unsigned long count);

#endif
