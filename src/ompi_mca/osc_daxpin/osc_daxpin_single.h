/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_SINGLE_H_
#define OSC_DAXPIN_SINGLE_H_

/* Windows of the inner component for one process */

#include "osc_daxpin.h"

/* Make a window that does nothing but synchronisation */
int osc_daxpin_single_new(ompi_win_t *win, int *model);

#endif
