/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_RELEASE_H_
#define OSC_DAXPIN_RELEASE_H_

/* The interface of osc components: 3.0.0 in Open MPI 4.1 and 5.0; 4.0.0, with
 * large counts, in 6.0 */

#include "ompi_mca/ompi_release.h"

#include "ompi/communicator/communicator.h"
#include "ompi/mca/osc/osc.h"
#include "ompi/win/win.h"
#include "opal/util/info.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef OMPI_OSC_BASE_VERSION_4_0_0
typedef size_t osc_daxpin_count_t;
typedef ptrdiff_t osc_daxpin_unit_t;
#  define OSC_DAXPIN_BASE_VERSION OMPI_OSC_BASE_VERSION_4_0_0
#  define OSC_DAXPIN_COUNT_MAX    ((size_t)PTRDIFF_MAX)
#else
typedef int osc_daxpin_count_t;
typedef int osc_daxpin_unit_t;
#  define OSC_DAXPIN_BASE_VERSION OMPI_OSC_BASE_VERSION_3_0_0
#  define OSC_DAXPIN_COUNT_MAX    ((size_t)INT_MAX)
#endif

/* For each request, osc/ucx of 5.0 flushes all endpoints, and UCX 1.18 counts
 * the flushes of an endpoint in 8 bits */
#if DAXPIN_OMPI_RELEASE == 500
#  define OSC_DAXPIN_REQUESTS_MAX 120
#else
#  define OSC_DAXPIN_REQUESTS_MAX UINT_MAX
#endif

/* The class of MPI 4.0 for a process that has ended, where there is one */
#ifdef MPI_ERR_PROC_ABORTED
#  define OSC_DAXPIN_ERR_GONE MPI_ERR_PROC_ABORTED
#else
#  define OSC_DAXPIN_ERR_GONE MPI_ERR_OTHER
#endif

/* Programs for the standard ABI of MPI may run */
#define OSC_DAXPIN_HAS_ABI (DAXPIN_OMPI_RELEASE >= 600)

#if DAXPIN_OMPI_RELEASE >= 500
typedef const char osc_daxpin_info_char_t;
#else
typedef char osc_daxpin_info_char_t;
#endif

static inline int osc_daxpin_comm_number(ompi_communicator_t *comm)
{
#if DAXPIN_OMPI_RELEASE >= 500
    return (int)ompi_comm_get_local_cid(comm);
#else
    return (int)ompi_comm_get_cid(comm);
#endif
}

/* Copy the value of a key, up to OPAL_MAX_INFO_VAL characters. Return whether
 * there is one. */
static inline int osc_daxpin_info_get(opal_info_t *info, const char *key,
                                      char *value)
{
    int flag = 0;
#if DAXPIN_OMPI_RELEASE >= 500
    opal_cstring_t *string = NULL;

    if ((opal_info_get(info, key, &string, &flag) != OPAL_SUCCESS) || !flag) {
        return 0;
    }
    snprintf(value, OPAL_MAX_INFO_VAL + 1, "%s", string->string);
    OBJ_RELEASE(string);
#else
    opal_info_get(info, key, OPAL_MAX_INFO_VAL, value, &flag);
#endif
    return flag;
}

/* Give a window that MPI did not make what components expect. Return whether
 * that could be done. */
static inline int osc_daxpin_win_prepare(ompi_win_t *win)
{
#ifdef OMPI_MPI_MAX_OBJECT_NAME_ABI /* the name is a pointer */
    win->w_name = calloc(1, OMPI_MPI_MAX_OBJECT_NAME_ABI);
    return win->w_name != NULL;
#else
    return 1;
#endif
}

#endif
