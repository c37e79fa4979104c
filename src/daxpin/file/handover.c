/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A member takes the place of a holder that has ended */

#include "handover.h"

#include "daxpin/os/address.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/watch.h"
#include "holder.h"
#include "join.h"
#include "keep.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A new holder that does not answer by then is stopped, or there is none */
#define DAXPIN_HANDOVER_BOUND (10 * DAXPIN_SEC)
#define DAXPIN_HANDOVER_PAUSE (2 * DAXPIN_MSEC)

/* Return whether the old holder has left the file in a state that can go on:
 * under lease, or lent and watched. */
static int daxpin_handover_is_possible(const daxpin_file_t *file)
{
    const daxpin_state_t state = daxpin_file_state(file);

    return (file->revoke.phase == DAXPIN_PHASE_NONE) && (file->fd >= 0) &&
           ((state == DAXPIN_STATE_HELD) ||
            ((state == DAXPIN_STATE_LENT) &&
             (atomic_load(&file->control->open) == DAXPIN_CONTROL_OPEN)));
}

/* Return whether nothing has happened that the old holder has not acted on. Its
 * watch lives as long as a member has the descriptor. */
static int daxpin_handover_is_calm(const daxpin_file_t *file)
{
    struct pollfd pollfd = {.fd = file->watch_fd, .events = POLLIN};

    return (file->watch_fd >= 0) && !atomic_load(&file->control->judging) &&
           (poll(&pollfd, 1, 0) == 0);
}

static void daxpin_handover_fail(daxpin_file_t *file)
{
    file->handover.deadline = 0;
    daxpin_revoke_orphan(file);
}

/* Make a control page of this process that continues the old holder's. */
static int daxpin_handover_make_control(const daxpin_file_t *file,
                                        daxpin_control_t **control_p, int *fd_p)
{
    daxpin_control_t *old = file->control, *control;
    int ret;

    ret = daxpin_control_create(control_p, fd_p);
    if (ret != 0) {
        return ret;
    }
    control             = *control_p;
    control->dev        = file->dev;
    control->ino        = file->ino;
    control->generation = file->generation;
    control->on_break   = old->on_break;
    control->own        = old->own;
    atomic_store(&control->length, atomic_load(&old->length));
    atomic_store(&control->checks, atomic_load(&old->checks));
    atomic_store(&control->locks, atomic_load(&old->locks));
    atomic_store(&control->waived, atomic_load(&old->waived));
    atomic_store(&control->sure_until, atomic_load(&old->sure_until));
    atomic_store(&control->state, atomic_load(&old->state));
    atomic_store(&control->open, atomic_load(&old->open));
    snprintf(control->path, sizeof(control->path), "%s", file->path);
    return 0;
}

/* Become the holder, which listens at the address of the file by now. From here
 * on nothing fails but by a revoke. */
static void daxpin_handover_become_holder(daxpin_file_t *file,
                                          int control_fd)
{
    const pid_t old = file->holder_pid;

    file->holder     = 1;
    file->holder_pid = getpid();
    file->own        = (int)file->control->own;
    file->on_break   = (int)file->control->on_break;
    file->exposed    = 1;
    file->holdable   = file->is_dax && ((daxpin_hold_is_placed(&file->hold)) ||
                                        (atomic_load(&file->control->locks) &
                                         DAXPIN_LOCK_HOLD));
    /* Members that cannot follow have the old page, and its lock */
    file->former_fd  = file->control_fd;
    file->control_fd = control_fd;
    if (file->watch_fd >= 0) {
        close(file->watch_fd); /* There is an own watch */
        file->watch_fd = -1;
    }
    file->handover.deadline = 0;
    daxpin_log(DAXPIN_LOG_INFO, "%s: its holder (pid %d) has ended; pid %d is "
               "the holder now", file->path, (int)old, (int)getpid());
    daxpin_report_update(file);
}

/* Try to take the place of the holder. Return 0 if another member was first, or
 * access has to end. */
static int daxpin_handover_take(daxpin_file_t *file, uint64_t now)
{
    const int was_lent = daxpin_file_state(file) == DAXPIN_STATE_LENT;
    daxpin_address_t address;
    daxpin_control_t *control;
    int control_fd, watched;

    if (daxpin_address_listen(file->dev, file->ino, &address) != 0) {
        return 0;
    }
    /* Watch first: from here on nothing is missed */
    watched = daxpin_watch_place(&file->watch, file->fd) == 0;
    if ((was_lent && (!watched || !daxpin_handover_is_calm(file))) ||
        (daxpin_handover_make_control(file, &control, &control_fd) != 0)) {
        goto err_watch;
    }
    if (daxpin_control_replace(file->control, control) != 0) {
        close(control_fd);
        goto err_watch;
    }
    if (daxpin_share_serve(file, &address) != 0) {
        close(control_fd);
        goto err_watch;
    }
    daxpin_handover_become_holder(file, control_fd);
    daxpin_holder_take_over(file, now);
    return 1;

err_watch:
    daxpin_watch_drop(&file->watch);
    daxpin_address_close(&address);
    daxpin_handover_fail(file);
    return 0;
}

/* Use what the new holder has sent. Return 0 if it is not of this life of the
 * file. */
static int daxpin_handover_follow(daxpin_file_t *file,
                                  daxpin_welcome_t *welcome)
{
    daxpin_control_t *control;
    daxpin_key_t key;

    daxpin_file_key(file, &key);
    if ((welcome->generation != file->generation) ||
        (daxpin_control_attach(welcome->control_fd, &key, &control) != 0)) {
        return 0;
    }
    if (daxpin_control_replace(file->control, control) != 0) {
        return 0;
    }
    close(file->control_fd); /* and so leave the old page */
    file->control_fd    = welcome->control_fd;
    welcome->control_fd = -1;
    if (file->watch_fd >= 0) {
        close(file->watch_fd);
    }
    file->watch_fd    = welcome->watch_fd;
    welcome->watch_fd = -1;
    file->holder_pid  = welcome->pid;
    file->handover.deadline = 0;
    if (file->exposed) {
        daxpin_share_send_expose(file);
    }
    if (file->growing > 0) {
        daxpin_share_send_grow(file, 1);
    }
    daxpin_share_send_guard(file);
    daxpin_report_update(file);
    return 1;
}

/* Receive the answer of the new holder. */
static void daxpin_handover_answer(daxpin_file_t *file)
{
    daxpin_conn_t *conn      = file->share.holder_conn;
    daxpin_welcome_t welcome = {.sock       = conn->fd,
                                .fd         = -1,
                                .control_fd = -1,
                                .watch_fd   = -1,
                                .pid        = conn->pid};
    daxpin_key_t key;
    int ret;

    daxpin_file_key(file, &key);
    ret = daxpin_join_receive(file->path, &key, daxpin_now() + DAXPIN_MSEC,
                              &welcome); /* it is there */
    conn->asking = 0;
    if ((ret != 0) || !daxpin_handover_follow(file, &welcome)) {
        daxpin_share_leave(file);
        if ((ret != -ECONNRESET) && (ret != 0)) {
            daxpin_handover_fail(file); /* else try again */
        }
    }
    welcome.sock = -1;
    daxpin_welcome_discard(&welcome);
}

/* Connect to the new holder, and ask it for its control page. */
static void daxpin_handover_ask(daxpin_file_t *file)
{
    daxpin_welcome_t welcome;
    daxpin_key_t key;

    daxpin_file_key(file, &key);
    if (daxpin_join_ask(file->path, &key, 0, daxpin_now(), &welcome) != 0) {
        return;
    }
    if (daxpin_share_follow(file, welcome.sock, welcome.pid) != 0) {
        daxpin_welcome_discard(&welcome);
        return;
    }
    file->share.holder_conn->asking = 1;
}

static void daxpin_handover_begin(daxpin_file_t *file, uint64_t now)
{
    if (!daxpin_handover_is_possible(file)) {
        daxpin_handover_fail(file);
    } else if (file->handover.deadline == 0) {
        file->handover.deadline = now + DAXPIN_HANDOVER_BOUND;
    }
}

uint64_t daxpin_handover_tick(daxpin_file_t *file, uint64_t now)
{
    const unsigned notes = file->share.notes;

    file->share.notes &= ~(unsigned)(DAXPIN_NOTE_GONE | DAXPIN_NOTE_ANSWER);
    if (notes & DAXPIN_NOTE_GONE) {
        daxpin_handover_begin(file, now);
    } else if (notes & DAXPIN_NOTE_ANSWER) {
        daxpin_handover_answer(file);
    }
    if (file->handover.deadline == 0) {
        return DAXPIN_NEVER;
    }
    if ((file->revoke.phase != DAXPIN_PHASE_NONE) ||
        (now >= file->handover.deadline)) {
        daxpin_share_leave(file);
        daxpin_handover_fail(file);
        return now;
    }
    if ((file->share.holder_conn == NULL) &&
        !daxpin_handover_take(file, now) && (file->handover.deadline != 0)) {
        daxpin_handover_ask(file);
    }
    return now + DAXPIN_HANDOVER_PAUSE;
}
