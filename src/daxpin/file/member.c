/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Act on what the holder has sent, and on faults of this member */

#include "member.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/lease.h"
#include "guard.h"
#include "keep.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <stdio.h>

/* The pause between looks at a holder, while there is no beat to wait for */
#define DAXPIN_MEMBER_PAUSE (1 * DAXPIN_SEC)

/* The same without a holder */
#define DAXPIN_MEMBER_ORPHAN_PAUSE (10 * DAXPIN_MSEC)

/* Return whether an access of this process has met the end of the file, and no
 * cause tells of it yet. The holder's BREAK may be under way or in effect, and so
 * may be a revoke by this process alone: the cause is not on the page that the
 * fault handler has put in the place of that one. */
static int daxpin_member_has_fault(daxpin_file_t *file)
{
    if (file->revoke.seceded) {
        return file->control->cause[0] == '\0';
    }
    return atomic_load(&file->parted) ||
           ((file->revoke.phase == DAXPIN_PHASE_NONE) && /* see revoke.c */
            atomic_exchange(&file->faulted, 0));
}

/* End all access of this member if an access of this process has met the end of
 * the file, and report that to the holder. */
static void daxpin_member_check_fault(daxpin_file_t *file)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (!daxpin_member_has_fault(file)) {
        return;
    }
    snprintf(cause, sizeof(cause), "%s was truncated while another process "
             "was let in, or by way of a descriptor that was open already",
             file->path);
    daxpin_revoke_secede(file, cause);
    daxpin_share_send_fault(file);
    daxpin_revoke_follow(file);
}

void daxpin_member_waive_hold(daxpin_file_t *file)
{
    if (atomic_load(&file->control->waived) && daxpin_file_is_alive(file) &&
        daxpin_guard_stands_in(file)) {
        daxpin_file_drop_hold(file);
        daxpin_report_update(file);
    }
}

int daxpin_member_is_sure(const daxpin_file_t *file, uint64_t now)
{
    return (now < atomic_load(&file->control->sure_until)) ||
           (now < file->sure_until);
}

int daxpin_member_look(daxpin_file_t *file, uint64_t now)
{
    if ((file->fd < 0) || !daxpin_lease_is_whole(file->fd)) {
        return 0;
    }
    if (file->handover.deadline == 0) {
        file->sure_until = now +
                           daxpin_lease_break_time() * DAXPIN_SEC / 4 * 3;
    } /* else the lease is whole now, but the new holder may give it back */
    return 1;
}

void daxpin_member_give_up(daxpin_file_t *file)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (file->revoke.phase != DAXPIN_PHASE_NONE) {
        return;
    }
    snprintf(cause, sizeof(cause), "%s was revoked: another process wants it, "
             "and its holder on this node (pid %d) does not answer; check "
             "whether that process is stopped", file->path,
             (int)file->holder_pid);
    daxpin_revoke_secede(file, cause);
    daxpin_revoke_follow(file);
}

/* End all access before the lease can expire, if a process waits for it and the
 * holder does nothing. Return when to look again (ns). */
static uint64_t daxpin_member_check_holder(daxpin_file_t *file, uint64_t now)
{
    uint64_t until = atomic_load(&file->control->sure_until);

    if ((file->revoke.phase != DAXPIN_PHASE_NONE) ||
        !daxpin_file_is_alive(file)) {
        return DAXPIN_NEVER;
    }
    if ((daxpin_file_state(file) != DAXPIN_STATE_HELD) || (until == 0)) {
        return now + DAXPIN_MEMBER_PAUSE;
    }
    if (!daxpin_member_is_sure(file, now) && !daxpin_member_look(file, now)) {
        daxpin_member_give_up(file);
        return now;
    }
    if (file->handover.deadline != 0) {
        return now + DAXPIN_MEMBER_ORPHAN_PAUSE;
    }
    return (until > file->sure_until) ? until : file->sure_until;
}

uint64_t daxpin_member_tick(daxpin_file_t *file, uint64_t now)
{
    const unsigned notes = file->share.notes;

    file->share.notes &= DAXPIN_NOTE_GONE | DAXPIN_NOTE_ANSWER; /* handover.c */
    if (notes & DAXPIN_NOTE_WAIVE) {
        daxpin_member_waive_hold(file);
    }
    if (notes & DAXPIN_NOTE_HOLD) {
        daxpin_file_follow_hold(file);
        daxpin_report_update(file);
    }
    if (notes & DAXPIN_NOTE_BREAK) {
        daxpin_revoke_follow_break(file);
    }
    daxpin_member_check_fault(file);
    return daxpin_member_check_holder(file, now);
}
