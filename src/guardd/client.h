/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Clients: processes that guard files */

#ifndef GUARD_CLIENT_H_
#define GUARD_CLIENT_H_

#include "inode.h"
#include "user.h"

#include <sys/queue.h>
#include <sys/types.h>

/* A connection of a process that guards a file */
typedef struct guard_client {
    LIST_ENTRY(guard_client) link;
    TAILQ_ENTRY(guard_client) answer_link;
    int           fd;
    pid_t         pid;
    guard_user_t  *user;
    guard_inode_t *inode;  /* NULL: no file yet */
    size_t        ranges;
    int           answers; /* an answer is due when the kernel has the ranges */
    int           error;   /* errno value of that answer */
    int           known;   /* answer KNOWN: a former daemon guarded the file */
    int           leaves;  /* removed at the end of the round */
} guard_client_t;

/* Accept a connection. Takes fd. Return NULL if the client is refused. */
guard_client_t *guard_client_accept(int fd);

/* Handle one message of the client, if its user may send more in this round. */
void guard_client_receive(guard_client_t *client, size_t round);

/* End a round: publish the ranges, answer clients, remove clients. */
void guard_clients_finish(void);

/* Notify all clients that the daemon ends. A client closes its connection when
 * it has replaced the guard. */
void guard_clients_dismiss(void);
int  guard_clients_exist(void);

#endif
