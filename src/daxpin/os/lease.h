/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LEASE_H_
#define DAXPIN_LEASE_H_

/* The kernel's lease on an open file description. If one process gives the
 * lease back, it is given back for all processes that share the description.
 * Nothing here needs a lock. */

#include <sys/types.h>

/* Take the exclusive lease, so that a break sends signal @a signo to thread
 * @a tid. Return 0; -EAGAIN if another description of the file is open; or
 * another -errno. Without a message. */
int daxpin_lease_take(int fd, pid_t tid, int signo);

/* Give the lease back: processes that wait for it go on. Return 0; or -errno,
 * -EAGAIN if the lease was not there any more. */
int daxpin_lease_drop(int fd);

typedef enum daxpin_lease_state {
    DAXPIN_LEASE_STATE_WHOLE,   /* it is there, and no break is under way */
    DAXPIN_LEASE_STATE_READERS, /* a break for readers alone is under way */
    DAXPIN_LEASE_STATE_BROKEN   /* a break for a writer is under way, or the
                                   lease has expired, or was given back */
} daxpin_lease_state_t;

/* Return what the kernel has made of the lease. No descriptor and no /proc is
 * needed. */
daxpin_lease_state_t daxpin_lease_state(int fd);

/* Return whether the lease is there and no break of it is under way. */
int daxpin_lease_is_whole(int fd);

/* Return fs.lease-break-time: after so many seconds the kernel ends a lease
 * that was broken and not given back. */
unsigned daxpin_lease_break_time(void);

#endif
