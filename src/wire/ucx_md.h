/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_UCX_MD_H_
#define DAXPIN_UCX_MD_H_

#include <stdlib.h>
#include <string.h>

/*
 * How a user opts in: the environment variable UCX_MD, a list of which daxpin
 * has to be a member. Read before anything of UCX is touched, and where there
 * may be no UCX, so not with its parser; lists are as there, with commas and
 * without blanks.
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
