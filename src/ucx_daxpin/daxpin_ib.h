/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What memory domains of UCX's component ib register of files on fsdax */

#ifndef UCT_DAXPIN_IB_H_
#define UCT_DAXPIN_IB_H_

/*
 * Replace operations of the component, if it is there and that is not done yet.
 * The kernel allows no NIC to keep pages of fsdax files, so UCX fails to map
 * such memory, and Open MPI does not survive that. See daxpin_ib.c for what is
 * done instead.
 *
 * Called when UCX queries memory domains: by then UCX has registered all
 * components, but opened none of those that come after daxpin.
 */
void uct_daxpin_ib_init(void);

#endif
