// SPDX-License-Identifier: GPL-2.0
// Copyright the daxpin authors. See LICENSE.

/* The mapping of the device, which shows the pinned pages */

#include "map.h"

#include "compat.h"

#include <linux/huge_mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#define DAXPIN_MAP_HUGE_PAGES (PMD_SIZE / PAGE_SIZE)

/* Return the first page of the huge page to map at start. NULL: map small pages
 * up to the next multiple of PMD_SIZE. */
static struct page *daxpin_map_huge_page(struct vm_area_struct *vma,
                                         unsigned long start)
{
    struct page *page;

    if (!DAXPIN_HAVE_HUGE || !IS_ALIGNED(start, PMD_SIZE) ||
        (start < vma->vm_start) || (vma->vm_end - start < PMD_SIZE)) {
        return NULL;
    }
    page = daxpin_pin_range(vma->vm_private_data, linear_page_index(vma, start),
                            DAXPIN_MAP_HUGE_PAGES);
    return ((page != NULL) &&
            IS_ALIGNED(page_to_pfn(page), DAXPIN_MAP_HUGE_PAGES)) ? page : NULL;
}

/* Insert small pages. The range is within one multiple of PMD_SIZE; pages has
 * room for DAXPIN_MAP_HUGE_PAGES. */
static int daxpin_map_insert(struct vm_area_struct *vma, unsigned long start,
                             unsigned long end, struct page **pages)
{
    unsigned long count = (end - start) / PAGE_SIZE, left = count;

    daxpin_pin_pages(vma->vm_private_data, linear_page_index(vma, start), count,
                     pages);
    return vm_insert_pages(vma, start, pages, &left);
}

static vm_fault_t daxpin_map_fault(struct vm_fault *vmf)
{
    struct vm_area_struct *vma   = vmf->vma;
    const struct daxpin_pin *pin = vma->vm_private_data;
    struct page *page;
    int ret;

    /* The page was zapped by madvise(), or the rest of a huge page is mapped by
     * small pages, or huge pages are disabled */
    if (vmf->pgoff >= pin->count) {
        return VM_FAULT_SIGBUS;
    }
    ret = daxpin_map_insert(vma, vmf->address & PAGE_MASK,
                            (vmf->address & PAGE_MASK) + PAGE_SIZE, &page);
    if (ret == -ENOMEM) {
        return VM_FAULT_OOM;
    }
    return ((ret == 0) || (ret == -EBUSY)) ? VM_FAULT_NOPAGE :
                                             VM_FAULT_SIGBUS;
}

#if DAXPIN_HAVE_HUGE
static vm_fault_t daxpin_map_huge_fault(struct vm_fault *vmf,
                                        unsigned int order)
{
    struct page *page = NULL;

    if (order == HPAGE_PMD_ORDER) {
        page = daxpin_map_huge_page(vmf->vma, vmf->address & PMD_MASK);
    }
    return (page == NULL) ? VM_FAULT_FALLBACK :
                            daxpin_insert_huge(vmf, page);
}
#endif

static const struct vm_operations_struct daxpin_map_ops = {
    .fault = daxpin_map_fault,
#if DAXPIN_HAVE_HUGE
    .huge_fault = daxpin_map_huge_fault
#endif
};

int daxpin_map(struct vm_area_struct *vma, const struct daxpin_pin *pin)
{
    const vm_flags_t flags = VM_MIXEDMAP | VM_HUGEPAGE | VM_DONTEXPAND |
                             VM_DONTDUMP | VM_DONTCOPY;
    unsigned long start, end;
    struct page **pages;
    int ret = 0;

    vm_flags_mod(vma, flags, VM_MAYEXEC);
    vma->vm_private_data = (void*)pin;
    vma->vm_ops          = &daxpin_map_ops;
    pages = kmalloc_array(DAXPIN_MAP_HUGE_PAGES, sizeof(*pages), GFP_KERNEL);
    if (pages == NULL) {
        return -ENOMEM;
    }
    for (start = vma->vm_start; (start < vma->vm_end) && (ret == 0);
         start = end) {
        end = min((start & PMD_MASK) + PMD_SIZE, vma->vm_end);
        if (daxpin_map_huge_page(vma, start) == NULL) {
            ret = daxpin_map_insert(vma, start, end, pages);
            cond_resched();
        }
    }
    kfree(pages);
    return ret;
}

#if DAXPIN_HAVE_HUGE
unsigned long daxpin_map_area(const struct daxpin_pin *pin, struct file *file,
                              unsigned long addr, unsigned long length,
                              unsigned long index, unsigned long flags)
{
    struct page *page = NULL;

    if ((pin != NULL) && (index < pin->count)) {
        page = daxpin_pin_range(pin, index, 1);
    }
    /* Align by physical address, as if the file began at physical address 0 */
    return thp_get_unmapped_area(file, addr, length,
                                 (page != NULL) ? page_to_pfn(page) : index,
                                 flags);
}
#endif
