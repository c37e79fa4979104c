/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Lets code that is written for the newest UCX run in older releases */

#ifndef UCT_DAXPIN_ADAPT_H_
#define UCT_DAXPIN_ADAPT_H_

/*
 * Functions of daxpin have the arguments of the newest release.
 * UCT_DAXPIN_ADAPT_...(name) defines name_op, which has those of the release and
 * calls name; tables get name_op. uct_daxpin_call_...() calls an operation of
 * UCX's own, the other way around.
 */

#include "abi.h"

#include <string.h>

/*
 * Memory domains
 */

static inline uint64_t
uct_daxpin_reg_flags(const uct_md_mem_reg_params_t *params)
{
    return (params->field_mask & UCT_MD_MEM_REG_FIELD_FLAGS) ? params->flags :
                                                               0;
}

#if UCT_DAXPIN_SINCE(14)
#  define UCT_DAXPIN_ADAPT_MEM_REG(_name) \
    static ucs_status_t _name##_op(uct_md_h md, void *address, size_t length, \
                                   uct_daxpin_reg_arg_t params, \
                                   uct_mem_h *memh_p) \
    { \
        return _name(md, address, length, params, memh_p); \
    }

#  define uct_daxpin_reg_arg(_params) (_params)
#else
#  define UCT_DAXPIN_ADAPT_MEM_REG(_name) \
    static ucs_status_t _name##_op(uct_md_h md, void *address, size_t length, \
                                   uct_daxpin_reg_arg_t flags, \
                                   uct_mem_h *memh_p) \
    { \
        const uct_md_mem_reg_params_t params = { \
            .field_mask = UCT_MD_MEM_REG_FIELD_FLAGS, \
            .flags      = flags \
        }; \
        \
        return _name(md, address, length, &params, memh_p); \
    }

#  define uct_daxpin_reg_arg(_params) ((unsigned)uct_daxpin_reg_flags(_params))
#endif

/* Register as the parameters say, and with more flags */
static inline ucs_status_t
uct_daxpin_call_mem_reg(const uct_md_ops_t *ops, uct_md_h md, void *address,
                        size_t length, const uct_md_mem_reg_params_t *params,
                        uint64_t more_flags, uct_mem_h *memh_p)
{
    uct_md_mem_reg_params_t more = *params;

    more.flags       = uct_daxpin_reg_flags(params) | more_flags;
    more.field_mask |= UCT_MD_MEM_REG_FIELD_FLAGS;
    return ops->mem_reg(md, address, length, uct_daxpin_reg_arg(&more),
                        memh_p);
}

#if UCT_DAXPIN_SINCE(16)
#  define UCT_DAXPIN_ADAPT_MKEY_PACK(_name) \
    static ucs_status_t \
    _name##_op(uct_md_h md, uct_mem_h memh, void *address, size_t length, \
               const uct_md_mkey_pack_params_t *params, void *mkey_buffer) \
    { \
        return _name(md, memh, address, length, params, mkey_buffer); \
    }
#else
#  define UCT_DAXPIN_ADAPT_MKEY_PACK(_name) \
    static ucs_status_t \
    _name##_op(uct_md_h md, uct_mem_h memh, \
               const uct_md_mkey_pack_params_t *params, void *mkey_buffer) \
    { \
        return _name(md, memh, NULL, 0, params, mkey_buffer); \
    }
#endif

static inline ucs_status_t
uct_daxpin_call_mkey_pack(const uct_md_ops_t *ops, uct_md_h md, uct_mem_h memh,
                          void *address, size_t length,
                          const uct_md_mkey_pack_params_t *params,
                          void *mkey_buffer)
{
#if UCT_DAXPIN_SINCE(16)
    return ops->mkey_pack(md, memh, address, length, params, mkey_buffer);
#else
    return ops->mkey_pack(md, memh, params, mkey_buffer);
#endif
}

static inline unsigned
uct_daxpin_pack_flags(const uct_md_mkey_pack_params_t *params)
{
    return (params->field_mask & UCT_MD_MKEY_PACK_FIELD_FLAGS) ? params->flags :
                                                                 0;
}

/* Complete an invalidation at once, because nobody has a key of the memory */
static inline void
uct_daxpin_invalidated(const uct_md_mem_dereg_params_t *params)
{
    if ((params->field_mask & UCT_MD_MEM_DEREG_FIELD_FLAGS) &&
        (params->flags & UCT_MD_MEM_DEREG_FLAG_INVALIDATE) &&
        (--params->comp->count == 0)) {
        params->comp->func(params->comp);
    }
}

/* The part of the attributes that has flags and memory types */
#if UCT_DAXPIN_SINCE(14)
#  define uct_daxpin_md_attr_cap(_attr) (_attr)
#else
#  define uct_daxpin_md_attr_cap(_attr) (&(_attr)->cap)
#endif

/* Set what daxpin does not set itself */
static inline void uct_daxpin_md_attr_init(uct_daxpin_md_attr_t *attr)
{
#if UCT_DAXPIN_SINCE(14)
    uint64_t field_mask = attr->field_mask;

    memset(attr, 0, sizeof(*attr));
    attr->field_mask = field_mask;
#else
    memset(attr, 0, sizeof(*attr));
#endif
#if UCT_DAXPIN_SINCE(16)
    attr->reg_alignment = 1;
#endif
    memset(&attr->local_cpus, 0xff, sizeof(attr->local_cpus));
}

static inline void uct_daxpin_md_attr_set_cached(uct_daxpin_md_attr_t *attr)
{
#if UCT_DAXPIN_SINCE(14)
    attr->cache_mem_types = UCS_BIT(UCS_MEMORY_TYPE_HOST);
#else
    (void)attr;
#endif
}

/* Set of which types a memory domain can register all memory at once, that of any
 * time later as well */
static inline void uct_daxpin_md_attr_set_gva(uct_daxpin_md_attr_t *attr,
                                              uint64_t mem_types)
{
#if UCT_DAXPIN_SINCE(18)
    attr->gva_mem_types = mem_types;
#else
    (void)attr;
    (void)mem_types;
#endif
}

static inline ucs_status_t uct_daxpin_md_unsupported(uct_md_h md)
{
    return UCS_ERR_UNSUPPORTED;
}

static inline int uct_daxpin_md_no(uct_md_h md)
{
    return 0;
}

static inline void uct_daxpin_md_nothing(uct_md_h md)
{
}

#if UCT_DAXPIN_SINCE(14)
#  define UCT_DAXPIN_MD_OPS_14 .mem_attach = uct_daxpin_md_unsupported,
#else
#  define UCT_DAXPIN_MD_OPS_14
#endif
#if UCT_DAXPIN_SINCE(16)
#  define UCT_DAXPIN_MD_OPS_16
#else
#  define UCT_DAXPIN_MD_OPS_16 .is_sockaddr_accessible = uct_daxpin_md_no,
#endif
#if UCT_DAXPIN_SINCE(21)
#  define UCT_DAXPIN_MD_OPS_21 .mem_elem_pack = uct_daxpin_md_unsupported,
#else
#  define UCT_DAXPIN_MD_OPS_21
#endif
#if UCT_DAXPIN_SINCE(23)
#  define UCT_DAXPIN_MD_OPS_23 .mem_elem_release = uct_daxpin_md_nothing,
#else
#  define UCT_DAXPIN_MD_OPS_23
#endif

/* Initializers of the operations that daxpin's memory domains do not have */
#define UCT_DAXPIN_MD_OPS_OTHERS \
    UCT_DAXPIN_MD_OPS_14 UCT_DAXPIN_MD_OPS_16 UCT_DAXPIN_MD_OPS_21 \
            UCT_DAXPIN_MD_OPS_23.mem_alloc = uct_daxpin_md_unsupported, \
            .mem_free                      = uct_daxpin_md_unsupported, \
            .mem_query                     = uct_daxpin_md_unsupported, \
            .detect_memory_type            = uct_daxpin_md_unsupported

/*
 * Components
 */

#if UCT_DAXPIN_SINCE(19)
#  define UCT_DAXPIN_ADAPT_RKEY_UNPACK(_name) \
    static ucs_status_t \
    _name##_op(uct_component_t *component, const void *rkey_buffer, \
               const struct uct_rkey_unpack_params *params, \
               uct_rkey_t *rkey_p, void **handle_p) \
    { \
        return _name(component, rkey_buffer, params, rkey_p, handle_p); \
    }

#  define uct_daxpin_call_rkey_unpack(_func, _component, _buffer, _params, \
                                      _rkey_p, _handle_p) \
    _func(_component, _buffer, _params, _rkey_p, _handle_p)
#else
#  define UCT_DAXPIN_ADAPT_RKEY_UNPACK(_name) \
    static ucs_status_t \
    _name##_op(uct_component_t *component, const void *rkey_buffer, \
               uct_rkey_t *rkey_p, void **handle_p) \
    { \
        return _name(component, rkey_buffer, NULL, rkey_p, handle_p); \
    }

#  define uct_daxpin_call_rkey_unpack(_func, _component, _buffer, _params, \
                                      _rkey_p, _handle_p) \
    _func(_component, _buffer, _rkey_p, _handle_p)
#endif

/* A pointer to a component's function rkey_unpack */
typedef __typeof__(((uct_component_t *)NULL)
                           ->rkey_unpack) uct_daxpin_rkey_unpack_func_t;

/* Initializer of an operation that older releases do not have */
#if UCT_DAXPIN_SINCE(16)
#  define UCT_DAXPIN_RKEY_COMPARE(_name) .rkey_compare = _name,
#else
#  define UCT_DAXPIN_RKEY_COMPARE(_name)
#endif

/* Read a table that UCS_CONFIG_DECLARE_TABLE declared */
#if UCT_DAXPIN_SINCE(15)
#  define uct_daxpin_config_fill(_opts, _table, _prefix) \
    ucs_config_parser_fill_opts(_opts, UCS_CONFIG_GET_TABLE(_table), _prefix, \
                                0)
#else
#  define uct_daxpin_config_fill(_opts, _table, _prefix) \
    ((void)&_table##_config_entry, \
     ucs_config_parser_fill_opts(_opts, _table, _prefix, "", 0))
#endif

/*
 * Interfaces
 */

/* Multiply the bandwidth that an interface reports */
static inline void uct_daxpin_perf_attr_scale(uct_daxpin_perf_attr_t *attr,
                                              double factor)
{
    if (attr->field_mask & UCT_DAXPIN_PERF_FIELD_BANDWIDTH) {
        attr->bandwidth.shared    *= factor;
        attr->bandwidth.dedicated *= factor;
    }
#if UCT_DAXPIN_SINCE(19)
    if (attr->field_mask & UCT_DAXPIN_PERF_FIELD_PATH_BANDWIDTH) {
        attr->path_bandwidth.shared    *= factor;
        attr->path_bandwidth.dedicated *= factor;
    }
#endif
}

/* Replace internal operations of an interface where the release needs that, by
 * those in @a ops, which is made from them. Return the operations that the
 * interface had. */
static inline uct_daxpin_internal_ops_t *
uct_daxpin_internal_ops_replace(uct_iface_h iface,
                                uct_daxpin_internal_ops_t *ops,
                                uct_daxpin_estimate_perf_func_t estimate_perf,
                                uct_daxpin_is_connected_func_t is_connected)
{
    uct_daxpin_base_iface_t *base    = (uct_daxpin_base_iface_t*)iface;
    uct_daxpin_internal_ops_t *inner = base->internal_ops;

    *ops = *inner;
#if UCT_DAXPIN_SINCE(16)
    ops->iface_estimate_perf = estimate_perf;
    ops->ep_is_connected     = is_connected;
    base->internal_ops       = ops;
#else
    (void)estimate_perf;
    (void)is_connected;
#endif
    return inner;
}

static inline void
uct_daxpin_internal_ops_restore(uct_iface_h iface,
                                uct_daxpin_internal_ops_t *inner)
{
    ((uct_daxpin_base_iface_t*)iface)->internal_ops = inner;
}

static inline int
uct_daxpin_call_is_connected(const uct_daxpin_internal_ops_t *ops, uct_ep_h ep,
                             const struct uct_ep_is_connected_params *params)
{
#if UCT_DAXPIN_SINCE(16)
    return ops->ep_is_connected(ep, params);
#else
    return 0;
#endif
}

/*
 * libuct_ib
 */

/* Set all keys of a memory handle that daxpin makes to none but these */
static inline void uct_daxpin_ib_mem_init(uct_ib_mem_t *mem, uint32_t lkey,
                                          uint32_t rkey, uint32_t flags)
{
    memset(mem, 0xff, sizeof(*mem));
    mem->lkey  = lkey;
    mem->rkey  = rkey;
    mem->flags = flags;
}

/* Initializer of a memory handle without keys */
#if UCT_DAXPIN_SINCE(16)
#  define UCT_DAXPIN_IB_MEM_NONE {.lkey = UINT32_MAX, .rkey = UINT32_MAX}
#else
#  define UCT_DAXPIN_IB_MEM_NONE { \
        .lkey          = UINT32_MAX, \
        .rkey          = UINT32_MAX, \
        .atomic_rkey   = UINT32_MAX, \
        .indirect_rkey = UINT32_MAX \
    }
#endif

#include "sizes.h"

#endif
