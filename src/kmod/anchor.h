/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* The anchor mapping: a mapping of a pinned file that no process can remove */

#ifndef DAXPIN_ANCHOR_H_
#define DAXPIN_ANCHOR_H_

#include <linux/path.h>

/*
 * Truncate and hole punch search for pinned pages only if the file is mapped
 * (dax_layout_busy_page()). The anchor mapping makes a file system wait for the
 * pins of a file that no process has mapped. It has one page that cannot be
 * accessed, in an address space that belongs to this module and to no process.
 *
 * It keeps the path of the file, and not the open file description of the
 * process, because a lease must end when its description is closed.
 */
struct daxpin_anchor {
    struct path path; /* keeps the inode, and the file system mounted */
    int         id;   /* its place in the address space */
};

/* Place the anchor mapping. May sleep. Return 0 or a negative errno. */
int daxpin_anchor_place(struct daxpin_anchor *anchor, const struct path *path);

/* Remove the anchor mapping. Call only in a worker of daxpin_anchor_queue. */
void daxpin_anchor_remove(struct daxpin_anchor *anchor);

/* The ordered queue of work that places or removes anchor mappings */
extern struct workqueue_struct *daxpin_anchor_queue;

int daxpin_anchor_init(void);
void daxpin_anchor_exit(void);

#endif
