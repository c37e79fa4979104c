/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_SEGMENT_H_
#define OSC_DAXPIN_SEGMENT_H_

/* This rank's memory of a window, and its file */

#include "osc_daxpin.h"

/* Open or make the file. If it fails on any rank, it fails on all and leaves
 * nothing behind. Collective. */
int osc_daxpin_segment_open(osc_daxpin_module_t *module, size_t size);

/* Give the file back; with undo also what opening it did to the file */
void osc_daxpin_segment_close(osc_daxpin_module_t *module, int undo);

/* Give back what has no window, or none any more. Not collective. */
void osc_daxpin_segment_release(osc_daxpin_segment_t *segment);

/* Return whether the memory needs no lease, because it is mapped read-only: if
 * the file is of another user, or other processes have it open, nothing can be
 * lost, and the inner component reads the memory. Report that. @a ret is the
 * error for which there is no lease. */
int osc_daxpin_segment_without_lease(const osc_daxpin_segment_t *segment,
                                     int ret);

/* Take a file that was adopted for memory of the segment, and pin it */
void osc_daxpin_segment_take(osc_daxpin_segment_t *segment, daxpin_file_t *file,
                             uint64_t offset);

/* Remove the file's name, at one rank of those that share the file */
void osc_daxpin_segment_unlink(osc_daxpin_module_t *module);

/* Return whether MPI leaves the memory of a window to the component */
static inline int osc_daxpin_allocates(int flavor)
{
    return (flavor == MPI_WIN_FLAVOR_ALLOCATE) ||
           (flavor == MPI_WIN_FLAVOR_SHARED);
}

/* Return whether a file can be accessed */
static inline int osc_daxpin_file_is_good(daxpin_file_t *file)
{
    return daxpin_file_check(file) == 0;
}

#endif
