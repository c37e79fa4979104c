/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_MR_H_
#define UCT_DAXPIN_MR_H_

#include "abi/abi.h"
#include "daxpin/daxpin.h"

struct ibv_mr;

/*
 * A memory region of a NIC over an fsdax file, in one of the ways in which the
 * kernel allows it. It serves the transports of ib as one of their own handles,
 * but is in no cache: given back, it is gone. The file is under lease and the
 * range pinned meanwhile.
 */
typedef struct uct_daxpin_mr {
    uct_ib_mem_t  super;  /* what the transports see */
    struct ibv_mr *mr;
    daxpin_file_t *file;
    daxpin_pin_t  *pin;
    void          *address;
    size_t        length;
    int           is_odp; /* for others only: queue pairs that UCX makes without
                             the kernel's verbs do not survive a page fault of
                             their own buffers. What is local is staged. */
} uct_daxpin_mr_t;

/* What a memory domain of ib can do, found out once */
typedef struct uct_daxpin_mr_caps {
    int        is_known; /* else there was no memory, or no descriptor, for it */
    int        has_odp;  /* registers on demand, as far as it says */
    const char *why_not; /* NULL: it can register files in some way */
} uct_daxpin_mr_caps_t;

void uct_daxpin_mr_query(uct_md_h md, const char *md_name,
                         uct_daxpin_mr_caps_t *caps);

/**
 * Register a range.
 *
 * @param [inout] caps   From uct_daxpin_mr_query(); what turns out not to work
 *                       is not tried again.
 * @param [out]   how_p  Words for the log: the way that was taken, or why none.
 *
 * @return UCS_OK or, when the NIC cannot have the range, an error.
 */
ucs_status_t uct_daxpin_mr_reg(uct_md_h md, uct_daxpin_mr_caps_t *caps,
                               void *address, size_t length,
                               uct_daxpin_mr_t **mr_p, const char **how_p);

ucs_status_t uct_daxpin_mr_dereg(uct_daxpin_mr_t *mr);

/* NULL: a handle of ib's own. Not of one that is NULL itself. */
uct_daxpin_mr_t *uct_daxpin_mr_from_memh(uct_mem_h memh);

#endif
