/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Count how often a thread sleeps while it has daxpin_mutex. The functions
 * below replace those of the C library in this program. */

#ifndef MUTEX_H_
#define MUTEX_H_

#include "unit.h"

#include "daxpin/os/loop.h"

#include <poll.h>
#include <sys/syscall.h>

static _Atomic unsigned mutex_sleeps;

static void mutex_check(void)
{
    if (daxpin_mutex.__data.__owner == gettid()) {
        ++mutex_sleeps;
    }
}

int nanosleep(const struct timespec *pause, struct timespec *rest)
{
    mutex_check();
    return (int)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, pause, rest);
}

int poll(struct pollfd *fds, nfds_t count, int ms)
{
    const struct timespec timeout = {.tv_sec  = ms / 1000,
                                     .tv_nsec = ms % 1000 * 1000000l};

    if (ms != 0) {
        mutex_check();
    }
    return ppoll(fds, count, (ms >= 0) ? &timeout : NULL, NULL);
}

#endif
