/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MAP_H_
#define DAXPIN_MAP_H_

#include "pin.h"

/*
 * The mapping of the device, which shows what is pinned: by huge pages where
 * blocks are such, and the kernel lets a module do that (from 6.7 on), else by
 * small ones, inserted at once. It is by the pin that the pages stay: whoever
 * maps them keeps the file of the device, and that the pin.
 */

/* For mmap(): 0 or a negative errno. The mapping is within the pin. */
int daxpin_map(struct vm_area_struct *vma, const struct daxpin_pin *pin);

/* For get_unmapped_area(), if there are huge pages: an address that suits them.
 * pin may be NULL */
unsigned long daxpin_map_area(const struct daxpin_pin *pin, struct file *file,
                              unsigned long addr, unsigned long length,
                              unsigned long index, unsigned long flags);

#endif
