/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_LOCAL_H_
#define OSC_DAXPIN_LOCAL_H_

/* Epochs of a window whose ranks are all on one node */

#include "osc_daxpin.h"

extern const osc_daxpin_epochs_t osc_daxpin_epochs_local;

int  osc_daxpin_local_init(osc_daxpin_module_t *module);
void osc_daxpin_local_cleanup(osc_daxpin_module_t *module);

#endif
