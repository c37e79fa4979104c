// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* The lease that a pin needs, and the notice of its break */

#define pr_fmt(_format) KBUILD_MODNAME ": " _format

#include "lease.h"

#include "compat.h"

#include <linux/hashtable.h>
#include <linux/jiffies.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include <trace/events/filelock.h>

#define DAXPIN_WATCH_BITS 8

#define DAXPIN_LEASE_BROKEN (FL_UNLOCK_PENDING | FL_DOWNGRADE_PENDING)

/* The first watch of each file. The others of the file are in its ring: so who
 * breaks a lease that was told of does not look at all of them. */
static DEFINE_HASHTABLE(daxpin_watches, DAXPIN_WATCH_BITS);
static DEFINE_SPINLOCK(daxpin_watch_lock);

/* Whether the kernel has all tracepoints of daxpin_probes */
static bool daxpin_lease_has_points;

/*
 * Leases
 */

struct daxpin_lease_state {
    bool          has_lease;
    unsigned int  broken;  /* flags of those that are being broken */
    unsigned long expires; /* when the kernel takes one of them; 0: never */
};

/* Caller holds flc_lock. */
static struct daxpin_lease_state
daxpin_lease_look(const struct file_lock_context *context)
{
    struct daxpin_lease_state state = { 0 };
    const DAXPIN_LEASE_TYPE *lease;
    unsigned long expires;
    unsigned int flags;

    list_for_each_entry(lease, &context->flc_lease, DAXPIN_LEASE_LINK)
    {
        flags = daxpin_lease_flags(lease);
        if (!(flags & FL_LEASE)) {
            continue;
        }
        state.has_lease = true;
        if (flags & DAXPIN_LEASE_BROKEN) {
            state.broken |= flags & DAXPIN_LEASE_BROKEN;
            expires       = (flags & FL_UNLOCK_PENDING) ?
                            lease->fl_break_time : lease->fl_downgrade_time;
            if ((state.expires == 0) ||
                ((expires != 0) && time_before(expires, state.expires))) {
                state.expires = expires;
            }
        }
    }
    return state;
}

static struct daxpin_lease_state daxpin_lease_get(struct inode *inode)
{
    struct file_lock_context *context = locks_inode_context(inode);
    struct daxpin_lease_state state   = { 0 };

    if (context != NULL) {
        spin_lock(&context->flc_lock);
        state = daxpin_lease_look(context);
        spin_unlock(&context->flc_lock);
    }
    return state;
}

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
    return daxpin_lease_get(inode).broken != 0;
}

/*
 * Watches
 */

/* Return the first watch of the file, or NULL. Caller holds daxpin_watch_lock. */
static struct daxpin_watch *daxpin_watch_first(const struct inode *inode)
{
    struct daxpin_watch *watch;

    hash_for_each_possible(daxpin_watches, watch, link, (unsigned long)inode)
    {
        if (watch->inode == inode) {
            return watch;
        }
    }
    return NULL;
}

/* Caller holds daxpin_watch_lock. */
static void daxpin_watch_tell(struct daxpin_watch *first)
{
    const unsigned long now = jiffies;
    struct daxpin_watch *watch = first;
    unsigned long left         = ULONG_MAX;

    if (first->expires != 0) {
        left = time_after(first->expires, now) ? first->expires - now : 0;
    }
    do {
        ++watch->breaks;
        wake_up_poll(&watch->wait, EPOLLIN | EPOLLRDNORM);
        if (watch->on_break != NULL) {
            watch->on_break(watch, left);
        }
        watch = list_next_entry(watch, ring);
    } while (watch != first);
}

/* Runs in the process that breaks the lease. It holds flc_lock. While it waits for
 * the owner of the lease to let a reader in, it comes again at each jiffy. */
static void daxpin_watch_on_break(void *data, struct inode *inode,
                                  DAXPIN_LEASE_TYPE *lease)
{
    const struct daxpin_lease_state state =
            daxpin_lease_look(locks_inode_context(inode));
    struct daxpin_watch *first;

    spin_lock(&daxpin_watch_lock);
    first = daxpin_watch_first(inode);
    if ((first != NULL) && (state.broken & ~first->told)) {
        first->told    = daxpin_lease_has_points ? state.broken : 0;
        first->expires = state.expires;
        daxpin_watch_tell(first);
    }
    spin_unlock(&daxpin_watch_lock);
}

/* Runs in a process that is about to set a lease, and may fail to. A break of the
 * lease is another one than those before. */
static void daxpin_watch_on_add(void *data, struct inode *inode,
                                DAXPIN_LEASE_TYPE *lease)
{
    struct daxpin_watch *first;

    spin_lock(&daxpin_watch_lock);
    first = daxpin_watch_first(inode);
    if (first != NULL) {
        first->told = 0;
    }
    spin_unlock(&daxpin_watch_lock);
}

/* Runs in a process that gives its lease back; NULL: it has none. */
static void daxpin_watch_on_delete(void *data, struct inode *inode,
                                   DAXPIN_LEASE_TYPE *lease)
{
    struct daxpin_watch *first;

    if ((lease == NULL) || !(daxpin_lease_flags(lease) & FL_LEASE)) {
        return;
    }
    spin_lock(&daxpin_watch_lock);
    first = daxpin_watch_first(inode);
    if (first != NULL) {
        first->told    = 0;
        first->expires = 0;
    }
    spin_unlock(&daxpin_watch_lock);
}

void daxpin_watch_init(struct daxpin_watch *watch,
                       void (*on_break)(struct daxpin_watch *watch,
                                        unsigned long left))
{
    INIT_HLIST_NODE(&watch->link);
    INIT_LIST_HEAD(&watch->ring);
    watch->inode    = NULL;
    watch->breaks   = 0;
    watch->on_break = on_break;
    watch->told     = 0;
    watch->expires  = 0;
    init_waitqueue_head(&watch->wait);
}

void daxpin_watch_start(struct daxpin_watch *watch, struct inode *inode)
{
    struct daxpin_watch *first;

    spin_lock(&daxpin_watch_lock);
    first        = daxpin_watch_first(inode);
    watch->inode = inode;
    if (first != NULL) {
        list_add_tail(&watch->ring, &first->ring);
    } else {
        watch->told    = 0;
        watch->expires = 0;
        hash_add(daxpin_watches, &watch->link, (unsigned long)inode);
    }
    spin_unlock(&daxpin_watch_lock);
}

/* Have another watch of the file, if there is one, be the first. Caller holds
 * daxpin_watch_lock. */
static void daxpin_watch_hand_over(struct daxpin_watch *first)
{
    struct daxpin_watch *next = list_next_entry(first, ring);

    hash_del(&first->link);
    if (next != first) {
        next->told    = first->told;
        next->expires = first->expires;
        hash_add(daxpin_watches, &next->link, (unsigned long)next->inode);
    }
}

void daxpin_watch_stop(struct daxpin_watch *watch)
{
    spin_lock(&daxpin_watch_lock);
    if (watch->inode != NULL) {
        if (hash_hashed(&watch->link)) {
            daxpin_watch_hand_over(watch);
        }
        list_del_init(&watch->ring);
        watch->inode  = NULL;
        watch->breaks = 0;
    }
    spin_unlock(&daxpin_watch_lock);
}

bool daxpin_watch_is_broken(const struct daxpin_watch *watch)
{
    const struct daxpin_lease_state state = daxpin_lease_get(watch->inode);
    unsigned long expires;

    if (state.has_lease) {
        return state.broken != 0;
    }
    spin_lock(&daxpin_watch_lock);
    expires = daxpin_watch_first(watch->inode)->expires;
    spin_unlock(&daxpin_watch_lock);
    return (expires != 0) && time_after(jiffies, expires);
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

/*
 * Tracepoints. The kernel notifies only the owner of a lease.
 */

static struct daxpin_probe {
    const char        *name;
    void              *function;
    struct tracepoint *point;
} daxpin_probes[] = {
    /* Where a process that breaks a lease has to wait, or fails with
     * EWOULDBLOCK */
    {"break_lease_block", daxpin_watch_on_break},
    {"break_lease_noblock", daxpin_watch_on_break},
    {"generic_add_lease", daxpin_watch_on_add},
    {"generic_delete_lease", daxpin_watch_on_delete}
};

static void daxpin_lease_find_point(struct tracepoint *point, void *data)
{
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(daxpin_probes); ++i) {
        if (strcmp(point->name, daxpin_probes[i].name) == 0) {
            daxpin_probes[i].point = point;
        }
    }
}

int daxpin_lease_init(void)
{
    struct daxpin_probe *probe;
    unsigned int i;
    int ret;

    /* They are found by name: have the compiler compare their arguments */
    check_trace_callback_type_break_lease_block(daxpin_watch_on_break);
    check_trace_callback_type_generic_add_lease(daxpin_watch_on_add);
    check_trace_callback_type_generic_delete_lease(daxpin_watch_on_delete);

    for_each_kernel_tracepoint(daxpin_lease_find_point, NULL);
    daxpin_lease_has_points = true;
    for (i = 0; i < ARRAY_SIZE(daxpin_probes); ++i) {
        probe = &daxpin_probes[i];
        if (probe->point == NULL) {
            pr_notice("cannot find the tracepoint %s in this kernel: the "
                      "device reports broken leases not at all, or too often\n",
                      probe->name);
            daxpin_lease_has_points = false;
            continue;
        }
        ret = tracepoint_probe_register(probe->point, probe->function, NULL);
        if (ret != 0) {
            for (; i < ARRAY_SIZE(daxpin_probes); ++i) {
                daxpin_probes[i].point = NULL;
            }
            daxpin_lease_exit();
            return ret;
        }
    }
    return 0;
}

void daxpin_lease_exit(void)
{
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(daxpin_probes); ++i) {
        if (daxpin_probes[i].point != NULL) {
            tracepoint_probe_unregister(daxpin_probes[i].point,
                                        daxpin_probes[i].function, NULL);
        }
    }
    tracepoint_synchronize_unregister();
}
