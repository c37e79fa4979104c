// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* Kernel pins: pinned pages of fsdax files, and their accounting */

#include "pin.h"

#include "compat.h"
#include "lease.h"

#include <linux/capability.h>
#include <linux/dax.h>
#include <linux/jiffies.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

/* How long a process waits until devices have let go */
#define DAXPIN_REVOKE_BOUND (10 * HZ)

#define DAXPIN_PIN_BATCH 512ul /* pages: 2 MiB, a huge page */

/* Pause between checks whether a device still uses a page */
#define DAXPIN_LINGER_MIN msecs_to_jiffies(10)
#define DAXPIN_LINGER_MAX msecs_to_jiffies(500)

struct daxpin_pin_total daxpin_pin_total;

/*
 * Accounting, as for memory that an RDMA device registers
 */

static int daxpin_pin_charge_process(struct daxpin_pin *pin)
{
    unsigned long most = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
    u64 pinned;

    pinned = atomic64_add_return(pin->count, &current->mm->pinned_vm);
    if ((pinned > most) && !capable(CAP_IPC_LOCK)) {
        atomic64_sub(pin->count, &current->mm->pinned_vm);
        return -ENOMEM;
    }
    pin->mm = current->mm;
    mmgrab(pin->mm);
    return 0;
}

static int daxpin_pin_charge(struct daxpin_pin *pin)
{
    int ret;

    ret = daxpin_user_charge(pin->user, DAXPIN_CHARGE_PINS, 1);
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_user_charge(pin->user, DAXPIN_CHARGE_PAGES, pin->count);
    if (ret != 0) {
        goto err_pins;
    }
    ret = daxpin_pin_charge_process(pin);
    if (ret != 0) {
        goto err_pages;
    }
    return 0;

err_pages:
    daxpin_user_uncharge(pin->user, DAXPIN_CHARGE_PAGES, pin->count);
err_pins:
    daxpin_user_uncharge(pin->user, DAXPIN_CHARGE_PINS, 1);
    return ret;
}

static void daxpin_pin_uncharge(struct daxpin_pin *pin)
{
    daxpin_user_uncharge(pin->user, DAXPIN_CHARGE_PAGES, pin->count);
    daxpin_user_uncharge(pin->user, DAXPIN_CHARGE_PINS, 1);
    atomic64_sub(pin->count, &pin->mm->pinned_vm);
    mmdrop(pin->mm);
    pin->mm = NULL;
}

/*
 * Pages
 */

/* Check that the page is this file's page at this index. A pinned page keeps
 * its place in the file because the file system waits for it. */
static int daxpin_pin_check(struct daxpin_pin *pin, struct page *page,
                            pgoff_t index)
{
    struct folio *folio = page_folio(page);

    if (!is_zone_device_page(page) ||
        (page_pgmap(page)->type != MEMORY_DEVICE_FS_DAX)) {
        return -EFAULT;
    }
    if ((folio->mapping == NULL) ||
        ((unsigned long)folio->mapping & FOLIO_MAPPING_FLAGS)) {
        return -EOPNOTSUPP; /* the block is, or was, shared by reflink */
    }
    if ((folio->mapping != pin->inode->i_mapping) ||
        (folio->index + folio_page_idx(folio, page) != index)) {
        return -EFAULT;
    }
    if (pin->pgmap == NULL) {
        pin->pgmap = daxpin_get_pagemap(page);
    }
    return (pin->pgmap == page_pgmap(page)) ? 0 : -EOPNOTSUPP;
}

static int daxpin_pin_grow(struct daxpin_pin *pin)
{
    unsigned int most = (pin->max_extents > 0) ? 2 * pin->max_extents : 4;
    struct daxpin_extent *extents;

    extents = kvmalloc_array(most, sizeof(*extents),
                             GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
    if (extents == NULL) {
        return -ENOMEM;
    }
    if (pin->num_extents > 0) {
        memcpy(extents, pin->extents, pin->num_extents * sizeof(*extents));
    }
    kvfree(pin->extents);
    pin->extents     = extents;
    pin->max_extents = most;
    return 0;
}

static int daxpin_pin_add(struct daxpin_pin *pin, struct page *page,
                          unsigned long number)
{
    struct daxpin_extent *last = NULL;
    int ret;

    ret = daxpin_pin_check(pin, page, pin->index + number);
    if (ret != 0) {
        return ret;
    }
    if (pin->num_extents > 0) {
        last = &pin->extents[pin->num_extents - 1];
        if (page_to_pfn(last->page) + last->count == page_to_pfn(page)) {
            ++last->count;
            return 0;
        }
    }
    if (pin->num_extents == pin->max_extents) {
        ret = daxpin_pin_grow(pin);
        if (ret != 0) {
            return ret;
        }
    }
    last        = &pin->extents[pin->num_extents++];
    last->first = number;
    last->count = 1;
    last->page  = page;
    return 0;
}

/* Pin up to DAXPIN_PIN_BATCH pages. FOLL_LONGTERM is not used: fsdax refuses it
 * because the pages could not be taken back. Here the owner of the lease gives
 * them back, and the anchor mapping makes other processes wait. */
static long daxpin_pin_batch(struct daxpin_pin *pin, unsigned long addr,
                             unsigned long number, struct page **pages)
{
    long got, i;
    int ret = 0;

    cond_resched();
    if (fatal_signal_pending(current)) {
        return -EINTR;
    }
    got = pin_user_pages_fast(addr + number * PAGE_SIZE,
                              min(pin->count - number, DAXPIN_PIN_BATCH),
                              FOLL_WRITE, pages);
    if (got <= 0) {
        return (got < 0) ? got : -EFAULT;
    }
    for (i = 0; (i < got) && (ret == 0); ++i) {
        ret = daxpin_pin_add(pin, pages[i], number + i);
    }
    if (ret != 0) {
        /* The pages before this one were added: they end with the pin */
        unpin_user_pages(pages + i - 1, got - i + 1);
        return ret;
    }
    return got;
}

static int daxpin_pin_get_pages(struct daxpin_pin *pin, unsigned long addr)
{
    unsigned long number;
    struct page **pages;
    long ret = 0;

    pages = kmalloc_array(DAXPIN_PIN_BATCH, sizeof(*pages), GFP_KERNEL);
    if (pages == NULL) {
        return -ENOMEM;
    }
    for (number = 0; (number < pin->count) && (ret >= 0); number += ret) {
        ret = daxpin_pin_batch(pin, addr, number, pages);
    }
    kfree(pages);
    return (ret < 0) ? ret : 0;
}

static void daxpin_pin_put_pages(struct daxpin_pin *pin)
{
    unsigned int i;

    for (i = 0; i < pin->num_extents; ++i) {
        unpin_user_page_range_dirty_lock(pin->extents[i].page,
                                         pin->extents[i].count, false);
        cond_resched();
    }
}

/* Return the extent that contains this page. */
static const struct daxpin_extent *
daxpin_pin_find(const struct daxpin_pin *pin, unsigned long number)
{
    unsigned int low = 0, high = pin->num_extents, middle;

    /* Find the last extent that does not begin after the page */
    while (high - low > 1) {
        middle = low + (high - low) / 2;
        if (pin->extents[middle].first <= number) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &pin->extents[low];
}

void daxpin_pin_pages(const struct daxpin_pin *pin, unsigned long first,
                      unsigned long count, struct page **pages)
{
    const struct daxpin_extent *extent = daxpin_pin_find(pin, first);
    unsigned long i;

    for (i = 0; i < count; ++i) {
        if (first + i - extent->first >= extent->count) {
            ++extent;
        }
        pages[i] = daxpin_page_at(extent->page, first + i - extent->first);
    }
}

struct page *daxpin_pin_range(const struct daxpin_pin *pin, unsigned long first,
                              unsigned long count)
{
    const struct daxpin_extent *extent = daxpin_pin_find(pin, first);
    unsigned long begin                = first - extent->first;

    if ((begin >= extent->count) || (count > extent->count - begin)) {
        return NULL;
    }
    return daxpin_page_at(extent->page, begin);
}

/*
 * Life
 */

/* Serve the pin after a number of jiffies. Caller holds user->lock. A break makes
 * many pins due, for which the user's work runs once. */
static void daxpin_pin_make_due(struct daxpin_pin *pin, unsigned long delay)
{
    const unsigned long due = jiffies + delay;

    if (pin->is_due && !time_before(due, pin->due)) {
        return;
    }
    pin->is_due = true;
    pin->due    = due;
    if (!pin->user->is_kicked) {
        pin->user->is_kicked = true;
        daxpin_user_kick(pin->user, 0); /* It finds out which one is next */
    }
}

static void daxpin_pin_set_due(struct daxpin_pin *pin, unsigned long delay)
{
    spin_lock(&pin->user->lock);
    daxpin_pin_make_due(pin, delay);
    spin_unlock(&pin->user->lock);
}

static void daxpin_pin_unpin(struct daxpin_pin *pin)
{
    if (atomic_xchg(&pin->taken, 1) == 0) {
        daxpin_pin_put_pages(pin);
        WRITE_ONCE(pin->is_unpinned, true);
        wake_up_all(&pin->wait);
    }
}

/* Return whether a page is in use by more than the file system and mappings of
 * the file. A page once seen unused is not checked again: it has no user. With
 * a dma-buf, the last device has unmapped it before the pin ends. */
static bool daxpin_pin_is_used(struct daxpin_pin *pin)
{
    const struct daxpin_extent *extent;
    struct page *page;

    if (!DAXPIN_HAVE_MAPPING) {
        return false;
    }
    for (; pin->seen_extents < pin->num_extents; ++pin->seen_extents) {
        extent = &pin->extents[pin->seen_extents];
        for (; pin->seen_pages < extent->count; ++pin->seen_pages) {
            page = daxpin_page_at(extent->page, pin->seen_pages);
            if ((page_ref_count(page) > 1) &&
                (READ_ONCE(page->mapping) == pin->inode->i_mapping)) {
                return true;
            }
        }
        pin->seen_pages = 0;
        cond_resched();
    }
    return false;
}

/* Free a pin that the user's work does not know */
static void daxpin_pin_free(struct daxpin_pin *pin)
{
    daxpin_watch_stop(&pin->watch);
    if (pin->anchor != NULL) {
        daxpin_anchor_put(pin->anchor);
    }
    if (pin->mm != NULL) {
        daxpin_pin_uncharge(pin);
    }
    if (pin->pgmap != NULL) {
        put_dev_pagemap(pin->pgmap);
    }
    daxpin_dmabuf_destroy(&pin->dmabuf);
    daxpin_user_put(pin->user);
    kvfree(pin->extents);
    kfree(pin);
}

static void daxpin_pin_forget(struct daxpin_pin *pin)
{
    struct daxpin_user *user = pin->user;

    spin_lock(&user->lock);
    list_del(&pin->link);
    spin_unlock(&user->lock);
    if (pin->mm != NULL) {
        atomic_long_dec(&daxpin_pin_total.lingering);
    }
    daxpin_pin_free(pin);
}

/* Check again after a pause, which grows */
static void daxpin_pin_defer(struct daxpin_pin *pin)
{
    pin->pause = clamp(2 * pin->pause, DAXPIN_LINGER_MIN, DAXPIN_LINGER_MAX);
    daxpin_pin_set_due(pin, pin->pause);
}

/* Return whether the owner wants the pages back by now. If it will later, have
 * the pin served then. */
static bool daxpin_pin_is_wanted(struct daxpin_pin *pin)
{
    bool is_wanted;

    spin_lock(&pin->user->lock);
    is_wanted = pin->is_wanted && time_after_eq(jiffies, pin->wanted);
    if (pin->is_wanted && !is_wanted) {
        daxpin_pin_make_due(pin, pin->wanted - jiffies);
    }
    spin_unlock(&pin->user->lock);
    return is_wanted;
}

/* Return whether the pages are to be taken back. An owner who has given the
 * lease up in time goes on without it, and has lent the file. If the owner has
 * set a time, that counts, and no lease any more. */
static bool daxpin_pin_must_revoke(struct daxpin_pin *pin)
{
    return daxpin_dmabuf_is_revoked(&pin->dmabuf) ||
           daxpin_pin_is_wanted(pin) ||
           (!READ_ONCE(pin->is_wanted) && daxpin_watch_is_broken(&pin->watch));
}

static void daxpin_pin_serve_one(struct daxpin_pin *pin)
{
    if (smp_load_acquire(&pin->has_ended)) {
        if ((pin->mm == NULL) || !daxpin_pin_is_used(pin)) {
            daxpin_pin_forget(pin);
            return;
        }
    } else if (!daxpin_pin_must_revoke(pin)) {
        return;
    } else if (daxpin_dmabuf_revoke(&pin->dmabuf)) {
        daxpin_pin_unpin(pin);
        return;
    }
    daxpin_pin_defer(pin);
}

/* Return a pin that is due. Set *delay_p to when another one is, if none. */
static struct daxpin_pin *daxpin_pin_next(struct daxpin_user *user,
                                          unsigned long *delay_p)
{
    unsigned long now = jiffies;
    struct daxpin_pin *pin;

    *delay_p = MAX_SCHEDULE_TIMEOUT;
    spin_lock(&user->lock);
    user->is_kicked = false;
    list_for_each_entry(pin, &user->pins, link)
    {
        if (pin->is_due && time_after_eq(now, pin->due)) {
            pin->is_due = false;
            list_move_tail(&pin->link, &user->pins); /* All have their turn */
            goto out;
        }
        if (pin->is_due) {
            *delay_p = min(*delay_p, pin->due - now);
        }
    }
    pin = NULL;
out:
    spin_unlock(&user->lock);
    return pin;
}

unsigned long daxpin_pin_serve(struct daxpin_user *user)
{
    struct daxpin_pin *pin;
    unsigned long delay;

    while ((pin = daxpin_pin_next(user, &delay)) != NULL) {
        daxpin_pin_serve_one(pin);
        cond_resched();
    }
    return delay;
}

/* Runs in the process that breaks the lease. The grace was set when the lease had
 * another time, perhaps: the pin is served before that is over. */
static void daxpin_pin_on_break(struct daxpin_watch *watch, unsigned long left)
{
    struct daxpin_pin *pin = container_of(watch, struct daxpin_pin, watch);

    spin_lock(&pin->user->lock);
    if (pin->is_exported) {
        daxpin_pin_make_due(pin, min(pin->grace, left / 2));
    }
    spin_unlock(&pin->user->lock);
}

/* End a pin whose pages are unpinned. The user's work frees it. */
static void daxpin_pin_end(struct daxpin_pin *pin)
{
    if (daxpin_pin_is_used(pin)) {
        atomic_long_inc(&daxpin_pin_total.lingering);
    } else {
        daxpin_pin_uncharge(pin);
    }
    spin_lock(&pin->user->lock);
    smp_store_release(&pin->has_ended, true);
    daxpin_pin_make_due(pin, 0);
    spin_unlock(&pin->user->lock);
}

static void daxpin_pin_put(struct daxpin_pin *pin)
{
    if (refcount_dec_and_test(&pin->refs)) {
        daxpin_pin_unpin(pin);
        daxpin_pin_end(pin);
    }
}

static void daxpin_pin_on_unused(struct daxpin_dmabuf *dmabuf)
{
    daxpin_pin_set_due(container_of(dmabuf, struct daxpin_pin, dmabuf), 0);
}

static void daxpin_pin_on_release(struct daxpin_dmabuf *dmabuf)
{
    daxpin_pin_put(container_of(dmabuf, struct daxpin_pin, dmabuf));
}

/* Return a pin that has pages, or will have some, and no anchor. */
static struct daxpin_pin *daxpin_pin_new(struct file *file, pgoff_t index,
                                         unsigned long count)
{
    struct daxpin_pin *pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);

    if (pin == NULL) {
        return NULL;
    }
    pin->user = daxpin_user_get();
    if (pin->user == NULL) {
        kfree(pin);
        return NULL;
    }
    pin->inode = file_inode(file);
    pin->index = index;
    pin->count = count;
    refcount_set(&pin->refs, 1);
    init_waitqueue_head(&pin->wait);
    pin->dmabuf.count      = count;
    pin->dmabuf.on_unused  = daxpin_pin_on_unused;
    pin->dmabuf.on_release = daxpin_pin_on_release;
    daxpin_dmabuf_init(&pin->dmabuf);
    daxpin_watch_init(&pin->watch, daxpin_pin_on_break);
    return pin;
}

static int daxpin_pin_fill(struct daxpin_pin *pin, struct file *file,
                           unsigned long addr)
{
    int ret;

    daxpin_watch_start(&pin->watch, pin->inode);
    ret = daxpin_pin_get_pages(pin, addr);
    if (ret != 0) {
        return ret;
    }
    /* A process that came before the pages were pinned has broken the lease */
    return daxpin_lease_is_live(file) ? 0 : -EPERM;
}

int daxpin_pin_create(struct file *file, unsigned long addr, pgoff_t index,
                      unsigned long count, struct daxpin_pin **pin_p)
{
    struct daxpin_pin *pin = daxpin_pin_new(file, index, count);
    int ret;

    if (pin == NULL) {
        return -ENOMEM;
    }
    ret = daxpin_pin_charge(pin);
    if (ret != 0) {
        goto err_free;
    }
    pin->anchor = daxpin_anchor_get(&file->f_path, pin->user);
    if (IS_ERR(pin->anchor)) {
        ret         = PTR_ERR(pin->anchor);
        pin->anchor = NULL;
        goto err_free;
    }
    spin_lock(&pin->user->lock);
    list_add_tail(&pin->link, &pin->user->pins);
    spin_unlock(&pin->user->lock);
    atomic_long_inc(&daxpin_pin_total.pins);
    ret = daxpin_pin_fill(pin, file, addr);
    if (ret != 0) {
        daxpin_pin_release(pin);
        return ret;
    }
    *pin_p = pin;
    return 0;

err_free:
    daxpin_pin_free(pin);
    return ret;
}

void daxpin_pin_release(struct daxpin_pin *pin)
{
    atomic_long_dec(&daxpin_pin_total.pins);
    daxpin_pin_put(pin);
}

int daxpin_pin_export(struct daxpin_pin *pin, unsigned long grace)
{
    pin->dmabuf.extents     = pin->extents;
    pin->dmabuf.num_extents = pin->num_extents;
    spin_lock(&pin->user->lock);
    pin->is_exported = true;
    pin->grace       = grace;
    spin_unlock(&pin->user->lock);
    /* Who breaks the lease later finds is_exported */
    if (daxpin_lease_is_breaking(pin->inode)) {
        return -EPERM;
    }
    refcount_inc(&pin->refs);
    return daxpin_dmabuf_export(&pin->dmabuf);
}

void daxpin_pin_revoke(struct daxpin_pin *pin, unsigned long delay)
{
    const unsigned long wanted = jiffies + delay;

    spin_lock(&pin->user->lock);
    if (!pin->is_wanted || time_before(wanted, pin->wanted)) {
        WRITE_ONCE(pin->is_wanted, true);
        pin->wanted = wanted;
        daxpin_pin_make_due(pin, delay);
    }
    spin_unlock(&pin->user->lock);
}

int daxpin_pin_wait(struct daxpin_pin *pin)
{
    long ret;

    ret = wait_event_interruptible_timeout(pin->wait,
                                           READ_ONCE(pin->is_unpinned),
                                           DAXPIN_REVOKE_BOUND);
    if (ret < 0) {
        return -EINTR;
    }
    return (ret > 0) ? 0 : -ETIMEDOUT;
}
