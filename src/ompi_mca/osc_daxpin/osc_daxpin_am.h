/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_AM_H_
#define OSC_DAXPIN_AM_H_

/* Active messages: dynamic windows between nodes */

#include "osc_daxpin.h"

extern const osc_daxpin_way_t osc_daxpin_way_am;

void osc_daxpin_am_open(osc_daxpin_module_t *module);
void osc_daxpin_am_close(osc_daxpin_module_t *module);

#endif
