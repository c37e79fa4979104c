/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LIMIT_H_
#define DAXPIN_LIMIT_H_

/* The limit of open files */

/*
 * The usual soft limit, 1024, is one for programs that call select(). A file
 * with many members needs more. So the soft limit is raised to the hard one
 * when few descriptors are left: not before, because children of the program
 * inherit it, and not if the program has set it since the library first looked,
 * because then the program wants it so.
 */

/* Look at the limit for the first time. No lock is needed. */
void daxpin_limit_note(void);

/* Raise the limit if few descriptors are left: the next one, which is free, is
 * searched for. Return whether the limit was raised. No lock is needed. */
int daxpin_limit_check(void);

#endif
