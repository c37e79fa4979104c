/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* Kernel pins: pinned pages of fsdax files, and their accounting */

#ifndef DAXPIN_PIN_H_
#define DAXPIN_PIN_H_

#include "anchor.h"
#include "dmabuf.h"
#include "lease.h"
#include "user.h"

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/wait.h>

/* The pinned blocks behind a range of a file */
struct daxpin_pin {
    struct inode         *inode;  /* kept by the anchor mapping */
    pgoff_t              index;   /* in the file */
    unsigned long        count;   /* number of pages */
    struct daxpin_extent *extents;
    unsigned int         num_extents;
    unsigned int         max_extents;
    struct dev_pagemap   *pgmap;  /* keeps the struct pages */
    struct mm_struct     *mm;     /* its pinned_vm counts the pages; NULL: not
                                     any more */
    struct daxpin_anchor *anchor;
    refcount_t           refs;    /* the description, the dma-buf */
    atomic_t             taken;   /* the pages are, or will be, unpinned */
    bool                 is_unpinned;
    wait_queue_head_t    wait;    /* for is_unpinned */
    struct daxpin_dmabuf dmabuf;
    struct daxpin_watch  watch;   /* for a break that revokes the dma-buf */

    /* Protected by user->lock */
    struct daxpin_user   *user;
    struct list_head     link;    /* of the user's pins */
    bool                 is_wanted; /* back, by daxpin_pin_revoke() */
    unsigned long        wanted;    /* in jiffies: when */
    bool                 is_exported;
    bool                 has_ended; /* no reference is left */
    bool                 is_due;
    unsigned long        due;     /* in jiffies: when to serve it */
    unsigned long        grace;   /* from a break to the revoke, in jiffies */

    /* Used by the user's work only */
    unsigned int         seen_extents; /* extents without a page in use */
    unsigned long        seen_pages;   /* the same of the next extent */
    unsigned long        pause;   /* between checks, in jiffies */
};

/* Numbers of all pins, for /sys/class/misc/daxpin */
struct daxpin_pin_total {
    atomic_long_t pins;      /* pins that a process has */
    atomic_long_t lingering; /* pins that only a device uses */
};

extern struct daxpin_pin_total daxpin_pin_total;

/* Pin the range of the file that the calling process has mapped at addr. Fail
 * if the mapping shows something else. index and count are in pages. May sleep
 * long. */
int daxpin_pin_create(struct file *file, unsigned long addr, pgoff_t index,
                      unsigned long count, struct daxpin_pin **pin_p);

/* The description of the device is closed. Unpin, if no dma-buf keeps the pin.
 * The anchor mapping and the accounting stay for as long as another user, such
 * as an RDMA device, uses one of the pages. */
void daxpin_pin_release(struct daxpin_pin *pin);

/* Export the pin as a dma-buf, which has a reference. Have it revoked if the
 * lease is broken, and its owner has not given it back `grace` jiffies later, or
 * after half of the time that the kernel gives the owner, if that is less.
 * Return a descriptor, or a negative errno: -EPERM if it is being broken. */
int daxpin_pin_export(struct daxpin_pin *pin, unsigned long grace);

/* Have the dma-buf revoked, and the pages unpinned, after so many jiffies. Calls
 * for later than an earlier one's do nothing. */
void daxpin_pin_revoke(struct daxpin_pin *pin, unsigned long delay);

/* Wait until the pages are unpinned. Return 0, -ETIMEDOUT if a device still uses
 * pages, or -EINTR when a signal arrives. */
int daxpin_pin_wait(struct daxpin_pin *pin);

/* Do what is due with pins of a user: revoke, check whether devices still use
 * them, free. Return the jiffies until more is due; MAX_SCHEDULE_TIMEOUT:
 * nothing is. */
unsigned long daxpin_pin_serve(struct daxpin_user *user);

/* Store count pages from first on, all within the pin. first and count are in
 * pages of the pin. */
void daxpin_pin_pages(const struct daxpin_pin *pin, unsigned long first,
                      unsigned long count, struct page **pages);

/* Return the first page of a range. NULL: the range is not contiguous in
 * memory, or not within the pin. */
struct page *daxpin_pin_range(const struct daxpin_pin *pin, unsigned long first,
                              unsigned long count);

#endif
