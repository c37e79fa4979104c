/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_STAGE_H_
#define UCT_DAXPIN_STAGE_H_

#include "abi/abi.h"

/*
 * Zero-copy operations of a NIC with local buffers that it cannot register, or
 * has on demand, which is for others: the data goes through staging buffers of
 * the interface, which are registered. It is for the operation, not for the
 * registration, to do so: what UCP holds registered, it may use at any time and
 * for many operations.
 */

/* The memory handle of all those buffers; no key of it is valid */
extern uct_ib_mem_t uct_daxpin_stage_memh;

/* Let all transports of a component know it; once, before any is opened */
void uct_daxpin_stage_transports(uct_component_t *component);

#endif
