/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Allocation of entries in the kernel's table of ranges */

#ifndef GUARD_SPACE_H_
#define GUARD_SPACE_H_

#include <stdint.h>

/* Allocate count entries. Return 0 or -ENOSPC. */
int guard_space_get(uint32_t count, uint32_t *first_p);

/* Free entries. Programs may still read them, so they are reused only after
 * guard_programs_settle(). */
void guard_space_put(uint32_t first, uint32_t count);

#endif
