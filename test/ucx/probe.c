/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The probe of on-demand paging: each answer that it can give, from devices that
 * are functions here; or what it says of a device of this machine.
 *
 * usage: probe          exit status 0 if it gives the right answers
 *        probe DEVICE   print "works", "corrupts", "absent" or "unknown"
 */

#include "ucx_daxpin/daxpin_mr_probe.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SEC 20 /* that it has, however busy the machine is */

/* How a device goes wrong; all but the first */
typedef enum fault {
    FAULT_NONE,
    FAULT_PAGE,       /* writes to the beginning of the page */
    FAULT_PACKET,     /* each packet but the first is a repetition */
    FAULT_BESIDE,     /* writes a byte too many */
    FAULT_READ,       /* reads from the beginning of the page */
    FAULT_ATOMIC,     /* does not add */
    FAULT_OLD_VALUE,  /* returns the new value of an addition */
    FAULT_DOWN,       /* has no port that is up */
    FAULT_NO_ADDRESS,
    FAULT_REGISTER,   /* registers nothing on demand */
    FAULT_CONNECT,
    FAULT_STATUS,     /* completes with an error */
    FAULT_SILENT,     /* completes nothing */
    FAULT_MEMORY,     /* no memory is left */
    FAULT_COUNT
} fault_t;

static const struct {
    const char       *name;
    uct_daxpin_odp_t answer;
} faults[FAULT_COUNT] = {
    {"none", UCT_DAXPIN_ODP_WORKS},
    {"offset in a page is ignored", UCT_DAXPIN_ODP_CORRUPTS},
    {"packets are repeated", UCT_DAXPIN_ODP_CORRUPTS},
    {"a byte too many is written", UCT_DAXPIN_ODP_CORRUPTS},
    {"offset in a page is ignored by reads", UCT_DAXPIN_ODP_CORRUPTS},
    {"nothing is added", UCT_DAXPIN_ODP_CORRUPTS},
    {"the old value is wrong", UCT_DAXPIN_ODP_CORRUPTS},
    {"no port is up", UCT_DAXPIN_ODP_ABSENT},
    {"no address", UCT_DAXPIN_ODP_ABSENT},
    {"no registration on demand", UCT_DAXPIN_ODP_ABSENT},
    {"no connection", UCT_DAXPIN_ODP_ABSENT},
    {"an error", UCT_DAXPIN_ODP_ABSENT},
    {"no completion", UCT_DAXPIN_ODP_ABSENT},
    {"no memory", UCT_DAXPIN_ODP_UNKNOWN}
};

static const char *answers[] = {"unknown", "works", "corrupts", "absent"};

static struct {
    fault_t fault;
    int     objects; /* that are not destroyed */
    int     created; /* queue pairs in all */
    int     done;    /* completions that are due */
} fake;

/* Whether a probe is to stand still at its first completion, and whether it does */
static atomic_int is_held, stands;

static struct ibv_device  device = {.name = "fake0"};
static struct ibv_context context;

/*
 * A device
 */

static struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
                                  uint64_t iova, unsigned access)
{
    struct ibv_mr *mr;

    if ((fake.fault == FAULT_REGISTER) && (access & IBV_ACCESS_ON_DEMAND)) {
        errno = EOPNOTSUPP;
        return NULL;
    }
    if (fake.fault == FAULT_MEMORY) {
        errno = ENOMEM;
        return NULL;
    }
    mr = calloc(1, sizeof(*mr));
    ++fake.objects;
    return mr;
}

static int fake_dereg_mr(struct ibv_mr *mr)
{
    --fake.objects;
    free(mr);
    return 0;
}

static struct ibv_cq *fake_create_cq(struct ibv_context *on, int cqe, void *arg,
                                     struct ibv_comp_channel *channel,
                                     int vector)
{
    struct ibv_cq *cq = calloc(1, sizeof(*cq));

    cq->context = on;
    ++fake.objects;
    return cq;
}

static int fake_destroy_cq(struct ibv_cq *cq)
{
    --fake.objects;
    free(cq);
    return 0;
}

static struct ibv_qp *fake_create_qp(struct ibv_pd *pd,
                                     struct ibv_qp_init_attr *attr)
{
    struct ibv_qp *qp = calloc(1, sizeof(*qp));

    qp->context = pd->context;
    qp->qp_num  = (uint32_t)++fake.created;
    ++fake.objects;
    return qp;
}

static int fake_destroy_qp(struct ibv_qp *qp)
{
    --fake.objects;
    free(qp);
    return 0;
}

static int fake_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    return (fake.fault == FAULT_CONNECT) ? EINVAL : 0;
}

static int fake_query_port(struct ibv_context *on, uint8_t port,
                           struct _compat_ibv_port_attr *compat)
{
    struct ibv_port_attr *attr = (void*)compat;

    attr->state      = ((fake.fault == FAULT_DOWN) || (port != 2)) ?
                               IBV_PORT_DOWN :
                               IBV_PORT_ACTIVE;
    attr->link_layer = IBV_LINK_LAYER_ETHERNET;
    return 0;
}

static int fake_query_gid(struct ibv_context *on, uint8_t port, int index,
                          union ibv_gid *gid)
{
    memset(gid, 0, sizeof(*gid));
    gid->raw[0] = ((fake.fault == FAULT_NO_ADDRESS) || (index < 2)) ? 0 : 1;
    return 0;
}

static char *page_of(char *address)
{
    return (char*)((uintptr_t)address & ~(uintptr_t)4095);
}

static void fake_write(char *to, const char *from, size_t length)
{
    size_t i;

    to = (fake.fault == FAULT_PAGE) ? page_of(to) : to;
    for (i = 0; i < length; ++i) {
        to[i] = from[(fake.fault == FAULT_PACKET) ? i % 1024 : i];
    }
    if (fake.fault == FAULT_BESIDE) {
        to[length] = 1;
    }
}

static int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
                          struct ibv_send_wr **bad)
{
    char *near     = (char*)(uintptr_t)wr->sg_list->addr;
    char *far      = (char*)(uintptr_t)wr->wr.rdma.remote_addr;
    size_t length  = wr->sg_list->length;
    uint64_t value;

    switch (wr->opcode) {
    case IBV_WR_RDMA_WRITE:
        fake_write(far, near, length);
        break;
    case IBV_WR_RDMA_READ:
        memcpy(near, (fake.fault == FAULT_READ) ? page_of(far) : far, length);
        break;
    default:
        far = (char*)(uintptr_t)wr->wr.atomic.remote_addr;
        memcpy(&value, far, sizeof(value));
        memcpy(near, &value, sizeof(value));
        value += (fake.fault == FAULT_ATOMIC) ? 0 : wr->wr.atomic.compare_add;
        memcpy(far, &value, sizeof(value));
        if (fake.fault == FAULT_OLD_VALUE) {
            memcpy(near, &value, sizeof(value));
        }
    }
    ++fake.done;
    return 0;
}

static int fake_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    while (is_held) {
        stands = 1;
        sched_yield();
    }
    if ((fake.done == 0) || (fake.fault == FAULT_SILENT)) {
        return 0;
    }
    --fake.done;
    wc->status = (fake.fault == FAULT_STATUS) ? IBV_WC_REM_OP_ERR :
                                                IBV_WC_SUCCESS;
    return 1;
}

static const uct_daxpin_verbs_t fake_verbs = {
    .reg_mr     = fake_reg_mr,
    .dereg_mr   = fake_dereg_mr,
    .create_cq  = fake_create_cq,
    .destroy_cq = fake_destroy_cq,
    .create_qp  = fake_create_qp,
    .destroy_qp = fake_destroy_qp,
    .modify_qp  = fake_modify_qp,
    .query_port = fake_query_port,
    .query_gid  = fake_query_gid
};

/*
 * Tests
 */

static int test_answers(struct ibv_pd *pd)
{
    uct_daxpin_odp_t answer;
    int failed = 0;

    for (fake.fault = 0; fake.fault < FAULT_COUNT; ++fake.fault) {
        fake.done = 0;
        answer    = uct_daxpin_odp_probe(&fake_verbs, pd, 2);
        if ((answer != faults[fake.fault].answer) || (fake.objects != 0)) {
            printf("%s: the answer is %s; %d objects are left\n",
                   faults[fake.fault].name, answers[answer], fake.objects);
            failed = 1;
        }
    }
    return failed;
}

/* A device is probed once, but not if that could not be done. */
static int test_once(struct ibv_pd *pd)
{
    const struct {
        const char       *device;
        fault_t          fault;
        uct_daxpin_odp_t answer;
        int              probed;
    } steps[] = {
        {"fake1", FAULT_MEMORY, UCT_DAXPIN_ODP_UNKNOWN, 0},
        {"fake1", FAULT_PAGE, UCT_DAXPIN_ODP_CORRUPTS, 1},
        {"fake1", FAULT_NONE, UCT_DAXPIN_ODP_CORRUPTS, 0},
        {"fake2", FAULT_NONE, UCT_DAXPIN_ODP_WORKS, 1},
        {"fake1", FAULT_NONE, UCT_DAXPIN_ODP_CORRUPTS, 0},
        {"fake2", FAULT_PAGE, UCT_DAXPIN_ODP_WORKS, 0}
    };
    uct_daxpin_odp_t answer;
    int failed = 0, before;
    size_t i;

    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); ++i) {
        strcpy(device.name, steps[i].device);
        fake.fault = steps[i].fault;
        fake.done  = 0;
        before     = fake.created;
        answer     = uct_daxpin_odp_ask(&fake_verbs, pd, 2);
        if ((answer != steps[i].answer) ||
            ((fake.created > before) != steps[i].probed)) {
            printf("step %zu: the answer is %s, %s\n", i, answers[answer],
                   (fake.created > before) ? "probed" : "not probed");
            failed = 1;
        }
    }
    return failed;
}

static void *ask_in_thread(void *pd)
{
    (void)uct_daxpin_odp_ask(&fake_verbs, pd, 2);
    return NULL;
}

/* The child of a fork does not wait for a probe that was under way in the parent. */
static int test_fork(struct ibv_pd *pd)
{
    pthread_t thread;
    int status = -1;
    pid_t pid;

    strcpy(device.name, "fake3");
    fake.fault = FAULT_NONE;
    fake.done  = 0;
    is_held    = 1;
    if (pthread_create(&thread, NULL, ask_in_thread, pd) != 0) {
        printf("no thread\n");
        return 1;
    }
    while (!stands) {
        sched_yield();
    }
    pid = fork();
    if (pid == 0) {
        alarm(CHILD_SEC);
        is_held   = 0;
        fake.done = 0;
        _exit(uct_daxpin_odp_ask(&fake_verbs, pd, 2) != UCT_DAXPIN_ODP_WORKS);
    }
    if ((waitpid(pid, &status, 0) != pid) || (status != 0)) {
        printf("the child has not probed: status %#x\n", (unsigned)status);
    }
    is_held = 0;
    pthread_join(thread, NULL);
    return status != 0;
}

static int query_port(struct ibv_context *on, uint8_t port,
                      struct _compat_ibv_port_attr *attr)
{
    return ibv_query_port(on, port, (struct ibv_port_attr*)(void*)attr);
}

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *addr, size_t length,
                             uint64_t iova, unsigned access)
{
    return ibv_reg_mr_iova2(pd, addr, length, iova, access);
}

static int say(const char *name)
{
    const uct_daxpin_verbs_t verbs = {
        .reg_mr     = reg_mr,
        .dereg_mr   = ibv_dereg_mr,
        .create_cq  = ibv_create_cq,
        .destroy_cq = ibv_destroy_cq,
        .create_qp  = ibv_create_qp,
        .destroy_qp = ibv_destroy_qp,
        .modify_qp  = ibv_modify_qp,
        .query_port = query_port,
        .query_gid  = ibv_query_gid
    };
    int count                  = 0, i;
    struct ibv_device **list   = ibv_get_device_list(&count);
    struct ibv_context *opened = NULL;
    struct ibv_device_attr attr;
    struct ibv_pd *pd;

    for (i = 0; i < count; ++i) {
        if (strcmp(ibv_get_device_name(list[i]), name) == 0) {
            opened = ibv_open_device(list[i]);
        }
    }
    if ((opened == NULL) || (ibv_query_device(opened, &attr) != 0)) {
        printf("no device\n");
        return 1;
    }
    pd = ibv_alloc_pd(opened);
    printf("%s\n", answers[uct_daxpin_odp_ask(&verbs, pd,
                                              attr.phys_port_cnt)]);
    return 0;
}

int main(int argc, char **argv)
{
    struct ibv_pd pd = {.context = &context};
    int failed;

    if (argc == 2) {
        return say(argv[1]);
    }
    context.device        = &device;
    context.ops.post_send = fake_post_send;
    context.ops.poll_cq   = fake_poll_cq;
    failed                = test_answers(&pd);
    failed                = test_once(&pd) || failed;
    return test_fork(&pd) || failed;
}
