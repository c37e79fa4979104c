/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What daxpin adds to an interface of posix: state, and deferred completions */

#ifndef UCT_DAXPIN_IFACE_H_
#define UCT_DAXPIN_IFACE_H_

#include "daxpin_hook.h"

/* Limit of one bcopy put. The data is packed into memory of the interface
 * first, for two reasons: how much a callback packs is known only afterwards,
 * too late to find that it left the range of the remote key; and code of others
 * must not run between the begin and the end of an access. */
#define UCT_DAXPIN_MAX_PUT_BCOPY (64u * 1024)

/* Limit of one bcopy get, which the callback gets in one piece. So this bounds
 * how long a revoke waits for the get. */
#define UCT_DAXPIN_MAX_GET_BCOPY (256u * 1024)

#define UCT_DAXPIN_MAX_IOV       16

/* An operation that failed and whose completion is to report that later */
typedef struct uct_daxpin_deferred {
    uct_completion_t *comp;
    ucs_status_t     status;
    int              is_last; /* after all others that the completion counts */
} uct_daxpin_deferred_t;

/*
 * What daxpin adds to an interface of posix.
 *
 * The interface that UCP gets is posix's own, with operations replaced in it,
 * and not one of daxpin's around it: UCP calls uct_iface_estimate_perf() and
 * uct_iface_open() arranges for uct_iface_vfs_refresh(). Both use the pointer
 * to internal operations that follows uct_iface_t in uct_base_iface, and
 * posix's functions expect an interface of theirs there. Endpoints, on the contrary, are
 * daxpin's own (see daxpin_ep.h), because nothing in UCX reads them. They point
 * to this structure; only the rare operations on an interface itself have to
 * search for it.
 */
typedef struct uct_daxpin_iface {
    uct_iface_h           uct;
    uct_daxpin_hook_t     *hook;
    uct_daxpin_internal_ops_t internal_ops;
    uct_daxpin_internal_ops_t *inner_internal_ops; /* posix's */
    double                latency_bias;
    double                perf_factor;   /* see daxpin_tl.c */
    int                   has_zcopy;
    int                   has_rma; /* UCP asked for remote memory access */
    unsigned              slot;
    ucs_status_t          status;  /* first failure that no flush reported */
    ucs_list_link_t       eps;
    uct_daxpin_deferred_t *deferred;
    unsigned              num_deferred;
    unsigned              max_deferred;
    char                  bounce[UCT_DAXPIN_MAX_PUT_BCOPY];
} uct_daxpin_iface_t;

/* Return the structure of an interface that daxpin opened */
uct_daxpin_iface_t *uct_daxpin_iface_find(uct_iface_h uct_iface);

/**
 * Have the next progress complete an operation with an error.
 *
 * @return UCS_INPROGRESS, or @a status if there is no completion, or no memory
 *         left to keep it.
 */
ucs_status_t uct_daxpin_iface_defer(uct_daxpin_iface_t *iface,
                                    uct_completion_t *comp,
                                    ucs_status_t status, int is_last);

/* Complete what is deferred. Return the number of operations. */
unsigned uct_daxpin_iface_complete(uct_daxpin_iface_t *iface);

/* The same before the interface is closed, also of operations whose completion
 * counts others that may never end */
void uct_daxpin_iface_complete_last(uct_daxpin_iface_t *iface);

/* The interface's operation of this name. Nothing of posix's progress is
 * needed: no active message arrives, and none waits to be sent. */
unsigned uct_daxpin_iface_progress(uct_iface_h uct_iface);

#endif
