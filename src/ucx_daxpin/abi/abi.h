/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* UCX's interface to its components, of the release that daxpin is built for */

#ifndef UCT_DAXPIN_ABI_H_
#define UCT_DAXPIN_ABI_H_

/*
 * The interface between UCX and its components is not installed and changes
 * with almost every release. What daxpin needs of it is declared here, as the
 * newest release has it; what an older release lacks or has more is marked with
 * UCT_DAXPIN_SINCE. sizes.h compares the result with what was measured in each
 * release. The rest of daxpin is written for the newest release: adapt.h makes
 * the difference. No other file asks the preprocessor for the release.
 *
 * configure finds the release, and the running UCX must be that release: see
 * uct_daxpin_abi_check().
 */

#include <uct/api/uct.h>
#include <uct/api/tl.h>
#include <ucs/config/parser.h>
#include <ucs/datastruct/list.h>

#include <stddef.h>
#include <stdint.h>

#ifndef DAXPIN_UCX_ABI /* 100 * major + minor, from configure */
#  error "config.h has to be included first"
#endif

#define UCT_DAXPIN_ABI_MAJOR (DAXPIN_UCX_ABI / 100)
#define UCT_DAXPIN_ABI_MINOR (DAXPIN_UCX_ABI % 100)

/* Whether the release is 1._minor or later: for #if, and in expressions */
#define UCT_DAXPIN_SINCE(_minor) (DAXPIN_UCX_ABI >= 100 + (_minor))

#if (DAXPIN_UCX_ABI < DAXPIN_UCX_OLDEST) || (DAXPIN_UCX_ABI > DAXPIN_UCX_NEWEST)
#  error "src/ucx_daxpin/abi does not describe this release of UCX"
#endif

/*
 * How UCP behaves
 */

/* UCP keeps what it registers in a cache of its own, uses lanes for puts and
 * gets for big messages too, and does not count the cost of a registration. So
 * there are two memory domains, and the transport has a device of its own: see
 * daxpin_md.h and daxpin_tl.c. */
#define UCT_DAXPIN_UCP_HAS_CACHE UCT_DAXPIN_SINCE(16)

/* UCP's old protocols crash where zero-copy needs no memory handle */
#define UCT_DAXPIN_UCP_OLD_NEEDS_MEMH UCT_DAXPIN_SINCE(15)

/* UCP's new protocols go around the access check for some sizes, with a memory
 * domain that is made for the old ones */
#define UCT_DAXPIN_UCP_NEW_IS_UNSAFE \
    (UCT_DAXPIN_SINCE(14) && !UCT_DAXPIN_SINCE(16))

/* Which protocols UCP takes if nobody says so */
#if UCT_DAXPIN_SINCE(16)
#  define UCT_DAXPIN_UCP_NEW_DEFAULT "y"
#else
#  define UCT_DAXPIN_UCP_NEW_DEFAULT "n"
#endif

/* Symbols of libuct that exist from a release on. They tell releases apart in a
 * process without libucp, which has the version. NULL: there is none. */
#if UCT_DAXPIN_SINCE(22)
#  define UCT_DAXPIN_ABI_THIS_SYMBOL "uct_md_mem_query_v2"
#  define UCT_DAXPIN_ABI_NEXT_SYMBOL NULL
#elif UCT_DAXPIN_SINCE(19)
#  define UCT_DAXPIN_ABI_THIS_SYMBOL "uct_rkey_unpack_v2"
#  define UCT_DAXPIN_ABI_NEXT_SYMBOL "uct_md_mem_query_v2"
#elif UCT_DAXPIN_SINCE(16)
#  define UCT_DAXPIN_ABI_THIS_SYMBOL "uct_rkey_compare"
#  define UCT_DAXPIN_ABI_NEXT_SYMBOL "uct_rkey_unpack_v2"
#elif UCT_DAXPIN_SINCE(14)
#  define UCT_DAXPIN_ABI_THIS_SYMBOL "uct_md_query_v2"
#  define UCT_DAXPIN_ABI_NEXT_SYMBOL "uct_rkey_compare"
#else
#  define UCT_DAXPIN_ABI_THIS_SYMBOL NULL
#  define UCT_DAXPIN_ABI_NEXT_SYMBOL "uct_md_query_v2"
#endif

struct ibv_pd;
struct uct_ep_is_connected_params;
struct uct_rkey_unpack_params;
struct uct_rkey_compare_params;

typedef struct uct_component uct_component_t;
typedef struct uct_tl        uct_tl_t;
typedef struct uct_md_ops    uct_md_ops_t;

/*
 * Parameters of memory domains. The masks show which fields are valid; daxpin
 * reads no field beyond these.
 */

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

enum { UCT_MD_MKEY_PACK_FIELD_FLAGS = UCS_BIT(0) };

typedef struct uct_md_mkey_pack_params {
    uint64_t field_mask;
    unsigned flags;
} uct_md_mkey_pack_params_t;

enum { UCT_MD_MEM_REG_FIELD_FLAGS = UCS_BIT(0) };

/* Before 1.14 UCX passes the flags alone */
typedef struct uct_md_mem_reg_params {
    uint64_t          field_mask;
    uint64_t          flags;
    int               dmabuf_fd;
    size_t            dmabuf_offset;
#if UCT_DAXPIN_SINCE(22)
    ucs_memory_type_t mem_type;
#endif
} uct_md_mem_reg_params_t;

#if UCT_DAXPIN_SINCE(14)
typedef const uct_md_mem_reg_params_t *uct_daxpin_reg_arg_t;
#else
typedef unsigned uct_daxpin_reg_arg_t;
#endif

/* UCX's uct_md_attr_v2_t; before 1.14 what is installed */
#if UCT_DAXPIN_SINCE(14)
typedef struct uct_daxpin_md_attr {
    uint64_t          field_mask;
    uint64_t          max_alloc;
    size_t            max_reg;
    uint64_t          flags;
    uint64_t          reg_mem_types;
#  if UCT_DAXPIN_SINCE(15)
    uint64_t          reg_nonblock_mem_types;
#  endif
    uint64_t          cache_mem_types;
#  if UCT_DAXPIN_SINCE(18)
    uint64_t          gva_mem_types;
#  endif
    uint64_t          detect_mem_types;
    uint64_t          alloc_mem_types;
    uint64_t          access_mem_types;
    uint64_t          dmabuf_mem_types;
    ucs_linear_func_t reg_cost;
    char              component_name[UCT_COMPONENT_NAME_MAX];
    size_t            rkey_packed_size;
    ucs_cpu_set_t     local_cpus;
    size_t            exported_mkey_packed_size;
    char              global_id[UCT_MD_GLOBAL_ID_MAX];
#  if UCT_DAXPIN_SINCE(16)
    size_t            reg_alignment;
#  endif
#  if UCT_DAXPIN_SINCE(22)
    uint8_t           required_mem_flags;
#  endif
} uct_daxpin_md_attr_t;
#else
typedef uct_md_attr_t uct_daxpin_md_attr_t;
#endif

/* What a memory domain can do for endpoints that handle errors. Without this,
 * UCP gives such endpoints no lane for gets and big puts, and emulates them,
 * around the access check. The installed header has only the first. */
#if UCT_DAXPIN_SINCE(15)
enum {
    UCT_DAXPIN_MD_FLAG_INVALIDATE_RMA = UCS_BIT(11),
    UCT_DAXPIN_MD_FLAG_INVALIDATE_AMO = UCS_BIT(12)
};

#  define UCT_DAXPIN_MD_FLAGS_INVALIDATE (UCT_MD_FLAG_INVALIDATE | \
                                          UCT_DAXPIN_MD_FLAG_INVALIDATE_RMA | \
                                          UCT_DAXPIN_MD_FLAG_INVALIDATE_AMO)
#else
#  define UCT_DAXPIN_MD_FLAGS_INVALIDATE 0
#endif

/*
 * Components, transports and memory domains
 */

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
#if UCT_DAXPIN_SINCE(19)
    ucs_status_t                   (*rkey_unpack)(
                                        uct_component_t *component,
                                        const void *rkey_buffer,
                                        const struct uct_rkey_unpack_params
                                                *params,
                                        uct_rkey_t *rkey_p, void **handle_p);
#else
    ucs_status_t                   (*rkey_unpack)(uct_component_t *component,
                                                  const void *rkey_buffer,
                                                  uct_rkey_t *rkey_p,
                                                  void **handle_p);
#endif
    ucs_status_t                   (*rkey_ptr)(uct_component_t *component,
                                               uct_rkey_t rkey, void *handle,
                                               uint64_t remote_addr,
                                               void **local_addr_p);
    ucs_status_t                   (*rkey_release)(uct_component_t *component,
                                                   uct_rkey_t rkey,
                                                   void *handle);
#if UCT_DAXPIN_SINCE(16)
    ucs_status_t                   (*rkey_compare)(
                                        uct_component_t *component,
                                        uct_rkey_t rkey1, uct_rkey_t rkey2,
                                        const struct uct_rkey_compare_params
                                                *params,
                                        int *result);
#endif
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

/* An operation that daxpin neither does nor calls, whatever its arguments */
typedef ucs_status_t (*uct_daxpin_md_op_t)(uct_md_h md);

struct uct_md_ops {
    void               (*close)(uct_md_h md);
    ucs_status_t       (*query)(uct_md_h md, uct_daxpin_md_attr_t *attr);
    uct_daxpin_md_op_t mem_alloc;
    uct_daxpin_md_op_t mem_free;
    ucs_status_t       (*mem_advise)(uct_md_h md, uct_mem_h memh, void *address,
                                     size_t length, unsigned advice);
    ucs_status_t       (*mem_reg)(uct_md_h md, void *address, size_t length,
                                  uct_daxpin_reg_arg_t arg, uct_mem_h *memh_p);
    ucs_status_t       (*mem_dereg)(uct_md_h md,
                                    const uct_md_mem_dereg_params_t *params);
    uct_daxpin_md_op_t mem_query;
#if UCT_DAXPIN_SINCE(16)
    ucs_status_t       (*mkey_pack)(uct_md_h md, uct_mem_h memh, void *address,
                                    size_t length,
                                    const uct_md_mkey_pack_params_t *params,
                                    void *mkey_buffer);
#else
    ucs_status_t       (*mkey_pack)(uct_md_h md, uct_mem_h memh,
                                    const uct_md_mkey_pack_params_t *params,
                                    void *mkey_buffer);
#endif
#if UCT_DAXPIN_SINCE(14)
    uct_daxpin_md_op_t mem_attach;
#endif
#if !UCT_DAXPIN_SINCE(16)
    int                (*is_sockaddr_accessible)(uct_md_h md);
#endif
    uct_daxpin_md_op_t detect_memory_type;
#if UCT_DAXPIN_SINCE(21)
    uct_daxpin_md_op_t mem_elem_pack;
#endif
#if UCT_DAXPIN_SINCE(23)
    void               (*mem_elem_release)(uct_md_h md);
#endif
};

struct uct_md {
    uct_md_ops_t    *ops;
    uct_component_t *component;
};

/*
 * What follows uct_iface_t in the interfaces of all transports: operations that
 * only UCX's libraries call
 */

enum {
    UCT_DAXPIN_PERF_FIELD_BANDWIDTH      = UCS_BIT(8),
    UCT_DAXPIN_PERF_FIELD_PATH_BANDWIDTH = UCS_BIT(9) /* since 1.19 */
};

/* UCX's uct_perf_attr_t, as far as daxpin reads it: how fast an interface is */
typedef struct uct_daxpin_perf_attr {
    uint64_t            field_mask;
    int                 operation;
    ucs_memory_type_t   local_memory_type;
    ucs_memory_type_t   remote_memory_type;
    ucs_sys_device_t    local_sys_device;
    ucs_sys_device_t    remote_sys_device;
    double              send_pre_overhead;
    double              send_post_overhead;
    double              recv_overhead;
    uct_ppn_bandwidth_t bandwidth;
#if UCT_DAXPIN_SINCE(19)
    uct_ppn_bandwidth_t path_bandwidth;
#endif
} uct_daxpin_perf_attr_t;

typedef ucs_status_t
(*uct_daxpin_estimate_perf_func_t)(uct_iface_h iface,
                                   uct_daxpin_perf_attr_t *attr);

typedef int
(*uct_daxpin_is_connected_func_t)(uct_ep_h ep,
                                  const struct uct_ep_is_connected_params
                                          *params);

/* UCX's uct_iface_internal_ops_t. Each release shows which of these get an
 * endpoint: posix's functions do not know daxpin's endpoints. In posix the
 * others that do (ep_query, ep_invalidate, ...) are stubs. */
typedef struct uct_daxpin_internal_ops {
#if UCT_DAXPIN_SINCE(20) && DAXPIN_UCX_ABI != 121
    void                            *iface_query_v2;
#endif
    uct_daxpin_estimate_perf_func_t iface_estimate_perf;
    void                            *iface_vfs_refresh;
#if DAXPIN_UCX_ABI == 120
    void                            *iface_mem_element_pack;
#endif
    void                            *ep_query;
    void                            *ep_invalidate;
#if UCT_DAXPIN_SINCE(14)
    void                            *ep_connect_to_ep_v2;
#endif
#if UCT_DAXPIN_SINCE(15)
    void                            *iface_is_reachable_v2;
#endif
#if UCT_DAXPIN_SINCE(16)
    uct_daxpin_is_connected_func_t  ep_is_connected;
#endif
#if UCT_DAXPIN_SINCE(20)
    void                            *ep_get_device_ep;
#endif
#if UCT_DAXPIN_SINCE(22)
    void                            *ep_put_sgl_zcopy;
#endif
#if UCT_DAXPIN_SINCE(23)
    void                            *ep_get_sgl_zcopy;
    void                            *ep_outstanding_purge;
#endif
} uct_daxpin_internal_ops_t;

/* UCX's uct_base_iface_t, the beginning of it */
typedef struct uct_daxpin_base_iface {
    uct_iface_t               super;
    uct_daxpin_internal_ops_t *internal_ops;
    uct_md_h                  md;
} uct_daxpin_base_iface_t;

/*
 * libuct_ib
 */

/* The memory domain, as far as daxpin reads it */
typedef struct uct_ib_md {
    uct_md_t      super;
#if !UCT_DAXPIN_SINCE(16)
    void          *rcache;
#endif
#if !UCT_DAXPIN_SINCE(15)
    uct_mem_h     global_odp;
#endif
    struct ibv_pd *pd;
} uct_ib_md_t;

/* The beginning of a memory handle, of which the transports read nothing
 * else */
typedef struct uct_ib_mem {
    uint32_t lkey;
#if UCT_DAXPIN_SINCE(14) && !UCT_DAXPIN_SINCE(16)
    uint32_t exported_lkey;
#endif
    uint32_t rkey;
#if !UCT_DAXPIN_SINCE(16)
    uint32_t atomic_rkey;
    uint32_t indirect_rkey;
#endif
    uint32_t flags;
} uct_ib_mem_t;

/*
 * Symbols
 */

extern ucs_list_link_t uct_components_list;

void uct_component_register(uct_component_t *component);
void uct_tl_register(uct_component_t *component, uct_tl_t *tl);

void *ucs_malloc(size_t size, const char *name);
void *ucs_calloc(size_t count, size_t size, const char *name);
void *ucs_realloc(void *ptr, size_t size, const char *name);
void ucs_free(void *ptr);

#endif
