/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_REVOKE_H_
#define DAXPIN_REVOKE_H_

#include "daxpin/daxpin.h"

#include <stdint.h>

/* All with daxpin_mutex held, in the monitor thread */

/* Holder: end the lease. The cause is a sentence naming the file. */
void daxpin_revoke_start(daxpin_file_t *file, const char *cause);

/* Peer: the holder says so */
void daxpin_revoke_follow(daxpin_file_t *file);

/* Member: the page of the holder does not count any more; have one of its own,
 * which says BREAKING and why */
void daxpin_revoke_secede(daxpin_file_t *file, const char *cause);

/* Peer: the holder is gone */
void daxpin_revoke_orphan(daxpin_file_t *file);

/* In the child of a fork */
void daxpin_revoke_fork(void);

/* Take the next step if it can be taken. Returns when to come again (ns).
 * May let daxpin_mutex go while callbacks run. */
uint64_t daxpin_revoke_tick(daxpin_file_t *file, uint64_t now);

#endif
