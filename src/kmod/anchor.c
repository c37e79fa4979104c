// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* The anchor mapping: a mapping of a pinned file that no process can remove */

#define pr_fmt(_format) KBUILD_MODNAME ": " _format

#include "anchor.h"

#include "compat.h"
#include "user.h"

#include <linux/anon_inodes.h>
#include <linux/binfmts.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/idr.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/umh.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

/* Anchor mappings are a page apart, so that the kernel does not merge them */
#define DAXPIN_ANCHOR_BASE   (4ul << 30)
#define DAXPIN_ANCHOR_STRIDE (2 * PAGE_SIZE)

#define DAXPIN_ANCHOR_BITS 10

/* The ordered queue that places and removes anchor mappings, which takes
 * microseconds each */
static struct workqueue_struct *daxpin_anchor_queue;

static struct mm_struct *daxpin_anchor_mm;
static DEFINE_IDA(daxpin_anchor_ids);

static DEFINE_HASHTABLE(daxpin_anchors, DAXPIN_ANCHOR_BITS);
static DEFINE_SPINLOCK(daxpin_anchor_lock); /* also protects pins of anchors */
static DECLARE_WAIT_QUEUE_HEAD(daxpin_anchor_wait); /* for ret of anchors */

static unsigned long daxpin_anchor_addr(const struct daxpin_anchor *anchor)
{
    return DAXPIN_ANCHOR_BASE + anchor->id * DAXPIN_ANCHOR_STRIDE;
}

static int daxpin_anchor_mmap(struct file *file, struct vm_area_struct *vma)
{
    vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYREAD | VM_MAYWRITE |
                 VM_MAYEXEC);
    return 0;
}

static unsigned long daxpin_anchor_area(struct file *file, unsigned long addr,
                                       unsigned long length,
                                       unsigned long offset,
                                       unsigned long flags)
{
    return addr;
}

static const struct file_operations daxpin_anchor_fops = {
    .owner             = THIS_MODULE,
    .mmap              = daxpin_anchor_mmap,
    .get_unmapped_area = daxpin_anchor_area
};

/* Map an anonymous file that has the address space (i_mapping) of the DAX file.
 * It does not count as an open of the DAX file, which would break the lease. */
static int daxpin_anchor_map(struct daxpin_anchor *anchor)
{
    struct file *file;
    unsigned long ret;

    file = anon_inode_getfile("[daxpin]", &daxpin_anchor_fops, NULL, O_RDONLY);
    if (IS_ERR(file)) {
        return PTR_ERR(file);
    }
    file->f_mapping = d_inode(anchor->path.dentry)->i_mapping;
    kthread_use_mm(daxpin_anchor_mm);
    ret = vm_mmap(file, daxpin_anchor_addr(anchor), PAGE_SIZE, PROT_NONE,
                  MAP_SHARED | MAP_FIXED_NOREPLACE, 0);
    kthread_unuse_mm(daxpin_anchor_mm);
    fput(file); /* the mapping keeps the file */
    return IS_ERR_VALUE(ret) ? (int)ret : 0;
}

static void daxpin_anchor_unmap(struct daxpin_anchor *anchor)
{
    kthread_use_mm(daxpin_anchor_mm);
    WARN_ON_ONCE(vm_munmap(daxpin_anchor_addr(anchor), PAGE_SIZE) != 0);
    kthread_unuse_mm(daxpin_anchor_mm);
}

/*
 * Life
 */

/* Free an anchor that is not placed, with its path */
static void daxpin_anchor_free(struct daxpin_anchor *anchor)
{
    path_put(&anchor->path);
    ida_free(&daxpin_anchor_ids, anchor->id);
    daxpin_user_uncharge(anchor->user, DAXPIN_CHARGE_FILES, 1);
    daxpin_user_put(anchor->user);
    kfree(anchor);
    module_put(THIS_MODULE);
}

void daxpin_anchor_put_paths(struct daxpin_user *user)
{
    struct daxpin_anchor *anchor, *next;
    LIST_HEAD(anchors);

    spin_lock(&user->lock);
    list_splice_init(&user->anchors, &anchors);
    spin_unlock(&user->lock);
    list_for_each_entry_safe(anchor, next, &anchors, put_link)
    {
        daxpin_anchor_free(anchor);
    }
}

/* Have the work run, unless it is queued, and has not looked at the pins yet:
 * it must not come again for an anchor that it has removed. Caller holds
 * daxpin_anchor_lock. */
static void daxpin_anchor_kick(struct daxpin_anchor *anchor)
{
    if (!anchor->is_queued) {
        anchor->is_queued = true;
        queue_work(daxpin_anchor_queue, &anchor->work);
    }
}

/* Place the anchor, or remove it if there is no pin any more */
static void daxpin_anchor_work(struct work_struct *work)
{
    struct daxpin_anchor *anchor = container_of(work, struct daxpin_anchor,
                                                work);
    struct daxpin_user *user     = anchor->user;
    bool wanted;

    spin_lock(&daxpin_anchor_lock);
    anchor->is_queued = false;
    wanted            = (anchor->pins > 0);
    if (!wanted) {
        hash_del(&anchor->link);
    }
    spin_unlock(&daxpin_anchor_lock);

    if (wanted && (anchor->ret > 0)) {
        WRITE_ONCE(anchor->ret, daxpin_anchor_map(anchor));
        wake_up_all(&daxpin_anchor_wait);
    } else if (!wanted) {
        if (anchor->ret == 0) {
            daxpin_anchor_unmap(anchor);
        }
        spin_lock(&user->lock);
        list_add_tail(&anchor->put_link, &user->anchors);
        daxpin_user_kick_paths(user);
        spin_unlock(&user->lock);
    }
}

/* Return a new anchor, or NULL without memory or beyond a limit */
static struct daxpin_anchor *daxpin_anchor_new(const struct path *path,
                                               struct daxpin_user *user)
{
    struct daxpin_anchor *anchor = kzalloc(sizeof(*anchor), GFP_KERNEL_ACCOUNT);

    if (anchor == NULL) {
        return NULL;
    }
    if (daxpin_user_charge(user, DAXPIN_CHARGE_FILES, 1) != 0) {
        goto err_free;
    }
    anchor->id = ida_alloc(&daxpin_anchor_ids, GFP_KERNEL);
    if (anchor->id < 0) {
        goto err_uncharge;
    }
    __module_get(THIS_MODULE); /* Work may still run when all pins have ended */
    refcount_inc(&user->refs);
    anchor->user  = user;
    anchor->path  = *path;
    anchor->inode = d_inode(path->dentry);
    anchor->ret   = 1;
    path_get(&anchor->path);
    INIT_WORK(&anchor->work, daxpin_anchor_work);
    return anchor;

err_uncharge:
    daxpin_user_uncharge(user, DAXPIN_CHARGE_FILES, 1);
err_free:
    kfree(anchor);
    return NULL;
}

/* Return the anchor of the file, with a reference. Without one, return `fresh`,
 * which may be NULL, and which is the anchor of the file then. */
static struct daxpin_anchor *daxpin_anchor_find(const struct inode *inode,
                                                struct daxpin_anchor *fresh)
{
    struct daxpin_anchor *anchor;

    spin_lock(&daxpin_anchor_lock);
    hash_for_each_possible(daxpin_anchors, anchor, link, (unsigned long)inode)
    {
        if (anchor->inode == inode) {
            goto out;
        }
    }
    anchor = fresh;
    if (anchor != NULL) {
        hash_add(daxpin_anchors, &anchor->link, (unsigned long)inode);
        daxpin_anchor_kick(anchor);
    }
out:
    if (anchor != NULL) {
        ++anchor->pins;
    }
    spin_unlock(&daxpin_anchor_lock);
    return anchor;
}

struct daxpin_anchor *daxpin_anchor_get(const struct path *path,
                                        struct daxpin_user *user)
{
    const struct inode *inode = d_inode(path->dentry);
    struct daxpin_anchor *anchor, *fresh;
    int ret;

    anchor = daxpin_anchor_find(inode, NULL);
    if (anchor == NULL) {
        fresh = daxpin_anchor_new(path, user);
        if (fresh == NULL) {
            return ERR_PTR(-ENOMEM);
        }
        anchor = daxpin_anchor_find(inode, fresh);
        if (anchor != fresh) {
            daxpin_anchor_free(fresh);
        }
    }
    ret = wait_event_killable(daxpin_anchor_wait,
                              READ_ONCE(anchor->ret) <= 0);
    ret = (ret != 0) ? -EINTR : READ_ONCE(anchor->ret);
    if (ret != 0) {
        daxpin_anchor_put(anchor);
        return ERR_PTR(ret);
    }
    return anchor;
}

void daxpin_anchor_put(struct daxpin_anchor *anchor)
{
    spin_lock(&daxpin_anchor_lock);
    if (--anchor->pins == 0) {
        daxpin_anchor_kick(anchor);
    }
    spin_unlock(&daxpin_anchor_lock);
}

/*
 * The address space. A module can get one only if the kernel executes a
 * program. So the module has the kernel begin to execute modprobe, keeps the
 * new address space, and makes the execution fail.
 */

static struct task_struct *daxpin_anchor_helper;

static int daxpin_anchor_load(struct linux_binprm *bprm)
{
    if (current != READ_ONCE(daxpin_anchor_helper)) {
        return -ENOEXEC;
    }
    daxpin_anchor_mm = bprm->mm;
    mmget(daxpin_anchor_mm);
#ifdef CONFIG_MEMCG
    /* The address space would outlive the process that it is charged to */
    WRITE_ONCE(daxpin_anchor_mm->owner, NULL);
#endif
    return -ECANCELED;
}

static int daxpin_anchor_enter(struct subprocess_info *info, struct cred *cred)
{
    WRITE_ONCE(daxpin_anchor_helper, current);
    return 0;
}

static struct linux_binfmt daxpin_anchor_format = {
    .module      = THIS_MODULE,
    .load_binary = daxpin_anchor_load
};

static int daxpin_anchor_make_mm(void)
{
    static char *argv[] = {CONFIG_MODPROBE_PATH, "-V", NULL};
    static char *envp[] = {NULL};
    struct subprocess_info *info;
    int ret;

    info = call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL,
                                     daxpin_anchor_enter, NULL, NULL);
    if (info == NULL) {
        return -ENOMEM;
    }
    insert_binfmt(&daxpin_anchor_format);
    ret = call_usermodehelper_exec(info, UMH_WAIT_EXEC);
    unregister_binfmt(&daxpin_anchor_format);
    daxpin_anchor_helper = NULL;
    if (daxpin_anchor_mm == NULL) {
        pr_err("cannot get an address space by executing %s: error %d\n",
               CONFIG_MODPROBE_PATH, ret);
        return (ret < 0) ? ret : -ENOEXEC;
    }
    return 0;
}

int daxpin_anchor_init(void)
{
    int ret = daxpin_anchor_make_mm();

    if (ret != 0) {
        return ret;
    }
    daxpin_anchor_queue = alloc_ordered_workqueue("daxpin", 0);
    if (daxpin_anchor_queue == NULL) {
        mmput(daxpin_anchor_mm);
        return -ENOMEM;
    }
    return 0;
}

void daxpin_anchor_exit(void)
{
    destroy_workqueue(daxpin_anchor_queue);
    mmput(daxpin_anchor_mm);
    ida_destroy(&daxpin_anchor_ids);
}
