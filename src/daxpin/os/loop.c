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
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How many events the loop handles before the next tick, which has files take
 * their steps */
#define DAXPIN_LOOP_BATCH 64

#define DAXPIN_LOOP_SLICE (DAXPIN_MSEC / 10) /* the least that there is */

/* The lower bits of an id are the place in the array, the upper ones are never
 * used twice */
typedef struct daxpin_event {
    uint64_t            id;   /* 0: this one is free */
    unsigned            next; /* that is free; the last: DAXPIN_LOOP_NONE */
    int                 narrow;
    daxpin_event_func_t func;
    void                *arg;
} daxpin_event_t;

#define DAXPIN_LOOP_PLACE_BITS 24
#define DAXPIN_LOOP_PLACES     (1u << DAXPIN_LOOP_PLACE_BITS)
#define DAXPIN_LOOP_NONE       UINT_MAX

pthread_mutex_t daxpin_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct {
    const daxpin_loop_ops_t *ops;
    pthread_mutex_t         start_lock;
    int                     started;
    _Atomic pid_t           tid;
    int                     epoll_fd;
    _Atomic int             wake_fd;
    uint64_t                last_id;  /* its upper bits */
    int                     signaled; /* any lease may have been broken */
    _Atomic int             all;      /* any file may have a step to take */
    daxpin_event_t          *events;
    unsigned                room;
    unsigned                unused;   /* the first event that is free */
} daxpin_loop = {
    .start_lock = PTHREAD_MUTEX_INITIALIZER,
    .unused     = DAXPIN_LOOP_NONE,
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

void daxpin_loop_wake_all(void)
{
    daxpin_loop_want_all();
    daxpin_loop_wake();
}

/* Double the room. Return 0 or -ENOMEM. */
static int daxpin_loop_grow(void)
{
    const unsigned room = 2 * daxpin_loop.room + 16;
    daxpin_event_t *events;
    unsigned i;

    events = (room > DAXPIN_LOOP_PLACES) ? NULL :
             realloc(daxpin_loop.events, room * sizeof(*events));
    if (events == NULL) {
        return -ENOMEM;
    }
    for (i = room; i-- > daxpin_loop.room;) {
        events[i].id       = 0;
        events[i].next     = daxpin_loop.unused;
        daxpin_loop.unused = i;
    }
    daxpin_loop.events = events;
    daxpin_loop.room   = room;
    return 0;
}

static uint64_t daxpin_loop_add_event(int fd, daxpin_event_func_t func,
                                      void *arg, int narrow)
{
    struct epoll_event epoll_event;
    daxpin_event_t *event;
    unsigned place;

    if ((daxpin_loop.unused == DAXPIN_LOOP_NONE) && (daxpin_loop_grow() != 0)) {
        return 0;
    }
    place                = daxpin_loop.unused;
    event                = &daxpin_loop.events[place];
    epoll_event.events   = EPOLLIN;
    epoll_event.data.u64 = (++daxpin_loop.last_id << DAXPIN_LOOP_PLACE_BITS) |
                           place;
    if (epoll_ctl(daxpin_loop.epoll_fd, EPOLL_CTL_ADD, fd,
                  &epoll_event) != 0) {
        return 0;
    }
    daxpin_loop.unused = event->next;
    event->id          = epoll_event.data.u64;
    event->narrow      = narrow;
    event->func        = func;
    event->arg         = arg;
    return event->id;
}

uint64_t daxpin_loop_add(int fd, daxpin_event_func_t func, void *arg)
{
    return daxpin_loop_add_event(fd, func, arg, 0);
}

uint64_t daxpin_loop_add_narrow(int fd, daxpin_event_func_t func, void *arg)
{
    return daxpin_loop_add_event(fd, func, arg, 1);
}

void daxpin_loop_want_all(void)
{
    atomic_store(&daxpin_loop.all, 1);
}

int daxpin_loop_take_all(void)
{
    return atomic_exchange(&daxpin_loop.all, 0);
}

static daxpin_event_t *daxpin_loop_find(uint64_t id)
{
    const unsigned place = (unsigned)(id % DAXPIN_LOOP_PLACES);

    return ((id != 0) && (place < daxpin_loop.room) &&
            (daxpin_loop.events[place].id == id)) ?
                   &daxpin_loop.events[place] :
                   NULL;
}

void daxpin_loop_want_room(uint64_t id, int fd, int wanted)
{
    struct epoll_event epoll_event = {.events   = EPOLLIN |
                                                  (wanted ? EPOLLOUT : 0),
                                      .data.u64 = id};

    if (daxpin_loop_find(id) != NULL) {
        epoll_ctl(daxpin_loop.epoll_fd, EPOLL_CTL_MOD, fd, &epoll_event);
    }
}

void daxpin_loop_remove(uint64_t id, int fd)
{
    daxpin_event_t *event = daxpin_loop_find(id);

    if (event != NULL) {
        epoll_ctl(daxpin_loop.epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        event->id          = 0;
        event->next        = daxpin_loop.unused;
        daxpin_loop.unused = (unsigned)(id % DAXPIN_LOOP_PLACES);
    }
}

int daxpin_loop_has_hints(void)
{
    return daxpin_breaks_has_hints();
}

int daxpin_loop_has_hint(int fd)
{
    return daxpin_breaks_has_hint(fd);
}

int daxpin_loop_take_hint(int fd)
{
    return daxpin_breaks_take_hint(fd);
}

void daxpin_loop_hint(void)
{
    daxpin_loop.signaled = 1;
}

/* A signal is only a hint: the tick checks whether the lease was broken. */
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

/* Handle events. Those that another has removed meanwhile have no id. */
static void daxpin_loop_handle(const struct epoll_event *epoll_events,
                               int count)
{
    daxpin_event_t *event;
    int i;

    for (i = 0; i < count; ++i) {
        event = daxpin_loop_find(epoll_events[i].data.u64);
        if (event != NULL) {
            if (!event->narrow) {
                daxpin_loop_want_all();
            }
            event->func(event->arg, epoll_events[i].events);
        }
    }
}

/* Wait for events and handle them. Caller does not hold daxpin_mutex; this
 * returns with daxpin_mutex held. */
static void daxpin_loop_wait(uint64_t until)
{
    struct epoll_event epoll_events[DAXPIN_LOOP_BATCH];
    struct timespec timeout, *timeout_p = NULL;
    struct pollfd pollfd = {.fd     = daxpin_loop.epoll_fd,
                            .events = POLLIN};
    uint64_t now;
    int count;

    if (until != DAXPIN_NEVER) {
        now             = daxpin_now();
        until           = (until > now) ? until - now : 0;
        timeout.tv_sec  = (time_t)(until / DAXPIN_SEC);
        timeout.tv_nsec = (long)(until % DAXPIN_SEC);
        timeout_p       = &timeout;
    }
    /* Not epoll_pwait2(), which came with Linux 5.11 */
    ppoll(&pollfd, 1, timeout_p, NULL);
    count = epoll_wait(daxpin_loop.epoll_fd, epoll_events, DAXPIN_LOOP_BATCH,
                       0);
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_loop_handle(epoll_events, count);
}

/* As in <linux/sched/types.h>, which some releases of the C library repeat */
typedef struct daxpin_sched_attr {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t  nice;
    uint32_t priority;
    uint64_t runtime; /* of a thread with an ordinary policy: its slice */
    uint64_t deadline;
    uint64_t period;
} daxpin_sched_attr_t;

/* Ask for short slices. From Linux 6.12 on, a thread that wakes with a shorter
 * slice than that which runs comes first. So a process that waits for a revoke
 * does not wait for the slices of ranks that compute or put. */
static void daxpin_loop_hurry(void)
{
    daxpin_sched_attr_t attr = {0};

    if ((syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0) ||
        (attr.policy != SCHED_OTHER)) {
        return; /* What the user has chosen stays */
    }
    attr.runtime = DAXPIN_LOOP_SLICE;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void *daxpin_loop_main(void *arg)
{
    uint64_t next;
    int signaled;

    pthread_setname_np(pthread_self(), "daxpin");
    daxpin_loop_hurry();
    atomic_store(&daxpin_loop.tid, gettid());
    (void)arg;
    pthread_mutex_lock(&daxpin_mutex);
    for (;;) {
        signaled             = daxpin_breaks_tick(daxpin_now()) ||
                               daxpin_loop.signaled;
        daxpin_loop.signaled = 0;
        next                 = daxpin_loop.ops->tick(signaled);
        if (daxpin_breaks_drop_hints()) {
            daxpin_loop_hint(); /* Whose break it is, nobody knows */
            next = 0;
        }
        next                 = atomic_load(&daxpin_loop.all) ? 0 : next;
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
        (daxpin_loop_add_narrow(daxpin_loop.wake_fd, daxpin_loop_on_wake,
                                NULL) == 0) ||
        (daxpin_loop_add_narrow(signal_fd, daxpin_loop_on_signal,
                                NULL) == 0)) {
        return daxpin_error(errno, "cannot start the thread that watches "
                            "leases: %m");
    }
    return 0;
}

static void daxpin_loop_close(void)
{
    free(daxpin_loop.events);
    daxpin_loop.events = NULL;
    daxpin_loop.room   = 0;
    daxpin_loop.unused = DAXPIN_LOOP_NONE;
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
