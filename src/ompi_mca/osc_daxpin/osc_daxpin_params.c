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

/* Of a file that the component names */
#define OSC_DAXPIN_PARAMS_NAME_MAX 128

/* Return whether this rank has a directory for windows that name no file. Then
 * *ret_p is the error if no name fits behind it. */
static int osc_daxpin_params_has_dir(const osc_daxpin_component_t *component,
                                     int flavor, int *ret_p)
{
    const char *dir = component->dir;

    if ((dir == NULL) || (dir[0] == '\0') || !osc_daxpin_allocates(flavor)) {
        return 0;
    }
    if (strlen(dir) + OSC_DAXPIN_PARAMS_NAME_MAX + OSC_DAXPIN_NODE_ID_MAX >=
        PATH_MAX) {
        *ret_p = osc_daxpin_error(OMPI_ERR_BAD_PARAM, "the path in the MCA "
                                  "parameter osc_daxpin_dir is too long");
    }
    return 1;
}

/* Make a name that no other window has, the same on all ranks. In containers,
 * processes of several jobs have one host name and one pid. The ranks of a node
 * share one file, which is quicker to make than one for each. One is enough: a
 * file without a name cannot be revoked by another process. */
static int osc_daxpin_params_name(const osc_daxpin_component_t *component,
                                  ompi_communicator_t *comm,
                                  osc_daxpin_params_t *params)
{
    char name[OSC_DAXPIN_PARAMS_NAME_MAX], host[64] = "";
    uint64_t number = 0;
    int ret;

    gethostname(host, sizeof(host) - 1);
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        number = daxpin_now();
    }
    snprintf(name, sizeof(name), "daxpin-window.%s.%d.%016lx", host,
             (int)getpid(), number);
    ret = comm->c_coll->coll_bcast(name, sizeof(name), MPI_BYTE, 0, comm,
                                   comm->c_coll->coll_bcast_module);
    snprintf(params->spec.path, sizeof(params->spec.path), "%s/%s",
             component->dir, name);
    params->spec.temporary = 1;
    params->wanted         = 1;
    return ret;
}

/* Return an error unless all or no ranks name a file */
static int osc_daxpin_params_compare(ompi_communicator_t *comm, int count,
                                     int is_one, const char *what,
                                     const char *todo)
{
    if ((count == 0) || (count == ompi_comm_size(comm))) {
        return OMPI_SUCCESS;
    }
    return is_one ? OMPI_ERROR :
           osc_daxpin_error(OMPI_ERR_BAD_PARAM, "rank %d: other ranks %s, and "
                            "this one does not; %s", ompi_comm_rank(comm), what,
                            todo);
}

/* It is an error if only some ranks name a file, or a directory where no rank
 * names a file, except where the program has mapped its memory itself */
int osc_daxpin_params_agree(const osc_daxpin_component_t *component,
                            ompi_communicator_t *comm, int flavor, int ret,
                            osc_daxpin_params_t *params, int *wanted_p)
{
    int has_dir = (ret == OMPI_SUCCESS) && !params->wanted &&
                  osc_daxpin_params_has_dir(component, flavor, &ret);
    int counts[] = {params->wanted, ret != OMPI_SUCCESS, has_dir};
    int status;

    status = comm->c_coll->coll_allreduce(MPI_IN_PLACE, counts, 3, MPI_INT,
                                          MPI_SUM, comm,
                                          comm->c_coll->coll_allreduce_module);
    if ((status != OMPI_SUCCESS) || (ret != OMPI_SUCCESS)) {
        return (ret != OMPI_SUCCESS) ? ret : status;
    }
    if (counts[1] > 0) {
        return OMPI_ERROR;
    }
    *wanted_p = counts[0] + counts[2] > 0;
    if (!osc_daxpin_allocates(flavor)) {
        return OMPI_SUCCESS;
    }
    if (counts[0] > 0) {
        return osc_daxpin_params_compare(comm, counts[0], params->wanted,
                                         "name a file for the window",
                                         "give all ranks the info key "
                                         "daxpin_path");
    }
    ret = osc_daxpin_params_compare(comm, counts[2], has_dir,
                                    "set the MCA parameter osc_daxpin_dir",
                                    "set it at all ranks");
    return ((ret != OMPI_SUCCESS) || !has_dir) ? ret :
           osc_daxpin_params_name(component, comm, params);
}
