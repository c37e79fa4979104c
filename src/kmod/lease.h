/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* The lease that a pin needs, and the notice of its break */

#ifndef DAXPIN_LEASE_H_
#define DAXPIN_LEASE_H_

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/wait.h>

/* A device description or a pin that is notified when leases on a file are
 * broken */
struct daxpin_watch {
    struct hlist_node link;   /* The first watch of a file is in the table */
    struct list_head  ring;   /* all watches of the file */
    struct inode      *inode; /* NULL: none */
    unsigned long     breaks; /* not read yet */
    wait_queue_head_t wait;

    /* Called in the process that breaks the lease; does not sleep. The owner has
     * so many jiffies left to give it back. NULL: none */
    void (*on_break)(struct daxpin_watch *watch, unsigned long left);

    /* Used in the first watch of a file */
    unsigned int  told;    /* flags of leases whose break was told */
    unsigned long expires; /* when the kernel takes the lease of which it was
                              told last; 0: never, or it was given back */
};

/* Return whether this open file description has an exclusive lease that is not
 * being broken. */
bool daxpin_lease_is_live(struct file *file);

/* Return whether any lease on the file is being broken: its owner has not given
 * it back yet. */
bool daxpin_lease_is_breaking(struct inode *inode);

void daxpin_watch_init(struct daxpin_watch *watch,
                       void (*on_break)(struct daxpin_watch *watch,
                                        unsigned long left));
void daxpin_watch_start(struct daxpin_watch *watch, struct inode *inode);

/* Forget breaks that were not read, too. */
void daxpin_watch_stop(struct daxpin_watch *watch);

/* Return whether a lease on the file is being broken, or the kernel has taken the
 * one that was broken last, because its owner did not give it back. */
bool daxpin_watch_is_broken(const struct daxpin_watch *watch);

/* Return the number of breaks since the last call. */
u64 daxpin_watch_take(struct daxpin_watch *watch);

int daxpin_lease_init(void);
void daxpin_lease_exit(void);

#endif
