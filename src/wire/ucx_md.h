/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Whether the user has enabled daxpin for UCX */

#ifndef DAXPIN_UCX_MD_H_
#define DAXPIN_UCX_MD_H_

#include <stdlib.h>
#include <string.h>

/*
 * The user enables daxpin by the environment variable UCX_MD, a list that has
 * to contain it. The list is read before UCX is loaded, so not by UCX's parser.
 * As in UCX, names are separated by commas, without blanks.
 */

#define DAXPIN_UCX_MD      "UCX_MD"
#define DAXPIN_UCX_MD_NAME "daxpin"

static inline int daxpin_list_has(const char *list, const char *name)
{
    size_t length;

    while ((list != NULL) && (*list != '\0')) {
        length = strcspn(list, ",");
        if ((length == strlen(name)) && (strncmp(list, name, length) == 0)) {
            return 1;
        }
        list += length + (list[length] == ',');
    }
    return 0;
}

static inline int daxpin_ucx_md_names_us(void)
{
    return daxpin_list_has(getenv(DAXPIN_UCX_MD), DAXPIN_UCX_MD_NAME);
}

#endif
