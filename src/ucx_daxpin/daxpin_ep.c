/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Endpoints: puts, gets and atomics on files under a lease */

#include "daxpin_ep.h"
#include "daxpin_rkey.h"
#include "daxpin/os/thread.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#define uct_daxpin_inline static inline __attribute__((always_inline))

/*
 * How the program gets an error. An operation with a completion never returns
 * an error at once, because some protocols of UCP 1.13 abort the process then.
 * The operation is "in progress", and the next progress of the interface
 * completes it with the error. A posted atomic has no completion, so it returns
 * success. Every failure, also a returned one, is kept until a flush reports
 * it, because programs that do not check single operations check the flush.
 *
 * A failure is kept twice, for the flush of the endpoint and for that of the
 * interface. A flush of UCP's worker may begin with flushing endpoints, but
 * takes its result from the interface alone.
 */

static void uct_daxpin_ep_set_error(uct_daxpin_ep_t *ep, ucs_status_t status)
{
    if (ep->status == UCS_OK) {
        ep->status = status;
    }
    if (ep->iface->status == UCS_OK) {
        ep->iface->status = status;
    }
}

static __attribute__((noinline)) ucs_status_t
uct_daxpin_ep_fail(uct_daxpin_ep_t *ep, ucs_status_t status)
{
    uct_daxpin_ep_set_error(ep, status);
    return status;
}

static __attribute__((noinline)) ucs_status_t
uct_daxpin_ep_fail_later(uct_daxpin_ep_t *ep, uct_completion_t *comp,
                         ucs_status_t status)
{
    uct_daxpin_ep_set_error(ep, status);
    return uct_daxpin_iface_defer(ep->iface, comp, status, 0);
}

static __attribute__((noinline)) ucs_status_t
uct_daxpin_bad_range(const uct_daxpin_rkey_t *rkey, uint64_t remote_addr,
                     size_t length)
{
    if (rkey->status != UCS_OK) {
        return rkey->status; /* unpacking the key reported the reason */
    }

    ucs_error("daxpin: cannot access %zu bytes at 0x%" PRIx64 ": they are not"
              " aligned, or not in the range of the remote key, %" PRIu64
              " bytes at 0x%" PRIx64 " of %s", length, remote_addr,
              rkey->length, rkey->va,
              (rkey->file != NULL) ? daxpin_file_path(rkey->file) :
                                     "this process");
    return UCS_ERR_INVALID_ADDR;
}

uct_daxpin_inline int uct_daxpin_in_range(const uct_daxpin_rkey_t *rkey,
                                          uint64_t remote_addr, size_t length)
{
    uint64_t skip = remote_addr - rkey->va;

    /* An empty buffer behind others may be at the end of the range */
    return (skip <= rkey->length) && (length <= rkey->length - skip);
}

uct_daxpin_inline void *uct_daxpin_address(const uct_daxpin_rkey_t *rkey,
                                           uint64_t remote_addr)
{
    return UCS_PTR_BYTE_OFFSET(rkey->address, remote_addr - rkey->va);
}

uct_daxpin_inline uint64_t uct_daxpin_offset(const uct_daxpin_rkey_t *rkey,
                                             uint64_t remote_addr)
{
    return rkey->offset + (remote_addr - rkey->va);
}

uct_daxpin_inline daxpin_access_t *
uct_daxpin_access(const uct_daxpin_ep_t *ep, uct_daxpin_rkey_t *rkey)
{
    return &rkey->accesses[ep->slot];
}

/* Copy in pieces, so that a revoke need not wait for all of the copy. Return 0
 * if a revoke came in between. */
static __attribute__((noinline)) int
uct_daxpin_copy_long(const daxpin_access_t *access, char *dest,
                     const char *source, size_t length)
{
    size_t chunk;

    while (length > 0) {
        if (!daxpin_access_may_go_on(access)) {
            return 0;
        }

        chunk = (length < DAXPIN_ACCESS_CHUNK) ? length : DAXPIN_ACCESS_CHUNK;
        memcpy(dest, source, chunk);
        dest   += chunk;
        source += chunk;
        length -= chunk;
    }
    return 1;
}

/* Copy into the file (is_put) or out of it */
uct_daxpin_inline ucs_status_t
uct_daxpin_copy(const uct_daxpin_ep_t *ep, uct_daxpin_rkey_t *rkey,
                void *buffer, size_t length, uint64_t remote_addr, int is_put)
{
    void *file_addr = uct_daxpin_address(rkey, remote_addr);
    void *dest      = is_put ? file_addr : buffer;
    void *source    = is_put ? buffer : file_addr;
    daxpin_access_t *access;

    if (ucs_unlikely(!uct_daxpin_in_range(rkey, remote_addr, length))) {
        return uct_daxpin_bad_range(rkey, remote_addr, length);
    }

    access = uct_daxpin_access(ep, rkey);
    if (ucs_unlikely(daxpin_access_begin(access) != 0)) {
        return UCS_ERR_CONNECTION_RESET;
    }

    if (ucs_likely(length <= DAXPIN_ACCESS_CHUNK)) {
        memcpy(dest, source, length);
    } else if (!uct_daxpin_copy_long(access, dest, source, length)) {
        daxpin_access_leave(access);
        return UCS_ERR_CONNECTION_RESET;
    }

    if (ucs_unlikely(daxpin_access_end_sure(access,
                                            uct_daxpin_offset(rkey,
                                                              remote_addr),
                                            length) != 0)) {
        return UCS_ERR_CONNECTION_RESET;
    }
    return UCS_OK;
}

uct_daxpin_inline ucs_status_t
uct_daxpin_copy_iov(const uct_daxpin_ep_t *ep, uct_daxpin_rkey_t *rkey,
                    const uct_iov_t *iov, size_t iovcnt, uint64_t remote_addr,
                    int is_put)
{
    ucs_status_t status = UCS_OK;
    size_t i, length;

    for (i = 0; (i < iovcnt) && (status == UCS_OK); ++i) {
        length       = iov[i].length * iov[i].count;
        status       = uct_daxpin_copy(ep, rkey, iov[i].buffer, length,
                                       remote_addr, is_put);
        remote_addr += length;
    }
    return status;
}

static __attribute__((noinline)) ucs_status_t
uct_daxpin_put_short_any(uct_ep_h tl_ep, const void *buffer, unsigned length,
                         uint64_t remote_addr, uct_rkey_t rkey)
{
    uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    ucs_status_t status;

    status = uct_daxpin_copy(ep, (uct_daxpin_rkey_t*)rkey, (void*)buffer,
                             length, remote_addr, 1);
    if (ucs_unlikely(status != UCS_OK)) {
        return uct_daxpin_ep_fail(ep, status);
    }
    return UCS_OK;
}

/* End the put of a word that the fast path did not end, or that may have met a
 * revoke. The word is not put again: somebody else may have written there since. */
static __attribute__((noinline)) ucs_status_t
uct_daxpin_put_word_end(uct_ep_h tl_ep, uint64_t remote_addr,
                        uct_rkey_t tl_rkey, int is_ended)
{
    uct_daxpin_ep_t *ep     = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    uct_daxpin_rkey_t *rkey = (uct_daxpin_rkey_t*)tl_rkey;
    daxpin_access_t *access = uct_daxpin_access(ep, rkey);
    int ret                 = 0;

    if (!is_ended) {
        ret = daxpin_access_end_slow(access,
                                     uct_daxpin_offset(rkey, remote_addr),
                                     sizeof(uint64_t));
    }
    if ((ret == 0) && !daxpin_access_is_sure(access)) {
        ret = daxpin_access_check(access);
    }
    return (ret == 0) ? UCS_OK :
                        uct_daxpin_ep_fail(ep, UCS_ERR_CONNECTION_RESET);
}

/* Put a word, which most puts that must be fast are, without a call, so that no
 * register has to be saved. */
static ucs_status_t
uct_daxpin_ep_put_short(uct_ep_h tl_ep, const void *buffer, unsigned length,
                        uint64_t remote_addr, uct_rkey_t tl_rkey)
{
    const uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    uct_daxpin_rkey_t *rkey   = (uct_daxpin_rkey_t*)tl_rkey;
    daxpin_access_t *access   = uct_daxpin_access(ep, rkey);

    if ((length != sizeof(uint64_t)) ||
        !uct_daxpin_in_range(rkey, remote_addr, sizeof(uint64_t)) ||
        !daxpin_access_try_begin(access)) {
        return uct_daxpin_put_short_any(tl_ep, buffer, length, remote_addr,
                                        tl_rkey);
    }

    memcpy(uct_daxpin_address(rkey, remote_addr), buffer, sizeof(uint64_t));
    if (ucs_unlikely(!daxpin_access_try_end(access))) {
        return uct_daxpin_put_word_end(tl_ep, remote_addr, tl_rkey, 0);
    }
    if (ucs_unlikely(!daxpin_access_is_sure(access))) {
        return uct_daxpin_put_word_end(tl_ep, remote_addr, tl_rkey, 1);
    }
    return UCS_OK;
}

static ssize_t
uct_daxpin_ep_put_bcopy(uct_ep_h tl_ep, uct_pack_callback_t pack_cb, void *arg,
                        uint64_t remote_addr, uct_rkey_t rkey)
{
    uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    ucs_status_t status;
    size_t length;

    length = pack_cb(ep->iface->bounce, arg);
    status = uct_daxpin_copy(ep, (uct_daxpin_rkey_t*)rkey, ep->iface->bounce,
                             length, remote_addr, 1);
    if (ucs_unlikely(status != UCS_OK)) {
        return uct_daxpin_ep_fail(ep, status);
    }
    return length;
}

/* Put or get: written once, for the compiler to make two functions of */
uct_daxpin_inline ucs_status_t
uct_daxpin_do_zcopy(uct_ep_h tl_ep, const uct_iov_t *iov, size_t iovcnt,
                    uint64_t remote_addr, uct_rkey_t rkey,
                    uct_completion_t *comp, int is_put)
{
    uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    ucs_status_t status;

    status = uct_daxpin_copy_iov(ep, (uct_daxpin_rkey_t*)rkey, iov, iovcnt,
                                 remote_addr, is_put);
    if (ucs_unlikely(status != UCS_OK)) {
        return uct_daxpin_ep_fail_later(ep, comp, status);
    }
    return UCS_OK;
}

static ucs_status_t
uct_daxpin_ep_put_zcopy(uct_ep_h ep, const uct_iov_t *iov, size_t iovcnt,
                        uint64_t remote_addr, uct_rkey_t rkey,
                        uct_completion_t *comp)
{
    return uct_daxpin_do_zcopy(ep, iov, iovcnt, remote_addr, rkey, comp, 1);
}

static ucs_status_t
uct_daxpin_ep_get_zcopy(uct_ep_h ep, const uct_iov_t *iov, size_t iovcnt,
                        uint64_t remote_addr, uct_rkey_t rkey,
                        uct_completion_t *comp)
{
    return uct_daxpin_do_zcopy(ep, iov, iovcnt, remote_addr, rkey, comp, 0);
}

/* The callback runs between begin and end, because a get through the bounce
 * buffer would cost a copy. The callback is memcpy() in UCP, of a chunk at
 * most. */
static ucs_status_t
uct_daxpin_ep_get_bcopy(uct_ep_h tl_ep, uct_unpack_callback_t unpack_cb,
                        void *arg, size_t length, uint64_t remote_addr,
                        uct_rkey_t tl_rkey, uct_completion_t *comp)
{
    uct_daxpin_ep_t *ep     = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    uct_daxpin_rkey_t *rkey = (uct_daxpin_rkey_t*)tl_rkey;
    daxpin_access_t *access;

    if (ucs_unlikely(!uct_daxpin_in_range(rkey, remote_addr, length))) {
        return uct_daxpin_ep_fail_later(ep, comp,
                                        uct_daxpin_bad_range(rkey, remote_addr,
                                                             length));
    }

    access = uct_daxpin_access(ep, rkey);
    if (ucs_unlikely(daxpin_access_begin(access) != 0)) {
        goto err_revoked;
    }

    unpack_cb(arg, uct_daxpin_address(rkey, remote_addr), length);
    if (ucs_unlikely(daxpin_access_end_sure(access,
                                            uct_daxpin_offset(rkey,
                                                              remote_addr),
                                            length) != 0)) {
        goto err_revoked;
    }
    return UCS_OK;

err_revoked:
    return uct_daxpin_ep_fail_later(ep, comp, UCS_ERR_CONNECTION_RESET);
}

/*
 * Atomics: for each width, one function does any of them; the operations of the
 * interface call that function.
 */

/* Do an atomic operation, with the old value in *result_p. Return 0 if there is
 * no such operation. */
#define UCT_DAXPIN_ATOMIC_DO(_bits) \
    static int uct_daxpin_atomic##_bits##_do(_Atomic uint##_bits##_t *target, \
                                             unsigned op, \
                                             uint##_bits##_t value, \
                                             uint##_bits##_t compare, \
                                             uint##_bits##_t *result_p) \
    { \
        switch (op) { \
        case UCT_ATOMIC_OP_ADD: \
            *result_p = atomic_fetch_add(target, value); \
            return 1; \
        case UCT_ATOMIC_OP_AND: \
            *result_p = atomic_fetch_and(target, value); \
            return 1; \
        case UCT_ATOMIC_OP_OR: \
            *result_p = atomic_fetch_or(target, value); \
            return 1; \
        case UCT_ATOMIC_OP_XOR: \
            *result_p = atomic_fetch_xor(target, value); \
            return 1; \
        case UCT_ATOMIC_OP_SWAP: \
            *result_p = atomic_exchange(target, value); \
            return 1; \
        case UCT_ATOMIC_OP_CSWAP: \
            *result_p = compare; \
            atomic_compare_exchange_strong(target, result_p, value); \
            return 1; \
        default: \
            return 0; \
        } \
    }

#define UCT_DAXPIN_ATOMIC_CHECKED(_bits) \
    static ucs_status_t \
    uct_daxpin_atomic##_bits(const uct_daxpin_ep_t *ep, uct_rkey_t tl_rkey, \
                             uint64_t remote_addr, unsigned op, \
                             uint##_bits##_t value, uint##_bits##_t compare, \
                             uint##_bits##_t *result_p) \
    { \
        uct_daxpin_rkey_t *rkey = (uct_daxpin_rkey_t*)tl_rkey; \
        size_t length           = sizeof(*result_p); \
        daxpin_access_t *access; \
        void *target; \
        int known, ret; \
        \
        target = uct_daxpin_address(rkey, remote_addr); \
        if (!uct_daxpin_in_range(rkey, remote_addr, length) || \
            ((uintptr_t)target % length != 0)) { \
            return uct_daxpin_bad_range(rkey, remote_addr, length); \
        } \
        \
        access = uct_daxpin_access(ep, rkey); \
        if (daxpin_access_begin(access) != 0) { \
            return UCS_ERR_CONNECTION_RESET; \
        } \
        \
        known = uct_daxpin_atomic##_bits##_do(target, op, value, compare, \
                                              result_p); \
        ret   = daxpin_access_end_sure(access, \
                                       uct_daxpin_offset(rkey, remote_addr), \
                                       length); \
        return !known ? UCS_ERR_UNSUPPORTED : \
               (ret != 0) ? UCS_ERR_CONNECTION_RESET : UCS_OK; \
    }

#define UCT_DAXPIN_ATOMIC_EP_OPS(_bits) \
    static ucs_status_t \
    uct_daxpin_ep_atomic##_bits##_post(uct_ep_h tl_ep, unsigned op, \
                                       uint##_bits##_t value, \
                                       uint64_t remote_addr, uct_rkey_t rkey) \
    { \
        uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t); \
        uint##_bits##_t dummy; \
        ucs_status_t status; \
        \
        status = uct_daxpin_atomic##_bits(ep, rkey, remote_addr, op, value, 0, \
                                          &dummy); \
        if (status != UCS_OK) { \
            uct_daxpin_ep_set_error(ep, status); \
        } \
        return UCS_OK; \
    } \
    \
    static ucs_status_t \
    uct_daxpin_ep_atomic##_bits##_fetch(uct_ep_h tl_ep, unsigned op, \
                                        uint##_bits##_t value, \
                                        uint##_bits##_t *result, \
                                        uint64_t remote_addr, uct_rkey_t rkey, \
                                        uct_completion_t *comp) \
    { \
        uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t); \
        ucs_status_t status; \
        \
        status = uct_daxpin_atomic##_bits(ep, rkey, remote_addr, op, value, 0, \
                                          result); \
        return (status == UCS_OK) ? UCS_OK : \
               uct_daxpin_ep_fail_later(ep, comp, status); \
    } \
    \
    static ucs_status_t \
    uct_daxpin_ep_atomic_cswap##_bits(uct_ep_h tl_ep, uint##_bits##_t compare, \
                                      uint##_bits##_t swap, \
                                      uint64_t remote_addr, uct_rkey_t rkey, \
                                      uint##_bits##_t *result, \
                                      uct_completion_t *comp) \
    { \
        uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t); \
        ucs_status_t status; \
        \
        status = uct_daxpin_atomic##_bits(ep, rkey, remote_addr, \
                                          UCT_ATOMIC_OP_CSWAP, swap, compare, \
                                          result); \
        return (status == UCS_OK) ? UCS_OK : \
               uct_daxpin_ep_fail_later(ep, comp, status); \
    }

#define UCT_DAXPIN_ATOMICS(_bits) \
    UCT_DAXPIN_ATOMIC_DO(_bits) \
    UCT_DAXPIN_ATOMIC_CHECKED(_bits) \
    UCT_DAXPIN_ATOMIC_EP_OPS(_bits)

UCT_DAXPIN_ATOMICS(32)
UCT_DAXPIN_ATOMICS(64)

/* Report an error by the completion, as the last of what the completion counts.
 * UCP 1.13 loses an error that is returned if the flush of another lane
 * completes later, and an error in the completion if that lane waited for
 * resources. */
static ucs_status_t uct_daxpin_ep_flush(uct_ep_h tl_ep, unsigned flags,
                                        uct_completion_t *comp)
{
    uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);
    ucs_status_t status = ep->status;

    atomic_thread_fence(memory_order_release);
    if ((flags & UCT_FLUSH_FLAG_CANCEL) || (status == UCS_OK)) {
        return UCS_OK; /* the endpoint is given up, or has no error */
    }

    ep->status = UCS_OK;
    return uct_daxpin_iface_defer(ep->iface, comp, status, 1);
}

static ucs_status_t uct_daxpin_ep_fence(uct_ep_h tl_ep, unsigned flags)
{
    atomic_thread_fence(memory_order_seq_cst);
    return UCS_OK;
}

static ucs_status_t uct_daxpin_ep_check(uct_ep_h tl_ep, unsigned flags,
                                        uct_completion_t *comp)
{
    uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);

    return ep->iface->hook->inner.ep_check(ep->inner, flags, comp);
}

/* No operation ever lacks resources, so there is nothing to wait for */
static ucs_status_t uct_daxpin_ep_pending_add(uct_ep_h tl_ep,
                                              uct_pending_req_t *req,
                                              unsigned flags)
{
    return UCS_ERR_BUSY;
}

static void uct_daxpin_ep_pending_purge(uct_ep_h tl_ep,
                                        uct_pending_purge_callback_t cb,
                                        void *arg)
{
}

static ucs_status_t uct_daxpin_ep_create(const uct_ep_params_t *params,
                                         uct_ep_h *ep_p)
{
    uct_daxpin_iface_t *iface = uct_daxpin_iface_find(params->iface);
    uct_daxpin_ep_t *ep;
    ucs_status_t status;

    ep = ucs_calloc(1, sizeof(*ep), "daxpin_ep");
    if (ep == NULL) {
        ucs_error("daxpin: no memory for an endpoint");
        return UCS_ERR_NO_MEMORY;
    }

    daxpin_thread_unblock(); /* Most often this thread will use it */
    status = iface->hook->inner.ep_create(params, &ep->inner);
    if (status != UCS_OK) {
        ucs_free(ep);
        return status;
    }

    ep->super.iface = iface->uct;
    ep->iface       = iface;
    ep->slot        = iface->slot;
    ep->status      = UCS_OK;
    ucs_list_add_tail(&iface->eps, &ep->list);
    *ep_p           = &ep->super;
    return UCS_OK;
}

static void uct_daxpin_ep_destroy(uct_ep_h tl_ep)
{
    uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);

    ucs_list_del(&ep->list);
    ep->iface->hook->inner.ep_destroy(ep->inner);
    ucs_free(ep);
}

void uct_daxpin_ep_set_ops(uct_iface_ops_t *ops)
{
    ops->ep_put_short      = uct_daxpin_ep_put_short;
    ops->ep_put_bcopy      = uct_daxpin_ep_put_bcopy;
    ops->ep_put_zcopy      = uct_daxpin_ep_put_zcopy;
    ops->ep_get_zcopy      = uct_daxpin_ep_get_zcopy;
    ops->ep_get_short      = NULL;
    ops->ep_get_bcopy      = uct_daxpin_ep_get_bcopy;

    /* Not offered. posix's functions would take the endpoint for theirs. */
    ops->ep_am_short       = NULL;
    ops->ep_am_short_iov   = NULL;
    ops->ep_am_bcopy       = NULL;
    ops->ep_am_zcopy       = NULL;

    ops->ep_atomic_cswap32 = uct_daxpin_ep_atomic_cswap32;
    ops->ep_atomic32_post  = uct_daxpin_ep_atomic32_post;
    ops->ep_atomic32_fetch = uct_daxpin_ep_atomic32_fetch;
    ops->ep_atomic_cswap64 = uct_daxpin_ep_atomic_cswap64;
    ops->ep_atomic64_post  = uct_daxpin_ep_atomic64_post;
    ops->ep_atomic64_fetch = uct_daxpin_ep_atomic64_fetch;

    ops->ep_flush          = uct_daxpin_ep_flush;
    ops->ep_fence          = uct_daxpin_ep_fence;
    ops->ep_check          = uct_daxpin_ep_check;
    ops->ep_pending_add    = uct_daxpin_ep_pending_add;
    ops->ep_pending_purge  = uct_daxpin_ep_pending_purge;
    ops->ep_create         = uct_daxpin_ep_create;
    ops->ep_destroy        = uct_daxpin_ep_destroy;
}
