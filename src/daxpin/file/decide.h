/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_DECIDE_H_
#define DAXPIN_DECIDE_H_

/*
 * The decision of the holder what to do next, a pure function of what the
 * holder remembers and of the facts that it has gathered.
 *
 * There is no I/O here, no lock and no log: holder.c gathers the facts, calls
 * daxpin_decide() and acts. test/unit/test_decide.c has the table of decisions,
 * and test/model/daxpin.pml the protocol around them.
 */

#include "daxpin/daxpin.h"

#include <stdint.h>
#include <sys/types.h>

/* Pauses between tries to take the lease: a process that joins is quick, a
 * reader may stay */
#define DAXPIN_TRY_PAUSE_MIN         (100 * DAXPIN_USEC)
#define DAXPIN_TRY_PAUSE_MAX         (1 * DAXPIN_MSEC)
#define DAXPIN_TRY_PAUSE_LENT_MAX    (20 * DAXPIN_MSEC)

/* While a break is delayed: the pause until the next check of the waiter */
#define DAXPIN_DELAY_PAUSE           (100 * DAXPIN_MSEC)

/* The same while a break waits for the answer of the guard daemon */
#define DAXPIN_DELAY_GUARD_PAUSE     (5 * DAXPIN_MSEC)

/* The part of lease-break-time by which a break may be delayed, if nothing but
 * the lease keeps the waiter out */
#define DAXPIN_DELAY_PERCENT         75

/* A process that is in a truncate or a write for so long, while the lease is
 * lent, waits for the hold, because a write ends sooner */
#define DAXPIN_CONTENDED_MAX         (300 * DAXPIN_MSEC)

/* Where the guard can stand in for the hold: the hold is waived after a process
 * has waited for so long */
#define DAXPIN_WAIVE_AFTER           (20 * DAXPIN_MSEC)

/* The pause between checks for such a process while the lease is held: only a
 * process that had the file open before can wait then */
#define DAXPIN_HELD_PAUSE            (500 * DAXPIN_MSEC)

/* The pause between looks at a lease that is held, because a signal may be
 * lost; shorter where the lease expires soon */
#define DAXPIN_LOOK_PAUSE            (5 * DAXPIN_SEC)

/* The same where processes of other nodes read the control page. They have to
 * see a new look if they have not read it for a while. */
#define DAXPIN_LOOK_PAUSE_DISTANT    (1 * DAXPIN_SEC)

/* A break whose waiters cannot be seen for so long ends access, with a pause
 * between looks */
#define DAXPIN_UNSEEN_MAX            (50 * DAXPIN_MSEC)
#define DAXPIN_UNSEEN_PAUSE          (5 * DAXPIN_MSEC)

/* Reads of /proc/locks until the lease must be in it */
#define DAXPIN_SIGHT_TRIES           4

/* The pause between looks for members that have not followed yet, and at a
 * lease that cannot be renewed, because no signal reports that it breaks */
#define DAXPIN_LOST_PAUSE            (2 * DAXPIN_MSEC)
#define DAXPIN_INHERITED_PAUSE       (100 * DAXPIN_MSEC)

/* How long such members are waited for where no lease expires */
#define DAXPIN_LOST_MAX              (30 * DAXPIN_SEC)

/* The pause between searches of all processes for one that may have written */
#define DAXPIN_SCAN_PAUSE            (20 * DAXPIN_MSEC)
#define DAXPIN_SCAN_SHARE            4 /* times as long as a search took */
#define DAXPIN_SCAN_PAUSE_MAX        DAXPIN_SEC /* synchronisations wait */

/* What the holder remembers of the lease, beside the state that members read */
typedef enum daxpin_lease_phase {
    DAXPIN_LEASE_NONE,    /* PENDING: the lease is not wanted yet */
    DAXPIN_LEASE_FIRST,   /* PENDING: wanted; it was never held */
    DAXPIN_LEASE_FILLING, /* PENDING: taken, and the file is being filled */
    DAXPIN_LEASE_AGAIN,   /* PENDING: wanted; given back for a late member */
    DAXPIN_LEASE_WHOLE,   /* HELD: no break is known */
    DAXPIN_LEASE_INHERITED, /* HELD: as the holder before this one has left it;
                             /proc/locks does not show its waiters */
    DAXPIN_LEASE_DELAYED, /* HELD: a break is delayed */
    DAXPIN_LEASE_LENT,    /* LENT: any loss of the file ends the lease */
    DAXPIN_LEASE_GUARDED, /* LENT: the guard has covered all pins ever since the
                             lease was lent, so no pinned byte is lost */
    DAXPIN_LEASE_RELIES,  /* LENT: GUARDED, and only the guard keeps a process
                             that was let in from doing harm */
    DAXPIN_LEASE_REFUSED, /* it was never held, and will not be */
    DAXPIN_LEASE_ENDED    /* it was held */
} daxpin_lease_phase_t;

typedef struct daxpin_lease {
    daxpin_lease_phase_t phase;
    int                  error;      /* REFUSED: errno value */
    blkcnt_t             blocks;     /* least number of blocks of the file when
                                        the lease was given back */
    unsigned             timeout_ms; /* of PENDING */
    uint64_t             deadline;   /* ns, of PENDING */
    uint64_t             contended;  /* ns, since when a process waits for the
                                        hold; 0: none waits */
    uint64_t             next;       /* ns, of the next try */
    uint64_t             pause;      /* ns, between that try and another */
    uint64_t             delay_until; /* ns, DELAYED by DAXPIN_ON_BREAK_HOLD; 0:
                                        it is not */
    uint64_t             whole;      /* ns, when the lease was last seen */
    uint64_t             look_again; /* ns, of the next look at it */
    uint64_t             unseen;     /* ns, since when the waiters of a break
                                        cannot be seen; 0: they can */
    int                  unwatched;  /* the watch was not in place when the
                                        lease was last whole */
    unsigned             seen;       /* LENT: DAXPIN_WATCH_..., by the watch */
    int                  suspicious; /* LENT: there was a change, and no search
                                        for the process that made it */
    uint64_t             scan;       /* ns, LENT: of the next such search */
    uint64_t             lost_until; /* ns, after a hand-over: until when
                                        members of the holder before this one
                                        may be sure of the lease */
    int                  joined;     /* LENT: a member has joined, which may
                                        have had the file open for writing */
} daxpin_lease_t;

/* The loss of a file while the lease was lent */
typedef enum daxpin_loss {
    DAXPIN_LOSS_NONE,
    DAXPIN_LOSS_SIZE,    /* the file is shorter */
    DAXPIN_LOSS_BLOCKS,  /* the file has fewer blocks: a hole or a truncate */
    DAXPIN_LOSS_UNKNOWN  /* fstat() fails */
} daxpin_loss_t;

/* What is known of a break. Silence is not known to be harmless. */
typedef enum daxpin_break {
    DAXPIN_BREAK_NONE,    /* the lease is whole */
    DAXPIN_BREAK_SEEN,    /* readers and writers are those that wait */
    DAXPIN_BREAK_UNSEEN,  /* it cannot be found out which processes wait */
    DAXPIN_BREAK_EXPIRED  /* the kernel has ended the lease, and has let all
                             waiters in: this process was stopped */
} daxpin_break_t;

/* The facts of one turn of the loop. A fact that is expensive to gather is 0
 * unless the state needs it. */
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
        int        coming;         /* the daemon will answer soon */
        int        gap;            /* the daemon was away for too long */
    } guard;
    int            contended;      /* a process is in a truncate, hole punch or
                                      write, or waits in it for the hold */
    uint64_t       contended_ns;   /* since the holder noticed that process */
    daxpin_break_t broken;         /* HELD */
    uint64_t       unseen_ns;      /* since when it is DAXPIN_BREAK_UNSEEN */
    unsigned       readers;        /* that wait for the break */
    unsigned       writers;        /* that wait for the break */
    pid_t          waiter;         /* the first writer; 0: not known */
    int            watched;        /* the watch has been in place since the
                                      lease was whole */
    int            changed;        /* the watch has seen that another process
                                      has written to the file, or could have */
    int            late;           /* no process accesses the file, and the
                                      waiter may be a rank that comes late */
    int            lost;           /* INHERITED: members of the holder before
                                      this one have not followed, and may be
                                      sure of the lease */
    uint64_t       break_time;     /* ns, fs.lease-break-time */
    daxpin_loss_t  loss;           /* LENT, not guarded */
    int            refused;        /* errno value of the try to take the lease
                                      in this turn; 0: there was no try */
} daxpin_facts_t;

typedef enum daxpin_cause {
    DAXPIN_CAUSE_FAULT,     /* faulted */
    DAXPIN_CAUSE_LOSS,      /* loss */
    DAXPIN_CAUSE_REFUSED,   /* refused */
    DAXPIN_CAUSE_CONTENDED, /* LENT: a truncate waits for the hold */
    DAXPIN_CAUSE_UNGUARDED, /* LENT: RELIES, and the guard is gone */
    DAXPIN_CAUSE_WAITER,    /* HELD: a process truncates or opens the file */
    DAXPIN_CAUSE_UNSEEN,    /* HELD: DAXPIN_BREAK_UNSEEN */
    DAXPIN_CAUSE_INHERITED, /* HELD: INHERITED, and it is broken */
    DAXPIN_CAUSE_EXPIRED,   /* HELD: DAXPIN_BREAK_EXPIRED, and the file was
                               changed or could have been */
    DAXPIN_CAUSE_UNWATCHED, /* a reader must not be let in without a watch */
    DAXPIN_CAUSE_CHANGED    /* LENT: changed */
} daxpin_cause_t;

typedef enum daxpin_action_type {
    DAXPIN_ACTION_NOTHING,     /* wait for an event */
    DAXPIN_ACTION_WAIT,        /* wait until a time, or for an event before */
    DAXPIN_ACTION_TRY,         /* try to take the lease, and decide again if it
                                  is refused */
    DAXPIN_ACTION_RETRY,       /* refused: try again later */
    DAXPIN_ACTION_LEND_READER, /* give the lease back for as long as other
                                  processes have the file open */
    DAXPIN_ACTION_LEND_WRITER, /* the same, and rely on the guard */
    DAXPIN_ACTION_RENEW,       /* give the lease back, to take it in the name of
                                  this process */
    DAXPIN_ACTION_AWAIT_LATE,  /* PENDING again, if no process accesses the
                                  file */
    DAXPIN_ACTION_DELAY,       /* let the waiter wait until a time */
    DAXPIN_ACTION_WAIVE,       /* have all members drop their holds */
    DAXPIN_ACTION_HOLD_AGAIN,  /* have all members place their holds again */
    DAXPIN_ACTION_UNGUARD,     /* LENT: the guard is gone; GUARDED ends */
    DAXPIN_ACTION_REVOKE       /* end all access, for a cause */
} daxpin_action_type_t;

typedef struct daxpin_action {
    daxpin_action_type_t type;
    daxpin_cause_t       cause;       /* REVOKE */
    uint64_t             until;       /* ns; WAIT, RETRY, DELAY */
    uint64_t             delay_until; /* ns; DELAY: daxpin_lease_t's */
} daxpin_action_t;

/* Return the one action for these facts. Pure; needs no lock. */
daxpin_action_t daxpin_decide(const daxpin_lease_t *lease,
                              const daxpin_facts_t *facts);

/* Return whether the lease may be lent: where a truncate frees blocks under a
 * mapping, only if the hold or the guard keeps them. Pure; needs no lock. */
int daxpin_may_lend(const daxpin_facts_t *facts);

/* Return whether the lease was ever held, and the file filled. */
int daxpin_lease_was_held(const daxpin_lease_t *lease);

/* Return whether the guard has covered the file since the lease was lent. */
int daxpin_lease_is_guarded(const daxpin_lease_t *lease);

#endif
