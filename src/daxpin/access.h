/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ACCESS_H_
#define DAXPIN_ACCESS_H_

#include "daxpin/os/control.h"
#include "daxpin.h"

#include <stdatomic.h>
#include <stdint.h>

/*
 * An access to a leased file: begin, loads and stores, end. Both ends look at
 * the state of the file, and the slot of this thread shows the access to a
 * revoke, which waits for it.
 */

/* What one thread at a time needs to access one file: embedded by the user,
 * filled by daxpin_access_init(), valid while he has a reference. Who has to be
 * careful finds a state that is never HELD and a slot that nobody looks at, so
 * that the fast path need not ask. */
typedef struct daxpin_access {
    const _Atomic uint32_t *fast_state;
    daxpin_slot_t          *fast_slot;
    const _Atomic uint32_t *state;
    daxpin_slot_t          *slot;
    uint32_t                careful;
    daxpin_file_t          *file;
} daxpin_access_t;

#define DAXPIN_CAREFUL_FENCE  1u /* there is no membarrier */

#define DAXPIN_CAREFUL_SHARED 2u /* the slot is a counter for many threads */

void daxpin_access_init(daxpin_file_t *file, unsigned slot_index,
                        daxpin_access_t *access);

/* Not HELD, or careful: 0 where access is allowed all the same, else -ESTALE,
 * and the access is left */
int daxpin_access_begin_slow(daxpin_access_t *access);

/* Likewise at the end: 0 if what was done is in the file, else -ESTALE */
int daxpin_access_end_slow(daxpin_access_t *access, uint64_t offset,
                           size_t length);

/* Give an access up */
void daxpin_access_leave(daxpin_access_t *access);

/* Return the control page, for those who can read it from another node. It is
 * there as long as the file is not closed. */
const daxpin_control_t *daxpin_file_control(const daxpin_file_t *file);

/* Return whether the range has the control page of a file of this process in
 * it. A member has it to be read only, and no RDMA device registers it.
 * Thread-safe. */
int daxpin_range_is_control(uintptr_t addr, size_t length);

static inline int daxpin_access_is_held(const daxpin_access_t *access)
{
    return __builtin_expect(atomic_load_explicit(access->fast_state,
                                                 memory_order_acquire) ==
                            DAXPIN_STATE_HELD, 1);
}

/* The fast path alone: 1 where access is allowed. Else daxpin_access_begin() is
 * to be called, which may find that it is all the same. */
static inline int daxpin_access_try_begin(daxpin_access_t *access)
{
    atomic_store_explicit(&access->fast_slot->busy, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    return daxpin_access_is_held(access);
}

static inline int daxpin_access_begin(daxpin_access_t *access)
{
    return daxpin_access_try_begin(access) ? 0 :
                                             daxpin_access_begin_slow(access);
}

/* May a long copy go on? To be asked every DAXPIN_ACCESS_CHUNK bytes. */
#define DAXPIN_ACCESS_CHUNK (256u * 1024)

static inline int daxpin_access_may_go_on(const daxpin_access_t *access)
{
    return daxpin_state_allows(atomic_load_explicit(access->state,
                                                    memory_order_acquire));
}

/* Likewise: 1 where what was done is in the file, and the access has ended.
 * Else daxpin_access_end() is to be called. */
static inline int daxpin_access_try_end(daxpin_access_t *access)
{
    atomic_signal_fence(memory_order_seq_cst);
    if (!daxpin_access_is_held(access)) {
        return 0;
    }
    atomic_store_explicit(&access->fast_slot->busy, 0, memory_order_release);
    return 1;
}

static inline int daxpin_access_end(daxpin_access_t *access, uint64_t offset,
                                    size_t length)
{
    return daxpin_access_try_end(access) ?
                   0 :
                   daxpin_access_end_slow(access, offset, length);
}

#endif
