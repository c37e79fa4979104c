/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Calls of the kernel that fail for a moment */

#ifndef GUARD_PATIENCE_H_
#define GUARD_PATIENCE_H_

/* Return whether a call that returned ret, 0 or -errno, is worth another try, and
 * wait for a moment first. *tries_p counts the tries; it is 0 at first. All waits
 * together take GUARD_PATIENCE_MS at most. */
int guard_try_again(int ret, unsigned *tries_p);

#define GUARD_PATIENCE_MS 127

#endif
