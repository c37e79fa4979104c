/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_KEEP_H_
#define DAXPIN_KEEP_H_

/* The hold of a file in this process, and the wait for the lease */

#include "file.h"

/* Wait until there is a lease, or until it is clear that there will be none.
 * Then place the hold of this member, if it may access the file. Return 0, or
 * -errno with a message. Caller does not hold daxpin_mutex. */
int daxpin_file_wait(daxpin_file_t *file, uint64_t deadline);

/* Place the hold of this process, or log a warning. Caller holds
 * daxpin_mutex. */
void daxpin_file_place_hold(daxpin_file_t *file);

/* Drop the hold of this process, if it is placed. If a process waits for the
 * hold, take the held page out of the mappings of this process; the loop does
 * so again a bounded number of times. Caller holds daxpin_mutex. */
void daxpin_file_drop_hold(daxpin_file_t *file);

/* Take the held page out of the mappings once more, if the hold was dropped,
 * and a process still waits for it. Return when to call again (ns). Caller
 * holds daxpin_mutex. */
uint64_t daxpin_file_unmap_tick(daxpin_file_t *file, uint64_t now);

/* Place the hold of this process again, if it is waived and this process may
 * access the file. Caller holds daxpin_mutex. */
void daxpin_file_place_hold_again(daxpin_file_t *file);

/* Place the hold of this member if the holder has placed its own, and this
 * member may access the file. Caller holds daxpin_mutex. */
void daxpin_file_follow_hold(daxpin_file_t *file);

#endif
