/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_SERVICE_H_
#define OSC_DAXPIN_SERVICE_H_

/* What this rank does for others, in any window, when it makes progress */

#include "osc_daxpin.h"

/* Begin a service of a window. Its function is not called by two threads at
 * once, nor by the progress that it makes itself; that of the other service
 * may be. */
void osc_daxpin_service_open(osc_daxpin_module_t *module,
                             osc_daxpin_service_t service,
                             osc_daxpin_serve_func_t func);

/* End all services of a window, if there are any */
void osc_daxpin_services_close(osc_daxpin_module_t *module);

/* End those of windows that could not be freed, because a rank has ended */
void osc_daxpin_services_finalize(void);

#endif
