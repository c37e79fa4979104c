/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_BENCH_PEER_H_
#define DAXPIN_BENCH_PEER_H_

/*
 * A target that exposes a mapping by plain UCP, and origins, forked before any
 * of them uses UCX, that put into it. They meet in shared memory.
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

#define PEER_BLOB_BYTES 4096

/* How to reach the target; in memory shared by all */
typedef struct target {
    uint64_t base;
    size_t   address_length;
    size_t   rkey_length;
    uint8_t  address[PEER_BLOB_BYTES];
    uint8_t  rkey[PEER_BLOB_BYTES];
} target_t;

typedef struct peer {
    ucp_context_h context;
    ucp_worker_h  worker;
    ucp_mem_h     memh; /* target */
    ucp_ep_h      ep;   /* origin */
    ucp_rkey_h    rkey; /* origin */
} peer_t;

static inline void peer_check(ucs_status_t status, const char *what)
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
static inline void peer_init(peer_t *peer, const char *tls)
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

    memset(peer, 0, sizeof(*peer));
    peer_check(ucp_config_read(NULL, NULL, &config), "ucp_config_read");
    if (tls != NULL) {
        peer_check(ucp_config_modify(config, "TLS", tls), "ucp_config_modify");
    }
    peer_check(ucp_init(&params, config, &peer->context), "ucp_init");
    ucp_config_release(config);
    peer_check(ucp_worker_create(peer->context, &worker_params,
                                 &peer->worker), "ucp_worker_create");
}

/* Register the memory at base or, if base is NULL, memory that UCP allocates, and
 * fill in how to reach the memory */
static inline void peer_expose(peer_t *peer, void *base, size_t length,
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

    peer_check(ucp_mem_map(peer->context, &params, &peer->memh),
               "ucp_mem_map");
    peer_check(ucp_mem_query(peer->memh, &attr), "ucp_mem_query");
    peer_check(ucp_rkey_pack(peer->context, peer->memh, &rkey,
                             &target->rkey_length), "ucp_rkey_pack");
    peer_check(ucp_worker_get_address(peer->worker, &address,
                                      &target->address_length),
               "ucp_worker_get_address");
    if ((target->rkey_length > PEER_BLOB_BYTES) ||
        (target->address_length > PEER_BLOB_BYTES)) {
        fprintf(stderr, "rkey or address too long\n");
        exit(1);
    }
    memcpy(target->rkey, rkey, target->rkey_length);
    memcpy(target->address, address, target->address_length);
    target->base = (uintptr_t)attr.address;
    ucp_rkey_buffer_release(rkey);
    ucp_worker_release_address(peer->worker, address);
}

static inline void peer_connect(peer_t *peer, const target_t *target)
{
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
        .address    = (const ucp_address_t*)target->address
    };

    peer_check(ucp_ep_create(peer->worker, &params, &peer->ep),
               "ucp_ep_create");
    peer_check(ucp_ep_rkey_unpack(peer->ep, target->rkey, &peer->rkey),
               "ucp_ep_rkey_unpack");
}

static inline ucs_status_t peer_flush(peer_t *peer)
{
    ucp_request_param_t param = {0};
    ucs_status_ptr_t request  = ucp_ep_flush_nbx(peer->ep, &param);
    ucs_status_t status;

    if (!UCS_PTR_IS_PTR(request)) {
        return UCS_PTR_STATUS(request);
    }
    do {
        ucp_worker_progress(peer->worker);
        status = ucp_request_check_status(request);
    } while (status == UCS_INPROGRESS);
    ucp_request_free(request);
    return status;
}

#endif
