/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The holder's state machine: look (gather the facts), decide (decide.c) and
 * act, once in each turn of the loop, until the lease has ended */

#include "holder.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/space.h"
#include "file.h"
#include "guard.h"
#include "keep.h"
#include "kmod.h"
#include "member.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static daxpin_inode_t daxpin_holder_inode(const daxpin_file_t *file)
{
    return (daxpin_inode_t){.dev     = file->dev,
                            .ino     = file->ino,
                            .map_dev = file->map_dev,
                            .map_ino = file->map_ino,
                            .path    = file->path};
}

static int daxpin_holder_is_member(pid_t pid, void *arg)
{
    return daxpin_share_is_member(arg, pid);
}

void daxpin_holder_request_lease(daxpin_file_t *file, unsigned timeout_ms)
{
    static int warned;

    if ((daxpin_lease_break_time() < 1) && !warned) {
        warned = 1;
        daxpin_log(DAXPIN_LOG_WARN, "fs.lease-break-time is 0: a process that "
                   "truncates a file waits for ever if a revoke hangs; set it "
                   "to 1 or more (sysctl fs.lease-break-time=45)");
    }
    file->lease.phase      = DAXPIN_LEASE_FIRST;
    file->lease.timeout_ms = timeout_ms;
    file->lease.deadline   = daxpin_now() + timeout_ms * DAXPIN_MSEC;
    file->lease.next       = 0;
    file->lease.pause      = DAXPIN_TRY_PAUSE_MIN;
}

/*
 * Look
 */

/* Return what the file has lost. While the lease is lent, only the size and the
 * blocks show a truncate. */
static daxpin_loss_t daxpin_holder_look_for_loss(const daxpin_file_t *file)
{
    uint64_t length = atomic_load(&file->control->length);
    struct stat st;

    if (fstat(file->fd, &st) != 0) {
        return DAXPIN_LOSS_UNKNOWN;
    }
    if ((uint64_t)st.st_size < length) {
        return DAXPIN_LOSS_SIZE;
    }
    return (st.st_blocks < file->lease.blocks) ? DAXPIN_LOSS_BLOCKS :
                                                 DAXPIN_LOSS_NONE;
}

/* Find out whether a process waits for the hold, and since when, as far as the
 * holder has noticed. Skip that where no decision depends on it. */
static void daxpin_holder_look_for_contention(daxpin_file_t *file,
                                              daxpin_facts_t *facts)
{
    const int may_end = (facts->state == DAXPIN_STATE_LENT) &&
                        !facts->delays && !facts->guard.coming &&
                        (facts->now >= file->lease.next);
    const int may_waive = facts->guard.covers && facts->guard.stands_in;

    if (!facts->waived && (!facts->held || (!may_waive && !may_end))) {
        return;
    }
    facts->contended = daxpin_hold_is_contended(file->fd);
    if (!facts->contended) {
        file->lease.contended = 0;
        return;
    }
    if (file->lease.contended == 0) {
        file->lease.contended = facts->now;
    }
    facts->contended_ns = facts->now - file->lease.contended;
}

/* Find out for whom the kernel breaks the lease. */
static void daxpin_holder_look_at_break(const daxpin_file_t *file,
                                        daxpin_facts_t *facts)
{
    const daxpin_inode_t inode = daxpin_holder_inode(file);
    daxpin_waiters_t waiters;

    daxpin_proc_count_waiters(DAXPIN_PROC_LOCKS, &inode, getpid(), &waiters);
    facts->broken   = 1;
    facts->readers  = waiters.readers;
    facts->writers  = waiters.writers;
    facts->waiter   = waiters.writer;
    facts->sees_all = daxpin_proc_sees_all_waiters();
    /* An unknown waiter or a reader may be a late rank, too. No process
     * accesses the file yet, so the waiter can be let in. */
    facts->late = !file->exposed && !file->own &&
                  ((waiters.writer == 0) ||
                   daxpin_report_exists(waiters.writer));
    if (facts->delays && (file->lease.delay_until == 0)) {
        facts->break_time = daxpin_lease_break_time() * DAXPIN_SEC;
    }
}

/* Gather the facts, each once. signaled: a lease may have been broken. */
static void daxpin_holder_look(daxpin_file_t *file, uint64_t now, int signaled,
                               daxpin_facts_t *facts)
{
    memset(facts, 0, sizeof(*facts));
    facts->now             = now;
    facts->state           = daxpin_file_state(file);
    facts->faulted         = atomic_exchange(&file->faulted, 0) &&
                             (file->revoke.phase == DAXPIN_PHASE_NONE);
    facts->is_dax          = file->is_dax;
    facts->held            = daxpin_hold_is_placed(&file->hold);
    facts->waived          = (int)atomic_load(&file->control->waived);
    facts->delays          = file->on_break == DAXPIN_ON_BREAK_HOLD;
    facts->guard.covers    = daxpin_guard_covers(file);
    facts->guard.stands_in = daxpin_guard_stands_in(file);
    facts->guard.coming    = daxpin_guard_is_coming(file);
    facts->guard.gap       = file->guard.gap;
    file->guard.gap        = 0;
    if ((facts->state == DAXPIN_STATE_HELD) &&
        (signaled || (file->lease.phase == DAXPIN_LEASE_DELAYED)) &&
        !daxpin_lease_is_whole(file->fd)) {
        daxpin_holder_look_at_break(file, facts);
    } else if ((facts->state == DAXPIN_STATE_HELD) ||
               (facts->state == DAXPIN_STATE_LENT)) {
        daxpin_holder_look_for_contention(file, facts);
    }
    if ((facts->state == DAXPIN_STATE_LENT) &&
        !daxpin_lease_is_guarded(&file->lease)) {
        facts->loss = daxpin_holder_look_for_loss(file);
    }
}

/*
 * Act
 */

/* Begin to revoke, and note how the lease ends. */
static void daxpin_holder_revoke(daxpin_file_t *file, const char *cause)
{
    file->lease.phase = daxpin_lease_was_held(&file->lease) ?
                                DAXPIN_LEASE_ENDED :
                                DAXPIN_LEASE_REFUSED;
    file->lease.delay_until = 0;
    daxpin_revoke_start(file, cause);
}

static void daxpin_holder_cause_of_loss(const daxpin_file_t *file,
                                        daxpin_loss_t loss, char *cause)
{
    struct stat st;

    if (fstat(file->fd, &st) != 0) {
        loss = DAXPIN_LOSS_UNKNOWN;
    }
    switch (loss) {
    case DAXPIN_LOSS_BLOCKS:
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s has lost blocks, to a hole or a "
                 "truncate, while another process was let in", file->path);
        break;
    case DAXPIN_LOSS_SIZE:
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s was truncated from %lu to %ld "
                 "bytes while another process was let in", file->path,
                 atomic_load(&file->control->length), (long)st.st_size);
        break;
    default:
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s: cannot stat: %s", file->path,
                 strerror(errno));
        break;
    }
}

static void daxpin_holder_cause_of_refusal(const daxpin_file_t *file,
                                           int error, char *cause)
{
    char users[256] = "";
    daxpin_inode_t inode;

    switch (error) {
    case EAGAIN:
        inode = daxpin_holder_inode(file);
        daxpin_proc_list_users(&inode, daxpin_holder_is_member, (void*)file,
                               users, sizeof(users));
        if (daxpin_lease_was_held(&file->lease)) {
            snprintf(cause, DAXPIN_CAUSE_MAX, "%s was revoked: cannot take the "
                     "lease again, because of %s", file->path,
                     (users[0] != '\0') ? users :
                     "a process that waits to truncate it");
            break;
        }
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s: cannot take a lease, because "
                 "the file is open elsewhere: %s; close it there, or start "
                 "again when it is closed", file->path,
                 (users[0] != '\0') ? users :
                 "by an unknown process (perhaps a private mapping or O_APPEND "
                 "descriptor in this process, or a process of another user)");
        break;
    case EACCES:
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s: cannot take a lease, because "
                 "the file belongs to another user; run as its owner or with "
                 "CAP_LEASE", file->path);
        break;
    case EINVAL:
    case EOPNOTSUPP:
    case ENOLCK:
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s: cannot take a lease, because "
                 "its file system grants none (%s); use ext4, XFS or tmpfs",
                 file->path, strerror(error));
        break;
    default:
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s: cannot take a lease: "
                 "fcntl(F_SETLEASE): %s", file->path, strerror(error));
        break;
    }
}

static void daxpin_holder_cause_of_waiter(const daxpin_file_t *file,
                                          pid_t waiter, char *cause)
{
    char process[128] = "";

    if (waiter > 0) {
        daxpin_proc_describe(waiter, process, sizeof(process));
    }
    snprintf(cause, DAXPIN_CAUSE_MAX, "%s was revoked: %s truncates it or "
             "opens it for writing", file->path,
             (process[0] != '\0') ? process : "an unknown process");
}

/* Begin to revoke, with a sentence for the cause. */
static void daxpin_holder_end(daxpin_file_t *file, const daxpin_facts_t *facts,
                              daxpin_cause_t why)
{
    char cause[DAXPIN_CAUSE_MAX];

    switch (why) {
    case DAXPIN_CAUSE_FAULT:
        snprintf(cause, sizeof(cause), "%s was truncated, or a hole was "
                 "punched and no space is left, by way of a descriptor that "
                 "was open already", file->path);
        break;
    case DAXPIN_CAUSE_LOSS:
        daxpin_holder_cause_of_loss(file, facts->loss, cause);
        break;
    case DAXPIN_CAUSE_REFUSED:
        daxpin_holder_cause_of_refusal(file, facts->refused, cause);
        file->lease.error = facts->refused;
        break;
    case DAXPIN_CAUSE_CONTENDED:
        snprintf(cause, sizeof(cause), "%s was revoked: a process waits to "
                 "truncate it, or to punch a hole, since another process was "
                 "let in", file->path);
        break;
    case DAXPIN_CAUSE_UNGUARDED:
        snprintf(cause, sizeof(cause), "%s was revoked: another process has it "
                 "open for writing, and daxpin-guardd does not keep that "
                 "process from truncating it any more", file->path);
        break;
    case DAXPIN_CAUSE_WAITER:
        daxpin_holder_cause_of_waiter(file, facts->waiter, cause);
        break;
    }
    daxpin_holder_revoke(file, cause);
}

/* Allocate missing blocks: members may have made the file longer, and an
 * intruder may have punched holes that the guard allows. Return 0, or -errno
 * with a message. On XFS, fallocate() waits for kernel pins of any process. So
 * do not call it if no block is missing, and fail if this process has kernel
 * pins, because fallocate() would wait for ever. */
static int daxpin_holder_fill(daxpin_file_t *file)
{
    struct stat st;

    if (file->own || daxpin_lease_is_guarded(&file->lease) ||
        (fstat(file->fd, &st) != 0) || (st.st_size == 0) ||
        (daxpin_kmod_is_available() &&
         daxpin_space_is_allocated(file->fd, (uint64_t)st.st_size))) {
        return 0;
    }
    if (file->pins.kmods > 0) {
        return daxpin_error(EBUSY, "%s: cannot fill its holes while the pin "
                            "module pins it; open the file again",
                            file->path);
    }
    return daxpin_space_allocate(file->path, file->fd, 0, (size_t)st.st_size);
}

/* Place the hold, now that the lease is there. Until then, other processes that
 * map the file may make it longer. Return 0 if the file was revoked instead. */
static int daxpin_holder_place_hold(daxpin_file_t *file)
{
    if (!file->holdable || (file->growing > 0) ||
        daxpin_hold_is_placed(&file->hold)) {
        return 1;
    }
    if (daxpin_holder_fill(file) != 0) {
        daxpin_holder_revoke(file, daxpin_errormsg());
        return 0;
    }
    daxpin_file_place_hold(file);
    return 1;
}

/* Have all members place their holds again. Return 0 if the holder cannot place
 * its own, and the file was revoked instead. */
static int daxpin_holder_place_hold_again(daxpin_file_t *file)
{
    if (!atomic_load(&file->control->waived)) {
        return 1;
    }
    daxpin_file_place_hold_again(file);
    if (!daxpin_hold_is_placed(&file->hold) && (file->growing == 0)) {
        daxpin_holder_revoke(file, daxpin_errormsg());
        return 0;
    }
    atomic_store(&file->control->waived, 0);
    file->lease.contended = 0;
    daxpin_share_send_hold(file);
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: its hold is placed again", file->path);
    return 1;
}

/* Enter HELD, because the lease was taken. First check the file once more, now
 * that it cannot change. */
static void daxpin_holder_enter_held(daxpin_file_t *file, daxpin_facts_t *facts)
{
    if (!daxpin_lease_is_guarded(&file->lease)) {
        facts->loss = daxpin_holder_look_for_loss(file);
    }
    if (facts->loss != DAXPIN_LOSS_NONE) {
        daxpin_holder_end(file, facts, DAXPIN_CAUSE_LOSS);
        return;
    }
    if (!daxpin_holder_place_hold_again(file) ||
        !daxpin_holder_place_hold(file)) {
        return;
    }
    daxpin_file_note_size(file);
    file->lease.phase = DAXPIN_LEASE_WHOLE;
    daxpin_control_set_state(file->control, DAXPIN_STATE_HELD);
    daxpin_report_update(file);
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: lease held", file->path);
}

/* Give the lease back, and try to take it again from now on. */
static void daxpin_holder_lend(daxpin_file_t *file, daxpin_state_t state,
                               daxpin_lease_phase_t phase)
{
    daxpin_file_note_size(file); /* Members may have made it longer */
    daxpin_control_set_state(file->control, state);
    daxpin_report_update(file);
    file->lease.phase       = phase;
    file->lease.delay_until = 0;
    file->lease.contended   = 0;
    file->lease.next        = 0;
    file->lease.pause       = DAXPIN_TRY_PAUSE_MIN;
    daxpin_lease_drop(file->fd);
}

/* Wait for a rank that comes late to map the same file. That is possible
 * because no process has accessed the file yet. A process that begins to access
 * the file in this moment has marked its slot, or has sent EXPOSE, before it
 * could read PENDING. */
static void daxpin_holder_await_late(daxpin_file_t *file,
                                     const daxpin_facts_t *facts)
{
    daxpin_control_set_state(file->control, DAXPIN_STATE_PENDING);
    daxpin_control_barrier();
    if (daxpin_share_is_exposed(file) || daxpin_slots_busy(file->slots)) {
        daxpin_holder_end(file, facts, DAXPIN_CAUSE_WAITER);
        return;
    }
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: waiting for pid %d to join", file->path,
               (int)facts->waiter);
    /* The rank may make the file longer, which waits for any hold */
    daxpin_hold_drop(&file->hold);
    atomic_store(&file->control->waived, 0);
    atomic_fetch_and(&file->control->locks, ~(uint32_t)DAXPIN_LOCK_HOLD);
    file->lease.deadline = facts->now + file->lease.timeout_ms * DAXPIN_MSEC;
    daxpin_holder_lend(file, DAXPIN_STATE_PENDING, DAXPIN_LEASE_AGAIN);
}

static void daxpin_holder_waive(daxpin_file_t *file,
                                const daxpin_facts_t *facts)
{
    if (!atomic_exchange(&file->control->waived, 1)) {
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: a process waits for the hold: the "
                   "guard stands in for it", file->path);
    }
    if (facts->state == DAXPIN_STATE_LENT) {
        file->lease.phase = DAXPIN_LEASE_RELIES; /* Nothing was lost so far */
    }
    file->lease.contended = facts->now;
    daxpin_member_waive_hold(file);
    daxpin_share_send_hold(file);
}

/* Do the action. Return when to take the next step (ns). */
static uint64_t daxpin_holder_act(daxpin_file_t *file,
                                  const daxpin_facts_t *facts,
                                  const daxpin_action_t *action)
{
    switch (action->type) {
    case DAXPIN_ACTION_NOTHING:
        return DAXPIN_NEVER;
    case DAXPIN_ACTION_WAIT:
        return action->until;
    case DAXPIN_ACTION_RETRY:
        file->lease.next  = action->until;
        file->lease.pause = daxpin_earlier(2 * file->lease.pause,
                                           (facts->state == DAXPIN_STATE_LENT) ?
                                                   DAXPIN_TRY_PAUSE_LENT_MAX :
                                                   DAXPIN_TRY_PAUSE_MAX);
        return action->until;
    case DAXPIN_ACTION_DELAY:
        file->lease.phase       = DAXPIN_LEASE_DELAYED;
        file->lease.delay_until = action->delay_until;
        return action->until;
    case DAXPIN_ACTION_LEND_READER:
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: lent to %u readers", file->path,
                   facts->readers);
        daxpin_holder_lend(file, DAXPIN_STATE_LENT, facts->guard.covers ?
                           DAXPIN_LEASE_GUARDED : DAXPIN_LEASE_LENT);
        break;
    case DAXPIN_ACTION_LEND_WRITER:
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: lent to pid %d, which may write",
                   file->path, (int)facts->waiter);
        daxpin_holder_lend(file, DAXPIN_STATE_LENT, DAXPIN_LEASE_RELIES);
        break;
    case DAXPIN_ACTION_AWAIT_LATE:
        daxpin_holder_await_late(file, facts);
        break;
    case DAXPIN_ACTION_WAIVE:
        daxpin_holder_waive(file, facts);
        break;
    case DAXPIN_ACTION_HOLD_AGAIN:
        if (daxpin_holder_place_hold_again(file) && !facts->contended &&
            (facts->state == DAXPIN_STATE_HELD)) {
            daxpin_file_note_size(file); /* A waiter may have changed it */
        }
        break;
    case DAXPIN_ACTION_UNGUARD:
        file->lease.phase = DAXPIN_LEASE_LENT;
        break;
    case DAXPIN_ACTION_REVOKE:
        daxpin_holder_end(file, facts, action->cause);
        break;
    case DAXPIN_ACTION_TRY: /* see daxpin_holder_tick() */
        break;
    }
    return facts->now;
}

uint64_t daxpin_holder_tick(daxpin_file_t *file, uint64_t now, int signaled)
{
    daxpin_action_t action;
    daxpin_facts_t facts;
    int ret;

    daxpin_holder_look(file, now, signaled, &facts);
    action = daxpin_decide(&file->lease, &facts);
    if ((action.type == DAXPIN_ACTION_HOLD_AGAIN) &&
        (facts.state == DAXPIN_STATE_LENT)) {
        /* The guard failed a pin while the lease is lent: decide with the same
         * facts, before a message can change them */
        if (!daxpin_holder_place_hold_again(file)) {
            return now;
        }
        facts.waived    = 0;
        facts.contended = 0;
        facts.held      = daxpin_hold_is_placed(&file->hold);
        action          = daxpin_decide(&file->lease, &facts);
    }
    if ((facts.state == DAXPIN_STATE_LENT) &&
        ((action.type == DAXPIN_ACTION_TRY) ||
         (action.type == DAXPIN_ACTION_WAIT))) {
        atomic_fetch_add(&file->control->checks, 1); /* The file is whole */
    }
    if (action.type == DAXPIN_ACTION_TRY) {
        ret = daxpin_lease_take(file->fd, daxpin_loop_tid(),
                                daxpin_loop_signal());
        if (ret == 0) {
            daxpin_holder_enter_held(file, &facts);
            return now; /* A break may have come already */
        }
        facts.refused = -ret;
        action        = daxpin_decide(&file->lease, &facts);
    }
    return daxpin_holder_act(file, &facts, &action);
}

int daxpin_lease_release(daxpin_file_t *file)
{
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    if (!file->holder) {
        ret = daxpin_error(EPERM, "%s: cannot release the lease: only its "
                           "holder (pid %d) can", file->path,
                           (int)file->holder_pid);
    } else if ((daxpin_file_state(file) != DAXPIN_STATE_HELD) &&
               (daxpin_file_state(file) != DAXPIN_STATE_LENT)) {
        ret = daxpin_error(ESTALE, "%s: cannot release the lease: the file is "
                           "%s", file->path,
                           daxpin_state_name(daxpin_file_state(file)));
    } else if (!daxpin_holder_place_hold_again(file)) {
        ret = -ESTALE;
    } else {
        file->lease.phase = DAXPIN_LEASE_ENDED;
        daxpin_control_set_state(file->control, DAXPIN_STATE_RELEASED);
        daxpin_report_update(file);
        daxpin_lease_drop(file->fd);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}
