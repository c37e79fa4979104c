/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_THREAD_H_
#define DAXPIN_THREAD_H_

/* Threads of the library beside those of the program */

#include <pthread.h>

/* Start a thread that has all signals blocked: they are for the program's
 * threads. Return 0 or an errno value, as pthread_create() does. */
int daxpin_thread_create(pthread_t *thread, void *(*func)(void *), void *arg);

#endif
