/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Users: limits, so that one user cannot take all resources */

#ifndef GUARD_USER_H_
#define GUARD_USER_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/* The resources of one user, who may be behind many user IDs */
typedef struct guard_user {
    LIST_ENTRY(guard_user) link;
    uid_t    uid;
    unsigned refs;
    size_t   clients;
    size_t   ranges;
    unsigned children; /* that look at what the user has sent */
    uint64_t round;    /* the round that `spent` counts in */
    size_t   spent;    /* messages that were handled in this round */
    long     next_note; /* when a limit may be reported again (ms) */
} guard_user_t;

/* Who is there already keeps what he has: what goes beyond a limit is refused */
typedef struct guard_limits {
    size_t clients;     /* of a user: connections, each for a file of a
                           process */
    size_t ranges;      /* of a user */
    size_t all_clients; /* of all users */
    size_t all_ranges;
} guard_limits_t;

extern guard_limits_t guard_limits;

/* Count one more client of the user. Return NULL if there are too many. */
guard_user_t *guard_user_enter(uid_t uid);
void          guard_user_leave(guard_user_t *user);

/* Keep the structure, for something that outlives its client. */
void guard_user_keep(guard_user_t *user);
void guard_user_release(guard_user_t *user);

/* Return whether to log something once more, which users may cause as often as they
 * like. *next: when it is to be logged again (ms); 0 at first */
int guard_user_is_due(long *next);

/* Return whether the user may have so many more ranges. */
int guard_user_may_add(const guard_user_t *user, size_t count);

/* Count ranges that were added or removed. */
void guard_user_count(guard_user_t *user, ssize_t count);

/* Return whether one more message of the user may be handled in this round. */
int guard_user_may(guard_user_t *user, uint64_t round);

#endif
