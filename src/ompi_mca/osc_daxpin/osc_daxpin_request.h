/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_REQUEST_H_
#define OSC_DAXPIN_REQUEST_H_

/* Requests of MPI_Rput() and MPI_Rget() to other nodes */

#include "osc_daxpin.h"

/* Called once in a process */
void osc_daxpin_requests_init(void);
void osc_daxpin_requests_finalize(void);

/* Of a window that has targets on other nodes. Closing waits until no request
 * is under way. */
void osc_daxpin_requests_open(osc_daxpin_module_t *module);
void osc_daxpin_requests_close(osc_daxpin_module_t *module);

/* Wait until another request may be under way */
void osc_daxpin_requests_await(void);

/* Make a request from @a inner, which moves the data and is the request's from
 * now on */
int osc_daxpin_request_start(osc_daxpin_module_t *module, int target,
                             ompi_request_t *inner,
                             ompi_request_t **request_p);

#endif
