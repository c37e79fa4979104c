/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_GUARD_H_
#define DAXPIN_GUARD_H_

#include <linux/path.h>

/*
 * What makes a file system wait for the pins of a file that nobody has mapped:
 * truncate and hole punch look for pinned pages only if there is some mapping
 * of the file (dax_layout_busy_page()). A guard is such a mapping, of one page
 * that cannot be accessed, in an address space that belongs to this module and
 * to no process.
 *
 * It keeps the file by its path, and not by the description of the process:
 * leases end with those, as ever.
 */
struct daxpin_guard {
    struct path path; /* keeps the inode, and the file system mounted */
    int         id;   /* its place in the address space */
};

/* Sleeps. 0 or a negative errno */
int daxpin_guard_place(struct daxpin_guard *guard, const struct path *path);

/* In the worker of daxpin_guard_queue only */
void daxpin_guard_remove(struct daxpin_guard *guard);

/* Where work that removes guards is done, one after another */
extern struct workqueue_struct *daxpin_guard_queue;

int daxpin_guard_init(void);
void daxpin_guard_exit(void);

#endif
