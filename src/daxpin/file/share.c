/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The socket of a file: members at the holder, and the holder at a member */

#include "share.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/socket.h"
#include "daxpin/os/watch.h"
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DAXPIN_SHARE_BURST   64 /* messages of one member, read at once */
#define DAXPIN_HELLO_BOUND   (2 * DAXPIN_SEC)

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
    } else {
        file->share.holder_conn = NULL;
    }
    free(conn);
}

/* Send a newcomer what it needs. Return 0 to drop it. */
static int daxpin_conn_welcome(daxpin_conn_t *conn)
{
    daxpin_file_t *file = conn->file;
    const int watch_fd  = daxpin_watch_fd();
    const int fds[]     = {file->fd,
                           daxpin_control_open_member(file->control_fd),
                           (watch_fd >= 0) ? watch_fd : file->fd};
    daxpin_message_t message;
    daxpin_key_t key;
    int ret;

    if (fds[1] < 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot open its control page for pid "
                   "%d: %m; that process cannot join", file->path,
                   (int)conn->pid);
        return 0;
    }
    daxpin_file_key(file, &key);
    daxpin_message_init(&message, DAXPIN_MESSAGE_WELCOME, &key);
    message.value = watch_fd >= 0;
    ret = daxpin_socket_send(conn->fd, &message, sizeof(message), fds, 3);
    close(fds[1]); /* The packet keeps the description, and its lock */
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
    conn->member = 1;
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

/* Accept a newcomer. */
static void daxpin_share_event(void *arg, uint32_t events)
{
    daxpin_file_t *file = arg;
    daxpin_conn_t *conn;
    pid_t pid;
    int fd;

    (void)events;
    fd = accept4(file->share.listen_fd, NULL, NULL,
                 SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if ((errno == EMFILE) || (errno == ENFILE) || (errno == ENOMEM)) {
            /* The newcomer waits in the queue until there is room; the pause
             * keeps the loop from spinning */
            daxpin_log(DAXPIN_LOG_WARN, "%s: cannot accept a member: %m; raise "
                       "the limit of open files (ulimit -n)", file->path);
            daxpin_loop_remove(file->share.listen_id, file->share.listen_fd);
            file->share.listen_id = 0;
            file->share.retry     = daxpin_now() + 100 * DAXPIN_MSEC;
        }
        return;
    }
    conn = calloc(1, sizeof(*conn));
    if ((conn == NULL) || !daxpin_message_is_same_user(fd, &pid)) {
        goto err;
    }
    conn->file     = file;
    conn->fd       = fd;
    conn->pid      = pid;
    conn->deadline = daxpin_now() + DAXPIN_HELLO_BOUND;
    conn->id       = daxpin_loop_add(fd, daxpin_conn_event, conn);
    if (conn->id == 0) {
        goto err;
    }
    LIST_INSERT_HEAD(&file->share.conns, conn, link);
    return;

err:
    free(conn);
    close(fd);
}

int daxpin_share_serve(daxpin_file_t *file, int listen_fd)
{
    file->share.listen_fd = listen_fd;
    file->share.listen_id = daxpin_loop_add(listen_fd, daxpin_share_event,
                                            file);
    return (file->share.listen_id != 0) ? 0 :
           daxpin_error(errno, "%s: cannot watch a socket: %m", file->path);
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

/* A member has sent GROW before it changes the file, so the message is there if
 * the change is. */
int daxpin_share_take_grew(daxpin_file_t *file)
{
    const daxpin_conn_t *conn;
    int grew;

    daxpin_share_receive_all(file);
    grew       = file->grew || (file->growing > 0);
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
        if (conn->member && (conn->pid == pid)) {
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

unsigned daxpin_share_unacked(daxpin_file_t *file, char *pids, size_t size)
{
    unsigned count = 0;
    daxpin_conn_t *conn;
    size_t used;

    pids[0] = '\0';
    LIST_FOREACH(conn, &file->share.conns, link) {
        if (conn->member && !conn->acked) {
            used = strlen(pids);
            snprintf(pids + used, size - used, "%spid %d",
                     (count++ > 0) ? ", " : "", (int)conn->pid);
        }
    }
    return count;
}

uint64_t daxpin_share_tick(daxpin_file_t *file, uint64_t now)
{
    uint64_t next = DAXPIN_NEVER;
    daxpin_conn_t *conn, *following;

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
    if ((file->share.listen_fd >= 0) && (file->share.listen_id == 0)) {
        if (now >= file->share.retry) {
            file->share.listen_id = daxpin_loop_add(
                    file->share.listen_fd, daxpin_share_event, file);
            file->share.retry = now + 100 * DAXPIN_MSEC;
        }
        next = (file->share.retry < next) ? file->share.retry : next;
    }
    return next;
}

void daxpin_share_stop_listening(daxpin_file_t *file)
{
    if (file->share.listen_fd >= 0) {
        daxpin_loop_remove(file->share.listen_id, file->share.listen_fd);
        close(file->share.listen_fd);
        file->share.listen_fd = -1;
        file->share.listen_id = 0;
    }
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
