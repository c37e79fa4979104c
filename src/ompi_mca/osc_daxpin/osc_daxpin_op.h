/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_OP_H_
#define OSC_DAXPIN_OP_H_

/* Which operations MPI allows with which types */

#include "osc_daxpin.h"

/* Return MPI_ERR_OP if an accumulate must not use the operation with the type.
 * Open MPI checks that in all calls but MPI_Fetch_and_op(). */
int osc_daxpin_op_check(const ompi_op_t *op, const ompi_datatype_t *dt);

/* Return whether a predefined type is an integer, signed or not. */
int osc_daxpin_op_is_integer(const ompi_datatype_t *dt);

#endif
