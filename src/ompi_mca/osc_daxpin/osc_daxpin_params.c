/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The parameters of a window that is to be made: whether it is over a file */

#include "osc_daxpin_params.h"

#include "daxpin/os/clock.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_segment.h"
#include "osc_daxpin_spec.h"

#include "wire/ucx_md.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

int osc_daxpin_params_get(const osc_daxpin_component_t *component, void *base,
                          size_t size, ompi_communicator_t *comm,
                          opal_info_t *info, int flavor,
                          osc_daxpin_params_t *params)
{
    int ret;

    params->segment.base = base;
    params->segment.size = size;
    ret = osc_daxpin_spec_read(info, ompi_comm_rank(comm), &params->spec,
                               &params->wanted);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    switch (flavor) {
    case MPI_WIN_FLAVOR_ALLOCATE:
    case MPI_WIN_FLAVOR_SHARED:
        return OMPI_SUCCESS;
    case MPI_WIN_FLAVOR_CREATE:
        if (params->wanted) {
            break;
        }
        /* Without UCX_MD, daxpin leaves the program's own mappings alone. A
         * file that an info key names is wanted in any case. */
        if (!daxpin_ucx_md_names_us()) {
            return OMPI_SUCCESS;
        }
        ret = osc_daxpin_adopt_locate(base, size, component->timeout_ms,
                                      &params->adoption, &params->segment);
        params->wanted = params->adoption.located || params->segment.read_only;
        return ret;
    default:
        if (params->wanted) {
            break;
        }
        /* Whether files will be attached is not known yet */
        params->wanted = (params->spec.attach >= 0) ? params->spec.attach :
                                                      daxpin_ucx_md_names_us();
        return OMPI_SUCCESS;
    }
    return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: an info key names this "
                            "file for a window over memory that the program "
                            "has already; use MPI_Win_allocate(), or map the "
                            "file and leave the info key out",
                            params->spec.path);
}

/* Make a name that no other window has, the same on all ranks. In containers,
 * processes of several jobs have one host name and one pid. The ranks of a node
 * share one file, which is quicker to make than one for each. One is enough: a
 * file without a name cannot be revoked by another process. */
static int osc_daxpin_params_name(const osc_daxpin_component_t *component,
                                  ompi_communicator_t *comm,
                                  osc_daxpin_params_t *params)
{
    char name[128], host[64] = "";
    uint64_t number = 0;
    int length;

    gethostname(host, sizeof(host) - 1);
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        number = daxpin_now();
    }
    snprintf(name, sizeof(name), "daxpin-window.%s.%d.%016lx", host,
             (int)getpid(), number);
    comm->c_coll->coll_bcast(name, sizeof(name), MPI_BYTE, 0, comm,
                             comm->c_coll->coll_bcast_module);
    length = snprintf(params->spec.path, sizeof(params->spec.path), "%s/%s",
                      component->dir, name);
    if (length >= (int)sizeof(params->spec.path) - OSC_DAXPIN_NODE_ID_MAX) {
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "the path in the MCA "
                                "parameter osc_daxpin_dir is too long");
    }
    params->spec.temporary = 1;
    params->wanted         = 1;
    return OMPI_SUCCESS;
}

static int osc_daxpin_dir_is_set(const osc_daxpin_component_t *component,
                                 int flavor)
{
    const char *dir = component->dir;

    return (dir != NULL) && (dir[0] != '\0') && osc_daxpin_allocates(flavor);
}

/* It is an error if only some ranks name a file, except where the program has
 * mapped its memory itself */
int osc_daxpin_params_agree(const osc_daxpin_component_t *component,
                            ompi_communicator_t *comm, int flavor, int ret,
                            osc_daxpin_params_t *params, int *wanted_p)
{
    int counts[2] = {params->wanted, ret != OMPI_SUCCESS};
    int all       = ompi_comm_size(comm);
    int status;

    status = comm->c_coll->coll_allreduce(MPI_IN_PLACE, counts, 2, MPI_INT,
                                          MPI_SUM, comm,
                                          comm->c_coll->coll_allreduce_module);
    if ((status != OMPI_SUCCESS) || (ret != OMPI_SUCCESS)) {
        return (ret != OMPI_SUCCESS) ? ret : status;
    }
    if (counts[1] > 0) {
        return OMPI_ERROR;
    }
    if ((counts[0] == 0) && osc_daxpin_dir_is_set(component, flavor)) {
        counts[0] = all;
        ret       = osc_daxpin_params_name(component, comm, params);
    }
    *wanted_p = counts[0] > 0;
    if (osc_daxpin_allocates(flavor) && *wanted_p && (counts[0] < all)) {
        return params->wanted ? OMPI_ERROR :
               osc_daxpin_error(OMPI_ERR_BAD_PARAM, "rank %d: other ranks name "
                                "a file for the window, this one does not; "
                                "give all ranks the info key daxpin_path",
                                ompi_comm_rank(comm));
    }
    return ret;
}
