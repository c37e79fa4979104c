/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A libibverbs that counts registrations, and writes a byte to the memory of each
 * until the moment of its release; see demand.c. It has one device, verbs_pd, which
 * copies as it should, so that the probe of on-demand paging trusts it; see cache.c.
 */

#include <infiniband/verbs.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#undef ibv_query_port

atomic_int verbs_registered; /* that are not released */
atomic_int verbs_failures;   /* releases that are to fail */
atomic_int verbs_dmabufs;    /* registrations of a dma-buf that were tried */
atomic_int verbs_error;      /* of registrations of a dma-buf; 0: they work */
atomic_ullong verbs_offset;  /* in the last dma-buf */
atomic_uint verbs_key;       /* of the last registration */
atomic_int verbs_pairs;      /* queue pairs that were made: a probe makes two */
atomic_int verbs_corrupts;   /* what is registered on demand is written wrongly */

static struct ibv_mr *register_memory(void *addr)
{
    struct ibv_mr *mr = calloc(1, sizeof(*mr));

    mr->addr = addr;
    mr->rkey = ++verbs_key;
    ++verbs_registered;
    return mr;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
                                uint64_t iova, unsigned access)
{
    return register_memory(addr);
}

struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset,
                                 size_t length, uint64_t iova, int fd,
                                 int access)
{
    ++verbs_dmabufs;
    verbs_offset = offset;
    if (verbs_error != 0) {
        errno = verbs_error;
        return NULL;
    }
    if (lseek(fd, 0, SEEK_END) < (off_t)(offset + length)) {
        errno = EINVAL;
        return NULL;
    }
    return register_memory(NULL);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
    if (verbs_failures > 0) {
        --verbs_failures;
        return 16; /* EBUSY */
    }
    if (mr->addr != NULL) {
        *(volatile char*)mr->addr = 'd';
    }
    --verbs_registered;
    free(mr);
    return 0;
}

/*
 * The device
 */

static struct ibv_device verbs_device = {.name = "fake0"};
static int verbs_completions; /* that are due */

static int verbs_query_device(struct ibv_context *context,
                              const struct ibv_query_device_ex_input *input,
                              struct ibv_device_attr_ex *attr, size_t size)
{
    attr->orig_attr.phys_port_cnt                  = 1;
    attr->odp_caps.general_caps                    = IBV_ODP_SUPPORT;
    attr->odp_caps.per_transport_caps.rc_odp_caps = UINT32_MAX;
    attr->odp_caps.per_transport_caps.ud_odp_caps = UINT32_MAX;
    return 0;
}

static int verbs_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
                           struct ibv_send_wr **bad)
{
    void *near = (void*)(uintptr_t)wr->sg_list->addr;
    void *far  = (void*)(uintptr_t)wr->wr.rdma.remote_addr;

    if (wr->opcode == IBV_WR_RDMA_WRITE) {
        memcpy(far, near, wr->sg_list->length);
        *(char*)far ^= (char)verbs_corrupts;
    } else if (wr->opcode == IBV_WR_RDMA_READ) {
        memcpy(near, far, wr->sg_list->length);
    } else {
        far = (void*)(uintptr_t)wr->wr.atomic.remote_addr;
        memcpy(near, far, sizeof(uint64_t));
        *(uint64_t*)far += wr->wr.atomic.compare_add;
    }
    ++verbs_completions;
    return 0;
}

static int verbs_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    if (verbs_completions == 0) {
        return 0;
    }
    --verbs_completions;
    wc->status = IBV_WC_SUCCESS;
    return 1;
}

static struct verbs_context verbs_context = {
    .query_device_ex = verbs_query_device,
    .sz              = sizeof(verbs_context),
    .context         = {
        .device     = &verbs_device,
        .ops        = {.post_send = verbs_post_send, .poll_cq = verbs_poll_cq},
        .cmd_fd     = -1,
        .abi_compat = __VERBS_ABI_IS_EXTENDED
    }
};

struct ibv_pd verbs_pd = {.context = &verbs_context.context};

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *arg,
                             struct ibv_comp_channel *channel, int vector)
{
    struct ibv_cq *cq = calloc(1, sizeof(*cq));

    cq->context = context;
    return cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
    free(cq);
    return 0;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
    struct ibv_qp *qp = calloc(1, sizeof(*qp));

    qp->context = pd->context;
    ++verbs_pairs;
    return qp;
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
    free(qp);
    return 0;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    return 0;
}

int ibv_query_port(struct ibv_context *context, uint8_t port,
                   struct _compat_ibv_port_attr *compat)
{
    struct ibv_port_attr *attr = (void*)compat;

    attr->state      = IBV_PORT_ACTIVE;
    attr->link_layer = IBV_LINK_LAYER_ETHERNET;
    return 0;
}

int ibv_query_gid(struct ibv_context *context, uint8_t port, int index,
                  union ibv_gid *gid)
{
    memset(gid, 1, sizeof(*gid));
    return 0;
}
