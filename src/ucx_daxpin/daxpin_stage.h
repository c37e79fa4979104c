/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Staging buffers for local buffers that a NIC cannot register */

#ifndef UCT_DAXPIN_STAGE_H_
#define UCT_DAXPIN_STAGE_H_

#include "abi/adapt.h"

/*
 * Zero-copy operations of a NIC with local buffers that the NIC cannot
 * register, or has registered on demand, which is for others. The data goes
 * through staging buffers of the interface, which are registered. Each
 * operation stages its buffers, not the registration, because UCP may use what
 * it keeps registered at any time and for many operations.
 */

/* The memory handle of all those local buffers. No key of it is valid. */
extern uct_ib_mem_t uct_daxpin_stage_memh;

/* Have all transports of a component stage such buffers. Called once, before
 * any interface is opened. */
void uct_daxpin_stage_transports(uct_component_t *component);

#endif
