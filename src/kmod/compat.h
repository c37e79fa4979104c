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

/* There, a long-term pin looks at the page and not only at its mapping:
 * folio_is_longterm_pinnable() is false for those of fsdax, wherever they are
 * mapped, so that no device can register what we have pinned. (They also count
 * their references in another way, and there is no pfn_t any more.) */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#error "daxpin is for Linux before 6.15: later ones refuse RDMA to all pages of \
fsdax, see README.md"
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

/* Before 6.7, no huge page is mapped on a fault but by DAX and anonymous memory */
#if (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)) && \
    defined(CONFIG_TRANSPARENT_HUGEPAGE)
#include <linux/huge_mm.h>
#include <linux/pfn_t.h>
#define DAXPIN_HAVE_HUGE 1

/* As fsdax itself maps it, so that whoever pins it gets the page he means */
static inline vm_fault_t daxpin_insert_huge(struct vm_fault *vmf,
                                            struct page *page)
{
    return vmf_insert_pfn_pmd(vmf,
                              phys_to_pfn_t(PFN_PHYS(page_to_pfn(page)),
                                            PFN_DEV | PFN_MAP),
                              vmf->flags & FAULT_FLAG_WRITE);
}
#else
#define DAXPIN_HAVE_HUGE 0
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
