/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What programs need that use components of UCX without UCP */

#ifndef DAXPIN_TEST_UCT_H_
#define DAXPIN_TEST_UCT_H_

#include <uct/api/uct.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* End the program unless something is true. */
static void check(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s: %s: failed\n", program_invocation_short_name,
                what);
        exit(1);
    }
}

/* Return daxpin's component. */
static inline uct_component_h find_component(void)
{
    uct_component_attr_t attr = {.field_mask = UCT_COMPONENT_ATTR_FIELD_NAME};
    uct_component_h found     = NULL;
    uct_component_h *components;
    unsigned i, count;

    check(uct_query_components(&components, &count) == UCS_OK,
          "uct_query_components");
    for (i = 0; i < count; ++i) {
        if ((uct_component_query(components[i], &attr) == UCS_OK) &&
            (strcmp(attr.name, "daxpin") == 0)) {
            found = components[i];
        }
    }
    uct_release_component_list(components);
    check(found != NULL, "the search for the component daxpin");
    return found;
}

#endif
