/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Revoke a file in the middle of traffic */

/*
 * usage: revoke DIRECTORY truncate|otrunc|write none|peer
 *
 * Another process, the intruder, opens or truncates a file in the middle of
 * traffic. From then on every operation on that file fails with
 * CONNECTION_RESET, and one flush reports that; another file and the endpoint
 * go on; no process dies. The target progresses its worker all the time, so
 * that an operation that went around the revoke would succeed.
 */

#include "side.h"

#define SIZE_TAKEN  (80ul << 20)
#define SIZE_OTHER  (4ul << 20)
#define TRAFFIC_SEC (20 * pace_slow())

static char path_taken[4096], path_other[4096];
static const char *how;
static const char *left_out; /* operations that UCX cannot do; NULL: none */
static uint64_t features = UCP_FEATURE_RMA | UCP_FEATURE_AMO32 |
                           UCP_FEATURE_AMO64;
static int err_peer;
static int intruder_sock;

/* Wait for a word, truncate or open the file, and send how many microseconds
 * that took */
static int intruder(int sock)
{
    double start;
    int ret = 0;

    (void)receive_word(sock);
    start = now();
    if (strcmp(how, "truncate") == 0) {
        ret = truncate(path_taken, 0);
    } else if (strcmp(how, "otrunc") == 0) {
        ret = open(path_taken, O_RDWR | O_TRUNC);
    } else {
        ret = open(path_taken, O_WRONLY);
    }
    if (ret < 0) {
        die("%s of %s: %m", how, path_taken);
    }
    send_word(sock, (uint64_t)((now() - start) * 1e6));
    return 0;
}

static int target(side_t *side)
{
    ucp_mem_h memh_taken, memh_other;
    volatile uint8_t *taken;
    uint8_t *other;
    struct stat st;
    size_t i;

    taken = map_file(path_taken, SIZE_TAKEN);
    other = map_file(path_other, SIZE_OTHER);
    side_open(side, features, err_peer);
    memh_taken = side_map(side, (void*)taken, SIZE_TAKEN);
    memh_other = side_map(side, other, SIZE_OTHER);
    side_send_key(side, memh_taken, (void*)taken);
    side_send_key(side, memh_other, other);

    (void)receive_word_progress(side);

    /* The mapping is still there, and writing to it does no harm */
    for (i = 0; i < SIZE_TAKEN; i += 4096) {
        taken[i] = taken[i] + 1;
    }
    if (stat(path_taken, &st) != 0) {
        die("%s: %m", path_taken);
    }
    if ((strcmp(how, "write") != 0) && (st.st_size != 0)) {
        die("%s has %ld bytes again", path_taken, (long)st.st_size);
    }

    check(ucp_mem_unmap(side->context, memh_taken), "ucp_mem_unmap");
    check(ucp_mem_unmap(side->context, memh_other), "ucp_mem_unmap");
    side_close(side);
    return 0;
}

typedef struct region {
    ucp_rkey_h rkey;
    uint64_t   base;
    void       *key;
} region_t;

static void receive_region(side_t *side, region_t *region)
{
    region->key = receive_bytes(side->sock, NULL);
    check(ucp_ep_rkey_unpack(side->ep, region->key, &region->rkey),
          "ucp_ep_rkey_unpack");
    region->base = receive_word(side->sock);
}

/* Check whether an operation is left out */
static int without(const char *what)
{
    return (left_out != NULL) && (strstr(left_out, what) != NULL);
}

/* Do one of the operations on the file that is taken */
static ucs_status_t some_traffic(side_t *side, region_t *taken, uint8_t *buffer,
                                 unsigned round)
{
    static const size_t sizes[] = { 8, 4096, 1 << 20, 64 << 20 };
    size_t size                 = sizes[round % 4];
    uint64_t value              = 1, result = 0;

    if ((((round / 4) % 4 == 2) && without("gets")) ||
        (((round / 4) % 4 == 3) && without("atomics"))) {
        return UCS_OK;
    }

    switch ((round / 4) % 4) {
    case 0:
    case 1:
        return side_put(side, buffer, size, taken->base, taken->rkey);
    case 2:
        return side_get(side, buffer, size, taken->base, taken->rkey);
    default:
        return side_atomic(side, UCP_ATOMIC_OP_ADD, &value, sizeof(value), 1,
                           &result, taken->base + 8, taken->rkey);
    }
}

/* Return the status that ended the traffic */
static ucs_status_t traffic(side_t *side, region_t *taken, region_t *other,
                            uint8_t *buffer)
{
    double start        = now();
    int called          = 0;
    ucs_status_t status = UCS_OK;
    unsigned round;

    for (round = 0; status == UCS_OK; ++round) {
        status = some_traffic(side, taken, buffer, round);
        check(side_put(side, buffer, 64, other->base, other->rkey),
              "put to the other file");
        if (!called && (now() - start > 0.1)) {
            send_word(intruder_sock, 0);
            called = 1;
        }
        if (now() - start > TRAFFIC_SEC) {
            die("nothing stopped the traffic");
        }
    }
    return status;
}

static void expect_reset(ucs_status_t status, const char *what, size_t size)
{
    if (status != UCS_ERR_CONNECTION_RESET) {
        die("%s of %zu bytes after the revoke: %s", what, size,
            ucs_status_string(status));
    }
}

/* Expect that the next flush reports the failure before, and no other flush
 * does */
static void expect_flush_once(side_t *side, const char *what, size_t size)
{
    ucs_status_t status;

    status = side_flush(side);
    if (status != UCS_ERR_CONNECTION_RESET) {
        die("flush after %s of %zu bytes: %s", what, size,
            ucs_status_string(status));
    }

    status = side_flush(side);
    if (status != UCS_OK) {
        die("second flush after %s of %zu bytes: %s", what, size,
            ucs_status_string(status));
    }
}

static void after_puts_gets(side_t *side, region_t *taken, uint8_t *buffer)
{
    static const size_t sizes[] = { 1, 8, 100, 2048, 4096, 65536, 300000,
                                    1 << 20, 64 << 20 };
    const char *what;
    unsigned i, is_put, no_imm;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        for (is_put = without("gets"); is_put < 2; ++is_put) {
            for (no_imm = 0; no_imm < 2; ++no_imm) {
                what = is_put ? "put" : "get";
                expect_reset(side_wait(side,
                                       side_start(side, is_put, buffer,
                                                  sizes[i], taken->base,
                                                  taken->rkey, no_imm)),
                             what, sizes[i]);
                expect_flush_once(side, what, sizes[i]);
            }
        }
    }
}

static void after_atomics(side_t *side, region_t *taken)
{
    static const ucp_atomic_op_t ops[] = {
        UCP_ATOMIC_OP_ADD, UCP_ATOMIC_OP_AND, UCP_ATOMIC_OP_OR,
        UCP_ATOMIC_OP_XOR, UCP_ATOMIC_OP_SWAP, UCP_ATOMIC_OP_CSWAP
    };
    uint64_t value = 1, result = 0;
    size_t size;
    unsigned i;

    for (size = 4; size <= 8; size *= 2) {
        for (i = 0; i < sizeof(ops) / sizeof(ops[0]); ++i) {
            expect_reset(side_atomic(side, ops[i], &value, size, 1, &result,
                                     taken->base, taken->rkey),
                         "fetching atomic", size);
            expect_flush_once(side, "fetching atomic", size);
            if (i < 4) {
                /* Only the flush can report this failure */
                (void)side_atomic(side, ops[i], &value, size, 0, NULL,
                                  taken->base, taken->rkey);
                expect_flush_once(side, "posted atomic", size);
            }
        }
    }
}

/* Operations without requests, as MPI libraries use them */
static void after_implicit(side_t *side, region_t *taken, uint8_t *buffer)
{
    ucs_status_t status;

    (void)ucp_put_nbi(side->ep, buffer, 64, taken->base, taken->rkey);
    (void)ucp_get_nbi(side->ep, buffer, 64, taken->base, taken->rkey);
    expect_flush_once(side, "implicit put and get", 64);

    if (without("gets")) {
        (void)ucp_put_nbi(side->ep, buffer, 64, taken->base, taken->rkey);
    } else {
        (void)ucp_get_nbi(side->ep, buffer, 64, taken->base, taken->rkey);
    }
    status = ucp_worker_flush(side->worker);
    if (status == UCS_OK) {
        die("a flush of the worker hides the failure");
    }
    check(ucp_worker_flush(side->worker), "second flush of the worker");
}

static void after_other(side_t *side, region_t *other, uint8_t *buffer)
{
    uint8_t back[4096];

    fill(buffer, sizeof(back), 77);
    check(side_put(side, buffer, sizeof(back), other->base, other->rkey),
          "put to the other file");
    check(side_flush(side), "flush of the other file");
    check(side_get(side, back, sizeof(back), other->base, other->rkey),
          "get from the other file");
    if (memcmp(buffer, back, sizeof(back)) != 0) {
        die("the other file has wrong bytes");
    }
}

static int origin(side_t *side)
{
    uint8_t *buffer = calloc(1, 64 << 20);
    region_t taken, other;
    ucp_rkey_h rkey;

    side_open(side, features, err_peer);
    receive_region(side, &taken);
    receive_region(side, &other);

    expect_reset(traffic(side, &taken, &other, buffer), "traffic", 0);
    expect_flush_once(side, "traffic", 0);
    printf("# %s: the intruder was let in after %lu us\n", how,
           (unsigned long)receive_word(intruder_sock));

    after_puts_gets(side, &taken, buffer);
    if (!without("atomics")) {
        after_atomics(side, &taken);
    }
    after_implicit(side, &taken, buffer);
    after_other(side, &other, buffer);

    /* A key that is unpacked only now does not work either */
    check(ucp_ep_rkey_unpack(side->ep, taken.key, &rkey), "stale key");
    expect_reset(side_put(side, buffer, 8, taken.base, rkey), "stale put", 8);
    if (!without("gets")) {
        expect_reset(side_get(side, buffer, 8, taken.base, rkey), "stale get",
                     8);
    }
    expect_flush_once(side, "stale key", 8);
    ucp_rkey_destroy(rkey);

    ucp_rkey_destroy(taken.rkey);
    after_other(side, &other, buffer);
    ucp_rkey_destroy(other.rkey);
    free(taken.key);
    free(other.key);
    free(buffer);
    send_word(side->sock, 0);
    side_close(side);
    return 0;
}

int main(int argc, char **argv)
{
    pid_t pid;

    if ((argc != 4) && (argc != 5)) {
        die("usage: revoke DIRECTORY truncate|otrunc|write none|mixed|peer"
            " [WITHOUT]");
    }

    snprintf(path_taken, sizeof(path_taken), "%s/taken", argv[1]);
    snprintf(path_other, sizeof(path_other), "%s/other", argv[1]);
    how      = argv[2];
    err_peer = (strcmp(argv[3], "peer") == 0);
    left_out = argv[4];
    if (strcmp(argv[3], "mixed") == 0) {
        features |= UCP_FEATURE_TAG; /* other lanes than for puts alone */
    }
    intruder_sock = run_third(intruder, &pid);
    return run_sides(target, origin);
}
