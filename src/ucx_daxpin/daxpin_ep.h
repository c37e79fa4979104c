/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Endpoints: puts, gets and atomics on files under a lease */

#ifndef UCT_DAXPIN_EP_H_
#define UCT_DAXPIN_EP_H_

#include "daxpin_iface.h"

typedef struct uct_daxpin_ep {
    uct_ep_t           super;
    unsigned           slot;   /* of the interface */
    ucs_status_t       status; /* first failure that no flush reported yet */
    uct_daxpin_iface_t *iface;
    uct_ep_h           inner;  /* of posix: checks that the target is alive */
    ucs_list_link_t    list;   /* in the interface */
} uct_daxpin_ep_t;

/* Replace the operations on endpoints of posix */
void uct_daxpin_ep_set_ops(uct_iface_ops_t *ops);

#endif
