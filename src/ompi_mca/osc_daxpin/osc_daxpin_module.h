/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_MODULE_H_
#define OSC_DAXPIN_MODULE_H_

/* A window: making it, its functions, and freeing it */

#include "osc_daxpin.h"

/* Make a window over files. The segment is over the program's own mapping, if
 * there is one; it is the window's from now on, or released. Collective. */
int osc_daxpin_module_open(const osc_daxpin_component_t *component,
                           const osc_daxpin_spec_t *spec,
                           osc_daxpin_segment_t *segment, ompi_win_t *win,
                           void **base, size_t size,
                           osc_daxpin_unit_t disp_unit,
                           ompi_communicator_t *comm, opal_info_t *info,
                           int flavor, int *model);

/* Return whether a window is one of this component's */
int osc_daxpin_module_is_own(const ompi_win_t *win);

#endif
