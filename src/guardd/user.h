/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Users: limits, so that one user cannot take all resources */

#ifndef GUARD_USER_H_
#define GUARD_USER_H_

#include <stddef.h>
#include <sys/queue.h>
#include <sys/types.h>

/* The resources of one user */
typedef struct guard_user {
    LIST_ENTRY(guard_user) link;
    uid_t  uid;
    size_t clients;
    size_t ranges;
    size_t round; /* the round that `spent` counts in */
    size_t spent; /* messages that were handled in this round */
} guard_user_t;

typedef struct guard_limits {
    size_t clients; /* of a user: connections, each for a file of a process */
    size_t ranges;  /* of a user */
} guard_limits_t;

extern guard_limits_t guard_limits;

/* Count one more client of the user. Return NULL if the user has too many. */
guard_user_t *guard_user_enter(uid_t uid);
void          guard_user_leave(guard_user_t *user);

/* Return whether one more message of the user may be handled in this round. */
int guard_user_may(guard_user_t *user, size_t round);

#endif
