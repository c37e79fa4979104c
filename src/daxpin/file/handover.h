/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_HANDOVER_H_
#define DAXPIN_HANDOVER_H_

/*
 * The holder has ended, and a member takes its place.
 *
 * The lease belongs to the open file description that all members share, so it
 * goes on. Each member tries to take the address of the file: the one that can
 * is the holder now, and the others connect to it. A newcomer leaves the
 * address to them, because they are on the roster (os/roster.h). Until then
 * accesses go on, if daxpin_file_check() can still prove that the file is
 * whole. If that takes too long, access ends.
 *
 * A member that has not followed yet reads the page of the old holder, which
 * says HELD, and does not see what the new holder does. So as long as the
 * roster has such a member, the new holder neither gives the lease back nor
 * ends a revoke. It keeps the address meanwhile, also in a revoke, so that such
 * a member cannot take its place. When all have followed, it gives the old
 * lease back and takes its own: /proc/locks does not show the waiters of a
 * process that has ended. If it dies, the next one goes on from the same state.
 *
 * Caller holds daxpin_mutex, in the loop thread.
 */

#include "file.h"

#include <stdint.h>

/* Take one step of a member, after daxpin_member_tick(). Return when to call
 * again (ns). */
uint64_t daxpin_handover_tick(daxpin_file_t *file, uint64_t now);

#endif
