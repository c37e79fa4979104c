/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* Users: what each has pinned, and work that is done for each by itself */

#ifndef DAXPIN_USER_H_
#define DAXPIN_USER_H_

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

/*
 * A user is who has made the user namespace below the first one that a process
 * is in: so many user IDs of one namespace are one user. Without one, or if it
 * was root, the user ID counts.
 *
 * Each user has one work item for pins, and one for files that are given back,
 * which can take as long as their file system likes. So no user waits for the
 * work of another one.
 */
struct daxpin_user {
    struct hlist_node   link;
    kuid_t              uid;
    refcount_t          refs;      /* pins, anchors, work that is queued */
    atomic_long_t       num_pages;
    atomic_long_t       num_pins;
    atomic_long_t       num_files;
    spinlock_t          lock;      /* protects the lists, and is_kicked */
    bool                is_kicked; /* pin_work has yet to look at the pins */
    struct list_head    pins;
    struct list_head    anchors;   /* whose path is to be put */
    struct delayed_work pin_work;
    struct work_struct  put_work;
};

/* What can be charged to a user */
enum daxpin_charge {
    DAXPIN_CHARGE_PAGES,
    DAXPIN_CHARGE_PINS,
    DAXPIN_CHARGE_FILES
};

/* Return the user of the calling process, or NULL without memory. */
struct daxpin_user *daxpin_user_get(void);

void daxpin_user_put(struct daxpin_user *user);

/* Charge a number to a user. Return -ENOMEM, with nothing charged, if that were
 * more than the user may have, or than all users may have together. */
int daxpin_user_charge(struct daxpin_user *user, enum daxpin_charge what,
                       unsigned long count);

void daxpin_user_uncharge(struct daxpin_user *user, enum daxpin_charge what,
                          unsigned long count);

/* Return what all users have. */
long daxpin_user_total(enum daxpin_charge what);

/* What the work of a user is */
struct daxpin_user_ops {
    /* Serve the user's pins. Return the jiffies until it is to be called again;
     * MAX_SCHEDULE_TIMEOUT: not before the next kick. */
    unsigned long (*serve_pins)(struct daxpin_user *user);

    /* Put the paths of the user's anchors */
    void (*put_paths)(struct daxpin_user *user);
};

/* Have serve_pins() run for the user after a number of jiffies, or earlier.
 * Does not sleep. */
void daxpin_user_kick(struct daxpin_user *user, unsigned long delay);

/* Have put_paths() run for the user. Does not sleep. */
void daxpin_user_kick_paths(struct daxpin_user *user);

int daxpin_user_init(const struct daxpin_user_ops *ops);
void daxpin_user_exit(void);

#endif
