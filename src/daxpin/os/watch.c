/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Watches of files by inotify */

#include "watch.h"

#include "clock.h"
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <unistd.h>

/* Between two events that wake the loop */
#define DAXPIN_WATCH_PAUSE (2 * DAXPIN_MSEC)

LIST_HEAD(daxpin_watches, daxpin_inode_watch);

static struct {
    int                   fd;
    uint64_t              number; /* of the instance, by chance */
    uint64_t              id;     /* of the loop; 0: events do not wake it */
    uint64_t              again;  /* ns, when they do again */
    struct daxpin_watches list;
} daxpin_watching = {
    .fd = -1
};

/* An instance of another process, and how many files use it */
typedef struct watch_kept {
    LIST_ENTRY(watch_kept) link;
    uint64_t number;
    int      fd;
    unsigned users;
} watch_kept_t;

static LIST_HEAD(, watch_kept) watch_keeps = LIST_HEAD_INITIALIZER(watch_keeps);

void daxpin_watch_init(daxpin_inode_watch_t *watch)
{
    watch->wd   = -1;
    watch->seen = 0;
}

int daxpin_watch_is_placed(const daxpin_inode_watch_t *watch)
{
    return watch->wd >= 0;
}

int daxpin_watch_fd(void)
{
    return daxpin_watching.fd;
}

uint64_t daxpin_watch_number(void)
{
    return (daxpin_watching.fd >= 0) ? daxpin_watching.number : 0;
}

int daxpin_watch_keep(uint64_t number, int fd)
{
    watch_kept_t *kept;

    if (fd < 0) {
        return -1;
    }
    LIST_FOREACH(kept, &watch_keeps, link) {
        if (kept->number == number) {
            close(fd);
            ++kept->users;
            return kept->fd;
        }
    }
    kept = malloc(sizeof(*kept));
    if (kept == NULL) {
        close(fd);
        return -1;
    }
    kept->number = number;
    kept->fd     = fd;
    kept->users  = 1;
    LIST_INSERT_HEAD(&watch_keeps, kept, link);
    return fd;
}

void daxpin_watch_release(int *fd_p)
{
    watch_kept_t *kept;

    if (*fd_p < 0) {
        return; /* The caller may not have the mutex of the list */
    }
    LIST_FOREACH(kept, &watch_keeps, link) {
        if (kept->fd == *fd_p) {
            break;
        }
    }
    *fd_p = -1;
    if ((kept != NULL) && (--kept->users == 0)) {
        LIST_REMOVE(kept, link);
        close(kept->fd);
        free(kept);
    }
}

/* The event only wakes the loop: each turn reads the queue. */
static void daxpin_watch_event(void *arg, uint32_t events)
{
    (void)arg;
    (void)events;
    daxpin_loop_remove(daxpin_watching.id, daxpin_watching.fd);
    daxpin_watching.id    = 0;
    daxpin_watching.again = daxpin_now() + DAXPIN_WATCH_PAUSE;
}

uint64_t daxpin_watch_tick(uint64_t now)
{
    if ((daxpin_watching.fd < 0) || (daxpin_watching.id != 0)) {
        return DAXPIN_NEVER;
    }
    if (now >= daxpin_watching.again) {
        daxpin_watching.id = daxpin_loop_add_narrow(daxpin_watching.fd,
                                             daxpin_watch_event, NULL);
        daxpin_watching.again = now + DAXPIN_WATCH_PAUSE;
    }
    return (daxpin_watching.id != 0) ? DAXPIN_NEVER : daxpin_watching.again;
}

static int daxpin_watch_open(void)
{
    int fd;

    if (daxpin_watching.fd >= 0) {
        return 0;
    }
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    while ((daxpin_watching.number == 0) &&
           (getrandom(&daxpin_watching.number, sizeof(daxpin_watching.number),
                      0) >= 0)) {
    }
    daxpin_watching.fd    = fd;
    daxpin_watching.again = 0;
    daxpin_loop_wake(); /* for daxpin_watch_tick() */
    return 0;
}

int daxpin_watch_place(daxpin_inode_watch_t *watch, int fd)
{
    const uint32_t mask = IN_MODIFY | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE;
    char path[64];
    int ret, wd;

    if (daxpin_watch_is_placed(watch)) {
        return 0;
    }
    ret = daxpin_watch_open();
    if (ret != 0) {
        return ret;
    }
    /* The path would name another file after a rename */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    wd = inotify_add_watch(daxpin_watching.fd, path, mask);
    if (wd < 0) {
        return -errno;
    }
    watch->wd   = wd;
    watch->seen = 0;
    LIST_INSERT_HEAD(&daxpin_watching.list, watch, link);
    return 0;
}

/* Return whether another file of this process is the same inode: an earlier
 * life of it, which was revoked. They share the watch. */
static int daxpin_watch_is_shared(const daxpin_inode_watch_t *watch)
{
    const daxpin_inode_watch_t *other;

    LIST_FOREACH(other, &daxpin_watching.list, link) {
        if ((other != watch) && (other->wd == watch->wd)) {
            return 1;
        }
    }
    return 0;
}

void daxpin_watch_drop(daxpin_inode_watch_t *watch)
{
    if (!daxpin_watch_is_placed(watch)) {
        return;
    }
    if (!daxpin_watch_is_shared(watch)) {
        inotify_rm_watch(daxpin_watching.fd, watch->wd);
    }
    LIST_REMOVE(watch, link);
    watch->wd = -1;
}

static unsigned daxpin_watch_seen(uint32_t mask)
{
    unsigned seen = 0;

    seen |= (mask & IN_MODIFY) ? DAXPIN_WATCH_CHANGE : 0;
    seen |= (mask & IN_CLOSE_WRITE) ? DAXPIN_WATCH_WRITER : 0;
    seen |= (mask & IN_CLOSE) ? DAXPIN_WATCH_CLOSE : 0;
    seen |= (mask & (IN_Q_OVERFLOW | IN_UNMOUNT)) ? DAXPIN_WATCH_LOST : 0;
    return seen;
}

int daxpin_watch_is_calm(int watch_fd)
{
    struct pollfd pollfd = {.fd = watch_fd, .events = POLLIN};

    return (watch_fd >= 0) && (poll(&pollfd, 1, 0) == 0);
}

int daxpin_watch_is_readable(void)
{
    struct pollfd pollfd = {.fd = daxpin_watching.fd, .events = POLLIN};

    return (daxpin_watching.fd >= 0) && (poll(&pollfd, 1, 0) > 0);
}

void daxpin_watch_read(void)
{
    _Alignas(struct inotify_event) char buffer[4096];
    const struct inotify_event *event;
    daxpin_inode_watch_t *watch;
    ssize_t length, at;

    if (daxpin_watching.fd < 0) {
        return;
    }
    while ((length = read(daxpin_watching.fd, buffer, sizeof(buffer))) > 0) {
        for (at = 0; at < length;
             at += (ssize_t)(sizeof(*event) + event->len)) {
            event = (const struct inotify_event*)(buffer + at);
            LIST_FOREACH(watch, &daxpin_watching.list, link) {
                /* An overflow of the queue has no watch: it is about all */
                if ((event->wd == watch->wd) || (event->wd < 0)) {
                    watch->seen |= daxpin_watch_seen(event->mask);
                }
            }
        }
    }
}

int daxpin_watch_has_seen(const daxpin_inode_watch_t *watch)
{
    return watch->seen != 0;
}

unsigned daxpin_watch_take(daxpin_inode_watch_t *watch)
{
    unsigned seen = watch->seen;

    watch->seen = 0;
    return seen;
}

void daxpin_watch_fork(void)
{
    if (daxpin_watching.fd >= 0) {
        close(daxpin_watching.fd);
    }
    daxpin_watching.fd     = -1;
    daxpin_watching.number = 0;
    daxpin_watching.id     = 0;
    LIST_INIT(&daxpin_watching.list);
}
