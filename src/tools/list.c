/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Lists in a string: the values of variables, and enumerations in messages */

#include "list.h"

#include <stdio.h>
#include <string.h>

int daxpin_list_next(const char **list_p, char *element, size_t size)
{
    size_t length = strcspn(*list_p, ",");

    if (**list_p == '\0') {
        return 0;
    }
    snprintf(element, size, "%.*s", (int)length, *list_p);
    *list_p += length + ((*list_p)[length] == ',');
    return 1;
}

void daxpin_list_append(char *list, size_t size, const char *separator,
                        const char *element)
{
    size_t used = strlen(list);

    snprintf(list + used, size - used, "%s%s", (used > 0) ? separator : "",
             element);
}
