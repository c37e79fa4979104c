/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_BACKING_H_
#define DAXPIN_BACKING_H_

/* The file behind a mapping of this process. Nothing here opens that file,
 * needs a lock or leaves a message. */

#include "vma.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct daxpin_backing {
    struct stat  st;  /* st_ino 0: the file cannot be found */
    daxpin_vma_t vma; /* in which the range begins */
} daxpin_backing_t;

/* Return whether a mapping is of a file with a name. System V segments, memfds
 * and MAP_ANONYMOUS have none. */
int daxpin_vma_has_file(const daxpin_vma_t *vma);

/* Find the file of backing->vma, and set backing->st. Return 0, or -errno if it
 * cannot be found out whether there is one: no descriptor may be left. */
int daxpin_backing_locate(daxpin_backing_t *backing);

/* Return whether the file that daxpin_backing_locate() found is on fsdax: 1, 0,
 * or -errno if that cannot be found out. */
int daxpin_backing_is_dax(const daxpin_backing_t *backing);

/* Return 1 if a mapping in the range is of an fsdax file, or of a file that
 * cannot be found any more; 0 if none is; -errno if that cannot be found out.
 * *vma is the first such mapping, after 1 only. The caller decides whether the
 * file is to be leased. */
int daxpin_range_is_dax(uintptr_t addr, size_t length, daxpin_vma_t *vma);

/* Return a descriptor of the file in this process that can be leased, that is
 * one open for reading and writing, without O_APPEND; or -1. */
int daxpin_backing_find_fd(uint64_t ino, dev_t dev);

#endif
