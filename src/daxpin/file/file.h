/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FILE_H_
#define DAXPIN_FILE_H_

/* A leased file of this process: the list of all files, references, state */
#include "daxpin/daxpin.h"
#include "daxpin/os/address.h"
#include "daxpin/os/control.h"
#include "daxpin/os/hold.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/ranges.h"
#include "daxpin/os/watch.h"
#include "wire/report.h"
#include "decide.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A range of memory of this process that shows the file, and that a revoke
 * replaces: a mapping of the library's own, or one of the program */
typedef struct daxpin_map {
    LIST_ENTRY(daxpin_map) link;
    void              *addr;
    size_t            length;
    uint64_t          offset;
    int               prot;
    unsigned          refs;
    int               is_own; /* 0: adopted */
    struct pmem2_map  *pmem2; /* own, on DAX: of libpmem2 */
    daxpin_range_t    range;  /* of memory, if it is adopted */
} daxpin_map_t;

/* A mapping of the file in this process, whoever made it */
typedef struct daxpin_span {
    uintptr_t start;
    uintptr_t end;
    uint64_t  offset;
    int       prot;
    int       is_old; /* it may be of another description than file->fd */
    int       is_known; /* advice is set */
    unsigned  advice; /* daxpin_advice_t, if it is old */
    int       fills; /* it was exchanged, and its pages are to be there */
} daxpin_span_t;

typedef struct daxpin_spans {
    daxpin_span_t *spans; /* by address */
    size_t        count;
} daxpin_spans_t;

typedef struct daxpin_callback {
    LIST_ENTRY(daxpin_callback) link;
    daxpin_revoke_cb_t cb;
    void               *arg;
    int                before; /* the mappings are replaced */
} daxpin_callback_t;

/* The pins of one file in this process */
typedef struct daxpin_pins {
    daxpin_ranges_t ranges;
    size_t          kmods;   /* those with a kernel pin */
    int             watched; /* one of those reports breaks of the lease */
} daxpin_pins_t;

/* Whether the pins of a process are guarded; a member reports it to the
 * holder */
typedef enum daxpin_guard_status {
    DAXPIN_GUARD_STATUS_NONE,      /* no pins: nothing to be guarded */
    DAXPIN_GUARD_STATUS_GUARDED,
    DAXPIN_GUARD_STATUS_UNGUARDED
} daxpin_guard_status_t;

/* A request to the guard daemon; see guard.c */
typedef struct daxpin_guard_request daxpin_guard_request_t;

typedef struct daxpin_guard {
    int      fd;               /* -1: not connected */
    uint64_t id;               /* of the loop */
    int      synced;           /* the daemon has confirmed all pins, once */
    uint64_t grace;            /* ns, for which pins stay guarded after the
                                  daemon has died */
    uint64_t grace_until;      /* ns, the end of that; 0: not died */
    int      grace_extra;      /* there are pins that the dead daemon did not
                                  confirm */
    int      fresh;            /* connected: answers to come, to HELLO and FILE */
    int      unheard;          /* connections in a row that ended without any */
    int      gap;              /* the file was not guarded for a while; the
                                  holder clears this */
    int      stalled;          /* the daemon does not answer */
    uint64_t closing;          /* ns, until when to wait for the daemon to end
                                  guarding; 0: it is not to end */
    int      status;           /* daxpin_guard_status_t, as reported last */
    int      logged_error;     /* errno value that was logged last */
    unsigned unanswered;
    uint64_t heard;            /* ns; of the last answer */
    uint64_t asked;            /* ns; of the first request without an answer */
    uint64_t retry;            /* ns; to connect again */
    uint64_t pause;            /* ns */
    daxpin_guard_request_t *queue; /* not sent yet */
    size_t   queued;
    size_t   capacity;
} daxpin_guard_t;

/* See daxpin/access.h */
struct daxpin_access;

/* A process at the other end of a socket of the file; see channel.h */
typedef struct daxpin_conn daxpin_conn_t;

LIST_HEAD(daxpin_conns, daxpin_conn);

/* A socket at which newcomers connect; see share.c */
typedef struct daxpin_listener {
    int                fd;        /* of an address */
    uint64_t           id;        /* of the loop; 0: it does not listen */
    uint64_t           retry;     /* ns, to listen again */
    uint64_t           pause;     /* ns, before that */
} daxpin_listener_t;

/* What this member has received from the holder, and member.c has not acted on
 * yet */
typedef enum daxpin_note {
    DAXPIN_NOTE_BREAK = 1 << 0, /* end all access */
    DAXPIN_NOTE_WAIVE = 1 << 1, /* the guard stands in for the hold */
    DAXPIN_NOTE_HOLD  = 1 << 2, /* the guard does not stand in any more */
    DAXPIN_NOTE_GONE  = 1 << 3, /* the holder has ended, or closed the file */
    DAXPIN_NOTE_ANSWER = 1 << 4 /* a new holder answers; see handover.c */
} daxpin_note_t;

/* Where a revoke stands in this process; see revoke.c */
typedef enum daxpin_phase {
    DAXPIN_PHASE_NONE,
    DAXPIN_PHASE_DRAIN, /* accesses of this process are still under way */
    DAXPIN_PHASE_ACKS,  /* the guard is still on; or, at the holder, members
                           have not answered yet */
    DAXPIN_PHASE_DONE
} daxpin_phase_t;

/*
 * A file in this process. daxpin_mutex protects the fields. What an access
 * reads without it (control, slots) stays as long as there is a reference.
 */
struct daxpin_file {
    LIST_ENTRY(daxpin_file) link;
    uint64_t           due;       /* ns, of its next step in the loop */
    int                wanted;    /* for a step in the loop's next turn */
    TAILQ_ENTRY(daxpin_file) wanting; /* files that are */
    unsigned           refs;      /* 0: only the loop still needs the file */
    _Atomic int        holder;        /* any thread reads these two; a member
                                         may become the holder */
    _Atomic pid_t      holder_pid;    /* 0: in another pid namespace */
    uint64_t           generation;
    dev_t              dev;       /* as of fstat() */
    uint64_t           ino;
    dev_t              map_dev;   /* as in /proc/self/maps */
    uint64_t           map_ino;
    int                is_dax;
    int                syncs;     /* on DAX: the kernel grants MAP_SYNC */
    int                counts;    /* st_blocks gets smaller only by a loss */
    int                numa_node; /* of its device; -1: not known */
    int                unfilled;  /* holder: a thread has to fill the file when
                                     the lease is there; see description.h */
    int                own;       /* opened by daxpin_file_open(): no member
                                     has the file open by itself */
    char               *path;
    int                fd;        /* the one open file description */
    unsigned           fd_users;  /* threads that use it without the mutex */
    int                late_fd;   /* fd of a revoked file, which the last of
                                     them closes; -1: none */
    daxpin_hold_t      hold;
    struct {
        unsigned       left;      /* how often to unmap the held page again */
        uint64_t       next;      /* ns, when */
    } unmap;
    unsigned           growing;   /* calls that make the file longer; without
                                     a hold meanwhile */
    int                shrinking; /* holder: a thread makes the file shorter, without
                                     the mutex; nobody joins meanwhile */
    int                adopted;   /* this process has mapped the file by itself,
                                     and may have record locks on it */
    int                logged_mode; /* that an exchange has made a descriptor
                                       one for reading and writing */
    int                grew;      /* holder: a process of daxpin has made the
                                     file longer since that was last checked;
                                     member: this one has, or does so, and no
                                     holder was told that it is done */
    int                holdable;  /* holder: a hold works on this file */
    daxpin_guard_t     guard;
    int                on_break;  /* daxpin_on_break_t */
    int                exposed;   /* a process may access the file: a late
                                     writer does not count as a late member */
    daxpin_control_t   *control;
    int                control_fd; /* holder, for members; else -1 */
    daxpin_slot_t      *slots;    /* DAXPIN_SLOTS, private */
    struct daxpin_access *accesses; /* DAXPIN_SLOTS, daxpin_file_accesses();
                                     NULL: not wanted yet */
    uint32_t           fence;
    LIST_HEAD(, daxpin_map) maps; /* the library's own, then the adopted */
    daxpin_ranges_t    adopted_maps;
    daxpin_spans_t     spans;     /* of file->fd's description, as of the last
                                     exchange */
    LIST_HEAD(, daxpin_callback) callbacks;
    int                calling;   /* callbacks are running */
    daxpin_pins_t      pins;
    _Atomic int        faulted;   /* set by the SIGBUS handler */
    _Atomic int        parting;   /* the SIGBUS handler ends access, of a
                                     member by another control page, or has
                                     done so */
    _Atomic int        parted;    /* member: the SIGBUS handler has replaced
                                     the control page by one without a cause */
    _Atomic int        distant;   /* processes of other nodes read the control
                                     page */
    _Atomic dev_t      sink_dev;  /* of the memory after a revoke */
    _Atomic uint64_t   sink_ino;

    daxpin_lease_t     lease;     /* holder */
    daxpin_inode_watch_t     watch;     /* holder */
    int                watch_fd;  /* member: the holder's inotify instance, for
                                     all files of that holder; -1: there is
                                     none. INHERITED: that of the holder before
                                     this one */
    uint64_t           sure_until; /* ns, member: as control->sure_until, by its
                                      own look at the lease */

    struct {
        daxpin_report_events_t counts;
        uint64_t       broken;    /* ns, holder: when the break was noticed that
                                     it has not answered yet; 0: none */
        uint64_t       accesses;  /* by this process, as of the last look */
        uint64_t       look;      /* ns, of the next one */
        unsigned       freed;     /* records of the report, likewise */
    } events;

    struct {
        daxpin_phase_t phase;
        int            seceded;   /* member: has a control page of its own */
        int            orphaned;  /* member: the holder has exited, so the last
                                     member releases the lease */
        uint64_t       deadline;  /* ns, of the phase */
        uint64_t       start;     /* ns */
        pid_t          waiter;    /* holder: it waits for the lease; 0: another
                                     reason, or not known */
    } revoke;

    struct {
        uint64_t       deadline;  /* ns, member: until when another process may
                                     become the holder; 0: there is one */
    } handover;
    int                roster_fd; /* this process's place on the roster */
    int                growth_fd; /* the lock of the growth, which a thread of
                                     this process has; -1: none has */
    pid_t              former_pid; /* holder: the holder before this one */
    uint32_t           turn;      /* of the holder whose page this process has;
                                     0: the first */

    struct {
        daxpin_address_t    address;         /* holder */
        daxpin_listener_t   listener;        /* without a door */
        int                 serves;          /* holder: it has an address */
        int                 logged_full;     /* that it cannot welcome any */
        uint64_t            check;           /* ns, to look for the address */
        int                 logged_lost;     /* that the address is gone */
        daxpin_conn_t       *holder_conn;    /* member */
        struct {
            int             fd;              /* -1: none */
            uint64_t        id;              /* of the loop; 0: no HELLO yet */
            pid_t           pid;
            daxpin_conn_t   *conn;
        } ask;                               /* member: a new holder has to
                                                answer; see handover.c */
        unsigned            notes;           /* member: daxpin_note_t */
        struct daxpin_conns conns;           /* holder: members */
    } share;
};

#define DAXPIN_HOLDER_NAME 64 /* room for its name in a message */

LIST_HEAD(daxpin_files, daxpin_file);

extern struct daxpin_files daxpin_files;

/* Let the loop have the file take a step in its next turn. Caller holds
 * daxpin_mutex. */
void daxpin_file_want(daxpin_file_t *file);

/* The same, and wake the loop. */
void daxpin_file_wake(daxpin_file_t *file);

/* Undo that, because the step is taken now, or the file leaves the list of all. */
void daxpin_file_unwant(daxpin_file_t *file);

/* Return the file that is wanted for the longest time, or NULL, and how many files
 * are. */
daxpin_file_t *daxpin_file_first_wanted(void);
unsigned daxpin_file_count_wanted(void);

/* Return whether processes may join the file: not revoked or released. Caller
 * holds daxpin_mutex. */
int daxpin_file_is_alive(const daxpin_file_t *file);

/* Write the holder, "pid 17", for a message. Return the buffer. */
const char *daxpin_file_holder_name(const daxpin_file_t *file, char *buffer,
                                    size_t size);

/* Return whether the file is made shorter by another thread, for which this thread
 * has waited a moment. *tries_p: how often; 0 at first. Not any more when it has
 * waited long enough. Caller holds daxpin_mutex, which is given up meanwhile: *file
 * may be gone. */
int daxpin_file_await_cut(const daxpin_file_t *file, unsigned *tries_p);

/* Return a live file of this process with one more reference, or NULL. One that is
 * made shorter is waited for, with a bound. Caller does not hold daxpin_mutex. */
daxpin_file_t *daxpin_file_find(dev_t dev, uint64_t ino);

/* Return what daxpin_file_locks() returns. Caller holds daxpin_mutex. */
unsigned daxpin_file_locks_now(const daxpin_file_t *file);

/* Return the length of the file, or its length before the revoke, which closes
 * the descriptor. Caller holds daxpin_mutex. */
size_t daxpin_file_size(const daxpin_file_t *file);

/* Note the length and the blocks that the file must have when the lease comes
 * back. Caller holds daxpin_mutex. */
void daxpin_file_note_size(daxpin_file_t *file);

/* Lock the growth of the file; see daxpin_roster_try_growth(). Return 0, or
 * -errno with a message: -ETIMEDOUT after the deadline (ns). Caller does not hold
 * daxpin_mutex. */
int daxpin_file_lock_growth(daxpin_file_t *file, uint64_t deadline);

/* End that lock. Caller does not hold daxpin_mutex. */
void daxpin_file_unlock_growth(daxpin_file_t *file);

/* Return file->fd for use without daxpin_mutex, or -errno with a message. A
 * revoke does not close it before daxpin_file_return_fd(). The program's record
 * locks on the file would end with the close of a duplicate. Caller does not
 * hold daxpin_mutex. */
int daxpin_file_borrow_fd(daxpin_file_t *file);

/* End the use of file->fd. Caller does not hold daxpin_mutex. */
void daxpin_file_return_fd(daxpin_file_t *file);

/* Close file->fd at the end of a revoke, and end the watch. Caller holds
 * daxpin_mutex. */
void daxpin_file_drop_fd(daxpin_file_t *file);

#endif
