/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Memory regions of a NIC over files on fsdax */

#ifndef UCT_DAXPIN_MR_H_
#define UCT_DAXPIN_MR_H_

#include "abi/adapt.h"
#include "daxpin/daxpin.h"

struct ibv_mr;

/*
 * A memory region over an fsdax file, made in one of the ways that the kernel
 * allows. The region is in no cache: it ends when it is given back. Until then
 * the file is under a lease and the range is pinned. Where UCP has no cache, the
 * transports of ib use the region like one of their own handles.
 */
typedef struct uct_daxpin_mr {
    uct_ib_mem_t  super;  /* what the transports see */
    ucs_list_link_t list; /* see daxpin_mapped.h */
    uct_md_h      md;     /* of ib */
    struct ibv_mr *_Atomic mr; /* NULL: released by a revoke */
    daxpin_file_t *file;
    uint64_t      offset; /* in the file */
    daxpin_pin_t  *pin;
    void          *address;
    size_t        length;
    int           is_odp; /* On demand: for others only. Queue pairs that UCX
                             makes without the kernel's verbs do not survive a
                             page fault of a local buffer, so such a buffer is
                             staged. */
} uct_daxpin_mr_t;

/* What a memory domain of ib can do, queried once */
typedef struct uct_daxpin_mr_caps {
    int        is_known; /* 0: no memory or descriptor was left for the query */
    int        has_odp;  /* registers on demand, as a probe has shown */
    const char *why_not; /* NULL: there is a way to register files */
    const char *why_no_dmabuf; /* NULL: not known to take no dma-bufs */
} uct_daxpin_mr_caps_t;

/* Query what a memory domain of ib can do */
void uct_daxpin_mr_query(uct_md_h md, const char *md_name,
                         uct_daxpin_mr_caps_t *caps);

/**
 * Register a range.
 *
 * @param [inout] caps   From uct_daxpin_mr_query(). A way that fails for good
 *                       is removed, so that it is not tried again.
 * @param [out]   how_p  For the log: the way that was taken, or why none was.
 *
 * @return UCS_OK, or an error if the NIC cannot register the range.
 */
ucs_status_t uct_daxpin_mr_reg(uct_md_h md, uct_daxpin_mr_caps_t *caps,
                               void *address, size_t length,
                               uct_daxpin_mr_t **mr_p, const char **how_p);

ucs_status_t uct_daxpin_mr_dereg(uct_daxpin_mr_t *mr);

/* Get the remote key of a memory region. Return 0 if it is for nobody any more: a
 * revoke of the file has released the region, or is under way. */
int uct_daxpin_mr_key(const uct_daxpin_mr_t *mr, uint32_t *rkey_p);

/* Return the memory region of a handle, which must not be NULL. Return NULL if
 * the handle is one of ib's own. */
uct_daxpin_mr_t *uct_daxpin_mr_from_memh(uct_mem_h memh);

#endif
