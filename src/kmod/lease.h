/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LEASE_H_
#define DAXPIN_LEASE_H_

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/wait.h>

/* Who wants to know when leases on a file are broken */
struct daxpin_watch {
    struct hlist_node link;
    struct inode      *inode; /* NULL: none */
    unsigned long     breaks; /* that nobody has read yet */
    wait_queue_head_t wait;
};

/* Does this open file description have an exclusive lease that nobody is
 * breaking? */
bool daxpin_lease_is_live(struct file *file);

void daxpin_watch_init(struct daxpin_watch *watch);
void daxpin_watch_start(struct daxpin_watch *watch, struct inode *inode);
void daxpin_watch_stop(struct daxpin_watch *watch);

/* How many there were since the last time */
u64 daxpin_watch_take(struct daxpin_watch *watch);

int daxpin_lease_init(void);
void daxpin_lease_exit(void);

#endif
