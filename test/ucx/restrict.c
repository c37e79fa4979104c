/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Print what a transport by the name of xpmem offers, which is a copy of posix that
 * is added when daxpin is there already: "messages", or "messages and memory
 * access". usage: restrict */

#include "ucx_daxpin/abi/abi.h"

#include "../uct.h"

#define RESTRICT_MDS_MAX 8

/* Add the transport. Return its component. */
static uct_component_t *add_transport(void)
{
    static uct_tl_t copy;
    uct_component_t *component;
    uct_tl_t *tl;

    ucs_list_for_each(component, &uct_components_list, list) {
        ucs_list_for_each(tl, &component->tl_list, list) {
            if (strcmp(tl->name, "posix") == 0) {
                copy = *tl;
                strcpy(copy.name, "xpmem");
                ucs_list_add_tail(&component->tl_list, &copy.list);
                return component;
            }
        }
    }
    check(0, "the search for posix");
    return NULL;
}

/* Query all components, as UCP does before it opens any. */
static void query_components(void)
{
    uct_md_resource_desc_t resources[RESTRICT_MDS_MAX];
    uct_component_attr_t attr;
    uct_component_h *components;
    unsigned i, count;

    check(uct_query_components(&components, &count) == UCS_OK,
          "uct_query_components");
    for (i = 0; i < count; ++i) {
        attr.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT;
        check(uct_component_query(components[i], &attr) == UCS_OK,
              "uct_component_query");
        if (attr.md_resource_count <= RESTRICT_MDS_MAX) {
            attr.field_mask   = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
            attr.md_resources = resources;
            check(uct_component_query(components[i], &attr) == UCS_OK,
                  "uct_component_query");
        }
    }
    uct_release_component_list(components);
}

static uct_iface_h open_iface(uct_component_t *component)
{
    uct_iface_params_t params = {
        .field_mask = UCT_IFACE_PARAM_FIELD_OPEN_MODE |
                      UCT_IFACE_PARAM_FIELD_DEVICE,
        .open_mode  = UCT_IFACE_OPEN_MODE_DEVICE,
        .mode.device.tl_name  = "xpmem",
        .mode.device.dev_name = "memory"
    };
    ucs_async_context_t *async;
    uct_iface_config_t *config;
    uct_md_config_t *md_config;
    uct_worker_h worker;
    uct_iface_h iface;
    uct_md_h md;

    check(uct_md_config_read(component, NULL, NULL, &md_config) == UCS_OK,
          "uct_md_config_read");
    check(uct_md_open(component, "posix", md_config, &md) == UCS_OK,
          "uct_md_open");
    check(ucs_async_context_create(UCS_ASYNC_MODE_THREAD_SPINLOCK, &async) ==
          UCS_OK, "ucs_async_context_create");
    check(uct_worker_create(async, UCS_THREAD_MODE_SINGLE, &worker) == UCS_OK,
          "uct_worker_create");
    check(uct_md_iface_config_read(md, "xpmem", NULL, NULL, &config) == UCS_OK,
          "uct_md_iface_config_read");
    check(uct_iface_open(md, worker, &params, config, &iface) == UCS_OK,
          "uct_iface_open");
    return iface;
}

int main(void)
{
    const uint64_t access      = UCT_IFACE_FLAG_PUT_SHORT |
                                 UCT_IFACE_FLAG_PUT_BCOPY |
                                 UCT_IFACE_FLAG_GET_BCOPY;
    uct_component_t *component = add_transport();
    uct_iface_attr_t attr;

    query_components();
    check(uct_iface_query(open_iface(component), &attr) == UCS_OK,
          "uct_iface_query");
    check((attr.cap.flags & UCT_IFACE_FLAG_AM_SHORT) != 0, "messages");
    printf("messages%s\n", ((attr.cap.flags & access) ||
                            (attr.cap.atomic64.op_flags != 0)) ?
                                   " and memory access" : "");
    return 0;
}
