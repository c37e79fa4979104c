/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ACCESS_H_
#define DAXPIN_ACCESS_H_

/* The access check around loads and stores to a leased file */

#include "daxpin/os/control.h"
#include "daxpin.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/*
 * An access is begin, loads and stores, end. Begin and end read the state of
 * the file. Between them the slot of the thread is marked, and a revoke waits
 * until the slot is free. The functions below need no lock and leave no
 * message, and one thread at a time uses a daxpin_access_t.
 */

/* What one thread at a time needs to access one file. The user embeds it,
 * daxpin_access_init() fills it in, and it is valid as long as the user has a
 * reference to the file. If the access has to be careful, fast_open is never
 * DAXPIN_CONTROL_OPEN and no thread reads fast_slot, so that the fast path
 * needs no extra branch. */
typedef struct daxpin_access {
    const _Atomic uint32_t *fast_open;
    daxpin_slot_t          *fast_slot;
    const _Atomic uint32_t *state;
    daxpin_slot_t          *slot;
    uint32_t                careful; /* DAXPIN_CAREFUL_... */
    uint32_t                relaxed; /* daxpin_access_relax() */
    daxpin_file_t          *file; /* NULL: ordinary memory, which is always held */
    _Atomic uint64_t        sure; /* the second (since 1970) in which the lease
                                     cannot expire unseen */
} daxpin_access_t;

#define DAXPIN_CAREFUL_FENCE  1u /* there is no membarrier */
#define DAXPIN_CAREFUL_SHARED 2u /* the slot is a counter for many threads */

/* Fill in an access with an index from daxpin_slot_get(), and unblock SIGBUS in
 * this thread. Caller does not hold daxpin_mutex. */
void daxpin_access_init(daxpin_file_t *file, unsigned slot_index,
                        daxpin_access_t *access);

/* Return the accesses of a file by index from daxpin_slot_get(), which all users
 * of the file in this process share: one thread at a time uses an index. They
 * are not for daxpin_access_relax(). Valid as long as the caller has a reference
 * to the file. Return NULL with a message if there is no memory. Unblocks
 * SIGBUS as above. Caller does not hold daxpin_mutex. */
daxpin_access_t *daxpin_file_accesses(daxpin_file_t *file);

/* Let an access end without a look at the file while the file is lent, because
 * the user calls daxpin_file_check() at each synchronisation. */
void daxpin_access_relax(daxpin_access_t *access);

/* Begin an access if the fast path has not: the file is not open, or the
 * access is careful. Return 0 if access is allowed; else -ESTALE, and the slot
 * is free. */
int daxpin_access_begin_slow(daxpin_access_t *access);

/* End an access if the fast path has not. Return 0 if all stores are in the
 * file, else -ESTALE. Caller does not hold daxpin_mutex. */
int daxpin_access_end_slow(daxpin_access_t *access, uint64_t offset,
                           size_t length);

/* End an access without a check of its result. */
void daxpin_access_leave(daxpin_access_t *access);

/* Check, after an access that is not relaxed, that the lease was whole up to its
 * end, as daxpin_file_check() does. Return 0 or -ESTALE. */
int daxpin_access_check(daxpin_access_t *access);

/* Check at a synchronisation that all accesses of this process before it are in
 * the file: the lease was whole, however dead the holder is, or the file is
 * lent and nobody has changed it. Return 0 or -ESTALE. The wait for a holder
 * that has to decide is 10 s at most. Caller does not hold daxpin_mutex. */
int daxpin_file_check(daxpin_file_t *file);

/* Return whether the lease cannot have expired unseen up to now, in this second,
 * and note the second if it cannot in all of it. No lock is needed. */
int daxpin_access_look(daxpin_access_t *access, uint64_t second);

/* A copy as of memcpy(), with flags 0, that is durable when it returns. Its stores
 * do not read what they overwrite, and leave nothing in caches. */
typedef void *(*daxpin_copy_func_t)(void *dest, const void *source,
                                    size_t length, unsigned flags);

/* Return the copy to a mapped file on persistent memory where caches have to be
 * flushed; NULL otherwise. Source and destination are not to be the same: then
 * nothing is made durable. Caller does not hold daxpin_mutex. */
daxpin_copy_func_t daxpin_file_durable_copy(daxpin_file_t *file);

/* Return the control page, for processes that read it from another node. It is
 * valid until the file is closed. */
const daxpin_control_t *daxpin_file_control(const daxpin_file_t *file);

/* Note that processes of other nodes read the control page after their accesses.
 * The holder looks at the lease more often then, because they wait for a look if
 * they have seen none for long. */
void daxpin_file_set_distant(daxpin_file_t *file);

/* Return whether that was noted. */
int daxpin_file_is_distant(const daxpin_file_t *file);

/* Return whether the range has the control page of a file of this process in
 * it. A member maps the page read-only, so that no RDMA device registers it for
 * writes. Caller does not hold daxpin_mutex. */
int daxpin_range_is_control(uintptr_t addr, size_t length);

/* The fast path is a part of operations of a few nanoseconds */
#define DAXPIN_ACCESS_INLINE __attribute__((always_inline)) inline

/* Return whether the fast path may be used: the file is HELD, or the access is
 * relaxed, and the file is LENT to a reader and watched. */
static DAXPIN_ACCESS_INLINE int
daxpin_access_is_open(const daxpin_access_t *access)
{
    return __builtin_expect(atomic_load_explicit(access->fast_open,
                                                 memory_order_acquire) ==
                            DAXPIN_CONTROL_OPEN, 1);
}

/* Begin an access on the fast path alone. Return 1 if access is allowed. If
 * this returns 0, call daxpin_access_begin(), which may still allow access. */
static DAXPIN_ACCESS_INLINE int daxpin_access_try_begin(daxpin_access_t *access)
{
    atomic_store_explicit(&access->fast_slot->busy, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    return daxpin_access_is_open(access);
}

/* Begin an access. Return 0, or -ESTALE if access is not allowed. */
static DAXPIN_ACCESS_INLINE int daxpin_access_begin(daxpin_access_t *access)
{
    return daxpin_access_try_begin(access) ? 0 :
                                             daxpin_access_begin_slow(access);
}

/* A long copy checks after so many bytes whether it may go on. A revoke waits
 * for so many, some 0.1 ms. In pieces that fit into a processor's cache, memcpy()
 * takes twice as long: only for larger ones does the processor write memory
 * without reading it before. */
#define DAXPIN_ACCESS_CHUNK (1024u * 1024)

/* Return whether the file is HELD, and has been: all accesses before are in the
 * file. If not, daxpin_file_check() has to find out. While all processes of a
 * job are stopped, the kernel ends the lease after fs.lease-break-time, and
 * their next accesses may come before a loop thread has looked. So the second
 * is compared, which costs less than any other clock; if it is the one in which
 * the lease was sure, then it still is. */
static DAXPIN_ACCESS_INLINE int daxpin_access_is_sure(daxpin_access_t *access)
{
    const uint64_t second = (uint64_t)time(NULL);

    /* First the time, then the state: the holder may have found out since */
    return (__builtin_expect(atomic_load_explicit(&access->sure,
                                                  memory_order_relaxed) ==
                             second, 1) ||
            daxpin_access_look(access, second)) &&
           (atomic_load_explicit(access->state, memory_order_acquire) ==
            DAXPIN_STATE_HELD);
}

/* Return whether access is still allowed. */
static inline int daxpin_access_may_go_on(const daxpin_access_t *access)
{
    return daxpin_state_allows(atomic_load_explicit(access->state,
                                                    memory_order_acquire));
}

/* Count an access in a slot that one thread at a time uses: no other one writes
 * the number. */
static DAXPIN_ACCESS_INLINE void daxpin_slot_count(daxpin_slot_t *slot)
{
    const uint64_t count = atomic_load_explicit(&slot->accesses,
                                                memory_order_relaxed);

    atomic_store_explicit(&slot->accesses, count + 1, memory_order_relaxed);
}

/* End an access on the fast path alone. Return 1 if all stores are in the file.
 * If this returns 0, call daxpin_access_end(). */
static DAXPIN_ACCESS_INLINE int daxpin_access_try_end(daxpin_access_t *access)
{
    atomic_signal_fence(memory_order_seq_cst);
    if (!daxpin_access_is_open(access)) {
        return 0;
    }
    daxpin_slot_count(access->fast_slot);
    atomic_store_explicit(&access->fast_slot->busy, 0, memory_order_release);
    return 1;
}

/* End an access. offset, length: what was accessed. Return 0 if all stores are
 * in the file, else -ESTALE. */
static DAXPIN_ACCESS_INLINE int
daxpin_access_end(daxpin_access_t *access, uint64_t offset, size_t length)
{
    return daxpin_access_try_end(access) ?
                   0 :
                   daxpin_access_end_slow(access, offset, length);
}

/* The same for an access that no synchronisation follows: it is not relaxed, and
 * its own end checks that the lease was whole up to then. */
static DAXPIN_ACCESS_INLINE int
daxpin_access_end_sure(daxpin_access_t *access, uint64_t offset, size_t length)
{
    const int ret = daxpin_access_end(access, offset, length);

    return ((ret == 0) && !daxpin_access_is_sure(access)) ?
                   daxpin_access_check(access) :
                   ret;
}

#endif
