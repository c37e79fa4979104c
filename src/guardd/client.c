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
 *
 * Nothing of that lasts: a program in the kernel lets everything pass from the
 * moment on when the file has another owner, and the daemon forgets who was not
 * allowed to guard it any more. Only the superuser's processes guard whose file
 * they like. The lease itself is not looked at again: docs/security.md says why.
 */

#include "client.h"

#include "wire/guardd.h"
#include "log.h"
#include "programs.h"
#include "stranger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

TAILQ_HEAD(guard_answers, guard_client);

static LIST_HEAD(, guard_client) guard_clients =
        LIST_HEAD_INITIALIZER(guard_clients);

/* Clients to answer or to remove at the end of a round */
static struct guard_answers guard_answers =
        TAILQ_HEAD_INITIALIZER(guard_answers);

static void guard_client_receive(void *arg);

/* Let a client know why its connection ends at once. */
static void guard_client_refuse(int fd, int error)
{
    const daxpin_guard_head_t answer = {.magic   = DAXPIN_GUARD_MAGIC,
                                        .version = DAXPIN_GUARD_OLDEST,
                                        .type    = DAXPIN_GUARD_ANSWER,
                                        .error   = (uint32_t)error};

    (void)send(fd, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void guard_client_accept(int fd)
{
    guard_client_t *client = calloc(1, sizeof(*client));
    socklen_t length       = sizeof(struct ucred);
    struct ucred peer      = {.uid = 0};
    const int ret          = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer,
                                        &length);
    int is_new;
    const uid_t payer = guard_programs_payer(fd, peer.uid, &is_new);

    if ((client == NULL) || (ret != 0)) {
        goto err;
    }
    client->user = guard_user_enter(payer);
    if (client->user == NULL) {
        goto err;
    }
    client->fd          = fd;
    client->pid         = peer.pid;
    client->uid         = peer.uid;
    client->is_new      = is_new;
    client->version     = DAXPIN_GUARD_OLDEST; /* until it has sent its own */
    client->event.ready = guard_client_receive;
    client->event.arg   = client;
    if (guard_loop_add(fd, &client->event) != 0) {
        guard_user_leave(client->user);
        goto err;
    }
    LIST_INSERT_HEAD(&guard_clients, client, link);
    return;

err:
    guard_client_refuse(fd, EUSERS);
    if (is_new) {
        guard_programs_served(payer);
    }
    free(client);
    guard_stranger_close(fd);
}

/* Give its place to the next connection of the user. */
static void guard_client_served(guard_client_t *client)
{
    if (client->is_new) {
        client->is_new = 0;
        guard_programs_served(client->user->uid);
    }
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

static void guard_client_count(guard_client_t *client, ssize_t count)
{
    client->ranges += (size_t)count;
    guard_user_count(client->user, count);
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
                  "%lu", (int)client->pid, (unsigned)client->uid,
                  (unsigned long)client->inode->ino);
        client->inode = NULL;
    }
    guard_client_count(client, -(ssize_t)client->ranges);
}

/* Return whether the client's user may keep the owner of a file from truncating it. A
 * lease outlives chown(). */
static int guard_client_is_owner(const guard_client_t *client, uid_t owner)
{
    return (client->uid == 0) || (client->uid == owner);
}

static int guard_client_may_guard(const guard_client_t *client,
                                  const guard_proof_t *proof)
{
    const guard_inode_t *inode = guard_inode_find(proof->dev, proof->ino);
    const guard_client_t *other;

    if (client->known || proof->has_lease) {
        return 1;
    }
    LIST_FOREACH(other, &guard_clients, link) {
        if ((inode != NULL) && (other->inode == inode) &&
            (other->uid == client->uid)) {
            return 1;
        }
    }
    return 0;
}

/* Takes path_fd. */
static int guard_client_file(guard_client_t *client,
                             const guard_proof_t *proof, int path_fd)
{
    uid_t owner;
    int ret;

    if (proof->error != 0) {
        return -proof->error;
    }
    if (!guard_client_is_owner(client, proof->owner)) {
        close(path_fd);
        return -EACCES;
    }
    if (guard_programs_owner(path_fd, &owner) != 0) {
        close(path_fd);
        return -EAGAIN;
    }
    client->known = guard_programs_knew(path_fd, client->uid);
    if (!guard_client_may_guard(client, proof)) {
        guard_log(LOG_INFO, "pid %d of user %u cannot guard a file: it does "
                  "not hold the lease", (int)client->pid,
                  (unsigned)client->uid);
        close(path_fd);
        return -EPERM;
    }
    ret = guard_inode_get(path_fd, proof, owner, client->uid, &client->inode);
    if (ret == 0) {
        guard_log(LOG_INFO, "pid %d of user %u guards inode %lu of device "
                  "%lx", (int)client->pid, (unsigned)client->uid,
                  (unsigned long)client->inode->ino,
                  (unsigned long)client->inode->dev);
    }
    return ret;
}

/* Copy the ranges of a message. Return 0, or -EINVAL if one of them is empty. */
static int guard_client_ranges(const daxpin_guard_message_t *message,
                               guard_range_t ranges[DAXPIN_GUARD_RANGES])
{
    uint32_t i;
    int ret = 0;

    for (i = 0; i < message->head.count; ++i) {
        ranges[i].start = message->ranges[i].start;
        ranges[i].end   = message->ranges[i].end;
        ret             = (ranges[i].start < ranges[i].end) ? ret : -EINVAL;
    }
    return ret;
}

/* Remove those ranges of the message that are there. */
static int guard_client_remove(guard_client_t *client,
                               const daxpin_guard_message_t *message)
{
    guard_range_t ranges[DAXPIN_GUARD_RANGES];
    size_t removed;

    (void)guard_client_ranges(message, ranges);
    removed = guard_inode_remove(client->inode, client, ranges,
                                 message->head.count);
    guard_client_count(client, -(ssize_t)removed);
    return (removed == message->head.count) ? 0 : -ENOENT;
}

/* Add all ranges of the message, or none. */
static int guard_client_add(guard_client_t *client,
                            const daxpin_guard_message_t *message)
{
    guard_range_t ranges[DAXPIN_GUARD_RANGES];
    int ret;

    if (message->head.count == 0) {
        return 0;
    }
    if (!guard_user_may_add(client->user, message->head.count)) {
        return -EDQUOT;
    }
    ret = guard_client_ranges(message, ranges);
    if (ret == 0) {
        ret = guard_inode_add(client->inode, client, ranges,
                              message->head.count);
    }
    if (ret == 0) {
        guard_client_count(client, message->head.count);
    }
    return ret;
}

static int guard_message_is_ours(const daxpin_guard_message_t *message,
                                 ssize_t length)
{
    return (length >= (ssize_t)sizeof(message->head)) &&
           (message->head.magic == DAXPIN_GUARD_MAGIC);
}

static int guard_message_is_known(const daxpin_guard_message_t *message)
{
    return (message->head.version >= DAXPIN_GUARD_OLDEST) &&
           (message->head.version <= DAXPIN_GUARD_VERSION);
}

static int guard_message_is_valid(const daxpin_guard_message_t *message,
                                  ssize_t length)
{
    return guard_message_is_ours(message, length) &&
           guard_message_is_known(message) &&
           (message->head.count <= DAXPIN_GUARD_RANGES) &&
           (length == (ssize_t)DAXPIN_GUARD_SIZE(message->head.count));
}

/* Say now and then that a client has a version that this daemon does not know. */
static void guard_client_note_version(const guard_client_t *client)
{
    static long next;

    if (guard_user_is_due(&next)) {
        guard_log(LOG_WARNING, "pid %d of user %u has version %u of the "
                  "protocol, and this daemon has versions %u to %u: it is not "
                  "guarded; install daxpin-guardd and libdaxpin of one release",
                  (int)client->pid, (unsigned)client->uid,
                  (unsigned)client->version, DAXPIN_GUARD_OLDEST,
                  DAXPIN_GUARD_VERSION);
    }
}

/* Handle one message. -EPROTO: the client breaks the protocol. -EPROTONOSUPPORT: it
 * has another one. */
static int guard_client_handle(guard_client_t *client,
                               const daxpin_guard_message_t *message,
                               ssize_t length)
{
    if (guard_message_is_ours(message, length)) {
        client->version = message->head.version;
        if (!guard_message_is_known(message)) {
            guard_client_note_version(client);
            return -EPROTONOSUPPORT;
        }
    }
    if (!guard_message_is_valid(message, length)) {
        return -EPROTO;
    }
    if (message->head.type == DAXPIN_GUARD_HELLO) {
        return 0;
    }
    if (client->inode == NULL) {
        return -EPROTO;
    }
    switch (message->head.type) {
    case DAXPIN_GUARD_ADD:
        return guard_client_add(client, message);
    case DAXPIN_GUARD_REMOVE:
        return guard_client_remove(client, message);
    default:
        return -EPROTO;
    }
}

static void guard_client_reply(guard_client_t *client, int ret)
{
    if (ret == -EPROTO) {
        guard_log(LOG_INFO, "pid %d of user %u sent an invalid message",
                  (int)client->pid, (unsigned)client->uid);
        guard_client_part(client);
    } else {
        guard_client_answer(client, ret);
    }
}

/* Go on with a client when it is known which file it guards. */
static void guard_client_on_proof(void *arg, const guard_proof_t *proof,
                                  int path_fd)
{
    guard_client_t *client = arg;

    client->waits = 0;
    if (client->leaves) {
        if (path_fd >= 0) {
            close(path_fd);
        }
        return;
    }
    if (proof->error == ECONNRESET) {
        guard_client_part(client); /* With its message, which nobody has read */
        return;
    }
    guard_client_reply(client, guard_client_file(client, proof, path_fd));
    if (guard_loop_add(client->fd, &client->event) != 0) {
        guard_client_part(client);
    }
}

/* Return whether a message that brings a descriptor names a file. */
static int guard_client_names_file(guard_client_t *client)
{
    daxpin_guard_message_t message;
    ssize_t length = recv(client->fd, &message, sizeof(message),
                          MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

    if ((client->inode != NULL) || !guard_message_is_valid(&message, length) ||
        (message.head.count != 0) || (message.head.type != DAXPIN_GUARD_FILE)) {
        return 0;
    }
    client->version = message.head.version;
    return 1;
}

/* Have a child receive a message that brings a descriptor. Meanwhile the client
 * has to wait. */
static void guard_client_examine(guard_client_t *client)
{
    if (!guard_client_names_file(client)) {
        guard_client_reply(client, -EPROTO);
        return;
    }
    if (guard_stranger_examine(client->fd, client->user, guard_client_on_proof,
                               client) != 0) {
        guard_client_part(client);
        return;
    }
    client->waits = 1;
    guard_loop_remove(client->fd);
}

/* Handle one message of the client, if its user may send more in this round. */
static void guard_client_receive(void *arg)
{
    guard_client_t *client = arg;
    daxpin_guard_message_t message;
    ssize_t length;

    if (client->leaves || client->waits ||
        !guard_user_may(client->user, guard_loop_round())) {
        return; /* The message stays for the next round */
    }
    if (guard_stranger_brings(client->fd)) {
        guard_client_examine(client);
        return;
    }
    length = recv(client->fd, &message, sizeof(message),
                  MSG_TRUNC | MSG_DONTWAIT);
    if ((length < 0) && ((errno == EAGAIN) || (errno == EINTR))) {
        return;
    }
    if (length <= 0) {
        guard_client_part(client);
        return;
    }
    guard_client_reply(client, guard_client_handle(client, &message, length));
}

/* Send the answer. 0: the client does not read, and its queue is full. */
static int guard_client_send(const guard_client_t *client)
{
    const int kernel = (client->inode != NULL) ? client->inode->error : 0;
    daxpin_guard_head_t answer = {
        .magic   = DAXPIN_GUARD_MAGIC,
        .version = client->version,
        .type    = client->known ? DAXPIN_GUARD_KNOWN : DAXPIN_GUARD_ANSWER,
        .count   = guard_programs_are_pinned() ? GUARD_GRACE_MS : 0,
        .error   = (uint32_t)((client->error != 0) ? client->error : kernel)
    };

    if (client->error == EPROTONOSUPPORT) {
        answer.count = DAXPIN_GUARD_VERSION;
    }

    return send(client->fd, &answer, sizeof(answer),
                MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(answer);
}

static void guard_client_destroy(guard_client_t *client)
{
    guard_client_served(client);
    guard_stranger_forget(client);
    guard_loop_remove(client->fd);
    guard_stranger_close(client->fd);
    guard_user_leave(client->user);
    LIST_REMOVE(client, link);
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
        guard_client_served(client);
        if (!guard_client_send(client) || (client->error == EPROTONOSUPPORT)) {
            guard_client_part(client); /* Queues the client again */
        }
        client->known = 0;
    }
    guard_inodes_publish();
}

void guard_clients_check(void)
{
    guard_client_t *client, *next;

    guard_inodes_check();
    for (client = LIST_FIRST(&guard_clients); client != NULL; client = next) {
        next = LIST_NEXT(client, link);
        if ((client->inode != NULL) && !client->leaves &&
            client->inode->is_new &&
            !guard_client_is_owner(client, client->inode->shown)) {
            guard_log(LOG_INFO, "inode %lu has a new owner, user %u: pid %d of "
                      "user %u cannot guard it any more",
                      (unsigned long)client->inode->ino,
                      (unsigned)client->inode->shown, (int)client->pid,
                      (unsigned)client->uid);
            client->error = EACCES;
            (void)guard_client_send(client);
            guard_client_part(client);
        }
    }
    guard_inodes_accept();
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
