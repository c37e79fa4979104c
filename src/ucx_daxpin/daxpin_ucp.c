/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Settings of UCP that daxpin has to know, from the environment and ucx.conf */

#include "daxpin_ucp.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* UCX's defaults */
#define UCT_DAXPIN_UCP_MAX_RATIO 4.0

/* Prefixes longer than this are nobody's */
#define UCT_DAXPIN_UCP_PREFIX_MAX 64

/* The settings under one prefix */
typedef struct uct_daxpin_ucp_settings {
    int    has_new_protocols;
    double max_ratio;
} uct_daxpin_ucp_settings_t;

/* Not added to UCX's list of tables, because UCP shows its own */
static ucs_config_field_t uct_daxpin_ucp_config_table[] = {
    {"PROTO_ENABLE", UCT_DAXPIN_UCP_NEW_DEFAULT, "",
     offsetof(uct_daxpin_ucp_settings_t, has_new_protocols),
     UCS_CONFIG_TYPE_BOOL},

    {"MULTI_LANE_MAX_RATIO", "4", "",
     offsetof(uct_daxpin_ucp_settings_t, max_ratio), UCS_CONFIG_TYPE_DOUBLE},

    {NULL}
};

UCS_CONFIG_DECLARE_TABLE(uct_daxpin_ucp_config_table,
                         "daxpin: settings of UCP", "",
                         uct_daxpin_ucp_settings_t)

/* Add the settings under a prefix, such as "MPI_UCX_". */
static void uct_daxpin_ucp_config_add(uct_daxpin_ucp_config_t *config,
                                      const char *prefix)
{
    uct_daxpin_ucp_settings_t settings;

    if (uct_daxpin_config_fill(&settings, uct_daxpin_ucp_config_table,
                               prefix) == UCS_OK) {
        ucs_config_parser_release_opts(&settings, uct_daxpin_ucp_config_table);
    } else {
        settings.has_new_protocols = *UCT_DAXPIN_UCP_NEW_DEFAULT == 'y';
        settings.max_ratio         = UCT_DAXPIN_UCP_MAX_RATIO;
    }

    config->has_new_protocols |= settings.has_new_protocols;
    config->has_old_protocols |= !settings.has_new_protocols;
    if (settings.max_ratio > config->max_ratio) {
        config->max_ratio = settings.max_ratio;
    }
}

/* Return the length of the prefix of a variable of the environment: "MPI_UCX_" of
 * "MPI_UCX_PROTO_ENABLE=y". Return 0 if it is no setting from the table with such
 * a prefix, or has UCX's own, which counts under each. */
static size_t uct_daxpin_ucp_prefix(const char *variable)
{
    const char *suffix = strstr(variable, "_" UCS_DEFAULT_ENV_PREFIX);
    const ucs_config_field_t *field;
    const char *name;
    size_t length;

    if ((suffix == NULL) || (suffix > strchrnul(variable, '='))) {
        return 0;
    }

    name = suffix + strlen("_" UCS_DEFAULT_ENV_PREFIX);
    for (field = uct_daxpin_ucp_config_table; field->name != NULL; ++field) {
        length = strlen(field->name);
        if ((strncmp(name, field->name, length) == 0) &&
            (name[length] == '=')) {
            return name - variable;
        }
    }
    return 0;
}

void uct_daxpin_ucp_config_read(uct_daxpin_ucp_config_t *config)
{
    char prefix[UCT_DAXPIN_UCP_PREFIX_MAX];
    char **variable;
    size_t length;

    memset(config, 0, sizeof(*config));
    uct_daxpin_ucp_config_add(config, UCS_DEFAULT_ENV_PREFIX);
    for (variable = environ; *variable != NULL; ++variable) {
        length = uct_daxpin_ucp_prefix(*variable);
        if ((length > 0) && (length < sizeof(prefix))) {
            snprintf(prefix, sizeof(prefix), "%.*s", (int)length, *variable);
            uct_daxpin_ucp_config_add(config, prefix);
        }
    }
}
