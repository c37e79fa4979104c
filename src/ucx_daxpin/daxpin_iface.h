/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_IFACE_H_
#define UCT_DAXPIN_IFACE_H_

#include "daxpin_md.h"

/* One bcopy put. It is packed into memory of the interface first: how much a
 * callback packs is known only afterwards, when it would be too late to find
 * that it left the range of the remote key; and code of others has no business
 * between the begin and the end of an access. */
#define UCT_DAXPIN_MAX_PUT_BCOPY (64u * 1024)

/* One bcopy get goes to the callback in one piece, so this bounds how long a
 * revoke waits for it */
#define UCT_DAXPIN_MAX_GET_BCOPY (256u * 1024)

#define UCT_DAXPIN_MAX_IOV       16

/* An operation that failed and has a completion to say so later */
typedef struct uct_daxpin_deferred {
    uct_completion_t *comp;
    ucs_status_t     status;
    int              is_last; /* not before what others do for it is done */
} uct_daxpin_deferred_t;

/*
 * What daxpin adds to an interface of posix.
 *
 * The interface that UCP gets is posix's own, with operations replaced in it,
 * and not one of daxpin's around it: UCP 1.13 calls uct_iface_estimate_perf()
 * and uct_iface_open() arranges for uct_iface_vfs_refresh(), and both go by the
 * pointer to internal operations that follows uct_iface_t in uct_base_iface,
 * which posix's functions take for theirs. Endpoints, on the contrary, are
 * daxpin's own (see daxpin_ep.h): nothing in UCX looks into those. They lead
 * to this structure at once; only the rare operations on an interface itself
 * have to look for it in a list.
 */
typedef struct uct_daxpin_iface {
    uct_iface_h           uct;
    uct_iface_ops_t       inner; /* operations of posix */
    double                latency_bias;
    int                   has_rma;    /* does anybody ask for it? */
    unsigned              slot;
    ucs_status_t          status; /* first failure that no flush reported */
    ucs_list_link_t       eps;
    ucs_list_link_t       list;
    uct_daxpin_deferred_t *deferred;
    unsigned              num_deferred;
    unsigned              max_deferred;
    char                  bounce[UCT_DAXPIN_MAX_PUT_BCOPY];
} uct_daxpin_iface_t;

extern uct_tl_t uct_daxpin_tl;

/* Never NULL for an interface that daxpin opened */
uct_daxpin_iface_t *uct_daxpin_iface_find(uct_iface_h uct_iface);

/**
 * Let the next progress complete an operation with an error.
 *
 * @return UCS_INPROGRESS, or @a status if there is nothing to complete or no
 *         memory to remember it.
 */
ucs_status_t uct_daxpin_iface_defer(uct_daxpin_iface_t *iface,
                                    uct_completion_t *comp,
                                    ucs_status_t status, int is_last);

#endif
