/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The decision of the holder what to do next */

#include "decide.h"

#include "daxpin/os/clock.h"

#include <errno.h>

int daxpin_lease_was_held(const daxpin_lease_t *lease)
{
    return (lease->phase != DAXPIN_LEASE_NONE) &&
           (lease->phase != DAXPIN_LEASE_FIRST) &&
           (lease->phase != DAXPIN_LEASE_FILLING) &&
           (lease->phase != DAXPIN_LEASE_REFUSED);
}

int daxpin_lease_is_guarded(const daxpin_lease_t *lease)
{
    return (lease->phase == DAXPIN_LEASE_GUARDED) ||
           (lease->phase == DAXPIN_LEASE_RELIES);
}

static daxpin_action_t daxpin_action(daxpin_action_type_t type)
{
    const daxpin_action_t action = {.type = type};

    return action;
}

static daxpin_action_t daxpin_action_wait(uint64_t until)
{
    const daxpin_action_t action = {.type  = DAXPIN_ACTION_WAIT,
                                    .until = until};

    return action;
}

static daxpin_action_t daxpin_action_revoke(daxpin_cause_t cause)
{
    const daxpin_action_t action = {.type  = DAXPIN_ACTION_REVOKE,
                                    .cause = cause};

    return action;
}

int daxpin_may_lend(const daxpin_facts_t *facts)
{
    return !facts->is_dax || facts->held || facts->waived;
}

static int daxpin_may_waive(const daxpin_facts_t *facts)
{
    return facts->guard.covers && facts->guard.stands_in;
}

static int daxpin_must_hold(const daxpin_facts_t *facts)
{
    return !facts->guard.stands_in ||
           (!facts->guard.covers && !facts->guard.coming);
}

/* Decide whether to waive the hold or to place it again. The hold keeps all
 * blocks of the file, the guard only pinned ones. So while the guard covers all
 * pins, the guard stands in for the hold if a process waits for the hold. When
 * the guard daemon dies, the hold is placed again long before its programs in
 * the kernel end, see guard.c. */
static daxpin_action_t daxpin_decide_hold(const daxpin_facts_t *facts)
{
    if (facts->waived && daxpin_must_hold(facts)) {
        return daxpin_action(DAXPIN_ACTION_HOLD_AGAIN);
    }
    /* Repeat WAIVE: a member may have missed it, or needed its hold then */
    if (facts->contended &&
        (facts->waived ? (facts->contended_ns >= DAXPIN_CONTENDED_MAX) :
                         (facts->held && daxpin_may_waive(facts) &&
                          (facts->contended_ns >= DAXPIN_WAIVE_AFTER)))) {
        return daxpin_action(DAXPIN_ACTION_WAIVE);
    }
    return daxpin_action(DAXPIN_ACTION_NOTHING);
}

static daxpin_action_t daxpin_decide_held(const daxpin_facts_t *facts)
{
    const daxpin_action_t action = daxpin_decide_hold(facts);

    if (action.type != DAXPIN_ACTION_NOTHING) {
        return action;
    }
    if (facts->waived && !facts->contended) {
        /* No process waits for the hold any more */
        return daxpin_action(DAXPIN_ACTION_HOLD_AGAIN);
    }
    if (!facts->waived && !(facts->held && daxpin_may_waive(facts))) {
        return action;
    }
    return daxpin_action_wait(facts->now +
                              ((facts->waived || facts->contended) ?
                                       DAXPIN_WAIVE_AFTER :
                                       DAXPIN_HELD_PAUSE));
}

/* Decide what to do with the lease of a holder that has ended. Its waiters
 * cannot be seen. They are let in when the lease is renewed, and the watch
 * shows what they do. Until all members have followed, the lease stays, because
 * they rely on it by the page of that holder. */
static daxpin_action_t daxpin_decide_inherited(const daxpin_facts_t *facts)
{
    const daxpin_action_t action = daxpin_decide_hold(facts);

    if (action.type != DAXPIN_ACTION_NOTHING) {
        return action;
    }
    if (facts->lost) {
        return daxpin_action_wait(facts->now + DAXPIN_LOST_PAUSE);
    }
    if (facts->watched && daxpin_may_lend(facts)) {
        return daxpin_action(DAXPIN_ACTION_RENEW);
    }
    return (facts->broken == DAXPIN_BREAK_NONE) ?
                   daxpin_action_wait(facts->now + DAXPIN_INHERITED_PAUSE) :
                   daxpin_action_revoke(DAXPIN_CAUSE_INHERITED);
}

/* Decide how long to delay a break. Such a break ends when its waiter gives up,
 * or is let in. No signal reports that the waiter gave up, and other processes
 * may wait behind it, so the holder checks now and then. */
static daxpin_action_t daxpin_decide_delay(const daxpin_lease_t *lease,
                                           const daxpin_facts_t *facts)
{
    daxpin_action_t action = {.type        = DAXPIN_ACTION_DELAY,
                              .until       = facts->now + DAXPIN_DELAY_PAUSE,
                              .delay_until = lease->delay_until};

    if (facts->delays && (lease->delay_until == 0)) {
        action.delay_until = facts->held ?
                DAXPIN_NEVER :
                facts->now + facts->break_time / 100 * DAXPIN_DELAY_PERCENT;
    }
    if (facts->now >= action.delay_until) {
        return daxpin_action_revoke(DAXPIN_CAUSE_WAITER);
    }
    action.until = daxpin_earlier(action.until, action.delay_until);
    return action;
}

/* Decide what to do when the kernel has ended the lease, while this process was
 * stopped. Whoever waited was let in: only the watch shows whether the file is
 * what it was. */
static daxpin_action_t daxpin_decide_expired(const daxpin_facts_t *facts)
{
    return (facts->watched && !facts->changed && daxpin_may_lend(facts)) ?
                   daxpin_action(DAXPIN_ACTION_LEND_READER) :
                   daxpin_action_revoke(DAXPIN_CAUSE_EXPIRED);
}

/* Decide whether to let readers in, or no process, because the waiter was
 * killed or has opened the file with O_NONBLOCK. A reader can become a writer,
 * which only the watch shows, or the guard makes harmless. */
static daxpin_action_t daxpin_decide_reader(const daxpin_facts_t *facts)
{
    return (facts->watched || facts->guard.covers) ?
                   daxpin_action(DAXPIN_ACTION_LEND_READER) :
                   daxpin_action_revoke(DAXPIN_CAUSE_UNWATCHED);
}

static daxpin_action_t daxpin_decide_broken(const daxpin_lease_t *lease,
                                            const daxpin_facts_t *facts)
{
    const int may_lend     = daxpin_may_lend(facts);
    daxpin_action_t action = {.type  = DAXPIN_ACTION_DELAY,
                              .until = facts->now + DAXPIN_DELAY_GUARD_PAUSE,
                              .delay_until = lease->delay_until};

    if (facts->broken == DAXPIN_BREAK_EXPIRED) {
        return daxpin_decide_expired(facts);
    }
    if ((facts->broken == DAXPIN_BREAK_SEEN) && (facts->writers == 0) &&
        (may_lend || (facts->readers == 0))) {
        return daxpin_decide_reader(facts);
    }
    if (facts->late) {
        return daxpin_action(DAXPIN_ACTION_AWAIT_LATE);
    }
    /* A writer can do no harm while the guard refuses truncates. The guard may
     * end at any moment: then the lock that allows a reader keeps the blocks
     * until the holder notices. */
    if (may_lend && facts->guard.covers) {
        return daxpin_action(DAXPIN_ACTION_LEND_WRITER);
    }
    if (may_lend && facts->guard.coming) {
        return action;
    }
    if (facts->broken == DAXPIN_BREAK_UNSEEN) {
        return (facts->unseen_ns >= DAXPIN_UNSEEN_MAX) ?
                       daxpin_action_revoke(DAXPIN_CAUSE_UNSEEN) :
                       daxpin_action_wait(facts->now + DAXPIN_UNSEEN_PAUSE);
    }
    return daxpin_decide_delay(lease, facts);
}

/* Decide after a try to take the lease has failed. */
static daxpin_action_t daxpin_decide_refused(const daxpin_lease_t *lease,
                                             const daxpin_facts_t *facts)
{
    const int lent         = facts->state == DAXPIN_STATE_LENT;
    daxpin_action_t action = {.type  = DAXPIN_ACTION_RETRY,
                              .until = facts->now + lease->pause};

    if ((facts->refused != EAGAIN) ||
        (lent ? !daxpin_may_lend(facts) : (facts->now > lease->deadline))) {
        return daxpin_action_revoke(DAXPIN_CAUSE_REFUSED);
    }
    /* A process may wait in a truncate for the hold since the lease was lent.
     * No signal reports that, and readers wait behind this process. */
    if (lent && facts->held && !facts->waived && !facts->delays &&
        !facts->guard.coming && facts->contended &&
        (facts->contended_ns >= DAXPIN_CONTENDED_MAX)) {
        return daxpin_action_revoke(DAXPIN_CAUSE_CONTENDED);
    }
    return action;
}

static daxpin_action_t daxpin_decide_try(const daxpin_lease_t *lease,
                                         const daxpin_facts_t *facts)
{
    if ((lease->phase == DAXPIN_LEASE_NONE) ||
        (lease->phase == DAXPIN_LEASE_FILLING)) {
        return daxpin_action(DAXPIN_ACTION_NOTHING);
    }
    if (facts->refused != 0) {
        return daxpin_decide_refused(lease, facts);
    }
    return (facts->now < lease->next) ? daxpin_action_wait(lease->next) :
                                        daxpin_action(DAXPIN_ACTION_TRY);
}

static daxpin_action_t daxpin_decide_lent(const daxpin_lease_t *lease,
                                          const daxpin_facts_t *facts)
{
    const daxpin_action_t action = daxpin_decide_hold(facts);

    if (action.type != DAXPIN_ACTION_NOTHING) {
        return action;
    }
    /* If only the guard kept a writer from truncating, its end is a cause to
     * revoke. That is so even where the blocks are held, because the writer may
     * wait in a truncate by now. */
    if (daxpin_lease_is_guarded(lease) &&
        (facts->guard.gap ||
         (!facts->guard.covers && !facts->guard.coming))) {
        return (lease->phase == DAXPIN_LEASE_RELIES) ?
                       daxpin_action_revoke(DAXPIN_CAUSE_UNGUARDED) :
                       daxpin_action(DAXPIN_ACTION_UNGUARD);
    }
    if (facts->loss != DAXPIN_LOSS_NONE) {
        return daxpin_action_revoke(DAXPIN_CAUSE_LOSS);
    }
    if (!daxpin_lease_is_guarded(lease)) {
        if (facts->changed) {
            return daxpin_action_revoke(DAXPIN_CAUSE_CHANGED);
        }
        if (!facts->watched) {
            return daxpin_action_revoke(DAXPIN_CAUSE_UNWATCHED);
        }
    }
    return daxpin_decide_try(lease, facts);
}

daxpin_action_t daxpin_decide(const daxpin_lease_t *lease,
                              const daxpin_facts_t *facts)
{
    if (facts->faulted) {
        return daxpin_action_revoke(DAXPIN_CAUSE_FAULT);
    }
    switch (facts->state) {
    case DAXPIN_STATE_PENDING:
        return daxpin_decide_try(lease, facts);
    case DAXPIN_STATE_HELD:
        if (facts->loss != DAXPIN_LOSS_NONE) {
            return daxpin_action_revoke(DAXPIN_CAUSE_LOSS);
        }
        if (lease->phase == DAXPIN_LEASE_INHERITED) {
            return daxpin_decide_inherited(facts);
        }
        return (facts->broken != DAXPIN_BREAK_NONE) ?
                       daxpin_decide_broken(lease, facts) :
                       daxpin_decide_held(facts);
    case DAXPIN_STATE_LENT:
        return daxpin_decide_lent(lease, facts);
    default:
        return daxpin_action(DAXPIN_ACTION_NOTHING);
    }
}
