/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_BACKING_H_
#define DAXPIN_BACKING_H_

/* The file behind a mapping of this process. Nothing here opens a file, or needs
 * a lock. */

#include "vma.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct daxpin_backing {
    struct stat  st;  /* st_ino 0: it cannot be found */
    daxpin_vma_t vma; /* where the range begins */
} daxpin_backing_t;

/* Return whether a mapping is of a file that has a name; System V segments,
 * memfds and MAP_ANONYMOUS have none. */
int daxpin_vma_has_file(const daxpin_vma_t *vma);

/* Find the file of backing->vma, and fill in backing->st. */
void daxpin_backing_locate(daxpin_backing_t *backing);

/* Return whether a file that was found is on fsdax. */
int daxpin_backing_is_dax(const daxpin_backing_t *backing);

/* Return whether the range has a mapping of an fsdax file in it, or of a file
 * that nothing is known of any more. *vma is the first of them then. Whether the
 * file is to be leased is another question. */
int daxpin_range_is_dax(uintptr_t addr, size_t length, daxpin_vma_t *vma);

/* Find a descriptor of the file in this process that a lease can be had on: open
 * for reading and writing, without O_APPEND. Return it, or -1. */
int daxpin_backing_find_fd(uint64_t ino, dev_t dev);

#endif
