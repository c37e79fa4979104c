/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Takes remote memory access from transports that go around the lease */

#include "daxpin_restrict.h"
#include "daxpin_hook.h"

#include <string.h>

static const char *const uct_daxpin_restricted[] = {"self", "xpmem", "knem"};

static ucs_status_t uct_daxpin_restricted_iface_query(uct_iface_h uct_iface,
                                                      uct_iface_attr_t *attr)
{
    uct_daxpin_hook_t *hook = uct_daxpin_hook_find(uct_iface);
    ucs_status_t status     = hook->inner.iface_query(uct_iface, attr);

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

static void uct_daxpin_restricted_iface_close(uct_iface_h uct_iface)
{
    uct_daxpin_hook_remove(uct_daxpin_hook_find(uct_iface));
    uct_iface->ops.iface_close(uct_iface);
}

static ucs_status_t
uct_daxpin_restricted_iface_open(uct_md_h md, uct_worker_h worker,
                                 const uct_iface_params_t *params,
                                 const uct_iface_config_t *config,
                                 uct_iface_h *uct_iface_p)
{
    ucs_status_t status;

    status = uct_daxpin_hook_open(md, worker, params, config, NULL,
                                  uct_iface_p);
    if (status == UCS_OK) {
        (*uct_iface_p)->ops.iface_query = uct_daxpin_restricted_iface_query;
        (*uct_iface_p)->ops.iface_close = uct_daxpin_restricted_iface_close;
    }
    return status;
}

static int uct_daxpin_is_restricted(const uct_tl_t *tl)
{
    const unsigned count = sizeof(uct_daxpin_restricted) /
                           sizeof(uct_daxpin_restricted[0]);
    unsigned i;

    for (i = 0; i < count; ++i) {
        if (strncmp(tl->name, uct_daxpin_restricted[i], sizeof(tl->name)) ==
            0) {
            return 1;
        }
    }
    return 0;
}

void uct_daxpin_restrict(void)
{
    uct_component_t *component;
    uct_tl_t *tl;

    ucs_list_for_each(component, &uct_components_list, list) {
        ucs_list_for_each(tl, &component->tl_list, list) {
            if (uct_daxpin_is_restricted(tl) &&
                (tl->iface_open != uct_daxpin_restricted_iface_open)) {
                (void)uct_daxpin_hook_tl(tl, uct_daxpin_restricted_iface_open);
            }
        }
    }
}
