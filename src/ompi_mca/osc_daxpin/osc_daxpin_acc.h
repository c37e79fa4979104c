/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_ACC_H_
#define OSC_DAXPIN_ACC_H_

/* Accumulates */

#include "osc_daxpin.h"

int osc_daxpin_accumulate(const void *origin, osc_daxpin_count_t origin_count,
                          ompi_datatype_t *origin_dt, int target,
                          ptrdiff_t disp, osc_daxpin_count_t target_count,
                          ompi_datatype_t *target_dt, ompi_op_t *op,
                          ompi_win_t *win);
int osc_daxpin_compare_and_swap(const void *origin, const void *compare,
                                void *result, ompi_datatype_t *dt, int target,
                                ptrdiff_t disp, ompi_win_t *win);
int osc_daxpin_fetch_and_op(const void *origin, void *result,
                            ompi_datatype_t *dt, int target, ptrdiff_t disp,
                            ompi_op_t *op, ompi_win_t *win);
int osc_daxpin_get_accumulate(const void *origin,
                              osc_daxpin_count_t origin_count,
                              ompi_datatype_t *origin_dt, void *result,
                              osc_daxpin_count_t result_count,
                              ompi_datatype_t *result_dt, int target,
                              ptrdiff_t disp, osc_daxpin_count_t target_count,
                              ompi_datatype_t *target_dt, ompi_op_t *op,
                              ompi_win_t *win);
int osc_daxpin_raccumulate(const void *origin, osc_daxpin_count_t origin_count,
                           ompi_datatype_t *origin_dt, int target,
                           ptrdiff_t disp, osc_daxpin_count_t target_count,
                           ompi_datatype_t *target_dt, ompi_op_t *op,
                           ompi_win_t *win, ompi_request_t **request);
int osc_daxpin_rget_accumulate(const void *origin,
                               osc_daxpin_count_t origin_count,
                               ompi_datatype_t *origin_dt, void *result,
                               osc_daxpin_count_t result_count,
                               ompi_datatype_t *result_dt, int target,
                               ptrdiff_t disp, osc_daxpin_count_t target_count,
                               ompi_datatype_t *target_dt, ompi_op_t *op,
                               ompi_win_t *win, ompi_request_t **request);

#endif
