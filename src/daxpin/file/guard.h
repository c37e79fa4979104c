/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_GUARD_H_
#define DAXPIN_GUARD_H_

#include "file.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The guard's client: what this process pins of a file is told to
 * daxpin-guardd, if there is one, which has truncates of it fail.
 *
 * Whether it is there, is slow, or goes away never keeps anybody from pinning:
 * without it the lease protects, as ever. What nobody may do is to rely on it
 * when it is not there; so its word is what counts, and its silence.
 */

/* All with daxpin_mutex held. */

void daxpin_guard_init(daxpin_guard_t *guard);

/* A pin came or goes. Never fails: what cannot be told leaves it unguarded. */
void daxpin_guard_add(daxpin_file_t *file, uint64_t start, uint64_t end);
void daxpin_guard_remove(daxpin_file_t *file, uint64_t start, uint64_t end);

/* Let daxpin_mutex go until the guard has answered, or takes too long */
void daxpin_guard_wait(daxpin_file_t *file);

/* Connect again, send what is left. When to come again (ns). */
uint64_t daxpin_guard_tick(daxpin_file_t *file, uint64_t now);

/* This process's pins are all guarded at this moment, and there are some */
int daxpin_guard_is_on(const daxpin_file_t *file);

/* Holder: so are those of all members, as far as they have any */
int daxpin_guard_covers(const daxpin_file_t *file);

/* No pin of this process needs the hold: the guard keeps them whole, and would
 * for a while if the daemon died in this moment, so that there is time to place
 * it. Also where there are no pins. */
int daxpin_guard_stands_in(const daxpin_file_t *file);

/* It has been asked to guard, and will answer in a moment */
int daxpin_guard_is_coming(const daxpin_file_t *file);

/* Nothing of this file is guarded any more when it returns (or soon after, if
 * the guard is slow) */
void daxpin_guard_close(daxpin_file_t *file);

/* In the child of a fork: it is the parent's */
void daxpin_guard_fork(daxpin_file_t *file);

#endif
