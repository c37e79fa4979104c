/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Calls of the kernel that fail for a moment */

#ifndef GUARD_PATIENCE_H_
#define GUARD_PATIENCE_H_

/* All waits of a round of the daemon together, at most: clients wait for it, and the
 * programs in the kernel for its beat. */
#define GUARD_PATIENCE_MS 100

/* Begin a round. */
void guard_patience_renew(void);

/* Return whether a call that returned ret, 0 or -errno, is worth another try, and
 * wait for a moment first. *tries_p counts the tries of this call; it is 0 at
 * first. */
int guard_try_again(int ret, unsigned *tries_p);

#endif
