/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_NODE_H_
#define OSC_DAXPIN_NODE_H_

/* The ranks of this node, and what all ranks agree on */

#include "osc_daxpin.h"

/* Return the first error of any rank, on all ranks. Collective. A rank that fails
 * alone before a collective call has to agree first: the others would wait for
 * it, or take its next call for this one. */
int osc_daxpin_agree(const osc_daxpin_module_t *module, int ret);
int osc_daxpin_agree_in(ompi_communicator_t *comm, int ret);

/* Collective */
int  osc_daxpin_node_open(osc_daxpin_module_t *module);
void osc_daxpin_node_close(osc_daxpin_node_t *node);

/* Return the number of a namespace of this process, such as "pid"; 0: not
 * known */
uint64_t osc_daxpin_space(const char *name);

/* Lock the memory of a rank of this node for an accumulate, which a window
 * without remote targets does. Return OMPI_SUCCESS, or an error with a message:
 * a process ended while it had the lock, or has it for too long. */
int  osc_daxpin_node_lock(osc_daxpin_module_t *module, int node_rank);
void osc_daxpin_node_unlock(osc_daxpin_module_t *module, int node_rank);

#endif
