/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Memory that other processes have in a memfd. What they have made of it is
 * theirs: it may be anything, and there may be very many. */

#ifndef DAXPIN_TOOLS_MEMORY_H_
#define DAXPIN_TOOLS_MEMORY_H_

#include <stddef.h>
#include <sys/types.h>

/* Called with a descriptor of this process of such a memfd, open for reading.
 * Return non-zero to see no more of them. */
typedef int (*daxpin_memory_func_t)(int fd, void *arg);

/* Call func for each memfd of a process that has a name, as /proc has it: once,
 * however many descriptors the process has of it, and for no more than that many
 * of them. One that cannot be opened at once is passed over. Return what func
 * returned last, or -errno if the descriptors of the process cannot be read. */
int daxpin_memory_each(pid_t pid, const char *name, size_t most,
                       daxpin_memory_func_t func, void *arg);

/* Copy a memfd as it is at one moment, though the process may write it. It may
 * have less in it, but at least that; the rest is 0. The caller frees it; NULL:
 * cannot read it. */
void *daxpin_memory_read(int fd, size_t size, size_t least);

#endif
