/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FORK_H_
#define DAXPIN_FORK_H_

/*
 * Every lock that a child of fork() may need, in the one order in which locks
 * are taken.
 *
 * Another thread may have a lock at the moment of a fork, and that thread is
 * not in the child. So fork() waits for the locks, in the order below, and both
 * processes then give them up. That is for locks that are held for a short
 * time, and protect memory. A lock that is held for long only keeps two threads
 * from doing the same at once: the child gets a new one, which is free.
 *
 * A new lock needs a line in the table below, and DAXPIN_FORK_LOCK() or
 * DAXPIN_FORK_CHILD() beside its definition. osc_daxpin's locks are not here,
 * because a child of fork() may not call MPI.
 */

#include <pthread.h>

/* The order: a thread that has a lock takes only locks further down */
typedef enum daxpin_fork_order {
    DAXPIN_FORK_UCX_IB,      /* new: regions of RDMA devices */
    DAXPIN_FORK_UCX_PROCESS, /* users of the UCX component */
    DAXPIN_FORK_UCX_HOOK,    /* hooked interfaces */
    DAXPIN_FORK_UCX_MAPPED,  /* what programs have mapped */
    DAXPIN_FORK_UCX_KEY,     /* new: what keys say of the process */
    DAXPIN_FORK_UCX_PROBE,   /* new: one probe of a device at a time */
    DAXPIN_FORK_START,       /* the start of the loop */
    DAXPIN_FORK_ELECT,       /* new: one election at a time */
    DAXPIN_FORK_HOLD_TRIAL,  /* new: one trial of a hold at a time */
    DAXPIN_FORK_LOOP,        /* daxpin_mutex, for almost all there is */
    DAXPIN_FORK_FAULT,       /* new: the count of handlers of SIGBUS */
    DAXPIN_FORK_CLOSE,       /* descriptors that are to be closed later */
    DAXPIN_FORK_POLICY,      /* names of files to lease */
    DAXPIN_FORK_WARNED,      /* files that the user was warned of */
    DAXPIN_FORK_HOLD,        /* results of trials, and the one under way */
    DAXPIN_FORK_CACHE,       /* new: a spinlock, and an empty cache with it */
    DAXPIN_FORK_ORDERS
} daxpin_fork_order_t;

/* Have a lock taken by fork(). No lock is needed. */
void daxpin_fork_add_lock(daxpin_fork_order_t order, pthread_mutex_t *lock);

/* Have a function called in the child of a fork, from the last of the order to
 * the first, with the locks of daxpin_fork_add_lock() held. No lock is
 * needed. */
void daxpin_fork_add_child(daxpin_fork_order_t order, void (*func)(void));

/* Do the former when the program or library is loaded */
#define DAXPIN_FORK_LOCK(_order, _lock) \
    static __attribute__((constructor)) void daxpin_fork_lock_##_order(void) \
    { \
        daxpin_fork_add_lock(_order, _lock); \
    }

/* Do the latter when the program or library is loaded */
#define DAXPIN_FORK_CHILD(_order, _func) \
    static __attribute__((constructor)) void daxpin_fork_child_##_order(void) \
    { \
        daxpin_fork_add_child(_order, _func); \
    }

#endif
