/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_IB_H_
#define UCT_DAXPIN_IB_H_

/*
 * Registrations that the memory domains of UCX's component ib make of fsdax
 * files. The kernel lets no NIC keep such pages, UCX then fails to map memory,
 * and Open MPI does not survive that. See daxpin_ib.c for what is done instead.
 */

/* See to the component, if it is there and was not seen to yet: when UCX asks
 * for memory domains it has registered all components, but opened none of those
 * that come after daxpin */
void uct_daxpin_ib_init(void);

#endif
