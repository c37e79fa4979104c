// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* A mapping of each pinned file that no process can take away */

#define pr_fmt(_format) KBUILD_MODNAME ": " _format

#include "guard.h"

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

/* Guards are a page apart, so that the kernel does not join them to one */
#define DAXPIN_GUARD_BASE   (4ul << 30)
#define DAXPIN_GUARD_STRIDE (2 * PAGE_SIZE)

struct daxpin_guard_request {
    struct work_struct  work;
    struct daxpin_guard *guard;
    int                 ret;
};

struct workqueue_struct *daxpin_guard_queue;

static struct mm_struct *daxpin_guard_mm;
static DEFINE_IDA(daxpin_guard_ids);

static unsigned long daxpin_guard_addr(const struct daxpin_guard *guard)
{
    return DAXPIN_GUARD_BASE + guard->id * DAXPIN_GUARD_STRIDE;
}

static int daxpin_guard_mmap(struct file *file, struct vm_area_struct *vma)
{
    vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYREAD | VM_MAYWRITE |
                 VM_MAYEXEC);
    return 0;
}

static unsigned long daxpin_guard_area(struct file *file, unsigned long addr,
                                       unsigned long length,
                                       unsigned long offset,
                                       unsigned long flags)
{
    return addr;
}

static const struct file_operations daxpin_guard_fops = {
    .owner             = THIS_MODULE,
    .mmap              = daxpin_guard_mmap,
    .get_unmapped_area = daxpin_guard_area
};

/* A file of ours that maps the pages of the DAX file, as far as anybody can
 * tell: not one that counts as having it open, which would break the lease */
static int daxpin_guard_map(struct daxpin_guard *guard)
{
    struct file *file;
    unsigned long ret;

    file = anon_inode_getfile("[daxpin]", &daxpin_guard_fops, NULL, O_RDONLY);
    if (IS_ERR(file)) {
        return PTR_ERR(file);
    }
    file->f_mapping = d_inode(guard->path.dentry)->i_mapping;
    kthread_use_mm(daxpin_guard_mm);
    ret = vm_mmap(file, daxpin_guard_addr(guard), PAGE_SIZE, PROT_NONE,
                  MAP_SHARED | MAP_FIXED_NOREPLACE, 0);
    kthread_unuse_mm(daxpin_guard_mm);
    fput(file); /* the mapping keeps it */
    return IS_ERR_VALUE(ret) ? (int)ret : 0;
}

static void daxpin_guard_do_place(struct work_struct *work)
{
    struct daxpin_guard_request *request = container_of(
            work, struct daxpin_guard_request, work);

    request->ret = daxpin_guard_map(request->guard);
}

int daxpin_guard_place(struct daxpin_guard *guard, const struct path *path)
{
    struct daxpin_guard_request request = {.guard = guard};

    guard->id = ida_alloc(&daxpin_guard_ids, GFP_KERNEL);
    if (guard->id < 0) {
        return guard->id;
    }
    guard->path = *path;
    path_get(&guard->path);
    INIT_WORK_ONSTACK(&request.work, daxpin_guard_do_place);
    queue_work(daxpin_guard_queue, &request.work);
    flush_work(&request.work);
    destroy_work_on_stack(&request.work);
    if (request.ret != 0) {
        path_put(&guard->path);
        ida_free(&daxpin_guard_ids, guard->id);
    }
    return request.ret;
}

void daxpin_guard_remove(struct daxpin_guard *guard)
{
    kthread_use_mm(daxpin_guard_mm);
    WARN_ON_ONCE(vm_munmap(daxpin_guard_addr(guard), PAGE_SIZE) != 0);
    kthread_unuse_mm(daxpin_guard_mm);
    path_put(&guard->path);
    ida_free(&daxpin_guard_ids, guard->id);
}

/*
 * The address space. The kernel makes one for every program that it executes,
 * and in no other way that a module could use. So a program is executed, which
 * is not: its address space is kept, and then the call fails.
 */

static struct task_struct *daxpin_guard_helper;

static int daxpin_guard_load(struct linux_binprm *bprm)
{
    if (current != READ_ONCE(daxpin_guard_helper)) {
        return -ENOEXEC;
    }
    daxpin_guard_mm = bprm->mm;
    mmget(daxpin_guard_mm);
#ifdef CONFIG_MEMCG
    /* It would outlive the one who pays for it */
    WRITE_ONCE(daxpin_guard_mm->owner, NULL);
#endif
    return -ECANCELED;
}

static int daxpin_guard_enter(struct subprocess_info *info, struct cred *cred)
{
    WRITE_ONCE(daxpin_guard_helper, current);
    return 0;
}

static struct linux_binfmt daxpin_guard_format = {
    .module      = THIS_MODULE,
    .load_binary = daxpin_guard_load
};

static int daxpin_guard_make_mm(void)
{
    static char *argv[] = {CONFIG_MODPROBE_PATH, "-V", NULL};
    static char *envp[] = {NULL};
    struct subprocess_info *info;
    int ret;

    info = call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL,
                                     daxpin_guard_enter, NULL, NULL);
    if (info == NULL) {
        return -ENOMEM;
    }
    insert_binfmt(&daxpin_guard_format);
    ret = call_usermodehelper_exec(info, UMH_WAIT_EXEC);
    unregister_binfmt(&daxpin_guard_format);
    daxpin_guard_helper = NULL;
    if (daxpin_guard_mm == NULL) {
        pr_err("cannot get an address space by way of executing %s: %d\n",
               CONFIG_MODPROBE_PATH, ret);
        return (ret < 0) ? ret : -ENOEXEC;
    }
    return 0;
}

int daxpin_guard_init(void)
{
    int ret = daxpin_guard_make_mm();

    if (ret != 0) {
        return ret;
    }
    daxpin_guard_queue = alloc_ordered_workqueue("daxpin", 0);
    if (daxpin_guard_queue == NULL) {
        mmput(daxpin_guard_mm);
        return -ENOMEM;
    }
    return 0;
}

void daxpin_guard_exit(void)
{
    destroy_workqueue(daxpin_guard_queue);
    mmput(daxpin_guard_mm);
    ida_destroy(&daxpin_guard_ids);
}
