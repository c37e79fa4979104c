/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Settings of UCP that daxpin has to know, from the environment and ucx.conf */

#include "daxpin_ucp.h"

#include <string.h>

/* UCX's defaults */
#define UCT_DAXPIN_UCP_MAX_RATIO 4.0

/* Not added to UCX's list of tables, because UCP shows its own */
static ucs_config_field_t uct_daxpin_ucp_config_table[] = {
    {"PROTO_ENABLE", UCT_DAXPIN_UCP_NEW_DEFAULT, "",
     offsetof(uct_daxpin_ucp_config_t, has_new_protocols),
     UCS_CONFIG_TYPE_BOOL},

    {"MULTI_LANE_MAX_RATIO", "4", "",
     offsetof(uct_daxpin_ucp_config_t, max_ratio), UCS_CONFIG_TYPE_DOUBLE},

    {NULL}
};

UCS_CONFIG_DECLARE_TABLE(uct_daxpin_ucp_config_table,
                         "daxpin: settings of UCP", "",
                         uct_daxpin_ucp_config_t)

void uct_daxpin_ucp_config_read(uct_daxpin_ucp_config_t *config)
{
    if (uct_daxpin_config_fill(config, uct_daxpin_ucp_config_table) ==
        UCS_OK) {
        ucs_config_parser_release_opts(config, uct_daxpin_ucp_config_table);
        return;
    }

    config->has_new_protocols = *UCT_DAXPIN_UCP_NEW_DEFAULT == 'y';
    config->max_ratio         = UCT_DAXPIN_UCP_MAX_RATIO;
}
