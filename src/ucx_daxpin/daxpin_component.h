/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_COMPONENT_H_
#define UCT_DAXPIN_COMPONENT_H_

/* What hook_daxpin calls in the plug-in, by name. UCX itself calls nothing
 * here. */

/* Read daxpin's variables from the environment and have libdaxpin follow them,
 * as opening a memory domain does. A program whose messages and windows do
 * without UCX opens none. Return 0, or -1 after a message. */
__attribute__((visibility("default"))) int uct_daxpin_configure(void);

/* Undo what must not outlive UCX. May be called without the former. */
__attribute__((visibility("default"))) void uct_daxpin_unconfigure(void);

#endif
