/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Act on what the holder has sent, and on faults of this member */

#include "member.h"

#include "guard.h"
#include "keep.h"
#include "report.h"
#include "revoke.h"
#include "share.h"

#include <stdio.h>

/* End all access of this member if an access of this process has met the end of
 * the file, and report that to the holder. */
static void daxpin_member_check_fault(daxpin_file_t *file)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (!atomic_exchange(&file->faulted, 0) ||
        (file->revoke.phase != DAXPIN_PHASE_NONE)) {
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
        daxpin_hold_drop(&file->hold);
        daxpin_report_update(file);
    }
}

void daxpin_member_tick(daxpin_file_t *file)
{
    const unsigned notes = file->share.notes;

    file->share.notes = 0;
    if (notes & DAXPIN_NOTE_WAIVE) {
        daxpin_member_waive_hold(file);
    }
    if (notes & DAXPIN_NOTE_HOLD) {
        daxpin_file_follow_hold(file);
        daxpin_report_update(file);
    }
    if (notes & DAXPIN_NOTE_BREAK) {
        daxpin_revoke_follow(file);
    }
    if (notes & DAXPIN_NOTE_GONE) {
        daxpin_revoke_orphan(file);
    }
    daxpin_member_check_fault(file);
}
