/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_ATTACHED_H_
#define OSC_DAXPIN_ATTACHED_H_

/* Memory that this rank attached to a dynamic window */

#include "osc_daxpin.h"

int  osc_daxpin_attached_open(osc_daxpin_module_t *module);
void osc_daxpin_attached_close(osc_daxpin_module_t *module);

/* Caller holds attach_mutex. Return the segment at an address, or NULL. */
osc_daxpin_segment_t *osc_daxpin_attached_find(osc_daxpin_module_t *module,
                                               uint64_t start);

/* Return what this rank exposes: its segment, or all that it attached */
osc_daxpin_segment_t *osc_daxpin_own_segments(osc_daxpin_module_t *module,
                                              uint64_t *count_p);

/* Write why the first of this rank's files that are revoked is; if none is, do
 * nothing */
void osc_daxpin_own_cause(osc_daxpin_module_t *module, char *buffer,
                          size_t size);

int osc_daxpin_win_attach(ompi_win_t *win, void *base, size_t size);
int osc_daxpin_win_detach(ompi_win_t *win, const void *base);

#endif
