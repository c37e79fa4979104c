/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#include "daxpin_self.h"

#include "abi/abi.h"

#include <stdatomic.h>
#include <string.h>

#define UCT_DAXPIN_SELF "self"

typedef ucs_status_t (*uct_daxpin_iface_open_func_t)(
        uct_md_h md, uct_worker_h worker, const uct_iface_params_t *params,
        const uct_iface_config_t *config, uct_iface_h *iface_p);

typedef ucs_status_t (*uct_daxpin_iface_query_func_t)(uct_iface_h iface,
                                                      uct_iface_attr_t *attr);

/* What was there; the second is the same for all interfaces of self */
static uct_daxpin_iface_open_func_t uct_daxpin_self_open;
static _Atomic(uct_daxpin_iface_query_func_t) uct_daxpin_self_query;

static ucs_status_t uct_daxpin_self_iface_query(uct_iface_h iface,
                                                uct_iface_attr_t *attr)
{
    ucs_status_t status = atomic_load(&uct_daxpin_self_query)(iface, attr);

    if (status == UCS_OK) {
        attr->cap.flags &= ~(UCT_IFACE_FLAG_PUT_SHORT |
                             UCT_IFACE_FLAG_PUT_BCOPY |
                             UCT_IFACE_FLAG_PUT_ZCOPY |
                             UCT_IFACE_FLAG_GET_SHORT |
                             UCT_IFACE_FLAG_GET_BCOPY |
                             UCT_IFACE_FLAG_GET_ZCOPY |
                             UCT_IFACE_FLAG_ATOMIC_CPU |
                             UCT_IFACE_FLAG_ATOMIC_DEVICE);
        memset(&attr->cap.atomic32, 0, sizeof(attr->cap.atomic32));
        memset(&attr->cap.atomic64, 0, sizeof(attr->cap.atomic64));
    }
    return status;
}

static ucs_status_t
uct_daxpin_self_iface_open(uct_md_h md, uct_worker_h worker,
                           const uct_iface_params_t *params,
                           const uct_iface_config_t *config,
                           uct_iface_h *iface_p)
{
    ucs_status_t status = uct_daxpin_self_open(md, worker, params, config,
                                               iface_p);

    if (status == UCS_OK) {
        atomic_store(&uct_daxpin_self_query, (*iface_p)->ops.iface_query);
        (*iface_p)->ops.iface_query = uct_daxpin_self_iface_query;
    }
    return status;
}

void uct_daxpin_self_restrict(void)
{
    uct_component_t *component;
    uct_tl_t *tl;

    ucs_list_for_each(component, &uct_components_list, list) {
        ucs_list_for_each(tl, &component->tl_list, list) {
            if (strncmp(tl->name, UCT_DAXPIN_SELF, sizeof(tl->name)) == 0) {
                uct_daxpin_self_open = tl->iface_open;
                tl->iface_open       = uct_daxpin_self_iface_open;
                return;
            }
        }
    }
}
