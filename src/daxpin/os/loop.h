/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LOOP_H_
#define DAXPIN_LOOP_H_

/* The one thread of the library, and the one mutex */

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The loop thread is one in a process, and has all signals but SIGBUS blocked. It waits
 * for lease breaks, sockets and deadlines, and takes every step of every file
 * that no caller takes. Caller of a function below holds daxpin_mutex, unless
 * its comment has another rule.
 */

/* Called in the loop thread, with daxpin_mutex held. events: of epoll_wait() */
typedef void (*daxpin_event_func_t)(void *arg, uint32_t events);

/* The functions of higher layers that the loop calls */
typedef struct daxpin_loop_ops {
    /* Take the steps that can be taken now. Return when to be called again
     * (ns), if there is no event before. signaled: any lease may have been
     * broken since the last call. In the loop thread, with daxpin_mutex
     * held. */
    uint64_t (*tick)(int signaled);
    /* Called in the child of a fork, with daxpin_mutex held */
    void     (*forked)(void);
} daxpin_loop_ops_t;

/* The one mutex of the library: for every file, and all that belongs to it */
extern pthread_mutex_t daxpin_mutex;

/* Start the loop thread if it does not run. Return 0, or -errno with a message.
 * Caller does not hold daxpin_mutex. */
int daxpin_loop_start(const daxpin_loop_ops_t *ops);

/* Call func when fd is readable or hung up. Then any file may have a step to take.
 * Return an id, or 0 on failure, without a message. No id is used twice, so that
 * an event that comes after daxpin_loop_remove() calls no function. */
uint64_t daxpin_loop_add(int fd, daxpin_event_func_t func, void *arg);

/* The same for a func that tells by itself which files have a step to take. */
uint64_t daxpin_loop_add_narrow(int fd, daxpin_event_func_t func, void *arg);

/* Return whether any file may have a step to take, once. For tick(). */
int daxpin_loop_take_all(void);

/* Note that any file may have. An event function does not have to wake the loop. No
 * lock is needed. */
void daxpin_loop_want_all(void);

/* Call the function also when fd takes more to be sent (EPOLLOUT), or not any
 * more. Does nothing if there is no such id. */
void daxpin_loop_want_room(uint64_t id, int fd, int wanted);

/* End the calls for this id. Does nothing if there is no such id. */
void daxpin_loop_remove(uint64_t id, int fd);

/* Let the loop thread call tick() now. Async-signal-safe; no lock is needed. */
void daxpin_loop_wake(void);

/* The same, because any file may have a step to take. */
void daxpin_loop_wake_all(void);

/* Let the next tick() check of all leases whether they were broken. */
void daxpin_loop_hint(void);

/* Return whether a lease may have been broken; whether it is the one on a
 * descriptor. */
int daxpin_loop_has_hints(void);
int daxpin_loop_has_hint(int fd);

/* Return whether the lease on a descriptor may have been broken since the last
 * call for it. For tick(), which calls this for all leases that have a hint. */
int daxpin_loop_take_hint(int fd);

/* Take the lease on a descriptor, so that the loop notices when it breaks.
 * Return as daxpin_lease_take() does. */
int daxpin_loop_take_lease(int fd);

/* Return the loop thread and the signal that breaks of leases send it. tid 0:
 * the loop does not run. No lock is needed. */
pid_t daxpin_loop_tid(void);
int   daxpin_loop_signal(void);

/* Return whether the calling thread is the loop thread. No lock is needed. */
int daxpin_loop_is_self(void);

#endif
