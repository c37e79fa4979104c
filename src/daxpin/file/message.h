/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MESSAGE_H_
#define DAXPIN_MESSAGE_H_

/*
 * Messages between the holder of a file and its members.
 *
 * The holder listens at the address of the file (os/address.h), which only
 * processes of its user reach; both sides check SO_PEERCRED as well. Messages
 * are packets of one size; a process that sends anything else is dropped.
 * Nothing here needs a lock.
 */

#include "daxpin/daxpin.h"

#include <stdint.h>
#include <sys/types.h>

typedef enum daxpin_message_type {
    DAXPIN_MESSAGE_HELLO,   /* newcomer: it is about to access the file */
    DAXPIN_MESSAGE_JOIN,    /* newcomer: it has the file open by itself; channel
                               of both: the one that it has to the holder */
    DAXPIN_MESSAGE_WELCOME, /* holder, with four descriptors: the file, the
                               control page, the watch, the roster; value is
                               daxpin_watch_number(), 0 if the third is no
                               watch; channel: by which all that follows
                               comes, and this socket ends */
    DAXPIN_MESSAGE_STALE,   /* holder: this generation of the file has ended;
                               value is 1 if it was released, 0 otherwise */
    DAXPIN_MESSAGE_EXPOSE,  /* member: it is about to access the file */
    DAXPIN_MESSAGE_BREAK,   /* holder: drain, replace, answer */
    DAXPIN_MESSAGE_ACK,     /* member: done */
    DAXPIN_MESSAGE_FAULT,   /* member: the file is shorter than it was */
    DAXPIN_MESSAGE_WAIVE,   /* holder: drop the hold, the guard stands in */
    DAXPIN_MESSAGE_HOLD,    /* holder: place the hold again */
    DAXPIN_MESSAGE_GUARD,   /* member: value is daxpin_guard_status_t */
    DAXPIN_MESSAGE_GROW,    /* member: value is 1 before it makes the file
                               longer or fills it, 0 afterwards */
    DAXPIN_MESSAGE_BUSY,    /* holder: it cannot welcome a newcomer now; value
                               is the errno of the reason */
    DAXPIN_MESSAGE_LEAVE,   /* both: it does not use the file any more */
    DAXPIN_MESSAGE_TYPES
} daxpin_message_type_t;

typedef struct daxpin_message {
    uint64_t magic;
    uint32_t version;
    uint32_t type;       /* daxpin_message_type_t */
    uint64_t dev;
    uint64_t ino;
    uint64_t generation; /* HELLO, JOIN: 0 is any */
    uint64_t token;      /* of this member, see channel.h */
    uint64_t channel;    /* HELLO, JOIN, WELCOME: the name of one; 0: none but
                            this one */
    uint64_t value;      /* 0, except where the type gives it a meaning */
} daxpin_message_t;

/* Initialize a message about the file and generation that key names. */
void daxpin_message_init(daxpin_message_t *message, daxpin_message_type_t type,
                         const daxpin_key_t *key);

/* Send such a message. Return 0, or -errno without a message. */
int daxpin_message_send(int fd, daxpin_message_type_t type,
                        const daxpin_key_t *key, uint64_t token,
                        uint64_t value);

/* Receive a message. Return 1; 0 if none is there; -EPROTO if the packet is not
 * a message, or the connection has ended. */
int daxpin_message_receive(int fd, daxpin_message_t *message);

/* Return whether a packet of this length is a message. */
int daxpin_message_is_valid(const daxpin_message_t *message, ssize_t length);

#endif
