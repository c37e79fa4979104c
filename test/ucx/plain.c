/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Show how UCX reaches ordinary memory, to compare with and without daxpin */

/*
 * usage: plain rma|tag|all
 *
 * Prints the lanes and their uses, without daxpin's own, and whether a put
 * needs the target's help.
 */

#include "side.h"

#define SIZE       (1ul << 20)
#define DIRECT_SEC 0.3

static uint64_t features;

/* Print name and uses of a lane, without the numbers, which change with each
 * component:
 * "lane[1]:  5:sysv/memory.0 md[0] -> md[0]/sysv/sysdev[255] rma#1 amo#1" */
static void print_lane(const char *line)
{
    const char *name = strchr(line, ':');
    const char *use  = strrchr(line, ']');
    size_t length;

    if ((name == NULL) || (use == NULL) ||
        ((name = strchr(name + 1, ':')) == NULL)) {
        return;
    }

    length = strcspn(++name, " ");
    if (strncmp(name, "daxpin", 6) != 0) {
        printf("lane %.*s:", (int)length, name);
        for (++use; *use != '\0' && *use != '\n'; ++use) {
            if (*use == '#') { /* order of preference */
                use += strspn(use + 1, "0123456789");
            } else {
                putchar(*use);
            }
        }
        putchar('\n');
    }
}

static void print_lanes(side_t *side)
{
    FILE *info = tmpfile();
    char line[1024];

    ucp_ep_print_info(side->ep, info);
    rewind(info);
    while (fgets(line, sizeof(line), info) != NULL) {
        if (strstr(line, "lane[") != NULL) {
            print_lane(strstr(line, "lane["));
        }
    }
    fclose(info);
}

static ucp_mem_h map_allocated(side_t *side, void **address_p)
{
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                      UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .length     = SIZE,
        .flags      = UCP_MEM_MAP_ALLOCATE
    };
    ucp_mem_attr_t attr = { .field_mask = UCP_MEM_ATTR_FIELD_ADDRESS };
    ucp_mem_h memh;

    check(ucp_mem_map(side->context, &params, &memh), "ucp_mem_map");
    check(ucp_mem_query(memh, &attr), "ucp_mem_query");
    *address_p = attr.address;
    return memh;
}

static void target_rma(side_t *side)
{
    void *address[2] = { NULL, malloc(SIZE) };
    ucp_mem_h memh[2];
    int i;

    memh[0] = map_allocated(side, &address[0]);
    memh[1] = side_map(side, address[1], SIZE);
    for (i = 0; i < 2; ++i) {
        side_send_key(side, memh[i], address[i]);
        (void)receive_word(side->sock);          /* no help for a while */
        (void)receive_word_progress(side);
        if (((uint8_t*)address[i])[SIZE - 1] != 0x77) {
            die("the put did not arrive");
        }
        check(ucp_mem_unmap(side->context, memh[i]), "ucp_mem_unmap");
    }
    free(address[1]);
}

/* Check whether the request completes before the target helps */
static int is_direct(side_t *side, ucs_status_ptr_t request)
{
    double end = now() + DIRECT_SEC;

    while (UCS_PTR_IS_PTR(request) &&
           (ucp_request_check_status(request) == UCS_INPROGRESS)) {
        if (now() > end) {
            return 0;
        }
        ucp_worker_progress(side->worker);
    }
    return 1;
}

static void origin_rma(side_t *side, const char *what)
{
    const ucp_request_param_t param = { 0 };
    uint8_t *buffer                 = malloc(SIZE);
    ucs_status_ptr_t put, flush;
    ucp_rkey_h rkey;
    uint64_t base;

    memset(buffer, 0x77, SIZE);
    rkey  = side_receive_key(side, &base);
    put   = side_start(side, 1, buffer, SIZE, base, rkey, 0);
    flush = ucp_ep_flush_nbx(side->ep, &param);
    printf("put to %s memory: %s\n", what,
           (is_direct(side, put) && is_direct(side, flush)) ?
           "direct" : "helped by the target");

    send_word(side->sock, 0);
    check(side_wait(side, put), "put");
    check(side_wait(side, flush), "flush");
    ucp_rkey_destroy(rkey);
    send_word(side->sock, 0);
    free(buffer);
}

static void target_tag(side_t *side)
{
    const ucp_request_param_t param = { 0 };
    uint8_t *buffer                 = malloc(SIZE);

    memset(buffer, 0, SIZE);
    check(side_wait(side, ucp_tag_recv_nbx(side->worker, buffer, SIZE, 1, 1,
                                           &param)), "receive");
    if ((buffer[0] != 0x33) || (buffer[SIZE - 1] != 0x33)) {
        die("the message did not arrive");
    }
    free(buffer);
}

static void origin_tag(side_t *side)
{
    const ucp_request_param_t param = { 0 };
    uint8_t *buffer                 = malloc(SIZE);

    memset(buffer, 0x33, SIZE);
    check(side_wait(side, ucp_tag_send_nbx(side->ep, buffer, SIZE, 1, &param)),
          "send");
    printf("a message of %lu bytes arrived\n", SIZE);
    free(buffer);
}

static int target(side_t *side)
{
    side_open(side, features, 0);
    if (features & UCP_FEATURE_RMA) {
        target_rma(side);
    }
    if (features & UCP_FEATURE_TAG) {
        target_tag(side);
    }
    side_close(side);
    return 0;
}

static int origin(side_t *side)
{
    side_open(side, features, 0);
    print_lanes(side);
    if (features & UCP_FEATURE_RMA) {
        origin_rma(side, "allocated");
        origin_rma(side, "registered");
    }
    if (features & UCP_FEATURE_TAG) {
        origin_tag(side);
    }
    side_close(side);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        die("usage: plain rma|tag|all");
    }

    if (strcmp(argv[1], "tag") != 0) {
        features |= UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64;
    }
    if (strcmp(argv[1], "rma") != 0) {
        features |= UCP_FEATURE_TAG;
    }
    return run_sides(target, origin);
}
