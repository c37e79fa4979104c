/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Calls of the kernel that fail for a moment */

#include "patience.h"

#include <errno.h>
#include <time.h>

/* Waits of 1, 2, 4, ... ms, which are GUARD_PATIENCE_MS together */
#define GUARD_TRIES 7

/* A program of BPF may write to a map anywhere, so the kernel allocates a map's
 * entry without a wait for memory or for a lock, for a system call as well. So a
 * call fails where another processor is in the allocator, or memory is free only
 * after the kernel has written some of it back. */
static int guard_is_momentary(int ret)
{
    return (ret == -ENOMEM) || (ret == -EBUSY) || (ret == -EAGAIN) ||
           (ret == -EDEADLK) || (ret == -ETIMEDOUT);
}

int guard_try_again(int ret, unsigned *tries_p)
{
    struct timespec pause = {.tv_nsec = 0};

    if (!guard_is_momentary(ret) || (*tries_p >= GUARD_TRIES)) {
        return 0;
    }
    pause.tv_nsec = 1000000l << *tries_p;
    nanosleep(&pause, NULL);
    ++*tries_p;
    return 1;
}
