/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Check daxpin's transport by itself where ranges, operations and interfaces end.
 * usage: ends */

#include "../uct.h"

#include <ucs/async/async_fwd.h>

#include <stdint.h>

#define ENDS_LENGTH 4096
#define ENDS_PART   64
#define ENDS_ROOM   1024

static uct_component_h component;
static uct_md_h md;
static uct_worker_h worker;
static uct_iface_h iface;
static uct_ep_h ep;
static unsigned completed;

static void count_completion(uct_completion_t *completion)
{
    (void)completion;
    ++completed;
}

static void open_iface(void)
{
    uct_iface_params_t params = {
        .field_mask = UCT_IFACE_PARAM_FIELD_OPEN_MODE |
                      UCT_IFACE_PARAM_FIELD_DEVICE,
        .open_mode  = UCT_IFACE_OPEN_MODE_DEVICE
    };
    uct_tl_resource_desc_t *resources;
    ucs_async_context_t *async;
    uct_iface_config_t *config;
    uct_md_config_t *md_config;
    unsigned count;

    check(uct_md_config_read(component, NULL, NULL, &md_config) == UCS_OK,
          "uct_md_config_read");
    check(uct_md_open(component, "daxpin", md_config, &md) == UCS_OK,
          "uct_md_open");
    check((uct_md_query_tl_resources(md, &resources, &count) == UCS_OK) &&
          (count == 1), "uct_md_query_tl_resources");
    check(ucs_async_context_create(UCS_ASYNC_MODE_THREAD_SPINLOCK, &async) ==
          UCS_OK, "ucs_async_context_create");
    check(uct_worker_create(async, UCS_THREAD_MODE_SINGLE, &worker) == UCS_OK,
          "uct_worker_create");
    check(uct_md_iface_config_read(md, "daxpin", NULL, NULL, &config) ==
          UCS_OK, "uct_md_iface_config_read");
    params.mode.device.tl_name  = resources[0].tl_name;
    params.mode.device.dev_name = resources[0].dev_name;
    check(uct_iface_open(md, worker, &params, config, &iface) == UCS_OK,
          "uct_iface_open");
}

/* Connect the interface to itself. */
static void connect_iface(void)
{
    char device[ENDS_ROOM], address[ENDS_ROOM];
    uct_ep_params_t params = {
        .field_mask = UCT_EP_PARAM_FIELD_IFACE | UCT_EP_PARAM_FIELD_DEV_ADDR |
                      UCT_EP_PARAM_FIELD_IFACE_ADDR,
        .iface      = iface,
        .dev_addr   = (void*)device,
        .iface_addr = (void*)address
    };

    check(uct_iface_get_device_address(iface, (void*)device) == UCS_OK,
          "uct_iface_get_device_address");
    check(uct_iface_get_address(iface, (void*)address) == UCS_OK,
          "uct_iface_get_address");
    check(uct_ep_create(&params, &ep) == UCS_OK, "uct_ep_create");
}

/* Make the key of memory; changed: the way to the target has changed it. */
static uct_rkey_t make_key(char *memory, uct_mem_h *memh_p, int changed)
{
    char key[ENDS_ROOM] = "";
    uct_rkey_bundle_t bundle;

    check(uct_md_mem_reg(md, memory, ENDS_LENGTH, UCT_MD_MEM_ACCESS_ALL,
                         memh_p) == UCS_OK, "uct_md_mem_reg");
    check(uct_md_mkey_pack(md, *memh_p, key) == UCS_OK, "uct_md_mkey_pack");
    key[20] ^= (char)changed;
    check(uct_rkey_unpack(component, key, &bundle) == UCS_OK,
          "uct_rkey_unpack");
    return bundle.rkey;
}

/* A put to the end of the range has an empty buffer behind others. */
static void test_empty_buffer(char *memory)
{
    char source[ENDS_PART]      = "x";
    uct_completion_t completion = {count_completion, 1, UCS_OK};
    uct_mem_h memh;
    uct_rkey_t rkey = make_key(memory, &memh, 0);
    uct_iov_t iov[] = {
        {source, ENDS_PART, memh, 0, 1},
        {source, 0, memh, 0, 1}
    };

    check(uct_ep_put_zcopy(ep, iov, 2,
                           (uintptr_t)memory + ENDS_LENGTH - ENDS_PART, rkey,
                           &completion) == UCS_OK,
          "a put with an empty buffer at the end");
    check(memory[ENDS_LENGTH - ENDS_PART] == 'x', "what was put");
}

/* The interface closes while a flush counts an operation that never ends. */
static void test_close(char *memory)
{
    uct_completion_t completion = {count_completion, 2, UCS_OK};
    uint64_t word               = 1;
    uct_mem_h memh;
    uct_rkey_t rkey = make_key(memory, &memh, 1);

    check(uct_ep_put_short(ep, &word, sizeof(word), (uintptr_t)memory, rkey) !=
          UCS_OK, "a put with a bad key is refused");
    check(uct_ep_flush(ep, 0, &completion) == UCS_INPROGRESS, "uct_ep_flush");
    uct_worker_progress(worker);
    check(completion.count == 2, "the flush waits for the other operation");
    uct_ep_destroy(ep);
    uct_iface_close(iface);
    check(completion.count == 1, "the flush has ended here");
    check(completed == 0, "nothing is complete");
}

int main(void)
{
    char *memory = calloc(1, ENDS_LENGTH);

    check(memory != NULL, "calloc");
    component = find_component();
    open_iface();
    connect_iface();
    test_empty_buffer(memory);
    test_close(memory);
    printf("well\n");
    return 0;
}
