/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_KEEP_H_
#define DAXPIN_KEEP_H_

/* The hold of a file in this process, and the wait for the lease */

#include "file.h"

/* Until there is a lease, or it is clear that there will not be one. Then a
 * member that may access holds the blocks, too. Without daxpin_mutex. */
int daxpin_file_wait(daxpin_file_t *file, uint64_t deadline);

/* Hold its blocks in this process, or warn. With daxpin_mutex. */
void daxpin_file_place_hold(daxpin_file_t *file);

/* The same if the guard stands in for it, at a member that may access: there is
 * need of it again. With daxpin_mutex. */
void daxpin_file_hold_again(daxpin_file_t *file);

/* Follow the holder: place it if he has it, and this member may access. With
 * daxpin_mutex. */
void daxpin_file_follow_hold(daxpin_file_t *file);

#endif
