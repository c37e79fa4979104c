/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Takes remote memory access from UCX's transport self */

#ifndef UCT_DAXPIN_SELF_H_
#define UCT_DAXPIN_SELF_H_

/*
 * Have the transport self offer messages only. Self, a transport of a process
 * to itself, accesses any address without a check and is UCP's first choice for
 * atomics, so it would go around a revoke. daxpin's transport does remote
 * memory access as fast, for files and for the process's ordinary memory.
 */
void uct_daxpin_self_restrict(void);

#endif
