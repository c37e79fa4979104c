// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* The anchor mapping: a mapping of a pinned file that no process can remove */

#define pr_fmt(_format) KBUILD_MODNAME ": " _format

#include "anchor.h"

#include "compat.h"

#include <linux/anon_inodes.h>
#include <linux/binfmts.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

/* Anchor mappings are a page apart, so that the kernel does not merge them */
#define DAXPIN_ANCHOR_BASE   (4ul << 30)
#define DAXPIN_ANCHOR_STRIDE (2 * PAGE_SIZE)

struct daxpin_anchor_request {
    struct work_struct  work;
    struct daxpin_anchor *anchor;
    int                 ret;
};

struct workqueue_struct *daxpin_anchor_queue;

static struct mm_struct *daxpin_anchor_mm;
static DEFINE_IDA(daxpin_anchor_ids);

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

static void daxpin_anchor_do_place(struct work_struct *work)
{
    struct daxpin_anchor_request *request = container_of(
            work, struct daxpin_anchor_request, work);

    request->ret = daxpin_anchor_map(request->anchor);
}

int daxpin_anchor_place(struct daxpin_anchor *anchor, const struct path *path)
{
    struct daxpin_anchor_request request = {.anchor = anchor};

    anchor->id = ida_alloc(&daxpin_anchor_ids, GFP_KERNEL);
    if (anchor->id < 0) {
        return anchor->id;
    }
    anchor->path = *path;
    path_get(&anchor->path);
    INIT_WORK_ONSTACK(&request.work, daxpin_anchor_do_place);
    queue_work(daxpin_anchor_queue, &request.work);
    flush_work(&request.work);
    destroy_work_on_stack(&request.work);
    if (request.ret != 0) {
        path_put(&anchor->path);
        ida_free(&daxpin_anchor_ids, anchor->id);
    }
    return request.ret;
}

void daxpin_anchor_remove(struct daxpin_anchor *anchor)
{
    kthread_use_mm(daxpin_anchor_mm);
    WARN_ON_ONCE(vm_munmap(daxpin_anchor_addr(anchor), PAGE_SIZE) != 0);
    kthread_unuse_mm(daxpin_anchor_mm);
    path_put(&anchor->path);
    ida_free(&daxpin_anchor_ids, anchor->id);
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
