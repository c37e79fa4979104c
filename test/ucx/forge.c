/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Forged and stale remote keys: no crash, and no access beyond their range */

/*
 * usage: forge FILE
 *
 * Keys with bytes changed, with fields changed and the sum corrected, of random
 * bytes, and the original key after the target unmapped the memory. Each is an
 * error or accesses its own range only; none is a crash.
 */

#include "side.h"

#include "ucx_daxpin/daxpin_rkey.h"

#define FEATURES  (UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64)
#define FILE_SIZE (1ul << 20)
#define SKIP      8192ul          /* registered is less than the file */
#define SIZE      (FILE_SIZE / 2)

static const char *path;

typedef uct_daxpin_packed_rkey_t packed_t;

static int target(side_t *side)
{
    uint8_t *bytes = map_file(path, FILE_SIZE);
    ucp_mem_h memh;
    size_t i;

    memset(bytes, 0xee, FILE_SIZE);
    side_open(side, FEATURES, 0);
    memh = side_map(side, bytes + SKIP, SIZE);
    side_send_key(side, memh, bytes + SKIP);

    (void)receive_word_progress(side);
    for (i = 0; i < FILE_SIZE; ++i) {
        if (((i < SKIP) || (i >= SKIP + SIZE)) && (bytes[i] != 0xee)) {
            die("byte %zu, which is not registered, has changed", i);
        }
    }
    send_word(side->sock, 0);

    (void)receive_word_progress(side);
    check(ucp_mem_unmap(side->context, memh), "ucp_mem_unmap");
    send_word(side->sock, 0);
    (void)receive_word_progress(side);
    side_close(side);
    return 0;
}

/* Find daxpin's key in UCP's, by the magic */
static packed_t *find_packed(void *key, size_t length)
{
    packed_t *packed = memmem(key, length, "DPIN", 4);

    if (packed == NULL) {
        die("UCP's key has no key of daxpin: the file was not adopted");
    }
    return packed;
}

/* Correct the sum */
static void make_good(packed_t *packed)
{
    uint64_t sum = 0xcbf29ce484222325ull;
    size_t i;

    for (i = 0; i < offsetof(packed_t, sum); ++i) {
        sum = (sum ^ ((uint8_t*)packed)[i]) * 0x100000001b3ull;
    }
    memcpy(&packed->sum, &sum, sizeof(sum));
}

/* Put and get at the ends of the range and beyond. Only those within may
 * work. */
static void use(side_t *side, ucp_rkey_h rkey, uint64_t base, uint64_t size)
{
    const int64_t offsets[] = { 0, 8, size / 2, size - 8, size - 7, size,
                                -8, -1, -(int64_t)SKIP, FILE_SIZE, 1ll << 40 };
    uint64_t value          = 0, result;
    ucs_status_t status;
    unsigned i;
    int in_range;

    for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); ++i) {
        in_range = (offsets[i] >= 0) && ((uint64_t)offsets[i] + 8 <= size);
        status   = side_put(side, &value, 8, base + offsets[i], rkey);
        if (!in_range && (status == UCS_OK)) {
            die("a put at %ld of %lu bytes works", (long)offsets[i],
                (unsigned long)size);
        }
        status = side_get(side, &value, 8, base + offsets[i], rkey);
        if (!in_range && (status == UCS_OK)) {
            die("a get at %ld of %lu bytes works", (long)offsets[i],
                (unsigned long)size);
        }
        (void)side_atomic(side, UCP_ATOMIC_OP_ADD, &value, 8, 1, &result,
                          base + offsets[i], rkey);
        (void)side_flush(side);
    }
}

/* Return the status of unpacking or, if that works, of an 8-byte put at the
 * start */
static ucs_status_t try_key(side_t *side, const void *key, uint64_t base)
{
    uint64_t value = 0;
    ucs_status_t status;
    ucp_rkey_h rkey;

    status = ucp_ep_rkey_unpack(side->ep, key, &rkey);
    if (status != UCS_OK) {
        return status;
    }

    status = side_put(side, &value, sizeof(value), base, rkey);
    use(side, rkey, base, (status == UCS_OK) ? SIZE : 0);
    (void)side_flush(side);
    ucp_rkey_destroy(rkey);
    return status;
}

/* Change a bit of each byte, so that the sum is wrong */
static void changed_bytes(side_t *side, const uint8_t *key, size_t length,
                          uint64_t base)
{
    uint8_t *copy    = malloc(length);
    packed_t *packed = find_packed(copy, (memcpy(copy, key, length), length));
    size_t i;

    for (i = 0; i < sizeof(*packed); ++i) {
        ((uint8_t*)packed)[i] ^= 1u << (i % 8);
        if (try_key(side, copy, base) == UCS_OK) {
            die("a key with byte %zu changed works", i);
        }
        memcpy(copy, key, length);
    }
    free(copy);
}

/* Set fields to values that a target could have packed, but did not */
static void changed_fields(side_t *side, const uint8_t *key, size_t length,
                           uint64_t base)
{
    static const size_t fields[] = {
        offsetof(packed_t, version), offsetof(packed_t, rendezvous),
        offsetof(packed_t, key.dev),
        offsetof(packed_t, key.ino), offsetof(packed_t, key.generation),
        offsetof(packed_t, key.uid), offsetof(packed_t, offset),
        offsetof(packed_t, length)
    };
    const uint64_t values[] = { 0, 1, 4096, UINT32_MAX, 1ull << 40,
                                UINT64_MAX - 4095, UINT64_MAX };
    uint8_t *copy           = malloc(length);
    packed_t *packed;
    ucs_status_t status;
    unsigned i, j;

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); ++i) {
        for (j = 0; j < sizeof(values) / sizeof(values[0]); ++j) {
            memcpy(copy, key, length);
            packed = find_packed(copy, length);
            memcpy((uint8_t*)packed + fields[i], &values[j],
                   (fields[i] == offsetof(packed_t, version)) ||
                   (fields[i] == offsetof(packed_t, key.uid)) ? 4 : 8);
            if (memcmp(copy, key, length) == 0) {
                continue;
            }
            make_good(packed);
            status = try_key(side, copy, base);
            /* Another offset is another range of the same file, and a shorter
             * length is within the range: both may work */
            if ((status == UCS_OK) &&
                (fields[i] != offsetof(packed_t, offset)) &&
                (fields[i] != offsetof(packed_t, length))) {
                die("a key with 0x%lx at %zu works", (unsigned long)values[j],
                    fields[i]);
            }
        }
    }
    free(copy);
}

static void random_keys(side_t *side, const uint8_t *key, size_t length,
                        uint64_t base)
{
    uint8_t *copy = malloc(length);
    packed_t *packed;
    packed_t old;
    size_t i, j;

    srandom(1);
    for (i = 0; i < 200; ++i) {
        memcpy(copy, key, length);
        packed = find_packed(copy, length);
        memcpy(&old, packed, sizeof(old));
        for (j = 4; j < sizeof(*packed); ++j) {
            ((uint8_t*)packed)[j] = random();
        }
        if (i % 2) { /* pass the first checks */
            memcpy(packed, &old, offsetof(packed_t, key));
            make_good(packed);
        }
        if (try_key(side, copy, base) == UCS_OK) {
            die("a random key works");
        }
    }
    free(copy);
}

/* Wait until the key does not work any more. The holder keeps the lease until
 * all members are gone, which the holder notices a little later. */
static void await_end(side_t *side, const void *key, uint64_t base)
{
    double end = now() + 5 * pace_slow();

    do {
        if (now() > end) {
            die("a key of memory that was unmapped works");
        }
        usleep(100000);
    } while (try_key(side, key, base) == UCS_OK);
}

static int origin(side_t *side)
{
    uint64_t value = 0;
    ucp_rkey_h rkey;
    uint64_t base;
    size_t length;
    uint8_t *key;

    side_open(side, FEATURES, 0);
    key  = receive_bytes(side->sock, &length);
    base = receive_word(side->sock);

    check(ucp_ep_rkey_unpack(side->ep, key, &rkey), "the original key");
    use(side, rkey, base, SIZE);
    check(side_put(side, &value, 8, base, rkey), "put with the original key");
    check(side_flush(side), "flush of the original key");

    changed_bytes(side, key, length, base);
    random_keys(side, key, length, base);
    send_word(side->sock, 0);
    (void)receive_word(side->sock);
    changed_fields(side, key, length, base);

    /* The target unmaps the memory. The unpacked key may work as long as the
     * file is under a lease, and not after that. */
    send_word(side->sock, 0);
    (void)receive_word(side->sock);
    use(side, rkey, base, SIZE);
    ucp_rkey_destroy(rkey);
    await_end(side, key, base);
    free(key);

    send_word(side->sock, 0);
    side_close(side);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        die("usage: forge FILE");
    }

    path = argv[1];
    return run_sides(target, origin);
}
