/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_SPACE_H_
#define DAXPIN_SPACE_H_

/* Blocks of a file: allocate, fill, cut, and wait for a truncate to end.
 * Nothing here needs a lock; path is for messages. */

#include <stddef.h>
#include <stdint.h>

/* Return whether the file is at least @a end bytes long and has no holes. */
int daxpin_space_is_allocated(int fd, uint64_t end);

/* Wait until no process is in a truncate of the file, which is on DAX. The
 * truncate may itself wait for a registration of the file, perhaps of this
 * process; fallocate() would then wait for the truncate without end. Return 0,
 * or -EAGAIN with a message after the deadline (ns). */
int daxpin_space_await_truncate(const char *path, int fd, uint64_t deadline);

/* Allocate blocks for the holes of a range. The content stays; the file grows
 * if the range reaches beyond its end. Return 0, or -errno with a message. */
int daxpin_space_allocate(const char *path, int fd, uint64_t offset,
                          size_t length);

/* Make the file at least @a length bytes long and allocate every block. On DAX,
 * write zeros to blocks that were never written: to all if the file is fresh,
 * else to those beyond the old end. On error the old size is restored. Return
 * 0, or -errno with a message. */
int daxpin_space_grow(const char *path, int fd, int is_dax, size_t length,
                      int fresh);

/* Cut the file to @a length bytes if it is longer. Return 0 or -errno, without
 * a message, because this may run after an error that has one. */
int daxpin_space_cut(int fd, size_t length);

#endif
