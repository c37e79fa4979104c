/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * MCA variables that osc_daxpin needs. Windows and messages that daxpin has
 * nothing to do with keep the components that they have without it, so only
 * this is changed:
 *
 *   osc   Debian's defaults exclude osc/ucx, which is the inner component
 *         between nodes. It is let in again, but only as the inner component,
 *         and from Open MPI 5.0 on only in jobs that have several nodes.
 *   opal_common_ucx_tls, opal_common_ucx_devices
 *         By its own defaults Open MPI uses pml/ucx only with certain devices.
 *         If the user has named pml/ucx, any will do.
 *
 * A variable that the user set in any way is left as it is. The frameworks
 * register these variables after this hook was opened and read the environment
 * then, so the variables are set in the environment. To read what the user set,
 * this hook registers a variable for a moment.
 */

#include "hook_daxpin.h"

#include "ompi/constants.h"
#include "ompi/mca/hook/base/base.h"
#include "opal/mca/base/mca_base_var.h"
#include "opal/mca/installdirs/installdirs.h"
#include "opal/util/argv.h"
#include "opal/util/output.h"

#include "ompi_mca/ompi_release.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_DAXPIN_ENV_PREFIX  "OMPI_MCA_"
#define HOOK_DAXPIN_SYSTEM_FILE "openmpi-mca-params.conf"
#define HOOK_DAXPIN_VALUE_MAX   1024

/* The parts of a variable's name, as it is registered */
typedef struct hook_daxpin_name {
    const char *framework;
    const char *component;
    const char *variable;
} hook_daxpin_name_t;

static const hook_daxpin_name_t hook_daxpin_osc   = {"osc", NULL, NULL};
static const hook_daxpin_name_t hook_daxpin_pml   = {"pml", NULL, NULL};
static const hook_daxpin_name_t hook_daxpin_inner = {"osc", "daxpin",
                                                     "only_inner"};

/* Each has synonyms */
static const char *const hook_daxpin_ucx_variables[] = {"tls", "devices"};
static const char *const hook_daxpin_ucx_owners[][2] = {
    {"opal_common", "ucx"}, {"pml", "ucx"}, {"osc", "ucx"}
};

#define HOOK_DAXPIN_COUNT(_array) (sizeof(_array) / sizeof((_array)[0]))

/* What this hook has set, to be unset later */
static char hook_daxpin_set_names[4][64];
static size_t hook_daxpin_num_set;

static int hook_daxpin_is_system_file(const char *file)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", opal_install_dirs.sysconfdir,
             HOOK_DAXPIN_SYSTEM_FILE);
    return (file != NULL) && (strcmp(file, path) == 0);
}

/* Read a variable ("": no value). Return whether the user set it, and not Open
 * MPI or the system. */
static int hook_daxpin_read(const hook_daxpin_name_t *name, char *buffer,
                            size_t size)
{
    mca_base_var_source_t source = MCA_BASE_VAR_SOURCE_DEFAULT;
    const char *file             = NULL;
    char *value                  = NULL;
    int by_user                  = 1;
    int flags, index;

    buffer[0] = '\0';
    /* Flags are those of the first registration. Without this one, osc_daxpin's
     * variable outlives osc_daxpin, and Open MPI 5 reads it in the end. Those of
     * opal_common_ucx outlive their components on purpose: 4.1 frees them
     * itself. */
    flags = (name == &hook_daxpin_inner) ? MCA_BASE_VAR_FLAG_DWG : 0;
    index = mca_base_var_register("ompi", name->framework, name->component,
                                  name->variable, NULL,
                                  MCA_BASE_VAR_TYPE_STRING, NULL, 0, flags,
                                  OPAL_INFO_LVL_9,
                                  MCA_BASE_VAR_SCOPE_READONLY, &value);
    if (index < 0) {
        return by_user;
    }
    if (mca_base_var_get_value(index, NULL, &source, &file) == OPAL_SUCCESS) {
        by_user = (source != MCA_BASE_VAR_SOURCE_DEFAULT) &&
                  ((source != MCA_BASE_VAR_SOURCE_FILE) ||
                   !hook_daxpin_is_system_file(file));
        if ((value != NULL) &&
            (snprintf(buffer, size, "%s", value) >= (int)size)) {
            by_user = 1; /* too long to be changed */
        }
    }
    (void)mca_base_var_deregister(index);
    return by_user;
}

static void hook_daxpin_set(const char *name, const char *value)
{
    char env[64];

    snprintf(env, sizeof(env), HOOK_DAXPIN_ENV_PREFIX "%s", name);
    if ((hook_daxpin_num_set == HOOK_DAXPIN_COUNT(hook_daxpin_set_names)) ||
        (setenv(env, value, 1) != 0)) {
        return;
    }
    snprintf(hook_daxpin_set_names[hook_daxpin_num_set++], sizeof(env), "%s",
             env);
    opal_output_verbose(10, ompi_hook_base_framework.framework_output,
                        "hook/daxpin: %s is now \"%s\"", name, value);
}

static void hook_daxpin_stays(const char *name)
{
    opal_output_verbose(10, ompi_hook_base_framework.framework_output,
                        "hook/daxpin: %s stays as it is", name);
}

/*
 * osc
 */

static int hook_daxpin_argv_has(char **argv, const char *element)
{
    for (; (argv != NULL) && (*argv != NULL); ++argv) {
        if (strcmp(*argv, element) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Let a component into a list of components. Return whether the list lacked
 * it. */
static int hook_daxpin_admit(char *list, size_t size, const char *component)
{
    int excludes = list[0] == '^';
    char **argv  = opal_argv_split(list + excludes, ',');
    int lacks    = (list[0] != '\0') &&
                   (hook_daxpin_argv_has(argv, component) == excludes);
    size_t used = 0;
    int i;

    if (lacks && !excludes) {
        used = strlen(list);
        snprintf(list + used, size - used, ",%s", component);
    } else if (lacks) {
        list[0] = '\0';
        for (i = 0; argv[i] != NULL; ++i) {
            if (strcmp(argv[i], component) != 0) {
                used += snprintf(list + used, size - used, "%s%s",
                                 (used == 0) ? "^" : ",", argv[i]);
            }
        }
    }
    opal_argv_free(argv);
    return lacks;
}

/* Return whether the launcher says that all ranks are on one node. */
static int hook_daxpin_is_one_node(void)
{
    const char *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");

    return (ranks != NULL) && (local != NULL) && (strcmp(ranks, local) == 0);
}

/* An excluded component stays out of the way of all other windows. Open MPI asks
 * it about each window even so, see DAXPIN_OMPI_UCX_CRASHES: then it stays out
 * where no window needs it. */
static void hook_daxpin_var_set_osc(void)
{
    char list[HOOK_DAXPIN_VALUE_MAX + 16], inner[HOOK_DAXPIN_VALUE_MAX];
    int lacks_ucx, lacks_daxpin;

    if (hook_daxpin_read(&hook_daxpin_osc, list, HOOK_DAXPIN_VALUE_MAX)) {
        hook_daxpin_stays("osc");
        return;
    }
    lacks_ucx    = !(DAXPIN_OMPI_UCX_CRASHES && hook_daxpin_is_one_node()) &&
                   hook_daxpin_admit(list, sizeof(list), "ucx");
    lacks_daxpin = hook_daxpin_admit(list, sizeof(list), "daxpin");
    if (lacks_ucx || lacks_daxpin) {
        hook_daxpin_set("osc", list);
    }
    if (lacks_ucx && !hook_daxpin_read(&hook_daxpin_inner, inner,
                                       sizeof(inner))) {
        hook_daxpin_set("osc_daxpin_only_inner", "ucx");
    }
}

/*
 * UCX
 */

static int hook_daxpin_user_names_pml_ucx(void)
{
    char list[HOOK_DAXPIN_VALUE_MAX];
    char **argv;
    int names;

    if (!hook_daxpin_read(&hook_daxpin_pml, list, sizeof(list)) ||
        (list[0] == '^')) {
        return 0;
    }
    argv  = opal_argv_split(list, ',');
    names = hook_daxpin_argv_has(argv, "ucx");
    opal_argv_free(argv);
    return names;
}

static void hook_daxpin_var_set_ucx(const char *variable)
{
    char name[64], value[HOOK_DAXPIN_VALUE_MAX];
    hook_daxpin_name_t synonym;
    size_t i;

    snprintf(name, sizeof(name), "opal_common_ucx_%s", variable);
    for (i = 0; i < HOOK_DAXPIN_COUNT(hook_daxpin_ucx_owners); ++i) {
        synonym = (hook_daxpin_name_t){hook_daxpin_ucx_owners[i][0],
                                       hook_daxpin_ucx_owners[i][1], variable};
        if (hook_daxpin_read(&synonym, value, sizeof(value))) {
            hook_daxpin_stays(name);
            return;
        }
    }
    hook_daxpin_set(name, "any");
}

void hook_daxpin_var_set(void)
{
    size_t i;

    hook_daxpin_var_set_osc();
    if (hook_daxpin_user_names_pml_ucx()) {
        for (i = 0; i < HOOK_DAXPIN_COUNT(hook_daxpin_ucx_variables); ++i) {
            hook_daxpin_var_set_ucx(hook_daxpin_ucx_variables[i]);
        }
    }
}

void hook_daxpin_var_unset(void)
{
    while (hook_daxpin_num_set > 0) {
        unsetenv(hook_daxpin_set_names[--hook_daxpin_num_set]);
    }
}
