/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The transport, made from posix: opens, queries and closes interfaces */

#include "daxpin_tl.h"
#include "daxpin/os/control.h"
#include "daxpin_ep.h"
#include "daxpin_md.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* posix's names */
#define UCT_DAXPIN_POSIX_TL     "posix"
#define UCT_DAXPIN_POSIX_DEVICE "memory"

/*
 * How UCP comes to use this transport for files, and others for ordinary
 * memory.
 *
 * UCP takes one lane of a device for big puts and gets. Before 1.16 that is the
 * lane with the cheapest registration, so that the device is the one of the
 * other shared-memory transports, and the lane is theirs. Since then the cost
 * does not count: on one device daxpin's lane would be taken, and theirs be
 * missing for ordinary memory. So the device is daxpin's own.
 *
 * When a remote key is used first, UCP divides large puts and gets between all
 * lanes that the key is good for, and leaves out those that are slower than the
 * fastest by UCX_MULTI_LANE_MAX_RATIO. Only then the transport reports the
 * bandwidth of posix times a factor that is more than this ratio. It is no
 * measure of speed: lanes beside daxpin's would go around the access check, so
 * that none may be left, not that of a NIC of 1.6 Tb/s, 16 times faster. For the choice of lanes, where it would displace
 * others, the transport reports what posix does.
 */
#define UCT_DAXPIN_OWN_DEVICE   UCT_DAXPIN_NAME
#define UCT_DAXPIN_PERF_MARGIN  16.0

typedef struct uct_daxpin_iface_config {
    double latency_bias_ns;
} uct_daxpin_iface_config_t;

static ucs_config_field_t uct_daxpin_iface_config_table[] = {
    {"LATENCY_BIAS_NS", "5",
     "Nanoseconds that the transport adds to the latency of posix, which is\n"
     "as fast, when UCX chooses between transports. At 0 the transport takes\n"
     "ordinary memory away from sysv and posix. At a large value network\n"
     "transports get registered files on the same node, too.",
     offsetof(uct_daxpin_iface_config_t, latency_bias_ns),
     UCS_CONFIG_TYPE_DOUBLE},

    {NULL}
};

static ucs_status_t uct_daxpin_iface_flush(uct_iface_h uct_iface,
                                           unsigned flags,
                                           uct_completion_t *comp)
{
    uct_daxpin_iface_t *iface = uct_daxpin_iface_find(uct_iface);
    ucs_status_t status       = iface->status;
    uct_daxpin_ep_t *ep;

    if (comp != NULL) {
        return UCS_ERR_UNSUPPORTED;
    }

    atomic_thread_fence(memory_order_release);
    if (status != UCS_OK) {
        iface->status = UCS_OK;
        ucs_list_for_each(ep, &iface->eps, list) {
            ep->status = UCS_OK;
        }
    }
    return status;
}

/* Offer zero-copy, which is a copy by this CPU. Without zero-copy, protocols
 * that choose by size would take another lane for some sizes and go around a
 * revoke. Those that do not can do without. */
static void uct_daxpin_iface_set_rma_caps(uct_iface_attr_t *attr, int has_zcopy)
{
    attr->cap.flags         |= UCT_IFACE_FLAG_ERRHANDLE_PEER_FAILURE;
    if (has_zcopy) {
        attr->cap.flags     |= UCT_IFACE_FLAG_PUT_ZCOPY |
                               UCT_IFACE_FLAG_GET_ZCOPY;
    }
    attr->cap.put.max_bcopy  = UCT_DAXPIN_MAX_PUT_BCOPY;
    attr->cap.put.min_zcopy  = 0;
    attr->cap.put.max_zcopy  = SIZE_MAX;
    attr->cap.put.max_iov    = UCT_DAXPIN_MAX_IOV;
    attr->cap.get.max_bcopy  = UCT_DAXPIN_MAX_GET_BCOPY;
    attr->cap.get.min_zcopy  = 0;
    attr->cap.get.max_zcopy  = SIZE_MAX;
    attr->cap.get.max_iov    = UCT_DAXPIN_MAX_IOV;
}

/* Offer nothing to a worker for messages alone, whose choice of lanes it would
 * disturb */
static void uct_daxpin_iface_clear_rma_caps(uct_iface_attr_t *attr)
{
    attr->cap.flags &= UCT_IFACE_FLAG_CONNECT_TO_IFACE | UCT_IFACE_FLAG_PENDING;
    memset(&attr->cap.atomic32, 0, sizeof(attr->cap.atomic32));
    memset(&attr->cap.atomic64, 0, sizeof(attr->cap.atomic64));
}

static ucs_status_t uct_daxpin_iface_query(uct_iface_h uct_iface,
                                           uct_iface_attr_t *attr)
{
    uct_daxpin_iface_t *iface = uct_daxpin_iface_find(uct_iface);
    ucs_status_t status;

    status = iface->hook->inner.iface_query(uct_iface, attr);
    if (status != UCS_OK) {
        return status;
    }

    attr->cap.flags       &= ~(UCT_IFACE_FLAG_AM_SHORT |
                               UCT_IFACE_FLAG_AM_BCOPY |
                               UCT_IFACE_FLAG_AM_ZCOPY |
                               UCT_IFACE_FLAG_CB_SYNC);
    attr->cap.event_flags  = 0;
    attr->latency.c       += iface->latency_bias;
    if (iface->has_rma) {
        uct_daxpin_iface_set_rma_caps(attr, iface->has_zcopy);
    } else {
        uct_daxpin_iface_clear_rma_caps(attr);
    }
    return UCS_OK;
}

static ucs_status_t
uct_daxpin_iface_estimate_perf(uct_iface_h uct_iface,
                               uct_daxpin_perf_attr_t *attr)
{
    const uct_daxpin_iface_t *iface = uct_daxpin_iface_find(uct_iface);
    ucs_status_t status;

    status = iface->inner_internal_ops->iface_estimate_perf(uct_iface, attr);
    if (status == UCS_OK) {
        uct_daxpin_perf_attr_scale(attr, iface->perf_factor);
    }
    return status;
}

/* posix would take the endpoint for one of its own */
static int
uct_daxpin_ep_is_connected(uct_ep_h tl_ep,
                           const struct uct_ep_is_connected_params *params)
{
    const uct_daxpin_ep_t *ep = ucs_derived_of(tl_ep, uct_daxpin_ep_t);

    return uct_daxpin_call_is_connected(ep->iface->inner_internal_ops,
                                        ep->inner, params);
}

static void uct_daxpin_iface_close(uct_iface_h uct_iface)
{
    uct_daxpin_iface_t *iface = uct_daxpin_iface_find(uct_iface);

    /* Report the errors that operations still wait for, even if their endpoints
     * are gone */
    uct_daxpin_iface_complete_last(iface);

    uct_daxpin_internal_ops_restore(uct_iface, iface->inner_internal_ops);
    uct_daxpin_hook_remove(iface->hook);
    daxpin_slot_put(iface->slot);
    ucs_free(iface);
    uct_iface->ops.iface_close(uct_iface);
}

static void uct_daxpin_iface_set_ops(uct_iface_ops_t *ops)
{
    uct_daxpin_ep_set_ops(ops);
    ops->iface_flush        = uct_daxpin_iface_flush;
    ops->iface_progress     = uct_daxpin_iface_progress;
    ops->iface_event_fd_get = NULL;
    ops->iface_event_arm    = NULL;
    ops->iface_query        = uct_daxpin_iface_query;
    ops->iface_close        = uct_daxpin_iface_close;
}

/* Make the receive queue as small as posix allows, so that it does not take
 * megabytes of /dev/shm in each process. It is never used. */
static void uct_daxpin_iface_shrink(uct_iface_config_t *config)
{
    (void)uct_config_modify(config, "FIFO_SIZE", "2");
    (void)uct_config_modify(config, "SEG_SIZE", "256");
    (void)uct_config_modify(config, "RX_BUFS_GROW", "2");
}

static ucs_status_t
uct_daxpin_iface_open_inner(uct_daxpin_md_t *md, uct_worker_h worker,
                            const uct_iface_params_t *params,
                            uct_iface_h *uct_iface_p)
{
    uct_iface_params_t inner_params = *params;
    uct_iface_config_t *config;
    ucs_status_t status;

    status = uct_md_iface_config_read(md->inner, UCT_DAXPIN_POSIX_TL, NULL,
                                      NULL, &config);
    if (status != UCS_OK) {
        return status;
    }

    uct_daxpin_iface_shrink(config);
    inner_params.mode.device.tl_name  = UCT_DAXPIN_POSIX_TL;
    inner_params.mode.device.dev_name = UCT_DAXPIN_POSIX_DEVICE;
    status = uct_iface_open(md->inner, worker, &inner_params, config,
                            uct_iface_p);
    uct_config_release(config);
    return status;
}

/* Check whether UCP wants remote memory access. UCP asks for GET also if it
 * only wants the rendezvous of messages. */
static int uct_daxpin_iface_has_rma(const uct_iface_params_t *params)
{
    return !(params->field_mask & UCT_IFACE_PARAM_FIELD_FEATURES) ||
           (params->features & (UCT_IFACE_FEATURE_PUT |
                                UCT_IFACE_FEATURE_AMO32 |
                                UCT_IFACE_FEATURE_AMO64));
}

static double uct_daxpin_perf_factor(const uct_daxpin_ucp_config_t *ucp)
{
    /* UCX takes a ratio below 1 for 1 */
    return UCT_DAXPIN_PERF_MARGIN * ((ucp->max_ratio > 1) ? ucp->max_ratio : 1);
}

static ucs_status_t
uct_daxpin_iface_open(uct_md_h tl_md, uct_worker_h worker,
                      const uct_iface_params_t *params,
                      const uct_iface_config_t *tl_config,
                      uct_iface_h *uct_iface_p)
{
    const uct_daxpin_iface_config_t *config =
            (const uct_daxpin_iface_config_t*)tl_config;
    uct_daxpin_md_t *md = ucs_derived_of(tl_md, uct_daxpin_md_t);
    uct_daxpin_iface_t *iface;
    ucs_status_t status;

    iface = ucs_calloc(1, sizeof(*iface), "daxpin_iface");
    if (iface == NULL) {
        ucs_error("daxpin: no memory for an interface");
        return UCS_ERR_NO_MEMORY;
    }

    status = uct_daxpin_iface_open_inner(md, worker, params, &iface->uct);
    if (status != UCS_OK) {
        goto err_free;
    }

    iface->hook = uct_daxpin_hook_add(iface->uct, iface);
    if (iface->hook == NULL) {
        ucs_error("daxpin: no memory for an interface");
        status = UCS_ERR_NO_MEMORY;
        goto err_close;
    }

    iface->latency_bias = config->latency_bias_ns * 1e-9;
    iface->status       = UCS_OK;
    iface->perf_factor  = uct_daxpin_perf_factor(&md->ucp);
    iface->has_zcopy    = !UCT_DAXPIN_UCP_OLD_NEEDS_MEMH ||
                          !md->ucp.has_old_protocols;
    iface->has_rma      = md->has_keys && uct_daxpin_iface_has_rma(params);
    iface->slot         = daxpin_slot_get();
    ucs_list_head_init(&iface->eps);
    uct_daxpin_iface_set_ops(&iface->uct->ops);
    iface->inner_internal_ops =
            uct_daxpin_internal_ops_replace(iface->uct, &iface->internal_ops,
                                            uct_daxpin_iface_estimate_perf,
                                            uct_daxpin_ep_is_connected);

    *uct_iface_p = iface->uct;
    return UCS_OK;

err_close:
    uct_iface_close(iface->uct);
err_free:
    ucs_free(iface);
    return status;
}

static const char *uct_daxpin_device(const uct_daxpin_md_t *md)
{
    return !UCT_DAXPIN_UCP_HAS_CACHE ? UCT_DAXPIN_POSIX_DEVICE :
           md->has_keys ? UCT_DAXPIN_OWN_DEVICE : UCT_DAXPIN_MAP_NAME;
}

static ucs_status_t
uct_daxpin_query_devices(uct_md_h md, uct_tl_device_resource_t **devices_p,
                         unsigned *num_devices_p)
{
    uct_tl_device_resource_t *device;

    device = ucs_calloc(1, sizeof(*device), "daxpin_device");
    if (device == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    snprintf(device->name, sizeof(device->name), "%s",
             uct_daxpin_device(ucs_derived_of(md, uct_daxpin_md_t)));
    device->type       = UCT_DEVICE_TYPE_SHM;
    device->sys_device = UCS_SYS_DEVICE_ID_UNKNOWN;
    *devices_p         = device;
    *num_devices_p     = 1;
    return UCS_OK;
}

uct_tl_t uct_daxpin_tl = {
    .name          = UCT_DAXPIN_NAME,
    .query_devices = uct_daxpin_query_devices,
    .iface_open    = uct_daxpin_iface_open,
    .config        = {
        .name   = "daxpin transport",
        .prefix = "DAXPIN_",
        .table  = uct_daxpin_iface_config_table,
        .size   = sizeof(uct_daxpin_iface_config_t)
    }
};
