/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the holder decides, as a table: no file, no process, no time */

#include "unit.h"

#include "daxpin/file/decide.h"
#include "daxpin/os/clock.h"

#define DECIDE_NOW (1000 * DAXPIN_SEC)

typedef struct decide_row {
    const char           *name;
    daxpin_lease_t       lease;
    daxpin_facts_t       facts;
    daxpin_action_type_t type;
    daxpin_cause_t       cause;       /* REVOKE */
    uint64_t             after;       /* ns; WAIT, RETRY, DELAY */
    uint64_t             delay_until; /* ns; DELAY */
} decide_row_t;

/* Facts that many rows share */
#define DECIDE_PENDING .state = DAXPIN_STATE_PENDING, .now = DECIDE_NOW
#define DECIDE_HELD    .state = DAXPIN_STATE_HELD, .now = DECIDE_NOW
#define DECIDE_LENT    .state = DAXPIN_STATE_LENT, .now = DECIDE_NOW, \
                       .watched = 1
#define DECIDE_BROKEN  DECIDE_HELD, .broken = DAXPIN_BREAK_SEEN, .watched = 1
#define DECIDE_UNSEEN  DECIDE_HELD, .broken = DAXPIN_BREAK_UNSEEN, \
                       .watched = 1, .unseen_ns = DAXPIN_UNSEEN_MAX
#define DECIDE_EXPIRED DECIDE_HELD, .broken = DAXPIN_BREAK_EXPIRED
#define DECIDE_GUARDED .guard = {.covers = 1, .stands_in = 1}
#define DECIDE_ALONE   .guard = {.stands_in = 1} /* no pins, no guard */

/* The actions TRY, LEND_READER, AWAIT_LATE and REVOKE are the labels of the
 * holder in test/model/daxpin.pml, in this order. The model has no hold, no
 * guard and no delay, so the other actions stand here only. */
static const decide_row_t decide_rows[] = {
    /* PENDING */
    {"no lease is asked for before it is wanted",
     {.phase = DAXPIN_LEASE_NONE}, {DECIDE_PENDING},
     .type = DAXPIN_ACTION_NOTHING},
    {"a wanted lease is asked for",
     {.phase = DAXPIN_LEASE_FIRST, .deadline = 2 * DECIDE_NOW},
     {DECIDE_PENDING},
     .type = DAXPIN_ACTION_TRY},
    {"the next try has its time",
     {.phase = DAXPIN_LEASE_FIRST, .next = DECIDE_NOW + 7}, {DECIDE_PENDING},
     .type = DAXPIN_ACTION_WAIT, .after = 7},
    {"others have the file open, and there is time",
     {.phase = DAXPIN_LEASE_FIRST, .deadline = DECIDE_NOW, .pause = 9},
     {DECIDE_PENDING, .refused = EAGAIN},
     .type = DAXPIN_ACTION_RETRY, .after = 9},
    {"others have the file open for too long",
     {.phase = DAXPIN_LEASE_FIRST, .deadline = DECIDE_NOW - 1},
     {DECIDE_PENDING, .refused = EAGAIN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_REFUSED},
    {"the file is another user's",
     {.phase = DAXPIN_LEASE_FIRST, .deadline = 2 * DECIDE_NOW},
     {DECIDE_PENDING, .refused = EACCES},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_REFUSED},
    {"the lease is there, and the file is being filled",
     {.phase = DAXPIN_LEASE_FILLING, .deadline = DECIDE_NOW - 1},
     {DECIDE_PENDING},
     .type = DAXPIN_ACTION_NOTHING},
    {"a file that is being filled ends with a fault",
     {.phase = DAXPIN_LEASE_FILLING}, {DECIDE_PENDING, .faulted = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_FAULT},
    {"the lease is asked for again after a late member",
     {.phase = DAXPIN_LEASE_AGAIN, .deadline = 2 * DECIDE_NOW},
     {DECIDE_PENDING},
     .type = DAXPIN_ACTION_TRY},
    {"a late member does not come",
     {.phase = DAXPIN_LEASE_AGAIN, .deadline = DECIDE_NOW - 1},
     {DECIDE_PENDING, .refused = EAGAIN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_REFUSED},
    {"while PENDING nothing is lost", /* looked at when the lease is there */
      { .phase = DAXPIN_LEASE_AGAIN },
      { DECIDE_PENDING, .loss = DAXPIN_LOSS_SIZE },
      .type = DAXPIN_ACTION_TRY },

    /* HELD, no break */
    {"nothing happens",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_HELD, DECIDE_ALONE},
     .type = DAXPIN_ACTION_NOTHING},
    {"a hold without a guard is not watched",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_ALONE, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_NOTHING},
    {"a hold that the guard could stand in for is watched",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_HELD_PAUSE},
    {"a process may wait for the hold",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_WAIVE_AFTER - 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_WAIVE_AFTER},
    {"a process waits for the hold",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_WAIVE_AFTER},
     .type = DAXPIN_ACTION_WAIVE},
    {"a process waits for the hold, and a pin is not guarded",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_ALONE, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_SEC},
     .type = DAXPIN_ACTION_NOTHING},
    {"the waived hold is waited for no more",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .is_dax = 1, .waived = 1},
     .type = DAXPIN_ACTION_HOLD_AGAIN},
    {"the waived hold is waited for",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .is_dax = 1, .waived = 1, .contended = 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_WAIVE_AFTER},
    {"the waived hold is waited for long: a member has not heard it",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .is_dax = 1, .waived = 1, .contended = 1,
      .contended_ns = DAXPIN_CONTENDED_MAX},
     .type = DAXPIN_ACTION_WAIVE},
    {"the guard of a waived hold is gone",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, .is_dax = 1, .waived = 1, .contended = 1},
     .type = DAXPIN_ACTION_HOLD_AGAIN},
    {"the guard of a waived hold is gone for another member",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_ALONE, .is_dax = 1, .waived = 1, .contended = 1},
     .type = DAXPIN_ACTION_HOLD_AGAIN},
    {"the guard of a waived hold is about to answer",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, .guard = {.stands_in = 1, .coming = 1}, .is_dax = 1,
      .waived = 1, .contended = 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_WAIVE_AFTER},

    /* HELD, a break */
    {"page cache: a reader is let in",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_BROKEN, .readers = 1},
     .type = DAXPIN_ACTION_LEND_READER},
    {"fsdax with a hold: a reader is let in",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .readers = 1, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_LEND_READER},
    {"fsdax, the guard stands in for the hold: a reader is let in",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, DECIDE_GUARDED, .readers = 1, .is_dax = 1, .waived = 1},
     .type = DAXPIN_ACTION_LEND_READER},
    {"fsdax without a lock: a reader ends the lease",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .readers = 1, .is_dax = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_WAITER},
    {"the waiter is gone",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_BROKEN, .is_dax = 1},
     .type = DAXPIN_ACTION_LEND_READER},
    {"the waiter cannot be seen, and may be in a moment",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, .broken = DAXPIN_BREAK_UNSEEN,
      .unseen_ns = DAXPIN_UNSEEN_MAX - 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_UNSEEN_PAUSE},
    {"the waiter cannot be seen",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_UNSEEN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNSEEN},
    {"fsdax with a hold: the waiter cannot be seen",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_UNSEEN, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNSEEN},
    {"the waiter cannot be seen, and may be a rank that comes late",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_UNSEEN, .late = 1},
     .type = DAXPIN_ACTION_AWAIT_LATE},
    {"the waiter cannot be seen, and the guard refuses what it could do",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_UNSEEN, DECIDE_GUARDED},
     .type = DAXPIN_ACTION_LEND_WRITER},
    {"without a watch a reader ends the lease",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, .broken = DAXPIN_BREAK_SEEN, .readers = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNWATCHED},
    {"without a watch the guard allows a reader",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_HELD, DECIDE_GUARDED, .broken = DAXPIN_BREAK_SEEN, .readers = 1},
     .type = DAXPIN_ACTION_LEND_READER},
    {"the lease has expired, and no process has changed the file",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_EXPIRED, .watched = 1},
     .type = DAXPIN_ACTION_LEND_READER},
    {"the lease has expired, and a process has changed the file",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_EXPIRED, .watched = 1, .changed = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_EXPIRED},
    {"the lease has expired, and there was no watch",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_EXPIRED},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_EXPIRED},
    {"fsdax without a lock: the lease has expired",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_EXPIRED, .watched = 1, .is_dax = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_EXPIRED},
    {"a descriptor that was open before has truncated the file",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_HELD, .loss = DAXPIN_LOSS_SIZE},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_LOSS},
    {"a hand-over: members rely on the lease by the page before",
     {.phase = DAXPIN_LEASE_INHERITED}, {DECIDE_HELD, .lost = 1, .watched = 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_LOST_PAUSE},
    {"a hand-over: so does an unseen process wait",
     {.phase = DAXPIN_LEASE_INHERITED},
     {DECIDE_UNSEEN, .lost = 1},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_LOST_PAUSE},
    {"a hand-over: all have followed",
     {.phase = DAXPIN_LEASE_INHERITED}, {DECIDE_HELD, .watched = 1},
     .type = DAXPIN_ACTION_RENEW},
    {"a hand-over: the watch shows what an unseen process does",
     {.phase = DAXPIN_LEASE_INHERITED}, {DECIDE_UNSEEN},
     .type = DAXPIN_ACTION_RENEW},
    {"a hand-over without a watch",
     {.phase = DAXPIN_LEASE_INHERITED}, {DECIDE_HELD},
     .type = DAXPIN_ACTION_WAIT, .after = DAXPIN_INHERITED_PAUSE},
    {"a hand-over without a watch, and a process waits",
     {.phase = DAXPIN_LEASE_INHERITED},
     {DECIDE_HELD, .broken = DAXPIN_BREAK_UNSEEN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_INHERITED},
    {"fsdax without a lock: a hand-over, and a process waits",
     {.phase = DAXPIN_LEASE_INHERITED},
     {DECIDE_UNSEEN, .is_dax = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_INHERITED},
    {"a hand-over while the guard stands in, which has ended",
     {.phase = DAXPIN_LEASE_INHERITED},
     {DECIDE_HELD, .watched = 1, .is_dax = 1, .waived = 1},
     .type = DAXPIN_ACTION_HOLD_AGAIN},
    {"a hand-over, and the file is shorter",
     {.phase = DAXPIN_LEASE_INHERITED},
     {DECIDE_HELD, .watched = 1, .loss = DAXPIN_LOSS_SIZE},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_LOSS},
    {"a writer ends the lease",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_BROKEN, .writers = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_WAITER},
    {"a writer ends the lease, with readers beside it",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .readers = 3, .writers = 1, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_WAITER},
    {"the writer may be a rank that comes late",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .writers = 1, .late = 1},
     .type = DAXPIN_ACTION_AWAIT_LATE},
    {"the guard refuses what a writer could do",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, DECIDE_GUARDED, .writers = 1},
     .type = DAXPIN_ACTION_LEND_WRITER},
    {"fsdax: the guard may end at any moment, and there is no hold",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, DECIDE_GUARDED, .writers = 1, .is_dax = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_WAITER},
    {"the guard will answer in a moment",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .guard = {.coming = 1}, .writers = 1},
     .type = DAXPIN_ACTION_DELAY, .after = DAXPIN_DELAY_GUARD_PAUSE},
    {"the guard has answered",
     {.phase = DAXPIN_LEASE_DELAYED},
     {DECIDE_BROKEN, DECIDE_GUARDED, .writers = 1},
     .type = DAXPIN_ACTION_LEND_WRITER},
    {"the guard has not answered",
     {.phase = DAXPIN_LEASE_DELAYED}, {DECIDE_BROKEN, .writers = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_WAITER},
    {"on_break=hold: as long as the lease may last",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .writers = 1, .delays = 1, .break_time = 4 * DAXPIN_SEC},
     .type = DAXPIN_ACTION_DELAY, .after = DAXPIN_DELAY_PAUSE,
     .delay_until = DECIDE_NOW + 3 * DAXPIN_SEC},
    {"on_break=hold, a hold: for as long as it takes",
     {.phase = DAXPIN_LEASE_WHOLE},
     {DECIDE_BROKEN, .writers = 1, .delays = 1, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_DELAY, .after = DAXPIN_DELAY_PAUSE,
     .delay_until = DAXPIN_NEVER},
    {"on_break=hold: the time is nearly over",
     {.phase = DAXPIN_LEASE_DELAYED, .delay_until = DECIDE_NOW + 5},
     {DECIDE_BROKEN, .writers = 1, .delays = 1},
     .type = DAXPIN_ACTION_DELAY, .after = 5, .delay_until = DECIDE_NOW + 5},
    {"on_break=hold: the time is over",
     {.phase = DAXPIN_LEASE_DELAYED, .delay_until = DECIDE_NOW},
     {DECIDE_BROKEN, .writers = 1, .delays = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_WAITER},
    {"on_break=hold: the guard is coming, and the time goes on",
     {.phase = DAXPIN_LEASE_DELAYED, .delay_until = DECIDE_NOW + DAXPIN_SEC},
     {DECIDE_BROKEN, .guard = {.coming = 1}, .writers = 1, .delays = 1},
     .type = DAXPIN_ACTION_DELAY, .after = DAXPIN_DELAY_GUARD_PAUSE,
     .delay_until = DECIDE_NOW + DAXPIN_SEC},
    {"on_break=hold: the waiter gave up",
     {.phase = DAXPIN_LEASE_DELAYED, .delay_until = DECIDE_NOW + 5},
     {DECIDE_BROKEN, .delays = 1},
     .type = DAXPIN_ACTION_LEND_READER},

    /* LENT */
    {"the lease is asked for while it is lent",
     {.phase = DAXPIN_LEASE_LENT}, {DECIDE_LENT},
     .type = DAXPIN_ACTION_TRY},
    {"the next try while it is lent has its time",
     {.phase = DAXPIN_LEASE_LENT, .next = DECIDE_NOW + 4}, {DECIDE_LENT},
     .type = DAXPIN_ACTION_WAIT, .after = 4},
    {"the reader is still there, however long",
     {.phase = DAXPIN_LEASE_LENT, .pause = 3}, {DECIDE_LENT, .refused = EAGAIN},
     .type = DAXPIN_ACTION_RETRY, .after = 3},
    {"fsdax: the reader is still there, and the hold is not",
     {.phase = DAXPIN_LEASE_LENT},
     {DECIDE_LENT, .is_dax = 1, .refused = EAGAIN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_REFUSED},
    {"the file system gives no lease any more",
     {.phase = DAXPIN_LEASE_LENT}, {DECIDE_LENT, .refused = EIO},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_REFUSED},
    {"the file is shorter",
     {.phase = DAXPIN_LEASE_LENT}, {DECIDE_LENT, .loss = DAXPIN_LOSS_SIZE},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_LOSS},
    {"the file has fewer blocks",
     {.phase = DAXPIN_LEASE_LENT}, {DECIDE_LENT, .loss = DAXPIN_LOSS_BLOCKS},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_LOSS},
    {"the file does not answer",
     {.phase = DAXPIN_LEASE_LENT}, {DECIDE_LENT, .loss = DAXPIN_LOSS_UNKNOWN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_LOSS},
    {"a reader has become a writer",
     {.phase = DAXPIN_LEASE_LENT}, {DECIDE_LENT, .changed = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_CHANGED},
    {"a writer does no harm while the guard covers the file",
     {.phase = DAXPIN_LEASE_GUARDED}, {DECIDE_LENT, DECIDE_GUARDED,
                                       .changed = 1},
     .type = DAXPIN_ACTION_TRY},
    {"the watch is gone while a reader is in",
     {.phase = DAXPIN_LEASE_LENT},
     {.state = DAXPIN_STATE_LENT, .now = DECIDE_NOW},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNWATCHED},
    {"a truncate waits for the hold, and readers behind it",
     {.phase = DAXPIN_LEASE_LENT},
     {DECIDE_LENT, DECIDE_ALONE, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_CONTENDED_MAX, .refused = EAGAIN},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_CONTENDED},
    {"a write is over sooner",
     {.phase = DAXPIN_LEASE_LENT, .pause = 3},
     {DECIDE_LENT, DECIDE_ALONE, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_CONTENDED_MAX - 1, .refused = EAGAIN},
     .type = DAXPIN_ACTION_RETRY, .after = 3},
    {"on_break=hold: a truncate waits for the hold",
     {.phase = DAXPIN_LEASE_LENT, .pause = 3},
     {DECIDE_LENT, DECIDE_ALONE, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_SEC, .refused = EAGAIN, .delays = 1},
     .type = DAXPIN_ACTION_RETRY, .after = 3},
    {"a truncate waits for the hold, and the guard can stand in",
     {.phase = DAXPIN_LEASE_LENT},
     {DECIDE_LENT, DECIDE_GUARDED, .is_dax = 1, .held = 1, .contended = 1,
      .contended_ns = DAXPIN_WAIVE_AFTER},
     .type = DAXPIN_ACTION_WAIVE},
    {"the guard of a waived hold is gone while lent",
     {.phase = DAXPIN_LEASE_RELIES}, {DECIDE_LENT, .is_dax = 1, .waived = 1},
     .type = DAXPIN_ACTION_HOLD_AGAIN},
    {"the guard covers what was lent",
     {.phase = DAXPIN_LEASE_GUARDED}, {DECIDE_LENT, DECIDE_GUARDED},
     .type = DAXPIN_ACTION_TRY},
    {"the guard is gone, and was not relied upon",
     {.phase = DAXPIN_LEASE_GUARDED}, {DECIDE_LENT},
     .type = DAXPIN_ACTION_UNGUARD},
    {"the guard is gone, and a writer is in",
     {.phase = DAXPIN_LEASE_RELIES}, {DECIDE_LENT},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNGUARDED},
    {"the guard is gone, a writer is in, and the blocks are held",
     {.phase = DAXPIN_LEASE_RELIES}, {DECIDE_LENT, .is_dax = 1, .held = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNGUARDED},
    {"the guard is about to answer, and a writer is in",
     {.phase = DAXPIN_LEASE_RELIES}, {DECIDE_LENT, .guard = {.coming = 1}},
     .type = DAXPIN_ACTION_TRY},
    {"the guard was away for too long, and a writer is in",
     {.phase = DAXPIN_LEASE_RELIES},
     {DECIDE_LENT, .guard = {.coming = 1, .gap = 1}},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_UNGUARDED},
    {"the guard was away for too long, and only readers are in",
     {.phase = DAXPIN_LEASE_GUARDED},
     {DECIDE_LENT, .guard = {.coming = 1, .gap = 1}},
     .type = DAXPIN_ACTION_UNGUARD},

    /* A fault, and the end */
    {"a fault while HELD",
     {.phase = DAXPIN_LEASE_WHOLE}, {DECIDE_HELD, .faulted = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_FAULT},
    {"a fault while LENT",
     {.phase = DAXPIN_LEASE_RELIES}, {DECIDE_LENT, .faulted = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_FAULT},
    {"a fault has its handler say BREAKING",
     {.phase = DAXPIN_LEASE_WHOLE},
     {.state = DAXPIN_STATE_BREAKING, .faulted = 1},
     .type = DAXPIN_ACTION_REVOKE, .cause = DAXPIN_CAUSE_FAULT},
    {"BREAKING is revoke.c's",
     {.phase = DAXPIN_LEASE_ENDED},
     {.state = DAXPIN_STATE_BREAKING, .broken = DAXPIN_BREAK_SEEN,
      .writers = 1},
     .type = DAXPIN_ACTION_NOTHING},
    {"REVOKED is the end",
     {.phase = DAXPIN_LEASE_REFUSED},
     {.state = DAXPIN_STATE_REVOKED, .loss = DAXPIN_LOSS_SIZE},
     .type = DAXPIN_ACTION_NOTHING},
    {"RELEASED is the user's wish",
     {.phase = DAXPIN_LEASE_ENDED}, {.state = DAXPIN_STATE_RELEASED},
     .type = DAXPIN_ACTION_NOTHING}
};

#define DECIDE_ROWS (sizeof(decide_rows) / sizeof(decide_rows[0]))

static void test_table(void **state)
{
    const decide_row_t *row;
    daxpin_action_t action;
    unsigned wrong = 0;

    for (row = decide_rows; row < decide_rows + DECIDE_ROWS; ++row) {
        action = daxpin_decide(&row->lease, &row->facts);
        if ((action.type != row->type) ||
            ((action.type == DAXPIN_ACTION_REVOKE) &&
             (action.cause != row->cause)) ||
            ((row->after != 0) &&
             (action.until != DECIDE_NOW + row->after)) ||
            (action.delay_until != row->delay_until)) {
            print_error("%s: action %d, cause %d, after %lld ns\n", row->name,
                        action.type, action.cause,
                        (long long)(action.until - DECIDE_NOW));
            ++wrong;
        }
    }
    assert_int_equal(wrong, 0);
    (void)state;
}

/* Every phase, in every state that it can have, and every action and cause is
 * in the table */
static void test_table_is_complete(void **state)
{
    unsigned phases = 0, states = 0, actions = 0, causes = 0;
    const decide_row_t *row;

    for (row = decide_rows; row < decide_rows + DECIDE_ROWS; ++row) {
        phases  |= 1u << row->lease.phase;
        states  |= 1u << row->facts.state;
        actions |= 1u << row->type;
        causes  |= (row->type == DAXPIN_ACTION_REVOKE) ? 1u << row->cause : 0;
    }
    assert_int_equal(phases, (1u << (DAXPIN_LEASE_ENDED + 1)) - 1);
    assert_int_equal(states, (1u << (DAXPIN_STATE_RELEASED + 1)) - 1);
    assert_int_equal(actions, (1u << (DAXPIN_ACTION_REVOKE + 1)) - 1);
    assert_int_equal(causes, (1u << (DAXPIN_CAUSE_CHANGED + 1)) - 1);
    (void)state;
}

/* The facts and the phase that a number stands for */
static void decide_unpack(unsigned bits, daxpin_lease_t *lease,
                          daxpin_facts_t *facts)
{
    memset(lease, 0, sizeof(*lease));
    memset(facts, 0, sizeof(*facts));
    facts->now             = DECIDE_NOW;
    facts->is_dax          = bits & 1;
    facts->held            = (bits >> 1) & 1;
    facts->waived          = (bits >> 2) & 1;
    facts->delays          = (bits >> 3) & 1;
    facts->guard.covers    = (bits >> 4) & 1;
    facts->guard.stands_in = (bits >> 5) & 1;
    facts->guard.coming    = (bits >> 6) & 1;
    facts->guard.gap       = (bits >> 7) & 1;
    facts->contended       = (bits >> 8) & 1;
    facts->contended_ns    = facts->contended * DAXPIN_SEC;
    facts->broken          = (bits >> 9) & 3;
    facts->readers         = (bits >> 11) & 1;
    facts->writers         = (bits >> 12) & 1;
    facts->late            = (bits >> 13) & 1;
    facts->lost            = (bits >> 13) & 1;
    facts->loss            = ((bits >> 14) & 1) ? DAXPIN_LOSS_SIZE :
                                                  DAXPIN_LOSS_NONE;
    facts->refused         = ((bits >> 15) & 1) ? EAGAIN : 0;
    facts->watched         = (bits >> 16) & 1;
    facts->changed         = (bits >> 17) & 1;
    facts->state           = (bits >> 18) % 6;
    lease->phase           = (bits >> 18) / 6;
}

/* What has to be so, whatever the holder sees */
static void decide_check(const daxpin_lease_t *lease,
                         const daxpin_facts_t *facts,
                         const daxpin_action_t *action)
{
    const int locked = !facts->is_dax || facts->held || facts->waived;
    const int lends  = (action->type == DAXPIN_ACTION_LEND_READER) ||
                       (action->type == DAXPIN_ACTION_LEND_WRITER);

    if (lends || (action->type == DAXPIN_ACTION_AWAIT_LATE) ||
        (action->type == DAXPIN_ACTION_DELAY)) {
        assert_int_equal(facts->state, DAXPIN_STATE_HELD);
        assert_true(facts->broken);
    }
    /* No process is let in that could free a block under a mapping */
    if (lends && !locked) {
        assert_false(facts->readers || facts->writers);
        assert_int_equal(facts->broken, DAXPIN_BREAK_SEEN);
    }
    /* Silence is no consent: without the guard, a process is let in only if
     * the watch shows what it does; and a process that was let in while this
     * one was stopped must have done nothing */
    if (lends && !facts->guard.covers) {
        assert_true(facts->watched);
        assert_int_not_equal(facts->broken, DAXPIN_BREAK_UNSEEN);
    }
    if (lends && (facts->broken == DAXPIN_BREAK_EXPIRED)) {
        assert_true(facts->watched && !facts->changed);
    }
    if ((facts->state == DAXPIN_STATE_LENT) &&
        !daxpin_lease_is_guarded(lease) &&
        (facts->changed || !facts->watched) && !facts->waived &&
        !facts->contended) {
        assert_int_equal(action->type, DAXPIN_ACTION_REVOKE);
    }
    if (lends && facts->writers &&
        (facts->broken == DAXPIN_BREAK_SEEN)) {
        assert_true(facts->guard.covers);
    }
    /* The same for a lease whose waiters cannot be seen. It stays as long as
     * members rely on it that do not see the state of this holder. */
    if (action->type == DAXPIN_ACTION_RENEW) {
        assert_int_equal(facts->state, DAXPIN_STATE_HELD);
        assert_int_equal(lease->phase, DAXPIN_LEASE_INHERITED);
        assert_true(facts->watched && locked && !facts->lost);
    }
    if (action->type == DAXPIN_ACTION_WAIVE) {
        assert_true(facts->guard.stands_in);
        assert_true(facts->guard.covers || facts->guard.coming);
    }
    /* No access is believed to be safe while the file is known to be shorter */
    if ((facts->state == DAXPIN_STATE_LENT) && facts->loss &&
        !daxpin_lease_is_guarded(lease) && !facts->waived &&
        !facts->contended) {
        assert_int_equal(action->type, DAXPIN_ACTION_REVOKE);
    }
    /* No writer stays in without the guard that it was let in for */
    if ((facts->state == DAXPIN_STATE_LENT) &&
        (lease->phase == DAXPIN_LEASE_RELIES) && !facts->guard.covers &&
        !facts->guard.coming) {
        assert_true((action->type == DAXPIN_ACTION_REVOKE) ||
                    (action->type == DAXPIN_ACTION_HOLD_AGAIN));
    }
    /* A gap of the guard is never overlooked */
    if ((facts->state == DAXPIN_STATE_LENT) && facts->guard.gap &&
        daxpin_lease_is_guarded(lease) &&
        (action->type != DAXPIN_ACTION_HOLD_AGAIN) &&
        (action->type != DAXPIN_ACTION_WAIVE)) {
        assert_true((action->type == DAXPIN_ACTION_REVOKE) ||
                    (action->type == DAXPIN_ACTION_UNGUARD));
    }
    if ((facts->state != DAXPIN_STATE_PENDING) &&
        (facts->state != DAXPIN_STATE_LENT)) {
        assert_int_not_equal(action->type, DAXPIN_ACTION_TRY);
    }
    if (facts->state >= DAXPIN_STATE_BREAKING) {
        assert_int_equal(action->type, DAXPIN_ACTION_NOTHING);
    }
}

static void test_all_combinations(void **state)
{
    const unsigned end = (DAXPIN_LEASE_ENDED + 1) * 6u << 18;
    daxpin_action_t action;
    daxpin_lease_t lease;
    daxpin_facts_t facts;
    unsigned bits;

    for (bits = 0; bits < end; ++bits) {
        decide_unpack(bits, &lease, &facts);
        action = daxpin_decide(&lease, &facts);
        decide_check(&lease, &facts, &action);
    }
    (void)state;
}

static void test_was_held(void **state)
{
    daxpin_lease_t lease = {0};
    unsigned phase;

    for (phase = 0; phase <= DAXPIN_LEASE_ENDED; ++phase) {
        lease.phase = phase;
        assert_int_equal(daxpin_lease_was_held(&lease),
                         (phase != DAXPIN_LEASE_NONE) &&
                         (phase != DAXPIN_LEASE_FIRST) &&
                         (phase != DAXPIN_LEASE_FILLING) &&
                         (phase != DAXPIN_LEASE_REFUSED));
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test(test_all_combinations),
        cmocka_unit_test(test_was_held)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
