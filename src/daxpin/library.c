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

/* Take the steps that each file can take now. Return when to be called again
 * (ns). */
static uint64_t daxpin_library_tick(int signaled)
{
    uint64_t next = DAXPIN_NEVER, now;
    daxpin_file_t *file, *following;
    int broken;

    daxpin_holders_read_watch();
    for (file = LIST_FIRST(&daxpin_files); file != NULL; file = following) {
        now = daxpin_now();
        ++file->refs; /* the file stays in the list while callbacks run */
        if (file->holder) {
            broken = daxpin_loop_take_hint(file->fd) || signaled;
            next   = daxpin_earlier(next,
                                    daxpin_holder_tick(file, now, broken));
        } else {
            next = daxpin_earlier(next, daxpin_member_tick(file, now));
            next = daxpin_earlier(next, daxpin_handover_tick(file, now));
        }
        next = daxpin_earlier(next, daxpin_revoke_tick(file, now));
        next = daxpin_earlier(next, daxpin_share_tick(file, now));
        next = daxpin_earlier(next, daxpin_guard_tick(file, now));
        next = daxpin_earlier(next, daxpin_file_unmap_tick(file, now));
        next = daxpin_earlier(next, daxpin_report_tick(file, now));
        --file->refs;
        following = LIST_NEXT(file, link);
        daxpin_file_destroy_if_unused(file);
    }
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
