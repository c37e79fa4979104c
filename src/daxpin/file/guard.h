/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_GUARD_H_
#define DAXPIN_GUARD_H_

/*
 * The client of the guard daemon.
 *
 * This process reports its pins of a file to daxpin-guardd, if the daemon runs.
 * The daemon has truncates of pinned ranges fail.
 *
 * A missing, slow or dying daemon never makes a pin fail: without the guard the
 * lease protects the file. But no process may rely on a guard that is not
 * there, so a pin counts as guarded only after the daemon has confirmed it.
 *
 * Caller of every function holds daxpin_mutex.
 */

#include "file.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Initialize the client: not connected. */
void daxpin_guard_init(daxpin_guard_t *guard);

/* Report a new pin. Never fails: a pin that cannot be reported is not
 * guarded. */
void daxpin_guard_add(daxpin_file_t *file, uint64_t start, uint64_t end);

/* Report that a pin has ended. Never fails. */
void daxpin_guard_remove(daxpin_file_t *file, uint64_t start, uint64_t end);

/* Wait until the daemon has answered, for a second at most. Releases
 * daxpin_mutex meanwhile. Does not wait in the loop thread. */
void daxpin_guard_wait(daxpin_file_t *file);

/* Connect again if necessary, and send what is queued. Return when to call
 * again (ns). Loop thread only. */
uint64_t daxpin_guard_tick(daxpin_file_t *file, uint64_t now);

/* Return whether all pins of all members are guarded. Also true for members
 * that have no pins, if any other has. Holder only. */
int daxpin_guard_covers(const daxpin_file_t *file);

/* Return whether no pin of this process needs the hold: there are no pins, or
 * they are guarded and stay guarded for a while after the daemon dies, so that
 * there is time to place the hold. */
int daxpin_guard_stands_in(const daxpin_file_t *file);

/* Return whether the daemon has requests of this process, or is being
 * restarted, and will answer soon. */
int daxpin_guard_is_coming(const daxpin_file_t *file);

/* Begin to end guarding of the file, or go on with that. Return DAXPIN_NEVER if
 * guarding has ended; else until when to wait at most (ns), and the loop wakes
 * when it has ended: a slow daemon may still guard then. */
uint64_t daxpin_guard_close(daxpin_file_t *file, uint64_t now);

/* End guarding of the file, and wait for that, while the caller's reference is
 * the last one: another thread that has found the file meanwhile may have pinned
 * it, by a connection of its own. Releases daxpin_mutex meanwhile. Not in the
 * loop thread. */
void daxpin_guard_close_wait(daxpin_file_t *file,
                             int (*is_last)(daxpin_file_t *file));

/* Forget the parent's connection, in the child of a fork. */
void daxpin_guard_fork(daxpin_file_t *file);

#endif
