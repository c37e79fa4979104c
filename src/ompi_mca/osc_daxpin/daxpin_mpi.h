/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MPI_H_
#define DAXPIN_MPI_H_

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
 * The few calls for windows over files that MPI has no place for. They come
 * with the component that made the window, so there is no library to link with;
 * only what is done with a daxpin_file_t needs libdaxpin.
 *
 * Functions return MPI_SUCCESS or an MPI error code and call no error handler.
 * For a window that is not one of daxpin's that is MPI_ERR_WIN.
 */

typedef struct daxpin_mpi_ops {
    unsigned version; /* DAXPIN_MPI_VERSION */
    int (*file)(MPI_Win win, daxpin_file_t **file_p, MPI_Aint *offset_p);
    int (*cause)(MPI_Win win, int target, char *buffer, size_t size);
    int (*persist)(MPI_Win win, MPI_Aint offset, MPI_Aint length);
    int (*error_class)(MPI_Win win, int *class_p);
} daxpin_mpi_ops_t;

#define DAXPIN_MPI_VERSION 1u
#define DAXPIN_MPI_INFO    "daxpin_mpi" /* where they are */

/* NULL: the window is not one of daxpin's */
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
 * The file that this rank's part of a window is in.
 *
 * @param [out] file_p    Good until the window is freed; not to be closed. NULL
 *                        where this rank's part is in no file.
 * @param [out] offset_p  Where the part begins in the file, in bytes.
 */
static inline int daxpin_mpi_file(MPI_Win win, daxpin_file_t **file_p,
                                  MPI_Aint *offset_p)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->file(win, file_p, offset_p);
}

/**
 * Why the file of a target was revoked.
 *
 * @param [out] buffer  Filled and terminated; empty while it is not revoked.
 */
static inline int daxpin_mpi_cause(MPI_Win win, int target, char *buffer,
                                   size_t size)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->cause(win, target, buffer, size);
}

/**
 * Make a range of every rank's own part durable: what this rank stored and what
 * others put there in epochs that have ended. Collective; the ranges may
 * differ. It returns when all are durable, or with an error on all ranks.
 *
 * @param [in] offset, length  In bytes from the beginning of the part.
 */
static inline int daxpin_mpi_persist(MPI_Win win, MPI_Aint offset,
                                     MPI_Aint length)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->persist(win, offset, length);
}

/** The error class MPIX_ERR_DAXPIN_REVOKED, which ranks may number otherwise */
static inline int daxpin_mpi_error_class(MPI_Win win, int *class_p)
{
    const daxpin_mpi_ops_t *ops = daxpin_mpi_ops(win);

    return (ops == NULL) ? MPI_ERR_WIN : ops->error_class(win, class_p);
}

#ifdef __cplusplus
}
#endif

#endif
