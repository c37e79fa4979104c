/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * MCA variables that keep Open MPI from using UCX. By its own defaults Open MPI
 * needs a NIC for UCX, and Debian's defaults exclude UCX altogether. A variable
 * that the user set in any way is left as it is.
 *
 * The frameworks register these variables after this hook was opened and read
 * the environment then, so the variables are set in the environment. To read
 * what the user set, this hook registers a variable for a moment.
 */

#include "hook_daxpin.h"

#include "ompi/constants.h"
#include "ompi/mca/hook/base/base.h"
#include "opal/mca/base/mca_base_var.h"
#include "opal/mca/installdirs/installdirs.h"
#include "opal/util/output.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_DAXPIN_ENV_PREFIX  "OMPI_MCA_"
#define HOOK_DAXPIN_SYSTEM_FILE "openmpi-mca-params.conf"
#define HOOK_DAXPIN_NAMES_MAX   4

/* The parts of a variable's name, as it is registered */
typedef struct hook_daxpin_name {
    const char *framework;
    const char *component;
    const char *variable;
} hook_daxpin_name_t;

typedef struct hook_daxpin_var {
    const char        *env;
    const char        *value;
    hook_daxpin_name_t names[HOOK_DAXPIN_NAMES_MAX]; /* and its synonyms */
    int                set;
} hook_daxpin_var_t;

/*
 * osc: osc/rdma would always win against osc/ucx, and it writes into a target's
 * memory without daxpin; with osc/pt2pt the target does that itself. It is an
 * exclusion, not "ucx", so that osc/sm stays available for shared windows.
 */
static hook_daxpin_var_t hook_daxpin_vars[] = {
    { .env   = HOOK_DAXPIN_ENV_PREFIX "pml",
      .value = "ucx",
      .names = { { "pml", NULL, NULL } } },
    { .env   = HOOK_DAXPIN_ENV_PREFIX "osc",
      .value = "^rdma,pt2pt",
      .names = { { "osc", NULL, NULL } } },
    { .env   = HOOK_DAXPIN_ENV_PREFIX "opal_common_ucx_tls",
      .value = "any",
      .names = { { "opal_common", "ucx", "tls" },
                 { "pml", "ucx", "tls" },
                 { "osc", "ucx", "tls" } } },
    { .env   = HOOK_DAXPIN_ENV_PREFIX "opal_common_ucx_devices",
      .value = "any",
      .names = { { "opal_common", "ucx", "devices" },
                 { "pml", "ucx", "devices" },
                 { "osc", "ucx", "devices" } } },
};

#define HOOK_DAXPIN_VAR_COUNT \
    (sizeof(hook_daxpin_vars) / sizeof(hook_daxpin_vars[0]))

static int hook_daxpin_is_system_file(const char *file)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", opal_install_dirs.sysconfdir,
             HOOK_DAXPIN_SYSTEM_FILE);
    return (file != NULL) && (strcmp(file, path) == 0);
}

static int hook_daxpin_is_by_user(const hook_daxpin_name_t *name)
{
    mca_base_var_source_t source  = MCA_BASE_VAR_SOURCE_DEFAULT;
    const char           *file    = NULL;
    char                 *value   = NULL;
    int                   by_user = 1;
    int                   index;

    index = mca_base_var_register("ompi", name->framework, name->component,
                                  name->variable, NULL,
                                  MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0,
                                  OPAL_INFO_LVL_9, MCA_BASE_VAR_SCOPE_READONLY,
                                  &value);
    if (index < 0) {
        return by_user;
    }
    if (mca_base_var_get_value(index, NULL, &source, &file) == OPAL_SUCCESS) {
        by_user = (source != MCA_BASE_VAR_SOURCE_DEFAULT) &&
                  ((source != MCA_BASE_VAR_SOURCE_FILE) ||
                   !hook_daxpin_is_system_file(file));
    }
    (void)mca_base_var_deregister(index);
    return by_user;
}

void hook_daxpin_var_set(void)
{
    hook_daxpin_var_t *var;
    size_t             i, j;

    for (i = 0; i < HOOK_DAXPIN_VAR_COUNT; ++i) {
        var = &hook_daxpin_vars[i];
        for (j = 0;
             (j < HOOK_DAXPIN_NAMES_MAX) && (var->names[j].framework != NULL);
             ++j) {
            if (hook_daxpin_is_by_user(&var->names[j])) {
                break;
            }
        }
        if ((j < HOOK_DAXPIN_NAMES_MAX) && (var->names[j].framework != NULL)) {
            opal_output_verbose(10, ompi_hook_base_framework.framework_output,
                                "hook/daxpin: %s stays as the user set it",
                                var->env + strlen(HOOK_DAXPIN_ENV_PREFIX));
            continue;
        }
        var->set = (setenv(var->env, var->value, 1) == 0);
        opal_output_verbose(10, ompi_hook_base_framework.framework_output,
                            "hook/daxpin: %s is now \"%s\"",
                            var->env + strlen(HOOK_DAXPIN_ENV_PREFIX),
                            var->value);
    }
}

void hook_daxpin_var_unset(void)
{
    size_t i;

    for (i = 0; i < HOOK_DAXPIN_VAR_COUNT; ++i) {
        if (hook_daxpin_vars[i].set) {
            unsetenv(hook_daxpin_vars[i].env);
            hook_daxpin_vars[i].set = 0;
        }
    }
}
