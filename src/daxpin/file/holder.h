/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_HOLDER_H_
#define DAXPIN_HOLDER_H_

#include "daxpin/daxpin.h"

#include <stdint.h>

/* All with daxpin_mutex held, at the holder, unless said otherwise */

/* Begin to take the lease; the monitor goes on from there */
void daxpin_holder_want(daxpin_file_t *file, unsigned timeout_ms);

/* What there is to do by now: taken or broken? Returns the time (ns) at which
 * to come again. */
uint64_t daxpin_holder_tick(daxpin_file_t *file, uint64_t now, int signaled);

#endif
