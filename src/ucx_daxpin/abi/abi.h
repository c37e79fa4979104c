/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_ABI_H_
#define UCT_DAXPIN_ABI_H_

/*
 * What lies between UCX and its components is not installed and changes with
 * every release. All that daxpin needs of it stands in this directory, one
 * header a release; configure chooses one by the release it found. What the
 * running UCX is must agree: see uct_daxpin_abi_check().
 */

#ifndef DAXPIN_UCX_ABI
#  define DAXPIN_UCX_ABI 113 /* 100 * major + minor, from configure */
#endif

#if DAXPIN_UCX_ABI == 113
#  include "v1_13.h"
#else
#  error "no src/ucx_daxpin/abi header for this release of UCX"
#endif

#define UCT_DAXPIN_ABI_MAJOR (DAXPIN_UCX_ABI / 100)
#define UCT_DAXPIN_ABI_MINOR (DAXPIN_UCX_ABI % 100)

#endif
