/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_COMPAT_H_
#define DAXPIN_COMPAT_H_

/* What differs between Linux 6.1 and 6.14 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "daxpin is for Linux 6.1 or later"
#endif

/* There, pages of fsdax files count their references in another way, and a
 * long-term pin looks at the page and not only at its mapping */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#error "daxpin is for Linux before 6.15"
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <linux/filelock.h>
#else
static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set,
                                vm_flags_t clear)
{
    vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define DAXPIN_LEASE_TYPE       struct file_lease
#define DAXPIN_LEASE_LINK       c.flc_list
#define daxpin_lease_file(_fl)  ((_fl)->c.flc_file)
#define daxpin_lease_type(_fl)  ((_fl)->c.flc_type)
#define daxpin_lease_flags(_fl) ((_fl)->c.flc_flags)
#else
#define DAXPIN_LEASE_TYPE       struct file_lock
#define DAXPIN_LEASE_LINK       fl_list
#define daxpin_lease_file(_fl)  ((_fl)->fl_file)
#define daxpin_lease_type(_fl)  ((_fl)->fl_type)
#define daxpin_lease_flags(_fl) ((_fl)->fl_flags)
#endif

#endif
