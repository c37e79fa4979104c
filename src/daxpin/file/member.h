/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MEMBER_H_
#define DAXPIN_MEMBER_H_

/* Act on what the holder has sent. Caller holds daxpin_mutex. */

#include "file.h"

/* Drop the hold of this process, if the guard stands in for it at this moment.
 * The holder calls this for its own hold. */
void daxpin_member_waive_hold(daxpin_file_t *file);

/* Act on all that the holder has sent, and on a fault of this process. Loop
 * thread only. */
void daxpin_member_tick(daxpin_file_t *file);

#endif
