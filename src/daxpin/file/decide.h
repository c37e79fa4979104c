/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_DECIDE_H_
#define DAXPIN_DECIDE_H_

/*
 * What the holder of a file does next, as a function of what it remembers and of
 * what it sees. There is no I/O here, no lock and no log: holder.c gathers the
 * facts, asks once, and acts. test/unit/test_decide.c has the table of it, and
 * test/model/daxpin.pml the protocol around it.
 */

#include "daxpin/daxpin.h"

#include <stdint.h>
#include <sys/types.h>

/* Between tries to take the lease: members who join are quick, readers may
 * stay */
#define DAXPIN_TRY_PAUSE_MIN         (100 * DAXPIN_USEC)
#define DAXPIN_TRY_PAUSE_MAX         (1 * DAXPIN_MSEC)
#define DAXPIN_TRY_PAUSE_LENT_MAX    (20 * DAXPIN_MSEC)

/* While a break is delayed: to see whether the waiter is still there */
#define DAXPIN_DELAY_PAUSE           (100 * DAXPIN_MSEC)

/* While a break waits for the answer of the guard daemon */
#define DAXPIN_DELAY_GUARD_PAUSE     (5 * DAXPIN_MSEC)

/* Of lease-break-time: how long a break may be delayed if nothing but the lease
 * keeps the waiter out */
#define DAXPIN_DELAY_PERCENT         75

/* A process that is in a truncate for so long while the lease is lent waits for
 * the hold: a write is over sooner */
#define DAXPIN_CONTENDED_MAX         (300 * DAXPIN_MSEC)

/* Where the guard can stand in for the hold: a process that has waited for so
 * long is let on. While the lease is held, only a process that had the file open
 * before can wait, and the holder looks for it now and then. */
#define DAXPIN_WAIVE_AFTER           (20 * DAXPIN_MSEC)
#define DAXPIN_HELD_PAUSE            (500 * DAXPIN_MSEC)

/* What the holder remembers of the lease, beside the state that members see */
typedef enum daxpin_lease_phase {
    DAXPIN_LEASE_NONE,    /* PENDING: it is not asked for yet */
    DAXPIN_LEASE_FIRST,   /* PENDING: wanted; it was never there */
    DAXPIN_LEASE_AGAIN,   /* PENDING: wanted; given back for a late member */
    DAXPIN_LEASE_WHOLE,   /* HELD: there is no break that the holder knows of */
    DAXPIN_LEASE_DELAYED, /* HELD: a break is delayed */
    DAXPIN_LEASE_LENT,    /* LENT: whatever the file loses ends the lease */
    DAXPIN_LEASE_GUARDED, /* LENT: the guard covered all pins when it was lent,
                             and has since: what is lost was not pinned */
    DAXPIN_LEASE_RELIES,  /* LENT: GUARDED, and only the guard keeps a process
                             that was let in from doing harm */
    DAXPIN_LEASE_REFUSED, /* it was never there, and will not be */
    DAXPIN_LEASE_ENDED    /* it was there */
} daxpin_lease_phase_t;

typedef struct daxpin_lease {
    daxpin_lease_phase_t phase;
    int                  error;      /* REFUSED: errno value */
    blkcnt_t             blocks;     /* that the file had, at least, when the
                                        lease was given back */
    unsigned             timeout_ms; /* of PENDING */
    uint64_t             deadline;   /* ns, of PENDING */
    uint64_t             contended;  /* ns, since when; 0: it is not */
    uint64_t             next;       /* ns, of the next try */
    uint64_t             pause;      /* ns, to the try after that */
    uint64_t             delay_until; /* ns, DELAYED by DAXPIN_ON_BREAK_HOLD; 0:
                                        it is not */
} daxpin_lease_t;

/* What a file has lost while the lease was lent */
typedef enum daxpin_loss {
    DAXPIN_LOSS_NONE,
    DAXPIN_LOSS_SIZE,    /* it is shorter */
    DAXPIN_LOSS_BLOCKS,  /* it has fewer blocks, to a hole or a truncate */
    DAXPIN_LOSS_UNKNOWN  /* fstat() fails */
} daxpin_loss_t;

/* What the holder sees in one turn of the loop. What is dear to find out is only
 * set where the state needs it; 0 elsewhere. */
typedef struct daxpin_facts {
    uint64_t       now;            /* ns */
    daxpin_state_t state;
    int            faulted;        /* an access met the end of the file, or a
                                      hole that cannot be filled */
    int            is_dax;         /* a truncate frees blocks under mappings */
    int            held;           /* this process has placed its hold */
    int            waived;         /* the guard stands in for the hold */
    int            delays;         /* DAXPIN_ON_BREAK_HOLD */
    struct {
        int        covers;         /* all pins of all members are guarded */
        int        stands_in;      /* no pin of this process needs the hold */
        int        coming;         /* the daemon will answer in a moment */
        int        gap;            /* it was away for too long */
    } guard;
    int            contended;      /* a process is in a truncate, hole punch or
                                      write, or waits in it for the hold */
    uint64_t       contended_ns;   /* for so long, as far as we have looked */
    int            broken;         /* HELD: the kernel breaks the lease for: */
    unsigned       readers;
    unsigned       writers;
    pid_t          waiter;         /* the first writer; 0: not known */
    int            sees_all;       /* waiters of other pid namespaces, too */
    int            late;           /* nobody accesses the file, and the waiter
                                      may be a rank that comes late */
    uint64_t       break_time;     /* ns, fs.lease-break-time */
    daxpin_loss_t  loss;           /* LENT, not guarded */
    int            refused;        /* errno value: the lease was asked for in
                                      this turn; 0: it was not */
} daxpin_facts_t;

typedef enum daxpin_cause {
    DAXPIN_CAUSE_FAULT,     /* faulted */
    DAXPIN_CAUSE_LOSS,      /* loss */
    DAXPIN_CAUSE_REFUSED,   /* refused */
    DAXPIN_CAUSE_CONTENDED, /* LENT: a truncate waits for the hold */
    DAXPIN_CAUSE_UNGUARDED, /* LENT: the guard that it relies upon is gone */
    DAXPIN_CAUSE_WAITER     /* HELD: a process truncates or opens the file */
} daxpin_cause_t;

typedef enum daxpin_action_type {
    DAXPIN_ACTION_NOTHING,     /* until there is an event */
    DAXPIN_ACTION_WAIT,        /* until a time, or an event before */
    DAXPIN_ACTION_TRY,         /* ask for the lease, and decide again if it is
                                  refused */
    DAXPIN_ACTION_RETRY,       /* refused: later */
    DAXPIN_ACTION_LEND_READER, /* give the lease back for as long as others have
                                  the file open */
    DAXPIN_ACTION_LEND_WRITER, /* the same, and rely on the guard */
    DAXPIN_ACTION_AWAIT_LATE,  /* PENDING again, if nobody accesses the file */
    DAXPIN_ACTION_DELAY,       /* let the waiter wait until a time */
    DAXPIN_ACTION_WAIVE,       /* have all members drop their holds */
    DAXPIN_ACTION_HOLD_AGAIN,  /* have all members place them again */
    DAXPIN_ACTION_UNGUARD,     /* LENT: the guard is gone, and was not relied
                                  upon */
    DAXPIN_ACTION_REVOKE       /* end all access, for a cause */
} daxpin_action_type_t;

typedef struct daxpin_action {
    daxpin_action_type_t type;
    daxpin_cause_t       cause;       /* REVOKE */
    uint64_t             until;       /* ns; WAIT, RETRY, DELAY */
    uint64_t             delay_until; /* ns; DELAY: daxpin_lease_t's */
} daxpin_action_t;

/* Return the one thing to do now. Pure. */
daxpin_action_t daxpin_decide(const daxpin_lease_t *lease,
                              const daxpin_facts_t *facts);

/* Return whether the lease was ever there. */
int daxpin_lease_was_held(const daxpin_lease_t *lease);

/* Return whether the guard has covered the file since the lease was lent. */
int daxpin_lease_is_guarded(const daxpin_lease_t *lease);

#endif
