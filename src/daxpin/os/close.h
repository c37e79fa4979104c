/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_CLOSE_H_
#define DAXPIN_CLOSE_H_

/* Close descriptors of the program's files. With the close of any descriptor of
 * a file, all record locks (F_SETLK) of the process on that file end. */

#include <stdint.h>

/* Close a descriptor of a file, or keep it for as long as this process has
 * record locks on the file. */
void daxpin_close(int fd);

/* Return a descriptor of the description of @a fd, which the caller closes:
 * one that was kept, or a new one. Return -1 with errno on failure. */
int daxpin_close_reuse(int fd);

/* Close kept descriptors that can be closed. Return when to be called again
 * (ns). */
uint64_t daxpin_close_tick(uint64_t now);

/* Close kept descriptors in the child of a fork, which has no such locks. */
void daxpin_close_fork(void);

#endif
