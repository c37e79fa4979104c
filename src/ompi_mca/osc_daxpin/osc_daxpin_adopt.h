/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_ADOPT_H_
#define OSC_DAXPIN_ADOPT_H_

/* Memory that the program has mapped itself, adopted by all ranks together */

#include "osc_daxpin.h"

#include "daxpin/adopt.h"

/* Find the file of this rank's memory, if there is one that daxpin leases. Not
 * collective. */
int osc_daxpin_adopt_locate(void *base, size_t size, unsigned timeout_ms,
                            daxpin_adoption_t *adoption,
                            osc_daxpin_segment_t *segment);

/* Adopt what was found, if anything. Other ranks of the node that have such a
 * file open, and expose no memory of it, lend what they have. If that fails on
 * any rank, it fails on all and leaves nothing behind. Collective. */
int osc_daxpin_adopt(ompi_communicator_t *comm, daxpin_adoption_t *adoption,
                     osc_daxpin_segment_t *segment);

#endif
