// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* The device: one open description is one pin; see wire/ioctl.h */

#include "compat.h"
#include "wire/ioctl.h"
#include "anchor.h"
#include "dmabuf.h"
#include "lease.h"
#include "map.h"
#include "pin.h"
#include "user.h"

#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

struct daxpin_device {
    struct mutex        lock; /* protects pin while it is NULL */
    struct daxpin_pin   *pin; /* set once */
    struct daxpin_watch watch;
};

static int daxpin_device_open(struct inode *inode, struct file *file)
{
    struct daxpin_device *device;

    device = kzalloc(sizeof(*device), GFP_KERNEL_ACCOUNT);
    if (device == NULL) {
        return -ENOMEM;
    }
    mutex_init(&device->lock);
    daxpin_watch_init(&device->watch, NULL);
    file->private_data = device;
    return nonseekable_open(inode, file);
}

static int daxpin_device_release(struct inode *inode, struct file *file)
{
    struct daxpin_device *device = file->private_data;

    daxpin_watch_stop(&device->watch);
    if (device->pin != NULL) {
        daxpin_pin_release(device->pin);
    }
    mutex_destroy(&device->lock);
    kfree(device);
    return 0;
}

/*
 * Pin
 */

static int daxpin_device_check_range(const struct daxpin_ioc_pin *args,
                                     const struct inode *inode)
{
    u64 end, top;

    if ((args->flags != 0) || (args->length == 0) ||
        !PAGE_ALIGNED(args->addr | args->offset | args->length) ||
        check_add_overflow(args->offset, args->length, &end) ||
        check_add_overflow(args->addr, args->length, &top) ||
        (end > PAGE_ALIGN((u64)i_size_read(inode))) ||
        (top > TASK_SIZE_MAX) || (args->length >> PAGE_SHIFT > UINT_MAX)) {
        return -EINVAL;
    }
    return 0;
}

static int daxpin_device_check_file(const struct file *file)
{
    const struct inode *inode = file_inode(file);

    if (!S_ISREG(inode->i_mode) || !IS_DAX(inode) ||
        (d_inode(file->f_path.dentry) != inode) ||
        (file->f_mapping != inode->i_mapping)) {
        return -EOPNOTSUPP;
    }
    if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) !=
        (FMODE_READ | FMODE_WRITE)) {
        return -EACCES;
    }
    return 0;
}

static int daxpin_device_pin_file(struct daxpin_device *device,
                                  const struct daxpin_ioc_pin *args,
                                  struct file *file)
{
    struct daxpin_pin *pin;
    int ret;

    ret = daxpin_device_check_file(file);
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_device_check_range(args, file_inode(file));
    if (ret != 0) {
        return ret;
    }
    if (!daxpin_lease_is_live(file)) {
        return -EPERM;
    }
    if (mutex_lock_killable(&device->lock) != 0) {
        return -EINTR;
    }
    if (device->pin != NULL) {
        ret = -EBUSY;
        goto out;
    }
    /* Before the lease is looked at for the last time */
    daxpin_watch_start(&device->watch, file_inode(file));
    ret = daxpin_pin_create(file, args->addr, args->offset >> PAGE_SHIFT,
                            args->length >> PAGE_SHIFT, &pin);
    if (ret == 0) {
        /* mmap() reads pin without the lock */
        smp_store_release(&device->pin, pin);
    } else {
        daxpin_watch_stop(&device->watch);
    }
out:
    mutex_unlock(&device->lock);
    return ret;
}

static long daxpin_device_pin(struct file *self,
                              const struct daxpin_ioc_pin __user *user_args)
{
    struct daxpin_ioc_pin args;
    struct file *file;
    int ret;

    if ((self->f_mode & (FMODE_READ | FMODE_WRITE)) !=
        (FMODE_READ | FMODE_WRITE)) {
        return -EBADF;
    }
    if (copy_from_user(&args, user_args, sizeof(args)) != 0) {
        return -EFAULT;
    }
    file = fget(args.fd);
    if (file == NULL) {
        return -EBADF;
    }
    ret = daxpin_device_pin_file(self->private_data, &args, file);
    fput(file);
    return ret;
}

/*
 * The dma-buf
 */

static long daxpin_device_export(struct daxpin_device *device,
                                 const struct daxpin_ioc_export __user *user)
{
    struct daxpin_pin *pin = smp_load_acquire(&device->pin);
    struct daxpin_ioc_export args;

    if (copy_from_user(&args, user, sizeof(args)) != 0) {
        return -EFAULT;
    }
    if ((pin == NULL) || (args.flags != 0) ||
        (args.grace_ms > DAXPIN_IOC_GRACE_MAX)) {
        return -EINVAL;
    }
    return daxpin_pin_export(pin, msecs_to_jiffies(args.grace_ms));
}

/* Return the pin, or an error if there is none, or no dma-bufs */
static struct daxpin_pin *daxpin_device_get_pin(struct daxpin_device *device)
{
    struct daxpin_pin *pin = smp_load_acquire(&device->pin);

    if (!DAXPIN_HAVE_DMABUF) {
        return ERR_PTR(-EOPNOTSUPP);
    }
    return (pin == NULL) ? ERR_PTR(-EINVAL) : pin;
}

static long daxpin_device_revoke(struct daxpin_device *device, u32 delay_ms)
{
    struct daxpin_pin *pin = daxpin_device_get_pin(device);

    if (IS_ERR(pin)) {
        return PTR_ERR(pin);
    }
    if (delay_ms > DAXPIN_IOC_GRACE_MAX) {
        return -EINVAL;
    }
    daxpin_pin_revoke(pin, msecs_to_jiffies(delay_ms));
    return 0;
}

static long daxpin_device_revoke_in(struct daxpin_device *device,
                                    const u32 __user *user)
{
    u32 delay_ms;

    return (get_user(delay_ms, user) != 0) ? -EFAULT :
           daxpin_device_revoke(device, delay_ms);
}

static long daxpin_device_wait(struct daxpin_device *device)
{
    struct daxpin_pin *pin = daxpin_device_get_pin(device);

    return IS_ERR(pin) ? PTR_ERR(pin) : daxpin_pin_wait(pin);
}

static long daxpin_device_ioctl(struct file *file, unsigned int command,
                                unsigned long arg)
{
    switch (command) {
    case DAXPIN_IOC_GET_VERSION:
        return put_user((u32)DAXPIN_IOC_VERSION, (u32 __user *)arg);
    case DAXPIN_IOC_GET_WAYS:
        return put_user((u32)((DAXPIN_HAVE_MAPPING ? DAXPIN_IOC_MAPPING : 0) |
                              (DAXPIN_HAVE_DMABUF ? DAXPIN_IOC_DMABUF : 0)),
                        (u32 __user *)arg);
    case DAXPIN_IOC_PIN:
        return daxpin_device_pin(file, (void __user *)arg);
    case DAXPIN_IOC_EXPORT:
        return daxpin_device_export(file->private_data, (void __user *)arg);
    case DAXPIN_IOC_REVOKE:
        return daxpin_device_revoke(file->private_data, 0);
    case DAXPIN_IOC_REVOKE_IN:
        return daxpin_device_revoke_in(file->private_data, (u32 __user *)arg);
    case DAXPIN_IOC_WAIT:
        return daxpin_device_wait(file->private_data);
    default:
        return -ENOTTY;
    }
}

/*
 * The mapping
 */

static int daxpin_device_mmap(struct file *file, struct vm_area_struct *vma)
{
    struct daxpin_device *device = file->private_data;
    struct daxpin_pin *pin       = smp_load_acquire(&device->pin);

    if (!DAXPIN_HAVE_MAPPING) {
        return -EOPNOTSUPP; /* see compat.h */
    }
    if ((pin == NULL) || !(vma->vm_flags & VM_SHARED) ||
        (vma->vm_flags & VM_EXEC) || (vma->vm_pgoff >= pin->count) ||
        (vma_pages(vma) > pin->count - vma->vm_pgoff)) {
        return -EINVAL;
    }
    return daxpin_map(vma, pin);
}

#if DAXPIN_HAVE_HUGE
static unsigned long daxpin_device_area(struct file *file, unsigned long addr,
                                        unsigned long length,
                                        unsigned long index,
                                        unsigned long flags)
{
    struct daxpin_device *device = file->private_data;

    return daxpin_map_area(smp_load_acquire(&device->pin), file, addr, length,
                           index, flags);
}
#endif

/*
 * Notice of broken leases
 */

static __poll_t daxpin_device_poll(struct file *file, poll_table *table)
{
    struct daxpin_device *device = file->private_data;

    poll_wait(file, &device->watch.wait, table);
    return (READ_ONCE(device->watch.breaks) > 0) ? EPOLLIN | EPOLLRDNORM : 0;
}

static ssize_t daxpin_device_read(struct file *file, char __user *buffer,
                                  size_t size, loff_t *offset)
{
    struct daxpin_device *device = file->private_data;
    u64 breaks;
    int ret;

    if (size < sizeof(breaks)) {
        return -EINVAL;
    }
    while ((breaks = daxpin_watch_take(&device->watch)) == 0) {
        if (file->f_flags & O_NONBLOCK) {
            return -EAGAIN;
        }
        ret = wait_event_interruptible(device->watch.wait,
                                       READ_ONCE(device->watch.breaks) > 0);
        if (ret != 0) {
            return ret;
        }
    }
    return (copy_to_user(buffer, &breaks, sizeof(breaks)) == 0) ?
                   sizeof(breaks) :
                   -EFAULT;
}

/*
 * What fdinfo and sysfs show
 */

static void daxpin_device_show(struct seq_file *seq, struct file *file)
{
    struct daxpin_device *device = file->private_data;
    struct daxpin_pin *pin       = smp_load_acquire(&device->pin);

    if (pin == NULL) {
        return;
    }
    seq_puts(seq, "file:\t");
    seq_path(seq, &pin->anchor->path, " \t\n\\");
    seq_printf(seq, "\ndev:\t%u:%u\nino:\t%llu\n",
               MAJOR(pin->inode->i_sb->s_dev), MINOR(pin->inode->i_sb->s_dev),
               (u64)pin->inode->i_ino);
    seq_printf(seq, "offset:\t%llu\nlength:\t%llu\nextents:\t%u\n",
               (u64)pin->index << PAGE_SHIFT, (u64)pin->count << PAGE_SHIFT,
               pin->num_extents);
    seq_printf(seq, "breaks:\t%lu\nrevoked:\t%d\n",
               READ_ONCE(device->watch.breaks),
               daxpin_dmabuf_is_revoked(&pin->dmabuf));
}

#define DAXPIN_TOTAL(_name, _value) \
    static ssize_t _name##_show(struct device *device, \
                                struct device_attribute *attribute, \
                                char *buffer) \
    { \
        return sysfs_emit(buffer, "%ld\n", _value); \
    } \
    static DEVICE_ATTR_RO(_name)

DAXPIN_TOTAL(pins, atomic_long_read(&daxpin_pin_total.pins));
DAXPIN_TOTAL(lingering, atomic_long_read(&daxpin_pin_total.lingering));
DAXPIN_TOTAL(pages, daxpin_user_total(DAXPIN_CHARGE_PAGES));
DAXPIN_TOTAL(files, daxpin_user_total(DAXPIN_CHARGE_FILES));

static struct attribute *daxpin_attrs[] = {
    &dev_attr_pins.attr, &dev_attr_pages.attr, &dev_attr_files.attr,
    &dev_attr_lingering.attr, NULL};
ATTRIBUTE_GROUPS(daxpin);

static const struct file_operations daxpin_device_fops = {
    .owner          = THIS_MODULE,
    .open           = daxpin_device_open,
    .release        = daxpin_device_release,
    .unlocked_ioctl = daxpin_device_ioctl,
    .compat_ioctl   = compat_ptr_ioctl,
    .mmap           = daxpin_device_mmap,
#if DAXPIN_HAVE_HUGE
    .get_unmapped_area = daxpin_device_area,
#endif
    .poll           = daxpin_device_poll,
    .read           = daxpin_device_read,
    .show_fdinfo    = daxpin_device_show
};

/* Only root may open the device unless a udev rule allows more */
static struct miscdevice daxpin_misc = {
    .minor  = MISC_DYNAMIC_MINOR,
    .name   = "daxpin",
    .fops   = &daxpin_device_fops,
    .mode   = 0600,
    .groups = daxpin_groups
};

static const struct daxpin_user_ops daxpin_user_work = {
    .serve_pins = daxpin_pin_serve,
    .put_paths  = daxpin_anchor_put_paths
};

static int __init daxpin_init(void)
{
    int ret;

    ret = daxpin_anchor_init();
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_user_init(&daxpin_user_work);
    if (ret != 0) {
        goto err_anchor;
    }
    ret = daxpin_lease_init();
    if (ret != 0) {
        goto err_user;
    }
    ret = misc_register(&daxpin_misc);
    if (ret != 0) {
        goto err_lease;
    }
    return 0;

err_lease:
    daxpin_lease_exit();
err_user:
    daxpin_user_exit();
err_anchor:
    daxpin_anchor_exit();
    return ret;
}

static void __exit daxpin_exit(void)
{
    misc_deregister(&daxpin_misc);
    daxpin_lease_exit();
    daxpin_user_exit();
    daxpin_anchor_exit();
}

module_init(daxpin_init);
module_exit(daxpin_exit);
MODULE_DESCRIPTION("Pins of fsdax files under lease, for RDMA");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("GPL");
