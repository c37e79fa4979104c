/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * For tests of the pin module: an RDMA device that reads and writes registered
 * memory only. Both ends are in one process and on one device, because
 * soft-RoCE does not reach another address of its own kernel. A pair of RC
 * queue pairs connects them.
 */

#ifndef NIC_H_
#define NIC_H_

#include "pinned.h"

#include <infiniband/verbs.h>
#include <netinet/in.h>

#define NIC_ACCESS \
    (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
     IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
#define NIC_BUFFER (1 << 20)

static UNUSED const char *nic_device = "rxe0";

typedef struct nic_end {
    struct ibv_context *context;
    struct ibv_pd      *pd;
    struct ibv_cq      *cq;
    struct ibv_qp      *qp;
    union ibv_gid      gid;
    int                gid_index;
    uint16_t           lid; /* of InfiniBand; 0: of Ethernet */
} nic_end_t;

typedef struct nic {
    nic_end_t     near;   /* has the buffer, and begins all transfers */
    nic_end_t     far;    /* registers what is written to */
    char          *buffer; /* NIC_BUFFER bytes */
    struct ibv_mr *mr;    /* of the buffer */
} nic_t;

/* On Ethernet an address that others know, which is not one of the link */
static int nic_find_gid(nic_end_t *end)
{
    struct ibv_port_attr port;

    if ((ibv_query_port(end->context, 1, &port) == 0) &&
        (port.link_layer == IBV_LINK_LAYER_INFINIBAND)) {
        end->lid = port.lid;
        return (ibv_query_gid(end->context, 1, 0, &end->gid) == 0) ?
                       0 :
                       fail("ibv_query_gid");
    }
    for (end->gid_index = 0; end->gid_index < 16; ++end->gid_index) {
        if ((ibv_query_gid(end->context, 1, end->gid_index, &end->gid) == 0) &&
            IN6_IS_ADDR_V4MAPPED((struct in6_addr*)end->gid.raw)) {
            return 0;
        }
    }
    return fail("no IPv4 address");
}

static int nic_open_end(nic_end_t *end, const char *name)
{
    struct ibv_device **devices = ibv_get_device_list(NULL);
    int i;

    memset(end, 0, sizeof(*end));
    for (i = 0; (devices != NULL) && (devices[i] != NULL); ++i) {
        if (strcmp(ibv_get_device_name(devices[i]), name) == 0) {
            end->context = ibv_open_device(devices[i]);
        }
    }
    ibv_free_device_list(devices);
    if ((end->context == NULL) || (nic_find_gid(end) != 0)) {
        return fail(name);
    }
    end->pd = ibv_alloc_pd(end->context);
    end->cq = ibv_create_cq(end->context, 64, NULL, NULL, 0);
    return ((end->pd != NULL) && (end->cq != NULL)) ? 0 : fail(name);
}

static int nic_make_qp(nic_end_t *end)
{
    struct ibv_qp_init_attr init = {
        .send_cq = end->cq,
        .recv_cq = end->cq,
        .qp_type = IBV_QPT_RC,
        .cap     = {.max_send_wr  = 32,
                    .max_recv_wr  = 1,
                    .max_send_sge = 1,
                    .max_recv_sge = 1}
    };
    struct ibv_qp_attr attr = {.qp_state        = IBV_QPS_INIT,
                               .port_num        = 1,
                               .qp_access_flags = NIC_ACCESS};

    end->qp = ibv_create_qp(end->pd, &init);
    if ((end->qp == NULL) ||
        (ibv_modify_qp(end->qp, &attr,
                       IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
                       IBV_QP_ACCESS_FLAGS) != 0)) {
        return fail("a queue pair");
    }
    return 0;
}

static int nic_join(nic_end_t *end, const nic_end_t *other)
{
    struct ibv_qp_attr attr = {
        .qp_state           = IBV_QPS_RTR,
        .path_mtu           = IBV_MTU_1024,
        .dest_qp_num        = other->qp->qp_num,
        .max_dest_rd_atomic = 4,
        .min_rnr_timer      = 12
    };

    attr.ah_attr.dlid           = other->lid;
    attr.ah_attr.is_global      = (other->lid == 0);
    attr.ah_attr.port_num       = 1;
    attr.ah_attr.grh.dgid       = other->gid;
    attr.ah_attr.grh.sgid_index = (uint8_t)end->gid_index;
    attr.ah_attr.grh.hop_limit  = 4;
    if (ibv_modify_qp(end->qp, &attr,
                      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU |
                      IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) != 0) {
        return fail("a queue pair that is ready to receive");
    }
    attr.qp_state      = IBV_QPS_RTS;
    attr.timeout       = 18; /* 1 s; slow is not dead */
    attr.retry_cnt     = 7;
    attr.rnr_retry     = 7;
    attr.max_rd_atomic = 4;
    if (ibv_modify_qp(end->qp, &attr,
                      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                      IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                      IBV_QP_MAX_QP_RD_ATOMIC) != 0) {
        return fail("a queue pair that is ready to send");
    }
    return 0;
}

/* Also after an error, which spoils the queue pairs */
static UNUSED int nic_connect(nic_t *nic)
{
    struct ibv_wc wc;

    if (nic->near.qp != NULL) {
        ibv_destroy_qp(nic->near.qp);
        ibv_destroy_qp(nic->far.qp);
        while ((ibv_poll_cq(nic->near.cq, 1, &wc) > 0) ||
               (ibv_poll_cq(nic->far.cq, 1, &wc) > 0)) {
        }
    }
    return ((nic_make_qp(&nic->near) == 0) && (nic_make_qp(&nic->far) == 0) &&
            (nic_join(&nic->near, &nic->far) == 0) &&
            (nic_join(&nic->far, &nic->near) == 0)) ? 0 : -1;
}

static UNUSED int nic_open(nic_t *nic)
{
    if ((nic_open_end(&nic->near, nic_device) != 0) ||
        (nic_open_end(&nic->far, nic_device) != 0)) {
        return -1;
    }
    nic->buffer = mmap(NULL, NIC_BUFFER, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    nic->mr     = ibv_reg_mr(nic->near.pd, nic->buffer, NIC_BUFFER,
                             NIC_ACCESS);
    return (nic->mr != NULL) ? nic_connect(nic) : fail("ibv_reg_mr of DRAM");
}

static UNUSED void nic_close(nic_t *nic)
{
    nic_end_t *ends[] = {&nic->near, &nic->far};
    unsigned i;

    if (nic->mr != NULL) {
        ibv_dereg_mr(nic->mr);
    }
    for (i = 0; i < 2; ++i) {
        if (ends[i]->qp != NULL) {
            ibv_destroy_qp(ends[i]->qp);
        }
    }
    for (i = 0; i < 2; ++i) {
        if (ends[i]->context != NULL) {
            ibv_destroy_cq(ends[i]->cq);
            ibv_dealloc_pd(ends[i]->pd);
            ibv_close_device(ends[i]->context);
        }
    }
    munmap(nic->buffer, NIC_BUFFER);
}

/* One transfer between the beginning of the buffer and remote memory: 0, or the
 * status of its completion; -1: it did not end */
static UNUSED int nic_transfer(nic_t *nic, enum ibv_wr_opcode opcode,
                               uint64_t addr, uint32_t rkey, size_t length)
{
    struct ibv_sge sge          = {.addr   = (uintptr_t)nic->buffer,
                                   .length = (uint32_t)length,
                                   .lkey   = nic->mr->lkey};
    struct ibv_send_wr *bad, wr = {.sg_list    = &sge,
                                   .num_sge    = 1,
                                   .opcode     = opcode,
                                   .send_flags = IBV_SEND_SIGNALED,
                                   .wr.rdma    = {.remote_addr = addr,
                                                  .rkey        = rkey}};
    time_t end = time(NULL) + 60;
    struct ibv_wc wc;

    if (ibv_post_send(nic->near.qp, &wr, &bad) != 0) {
        return -1;
    }
    while (time(NULL) < end) {
        if (ibv_poll_cq(nic->near.cq, 1, &wc) == 1) {
            return (int)wc.status;
        }
    }
    return -1;
}

/* One message from one end to the other: 0, or the status of one of its
 * completions; -1: it did not end */
static UNUSED int nic_message(nic_end_t *from, struct ibv_sge *out,
                              nic_end_t *to, struct ibv_sge *in)
{
    struct ibv_send_wr *bad_send, send = {.sg_list    = out,
                                          .num_sge    = 1,
                                          .opcode     = IBV_WR_SEND,
                                          .send_flags = IBV_SEND_SIGNALED};
    struct ibv_recv_wr *bad_recv, recv = {.sg_list = in, .num_sge = 1};
    time_t end = time(NULL) + 60;
    int left   = 2;
    struct ibv_wc wc;

    if ((ibv_post_recv(to->qp, &recv, &bad_recv) != 0) ||
        (ibv_post_send(from->qp, &send, &bad_send) != 0)) {
        return -1;
    }
    while ((left > 0) && (time(NULL) < end)) {
        if ((ibv_poll_cq(from->cq, 1, &wc) == 1) ||
            (ibv_poll_cq(to->cq, 1, &wc) == 1)) {
            if (wc.status != IBV_WC_SUCCESS) {
                return (int)wc.status;
            }
            --left;
        }
    }
    return (left == 0) ? 0 : -1;
}

#endif
