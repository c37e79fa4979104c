/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The environment in which programs find the parts of this daxpin */

#ifndef DAXPIN_TOOLS_ENV_H_
#define DAXPIN_TOOLS_ENV_H_

#include "place.h"

/* Called with each variable that has to change, and its new value */
typedef int (*daxpin_env_func_t)(const char *name, const char *value);

/* Call func for each variable that programs need to find the parts of this
 * daxpin, with its value in the present environment plus what is missing.
 * Return 0, or -1 after a message. */
int daxpin_env_walk(const daxpin_place_t *place, daxpin_env_func_t func);

/* Call func with the list in a variable plus an element, unless the list has it
 * already. before: whether the element goes to the front of the list. */
int daxpin_env_add(const char *name, const char *element, char separator,
                   int before, daxpin_env_func_t func);

#endif
