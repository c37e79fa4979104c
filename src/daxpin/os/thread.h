/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_THREAD_H_
#define DAXPIN_THREAD_H_

/* Threads of the library beside those of the program */

#include <pthread.h>

/* Start a thread that has all signals blocked, because they are for the
 * program's threads, but SIGBUS: if an access meets a SIGBUS that is blocked,
 * the kernel calls no handler, and kills the process. Return 0 or an errno value, as pthread_create() does. */
int daxpin_thread_create(pthread_t *thread, void *(*func)(void *), void *arg);

/* Unblock SIGBUS in the calling thread, which is about to access a file. */
void daxpin_thread_unblock(void);

#endif
