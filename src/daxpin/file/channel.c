/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The sockets to other processes, and the files that use each of them */

#include "channel.h"

#include "daxpin/os/loop.h"
#include "message.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/*
 * Files of a channel
 */

daxpin_conn_t *daxpin_conn_create(const daxpin_key_t *key, uint64_t token)
{
    daxpin_conn_t *conn = calloc(1, sizeof(*conn));

    if (conn != NULL) {
        conn->key   = *key;
        conn->token = token;
    }
    return conn;
}

daxpin_conn_t *daxpin_channel_find_conn(const daxpin_channel_t *channel,
                                        uint64_t token)
{
    daxpin_conn_t *conn;

    TAILQ_FOREACH(conn, &channel->conns, of_channel) {
        if (conn->token == token) {
            return conn;
        }
    }
    return NULL;
}

void daxpin_conn_use(daxpin_conn_t *conn, daxpin_channel_t *channel)
{
    if (channel->count == 0) {
        channel->name = conn->token;
    }
    TAILQ_INSERT_TAIL(&channel->conns, conn, of_channel);
    ++channel->count;
    conn->channel = channel;
}

/* Take a conn from its channel, which stays. */
static void daxpin_conn_detach(daxpin_conn_t *conn)
{
    TAILQ_REMOVE(&conn->channel->conns, conn, of_channel);
    --conn->channel->count;
    conn->channel = NULL;
    conn->waiting = 0;
}

/* Have the file take a step. It is not known for a process that has just connected,
 * and while a new holder is asked. */
static void daxpin_conn_want(const daxpin_conn_t *conn)
{
    if ((conn != NULL) && (conn->file != NULL)) {
        daxpin_file_want(conn->file);
    } else {
        daxpin_loop_want_all();
    }
}

/* Return whether a file uses the channel. Where only LEAVE has to be sent, the
 * end of the connection has the same effect. */
static int daxpin_channel_is_used(const daxpin_channel_t *channel)
{
    const daxpin_conn_t *conn;

    TAILQ_FOREACH(conn, &channel->conns, of_channel) {
        if (!conn->leaving) {
            return 1;
        }
    }
    return 0;
}

static void daxpin_channel_close_if_unused(daxpin_channel_t *channel)
{
    if (!daxpin_channel_is_used(channel)) {
        daxpin_channel_close(channel);
    }
}

void daxpin_conn_withdraw(daxpin_conn_t *conn)
{
    daxpin_channel_t *channel = conn->channel;

    if (channel != NULL) {
        daxpin_conn_detach(conn);
        daxpin_channel_close_if_unused(channel);
    }
}

/* Return 0, or -errno. */
static int daxpin_conn_try_send(const daxpin_conn_t *conn,
                                daxpin_message_type_t type, uint64_t value)
{
    return daxpin_message_send(conn->channel->fd, type, &conn->key, conn->token,
                               value);
}

/* Return whether a message has to be sent later: the socket is full, or the kernel has
 * no memory for it now. */
static int daxpin_channel_has_no_room(int ret)
{
    return (ret == -EAGAIN) || (ret == -ENOBUFS) || (ret == -ENOMEM);
}

/* Behind a message that waits, those of all files wait. */
void daxpin_conn_send(daxpin_conn_t *conn, daxpin_message_type_t type,
                      uint64_t value)
{
    daxpin_channel_t *channel = conn->channel;

    if (channel == NULL) {
        return;
    }
    if (!channel->full &&
        !daxpin_channel_has_no_room(daxpin_conn_try_send(conn, type, value))) {
        return;
    }
    if ((type == DAXPIN_MESSAGE_WAIVE) || (type == DAXPIN_MESSAGE_HOLD)) {
        conn->waiting &= ~((1u << DAXPIN_MESSAGE_WAIVE) |
                           (1u << DAXPIN_MESSAGE_HOLD));
    }
    conn->waiting     |= 1u << type;
    conn->values[type] = value;
    channel->full      = 1;
    daxpin_loop_want_room(channel->id, channel->fd, 1);
}

void daxpin_conn_leave(daxpin_conn_t *conn)
{
    daxpin_channel_t *channel = conn->channel;

    if (channel == NULL) {
        free(conn);
        return;
    }
    conn->file    = NULL;
    conn->leaving = 1;
    conn->waiting = 0; /* LEAVE stands for all */
    if (daxpin_channel_is_used(channel)) {
        daxpin_conn_send(conn, DAXPIN_MESSAGE_LEAVE, 0);
        if (conn->waiting == 0) {
            daxpin_conn_detach(conn);
            free(conn);
        }
    } else {
        daxpin_channel_close(channel);
    }
}

/* Send what waits for room. Return 0 if there was none left. */
static int daxpin_conn_send_waiting(daxpin_conn_t *conn)
{
    unsigned type;

    for (type = 0; type < DAXPIN_MESSAGE_TYPES; ++type) {
        if ((conn->waiting & (1u << type)) == 0) {
            continue;
        }
        if (daxpin_channel_has_no_room(
                    daxpin_conn_try_send(conn, type, conn->values[type]))) {
            return 0;
        }
        conn->waiting &= ~(1u << type);
    }
    return 1;
}

/* The other process has left a file, or has ended. */
static void daxpin_conn_gone(daxpin_conn_t *conn,
                             const daxpin_channel_ops_t *ops)
{
    daxpin_conn_detach(conn);
    daxpin_conn_want(conn);
    if (conn->leaving) {
        free(conn);
    } else {
        ops->gone(conn);
    }
}

/*
 * Channels
 */

/* Begin with a conn, the next time. */
static void daxpin_channel_begin_with(daxpin_channel_t *channel,
                                      const daxpin_conn_t *conn)
{
    daxpin_conn_t *first;

    while ((first = TAILQ_FIRST(&channel->conns)) != conn) {
        TAILQ_REMOVE(&channel->conns, first, of_channel);
        TAILQ_INSERT_TAIL(&channel->conns, first, of_channel);
    }
}

/* Send what waits for room, each file in its turn. */
static void daxpin_channel_send_waiting(daxpin_channel_t *channel)
{
    daxpin_conn_t *conn, *following;

    for (conn = TAILQ_FIRST(&channel->conns); conn != NULL; conn = following) {
        following = TAILQ_NEXT(conn, of_channel);
        if (!daxpin_conn_send_waiting(conn)) {
            daxpin_channel_begin_with(channel, conn);
            return;
        }
        if (conn->leaving) {
            daxpin_conn_detach(conn);
            free(conn);
        }
    }
    channel->full = 0;
    daxpin_loop_want_room(channel->id, channel->fd, 0);
}

/* Note a message. Return 0 to close the channel. */
static int daxpin_channel_note(daxpin_channel_t *channel,
                               const daxpin_message_t *message)
{
    daxpin_conn_t *conn = daxpin_channel_find_conn(channel, message->token);

    daxpin_conn_want(conn);
    if ((message->type == DAXPIN_MESSAGE_LEAVE) && (channel->count > 0)) {
        if (conn != NULL) {
            daxpin_conn_gone(conn, channel->ops);
        } /* else both have left at the same time */
        return daxpin_channel_is_used(channel);
    }
    return channel->ops->note(channel, ((conn != NULL) && !conn->leaving) ?
                              conn : NULL, message);
}

void daxpin_channel_receive(daxpin_channel_t *channel, unsigned number)
{
    daxpin_message_t message;
    unsigned i;
    int ret;

    for (i = 0; i < number; ++i) {
        ret = daxpin_message_receive(channel->fd, &message);
        if (ret == 0) {
            return;
        }
        if ((ret < 0) || !daxpin_channel_note(channel, &message)) {
            daxpin_channel_close(channel);
            return;
        }
    }
}

/* As many messages as files: so one channel gets on as fast as several. */
static void daxpin_channel_event(void *arg, uint32_t events)
{
    daxpin_channel_t *channel = arg;

    if (events & EPOLLOUT) {
        daxpin_channel_send_waiting(channel);
    }
    if (events & ~(uint32_t)EPOLLOUT) {
        daxpin_channel_receive(channel, channel->count + 1);
    }
}

daxpin_channel_t *daxpin_channel_create(daxpin_channels_t *kind,
                                        const daxpin_channel_ops_t *ops, int fd,
                                        pid_t pid)
{
    daxpin_channel_t *channel = calloc(1, sizeof(*channel));
    int error;

    if (channel == NULL) {
        return NULL;
    }
    TAILQ_INIT(&channel->conns);
    channel->ops  = ops;
    channel->fd   = fd;
    channel->pid  = pid;
    channel->kind = kind;
    channel->id   = daxpin_loop_add_narrow(fd, daxpin_channel_event, channel);
    if (channel->id == 0) {
        error = errno;
        free(channel);
        errno = error;
        return NULL;
    }
    TAILQ_INSERT_TAIL(&kind->list, channel, link);
    ++kind->count;
    return channel;
}

static void daxpin_channel_remove(daxpin_channel_t *channel)
{
    TAILQ_REMOVE(&channel->kind->list, channel, link);
    --channel->kind->count;
}

void daxpin_channel_change(daxpin_channel_t *channel, daxpin_channels_t *kind,
                           const daxpin_channel_ops_t *ops)
{
    daxpin_channel_remove(channel);
    channel->kind = kind;
    channel->ops  = ops;
    TAILQ_INSERT_TAIL(&kind->list, channel, link);
    ++kind->count;
}

void daxpin_channel_close(daxpin_channel_t *channel)
{
    daxpin_conn_t *conn;

    daxpin_loop_remove(channel->id, channel->fd);
    close(channel->fd);
    daxpin_channel_remove(channel);
    while ((conn = TAILQ_FIRST(&channel->conns)) != NULL) {
        daxpin_conn_gone(conn, channel->ops);
    }
    free(channel);
}

daxpin_channel_t *daxpin_channel_find(const daxpin_channels_t *kind, pid_t pid,
                                      uint64_t name)
{
    daxpin_channel_t *channel;

    TAILQ_FOREACH(channel, &kind->list, link) {
        if ((pid > 0) && (channel->pid == pid) &&
            (channel->count < DAXPIN_CHANNEL_CONNS) &&
            ((name == 0) || (channel->name == name))) {
            return channel;
        }
    }
    return NULL;
}

void daxpin_channels_fork(daxpin_channels_t *kind)
{
    daxpin_channel_t *channel;
    daxpin_conn_t *conn;

    while ((channel = TAILQ_FIRST(&kind->list)) != NULL) {
        close(channel->fd);
        daxpin_channel_remove(channel);
        while ((conn = TAILQ_FIRST(&channel->conns)) != NULL) {
            daxpin_conn_detach(conn);
            if (conn->leaving) {
                free(conn);
            }
        }
        free(channel);
    }
}
