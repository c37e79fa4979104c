/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The connections of a file: members at the holder, and the holder at a member */

#include "share.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/limit.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/roster.h"
#include "daxpin/os/socket.h"
#include "daxpin/os/watch.h"
#include "channel.h"
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages, read at once: of each file of a channel, and of all. A socket has room
 * for less than the latter. */
#define DAXPIN_SHARE_BURST     64
#define DAXPIN_SHARE_BURST_MAX 512
#define DAXPIN_NEWCOMERS_MAX 256 /* that have not sent a HELLO yet */
#define DAXPIN_ACCEPT_BURST  16  /* of them, accepted at once */
#define DAXPIN_HELLO_BOUND   (2 * DAXPIN_SEC)
#define DAXPIN_SENT_BOUND    (2 * DAXPIN_SEC)
#define DAXPIN_LISTEN_MIN    (100 * DAXPIN_MSEC) /* pauses without room */
#define DAXPIN_LISTEN_MAX    (2 * DAXPIN_SEC)

/* How often to look whether the names of the address are there */
#define DAXPIN_ADDRESS_PAUSE (500 * DAXPIN_MSEC)

/* What all files of this process share. Under daxpin_mutex. */
static struct {
    unsigned          serving;     /* files that have an address */
    daxpin_address_t  door;
    daxpin_listener_t listener;    /* of the door */
    daxpin_channels_t newcomers;   /* they have not sent a HELLO */
    daxpin_channels_t members;     /* processes for which this one holds files */
    daxpin_channels_t holders;     /* processes that hold files for this one */
    daxpin_conn_t     *next;       /* that daxpin_share_receive_all() reads */
    uint64_t          last_token;  /* 0: none since the start, or since fork() */
    int               reserved_fd; /* is given up to accept a newcomer, and to
                                      send it BUSY */
} daxpin_share_all = {
    .door           = {.lock_fd = -1, .dir_fd = -1, .listen_fd = -1},
    .listener       = {.fd = -1},
    .newcomers.list = TAILQ_HEAD_INITIALIZER(daxpin_share_all.newcomers.list),
    .members.list   = TAILQ_HEAD_INITIALIZER(daxpin_share_all.members.list),
    .holders.list   = TAILQ_HEAD_INITIALIZER(daxpin_share_all.holders.list),
    .reserved_fd    = -1
};

/*
 * The holder's side
 */

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

/* Send a newcomer a message that needs no answer. */
static void daxpin_newcomer_refuse(const daxpin_channel_t *newcomer,
                                   const daxpin_file_t *file,
                                   daxpin_message_type_t type, uint64_t value)
{
    daxpin_key_t key;

    daxpin_file_key(file, &key);
    daxpin_message_send(newcomer->fd, type, &key, 0, value);
}

/* Send a newcomer what it needs, and by which channel all that follows comes; 0:
 * by this one. Return 0 to drop it. */
static int daxpin_newcomer_welcome(const daxpin_channel_t *newcomer,
                                   daxpin_file_t *file, uint64_t token,
                                   uint64_t channel)
{
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
        daxpin_newcomer_refuse(newcomer, file, DAXPIN_MESSAGE_BUSY,
                               (uint64_t)-roster_fd);
        return 0;
    }
    daxpin_file_key(file, &key);
    daxpin_message_init(&message, DAXPIN_MESSAGE_WELCOME, &key);
    message.token   = token;
    message.channel = channel;
    message.value   = daxpin_watch_number();
    ret = daxpin_socket_send(newcomer->fd, &message, sizeof(message), fds, 4);
    close(roster_fd); /* The packet keeps the description, and its lock */
    return ret == 0;
}

/* Return the file that a newcomer names: one that this process holds, or else
 * the one that it has held last; or NULL. */
static daxpin_file_t *daxpin_share_find(const daxpin_message_t *message)
{
    daxpin_file_t *file, *found = NULL;

    LIST_FOREACH(file, &daxpin_files, link) {
        if (file->holder && (file->dev == message->dev) &&
            (file->ino == message->ino)) {
            if (file->share.serves) {
                return file;
            }
            found = (found != NULL) ? found : file;
        }
    }
    return found;
}

/* Return whether members send messages of a type. */
static int daxpin_share_is_of_member(uint32_t type)
{
    return (type == DAXPIN_MESSAGE_EXPOSE) || (type == DAXPIN_MESSAGE_ACK) ||
           (type == DAXPIN_MESSAGE_GUARD) || (type == DAXPIN_MESSAGE_GROW) ||
           (type == DAXPIN_MESSAGE_FAULT);
}

/* Note a message of a member, for holder.c to act on. Return 0 if members do
 * not send such messages. One about a file that this process has just left comes
 * to nothing. */
static int daxpin_member_note(daxpin_channel_t *channel, daxpin_conn_t *conn,
                              const daxpin_message_t *message)
{
    (void)channel;
    if (conn == NULL) {
        return daxpin_share_is_of_member(message->type);
    }
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

/* Take a member from the list of its file. */
static void daxpin_member_remove(daxpin_conn_t *conn)
{
    if (daxpin_share_all.next == conn) {
        daxpin_share_all.next = LIST_NEXT(conn, link);
    }
    LIST_REMOVE(conn, link);
}

static void daxpin_member_gone(daxpin_conn_t *conn)
{
    if (conn->growing) {
        conn->file->grew = 1; /* Its last changes may not have been read yet */
    }
    daxpin_member_remove(conn);
    free(conn);
}

static const daxpin_channel_ops_t daxpin_member_ops = {
    .note = daxpin_member_note,
    .gone = daxpin_member_gone
};

/* Make a newcomer a member. Return NULL if it is not welcome. */
static daxpin_conn_t *daxpin_newcomer_join(daxpin_channel_t *newcomer,
                                           daxpin_file_t *file,
                                           const daxpin_message_t *hello)
{
    daxpin_channel_t *channel = (hello->channel == 0) ? NULL :
            daxpin_channel_find(&daxpin_share_all.members, newcomer->pid,
                                hello->channel);
    daxpin_conn_t *conn;
    daxpin_key_t key;

    if ((channel != NULL) &&
        (daxpin_channel_find_conn(channel, hello->token) != NULL)) {
        return NULL; /* No token is used twice */
    }
    daxpin_file_key(file, &key);
    conn = daxpin_conn_create(&key, hello->token);
    if ((conn == NULL) ||
        !daxpin_newcomer_welcome(newcomer, file, hello->token,
                                 (channel != NULL) ? channel->name : 0)) {
        free(conn);
        return NULL;
    }
    conn->file = file;
    LIST_INSERT_HEAD(&file->share.conns, conn, link);
    if (channel == NULL) {
        channel = newcomer;
        daxpin_channel_change(channel, &daxpin_share_all.members,
                              &daxpin_member_ops);
    }
    daxpin_conn_use(conn, channel);
    return conn;
}

/* Return whether a file is of the generation that a newcomer names, if any. */
static int daxpin_newcomer_means(const daxpin_message_t *message,
                                 const daxpin_file_t *file)
{
    return (message->generation == 0) ||
           (message->generation == file->generation);
}

/* Handle the first message of a newcomer. Return 0 to close its socket. */
static int daxpin_newcomer_note(daxpin_channel_t *newcomer, daxpin_conn_t *conn,
                                const daxpin_message_t *message)
{
    daxpin_file_t *file;

    (void)conn;
    if ((message->type != DAXPIN_MESSAGE_HELLO) &&
        (message->type != DAXPIN_MESSAGE_JOIN)) {
        return 0;
    }
    file = daxpin_share_find(message);
    if ((file == NULL) || file->shrinking) {
        return 0; /* It tries again */
    }
    if (!daxpin_file_is_alive(file) || !daxpin_newcomer_means(message, file)) {
        daxpin_newcomer_refuse(newcomer, file, DAXPIN_MESSAGE_STALE,
                               daxpin_newcomer_means(message, file) &&
                               (daxpin_file_state(file) ==
                                DAXPIN_STATE_RELEASED));
        return 0;
    }
    conn = daxpin_newcomer_join(newcomer, file, message);
    if (conn == NULL) {
        return 0;
    }
    file->share.logged_full = 0;
    if (message->type == DAXPIN_MESSAGE_HELLO) {
        file->exposed = 1;
    } else {
        file->lease.joined = 1;
    }
    return conn->channel == newcomer; /* else it has a channel already */
}

static const daxpin_channel_ops_t daxpin_newcomer_ops = {
    .note = daxpin_newcomer_note
};

/* Receive what a channel has by now, with a bound that its files share. */
static void daxpin_share_receive(daxpin_channel_t *channel)
{
    const unsigned number = DAXPIN_SHARE_BURST * (channel->count + 1);

    daxpin_channel_receive(channel, (number < DAXPIN_SHARE_BURST_MAX) ?
                                    number : DAXPIN_SHARE_BURST_MAX);
}

/* Receive what all members and newcomers have sent by now, with a bound for each
 * of them. Wake the loop to act on the messages, because their sockets do not
 * wake it any more. A message may end any member, also of another file. */
static void daxpin_share_receive_all(daxpin_file_t *file)
{
    daxpin_channel_t *newcomer, *following;
    daxpin_conn_t *conn;

    for (newcomer = TAILQ_FIRST(&daxpin_share_all.newcomers.list);
         newcomer != NULL; newcomer = following) {
        following = TAILQ_NEXT(newcomer, link);
        daxpin_share_receive(newcomer);
    }
    daxpin_share_all.next = LIST_FIRST(&file->share.conns);
    while ((conn = daxpin_share_all.next) != NULL) {
        daxpin_share_all.next = LIST_NEXT(conn, link);
        daxpin_share_receive(conn->channel);
    }
    daxpin_loop_wake(); /* The messages have wanted their files */
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
static void daxpin_share_make_room(void)
{
    if (daxpin_share_all.newcomers.count >= DAXPIN_NEWCOMERS_MAX) {
        daxpin_channel_close(TAILQ_FIRST(&daxpin_share_all.newcomers.list));
    }
}

/* Add a newcomer. Takes fd. */
static void daxpin_share_add(int fd)
{
    daxpin_channel_t *newcomer;
    pid_t pid;

    if (daxpin_socket_is_same_user(fd, &pid)) {
        daxpin_share_make_room();
        newcomer = daxpin_channel_create(&daxpin_share_all.newcomers,
                                         &daxpin_newcomer_ops, fd, pid);
        if (newcomer != NULL) {
            newcomer->deadline = daxpin_now() + DAXPIN_HELLO_BOUND;
            return;
        }
    }
    close(fd);
}

static int daxpin_share_accept(int listen_fd)
{
    return accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* Open a descriptor that can be given up, unless there is one. */
static void daxpin_share_reserve(void)
{
    if (daxpin_share_all.reserved_fd < 0) {
        daxpin_share_all.reserved_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static void daxpin_share_unreserve(void)
{
    if (daxpin_share_all.reserved_fd >= 0) {
        close(daxpin_share_all.reserved_fd);
        daxpin_share_all.reserved_fd = -1;
    }
}

/*
 * Listeners
 */

static void daxpin_listener_end(daxpin_listener_t *listener)
{
    daxpin_loop_remove(listener->id, listener->fd);
    listener->id = 0;
}

/* Send BUSY to a newcomer that was accepted. Its HELLO names the file; if that
 * were left unread, close() would discard BUSY. */
static void daxpin_share_send_busy(int fd, int error)
{
    daxpin_file_t *file = NULL;
    daxpin_key_t key    = {0};
    daxpin_message_t hello;

    if (daxpin_message_receive(fd, &hello) > 0) {
        file = daxpin_share_find(&hello);
    }
    if (file != NULL) {
        daxpin_file_key(file, &key);
        daxpin_share_log_full(file, error);
    } /* else it tries again */
    daxpin_message_send(fd, DAXPIN_MESSAGE_BUSY, &key, 0, (uint64_t)error);
}

/* Send a newcomer that this process cannot welcome any, by way of the reserved
 * descriptor. Then do not listen for a while, so that neither the loop nor the
 * newcomers spin; without a descriptor, newcomers wait in the queue. */
static void daxpin_listener_refuse(daxpin_listener_t *listener, int error)
{
    int fd;

    if (daxpin_share_all.reserved_fd >= 0) {
        daxpin_share_unreserve();
        fd = daxpin_share_accept(listener->fd);
        if (fd >= 0) {
            daxpin_share_send_busy(fd, error);
            close(fd);
        }
        daxpin_share_reserve();
    }
    daxpin_listener_end(listener);
    listener->pause = (listener->pause == 0) ? DAXPIN_LISTEN_MIN :
                      daxpin_earlier(2 * listener->pause, DAXPIN_LISTEN_MAX);
    listener->retry = daxpin_now() + listener->pause;
}

/* Accept newcomers. */
static void daxpin_listener_event(void *arg, uint32_t events)
{
    daxpin_listener_t *listener = arg;
    unsigned count;
    int fd = -1;

    (void)events;
    for (count = 0; count < DAXPIN_ACCEPT_BURST; ++count) {
        fd = daxpin_share_accept(listener->fd);
        if (fd < 0) {
            break;
        }
        listener->pause = 0;
        daxpin_limit_check();
        daxpin_share_reserve();
        daxpin_share_add(fd);
    }
    if ((fd < 0) && ((errno == EMFILE) || (errno == ENFILE) ||
                     (errno == ENOMEM) || (errno == ENOBUFS))) {
        daxpin_listener_refuse(listener, errno);
    }
}

/* Begin to listen. Return 0 or -errno. */
static int daxpin_listener_begin(daxpin_listener_t *listener, int fd)
{
    listener->fd    = fd;
    listener->retry = 0;
    listener->pause = 0;
    listener->id    = daxpin_loop_add(fd, daxpin_listener_event, listener);
    return (listener->id != 0) ? 0 : -errno;
}

/* Listen again after a pause. Return when to call again (ns). */
static uint64_t daxpin_listener_tick(daxpin_listener_t *listener, int fd,
                                     uint64_t now)
{
    if (fd < 0) {
        return DAXPIN_NEVER;
    }
    if ((listener->id == 0) && (now >= listener->retry)) {
        listener->fd    = fd;
        listener->id    = daxpin_loop_add(fd, daxpin_listener_event, listener);
        listener->retry = now + DAXPIN_LISTEN_MIN;
    }
    return (listener->id == 0) ? listener->retry : DAXPIN_NEVER;
}

/*
 * The door
 */

/* Have a door that other processes find. Return 0 or -errno. */
static int daxpin_share_open_door(void)
{
    daxpin_address_t *door = &daxpin_share_all.door;
    int ret                = 0;

    if ((door->lock_fd >= 0) && !daxpin_address_is_lost(door)) {
        return 0;
    }
    daxpin_listener_end(&daxpin_share_all.listener);
    ret = (door->lock_fd < 0) ? daxpin_address_open_door(door) :
                                daxpin_address_restore(door);
    if (door->lock_fd >= 0) { /* also one that is lost has a socket */
        (void)daxpin_listener_begin(&daxpin_share_all.listener,
                                    door->listen_fd);
    }
    return ret;
}

/* Accept those that have connected to a socket, and close it. */
static void daxpin_share_drain(int listen_fd)
{
    unsigned count;
    int fd;

    for (count = 0; count < DAXPIN_NEWCOMERS_MAX; ++count) {
        fd = daxpin_share_accept(listen_fd);
        if (fd < 0) {
            break;
        }
        daxpin_limit_check();
        daxpin_share_add(fd);
    }
    close(listen_fd);
}

/* Use the door for the address of a file. Return 0; or -errno: then the address
 * stays as it is. */
static int daxpin_share_use_door(daxpin_file_t *file)
{
    int ret = daxpin_share_open_door(), listen_fd;

    if (ret != 0) {
        return ret;
    }
    listen_fd = daxpin_address_share(&file->share.address,
                                     &daxpin_share_all.door, &ret);
    if (listen_fd >= 0) {
        daxpin_listener_end(&file->share.listener);
        daxpin_share_drain(listen_fd);
    }
    return ret;
}

/* Listen for newcomers of a file. Return 0 or -errno. */
static int daxpin_share_listen(daxpin_file_t *file)
{
    return (daxpin_share_use_door(file) == 0) ? 0 :
           daxpin_listener_begin(&file->share.listener,
                                 file->share.address.listen_fd);
}

/* Begin to serve one more file. */
static void daxpin_share_serves(daxpin_file_t *file)
{
    file->share.serves = 1;
    ++daxpin_share_all.serving;
    daxpin_share_reserve();
}

/* Serve one file less. The last one takes with it what all share. forked: it
 * is the parent's. */
static void daxpin_share_serves_not(daxpin_file_t *file, int forked)
{
    daxpin_channel_t *newcomer;

    if (!file->share.serves) {
        return;
    }
    file->share.serves = 0;
    if (--daxpin_share_all.serving > 0) {
        return;
    }
    while ((newcomer = TAILQ_FIRST(&daxpin_share_all.newcomers.list)) != NULL) {
        daxpin_channel_close(newcomer);
    }
    daxpin_share_unreserve();
    daxpin_listener_end(&daxpin_share_all.listener);
    if (forked) {
        daxpin_address_forget(&daxpin_share_all.door);
    } else {
        daxpin_address_close(&daxpin_share_all.door);
    }
}

void daxpin_share_init(daxpin_file_t *file)
{
    daxpin_address_init(&file->share.address);
    LIST_INIT(&file->share.conns);
    file->share.ask.fd = -1;
}

int daxpin_share_serve(daxpin_file_t *file, const daxpin_address_t *address)
{
    int ret;

    file->share.address = *address;
    daxpin_share_serves(file);
    ret = daxpin_share_listen(file);
    if (ret != 0) {
        daxpin_address_init(&file->share.address); /* It is the caller's */
        daxpin_share_serves_not(file, 0);
        return daxpin_error(-ret, "%s: cannot watch a socket: %s", file->path,
                            strerror(-ret));
    }
    return 0;
}

static void daxpin_share_send_all(daxpin_file_t *file,
                                  daxpin_message_type_t type)
{
    daxpin_conn_t *conn;

    LIST_FOREACH(conn, &file->share.conns, link) {
        daxpin_conn_send(conn, type, 0);
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
    return !LIST_EMPTY(&file->share.conns);
}

int daxpin_share_has_lost_members(const daxpin_file_t *file)
{
    return daxpin_roster_has_earlier(file->roster_fd, file->turn);
}

/* A member has sent GROW before it changes the file, so the message is there if
 * the change is. One whose holder has ended sends it before it leaves its place
 * among those that the new holder waits for, so look for these first. */
int daxpin_share_take_grew(daxpin_file_t *file)
{
    int grew = daxpin_share_has_lost_members(file);
    const daxpin_conn_t *conn;

    daxpin_share_receive_all(file);
    grew      |= file->grew || (file->growing > 0);
    file->grew = 0;
    LIST_FOREACH(conn, &file->share.conns, link) {
        grew |= conn->growing;
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
        if ((conn->channel->pid == pid) && (pid > 0)) {
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
        count += !conn->acked;
    }
    return count;
}

void daxpin_share_list_unacked(daxpin_file_t *file, char *pids, size_t size)
{
    daxpin_conn_t *conn;

    pids[0] = '\0';
    LIST_FOREACH(conn, &file->share.conns, link) {
        if (!conn->acked && (strlen(pids) + 1 < size)) {
            daxpin_proc_describe(conn->channel->pid, pids, size);
        }
    }
}

/* Drop newcomers that are silent. Return when to do so again (ns). */
static uint64_t daxpin_share_drop_silent(uint64_t now)
{
    uint64_t next = DAXPIN_NEVER;
    daxpin_channel_t *newcomer, *following;

    for (newcomer = TAILQ_FIRST(&daxpin_share_all.newcomers.list);
         newcomer != NULL; newcomer = following) {
        following = TAILQ_NEXT(newcomer, link);
        if (now >= newcomer->deadline) {
            daxpin_channel_close(newcomer);
        } else {
            next = daxpin_earlier(next, newcomer->deadline);
        }
    }
    return next;
}

uint64_t daxpin_share_tick_door(uint64_t now)
{
    return daxpin_earlier(daxpin_share_drop_silent(now),
                          daxpin_listener_tick(&daxpin_share_all.listener,
                                               daxpin_share_all.door.listen_fd,
                                               now));
}

/* Make the address again. Log that, or why it fails, once. */
static void daxpin_share_restore(daxpin_file_t *file)
{
    int ret;

    daxpin_listener_end(&file->share.listener);
    file->share.listener.retry = 0; /* Without a door, the tick begins again */
    (void)daxpin_share_open_door();
    ret = daxpin_address_restore(&file->share.address);
    if (ret == 0) {
        if (file->share.address.door == NULL) {
            (void)daxpin_share_use_door(file);
        }
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

uint64_t daxpin_share_tick(daxpin_file_t *file, uint64_t now)
{
    if (!file->share.serves) {
        return DAXPIN_NEVER;
    }
    daxpin_share_check_address(file, now);
    return daxpin_earlier(daxpin_listener_tick(&file->share.listener,
                                               file->share.address.listen_fd,
                                               now), file->share.check);
}

/* After a revoke, a member that is stopped must not keep newcomers away. */
void daxpin_share_stop_listening(daxpin_file_t *file)
{
    daxpin_listener_end(&file->share.listener);
    if (file->revoke.phase != DAXPIN_PHASE_NONE) {
        daxpin_address_close(&file->share.address);
    } else {
        daxpin_address_leave(&file->share.address);
    }
    daxpin_share_serves_not(file, 0);
}

void daxpin_share_fork(daxpin_file_t *file)
{
    daxpin_listener_end(&file->share.listener);
    daxpin_address_forget(&file->share.address);
    daxpin_share_serves_not(file, 1);
    daxpin_share_close(file);
}

void daxpin_share_fork_all(void)
{
    daxpin_channels_fork(&daxpin_share_all.newcomers);
    daxpin_channels_fork(&daxpin_share_all.members);
    daxpin_channels_fork(&daxpin_share_all.holders);
    daxpin_share_all.last_token = 0;
}

void daxpin_share_close(daxpin_file_t *file)
{
    daxpin_conn_t *conn;

    daxpin_share_stop_listening(file);
    while ((conn = LIST_FIRST(&file->share.conns)) != NULL) {
        daxpin_member_remove(conn);
        daxpin_conn_leave(conn);
    }
    daxpin_share_leave(file);
}

/*
 * The member's side
 */

/* Add notes; of WAIVE and HOLD, the last one is in effect. */
static void daxpin_share_add_notes(unsigned *notes_p, unsigned notes)
{
    if (notes & (DAXPIN_NOTE_WAIVE | DAXPIN_NOTE_HOLD)) {
        *notes_p &= ~(unsigned)(DAXPIN_NOTE_WAIVE | DAXPIN_NOTE_HOLD);
    }
    *notes_p |= notes;
}

/* Return the notes of a message of the holder; 0: holders do not send such
 * messages. */
static unsigned daxpin_holder_notes(uint32_t type)
{
    switch (type) {
    case DAXPIN_MESSAGE_BREAK:
        return DAXPIN_NOTE_BREAK;
    case DAXPIN_MESSAGE_WAIVE:
        return DAXPIN_NOTE_WAIVE;
    case DAXPIN_MESSAGE_HOLD:
        return DAXPIN_NOTE_HOLD;
    default:
        return 0;
    }
}

/* Send LEAVE for a file that the holder still has a member of: a child of fork()
 * may have kept the socket of a HELLO open, so that the holder could answer it
 * after LEAVE. */
static void daxpin_holder_leave_again(const daxpin_channel_t *channel,
                                      const daxpin_message_t *message)
{
    const daxpin_key_t key = {.dev        = message->dev,
                              .ino        = message->ino,
                              .generation = message->generation};

    (void)daxpin_message_send(channel->fd, DAXPIN_MESSAGE_LEAVE, &key,
                              message->token, 0);
}

/* Note a message of the holder, for member.c to act on; or for the thread that
 * joins, which may not have read the WELCOME yet. Return 0 if holders do not send
 * such messages. */
static int daxpin_holder_note(daxpin_channel_t *channel, daxpin_conn_t *conn,
                              const daxpin_message_t *message)
{
    const unsigned notes = daxpin_holder_notes(message->type);

    if (conn == NULL) {
        daxpin_holder_leave_again(channel, message);
    } else {
        daxpin_share_add_notes((conn->file != NULL) ?
                               &conn->file->share.notes : &conn->notes, notes);
    }
    return notes != 0;
}

static void daxpin_holder_gone(daxpin_conn_t *conn)
{
    if (conn->file == NULL) {
        conn->notes |= DAXPIN_NOTE_GONE; /* The thread that joins has it */
        return;
    }
    conn->file->share.notes      |= DAXPIN_NOTE_GONE;
    conn->file->share.holder_conn = NULL;
    free(conn);
}

static const daxpin_channel_ops_t daxpin_holder_ops = {
    .note = daxpin_holder_note,
    .gone = daxpin_holder_gone
};

/* Return a number that no other file of this process has, and that another
 * process can hardly guess. Without random numbers, they count from 1. */
static uint64_t daxpin_share_next_token(void)
{
    uint64_t *last = &daxpin_share_all.last_token;

    if ((*last == 0) &&
        (getrandom(last, sizeof(*last), GRND_NONBLOCK) != sizeof(*last))) {
        *last = 0;
    }
    return ++*last;
}

daxpin_conn_t *daxpin_share_prepare(const daxpin_key_t *key, pid_t pid)
{
    daxpin_channel_t *channel = daxpin_channel_find(&daxpin_share_all.holders,
                                                    pid, 0);
    daxpin_conn_t *conn       = daxpin_conn_create(key,
                                                   daxpin_share_next_token());

    if ((conn != NULL) && (channel != NULL)) {
        conn->named = channel->name;
        daxpin_conn_use(conn, channel);
    }
    return conn;
}

void daxpin_share_forgo(daxpin_conn_t *conn)
{
    daxpin_conn_leave(conn);
}

int daxpin_share_follow(daxpin_file_t *file, daxpin_conn_t *conn, int sock,
                        pid_t pid)
{
    daxpin_channel_t *channel;

    if (sock >= 0) {
        channel = daxpin_channel_create(&daxpin_share_all.holders,
                                        &daxpin_holder_ops, sock, pid);
        if (channel == NULL) {
            return daxpin_error(errno, "%s: cannot watch a socket: %m",
                                file->path);
        }
        daxpin_conn_withdraw(conn);
        conn->notes = 0; /* of the channel that the holder has not used */
        daxpin_conn_use(conn, channel);
    }
    daxpin_share_add_notes(&file->share.notes, conn->notes);
    if (conn->channel == NULL) {
        free(conn); /* The holder is gone again */
    } else {
        daxpin_file_key(file, &conn->key);
        conn->file              = file;
        file->share.holder_conn = conn;
    }
    daxpin_file_wake(file); /* to act on the notes */
    return 0;
}

/* A new holder has answered. */
static void daxpin_ask_event(void *arg, uint32_t events)
{
    daxpin_file_t *file = arg;

    (void)events;
    file->share.notes |= DAXPIN_NOTE_ANSWER;
}

int daxpin_share_expects(const daxpin_file_t *file)
{
    const pid_t pid = file->share.ask.pid;
    const daxpin_file_t *other;

    if ((pid <= 0) ||
        (daxpin_channel_find(&daxpin_share_all.holders, pid, 0) != NULL)) {
        return 0;
    }
    LIST_FOREACH(other, &daxpin_files, link) {
        if ((other->share.ask.id != 0) && (other->share.ask.pid == pid)) {
            return 1;
        }
    }
    return 0;
}

int daxpin_share_ask(daxpin_file_t *file, daxpin_conn_t *conn)
{
    file->share.ask.id = daxpin_loop_add(file->share.ask.fd, daxpin_ask_event,
                                         file);
    if (file->share.ask.id == 0) {
        return -errno;
    }
    file->share.ask.conn = conn;
    return 0;
}

void daxpin_share_end_ask(daxpin_file_t *file)
{
    daxpin_loop_remove(file->share.ask.id, file->share.ask.fd);
    file->share.ask.id   = 0;
    file->share.ask.fd   = -1;
    file->share.ask.conn = NULL;
}

/* Close the socket first: so LEAVE comes last, see test/model/channel.pml */
static void daxpin_share_give_up_ask(daxpin_file_t *file)
{
    daxpin_conn_t *conn = file->share.ask.conn;
    const int sock      = file->share.ask.fd;

    daxpin_share_end_ask(file);
    close(sock);
    if (conn != NULL) {
        daxpin_share_forgo(conn);
    }
}

void daxpin_share_leave(daxpin_file_t *file)
{
    daxpin_conn_t *conn = file->share.holder_conn;

    if (file->share.ask.fd >= 0) {
        daxpin_share_give_up_ask(file);
    }
    if (conn != NULL) {
        file->share.holder_conn = NULL;
        daxpin_conn_leave(conn);
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
    if (!grows && (file->share.holder_conn != NULL)) {
        file->grew = 0; /* No holder after this one is to be told again */
    }
}

void daxpin_share_send_expose(daxpin_file_t *file)
{
    daxpin_share_send(file, DAXPIN_MESSAGE_EXPOSE, 0);
}

int daxpin_share_await_sent(const daxpin_file_t *file)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_MSEC};
    const uint64_t deadline     = daxpin_now() + DAXPIN_SENT_BOUND;
    const daxpin_conn_t *conn;
    int waits;

    for (;;) {
        pthread_mutex_lock(&daxpin_mutex);
        conn  = file->share.holder_conn;
        waits = (conn != NULL) && (conn->waiting != 0);
        pthread_mutex_unlock(&daxpin_mutex);
        if (!waits) {
            return 0;
        }
        if (daxpin_now() > deadline) {
            return -EAGAIN;
        }
        nanosleep(&pause, NULL);
    }
}

void daxpin_share_expose(daxpin_file_t *file)
{
    if (!file->exposed) {
        file->exposed = 1;
        daxpin_share_send_expose(file);
    }
}
