/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * How a peer on the node gets the same open file description.
 *
 * The holder listens on an abstract address made of user, device and inode: it
 * goes when the holder goes, and binding it elects the holder. Anybody may
 * connect to it, so both sides look at SO_PEERCRED first. Messages are packets
 * of one size; a peer that sends anything else is dropped.
 */

#include "share.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "file.h"
#include "report.h"
#include "revoke.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DAXPIN_SHARE_MAGIC   0x6873786461ull
#define DAXPIN_SHARE_VERSION 1u
#define DAXPIN_SHARE_BACKLOG 4096
#define DAXPIN_SHARE_BURST   64 /* messages of one peer, read at once */
#define DAXPIN_HELLO_BOUND   (2 * DAXPIN_SEC)
#define DAXPIN_WELCOME_BOUND (5 * DAXPIN_SEC) /* at least */

typedef enum daxpin_message_type {
    DAXPIN_MESSAGE_HELLO,   /* peer: I want to access */
    DAXPIN_MESSAGE_JOIN,    /* peer: I had the file open myself */
    DAXPIN_MESSAGE_WELCOME, /* holder, with two descriptors */
    DAXPIN_MESSAGE_STALE,   /* holder: that life of the file is over */
    DAXPIN_MESSAGE_EXPOSE,  /* member: I access now */
    DAXPIN_MESSAGE_BREAK,   /* holder: drain, replace, answer */
    DAXPIN_MESSAGE_ACK,     /* member: done */
    DAXPIN_MESSAGE_FAULT,   /* member: the file is shorter than it was */
    DAXPIN_MESSAGE_WAIVE,   /* holder: the guard stands in for the hold */
    DAXPIN_MESSAGE_HOLD,    /* holder: it does not any more */
    DAXPIN_MESSAGE_GUARD    /* member: and daxpin_guard_status_t of its pins */
} daxpin_message_type_t;

typedef struct daxpin_message {
    uint64_t magic;
    uint32_t version;
    uint32_t type;
    uint64_t dev;
    uint64_t ino;
    uint64_t generation;
} daxpin_message_t;

/* Room for two descriptors, aligned as sendmsg() wants it */
typedef union daxpin_ancillary {
    struct cmsghdr header;
    char           space[CMSG_SPACE(2 * sizeof(int))];
} daxpin_ancillary_t;

static socklen_t daxpin_share_address(uint64_t dev, uint64_t ino,
                                      struct sockaddr_un *address)
{
    int length;

    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
                      "daxpin-%u-%lx-%lx", (unsigned)geteuid(), dev, ino);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static int daxpin_share_same_user(int fd, pid_t *pid_p)
{
    socklen_t length = sizeof(struct ucred);
    struct ucred peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return 0;
    }
    *pid_p = peer.pid;
    return peer.uid == geteuid();
}

static int daxpin_share_send(int fd, daxpin_message_type_t type, uint64_t dev,
                             uint64_t ino, uint64_t generation)
{
    daxpin_message_t message = {.magic      = DAXPIN_SHARE_MAGIC,
                                .version    = DAXPIN_SHARE_VERSION,
                                .type       = type,
                                .dev        = dev,
                                .ino        = ino,
                                .generation = generation};

    return (send(fd, &message, sizeof(message),
                 MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(message)) ? 0 : -errno;
}

static int daxpin_share_send_file(int fd, daxpin_message_type_t type,
                                  const daxpin_file_t *file)
{
    return daxpin_share_send(fd, type, file->dev, file->ino, file->generation);
}

static int daxpin_message_is_valid(const daxpin_message_t *message,
                                   ssize_t length)
{
    return (length == sizeof(*message)) &&
           (message->magic == DAXPIN_SHARE_MAGIC) &&
           (message->version == DAXPIN_SHARE_VERSION);
}

/*
 * The newcomer's side
 */

static void daxpin_share_take_fds(struct msghdr *header,
                                  daxpin_welcome_t *welcome)
{
    struct cmsghdr *ancillary;
    int fds[2];

    for (ancillary = CMSG_FIRSTHDR(header); ancillary != NULL;
         ancillary = CMSG_NXTHDR(header, ancillary)) {
        if ((ancillary->cmsg_level == SOL_SOCKET) &&
            (ancillary->cmsg_type == SCM_RIGHTS) &&
            (ancillary->cmsg_len == CMSG_LEN(sizeof(fds))) &&
            (welcome->fd < 0)) {
            memcpy(fds, CMSG_DATA(ancillary), sizeof(fds));
            welcome->fd         = fds[0];
            welcome->control_fd = fds[1];
        }
    }
}

static void daxpin_welcome_discard(daxpin_welcome_t *welcome)
{
    if (welcome->fd >= 0) {
        close(welcome->fd);
        close(welcome->control_fd);
    }
    close(welcome->sock);
}

/* Is this the file that was asked for, writable, with a live holder? */
static int daxpin_share_check_file(const char *name, const daxpin_key_t *key,
                                   const daxpin_welcome_t *welcome)
{
    struct stat st;

    if ((welcome->fd < 0) || (fstat(welcome->fd, &st) != 0) ||
        !S_ISREG(st.st_mode) || (st.st_dev != key->dev) ||
        (st.st_ino != key->ino) ||
        ((fcntl(welcome->fd, F_GETFL) & O_ACCMODE) != O_RDWR)) {
        return daxpin_error(EPROTO, "%s: pid %d, which should be its holder, "
                            "sent a descriptor of something else", name,
                            (int)welcome->pid);
    }
    return 0;
}

/* For a holder who makes room in the file first, it takes as long as that */
static int daxpin_share_await(int sock, uint64_t deadline)
{
    struct pollfd pollfd = {.fd = sock, .events = POLLIN};
    uint64_t now         = daxpin_now();
    int ret;

    if (deadline < now + DAXPIN_WELCOME_BOUND) {
        deadline = now + DAXPIN_WELCOME_BOUND;
    }
    do {
        now = daxpin_now();
        ret = (now < deadline) ?
              poll(&pollfd, 1, (int)((deadline - now) / DAXPIN_MSEC) + 1) : 0;
    } while ((ret < 0) && (errno == EINTR));
    return ret != 0;
}

static int daxpin_share_receive(const char *name, const daxpin_key_t *key,
                                uint64_t deadline, daxpin_welcome_t *welcome)
{
    daxpin_ancillary_t ancillary;
    daxpin_message_t message;
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};
    ssize_t length;

    if (!daxpin_share_await(welcome->sock, deadline)) {
        return daxpin_error(ETIMEDOUT, "%s: its holder (pid %d) does not "
                            "answer; is it stopped, or still making room in "
                            "the file?", name, (int)welcome->pid);
    }
    length = recvmsg(welcome->sock, &header, MSG_CMSG_CLOEXEC);
    if (length <= 0) {
        return -ECONNRESET; /* It has just gone, or found us too slow */
    }
    daxpin_share_take_fds(&header, welcome);
    if (!daxpin_message_is_valid(&message, length)) {
        return daxpin_error(EPROTO, "%s: its holder (pid %d) speaks another "
                            "version of daxpin; use one version on a node",
                            name, (int)welcome->pid);
    }
    if (message.type == DAXPIN_MESSAGE_STALE) {
        return daxpin_error(ESTALE, "%s: the remote key is of an earlier life "
                            "of the file, which was revoked or closed; make "
                            "the window anew", name);
    }
    welcome->generation = message.generation;
    return daxpin_share_check_file(name, key, welcome);
}

int daxpin_share_connect(const char *name, const daxpin_key_t *key, int join,
                         uint64_t deadline, daxpin_welcome_t *welcome)
{
    struct sockaddr_un address;
    socklen_t length = daxpin_share_address(key->dev, key->ino, &address);
    int ret;

    welcome->fd         = -1;
    welcome->control_fd = -1;
    welcome->sock       = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (welcome->sock < 0) {
        return daxpin_error(errno, "%s: cannot create a socket: %m", name);
    }
    if (connect(welcome->sock, (struct sockaddr*)&address, length) != 0) {
        ret = (errno == ECONNREFUSED) ? -ECONNREFUSED :
              daxpin_error(errno, "%s: cannot reach its holder: %m", name);
        goto err;
    }
    if (!daxpin_share_same_user(welcome->sock, &welcome->pid)) {
        ret = daxpin_error(EPERM, "%s: pid %d of another user sits on the "
                           "address of its holder; have it removed", name,
                           (int)welcome->pid);
        goto err;
    }
    ret = daxpin_share_send(welcome->sock, join ? DAXPIN_MESSAGE_JOIN :
                            DAXPIN_MESSAGE_HELLO, key->dev, key->ino,
                            key->generation);
    if (ret != 0) {
        ret = -ECONNRESET;
        goto err;
    }
    ret = daxpin_share_receive(name, key, deadline, welcome);
    if (ret != 0) {
        goto err;
    }
    return 0;

err:
    daxpin_welcome_discard(welcome);
    return ret;
}

/*
 * The holder's side
 */

static void daxpin_conn_close(daxpin_conn_t *conn)
{
    daxpin_file_t *file = conn->file;

    daxpin_monitor_remove(conn->id, conn->fd);
    close(conn->fd);
    if (file->holder) {
        LIST_REMOVE(conn, link);
    } else {
        file->share.holder_conn = NULL;
    }
    free(conn);
}

static int daxpin_conn_welcome(daxpin_conn_t *conn)
{
    daxpin_file_t *file = conn->file;
    const int fds[2]    = {file->fd,
                           daxpin_control_open_member(file->control_fd)};
    daxpin_message_t message = {.magic      = DAXPIN_SHARE_MAGIC,
                                .version    = DAXPIN_SHARE_VERSION,
                                .type       = DAXPIN_MESSAGE_WELCOME,
                                .dev        = file->dev,
                                .ino        = file->ino,
                                .generation = file->generation};
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    daxpin_ancillary_t ancillary;
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};
    struct cmsghdr *rights;
    ssize_t length;

    if (fds[1] < 0) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot open its control page for pid "
                   "%d: %m", file->path, (int)conn->pid);
        return 0;
    }
    memset(&ancillary, 0, sizeof(ancillary));
    rights             = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type  = SCM_RIGHTS;
    rights->cmsg_len   = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(rights), fds, sizeof(fds));
    length = sendmsg(conn->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fds[1]); /* The peer has it, and its lock, on the way already */
    return length == sizeof(message);
}

/* A newcomer. Returns 0 to drop him. */
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
        daxpin_share_send_file(conn->fd, DAXPIN_MESSAGE_STALE, file);
        return 0;
    }
    if (!daxpin_conn_welcome(conn)) {
        return 0;
    }
    conn->member = 1;
    if (message->type == DAXPIN_MESSAGE_HELLO) {
        file->exposed = 1;
    }
    return 1;
}

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
    case DAXPIN_MESSAGE_GUARD + DAXPIN_GUARD_STATUS_UNGUARDED:
    case DAXPIN_MESSAGE_GUARD + DAXPIN_GUARD_STATUS_NONE:
    case DAXPIN_MESSAGE_GUARD + DAXPIN_GUARD_STATUS_GUARDED:
        conn->guard = (int)(message->type - DAXPIN_MESSAGE_GUARD);
        return 1;
    case DAXPIN_MESSAGE_FAULT:
        /* Believed: who could lie could truncate the file as well */
        atomic_store(&conn->file->faulted, 1);
        return 1;
    default:
        return 0;
    }
}

/* One message. Returns 0 if none is there, or the connection has gone with it */
static int daxpin_conn_receive(daxpin_conn_t *conn)
{
    daxpin_message_t message;
    ssize_t length;
    int keep = 0;

    length = recv(conn->fd, &message, sizeof(message),
                  MSG_DONTWAIT | MSG_TRUNC);
    if ((length < 0) && ((errno == EAGAIN) || (errno == EINTR))) {
        return 0;
    }
    if (daxpin_message_is_valid(&message, length)) {
        keep = conn->member ? daxpin_conn_member(conn, &message) :
                              daxpin_conn_hello(conn, &message);
    }
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

/* What all have said until now; not for ever from one who goes on and on. The
 * library's thread, which will not hear of it again, sees what is to be done. */
static void daxpin_share_hear_all(daxpin_file_t *file)
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
    daxpin_monitor_wake();
}

int daxpin_share_is_exposed(daxpin_file_t *file)
{
    if (!file->exposed) {
        daxpin_share_hear_all(file);
    }
    return file->exposed;
}

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
            /* He waits in the queue until there is room; do not spin */
            daxpin_log(DAXPIN_LOG_WARN, "%s: cannot let a peer in: %m; raise "
                       "the limit of open files (ulimit -n)", file->path);
            daxpin_monitor_remove(file->share.listen_id,
                                  file->share.listen_fd);
            file->share.listen_id = 0;
            file->share.retry     = daxpin_now() + 100 * DAXPIN_MSEC;
        }
        return;
    }
    conn = calloc(1, sizeof(*conn));
    if ((conn == NULL) || !daxpin_share_same_user(fd, &pid)) {
        goto err;
    }
    conn->file     = file;
    conn->fd       = fd;
    conn->pid      = pid;
    conn->deadline = daxpin_now() + DAXPIN_HELLO_BOUND;
    conn->id       = daxpin_monitor_add(fd, daxpin_conn_event, conn);
    if (conn->id == 0) {
        goto err;
    }
    LIST_INSERT_HEAD(&file->share.conns, conn, link);
    return;

err:
    free(conn);
    close(fd);
}

int daxpin_share_listen(uint64_t dev, uint64_t ino, int *fd_p)
{
    struct sockaddr_un address;
    socklen_t length = daxpin_share_address(dev, ino, &address);
    int fd, ret;

    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return daxpin_error(errno, "cannot create a socket: %m");
    }
    if ((bind(fd, (struct sockaddr*)&address, length) != 0) ||
        (listen(fd, DAXPIN_SHARE_BACKLOG) != 0)) {
        ret = (errno == EADDRINUSE) ? -EADDRINUSE :
              daxpin_error(errno, "cannot listen at %s: %m",
                           address.sun_path + 1);
        close(fd);
        return ret;
    }
    *fd_p = fd;
    return 0;
}

int daxpin_share_serve(daxpin_file_t *file, int listen_fd)
{
    file->share.listen_fd = listen_fd;
    file->share.listen_id = daxpin_monitor_add(listen_fd, daxpin_share_event,
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
            daxpin_share_send_file(conn->fd, type, file);
        }
    }
}

void daxpin_share_break(daxpin_file_t *file)
{
    daxpin_share_send_all(file, DAXPIN_MESSAGE_BREAK);
}

void daxpin_share_tell_hold(daxpin_file_t *file)
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

int daxpin_share_is_alone(daxpin_file_t *file)
{
    daxpin_share_hear_all(file);
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
            file->share.listen_id = daxpin_monitor_add(
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
        daxpin_monitor_remove(file->share.listen_id, file->share.listen_fd);
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
 * The peer's side
 */

/* 0: the holder would not say such a thing */
static int daxpin_peer_handle(daxpin_file_t *file,
                              const daxpin_message_t *message)
{
    switch (message->type) {
    case DAXPIN_MESSAGE_BREAK:
        daxpin_revoke_follow(file);
        return 1;
    case DAXPIN_MESSAGE_WAIVE:
        daxpin_file_waive_hold(file);
        return 1;
    case DAXPIN_MESSAGE_HOLD:
        daxpin_file_follow_hold(file);
        daxpin_report_update(file);
        return 1;
    default:
        return 0;
    }
}

static void daxpin_peer_event(void *arg, uint32_t events)
{
    daxpin_conn_t *conn = arg;
    daxpin_file_t *file = conn->file;
    daxpin_message_t message;
    ssize_t length;

    (void)events;
    length = recv(conn->fd, &message, sizeof(message),
                  MSG_DONTWAIT | MSG_TRUNC);
    if ((length < 0) && ((errno == EAGAIN) || (errno == EINTR))) {
        return;
    }
    if (daxpin_message_is_valid(&message, length) &&
        daxpin_peer_handle(file, &message)) {
        return;
    }
    daxpin_conn_close(conn);
    daxpin_revoke_orphan(file);
}

int daxpin_share_follow(daxpin_file_t *file, const daxpin_welcome_t *welcome)
{
    daxpin_conn_t *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        return daxpin_error(ENOMEM, "%s: out of memory", file->path);
    }
    conn->file = file;
    conn->fd   = welcome->sock;
    conn->pid  = welcome->pid;
    conn->id   = daxpin_monitor_add(conn->fd, daxpin_peer_event, conn);
    if (conn->id == 0) {
        free(conn);
        return daxpin_error(errno, "%s: cannot watch a socket: %m",
                            file->path);
    }
    file->share.holder_conn = conn;
    return 0;
}

static void daxpin_share_tell(daxpin_file_t *file, daxpin_message_type_t type)
{
    if (file->share.holder_conn != NULL) {
        daxpin_share_send_file(file->share.holder_conn->fd, type, file);
    }
}

void daxpin_share_ack(daxpin_file_t *file)
{
    daxpin_share_tell(file, DAXPIN_MESSAGE_ACK);
}

void daxpin_share_fault(daxpin_file_t *file)
{
    daxpin_share_tell(file, DAXPIN_MESSAGE_FAULT);
}

void daxpin_share_tell_guard(daxpin_file_t *file)
{
    daxpin_share_tell(file, DAXPIN_MESSAGE_GUARD +
                      (daxpin_message_type_t)file->guard.status);
}

void daxpin_share_expose(daxpin_file_t *file)
{
    if (!file->exposed) {
        file->exposed = 1;
        daxpin_share_tell(file, DAXPIN_MESSAGE_EXPOSE);
    }
}
