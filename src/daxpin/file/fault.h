/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FAULT_H_
#define DAXPIN_FAULT_H_

#include "daxpin/daxpin.h"

#include <stdint.h>

/*
 * The last resort. A lease does not see a truncate through an inherited
 * descriptor, and nobody holds it while a reader is let in. An access then
 * meets SIGBUS: the handler puts an anonymous page there, takes the state away
 * from HELD, so that the access is reported as failed, and wakes the monitor,
 * which revokes. Any other SIGBUS goes to the handler that was there before.
 */

/* With daxpin_mutex held */
int  daxpin_fault_install(void);
int  daxpin_fault_watch(daxpin_file_t *file, uintptr_t start, uintptr_t end);
void daxpin_fault_unwatch(daxpin_file_t *file);

#endif
