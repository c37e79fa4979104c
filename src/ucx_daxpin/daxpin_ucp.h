/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Settings of UCP that daxpin has to know, from the environment and ucx.conf */

#ifndef UCT_DAXPIN_UCP_H_
#define UCT_DAXPIN_UCP_H_

#include "abi/adapt.h"

/* A program may read UCP's settings under a prefix of its own before UCX's, as Open
 * MPI does: MPI_UCX_PROTO_ENABLE. Nothing tells which prefix it will be, so all
 * that are in the environment count. */
typedef struct uct_daxpin_ucp_config {
    int    has_new_protocols; /* those that choose by size, for some prefix */
    int    has_old_protocols; /* the others, for some prefix */
    double max_ratio;         /* an operation uses several lanes at once unless
                                 one is faster than the others by this */
} uct_daxpin_ucp_config_t;

/* Read the settings. What UCX cannot read has its default, because UCX reports
 * that itself. */
void uct_daxpin_ucp_config_read(uct_daxpin_ucp_config_t *config);

#endif
