// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* Kernel pins: pinned pages of fsdax files, and their accounting */

#include "pin.h"

#include "compat.h"
#include "lease.h"

#include <linux/capability.h>
#include <linux/dax.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#define DAXPIN_PIN_BATCH 512ul /* pages: 2 MiB, a huge page */

/* Pause between checks whether a device still uses a page */
#define DAXPIN_LINGER_MIN msecs_to_jiffies(10)
#define DAXPIN_LINGER_MAX msecs_to_jiffies(500)

struct daxpin_pin_total daxpin_pin_total;

static unsigned long limit_mib;
module_param(limit_mib, ulong, 0644);
MODULE_PARM_DESC(limit_mib, "MiB that all users together may pin; 0: no limit "
                            "but RLIMIT_MEMLOCK");

/*
 * Accounting, as for memory that an RDMA device registers
 */

static int daxpin_pin_charge(struct daxpin_pin *pin)
{
    unsigned long most  = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
    unsigned long limit = READ_ONCE(limit_mib) << (20 - PAGE_SHIFT);
    u64 pinned;

    if ((atomic_long_add_return(pin->count, &daxpin_pin_total.pages) > limit) &&
        (limit != 0)) {
        goto err;
    }
    pinned = atomic64_add_return(pin->count, &current->mm->pinned_vm);
    if ((pinned > most) && !capable(CAP_IPC_LOCK)) {
        atomic64_sub(pin->count, &current->mm->pinned_vm);
        goto err;
    }
    pin->mm = current->mm;
    mmgrab(pin->mm);
    return 0;

err:
    atomic_long_sub(pin->count, &daxpin_pin_total.pages);
    return -ENOMEM;
}

static void daxpin_pin_uncharge(struct daxpin_pin *pin)
{
    atomic_long_sub(pin->count, &daxpin_pin_total.pages);
    atomic64_sub(pin->count, &pin->mm->pinned_vm);
    mmdrop(pin->mm);
}

/*
 * Pages
 */

/* Check that the page is this file's page at this index. A pinned page keeps
 * its place in the file because the file system waits for it. */
static int daxpin_pin_check(struct daxpin_pin *pin, struct page *page,
                            pgoff_t index)
{
    if (!is_zone_device_page(page) ||
        (page->pgmap->type != MEMORY_DEVICE_FS_DAX)) {
        return -EFAULT;
    }
    if ((unsigned long)page->mapping & PAGE_MAPPING_FLAGS) {
        return -EOPNOTSUPP; /* the block is, or was, shared by reflink */
    }
    if ((page->mapping != pin->inode->i_mapping) || (page->index != index)) {
        return -EFAULT;
    }
    if (pin->pgmap == NULL) {
        pin->pgmap = get_dev_pagemap(page_to_pfn(page), NULL);
    }
    return (pin->pgmap == page->pgmap) ? 0 : -EOPNOTSUPP;
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
        pages[i] = nth_page(extent->page, first + i - extent->first);
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
    return nth_page(extent->page, begin);
}

/*
 * Life
 */

static void daxpin_pin_free(struct daxpin_pin *pin)
{
    if (pin->pgmap != NULL) {
        put_dev_pagemap(pin->pgmap);
    }
    kvfree(pin->extents);
    kfree(pin);
}

/* Return whether a page is in use by more than the file system and mappings of
 * the file. A page once seen unused is not checked again: it has no user. */
static bool daxpin_pin_is_used(struct daxpin_pin *pin)
{
    const struct daxpin_extent *extent;
    struct page *page;

    for (; pin->seen_extents < pin->num_extents; ++pin->seen_extents) {
        extent = &pin->extents[pin->seen_extents];
        for (; pin->seen_pages < extent->count; ++pin->seen_pages) {
            page = nth_page(extent->page, pin->seen_pages);
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

/* Free the pin and its anchor mapping when no device uses a page any more */
static void daxpin_pin_work(struct work_struct *work)
{
    struct daxpin_pin *pin = container_of(to_delayed_work(work),
                                          struct daxpin_pin, work);

    if ((pin->mm != NULL) && daxpin_pin_is_used(pin)) {
        pin->pause = clamp(2 * pin->pause, DAXPIN_LINGER_MIN,
                           DAXPIN_LINGER_MAX);
        queue_delayed_work(daxpin_anchor_queue, &pin->work, pin->pause);
        return;
    }
    if (pin->mm != NULL) {
        daxpin_pin_uncharge(pin);
        atomic_long_dec(&daxpin_pin_total.lingering);
    }
    daxpin_anchor_remove(&pin->anchor);
    daxpin_pin_free(pin);
}

/* End a pin whose pages are unpinned */
static void daxpin_pin_end(struct daxpin_pin *pin)
{
    if (daxpin_pin_is_used(pin)) {
        atomic_long_inc(&daxpin_pin_total.lingering);
    } else {
        daxpin_pin_uncharge(pin);
        pin->mm = NULL;
    }
    INIT_DELAYED_WORK(&pin->work, daxpin_pin_work);
    queue_delayed_work(daxpin_anchor_queue, &pin->work, 0);
}

int daxpin_pin_create(struct file *file, unsigned long addr, pgoff_t index,
                      unsigned long count, struct daxpin_pin **pin_p)
{
    struct daxpin_pin *pin;
    int ret;

    pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);
    if (pin == NULL) {
        return -ENOMEM;
    }
    pin->inode = file_inode(file);
    pin->index = index;
    pin->count = count;
    ret = daxpin_pin_charge(pin);
    if (ret != 0) {
        goto err_free;
    }
    ret = daxpin_anchor_place(&pin->anchor, &file->f_path);
    if (ret != 0) {
        goto err_uncharge;
    }
    ret = daxpin_pin_get_pages(pin, addr);
    if (ret != 0) {
        goto err_put_pages;
    }
    /* A process that came before the pages were pinned has broken the lease */
    if (!daxpin_lease_is_live(file)) {
        ret = -EPERM;
        goto err_put_pages;
    }
    atomic_long_inc(&daxpin_pin_total.pins);
    *pin_p = pin;
    return 0;

err_put_pages:
    daxpin_pin_put_pages(pin);
    daxpin_pin_end(pin);
    return ret;
err_uncharge:
    daxpin_pin_uncharge(pin);
err_free:
    daxpin_pin_free(pin);
    return ret;
}

void daxpin_pin_release(struct daxpin_pin *pin)
{
    atomic_long_dec(&daxpin_pin_total.pins);
    daxpin_pin_put_pages(pin);
    daxpin_pin_end(pin);
}
