/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The daemon's programs in the kernel: load, attach, pin, and set ranges */

#ifndef GUARD_PROGRAMS_H_
#define GUARD_PROGRAMS_H_

#include "guard.bpf.h"

#include <sys/types.h>

/* Functions return 0 or -errno unless said otherwise. */

/* Load and attach the programs, and check that the kernel calls them. Logs
 * errors. */
int guard_programs_start(void);

/* Pin the programs in a directory of a BPF file system, so that they outlive
 * the daemon by GUARD_GRACE_MS. Finds the programs of former daemons. Logs
 * errors. */
int guard_programs_pin(const char *directory);

/* Return whether the programs are pinned. */
int guard_programs_are_pinned(void);

/* Have the programs let everything pass from now on, and the kernel remove them. */
void guard_programs_end(void);

/* Return whether a former daemon guarded this inode for this user, and its
 * programs still do. */
int guard_programs_knew(int fd, uid_t uid);

/* Remove the expired programs of former daemons. Return when to call it again
 * (ms from now); -1: no more are left. */
int guard_programs_forget(void);

/* Get the owner of a file that a child of the daemon has received, as the kernel had it
 * then: a mount may show another. */
int guard_programs_owner(int fd, uid_t *owner_p);

/* Set or clear the ranges of the inode behind a descriptor; O_PATH will do. */
int guard_programs_set(int fd, const guard_map_t *map);
int guard_programs_clear(int fd);

/* Tell the programs that the daemon is alive. */
void guard_programs_beat(void);

/* Mark the socket that the daemon listens at, so that programs see who connects
 * to it. */
int guard_programs_mark(int listen_fd);

/* Return the user who a connection counts for; uid, if that is not known. Set
 * *waits_p to whether it counts among those of the user that wait for an answer. */
uid_t guard_programs_payer(int sock, uid_t uid, int *waits_p);

/* Note that one of these has got its answer, or has gone. */
void guard_programs_served(uid_t payer);

/* Return the table of GUARD_RANGES_MAX ranges. */
guard_range_t *guard_programs_ranges(void);

/* Wait until all running programs have ended. Return 0 if the kernel cannot. */
int guard_programs_settle(void);

#endif
