/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_SHADOW_H_
#define OSC_DAXPIN_SHADOW_H_

/* Windows of the inner component */

#include "osc_daxpin.h"

/* Collective; the same result on all ranks. @a info may be NULL. */
int  osc_daxpin_shadow_open(const osc_daxpin_module_t *module,
                           const ompi_win_t *win, void *base, size_t size,
                           osc_daxpin_unit_t disp_unit, opal_info_t *info,
                           int *model_p, osc_daxpin_shadow_t *shadow);
void osc_daxpin_shadow_close(osc_daxpin_shadow_t *shadow);

/* Leave a window without a file to the best other component */
int osc_daxpin_pass_through(const osc_daxpin_component_t *self, ompi_win_t *win,
                            void **base, size_t size,
                            osc_daxpin_unit_t disp_unit,
                            ompi_communicator_t *comm, opal_info_t *info,
                            int flavor, int *model);

#endif
