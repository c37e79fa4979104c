/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_PARAMS_H_
#define DAXPIN_PARAMS_H_

/* Structures of parameters in daxpin.h: each begins with its size, so that
 * programs and libraries of different ages understand each other */

#include "daxpin/daxpin.h"

#include <stddef.h>

/* Copy a structure that a caller has filled in. Members that the caller does
 * not know are 0 in the copy. given NULL: all are. Return 0; or -EINVAL with a
 * message, if the size is none of this structure, or a member that this library
 * does not know is set. Needs no lock. */
int daxpin_params_copy(const daxpin_params_t *given, daxpin_params_t *params);
int daxpin_owner_copy(const daxpin_owner_t *given, daxpin_owner_t *owner);

#endif
