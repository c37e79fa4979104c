/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Lists in a string: the values of variables, and enumerations in messages */

#ifndef DAXPIN_TOOLS_LIST_H_
#define DAXPIN_TOOLS_LIST_H_

#include <stddef.h>

/* Copy the first element of a list with commas and move *list_p behind it.
 * Return 0 at the end of the list. */
int daxpin_list_next(const char **list_p, char *element, size_t size);

/* Append an element to a list, after a separator unless the list is empty.
 * What does not fit is cut off. */
void daxpin_list_append(char *list, size_t size, const char *separator,
                        const char *element);

#endif
