/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef GUARD_CLIENT_H_
#define GUARD_CLIENT_H_

#include "inode.h"
#include "user.h"

#include <sys/queue.h>
#include <sys/types.h>

/* A process that guards a file */
typedef struct guard_client {
    LIST_ENTRY(guard_client) link;
    TAILQ_ENTRY(guard_client) answer_link;
    int           fd;
    pid_t         pid;
    guard_user_t  *user;
    guard_inode_t *inode;  /* NULL: no file yet */
    size_t        ranges;
    int           answers; /* an answer is due when the kernel knows */
    int           error;   /* errno value: that answer */
    int           known;   /* to be told that a former daemon knew the file */
    int           leaves;
} guard_client_t;

/* Whoever connected: NULL if he is sent away. Takes fd. */
guard_client_t *guard_client_accept(int fd);

/* Handle one message of his, if it is his turn */
void guard_client_receive(guard_client_t *client, size_t round);

/* After the messages of a round: publish, answer, part */
void guard_clients_finish(void);

/* Tell everybody that it is over. They leave when they have put something else
 * in the guard's place. */
void guard_clients_dismiss(void);
int  guard_clients_exist(void);

#endif
