/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * How long ucp_mem_map() and ucp_mem_unmap() of ordinary memory take.
 *
 * usage: map; prints: NS
 */

#define _GNU_SOURCE

#include "peer.h"
#include "stats.h"

#define LENGTH (1u << 20)
#define ROUNDS 101
#define COUNT  500

static double map_ns(const peer_t *peer, void *base)
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
        peer_check(ucp_mem_map(peer->context, &params, &memh), "map");
        peer_check(ucp_mem_unmap(peer->context, memh), "unmap");
    }
    return (now() - start) * 1e9 / COUNT;
}

int main(void)
{
    void *base = malloc(LENGTH);
    double ns[ROUNDS];
    peer_t peer;
    int i;

    if (base == NULL) {
        return 1;
    }
    memset(base, 0, LENGTH);
    peer_init(&peer, NULL);
    map_ns(&peer, base);
    for (i = 0; i < ROUNDS; ++i) {
        ns[i] = map_ns(&peer, base);
    }
    printf("%.1f\n", median(ns, ROUNDS));
    return 0;
}
