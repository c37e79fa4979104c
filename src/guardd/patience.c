/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Calls of the kernel that fail for a moment */

#include "patience.h"

#include <errno.h>
#include <time.h>

#define GUARD_WAIT_MAX_MS 16

static unsigned guard_patience = GUARD_PATIENCE_MS; /* ms, left in this round */

/* A program of BPF may write to a map anywhere, so the kernel allocates a map's
 * entry without a wait for memory or for a lock, for a system call as well. So a
 * call fails where another processor is in the allocator, or memory is free only
 * after the kernel has written some of it back. */
static int guard_is_momentary(int ret)
{
    return (ret == -ENOMEM) || (ret == -EBUSY) || (ret == -EAGAIN) ||
           (ret == -EDEADLK) || (ret == -ETIMEDOUT);
}

void guard_patience_renew(void)
{
    guard_patience = GUARD_PATIENCE_MS;
}

/* Wait for 1, 2, 4, ... ms. */
int guard_try_again(int ret, unsigned *tries_p)
{
    struct timespec pause = {.tv_nsec = 0};
    unsigned ms           = (*tries_p < 4) ? 1u << *tries_p : GUARD_WAIT_MAX_MS;

    ms = (ms < guard_patience) ? ms : guard_patience;
    if (!guard_is_momentary(ret) || (ms == 0)) {
        return 0;
    }
    pause.tv_nsec = (long)ms * 1000000;
    nanosleep(&pause, NULL);
    guard_patience -= ms;
    ++*tries_p;
    return 1;
}
