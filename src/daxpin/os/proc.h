/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PROC_H_
#define DAXPIN_PROC_H_

#include <stdint.h>
#include <sys/types.h>

/* Descriptor @a name, a number, of the directory @a dir_fd. Non-zero: that is
 * enough. */
typedef int (*daxpin_proc_fd_func_t)(int dir_fd, const char *name, void *arg);

/* Call func for each descriptor in /proc/<pid>/fd, but for the one this takes
 * itself. pid 0: this process. What func returned last; -errno where nobody may
 * look there. No lock needed. */
int daxpin_proc_each_fd(pid_t pid, daxpin_proc_fd_func_t func, void *arg);

/* A descriptor of this process. Non-zero: that is enough. */
typedef int (*daxpin_fd_func_t)(int fd, void *arg);

/* Call func for each descriptor that this process has of a regular file, until
 * it returns non-zero; dev 0: on any device. Return what it returned last, or
 * -errno. Needs no lock. */
int daxpin_fd_for_each(uint64_t ino, dev_t dev, daxpin_fd_func_t func,
                       void *arg);

#endif
