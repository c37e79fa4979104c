/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_ENV_H_
#define DAXPIN_TOOLS_ENV_H_

#include "place.h"

/* Called with each variable that has to change, and its new value */
typedef int (*daxpin_env_func_t)(const char *name, const char *value);

/* Walk the variables with which programs find the parts of this daxpin, as
 * they should be added to the present environment. 0, or -1 after a message. */
int daxpin_env_walk(const daxpin_place_t *place, daxpin_env_func_t func);

/* One more element of the list in variable name, once. It goes before what
 * is there if before != 0, else after it; separated by separator. */
int daxpin_env_add(const char *name, const char *element, char separator,
                   int before, daxpin_env_func_t func);

#endif
