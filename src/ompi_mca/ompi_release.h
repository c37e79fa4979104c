/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_OMPI_RELEASE_H_
#define DAXPIN_OMPI_RELEASE_H_

/* The release of Open MPI that the components are built for, which is one of
 * DAXPIN_OMPI_RELEASES of config/daxpin_check_ompi.m4 */

#include "ompi_config.h"

#include "ompi/constants.h"
#include "opal/util/output.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAXPIN_OMPI_RELEASE (100 * OMPI_MAJOR_VERSION + OMPI_MINOR_VERSION)

#if DAXPIN_OMPI_RELEASE != DAXPIN_OMPI_ABI
#  error "mpi.h is of another Open MPI than configure has found: run it again"
#endif

/* osc/ucx crashes when it is asked about windows that threads make at once */
#define DAXPIN_OMPI_UCX_CRASHES (DAXPIN_OMPI_RELEASE >= 500)

/* What a component sets when it has reported an unknown release, to the id of
 * the process: there are two components, and nothing of Open MPI is used by
 * which they could know of each other */
#define DAXPIN_OMPI_REPORTED "DAXPIN_OMPI_REPORTED"

static inline void daxpin_ompi_release_report(const char *component,
                                              const char *text)
{
    const char *reported = getenv(DAXPIN_OMPI_REPORTED);
    char pid[32];

    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    if ((reported != NULL) && (strcmp(reported, pid) == 0)) {
        return;
    }
    opal_output(0, "%s: daxpin was built for Open MPI %d.%d and stays off, "
                "because this is \"%.40s\": build daxpin with this Open MPI",
                component, OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, text);
    (void)setenv(DAXPIN_OMPI_REPORTED, pid, 1);
}

/* The interface between Open MPI and components changes with each minor
 * release. Return OMPI_SUCCESS if the running one is that of the build. */
static inline int daxpin_ompi_release_check(const char *component)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int major = 0, minor = 0, length = 0;

    if ((PMPI_Get_library_version(text, &length) == MPI_SUCCESS) &&
        (sscanf(text, "Open MPI v%d.%d", &major, &minor) == 2) &&
        (major == OMPI_MAJOR_VERSION) && (minor == OMPI_MINOR_VERSION)) {
        return OMPI_SUCCESS;
    }
    daxpin_ompi_release_report(component, text);
    return OMPI_ERR_NOT_AVAILABLE;
}

#endif
