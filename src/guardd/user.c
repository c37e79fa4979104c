/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Users: limits, so that one user cannot take all resources */

#include "user.h"

#include "log.h"

#include <stdlib.h>
#include <syslog.h>

/* Messages of one user that are handled in a round; the rest has to wait */
#define GUARD_USER_MESSAGES 64

guard_limits_t guard_limits = {.clients = 4096, .ranges = 65536};

static LIST_HEAD(, guard_user) guard_users = LIST_HEAD_INITIALIZER(guard_users);

guard_user_t *guard_user_enter(uid_t uid)
{
    guard_user_t *user;

    LIST_FOREACH(user, &guard_users, link) {
        if (user->uid == uid) {
            break;
        }
    }
    if (user == NULL) {
        user = calloc(1, sizeof(*user));
        if (user == NULL) {
            return NULL;
        }
        user->uid = uid;
        LIST_INSERT_HEAD(&guard_users, user, link);
    }
    if (user->clients >= guard_limits.clients) {
        return NULL;
    }
    if (++user->clients == guard_limits.clients) {
        guard_log(LOG_WARNING,
                  "user %u has %zu connections, the limit: raise "
                  "--max-clients if that is not enough",
                  (unsigned)uid, user->clients);
    }
    return user;
}

void guard_user_leave(guard_user_t *user)
{
    if (--user->clients == 0) {
        LIST_REMOVE(user, link);
        free(user);
    }
}

int guard_user_may(guard_user_t *user, size_t round)
{
    if (user->round != round) {
        user->round = round;
        user->spent = 0;
    }
    return user->spent++ < GUARD_USER_MESSAGES;
}
