/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the holder of a file does next */

#include "decide.h"

#include "daxpin/os/clock.h"

#include <errno.h>

int daxpin_lease_was_held(const daxpin_lease_t *lease)
{
    return (lease->phase != DAXPIN_LEASE_NONE) &&
           (lease->phase != DAXPIN_LEASE_FIRST) &&
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

/* Where a truncate frees blocks under a mapping, only a lock allows to let
 * others in */
static int daxpin_may_lend(const daxpin_facts_t *facts)
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

/* The hold knows no ranges, the guard does: while the guard covers all pins, it
 * stands in for the hold if a process waits for the hold. When the guard is
 * gone, the hold is back long before the programs in the kernel end, see
 * guard.c. */
static daxpin_action_t daxpin_decide_hold(const daxpin_facts_t *facts)
{
    if (facts->waived && daxpin_must_hold(facts)) {
        return daxpin_action(DAXPIN_ACTION_HOLD_AGAIN);
    }
    /* Members that have not heard it, or had need of their hold, hear it
     * again */
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
        return daxpin_action(DAXPIN_ACTION_HOLD_AGAIN); /* It has left */
    }
    if (!facts->waived && !(facts->held && daxpin_may_waive(facts))) {
        return action;
    }
    return daxpin_action_wait(facts->now +
                              ((facts->waived || facts->contended) ?
                                       DAXPIN_WAIVE_AFTER :
                                       DAXPIN_HELD_PAUSE));
}

/* A break that only ends when its waiter gives up, or is let in: look again now
 * and then, since no signal tells that it gave up, and others wait behind it */
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

static daxpin_action_t daxpin_decide_broken(const daxpin_lease_t *lease,
                                            const daxpin_facts_t *facts)
{
    const int may_lend     = daxpin_may_lend(facts);
    daxpin_action_t action = {.type  = DAXPIN_ACTION_DELAY,
                              .until = facts->now + DAXPIN_DELAY_GUARD_PAUSE,
                              .delay_until = lease->delay_until};

    /* A reader. Or nobody waits: a process that was killed, or that opened the
     * file with O_NONBLOCK. Then the size tells whether it did harm. */
    if ((facts->writers == 0) &&
        (may_lend || ((facts->readers == 0) && facts->sees_all))) {
        return daxpin_action(DAXPIN_ACTION_LEND_READER);
    }
    if (facts->late) {
        return daxpin_action(DAXPIN_ACTION_AWAIT_LATE);
    }
    /* A writer can do no harm while the guard refuses what would do it. The
     * guard may end at any moment; then what allows a reader protects until we
     * know. */
    if (may_lend && facts->guard.covers) {
        return daxpin_action(DAXPIN_ACTION_LEND_WRITER);
    }
    if (may_lend && facts->guard.coming) {
        return action;
    }
    return daxpin_decide_delay(lease, facts);
}

/* The lease was asked for, and is not there */
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
    /* Where a hold stops it, a process may be waiting in a truncate since the
     * lease was lent: no signal tells of it, and readers wait behind it */
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
    if (lease->phase == DAXPIN_LEASE_NONE) {
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
    /* The guard went away while a writer is in, which nothing else had kept from
     * truncating: the end, also where the blocks are held, since the writer
     * might be waiting in a truncate by now */
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
        return facts->broken ? daxpin_decide_broken(lease, facts) :
                               daxpin_decide_held(facts);
    case DAXPIN_STATE_LENT:
        return daxpin_decide_lent(lease, facts);
    default:
        return daxpin_action(DAXPIN_ACTION_NOTHING);
    }
}
