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

/* Wait until the inner component has begun all requests of a window, so that it
 * can complete them, or fail because none comes to its end */
int osc_daxpin_requests_begin_all(const osc_daxpin_module_t *module);

typedef void (*osc_daxpin_note_put_t)(osc_daxpin_module_t *module,
                                      const osc_daxpin_range_t *range);

/* Make a request of a move to a target on another node. The range is as
 * osc_daxpin_range_get() made it. note_put is called when the inner component has
 * begun a put, which may be later. */
int osc_daxpin_request_start(osc_daxpin_module_t *module,
                             const osc_daxpin_move_t *move,
                             const osc_daxpin_range_t *range,
                             osc_daxpin_note_put_t note_put,
                             ompi_request_t **request_p);

#endif
