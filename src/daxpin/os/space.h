/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_SPACE_H_
#define DAXPIN_SPACE_H_

/* Blocks of a file. Nothing here needs a lock; path is for messages. */

#include <stddef.h>
#include <stdint.h>

/* Return whether the file has blocks for all bytes up to @a end, and reaches
 * so far. */
int daxpin_space_is_allocated(int fd, uint64_t end);

/* On DAX: wait until no process is in a truncate of the file. The truncate may
 * itself wait for what is registered of the file, perhaps by this process, and
 * fallocate() would wait for the truncate without end. Return 0, or -EAGAIN
 * with a message after the deadline (ns). */
int daxpin_space_await_truncate(const char *path, int fd, uint64_t deadline);

/* Fill the holes of a range with blocks; content and size stay. Return 0, or
 * -errno with a message. */
int daxpin_space_allocate(const char *path, int fd, uint64_t offset,
                          size_t length);

/* Make the file at least @a length bytes long and allocate every block; on DAX,
 * write zeros to blocks that were never written: those beyond the old end or,
 * if the file is fresh, all. What is added is taken back on error. Return 0, or
 * -errno with a message. */
int daxpin_space_grow(const char *path, int fd, int is_dax, size_t length,
                      int fresh);

/* Cut the file to @a length bytes if it is longer. Return 0 or -errno, without
 * a message: this may be the second thing to fail. */
int daxpin_space_cut(int fd, size_t length);

#endif
