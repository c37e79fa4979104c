// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* Users: what each has pinned, and work that is done for each by itself */

#include "user.h"

#include "compat.h"

#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#define DAXPIN_USER_BITS 8

/* Files that are pinned at a time have a mapping each in one address space,
 * which takes 65530 of them */
#define DAXPIN_USER_ALL_FILES 65000ul

static DEFINE_HASHTABLE(daxpin_users, DAXPIN_USER_BITS);
static DEFINE_SPINLOCK(daxpin_user_lock);
static struct workqueue_struct *daxpin_user_queue;
static const struct daxpin_user_ops *daxpin_user_ops;

/* What all users have, and all but root */
static atomic_long_t daxpin_user_all[DAXPIN_CHARGE_FILES + 1];
static atomic_long_t daxpin_user_others[DAXPIN_CHARGE_FILES + 1];

static unsigned long limit_mib;
module_param(limit_mib, ulong, 0644);
MODULE_PARM_DESC(limit_mib, "MiB that all users together may pin, of which "
                            "a quarter is for root; 0: no limit but "
                            "RLIMIT_MEMLOCK");

static unsigned long limit_user_mib;
module_param(limit_user_mib, ulong, 0644);
MODULE_PARM_DESC(limit_user_mib, "MiB that one user but root may pin; 0: half "
                                 "of limit_mib");

static unsigned long limit_user_pins = 16384;
module_param(limit_user_pins, ulong, 0644);
MODULE_PARM_DESC(limit_user_pins, "ranges that one user but root may pin");

static unsigned long limit_user_files = 4096;
module_param(limit_user_files, ulong, 0644);
MODULE_PARM_DESC(limit_user_files, "files of which one user but root may pin "
                                   "ranges");

/*
 * Who it is
 */

static kuid_t daxpin_user_current_uid(void)
{
    const struct cred *cred         = current_cred();
    const struct user_namespace *ns = cred->user_ns;

    while (ns->level > 1) {
        ns = ns->parent;
    }
    return ((ns->level == 1) && !uid_eq(ns->owner, GLOBAL_ROOT_UID)) ?
                   ns->owner :
                   cred->euid;
}

static bool daxpin_user_is_root(const struct daxpin_user *user)
{
    return uid_eq(user->uid, GLOBAL_ROOT_UID);
}

static void daxpin_user_pin_work(struct work_struct *work)
{
    struct daxpin_user *user = container_of(to_delayed_work(work),
                                            struct daxpin_user, pin_work);
    unsigned long delay;

    delay = daxpin_user_ops->serve_pins(user);
    if (delay != MAX_SCHEDULE_TIMEOUT) {
        daxpin_user_kick(user, delay);
    }
    daxpin_user_put(user);
}

static void daxpin_user_put_work(struct work_struct *work)
{
    struct daxpin_user *user = container_of(work, struct daxpin_user, put_work);

    daxpin_user_ops->put_paths(user);
    daxpin_user_put(user);
}

static struct daxpin_user *daxpin_user_new(kuid_t uid)
{
    struct daxpin_user *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);

    if (user != NULL) {
        user->uid = uid;
        refcount_set(&user->refs, 1);
        spin_lock_init(&user->lock);
        INIT_LIST_HEAD(&user->pins);
        INIT_LIST_HEAD(&user->anchors);
        INIT_DELAYED_WORK(&user->pin_work, daxpin_user_pin_work);
        INIT_WORK(&user->put_work, daxpin_user_put_work);
    }
    return user;
}

/* Return the user with this user ID, or `fresh`, which is added then. Caller
 * holds daxpin_user_lock. */
static struct daxpin_user *daxpin_user_find(kuid_t uid,
                                            struct daxpin_user *fresh)
{
    struct daxpin_user *user;

    hash_for_each_possible(daxpin_users, user, link, __kuid_val(uid))
    {
        if (uid_eq(user->uid, uid)) {
            refcount_inc(&user->refs);
            return user;
        }
    }
    if (fresh != NULL) {
        hash_add(daxpin_users, &fresh->link, __kuid_val(uid));
    }
    return fresh;
}

struct daxpin_user *daxpin_user_get(void)
{
    const kuid_t uid = daxpin_user_current_uid();
    struct daxpin_user *user, *fresh;

    spin_lock(&daxpin_user_lock);
    user = daxpin_user_find(uid, NULL);
    spin_unlock(&daxpin_user_lock);
    if (user != NULL) {
        return user;
    }
    fresh = daxpin_user_new(uid);
    spin_lock(&daxpin_user_lock);
    user = daxpin_user_find(uid, fresh);
    spin_unlock(&daxpin_user_lock);
    if (user != fresh) {
        kfree(fresh);
    }
    return user;
}

void daxpin_user_put(struct daxpin_user *user)
{
    if (refcount_dec_and_lock(&user->refs, &daxpin_user_lock)) {
        hash_del(&user->link);
        spin_unlock(&daxpin_user_lock);
        kfree(user);
    }
}

/*
 * Limits
 */

static atomic_long_t *daxpin_user_count(struct daxpin_user *user,
                                        enum daxpin_charge what)
{
    switch (what) {
    case DAXPIN_CHARGE_PAGES:
        return &user->num_pages;
    case DAXPIN_CHARGE_PINS:
        return &user->num_pins;
    default:
        return &user->num_files;
    }
}

/* Return how much all users may have together. */
static unsigned long daxpin_user_most_all(enum daxpin_charge what)
{
    unsigned long mib = READ_ONCE(limit_mib);

    switch (what) {
    case DAXPIN_CHARGE_PAGES:
        return (mib > 0) ? mib << (20 - PAGE_SHIFT) : LONG_MAX;
    case DAXPIN_CHARGE_PINS:
        return LONG_MAX;
    default:
        return DAXPIN_USER_ALL_FILES;
    }
}

/* Return how much one user but root may have. */
static unsigned long daxpin_user_most(enum daxpin_charge what)
{
    unsigned long mib = READ_ONCE(limit_user_mib);

    switch (what) {
    case DAXPIN_CHARGE_PAGES:
        return (mib > 0) ? mib << (20 - PAGE_SHIFT) :
                           daxpin_user_most_all(what) / 2;
    case DAXPIN_CHARGE_PINS:
        return READ_ONCE(limit_user_pins);
    default:
        return READ_ONCE(limit_user_files);
    }
}

int daxpin_user_charge(struct daxpin_user *user, enum daxpin_charge what,
                       unsigned long count)
{
    unsigned long all = daxpin_user_most_all(what), mine, total, others = 0;

    mine  = atomic_long_add_return(count, daxpin_user_count(user, what));
    total = atomic_long_add_return(count, &daxpin_user_all[what]);
    if (!daxpin_user_is_root(user)) {
        others = atomic_long_add_return(count, &daxpin_user_others[what]);
    }
    if ((total > all) || (others > all - all / 4) ||
        (!daxpin_user_is_root(user) && (mine > daxpin_user_most(what)))) {
        daxpin_user_uncharge(user, what, count);
        return -ENOMEM;
    }
    return 0;
}

void daxpin_user_uncharge(struct daxpin_user *user, enum daxpin_charge what,
                          unsigned long count)
{
    if (!daxpin_user_is_root(user)) {
        atomic_long_sub(count, &daxpin_user_others[what]);
    }
    atomic_long_sub(count, &daxpin_user_all[what]);
    atomic_long_sub(count, daxpin_user_count(user, what));
}

long daxpin_user_total(enum daxpin_charge what)
{
    return atomic_long_read(&daxpin_user_all[what]);
}

/*
 * Work. Each item that is queued has a reference.
 */

void daxpin_user_kick(struct daxpin_user *user, unsigned long delay)
{
    bool queued;

    refcount_inc(&user->refs);
    queued = (delay == 0) ?
             !mod_delayed_work(daxpin_user_queue, &user->pin_work, 0) :
             queue_delayed_work(daxpin_user_queue, &user->pin_work, delay);
    if (!queued) {
        daxpin_user_put(user); /* The item that was queued has one */
    }
}

void daxpin_user_kick_paths(struct daxpin_user *user)
{
    refcount_inc(&user->refs);
    if (!queue_work(daxpin_user_queue, &user->put_work)) {
        daxpin_user_put(user);
    }
}

int daxpin_user_init(const struct daxpin_user_ops *ops)
{
    daxpin_user_ops   = ops;
    daxpin_user_queue = alloc_workqueue("daxpin_user", WQ_UNBOUND, 0);
    return (daxpin_user_queue != NULL) ? 0 : -ENOMEM;
}

void daxpin_user_exit(void)
{
    struct daxpin_user *user;
    struct hlist_node *next;
    int i;

    /* While each user has a reference, none of them goes, and none comes any
     * more: so what drops the last reference, and takes the lock, can be called
     * without the lock */
    spin_lock(&daxpin_user_lock);
    hash_for_each(daxpin_users, i, user, link)
    {
        refcount_inc(&user->refs);
    }
    spin_unlock(&daxpin_user_lock);

    /* Without a pin or an anchor, work that is still to come does nothing: have
     * it over, so that no timer is left */
    hash_for_each_safe(daxpin_users, i, next, user, link)
    {
        daxpin_user_kick(user, 0);
        daxpin_user_put(user);
    }
    destroy_workqueue(daxpin_user_queue);
}
