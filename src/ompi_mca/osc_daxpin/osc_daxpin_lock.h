/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_LOCK_H_
#define OSC_DAXPIN_LOCK_H_

/* The lock of a rank's accumulates, taken for a few instructions */

#include "osc_daxpin.h"

#include <linux/futex.h>

/*
 * A robust mutex of pthread costs more than an accumulate of one word: two
 * atomic operations, and the thread's list of such mutexes. A lock that the
 * thread has only for a few instructions needs no place in that list. The
 * kernel also looks at the one that a thread is about to lock or unlock, and
 * that is what the thread leaves there meanwhile: see robust-futex-ABI in the
 * documentation of Linux. To all others, the mutex is locked by this thread,
 * and if the thread ends, they find that its owner has died.
 *
 * Nobody sleeps until the mutex is unlocked, see osc_daxpin_node_lock(), so that
 * none has to be woken.
 */

/* A thread, for the kernel and for owners of mutexes */
typedef struct osc_daxpin_thread {
    struct robust_list_head *head;
    int                     id; /* 0: not known yet; -1: no lock that is quick */
} osc_daxpin_thread_t;

extern _Thread_local osc_daxpin_thread_t osc_daxpin_thread;

/* Fill in the calling thread. Return whether it may take quick locks. */
int osc_daxpin_thread_init(void);

/* Return the calling thread; NULL if it may not take quick locks. */
static OSC_DAXPIN_INLINE osc_daxpin_thread_t *osc_daxpin_thread_self(void)
{
    osc_daxpin_thread_t *thread = &osc_daxpin_thread;

    /* A compiler would find the thread again each time, which takes longer */
    __asm__("" : "+r"(thread));
    return (OPAL_LIKELY(thread->id > 0) || osc_daxpin_thread_init()) ? thread :
                                                                       NULL;
}

/* Unlock what osc_daxpin_lock_quick() has locked. */
static OSC_DAXPIN_INLINE void
osc_daxpin_unlock_quick(osc_daxpin_thread_t *thread, osc_daxpin_lock_t *lock)
{
    __atomic_store_n(&lock->mutex.__data.__lock, 0, __ATOMIC_RELEASE);
    atomic_signal_fence(memory_order_seq_cst);
    thread->head->list_op_pending = NULL;
}

/* Lock if nobody has the lock, and no process has ended with it. Until the lock
 * is unlocked, the thread calls nothing that may lock a robust mutex. */
static OSC_DAXPIN_INLINE int
osc_daxpin_lock_quick(osc_daxpin_thread_t *thread, osc_daxpin_lock_t *lock)
{
    int unlocked = 0;

    thread->head->list_op_pending =
            (struct robust_list*)&lock->mutex.__data.__list.__next;
    atomic_signal_fence(memory_order_seq_cst);
    if (OPAL_UNLIKELY(!__atomic_compare_exchange_n(
                &lock->mutex.__data.__lock, &unlocked, thread->id, 0,
                __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))) {
        thread->head->list_op_pending = NULL;
        return 0;
    }
    if (OPAL_UNLIKELY(lock->broken)) {
        osc_daxpin_unlock_quick(thread, lock);
        return 0;
    }
    return 1;
}

#endif
