/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Descriptors of strangers
 *
 * Whoever holds a descriptor of somebody else's waits for him: a close() of a
 * socket that lingers, or of a file whose file system is a process of his, takes
 * as long as he likes. So the daemon never has one. A message that brings
 * descriptors is received by a child, which is killed if it takes too long; a
 * program in the kernel (guard_file_receive) keeps from it what cannot be
 * killed. The child passes on a path descriptor of a file, of which neither
 * open() nor close() reach its file system.
 */

#ifndef GUARD_STRANGER_H_
#define GUARD_STRANGER_H_

#include "user.h"

#include <sys/queue.h>
#include <sys/types.h>

/* What a child has found out about the first descriptor of a message */
typedef struct guard_proof {
    int   error;     /* errno value: no file that can be guarded; ECONNRESET:
                        the client has gone */
    int   has_lease; /* the description has the exclusive lease */
    dev_t dev;
    ino_t ino;
    uid_t owner;     /* as the client's mount shows it */
} guard_proof_t;

/* path_fd: with O_PATH, and the callee's; -1 if there is an error */
typedef void (*guard_proof_cb_t)(void *arg, const guard_proof_t *proof,
                                 int path_fd);

/* Set up signals: children can be waited for, whatever the daemon's parent has
 * set, and a close() that lingers ends soon. That is for what comes to the daemon
 * in spite of all: Linux before 6.9 has whoever closes a socket of its kind close
 * what others have left in sockets that only messages hold. Return 0 or
 * -errno. */
int guard_stranger_init(void);

/* Return whether the next message of a socket brings descriptors, or may do
 * so. */
int guard_stranger_brings(int sock);

/* Receive that message in a child, and call back in a later round. Return 0 or
 * -errno. */
int  guard_stranger_examine(int sock, guard_user_t *user, guard_proof_cb_t cb,
                            void *arg);

/* Do not call back any more. */
void guard_stranger_forget(void *arg);

/* Close a socket on which messages with descriptors may be waiting. It must not
 * be watched any more. */
void guard_stranger_close(int sock);

/* Start what waits, end what takes too long, reap what has ended. */
void guard_stranger_tick(void);

#endif
