/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Filters of system calls */

#ifndef FILTER_H_
#define FILTER_H_

#include "unit.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Have the kernel filter the system calls of this thread, and of those that it
 * starts. Return 0 if the kernel has no seccomp. */
static UNIT_UNUSED int filter_begin(struct sock_filter *filter,
                                    unsigned short length)
{
    struct sock_fprog program = {.len = length, .filter = filter};

    return (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) &&
           (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

/* The same, but return a descriptor that tells another thread of the calls that the
 * filter has for it; -1 if the kernel has none, or not in this place. */
static UNIT_UNUSED int filter_listen(struct sock_filter *filter,
                                     unsigned short length)
{
    struct sock_fprog program = {.len = length, .filter = filter};

    return (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) ?
                   (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) :
                   -1;
}

#endif
