/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef GUARD_PROGRAMS_H_
#define GUARD_PROGRAMS_H_

#include "guard.bpf.h"

#include <sys/types.h>

/* The programs in the kernel, and what they go by. All return 0 or -errno. */

/* Load, attach, and see that the kernel goes by them. Says why if not. */
int guard_programs_start(void);

/* Have them outlive the daemon by GUARD_GRACE_MS: they are pinned in the
 * directory, which is of a BPF file system. Looks for those of a daemon that
 * died before. Not to be had: says why. */
int guard_programs_pin(const char *directory);

/* Do they? */
int guard_programs_are_pinned(void);

/* They are not to outlive it */
void guard_programs_unpin(void);

/* Did a daemon that died guard this inode, for this user, and is it guarded for
 * that reason still? */
int guard_programs_knew(int fd, uid_t uid);

/* Remove those of daemons that died whose time is over. When to come again (ms
 * from now), -1: there are none left. */
int guard_programs_forget(void);

/* Of the inode behind a descriptor, O_PATH will do */
int guard_programs_set(int fd, const guard_map_t *map);
int guard_programs_clear(int fd);

/* GUARD_RANGES_MAX ranges that maps point to */
guard_range_t *guard_programs_ranges(void);

/* Wait until no program runs that has seen what was there before. 0: it cannot
 * be had. */
int guard_programs_settle(void);

#endif
