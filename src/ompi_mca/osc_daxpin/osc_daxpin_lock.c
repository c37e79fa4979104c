/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What a thread needs once to take locks for a few instructions */

#include "osc_daxpin_lock.h"

#include <sys/syscall.h>
#include <unistd.h>

_Thread_local osc_daxpin_thread_t osc_daxpin_thread;

/* Return from the entry of a mutex in a list to the word that is the lock */
static long osc_daxpin_lock_offset(void)
{
    const pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    return (const char*)&mutex.__data.__lock -
           (const char*)&mutex.__data.__list.__next;
}

__attribute__((noinline)) int osc_daxpin_thread_init(void)
{
    osc_daxpin_thread_t *thread   = &osc_daxpin_thread;
    struct robust_list_head *head = NULL;
    size_t size                   = 0;

    if (thread->id < 0) {
        return 0;
    }
    thread->id = -1;
    if ((syscall(SYS_get_robust_list, 0, &head, &size) != 0) ||
        (head == NULL) || (size != sizeof(*head)) ||
        (head->futex_offset != osc_daxpin_lock_offset())) {
        return 0;
    }
    thread->head = head;
    thread->id   = gettid();
    return 1;
}
