/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_COMPAT_THREADS_H_
#define DAXPIN_COMPAT_THREADS_H_

/* Open MPI 5 and later name this header, and Debian does not install it:
 * threads by POSIX. Used only where it is missing. */

#include <pthread.h>
#include <sched.h>

static inline void opal_thread_yield(void)
{
    sched_yield();
}

#endif
