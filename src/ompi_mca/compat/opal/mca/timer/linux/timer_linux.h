/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_COMPAT_TIMER_H_
#define DAXPIN_COMPAT_TIMER_H_

/* Open MPI 5 and later name this header, and Debian does not install it. Used
 * only where it is missing. */

#include <stdint.h>

typedef uint64_t opal_timer_t;

#endif
