/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Messages between the holder of a file and its members */

#include "message.h"

#include "daxpin/os/socket.h"

#include <errno.h>
#include <stddef.h>

#define DAXPIN_MESSAGE_MAGIC   0x6873786461ull
#define DAXPIN_MESSAGE_VERSION 6u

void daxpin_message_init(daxpin_message_t *message, daxpin_message_type_t type,
                         const daxpin_key_t *key)
{
    message->magic      = DAXPIN_MESSAGE_MAGIC;
    message->version    = DAXPIN_MESSAGE_VERSION;
    message->type       = type;
    message->dev        = key->dev;
    message->ino        = key->ino;
    message->generation = key->generation;
    message->token      = 0;
    message->channel    = 0;
    message->value      = 0;
}

int daxpin_message_send(int fd, daxpin_message_type_t type,
                        const daxpin_key_t *key, uint64_t token,
                        uint64_t value)
{
    daxpin_message_t message;

    daxpin_message_init(&message, type, key);
    message.token = token;
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
