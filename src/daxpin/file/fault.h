/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FAULT_H_
#define DAXPIN_FAULT_H_

/*
 * SIGBUS, the last resort.
 *
 * A lease does not see a truncate through an inherited descriptor, and no
 * process holds the lease while a reader is let in. After such a truncate an
 * access meets SIGBUS. The handler maps another page there, and takes the state
 * away from HELD, so that the access is reported as failed. Then the handler
 * wakes the loop, which revokes. An access that was under way when a page was
 * replaced is tried again. Any other SIGBUS goes to the handler that was
 * installed before; if there was none, the process ends as it would have. The
 * handler is never uninstalled in a process that goes on.
 */

#include "daxpin/daxpin.h"

#include <stdint.h>

/* Install the handler of SIGBUS, once in a process. Return 0, or -errno with a
 * message. Caller holds daxpin_mutex. */
int daxpin_fault_install(void);

/* Let the handler act on faults in a mapping of the file. Return 0, or -errno
 * with a message. Caller holds daxpin_mutex. */
int daxpin_fault_watch(daxpin_file_t *file, uintptr_t start, uintptr_t end);

/* Let the handler forget mappings in a range that no entry of file->maps
 * overlaps any more. Caller holds daxpin_mutex. */
void daxpin_fault_unwatch_range(daxpin_file_t *file, uintptr_t start,
                                uintptr_t end);

/* Let the handler forget all mappings of the file, and wait for handlers under
 * way. Return 0 if one of them may still use the file after seconds, because its
 * thread gets no time: then the file must not be freed. Caller holds
 * daxpin_mutex. */
int daxpin_fault_unwatch(daxpin_file_t *file);

#endif
