/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_HOLD_H_
#define DAXPIN_HOLD_H_

/* The hold: a spliced page makes a file system wait before it frees blocks */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The hold keeps the blocks of an fsdax file in place without a lease. While
 * the kernel uses a page of the file, and (before Linux 6.15) the file is mapped
 * somewhere, the file system makes truncate and hole punch wait. A byte of the mapping that is
 * spliced into a pipe is such a use, for any user and as long as the pipe has
 * the byte.
 *
 * The kernel does not promise this. So daxpin tries a hold on each file system
 * before it relies on holds.
 *
 * A process that is killed loses its mappings some time before its pipes. Before
 * Linux 6.15, if no other process maps the file, a truncate in between passes, through a
 * descriptor that was open before. The kernel may then warn, once, of a page
 * that is in use (dax_disassociate_entry). It does so for any process that put
 * a page of such a file into a pipe, also without daxpin, and the order cannot
 * be changed here. No harm is done: the pipe only keeps the page, and the
 * process that could write to the page is dead.
 */
typedef struct daxpin_hold {
    int  pipe[2]; /* read, write; -1: none */
    int  path_fd; /* of the file, O_PATH, lower than the pipe's; -1: none */
    void *page;   /* the held page, mapped; NULL: no hold is placed */
} daxpin_hold_t;

/* Initialize a hold that is not placed. */
void daxpin_hold_init(daxpin_hold_t *hold);

/* Return whether a hold makes a truncate wait on the file system of this file,
 * which is used with DAX; -1 if that cannot be tried, so that no hold may be
 * relied upon. The trial takes tens of milliseconds, once in a process for each
 * file system. It uses a scratch file in the same directory that is used with
 * DAX as well, if need be in a scratch directory with the flag for DAX. If none
 * can be created there, it uses a range beyond the end of this file, which must
 * have blocks; with fd -1 the answer is then -1. No lock is needed. */
int daxpin_hold_works(const char *path, int fd, dev_t dev);

/* Place a hold on the file. Return 0, or -errno with a message. path is for the
 * message. The caller serialises the calls for one hold. */
int daxpin_hold_place(const char *path, int fd, daxpin_hold_t *hold);

/* Drop a hold, or do nothing if it is not placed. The file is only unmapped, so
 * that this never waits for a process that waits for the hold. */
void daxpin_hold_drop(daxpin_hold_t *hold);

/* Take the held page out of a mapping of the file, which begins at that offset.
 * The content is the file's, and comes back with the next access. Since Linux
 * 6.15, a process that waits for a hold waits until the hold is dropped, and
 * then until no process has the page mapped. The kernel unmaps the page when
 * the process begins to wait, but any access maps it again. */
void daxpin_hold_unmap(void *addr, size_t length, uint64_t offset);

/* Return whether the hold is placed. */
int daxpin_hold_is_placed(const daxpin_hold_t *hold);

/* Return whether a process is in a truncate, hole punch or write of the file
 * now, or waits in it for a hold. Never waits for that process. No lock is
 * needed. */
int daxpin_hold_is_contended(int fd);

#endif
