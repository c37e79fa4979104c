/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What contrib/ucx-sizes measured in each release of UCX. Not to be edited. */

#ifndef UCT_DAXPIN_SIZES_H_
#define UCT_DAXPIN_SIZES_H_

/* One value for each release, without statistics, on 64-bit machines */
#define UCT_DAXPIN_MEASURED(_what, \
    _13, _14, _15, _16, _17, _18, _19, _20, _21, _22, _23) \
    _Static_assert((_what) == (size_t)( \
        UCT_DAXPIN_SINCE(23) ? (_23) : \
        UCT_DAXPIN_SINCE(22) ? (_22) : \
        UCT_DAXPIN_SINCE(21) ? (_21) : \
        UCT_DAXPIN_SINCE(20) ? (_20) : \
        UCT_DAXPIN_SINCE(19) ? (_19) : \
        UCT_DAXPIN_SINCE(18) ? (_18) : \
        UCT_DAXPIN_SINCE(17) ? (_17) : \
        UCT_DAXPIN_SINCE(16) ? (_16) : \
        UCT_DAXPIN_SINCE(15) ? (_15) : \
        UCT_DAXPIN_SINCE(14) ? (_14) : \
        (_13)), "measured: " #_what)

UCT_DAXPIN_MEASURED(sizeof(uct_component_t),
    208, 208, 224, 232, 232, 232, 232, 232, 232, 232, 232);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, rkey_unpack),
    40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, rkey_release),
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, md_config),
    64, 64, 64, 72, 72, 72, 72, 72, 72, 72, 72);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, cm_config),
    112, 112, 120, 128, 128, 128, 128, 128, 128, 128, 128);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, tl_list),
    160, 160, 176, 184, 184, 184, 184, 184, 184, 184, 184);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, list),
    176, 176, 192, 200, 200, 200, 200, 200, 200, 200, 200);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, flags),
    192, 192, 208, 216, 216, 216, 216, 216, 216, 216, 216);
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, md_vfs_init),
    200, 200, 216, 224, 224, 224, 224, 224, 224, 224, 224);

#if UCT_DAXPIN_SINCE(16)
UCT_DAXPIN_MEASURED(offsetof(uct_component_t, rkey_compare),
    0, 0, 0, 64, 64, 64, 64, 64, 64, 64, 64);
#endif

UCT_DAXPIN_MEASURED(sizeof(uct_tl_t),
    96, 96, 104, 104, 104, 104, 104, 104, 104, 104, 104);
UCT_DAXPIN_MEASURED(offsetof(uct_tl_t, query_devices),
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(offsetof(uct_tl_t, iface_open),
    24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24);
UCT_DAXPIN_MEASURED(offsetof(uct_tl_t, config),
    32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32);
UCT_DAXPIN_MEASURED(offsetof(uct_tl_t, list),
    80, 80, 88, 88, 88, 88, 88, 88, 88, 88, 88);
UCT_DAXPIN_MEASURED(sizeof(uct_tl_device_resource_t),
    40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40);
UCT_DAXPIN_MEASURED(sizeof(uct_md_t),
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(sizeof(uct_md_ops_t),
    88, 96, 96, 88, 88, 88, 88, 88, 96, 96, 104);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, close),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, query),
    8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mem_alloc),
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mem_free),
    24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mem_advise),
    32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mem_reg),
    40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mem_dereg),
    48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mem_query),
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, mkey_pack),
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64);
UCT_DAXPIN_MEASURED(offsetof(uct_md_ops_t, detect_memory_type),
    80, 88, 88, 80, 80, 80, 80, 80, 80, 80, 80);

#if UCT_DAXPIN_SINCE(14)
UCT_DAXPIN_MEASURED(sizeof(uct_daxpin_md_attr_t),
    0, 512, 520, 528, 528, 536, 536, 536, 536, 544, 544);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, field_mask),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, max_reg),
    0, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, flags),
    0, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, reg_mem_types),
    0, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, cache_mem_types),
    0, 40, 48, 48, 48, 48, 48, 48, 48, 48, 48);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, access_mem_types),
    0, 64, 72, 72, 72, 80, 80, 80, 80, 80, 80);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, reg_cost),
    0, 80, 88, 88, 88, 96, 96, 96, 96, 96, 96);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, rkey_packed_size),
    0, 112, 120, 120, 120, 128, 128, 128, 128, 128, 128);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, local_cpus),
    0, 120, 128, 128, 128, 136, 136, 136, 136, 136, 136);
#endif

#if UCT_DAXPIN_SINCE(16)
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_md_attr_t, reg_alignment),
    0, 0, 0, 520, 520, 528, 528, 528, 528, 528, 528);
#endif

#if UCT_DAXPIN_SINCE(14)
UCT_DAXPIN_MEASURED(sizeof(uct_md_mem_reg_params_t),
    0, 32, 32, 32, 32, 32, 32, 32, 32, 40, 40);
UCT_DAXPIN_MEASURED(offsetof(uct_md_mem_reg_params_t, field_mask),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
UCT_DAXPIN_MEASURED(offsetof(uct_md_mem_reg_params_t, flags),
    0, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8);
#endif

UCT_DAXPIN_MEASURED(sizeof(uct_md_mem_dereg_params_t),
    32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32);
UCT_DAXPIN_MEASURED(offsetof(uct_md_mem_dereg_params_t, field_mask),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
UCT_DAXPIN_MEASURED(offsetof(uct_md_mem_dereg_params_t, flags),
    8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8);
UCT_DAXPIN_MEASURED(offsetof(uct_md_mem_dereg_params_t, memh),
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(offsetof(uct_md_mem_dereg_params_t, comp),
    24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24);
UCT_DAXPIN_MEASURED(sizeof(uct_md_mkey_pack_params_t),
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_perf_attr_t, field_mask),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_perf_attr_t, bandwidth),
    48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48);

#if UCT_DAXPIN_SINCE(19)
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_perf_attr_t, path_bandwidth),
    0, 0, 0, 0, 0, 0, 64, 64, 64, 64, 64);
#endif

UCT_DAXPIN_MEASURED(sizeof(uct_daxpin_internal_ops_t),
    32, 40, 48, 56, 56, 56, 56, 80, 64, 80, 96);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_internal_ops_t, iface_estimate_perf),
    0, 0, 0, 0, 0, 0, 0, 8, 0, 8, 8);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_internal_ops_t, ep_query),
    16, 16, 16, 16, 16, 16, 16, 32, 16, 24, 24);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_internal_ops_t, ep_invalidate),
    24, 24, 24, 24, 24, 24, 24, 40, 24, 32, 32);

#if UCT_DAXPIN_SINCE(16)
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_internal_ops_t, ep_is_connected),
    0, 0, 0, 48, 48, 48, 48, 64, 48, 56, 56);
#endif

UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_base_iface_t, internal_ops),
    400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400);
UCT_DAXPIN_MEASURED(offsetof(uct_daxpin_base_iface_t, md),
    408, 408, 408, 408, 408, 408, 408, 408, 408, 408, 408);
UCT_DAXPIN_MEASURED(offsetof(uct_ib_md_t, pd),
    32, 32, 24, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(sizeof(uct_ib_mem_t),
    20, 24, 24, 12, 12, 12, 12, 12, 12, 12, 12);
UCT_DAXPIN_MEASURED(offsetof(uct_ib_mem_t, lkey),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
UCT_DAXPIN_MEASURED(offsetof(uct_ib_mem_t, rkey),
    4, 8, 8, 4, 4, 4, 4, 4, 4, 4, 4);
UCT_DAXPIN_MEASURED(offsetof(uct_ib_mem_t, flags),
    16, 20, 20, 8, 8, 8, 8, 8, 8, 8, 8);
UCT_DAXPIN_MEASURED(sizeof(uct_iface_ops_t),
    400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400);
UCT_DAXPIN_MEASURED(sizeof(uct_iface_attr_t),
    536, 536, 536, 536, 536, 536, 536, 536, 536, 536, 536);
UCT_DAXPIN_MEASURED(sizeof(uct_iface_params_t),
    304, 304, 304, 304, 304, 304, 304, 304, 304, 304, 304);
UCT_DAXPIN_MEASURED(sizeof(uct_ep_params_t),
    144, 144, 144, 144, 144, 160, 160, 160, 160, 160, 160);
UCT_DAXPIN_MEASURED(sizeof(uct_iov_t),
    40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40);
UCT_DAXPIN_MEASURED(sizeof(uct_completion_t),
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16);
UCT_DAXPIN_MEASURED(sizeof(ucs_config_global_list_entry_t),
    48, 48, 56, 56, 56, 56, 56, 56, 56, 56, 56);
UCT_DAXPIN_MEASURED(sizeof(ucs_config_field_t),
    80, 80, 80, 80, 88, 88, 88, 88, 88, 88, 88);
UCT_DAXPIN_MEASURED(UCT_DAXPIN_PERF_FIELD_BANDWIDTH,
    256, 256, 256, 256, 256, 256, 256, 256, 256, 256, 256);

#if UCT_DAXPIN_SINCE(19)
UCT_DAXPIN_MEASURED(UCT_DAXPIN_PERF_FIELD_PATH_BANDWIDTH,
    0, 0, 0, 0, 0, 0, 512, 512, 512, 512, 512);
#endif

#if UCT_DAXPIN_SINCE(15)
UCT_DAXPIN_MEASURED(UCT_DAXPIN_MD_FLAG_INVALIDATE_RMA,
    0, 0, 2048, 2048, 2048, 2048, 2048, 2048, 2048, 2048, 2048);
UCT_DAXPIN_MEASURED(UCT_DAXPIN_MD_FLAG_INVALIDATE_AMO,
    0, 0, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096);
#endif

#if UCT_DAXPIN_SINCE(14)
UCT_DAXPIN_MEASURED(UCT_MD_MEM_REG_FIELD_FLAGS,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
#endif

UCT_DAXPIN_MEASURED(UCT_MD_MEM_DEREG_FIELD_MEMH,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
UCT_DAXPIN_MEASURED(UCT_MD_MEM_DEREG_FIELD_FLAGS,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2);
UCT_DAXPIN_MEASURED(UCT_MD_MEM_DEREG_FLAG_INVALIDATE,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);

#endif
