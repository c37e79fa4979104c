/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_REVOKE_H_
#define DAXPIN_REVOKE_H_

/* The one sequence that ends all access to a file. Caller holds
 * daxpin_mutex. */

#include "daxpin/daxpin.h"

#include <stddef.h>
#include <stdint.h>

/* Begin to end the lease. The cause is a sentence that names the file. Holder
 * only. */
void daxpin_revoke_start(daxpin_file_t *file, const char *cause);

/* Write what may take long to find out, and is appended to the cause: "" for
 * nothing. */
typedef void (*daxpin_revoke_detail_t)(const daxpin_file_t *file, char *buffer,
                                       size_t size);

/* Do the same where processes may access the file: have all of them end access
 * first, and then complete the sentence. */
void daxpin_revoke_start_early(daxpin_file_t *file, const char *cause,
                               daxpin_revoke_detail_t detail);

/* Begin to end all access of this member. Member only, loop thread only. */
void daxpin_revoke_follow(daxpin_file_t *file);

/* Do the same because the holder has sent BREAK. The holder's barrier has made
 * the marks of all processes visible before; one in each member would interrupt
 * every processor that runs any of them. Member only, loop thread only. */
void daxpin_revoke_follow_break(daxpin_file_t *file);

/* Replace the holder's control page by one of this process, with the state
 * BREAKING and the cause. Member only, loop thread only. */
void daxpin_revoke_secede(daxpin_file_t *file, const char *cause);

/* Begin to end all access because the holder has exited. why: the rest of the
 * sentence, for why no process goes on in its place, such as ", and ...".
 * Member only, loop thread only. */
void daxpin_revoke_orphan(daxpin_file_t *file, const char *why);

/* As daxpin_file_on_revoke(), but the callback is called before the memory is
 * replaced: for a device that goes by the program's addresses, and would write
 * to what takes the place of the file. */
int daxpin_file_before_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                              void *arg);

/* Forget the parent's waiting threads, in the child of a fork. */
void daxpin_revoke_fork(void);

/* Take the next step if it can be taken. Return when to call again (ns).
 * Releases daxpin_mutex while callbacks run. Loop thread only. */
uint64_t daxpin_revoke_tick(daxpin_file_t *file, uint64_t now);

#endif
