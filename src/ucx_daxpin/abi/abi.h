/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* UCX's interface to its components, of the release that daxpin is built for */

#ifndef UCT_DAXPIN_ABI_H_
#define UCT_DAXPIN_ABI_H_

/*
 * The interface between UCX and its components is not installed and changes
 * with every release. What daxpin needs of it is in this directory, one header
 * for each release. configure chooses the header of the release that it finds,
 * and the running UCX must be that release: see uct_daxpin_abi_check().
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
