/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The client of the guard daemon */

#include "guard.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/socket.h"
#include "wire/guardd.h"
#include "file.h"
#include "keep.h"
#include "report.h"
#include "share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Requests without an answer; a socket has room for about a hundred */
#define DAXPIN_GUARD_WINDOW      16

#define DAXPIN_GUARD_PAUSE_MIN   (10 * DAXPIN_MSEC)
#define DAXPIN_GUARD_PAUSE_MAX   (5 * DAXPIN_SEC)
#define DAXPIN_GUARD_PAUSE_GRACE (100 * DAXPIN_MSEC)

/* The part of the grace to rely on, because the daemon's death is noticed
 * late */
#define DAXPIN_GUARD_GRACE_PERCENT 50

/* A new pin waits so long for the daemon to confirm it */
#define DAXPIN_GUARD_WAIT_BOUND  (1 * DAXPIN_SEC)
#define DAXPIN_GUARD_CLOSE_BOUND (100 * DAXPIN_MSEC)

/* Ask a daemon that has said nothing for a while whether it is alive, and do
 * without it if it takes long to answer. Both together are less than the time
 * after which its programs let everything pass, less one beat of it
 * (GUARD_SILENCE_MS and GUARD_BEAT_MS of the daemon). */
#define DAXPIN_GUARD_QUIET       (1 * DAXPIN_SEC)
#define DAXPIN_GUARD_SILENCE     (2 * DAXPIN_SEC)

/* Connections in a row that the daemon has ended without an answer */
#define DAXPIN_GUARD_UNHEARD 3

struct daxpin_guard_request {
    uint16_t             type; /* daxpin_guard_type_t */
    daxpin_guard_range_t range;
};

static pthread_cond_t daxpin_guard_answered = PTHREAD_COND_INITIALIZER;

void daxpin_guard_init(daxpin_guard_t *guard)
{
    memset(guard, 0, sizeof(*guard));
    guard->fd    = -1;
    guard->pause = DAXPIN_GUARD_PAUSE_MIN;
}

static int daxpin_guard_is_idle(const daxpin_guard_t *guard)
{
    return (guard->fd >= 0) && (guard->unanswered == 0) && (guard->queued == 0);
}

/* Return whether the daemon has died, and its programs still guard. */
static int daxpin_guard_in_grace(const daxpin_guard_t *guard)
{
    return guard->grace_until > daxpin_now();
}

/* Return whether this process has pins, and all of them are guarded now. */
static int daxpin_guard_is_on(const daxpin_file_t *file)
{
    const daxpin_guard_t *guard = &file->guard;

    return guard->synced && (file->pins.ranges.count > 0) &&
           (daxpin_guard_is_idle(guard) ||
            (daxpin_guard_in_grace(guard) && !guard->grace_extra));
}

int daxpin_guard_covers(const daxpin_file_t *file)
{
    if ((file->pins.ranges.count > 0) && !daxpin_guard_is_on(file)) {
        return 0;
    }
    return daxpin_share_is_guarded(file);
}

/* Ignore queued requests: a pin is not returned to the program before
 * the daemon has confirmed it, see daxpin_guard_wait() */
int daxpin_guard_stands_in(const daxpin_file_t *file)
{
    const daxpin_guard_t *guard = &file->guard;

    return (file->pins.ranges.count == 0) ||
           (guard->synced && (guard->fd >= 0) && !guard->stalled &&
            (guard->grace > 0) && (guard->grace_until == 0));
}

int daxpin_guard_is_coming(const daxpin_file_t *file)
{
    const daxpin_guard_t *guard = &file->guard;

    return daxpin_guard_in_grace(guard) ||
           ((guard->fd >= 0) && !guard->stalled &&
            !daxpin_guard_is_idle(guard));
}

/* Report the status of the pins to the holder, which decides by it whether a
 * writer may be let in. */
static void daxpin_guard_report(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;
    int status;

    if (file->pins.ranges.count == 0) {
        status = DAXPIN_GUARD_STATUS_NONE;
    } else if (guard->synced && !guard->stalled) {
        status = DAXPIN_GUARD_STATUS_GUARDED;
    } else if ((guard->fd >= 0) && !guard->stalled) {
        return; /* The daemon will answer soon */
    } else {
        status = DAXPIN_GUARD_STATUS_UNGUARDED;
    }
    if (status != guard->status) {
        guard->status = status;
        daxpin_report_update(file);
        daxpin_share_send_guard(file);
        daxpin_file_wake(file);
    }
}

/*
 * The connection
 */

static void daxpin_guard_disconnect(daxpin_guard_t *guard)
{
    if (guard->fd >= 0) {
        daxpin_loop_remove(guard->id, guard->fd);
        close(guard->fd);
    }
    guard->fd         = -1;
    guard->queued     = 0;
    guard->unanswered = 0;
    guard->stalled    = 0;
    pthread_cond_broadcast(&daxpin_guard_answered);
}

/* Set the time to connect again. All files use the same times, so that many of
 * them wake the loop once. */
static void daxpin_guard_set_retry(daxpin_guard_t *guard, uint64_t most)
{
    guard->retry = (daxpin_now() / guard->pause + 1) * guard->pause;
    guard->pause = (2 * guard->pause < most) ? 2 * guard->pause : most;
}

/* What to do about an error of the daemon's; empty if nothing is to be done. */
static const char *daxpin_guard_advice(int error)
{
    switch (error) {
    case EACCES:
        return "; the file belongs to another user: only its owner can guard it";
    case EDQUOT:
        return "; this user has too many pins: see --max-ranges of "
               "daxpin-guardd(8)";
    case EUSERS:
        return "; it has too many connections: see --max-clients of "
               "daxpin-guardd(8)";
    case EPROTONOSUPPORT:
        return "; it is of another release than this libdaxpin: install both "
               "of one release, and restart it";
    default:
        return "";
    }
}

/* Go on without the guard, and try again later: the daemon has exited, or
 * refuses this file. Meanwhile lease and hold protect it. */
static void daxpin_guard_lost(daxpin_file_t *file, int error)
{
    daxpin_guard_t *guard = &file->guard;
    const char *advice;

    daxpin_file_place_hold_again(file);
    if (guard->synced) {
        guard->pause = DAXPIN_GUARD_PAUSE_MIN;
        daxpin_log(DAXPIN_LOG_INFO, "%s: not guarded any more: truncates of "
                   "the file are not refused until daxpin-guardd guards it "
                   "again", file->path);
    } else if ((error != 0) && (error != guard->logged_error)) {
        advice = daxpin_guard_advice(error);
        daxpin_log((advice[0] != '\0') ? DAXPIN_LOG_WARN : DAXPIN_LOG_DEBUG,
                   "%s: daxpin-guardd cannot guard it: %s%s", file->path,
                   strerror(error), advice);
        guard->logged_error = error;
    }
    guard->synced      = 0;
    guard->grace_until = 0;
    daxpin_guard_disconnect(guard);
    daxpin_guard_set_retry(guard, DAXPIN_GUARD_PAUSE_MAX);
    daxpin_guard_report(file);
}

/* Connect again soon, because the connection has failed. If the daemon has
 * died, all pins that it has confirmed stay guarded for the grace. The holder
 * gets no report if the daemon runs again by then. */
static void daxpin_guard_died(daxpin_file_t *file, int error)
{
    daxpin_guard_t *guard = &file->guard;

    daxpin_file_place_hold_again(file);
    if (!daxpin_guard_in_grace(guard)) {
        if (!guard->synced || (guard->grace == 0)) {
            daxpin_guard_lost(file, error);
            return;
        }
        guard->grace_until = daxpin_now() + guard->grace;
        guard->grace_extra = !daxpin_guard_is_idle(guard);
        guard->pause       = DAXPIN_GUARD_PAUSE_MIN;
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: the connection to daxpin-guardd is "
                   "lost, and may come back", file->path);
    }
    daxpin_guard_disconnect(guard);
    daxpin_guard_set_retry(guard, DAXPIN_GUARD_PAUSE_GRACE);
}

/* Send as many requests of one kind as one packet takes. Return how many, or
 * -errno. */
static ssize_t daxpin_guard_send_some(daxpin_file_t *file)
{
    daxpin_guard_t *guard          = &file->guard;
    const uint16_t type            = guard->queue[0].type;
    daxpin_guard_message_t message = {.head = {.magic   = DAXPIN_GUARD_MAGIC,
                                               .version = DAXPIN_GUARD_VERSION,
                                               .type    = type}};
    uint32_t count = 0;
    int ret;

    if ((type == DAXPIN_GUARD_HELLO) || (type == DAXPIN_GUARD_FILE)) {
        ret = daxpin_socket_send(guard->fd, &message, DAXPIN_GUARD_SIZE(0),
                                 &file->fd, (type == DAXPIN_GUARD_FILE) &&
                                            (file->fd >= 0));
        return (ret == 0) ? 1 : ret;
    }
    while ((count < DAXPIN_GUARD_RANGES) && (count < guard->queued) &&
           (guard->queue[count].type == type)) {
        message.ranges[count] = guard->queue[count].range;
        ++count;
    }
    message.head.count = count;
    ret = daxpin_socket_send(guard->fd, &message, DAXPIN_GUARD_SIZE(count),
                             NULL, 0);
    return (ret == 0) ? (ssize_t)count : ret;
}

/* Return whether the next request may be sent now. The description of the file
 * stays with this process until the daemon has said HELLO. */
static int daxpin_guard_may_send(const daxpin_guard_t *guard)
{
    return (guard->fd >= 0) && (guard->queued > 0) &&
           (guard->unanswered < ((guard->queue[0].type == DAXPIN_GUARD_FILE) ?
                                1 : DAXPIN_GUARD_WINDOW));
}

static void daxpin_guard_note_asked(daxpin_guard_t *guard)
{
    if (guard->unanswered++ == 0) {
        guard->asked = daxpin_now();
    }
}

static void daxpin_guard_send(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;
    ssize_t sent;

    while (daxpin_guard_may_send(guard)) {
        sent = daxpin_guard_send_some(file);
        if (sent == -EAGAIN) {
            if (guard->unanswered == 0) {
                guard->retry = daxpin_now() + DAXPIN_GUARD_PAUSE_MIN;
            }
            return; /* Sent after the next answer, or at guard->retry */
        }
        if (sent == -EPIPE) {
            return; /* The daemon has said why, or its end is to be read */
        }
        if (sent < 0) {
            daxpin_guard_died(file, (int)-sent);
            return;
        }
        guard->queued -= (size_t)sent;
        memmove(guard->queue, guard->queue + sent,
                guard->queued * sizeof(*guard->queue));
        daxpin_guard_note_asked(guard);
    }
}

/* Handle a refusal. EPERM: the lease is lent to a writer, so ownership cannot
 * be proved. Retry: the lease comes back soon, or another member registers the
 * file. */
static void daxpin_guard_refused(daxpin_file_t *file, int error)
{
    if (error == EPERM) {
        daxpin_guard_died(file, error);
    } else {
        daxpin_guard_lost(file, error);
    }
}

/* Note that the file was not guarded for a while: the first answer of a new
 * daemon shows that the old one had died too long ago. */
static void daxpin_guard_note_gap(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;

    if (guard->synced) {
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: the new daxpin-guardd does not know "
                   "it: the file was not guarded for a while", file->path);
        guard->synced      = 0;
        guard->grace_until = 0;
        guard->gap         = 1;
        guard->status      = DAXPIN_GUARD_STATUS_UNGUARDED;
        daxpin_share_send_guard(file);
    }
}

/* Return what the end of a connection says: a daemon that does not know HELLO
 * ends each one without an answer, and one that is ended a few. */
static int daxpin_guard_unheard(daxpin_guard_t *guard)
{
    if (guard->fresh < 2) {
        return 0;
    }
    return (++guard->unheard < DAXPIN_GUARD_UNHEARD) ? 0 : EPROTONOSUPPORT;
}

static void daxpin_guard_on_answer(void *arg, uint32_t events)
{
    daxpin_file_t *file   = arg;
    daxpin_guard_t *guard = &file->guard;
    daxpin_guard_head_t answer;
    ssize_t length;

    (void)events;
    length = daxpin_socket_receive(guard->fd, &answer, sizeof(answer), NULL,
                                   0);
    if ((length == -EAGAIN) || (length == -EINTR) ||
        ((guard->closing != 0) && (length > 0))) {
        return;
    }
    if (guard->closing != 0) {
        daxpin_guard_disconnect(guard); /* see daxpin_guard_close() */
        return;
    }
    if (length <= 0) {
        daxpin_guard_died(file, (length < 0) ? (int)-length :
                                               daxpin_guard_unheard(guard));
        return;
    }
    guard->unheard = 0;
    if ((length != (ssize_t)sizeof(answer)) ||
        (answer.magic != DAXPIN_GUARD_MAGIC) ||
        ((answer.version != DAXPIN_GUARD_VERSION) && (answer.error == 0)) ||
        ((answer.type != DAXPIN_GUARD_ANSWER) &&
         (answer.type != DAXPIN_GUARD_KNOWN)) ||
        ((guard->unanswered == 0) && (answer.error == 0))) {
        daxpin_guard_lost(file, EPROTO);
        return;
    }
    if (answer.error != 0) {
        daxpin_guard_refused(file, (int)answer.error);
        return;
    }
    if ((guard->fresh == 1) && (answer.type != DAXPIN_GUARD_KNOWN)) {
        daxpin_guard_note_gap(file);
    }
    --guard->unanswered;
    guard->asked   = daxpin_now(); /* the next one, if there is one */
    guard->heard   = guard->asked;
    guard->fresh  -= (guard->fresh > 0);
    guard->stalled = 0;
    guard->grace   = answer.count * DAXPIN_MSEC / 100 *
                   DAXPIN_GUARD_GRACE_PERCENT;
    daxpin_guard_send(file);
    if (daxpin_guard_is_idle(guard)) {
        if (!guard->synced && (file->pins.ranges.count > 0)) {
            daxpin_log(DAXPIN_LOG_INFO, "%s: guarded: truncates of pinned "
                       "ranges are refused", file->path);
        }
        guard->synced       = 1;
        guard->grace_until  = 0;
        guard->logged_error = 0;
        guard->pause        = DAXPIN_GUARD_PAUSE_MIN;
        pthread_cond_broadcast(&daxpin_guard_answered);
        daxpin_guard_report(file);
    }
}

/* Connect to the daemon, which must run as root or as this user: no other user
 * may claim that a file is guarded. Return 0 or -errno. */
static int daxpin_guard_open(daxpin_guard_t *guard)
{
    const char *path           = daxpin_guard_socket();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uid_t uid;
    pid_t pid;
    int fd, ret;

    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0) {
        ret = -errno;
        goto err;
    }
    ret = daxpin_socket_get_sender(fd, &uid, &pid);
    if (ret != 0) {
        goto err;
    }
    if ((uid != 0) && ((uid != geteuid()) || !daxpin_user_is_known(uid))) {
        ret = -EPERM;
        goto err;
    }
    guard->fd = fd;
    return 0;

err:
    close(fd);
    return ret;
}

/*
 * Requests
 */

/* Queue a request. Return 0 if there is no memory. */
static int daxpin_guard_enqueue(daxpin_guard_t *guard, uint16_t type,
                                uint64_t start, uint64_t end)
{
    size_t capacity = (guard->capacity > 0) ? 2 * guard->capacity : 16;
    daxpin_guard_request_t *queue;

    if (guard->queued == guard->capacity) {
        queue = realloc(guard->queue, capacity * sizeof(*queue));
        if (queue == NULL) {
            return 0;
        }
        guard->queue    = queue;
        guard->capacity = capacity;
    }
    guard->queue[guard->queued].type          = type;
    guard->queue[guard->queued].range.start   = start;
    guard->queue[guard->queued++].range.end   = end;
    return 1;
}

static int daxpin_guard_enqueue_pin(daxpin_range_t *range, void *arg)
{
    return daxpin_guard_enqueue(arg, DAXPIN_GUARD_ADD, range->start,
                                range->end);
}

/* Connect, and register the file and all its pins. */
static void daxpin_guard_connect(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;
    int ret;

    ret = daxpin_guard_open(guard);
    if (ret != 0) {
        daxpin_guard_died(file, -ret);
        return;
    }
    guard->id = daxpin_loop_add(guard->fd, daxpin_guard_on_answer, file);
    if ((guard->id == 0) ||
        !daxpin_guard_enqueue(guard, DAXPIN_GUARD_HELLO, 0, 0) ||
        !daxpin_guard_enqueue(guard, DAXPIN_GUARD_FILE, 0, 0) ||
        !daxpin_ranges_each(&file->pins.ranges, daxpin_guard_enqueue_pin,
                            guard)) {
        daxpin_guard_lost(file, ENOMEM);
        return;
    }
    guard->fresh = 2;
    daxpin_guard_send(file);
}

static void daxpin_guard_request(daxpin_file_t *file, uint16_t type,
                                 uint64_t start, uint64_t end)
{
    daxpin_guard_t *guard = &file->guard;

    if (!daxpin_guard_enqueue(guard, type, start, end)) {
        daxpin_guard_lost(file, ENOMEM);
        return;
    }
    daxpin_guard_send(file);
    daxpin_guard_report(file);
}

/* End the connection, and forget all of it. */
static void daxpin_guard_reset(daxpin_guard_t *guard)
{
    daxpin_guard_disconnect(guard);
    free(guard->queue);
    daxpin_guard_init(guard);
}

void daxpin_guard_add(daxpin_file_t *file, uint64_t start, uint64_t end)
{
    daxpin_guard_t *guard = &file->guard;

    if (guard->closing != 0) {
        daxpin_guard_reset(guard); /* The file is in use again */
    }
    guard->grace_extra = 1; /* A dead daemon has not confirmed this pin */
    if (guard->fd >= 0) {
        daxpin_guard_request(file, DAXPIN_GUARD_ADD, start, end);
    } else if (daxpin_now() >= guard->retry) {
        daxpin_guard_connect(file);
        daxpin_file_wake(file); /* The loop tries again at guard->retry */
    } else {
        daxpin_guard_report(file);
    }
}

void daxpin_guard_remove(daxpin_file_t *file, uint64_t start, uint64_t end)
{
    if ((file->guard.fd >= 0) && (file->guard.closing == 0)) {
        daxpin_guard_request(file, DAXPIN_GUARD_REMOVE, start, end);
    }
    daxpin_guard_report(file);
}

static void daxpin_guard_wait_answer(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;
    struct timespec until;
    int ret = 0;

    if (((guard->fd < 0) && !daxpin_guard_in_grace(guard)) ||
        daxpin_guard_is_idle(guard) || guard->stalled ||
        daxpin_loop_is_self()) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += DAXPIN_GUARD_WAIT_BOUND / DAXPIN_SEC;
    while ((ret == 0) && !daxpin_guard_is_idle(guard) &&
           ((guard->fd >= 0) || daxpin_guard_in_grace(guard))) {
        ret = pthread_cond_clockwait(&daxpin_guard_answered, &daxpin_mutex,
                                     CLOCK_MONOTONIC, &until);
    }
    /* The loop may have had the answer, and the mutex, when the time was over */
    if ((ret != 0) && !daxpin_guard_is_idle(guard)) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: daxpin-guardd does not answer; the "
                   "file goes without it", file->path);
        guard->stalled = 1;
        daxpin_guard_report(file);
    }
}

/* Wait for the daemon to confirm. If it does not know a pin, place the hold
 * before the pin is returned. */
void daxpin_guard_wait(daxpin_file_t *file)
{
    daxpin_guard_wait_answer(file);
    if ((file->pins.ranges.count > 0) && (!daxpin_guard_stands_in(file) ||
                                   !daxpin_guard_is_idle(&file->guard))) {
        daxpin_file_place_hold_again(file);
    }
}

/* Return whether there is nothing to do but wait for answers. */
static int daxpin_guard_is_busy(const daxpin_guard_t *guard)
{
    return (guard->fd >= 0) && ((guard->queued == 0) ||
                                (guard->unanswered > 0));
}

/* The daemon is alive for its connections, and has said nothing for too long.
 * Nothing may rely on it, until it has answered what was asked. */
static void daxpin_guard_silent(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;

    daxpin_log(DAXPIN_LOG_WARN, "%s: daxpin-guardd does not answer; the file "
               "goes without it", file->path);
    guard->stalled = 1;
    guard->gap    |= guard->synced;
    guard->synced  = 0;
    daxpin_file_place_hold_again(file);
    daxpin_guard_report(file);
}

/* Make sure that the daemon which guards the file is alive. Return when to call
 * again. */
static uint64_t daxpin_guard_listen(daxpin_file_t *file, uint64_t now)
{
    daxpin_guard_t *guard            = &file->guard;
    const daxpin_guard_message_t ask = {
        .head = {.magic   = DAXPIN_GUARD_MAGIC,
                 .version = DAXPIN_GUARD_VERSION,
                 .type    = DAXPIN_GUARD_ADD}
    };

    if (guard->stalled || (guard->fd < 0) ||
        (!guard->synced && (guard->unanswered == 0))) {
        return DAXPIN_NEVER;
    }
    if ((guard->unanswered == 0) && (now < guard->heard + DAXPIN_GUARD_QUIET)) {
        return guard->heard + DAXPIN_GUARD_QUIET;
    }
    /* No ranges: only to have it answer */
    if ((guard->unanswered == 0) &&
        (daxpin_socket_send(guard->fd, &ask, DAXPIN_GUARD_SIZE(0), NULL, 0) ==
         0)) {
        daxpin_guard_note_asked(guard);
    }
    if ((guard->unanswered > 0) &&
        (now >= guard->asked + DAXPIN_GUARD_SILENCE)) {
        daxpin_guard_silent(file);
        return DAXPIN_NEVER;
    }
    return now + DAXPIN_GUARD_QUIET / 4;
}

uint64_t daxpin_guard_tick(daxpin_file_t *file, uint64_t now)
{
    daxpin_guard_t *guard = &file->guard;
    uint64_t next;

    if ((guard->closing != 0) &&
        (daxpin_guard_close(file, now) != DAXPIN_NEVER)) {
        return guard->closing;
    }
    if ((file->pins.ranges.count == 0) ||
        (file->revoke.phase != DAXPIN_PHASE_NONE)) {
        return DAXPIN_NEVER; /* The pins of a file that was RELEASED stay */
    }
    if ((guard->grace_until != 0) && (now >= guard->grace_until)) {
        daxpin_guard_lost(file, ETIMEDOUT);
    }
    if (!daxpin_guard_is_busy(guard) && (now >= guard->retry)) {
        if (guard->fd < 0) {
            daxpin_guard_connect(file);
        } else {
            daxpin_guard_send(file);
        }
    }
    next = daxpin_guard_listen(file, now);
    if (!daxpin_guard_is_busy(guard)) {
        return daxpin_earlier(guard->retry, next);
    }
    return (guard->grace_until != 0) ?
                   daxpin_earlier(guard->grace_until, next) :
                   next;
}

/*
 * The end
 */

/* The daemon closes the connection when nothing is guarded any more */
uint64_t daxpin_guard_close(daxpin_file_t *file, uint64_t now)
{
    daxpin_guard_t *guard = &file->guard;

    if ((guard->fd >= 0) && (guard->closing == 0)) {
        shutdown(guard->fd, SHUT_WR);
        guard->closing = now + DAXPIN_GUARD_CLOSE_BOUND;
    }
    if ((guard->fd >= 0) && (now < guard->closing)) {
        return guard->closing;
    }
    daxpin_guard_reset(guard);
    return DAXPIN_NEVER;
}

void daxpin_guard_close_wait(daxpin_file_t *file,
                             int (*is_last)(daxpin_file_t *file))
{
    uint64_t now = daxpin_now(), end, left;
    struct timespec until;

    while (is_last(file) &&
           ((end = daxpin_guard_close(file, now)) != DAXPIN_NEVER)) {
        daxpin_file_wake(file); /* It may wait without a bound */
        clock_gettime(CLOCK_MONOTONIC, &until);
        left           = (uint64_t)until.tv_nsec + (end - now);
        until.tv_sec  += (time_t)(left / DAXPIN_SEC);
        until.tv_nsec  = (long)(left % DAXPIN_SEC);
        pthread_cond_clockwait(&daxpin_guard_answered, &daxpin_mutex,
                               CLOCK_MONOTONIC, &until);
        now = daxpin_now();
    }
}

void daxpin_guard_fork(daxpin_file_t *file)
{
    daxpin_guard_t *guard = &file->guard;

    /* No shutdown(): the parent still uses the connection */
    if (guard->fd >= 0) {
        close(guard->fd);
    }
    free(guard->queue);
    daxpin_guard_init(guard);
    pthread_cond_init(&daxpin_guard_answered, NULL);
}
