/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_CONTROL_H_
#define DAXPIN_CONTROL_H_

/* The control page of a file, and the slots of this process's accesses */

#include "daxpin/daxpin.h"

#include <stdatomic.h>
#include <stdint.h>

/*
 * Slot and state are the two halves of the access check.
 *
 * The holder writes the control page. Every member maps it read-only: the memfd
 * is sealed against any other mapping. The state in the page shows whether an
 * access is allowed; a slot shows that an access is under way.
 *
 * Slots are private to a process: the loop thread of the process waits until
 * they are free, and reports that to the holder. A thread that marks a slot and
 * then reads the state must not be overtaken by a revoke that sets the state
 * and then reads the slot. membarrier(2) on the side of the revoke orders both,
 * so that the fast path has a plain store, a compiler barrier and a plain load.
 * The holder's reaches the threads of all processes that have registered.
 */

#define DAXPIN_CONTROL_MAGIC   0x6461787032ull /* "daxp2" */
#define DAXPIN_CONTROL_SIZE    4096
#define DAXPIN_CONTROL_FENCE   1u /* flags: no membarrier at the holder */
#define DAXPIN_CONTROL_OPEN    ((uint32_t)DAXPIN_STATE_HELD)
#define DAXPIN_CONTROL_CHECKED ((uint32_t)DAXPIN_STATE_LENT)
#define DAXPIN_CAUSE_MAX       1024
#define DAXPIN_PATH_MAX        2048

typedef struct daxpin_control {
    uint64_t         magic;
    uint32_t         flags;
    uint32_t         pid;        /* of the holder */
    uint64_t         dev;
    uint64_t         ino;
    uint64_t         generation;
    uint32_t         on_break;   /* daxpin_on_break_t */
    uint32_t         own;        /* daxpin_file_t's */
    uint32_t         turn;       /* of the holder; see roster.h */
    _Atomic uint64_t length;     /* bytes under lease */
    _Atomic uint64_t checks;     /* while LENT: how often the holder has
                                    checked that the file is whole */
    _Atomic uint32_t state;      /* daxpin_state_t */
    _Atomic uint32_t locks;      /* daxpin_lock_t that the holder has, besides
                                    the lease; members have them, too */
    _Atomic uint32_t growing;    /* the holder makes the file longer. A process
                                    that joins waits with its hold, which would
                                    stop the holder. */
    _Atomic uint32_t waived;     /* 1: locks has the hold, but no process has
                                    placed it: the guard stands in for it */
    _Atomic uint32_t open;       /* DAXPIN_CONTROL_OPEN: an access needs no look
                                    at the file, if a synchronisation has one:
                                    HELD, or LENT and watched.
                                    DAXPIN_CONTROL_CHECKED: an access looks at
                                    the file. 0: access ends, or has ended, and
                                    the state shows that soon */
    _Atomic uint32_t judging;    /* 1: the holder has read from its watch, and
                                    has not yet acted on what it has read */
    _Atomic uint64_t sure_until; /* ns, HELD: the lease cannot have expired
                                    unseen before */
    _Atomic uint64_t sure_for;   /* ns, of it when it was set, for processes of
                                    other nodes, which have other clocks. They
                                    never see it too long: see
                                    daxpin_control_set_sure(). */
    char             cause[DAXPIN_CAUSE_MAX]; /* set before REVOKED */
    char             path[DAXPIN_PATH_MAX];
    _Atomic uint32_t telling;    /* 1: the end of the cause follows soon */
} daxpin_control_t;

#define DAXPIN_SLOTS     64
#define DAXPIN_CACHELINE 64

typedef struct daxpin_slot {
    _Atomic uint32_t busy;
    _Atomic uint64_t accesses; /* that have succeeded */
} __attribute__((aligned(DAXPIN_CACHELINE))) daxpin_slot_t;

/* Return a slot index for a user that is one thread at a time, such as a uct
 * interface. It is the same for all files of the process. Users that find no
 * index free share the last one. Thread-safe. */
unsigned daxpin_slot_get(void);

/* Give the index back. Thread-safe. */
void daxpin_slot_put(unsigned index);

/* Return whether an access may begin or go on in this state. */
static inline int daxpin_state_allows(uint32_t state)
{
    return (state == DAXPIN_STATE_HELD) || (state == DAXPIN_STATE_LENT) ||
           (state == DAXPIN_STATE_RELEASED);
}

/*
 * For the library itself
 */

/* Note until when (ns) the lease cannot have expired unseen; DAXPIN_NEVER: it
 * never does. now: the time of this. */
void daxpin_control_set_sure(daxpin_control_t *control, uint64_t until,
                             uint64_t now);

/* Create the holder's page, mapped writable, and the descriptor that members
 * get. path is for messages. Return 0, or -errno with a message. No lock is
 * needed. */
int daxpin_control_create(const char *path, daxpin_control_t **control_p,
                          int *fd_p);

/* Map the page read-only from the descriptor that a member got, after a check
 * that it is the page of this file. The descriptor stays the caller's. Return
 * 0, or -errno with a message. No lock is needed. */
int daxpin_control_attach(int fd, const daxpin_key_t *key,
                          daxpin_control_t **control_p);

/* Unmap the page. */
void daxpin_control_destroy(daxpin_control_t *control);

/* Set the state. is_open: accesses need no look at the file; a state that
 * allows no access is never open. Only the holder calls this. */
void daxpin_control_set_state(daxpin_control_t *control, daxpin_state_t state,
                              int is_open);

/* Replace the page by a private one with this state, in one step as seen by
 * other threads. Other processes see nothing of it. If there is no memory, the
 * page stays. Async-signal-safe. */
void daxpin_control_detach(daxpin_control_t *control, daxpin_state_t state);

/* Put another page in the place of one, in one step as seen by other threads.
 * Return 0; or -ENOMEM without a message, and the other page is unmapped. */
int daxpin_control_replace(daxpin_control_t *control, daxpin_control_t *other);

/* Wait until any thread of any process that marked its slot and read the old
 * state is seen in the slot. */
void daxpin_control_barrier(void);

/* Return whether accesses of this process have to fence by themselves, because
 * there is no membarrier here or at the holder. */
uint32_t daxpin_control_needs_fence(const daxpin_control_t *control);

/* Return the slots of a file in this process, all free; or NULL. */
daxpin_slot_t *daxpin_slots_create(void);

/* Free the slots. */
void daxpin_slots_destroy(daxpin_slot_t *slots);

/* Return whether an access is under way in any slot. */
int daxpin_slots_busy(const daxpin_slot_t *slots);

/* Return how many accesses have succeeded. */
uint64_t daxpin_slots_count(const daxpin_slot_t *slots);

#endif
