/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef GUARD_SPACE_H_
#define GUARD_SPACE_H_

#include <stdint.h>

/* Who uses which part of the kernel's table of ranges */

/* 0 or -ENOSPC, -ENOMEM */
int guard_space_get(uint32_t count, uint32_t *first_p);

/* The programs may be reading it still: it is used again after they settled */
void guard_space_put(uint32_t first, uint32_t count);

#endif
