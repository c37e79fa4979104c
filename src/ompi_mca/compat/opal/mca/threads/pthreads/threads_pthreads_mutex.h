/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_COMPAT_MUTEX_H_
#define DAXPIN_COMPAT_MUTEX_H_

/* As threads_pthreads_threads.h: mutexes. The members of opal_mutex_t are of
 * these types, so they have to be those of the library. */

#include "opal/constants.h"

#include <pthread.h>
#include <stdbool.h>

typedef pthread_mutex_t opal_thread_internal_mutex_t;
typedef pthread_cond_t opal_thread_internal_cond_t;

#define OPAL_THREAD_INTERNAL_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define OPAL_THREAD_INTERNAL_COND_INITIALIZER  PTHREAD_COND_INITIALIZER

static inline int
opal_thread_internal_mutex_trylock(opal_thread_internal_mutex_t *mutex)
{
    return pthread_mutex_trylock(mutex) != 0;
}

static inline void
opal_thread_internal_mutex_lock(opal_thread_internal_mutex_t *mutex)
{
    (void)pthread_mutex_lock(mutex);
}

static inline void
opal_thread_internal_mutex_unlock(opal_thread_internal_mutex_t *mutex)
{
    (void)pthread_mutex_unlock(mutex);
}

static inline int
opal_thread_internal_mutex_init(opal_thread_internal_mutex_t *mutex,
                                bool recursive)
{
    pthread_mutexattr_t attr;
    int ret;

    (void)pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_settype(&attr, recursive ?
                                                   PTHREAD_MUTEX_RECURSIVE :
                                                   PTHREAD_MUTEX_DEFAULT);
    ret = pthread_mutex_init(mutex, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    return (ret == 0) ? OPAL_SUCCESS : OPAL_ERR_OUT_OF_RESOURCE;
}

static inline void
opal_thread_internal_mutex_destroy(opal_thread_internal_mutex_t *mutex)
{
    (void)pthread_mutex_destroy(mutex);
}

static inline int
opal_thread_internal_cond_init(opal_thread_internal_cond_t *cond)
{
    return (pthread_cond_init(cond, NULL) == 0) ? OPAL_SUCCESS :
                                                  OPAL_ERR_OUT_OF_RESOURCE;
}

static inline void
opal_thread_internal_cond_wait(opal_thread_internal_cond_t *cond,
                               opal_thread_internal_mutex_t *mutex)
{
    (void)pthread_cond_wait(cond, mutex);
}

static inline void
opal_thread_internal_cond_broadcast(opal_thread_internal_cond_t *cond)
{
    (void)pthread_cond_broadcast(cond);
}

static inline void
opal_thread_internal_cond_signal(opal_thread_internal_cond_t *cond)
{
    (void)pthread_cond_signal(cond);
}

static inline void
opal_thread_internal_cond_destroy(opal_thread_internal_cond_t *cond)
{
    (void)pthread_cond_destroy(cond);
}

#endif
