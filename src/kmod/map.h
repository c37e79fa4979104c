/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

/* The mapping of the device, which shows the pinned pages */

#ifndef DAXPIN_MAP_H_
#define DAXPIN_MAP_H_

#include "pin.h"

/*
 * Huge pages are mapped where the blocks allow it and the kernel lets a module
 * map them (6.7 and later). Elsewhere small pages are inserted at once. The
 * mapping keeps the device's file, the file keeps the pin, and the pin keeps
 * the pages.
 */

/* Map the pin, for mmap(). The range is within the pin. Return 0 or a negative
 * errno. */
int daxpin_map(struct vm_area_struct *vma, const struct daxpin_pin *pin);

/* Return an address that allows huge pages, for get_unmapped_area(). pin may be
 * NULL. */
unsigned long daxpin_map_area(const struct daxpin_pin *pin, struct file *file,
                              unsigned long addr, unsigned long length,
                              unsigned long index, unsigned long flags);

#endif
