/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The kernel lease and its break */

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

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Between tries to take it: members who join are quick, readers may stay */
#define DAXPIN_LEASE_PAUSE_MIN (100 * DAXPIN_USEC)
#define DAXPIN_LEASE_PAUSE_MAX (1 * DAXPIN_MSEC)
#define DAXPIN_LENT_PAUSE_MAX  (20 * DAXPIN_MSEC)

/* While a break is held up: to see whether anybody waits still */
#define DAXPIN_HOLD_PAUSE      (100 * DAXPIN_MSEC)

/* Who is in a truncate for so long while the lease is lent, waits for the
 * hold: a write is over sooner */
#define DAXPIN_CONTENDED_MAX   (300 * DAXPIN_MSEC)

/* Where the guard can stand in for the hold: who is in for so long is let on.
 * While the lease is held, only who has had the file open can be, and he is
 * looked for now and then. */
#define DAXPIN_WAIVE_AFTER     (20 * DAXPIN_MSEC)
#define DAXPIN_HELD_PAUSE      (500 * DAXPIN_MSEC)

/* While a break waits for the guard's answer */
#define DAXPIN_GUARD_PAUSE     (5 * DAXPIN_MSEC)

/* Of lease-break-time: how much of it a break may be held up when nothing but
 * the lease keeps the intruder out */
#define DAXPIN_LEASE_HOLD_PERCENT 75

/* Who waits for a lease to end, as /proc/locks has it */
typedef struct daxpin_waiters {
    unsigned readers;
    unsigned writers;
    pid_t    writer;  /* the first */
} daxpin_waiters_t;

void daxpin_lease_want(daxpin_file_t *file, unsigned timeout_ms)
{
    static int warned;
    unsigned seconds = daxpin_lease_break_time();

    if ((seconds < 1) && !warned) {
        warned = 1;
        daxpin_log(DAXPIN_LOG_WARN, "fs.lease-break-time is 0: an intruder "
                   "waits for ever if a revoke hangs; set it to 1 or more "
                   "(sysctl fs.lease-break-time=45)");
    }
    file->lease.wanted     = 1;
    file->lease.timeout_ms = timeout_ms;
    file->lease.deadline   = daxpin_now() + timeout_ms * DAXPIN_MSEC;
    file->lease.next       = 0;
    file->lease.pause      = DAXPIN_LEASE_PAUSE_MIN;
}

static void daxpin_lease_who_add(pid_t pid, char *buffer, size_t size)
{
    size_t used = strlen(buffer);
    char path[64], comm[32] = "?";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(comm, sizeof(comm), file) != NULL) {
            comm[strcspn(comm, "\n")] = '\0';
        }
        fclose(file);
    }
    snprintf(buffer + used, size - used, "%spid %d (%s)",
             (used > 0) ? ", " : "", (int)pid, comm);
}

/* Looks at the inode and opens nothing: breaks no lease */
static int daxpin_lease_is_fd(int dir_fd, const char *name, void *arg)
{
    const daxpin_file_t *file = arg;
    struct stat st;

    return (fstatat(dir_fd, name, &st, 0) == 0) && (st.st_ino == file->ino) &&
           (st.st_dev == file->dev);
}

static int daxpin_lease_pid_has_map(pid_t pid, const daxpin_file_t *file)
{
    char path[64], line[8192];
    unsigned long ino;
    int found = 0;
    FILE *maps;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    maps = fopen(path, "re");
    if (maps == NULL) {
        return 0;
    }
    while (!found && (fgets(line, sizeof(line), maps) != NULL)) {
        found = (sscanf(line, "%*s %*s %*s %*s %lu %8191[^\n]", &ino,
                        line) == 2) &&
                (ino == file->ino) && (strcmp(line, file->path) == 0);
    }
    fclose(maps);
    return found;
}

void daxpin_lease_who(const daxpin_file_t *file, char *buffer, size_t size)
{
    const unsigned most = 4;
    unsigned count      = 0;
    struct dirent *entry;
    pid_t pid;
    DIR *dir;

    buffer[0] = '\0';
    dir       = opendir("/proc");
    if (dir == NULL) {
        return;
    }
    while ((count < most) && ((entry = readdir(dir)) != NULL)) {
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        pid = (pid_t)atoi(entry->d_name);
        if ((pid != getpid()) && !daxpin_share_is_member(file, pid) &&
            ((daxpin_proc_each_fd(pid, daxpin_lease_is_fd, (void*)file) > 0) ||
             daxpin_lease_pid_has_map(pid, file))) {
            daxpin_lease_who_add(pid, buffer, size);
            ++count;
        }
    }
    closedir(dir);
}

/* Is this the file: "fe:00:11101448"? Of its file system, as fstat() has it or,
 * on some, as mappings do. */
static int daxpin_lease_is_inode(const daxpin_file_t *file, const char *inode)
{
    unsigned major_id, minor_id;
    unsigned long ino;
    dev_t dev;

    if (sscanf(inode, "%x:%x:%lu", &major_id, &minor_id, &ino) != 3) {
        return 0;
    }
    dev = makedev(major_id, minor_id);
    return (ino == file->ino) && ((dev == file->dev) ||
                                  (dev == file->map_dev));
}

/* Lines of one lock share a number; those who wait for it have an arrow:
 *   7: LEASE  BREAKING  UNLCK 2722 fe:00:11101448 0 EOF
 *   7: -> LEASE  BREAKER   WRITE 2723 <none>:0 0 EOF */
static void daxpin_lease_waiters(const daxpin_file_t *file,
                                 daxpin_waiters_t *waiters)
{
    char line[512], kind[16], status[16], type[16], inode[64];
    const char *colon;
    int mine = 0;
    FILE *locks;
    int pid;

    memset(waiters, 0, sizeof(*waiters));
    locks = fopen("/proc/locks", "re");
    if (locks == NULL) {
        return;
    }
    while (fgets(line, sizeof(line), locks) != NULL) {
        colon = strchr(line, ':');
        if (colon == NULL) {
            continue;
        }
        if (strstr(line, "->") == NULL) {
            mine = (sscanf(colon + 1, "%15s %15s %15s %d %63s", kind, status,
                           type, &pid, inode) == 5) &&
                   (strcmp(kind, "LEASE") == 0) && (pid == getpid()) &&
                   daxpin_lease_is_inode(file, inode);
            continue;
        }
        if (!mine || (sscanf(strstr(line, "->") + 2, "%15s %15s %15s %d", kind,
                             status, type, &pid) != 4)) {
            continue;
        }
        if (strcmp(type, "READ") == 0) {
            ++waiters->readers;
        } else if (waiters->writers++ == 0) {
            waiters->writer = pid;
        }
    }
    fclose(locks);
}

/* While the lease is lent nothing but the size tells of a truncate */
static int daxpin_lease_check_size(daxpin_file_t *file)
{
    uint64_t length = atomic_load(&file->control->length);
    char cause[DAXPIN_CAUSE_MAX];
    struct stat st;

    if (file->lease.guarded) {
        return 1; /* Whatever it lost was not pinned */
    }
    if (fstat(file->fd, &st) != 0) {
        snprintf(cause, sizeof(cause), "%s cannot be looked at: %s",
                 file->path, strerror(errno));
    } else if (((uint64_t)st.st_size >= length) &&
               (st.st_blocks < file->lease.blocks)) {
        snprintf(cause, sizeof(cause), "%s has lost blocks, to a hole or a "
                 "truncate, while somebody was let in", file->path);
    } else if ((uint64_t)st.st_size < length) {
        snprintf(cause, sizeof(cause), "%s was truncated from %lu to %ld "
                 "bytes while somebody was let in", file->path, length,
                 (long)st.st_size);
    } else {
        return 1;
    }
    file->lease.wanted = 0;
    daxpin_revoke_start(file, cause);
    return 0;
}

/* What others added while they could need not have blocks yet; nor what an
 * intruder has made a hole of with the guard's consent. On XFS fallocate() waits
 * for pins of the module, anybody's: not where nothing is missing, and not for
 * our own. */
static int daxpin_lease_fill(daxpin_file_t *file)
{
    struct stat st;

    if (file->own || file->lease.guarded || (fstat(file->fd, &st) != 0) ||
        (st.st_size == 0) ||
        (daxpin_kmod_is_there() &&
         daxpin_space_is_allocated(file->fd, (uint64_t)st.st_size))) {
        return 0;
    }
    if (file->pins.kmods > 0) {
        return daxpin_error(EBUSY, "%s: has got holes, which cannot be filled "
                            "while the kernel module pins it", file->path);
    }
    return daxpin_space_allocate(file->path, file->fd, 0, (size_t)st.st_size);
}

/* Not before the lease is there: until then, others who map the file may make
 * it longer */
static int daxpin_lease_place_hold(daxpin_file_t *file)
{
    if (!file->holdable || (file->growing > 0) ||
        daxpin_hold_is_placed(&file->hold)) {
        return 1;
    }
    if (daxpin_lease_fill(file) != 0) {
        daxpin_revoke_start(file, daxpin_errormsg());
        return 0;
    }
    daxpin_file_place_hold(file);
    return 1;
}

/*
 * The hold knows no ranges, the guard does: while it guards all that is pinned,
 * it stands in for the hold if somebody waits for that. When it is gone the
 * hold is back long before its programs in the kernel end, see guard.c.
 */

/* How long somebody has been in a truncate, hole punch or write, as far as we
 * have looked (ns); 0: nobody is, or we have not looked before */
static uint64_t daxpin_lease_contention(daxpin_file_t *file, uint64_t now)
{
    if (!daxpin_hold_is_contended(file->fd)) {
        file->lease.contended = 0;
        return 0;
    }
    if (file->lease.contended == 0) {
        file->lease.contended = now;
    }
    return now - file->lease.contended;
}

/* Members that have not heard it, or had need of theirs, hear it again */
static void daxpin_lease_waive_hold(daxpin_file_t *file, uint64_t now)
{
    const int lent = daxpin_file_state(file) == DAXPIN_STATE_LENT;

    if (!atomic_exchange(&file->control->waived, 1)) {
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: somebody waits for the hold: the "
                   "guard stands in for it", file->path);
    }
    file->lease.guarded  |= lent; /* Nothing was lost until now */
    file->lease.relies   |= lent;
    file->lease.contended = now;
    daxpin_member_waive_hold(file);
    daxpin_share_send_hold(file);
}

/* Returns 0 if it cannot be had again, which is the end */
static int daxpin_lease_hold_again(daxpin_file_t *file)
{
    if (!atomic_load(&file->control->waived)) {
        return 1;
    }
    daxpin_file_hold_again(file);
    if (!daxpin_hold_is_placed(&file->hold) && (file->growing == 0)) {
        daxpin_revoke_start(file, daxpin_errormsg());
        return 0;
    }
    atomic_store(&file->control->waived, 0);
    file->lease.contended = 0;
    daxpin_share_send_hold(file);
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: it is held again", file->path);
    return 1;
}

static int daxpin_lease_may_waive(const daxpin_file_t *file)
{
    return daxpin_guard_covers(file) && daxpin_guard_stands_in(file);
}

static int daxpin_lease_must_hold(const daxpin_file_t *file)
{
    return !daxpin_guard_stands_in(file) ||
           (!daxpin_guard_covers(file) && !daxpin_guard_is_coming(file));
}

/* Returns 0 if the file was revoked */
static int daxpin_lease_check_hold(daxpin_file_t *file, uint64_t now)
{
    if (atomic_load(&file->control->waived)) {
        if (daxpin_lease_must_hold(file)) {
            return daxpin_lease_hold_again(file);
        }
        if (daxpin_lease_contention(file, now) >= DAXPIN_CONTENDED_MAX) {
            daxpin_lease_waive_hold(file, now);
        }
    } else if (daxpin_hold_is_placed(&file->hold) &&
               daxpin_lease_may_waive(file) &&
               (daxpin_lease_contention(file, now) >= DAXPIN_WAIVE_AFTER)) {
        daxpin_lease_waive_hold(file, now);
    }
    return 1;
}

/* While HELD: when to come again. Who was let on, leaves without a word. */
static uint64_t daxpin_lease_watch_hold(daxpin_file_t *file, uint64_t now)
{
    if (!daxpin_lease_check_hold(file, now)) {
        return now;
    }
    if (atomic_load(&file->control->waived)) {
        if ((file->lease.contended == 0) && daxpin_lease_hold_again(file)) {
            daxpin_file_note_size(file);
        }
        return now + DAXPIN_WAIVE_AFTER;
    }
    if (!daxpin_hold_is_placed(&file->hold) || !daxpin_lease_may_waive(file)) {
        return DAXPIN_NEVER;
    }
    return now + ((file->lease.contended != 0) ? DAXPIN_WAIVE_AFTER :
                                                 DAXPIN_HELD_PAUSE);
}

static void daxpin_lease_held(daxpin_file_t *file)
{
    file->lease.wanted = 0;
    if (!daxpin_lease_check_size(file) || !daxpin_lease_hold_again(file) ||
        !daxpin_lease_place_hold(file)) {
        return;
    }
    daxpin_file_note_size(file);
    file->lease.once    = 1;
    file->lease.guarded = 0;
    file->lease.relies  = 0;
    daxpin_control_set_state(file->control, DAXPIN_STATE_HELD);
    daxpin_report_update(file);
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: lease held", file->path);
}

static void daxpin_lease_refused(daxpin_file_t *file, int error)
{
    char cause[DAXPIN_CAUSE_MAX], who[256] = "";

    switch (error) {
    case EAGAIN:
        daxpin_lease_who(file, who, sizeof(who));
        if (file->lease.once) {
            snprintf(cause, sizeof(cause), "%s was revoked: %s keeps it from "
                     "being leased again", file->path, (who[0] != '\0') ?
                     who : "somebody who waits to truncate it");
            break;
        }
        snprintf(cause, sizeof(cause), "%s: no lease, because somebody else "
                 "has the file open: %s; close it there, or start again when "
                 "it is closed", file->path, (who[0] != '\0') ? who :
                 "who, cannot be told (perhaps a private mapping or O_APPEND "
                 "descriptor in this process, or a process of another user)");
        break;
    case EACCES:
        snprintf(cause, sizeof(cause), "%s: no lease, because the file belongs "
                 "to another user; run as its owner or with CAP_LEASE",
                 file->path);
        break;
    case EINVAL:
    case EOPNOTSUPP:
    case ENOLCK:
        snprintf(cause, sizeof(cause), "%s: no lease, because its file system "
                 "grants none (%s); use ext4, XFS or tmpfs", file->path,
                 strerror(error));
        break;
    default:
        snprintf(cause, sizeof(cause), "%s: no lease: fcntl(F_SETLEASE): %s",
                 file->path, strerror(error));
        break;
    }
    file->lease.wanted = 0;
    file->lease.error  = error;
    daxpin_revoke_start(file, cause);
}

/* In a pid namespace of its own, /proc/locks leaves out the others' waiters */
static int daxpin_lease_sees_all(void)
{
    const ino_t initial_pid_namespace = 0xeffffffc; /* <linux/proc_ns.h> */
    struct stat st;

    return (stat("/proc/self/ns/pid", &st) == 0) &&
           (st.st_ino == initial_pid_namespace);
}

static int daxpin_lease_may_lend(const daxpin_file_t *file)
{
    /* Where a truncate frees blocks under a mapping, only a lock allows it */
    return !file->is_dax || daxpin_hold_is_placed(&file->hold) ||
           atomic_load(&file->control->waived);
}

/* A writer can do no harm while the guard refuses what would do it. The guard
 * may end at any moment; then what allows a reader protects until we know. */
static int daxpin_lease_may_lend_writer(const daxpin_file_t *file)
{
    return daxpin_lease_may_lend(file) && daxpin_guard_covers(file);
}

/* Where a hold stops him, somebody may be waiting in a truncate since the
 * lease was lent: no signal tells of him, and those who read wait behind him */
static int daxpin_lease_is_contended(daxpin_file_t *file, uint64_t now)
{
    return daxpin_hold_is_placed(&file->hold) &&
           !atomic_load(&file->control->waived) &&
           (file->on_break != DAXPIN_ON_BREAK_HOLD) &&
           !daxpin_guard_is_coming(file) &&
           (daxpin_lease_contention(file, now) >= DAXPIN_CONTENDED_MAX);
}

static void daxpin_lease_end_lent(daxpin_file_t *file)
{
    char cause[DAXPIN_CAUSE_MAX];

    snprintf(cause, sizeof(cause), "%s was revoked: somebody waits to truncate "
             "it, or to punch a hole, since somebody else was let in",
             file->path);
    file->lease.wanted = 0;
    daxpin_revoke_start(file, cause);
}

static uint64_t daxpin_lease_try(daxpin_file_t *file, uint64_t now)
{
    int lent       = daxpin_file_state(file) == DAXPIN_STATE_LENT;
    uint64_t most  = lent ? DAXPIN_LENT_PAUSE_MAX : DAXPIN_LEASE_PAUSE_MAX;
    uint64_t pause = 2 * file->lease.pause;
    int ret;

    if (now < file->lease.next) {
        return file->lease.next;
    }
    ret = daxpin_lease_take(file->fd, daxpin_loop_tid(),
                            daxpin_loop_signal());
    if (ret == 0) {
        daxpin_lease_held(file);
        return now; /* A break may have come already: look again */
    }
    if ((ret != -EAGAIN) || (lent ? !daxpin_lease_may_lend(file) :
                                    (now > file->lease.deadline))) {
        daxpin_lease_refused(file, -ret);
        return now;
    }
    if (lent && daxpin_lease_is_contended(file, now)) {
        daxpin_lease_end_lent(file);
        return now;
    }
    file->lease.next  = now + file->lease.pause;
    file->lease.pause = (pause < most) ? pause : most;
    return file->lease.next;
}

/* Let them in and take the lease again when they have left */
static void daxpin_lease_lend(daxpin_file_t *file, daxpin_state_t state,
                              uint64_t deadline)
{
    daxpin_file_note_size(file); /* Members may have made it longer */
    daxpin_control_set_state(file->control, state);
    daxpin_report_update(file);
    file->lease.wanted     = 1;
    file->lease.hold_until = 0;
    file->lease.guard_wait = 0;
    file->lease.guarded    = (state == DAXPIN_STATE_LENT) &&
                             daxpin_guard_covers(file);
    file->lease.deadline   = deadline;
    file->lease.contended  = 0;
    file->lease.next       = 0;
    file->lease.pause      = DAXPIN_LEASE_PAUSE_MIN;
    daxpin_lease_drop(file->fd);
}

static void daxpin_lease_end(daxpin_file_t *file,
                             const daxpin_waiters_t *waiters)
{
    char cause[DAXPIN_CAUSE_MAX], who[128] = "";

    if (waiters->writer > 0) {
        daxpin_lease_who_add(waiters->writer, who, sizeof(who));
    }
    snprintf(cause, sizeof(cause), "%s was revoked: %s truncates it or opens "
             "it for writing", file->path,
             (who[0] != '\0') ? who : "somebody");
    file->lease.hold_until = 0;
    file->lease.guard_wait = 0;
    daxpin_revoke_start(file, cause);
}

/* A rank that comes late to map the same file: nobody has accessed it yet, so
 * it can be waited for. Whoever began to in this moment has marked his slot or
 * said so before he saw PENDING. */
static void daxpin_lease_await_late(daxpin_file_t *file,
                                    const daxpin_waiters_t *waiters,
                                    uint64_t now)
{
    daxpin_control_set_state(file->control, DAXPIN_STATE_PENDING);
    daxpin_control_barrier();
    if (daxpin_share_is_exposed(file) || daxpin_slots_busy(file->slots)) {
        daxpin_lease_end(file, waiters);
        return;
    }
    daxpin_log(DAXPIN_LOG_DEBUG, "%s: waiting for pid %d to join", file->path,
               (int)waiters->writer);
    /* Or he could not make the file longer before he maps it */
    daxpin_hold_drop(&file->hold);
    atomic_store(&file->control->waived, 0);
    atomic_fetch_and(&file->control->locks, ~(uint32_t)DAXPIN_LOCK_HOLD);
    daxpin_lease_lend(file, DAXPIN_STATE_PENDING,
                      now + file->lease.timeout_ms * DAXPIN_MSEC);
}

static uint64_t daxpin_lease_broken(daxpin_file_t *file, uint64_t now)
{
    daxpin_waiters_t waiters;

    daxpin_lease_waiters(file, &waiters);
    if ((waiters.writers == 0) &&
        (daxpin_lease_may_lend(file) ||
         ((waiters.readers == 0) && daxpin_lease_sees_all()))) {
        /* A reader; or nobody waits: poked with O_NONBLOCK, or killed, or
         * out of sight of this pid namespace. Then the size tells. */
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: lent to %u readers", file->path,
                   waiters.readers);
        daxpin_lease_lend(file, DAXPIN_STATE_LENT, now + DAXPIN_SEC);
        return now;
    }
    if (!file->exposed && !file->own && daxpin_report_exists(waiters.writer)) {
        daxpin_lease_await_late(file, &waiters, now);
        return now;
    }
    if (daxpin_lease_may_lend_writer(file)) {
        daxpin_log(DAXPIN_LOG_DEBUG, "%s: lent to pid %d, who may write",
                   file->path, (int)waiters.writer);
        daxpin_lease_lend(file, DAXPIN_STATE_LENT, now + DAXPIN_SEC);
        file->lease.relies = 1;
        return now;
    }
    file->lease.guard_wait = daxpin_lease_may_lend(file) &&
                             daxpin_guard_is_coming(file);
    if (file->lease.guard_wait) {
        return now + DAXPIN_GUARD_PAUSE;
    }
    if ((file->on_break == DAXPIN_ON_BREAK_HOLD) &&
        (file->lease.hold_until == 0)) {
        file->lease.hold_until = daxpin_hold_is_placed(&file->hold) ?
                DAXPIN_NEVER :
                now + daxpin_lease_break_time() * DAXPIN_SEC / 100 *
                      DAXPIN_LEASE_HOLD_PERCENT;
    }
    if (now < file->lease.hold_until) {
        /* Nobody tells when he gives up, and others wait behind him */
        return (file->lease.hold_until - now < DAXPIN_HOLD_PAUSE) ?
                       file->lease.hold_until :
                       now + DAXPIN_HOLD_PAUSE;
    }
    daxpin_lease_end(file, &waiters);
    return now;
}

/* The guard went away while a writer is in, whom nothing but it had kept from
 * truncating: the end, and also where the blocks are held, since he might be
 * waiting in a truncate by now. Returns 0 then. */
static int daxpin_lease_check_guard(daxpin_file_t *file)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (file->lease.guarded && !daxpin_guard_covers(file) &&
        !daxpin_guard_is_coming(file)) {
        file->lease.guarded = 0;
    }
    if (file->lease.guarded || !file->lease.relies) {
        return 1;
    }
    snprintf(cause, sizeof(cause), "%s was revoked: somebody has it open for "
             "writing, and daxpin-guardd, which kept him from truncating it, "
             "is gone", file->path);
    file->lease.wanted = 0;
    daxpin_revoke_start(file, cause);
    return 0;
}

uint64_t daxpin_lease_tick(daxpin_file_t *file, uint64_t now, int signaled)
{
    char cause[DAXPIN_CAUSE_MAX];

    if (atomic_exchange(&file->faulted, 0) &&
        (file->revoke.phase == DAXPIN_PHASE_NONE)) {
        snprintf(cause, sizeof(cause), "%s was truncated, or a hole was "
                 "punched and no space is left, by way of a descriptor that "
                 "was open already", file->path);
        daxpin_revoke_start(file, cause);
        return now;
    }
    switch (daxpin_file_state(file)) {
    case DAXPIN_STATE_LENT:
        if (!daxpin_lease_check_hold(file, now) ||
            !daxpin_lease_check_guard(file) ||
            !daxpin_lease_check_size(file)) {
            return now;
        }
        atomic_fetch_add(&file->control->checks, 1);
        /* fall through */
    case DAXPIN_STATE_PENDING:
        if (file->lease.wanted) {
            return daxpin_lease_try(file, now);
        }
        return DAXPIN_NEVER;
    case DAXPIN_STATE_HELD:
        if ((signaled || (file->lease.hold_until != 0) ||
             file->lease.guard_wait) && !daxpin_lease_is_whole(file->fd)) {
            return daxpin_lease_broken(file, now);
        }
        return daxpin_lease_watch_hold(file, now);
    default:
        return DAXPIN_NEVER;
    }
}

int daxpin_lease_release(daxpin_file_t *file)
{
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    if (!file->holder) {
        ret = daxpin_error(EPERM, "%s: only the holder (pid %d) can release "
                           "the lease", file->path, (int)file->holder_pid);
    } else if ((daxpin_file_state(file) != DAXPIN_STATE_HELD) &&
               (daxpin_file_state(file) != DAXPIN_STATE_LENT)) {
        ret = daxpin_error(ESTALE, "%s: no lease to release: it is %s",
                           file->path,
                           daxpin_state_name(daxpin_file_state(file)));
    } else if (!daxpin_lease_hold_again(file)) {
        ret = -ESTALE;
    } else {
        file->lease.wanted = 0;
        daxpin_control_set_state(file->control, DAXPIN_STATE_RELEASED);
        daxpin_report_update(file);
        daxpin_lease_drop(file->fd);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}
