/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_OMPI_RELEASE_H_
#define DAXPIN_OMPI_RELEASE_H_

/* The releases of Open MPI that the components know: 4.1, 5.0 and 6.0 */

#include "ompi_config.h"

#include "ompi/constants.h"
#include "opal/util/output.h"

#include <mpi.h>
#include <stdio.h>

#define DAXPIN_OMPI_RELEASE (100 * OMPI_MAJOR_VERSION + OMPI_MINOR_VERSION)

#if (DAXPIN_OMPI_RELEASE != 401) && (DAXPIN_OMPI_RELEASE != 500) && \
        (DAXPIN_OMPI_RELEASE != 600)
#  error "daxpin knows Open MPI 4.1, 5.0 and 6.0; see docs/developers.md, " \
        "\"A new release of Open MPI\""
#endif

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
    opal_output(0, "%s: daxpin was built for Open MPI %d.%d and stays off, "
                "because this is \"%.40s\": build daxpin with this Open MPI",
                component, OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, text);
    return OMPI_ERR_NOT_AVAILABLE;
}

#endif
