/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Messages between the holder of a file and its members */

#include "message.h"

#include "daxpin/os/log.h"
#include "daxpin/os/socket.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DAXPIN_MESSAGE_MAGIC   0x6873786461ull
#define DAXPIN_MESSAGE_VERSION 3u
#define DAXPIN_MESSAGE_BACKLOG 4096

static socklen_t daxpin_message_address(uint64_t dev, uint64_t ino,
                                        struct sockaddr_un *address)
{
    int length;

    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
                      "daxpin-%u-%lx-%lx", (unsigned)geteuid(), dev, ino);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

void daxpin_message_init(daxpin_message_t *message, daxpin_message_type_t type,
                         const daxpin_key_t *key)
{
    message->magic      = DAXPIN_MESSAGE_MAGIC;
    message->version    = DAXPIN_MESSAGE_VERSION;
    message->type       = type;
    message->dev        = key->dev;
    message->ino        = key->ino;
    message->generation = key->generation;
    message->value      = 0;
}

int daxpin_message_send(int fd, daxpin_message_type_t type,
                        const daxpin_key_t *key, uint64_t value)
{
    daxpin_message_t message;

    daxpin_message_init(&message, type, key);
    message.value = value;
    return daxpin_socket_send(fd, &message, sizeof(message), NULL, 0);
}

int daxpin_message_is_valid(const daxpin_message_t *message, ssize_t length)
{
    return (length == sizeof(*message)) &&
           (message->magic == DAXPIN_MESSAGE_MAGIC) &&
           (message->version == DAXPIN_MESSAGE_VERSION);
}

int daxpin_message_receive(int fd, daxpin_message_t *message)
{
    ssize_t length = daxpin_socket_receive(fd, message, sizeof(*message), NULL,
                                           0);

    if ((length == -EAGAIN) || (length == -EINTR)) {
        return 0;
    }
    return daxpin_message_is_valid(message, length) ? 1 : -EPROTO;
}

int daxpin_message_listen(uint64_t dev, uint64_t ino, int *fd_p)
{
    struct sockaddr_un address;
    socklen_t length = daxpin_message_address(dev, ino, &address);
    int fd, ret;

    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return daxpin_error(errno, "cannot create a socket: %m");
    }
    if ((bind(fd, (struct sockaddr*)&address, length) != 0) ||
        (listen(fd, DAXPIN_MESSAGE_BACKLOG) != 0)) {
        ret = (errno == EADDRINUSE) ? -EADDRINUSE :
              daxpin_error(errno, "cannot listen at %s: %m",
                           address.sun_path + 1);
        close(fd);
        return ret;
    }
    *fd_p = fd;
    return 0;
}

int daxpin_message_connect(uint64_t dev, uint64_t ino, int fd)
{
    struct sockaddr_un address;
    socklen_t length = daxpin_message_address(dev, ino, &address);

    return (connect(fd, (struct sockaddr*)&address, length) == 0) ? 0 : -errno;
}

int daxpin_message_is_same_user(int fd, pid_t *pid_p)
{
    uid_t uid;

    return (daxpin_socket_get_sender(fd, &uid, pid_p) == 0) &&
           (uid == geteuid());
}
