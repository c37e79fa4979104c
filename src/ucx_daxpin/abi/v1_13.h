/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* UCX 1.13: what daxpin needs of its interface to components */

#ifndef UCT_DAXPIN_ABI_V1_13_H_
#define UCT_DAXPIN_ABI_V1_13_H_

#include <uct/api/uct.h>
#include <uct/api/tl.h>
#include <ucs/config/parser.h>
#include <ucs/datastruct/list.h>

#include <stddef.h>
#include <stdint.h>

struct ibv_pd;

/* A symbol that exists from the next release on. It identifies the release in a
 * process without libucp, which has the version. */
#define UCT_DAXPIN_ABI_NEXT_SYMBOL "uct_md_query_v2"

typedef struct uct_component uct_component_t;
typedef struct uct_tl        uct_tl_t;
typedef struct uct_md_ops    uct_md_ops_t;

/* Parameters from a header of 1.13 that is not installed. The mask shows which
 * fields are valid; daxpin reads no field beyond these. */
enum {
    UCT_MD_MEM_DEREG_FIELD_MEMH  = UCS_BIT(0),
    UCT_MD_MEM_DEREG_FIELD_FLAGS = UCS_BIT(1)
};

enum { UCT_MD_MEM_DEREG_FLAG_INVALIDATE = UCS_BIT(0) };

typedef struct uct_md_mem_dereg_params {
    uint64_t         field_mask;
    unsigned         flags;
    uct_mem_h        memh;
    uct_completion_t *comp;
} uct_md_mem_dereg_params_t;

typedef struct uct_md_mkey_pack_params {
    uint64_t field_mask;
    unsigned flags;
} uct_md_mkey_pack_params_t;

struct uct_component {
    char                           name[UCT_COMPONENT_NAME_MAX];
    ucs_status_t                   (*query_md_resources)(
                                        uct_component_t *component,
                                        uct_md_resource_desc_t **resources_p,
                                        unsigned *num_resources_p);
    ucs_status_t                   (*md_open)(uct_component_t *component,
                                              const char *md_name,
                                              const uct_md_config_t *config,
                                              uct_md_h *md_p);
    ucs_status_t                   (*cm_open)(uct_component_t *component,
                                              uct_worker_h worker,
                                              const uct_cm_config_t *config,
                                              uct_cm_h *cm_p);
    ucs_status_t                   (*rkey_unpack)(uct_component_t *component,
                                                  const void *rkey_buffer,
                                                  uct_rkey_t *rkey_p,
                                                  void **handle_p);
    ucs_status_t                   (*rkey_ptr)(uct_component_t *component,
                                               uct_rkey_t rkey, void *handle,
                                               uint64_t remote_addr,
                                               void **local_addr_p);
    ucs_status_t                   (*rkey_release)(uct_component_t *component,
                                                   uct_rkey_t rkey,
                                                   void *handle);
    ucs_config_global_list_entry_t md_config;
    ucs_config_global_list_entry_t cm_config;
    ucs_list_link_t                tl_list;
    ucs_list_link_t                list;
    uint64_t                       flags;
    void                           (*md_vfs_init)(uct_md_h md);
};

typedef struct uct_tl_device_resource {
    char              name[UCT_DEVICE_NAME_MAX];
    uct_device_type_t type;
    ucs_sys_device_t  sys_device;
} uct_tl_device_resource_t;

struct uct_tl {
    char                           name[UCT_TL_NAME_MAX];
    ucs_status_t                   (*query_devices)(
                                        uct_md_h md,
                                        uct_tl_device_resource_t **devices_p,
                                        unsigned *num_devices_p);
    ucs_status_t                   (*iface_open)(
                                        uct_md_h md, uct_worker_h worker,
                                        const uct_iface_params_t *params,
                                        const uct_iface_config_t *config,
                                        uct_iface_h *iface_p);
    ucs_config_global_list_entry_t config;
    ucs_list_link_t                list;
};

struct uct_md_ops {
    void         (*close)(uct_md_h md);
    ucs_status_t (*query)(uct_md_h md, uct_md_attr_t *attr);
    ucs_status_t (*mem_alloc)(uct_md_h md, size_t *length_p, void **address_p,
                              ucs_memory_type_t mem_type, unsigned flags,
                              const char *alloc_name, uct_mem_h *memh_p);
    ucs_status_t (*mem_free)(uct_md_h md, uct_mem_h memh);
    ucs_status_t (*mem_advise)(uct_md_h md, uct_mem_h memh, void *address,
                               size_t length, unsigned advice);
    ucs_status_t (*mem_reg)(uct_md_h md, void *address, size_t length,
                            unsigned flags, uct_mem_h *memh_p);
    ucs_status_t (*mem_dereg)(uct_md_h md,
                              const uct_md_mem_dereg_params_t *params);
    ucs_status_t (*mem_query)(uct_md_h md, const void *address, size_t length,
                              uct_md_mem_attr_t *attr);
    ucs_status_t (*mkey_pack)(uct_md_h md, uct_mem_h memh,
                              const uct_md_mkey_pack_params_t *params,
                              void *rkey_buffer);
    int          (*is_sockaddr_accessible)(uct_md_h md,
                                           const ucs_sock_addr_t *sockaddr,
                                           uct_sockaddr_accessibility_t mode);
    ucs_status_t (*detect_memory_type)(uct_md_h md, const void *address,
                                       size_t length,
                                       ucs_memory_type_t *mem_type_p);
};

struct uct_md {
    uct_md_ops_t    *ops;
    uct_component_t *component;
};

/* The memory domain of libuct_ib, as far as daxpin reads it */
typedef struct uct_ib_md {
    uct_md_t      super;
    void          *rcache;
    uct_mem_h     global_odp;
    struct ibv_pd *pd;
} uct_ib_md_t;

/* The beginning of a memory handle of libuct_ib, of which the transports read
 * nothing else */
typedef struct uct_ib_mem {
    uint32_t lkey;
    uint32_t rkey;
    uint32_t atomic_rkey;
    uint32_t indirect_rkey;
    uint32_t flags;
} uct_ib_mem_t;

extern ucs_list_link_t uct_components_list;

void uct_component_register(uct_component_t *component);
void uct_tl_register(uct_component_t *component, uct_tl_t *tl);

void *ucs_malloc(size_t size, const char *name);
void *ucs_calloc(size_t count, size_t size, const char *name);
void *ucs_realloc(void *ptr, size_t size, const char *name);
void ucs_free(void *ptr);

/* Measured in a UCX 1.13.1 built without statistics, on 64-bit machines */
_Static_assert(sizeof(uct_component_t) == 208, "uct_component");
_Static_assert(offsetof(uct_component_t, md_config) == 64, "md_config");
_Static_assert(offsetof(uct_component_t, tl_list) == 160, "tl_list");
_Static_assert(offsetof(uct_component_t, list) == 176, "list");
_Static_assert(offsetof(uct_component_t, flags) == 192, "flags");
_Static_assert(offsetof(uct_component_t, md_vfs_init) == 200, "md_vfs_init");
_Static_assert(sizeof(uct_tl_t) == 96, "uct_tl");
_Static_assert(offsetof(uct_tl_t, config) == 32, "tl config");
_Static_assert(offsetof(uct_tl_t, list) == 80, "tl list");
_Static_assert(sizeof(uct_md_ops_t) == 88, "uct_md_ops");
_Static_assert(offsetof(uct_md_ops_t, mem_reg) == 40, "mem_reg");
_Static_assert(offsetof(uct_md_ops_t, mkey_pack) == 64, "mkey_pack");
_Static_assert(sizeof(uct_md_attr_t) == 224, "uct_md_attr");
_Static_assert(sizeof(uct_iface_ops_t) == 400, "uct_iface_ops");
_Static_assert(sizeof(uct_tl_device_resource_t) == 40, "device resource");
_Static_assert(offsetof(uct_md_mem_dereg_params_t, memh) == 16, "memh");
_Static_assert(offsetof(uct_ib_md_t, pd) == 32, "ib pd");
_Static_assert(sizeof(uct_ib_mem_t) == 20, "ib memh");
_Static_assert(sizeof(ucs_config_global_list_entry_t) == 48, "config entry");
_Static_assert(sizeof(ucs_config_field_t) == 80, "config field");

#endif
