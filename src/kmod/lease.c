// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* The lease that a pin needs, and the notice of its break */

#define pr_fmt(_format) KBUILD_MODNAME ": " _format

#include "lease.h"

#include "compat.h"

#include <linux/hashtable.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>

#define DAXPIN_WATCH_BITS 8

static DEFINE_HASHTABLE(daxpin_watches, DAXPIN_WATCH_BITS);
static DEFINE_SPINLOCK(daxpin_watch_lock);

/* The kernel notifies only the owner of a lease. It has tracepoints where a
 * process that breaks a lease has to wait, or fails with EWOULDBLOCK. */
static const char *const daxpin_break_names[] = {"break_lease_block",
                                                 "break_lease_noblock"};
static struct tracepoint *daxpin_break_points[ARRAY_SIZE(daxpin_break_names)];

#define DAXPIN_LEASE_BROKEN (FL_UNLOCK_PENDING | FL_DOWNGRADE_PENDING)

bool daxpin_lease_is_live(struct file *file)
{
    struct file_lock_context *context = locks_inode_context(file_inode(file));
    DAXPIN_LEASE_TYPE *lease;
    bool live = false;

    if (context == NULL) {
        return false;
    }
    spin_lock(&context->flc_lock);
    list_for_each_entry(lease, &context->flc_lease, DAXPIN_LEASE_LINK)
    {
        live |= (daxpin_lease_file(lease) == file) &&
                (daxpin_lease_type(lease) == F_WRLCK) &&
                (daxpin_lease_flags(lease) & FL_LEASE) &&
                !(daxpin_lease_flags(lease) & DAXPIN_LEASE_BROKEN);
    }
    spin_unlock(&context->flc_lock);
    return live;
}

bool daxpin_lease_is_breaking(struct inode *inode)
{
    struct file_lock_context *context = locks_inode_context(inode);
    DAXPIN_LEASE_TYPE *lease;
    bool breaking = false;

    if (context == NULL) {
        return false;
    }
    spin_lock(&context->flc_lock);
    list_for_each_entry(lease, &context->flc_lease, DAXPIN_LEASE_LINK)
    {
        breaking |= (daxpin_lease_flags(lease) & FL_LEASE) &&
                    (daxpin_lease_flags(lease) & DAXPIN_LEASE_BROKEN);
    }
    spin_unlock(&context->flc_lock);
    return breaking;
}

/* Runs in the process that breaks the lease. It holds flc_lock. */
static void daxpin_watch_on_break(void *data, struct inode *inode, void *lease)
{
    struct daxpin_watch *watch;

    spin_lock(&daxpin_watch_lock);
    hash_for_each_possible(daxpin_watches, watch, link, (unsigned long)inode)
    {
        if (watch->inode == inode) {
            ++watch->breaks;
            wake_up_poll(&watch->wait, EPOLLIN | EPOLLRDNORM);
            if (watch->on_break != NULL) {
                watch->on_break(watch);
            }
        }
    }
    spin_unlock(&daxpin_watch_lock);
}

void daxpin_watch_init(struct daxpin_watch *watch,
                       void (*on_break)(struct daxpin_watch *watch))
{
    watch->inode    = NULL;
    watch->breaks   = 0;
    watch->on_break = on_break;
    init_waitqueue_head(&watch->wait);
}

void daxpin_watch_start(struct daxpin_watch *watch, struct inode *inode)
{
    spin_lock(&daxpin_watch_lock);
    watch->inode = inode;
    hash_add(daxpin_watches, &watch->link, (unsigned long)inode);
    spin_unlock(&daxpin_watch_lock);
}

void daxpin_watch_stop(struct daxpin_watch *watch)
{
    spin_lock(&daxpin_watch_lock);
    if (watch->inode != NULL) {
        hash_del(&watch->link);
        watch->inode  = NULL;
        watch->breaks = 0;
    }
    spin_unlock(&daxpin_watch_lock);
}

u64 daxpin_watch_take(struct daxpin_watch *watch)
{
    u64 breaks;

    spin_lock(&daxpin_watch_lock);
    breaks        = watch->breaks;
    watch->breaks = 0;
    spin_unlock(&daxpin_watch_lock);
    return breaks;
}

static void daxpin_lease_find_point(struct tracepoint *point, void *data)
{
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(daxpin_break_names); ++i) {
        if (strcmp(point->name, daxpin_break_names[i]) == 0) {
            daxpin_break_points[i] = point;
        }
    }
}

int daxpin_lease_init(void)
{
    unsigned int i;
    int ret;

    for_each_kernel_tracepoint(daxpin_lease_find_point, NULL);
    for (i = 0; i < ARRAY_SIZE(daxpin_break_points); ++i) {
        if (daxpin_break_points[i] == NULL) {
            pr_notice("cannot find the tracepoint %s in this kernel: the "
                      "device does not report broken leases\n",
                      daxpin_break_names[i]);
            continue;
        }
        ret = tracepoint_probe_register(daxpin_break_points[i],
                                        daxpin_watch_on_break, NULL);
        if (ret != 0) {
            daxpin_break_points[i] = NULL;
            daxpin_lease_exit();
            return ret;
        }
    }
    return 0;
}

void daxpin_lease_exit(void)
{
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(daxpin_break_points); ++i) {
        if (daxpin_break_points[i] != NULL) {
            tracepoint_probe_unregister(daxpin_break_points[i],
                                        daxpin_watch_on_break, NULL);
        }
    }
    tracepoint_synchronize_unregister();
}
