/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Takes remote memory access from transports that go around the lease */

#ifndef UCT_DAXPIN_RESTRICT_H_
#define UCT_DAXPIN_RESTRICT_H_

/*
 * Have some transports offer messages only, those that are registered by now:
 * more may be, when UCX has loaded its plug-ins.
 *
 * Self, a transport of a process to itself, accesses any address without a check
 * and is UCP's first choice for atomics. xpmem maps the memory of another process
 * and knem copies to it; both have keys of all memory that is registered, and
 * xpmem's puts are as fast as daxpin's. Each would go around a revoke. daxpin's
 * transport does remote memory access of files as fast, and that of the process's
 * ordinary memory; for others' ordinary memory there are cma and messages.
 */
void uct_daxpin_restrict(void);

#endif
