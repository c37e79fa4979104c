/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The transport, made from posix: opens, queries and closes interfaces */

#ifndef UCT_DAXPIN_TL_H_
#define UCT_DAXPIN_TL_H_

#include "abi/adapt.h"

extern uct_tl_t uct_daxpin_tl;

#endif
