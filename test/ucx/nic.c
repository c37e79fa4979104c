/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Put, get and send over RDMA devices, with memory in files on fsdax */

/*
 * usage: nic DIRECTORY [MAX [DEVICE]]
 *
 * Two processes that reach each other only by RDMA devices. Windows and local
 * buffers are in files of DIRECTORY, which is on fsdax, in ordinary memory and,
 * if there is one, in a device DAX. Puts, gets, atomics and messages go up to
 * MAX bytes (4 MiB). Puts to memory that is not in files must not need the
 * target's help. Then another process truncates the window's file in the middle
 * of traffic; the endpoint must go on. The ordinary memory is where a file was
 * mapped before.
 */

#include "side.h"

enum { CMD_CHECK = 1, CMD_PAUSE, CMD_RECV, CMD_TRUNCATE, CMD_DONE };

enum { FSDAX, ORDINARY, DEVICE, KINDS };

#define DEVICE_ALIGN (2ul << 20) /* of its mappings */

typedef struct command {
    uint64_t cmd, kind, offset, length, seed;
} command_t;

static const char *const kind_names[] = {
    "fsdax", "ordinary memory", "device DAX"
};
static const char *directory;
static const char *device; /* NULL: none */
static int kinds = DEVICE; /* number of kinds in use */
static size_t max_size = 4ul << 20;
static size_t size;

/* Ordinary memory, where a file was mapped when UCX was open before */
static void *former;

/* The bytes from `seed` on are sent */
static uint8_t *reference;

static void make_reference(void)
{
    size_t i;

    size      = max_size + 8192;
    reference = malloc(size + 256);
    for (i = 0; i < size + 256; ++i) {
        reference[i] = pattern(1, i);
    }
}

/* Map the first part of the device for the window, the second for the buffer */
static uint8_t *map_device(int is_window)
{
    size_t length = (size + DEVICE_ALIGN - 1) / DEVICE_ALIGN * DEVICE_ALIGN;
    int fd        = open(device, O_RDWR | O_CLOEXEC);
    void *memory  = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                         is_window ? 0 : (off_t)length);

    if (memory == MAP_FAILED) {
        die("%s: cannot map it: %m", device);
    }
    close(fd);
    return memory;
}

static uint8_t *make_memory(int kind, const char *name)
{
    char path[4096];

    if (kind == DEVICE) {
        return map_device(strcmp(name, "window") == 0);
    }
    if (kind == FSDAX) {
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        return map_file(path, size);
    }
    return former;
}

static void expect(const uint8_t *bytes, size_t length, uint64_t seed,
                   const char *what, int kind, int other)
{
    if (memcmp(bytes, reference + seed, length) != 0) {
        die("%s of %zu: wrong bytes in %s (%s at the other end)", what, length,
            kind_names[kind], kind_names[other]);
    }
}

/* Have another process truncate the file, as in real life */
static void start_truncate(void)
{
    char path[4096];
    pid_t pid = fork();

    if (pid != 0) {
        return;
    }
    snprintf(path, sizeof(path), "%s/window", directory);
    if (truncate(path, 0) != 0) {
        fprintf(stderr, "truncate %s: %m\n", path);
        _exit(1);
    }
    _exit(0);
}

/* Check whether the pin module is there. With it the NIC has the file's blocks,
 * and a process that truncates the file waits until the memory is unmapped. */
static int nic_has_blocks(void)
{
    return access("/dev/daxpin", W_OK) == 0;
}

static void end_truncate(side_t *side)
{
    double end = now() + SIDE_WAIT_SEC;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) <= 0) {
        ucp_worker_progress(side->worker);
        if (now() > end) {
            die("the truncate takes more than %u s", SIDE_WAIT_SEC);
        }
    }
    if (status != 0) {
        die("the truncate failed");
    }
}

static ucs_status_ptr_t start_message(side_t *side, int is_send, void *buffer,
                                      size_t length, ucp_mem_h memh)
{
    ucp_request_param_t param = { 0 };

    if (memh != NULL) {
        param.op_attr_mask = UCP_OP_ATTR_FIELD_MEMH;
        param.memh         = memh;
    }
    return is_send ? ucp_tag_send_nbx(side->ep, buffer, length, 1, &param) :
                     ucp_tag_recv_nbx(side->worker, buffer, length, 1,
                                      UINT64_MAX, &param);
}

static void target_does(side_t *side, const command_t *command,
                        uint8_t **windows)
{
    uint8_t *at = windows[command->kind] + command->offset;
    ucs_status_ptr_t request;

    switch (command->cmd) {
    case CMD_CHECK:
        expect(at, command->length, command->seed, "put", command->kind,
               command->kind);
        break;
    case CMD_PAUSE:
        /* Do not progress the worker until the next word arrives */
        send_word(side->sock, 0);
        (void)receive_word(side->sock);
        return;
    case CMD_RECV:
        memset(at, 0x5a, command->length + 1);
        request = start_message(side, 0, at, command->length, NULL);
        send_word(side->sock, 0);
        check(side_wait(side, request), "receive");
        expect(at, command->length, command->seed, "receive", command->kind,
               command->kind);
        if (at[command->length] != 0x5a) {
            die("receive of %lu wrote beyond its buffer",
                (unsigned long)command->length);
        }
        break;
    case CMD_TRUNCATE:
        start_truncate();
        break;
    }
    send_word(side->sock, 0);
}

static command_t receive_command(side_t *side)
{
    struct pollfd fd = { .fd = side->sock, .events = POLLIN };
    double end       = now() + (4 * SIDE_WAIT_SEC);
    command_t *received, command;

    while (poll(&fd, 1, 0) == 0) {
        ucp_worker_progress(side->worker);
        if (now() > end) {
            die("target: no command arrives");
        }
    }
    received = receive_bytes(side->sock, NULL);
    command  = *received;
    free(received);
    return command;
}

/* Open UCX and close it again. After that, map other memory in place of a file
 * that UCX had registered. */
static void earlier_life(const char *name)
{
    const ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES,
        .features   = UCP_FEATURE_RMA
    };
    side_t life = { 0 };
    uint8_t *memory;
    ucp_mem_h memh;

    check(ucp_init(&params, NULL, &life.context), "ucp_init");
    memory = make_memory(FSDAX, name);
    memh   = side_map(&life, memory, size);
    side_pack(&life, memh);
    check(ucp_mem_unmap(life.context, memh), "ucp_mem_unmap");
    ucp_cleanup(life.context);
    former = mmap(memory, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (former == MAP_FAILED) {
        die("no memory: %m");
    }
}

static int target(side_t *side)
{
    uint8_t *windows[KINDS];
    ucp_mem_h memhs[KINDS];
    command_t command;
    int truncated = 0;
    int kind;

    earlier_life("earlier-window");
    side_open(side, UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64 |
              UCP_FEATURE_TAG, 0);
    for (kind = 0; kind < kinds; ++kind) {
        windows[kind] = make_memory(kind, "window");
        memhs[kind]   = side_map(side, windows[kind], size);
        side_send_key(side, memhs[kind], windows[kind]);
    }

    for (;;) {
        command = receive_command(side);
        if (command.cmd == CMD_DONE) {
            break;
        }
        truncated |= (command.cmd == CMD_TRUNCATE);
        target_does(side, &command, windows);
    }

    if (truncated && !nic_has_blocks()) {
        end_truncate(side);
    } else if (truncated && (waitpid(-1, NULL, WNOHANG) != 0)) {
        die("the truncate did not wait for the NIC");
    }
    for (kind = 0; kind < kinds; ++kind) {
        check(ucp_mem_unmap(side->context, memhs[kind]), "ucp_mem_unmap");
    }
    if (truncated && nic_has_blocks()) {
        end_truncate(side);
    }
    side_close(side);
    return 0;
}

static void order(side_t *side, uint64_t cmd, int kind, size_t offset,
                  size_t length, uint64_t seed)
{
    command_t command = { cmd, kind, offset, length, seed };

    send_bytes(side->sock, &command, sizeof(command));
    if (cmd != CMD_DONE) {
        (void)receive_word_progress(side);
    }
}

typedef struct window {
    ucp_rkey_h rkey;
    uint64_t   base;
} window_t;

static void put_get(side_t *side, const window_t *window, int kind,
                    uint8_t *local, int local_kind, size_t length,
                    size_t offset)
{
    uint64_t seed = (length + offset) % 199;
    int pause     = (kind != FSDAX);

    if (pause) {
        order(side, CMD_PAUSE, kind, 0, 0, 0);
    }
    memcpy(local, reference + seed, length);
    check(side_wait(side, side_start(side, 1, local, length,
                                     window->base + offset, window->rkey, 0)),
          "put");
    check(side_flush(side), "flush");
    if (pause) {
        send_word(side->sock, 0);
    }
    order(side, CMD_CHECK, kind, offset, length, seed);

    memset(local, 0x5a, length + 1);
    check(side_wait(side, side_start(side, 0, local, length,
                                     window->base + offset, window->rkey, 0)),
          "get");
    expect(local, length, seed, "get", local_kind, kind);
    if (local[length] != 0x5a) {
        die("get of %zu wrote beyond its buffer", length);
    }
}

static void message(side_t *side, int kind, uint8_t *local, size_t length,
                    ucp_mem_h memh)
{
    uint64_t seed = length % 197;

    memcpy(local, reference + seed, length);
    order(side, CMD_RECV, kind, 64, length, seed);
    check(side_wait(side, start_message(side, 1, local, length, memh)), "send");
    (void)receive_word_progress(side);
}

static void atomics(side_t *side, const window_t *window)
{
    uint64_t before = 5, add = 7, fetched = 0, after = 0;
    uint32_t old = 12, swap = 77, now32 = 0;

    check(side_put(side, &before, 8, window->base + 128, window->rkey), "put");
    check(side_atomic(side, UCP_ATOMIC_OP_ADD, &add, 8, 1, &fetched,
                      window->base + 128, window->rkey), "fetch and add");
    check(side_get(side, &after, 8, window->base + 128, window->rkey), "get");
    if ((fetched != 5) || (after != 12)) {
        die("fetch and add: 5 and 7 are %lu, it was %lu", (unsigned long)after,
            (unsigned long)fetched);
    }

    check(side_atomic(side, UCP_ATOMIC_OP_CSWAP, &old, 4, 1, &swap,
                      window->base + 128, window->rkey), "compare and swap");
    check(side_get(side, &now32, 4, window->base + 128, window->rkey), "get");
    if ((swap != 12) || (now32 != 77)) {
        die("compare and swap: %u, it was %u", now32, swap);
    }
}

static void all_sizes(side_t *side, const window_t *windows, uint8_t **locals,
                      ucp_mem_h memh)
{
    static const size_t sizes[] = { 8, 100, 2048, 8192, 8193, 65536, 300000,
                                    1ul << 20, 4ul << 20 };
    unsigned i;
    int kind, local;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        if (sizes[i] > max_size) {
            break;
        }
        for (kind = 0; kind < kinds; ++kind) {
            for (local = 0; local < kinds; ++local) {
                put_get(side, &windows[kind], kind, locals[local], local,
                        sizes[i], i * 40);
                message(side, kind, locals[local], sizes[i], NULL);
            }
        }
        /* Registered by the program */
        message(side, FSDAX, locals[FSDAX], sizes[i], memh);
    }
}

/* Put and get before, during and after the truncate. None may fail, because the
 * origin cannot know what the target's memory is. */
static void traffic(side_t *side, const window_t *windows, uint8_t **locals)
{
    double end = 0;
    unsigned i;

    for (i = 0; (i < 20) || (now() < end); ++i) {
        if (i == 10) {
            order(side, CMD_TRUNCATE, 0, 0, 0, 0);
            end = now() + 2;
        }
        check(side_wait(side, side_start(side, 1, locals[i % kinds], 65536,
                                         windows[FSDAX].base,
                                         windows[FSDAX].rkey, 0)), "put");
        check(side_wait(side, side_start(side, 0, locals[i % kinds], 65536,
                                         windows[FSDAX].base,
                                         windows[FSDAX].rkey, 0)), "get");
        check(side_flush(side), "flush");
    }
    put_get(side, &windows[ORDINARY], ORDINARY, locals[FSDAX], FSDAX, 65536, 0);
}

static int origin(side_t *side)
{
    window_t windows[KINDS];
    uint8_t *locals[KINDS];
    ucp_mem_h memh;
    int kind;

    earlier_life("earlier-local");
    side_open(side, UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64 |
              UCP_FEATURE_TAG, 0);
    for (kind = 0; kind < kinds; ++kind) {
        locals[kind]       = make_memory(kind, "local");
        windows[kind].rkey = side_receive_key(side, &windows[kind].base);
    }
    memh = side_map(side, locals[FSDAX], size);
    side_pack(side, memh);

    all_sizes(side, windows, locals, memh);
    for (kind = 0; kind < kinds; ++kind) {
        atomics(side, &windows[kind]);
    }
    traffic(side, windows, locals);

    check(ucp_mem_unmap(side->context, memh), "ucp_mem_unmap");
    order(side, CMD_DONE, 0, 0, 0, 0);
    for (kind = 0; kind < kinds; ++kind) {
        ucp_rkey_destroy(windows[kind].rkey);
    }
    side_close(side);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        die("usage: %s DIRECTORY [MAX [DEVICE]]", argv[0]);
    }
    directory = argv[1];
    if (argc > 2) {
        max_size = strtoul(argv[2], NULL, 0);
    }
    if (argc > 3) {
        device = argv[3];
        kinds  = KINDS;
    }
    make_reference();
    setenv("SIDE_APART", "1", 1);
    return run_sides(target, origin);
}
