/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The socket of a file: members at the holder, and the holder at a member */

#include "share.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/limit.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/roster.h"
#include "daxpin/os/socket.h"
#include "daxpin/os/watch.h"
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DAXPIN_SHARE_BURST   64  /* messages of one member, read at once */
#define DAXPIN_NEWCOMERS_MAX 256 /* that have not sent a HELLO yet */
#define DAXPIN_HELLO_BOUND   (2 * DAXPIN_SEC)
#define DAXPIN_LISTEN_MIN    (100 * DAXPIN_MSEC) /* pauses without room */
#define DAXPIN_LISTEN_MAX    (2 * DAXPIN_SEC)

/* How often to look whether the names of the address are there */
#define DAXPIN_ADDRESS_PAUSE (500 * DAXPIN_MSEC)

/* A descriptor that is given up to accept a newcomer, and to send it BUSY; one
 * for all files. Under daxpin_mutex. */
static struct {
    int      fd;
    unsigned users; /* files that listen */
} daxpin_share_reserved = {.fd = -1};

/*
 * The holder's side
 */

static void daxpin_conn_send(const daxpin_conn_t *conn,
                             daxpin_message_type_t type, uint64_t value)
{
    daxpin_key_t key;

    daxpin_file_key(conn->file, &key);
    daxpin_message_send(conn->fd, type, &key, value);
}

static void daxpin_conn_close(daxpin_conn_t *conn)
{
    daxpin_file_t *file = conn->file;

    daxpin_loop_remove(conn->id, conn->fd);
    close(conn->fd);
    if (file->holder) {
        LIST_REMOVE(conn, link);
        file->share.newcomers -= !conn->member;
    } else {
        file->share.holder_conn = NULL;
    }
    free(conn);
}

/* Report that newcomers cannot be welcome, once until one is welcome again.
 * Each newcomer tries again, and reports the error when its time is over. */
static void daxpin_share_log_full(daxpin_file_t *file, int error)
{
    if (file->share.logged_full) {
        return;
    }
    file->share.logged_full = 1;
    daxpin_log(DAXPIN_LOG_WARN, "%s: cannot accept a member: %s; raise the "
               "limit of open files (ulimit -n)", file->path, strerror(error));
}

/* Send a newcomer what it needs. Return 0 to drop it. */
static int daxpin_conn_welcome(daxpin_conn_t *conn)
{
    daxpin_file_t *file = conn->file;
    const int watch_fd  = daxpin_watch_fd();
    /* Now, so that the newcomer is never without its place on the roster */
    const int roster_fd = daxpin_roster_open(file->roster_fd, file->turn);
    const int fds[]     = {file->fd, file->control_fd,
                           (watch_fd >= 0) ? watch_fd : file->control_fd,
                           roster_fd};
    daxpin_message_t message;
    daxpin_key_t key;
    int ret;

    if (roster_fd < 0) {
        daxpin_share_log_full(file, -roster_fd);
        daxpin_conn_send(conn, DAXPIN_MESSAGE_BUSY, (uint64_t)-roster_fd);
        return 0;
    }
    daxpin_file_key(file, &key);
    daxpin_message_init(&message, DAXPIN_MESSAGE_WELCOME, &key);
    message.value = daxpin_watch_number();
    ret = daxpin_socket_send(conn->fd, &message, sizeof(message), fds, 4);
    close(roster_fd); /* The packet keeps the description, and its lock */
    return ret == 0;
}

/* Handle the first message of a newcomer. Return 0 to drop it. */
static int daxpin_conn_hello(daxpin_conn_t *conn,
                             const daxpin_message_t *message)
{
    daxpin_file_t *file = conn->file;

    if (((message->type != DAXPIN_MESSAGE_HELLO) &&
         (message->type != DAXPIN_MESSAGE_JOIN)) ||
        (message->dev != file->dev) || (message->ino != file->ino)) {
        return 0;
    }
    if (!daxpin_file_is_alive(file) ||
        ((message->generation != 0) &&
         (message->generation != file->generation))) {
        daxpin_conn_send(conn, DAXPIN_MESSAGE_STALE, 0);
        return 0;
    }
    if (!daxpin_conn_welcome(conn)) {
        return 0;
    }
    conn->member            = 1;
    --file->share.newcomers;
    file->share.logged_full = 0;
    if (message->type == DAXPIN_MESSAGE_HELLO) {
        file->exposed = 1;
    } else {
        file->lease.joined = 1;
    }
    return 1;
}

/* Note a message of a member, for holder.c to act on. Return 0 if members do
 * not send such messages. */
static int daxpin_conn_member(daxpin_conn_t *conn,
                              const daxpin_message_t *message)
{
    switch (message->type) {
    case DAXPIN_MESSAGE_EXPOSE:
        conn->file->exposed = 1;
        return 1;
    case DAXPIN_MESSAGE_ACK:
        conn->acked = 1;
        return 1;
    case DAXPIN_MESSAGE_GUARD:
        conn->guard = (int)message->value;
        return message->value <= DAXPIN_GUARD_STATUS_UNGUARDED;
    case DAXPIN_MESSAGE_GROW:
        conn->growing    = message->value != 0;
        conn->file->grew = 1;
        return 1;
    case DAXPIN_MESSAGE_FAULT:
        /* Believed: a member that lies could truncate the file as well */
        atomic_store(&conn->file->faulted, 1);
        return 1;
    default:
        return 0;
    }
}

/* Receive one message. Return 0 if none is there, or the connection was
 * closed. */
static int daxpin_conn_receive(daxpin_conn_t *conn)
{
    daxpin_message_t message;
    int ret, keep;

    ret = daxpin_message_receive(conn->fd, &message);
    if (ret == 0) {
        return 0;
    }
    keep = (ret > 0) && (conn->member ? daxpin_conn_member(conn, &message) :
                                        daxpin_conn_hello(conn, &message));
    if (!keep) {
        daxpin_conn_close(conn);
    }
    return keep;
}

static void daxpin_conn_event(void *arg, uint32_t events)
{
    (void)events;
    daxpin_conn_receive(arg);
}

/* Receive what all members have sent by now, with a bound for each member. Wake
 * the loop to act on the messages, because their sockets do not wake it any
 * more. */
static void daxpin_share_receive_all(daxpin_file_t *file)
{
    daxpin_conn_t *conn, *following;
    int count;

    for (conn = LIST_FIRST(&file->share.conns); conn != NULL;
         conn = following) {
        following = LIST_NEXT(conn, link);
        count     = 0;
        while ((count < DAXPIN_SHARE_BURST) && daxpin_conn_receive(conn)) {
            ++count;
        }
    }
    daxpin_loop_wake();
}

int daxpin_share_is_exposed(daxpin_file_t *file)
{
    if (!file->exposed) {
        daxpin_share_receive_all(file);
    }
    return file->exposed;
}

/* Drop the newcomer that is silent for the longest time, if there are too many:
 * a newcomer that is about to send its HELLO does so at once, and tries again.
 */
static void daxpin_share_make_room(daxpin_file_t *file)
{
    daxpin_conn_t *conn, *oldest = NULL;

    if (file->share.newcomers < DAXPIN_NEWCOMERS_MAX) {
        return;
    }
    LIST_FOREACH(conn, &file->share.conns, link) {
        if (!conn->member) {
            oldest = conn;
        }
    }
    daxpin_conn_close(oldest);
}

/* Add a newcomer. Takes fd. */
static void daxpin_share_add(daxpin_file_t *file, int fd)
{
    daxpin_conn_t *conn = calloc(1, sizeof(*conn));

    if ((conn == NULL) || !daxpin_socket_is_same_user(fd, &conn->pid)) {
        goto err;
    }
    daxpin_share_make_room(file);
    conn->file     = file;
    conn->fd       = fd;
    conn->deadline = daxpin_now() + DAXPIN_HELLO_BOUND;
    conn->id       = daxpin_loop_add(fd, daxpin_conn_event, conn);
    if (conn->id == 0) {
        goto err;
    }
    LIST_INSERT_HEAD(&file->share.conns, conn, link);
    ++file->share.newcomers;
    return;

err:
    free(conn);
    close(fd);
}

static int daxpin_share_accept(const daxpin_file_t *file)
{
    return accept4(file->share.address.listen_fd, NULL, NULL,
                   SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* Open a descriptor that can be given up, unless there is one. */
static void daxpin_share_reserve(void)
{
    if (daxpin_share_reserved.fd < 0) {
        daxpin_share_reserved.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static void daxpin_share_unreserve(void)
{
    if (daxpin_share_reserved.fd >= 0) {
        close(daxpin_share_reserved.fd);
        daxpin_share_reserved.fd = -1;
    }
}

/* Send a newcomer that this process cannot welcome any, by way of the reserved
 * descriptor. Then do not listen for a while, so that neither the loop nor the
 * newcomers spin; without a descriptor, newcomers wait in the queue. */
static void daxpin_share_refuse(daxpin_file_t *file, int error)
{
    daxpin_message_t hello;
    daxpin_key_t key;
    int fd;

    daxpin_share_log_full(file, error);
    if (daxpin_share_reserved.fd >= 0) {
        daxpin_share_unreserve();
        fd = daxpin_share_accept(file);
        if (fd >= 0) {
            /* If its HELLO were left unread, close() would discard BUSY */
            (void)daxpin_message_receive(fd, &hello);
            daxpin_file_key(file, &key);
            daxpin_message_send(fd, DAXPIN_MESSAGE_BUSY, &key,
                                (uint64_t)error);
            close(fd);
        }
        daxpin_share_reserve();
    }
    daxpin_loop_remove(file->share.listen_id, file->share.address.listen_fd);
    file->share.listen_id = 0;
    file->share.pause     = (file->share.pause == 0) ? DAXPIN_LISTEN_MIN :
                            daxpin_earlier(2 * file->share.pause,
                                           DAXPIN_LISTEN_MAX);
    file->share.retry     = daxpin_now() + file->share.pause;
}

/* Accept a newcomer. */
static void daxpin_share_event(void *arg, uint32_t events)
{
    daxpin_file_t *file = arg;
    int fd              = daxpin_share_accept(file);

    (void)events;
    if (fd >= 0) {
        file->share.pause = 0;
        daxpin_limit_check();
        daxpin_share_reserve();
        daxpin_share_add(file, fd);
    } else if ((errno == EMFILE) || (errno == ENFILE) || (errno == ENOMEM) ||
               (errno == ENOBUFS)) {
        daxpin_share_refuse(file, errno);
    }
}

void daxpin_share_init(daxpin_file_t *file)
{
    daxpin_address_init(&file->share.address);
    LIST_INIT(&file->share.conns);
}

int daxpin_share_serve(daxpin_file_t *file, const daxpin_address_t *address)
{
    file->share.address   = *address;
    file->share.listen_id = daxpin_loop_add(address->listen_fd,
                                            daxpin_share_event, file);
    if (file->share.listen_id == 0) {
        daxpin_address_init(&file->share.address); /* It is the caller's */
        return daxpin_error(errno, "%s: cannot watch a socket: %m",
                            file->path);
    }
    file->share.reserves = 1;
    ++daxpin_share_reserved.users;
    daxpin_share_reserve();
    return 0;
}

static void daxpin_share_send_all(daxpin_file_t *file,
                                  daxpin_message_type_t type)
{
    daxpin_conn_t *conn;

    LIST_FOREACH(conn, &file->share.conns, link) {
        if (conn->member) {
            daxpin_conn_send(conn, type, 0);
        }
    }
}

void daxpin_share_send_break(daxpin_file_t *file)
{
    daxpin_share_send_all(file, DAXPIN_MESSAGE_BREAK);
}

void daxpin_share_send_hold(daxpin_file_t *file)
{
    daxpin_share_send_all(file, atomic_load(&file->control->waived) ?
                                        DAXPIN_MESSAGE_WAIVE :
                                        DAXPIN_MESSAGE_HOLD);
}

int daxpin_share_has_members(const daxpin_file_t *file)
{
    const daxpin_conn_t *conn;

    LIST_FOREACH(conn, &file->share.conns, link) {
        if (conn->member) {
            return 1;
        }
    }
    return 0;
}

int daxpin_share_has_lost_members(const daxpin_file_t *file)
{
    return daxpin_roster_has_earlier(file->roster_fd, file->turn);
}

/* A member has sent GROW before it changes the file, so the message is there if
 * the change is. */
int daxpin_share_take_grew(daxpin_file_t *file)
{
    const daxpin_conn_t *conn;
    int grew;

    daxpin_share_receive_all(file);
    grew       = file->grew || (file->growing > 0) ||
                 daxpin_share_has_lost_members(file);
    file->grew = 0;
    LIST_FOREACH(conn, &file->share.conns, link) {
        grew |= conn->member && conn->growing;
    }
    return grew;
}

int daxpin_share_is_alone(daxpin_file_t *file)
{
    daxpin_share_receive_all(file);
    return !daxpin_share_has_members(file);
}

int daxpin_share_is_member(const daxpin_file_t *file, pid_t pid)
{
    const daxpin_conn_t *conn;

    LIST_FOREACH(conn, &file->share.conns, link) {
        if (conn->member && (conn->pid == pid) && (pid > 0)) {
            return 1;
        }
    }
    return 0;
}

int daxpin_share_is_guarded(const daxpin_file_t *file)
{
    int guarded = file->guard.status == DAXPIN_GUARD_STATUS_GUARDED;
    const daxpin_conn_t *conn;

    if (file->guard.status == DAXPIN_GUARD_STATUS_UNGUARDED) {
        return 0;
    }
    LIST_FOREACH(conn, &file->share.conns, link) {
        if (conn->guard == DAXPIN_GUARD_STATUS_UNGUARDED) {
            return 0;
        }
        guarded |= conn->guard == DAXPIN_GUARD_STATUS_GUARDED;
    }
    return guarded;
}

unsigned daxpin_share_unacked(const daxpin_file_t *file)
{
    unsigned count = 0;
    daxpin_conn_t *conn;

    LIST_FOREACH(conn, &file->share.conns, link) {
        count += conn->member && !conn->acked;
    }
    return count;
}

void daxpin_share_list_unacked(daxpin_file_t *file, char *pids, size_t size)
{
    daxpin_conn_t *conn;

    pids[0] = '\0';
    LIST_FOREACH(conn, &file->share.conns, link) {
        if (conn->member && !conn->acked && (strlen(pids) + 1 < size)) {
            daxpin_proc_describe(conn->pid, pids, size);
        }
    }
}

/* Drop newcomers that are silent. Return when to do so again (ns). */
static uint64_t daxpin_share_drop_silent(daxpin_file_t *file, uint64_t now)
{
    uint64_t next = DAXPIN_NEVER;
    daxpin_conn_t *conn, *following;

    if (file->share.newcomers == 0) {
        return next;
    }
    for (conn = LIST_FIRST(&file->share.conns); conn != NULL;
         conn = following) {
        following = LIST_NEXT(conn, link);
        if (conn->member) {
            continue;
        }
        if (now >= conn->deadline) {
            daxpin_conn_close(conn);
        } else if (conn->deadline < next) {
            next = conn->deadline;
        }
    }
    return next;
}

/* Make the address again. Log that, or why it fails, once. */
static void daxpin_share_restore(daxpin_file_t *file)
{
    int ret;

    daxpin_loop_remove(file->share.listen_id, file->share.address.listen_fd);
    file->share.listen_id = 0;
    file->share.retry     = 0; /* see daxpin_share_listen_again() */
    ret = daxpin_address_restore(&file->share.address);
    if (ret == 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: the names by which other processes "
                   "find this one were removed, and are made again; exempt the "
                   "directory from whatever removed them (see daxpin(7), "
                   "Meeting)", file->path);
    } else if (!file->share.logged_lost) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: the names by which other processes "
                   "find this one were removed, and cannot be made again: %s",
                   file->path, (ret == -EADDRINUSE) ?
                   "another process of this user has the file by now" :
                   daxpin_errormsg());
    }
    file->share.logged_lost = ret != 0;
}

/* Look for the names of the address now and then: at the end of a login,
 * systemd-logind removes what the user has in /dev/shm. Then a newcomer would
 * take itself for the first process. All files use the same times, so that many
 * of them wake the loop no more often than one. */
static void daxpin_share_check_address(daxpin_file_t *file, uint64_t now)
{
    if (now >= file->share.check) {
        if (daxpin_address_is_lost(&file->share.address)) {
            daxpin_share_restore(file);
        }
        file->share.check = (now / DAXPIN_ADDRESS_PAUSE + 1) *
                            DAXPIN_ADDRESS_PAUSE;
    }
}

/* Listen again after a pause. */
static void daxpin_share_listen_again(daxpin_file_t *file, uint64_t now)
{
    if ((file->share.listen_id == 0) && (now >= file->share.retry)) {
        file->share.listen_id = daxpin_loop_add(file->share.address.listen_fd,
                                                daxpin_share_event, file);
        file->share.retry     = now + DAXPIN_LISTEN_MIN;
    }
}

uint64_t daxpin_share_tick(daxpin_file_t *file, uint64_t now)
{
    uint64_t next = daxpin_share_drop_silent(file, now);

    if (file->share.address.listen_fd < 0) {
        return next;
    }
    daxpin_share_check_address(file, now);
    daxpin_share_listen_again(file, now);
    if (file->share.listen_id == 0) {
        next = daxpin_earlier(next, file->share.retry);
    }
    return daxpin_earlier(next, file->share.check);
}

static void daxpin_share_unwatch(daxpin_file_t *file)
{
    if (file->share.address.listen_fd >= 0) {
        daxpin_loop_remove(file->share.listen_id,
                           file->share.address.listen_fd);
        file->share.listen_id = 0;
    }
    if (file->share.reserves) {
        file->share.reserves = 0;
        if (--daxpin_share_reserved.users == 0) {
            daxpin_share_unreserve();
        }
    }
}

/* After a revoke, a member that is stopped must not keep newcomers away. */
void daxpin_share_stop_listening(daxpin_file_t *file)
{
    daxpin_share_unwatch(file);
    if (file->revoke.phase != DAXPIN_PHASE_NONE) {
        daxpin_address_close(&file->share.address);
    } else {
        daxpin_address_leave(&file->share.address);
    }
}

void daxpin_share_fork(daxpin_file_t *file)
{
    daxpin_share_unwatch(file);
    daxpin_address_forget(&file->share.address);
    daxpin_share_close(file);
}

void daxpin_share_close(daxpin_file_t *file)
{
    daxpin_conn_t *conn;

    daxpin_share_stop_listening(file);
    while ((conn = LIST_FIRST(&file->share.conns)) != NULL) {
        daxpin_conn_close(conn);
    }
    if (file->share.holder_conn != NULL) {
        daxpin_conn_close(file->share.holder_conn);
    }
}

/*
 * The member's side
 */

/* Note a message of the holder, for member.c to act on. Return 0 if holders do
 * not send such messages. */
static int daxpin_share_note(daxpin_file_t *file,
                             const daxpin_message_t *message)
{
    switch (message->type) {
    case DAXPIN_MESSAGE_BREAK:
        file->share.notes |= DAXPIN_NOTE_BREAK;
        return 1;
    case DAXPIN_MESSAGE_WAIVE:
        file->share.notes &= ~DAXPIN_NOTE_HOLD;
        file->share.notes |= DAXPIN_NOTE_WAIVE;
        return 1;
    case DAXPIN_MESSAGE_HOLD:
        file->share.notes &= ~DAXPIN_NOTE_WAIVE;
        file->share.notes |= DAXPIN_NOTE_HOLD;
        return 1;
    default:
        return 0;
    }
}

static void daxpin_share_holder_event(void *arg, uint32_t events)
{
    daxpin_conn_t *conn = arg;
    daxpin_file_t *file = conn->file;
    daxpin_message_t message;
    int ret;

    (void)events;
    if (conn->asking) {
        file->share.notes |= DAXPIN_NOTE_ANSWER;
        return;
    }
    ret = daxpin_message_receive(conn->fd, &message);
    if ((ret == 0) || ((ret > 0) && daxpin_share_note(file, &message))) {
        return;
    }
    daxpin_conn_close(conn);
    file->share.notes |= DAXPIN_NOTE_GONE;
}

int daxpin_share_follow(daxpin_file_t *file, int sock, pid_t pid)
{
    daxpin_conn_t *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        return daxpin_error(ENOMEM, "%s: out of memory", file->path);
    }
    conn->file = file;
    conn->fd   = sock;
    conn->pid  = pid;
    conn->id   = daxpin_loop_add(conn->fd, daxpin_share_holder_event, conn);
    if (conn->id == 0) {
        free(conn);
        return daxpin_error(errno, "%s: cannot watch a socket: %m",
                            file->path);
    }
    file->share.holder_conn = conn;
    return 0;
}

void daxpin_share_leave(daxpin_file_t *file)
{
    if (file->share.holder_conn != NULL) {
        daxpin_conn_close(file->share.holder_conn);
    }
}

static void daxpin_share_send(daxpin_file_t *file, daxpin_message_type_t type,
                              uint64_t value)
{
    if (file->share.holder_conn != NULL) {
        daxpin_conn_send(file->share.holder_conn, type, value);
    }
}

void daxpin_share_send_ack(daxpin_file_t *file)
{
    daxpin_share_send(file, DAXPIN_MESSAGE_ACK, 0);
}

void daxpin_share_send_fault(daxpin_file_t *file)
{
    daxpin_share_send(file, DAXPIN_MESSAGE_FAULT, 0);
}

void daxpin_share_send_guard(daxpin_file_t *file)
{
    daxpin_share_send(file, DAXPIN_MESSAGE_GUARD,
                      (uint64_t)file->guard.status);
}

void daxpin_share_send_grow(daxpin_file_t *file, int grows)
{
    daxpin_share_send(file, DAXPIN_MESSAGE_GROW, (uint64_t)grows);
}

void daxpin_share_send_expose(daxpin_file_t *file)
{
    daxpin_share_send(file, DAXPIN_MESSAGE_EXPOSE, 0);
}

void daxpin_share_expose(daxpin_file_t *file)
{
    if (!file->exposed) {
        file->exposed = 1;
        daxpin_share_send_expose(file);
    }
}
