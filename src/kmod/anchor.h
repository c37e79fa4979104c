/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* The anchor mapping: a mapping of a pinned file that no process can remove */

#ifndef DAXPIN_ANCHOR_H_
#define DAXPIN_ANCHOR_H_

#include <linux/list.h>
#include <linux/path.h>
#include <linux/workqueue.h>

struct daxpin_user;

/*
 * Truncate and hole punch search for pinned pages only if the file is mapped
 * (dax_layout_busy_page()). The anchor mapping makes a file system wait for the
 * pins of a file that no process has mapped. It has one page that cannot be
 * accessed, in an address space that belongs to this module and to no process.
 *
 * It keeps the path of the file, and not the open file description of the
 * process, because a lease must end when its description is closed.
 *
 * All pins of a file share its anchor. It counts for the user who made it.
 */
struct daxpin_anchor {
    struct hlist_node  link;
    struct list_head   put_link; /* of the user's anchors */
    struct path        path;     /* keeps the inode, and its file system
                                    mounted */
    struct inode       *inode;
    struct daxpin_user *user;
    unsigned long      pins;
    int                id;       /* its place in the address space */
    int                ret;      /* of placing it; > 0: not placed yet */
    bool               is_queued;
    struct work_struct work;
};

/* Return the anchor of the file, which is placed if it has none. A signal that
 * kills the process ends the wait. May sleep. Return an ERR_PTR() on failure. */
struct daxpin_anchor *daxpin_anchor_get(const struct path *path,
                                        struct daxpin_user *user);

/* Drop a pin's reference to the anchor, the last one of which removes it. Does
 * not sleep. */
void daxpin_anchor_put(struct daxpin_anchor *anchor);

/* Put the paths of the user's anchors that are removed. A file system may take
 * its time for it. */
void daxpin_anchor_put_paths(struct daxpin_user *user);

int daxpin_anchor_init(void);
void daxpin_anchor_exit(void);

#endif
