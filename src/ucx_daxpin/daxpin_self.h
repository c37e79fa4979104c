/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_SELF_H_
#define UCT_DAXPIN_SELF_H_

/*
 * UCX's transport of a process to itself takes any address for granted and
 * wins every atomic, so that it would go around a revoke. Where daxpin is in
 * use, self keeps messages and gives up remote memory access, which daxpin's
 * transport does as fast, for files and for ordinary memory of the process.
 */
void uct_daxpin_self_restrict(void);

#endif
