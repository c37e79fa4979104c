/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The functions behind daxpin_mpi.h. The info that leads here may be a copy of
 * another window's, so each checks whose window it is called for.
 */

#include "osc_daxpin_mpi.h"

#include "daxpin_mpi.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_info.h"
#include "osc_daxpin_module.h"
#include "osc_daxpin_node.h"
#include "osc_daxpin_peer.h"
#include "osc_daxpin_persist.h"
#include "osc_daxpin_state.h"

#include <stdio.h>
#include <string.h>

static int osc_daxpin_mpi_file(MPI_Win win, daxpin_file_t **file_p,
                               MPI_Aint *offset_p)
{
    const osc_daxpin_segment_t *segment = &osc_daxpin_module(win)->segment;

    if (!osc_daxpin_module_is_own(win)) {
        return MPI_ERR_WIN;
    }
    *file_p   = segment->file;
    *offset_p = (MPI_Aint)segment->offset;
    return MPI_SUCCESS;
}

static int osc_daxpin_mpi_cause(MPI_Win win, int target, char *buffer,
                                size_t size)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (!osc_daxpin_module_is_own(win)) {
        return MPI_ERR_WIN;
    }
    if ((target < 0) || (target >= module->size)) {
        return MPI_ERR_RANK;
    }
    osc_daxpin_peers_lock(module);
    ret = osc_daxpin_peer_cause(module, target, buffer, size);
    osc_daxpin_peers_unlock(module);
    return ret;
}

/* All ranks fail if one does */
static int osc_daxpin_mpi_persist(MPI_Win win, MPI_Aint offset,
                                  MPI_Aint length)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret                     = OMPI_SUCCESS;

    if (!osc_daxpin_module_is_own(win)) {
        return MPI_ERR_WIN;
    }
    if ((offset < 0) || (length < 0) ||
        ((size_t)offset > module->segment.size) ||
        ((size_t)length > module->segment.size - (size_t)offset)) {
        ret = MPI_ERR_RMA_RANGE;
    } else {
        ret = osc_daxpin_segment_persist(module, (uint64_t)offset,
                                         (size_t)length);
    }
    if (osc_daxpin_agree(module, ret) == OMPI_SUCCESS) {
        return MPI_SUCCESS;
    }
    return (ret > 0) ? ret : MPI_ERR_OTHER;
}

static int osc_daxpin_mpi_error_class(MPI_Win win, int *class_p)
{
    *class_p = osc_daxpin_error_class();
    return MPI_SUCCESS;
}

static const daxpin_mpi_ops_t osc_daxpin_mpi_ops = {
    .version     = DAXPIN_MPI_VERSION,
    .file        = osc_daxpin_mpi_file,
    .cause       = osc_daxpin_mpi_cause,
    .persist     = osc_daxpin_mpi_persist,
    .error_class = osc_daxpin_mpi_error_class
};

/*
 * The same for programs of the standard ABI. Their handles of windows are Open
 * MPI's; error codes have other numbers.
 */

/* What Open MPI 6 adds to codes and classes that components and programs add,
 * so that they come after all of the standard's */
#define OSC_DAXPIN_ABI_OFFSET 16385

static int osc_daxpin_abi_error(int code)
{
    static const int numbers[][2] = {
        {MPI_SUCCESS, 0}, {MPI_ERR_RANK, 6}, {MPI_ERR_IO, 35},
        {MPI_ERR_RMA_RANGE, 48}, {MPI_ERR_WIN, 56}
    };
    const int other = 16; /* MPI_ERR_OTHER there */
    size_t i;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); ++i) {
        if (numbers[i][0] == code) {
            return numbers[i][1];
        }
    }
    return (code > MPI_ERR_LASTCODE) ? code + OSC_DAXPIN_ABI_OFFSET : other;
}

static int osc_daxpin_abi_file(MPI_Win win, daxpin_file_t **file_p,
                               MPI_Aint *offset_p)
{
    return osc_daxpin_abi_error(osc_daxpin_mpi_file(win, file_p, offset_p));
}

static int osc_daxpin_abi_cause(MPI_Win win, int target, char *buffer,
                                size_t size)
{
    return osc_daxpin_abi_error(
            osc_daxpin_mpi_cause(win, target, buffer, size));
}

static int osc_daxpin_abi_persist(MPI_Win win, MPI_Aint offset,
                                  MPI_Aint length)
{
    return osc_daxpin_abi_error(osc_daxpin_mpi_persist(win, offset, length));
}

static int osc_daxpin_abi_error_class(MPI_Win win, int *class_p)
{
    *class_p = osc_daxpin_abi_error(osc_daxpin_error_class());
    return 0;
}

static const daxpin_mpi_ops_t osc_daxpin_abi_ops = {
    .version     = DAXPIN_MPI_VERSION,
    .file        = osc_daxpin_abi_file,
    .cause       = osc_daxpin_abi_cause,
    .persist     = osc_daxpin_abi_persist,
    .error_class = osc_daxpin_abi_error_class
};

static void osc_daxpin_mpi_publish_ops(ompi_win_t *win, const char *key,
                                       const daxpin_mpi_ops_t *ops)
{
    char value[64];

    snprintf(value, sizeof(value), "%p", (const void*)ops);
    osc_daxpin_info_use(win, key, value);
}

void osc_daxpin_mpi_publish(ompi_win_t *win)
{
    osc_daxpin_mpi_publish_ops(win, DAXPIN_MPI_INFO, &osc_daxpin_mpi_ops);
    if (OSC_DAXPIN_HAS_ABI) {
        osc_daxpin_mpi_publish_ops(win, "daxpin_mpi_abi",
                                   &osc_daxpin_abi_ops);
    }
}
