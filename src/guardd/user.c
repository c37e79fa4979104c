/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Users: limits, so that one user cannot take all resources */

#include "user.h"

#include "guard.bpf.h"
#include "log.h"
#include "loop.h"

#include <stdlib.h>
#include <syslog.h>

/* Messages of one user that are handled in a round; the rest has to wait */
#define GUARD_USER_MESSAGES 64

/* How long nothing more is said of a limit */
#define GUARD_NOTE_MS 60000

guard_limits_t guard_limits = {
    .clients     = 4096,
    .ranges      = 65536,
    .all_clients = 131072,
    .all_ranges  = GUARD_RANGES_MAX / 2 /* the rest is for what is moved */
};

static LIST_HEAD(, guard_user) guard_users = LIST_HEAD_INITIALIZER(guard_users);
static size_t guard_all_clients;
static size_t guard_all_ranges;

static guard_user_t *guard_user_get(uid_t uid)
{
    guard_user_t *user;

    LIST_FOREACH(user, &guard_users, link) {
        if (user->uid == uid) {
            ++user->refs;
            return user;
        }
    }
    user = calloc(1, sizeof(*user));
    if (user != NULL) {
        user->uid  = uid;
        user->refs = 1;
        LIST_INSERT_HEAD(&guard_users, user, link);
    }
    return user;
}

void guard_user_keep(guard_user_t *user)
{
    ++user->refs;
}

void guard_user_release(guard_user_t *user)
{
    if (--user->refs == 0) {
        LIST_REMOVE(user, link);
        free(user);
    }
}

int guard_user_is_due(long *next)
{
    const long now = guard_now_ms();

    if (now < *next) {
        return 0;
    }
    *next = now + GUARD_NOTE_MS;
    return 1;
}

/* Say now and then that a limit is reached. */
static void guard_user_note(guard_user_t *user)
{
    static long next;

    if ((user->clients == guard_limits.clients) &&
        guard_user_is_due(&user->next_note)) {
        guard_log(LOG_WARNING,
                  "user %u has %zu connections, the limit: raise "
                  "--max-clients if that is not enough",
                  (unsigned)user->uid, user->clients);
    }
    if ((guard_all_clients == guard_limits.all_clients) &&
        guard_user_is_due(&next)) {
        guard_log(LOG_WARNING, "there are %zu connections, the limit: no more "
                  "are accepted; raise --max-all-clients if that is not enough",
                  guard_all_clients);
    }
}

guard_user_t *guard_user_enter(uid_t uid)
{
    guard_user_t *user;

    if (guard_all_clients >= guard_limits.all_clients) {
        return NULL;
    }
    user = guard_user_get(uid);
    if (user == NULL) {
        return NULL;
    }
    if (user->clients >= guard_limits.clients) {
        guard_user_release(user);
        return NULL;
    }
    ++user->clients;
    ++guard_all_clients;
    guard_user_note(user);
    return user;
}

void guard_user_leave(guard_user_t *user)
{
    --user->clients;
    --guard_all_clients;
    guard_user_release(user);
}

int guard_user_may_add(const guard_user_t *user, size_t count)
{
    return (count <= guard_limits.ranges - user->ranges) &&
           (count <= guard_limits.all_ranges - guard_all_ranges);
}

void guard_user_count(guard_user_t *user, ssize_t count)
{
    user->ranges     += (size_t)count;
    guard_all_ranges += (size_t)count;
}

int guard_user_may(guard_user_t *user, uint64_t round)
{
    if (user->round != round) {
        user->round = round;
        user->spent = 0;
    }
    return user->spent++ < GUARD_USER_MESSAGES;
}
