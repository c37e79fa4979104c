/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_SPEC_H_
#define OSC_DAXPIN_SPEC_H_

/* The info keys of a window */

#include "osc_daxpin.h"

/* Read them. *wanted_p: a file is named. OMPI_ERR_BAD_PARAM after a message. */
int osc_daxpin_spec_read(opal_info_t *info, int rank, osc_daxpin_spec_t *spec,
                         int *wanted_p);

/* Set what was used, for MPI_Win_get_info() */
void osc_daxpin_spec_publish(ompi_win_t *win);

#endif
