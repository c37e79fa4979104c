/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_CHANNEL_H_
#define DAXPIN_CHANNEL_H_

/*
 * The sockets to other processes, and the files that use each of them.
 *
 * A channel is a connected socket. A conn is a file at a channel: a member, at
 * the holder of the file; the holder, at a member. A process has one channel for
 * all files that another process holds for it, up to DAXPIN_CHANNEL_CONNS: so many
 * that each of them has room for some messages in the socket, even if the other
 * process is stopped. So a process that is about to access a file can send that
 * before the access.
 *
 * The member gives each conn a number, its token, which all messages carry. A
 * channel has the token of its first conn for a name. LEAVE ends one conn, and
 * the end of the connection ends all of them. A channel that no file uses any
 * more is closed. test/model/channel.pml has how a conn comes to a channel.
 *
 * Caller of every function holds daxpin_mutex.
 */

#include "file.h"
#include "message.h"

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#define DAXPIN_CHANNEL_CONNS 64

typedef struct daxpin_channel daxpin_channel_t;

/* What the owner of a channel does */
typedef struct daxpin_channel_ops {
    /* Note a message; conn NULL: its token is of no file here (any more).
     * Return 0 to close the channel. */
    int  (*note)(daxpin_channel_t *channel, daxpin_conn_t *conn,
                 const daxpin_message_t *message);
    /* The other process has left the file. The conn is of no channel any more,
     * and is the owner's. */
    void (*gone)(daxpin_conn_t *conn);
} daxpin_channel_ops_t;

/* Channels of one kind */
typedef struct daxpin_channels {
    TAILQ_HEAD(, daxpin_channel) list; /* the last one has come last */
    unsigned                     count;
} daxpin_channels_t;

struct daxpin_channel {
    TAILQ_ENTRY(daxpin_channel) link;
    daxpin_channels_t           *kind;
    const daxpin_channel_ops_t  *ops;
    TAILQ_HEAD(, daxpin_conn)   conns;
    unsigned                    count;    /* of those */
    int                         fd;
    uint64_t                    id;       /* of the loop */
    pid_t                       pid;      /* 0: in another pid namespace */
    uint64_t                    name;
    uint64_t                    deadline; /* ns, of a newcomer: for HELLO */
    int                         full;     /* messages wait for room */
};

struct daxpin_conn {
    LIST_ENTRY(daxpin_conn)  link;       /* of the file; holder only */
    TAILQ_ENTRY(daxpin_conn) of_channel;
    daxpin_channel_t         *channel;   /* NULL: the other process has left */
    daxpin_file_t            *file;      /* NULL: a process that joins has no
                                            answer yet; or LEAVE waits */
    daxpin_key_t             key;        /* of the file */
    uint64_t                 token;
    uint64_t                 named;      /* member: the channel in its HELLO; 0:
                                            none */
    int                      leaving;    /* only LEAVE still has to be sent */
    unsigned                 waiting;    /* types of messages that wait for room,
                                            a bit each */
    uint64_t                 values[DAXPIN_MESSAGE_TYPES]; /* of those */
    unsigned                 notes;      /* member: daxpin_note_t, before there
                                            is a file */
    int                      acked;      /* holder: it has answered BREAK */
    int                      guard;      /* daxpin_guard_status_t of its pins */
    int                      growing;    /* it makes the file longer */
};

/* Watch a socket. Takes fd unless it fails. Return NULL with errno if it does. */
daxpin_channel_t *daxpin_channel_create(daxpin_channels_t *kind,
                                        const daxpin_channel_ops_t *ops, int fd,
                                        pid_t pid);

/* Make it a channel of another kind. */
void daxpin_channel_change(daxpin_channel_t *channel, daxpin_channels_t *kind,
                           const daxpin_channel_ops_t *ops);

/* Close the socket. All files at the other end are gone. */
void daxpin_channel_close(daxpin_channel_t *channel);

/* Return a channel of a process that has room for one more conn, or NULL. name 0:
 * any; pid 0 is no process. */
daxpin_channel_t *daxpin_channel_find(const daxpin_channels_t *kind, pid_t pid,
                                      uint64_t name);

/* Return the conn with a token, or NULL. */
daxpin_conn_t *daxpin_channel_find_conn(const daxpin_channel_t *channel,
                                        uint64_t token);

/* Receive up to this number of messages. The channel may be closed then. */
void daxpin_channel_receive(daxpin_channel_t *channel, unsigned number);

/* Close the sockets in the child of a fork, without a message. */
void daxpin_channels_fork(daxpin_channels_t *kind);

/* Return a conn of no file and channel, or NULL. */
daxpin_conn_t *daxpin_conn_create(const daxpin_key_t *key, uint64_t token);

/* Use a channel. The first conn gives it its name. */
void daxpin_conn_use(daxpin_conn_t *conn, daxpin_channel_t *channel);

/* Use the channel no more, without a message. Close it if no file uses it. */
void daxpin_conn_withdraw(daxpin_conn_t *conn);

/* Send a message, or note it until there is room. Of several of one type, that
 * is the last one. */
void daxpin_conn_send(daxpin_conn_t *conn, daxpin_message_type_t type,
                      uint64_t value);

/* End the use of the file at this end, and send that. Takes the conn. */
void daxpin_conn_leave(daxpin_conn_t *conn);

#endif
