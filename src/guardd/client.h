/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Clients: processes that guard files */

#ifndef GUARD_CLIENT_H_
#define GUARD_CLIENT_H_

#include "inode.h"
#include "loop.h"
#include "user.h"

#include <sys/queue.h>
#include <sys/types.h>

/* A connection of a process that guards a file */
typedef struct guard_client {
    LIST_ENTRY(guard_client) link;
    TAILQ_ENTRY(guard_client) answer_link;
    int           fd;
    guard_event_t event;
    pid_t         pid;
    uid_t         uid;     /* as the process has it */
    uint16_t      version; /* of the protocol */
    guard_user_t  *user;   /* who is counted; may have another user ID */
    guard_inode_t *inode;  /* NULL: no file yet */
    size_t        ranges;
    int           answers; /* an answer is due when the kernel has the ranges */
    int           error;   /* errno value of that answer */
    int           known;   /* answer KNOWN: a former daemon guarded the file */
    int           waits;   /* a child has its message */
    int           is_new;  /* it counts among those that wait for an answer */
    int           leaves;  /* removed at the end of the round */
} guard_client_t;

/* Accept a connection. Takes fd. */
void guard_client_accept(int fd);

/* End a round: publish the ranges, answer clients, remove clients. */
void guard_clients_finish(void);

/* Let go of files that have got another owner. */
void guard_clients_check(void);

/* Notify all clients that the daemon ends. A client closes its connection when
 * it has replaced the guard. */
void guard_clients_dismiss(void);
int  guard_clients_exist(void);

#endif
