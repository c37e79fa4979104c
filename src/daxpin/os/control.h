/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_CONTROL_H_
#define DAXPIN_CONTROL_H_

#include "daxpin/daxpin.h"

#include <stdatomic.h>
#include <stdint.h>

/*
 * The control page of a file: written by the holder, mapped read-only by every
 * peer (the memfd is sealed against anything else). And the guard of an access:
 * a slot says "I am in", the state says "you may".
 *
 * Slots are private to a process: its own monitor thread drains them and
 * tells the holder. The thread in the slot and the revoker pay for ordering
 * with membarrier(2) on the revoker's side, so that the fast path has a plain
 * store, a compiler barrier and a plain load.
 */

#define DAXPIN_CONTROL_MAGIC   0x6461787031ull /* "daxp1" */
#define DAXPIN_CONTROL_SIZE    4096
#define DAXPIN_CONTROL_FENCE   1u /* flags: no membarrier at the holder */
#define DAXPIN_CAUSE_MAX       1024
#define DAXPIN_PATH_MAX        2048

typedef struct daxpin_control {
    uint64_t         magic;
    uint32_t         flags;
    uint32_t         pid;        /* the holder */
    uint64_t         dev;
    uint64_t         ino;
    uint64_t         generation;
    _Atomic uint64_t length;     /* bytes under lease */
    _Atomic uint64_t checks;     /* while LENT: how often the holder has seen
                                    that the file is whole */
    _Atomic uint32_t state;      /* daxpin_state_t */
    _Atomic uint32_t locks;      /* daxpin_lock_t that the holder has, besides
                                    the lease; members have them, too */
    _Atomic uint32_t growing;    /* who joins waits: the holder makes the file
                                    longer, and a hold would be in his way */
    _Atomic uint32_t waived;     /* 1: the hold is among them, but nobody has
                                    placed it: the guard stands in for it */
    char             cause[DAXPIN_CAUSE_MAX]; /* set before REVOKED */
    char             path[DAXPIN_PATH_MAX];
} daxpin_control_t;

#define DAXPIN_SLOTS     64
#define DAXPIN_CACHELINE 64

typedef struct daxpin_slot {
    _Atomic uint32_t busy;
    char             pad[DAXPIN_CACHELINE - sizeof(uint32_t)];
} __attribute__((aligned(DAXPIN_CACHELINE))) daxpin_slot_t;

/* A slot index for one thread-at-a-time user (a uct interface). Process-wide;
 * the last index is shared by all who come too late. */
unsigned daxpin_slot_get(void);
void     daxpin_slot_put(unsigned index);

static inline int daxpin_state_allows(uint32_t state)
{
    return (state == DAXPIN_STATE_HELD) || (state == DAXPIN_STATE_LENT) ||
           (state == DAXPIN_STATE_RELEASED);
}

/*
 * For the library itself
 */

/* The holder's page and the descriptor that peers get: 0 or -errno with a
 * message */
int daxpin_control_create(daxpin_control_t **control_p, int *fd_p);

/* A peer's view of it, checked */
int daxpin_control_attach(int fd, const daxpin_key_t *key,
                          daxpin_control_t **control_p);

void daxpin_control_destroy(daxpin_control_t *control);

/* A descriptor of the page for one peer, with a shared lock on it that says he
 * is in: taken by the holder, so that there is no moment without; it goes with
 * the peer's process. -1 with errno. */
int daxpin_control_open_member(int fd);

/* The peer has left the file: is nobody else in any more? */
int daxpin_control_leave(int member_fd);

/* Holder only */
void daxpin_control_set_state(daxpin_control_t *control, daxpin_state_t state);

/* Anybody, for himself only, in one step as seen by readers: the page becomes
 * a private one that says so. Async-signal-safe. */
void daxpin_control_detach(daxpin_control_t *control, daxpin_state_t state);

/* After this, who marked a slot and saw the old state is seen in the slot */
void daxpin_control_barrier(void);

/* Accesses of this process have to fence by themselves */
uint32_t daxpin_control_needs_fence(const daxpin_control_t *control);

daxpin_slot_t *daxpin_slots_create(void);
void           daxpin_slots_destroy(daxpin_slot_t *slots);
int            daxpin_slots_busy(const daxpin_slot_t *slots);

#endif
