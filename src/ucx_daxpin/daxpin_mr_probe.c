/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Whether the on-demand paging that a device reports does what it should
 *
 * Soft-RoCE of Linux 6.15 to 7.3 reports it, and copies to the beginning of a
 * page what belongs into the middle. A program would lose data without a
 * message, so nothing is believed that was not seen.
 */

#include "daxpin_mr_probe.h"

#include "daxpin/os/fork.h"

#ifdef HAVE_VERBS

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define UCT_DAXPIN_PROBE_PAGES   6
#define UCT_DAXPIN_PROBE_WAIT_NS 2000000000ll /* for a completion */
#define UCT_DAXPIN_PROBE_PSN     77
#define UCT_DAXPIN_PROBE_GIDS    16
#define UCT_DAXPIN_PROBE_DEVICES 32

#define UCT_DAXPIN_PROBE_ACCESS (IBV_ACCESS_LOCAL_WRITE | \
                                 IBV_ACCESS_REMOTE_WRITE | \
                                 IBV_ACCESS_REMOTE_READ | \
                                 IBV_ACCESS_REMOTE_ATOMIC)

/* A connection of a device with itself, and memory at both of its ends */
typedef struct uct_daxpin_probe {
    const uct_daxpin_verbs_t *verbs;
    struct ibv_pd            *pd;
    struct ibv_cq            *cq;
    struct ibv_qp            *qps[2];
    struct ibv_mr            *mrs[2];   /* of the memory below */
    char                     *near;     /* local, registered as usual */
    char                     *far;      /* registered on demand */
    char                     *expected; /* what should be in `far` */
    size_t                   size;      /* of each */
    uint8_t                  port;
    int                      gid_index;
    int                      is_global; /* addresses are GIDs */
    uint16_t                 lid;
    union ibv_gid            gid;
} uct_daxpin_probe_t;

/* Where to write and read: an offset in pages and bytes, and a length in pages
 * and bytes */
typedef struct uct_daxpin_probe_step {
    unsigned page;
    unsigned offset;
    unsigned pages;
    unsigned length;
} uct_daxpin_probe_step_t;

static const uct_daxpin_probe_step_t uct_daxpin_probe_steps[] = {
    {0, 0, 1, 0},    /* a page, as it should be */
    {1, 1, 0, 1},    /* a byte */
    {1, 4001, 0, 200},
    {2, 123, 2, 457} /* in several packets */
};

static int uct_daxpin_probe_map(uct_daxpin_probe_t *probe)
{
    char *memory;

    probe->size = (size_t)sysconf(_SC_PAGESIZE) * UCT_DAXPIN_PROBE_PAGES;
    memory      = mmap(NULL, 3 * probe->size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return 0;
    }
    /* A child must not take pages of this away by copy-on-write */
    (void)madvise(memory, 3 * probe->size, MADV_DONTFORK);
    probe->near     = memory;
    probe->far      = memory + probe->size;
    probe->expected = memory + 2 * probe->size;
    return 1;
}

/* Find a port that is up, and an address of it. */
static int uct_daxpin_probe_address(uct_daxpin_probe_t *probe, unsigned ports)
{
    static const union ibv_gid none;
    struct ibv_context *context = probe->pd->context;
    struct ibv_port_attr attr;
    unsigned port;

    for (port = 1; port <= ports; ++port) {
        memset(&attr, 0, sizeof(attr));
        if ((probe->verbs->query_port(context, (uint8_t)port,
                                      (void*)&attr) != 0) ||
            (attr.state != IBV_PORT_ACTIVE)) {
            continue;
        }
        probe->port      = (uint8_t)port;
        probe->lid       = attr.lid;
        probe->is_global = attr.link_layer == IBV_LINK_LAYER_ETHERNET;
        for (probe->gid_index = 0;
             probe->gid_index < UCT_DAXPIN_PROBE_GIDS; ++probe->gid_index) {
            if ((probe->verbs->query_gid(context, (uint8_t)port,
                                         probe->gid_index, &probe->gid) == 0) &&
                (memcmp(&probe->gid, &none, sizeof(none)) != 0)) {
                return 1;
            }
        }
    }
    return 0;
}

/* Connect one queue pair with the other. Return 0 or an errno value. */
static int uct_daxpin_probe_connect(uct_daxpin_probe_t *probe,
                                    struct ibv_qp *qp, uint32_t other)
{
    struct ibv_qp_attr attr = {
        .qp_state        = IBV_QPS_INIT,
        .port_num        = probe->port,
        .qp_access_flags = UCT_DAXPIN_PROBE_ACCESS
    };
    int ret;

    ret = probe->verbs->modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
                                  IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    if (ret != 0) {
        return ret;
    }
    memset(&attr, 0, sizeof(attr));
    attr.qp_state                  = IBV_QPS_RTR;
    attr.path_mtu                  = IBV_MTU_1024;
    attr.dest_qp_num               = other;
    attr.rq_psn                    = UCT_DAXPIN_PROBE_PSN;
    attr.max_dest_rd_atomic        = 1;
    attr.min_rnr_timer             = 12;
    attr.ah_attr.dlid              = probe->lid;
    attr.ah_attr.port_num          = probe->port;
    attr.ah_attr.is_global         = (uint8_t)probe->is_global;
    attr.ah_attr.grh.dgid          = probe->gid;
    attr.ah_attr.grh.sgid_index    = (uint8_t)probe->gid_index;
    attr.ah_attr.grh.hop_limit     = 64;
    ret = probe->verbs->modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV |
                                  IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                                  IBV_QP_MIN_RNR_TIMER);
    if (ret != 0) {
        return ret;
    }
    memset(&attr, 0, sizeof(attr));
    attr.qp_state      = IBV_QPS_RTS;
    attr.timeout       = 14;
    attr.retry_cnt     = 7;
    attr.rnr_retry     = 7;
    attr.sq_psn        = UCT_DAXPIN_PROBE_PSN;
    attr.max_rd_atomic = 1;
    return probe->verbs->modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
                                   IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                   IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static struct ibv_qp *uct_daxpin_probe_create_qp(uct_daxpin_probe_t *probe)
{
    struct ibv_qp_init_attr attr = {
        .send_cq = probe->cq,
        .recv_cq = probe->cq,
        .cap     = {.max_send_wr  = 1,
                    .max_recv_wr  = 1,
                    .max_send_sge = 1,
                    .max_recv_sge = 1},
        .qp_type = IBV_QPT_RC
    };

    return probe->verbs->create_qp(probe->pd, &attr);
}

/* Return whether what errno says may be otherwise later. */
static uct_daxpin_odp_t uct_daxpin_probe_error(int error)
{
    return ((error == ENOMEM) || (error == EAGAIN) || (error == EMFILE)) ?
                   UCT_DAXPIN_ODP_UNKNOWN :
                   UCT_DAXPIN_ODP_ABSENT;
}

/* Make everything. Return UCT_DAXPIN_ODP_WORKS, or why not. */
static uct_daxpin_odp_t uct_daxpin_probe_open(uct_daxpin_probe_t *probe,
                                              unsigned ports)
{
    const uct_daxpin_verbs_t *verbs = probe->verbs;
    int ret                         = 0;

    if (!uct_daxpin_probe_map(probe)) {
        return UCT_DAXPIN_ODP_UNKNOWN;
    }
    if (!uct_daxpin_probe_address(probe, ports)) {
        return UCT_DAXPIN_ODP_ABSENT;
    }
    errno         = 0;
    probe->mrs[0] = verbs->reg_mr(probe->pd, probe->near, probe->size,
                                  (uintptr_t)probe->near,
                                  IBV_ACCESS_LOCAL_WRITE);
    probe->mrs[1] = verbs->reg_mr(probe->pd, probe->far, probe->size,
                                  (uintptr_t)probe->far,
                                  UCT_DAXPIN_PROBE_ACCESS |
                                          IBV_ACCESS_ON_DEMAND);
    probe->cq = verbs->create_cq(probe->pd->context, 8, NULL, NULL, 0);
    if ((probe->mrs[0] == NULL) || (probe->mrs[1] == NULL) ||
        (probe->cq == NULL)) {
        return uct_daxpin_probe_error(errno);
    }
    probe->qps[0] = uct_daxpin_probe_create_qp(probe);
    probe->qps[1] = uct_daxpin_probe_create_qp(probe);
    if ((probe->qps[0] == NULL) || (probe->qps[1] == NULL)) {
        return uct_daxpin_probe_error(errno);
    }
    ret = uct_daxpin_probe_connect(probe, probe->qps[0],
                                   probe->qps[1]->qp_num);
    if (ret == 0) {
        ret = uct_daxpin_probe_connect(probe, probe->qps[1],
                                       probe->qps[0]->qp_num);
    }
    return (ret == 0) ? UCT_DAXPIN_ODP_WORKS : uct_daxpin_probe_error(ret);
}

static void uct_daxpin_probe_close(uct_daxpin_probe_t *probe)
{
    int i;

    for (i = 0; i < 2; ++i) {
        if (probe->qps[i] != NULL) {
            (void)probe->verbs->destroy_qp(probe->qps[i]);
        }
    }
    if (probe->cq != NULL) {
        (void)probe->verbs->destroy_cq(probe->cq);
    }
    for (i = 0; i < 2; ++i) {
        if (probe->mrs[i] != NULL) {
            (void)probe->verbs->dereg_mr(probe->mrs[i]);
        }
    }
    if (probe->near != NULL) {
        munmap(probe->near, 3 * probe->size);
    }
}

static int64_t uct_daxpin_probe_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Have the device do one thing. Return 0 if it does not, in time. */
static int uct_daxpin_probe_do(uct_daxpin_probe_t *probe,
                               enum ibv_wr_opcode opcode, size_t offset,
                               size_t length)
{
    const int64_t end  = uct_daxpin_probe_now() + UCT_DAXPIN_PROBE_WAIT_NS;
    struct ibv_sge sge = {
        .addr   = (uintptr_t)probe->near + offset,
        .length = (uint32_t)length,
        .lkey   = probe->mrs[0]->lkey
    };
    struct ibv_send_wr wr = {
        .sg_list    = &sge,
        .num_sge    = 1,
        .opcode     = opcode,
        .send_flags = IBV_SEND_SIGNALED
    };
    struct ibv_send_wr *bad;
    struct ibv_wc wc;
    int count;

    if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
        wr.wr.atomic.remote_addr = (uintptr_t)probe->far + offset;
        wr.wr.atomic.rkey        = probe->mrs[1]->rkey;
        wr.wr.atomic.compare_add = 1;
    } else {
        wr.wr.rdma.remote_addr = (uintptr_t)probe->far + offset;
        wr.wr.rdma.rkey        = probe->mrs[1]->rkey;
    }
    if (ibv_post_send(probe->qps[0], &wr, &bad) != 0) {
        return 0;
    }
    do {
        count = ibv_poll_cq(probe->cq, 1, &wc);
    } while ((count == 0) && (uct_daxpin_probe_now() < end));
    return (count == 1) && (wc.status == IBV_WC_SUCCESS);
}

/* Write something to a place, and read it back. Return what is so. */
static uct_daxpin_odp_t uct_daxpin_probe_copy(uct_daxpin_probe_t *probe,
                                              size_t offset, size_t length,
                                              char seed)
{
    size_t i;

    for (i = 0; i < length; ++i) {
        probe->near[offset + i]     = (char)(seed + (char)(i % 101));
        probe->expected[offset + i] = probe->near[offset + i];
    }
    if (!uct_daxpin_probe_do(probe, IBV_WR_RDMA_WRITE, offset, length)) {
        return UCT_DAXPIN_ODP_ABSENT;
    }
    if (memcmp(probe->far, probe->expected, probe->size) != 0) {
        return UCT_DAXPIN_ODP_CORRUPTS;
    }
    memset(probe->near, 0, probe->size);
    if (!uct_daxpin_probe_do(probe, IBV_WR_RDMA_READ, offset, length)) {
        return UCT_DAXPIN_ODP_ABSENT;
    }
    return (memcmp(probe->near + offset, probe->expected + offset, length) ==
            0) ? UCT_DAXPIN_ODP_WORKS : UCT_DAXPIN_ODP_CORRUPTS;
}

/* Add 1 at a place. */
static uct_daxpin_odp_t uct_daxpin_probe_add(uct_daxpin_probe_t *probe,
                                             size_t offset)
{
    uint64_t number = 0x0102030405060708;

    memcpy(probe->far + offset, &number, sizeof(number));
    if (!uct_daxpin_probe_do(probe, IBV_WR_ATOMIC_FETCH_AND_ADD, offset,
                             sizeof(number))) {
        return UCT_DAXPIN_ODP_ABSENT;
    }
    if (memcmp(probe->near + offset, &number, sizeof(number)) != 0) {
        return UCT_DAXPIN_ODP_CORRUPTS;
    }
    ++number;
    memcpy(probe->expected + offset, &number, sizeof(number));
    return (memcmp(probe->far, probe->expected, probe->size) == 0) ?
                   UCT_DAXPIN_ODP_WORKS :
                   UCT_DAXPIN_ODP_CORRUPTS;
}

static uct_daxpin_odp_t uct_daxpin_probe_run(uct_daxpin_probe_t *probe)
{
    const size_t page   = probe->size / UCT_DAXPIN_PROBE_PAGES;
    const size_t count  = sizeof(uct_daxpin_probe_steps) /
                         sizeof(uct_daxpin_probe_steps[0]);
    uct_daxpin_odp_t ret = UCT_DAXPIN_ODP_WORKS;
    const uct_daxpin_probe_step_t *step;
    size_t i;

    for (i = 0; (i < count) && (ret == UCT_DAXPIN_ODP_WORKS); ++i) {
        step = &uct_daxpin_probe_steps[i];
        ret  = uct_daxpin_probe_copy(probe, step->page * page + step->offset,
                                     step->pages * page + step->length,
                                     (char)(1 + 7 * i));
    }
    return (ret == UCT_DAXPIN_ODP_WORKS) ?
                   uct_daxpin_probe_add(probe, 5 * page + 8) :
                   ret;
}

uct_daxpin_odp_t uct_daxpin_odp_probe(const uct_daxpin_verbs_t *verbs,
                                      struct ibv_pd *pd, unsigned ports)
{
    uct_daxpin_probe_t probe = {.verbs = verbs, .pd = pd};
    uct_daxpin_odp_t ret     = uct_daxpin_probe_open(&probe, ports);

    if (ret == UCT_DAXPIN_ODP_WORKS) {
        ret = uct_daxpin_probe_run(&probe);
    }
    uct_daxpin_probe_close(&probe);
    return ret;
}

/* What is known, by device and kernel. The kernel may be another one only after
 * a checkpoint was restored elsewhere. */
static struct {
    pthread_mutex_t mutex;
    unsigned        count;
    struct {
        char             device[IBV_SYSFS_NAME_MAX];
        char             kernel[65];
        uct_daxpin_odp_t answer;
    } known[UCT_DAXPIN_PROBE_DEVICES];
} uct_daxpin_probed = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* A probe holds the mutex for seconds. In a child nobody probes, and what a thread
 * of the parent was about to note may be there in part. */
static void uct_daxpin_probed_fork(void)
{
    pthread_mutex_init(&uct_daxpin_probed.mutex, NULL);
    uct_daxpin_probed.count = 0;
}

DAXPIN_FORK_CHILD(DAXPIN_FORK_UCX_PROBE, uct_daxpin_probed_fork)

uct_daxpin_odp_t uct_daxpin_odp_ask(const uct_daxpin_verbs_t *verbs,
                                    struct ibv_pd *pd, unsigned ports)
{
    const char *device = pd->context->device->name;
    uct_daxpin_odp_t answer;
    struct utsname system;
    unsigned i;

    if (uname(&system) != 0) {
        return UCT_DAXPIN_ODP_UNKNOWN;
    }
    pthread_mutex_lock(&uct_daxpin_probed.mutex);
    for (i = 0; i < uct_daxpin_probed.count; ++i) {
        if ((strcmp(uct_daxpin_probed.known[i].device, device) == 0) &&
            (strcmp(uct_daxpin_probed.known[i].kernel, system.release) == 0)) {
            answer = uct_daxpin_probed.known[i].answer;
            goto out;
        }
    }
    answer = uct_daxpin_odp_probe(verbs, pd, ports);
    if ((answer != UCT_DAXPIN_ODP_UNKNOWN) && (i < UCT_DAXPIN_PROBE_DEVICES)) {
        snprintf(uct_daxpin_probed.known[i].device,
                 sizeof(uct_daxpin_probed.known[i].device), "%s", device);
        snprintf(uct_daxpin_probed.known[i].kernel,
                 sizeof(uct_daxpin_probed.known[i].kernel), "%s",
                 system.release);
        uct_daxpin_probed.known[i].answer = answer;
        ++uct_daxpin_probed.count;
    }
out:
    pthread_mutex_unlock(&uct_daxpin_probed.mutex);
    return answer;
}

#endif
