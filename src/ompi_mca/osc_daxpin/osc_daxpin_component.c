/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The component. It wants every window, so that all ranks can decide together
 * whether the window is over a file. If not, another component gets it.
 */

#include "osc_daxpin_bound.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_module.h"
#include "osc_daxpin_mpi.h"
#include "osc_daxpin_params.h"
#include "osc_daxpin_request.h"
#include "osc_daxpin_segment.h"
#include "osc_daxpin_service.h"
#include "osc_daxpin_shadow.h"
#include "osc_daxpin_spec.h"

#define OSC_DAXPIN_PRIORITY   1000
#define OSC_DAXPIN_TIMEOUT_MS DAXPIN_TIMEOUT_DEFAULT_MS

/* If no request makes progress for so long, a target is stopped or unreachable */
#define OSC_DAXPIN_REQUESTS_TIMEOUT_MS (600 * 1000)

/* For a rank that others wait for. It may calculate as long as it likes, so this
 * is a day. */
#define OSC_DAXPIN_PEER_TIMEOUT_MS (24 * 3600 * 1000)

OMPI_DECLSPEC extern osc_daxpin_component_t mca_osc_daxpin_component;

static int osc_daxpin_open(void)
{
    return daxpin_ompi_release_check("osc/daxpin");
}

static void osc_daxpin_register_requests(osc_daxpin_component_t *osc)
{
    const mca_base_component_t *version = &osc->super.osc_version;

    osc->requests_max        = OSC_DAXPIN_REQUESTS_MAX;
    osc->requests_timeout_ms = OSC_DAXPIN_REQUESTS_TIMEOUT_MS;
    (void)mca_base_component_var_register(
            version, "requests_max",
            "Greatest number of requests of MPI_Rput() and MPI_Rget() to other "
            "nodes that are under way at a time; others begin when one ends "
            "(default: what the inner component can do)",
            MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_5,
            MCA_BASE_VAR_SCOPE_LOCAL, &osc->requests_max);
    (void)mca_base_component_var_register(
            version, "requests_timeout_ms",
            "Milliseconds for which a flush or the end of an epoch waits for "
            "one of them to end, so that others begin; then it returns an "
            "error",
            MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_5,
            MCA_BASE_VAR_SCOPE_LOCAL, &osc->requests_timeout_ms);
}

static void osc_daxpin_register_peer(osc_daxpin_component_t *osc)
{
    osc->peer_timeout_ms = OSC_DAXPIN_PEER_TIMEOUT_MS;
    (void)mca_base_component_var_register(
            &osc->super.osc_version, "peer_timeout_ms",
            "Milliseconds for which a call waits for a rank of a window; then "
            "it returns an error. That a rank has ended is noticed sooner.",
            MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_5,
            MCA_BASE_VAR_SCOPE_LOCAL, &osc->peer_timeout_ms);
}

static int osc_daxpin_register(void)
{
    osc_daxpin_component_t *osc         = &mca_osc_daxpin_component;
    const mca_base_component_t *version = &osc->super.osc_version;

    osc->priority   = OSC_DAXPIN_PRIORITY;
    osc->timeout_ms = OSC_DAXPIN_TIMEOUT_MS;
    (void)mca_base_component_var_register(
            version, "priority", "Priority of the osc/daxpin component",
            MCA_BASE_VAR_TYPE_INT, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->priority);
    (void)mca_base_component_var_register(
            version, "inner",
            "Name of the osc component that does the work behind windows over "
            "files (default: ucx, or else the best that there is)",
            MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->inner);
    (void)mca_base_component_var_register(
            version, "only_inner",
            "Comma-separated list of osc components that work behind windows "
            "over files, and that no other window gets as long as another "
            "component takes it (hook_daxpin sets this to what it adds to the "
            "parameter osc)",
            MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_5,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->only_inner);
    (void)mca_base_component_var_register(
            version, "dir",
            "Directory: windows of MPI_Win_allocate() and "
            "MPI_Win_allocate_shared() that name no file get one there, which "
            "has no name any more when the call returns (default: none)",
            MCA_BASE_VAR_TYPE_STRING, NULL, 0, 0, OPAL_INFO_LVL_3,
            MCA_BASE_VAR_SCOPE_ALL_EQ, &osc->dir);
    (void)mca_base_component_var_register(
            version, "timeout_ms",
            "Milliseconds to wait for the lease on a window's file while other "
            "programs have it open",
            MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, OPAL_INFO_LVL_5,
            MCA_BASE_VAR_SCOPE_LOCAL, &osc->timeout_ms);
    osc_daxpin_register_requests(osc);
    osc_daxpin_register_peer(osc);
    return OMPI_SUCCESS;
}

static int osc_daxpin_init(bool progress_threads, bool mpi_threads)
{
    osc_daxpin_requests_init();
    return OMPI_SUCCESS;
}

static int osc_daxpin_finalize(void)
{
    osc_daxpin_services_finalize();
    osc_daxpin_inside_finalize();
    osc_daxpin_requests_finalize();
    return OMPI_SUCCESS;
}

static int osc_daxpin_query(ompi_win_t *win, void **base, size_t size,
                            osc_daxpin_unit_t disp_unit,
                            ompi_communicator_t *comm, opal_info_t *info,
                            int flavor)
{
    return mca_osc_daxpin_component.priority;
}

/*
 * Waits of Open MPI spin. While a window is made, ranks wait for each other and
 * for threads of libdaxpin: where there are no more processors than ranks, such a
 * thread would get one only after some milliseconds. So the waits yield until
 * then. The setting is the process's, and several threads may make windows.
 */
static struct {
    pthread_mutex_t mutex;
    unsigned        count; /* of windows that are being made */
    bool            was;   /* the setting before */
} osc_daxpin_yield = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void osc_daxpin_yield_begin(void)
{
    pthread_mutex_lock(&osc_daxpin_yield.mutex);
    if (osc_daxpin_yield.count++ == 0) {
        osc_daxpin_yield.was = opal_progress_set_yield_when_idle(true);
    }
    pthread_mutex_unlock(&osc_daxpin_yield.mutex);
}

static void osc_daxpin_yield_end(void)
{
    pthread_mutex_lock(&osc_daxpin_yield.mutex);
    if (--osc_daxpin_yield.count == 0) {
        opal_progress_set_yield_when_idle(osc_daxpin_yield.was);
    }
    pthread_mutex_unlock(&osc_daxpin_yield.mutex);
}

/* Make a window over files. If that fails, nothing of it is left. */
static int osc_daxpin_make(osc_daxpin_params_t *params, ompi_win_t *win,
                           void **base, size_t size,
                           osc_daxpin_unit_t disp_unit,
                           ompi_communicator_t *comm, opal_info_t *info,
                           int flavor, int *model)
{
    int ret = OMPI_SUCCESS;

    if (flavor == MPI_WIN_FLAVOR_CREATE) {
        ret = osc_daxpin_adopt(comm, &params->adoption, &params->segment);
    }
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_segment_release(&params->segment);
        return ret;
    }
    ret = osc_daxpin_module_open(&mca_osc_daxpin_component, &params->spec,
                                 &params->segment, win, base, size, disp_unit,
                                 comm, info, flavor, model);
    if (ret == OMPI_SUCCESS) {
        osc_daxpin_mpi_publish(win);
        osc_daxpin_spec_publish(win);
    }
    return ret;
}

static int osc_daxpin_select(ompi_win_t *win, void **base, size_t size,
                             osc_daxpin_unit_t disp_unit,
                             ompi_communicator_t *comm, opal_info_t *info,
                             int flavor, int *model)
{
    const osc_daxpin_component_t *self = &mca_osc_daxpin_component;
    osc_daxpin_params_t params         = {.wanted = 0};
    int wanted                         = 0;
    int ret;

    ret = osc_daxpin_params_get(self, (flavor == MPI_WIN_FLAVOR_CREATE) ?
                                              *base : NULL,
                                size, comm, info, flavor, &params);
    ret = osc_daxpin_params_agree(self, comm, flavor, ret, &params, &wanted);
    if (ret != OMPI_SUCCESS) {
        daxpin_adoption_cancel(&params.adoption);
    } else if (wanted) {
        osc_daxpin_yield_begin();
        ret = osc_daxpin_make(&params, win, base, size, disp_unit, comm, info,
                              flavor, model);
        osc_daxpin_yield_end();
    } else {
        ret = osc_daxpin_pass_through(self, win, base, size, disp_unit, comm,
                                      info, flavor, model);
    }
    return ret;
}

osc_daxpin_component_t mca_osc_daxpin_component = {
    .super = {
        .osc_version = {
            OSC_DAXPIN_BASE_VERSION,
            .mca_component_name            = "daxpin",
            .mca_component_major_version   = 0,
            .mca_component_minor_version   = 1,
            .mca_component_release_version = 0,
            .mca_open_component            = osc_daxpin_open,
            .mca_register_component_params = osc_daxpin_register
        },
        .osc_data     = {MCA_BASE_METADATA_PARAM_NONE},
        .osc_init     = osc_daxpin_init,
        .osc_query    = osc_daxpin_query,
        .osc_select   = osc_daxpin_select,
        .osc_finalize = osc_daxpin_finalize
    }
};
