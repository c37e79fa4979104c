/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MEMBER_H_
#define DAXPIN_MEMBER_H_

/* What a member does about what the holder says. Caller holds daxpin_mutex. */

#include "file.h"

/* Drop the hold of this process, if the guard stands in for it at this moment.
 * The holder calls it for itself. */
void daxpin_member_waive_hold(daxpin_file_t *file);

/* Act on all that the holder has said, and on a fault of this process. In the
 * loop thread. */
void daxpin_member_tick(daxpin_file_t *file);

#endif
