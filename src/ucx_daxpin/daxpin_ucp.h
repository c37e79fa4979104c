/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Settings of UCP that daxpin has to know, from the environment and ucx.conf */

#ifndef UCT_DAXPIN_UCP_H_
#define UCT_DAXPIN_UCP_H_

#include "abi/adapt.h"

typedef struct uct_daxpin_ucp_config {
    int    has_new_protocols; /* those that choose by size */
    double max_ratio;         /* an operation uses several lanes at once unless
                                 one is faster than the others by this */
} uct_daxpin_ucp_config_t;

/* Read the settings. What UCX cannot read has its default, because UCX reports
 * that itself. */
void uct_daxpin_ucp_config_read(uct_daxpin_ucp_config_t *config);

#endif
