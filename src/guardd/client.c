/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Clients: processes that guard files.
 *
 * A client passes the open file description that has the exclusive lease. The
 * lease proves that the file belongs to the client's user (or that the client
 * has CAP_LEASE), that no other description was open, and that a process
 * watches the file. While the lease is lent to a writer, it is proof enough
 * that the same user guards the file already, or guarded it when a former
 * daemon died.
 */

#include "client.h"

#include "wire/guardd.h"
#include "log.h"
#include "programs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

TAILQ_HEAD(guard_answers, guard_client);

static LIST_HEAD(, guard_client) guard_clients =
        LIST_HEAD_INITIALIZER(guard_clients);

/* Clients to answer or to remove at the end of a round */
static struct guard_answers guard_answers =
        TAILQ_HEAD_INITIALIZER(guard_answers);

/* Has room for surplus descriptors, so that they can be closed */
typedef union guard_ancillary {
    struct cmsghdr header;
    char           space[CMSG_SPACE(8 * sizeof(int))];
} guard_ancillary_t;

guard_client_t *guard_client_accept(int fd)
{
    guard_client_t *client = calloc(1, sizeof(*client));
    socklen_t length       = sizeof(struct ucred);
    struct ucred peer;

    if ((client == NULL) ||
        (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)) {
        goto err;
    }
    client->user = guard_user_enter(peer.uid);
    if (client->user == NULL) {
        goto err;
    }
    client->fd  = fd;
    client->pid = peer.pid;
    LIST_INSERT_HEAD(&guard_clients, client, link);
    return client;

err:
    free(client);
    close(fd);
    return NULL;
}

static void guard_client_due(guard_client_t *client)
{
    if (!client->answers && !client->leaves) {
        TAILQ_INSERT_TAIL(&guard_answers, client, answer_link);
    }
}

static void guard_client_answer(guard_client_t *client, int ret)
{
    guard_client_due(client);
    client->answers = 1;
    client->error   = -ret;
}

/* Remove the client's ranges now, and the client at the end of the round. */
static void guard_client_part(guard_client_t *client)
{
    guard_client_due(client);
    client->leaves = 1;
    if (client->inode != NULL) {
        guard_inode_remove_all(client->inode, client);
        guard_inode_put(client->inode);
        guard_log(LOG_INFO, "pid %d of user %u has stopped to guard inode "
                  "%lu", (int)client->pid, (unsigned)client->user->uid,
                  (unsigned long)client->inode->ino);
        client->inode = NULL;
    }
    client->user->ranges -= client->ranges;
    client->ranges        = 0;
}

static int guard_client_may_guard(const guard_client_t *client, int fd)
{
    const guard_client_t *other;
    const guard_inode_t *inode;
    struct stat st;

    if ((fstat(fd, &st) != 0) || !S_ISREG(st.st_mode) ||
        ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)) {
        return 0;
    }
    if (client->known || (fcntl(fd, F_GETLEASE) == F_WRLCK)) {
        return 1;
    }
    inode = guard_inode_find(st.st_dev, st.st_ino);
    LIST_FOREACH(other, &guard_clients, link) {
        if ((inode != NULL) && (other->inode == inode) &&
            (other->user == client->user)) {
            return 1;
        }
    }
    return 0;
}

static int guard_client_file(guard_client_t *client, int fd)
{
    int ret;

    if ((client->inode != NULL) || (fd < 0)) {
        return -EPROTO;
    }
    client->known = guard_programs_knew(fd, client->user->uid);
    if (!guard_client_may_guard(client, fd)) {
        guard_log(LOG_INFO, "pid %d of user %u cannot guard a file: it does "
                  "not hold the lease", (int)client->pid,
                  (unsigned)client->user->uid);
        return -EPERM;
    }
    ret = guard_inode_get(fd, client->user->uid, &client->inode);
    if (ret == 0) {
        guard_log(LOG_INFO, "pid %d of user %u guards inode %lu of device "
                  "%lx", (int)client->pid, (unsigned)client->user->uid,
                  (unsigned long)client->inode->ino,
                  (unsigned long)client->inode->dev);
    }
    return ret;
}

static int guard_client_remove(guard_client_t *client,
                               const daxpin_guard_message_t *message,
                               uint32_t count)
{
    guard_range_t range;
    uint32_t i;
    int ret = 0;

    for (i = 0; i < count; ++i) {
        range.start = message->ranges[i].start;
        range.end   = message->ranges[i].end;
        if (guard_inode_remove(client->inode, client, &range) != 0) {
            ret = -ENOENT;
            continue;
        }
        --client->ranges;
        --client->user->ranges;
    }
    return ret;
}

/* Add all ranges of the message, or none. */
static int guard_client_add(guard_client_t *client,
                            const daxpin_guard_message_t *message)
{
    guard_range_t range;
    uint32_t i;
    int ret;

    if (message->head.count > guard_limits.ranges - client->user->ranges) {
        return -EDQUOT;
    }
    for (i = 0; i < message->head.count; ++i) {
        range.start = message->ranges[i].start;
        range.end   = message->ranges[i].end;
        ret = (range.start < range.end) ?
                      guard_inode_add(client->inode, client, &range) :
                      -EINVAL;
        if (ret != 0) {
            guard_client_remove(client, message, i);
            return ret;
        }
        ++client->ranges;
        ++client->user->ranges;
    }
    return 0;
}

static int guard_message_is_valid(const daxpin_guard_message_t *message,
                                  ssize_t length)
{
    return (length >= (ssize_t)sizeof(message->head)) &&
           (message->head.magic == DAXPIN_GUARD_MAGIC) &&
           (message->head.version == DAXPIN_GUARD_VERSION) &&
           (message->head.count <= DAXPIN_GUARD_RANGES) &&
           (length == (ssize_t)DAXPIN_GUARD_SIZE(message->head.count));
}

/* Handle one message. -EPROTO: the client breaks the protocol. */
static int guard_client_handle(guard_client_t *client,
                               const daxpin_guard_message_t *message, int fd)
{
    if (message->head.type == DAXPIN_GUARD_FILE) {
        return guard_client_file(client, fd);
    }
    if (client->inode == NULL) {
        return -EPROTO;
    }
    switch (message->head.type) {
    case DAXPIN_GUARD_ADD:
        return guard_client_add(client, message);
    case DAXPIN_GUARD_REMOVE:
        return guard_client_remove(client, message, message->head.count);
    default:
        return -EPROTO;
    }
}

/* Return the first descriptor of a message, and close the others. */
static int guard_take_fd(struct msghdr *header)
{
    struct cmsghdr *ancillary;
    int fd = -1, other;
    size_t at;

    for (ancillary = CMSG_FIRSTHDR(header); ancillary != NULL;
         ancillary = CMSG_NXTHDR(header, ancillary)) {
        if ((ancillary->cmsg_level != SOL_SOCKET) ||
            (ancillary->cmsg_type != SCM_RIGHTS)) {
            continue;
        }
        for (at = 0; CMSG_LEN(at + sizeof(int)) <= ancillary->cmsg_len;
             at += sizeof(int)) {
            memcpy(&other, CMSG_DATA(ancillary) + at, sizeof(other));
            if (fd < 0) {
                fd = other;
            } else {
                close(other);
            }
        }
    }
    return fd;
}

void guard_client_receive(guard_client_t *client, size_t round)
{
    daxpin_guard_message_t message;
    guard_ancillary_t ancillary;
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};
    ssize_t length;
    int fd, ret = -EPROTO;

    if (client->leaves || !guard_user_may(client->user, round)) {
        return; /* The message stays for the next round */
    }
    length = recvmsg(client->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if ((length < 0) && ((errno == EAGAIN) || (errno == EINTR))) {
        return;
    }
    fd = (length >= 0) ? guard_take_fd(&header) : -1;
    if (guard_message_is_valid(&message, length) &&
        !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        ret = guard_client_handle(client, &message, fd);
    }
    /* Close the description: the lease would live as long as the daemon */
    if (fd >= 0) {
        close(fd);
    }
    if (ret == -EPROTO) {
        if (length > 0) {
            guard_log(LOG_INFO, "pid %d of user %u sent an invalid "
                      "message", (int)client->pid,
                      (unsigned)client->user->uid);
        }
        guard_client_part(client);
    } else {
        guard_client_answer(client, ret);
    }
}

/* Send the answer. 0: the client does not read, and its queue is full. */
static int guard_client_send(const guard_client_t *client)
{
    const int kernel = (client->inode != NULL) ? client->inode->error : 0;
    const daxpin_guard_head_t answer = {
        .magic   = DAXPIN_GUARD_MAGIC,
        .version = DAXPIN_GUARD_VERSION,
        .type    = client->known ? DAXPIN_GUARD_KNOWN : DAXPIN_GUARD_ANSWER,
        .count   = guard_programs_are_pinned() ? GUARD_GRACE_MS : 0,
        .error   = (uint32_t)((client->error != 0) ? client->error : kernel)
    };

    return send(client->fd, &answer, sizeof(answer),
                MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(answer);
}

static void guard_client_destroy(guard_client_t *client)
{
    guard_user_leave(client->user);
    LIST_REMOVE(client, link);
    close(client->fd); /* This removes it from the epoll instance */
    free(client);
}

void guard_clients_finish(void)
{
    guard_client_t *client;

    guard_inodes_publish();
    while ((client = TAILQ_FIRST(&guard_answers)) != NULL) {
        TAILQ_REMOVE(&guard_answers, client, answer_link);
        if (client->leaves) {
            guard_client_destroy(client);
            continue;
        }
        client->answers = 0;
        if (!guard_client_send(client)) {
            guard_client_part(client); /* Queues the client again */
        }
        client->known = 0;
    }
    guard_inodes_publish();
}

void guard_clients_dismiss(void)
{
    guard_client_t *client;

    LIST_FOREACH(client, &guard_clients, link) {
        client->error = ESHUTDOWN;
        guard_client_send(client);
    }
}

int guard_clients_exist(void)
{
    return !LIST_EMPTY(&guard_clients);
}
