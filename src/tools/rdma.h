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
    char driver[64];    /* of the kernel; "": a software device */
    int  demand;        /* it reports on-demand paging; -1: not known */
} daxpin_rdma_t;

/* How a device reaches the memory of files on fsdax */
typedef enum daxpin_rdma_way {
    DAXPIN_RDMA_EMULATION, /* the CPU does what the device would do */
    DAXPIN_RDMA_DEMAND,    /* on-demand paging */
    DAXPIN_RDMA_MAPPING,   /* of the pin module */
    DAXPIN_RDMA_DMABUF     /* of the pin module */
} daxpin_rdma_way_t;

/* Return how a device reaches files on fsdax with what the pin module offers
 * (DAXPIN_IOC_*; 0: no module), as far as this can be said without to try it.
 * Write the reason. */
daxpin_rdma_way_t daxpin_rdma_way(const daxpin_rdma_t *rdma, unsigned offers,
                                  char *reason, size_t size);

/* Return what a way is called */
const char *daxpin_rdma_way_name(daxpin_rdma_way_t way);

/* Return the RDMA devices, nearest to a NUMA node first; NULL if there are
 * none. The caller frees the list. */
daxpin_rdma_t *daxpin_rdma_list(int numa_node, size_t *count_p);

#endif
