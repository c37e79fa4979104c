/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The RDMA devices of this machine and their NUMA nodes */

#ifndef DAXPIN_TOOLS_RDMA_H_
#define DAXPIN_TOOLS_RDMA_H_

#include <stddef.h>

typedef struct daxpin_rdma {
    char name[64];      /* mlx5_0 */
    char interface[64]; /* the network device under a software device; "" */
    int  numa_node;     /* -1: not known */
    int  distance;      /* from the node asked for; -1: not known */
    int  active;        /* one of its ports is active */
} daxpin_rdma_t;

/* Return the RDMA devices, nearest to a NUMA node first; NULL if there are
 * none. The caller frees the list. */
daxpin_rdma_t *daxpin_rdma_list(int numa_node, size_t *count_p);

#endif
