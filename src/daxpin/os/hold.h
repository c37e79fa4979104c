/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_HOLD_H_
#define DAXPIN_HOLD_H_

#include <sys/types.h>

/*
 * What keeps the blocks of an fsdax file in place without a lease: while a
 * page of it is in use by the kernel and the file is mapped somewhere, the
 * file system lets truncate and hole punch wait. A byte of the mapping spliced
 * into a pipe is such a use, for any user and for as long as the pipe has it.
 *
 * Nothing promises this; so it is tried out before it is relied upon.
 *
 * A process that is killed loses its mappings some time before its pipes. If it
 * is the last one with the file, a truncate in between, through a descriptor that
 * was open before, passes, and the kernel may warn, once, of a page that is in
 * use (dax_disassociate_entry). It does so to anybody who has put a page of such
 * a file into a pipe, without daxpin as well; nothing here can change the order.
 * No harm is done: the pipe only keeps the page, and who could write is dead.
 */
typedef struct daxpin_hold {
    int  pipe[2]; /* read, write; -1: none */
    void *page;   /* mapped for as long as it is held */
} daxpin_hold_t;

void daxpin_hold_init(daxpin_hold_t *hold);

/* Does a hold keep a truncate waiting on the file system of this file? Tried
 * once a file system and process, on a scratch file in the same directory or,
 * if none can be had there, on a range beyond the end of this one, which has
 * to have blocks (fd -1: then it does not). Takes tens of milliseconds. Needs
 * no lock. */
int daxpin_hold_works(const char *path, int fd, dev_t dev);

/* 0 or -errno with a message. path: for the message */
int daxpin_hold_place(const char *path, int fd, daxpin_hold_t *hold);

/* Touches the file by unmapping only: an intruder may be waiting in it */
void daxpin_hold_drop(daxpin_hold_t *hold);

int daxpin_hold_is_placed(const daxpin_hold_t *hold);

/* Is somebody in a truncate, hole punch or write of the file just now, or
 * waiting in it for a hold? Never waits for him. */
int daxpin_hold_is_contended(int fd);

#endif
