/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Whether the on-demand paging that a device reports does what it should */

#ifndef UCT_DAXPIN_MR_PROBE_H_
#define UCT_DAXPIN_MR_PROBE_H_

#ifdef HAVE_VERBS

#include <infiniband/verbs.h>

/* What a probe has found */
typedef enum uct_daxpin_odp {
    UCT_DAXPIN_ODP_UNKNOWN,  /* no memory or descriptor was left */
    UCT_DAXPIN_ODP_WORKS,
    UCT_DAXPIN_ODP_CORRUPTS, /* data came out wrong: never to be used */
    UCT_DAXPIN_ODP_ABSENT    /* not there, or it could not be shown to work */
} uct_daxpin_odp_t;

/* Functions of libibverbs, which is not linked. Those that are not here are
 * called by the device's own table, see <infiniband/verbs.h>. */
typedef struct uct_daxpin_verbs {
    struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t length,
                             uint64_t iova, unsigned access);
    struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t offset,
                                    size_t length, uint64_t iova, int fd,
                                    int access); /* NULL before version 34 */
    int           (*dereg_mr)(struct ibv_mr *mr);
    struct ibv_cq *(*create_cq)(struct ibv_context *context, int cqe,
                                void *cq_context,
                                struct ibv_comp_channel *channel,
                                int comp_vector);
    int           (*destroy_cq)(struct ibv_cq *cq);
    struct ibv_qp *(*create_qp)(struct ibv_pd *pd,
                                struct ibv_qp_init_attr *attr);
    int           (*destroy_qp)(struct ibv_qp *qp);
    int           (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attr,
                               int attr_mask);
    int           (*query_port)(struct ibv_context *context, uint8_t port,
                                struct _compat_ibv_port_attr *attr);
    int           (*query_gid)(struct ibv_context *context, uint8_t port,
                               int index, union ibv_gid *gid);
} uct_daxpin_verbs_t;

/**
 * Write, read and add through a connection of the device with itself, in memory
 * that is registered on demand: at odd addresses, over ends of pages, in several
 * packets; and compare every byte, also those beside.
 *
 * @param [in] ports  Number of the device's ports; one that is up is used.
 */
uct_daxpin_odp_t uct_daxpin_odp_probe(const uct_daxpin_verbs_t *verbs,
                                      struct ibv_pd *pd, unsigned ports);

/* The same, but each device is probed once in a process. */
uct_daxpin_odp_t uct_daxpin_odp_ask(const uct_daxpin_verbs_t *verbs,
                                    struct ibv_pd *pd, unsigned ports);

#endif
#endif
