/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The locks of this process at a fork() */

#include "fork.h"

#include <stdatomic.h>
#include <stddef.h>

/* Components that are loaded later add to the tables */
static _Atomic(pthread_mutex_t*) daxpin_fork_locks[DAXPIN_FORK_ORDERS];
static void (*_Atomic daxpin_fork_children[DAXPIN_FORK_ORDERS])(void);

/* The locks that the fork under way has taken. Only one thread forks at a time:
 * glibc calls the handlers under a lock of its own, or else the first lock of
 * the table does the same. */
static pthread_mutex_t daxpin_fork_turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t *daxpin_fork_taken[DAXPIN_FORK_ORDERS];

static void daxpin_fork_prepare(void)
{
    int i;

    pthread_mutex_lock(&daxpin_fork_turn);
    for (i = 0; i < DAXPIN_FORK_ORDERS; ++i) {
        daxpin_fork_taken[i] = atomic_load(&daxpin_fork_locks[i]);
        if (daxpin_fork_taken[i] != NULL) {
            pthread_mutex_lock(daxpin_fork_taken[i]);
        }
    }
}

static void daxpin_fork_parent(void)
{
    int i;

    for (i = DAXPIN_FORK_ORDERS - 1; i >= 0; --i) {
        if (daxpin_fork_taken[i] != NULL) {
            pthread_mutex_unlock(daxpin_fork_taken[i]);
        }
    }
    pthread_mutex_unlock(&daxpin_fork_turn);
}

static void daxpin_fork_child(void)
{
    void (*func)(void);
    int i;

    for (i = DAXPIN_FORK_ORDERS - 1; i >= 0; --i) {
        func = atomic_load(&daxpin_fork_children[i]);
        if (func != NULL) {
            func();
        }
    }
    daxpin_fork_parent();
}

static void daxpin_fork_install(void)
{
    static atomic_flag installed = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&installed)) {
        pthread_atfork(daxpin_fork_prepare, daxpin_fork_parent,
                       daxpin_fork_child);
    }
}

void daxpin_fork_add_lock(daxpin_fork_order_t order, pthread_mutex_t *lock)
{
    atomic_store(&daxpin_fork_locks[order], lock);
    daxpin_fork_install();
}

void daxpin_fork_add_child(daxpin_fork_order_t order, void (*func)(void))
{
    atomic_store(&daxpin_fork_children[order], func);
    daxpin_fork_install();
}
