/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The holder's state machine: look (gather the facts), decide (decide.c) and
 * act, once in each turn of the loop, until the lease has ended */

#include "holder.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/hold.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/space.h"
#include "daxpin/os/watch.h"
#include "file.h"
#include "fill.h"
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

/* Have members wait while a change is not explained. Return whether they do. */
static int daxpin_holder_set_judging(daxpin_file_t *file)
{
    const int unclear = (daxpin_file_state(file) == DAXPIN_STATE_LENT) &&
                        !daxpin_lease_is_guarded(&file->lease) &&
                        file->lease.suspicious;

    atomic_store(&file->control->judging, (uint32_t)unclear);
    return unclear;
}

/* Whose events are in the queue, reading shows. Until then all members wait. */
void daxpin_holders_read_watch(void)
{
    daxpin_file_t *file;

    if (!daxpin_watch_is_readable()) {
        return; /* Nothing is to be acted on, so no member has to wait */
    }
    LIST_FOREACH(file, &daxpin_files, link) {
        if (file->holder) {
            atomic_store(&file->control->judging, 1);
        }
    }
    daxpin_watch_read();
    LIST_FOREACH(file, &daxpin_files, link) {
        if (file->holder && daxpin_watch_has_seen(&file->watch)) {
            daxpin_file_want(file);
        } else if (file->holder) {
            (void)daxpin_holder_set_judging(file);
        }
    }
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

/* Place the watch unless it is there. Log once if that fails: then the holder
 * is stricter, because it would not see what a reader does. */
static int daxpin_holder_place_watch(daxpin_file_t *file)
{
    static int warned;
    int ret = daxpin_watch_place(&file->watch, file->fd);

    if ((ret != 0) && !warned) {
        warned = 1;
        daxpin_log(DAXPIN_LOG_WARN, "%s: cannot watch it with inotify: %s; so "
                   "any process that opens it ends access to it; raise "
                   "fs.inotify.max_user_instances or the limit of open files "
                   "(ulimit -n)", file->path, strerror(-ret));
    }
    return ret == 0;
}

/* Search for a process, other than members, that has the file open for writing.
 * That takes a while, so pause between two searches. */
static int daxpin_holder_look_for_writer(daxpin_file_t *file, uint64_t now)
{
    const daxpin_inode_t inode = daxpin_holder_inode(file);
    uint64_t end;
    int found;

    if (!file->lease.suspicious || (now < file->lease.scan)) {
        return 0;
    }
    file->lease.suspicious = 0;
    found = daxpin_proc_find_writer(&inode, file->fd, daxpin_holder_is_member,
                                    file) != 0;
    end   = daxpin_now();
    file->lease.scan = end + daxpin_earlier(DAXPIN_SCAN_PAUSE +
                                            DAXPIN_SCAN_SHARE * (end - now),
                                            DAXPIN_SCAN_PAUSE_MAX);
    return found;
}

/* Return what the watch has seen, and whether a change may be the program's own:
 * it writes by a descriptor that it has, or makes the file longer. The message
 * that it has made the file longer may overtake the last of its changes: they
 * are read behind it, or they would look like those of another process. */
static unsigned daxpin_holder_take_seen(daxpin_file_t *file, int *may_be_own_p)
{
    unsigned seen = daxpin_watch_take(&file->watch);

    *may_be_own_p = 1;
    if ((seen & DAXPIN_WATCH_CHANGE) && file->own) {
        *may_be_own_p = daxpin_share_take_grew(file);
        if (*may_be_own_p) {
            daxpin_holders_read_watch();
            seen |= daxpin_watch_take(&file->watch);
        }
    }
    return seen;
}

/* Return whether the watch shows, while the file is lent, that another process
 * has written to it, or could have. If a change may be the program's own, a
 * process that has the file open for writing is searched for, and the one that
 * closes such a descriptor is no member. */
static int daxpin_holder_was_changed(daxpin_file_t *file, uint64_t now)
{
    int may_be_own;
    const unsigned seen = daxpin_holder_take_seen(file, &may_be_own);

    file->lease.seen |= seen;
    if (seen & DAXPIN_WATCH_CLOSE) {
        file->lease.next  = now; /* the reader may be gone */
        file->lease.pause = DAXPIN_TRY_PAUSE_MIN;
    }
    if (file->lease.seen & DAXPIN_WATCH_LOST) {
        return 1;
    }
    if ((file->lease.seen != 0) && !file->own &&
        !daxpin_share_is_exposed(file)) {
        file->lease.seen = 0; /* a rank that comes late; nothing is lost */
        return 0;
    }
    if ((file->lease.seen & DAXPIN_WATCH_WRITER) &&
        (!file->lease.joined || (file->lease.seen & DAXPIN_WATCH_CHANGE))) {
        return 1;
    }
    if (seen & DAXPIN_WATCH_CHANGE) {
        if (!may_be_own) {
            return 1;
        }
        file->lease.suspicious = 1;
    }
    return daxpin_holder_look_for_writer(file, now);
}

/* Find out for which processes the kernel breaks the lease. Where that cannot
 * be found out, only the time shows whether the lease has expired: the kernel
 * ends it no sooner than fs.lease-break-time after it was whole. To read
 * /proc/locks may take long: the first read for a while waits for all processors
 * to leave the kernel's lists (RCU), some 10 ms. */
static daxpin_break_t
daxpin_holder_look_for_waiters(const daxpin_file_t *file,
                               const daxpin_facts_t *facts,
                               daxpin_waiters_t *waiters)
{
    const daxpin_inode_t inode   = daxpin_holder_inode(file);
    const uint64_t break_time    = daxpin_lease_break_time() * DAXPIN_SEC;
    daxpin_lease_state_t state   = daxpin_lease_state(file->fd);
    daxpin_sight_t sight         = DAXPIN_SIGHT_NONE;
    unsigned i;

    memset(waiters, 0, sizeof(*waiters));
    if ((state == DAXPIN_LEASE_STATE_READERS) && daxpin_may_lend(facts)) {
        waiters->readers = 1; /* or none any more; and no writer */
        return DAXPIN_BREAK_SEEN;
    }
    /* Lines move while other processes lock and unlock: read again */
    for (i = 0; (i < DAXPIN_SIGHT_TRIES) && (sight != DAXPIN_SIGHT_LEASE);
         ++i) {
        sight = daxpin_proc_count_waiters(daxpin_proc_locks_fd(), &inode,
                                          getpid(), waiters);
    }
    if (sight == DAXPIN_SIGHT_LEASE) {
        return DAXPIN_BREAK_SEEN;
    }
    if (state == DAXPIN_LEASE_STATE_READERS) {
        waiters->readers = 1; /* at least; and no writer */
        return DAXPIN_BREAK_SEEN;
    }
    /* Not the time of this turn: the lease may have expired since */
    return ((break_time > 0) &&
            (daxpin_now() - file->lease.whole >= break_time)) ?
                   DAXPIN_BREAK_EXPIRED :
                   DAXPIN_BREAK_UNSEEN;
}

/* Gather what is known of a break. */
static void daxpin_holder_look_at_break(daxpin_file_t *file,
                                        daxpin_facts_t *facts)
{
    daxpin_waiters_t waiters;

    daxpin_report_broken(file, facts->now);
    facts->broken = daxpin_holder_look_for_waiters(file, facts, &waiters);
    if (facts->broken != DAXPIN_BREAK_UNSEEN) {
        file->lease.unseen = 0;
    } else if (file->lease.unseen == 0) {
        file->lease.unseen = facts->now;
    }
    facts->unseen_ns = (file->lease.unseen > 0) ?
                               facts->now - file->lease.unseen : 0;
    facts->readers = waiters.readers;
    facts->writers = waiters.writers;
    facts->waiter  = waiters.writer;
    facts->watched = daxpin_holder_place_watch(file) &&
                     ((facts->broken == DAXPIN_BREAK_SEEN) ||
                      !file->lease.unwatched);
    if (facts->broken == DAXPIN_BREAK_EXPIRED) {
        daxpin_holders_read_watch(); /* It may have expired in this turn */
        facts->changed = daxpin_watch_take(&file->watch) != 0;
        facts->loss    = daxpin_holder_look_for_loss(file);
    }
    /* An unknown waiter or a reader may be a late rank, too. No process
     * accesses the file yet, so the waiter can be let in. */
    facts->late = !file->exposed && !file->own &&
                  ((waiters.writer == 0) ||
                   daxpin_report_exists(waiters.writer));
    if (facts->delays && (file->lease.delay_until == 0)) {
        facts->break_time = daxpin_lease_break_time() * DAXPIN_SEC;
    }
}

/* Note that the lease is known to be there now: whole, or breaking and seen. */
static void daxpin_holder_note_lease(daxpin_file_t *file, uint64_t now)
{
    const uint64_t break_time = daxpin_lease_break_time() * DAXPIN_SEC;
    const uint64_t pause      = atomic_load(&file->distant) ?
                                        DAXPIN_LOOK_PAUSE_DISTANT :
                                        DAXPIN_LOOK_PAUSE;
    uint64_t until            = now + break_time / 4 * 3;

    if (!daxpin_hold_is_placed(&file->hold)) {
        /* A break may be under way since then; else the hold keeps the
         * blocks. Members need a while to end their accesses. */
        until = daxpin_earlier(until,
                               file->lease.whole + break_time / 8 * 7);
    }

    file->lease.look_again = now + ((break_time > 0) ?
                             daxpin_earlier(break_time / 4, pause) : pause);
    daxpin_control_set_sure(file->control,
                            (break_time > 0) ? until : DAXPIN_NEVER, now);
}

/* Look at a lease that is held: by a signal, and now and then, because a signal
 * may be lost. What the watch has seen while the lease was whole was done by
 * the leased description; it matters only if the file has become shorter. */
static void daxpin_holder_look_at_lease(daxpin_file_t *file, int signaled,
                                        daxpin_facts_t *facts)
{
    const unsigned seen = file->watch.seen;

    if (signaled || (seen != 0) || (facts->now >= file->lease.look_again) ||
        (file->lease.phase == DAXPIN_LEASE_DELAYED) ||
        (file->lease.phase == DAXPIN_LEASE_INHERITED) ||
        (file->lease.unseen > 0)) {
        if (daxpin_lease_is_whole(file->fd)) {
            daxpin_report_whole(file);
            file->lease.unseen    = 0;
            file->lease.whole     = facts->now;
            file->lease.unwatched = !daxpin_watch_is_placed(&file->watch);
            daxpin_holder_note_lease(file, facts->now);
            daxpin_watch_take(&file->watch);
        } else if (file->lease.phase == DAXPIN_LEASE_INHERITED) {
            facts->broken = DAXPIN_BREAK_UNSEEN;
        } else {
            daxpin_holder_look_at_break(file, facts);
            if (facts->broken == DAXPIN_BREAK_SEEN) {
                daxpin_holder_note_lease(file, facts->now);
            }
        }
    }
    if ((seen & DAXPIN_WATCH_CHANGE) && file->own &&
        !daxpin_share_take_grew(file)) {
        facts->loss = daxpin_holder_look_for_loss(file);
    }
    if (file->lease.phase == DAXPIN_LEASE_INHERITED) {
        facts->loss    = daxpin_holder_look_for_loss(file);
        facts->watched = daxpin_watch_is_placed(&file->watch);
        facts->lost    = (facts->now < file->lease.lost_until) &&
                         daxpin_share_has_lost_members(file);
    }
}

/* Gather the facts, each once. signaled: the lease may have been broken. */
static void daxpin_holder_look(daxpin_file_t *file, uint64_t now, int signaled,
                               daxpin_facts_t *facts)
{
    memset(facts, 0, sizeof(*facts));
    facts->now             = now;
    facts->state           = daxpin_file_state(file);
    facts->faulted         = (file->revoke.phase == DAXPIN_PHASE_NONE) &&
                             atomic_exchange(&file->faulted, 0);
    facts->is_dax          = file->is_dax;
    facts->held            = daxpin_hold_is_placed(&file->hold);
    facts->waived          = (int)atomic_load(&file->control->waived);
    facts->delays          = file->on_break == DAXPIN_ON_BREAK_HOLD;
    facts->guard.covers    = daxpin_guard_covers(file);
    facts->guard.stands_in = daxpin_guard_stands_in(file);
    facts->guard.coming    = daxpin_guard_is_coming(file);
    facts->guard.gap       = file->guard.gap;
    file->guard.gap        = 0;
    if (facts->state == DAXPIN_STATE_HELD) {
        daxpin_holder_look_at_lease(file, signaled, facts);
    }
    if ((facts->broken == DAXPIN_BREAK_NONE) &&
        ((facts->state == DAXPIN_STATE_HELD) ||
         (facts->state == DAXPIN_STATE_LENT))) {
        daxpin_holder_look_for_contention(file, facts);
    }
    if ((facts->state == DAXPIN_STATE_LENT) &&
        !daxpin_lease_is_guarded(&file->lease)) {
        facts->loss    = daxpin_holder_look_for_loss(file);
        facts->watched = daxpin_watch_is_placed(&file->watch);
        facts->changed = daxpin_holder_was_changed(file, now);
    }
}

/*
 * Act
 */

/* Note how the lease ends. */
static void daxpin_holder_end_lease(daxpin_file_t *file)
{
    file->lease.phase = daxpin_lease_was_held(&file->lease) ?
                                DAXPIN_LEASE_ENDED :
                                DAXPIN_LEASE_REFUSED;
    file->lease.delay_until = 0;
}

static void daxpin_holder_revoke(daxpin_file_t *file, const char *cause)
{
    daxpin_holder_end_lease(file);
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

/* Return whether all that a member has of the file is of this description. */
static int daxpin_holder_has_all_of(pid_t pid, void *arg)
{
    const daxpin_file_t *file  = arg;
    const daxpin_inode_t inode = daxpin_holder_inode(file);
    char what[128];

    return daxpin_share_is_member(file, pid) &&
           (daxpin_proc_keeps_file(pid, &inode, file->fd, what,
                                   sizeof(what)) <= 0);
}

/* Describe the processes that keep the lease away: other ones, members, and
 * this one. */
static void daxpin_holder_list_users(const daxpin_file_t *file, char *users,
                                     size_t size)
{
    const daxpin_inode_t inode = daxpin_holder_inode(file);
    char what[128];
    size_t used;

    daxpin_proc_list_users(&inode, daxpin_holder_has_all_of, (void*)file, users,
                           size);
    if (daxpin_proc_keeps_file(getpid(), &inode, file->fd, what,
                               sizeof(what)) > 0) {
        daxpin_proc_describe(getpid(), users, size);
        used = strlen(users);
        snprintf(users + used, size - used, ", this process itself, by %s",
                 what);
    }
}

static void daxpin_holder_cause_of_refusal(const daxpin_file_t *file,
                                           int error, char *cause)
{
    char users[512] = "";

    switch (error) {
    case EAGAIN:
        daxpin_holder_list_users(file, users, sizeof(users));
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
                 "by an unknown process (perhaps one of another user, or one "
                 "in a container that does not share the directory "
                 "DAXPIN_RUNTIME_DIR)");
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
    if ((waiter == getpid()) || daxpin_share_is_member(file, waiter)) {
        /* A member may be of this job or of another one. MPI's messages have
         * 255 bytes. */
        snprintf(cause, DAXPIN_CAUSE_MAX, "%s was revoked: %s, which %s, opens "
                 "it for writing or truncates it; use the descriptor that was "
                 "open before", file->path, process, (waiter == getpid()) ?
                 "is this program itself" : "shares it");
        return;
    }
    snprintf(cause, DAXPIN_CAUSE_MAX, "%s was revoked: %s truncates it or "
             "opens it for writing", file->path,
             (process[0] != '\0') ? process : "an unknown process");
}

static void daxpin_holder_detail_of_waiter(const daxpin_file_t *file,
                                           char *buffer, size_t size)
{
    char job[128] = "";

    daxpin_proc_describe_job(file->revoke.waiter, job, sizeof(job));
    if (job[0] != '\0') {
        snprintf(buffer, size, " (pid %d is%s)", (int)file->revoke.waiter,
                 job + 1);
    }
}

static void daxpin_holder_detail_of_change(const daxpin_file_t *file,
                                           char *buffer, size_t size)
{
    const daxpin_inode_t inode = daxpin_holder_inode(file);
    char process[128] = "";
    pid_t pid;

    pid = daxpin_proc_find_writer(&inode, file->fd, daxpin_holder_is_member,
                                  (void*)file);
    if (pid > 0) {
        daxpin_proc_describe_all(pid, process, sizeof(process));
        snprintf(buffer, size, " (%s)", process);
    }
}

static void daxpin_holder_detail_of_refusal(const daxpin_file_t *file,
                                            char *buffer, size_t size)
{
    char users[512] = "";

    daxpin_holder_list_users(file, users, sizeof(users));
    snprintf(buffer, size, ", because of %s", (users[0] != '\0') ? users :
             "a process that waits to truncate it");
}

/* Begin to revoke where it takes long to complete the sentence: all processes
 * that have the file open are to be named, or the job of one. Return 0 if this
 * cause is not such. */
static int daxpin_holder_end_early(daxpin_file_t *file,
                                   const daxpin_facts_t *facts,
                                   daxpin_cause_t why)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (why == DAXPIN_CAUSE_CHANGED) {
        snprintf(cause, sizeof(cause), "%s was revoked: another process that "
                 "was let in to read has opened it for writing, or has written "
                 "to it", file->path);
        daxpin_holder_end_lease(file);
        daxpin_revoke_start_early(file, cause, daxpin_holder_detail_of_change);
        return 1;
    }
    if ((why == DAXPIN_CAUSE_REFUSED) && (facts->refused == EAGAIN) &&
        (facts->state == DAXPIN_STATE_LENT)) {
        file->lease.error = facts->refused;
        snprintf(cause, sizeof(cause), "%s was revoked: cannot take the lease "
                 "again", file->path);
        daxpin_holder_end_lease(file);
        daxpin_revoke_start_early(file, cause,
                                  daxpin_holder_detail_of_refusal);
        return 1;
    }
    if (why == DAXPIN_CAUSE_WAITER) {
        file->revoke.waiter = facts->waiter;
        daxpin_holder_cause_of_waiter(file, facts->waiter, cause);
        daxpin_holder_end_lease(file);
        daxpin_revoke_start_early(file, cause, daxpin_holder_detail_of_waiter);
        return 1;
    }
    return 0;
}

/* Begin to revoke, with a sentence for the cause. */
static void daxpin_holder_end(daxpin_file_t *file, const daxpin_facts_t *facts,
                              daxpin_cause_t why)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (daxpin_holder_end_early(file, facts, why)) {
        return;
    }
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
    case DAXPIN_CAUSE_UNSEEN:
        snprintf(cause, sizeof(cause), "%s was revoked: another process wants "
                 "it, and /proc/locks does not show which and what for; check "
                 "that /proc is mounted, and is that of this pid namespace",
                 file->path);
        break;
    case DAXPIN_CAUSE_INHERITED:
        snprintf(cause, sizeof(cause), "%s was revoked: another process wants "
                 "it, and it cannot be seen which and what for, because the "
                 "holder before this one (pid %d) has ended", file->path,
                 (int)file->former_pid);
        break;
    case DAXPIN_CAUSE_EXPIRED:
        snprintf(cause, sizeof(cause), "%s was revoked: its holder (pid %d) "
                 "was stopped for longer than fs.lease-break-time (%u s), and "
                 "meanwhile %s", file->path,
                 (int)((file->lease.phase == DAXPIN_LEASE_INHERITED) ?
                       file->former_pid : getpid()),
                 daxpin_lease_break_time(), facts->watched ?
                 "another process has changed the file, or has had it open for "
                 "writing" : "any process could have changed the file");
        break;
    case DAXPIN_CAUSE_UNWATCHED:
        snprintf(cause, sizeof(cause), "%s was revoked: another process opens "
                 "it, and cannot be watched, because no inotify instance is "
                 "left; raise fs.inotify.max_user_instances or the limit of "
                 "open files (ulimit -n)", file->path);
        break;
    case DAXPIN_CAUSE_CHANGED: /* see daxpin_holder_end_early() */
    case DAXPIN_CAUSE_WAITER:
        return;
    }
    daxpin_holder_revoke(file, cause);
}

int daxpin_holder_may_lack_blocks(const daxpin_file_t *file, int is_filled)
{
    struct stat st;

    return file->holdable && !file->own && (file->growing == 0) &&
           !daxpin_hold_is_placed(&file->hold) &&
           !daxpin_lease_is_guarded(&file->lease) &&
           (fstat(file->fd, &st) == 0) && (st.st_size > 0) &&
           !((is_filled || daxpin_kmod_is_available()) &&
             daxpin_space_is_allocated(file->fd, (uint64_t)st.st_size));
}

/* End the growing that daxpin_holder_fill() has begun. */
static void daxpin_holder_filled(daxpin_file_t *file, int ret)
{
    const daxpin_state_t state = daxpin_file_state(file);

    --file->growing;
    file->grew = 1;
    daxpin_file_wake(file);
    if ((ret != 0) && (ret != -ECANCELED) && daxpin_file_is_alive(file)) {
        /* control->growing stays: see daxpin_file_wait() */
        daxpin_holder_revoke(file, daxpin_errormsg());
        return;
    }
    if (file->growing > 0) {
        return;
    }
    if ((ret == 0) && !atomic_load(&file->control->waived) &&
        daxpin_file_is_alive(file) && (state != DAXPIN_STATE_RELEASED)) {
        daxpin_file_place_hold(file);
        daxpin_report_update(file);
    }
    atomic_store(&file->control->growing, 0);
}

/* Allocate missing blocks, and place the hold then. Fail if this process has
 * kernel pins, because fallocate() would wait for ever. Return 0 if the file was
 * revoked instead. */
static int daxpin_holder_fill(daxpin_file_t *file)
{
    if (file->pins.kmods > 0) {
        daxpin_error(EBUSY, "%s: cannot fill its holes while the pin module "
                     "pins it; open the file again", file->path);
        daxpin_holder_revoke(file, daxpin_errormsg());
        return 0;
    }
    ++file->growing;
    file->grew = 1;
    atomic_store(&file->control->growing, 1);
    daxpin_file_fill(file, daxpin_holder_filled);
    return daxpin_file_is_alive(file);
}

/* Place the hold, now that the lease is there. Until then, other processes that
 * map the file may make it longer. What they have added gets its blocks before:
 * with a hold, nothing could allocate them. Return 0 if the file was revoked
 * instead. */
static int daxpin_holder_place_hold(daxpin_file_t *file, int is_filled)
{
    if (!file->holdable || (file->growing > 0) ||
        daxpin_hold_is_placed(&file->hold)) {
        return 1;
    }
    if (daxpin_holder_may_lack_blocks(file, is_filled)) {
        return daxpin_holder_fill(file);
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

/* Check the file once more, now that it cannot change: a process that was let
 * in may have changed it since this turn began. Return 0 if that ends
 * access. */
static int daxpin_holder_check_again(daxpin_file_t *file,
                                     daxpin_facts_t *facts)
{
    if (daxpin_lease_is_guarded(&file->lease)) {
        return 1;
    }
    facts->loss = daxpin_holder_look_for_loss(file);
    if (facts->loss != DAXPIN_LOSS_NONE) {
        daxpin_holder_end(file, facts, DAXPIN_CAUSE_LOSS);
        return 0;
    }
    if (facts->state == DAXPIN_STATE_LENT) {
        daxpin_holders_read_watch();
        if (daxpin_holder_was_changed(file, facts->now)) {
            daxpin_holder_end(file, facts, DAXPIN_CAUSE_CHANGED);
            return 0;
        }
    }
    return 1;
}

/* Enter HELD, because the lease was taken. Before that the thread that opened
 * the file fills it. is_filled: it has just done so. */
static void daxpin_holder_enter_held(daxpin_file_t *file, daxpin_facts_t *facts,
                                     int is_filled)
{
    if (file->unfilled) {
        file->lease.phase = DAXPIN_LEASE_FILLING;
        atomic_store(&file->control->growing, 1);
        return;
    }
    if (!daxpin_holder_check_again(file, facts) ||
        !daxpin_holder_place_hold_again(file) ||
        !daxpin_holder_place_hold(file, is_filled)) {
        return;
    }
    daxpin_file_note_size(file);
    file->lease.phase     = DAXPIN_LEASE_WHOLE;
    file->lease.whole     = facts->now;
    file->lease.unwatched = !daxpin_holder_place_watch(file);
    daxpin_holder_note_lease(file, facts->now);
    daxpin_control_set_state(file->control, DAXPIN_STATE_HELD, 1);
    daxpin_report_update(file);
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: lease held", file->path);
}

void daxpin_holder_end_fill(daxpin_file_t *file, int error)
{
    daxpin_facts_t facts = {.now = daxpin_now()};

    if (file->lease.phase != DAXPIN_LEASE_FILLING) {
        return; /* A fault has revoked the file */
    }
    if (error == 0) {
        file->unfilled = 0;
        atomic_store(&file->control->growing, 0);
        daxpin_holder_enter_held(file, &facts, 1);
        file->lease.look_again = 0; /* A break may have come */
    } else if (error == -ECANCELED) {
        atomic_store(&file->control->growing, 0);
        daxpin_lease_drop(file->fd);
        daxpin_holder_request_lease(file, file->lease.timeout_ms);
    } else {
        /* control->growing stays: see daxpin_file_wait() */
        file->lease.error = -error;
        daxpin_holder_revoke(file, daxpin_errormsg());
    }
    daxpin_file_wake(file);
}

/* Those that wait get ESTALE, as where the holder could not fill the file; see
 * daxpin_file_wait() */
void daxpin_holder_give_up_fill(daxpin_file_t *file)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (!file->holder || !file->unfilled || !daxpin_file_is_alive(file) ||
        ((file->refs == 1) && !daxpin_share_has_members(file))) {
        return;
    }
    snprintf(cause, sizeof(cause), "%s: cannot wait longer for the lease: its "
             "holder (pid %d) has given up its own adoption; adopt or open it "
             "again", file->path, (int)getpid());
    atomic_store(&file->control->growing, 1);
    daxpin_holder_revoke(file, cause);
    daxpin_file_wake(file);
}

/* Give the lease back, and try to take it again from now on. Return whether the
 * lease was there until now. */
static int daxpin_holder_lend(daxpin_file_t *file, daxpin_state_t state,
                               daxpin_lease_phase_t phase)
{
    int was_held;

    daxpin_file_note_size(file); /* Members may have made it longer */
    daxpin_control_set_state(file->control, state,
                             phase == DAXPIN_LEASE_LENT);
    daxpin_report_update(file);
    file->lease.phase       = phase;
    file->lease.seen        = 0;
    file->lease.joined      = 0;
    file->lease.suspicious  = 0;
    file->lease.scan        = 0;
    file->lease.delay_until = 0;
    file->lease.contended   = 0;
    file->lease.next        = 0;
    file->lease.pause       = DAXPIN_TRY_PAUSE_MIN;
    was_held                = daxpin_lease_drop(file->fd) == 0;
    if (state == DAXPIN_STATE_LENT) {
        daxpin_report_lent(file);
    }
    return was_held;
}

/* Wait for a rank that comes late to map the same file. That is possible
 * because no process has accessed the file yet. A process that begins to access
 * the file in this moment has marked its slot, or has sent EXPOSE, before it
 * could read PENDING. */
static void daxpin_holder_await_late(daxpin_file_t *file,
                                     const daxpin_facts_t *facts)
{
    daxpin_control_set_state(file->control, DAXPIN_STATE_PENDING, 0);
    daxpin_control_barrier();
    if (daxpin_share_is_exposed(file) || daxpin_slots_busy(file->slots)) {
        daxpin_holder_end(file, facts, DAXPIN_CAUSE_WAITER);
        return;
    }
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: waiting for pid %d to join", file->path,
               (int)facts->waiter);
    /* The rank may make the file longer, which waits for any hold */
    daxpin_file_drop_hold(file);
    atomic_store(&file->control->waived, 0);
    atomic_fetch_and(&file->control->locks, ~(uint32_t)DAXPIN_LOCK_HOLD);
    file->lease.deadline = facts->now + file->lease.timeout_ms * DAXPIN_MSEC;
    daxpin_holder_lend(file, DAXPIN_STATE_PENDING, DAXPIN_LEASE_AGAIN);
}

/* Give the lease back for readers. Return whether nothing was done to the file by
 * others: while the lease was there, what the watch has seen was the program's
 * own. */
static int daxpin_holder_lend_calmly(daxpin_file_t *file,
                                     daxpin_lease_phase_t phase)
{
    const int inherited = file->lease.phase == DAXPIN_LEASE_INHERITED;
    unsigned seen;

    daxpin_share_take_grew(file); /* first: see take_seen() */
    daxpin_holders_read_watch();
    seen = daxpin_watch_take(&file->watch);
    if (daxpin_holder_lend(file, DAXPIN_STATE_LENT, phase)) {
        return 1;
    }
    /* It expired before or meanwhile, so others may have done what is seen */
    daxpin_holders_read_watch();
    seen |= daxpin_watch_take(&file->watch);
    return (seen == 0) &&
           (!inherited || daxpin_watch_is_calm(file->watch_fd));
}

/* Lend the file to readers, or to whoever was let in when the lease expired. */
static void daxpin_holder_lend_reader(daxpin_file_t *file,
                                      const daxpin_facts_t *facts)
{
    if (facts->broken == DAXPIN_BREAK_EXPIRED) {
        daxpin_log(DAXPIN_LOG_WARN, "%s: its lease has expired, because this "
                   "process was stopped for longer than fs.lease-break-time; "
                   "no process has changed the file", file->path);
    }
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: lent to %u readers", file->path,
               facts->readers);
    if (!daxpin_holder_lend_calmly(file, facts->guard.covers ?
                                   DAXPIN_LEASE_GUARDED : DAXPIN_LEASE_LENT)) {
        file->lease.seen = DAXPIN_WATCH_LOST;
    }
}

void daxpin_holder_take_over(daxpin_file_t *file, uint64_t now)
{
    const uint64_t break_time = daxpin_lease_break_time() * DAXPIN_SEC;
    const int lent = daxpin_file_state(file) == DAXPIN_STATE_LENT;

    file->lease.phase      = lent ? DAXPIN_LEASE_LENT : DAXPIN_LEASE_INHERITED;
    file->lease.next       = 0;
    file->lease.pause      = DAXPIN_TRY_PAUSE_MIN;
    file->lease.whole      = now;
    file->lease.lost_until = now + ((break_time > 0) ? break_time / 4 * 3 :
                                                       DAXPIN_LOST_MAX);
    file->lease.unwatched  = !daxpin_watch_is_placed(&file->watch);
    if (daxpin_holder_look_for_loss(file) == DAXPIN_LOSS_NONE) {
        daxpin_file_note_size(file);
    }
    if (lent) {
        /* The holder may have ended between the lease and HELD. No signal
         * reports that this lease breaks, and /proc/locks does not show its
         * waiters. */
        daxpin_lease_drop(file->fd);
    }
    daxpin_file_wake(file);
}

/* Give back the lease that a holder before this one has taken, and let in
 * whoever waits for it. If it is not there any more, any process may have been
 * let in before this one placed its watch; what the old watch has seen
 * shows. */
static void daxpin_holder_renew(daxpin_file_t *file,
                                const daxpin_facts_t *facts)
{
    if (!daxpin_holder_lend_calmly(file, DAXPIN_LEASE_LENT)) {
        file->lease.phase = DAXPIN_LEASE_INHERITED;
        daxpin_holder_end(file, facts, DAXPIN_CAUSE_EXPIRED);
    }
    daxpin_watch_release(&file->watch_fd);
}

static void daxpin_holder_waive(daxpin_file_t *file,
                                const daxpin_facts_t *facts)
{
    if (!atomic_exchange(&file->control->waived, 1)) {
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: a process waits for the hold: the "
                   "guard stands in for it", file->path);
    }
    if (facts->state == DAXPIN_STATE_LENT) {
        /* Nothing was lost so far. From now on accesses look at the file */
        daxpin_control_set_state(file->control, DAXPIN_STATE_LENT, 0);
        file->lease.phase = DAXPIN_LEASE_RELIES;
    }
    file->lease.contended = facts->now;
    daxpin_share_send_hold(file); /* first, because all have to drop theirs */
    daxpin_member_waive_hold(file);
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
        daxpin_holder_lend_reader(file, facts);
        break;
    case DAXPIN_ACTION_LEND_WRITER:
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: lent to pid %d, which may write",
                   file->path, (int)facts->waiter);
        daxpin_holder_lend(file, DAXPIN_STATE_LENT, DAXPIN_LEASE_RELIES);
        break;
    case DAXPIN_ACTION_RENEW:
        daxpin_holder_renew(file, facts);
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
        /* What writers did while the guard covered the file was harmless */
        file->lease.phase = DAXPIN_LEASE_LENT;
        file->lease.seen  = 0;
        daxpin_watch_take(&file->watch);
        break;
    case DAXPIN_ACTION_REVOKE:
        daxpin_holder_end(file, facts, action->cause);
        break;
    case DAXPIN_ACTION_TRY: /* see daxpin_holder_tick() */
        break;
    }
    return facts->now;
}

/* Take one step. Return when to take the next one (ns). */
static uint64_t daxpin_holder_step(daxpin_file_t *file, uint64_t now,
                                   int signaled)
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
    if ((facts.state == DAXPIN_STATE_LENT) && !file->lease.suspicious &&
        ((action.type == DAXPIN_ACTION_TRY) ||
         (action.type == DAXPIN_ACTION_WAIT))) {
        atomic_fetch_add(&file->control->checks, 1); /* The file is whole */
    }
    if (action.type == DAXPIN_ACTION_TRY) {
        ret = daxpin_loop_take_lease(file->fd);
        if (ret == 0) {
            daxpin_holder_enter_held(file, &facts, 0);
            return now; /* A break may have come already */
        }
        facts.refused = -ret;
        action        = daxpin_decide(&file->lease, &facts);
    }
    return daxpin_holder_act(file, &facts, &action);
}

uint64_t daxpin_holder_tick(daxpin_file_t *file, uint64_t now, int signaled)
{
    uint64_t next;

    if (file->shrinking) { /* It would cut what those store who are let in */
        return now + DAXPIN_MSEC;
    }
    next = daxpin_holder_step(file, now, signaled);
    if (daxpin_holder_set_judging(file)) {
        next = daxpin_earlier(next, file->lease.scan);
    }
    return (daxpin_file_state(file) == DAXPIN_STATE_HELD) ?
                   daxpin_earlier(next, file->lease.look_again) :
                   next;
}

int daxpin_lease_release(daxpin_file_t *file)
{
    char holder[DAXPIN_HOLDER_NAME];
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    if (!file->holder) {
        daxpin_file_holder_name(file, holder, sizeof(holder));
        ret = daxpin_error(EPERM, "%s: cannot release the lease: only its "
                           "holder (%s) can", file->path, holder);
    } else if ((daxpin_file_state(file) != DAXPIN_STATE_HELD) &&
               (daxpin_file_state(file) != DAXPIN_STATE_LENT)) {
        ret = daxpin_error(ESTALE, "%s: cannot release the lease: the file is "
                           "%s", file->path,
                           daxpin_state_name(daxpin_file_state(file)));
    } else if (file->shrinking) {
        ret = daxpin_error(EAGAIN, "%s: cannot release the lease: another "
                           "thread shrinks the file; try again", file->path);
    } else if (daxpin_share_has_lost_members(file)) {
        ret = daxpin_error(EAGAIN, "%s: cannot release the lease: other "
                           "processes that use it have not noticed yet that "
                           "this process is its holder; try again", file->path);
    } else if (!daxpin_holder_place_hold_again(file)) {
        daxpin_file_wake(file);
        ret = -ESTALE;
    } else {
        file->lease.phase = DAXPIN_LEASE_ENDED;
        daxpin_control_set_state(file->control, DAXPIN_STATE_RELEASED, 0);
        daxpin_report_update(file);
        daxpin_lease_drop(file->fd);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}
