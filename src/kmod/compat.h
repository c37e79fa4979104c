/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* What differs between kernels, from Linux 6.1 on */

#ifndef DAXPIN_COMPAT_H_
#define DAXPIN_COMPAT_H_

#include <linux/fs.h>
#include <linux/kconfig.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "daxpin is for Linux 6.1 or later"
#endif

/* From 6.15 on, folio_is_longterm_pinnable() is false for all pages of fsdax,
 * wherever they are mapped: a device that would register a mapping of them
 * tries for ever. There pins are exported as a dma-buf, and not mapped. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#define DAXPIN_HAVE_MAPPING 0
#define DAXPIN_HAVE_DMABUF  IS_ENABLED(CONFIG_DMA_SHARED_BUFFER)
#else
#define DAXPIN_HAVE_MAPPING 1
#define DAXPIN_HAVE_DMABUF  0
#define page_pgmap(_page)   ((_page)->pgmap)
#endif

/* Not by version: DAXPIN_HAS_* are what Kbuild finds in the kernel's headers */
#ifdef DAXPIN_HAS_PAGEMAP_HINT
#define daxpin_get_pagemap(_page) get_dev_pagemap(page_to_pfn(_page), NULL)
#else
#define daxpin_get_pagemap(_page) get_dev_pagemap(page_to_pfn(_page))
#endif

#ifndef FOLIO_MAPPING_FLAGS
#define FOLIO_MAPPING_FLAGS PAGE_MAPPING_FLAGS
#endif

/* Return the page that is `count` pages behind this one in memory. */
static inline struct page *daxpin_page_at(struct page *page,
                                          unsigned long count)
{
    return pfn_to_page(page_to_pfn(page) + count);
}

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
#if DAXPIN_HAVE_MAPPING && \
    (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)) && \
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
