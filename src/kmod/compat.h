/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* What differs between Linux 6.1 and 6.14 */

#ifndef DAXPIN_COMPAT_H_
#define DAXPIN_COMPAT_H_

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "daxpin is for Linux 6.1 or later"
#endif

/* From 6.15 on, folio_is_longterm_pinnable() is false for all pages of fsdax,
 * wherever they are mapped. So no device can register pinned pages. (Such
 * kernels also count references to them differently, and have no pfn_t.) */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#error "daxpin is for Linux before 6.15: later ones refuse RDMA to fsdax, see \
README.md"
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

/* Before 6.7, only DAX and anonymous memory map huge pages on a fault */
#if (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)) && \
    defined(CONFIG_TRANSPARENT_HUGEPAGE)
#include <linux/huge_mm.h>
#include <linux/pfn_t.h>
#define DAXPIN_HAVE_HUGE 1

/* Map the huge page as fsdax does, so that a device pins the right page */
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
