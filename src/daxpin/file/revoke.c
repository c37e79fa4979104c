/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The one sequence that ends all access to a file:
 *
 *   holder                                  each member
 *   BREAKING, barrier of all processes      (reads the state at once)
 *   send BREAK to every member              receive BREAK
 *   drain own accesses                      drain own accesses
 *   callbacks that come before              callbacks that come before
 *   replace own mappings                    replace own mappings
 *   callbacks                               callbacks
 *   end the guard                           end the guard
 *   wait for the members                    drop the hold; send ACK
 *   REVOKED; drop the hold
 *   F_UNLCK: the waiter goes on
 *
 * Every wait has a bound, and it is safe to go on after the bound. A thread
 * that is late is stopped; it reads the new state before it reports an access
 * as done. The fault handler covers accesses that meet the end of the file.
 */

#include "revoke.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/roster.h"
#include "fault.h"
#include "file.h"
#include "guard.h"
#include "keep.h"
#include "maps.h"
#include "pin.h"
#include "report.h"
#include "share.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAXPIN_DRAIN_BOUND  (2 * DAXPIN_SEC)
#define DAXPIN_ACKS_BOUND   (5 * DAXPIN_SEC)
#define DAXPIN_DRAIN_MIN    (20 * DAXPIN_USEC) /* pauses between looks */
#define DAXPIN_DRAIN_MAX    (2 * DAXPIN_MSEC)
#define DAXPIN_DRAIN_SHARE  4 /* of the time before */

static pthread_cond_t daxpin_called = PTHREAD_COND_INITIALIZER;

static void daxpin_revoke_enter_drain(daxpin_file_t *file)
{
    file->revoke.start    = daxpin_now();
    file->revoke.deadline = file->revoke.start + DAXPIN_DRAIN_BOUND;
    file->revoke.phase    = DAXPIN_PHASE_DRAIN;
}

/* Report a revoke, once for each file at its holder, and at each member that
 * ends access by itself. The memory stays, so a program that only stores would
 * not notice. */
static void daxpin_revoke_log(const char *cause)
{
    daxpin_log(DAXPIN_LOG_WARN, "%s; what is stored into its memory from now "
               "on does not reach the file", cause);
}

/* Begin to revoke. telling: the end of the cause follows. Return 0 if that has
 * begun before. */
static int daxpin_revoke_begin(daxpin_file_t *file, const char *cause,
                               int telling)
{
    if (file->revoke.phase != DAXPIN_PHASE_NONE) {
        return 0;
    }
    snprintf(file->control->cause, sizeof(file->control->cause), "%s", cause);
    atomic_store(&file->control->telling, (uint32_t)telling);
    daxpin_control_set_state(file->control, DAXPIN_STATE_BREAKING, 0);
    daxpin_report_update(file);
    daxpin_control_barrier();
    daxpin_revoke_enter_drain(file);
    if (!daxpin_share_has_lost_members(file)) {
        daxpin_share_stop_listening(file);
    } /* else tell them; no other member may take the place of this holder */
    daxpin_share_send_break(file);
    return 1;
}

void daxpin_revoke_start(daxpin_file_t *file, const char *cause)
{
    if (!daxpin_revoke_begin(file, cause, 0)) {
        return;
    }
    if (file->lease.phase == DAXPIN_LEASE_REFUSED) {
        daxpin_log(DAXPIN_LOG_INFO, "%s", cause); /* the caller gets it */
    } else {
        daxpin_revoke_log(cause);
    }
}

/* Append to the cause. Members may read it at the same time: until the first
 * byte is there, they read the sentence as it was. */
static void daxpin_revoke_append(daxpin_control_t *control, const char *more)
{
    const size_t used = strlen(control->cause);

    if ((more[0] == '\0') || (used + 1 >= sizeof(control->cause))) {
        return;
    }
    snprintf(control->cause + used + 1, sizeof(control->cause) - used - 1,
             "%s", more + 1);
    atomic_thread_fence(memory_order_release);
    *(volatile char*)&control->cause[used] = more[0];
}

void daxpin_revoke_start_early(daxpin_file_t *file, const char *cause,
                               daxpin_revoke_detail_t detail)
{
    char more[DAXPIN_CAUSE_MAX] = "";

    if (daxpin_revoke_begin(file, cause, 1)) {
        detail(file, more, sizeof(more));
        daxpin_revoke_append(file->control, more);
        atomic_store(&file->control->telling, 0);
        daxpin_revoke_log(file->control->cause);
    }
}

void daxpin_revoke_follow(daxpin_file_t *file)
{
    if (file->revoke.phase == DAXPIN_PHASE_NONE) {
        daxpin_control_barrier();
        daxpin_revoke_enter_drain(file);
    }
}

void daxpin_revoke_follow_break(daxpin_file_t *file)
{
    if ((file->control->flags & DAXPIN_CONTROL_FENCE) != 0) {
        daxpin_revoke_follow(file);
    } else if (file->revoke.phase == DAXPIN_PHASE_NONE) {
        daxpin_revoke_enter_drain(file);
    }
}

void daxpin_revoke_secede(daxpin_file_t *file, const char *cause)
{
    if (file->revoke.seceded && (file->control->cause[0] != '\0')) {
        return;
    }
    daxpin_control_detach(file->control, DAXPIN_STATE_BREAKING);
    snprintf(file->control->cause, sizeof(file->control->cause), "%s", cause);
    daxpin_revoke_log(cause);
    file->revoke.seceded = 1;
    if (file->revoke.phase == DAXPIN_PHASE_DONE) {
        daxpin_control_set_state(file->control, DAXPIN_STATE_REVOKED, 0);
    }
}

/* Release the lease of a dead holder. The lease belongs to the open file
 * description that all members share, so the last member to leave releases
 * it. */
static void daxpin_revoke_unlock(daxpin_file_t *file)
{
    daxpin_control_set_state(file->control, DAXPIN_STATE_REVOKED, 0);
    /* Leave first: if two members leave at once, both may be the last one */
    daxpin_roster_leave(file->roster_fd);
    if (!daxpin_roster_has_others(file->roster_fd)) {
        daxpin_lease_drop(file->fd);
    }
}

/* Write the cause: that of the holder, if it had begun to revoke. */
static void daxpin_revoke_orphan_cause(const daxpin_file_t *file,
                                       const char *why, char *cause)
{
    char holder[DAXPIN_HOLDER_NAME];

    if (daxpin_file_state(file) == DAXPIN_STATE_BREAKING) {
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s", file->control->cause);
        return;
    }
    snprintf(cause, DAXPIN_CAUSE_MAX, "%s was revoked: its holder on this node "
             "(%s) has exited%s", file->path,
             daxpin_file_holder_name(file, holder, sizeof(holder)), why);
}

void daxpin_revoke_orphan(daxpin_file_t *file, const char *why)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (daxpin_file_state(file) == DAXPIN_STATE_REVOKED) {
        daxpin_revoke_follow(file);
        return;
    }
    daxpin_revoke_orphan_cause(file, why, cause);
    /* The pins of the holder are not guarded any more */
    daxpin_file_place_hold_again(file);
    daxpin_revoke_secede(file, cause);
    file->revoke.orphaned = 1;
    daxpin_revoke_follow(file);
    if (file->revoke.phase == DAXPIN_PHASE_DONE) {
        /* This member had followed BREAK before the holder exited */
        daxpin_revoke_unlock(file);
    }
}

/* Return the next callback: of those only that come before the mappings are
 * replaced, or of all. */
static daxpin_callback_t *daxpin_revoke_next(daxpin_file_t *file, int before)
{
    daxpin_callback_t *callback;

    LIST_FOREACH(callback, &file->callbacks, link) {
        if (callback->before || !before) {
            break;
        }
    }
    return callback;
}

/* Call callbacks, as above, without daxpin_mutex. */
static void daxpin_revoke_call(daxpin_file_t *file, int before)
{
    daxpin_callback_t *callback;

    ++file->refs; /* A callback may close the file */
    file->calling = 1;
    while ((callback = daxpin_revoke_next(file, before)) != NULL) {
        LIST_REMOVE(callback, link);
        pthread_mutex_unlock(&daxpin_mutex);
        callback->cb(file, callback->arg);
        free(callback);
        pthread_mutex_lock(&daxpin_mutex);
    }
    file->calling = 0;
    pthread_cond_broadcast(&daxpin_called);
    --file->refs;
}

static void daxpin_revoke_drop_locks(daxpin_file_t *file)
{
    daxpin_hold_drop(&file->hold);
    if (file->holder) {
        atomic_store(&file->control->locks, 0);
    }
    daxpin_report_update(file);
}

static void daxpin_revoke_drained(daxpin_file_t *file)
{
    daxpin_revoke_call(file, 1);
    daxpin_file_replace_maps(file);
    /* A device that has lost its pin fails the endpoint of who accesses it, which
     * ends a job of Open MPI. Processes of other nodes that read the control
     * page learn of the revoke there, and give the pin back. */
    daxpin_pins_revoke(&file->pins, atomic_load(&file->distant));
    daxpin_revoke_call(file, 0);
    file->revoke.deadline = file->revoke.start + DAXPIN_ACKS_BOUND;
    file->revoke.phase    = DAXPIN_PHASE_ACKS;
}

/* End the revoke of a member. */
static void daxpin_revoke_answer(daxpin_file_t *file)
{
    file->revoke.phase = DAXPIN_PHASE_DONE;
    daxpin_revoke_drop_locks(file);
    daxpin_report_revoked(file);
    daxpin_share_send_ack(file);
    if (file->revoke.orphaned) {
        daxpin_revoke_unlock(file);
        return;
    }
    if (file->revoke.seceded) {
        daxpin_control_set_state(file->control, DAXPIN_STATE_REVOKED, 0);
    }
    daxpin_roster_leave(file->roster_fd);
}

static void daxpin_revoke_finish(daxpin_file_t *file)
{
    file->revoke.phase = DAXPIN_PHASE_DONE;
    daxpin_control_set_state(file->control, DAXPIN_STATE_REVOKED, 0);
    daxpin_revoke_drop_locks(file);
    daxpin_lease_drop(file->fd);
    daxpin_report_revoked(file);
    daxpin_roster_leave(file->roster_fd);
    daxpin_share_close(file);
    daxpin_file_drop_fd(file);
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: revoked in %llu us", file->path,
               (daxpin_now() - file->revoke.start) / DAXPIN_USEC);
}

/* Replace a page once more that the fault handler has replaced after the
 * revoke: it had judged the fault before. All such pages are one, so that a
 * store to one of them would show in the others. */
static void daxpin_revoke_late_faults(daxpin_file_t *file)
{
    if (((file->revoke.phase == DAXPIN_PHASE_ACKS) ||
         (file->revoke.phase == DAXPIN_PHASE_DONE)) &&
        atomic_exchange(&file->faulted, 0)) {
        daxpin_file_replace_late(file);
    }
}

/* Return when to look again for the end of accesses (ns). An access that takes
 * long may be one whose thread has no processor, which the looks of many
 * processes would keep from it. */
static uint64_t daxpin_revoke_look_again(const daxpin_file_t *file,
                                         uint64_t now)
{
    uint64_t pause = (now - file->revoke.start) / DAXPIN_DRAIN_SHARE;

    pause = (pause > DAXPIN_DRAIN_MIN) ? pause : DAXPIN_DRAIN_MIN;
    return now + ((pause < DAXPIN_DRAIN_MAX) ? pause : DAXPIN_DRAIN_MAX);
}

/* Wait for accesses of this process to end. Return when to look again (ns). */
static uint64_t daxpin_revoke_drain(daxpin_file_t *file, uint64_t now)
{
    if (daxpin_slots_busy(file->slots)) {
        if (now < file->revoke.deadline) {
            return daxpin_revoke_look_again(file, now);
        }
        daxpin_log(DAXPIN_LOG_WARN, "%s: an access of this process has not "
                   "ended for 2 s, and will be reported as failed",
                   file->path);
    }
    daxpin_revoke_drained(file);
    return DAXPIN_NEVER;
}

/* Return until when to wait for members; 0: for none. A member of the holder
 * before this one does not see this one's state, so there is no bound that is
 * shorter than the time for which that member may be sure of the lease. */
static uint64_t daxpin_revoke_waits_until(const daxpin_file_t *file)
{
    if (daxpin_share_has_lost_members(file)) {
        return (file->revoke.deadline > file->lease.lost_until) ?
                       file->revoke.deadline :
                       file->lease.lost_until;
    }
    return (daxpin_share_unacked(file) > 0) ? file->revoke.deadline : 0;
}

/* Wait for members to answer, at the holder. Return when to look again (ns). */
static uint64_t daxpin_revoke_await_acks(daxpin_file_t *file, uint64_t now)
{
    const uint64_t until = daxpin_revoke_waits_until(file);
    char pids[256];

    if (until > 0) {
        if (now < until) {
            return (file->turn == 0) ? until :
                                       daxpin_earlier(until, now + DAXPIN_MSEC);
        }
        daxpin_share_list_unacked(file, pids, sizeof(pids));
        daxpin_log(DAXPIN_LOG_WARN, "%s: no answer to the revoke from %s; "
                   "the revoke goes on; check whether that process is "
                   "stopped", file->path, (pids[0] != '\0') ? pids :
                   "a member of the holder before this one");
    }
    daxpin_revoke_finish(file);
    return DAXPIN_NEVER;
}

/* Wait for the end of the guard, which would refuse the waiter's truncate, and
 * for the members. Return when to look again (ns). */
static uint64_t daxpin_revoke_await(daxpin_file_t *file, uint64_t now)
{
    uint64_t until = daxpin_guard_close(file, now);

    if (until != DAXPIN_NEVER) {
        return until;
    }
    if (file->holder) {
        return daxpin_revoke_await_acks(file, now);
    }
    daxpin_revoke_answer(file);
    return DAXPIN_NEVER;
}

uint64_t daxpin_revoke_tick(daxpin_file_t *file, uint64_t now)
{
    uint64_t next = DAXPIN_NEVER;

    daxpin_revoke_late_faults(file);
    if (file->revoke.phase == DAXPIN_PHASE_DRAIN) {
        next = daxpin_revoke_drain(file, now);
    }
    if (file->revoke.phase == DAXPIN_PHASE_ACKS) {
        next = daxpin_revoke_await(file, now);
    }
    if ((file->revoke.phase == DAXPIN_PHASE_DONE) && !file->holder &&
        (file->share.holder_conn == NULL)) {
        daxpin_file_drop_fd(file); /* An orphan needed it until now */
    }
    return next;
}

static int daxpin_revoke_add(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                             void *arg, int before)
{
    daxpin_callback_t *callback = malloc(sizeof(*callback));
    int ret                     = 0;

    if (callback == NULL) {
        return daxpin_error(ENOMEM, "%s: out of memory", file->path);
    }
    callback->cb     = cb;
    callback->arg    = arg;
    callback->before = before;
    pthread_mutex_lock(&daxpin_mutex);
    if (daxpin_file_is_alive(file)) {
        LIST_INSERT_HEAD(&file->callbacks, callback, link);
    } else {
        ret = daxpin_error(ESTALE, "%s: cannot add a callback: the file is %s "
                           "already", file->path,
                           daxpin_state_name(daxpin_file_state(file)));
        free(callback);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

int daxpin_file_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb, void *arg)
{
    return daxpin_revoke_add(file, cb, arg, 0);
}

int daxpin_file_before_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                              void *arg)
{
    return daxpin_revoke_add(file, cb, arg, 1);
}

void daxpin_file_cancel_on_revoke(daxpin_file_t *file, daxpin_revoke_cb_t cb,
                                  void *arg)
{
    daxpin_callback_t *callback;

    pthread_mutex_lock(&daxpin_mutex);
    LIST_FOREACH(callback, &file->callbacks, link) {
        if ((callback->cb == cb) && (callback->arg == arg)) {
            LIST_REMOVE(callback, link);
            free(callback);
            goto out;
        }
    }
    while (file->calling && !daxpin_loop_is_self()) {
        pthread_cond_wait(&daxpin_called, &daxpin_mutex);
    }
out:
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Forget the waiting threads of the parent: the child does not have them. */
void daxpin_revoke_fork(void)
{
    pthread_cond_init(&daxpin_called, NULL);
}
