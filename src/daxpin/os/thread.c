/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Threads of the library beside those of the program */

#include "thread.h"

#include <signal.h>

int daxpin_thread_create(pthread_t *thread, void *(*func)(void *), void *arg)
{
    sigset_t all, old;
    int ret;

    /* A new thread inherits the mask of the one that makes it */
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(thread, NULL, func, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ret;
}

void daxpin_thread_unblock(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}
