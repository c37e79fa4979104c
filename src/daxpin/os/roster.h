/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ROSTER_H_
#define DAXPIN_ROSTER_H_

/*
 * The processes that share the open file description of a file: its holder and
 * its members.
 *
 * Each has a lock on the lock file of the address of the file, by a description
 * of its own, until it has ended all accesses or has died. So the roster
 * outlives every holder. It shows whether a process is the last one, which
 * gives the lease back; whether members have not followed a new holder yet; and
 * to a newcomer that finds no holder, whether it has to wait for one.
 *
 * The turn counts the holders. A process is on the roster with the turn of the
 * holder whose control page it uses. The locks are F_OFD_SETLK: a child of
 * fork() keeps them only as long as it has the descriptor.
 *
 * No lock of the library is needed.
 */

#include <stdint.h>

/* Open a description of the lock file that @a fd is of, and put it on the
 * roster. Return its descriptor, to be sent to a member or kept; or -errno. No
 * process can lock a turn for itself that has a place. */
int daxpin_roster_open(int fd, uint32_t turn);

/* Go to the next turn, never absent from the roster. Return 0 or -errno. */
int daxpin_roster_advance(int roster_fd, uint32_t turn);

/* Leave the roster. */
void daxpin_roster_leave(int roster_fd);

/* Return whether others are on the roster. What cannot be found out is yes. */
int daxpin_roster_has_others(int roster_fd);

/* Return whether others are on the roster with a turn before this one. */
int daxpin_roster_has_earlier(int roster_fd, uint32_t turn);

/* Return whether others are on the roster with a turn after this one. */
int daxpin_roster_has_later(int roster_fd, uint32_t turn);

/* Try to become the only thread, of all processes that share the description,
 * that changes the length of the file or its blocks. Return a descriptor, for
 * the caller to give back at the end of that; -EAGAIN if another one has that
 * lock; or another -errno. The lock is on the lock file: the file's own locks
 * are the program's. */
int daxpin_roster_try_growth(int roster_fd);

/* End that lock, and close its descriptor. */
void daxpin_roster_unlock_growth(int lock_fd);

#endif
