// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/*
 * For the tests only: a device that imports dma-bufs and writes to them without
 * a pause, as a NIC does whose peers write. It checks at each page that the
 * page is still pinned. A real device does its accesses by itself; this one has
 * a kernel thread for them, which takes the addresses that the exporter gave.
 */

#include "importer.h"

#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

MODULE_IMPORT_NS("DMA_BUF");

struct importer {
    struct mutex              lock;   /* of start and end */
    struct mutex              engine; /* held during the transfer of a page */
    enum importer_mode        mode;
    struct dma_buf            *dma_buf;
    struct dma_buf_attachment *attachment;
    struct sg_table           *table; /* protected by the reservation */
    struct dma_fence          *fence; /* of all transfers */
    struct task_struct        *thread;
    struct work_struct        work;
    bool                      is_stopped; /* protected by engine */
    bool                      is_told;
    bool                      is_pinned;
    struct page               **pages;    /* by their addresses */
    unsigned long             num_pages;
    unsigned long             transfers;
    unsigned long             late;
};

static struct platform_device *importer_device;
static DEFINE_SPINLOCK(importer_fence_lock);

static const char *importer_fence_name(struct dma_fence *fence)
{
    return "importer";
}

static const struct dma_fence_ops importer_fence_ops = {
    .get_driver_name   = importer_fence_name,
    .get_timeline_name = importer_fence_name
};

/*
 * The engine
 */

static void importer_transfer(struct importer *me, struct page *page)
{
    if (!folio_maybe_dma_pinned(page_folio(page))) {
        ++me->late;
        return; /* Whose page it is now is not known: do it no harm */
    }
    memset(page_address(page), 'd', PAGE_SIZE);
    ++me->transfers;
    if (!folio_maybe_dma_pinned(page_folio(page))) {
        ++me->late;
    }
}

static int importer_run(void *arg)
{
    struct importer *me  = arg;
    unsigned long number = 0;

    while (!kthread_should_stop()) {
        mutex_lock(&me->engine);
        if (!me->is_stopped) {
            importer_transfer(me, me->pages[number]);
            number = (number + 1) % me->num_pages;
        }
        mutex_unlock(&me->engine);
        cond_resched();
        if (READ_ONCE(me->is_stopped)) {
            msleep(1);
        }
    }
    return 0;
}

/* After this nothing is written any more */
static void importer_halt(struct importer *me)
{
    mutex_lock(&me->engine);
    me->is_stopped = true;
    mutex_unlock(&me->engine);
}

static int importer_list_pages(struct importer *me)
{
    struct scatterlist *sg;
    unsigned long i, n = 0;
    int number;

    me->num_pages = me->dma_buf->size >> PAGE_SHIFT;
    me->pages     = kvcalloc(me->num_pages, sizeof(*me->pages), GFP_KERNEL);
    if (me->pages == NULL) {
        return -ENOMEM;
    }
    for_each_sgtable_dma_sg(me->table, sg, number)
    {
        for (i = 0; (i < sg_dma_len(sg)) && (n < me->num_pages);
             i += PAGE_SIZE) {
            me->pages[n++] = pfn_to_page(PHYS_PFN(sg_dma_address(sg) + i));
        }
    }
    return (n == me->num_pages) ? 0 : -EIO;
}

/*
 * To let go. The reservation is held, but for importer_work().
 */

static void importer_unmap(struct importer *me)
{
    if (me->table != NULL) {
        dma_buf_unmap_attachment(me->attachment, me->table, DMA_BIDIRECTIONAL);
        me->table = NULL;
    }
    if (me->is_pinned) {
        dma_buf_unpin(me->attachment);
        me->is_pinned = false;
    }
}

static void importer_work(struct work_struct *work)
{
    struct importer *me = container_of(work, struct importer, work);

    msleep(2); /* In which it still writes */
    importer_halt(me);
    dma_fence_signal(me->fence);
    msleep(2);
    dma_resv_lock(me->dma_buf->resv, NULL);
    importer_unmap(me);
    dma_resv_unlock(me->dma_buf->resv);
}

static void importer_on_invalidate(struct dma_buf_attachment *attachment)
{
    struct importer *me = attachment->importer_priv;

    WRITE_ONCE(me->is_told, true);
    switch (me->mode) {
    case IMPORTER_SLOW:
    case IMPORTER_STUCK:
        importer_halt(me);
        break;
    case IMPORTER_LATER:
        schedule_work(&me->work);
        break;
    case IMPORTER_SLEEPY:
        msleep(5000);
        importer_halt(me);
        importer_unmap(me);
        break;
    case IMPORTER_ROGUE:
        importer_unmap(me);
        break;
    default:
        importer_halt(me);
        importer_unmap(me);
        break;
    }
}

static const struct dma_buf_attach_ops importer_ops = {
    .invalidate_mappings = importer_on_invalidate
};

/*
 * Begin and end
 */

static int importer_add_fence(struct importer *me)
{
    int ret;

    ret = dma_resv_reserve_fences(me->dma_buf->resv, 1);
    if (ret == 0) {
        dma_resv_add_fence(me->dma_buf->resv, me->fence,
                           DMA_RESV_USAGE_BOOKKEEP);
    }
    return ret;
}

static int importer_map(struct importer *me)
{
    int ret = 0;

    if (me->mode == IMPORTER_PINNED) {
        ret           = dma_buf_pin(me->attachment);
        me->is_pinned = (ret == 0);
    } else if ((me->mode == IMPORTER_LATER) || (me->mode == IMPORTER_STUCK)) {
        ret = importer_add_fence(me);
    }
    if (ret != 0) {
        return ret;
    }
    me->table = dma_buf_map_attachment(me->attachment, DMA_BIDIRECTIONAL);
    if (IS_ERR(me->table)) {
        ret       = PTR_ERR(me->table);
        me->table = NULL;
        return ret;
    }
    return importer_list_pages(me);
}

static int importer_attach(struct importer *me, int fd)
{
    struct device *dev = &importer_device->dev;
    int ret;

    me->dma_buf = dma_buf_get(fd);
    if (IS_ERR(me->dma_buf)) {
        ret         = PTR_ERR(me->dma_buf);
        me->dma_buf = NULL;
        return ret;
    }
    me->attachment = (me->mode == IMPORTER_STATIC) ?
                     dma_buf_attach(me->dma_buf, dev) :
                     dma_buf_dynamic_attach(me->dma_buf, dev, &importer_ops,
                                            me);
    if (IS_ERR(me->attachment)) {
        ret            = PTR_ERR(me->attachment);
        me->attachment = NULL;
        return ret;
    }
    dma_resv_lock(me->dma_buf->resv, NULL);
    ret = importer_map(me);
    dma_resv_unlock(me->dma_buf->resv);
    return ret;
}

static void importer_detach(struct importer *me)
{
    if (me->thread != NULL) {
        kthread_stop(me->thread);
        me->thread = NULL;
    }
    flush_work(&me->work);
    dma_fence_signal(me->fence);
    if (me->attachment != NULL) {
        dma_resv_lock(me->dma_buf->resv, NULL);
        importer_unmap(me);
        dma_resv_unlock(me->dma_buf->resv);
        dma_buf_detach(me->dma_buf, me->attachment);
        me->attachment = NULL;
    }
    if (me->dma_buf != NULL) {
        dma_buf_put(me->dma_buf);
        me->dma_buf = NULL;
    }
    kvfree(me->pages);
    me->pages = NULL;
}

static int importer_start(struct importer *me,
                          const struct importer_args __user *user)
{
    struct importer_args args;
    int ret;

    if (copy_from_user(&args, user, sizeof(args)) != 0) {
        return -EFAULT;
    }
    if ((me->dma_buf != NULL) || (args.mode >= IMPORTER_MODES)) {
        return -EINVAL;
    }
    me->mode = args.mode;
    ret      = importer_attach(me, args.fd);
    if ((ret == 0) && (me->mode != IMPORTER_STUCK)) {
        me->thread = kthread_run(importer_run, me, "importer");
        if (IS_ERR(me->thread)) {
            ret        = PTR_ERR(me->thread);
            me->thread = NULL;
        }
    }
    if (ret != 0) {
        importer_detach(me);
    }
    return ret;
}

static int importer_stats(struct importer *me,
                          struct importer_stats __user *user)
{
    struct importer_stats stats = { 0 };

    mutex_lock(&me->engine);
    stats.transfers = me->transfers;
    stats.late      = me->late;
    stats.is_mapped = READ_ONCE(me->table) != NULL;
    stats.is_told   = READ_ONCE(me->is_told);
    mutex_unlock(&me->engine);
    return (copy_to_user(user, &stats, sizeof(stats)) == 0) ? 0 : -EFAULT;
}

static int importer_let_go(struct importer *me)
{
    if (me->dma_buf == NULL) {
        return -EINVAL;
    }
    dma_resv_lock(me->dma_buf->resv, NULL);
    importer_unmap(me);
    dma_resv_unlock(me->dma_buf->resv);
    return 0;
}

static long importer_ioctl(struct file *file, unsigned int command,
                           unsigned long arg)
{
    struct importer *me = file->private_data;
    long ret            = 0;

    mutex_lock(&me->lock);
    switch (command) {
    case IMPORTER_IOC_START:
        ret = importer_start(me, (void __user *)arg);
        break;
    case IMPORTER_IOC_STOP:
        importer_halt(me);
        break;
    case IMPORTER_IOC_STATS:
        ret = importer_stats(me, (void __user *)arg);
        break;
    case IMPORTER_IOC_LET_GO:
        ret = importer_let_go(me);
        break;
    default:
        ret = -ENOTTY;
    }
    mutex_unlock(&me->lock);
    return ret;
}

static int importer_open(struct inode *inode, struct file *file)
{
    struct importer *me = kzalloc(sizeof(*me), GFP_KERNEL);

    if (me == NULL) {
        return -ENOMEM;
    }
    me->fence = kzalloc(sizeof(*me->fence), GFP_KERNEL);
    if (me->fence == NULL) {
        kfree(me);
        return -ENOMEM;
    }
    dma_fence_init(me->fence, &importer_fence_ops, &importer_fence_lock,
                   dma_fence_context_alloc(1), 1);
    mutex_init(&me->lock);
    mutex_init(&me->engine);
    INIT_WORK(&me->work, importer_work);
    file->private_data = me;
    return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
    struct importer *me = file->private_data;

    importer_detach(me);
    dma_fence_put(me->fence);
    kfree(me);
    return 0;
}

static const struct file_operations importer_fops = {
    .owner          = THIS_MODULE,
    .open           = importer_open,
    .release        = importer_release,
    .unlocked_ioctl = importer_ioctl
};

static struct miscdevice importer_misc = {
    .minor = MISC_DYNAMIC_MINOR,
    .name  = "importer",
    .fops  = &importer_fops,
    .mode  = 0666
};

static int __init importer_init(void)
{
    int ret;

    importer_device = platform_device_register_simple("importer", -1, NULL, 0);
    if (IS_ERR(importer_device)) {
        return PTR_ERR(importer_device);
    }
    ret = dma_coerce_mask_and_coherent(&importer_device->dev,
                                       DMA_BIT_MASK(64));
    if (ret == 0) {
        ret = misc_register(&importer_misc);
    }
    if (ret != 0) {
        platform_device_unregister(importer_device);
    }
    return ret;
}

static void __exit importer_exit(void)
{
    misc_deregister(&importer_misc);
    platform_device_unregister(importer_device);
}

module_init(importer_init);
module_exit(importer_exit);
MODULE_DESCRIPTION("A device for tests of daxpin's dma-bufs");
MODULE_LICENSE("GPL");
