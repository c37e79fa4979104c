/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The library as a whole: start, tick of its loop, fork */

#include "library.h"

#include "daxpin/file/fault.h"
#include "daxpin/file/file.h"
#include "daxpin/file/guard.h"
#include "daxpin/file/handover.h"
#include "daxpin/file/holder.h"
#include "daxpin/file/keep.h"
#include "daxpin/file/life.h"
#include "daxpin/file/member.h"
#include "daxpin/file/report.h"
#include "daxpin/file/revoke.h"
#include "daxpin/file/share.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/limit.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/sink.h"
#include "daxpin/os/vma.h"
#include "daxpin/os/watch.h"

/* However few files were known to have a step to take, all of them take one so
 * long after the last time, unless the loop sleeps */
#define DAXPIN_TURNS_ALL DAXPIN_SEC

/* Under daxpin_mutex */
static struct {
    uint64_t due; /* ns: no file is due before, but those that are wanted */
    uint64_t all; /* ns: when all files take a step again */
} daxpin_turns;

/* Take the steps that a file can take now. Return the file behind it in the list
 * of all. */
static daxpin_file_t *daxpin_library_step(daxpin_file_t *file, int signaled)
{
    const uint64_t now = daxpin_now();
    daxpin_file_t *following;
    uint64_t next;
    int broken;

    daxpin_file_unwant(file);
    ++file->refs; /* the file stays in the list while callbacks run */
    if (file->holder) {
        broken = daxpin_loop_take_hint(file->fd) || signaled;
        next   = daxpin_holder_tick(file, now, broken);
    } else {
        next = daxpin_member_tick(file, now);
        next = daxpin_earlier(next, daxpin_handover_tick(file, now));
    }
    next             = daxpin_earlier(next, daxpin_revoke_tick(file, now));
    next             = daxpin_earlier(next, daxpin_share_tick(file, now));
    next             = daxpin_earlier(next, daxpin_guard_tick(file, now));
    next             = daxpin_earlier(next, daxpin_file_unmap_tick(file, now));
    next             = daxpin_earlier(next, daxpin_report_tick(file, now));
    file->due        = next;
    daxpin_turns.due = daxpin_earlier(daxpin_turns.due, next);
    --file->refs;
    following = LIST_NEXT(file, link);
    daxpin_file_destroy_if_unused(file);
    return following;
}

/* Have all files take a step, or those that are wanted or due. */
static void daxpin_library_step_through(int all, int signaled)
{
    const uint64_t now  = daxpin_now();
    daxpin_file_t *file = LIST_FIRST(&daxpin_files);

    daxpin_turns.due = DAXPIN_NEVER;
    while (file != NULL) {
        if (all || file->wanted || (file->due <= now)) {
            file = daxpin_library_step(file, signaled);
        } else {
            daxpin_turns.due = daxpin_earlier(daxpin_turns.due, file->due);
            file             = LIST_NEXT(file, link);
        }
    }
}

/* Have those files take a step that are wanted now. What they make of others is
 * for the next turn. */
static void daxpin_library_step_wanted(void)
{
    daxpin_file_t *file;
    unsigned count = daxpin_file_count_wanted();

    while ((count-- > 0) && ((file = daxpin_file_first_wanted()) != NULL)) {
        (void)daxpin_library_step(file, 0);
    }
}

/* Want the files whose leases may have been broken, as signals said. */
static void daxpin_library_want_broken(void)
{
    daxpin_file_t *file;

    if (!daxpin_loop_has_hints()) {
        return;
    }
    LIST_FOREACH(file, &daxpin_files, link) {
        if (file->holder && daxpin_loop_has_hint(file->fd)) {
            daxpin_file_want(file);
        }
    }
}

/* Take the steps of the files that have one to take now, and all others. Return
 * when to be called again (ns). */
static uint64_t daxpin_library_tick(int signaled)
{
    const uint64_t now = daxpin_now();
    uint64_t next;
    int all;

    daxpin_holders_read_watch();
    all = daxpin_loop_take_all() || signaled || (now >= daxpin_turns.all);
    if (all) {
        daxpin_turns.all = now + DAXPIN_TURNS_ALL;
    } else {
        daxpin_library_want_broken();
    }
    if (all || (now >= daxpin_turns.due)) {
        daxpin_library_step_through(all, signaled);
    } else {
        daxpin_library_step_wanted();
    }
    next = (daxpin_file_count_wanted() > 0) ? 0 : daxpin_turns.due;
    next = daxpin_earlier(next, all ? DAXPIN_NEVER : daxpin_turns.all);
    next = daxpin_earlier(next, daxpin_share_tick_door(daxpin_now()));
    next = daxpin_earlier(next, daxpin_files_leave(daxpin_now()));
    next = daxpin_earlier(next, daxpin_close_tick(daxpin_now()));
    return daxpin_earlier(next, daxpin_watch_tick(daxpin_now()));
}

/* Give up all that the child inherited, so that a death of the parent is
 * noticed. The child has no loop thread and is not a member. Its handles stay,
 * with the state REVOKED. */
static void daxpin_library_forked(void)
{
    daxpin_turns.due = 0;
    daxpin_turns.all = 0;
    daxpin_watch_fork();
    daxpin_close_fork();
    daxpin_files_fork();
    daxpin_report_fork();
    daxpin_sink_fork();
    daxpin_vma_fork();
}

static const daxpin_loop_ops_t daxpin_library_ops = {
    .tick   = daxpin_library_tick,
    .forked = daxpin_library_forked
};

int daxpin_library_start(void)
{
    int ret;

    daxpin_limit_note();
    daxpin_limit_check();
    ret = daxpin_loop_start(&daxpin_library_ops);
    if (ret == 0) {
        (void)daxpin_proc_locks_fd(); /* There may be no descriptor later */
        pthread_mutex_lock(&daxpin_mutex);
        daxpin_report_open();
        ret = daxpin_fault_install();
        pthread_mutex_unlock(&daxpin_mutex);
    }
    return ret;
}
