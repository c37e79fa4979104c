/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LOOP_H_
#define DAXPIN_LOOP_H_

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One thread a process, all signals blocked: it waits for lease breaks, for
 * sockets and for time, and takes every step of every file's life that does
 * not belong to a caller. Everything below is to be called with daxpin_mutex
 * held, unless said otherwise.
 */

/* Called by the thread, with daxpin_mutex held. events: of epoll_wait() */
typedef void (*daxpin_event_func_t)(void *arg, uint32_t events);

/* What the loop calls; it knows nobody by name. */
typedef struct daxpin_loop_ops {
    /* Take the steps that can be taken now, in the thread, with daxpin_mutex
     * held; return when to be called again (ns), unless there is an event
     * before. signaled: a lease may have been broken since the last call. */
    uint64_t (*tick)(int signaled);
    /* In the child of a fork, with daxpin_mutex held */
    void     (*forked)(void);
} daxpin_loop_ops_t;

/* The one lock of the library: for every file, and what hangs on it */
extern pthread_mutex_t daxpin_mutex;

/* Start the thread if it is not there. Without daxpin_mutex. 0 or -errno with
 * a message. */
int daxpin_loop_start(const daxpin_loop_ops_t *ops);

/* Have func called when fd is readable or hung up. 0: failed. An id is not
 * used again, so an event that comes too late finds nobody. */
uint64_t daxpin_loop_add(int fd, daxpin_event_func_t func, void *arg);
void     daxpin_loop_remove(uint64_t id, int fd);

/* Have the thread look at all files now. Async-signal-safe, no lock needed. */
void daxpin_loop_wake(void);

/* Have it look whether a lease was broken. In the thread */
void daxpin_loop_hint(void);

/* For F_SETOWN_EX and F_SETSIG; wherever */
pid_t daxpin_loop_tid(void);
int   daxpin_loop_signal(void);
int   daxpin_loop_is_self(void);

#endif
