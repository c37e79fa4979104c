/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The one thread of the library: signals, sockets and deadlines */

#include "loop.h"

#include "breaks.h"
#include "clock.h"
#include "fork.h"
#include "log.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

typedef struct daxpin_event {
    LIST_ENTRY(daxpin_event) link;
    uint64_t            id;
    daxpin_event_func_t func;
    void                *arg;
} daxpin_event_t;

pthread_mutex_t daxpin_mutex = PTHREAD_MUTEX_INITIALIZER;

LIST_HEAD(daxpin_events, daxpin_event);

static struct {
    const daxpin_loop_ops_t *ops;
    pthread_mutex_t         start_lock;
    int                     started;
    _Atomic pid_t           tid;
    int                     epoll_fd;
    _Atomic int             wake_fd;
    uint64_t                last_id;
    int                     signaled; /* a lease may have been broken */
    struct daxpin_events    events;
} daxpin_loop = {
    .start_lock = PTHREAD_MUTEX_INITIALIZER,
    .epoll_fd   = -1,
    .wake_fd    = -1
};

pid_t daxpin_loop_tid(void)
{
    return atomic_load(&daxpin_loop.tid);
}

int daxpin_loop_is_self(void)
{
    return gettid() == atomic_load(&daxpin_loop.tid);
}

int daxpin_loop_signal(void)
{
    return daxpin_breaks_signal();
}

int daxpin_loop_take_lease(int fd)
{
    return daxpin_breaks_take_lease(fd, daxpin_loop_tid());
}

void daxpin_loop_wake(void)
{
    uint64_t one = 1;
    ssize_t ret  = write(atomic_load(&daxpin_loop.wake_fd), &one, sizeof(one));

    (void)ret; /* EAGAIN: the loop is awake; EBADF: there is no loop */
}

uint64_t daxpin_loop_add(int fd, daxpin_event_func_t func, void *arg)
{
    daxpin_event_t *event = calloc(1, sizeof(*event));
    struct epoll_event epoll_event;

    if (event == NULL) {
        return 0;
    }
    event->id            = ++daxpin_loop.last_id;
    event->func          = func;
    event->arg           = arg;
    epoll_event.events   = EPOLLIN;
    epoll_event.data.u64 = event->id;
    if (epoll_ctl(daxpin_loop.epoll_fd, EPOLL_CTL_ADD, fd,
                  &epoll_event) != 0) {
        free(event);
        return 0;
    }
    LIST_INSERT_HEAD(&daxpin_loop.events, event, link);
    return event->id;
}

static daxpin_event_t *daxpin_loop_find(uint64_t id)
{
    daxpin_event_t *event;

    LIST_FOREACH(event, &daxpin_loop.events, link) {
        if (event->id == id) {
            return event;
        }
    }
    return NULL;
}

void daxpin_loop_remove(uint64_t id, int fd)
{
    daxpin_event_t *event = daxpin_loop_find(id);

    if (event != NULL) {
        epoll_ctl(daxpin_loop.epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        LIST_REMOVE(event, link);
        free(event);
    }
}

void daxpin_loop_hint(void)
{
    daxpin_loop.signaled = 1;
}

/* A signal is only a hint: the tick checks which lease was broken. So no break
 * is lost if a signal was merged with another. */
static void daxpin_loop_on_signal(void *arg, uint32_t events)
{
    (void)arg;
    (void)events;
    if (daxpin_breaks_read()) {
        daxpin_loop_hint();
    }
}

static void daxpin_loop_on_wake(void *arg, uint32_t events)
{
    uint64_t count;
    ssize_t ret = read(atomic_load(&daxpin_loop.wake_fd), &count,
                       sizeof(count));

    (void)arg;
    (void)events;
    (void)ret;
}

/* Wait for one event and handle it. Caller does not hold daxpin_mutex; this
 * returns with daxpin_mutex held. */
static void daxpin_loop_wait(uint64_t until)
{
    struct epoll_event epoll_event;
    struct timespec timeout, *timeout_p = NULL;
    struct pollfd pollfd = {.fd     = daxpin_loop.epoll_fd,
                            .events = POLLIN};
    daxpin_event_t *event;
    uint64_t now;
    int ret;

    if (until != DAXPIN_NEVER) {
        now             = daxpin_now();
        until           = (until > now) ? until - now : 0;
        timeout.tv_sec  = (time_t)(until / DAXPIN_SEC);
        timeout.tv_nsec = (long)(until % DAXPIN_SEC);
        timeout_p       = &timeout;
    }
    /* Not epoll_pwait2(), which came with Linux 5.11 */
    ppoll(&pollfd, 1, timeout_p, NULL);
    ret = epoll_wait(daxpin_loop.epoll_fd, &epoll_event, 1, 0);
    pthread_mutex_lock(&daxpin_mutex);
    if (ret == 1) {
        event = daxpin_loop_find(epoll_event.data.u64);
        if (event != NULL) {
            event->func(event->arg, epoll_event.events);
        }
    }
}

static void *daxpin_loop_main(void *arg)
{
    uint64_t next;
    int signaled;

    pthread_setname_np(pthread_self(), "daxpin");
    atomic_store(&daxpin_loop.tid, gettid());
    (void)arg;
    pthread_mutex_lock(&daxpin_mutex);
    for (;;) {
        signaled             = daxpin_breaks_tick(daxpin_now()) ||
                               daxpin_loop.signaled;
        daxpin_loop.signaled = 0;
        next                 = daxpin_loop.ops->tick(signaled);
        next                 = daxpin_earlier(next, daxpin_breaks_next());
        pthread_mutex_unlock(&daxpin_mutex);
        daxpin_loop_wait(next);
    }
    return NULL;
}

static int daxpin_loop_open(void)
{
    int signal_fd = daxpin_breaks_open();

    daxpin_loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    daxpin_loop.wake_fd  = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if ((daxpin_loop.epoll_fd < 0) || (signal_fd < 0) ||
        (daxpin_loop.wake_fd < 0) ||
        (daxpin_loop_add(daxpin_loop.wake_fd, daxpin_loop_on_wake,
                         NULL) == 0) ||
        (daxpin_loop_add(signal_fd, daxpin_loop_on_signal,
                         NULL) == 0)) {
        return daxpin_error(errno, "cannot start the thread that watches "
                            "leases: %m");
    }
    return 0;
}

static void daxpin_loop_close(void)
{
    daxpin_event_t *event;

    while ((event = LIST_FIRST(&daxpin_loop.events)) != NULL) {
        LIST_REMOVE(event, link);
        free(event);
    }
    close(daxpin_loop.epoll_fd);
    daxpin_breaks_close();
    close(daxpin_loop.wake_fd);
    daxpin_loop.epoll_fd = -1;
    daxpin_loop.wake_fd  = -1;
    daxpin_loop.started  = 0;
    daxpin_loop.tid      = 0;
}

/* Close the epoll instance first, because it is the parent's too: forked() must
 * not remove the parent's descriptors from it. */
static void daxpin_loop_fork(void)
{
    if (daxpin_loop.started) {
        daxpin_loop_close();
    }
    if (daxpin_loop.ops != NULL) {
        daxpin_loop.ops->forked();
    }
}

DAXPIN_FORK_LOCK(DAXPIN_FORK_START, &daxpin_loop.start_lock)
DAXPIN_FORK_LOCK(DAXPIN_FORK_LOOP, &daxpin_mutex)
DAXPIN_FORK_CHILD(DAXPIN_FORK_LOOP, daxpin_loop_fork)

static int daxpin_loop_create(void)
{
    pthread_t thread;
    int ret;

    ret = daxpin_loop_open();
    if (ret != 0) {
        goto err;
    }
    ret = daxpin_thread_create(&thread, daxpin_loop_main, NULL);
    if (ret != 0) {
        ret = daxpin_error(ret, "cannot start the thread that watches leases: "
                           "%s", strerror(ret));
        goto err;
    }
    pthread_detach(thread);
    while (daxpin_loop_tid() == 0) {
        sched_yield();
    }
    daxpin_loop.started = 1;
    return 0;

err:
    daxpin_loop_close();
    return ret;
}

int daxpin_loop_start(const daxpin_loop_ops_t *ops)
{
    int ret = 0;

    pthread_mutex_lock(&daxpin_loop.start_lock);
    if (!daxpin_loop.started) {
        daxpin_loop.ops = ops;
        ret             = daxpin_loop_create();
    }
    pthread_mutex_unlock(&daxpin_loop.start_lock);
    return ret;
}
