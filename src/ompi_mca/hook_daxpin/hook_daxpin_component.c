/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The hook that brings daxpin into an MPI program if UCX_MD names daxpin. It
 * does so when the component is opened: later callbacks of the framework are
 * too late in Open MPI 5, and Open MPI 4.1 does not call them for a loaded
 * component.
 */

#include "hook_daxpin.h"

#include "ompi/constants.h"
#include "ompi/mca/hook/base/base.h"
#include "ompi/mca/hook/hook.h"

#include "ompi_mca/ompi_release.h"
#include "wire/ucx_md.h"

#include <stdlib.h>

static char *hook_daxpin_module;

OMPI_DECLSPEC extern ompi_hook_base_component_t
        mca_hook_daxpin_component;

static int hook_daxpin_register(void)
{
    (void)mca_base_component_var_register(
            &mca_hook_daxpin_component.hookm_version, "module",
            "File name of the UCX module of daxpin, libuct_daxpin.so.0 "
            "(default: found from where this component is)",
            MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_READONLY, &hook_daxpin_module);
    return OMPI_SUCCESS;
}

static int hook_daxpin_open(void)
{
    if (daxpin_ompi_release_check("hook/daxpin") != OMPI_SUCCESS) {
        return OMPI_ERR_NOT_AVAILABLE;
    }
    if (daxpin_ucx_md_names_us() &&
        (hook_daxpin_load(hook_daxpin_module) == 0)) {
        hook_daxpin_var_set();
        /* osc/ucx of 4.1 crashes if its memory cannot be mapped */
        setenv("UCX_DAXPIN_REG_ERROR", "access", 0);
    }
    return OMPI_SUCCESS;
}

static int hook_daxpin_close(void)
{
    hook_daxpin_var_unset();
    hook_daxpin_unload();
    return OMPI_SUCCESS;
}

/* By now all frameworks are open and have read their variables */
static void hook_daxpin_init_bottom(int argc, char **argv, int requested,
                                    int *provided)
{
    hook_daxpin_var_unset();
}

ompi_hook_base_component_t mca_hook_daxpin_component = {
        .hookm_version =
                {
                        OMPI_HOOK_BASE_VERSION_1_0_0,
                        .mca_component_name            = "daxpin",
                        .mca_component_major_version   = 0,
                        .mca_component_minor_version   = 1,
                        .mca_component_release_version = 0,
                        .mca_open_component            = hook_daxpin_open,
                        .mca_close_component           = hook_daxpin_close,
                        .mca_register_component_params = hook_daxpin_register,
                },
        .hookm_data            = {MCA_BASE_METADATA_PARAM_CHECKPOINT},
        .hookm_mpi_init_bottom = hook_daxpin_init_bottom,
};
