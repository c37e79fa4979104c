/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FILE_H_
#define DAXPIN_FILE_H_

#include "daxpin/daxpin.h"
#include "daxpin/os/control.h"
#include "daxpin/os/hold.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/ranges.h"
#include "decide.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A range of this process's memory that shows the file and is replaced at a
 * revoke: a mapping of the library's own, or one of the application. */
typedef struct daxpin_map {
    LIST_ENTRY(daxpin_map) link;
    void              *addr;
    size_t            length;
    uint64_t          offset;
    int               prot;
    unsigned          refs;
    struct pmem2_map  *pmem2; /* of libpmem2; NULL: adopted */
} daxpin_map_t;

typedef struct daxpin_callback {
    LIST_ENTRY(daxpin_callback) link;
    daxpin_revoke_cb_t cb;
    void               *arg;
} daxpin_callback_t;

/* The pins of one file in this process */
typedef struct daxpin_pins {
    daxpin_ranges_t ranges;
    size_t          kmods;   /* those that the pin module has pinned */
    int             watched; /* one of them tells of breaks of the lease */
} daxpin_pins_t;

/* What a member's pins of a file have; told to the holder */
typedef enum daxpin_guard_status {
    DAXPIN_GUARD_STATUS_NONE,      /* no pins: nothing to be guarded */
    DAXPIN_GUARD_STATUS_GUARDED,
    DAXPIN_GUARD_STATUS_UNGUARDED
} daxpin_guard_status_t;

/* Something to tell; see guard.c */
typedef struct daxpin_guard_request daxpin_guard_request_t;

typedef struct daxpin_guard {
    int      fd;               /* -1: not connected */
    uint64_t id;               /* of the monitor */
    int      synced;           /* it knew all pins, once */
    uint64_t grace;            /* ns; all stays guarded when it has died */
    uint64_t grace_until;      /* ns; it has died, 0: it has not; until then
                                  all that it knew is guarded */
    int      grace_extra;      /* there is more than it knew */
    int      fresh;            /* connected, and no answer yet */
    int      gap;              /* it was not guarded for a while; the holder
                                  clears it */
    int      stalled;          /* it does not answer */
    int      status;           /* daxpin_guard_status_t, as told */
    int      complained;       /* errno value that was logged last */
    unsigned unanswered;
    uint64_t retry;            /* ns; to connect again */
    uint64_t pause;            /* ns */
    daxpin_guard_request_t *queue; /* not sent yet */
    size_t   queued;
    size_t   capacity;
} daxpin_guard_t;

/* A process at the other end of a socket of the file; see share.h */
typedef struct daxpin_conn daxpin_conn_t;

/* What the holder has said to this member, and member.c has not acted on yet */
typedef enum daxpin_note {
    DAXPIN_NOTE_BREAK = 1 << 0, /* end all access */
    DAXPIN_NOTE_WAIVE = 1 << 1, /* the guard stands in for the hold */
    DAXPIN_NOTE_HOLD  = 1 << 2, /* the guard does not any more */
    DAXPIN_NOTE_GONE  = 1 << 3  /* its connection has ended */
} daxpin_note_t;

/* Where a revoke stands in this process; see revoke.c */
typedef enum daxpin_phase {
    DAXPIN_PHASE_NONE,
    DAXPIN_PHASE_DRAIN, /* accesses of this process are still under way */
    DAXPIN_PHASE_ACKS,  /* holder: peers have not answered yet */
    DAXPIN_PHASE_DONE
} daxpin_phase_t;

/*
 * A file in this process. Fields are protected by daxpin_mutex; what the fast
 * path reads (control, slots) stays as long as there is a reference.
 */
struct daxpin_file {
    LIST_ENTRY(daxpin_file) link;
    unsigned           refs;      /* 0: only the monitor still needs it */
    int                holder;
    pid_t              holder_pid;
    uint64_t           generation;
    dev_t              dev;       /* as of fstat() */
    uint64_t           ino;
    dev_t              map_dev;   /* as in /proc/self/maps */
    uint64_t           map_ino;
    int                is_dax;
    int                numa_node; /* of its device; -1: not known */
    int                own;       /* opened by daxpin_file_open(): no process
                                     has it open by itself, or joins */
    char               *path;
    int                fd;        /* the one open file description */
    daxpin_hold_t      hold;
    unsigned           growing;   /* calls at it: without a hold so long */
    int                holdable;  /* holder: a hold works there */
    daxpin_guard_t     guard;
    int                on_break;  /* daxpin_on_break_t */
    int                exposed;   /* somebody may access: a late writer is not
                                     taken for a late member any more */
    daxpin_control_t   *control;
    int                control_fd;
    daxpin_slot_t      *slots;    /* DAXPIN_SLOTS, private */
    uint32_t           fence;
    LIST_HEAD(, daxpin_map) maps;
    LIST_HEAD(, daxpin_callback) callbacks;
    int                calling;   /* callbacks are running */
    daxpin_pins_t      pins;
    _Atomic int        faulted;   /* set by the SIGBUS handler */

    daxpin_lease_t     lease;     /* holder */

    struct {
        daxpin_phase_t phase;
        int            seceded;   /* peer: has a control page of its own */
        int            unlock;    /* peer of a dead holder: F_UNLCK too */
        uint64_t       deadline;  /* ns */
        uint64_t       start;     /* ns, for the log */
    } revoke;

    struct {
        int                 listen_fd;       /* holder */
        uint64_t            listen_id;
        uint64_t            retry;           /* ns, to listen again */
        daxpin_conn_t       *holder_conn;    /* member */
        unsigned            notes;           /* member: daxpin_note_t */
        LIST_HEAD(, daxpin_conn) conns;      /* holder */
    } share;
};

LIST_HEAD(daxpin_files, daxpin_file);

extern struct daxpin_files daxpin_files;

/* The file is usable by newcomers: not revoked or released */
int daxpin_file_is_alive(const daxpin_file_t *file);

/* A live file of this process with one more reference, or NULL. Without
 * daxpin_mutex. */
daxpin_file_t *daxpin_file_find(dev_t dev, uint64_t ino);

/* daxpin_file_locks() with daxpin_mutex held */
unsigned daxpin_file_locks_now(const daxpin_file_t *file);

/* Return the length of the file, or what it was at the revoke, which closes the
 * descriptor. Caller holds daxpin_mutex. */
size_t daxpin_file_size(const daxpin_file_t *file);

/* Note what the file has to have, at least, when the lease comes back. Caller
 * holds daxpin_mutex. */
void daxpin_file_note_size(daxpin_file_t *file);

/* The open file description, to be closed by the caller, who has not got
 * daxpin_mutex: a revoke closes file->fd at any time. -errno with a message. */
int daxpin_file_dup(const daxpin_file_t *file);

/* Close the open file description, at the end of a revoke */
void daxpin_file_drop_fd(daxpin_file_t *file);

#endif
