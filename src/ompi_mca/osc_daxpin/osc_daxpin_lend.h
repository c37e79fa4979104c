/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_LEND_H_
#define OSC_DAXPIN_LEND_H_

/* Files that a rank attaches to a dynamic window, and others have open */

#include "osc_daxpin.h"

#include "daxpin/adopt.h"

/* Lend to other ranks of the node, whenever this one makes progress. For a
 * dynamic window. */
void osc_daxpin_lend_open(osc_daxpin_module_t *module);

/* Adopt what was located. If the lease does not come, because ranks have the file
 * open, they are to lend it first: wait for those that can be seen, as long as
 * for the lease. Return 0, or -errno with a message and nothing left. Not
 * collective. */
int osc_daxpin_lend_adopt(osc_daxpin_module_t *module,
                          daxpin_adoption_t *adoption);

#endif
