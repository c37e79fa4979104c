/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_HANDOVER_H_
#define DAXPIN_HANDOVER_H_

/*
 * The holder has ended, and a member takes its place.
 *
 * The lease belongs to the open file description that all members share, so it
 * goes on. Each member tries to take the address of the file: the one that can
 * is the holder now, and the others connect to it. Until then accesses go on,
 * if daxpin_file_check() can still prove that the file is whole. If that takes
 * too long, access ends.
 *
 * Caller holds daxpin_mutex, in the loop thread.
 */

#include "file.h"

#include <stdint.h>

/* Take one step of a member, after daxpin_member_tick(). Return when to call
 * again (ns). */
uint64_t daxpin_handover_tick(daxpin_file_t *file, uint64_t now);

#endif
