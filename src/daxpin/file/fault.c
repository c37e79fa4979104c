/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* SIGBUS, the last resort */

#include "fault.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/fork.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/sink.h"
#include "daxpin/os/vma.h"
#include "file.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DAXPIN_WATCHES 4096

/* How often a thread tries an access again that should not fault any more */
#define DAXPIN_RETRIES      1000
#define DAXPIN_SINK_RETRIES 2
#define DAXPIN_RETRY_PERIOD (1 * DAXPIN_SEC)

/* How long to wait for handlers under way */
#define DAXPIN_FAULT_BOUND (5 * DAXPIN_SEC)
#define DAXPIN_FAULT_PAUSE (50 * DAXPIN_USEC)

/* A watched mapping. The handler reads it without a lock: start is set last and
 * cleared first */
typedef struct daxpin_watched {
    _Atomic uintptr_t        start; /* 0: free */
    _Atomic uintptr_t        end;
    _Atomic(daxpin_file_t *) file;
} daxpin_watched_t;

/* What the handler does about a fault */
typedef enum daxpin_fault {
    DAXPIN_FAULT_OTHER, /* pass it on */
    DAXPIN_FAULT_END,   /* of a leased file: replace the page, revoke */
    DAXPIN_FAULT_SINK,  /* the page was replaced meanwhile, or no memory is left
                           for the sink: try again, then replace the page */
    DAXPIN_FAULT_RETRY  /* the page was replaced meanwhile */
} daxpin_fault_t;

static daxpin_watched_t   daxpin_watched_ranges[DAXPIN_WATCHES];
static _Atomic unsigned daxpin_num_watches; /* all in use are below */
static struct sigaction daxpin_old_action;
static uintptr_t        daxpin_page_size;

/* Handlers that may use a file. They have no reference to it, so that a file is
 * freed when there are none. */
static _Atomic unsigned daxpin_faults;

/* Forget the handlers of the parent's threads, which the child does not have. */
static void daxpin_fault_fork(void)
{
    atomic_store(&daxpin_faults, 0);
}

DAXPIN_FORK_CHILD(DAXPIN_FORK_FAULT, daxpin_fault_fork)

/* How often a thread has tried an access to a page again. Not in memory of the
 * thread: a signal handler may not allocate it, and a library that is loaded
 * late gets none in advance. So threads whose numbers are alike share an
 * entry. */
#define DAXPIN_RETRY_THREADS 256

static struct {
    _Atomic uintptr_t page;
    _Atomic unsigned  count;
    _Atomic uint64_t  first; /* ns */
} daxpin_retries[DAXPIN_RETRY_THREADS];

/* Read a watch. Return its file, or NULL if it is free or changes now. */
static daxpin_file_t *daxpin_watched_read(daxpin_watched_t *watch,
                                        uintptr_t *start_p, uintptr_t *end_p)
{
    daxpin_file_t *file;

    *start_p = atomic_load(&watch->start);
    *end_p   = atomic_load(&watch->end);
    file     = atomic_load(&watch->file);
    return ((*start_p != 0) && (atomic_load(&watch->start) == *start_p)) ?
                   file :
                   NULL;
}

static int daxpin_fault_is_of(const daxpin_piece_t *piece,
                              const daxpin_file_t *file)
{
    return piece->shared && (piece->ino == file->map_ino) &&
           (piece->dev == file->map_dev);
}

/* Judge a fault in a watched range. ret is the result of the query. */
static daxpin_fault_t daxpin_fault_judge_watched(const daxpin_file_t *file,
                                                 uintptr_t addr, int ret,
                                                 const daxpin_piece_t *piece)
{
    if ((ret != 0) && (ret != -ENOENT)) {
        return DAXPIN_FAULT_END; /* nobody knows; the watch says so */
    }
    if ((ret != 0) || (piece->ino == 0)) {
        return DAXPIN_FAULT_RETRY;
    }
    if (daxpin_sink_is_reserve(piece->dev, piece->ino)) {
        return (piece->offset + (addr - piece->start) < daxpin_page_size) ?
                       DAXPIN_FAULT_RETRY :
                       DAXPIN_FAULT_SINK;
    }
    return ((piece->ino == atomic_load(&file->sink_ino)) &&
            (piece->dev == atomic_load(&file->sink_dev))) ?
                   DAXPIN_FAULT_SINK :
                   DAXPIN_FAULT_OTHER;
}

/* Find what a fault at an address is, in which mapping, and of which file. A
 * mapping of a leased file is one also outside of the watches: the program has
 * moved it, or made it later. */
static daxpin_fault_t daxpin_fault_judge(uintptr_t addr, daxpin_piece_t *piece,
                                         daxpin_file_t **file_p)
{
    unsigned i, count = atomic_load(&daxpin_num_watches);
    daxpin_fault_t found = DAXPIN_FAULT_OTHER;
    uintptr_t start, end;
    daxpin_file_t *file;
    int ret;

    ret = (count > 0) ? daxpin_vma_find(addr, piece) : 0;
    if ((ret == 0) && (piece->start > addr)) {
        ret = -ENOENT;
    }
    for (i = 0; i < count; ++i) {
        file = daxpin_watched_read(&daxpin_watched_ranges[i], &start, &end);
        if (file == NULL) {
            continue;
        }
        if ((ret == 0) && daxpin_fault_is_of(piece, file)) {
            *file_p = file;
            return DAXPIN_FAULT_END;
        }
        if ((found == DAXPIN_FAULT_OTHER) && (addr >= start) && (addr < end)) {
            found   = daxpin_fault_judge_watched(file, addr, ret, piece);
            *file_p = file;
        }
    }
    return found;
}

/* Return whether to try an access again. One that faults again and again is not
 * about a file that was revoked. */
static int daxpin_fault_may_retry(uintptr_t addr, unsigned retries)
{
    unsigned i     = (unsigned)gettid() % DAXPIN_RETRY_THREADS;
    uintptr_t page = addr & ~(daxpin_page_size - 1);
    uint64_t now   = daxpin_now();

    if ((page != atomic_load(&daxpin_retries[i].page)) ||
        (now - atomic_load(&daxpin_retries[i].first) > DAXPIN_RETRY_PERIOD)) {
        atomic_store(&daxpin_retries[i].page, page);
        atomic_store(&daxpin_retries[i].count, 0);
        atomic_store(&daxpin_retries[i].first, now);
    }
    return atomic_fetch_add(&daxpin_retries[i].count, 1) < retries;
}

/* Set the default action, and raise the signal again. It is pending until the
 * handler returns: the process ends with the context of the access. */
static void daxpin_fault_die(siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, info) != 0) {
        raise(SIGBUS);
    }
}

/* Do the same for a signal that another process has sent. The kernel ignores
 * such a signal in the first process of a pid namespace; then the handler
 * stays. */
static void daxpin_fault_die_of_sent(siginfo_t *info)
{
    struct sigaction action;
    sigset_t bus;

    sigaction(SIGBUS, NULL, &action);
    daxpin_fault_die(info);
    sigemptyset(&bus);
    sigaddset(&bus, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
    pthread_sigmask(SIG_BLOCK, &bus, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* Do with a signal what would have been done without this handler. An access
 * that faults ends a process also if the signal is ignored. */
static void daxpin_fault_pass_on(int signo, siginfo_t *info, void *context)
{
    int sent = (info->si_code <= 0) || (info->si_code == BUS_MCEERR_AO);

    if (daxpin_old_action.sa_flags & SA_SIGINFO) {
        daxpin_old_action.sa_sigaction(signo, info, context);
    } else if ((daxpin_old_action.sa_handler != SIG_DFL) &&
               (daxpin_old_action.sa_handler != SIG_IGN)) {
        daxpin_old_action.sa_handler(signo);
    } else if (!sent) {
        daxpin_fault_die(info);
    } else if (daxpin_old_action.sa_handler == SIG_DFL) {
        daxpin_fault_die_of_sent(info);
    }
}

/* Have no access reported as done any more. A member that becomes the holder
 * meanwhile sees that this is under way; see daxpin_handover_serve(). */
static void daxpin_fault_end_access(daxpin_file_t *file)
{
    uint32_t state = atomic_load(&file->control->state);

    while (daxpin_state_allows(state)) {
        atomic_store(&file->parting, 1);
        if (!file->holder) {
            daxpin_control_detach(file->control, DAXPIN_STATE_BREAKING);
            atomic_store(&file->parted, 1);
            break;
        }
        atomic_store(&file->control->open, 0);
        if (atomic_compare_exchange_weak(&file->control->state, &state,
                                         DAXPIN_STATE_BREAKING)) {
            break;
        }
    }
}

/* Replace the page of a fault. A process that may have no more mappings can
 * still replace all of a mapping. */
static int daxpin_fault_replace(uintptr_t addr, const daxpin_piece_t *piece)
{
    uintptr_t page = addr & ~(daxpin_page_size - 1);

    return (daxpin_sink_replace_page(page, daxpin_page_size) == 0) ||
           ((piece->start <= addr) && (addr < piece->end) &&
            (daxpin_sink_replace_page(piece->start,
                                      piece->end - piece->start) == 0));
}

/* Act on a fault. Return whether the access can be tried again. The state
 * changes first: an access that another thread makes to the new page must not
 * be reported as done. The loop comes last, because a revoke replaces the page
 * once more. */
static int daxpin_fault_act(uintptr_t addr)
{
    daxpin_piece_t piece = {0};
    daxpin_file_t *file  = NULL;
    int ret;

    switch (daxpin_fault_judge(addr, &piece, &file)) {
    case DAXPIN_FAULT_END:
        daxpin_fault_end_access(file);
        ret = daxpin_fault_replace(addr, &piece);
        atomic_store(&file->faulted, 1);
        daxpin_loop_wake_all();
        return ret;
    case DAXPIN_FAULT_SINK:
        return daxpin_fault_may_retry(addr, DAXPIN_SINK_RETRIES) ||
               daxpin_fault_replace(addr, &piece);
    case DAXPIN_FAULT_RETRY:
        return daxpin_fault_may_retry(addr, DAXPIN_RETRIES);
    default:
        return 0;
    }
}

/* Act on a fault, and count as under way meanwhile. No handler of another signal
 * comes in between: it could jump out of this one, which would then count for
 * ever. */
static int daxpin_fault_act_counted(uintptr_t addr)
{
    sigset_t others, old;
    int ret;

    sigfillset(&others);
    sigdelset(&others, SIGSEGV); /* None that an instruction raises */
    sigdelset(&others, SIGILL);
    sigdelset(&others, SIGFPE);
    sigdelset(&others, SIGTRAP);
    sigdelset(&others, SIGSYS);
    pthread_sigmask(SIG_BLOCK, &others, &old);
    atomic_fetch_add(&daxpin_faults, 1);
    ret = daxpin_fault_act(addr);
    atomic_fetch_sub(&daxpin_faults, 1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ret;
}

static void daxpin_fault_handler(int signo, siginfo_t *info, void *context)
{
    int saved_errno = errno;

    /* Handle only the end of a file, not a poisoned page (BUS_MCEERR_AR) */
    if ((info->si_code != BUS_ADRERR) ||
        !daxpin_fault_act_counted((uintptr_t)info->si_addr)) {
        daxpin_fault_pass_on(signo, info, context);
    }
    errno = saved_errno;
}

int daxpin_fault_install(void)
{
    static int installed;
    struct sigaction action = {.sa_sigaction = daxpin_fault_handler,
                               .sa_flags     = SA_SIGINFO | SA_ONSTACK |
                                               SA_RESTART};

    daxpin_sink_reserve();
    if (installed) {
        return 0;
    }
    daxpin_page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    /* The handler needs the old action from the first moment on */
    if ((sigaction(SIGBUS, NULL, &daxpin_old_action) != 0) ||
        (sigaction(SIGBUS, &action, &daxpin_old_action) != 0)) {
        return daxpin_error(errno, "cannot install a handler of SIGBUS: %m");
    }
    installed = 1;
    return 0;
}

static void daxpin_watched_clear(daxpin_watched_t *watch)
{
    atomic_store(&watch->start, 0);
    atomic_store(&watch->file, NULL);
}

/* Return whether a mapping of the file is left in a watched range. */
static int daxpin_watched_is_needed(daxpin_watched_t *watch)
{
    const daxpin_file_t *file = atomic_load(&watch->file);
    uintptr_t addr            = atomic_load(&watch->start);
    uintptr_t end             = atomic_load(&watch->end);
    daxpin_piece_t piece;
    int ret;

    while (addr < end) {
        ret = daxpin_vma_find(addr, &piece);
        if (ret != 0) {
            return ret != -ENOENT;
        }
        if ((piece.start < end) && daxpin_fault_is_of(&piece, file)) {
            return 1;
        }
        addr = piece.end;
    }
    return 0;
}

/* Forget watches whose mappings the program has unmapped. */
static void daxpin_watched_clean(void)
{
    unsigned i;

    for (i = 0; i < DAXPIN_WATCHES; ++i) {
        if ((atomic_load(&daxpin_watched_ranges[i].start) != 0) &&
            !daxpin_watched_is_needed(&daxpin_watched_ranges[i])) {
            daxpin_watched_clear(&daxpin_watched_ranges[i]);
        }
    }
}

/* Return a free watch, or NULL. *covered_p is whether the range is watched. */
static daxpin_watched_t *daxpin_watched_find(const daxpin_file_t *file,
                                         uintptr_t start, uintptr_t end,
                                         int *covered_p)
{
    daxpin_watched_t *unused = NULL, *watch;
    unsigned i;

    *covered_p = 0;
    for (i = 0; i < DAXPIN_WATCHES; ++i) {
        watch = &daxpin_watched_ranges[i];
        if (atomic_load(&watch->start) == 0) {
            unused = (unused != NULL) ? unused : watch;
        } else if ((atomic_load(&watch->file) == file) &&
                   (atomic_load(&watch->start) <= start) &&
                   (atomic_load(&watch->end) >= end)) {
            *covered_p = 1;
            break;
        }
    }
    return unused;
}

int daxpin_fault_watch(daxpin_file_t *file, uintptr_t start, uintptr_t end)
{
    daxpin_watched_t *watch;
    unsigned i;
    int covered;

    watch = daxpin_watched_find(file, start, end, &covered);
    if (covered) {
        return 0;
    }
    if (watch == NULL) {
        daxpin_watched_clean();
        watch = daxpin_watched_find(file, start, end, &covered);
    }
    if (watch == NULL) {
        return daxpin_error(ENOSPC, "%s: cannot watch its mapping: this "
                            "process has %d mappings of leased files already; "
                            "map them in larger pieces", file->path,
                            DAXPIN_WATCHES);
    }
    atomic_store(&watch->end, end);
    atomic_store(&watch->file, file);
    atomic_store(&watch->start, start);
    i = (unsigned)(watch - daxpin_watched_ranges);
    if (atomic_load(&daxpin_num_watches) <= i) {
        atomic_store(&daxpin_num_watches, i + 1);
    }
    return 0;
}

/* Return whether a range of the file that a revoke replaces is in a watch. */
static int daxpin_watched_has_map(daxpin_watched_t *watch)
{
    const daxpin_file_t *file = atomic_load(&watch->file);
    const uintptr_t start     = atomic_load(&watch->start);
    const uintptr_t end       = atomic_load(&watch->end);
    const daxpin_map_t *map;

    LIST_FOREACH(map, &file->maps, link) {
        if (!map->is_own) {
            break;
        }
        if (((uintptr_t)map->addr < end) &&
            ((uintptr_t)map->addr + map->length > start)) {
            return 1;
        }
    }
    return daxpin_ranges_overlap(&file->adopted_maps, start, end) != NULL;
}

void daxpin_fault_unwatch_range(daxpin_file_t *file, uintptr_t start,
                                uintptr_t end)
{
    unsigned i, count = atomic_load(&daxpin_num_watches);
    daxpin_watched_t *watch;

    for (i = 0; i < count; ++i) {
        watch = &daxpin_watched_ranges[i];
        if ((atomic_load(&watch->file) == file) &&
            (atomic_load(&watch->start) < end) &&
            (atomic_load(&watch->end) > start) &&
            !daxpin_watched_has_map(watch)) {
            daxpin_watched_clear(watch);
        }
    }
}

/* Wait until no handler is under way. Return 0 if that takes too long. */
static int daxpin_fault_wait(void)
{
    const struct timespec pause = {.tv_nsec = DAXPIN_FAULT_PAUSE};
    uint64_t end                = 0;

    while (atomic_load(&daxpin_faults) != 0) {
        end = (end == 0) ? daxpin_now() + DAXPIN_FAULT_BOUND : end;
        if (daxpin_now() > end) {
            return 0;
        }
        nanosleep(&pause, NULL);
    }
    return 1;
}

int daxpin_fault_unwatch(daxpin_file_t *file)
{
    unsigned i, count = atomic_load(&daxpin_num_watches);

    for (i = 0; i < count; ++i) {
        if (atomic_load(&daxpin_watched_ranges[i].file) == file) {
            daxpin_watched_clear(&daxpin_watched_ranges[i]);
        }
    }
    return daxpin_fault_wait();
}
