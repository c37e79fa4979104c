/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Elect the holder of a file: the process that binds the address of the file */

#include "elect.h"

#include "daxpin/file/exchange.h"
#include "daxpin/file/file.h"
#include "daxpin/file/holder.h"
#include "daxpin/file/join.h"
#include "daxpin/file/life.h"
#include "daxpin/file/share.h"
#include "daxpin/os/address.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/fork.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/rundir.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* A holder that ends a connection is about to exit, or has waited in vain for
 * the first packet: on a busy machine a process may sleep for seconds before it
 * sends one */
#define DAXPIN_ATTACH_TRIES 5
#define DAXPIN_ATTACH_BOUND (5 * DAXPIN_SEC) /* while the holder is busy */
#define DAXPIN_BUSY_PAUSE   (50 * DAXPIN_MSEC)

/* A process has one election at a time; else two threads would bind and connect
 * against each other. A thread that waits for a lease does not hold the mutex,
 * because the process that has to release the file may wait for this one. */
static pthread_mutex_t daxpin_elect_lock = PTHREAD_MUTEX_INITIALIZER;

/* What the election under way has opened, and no file has yet. Another thread may
 * fork meanwhile. A child that kept the lock of the address would keep newcomers
 * out, one that kept a place on the roster would seem a member, and one that kept
 * the description would keep the lease, even when this process has died. */
static struct {
    daxpin_address_t address;
    int              fd;      /* the description */
    daxpin_welcome_t welcome;
} daxpin_elect_now = {
    .address = {.lock_fd = -1, .dir_fd = -1, .listen_fd = -1},
    .fd      = -1,
    .welcome = DAXPIN_WELCOME_NONE
};

static void daxpin_elect_fork(void)
{
    pthread_mutex_init(&daxpin_elect_lock, NULL);
    daxpin_address_forget(&daxpin_elect_now.address);
    if (daxpin_elect_now.fd >= 0) {
        close(daxpin_elect_now.fd);
        daxpin_elect_now.fd = -1;
    }
    daxpin_welcome_fork(&daxpin_elect_now.welcome);
}

DAXPIN_FORK_CHILD(DAXPIN_FORK_ELECT, daxpin_elect_fork)

static unsigned daxpin_elect_timeout(const daxpin_params_t *params)
{
    return (params->timeout_ms != 0) ? params->timeout_ms :
                                       DAXPIN_TIMEOUT_DEFAULT_MS;
}

uint64_t daxpin_elect_deadline(const daxpin_params_t *params)
{
    return daxpin_now() + daxpin_elect_timeout(params) * DAXPIN_MSEC;
}

/* Exchange what this process has of the file. fills: this thread is to fill it
 * next. Without a file after an error. */
static int daxpin_elect_exchange(daxpin_file_t **file_p, int fills)
{
    int ret = daxpin_file_exchange(*file_p);

    if ((ret != 0) && fills) {
        pthread_mutex_lock(&daxpin_mutex);
        daxpin_holder_give_up_fill(*file_p);
        pthread_mutex_unlock(&daxpin_mutex);
    }
    if (ret != 0) {
        daxpin_file_close(*file_p);
        *file_p = NULL;
    }
    return ret;
}

/* Try to take the lease in this thread, because most often it succeeds. Before
 * an exchange, it then shows that nothing needs to be exchanged. */
static void daxpin_elect_try(daxpin_file_t *file)
{
    pthread_mutex_lock(&daxpin_mutex);
    (void)daxpin_holder_tick(file, daxpin_now(), 0);
    daxpin_file_want(file); /* The loop has to know when the next step is due */
    pthread_mutex_unlock(&daxpin_mutex);
}

static int daxpin_elect_hold(const char *path, const struct stat *st, int join,
                             const daxpin_params_t *params, uint64_t deadline,
                             const daxpin_description_ops_t *ops, void *arg,
                             daxpin_file_t **file_p)
{
    daxpin_address_t *address = &daxpin_elect_now.address;
    daxpin_file_t *file;
    int ret;

    ret = daxpin_description_get(path, st, params, deadline, ops, arg,
                                 &daxpin_elect_now.fd);
    if (ret < 0) {
        daxpin_elect_now.fd = -1;
        daxpin_address_close(address);
        return ret;
    }
    ret = daxpin_file_create_holder(path, st, &daxpin_elect_now.fd, address,
                                    params, &file);
    if (ret != 0) {
        return ret;
    }
    pthread_mutex_lock(&daxpin_mutex);
    file->own          = !join;
    file->control->own = !join;
    file->unfilled     = 1; /* the caller fills it */
    daxpin_holder_request_lease(file, daxpin_elect_timeout(params));
    pthread_mutex_unlock(&daxpin_mutex);
    daxpin_elect_try(file);
    if (join) {
        ret = daxpin_elect_exchange(&file, 1);
        if (ret != 0) {
            return ret;
        }
        daxpin_elect_try(file);
    }
    daxpin_loop_wake();
    *file_p = file;
    return 0;
}

static int daxpin_elect_follow(const char *path, const struct stat *st,
                               int join, daxpin_file_t **file_p)
{
    int ret = daxpin_file_create_member(path, st, &daxpin_elect_now.welcome,
                                        !join, file_p);

    return ((ret == 0) && join) ? daxpin_elect_exchange(file_p, 0) : ret;
}

/* Return whether an election that met a holder has to try again: it does not
 * listen yet, has exited or is about to exit, or cannot accept a member now. */
static int daxpin_elect_may_retry(int ret)
{
    return (ret == -ECONNREFUSED) || (ret == -ECONNRESET) ||
           (ret == -ESTALE) || (ret == -EBUSY);
}

static void daxpin_elect_pause(int ret)
{
    const struct timespec pause = {.tv_nsec = (ret == -EBUSY) ?
                                              DAXPIN_BUSY_PAUSE : DAXPIN_MSEC};

    nanosleep(&pause, NULL);
}

/* End an election in vain. ret is that of the last try. */
static int daxpin_elect_give_up(const char *path, const struct stat *st,
                                int ret)
{
    char holder[128];

    if (ret == -EBUSY) {
        return -ETIMEDOUT; /* The message has the reason */
    }
    daxpin_address_describe(st->st_dev, st->st_ino, holder, sizeof(holder));
    if (daxpin_address_has_members(st->st_dev, st->st_ino)) {
        return daxpin_error(ETIMEDOUT, "%s: cannot join: its holder on this "
                            "node (last: %s) is stopped, or has ended, and no "
                            "other process that uses the file takes its place; "
                            "check whether those processes are stopped", path,
                            holder);
    }
    return daxpin_error(ETIMEDOUT, "%s: cannot join: its holder on this node "
                        "(last: %s) keeps exiting before it answers, or is "
                        "stopped; try again", path, holder);
}

/* Add the name of the file to the last message. Return ret. */
static int daxpin_elect_name_file(const char *path, int ret)
{
    char text[DAXPIN_CAUSE_MAX];

    snprintf(text, sizeof(text), "%s", daxpin_errormsg());
    return daxpin_error(-ret, "%s: %s", path, text);
}

static int daxpin_elect_locked(const char *path, const struct stat *st,
                               int join, const daxpin_params_t *params,
                               const daxpin_description_ops_t *ops, void *arg,
                               daxpin_file_t **file_p)
{
    const daxpin_key_t key = {.dev = st->st_dev, .ino = st->st_ino};
    uint64_t deadline      = daxpin_elect_deadline(params);
    int ret;

    *file_p = daxpin_file_find(st->st_dev, st->st_ino);
    if (*file_p != NULL) {
        return join ? daxpin_elect_exchange(file_p, 0) : 0;
    }
    for (;;) {
        ret = daxpin_address_listen(st->st_dev, st->st_ino, -1,
                                    &daxpin_elect_now.address);
        if (ret == 0) {
            return daxpin_elect_hold(path, st, join, params, deadline, ops,
                                     arg, file_p);
        }
        if (ret != -EADDRINUSE) {
            return daxpin_elect_name_file(path, ret);
        }
        ret = daxpin_join(path, &key, join, deadline,
                          &daxpin_elect_now.welcome);
        if (ret == 0) {
            return daxpin_elect_follow(path, st, join, file_p);
        }
        if (!daxpin_elect_may_retry(ret)) {
            return ret;
        }
        if (daxpin_now() > deadline) {
            return daxpin_elect_give_up(path, st, ret);
        }
        daxpin_elect_pause(ret);
    }
}

int daxpin_elect(const char *path, const struct stat *st, int join,
                 const daxpin_params_t *params,
                 const daxpin_description_ops_t *ops, void *arg,
                 daxpin_file_t **file_p)
{
    int ret;

    pthread_mutex_lock(&daxpin_elect_lock);
    ret = daxpin_elect_locked(path, st, join, params, ops, arg, file_p);
    pthread_mutex_unlock(&daxpin_elect_lock);
    return ret;
}

void daxpin_elect_nobody(const struct stat *st, uint64_t deadline,
                         void (*func)(void *arg), void *arg)
{
    daxpin_address_t *address = &daxpin_elect_now.address;
    char text[DAXPIN_CAUSE_MAX];
    int ret;

    snprintf(text, sizeof(text), "%s", daxpin_errormsg());
    pthread_mutex_lock(&daxpin_elect_lock);
    while (((ret = daxpin_address_listen(st->st_dev, st->st_ino, -1,
                                         address)) == -EADDRINUSE) &&
           (daxpin_now() < deadline)) {
        daxpin_elect_pause(ret);
    }
    if (ret == 0) {
        func(arg);
        daxpin_address_close(address);
    }
    pthread_mutex_unlock(&daxpin_elect_lock);
    (void)daxpin_error(EIO, "%s", text);
}

static int daxpin_elect_lend_locked(const char *path, const struct stat *st,
                                    uint64_t deadline, daxpin_file_t **file_p)
{
    const daxpin_key_t key = {.dev = st->st_dev, .ino = st->st_ino};
    int ret;

    *file_p = daxpin_file_find(st->st_dev, st->st_ino);
    if (*file_p != NULL) {
        return daxpin_elect_exchange(file_p, 0);
    }
    while ((ret = daxpin_join(path, &key, 1, deadline,
                              &daxpin_elect_now.welcome)) != 0) {
        if (!daxpin_elect_may_retry(ret)) {
            return ret;
        }
        if (daxpin_now() > deadline) {
            return daxpin_elect_give_up(path, st, ret);
        }
        daxpin_elect_pause(ret);
    }
    return daxpin_elect_follow(path, st, 1, file_p);
}

int daxpin_elect_lend(const char *path, const struct stat *st,
                      const daxpin_params_t *params, daxpin_file_t **file_p)
{
    int ret;

    pthread_mutex_lock(&daxpin_elect_lock);
    ret = daxpin_elect_lend_locked(path, st, daxpin_elect_deadline(params),
                                   file_p);
    pthread_mutex_unlock(&daxpin_elect_lock);
    return ret;
}

/* Return whether an attach has to wait: the holder is busy, or it has ended and
 * a member is about to take its place. */
static int daxpin_elect_holder_comes(const daxpin_key_t *key, int ret)
{
    return (ret == -EBUSY) ||
           (((ret == -ECONNREFUSED) || (ret == -ECONNRESET)) &&
            daxpin_address_has_members(key->dev, key->ino));
}

static int daxpin_elect_attach_locked(const daxpin_key_t *key,
                                      daxpin_file_t **file_p)
{
    struct stat st = {.st_dev = key->dev, .st_ino = key->ino};
    daxpin_file_t *file = daxpin_file_find(key->dev, key->ino);
    unsigned tries      = DAXPIN_ATTACH_TRIES;
    uint64_t deadline   = daxpin_now() + DAXPIN_ATTACH_BOUND;
    daxpin_welcome_t *welcome = &daxpin_elect_now.welcome;
    char name[64];
    int ret, comes;

    snprintf(name, sizeof(name), "inode %lu of pid %u", key->ino, key->pid);
    if (file != NULL) {
        if (file->generation != key->generation) {
            ret = daxpin_error(ESTALE, "%s: cannot use the remote key: it is "
                               "of an earlier life of the file; create the "
                               "window again", file->path);
            daxpin_file_close(file);
            return ret;
        }
        pthread_mutex_lock(&daxpin_mutex);
        daxpin_share_expose(file);
        pthread_mutex_unlock(&daxpin_mutex);
        *file_p = file;
        return 0;
    }
    if (key->generation == 0) {
        return daxpin_error(ESTALE, "%s: cannot use the remote key: it has no "
                            "generation; create the window again", name);
    }
    do {
        ret   = daxpin_join(name, key, 0, 0, welcome);
        comes = daxpin_elect_holder_comes(key, ret);
        if (comes) {
            daxpin_elect_pause(ret);
        }
    } while ((comes && (daxpin_now() < deadline)) ||
             ((ret == -ECONNRESET) && (--tries > 0)));
    if ((ret == -ECONNREFUSED) || (ret == -ECONNRESET)) {
        return daxpin_error(ENOENT, "%s: cannot attach: no process on this "
                            "node holds it any more, because it was revoked or "
                            "closed or its holder has died, or the holder is "
                            "in a container that does not share the directory "
                            DAXPIN_RUNDIR_VARIABLE, name);
    }
    if (ret != 0) {
        return ret;
    }
    return daxpin_file_create_member(NULL, &st, welcome, 1, file_p);
}

int daxpin_elect_attach(const daxpin_key_t *key, daxpin_file_t **file_p)
{
    int ret;

    pthread_mutex_lock(&daxpin_elect_lock);
    ret = daxpin_elect_attach_locked(key, file_p);
    pthread_mutex_unlock(&daxpin_elect_lock);
    return ret;
}
