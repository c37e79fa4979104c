/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_RDMA_H_
#define DAXPIN_TOOLS_RDMA_H_

#include <stddef.h>

typedef struct daxpin_rdma {
    char name[64];      /* mlx5_0 */
    char interface[64]; /* of a device in software: what it is on; "" */
    int  numa_node;     /* -1: not known */
    int  distance;      /* of the node to that of the file; -1: not known */
    int  active;        /* a port of it is */
} daxpin_rdma_t;

/* The RDMA devices, nearest to a NUMA node first; NULL: none. To be freed. */
daxpin_rdma_t *daxpin_rdma_list(int numa_node, size_t *count_p);

#endif
