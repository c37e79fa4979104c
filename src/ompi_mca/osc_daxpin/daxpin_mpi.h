/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MPI_H_
#define DAXPIN_MPI_H_

/* What MPI has no calls for, of windows over files; see daxpin-window(7) */

#include <daxpin.h>
#include <mpi.h>

#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file daxpin_mpi.h
 *
 * The few calls for windows over files that MPI does not have. They come with
 * the component that made the window, so there is no library to link with; only
 * the functions for a daxpin_file_t need libdaxpin.
 *
 * Errors: functions return MPI_SUCCESS or an MPI error code, and call no error
 * handler. For a window that is not one of daxpin's they return MPI_ERR_WIN.
 *
 * Units: lengths and offsets are in bytes, whatever the displacement unit.
 *
 * Threads: as for MPI's own calls on the window. Only daxpin_mpi_persist() is
 * collective.
 */

typedef struct daxpin_mpi_ops {
    unsigned version; /* DAXPIN_MPI_VERSION */
    int (*file)(MPI_Win win, daxpin_file_t **file_p, MPI_Aint *offset_p);
    int (*cause)(MPI_Win win, int target, char *buffer, size_t size);
    int (*persist)(MPI_Win win, MPI_Aint offset, MPI_Aint length);
    int (*error_class)(MPI_Win win, int *class_p);
} daxpin_mpi_ops_t;

#define DAXPIN_MPI_VERSION 1u
/* The info key with their address. Programs for the standard ABI of MPI have
 * other numbers for errors than Open MPI. */
#if defined(MPI_ABI_VERSION) && (MPI_ABI_VERSION > 0)
#  define DAXPIN_MPI_INFO "daxpin_mpi_abi"
#else
#  define DAXPIN_MPI_INFO "daxpin_mpi"
#endif

/* Return the calls of a window, or NULL if it is not one of daxpin's. */
static inline const daxpin_mpi_ops_t *daxpin_mpi_ops(MPI_Win win)
{
    char value[64] = "";
    void *ops      = NULL;
    int flag       = 0;
    MPI_Info info;

    if (MPI_Win_get_info(win, &info) != MPI_SUCCESS) {
        return NULL;
    }
    MPI_Info_get(info, DAXPIN_MPI_INFO, (int)sizeof(value) - 1, value, &flag);
    MPI_Info_free(&info);
    if (!flag || (sscanf(value, "%p", &ops) != 1) ||
        (((const daxpin_mpi_ops_t*)ops)->version != DAXPIN_MPI_VERSION)) {
        return NULL;
    }
    return (const daxpin_mpi_ops_t*)ops;
}

/**
 * Get the file of this rank's segment of a window.
 *
 * @param [out] file_p    Valid until the window is freed; must not be closed.
 *                        NULL if the segment is in no file.
 * @param [out] offset_p  Where the segment begins in the file.
 */
static inline int daxpin_mpi_file(MPI_Win win, daxpin_file_t **file_p,
                                  MPI_Aint *offset_p)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->file(win, file_p, offset_p);
}

/**
 * Write why the file of a target was revoked.
 *
 * @param [in]  target  A rank of the window; MPI_ERR_RANK otherwise.
 * @param [out] buffer  Always terminated; empty if the file is not revoked.
 */
static inline int daxpin_mpi_cause(MPI_Win win, int target, char *buffer,
                                   size_t size)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->cause(win, target, buffer, size);
}

/**
 * Make a range of every rank's own segment durable: what this rank stored, and
 * what others put there in epochs that have ended. Collective; the ranges may
 * differ. Returns when all ranges are durable, or with an error on all ranks.
 *
 * @param [in] offset, length  From the beginning of the segment.
 *
 * @return MPI_SUCCESS; MPI_ERR_RMA_RANGE beyond this rank's segment; the error
 *         of this rank; or MPI_ERR_OTHER if only other ranks failed.
 */
static inline int daxpin_mpi_persist(MPI_Win win, MPI_Aint offset,
                                     MPI_Aint length)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->persist(win, offset, length);
}

/** Get the number of the error class MPIX_ERR_DAXPIN_REVOKED, which may differ
 *  between ranks. */
static inline int daxpin_mpi_error_class(MPI_Win win, int *class_p)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->error_class(win, class_p);
}

#ifdef __cplusplus
}
#endif

#endif
