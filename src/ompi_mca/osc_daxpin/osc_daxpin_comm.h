/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_COMM_H_
#define OSC_DAXPIN_COMM_H_

/* Put and get */

#include "osc_daxpin.h"

int osc_daxpin_put(const void *origin, osc_daxpin_count_t origin_count,
                   ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                   osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                   ompi_win_t *win);
int osc_daxpin_get(void *origin, osc_daxpin_count_t origin_count,
                   ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                   osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                   ompi_win_t *win);
int osc_daxpin_rput(const void *origin, osc_daxpin_count_t origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, ompi_request_t **request);
int osc_daxpin_rget(void *origin, osc_daxpin_count_t origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, ompi_request_t **request);

#endif
