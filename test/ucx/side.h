/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Two processes that communicate by UCP: the sides of the tests here */

#ifndef TEST_UCX_SIDE_H_
#define TEST_UCX_SIDE_H_

/*
 * The child puts and gets ("origin"), the parent has the memory ("target").
 * What they agree on goes through a socket.
 */

#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include "../pace.h"

#include <ucp/api/ucp.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIDE_WAIT_SEC (30 * pace_slow())

typedef struct side {
    ucp_context_h context;
    ucp_worker_h  worker;
    ucp_ep_h      ep;
    int           sock;
    const char    *name;
} side_t;

static inline void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fprintf(stderr, "[%d] ", (int)getpid());
    vfprintf(stderr, format, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(1);
}

static inline double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + (ts.tv_nsec * 1e-9);
}

static inline void check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK) {
        die("%s: %s", what, ucs_status_string(status));
    }
}

static inline void send_bytes(int sock, const void *data, size_t length)
{
    uint64_t size = length;

    if ((write(sock, &size, sizeof(size)) != sizeof(size)) ||
        ((length > 0) && (write(sock, data, length) != (ssize_t)length))) {
        die("write: %m");
    }
}

static inline void read_all(int sock, void *data, size_t length)
{
    ssize_t ret;

    while (length > 0) {
        ret = read(sock, data, length);
        if (ret <= 0) {
            die("the other side has exited");
        }
        data    = (char*)data + ret;
        length -= ret;
    }
}

static inline void *receive_bytes(int sock, size_t *length_p)
{
    uint64_t size;
    void *data;

    read_all(sock, &size, sizeof(size));
    data = malloc(size + 1);
    read_all(sock, data, size);
    if (length_p != NULL) {
        *length_p = size;
    }
    return data;
}

static inline void send_word(int sock, uint64_t word)
{
    send_bytes(sock, &word, sizeof(word));
}

static inline uint64_t receive_word(int sock)
{
    uint64_t *data = receive_bytes(sock, NULL);
    uint64_t word  = *data;

    free(data);
    return word;
}

/* Receive a word, and progress the worker until the word arrives */
static inline uint64_t receive_word_progress(side_t *side)
{
    struct pollfd fd = { .fd = side->sock, .events = POLLIN };
    double end       = now() + SIDE_WAIT_SEC;

    while (poll(&fd, 1, 0) == 0) {
        ucp_worker_progress(side->worker);
        if (now() > end) {
            die("%s: nothing received for %u s", side->name, SIDE_WAIT_SEC);
        }
    }
    return receive_word(side->sock);
}

static inline ucs_status_t side_wait(side_t *side, ucs_status_ptr_t request)
{
    double end = now() + SIDE_WAIT_SEC;
    ucs_status_t status;

    if (!UCS_PTR_IS_PTR(request)) {
        return UCS_PTR_STATUS(request);
    }

    do {
        ucp_worker_progress(side->worker);
        status = ucp_request_check_status(request);
        if (now() > end) {
            die("%s: an operation takes more than %u s", side->name,
                SIDE_WAIT_SEC);
        }
    } while (status == UCS_INPROGRESS);
    ucp_request_free(request);
    return status;
}

static inline ucs_status_t side_flush(side_t *side)
{
    const ucp_request_param_t param = { 0 };

    return side_wait(side, ucp_ep_flush_nbx(side->ep, &param));
}

static inline void side_error(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    fprintf(stderr, "endpoint failed: %s\n", ucs_status_string(status));
}

/* Open UCP and connect. When this returns, both sides are ready. */
static inline void side_open(side_t *side, uint64_t features, int err_peer)
{
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES,
        .features   = features
    };
    ucp_worker_params_t worker_params = { 0 };
    ucp_ep_params_t ep_params         = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS
    };
    ucp_address_t *address;
    size_t length;

    check(ucp_init(&params, NULL, &side->context), "ucp_init");
    check(ucp_worker_create(side->context, &worker_params, &side->worker),
          "ucp_worker_create");
    check(ucp_worker_get_address(side->worker, &address, &length),
          "ucp_worker_get_address");
    send_bytes(side->sock, address, length);
    ucp_worker_release_address(side->worker, address);

    ep_params.address = receive_bytes(side->sock, NULL);
    if (err_peer) {
        ep_params.field_mask    |= UCP_EP_PARAM_FIELD_ERR_HANDLER |
                                   UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE;
        ep_params.err_mode       = UCP_ERR_HANDLING_MODE_PEER;
        ep_params.err_handler.cb = side_error;
    }
    check(ucp_ep_create(side->worker, &ep_params, &side->ep), "ucp_ep_create");
    free((void*)ep_params.address);

    /* Connected when a flush completed at both sides */
    check(side_flush(side), "first flush");
    send_word(side->sock, 0);
    (void)receive_word_progress(side);
}

static inline void side_close(side_t *side)
{
    const ucp_request_param_t param = { 0 };

    send_word(side->sock, 1);
    (void)receive_word_progress(side);
    (void)side_wait(side, ucp_ep_close_nbx(side->ep, &param));
    /* The other side must progress until this side is closed */
    send_word(side->sock, 1);
    (void)receive_word_progress(side);
    ucp_worker_destroy(side->worker);
    ucp_cleanup(side->context);
}

static inline ucp_mem_h side_map(side_t *side, void *address, size_t length)
{
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                      UCP_MEM_MAP_PARAM_FIELD_LENGTH,
        .address    = address,
        .length     = length
    };
    ucp_mem_h memh;

    check(ucp_mem_map(side->context, &params, &memh), "ucp_mem_map");
    return memh;
}

/* Pack a key that nobody gets. With that, UCX may register the memory. */
static inline void side_pack(side_t *side, ucp_mem_h memh)
{
    size_t length;
    void *key;

    check(ucp_rkey_pack(side->context, memh, &key, &length), "ucp_rkey_pack");
    ucp_rkey_buffer_release(key);
}

/* Send the key and the address of memory */
static inline void side_send_key(side_t *side, ucp_mem_h memh, void *address)
{
    size_t length;
    void *key;

    check(ucp_rkey_pack(side->context, memh, &key, &length), "ucp_rkey_pack");
    send_bytes(side->sock, key, length);
    send_word(side->sock, (uintptr_t)address);
    ucp_rkey_buffer_release(key);
}

static inline ucp_rkey_h side_receive_key(side_t *side, uint64_t *address_p)
{
    void *key = receive_bytes(side->sock, NULL);
    ucp_rkey_h rkey;

    check(ucp_ep_rkey_unpack(side->ep, key, &rkey), "ucp_ep_rkey_unpack");
    free(key);
    *address_p = receive_word(side->sock);
    return rkey;
}

/* Start a put or get. @a no_imm keeps UCP from completing at once. With its new
 * protocols, UCP 1.13 puts nothing if that flag comes without a datatype. */
static inline ucs_status_ptr_t
side_start(side_t *side, int is_put, void *buffer, size_t length,
           uint64_t remote_addr, ucp_rkey_h rkey, int no_imm)
{
    const ucp_request_param_t param = {
        .op_attr_mask = no_imm ? (UCP_OP_ATTR_FLAG_NO_IMM_CMPL |
                                  UCP_OP_ATTR_FIELD_DATATYPE) : 0,
        .datatype     = ucp_dt_make_contig(1)
    };

    return is_put ? ucp_put_nbx(side->ep, buffer, length, remote_addr, rkey,
                                &param) :
                    ucp_get_nbx(side->ep, buffer, length, remote_addr, rkey,
                                &param);
}

static inline ucs_status_t
side_put(side_t *side, const void *buffer, size_t length, uint64_t remote_addr,
         ucp_rkey_h rkey)
{
    return side_wait(side, side_start(side, 1, (void*)buffer, length,
                                      remote_addr, rkey, 0));
}

static inline ucs_status_t
side_get(side_t *side, void *buffer, size_t length, uint64_t remote_addr,
         ucp_rkey_h rkey)
{
    return side_wait(side, side_start(side, 0, buffer, length, remote_addr,
                                      rkey, 0));
}

/* Do an atomic operation with the value in *operand. With @a fetch the old
 * value goes to *result, which holds the value to swap in before a CSWAP. */
static inline ucs_status_t
side_atomic(side_t *side, ucp_atomic_op_t op, void *operand, size_t size,
            int fetch, void *result, uint64_t remote_addr, ucp_rkey_h rkey)
{
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE,
        .datatype     = ucp_dt_make_contig(size)
    };

    if (fetch) {
        param.op_attr_mask |= UCP_OP_ATTR_FIELD_REPLY_BUFFER;
        param.reply_buffer  = result;
    }
    return side_wait(side, ucp_atomic_op_nbx(side->ep, op, operand, 1,
                                             remote_addr, rkey, &param));
}

/* Make a file and map it. The descriptor is closed, as most programs do. */
static inline void *map_file(const char *path, size_t length)
{
    void *address;
    int fd;

    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        die("%s: %m", path);
    }
    if ((ftruncate(fd, length) != 0) ||
        (posix_fallocate(fd, 0, length) != 0)) {
        die("%s: cannot make %zu bytes", path, length);
    }
    address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
        die("mmap of %s: %m", path);
    }
    close(fd);
    return address;
}

static inline uint8_t pattern(uint64_t seed, uint64_t i)
{
    return (((seed + 1) * 0x9e3779b97f4a7c15ull) ^ (i * 0xbf58476d1ce4e5b9ull))
           >> 53;
}

static inline void fill(uint8_t *buffer, size_t length, uint64_t seed)
{
    size_t i;

    for (i = 0; i < length; ++i) {
        buffer[i] = pattern(seed, i);
    }
}

/* Fork a third process, which runs with one end of a socket and dies with this one.
 * Return the other end. */
static inline int run_third(int (*third)(int sock), pid_t *pid_p)
{
    int sock[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) != 0) {
        die("socketpair: %m");
    }
    *pid_p = fork();
    if (*pid_p == 0) {
        close(sock[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        exit(third(sock[1]));
    }
    close(sock[1]);
    return sock[0];
}

/* Fork and run both sides. Return the origin's status. With SIDE_APART in the
 * environment, UCX takes the two for processes of different nodes, because UCX
 * recognizes a node by the IPC namespace. */
static inline int
run_sides(int (*target)(side_t *side), int (*origin)(side_t *side))
{
    int sock[2], status, ret;
    side_t side = { 0 };
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) != 0) {
        die("socketpair: %m");
    }

    pid = fork();
    if (pid == 0) {
        close(sock[0]);
        side.sock = sock[1];
        side.name = "origin";
        if ((getenv("SIDE_APART") != NULL) && (unshare(CLONE_NEWIPC) != 0)) {
            die("unshare: %m");
        }
        exit(origin(&side));
    }

    close(sock[1]);
    side.sock = sock[0];
    side.name = "target";
    ret       = target(&side);
    if (waitpid(pid, &status, 0) != pid) {
        die("waitpid: %m");
    }
    if (WIFSIGNALED(status)) {
        die("the origin died of signal %d", WTERMSIG(status));
    }
    return (ret != 0) ? ret : WEXITSTATUS(status);
}

#endif
