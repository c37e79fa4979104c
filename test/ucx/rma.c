/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Puts and gets of all sizes, and all atomics, on a file */

/*
 * usage: rma FILE [MAX]
 *
 * The target maps the file. Sizes go up to MAX bytes (64 MiB). The target does
 * not progress its worker meanwhile, so bytes that arrive came by shared memory
 * and not by UCP's emulation. The content is compared in the target's mapping
 * after each put and, when all is unmapped, byte by byte in the file.
 */

#include "side.h"

enum { CMD_CHECK = 1, CMD_CLEAR, CMD_DONE };

typedef struct command {
    uint64_t cmd, offset, length, seed;
} command_t;

static const char *path;
static size_t max_size = 64ul << 20;
static size_t file_size;

static void check_bytes(const uint8_t *bytes, const command_t *command)
{
    uint64_t i;

    for (i = 0; i < command->length; ++i) {
        if (bytes[command->offset + i] != pattern(command->seed, i)) {
            die("byte %lu of %lu at offset %lu is wrong", (unsigned long)i,
                (unsigned long)command->length, (unsigned long)command->offset);
        }
    }
}

/* Compare the file with the mapping after the last put */
static void check_file(const uint8_t *copy)
{
    uint8_t *content = malloc(file_size);
    size_t done      = 0;
    ssize_t ret;
    int fd;

    fd = open(path, O_RDONLY);
    if (fd < 0) {
        die("%s: %m", path);
    }
    while (done < file_size) {
        ret = pread(fd, content + done, file_size - done, done);
        if (ret <= 0) {
            die("pread of %s: %m", path);
        }
        done += ret;
    }
    close(fd);
    if (memcmp(content, copy, file_size) != 0) {
        die("%s has other bytes than the mapping had", path);
    }
    free(content);
}

static int target(side_t *side)
{
    command_t *command;
    ucp_mem_h memh;
    uint8_t *bytes, *copy;

    bytes = map_file(path, file_size);
    side_open(side, UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64,
              0);
    memh = side_map(side, bytes, file_size);
    side_send_key(side, memh, bytes);

    for (;;) {
        command = receive_bytes(side->sock, NULL);
        if (command->cmd == CMD_DONE) {
            break;
        } else if (command->cmd == CMD_CLEAR) {
            memset(bytes, 0, file_size);
        } else {
            check_bytes(bytes, command);
        }
        free(command);
        send_word(side->sock, 0);
    }
    free(command);

    copy = malloc(file_size);
    memcpy(copy, bytes, file_size);
    send_word(side->sock, 0);
    /* The origin destroys its key before the target unmaps the memory */
    (void)receive_word_progress(side);
    check(ucp_mem_unmap(side->context, memh), "ucp_mem_unmap");
    side_close(side);
    munmap(bytes, file_size);
    check_file(copy);
    free(copy);
    return 0;
}

static void order(side_t *side, uint64_t cmd, uint64_t offset, uint64_t length,
                  uint64_t seed)
{
    command_t command = { cmd, offset, length, seed };

    send_bytes(side->sock, &command, sizeof(command));
    (void)receive_word(side->sock);
}

static void put_get(side_t *side, ucp_rkey_h rkey, uint64_t base,
                    uint8_t *buffer, size_t length, size_t offset, int no_imm)
{
    uint64_t seed = (length * 31) + offset + no_imm;
    ucs_status_t status;
    size_t i;

    fill(buffer, length, seed);
    status = side_wait(side, side_start(side, 1, buffer, length, base + offset,
                                        rkey, no_imm));
    if (status != UCS_OK) {
        die("put of %zu: %s", length, ucs_status_string(status));
    }
    check(side_flush(side), "flush");
    order(side, CMD_CHECK, offset, length, seed);

    memset(buffer, 0x5a, length + 1);
    status = side_wait(side, side_start(side, 0, buffer, length, base + offset,
                                        rkey, no_imm));
    if (status != UCS_OK) {
        die("get of %zu: %s", length, ucs_status_string(status));
    }
    for (i = 0; i < length; ++i) {
        if (buffer[i] != pattern(seed, i)) {
            die("get of %zu: byte %zu is wrong", length, i);
        }
    }
    if (buffer[length] != 0x5a) {
        die("get of %zu wrote beyond its buffer", length);
    }
}

static void all_sizes(side_t *side, ucp_rkey_h rkey, uint64_t base)
{
    uint8_t *buffer = malloc(max_size + 2);
    size_t length;
    int i;

    for (length = 1; length <= max_size; length *= 2) {
        for (i = 0; i < 2; ++i) {
            put_get(side, rkey, base, buffer, length, 0, i);
            put_get(side, rkey, base, buffer, length, file_size - length, i);
            if (length < (4ul << 20)) {
                put_get(side, rkey, base, buffer, length + 1, 3, i);
                put_get(side, rkey, base, buffer, length, 4093, i);
            }
        }
    }
    free(buffer);
}

/* Return the result of an operation on a and b */
static uint64_t expected(ucp_atomic_op_t op, uint64_t a, uint64_t b)
{
    switch (op) {
    case UCP_ATOMIC_OP_ADD:
        return a + b;
    case UCP_ATOMIC_OP_AND:
        return a & b;
    case UCP_ATOMIC_OP_OR:
        return a | b;
    case UCP_ATOMIC_OP_XOR:
        return a ^ b;
    default:
        return b; /* SWAP, and CSWAP that finds what it compares with */
    }
}

static void one_atomic(side_t *side, ucp_rkey_h rkey, uint64_t addr,
                       ucp_atomic_op_t op, size_t size, int fetch)
{
    uint64_t mask    = (size == 8) ? UINT64_MAX : UINT32_MAX;
    uint64_t before  = 0x9badf00d8badc0deull & mask;
    uint64_t value   = 0x1234567887654321ull & mask;
    uint64_t operand = (op == UCP_ATOMIC_OP_CSWAP) ? before : value;
    uint64_t result  = (op == UCP_ATOMIC_OP_CSWAP) ? value : 0;
    uint64_t after   = 0;
    ucs_status_t status;

    check(side_put(side, &before, size, addr, rkey), "put");
    status = side_atomic(side, op, &operand, size, fetch, &result, addr, rkey);
    if (status != UCS_OK) {
        die("atomic %d of %zu bytes, fetch %d: %s", op, size, fetch,
            ucs_status_string(status));
    }
    check(side_flush(side), "flush");
    check(side_get(side, &after, size, addr, rkey), "get");
    if (after != (expected(op, before, value) & mask)) {
        die("atomic %d of %zu bytes, fetch %d: 0x%lx", op, size, fetch,
            (unsigned long)after);
    }
    if (fetch && (result != before)) {
        die("atomic %d of %zu bytes fetched 0x%lx", op, size,
            (unsigned long)result);
    }
}

/* Check that a compare that fails changes nothing and returns the value */
static void cswap_other(side_t *side, ucp_rkey_h rkey, uint64_t addr,
                        size_t size)
{
    uint64_t before = 5, compare = 6, result = 7, after = 0;

    check(side_put(side, &before, size, addr, rkey), "put");
    check(side_atomic(side, UCP_ATOMIC_OP_CSWAP, &compare, size, 1, &result,
                      addr, rkey), "cswap");
    check(side_get(side, &after, size, addr, rkey), "get");
    if ((after != 5) || (result != 5)) {
        die("cswap of %zu bytes swapped what was not equal", size);
    }
}

static void all_atomics(side_t *side, ucp_rkey_h rkey, uint64_t base)
{
    static const ucp_atomic_op_t ops[] = {
        UCP_ATOMIC_OP_ADD, UCP_ATOMIC_OP_AND, UCP_ATOMIC_OP_OR,
        UCP_ATOMIC_OP_XOR, UCP_ATOMIC_OP_SWAP, UCP_ATOMIC_OP_CSWAP
    };
    size_t size;
    unsigned i;

    for (size = 4; size <= 8; size *= 2) {
        for (i = 0; i < sizeof(ops) / sizeof(ops[0]); ++i) {
            one_atomic(side, rkey, base + 64, ops[i], size, 1);
            if ((ops[i] != UCP_ATOMIC_OP_SWAP) &&
                (ops[i] != UCP_ATOMIC_OP_CSWAP)) {
                one_atomic(side, rkey, base + 64, ops[i], size, 0);
            }
        }
        cswap_other(side, rkey, base + 128, size);
    }
}

static int origin(side_t *side)
{
    const command_t done = { .cmd = CMD_DONE };
    uint64_t base;
    ucp_rkey_h rkey;

    side_open(side, UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64,
              0);
    rkey = side_receive_key(side, &base);
    order(side, CMD_CLEAR, 0, 0, 0);
    all_sizes(side, rkey, base);
    all_atomics(side, rkey, base);
    check(ucp_worker_flush(side->worker), "worker flush");

    send_bytes(side->sock, &done, sizeof(done));
    (void)receive_word(side->sock);
    ucp_rkey_destroy(rkey);
    send_word(side->sock, 0);
    side_close(side);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        die("usage: rma FILE [MAX]");
    }

    path = argv[1];
    if (argc > 2) {
        max_size = strtoul(argv[2], NULL, 0);
    }
    file_size = max_size + 8192;
    return run_sides(target, origin);
}
