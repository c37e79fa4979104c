/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_WATCH_H_
#define DAXPIN_WATCH_H_

/*
 * Watches: inotify reports who changes a file by system calls.
 *
 * A watch breaks no lease. It is silent about stores to mappings. It reports
 * every write, truncate and hole punch, and in the same system call: once the
 * intruder's call has returned, its event is in the queue. The queue does not
 * report which process has changed the file.
 *
 * A process has one inotify instance for all its files, because a user may have
 * few of them (fs.inotify.max_user_instances, 128). Caller holds daxpin_mutex,
 * unless a comment has another rule.
 */

#include <stdint.h>
#include <sys/queue.h>

/* What a watch has seen */
#define DAXPIN_WATCH_CHANGE 1u /* a write, truncate or hole punch */
#define DAXPIN_WATCH_WRITER 2u /* a description for writing was closed */
#define DAXPIN_WATCH_CLOSE  4u /* a description was closed */
#define DAXPIN_WATCH_LOST   8u /* events were lost, or the watch has ended */

typedef struct daxpin_inode_watch {
    LIST_ENTRY(daxpin_inode_watch) link;
    int      wd;   /* -1: not placed */
    unsigned seen; /* since daxpin_watch_take() */
} daxpin_inode_watch_t;

void daxpin_watch_init(daxpin_inode_watch_t *watch);

/* Watch the file of a descriptor. Does nothing if the watch is placed. Return
 * 0; or -errno without a message: EMFILE means that no inotify instance is left
 * for this user, or no descriptor for this process. */
int daxpin_watch_place(daxpin_inode_watch_t *watch, int fd);

int daxpin_watch_is_placed(const daxpin_inode_watch_t *watch);

void daxpin_watch_drop(daxpin_inode_watch_t *watch);

/* Return the inotify descriptor of this process, or -1. It is readable while
 * events are queued. */
int daxpin_watch_fd(void);

/* Return the number of that instance, by which other processes that get its
 * descriptor more than once know it again; 0: there is no instance. */
uint64_t daxpin_watch_number(void);

/* Keep a descriptor of another process's instance, by its number. A process
 * keeps one descriptor of an instance, for all files. Takes fd. Return the
 * descriptor to use until daxpin_watch_release(); -1 if fd is -1, or there is no
 * memory. */
int daxpin_watch_keep(uint64_t number, int fd);

/* End the use of a kept descriptor, and set it to -1. Does nothing if it is. */
void daxpin_watch_release(int *fd_p);

/* Return whether an inotify instance, of any process, has nothing to read; 0
 * without one (-1). */
int daxpin_watch_is_calm(int watch_fd);

/* Return whether events are queued. */
int daxpin_watch_is_readable(void);

/* Note all queued events at their watches. */
void daxpin_watch_read(void);

/* Let events wake the loop again, if it is time. A program that writes to its
 * file all the time wakes the loop only now and then. Return when to be called
 * again (ns). */
uint64_t daxpin_watch_tick(uint64_t now);

/* Return whether the watch has seen anything since daxpin_watch_take(). */
int daxpin_watch_has_seen(const daxpin_inode_watch_t *watch);

/* Return what the watch has seen, and forget it. */
unsigned daxpin_watch_take(daxpin_inode_watch_t *watch);

/* Close the instance, in the child of a fork. */
void daxpin_watch_fork(void);

#endif
