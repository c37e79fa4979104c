/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A libibverbs without devices, which only counts registrations, and writes a byte
 * to the memory of each until the moment of its release; see demand.c
 */

#include <infiniband/verbs.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#undef ibv_query_port

atomic_int verbs_registered; /* that are not released */
atomic_int verbs_failures;   /* releases that are to fail */
atomic_int verbs_dmabufs;    /* registrations of a dma-buf that were tried */
atomic_int verbs_error;      /* of registrations of a dma-buf; 0: they work */
atomic_ullong verbs_offset;  /* in the last dma-buf */

static struct ibv_mr *register_memory(void *addr)
{
    struct ibv_mr *mr = calloc(1, sizeof(*mr));

    mr->addr = addr;
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

/* These are looked for, and not called */
#define VERBS_NONE(_name) \
    void _name(void); \
    void _name(void) \
    { \
        abort(); \
    }

VERBS_NONE(verbs_none)

#define VERBS_ALIAS(_name) __asm__(".globl " #_name "\n" #_name " = verbs_none")

VERBS_ALIAS(ibv_create_cq);
VERBS_ALIAS(ibv_destroy_cq);
VERBS_ALIAS(ibv_create_qp);
VERBS_ALIAS(ibv_destroy_qp);
VERBS_ALIAS(ibv_modify_qp);
VERBS_ALIAS(ibv_query_port);
VERBS_ALIAS(ibv_query_gid);
