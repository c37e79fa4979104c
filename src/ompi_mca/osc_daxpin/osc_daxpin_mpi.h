/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_MPI_H_
#define OSC_DAXPIN_MPI_H_

/* The functions behind daxpin_mpi.h */

#include "osc_daxpin.h"

/* Set the info key that leads to them */
void osc_daxpin_mpi_publish(ompi_win_t *win);

#endif
