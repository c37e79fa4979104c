/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_JOIN_H_
#define DAXPIN_JOIN_H_

/* How a process becomes a member: it requests the open file description from
 * the holder of the file */

#include "file.h"

#include <stdint.h>
#include <sys/types.h>

/* What a new member receives. Another thread may fork at any moment, so a
 * descriptor that is closed, or another's, is not here any more; the child closes
 * those that are. */
typedef struct daxpin_welcome {
    int      sock;       /* -1: conn has a channel */
    daxpin_conn_t *conn; /* what daxpin_share_prepare() has made */
    int      fd;         /* the open file description */
    int      control_fd; /* the control page */
    int      watch_fd;   /* the holder's inotify instance; -1: none */
    uint64_t watch;      /* which of them: daxpin_watch_number() */
    int      roster_fd;  /* this member's place on the roster */
    uint64_t generation;
    pid_t    pid;        /* of the holder; 0: in another pid namespace */
} daxpin_welcome_t;

/* Join the holder of a file. key->generation 0: of any generation. join: this
 * process has the file open by itself. name is for messages. Return 0;
 * -ECONNREFUSED if no process listens; -ECONNRESET if the holder closed the
 * connection: try again; -EBUSY with a message if it has no descriptor free or
 * another such reason: try again later; -EAGAIN with a message if the holder has
 * released a file of which any generation is wanted; -ESTALE, -EPERM, -EPROTO with
 * a message; -ETIMEDOUT with a message, if there was no answer by the deadline
 * (ns), or in some seconds if that is later. Caller does not hold
 * daxpin_mutex. */
int daxpin_join(const char *name, const daxpin_key_t *key, int join,
                uint64_t deadline, daxpin_welcome_t *welcome);

/* Connect to the holder: welcome gets sock and pid. Return as daxpin_join() does.
 * Caller may hold daxpin_mutex. */
int daxpin_join_connect(const char *name, const daxpin_key_t *key,
                        uint64_t deadline, daxpin_welcome_t *welcome);

/* Ask the holder, once connected: welcome gets conn. Return 0, or -errno with a
 * message; then sock is closed. Caller holds daxpin_mutex. */
int daxpin_join_ask(const char *name, const daxpin_key_t *key, int join,
                    daxpin_welcome_t *welcome);

/* Receive the answer without waiting; see daxpin_join(), but -ECANCELED for a file
 * that was released. -EAGAIN, without a message, if it is not there yet. */
int daxpin_join_receive(const char *name, const daxpin_key_t *key,
                        daxpin_welcome_t *welcome);

/* A welcome without a descriptor */
#define DAXPIN_WELCOME_NONE \
    {                                                           \
        .sock = -1, .fd = -1, .control_fd = -1, .watch_fd = -1, \
        .roster_fd = -1                                         \
    }

/* Note that the descriptors and conn are another's now. */
void daxpin_welcome_forget(daxpin_welcome_t *welcome);

/* Close the descriptors that the member received; conn is the caller's, to forgo
 * it then. */
void daxpin_welcome_close(daxpin_welcome_t *welcome);

/* Close what the member received. Caller does not hold daxpin_mutex. */
void daxpin_welcome_discard(daxpin_welcome_t *welcome);

/* Close the descriptors in the child of a fork(). */
void daxpin_welcome_fork(daxpin_welcome_t *welcome);

#endif
