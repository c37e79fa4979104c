/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A target and origins that use plain UCP */

#ifndef DAXPIN_BENCH_SIDE_H_
#define DAXPIN_BENCH_SIDE_H_

/*
 * The target exposes memory, and the origins put into it. All are forked before
 * any of them uses UCX, and exchange addresses and keys in shared memory.
 */

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#define SIDE_BLOB_BYTES 4096

/* How to reach the target; in memory shared by all */
typedef struct target {
    uint64_t base;
    size_t   address_length;
    size_t   rkey_length;
    uint8_t  address[SIDE_BLOB_BYTES];
    uint8_t  rkey[SIDE_BLOB_BYTES];
} target_t;

typedef struct side {
    ucp_context_h context;
    ucp_worker_h  worker;
    ucp_mem_h     memh; /* target */
    ucp_ep_h      ep;   /* origin */
    ucp_rkey_h    rkey; /* origin */
} side_t;

static inline void side_check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK) {
        fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
        exit(1);
    }
}

static inline void *shared_memory(size_t length)
{
    void *base = mmap(NULL, length, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return base;
}

static inline void *map_file(const char *path, size_t length)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    void *base;

    if ((fd < 0) || (posix_fallocate(fd, 0, length) != 0)) {
        perror(path);
        exit(1);
    }
    base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (base == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    memset(base, 0, length);
    return base;
}

/* Open UCP. tls: the transports of this context, or NULL: those of the
 * environment. */
static inline void side_init(side_t *side, const char *tls)
{
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES,
        .features   = UCP_FEATURE_RMA
    };
    ucp_worker_params_t worker_params = {
        .field_mask  = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
        .thread_mode = UCS_THREAD_MODE_SINGLE
    };
    ucp_config_t *config;

    memset(side, 0, sizeof(*side));
    side_check(ucp_config_read(NULL, NULL, &config), "ucp_config_read");
    if (tls != NULL) {
        side_check(ucp_config_modify(config, "TLS", tls), "ucp_config_modify");
    }
    side_check(ucp_init(&params, config, &side->context), "ucp_init");
    ucp_config_release(config);
    side_check(ucp_worker_create(side->context, &worker_params,
                                 &side->worker), "ucp_worker_create");
}

/* Register the memory at base or, if base is NULL, memory that UCP allocates.
 * Fill in how to reach the memory. */
static inline void side_expose(side_t *side, void *base, size_t length,
                               target_t *target)
{
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                      UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                      UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .address    = base,
        .length     = length,
        .flags      = (base == NULL) ? UCP_MEM_MAP_ALLOCATE : 0
    };
    ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    ucp_address_t *address;
    void *rkey;

    side_check(ucp_mem_map(side->context, &params, &side->memh),
               "ucp_mem_map");
    side_check(ucp_mem_query(side->memh, &attr), "ucp_mem_query");
    side_check(ucp_rkey_pack(side->context, side->memh, &rkey,
                             &target->rkey_length), "ucp_rkey_pack");
    side_check(ucp_worker_get_address(side->worker, &address,
                                      &target->address_length),
               "ucp_worker_get_address");
    if ((target->rkey_length > SIDE_BLOB_BYTES) ||
        (target->address_length > SIDE_BLOB_BYTES)) {
        fprintf(stderr, "rkey or address too long\n");
        exit(1);
    }
    memcpy(target->rkey, rkey, target->rkey_length);
    memcpy(target->address, address, target->address_length);
    target->base = (uintptr_t)attr.address;
    ucp_rkey_buffer_release(rkey);
    ucp_worker_release_address(side->worker, address);
}

static inline void side_connect(side_t *side, const target_t *target)
{
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
        .address    = (const ucp_address_t*)target->address
    };

    side_check(ucp_ep_create(side->worker, &params, &side->ep),
               "ucp_ep_create");
    side_check(ucp_ep_rkey_unpack(side->ep, target->rkey, &side->rkey),
               "ucp_ep_rkey_unpack");
}

static inline ucs_status_t side_flush(side_t *side)
{
    ucp_request_param_t param = {0};
    ucs_status_ptr_t request  = ucp_ep_flush_nbx(side->ep, &param);
    ucs_status_t status;

    if (!UCS_PTR_IS_PTR(request)) {
        return UCS_PTR_STATUS(request);
    }
    do {
        ucp_worker_progress(side->worker);
        status = ucp_request_check_status(request);
    } while (status == UCS_INPROGRESS);
    ucp_request_free(request);
    return status;
}

#endif
