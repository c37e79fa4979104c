/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The protocol between libdaxpin and the guard daemon */

#ifndef DAXPIN_GUARD_WIRE_H_
#define DAXPIN_GUARD_WIRE_H_

/*
 * Packets on a socket, one connection for each file of each process. Every
 * request has one answer, and answers come in the order of the requests.
 *
 *   HELLO   first, since version 2. A client that has an answer knows that the
 *           daemon receives what is sent: an open file description in the queue of
 *           a daemon that is stopped would stay open, with its lease, when the
 *           client has ended
 *   FILE    with the open file description, once: guard this file
 *   ADD     guard these ranges; each is removed on its own. Without ranges: is
 *           the daemon alive?
 *   REMOVE  stop to guard these ranges
 *
 * When a client closes the connection, its ranges are removed. When a client
 * shuts down its direction, the daemon removes its ranges and then closes.
 *
 * A daemon that is stopped guards nothing after a few seconds. A client that
 * relies on it has to ask it often enough, and do without it if it does not
 * answer.
 *
 * When the daemon dies, all ranges stay guarded for the time in its answers.
 * Meanwhile another daemon can replace it, and clients send it their ranges. A
 * daemon that ends in order sends ESHUTDOWN, an answer without a request.
 */

/*
 * Versions. The head and HELLO are the same in all, and a client has to receive an
 * error in an answer of any version. A change that the other side has to know of is
 * a new version: one more type of request, another order of them. The daemon knows
 * versions from DAXPIN_GUARD_OLDEST on, and answers in that of the request. To another
 * one it answers EPROTONOSUPPORT, with its own version as the count, and ends the
 * connection. Daemons of version 1 end it without an answer.
 */

#include <stdint.h>
#include <stdlib.h>

#define DAXPIN_GUARD_SOCKET  "/run/daxpin/guard"
#define DAXPIN_GUARD_MAGIC   0x72617567u /* "guar" */
#define DAXPIN_GUARD_VERSION 2u
#define DAXPIN_GUARD_OLDEST  1u /* that the daemon knows: without HELLO */

/* Most ranges in one packet */
#define DAXPIN_GUARD_RANGES 256

typedef enum daxpin_guard_type {
    DAXPIN_GUARD_FILE,
    DAXPIN_GUARD_ADD,
    DAXPIN_GUARD_REMOVE,
    DAXPIN_GUARD_ANSWER,
    DAXPIN_GUARD_KNOWN, /* answer to FILE: a former daemon guarded the file,
                           and its ranges were guarded all the time */
    DAXPIN_GUARD_HELLO
} daxpin_guard_type_t;

/* A range of a file, in bytes */
typedef struct daxpin_guard_range {
    uint64_t start;
    uint64_t end;   /* exclusive */
} daxpin_guard_range_t;

typedef struct daxpin_guard_head {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
    uint32_t count; /* of ranges that follow; in an answer: how long (ms) all
                       ranges stay guarded if the daemon dies */
    uint32_t error; /* in an answer: 0 or an errno value
                       EPERM   the description does not hold the lease
                       EACCES  the file is another user's, or has become so:
                       also without a request
                       EAGAIN  nothing could be found out in time about the
                               description
                       EDQUOT  the user, or all users, have too many ranges
                       EUSERS  they have too many connections; without a request
                       EPROTONOSUPPORT  see above
                       ENOENT  a range to remove was not added
                       others  as of bpf(2) */
} daxpin_guard_head_t;

typedef struct daxpin_guard_message {
    daxpin_guard_head_t  head;
    daxpin_guard_range_t ranges[DAXPIN_GUARD_RANGES];
} daxpin_guard_message_t;

/* Return the path of the socket that a client connects to. No lock needed. */
static inline const char *daxpin_guard_socket(void)
{
    const char *path = secure_getenv("DAXPIN_GUARD_SOCKET");

    return (path != NULL) ? path : DAXPIN_GUARD_SOCKET;
}

#define DAXPIN_GUARD_SIZE(_count) \
    (sizeof(daxpin_guard_head_t) + (_count) * sizeof(daxpin_guard_range_t))

#endif
