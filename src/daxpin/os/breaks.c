/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The signal by which the kernel announces that a lease breaks */

#include "breaks.h"

#include "clock.h"
#include "lease.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DAXPIN_BREAKS_BATCH 16
#define DAXPIN_BREAKS_CHECK DAXPIN_SEC         /* leases are checked so often */
#define DAXPIN_BREAKS_AGAIN (10 * DAXPIN_MSEC) /* the queue was full */

/* Where no real-time signal is free, leases send this one. It needs no place in
 * the queue, stays pending in the loop thread, and is never read. */
#define DAXPIN_BREAKS_UNREAD SIGURG

/* A descriptor */
#define DAXPIN_BREAKS_LEASE 1u /* its lease sends the signal */
#define DAXPIN_BREAKS_HINT  2u /* its lease may have been broken */

static struct {
    int         signal_fd;
    _Atomic int signo;
    sigset_t    left;    /* signals that the program was found to use */
    sigset_t    blocked; /* by the thread that started the loop */
    pid_t       tid;     /* the loop thread */
    uint64_t    next;    /* the next check (ns) */
    uint8_t     *leases; /* DAXPIN_BREAKS_..., by descriptor */
    unsigned    room;
    unsigned    num_leases;
    unsigned    num_hints;
    siginfo_t   back[DAXPIN_BREAKS_BATCH]; /* to be given back to the process */
    unsigned    num_back;
} daxpin_breaks = {.signal_fd = -1};

int daxpin_breaks_signal(void)
{
    return atomic_load(&daxpin_breaks.signo);
}

/* Return whether the program seems not to use a signal. A signal that has no
 * handler may be one that the program waits for, with the signal blocked. */
static int daxpin_breaks_is_free(int signo, const sigset_t *blocked)
{
    struct sigaction action;
    sigset_t pending;

    sigpending(&pending);
    return !sigismember(&daxpin_breaks.left, signo) &&
           !sigismember(blocked, signo) && !sigismember(&pending, signo) &&
           (sigaction(signo, NULL, &action) == 0) &&
           !(action.sa_flags & SA_SIGINFO) && (action.sa_handler == SIG_DFL);
}

/* Return a signal that the program does not use, or DAXPIN_BREAKS_UNREAD.
 * SIGRTMIN is above the signals of glibc. Programs number theirs from either
 * end, so begin near the last one. A thread that has all of them blocked shows
 * nothing of the program. */
static int daxpin_breaks_choose(void)
{
    const int count  = SIGRTMAX - SIGRTMIN + 1;
    sigset_t blocked = daxpin_breaks.blocked;
    int i, signo, all = 1;

    for (signo = SIGRTMIN; signo <= SIGRTMAX; ++signo) {
        all = all && sigismember(&blocked, signo);
    }
    if (all) {
        sigemptyset(&blocked);
    }
    for (i = 0; i < count; ++i) {
        signo = SIGRTMIN + (2 * count - 4 - i) % count;
        if (daxpin_breaks_is_free(signo, &blocked)) {
            return signo;
        }
    }
    daxpin_log(DAXPIN_LOG_WARN, "the program uses all real-time signals: that "
               "another process wants a file is noticed up to a second late; "
               "leave one of them to daxpin");
    return DAXPIN_BREAKS_UNREAD;
}

/* Read the signal from now on, unless something is left to be given back: that
 * keeps its place before what follows. Return the signalfd or -1. */
static int daxpin_breaks_listen(void)
{
    const int signo = daxpin_breaks_signal();
    sigset_t signals;

    sigemptyset(&signals);
    if ((signo != DAXPIN_BREAKS_UNREAD) && (daxpin_breaks.num_back == 0)) {
        sigaddset(&signals, signo);
    }
    return signalfd(daxpin_breaks.signal_fd, &signals,
                    SFD_CLOEXEC | SFD_NONBLOCK);
}

int daxpin_breaks_open(void)
{
    sigemptyset(&daxpin_breaks.left);
    pthread_sigmask(SIG_SETMASK, NULL, &daxpin_breaks.blocked);
    atomic_store(&daxpin_breaks.signo, daxpin_breaks_choose());
    daxpin_breaks.signal_fd = daxpin_breaks_listen();
    return (daxpin_breaks.signal_fd >= 0) ? daxpin_breaks.signal_fd : -errno;
}

void daxpin_breaks_close(void)
{
    if (daxpin_breaks.signal_fd >= 0) {
        close(daxpin_breaks.signal_fd);
    }
    free(daxpin_breaks.leases);
    daxpin_breaks.signal_fd  = -1;
    daxpin_breaks.leases     = NULL;
    daxpin_breaks.room       = 0;
    daxpin_breaks.num_leases = 0;
    daxpin_breaks.num_hints  = 0;
    daxpin_breaks.num_back   = 0;
}

static int daxpin_breaks_has(int fd)
{
    return (fd >= 0) && ((unsigned)fd < daxpin_breaks.room) &&
           (daxpin_breaks.leases[fd] & DAXPIN_BREAKS_LEASE);
}

/* Make room for a descriptor. */
static int daxpin_breaks_reserve(unsigned fd)
{
    unsigned room   = daxpin_breaks.room;
    uint8_t *leases = daxpin_breaks.leases;

    if (fd < room) {
        return 0;
    }
    leases = realloc(leases, 2 * ((size_t)fd + 16));
    if (leases == NULL) {
        return -ENOMEM;
    }
    daxpin_breaks.leases = leases;
    daxpin_breaks.room   = 2 * (fd + 16);
    memset(leases + room, 0, daxpin_breaks.room - room);
    return 0;
}

static int daxpin_breaks_add(int fd)
{
    if (daxpin_breaks_has(fd)) {
        return 0;
    }
    if (daxpin_breaks_reserve((unsigned)fd) != 0) {
        return -ENOMEM;
    }
    if (daxpin_breaks.num_leases == 0) {
        daxpin_breaks.next = daxpin_now() + DAXPIN_BREAKS_CHECK;
    }
    daxpin_breaks.leases[fd] |= DAXPIN_BREAKS_LEASE;
    ++daxpin_breaks.num_leases;
    return 0;
}

int daxpin_breaks_take_lease(int fd, pid_t tid)
{
    int ret = daxpin_breaks_add(fd);

    daxpin_breaks.tid = tid;
    return (ret != 0) ? ret : daxpin_lease_take(fd, tid,
                                                daxpin_breaks_signal());
}

/* Return whether a descriptor sends the signal, to the loop thread or not. The
 * end of a lease resets both. */
static int daxpin_breaks_sends(int fd, int signo, int to_loop)
{
    struct f_owner_ex owner;

    return (fcntl(fd, F_GETSIG) == signo) &&
           (fcntl(fd, F_GETOWN_EX, &owner) == 0) &&
           (((owner.type == F_OWNER_TID) &&
             (owner.pid == daxpin_breaks.tid)) == to_loop);
}

/* Return whether a lease of daxpin has sent a signal. The lease may be away by
 * now, but then nothing else sends from its descriptor. */
static int daxpin_breaks_is_ours(const struct signalfd_siginfo *info)
{
    return (info->ssi_code >= POLL_IN) && (info->ssi_code <= POLL_HUP) &&
           daxpin_breaks_has(info->ssi_fd) &&
           !daxpin_breaks_sends(info->ssi_fd, (int)info->ssi_signo, 0);
}

/* Note which lease may have been broken. */
static void daxpin_breaks_note(int fd)
{
    if (!(daxpin_breaks.leases[fd] & DAXPIN_BREAKS_HINT)) {
        daxpin_breaks.leases[fd] |= DAXPIN_BREAKS_HINT;
        ++daxpin_breaks.num_hints;
    }
}

int daxpin_breaks_has_hints(void)
{
    return daxpin_breaks.num_hints > 0;
}

int daxpin_breaks_has_hint(int fd)
{
    return (daxpin_breaks.num_hints > 0) && (fd >= 0) &&
           ((unsigned)fd < daxpin_breaks.room) &&
           (daxpin_breaks.leases[fd] & DAXPIN_BREAKS_HINT);
}

int daxpin_breaks_take_hint(int fd)
{
    if (!daxpin_breaks_has_hint(fd)) {
        return 0;
    }
    daxpin_breaks.leases[fd] &= (uint8_t)~DAXPIN_BREAKS_HINT;
    --daxpin_breaks.num_hints;
    return 1;
}

int daxpin_breaks_drop_hints(void)
{
    unsigned fd;

    for (fd = 0; (daxpin_breaks.num_hints > 0) && (fd < daxpin_breaks.room);
         ++fd) {
        if (daxpin_breaks_take_hint((int)fd) &&
            (daxpin_breaks.num_hints == 0)) {
            return 1;
        }
    }
    return 0;
}

/* Keep a signal to give it back. A thread may send its process only what
 * sigqueue() and the like send: what kill() sent goes back as if sigqueue() had
 * sent it, with the sender's pid and user, and what a descriptor sent goes back
 * as of SI_SIGIO, with the descriptor and the event. */
static void daxpin_breaks_keep(const struct signalfd_siginfo *info)
{
    siginfo_t *back = &daxpin_breaks.back[daxpin_breaks.num_back++];
    int code        = info->ssi_code;

    memset(back, 0, sizeof(*back));
    back->si_signo = (int)info->ssi_signo;
    back->si_errno = info->ssi_errno;
    if ((code == SI_SIGIO) || ((code >= POLL_IN) && (code <= POLL_HUP))) {
        back->si_code = SI_SIGIO;
        back->si_band = info->ssi_band;
        back->si_fd   = info->ssi_fd;
    } else if (code == SI_TIMER) {
        back->si_code      = SI_TIMER;
        back->si_timerid   = (int)info->ssi_tid;
        back->si_overrun   = (int)info->ssi_overrun;
        back->si_value.sival_ptr = (void*)(uintptr_t)info->ssi_ptr;
    } else {
        back->si_code = ((code >= 0) || (code == SI_TKILL)) ? SI_QUEUE : code;
        back->si_pid  = (pid_t)info->ssi_pid;
        back->si_uid  = info->ssi_uid;
        back->si_value.sival_ptr = (void*)(uintptr_t)info->ssi_ptr;
    }
}

/* Give signals back to the process, in their order. The queue may be full:
 * daxpin_breaks_tick() goes on. */
static void daxpin_breaks_give_back(void)
{
    siginfo_t *back = daxpin_breaks.back;
    unsigned given  = 0;

    for (; given < daxpin_breaks.num_back; ++given) {
        if (syscall(SYS_rt_sigqueueinfo, getpid(), back[given].si_signo,
                    &back[given]) == 0) {
            continue;
        }
        if (errno == EAGAIN) {
            break;
        }
        daxpin_log(DAXPIN_LOG_ERROR, "cannot give signal %d back to the "
                   "program: %m; it is lost", back[given].si_signo);
    }
    daxpin_breaks.num_back -= given;
    memmove(back, back + given, daxpin_breaks.num_back * sizeof(*back));
}

/* Leave the signal to the program, and have all leases send another. A break
 * that was announced by the old one meanwhile is found by a check of the
 * leases. */
static void daxpin_breaks_move(void)
{
    const int old = daxpin_breaks_signal();
    int fd, signo;

    sigaddset(&daxpin_breaks.left, old);
    signo = daxpin_breaks_choose();
    daxpin_log(DAXPIN_LOG_INFO, "the program uses signal %d: lease breaks are "
               "announced by signal %d now", old, signo);
    for (fd = 0; fd < (int)daxpin_breaks.room; ++fd) {
        if (daxpin_breaks_has(fd) && daxpin_breaks_sends(fd, old, 1)) {
            fcntl(fd, F_SETSIG, signo);
        }
    }
    atomic_store(&daxpin_breaks.signo, signo);
    daxpin_breaks_listen();
}

int daxpin_breaks_read(void)
{
    struct signalfd_siginfo info[DAXPIN_BREAKS_BATCH];
    ssize_t length, i;

    if (daxpin_breaks.num_back > 0) {
        return 0;
    }
    while (daxpin_breaks.num_back == 0) {
        length = read(daxpin_breaks.signal_fd, info, sizeof(info));
        if (length <= 0) {
            return 0;
        }
        for (i = 0; i < length / (ssize_t)sizeof(*info); ++i) {
            if (daxpin_breaks_is_ours(&info[i])) {
                daxpin_breaks_note(info[i].ssi_fd);
            } else {
                daxpin_breaks_keep(&info[i]);
            }
        }
    }
    daxpin_breaks_move();
    daxpin_breaks_give_back();
    daxpin_breaks_listen();
    return 1;
}

/* Forget the descriptors whose leases have ended. No signal of theirs is left
 * to be read. */
static void daxpin_breaks_prune(void)
{
    int fd;

    for (fd = 0; fd < (int)daxpin_breaks.room; ++fd) {
        if (daxpin_breaks_has(fd) &&
            !daxpin_breaks_sends(fd, daxpin_breaks_signal(), 1)) {
            daxpin_breaks.leases[fd] &= (uint8_t)~DAXPIN_BREAKS_LEASE;
            --daxpin_breaks.num_leases;
        }
    }
}

/* Leave a signal that the program has begun to use before its first one is
 * read, so that all of them keep their order */
static void daxpin_breaks_check_use(void)
{
    const int signo = daxpin_breaks_signal();
    struct sigaction action;

    if ((signo != DAXPIN_BREAKS_UNREAD) &&
        (sigaction(signo, NULL, &action) == 0) &&
        ((action.sa_flags & SA_SIGINFO) || (action.sa_handler != SIG_DFL))) {
        daxpin_breaks_move();
    }
}

int daxpin_breaks_tick(uint64_t now)
{
    const int signo = daxpin_breaks_signal();

    if (daxpin_breaks.num_back > 0) {
        daxpin_breaks_give_back();
        daxpin_breaks_listen();
    }
    if ((daxpin_breaks.num_leases == 0) || (now < daxpin_breaks.next)) {
        return 0;
    }
    daxpin_breaks.next = now + DAXPIN_BREAKS_CHECK;
    daxpin_breaks_read();
    if ((daxpin_breaks.num_back == 0) && (daxpin_breaks_signal() == signo)) {
        daxpin_breaks_prune(); /* All signals were read */
        daxpin_breaks_check_use();
    }
    return 1;
}

uint64_t daxpin_breaks_next(void)
{
    if (daxpin_breaks.num_back > 0) {
        return daxpin_now() + DAXPIN_BREAKS_AGAIN;
    }
    return (daxpin_breaks.num_leases > 0) ? daxpin_breaks.next : DAXPIN_NEVER;
}
