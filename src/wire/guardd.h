/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_GUARD_WIRE_H_
#define DAXPIN_GUARD_WIRE_H_

/*
 * What libdaxpin and daxpin-guardd say to each other: packets on a socket, one
 * connection for each file of each process. Every request has one answer, and
 * answers come in the order of the requests.
 *
 *   FILE    with the open file description, once: guard this file
 *   ADD     guard these ranges; to be given back one by one
 *   REMOVE  they need it no more
 *
 * When a client ends the connection, what it guarded is not guarded any more. A
 * client that shuts down its direction is closed when that is done.
 *
 * When the daemon dies, all stays guarded for as long as it had said, so that
 * another daemon can take its place, and be told all again. A daemon that ends
 * in order says so, in an answer without a request: ESHUTDOWN.
 */

#include <stdint.h>
#include <stdlib.h>

#define DAXPIN_GUARD_SOCKET  "/run/daxpin/guard"
#define DAXPIN_GUARD_MAGIC   0x72617567u /* "guar" */
#define DAXPIN_GUARD_VERSION 1u

/* In one packet */
#define DAXPIN_GUARD_RANGES 256

typedef enum daxpin_guard_type {
    DAXPIN_GUARD_FILE,
    DAXPIN_GUARD_ADD,
    DAXPIN_GUARD_REMOVE,
    DAXPIN_GUARD_ANSWER,
    DAXPIN_GUARD_KNOWN  /* answer to FILE: what a daemon that died had guarded
                           of it was guarded all the time */
} daxpin_guard_type_t;

/* Of a file, in bytes */
typedef struct daxpin_guard_range {
    uint64_t start;
    uint64_t end;   /* exclusive */
} daxpin_guard_range_t;

typedef struct daxpin_guard_head {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
    uint32_t count; /* of ranges that follow; of an answer: for how long (ms)
                       all stays guarded if the daemon should die */
    uint32_t error; /* of an answer: 0 or an errno value
                       EPERM   the description does not hold the lease
                       EDQUOT  this user has guarded too much already
                       ENOENT  to be removed, but was not added
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
