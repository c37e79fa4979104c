/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#include "daxpin_iface.h"
#include "daxpin_ep.h"
#include "daxpin/os/control.h"

#include <ucs/debug/log_def.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Both of posix. The device has to be the one of the other shared-memory
 * transports: UCP takes one lane of a device for rendezvous, theirs. */
#define UCT_DAXPIN_POSIX_TL     "posix"
#define UCT_DAXPIN_POSIX_DEVICE "memory"

typedef struct uct_daxpin_iface_config {
    double latency_bias_ns;
} uct_daxpin_iface_config_t;

static ucs_config_field_t uct_daxpin_iface_config_table[] = {
    {"LATENCY_BIAS_NS", "5",
     "Nanoseconds that the transport adds to the latency of posix, whose\n"
     "speed it has, when it is weighed against other transports. At 0 it\n"
     "takes ordinary memory away from sysv and posix; a big value leaves\n"
     "registered files to network transports on the same node too.",
     offsetof(uct_daxpin_iface_config_t, latency_bias_ns),
     UCS_CONFIG_TYPE_DOUBLE},

    {NULL}
};

/* All interfaces of the process. Written when one opens or closes. */
static pthread_mutex_t uct_daxpin_ifaces_lock = PTHREAD_MUTEX_INITIALIZER;
static ucs_list_link_t uct_daxpin_ifaces =
        UCS_LIST_INITIALIZER(&uct_daxpin_ifaces, &uct_daxpin_ifaces);

/* Deferred completions in the process: what a progress with nothing to do
 * looks at, instead of looking for its interface */
static _Atomic unsigned uct_daxpin_total_deferred;

uct_daxpin_iface_t *uct_daxpin_iface_find(uct_iface_h uct_iface)
{
    uct_daxpin_iface_t *found = NULL;
    uct_daxpin_iface_t *iface;

    pthread_mutex_lock(&uct_daxpin_ifaces_lock);
    ucs_list_for_each(iface, &uct_daxpin_ifaces, list) {
        if (iface->uct == uct_iface) {
            found = iface;
            break;
        }
    }
    pthread_mutex_unlock(&uct_daxpin_ifaces_lock);
    return found;
}

ucs_status_t uct_daxpin_iface_defer(uct_daxpin_iface_t *iface,
                                    uct_completion_t *comp,
                                    ucs_status_t status, int is_last)
{
    unsigned max = (iface->max_deferred == 0) ? 16 : iface->max_deferred * 2;
    uct_daxpin_deferred_t *deferred;

    if (comp == NULL) {
        return status;
    }

    if (iface->num_deferred == iface->max_deferred) {
        deferred = ucs_realloc(iface->deferred, max * sizeof(*deferred),
                               "daxpin_deferred");
        if (deferred == NULL) {
            ucs_error("daxpin: no memory to fail an operation later: %s",
                      ucs_status_string(status));
            return status;
        }

        iface->deferred     = deferred;
        iface->max_deferred = max;
    }

    deferred          = &iface->deferred[iface->num_deferred];
    deferred->comp    = comp;
    deferred->status  = status;
    deferred->is_last = is_last;
    ++iface->num_deferred;
    atomic_fetch_add(&uct_daxpin_total_deferred, 1);
    return UCS_INPROGRESS;
}

/* Is nothing outstanding but what is deferred here? */
static int uct_daxpin_deferred_is_last(const uct_daxpin_deferred_t *deferred,
                                       unsigned count)
{
    const uct_completion_t *comp = deferred->comp;
    int ours                     = 0;
    unsigned i;

    for (i = 0; i < count; ++i) {
        ours += (deferred[i].comp == comp);
    }
    return comp->count <= ours;
}

/* Callbacks may start operations, which may be deferred in turn; those are for
 * the next time */
static unsigned uct_daxpin_iface_complete(uct_daxpin_iface_t *iface)
{
    uct_daxpin_deferred_t *deferred = iface->deferred;
    unsigned count                  = iface->num_deferred;
    unsigned i;

    iface->deferred     = NULL;
    iface->num_deferred = 0;
    iface->max_deferred = 0;
    atomic_fetch_sub(&uct_daxpin_total_deferred, count);

    for (i = 0; i < count; ++i) {
        if (deferred[i].is_last &&
            !uct_daxpin_deferred_is_last(&deferred[i], count - i) &&
            (uct_daxpin_iface_defer(iface, deferred[i].comp, deferred[i].status,
                                    1) == UCS_INPROGRESS)) {
            continue;
        }
        uct_completion_update_status(deferred[i].comp, deferred[i].status);
        if (--deferred[i].comp->count == 0) {
            deferred[i].comp->func(deferred[i].comp);
        }
    }

    ucs_free(deferred);
    return count;
}

/* Of posix's progress nothing is needed: no active message ever comes in, and
 * none waits to be sent */
static unsigned uct_daxpin_iface_progress(uct_iface_h uct_iface)
{
    if (__builtin_expect(atomic_load_explicit(&uct_daxpin_total_deferred,
                                              memory_order_relaxed) == 0, 1)) {
        return 0;
    }
    return uct_daxpin_iface_complete(uct_daxpin_iface_find(uct_iface));
}

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

/* "Zero-copy" is a copy by this CPU. Without it, protocols that choose by size
 * take another lane for some sizes, and so go around a revoke. */
static void uct_daxpin_iface_set_rma_caps(uct_iface_attr_t *attr)
{
    attr->cap.flags         |= UCT_IFACE_FLAG_PUT_ZCOPY |
                               UCT_IFACE_FLAG_GET_ZCOPY |
                               UCT_IFACE_FLAG_ERRHANDLE_PEER_FAILURE;
    attr->cap.put.max_bcopy  = UCT_DAXPIN_MAX_PUT_BCOPY;
    attr->cap.put.min_zcopy  = 0;
    attr->cap.put.max_zcopy  = SIZE_MAX;
    attr->cap.put.max_iov    = UCT_DAXPIN_MAX_IOV;
    attr->cap.get.max_bcopy  = UCT_DAXPIN_MAX_GET_BCOPY;
    attr->cap.get.min_zcopy  = 0;
    attr->cap.get.max_zcopy  = SIZE_MAX;
    attr->cap.get.max_iov    = UCT_DAXPIN_MAX_IOV;
}

/* A worker for messages alone: what is offered there would only get in the way
 * of the lanes for messages */
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

    status = iface->inner.iface_query(uct_iface, attr);
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
        uct_daxpin_iface_set_rma_caps(attr);
    } else {
        uct_daxpin_iface_clear_rma_caps(attr);
    }
    return UCS_OK;
}

static void uct_daxpin_iface_close(uct_iface_h uct_iface)
{
    uct_daxpin_iface_t *iface = uct_daxpin_iface_find(uct_iface);
    uct_iface_ops_t inner     = iface->inner;

    /* Whoever still waits gets his error now, even if his endpoint is gone */
    while (iface->num_deferred > 0) {
        uct_daxpin_iface_complete(iface);
    }

    pthread_mutex_lock(&uct_daxpin_ifaces_lock);
    ucs_list_del(&iface->list);
    pthread_mutex_unlock(&uct_daxpin_ifaces_lock);

    daxpin_slot_put(iface->slot);
    ucs_free(iface);
    uct_iface->ops = inner;
    inner.iface_close(uct_iface);
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

/* The receive queue is never used: as small as posix lets it be, so that it
 * does not cost megabytes of /dev/shm for each process */
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

/* UCP asks for GET also where it only wants the rendezvous of messages */
static int uct_daxpin_iface_has_rma(const uct_iface_params_t *params)
{
    return !(params->field_mask & UCT_IFACE_PARAM_FIELD_FEATURES) ||
           (params->features & (UCT_IFACE_FEATURE_PUT |
                                UCT_IFACE_FEATURE_AMO32 |
                                UCT_IFACE_FEATURE_AMO64));
}

static ucs_status_t
uct_daxpin_iface_open(uct_md_h tl_md, uct_worker_h worker,
                      const uct_iface_params_t *params,
                      const uct_iface_config_t *tl_config,
                      uct_iface_h *uct_iface_p)
{
    const uct_daxpin_iface_config_t *config =
            (const uct_daxpin_iface_config_t*)tl_config;
    uct_daxpin_md_t *md = (uct_daxpin_md_t*)tl_md;
    uct_daxpin_iface_t *iface;
    ucs_status_t status;

    iface = ucs_calloc(1, sizeof(*iface), "daxpin_iface");
    if (iface == NULL) {
        ucs_error("daxpin: no memory for an interface");
        return UCS_ERR_NO_MEMORY;
    }

    status = uct_daxpin_iface_open_inner(md, worker, params, &iface->uct);
    if (status != UCS_OK) {
        ucs_free(iface);
        return status;
    }

    iface->inner        = iface->uct->ops;
    iface->latency_bias = config->latency_bias_ns * 1e-9;
    iface->status       = UCS_OK;
    iface->has_rma      = uct_daxpin_iface_has_rma(params);
    iface->slot         = daxpin_slot_get();
    ucs_list_head_init(&iface->eps);
    uct_daxpin_iface_set_ops(&iface->uct->ops);

    pthread_mutex_lock(&uct_daxpin_ifaces_lock);
    ucs_list_add_tail(&uct_daxpin_ifaces, &iface->list);
    pthread_mutex_unlock(&uct_daxpin_ifaces_lock);

    *uct_iface_p = iface->uct;
    return UCS_OK;
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
             UCT_DAXPIN_POSIX_DEVICE);
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
