/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MEMBER_H_
#define DAXPIN_MEMBER_H_

/* Act on what the holder has sent. Caller holds daxpin_mutex. */

#include "file.h"

#include <stdint.h>

/* Drop the hold of this process, if the guard stands in for it at this moment.
 * The holder calls this for its own hold. */
void daxpin_member_waive_hold(daxpin_file_t *file);

/* Act on all that the holder has sent, on a fault of this process, and on the
 * silence of the holder. Return when to call again (ns). Loop thread only. */
uint64_t daxpin_member_tick(daxpin_file_t *file, uint64_t now);

/* Return whether the lease cannot have expired without a look of the holder at
 * it, by the beat of the holder or by this member's own look. */
int daxpin_member_is_sure(const daxpin_file_t *file, uint64_t now);

/* Look at the lease that all members share, because the holder has not done so
 * for long. Return whether it is whole; then daxpin_member_is_sure(). */
int daxpin_member_look(daxpin_file_t *file, uint64_t now);

/* End all access of this member, because its holder does not answer. */
void daxpin_member_give_up(daxpin_file_t *file);

#endif
