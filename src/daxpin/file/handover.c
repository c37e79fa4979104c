/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A member takes the place of a holder that has ended */

#include "handover.h"

#include "daxpin/os/address.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/roster.h"
#include "daxpin/os/watch.h"
#include "holder.h"
#include "join.h"
#include "keep.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A new holder that does not answer by then is stopped, or there is none */
#define DAXPIN_HANDOVER_BOUND (20 * DAXPIN_SEC)
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
    return !atomic_load(&file->control->judging) &&
           daxpin_watch_is_calm(file->watch_fd);
}

static void daxpin_handover_fail(daxpin_file_t *file, const char *why)
{
    file->handover.deadline = 0;
    daxpin_revoke_orphan(file, why);
}

/* Fail because of the last message of this thread. */
static void daxpin_handover_fail_with_message(daxpin_file_t *file)
{
    char why[DAXPIN_CAUSE_MAX / 2];

    snprintf(why, sizeof(why), ", and this process cannot go on: %.*s",
             (int)sizeof(why) / 2, daxpin_errormsg());
    daxpin_handover_fail(file, why);
}

/* Make a control page of this process that continues the old holder's. */
static int daxpin_handover_make_control(const daxpin_file_t *file,
                                        daxpin_control_t **control_p, int *fd_p)
{
    daxpin_control_t *old = file->control, *control;
    int ret;

    ret = daxpin_control_create(file->path, control_p, fd_p);
    if (ret != 0) {
        return ret;
    }
    control             = *control_p;
    control->dev        = file->dev;
    control->ino        = file->ino;
    control->generation = file->generation;
    control->on_break   = old->on_break;
    control->own        = old->own;
    control->turn       = file->turn + 1;
    atomic_store(&control->length, atomic_load(&old->length));
    atomic_store(&control->checks, atomic_load(&old->checks));
    atomic_store(&control->locks, atomic_load(&old->locks));
    atomic_store(&control->waived, atomic_load(&old->waived));
    atomic_store(&control->sure_until, atomic_load(&old->sure_until));
    atomic_store(&control->sure_for, 0); /* until the new holder has looked */
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

    file->holder_pid = getpid();
    file->own        = (int)file->control->own;
    file->on_break   = (int)file->control->on_break;
    file->exposed    = 1;
    file->holdable   = file->is_dax && ((daxpin_hold_is_placed(&file->hold)) ||
                                        (atomic_load(&file->control->locks) &
                                         DAXPIN_LOCK_HOLD));
    ++file->turn;
    file->former_pid = old;
    file->control_fd = control_fd;
    /* watch_fd stays until the lease is renewed */
    file->handover.deadline = 0;
    daxpin_log(DAXPIN_LOG_INFO, "%s: its holder (pid %d) has ended; pid %d is "
               "the holder now", file->path, (int)old, (int)getpid());
    daxpin_report_update(file);
}

/* Answer members at an address, if no handler of SIGBUS ends access meanwhile:
 * one that takes this process for a member puts a page of its own in the place
 * of the holder's, which others would go on to read. One that comes later sees a
 * holder. Return 0, or -errno with a message. */
static int daxpin_handover_serve(daxpin_file_t *file,
                                 const daxpin_address_t *address)
{
    int ret;

    file->holder = 1;
    if (atomic_load(&file->parting)) {
        ret = daxpin_error(ESTALE, "%s: an access has met the end of the file",
                           file->path);
    } else {
        ret = daxpin_share_serve(file, address);
    }
    if (ret != 0) {
        file->holder = 0;
    }
    return ret;
}

/* Become the holder at an address. Return 0, or -errno with a message; then the
 * file has to be revoked. */
static int daxpin_handover_take_at(daxpin_file_t *file,
                                   const daxpin_address_t *address)
{
    daxpin_control_t *control;
    int control_fd, ret;

    ret = daxpin_handover_make_control(file, &control, &control_fd);
    if (ret != 0) {
        return ret;
    }
    /* Others see from now on that there was a new holder */
    ret = daxpin_roster_advance(file->roster_fd, file->turn);
    if (ret != 0) {
        daxpin_control_destroy(control);
        close(control_fd);
        return daxpin_error(-ret, "%s: cannot lock its roster: %s", file->path,
                            strerror(-ret));
    }
    ret = daxpin_control_replace(file->control, control);
    if (ret != 0) {
        ret = daxpin_error(-ret, "%s: cannot map its control page: %s",
                           file->path, strerror(-ret));
    } else {
        ret = daxpin_handover_serve(file, address);
    }
    if (ret != 0) {
        close(control_fd);
        return ret;
    }
    daxpin_handover_become_holder(file, control_fd);
    return 0;
}

/* Check that the file can go on from a state in which the old holder has lent
 * it, now that this process watches it. Return 0 if access has to end. */
static int daxpin_handover_check_lent(daxpin_file_t *file, int watched)
{
    if (!watched) {
        daxpin_handover_fail(file, ", and no inotify instance is left for "
                             "this process, while another process has it open; "
                             "raise fs.inotify.max_user_instances or the limit "
                             "of open files (ulimit -n)");
        return 0;
    }
    if (!daxpin_handover_is_calm(file)) {
        daxpin_handover_fail(file, " while another process had it open, and "
                             "that process may have written to it: the holder "
                             "did not look any more at what its watch had "
                             "seen");
        return 0;
    }
    daxpin_watch_release(&file->watch_fd); /* There is an own watch */
    return 1;
}

/* Try to take the place of the holder. Return 0 if another member was first, or
 * access has to end. */
static int daxpin_handover_take(daxpin_file_t *file, uint64_t now)
{
    const int was_lent = daxpin_file_state(file) == DAXPIN_STATE_LENT;
    daxpin_address_t address;
    int watched, ret;

    ret = daxpin_address_listen(file->dev, file->ino, file->roster_fd,
                                &address);
    if (ret == -ESTALE) {
        daxpin_handover_fail(file, ", and so has a holder after that one, or "
                             "the names of the file in the directory in which "
                             "processes meet were removed");
    }
    if (ret != 0) {
        return 0;
    }
    if (daxpin_roster_has_later(file->roster_fd, file->turn)) {
        daxpin_address_leave(&address); /* It is for one of those */
        return 0;
    }
    /* Watch first: from here on nothing is missed */
    watched = daxpin_watch_place(&file->watch, file->fd) == 0;
    if (was_lent && !daxpin_handover_check_lent(file, watched)) {
        goto err;
    }
    if (daxpin_handover_take_at(file, &address) != 0) {
        daxpin_handover_fail_with_message(file);
        goto err;
    }
    daxpin_holder_take_over(file, now);
    return 1;

err:
    daxpin_watch_drop(&file->watch);
    daxpin_address_leave(&address);
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
    if ((control->turn <= file->turn) ||
        (daxpin_share_follow(file, welcome->conn, welcome->sock,
                             welcome->pid) != 0)) {
        daxpin_control_destroy(control);
        return 0;
    }
    welcome->conn = NULL;
    welcome->sock = -1;
    file->turn = control->turn;
    if (daxpin_control_replace(file->control, control) != 0) {
        return 0;
    }
    if (atomic_load(&file->parting)) {
        /* A fault has ended access meanwhile, by the page that was replaced */
        daxpin_control_detach(file->control, DAXPIN_STATE_BREAKING);
    }
    if ((file->growing > 0) || file->grew) {
        /* Before the new holder misses this process in its old place */
        daxpin_share_send_grow(file, file->growing > 0);
    }
    close(file->roster_fd); /* It has another place already, with this turn */
    file->roster_fd    = welcome->roster_fd;
    welcome->roster_fd = -1;
    daxpin_watch_release(&file->watch_fd);
    file->watch_fd    = daxpin_watch_keep(welcome->watch, welcome->watch_fd);
    welcome->watch_fd = -1;
    file->holder_pid  = welcome->pid;
    file->handover.deadline = 0;
    if (file->exposed) {
        daxpin_share_send_expose(file);
    }
    daxpin_share_send_guard(file);
    daxpin_report_update(file);
    return 1;
}

/* Receive the answer of the new holder. */
static void daxpin_handover_answer(daxpin_file_t *file)
{
    daxpin_welcome_t welcome = {.sock       = file->share.ask.fd,
                                .conn       = file->share.ask.conn,
                                .fd         = -1,
                                .control_fd = -1,
                                .watch_fd   = -1,
                                .roster_fd  = -1,
                                .pid        = file->share.ask.pid};
    daxpin_key_t key;
    int ret;

    daxpin_file_key(file, &key);
    ret = daxpin_join_receive(file->path, &key, &welcome);
    if (ret == -EAGAIN) {
        return; /* It is not there yet */
    }
    daxpin_share_end_ask(file);
    if ((ret != 0) || !daxpin_handover_follow(file, &welcome)) {
        daxpin_share_leave(file);
        if ((ret != 0) && (ret != -ECONNRESET) && (ret != -EBUSY)) {
            daxpin_handover_fail_with_message(file); /* else try again */
        }
    }
    daxpin_welcome_close(&welcome);
    if (welcome.conn != NULL) {
        daxpin_share_forgo(welcome.conn);
    }
}

/* Connect to the new holder. Return whether there is a connection. */
static int daxpin_handover_connect(daxpin_file_t *file)
{
    daxpin_welcome_t welcome;
    daxpin_key_t key;

    daxpin_file_key(file, &key);
    if (file->share.ask.fd < 0) {
        if (daxpin_join_connect(file->path, &key, daxpin_now(),
                                &welcome) != 0) {
            return 0;
        }
        file->share.ask.fd  = welcome.sock;
        file->share.ask.pid = welcome.pid;
    }
    return 1;
}

/* Ask the new holder for its control page. If it is to answer another file, wait
 * for that connection: else each file of an old holder would get one. */
static void daxpin_handover_ask(daxpin_file_t *file)
{
    daxpin_welcome_t welcome = {.sock = file->share.ask.fd,
                                .pid  = file->share.ask.pid};
    daxpin_key_t key;

    if (daxpin_share_expects(file)) {
        return;
    }
    daxpin_file_key(file, &key);
    if (daxpin_join_ask(file->path, &key, 0, &welcome) != 0) {
        daxpin_share_end_ask(file);
    } else if (daxpin_share_ask(file, welcome.conn) != 0) {
        file->share.ask.conn = welcome.conn;
        daxpin_share_leave(file);
    }
}

static void daxpin_handover_begin(daxpin_file_t *file, uint64_t now)
{
    if (!daxpin_handover_is_possible(file)) {
        daxpin_handover_fail(file, (daxpin_file_state(file) ==
                                    DAXPIN_STATE_LENT) ?
                             " while another process had it open that was not "
                             "watched" : "");
    } else if (file->handover.deadline == 0) {
        file->handover.deadline = now + DAXPIN_HANDOVER_BOUND;
        /* A new holder does not know for how long this process was sure */
        file->sure_until        = 0;
    }
}

uint64_t daxpin_handover_tick(daxpin_file_t *file, uint64_t now)
{
    const unsigned notes = file->share.notes;

    file->share.notes &= ~(unsigned)(DAXPIN_NOTE_GONE | DAXPIN_NOTE_ANSWER);
    if (notes & DAXPIN_NOTE_GONE) {
        daxpin_handover_begin(file, now);
    } else if ((notes & DAXPIN_NOTE_ANSWER) && (file->share.ask.id != 0)) {
        daxpin_handover_answer(file);
    }
    if (file->handover.deadline == 0) {
        return DAXPIN_NEVER;
    }
    if ((file->revoke.phase != DAXPIN_PHASE_NONE) ||
        (now >= file->handover.deadline)) {
        daxpin_share_leave(file);
        daxpin_handover_fail(file, ", and no other process that uses it has "
                             "taken its place; check whether one is stopped");
        return now;
    }
    if ((file->share.holder_conn == NULL) && (file->share.ask.id == 0) &&
        ((file->share.ask.fd >= 0) || !daxpin_handover_take(file, now)) &&
        (file->handover.deadline != 0) && daxpin_handover_connect(file)) {
        daxpin_handover_ask(file);
    }
    return now + DAXPIN_HANDOVER_PAUSE;
}
