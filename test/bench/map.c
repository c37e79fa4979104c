/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time ucp_mem_map() and ucp_mem_unmap() of ordinary memory */

/*
 * usage: map; prints: NS
 */

#define _GNU_SOURCE

#include "side.h"
#include "stats.h"

#define LENGTH (1u << 20)
#define ROUNDS 101
#define COUNT  500

static double map_ns(const side_t *side, void *base)
{
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                      UCP_MEM_MAP_PARAM_FIELD_LENGTH,
        .address    = base,
        .length     = LENGTH
    };
    double start = now();
    ucp_mem_h memh;
    int i;

    for (i = 0; i < COUNT; ++i) {
        side_check(ucp_mem_map(side->context, &params, &memh), "map");
        side_check(ucp_mem_unmap(side->context, memh), "unmap");
    }
    return (now() - start) * 1e9 / COUNT;
}

int main(void)
{
    void *base = malloc(LENGTH);
    double ns[ROUNDS];
    side_t side;
    int i;

    if (base == NULL) {
        return 1;
    }
    memset(base, 0, LENGTH);
    side_init(&side, NULL);
    map_ns(&side, base);
    for (i = 0; i < ROUNDS; ++i) {
        ns[i] = map_ns(&side, base);
    }
    printf("%.1f\n", median(ns, ROUNDS));
    return 0;
}
