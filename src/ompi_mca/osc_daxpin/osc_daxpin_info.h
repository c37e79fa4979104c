/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_INFO_H_
#define OSC_DAXPIN_INFO_H_

/* What MPI_Win_get_info() returns */

#include "osc_daxpin.h"

/* Set the value of a key that is in use as long as the window lives. When the
 * program sets another one, this one stays. Failures are ignored: Open MPI
 * ignores its own, too. */
void osc_daxpin_info_use(ompi_win_t *win, const char *key, const char *value);

#endif
