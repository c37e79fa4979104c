/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The loop: which descriptors the daemon waits for */

#include "loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#define GUARD_EVENTS 4096

static int      guard_loop_fd = -1;
static uint64_t guard_round;

int guard_loop_init(void)
{
    guard_loop_fd = epoll_create1(EPOLL_CLOEXEC);
    return (guard_loop_fd >= 0) ? 0 : -errno;
}

int guard_loop_add(int fd, guard_event_t *event)
{
    struct epoll_event what = {.events = EPOLLIN, .data.ptr = event};

    return (epoll_ctl(guard_loop_fd, EPOLL_CTL_ADD, fd, &what) == 0) ? 0 :
                                                                       -errno;
}

void guard_loop_remove(int fd)
{
    (void)epoll_ctl(guard_loop_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Let in the signals that wait. epoll_pwait() does so only when there is nothing
 * to read: clients that are never silent would keep them out for ever. */
static void guard_loop_let_in(const sigset_t *mask)
{
    sigset_t blocked;

    if (mask != NULL) {
        sigprocmask(SIG_SETMASK, mask, &blocked);
        sigprocmask(SIG_SETMASK, &blocked, NULL);
    }
}

void guard_loop_wait(int timeout_ms, const sigset_t *mask)
{
    static struct epoll_event events[GUARD_EVENTS];
    guard_event_t *event;
    int count, i;

    count = epoll_pwait(guard_loop_fd, events, GUARD_EVENTS, timeout_ms, mask);
    guard_loop_let_in(mask);
    ++guard_round;
    for (i = 0; i < count; ++i) {
        event = events[i].data.ptr;
        event->ready(event->arg);
    }
}

uint64_t guard_loop_round(void)
{
    return guard_round;
}

long guard_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
