/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Interfaces of UCX's own transports in which daxpin replaces operations */

#include "daxpin_hook.h"

#include "daxpin/os/fork.h"

#include <ucs/debug/log_def.h>

#include <pthread.h>
#include <string.h>

/* More than libuct_ib has */
#define UCT_DAXPIN_HOOK_MAX_TLS 32

#define UCT_DAXPIN_HOOK_BUCKETS 64u

typedef struct uct_daxpin_hooked_tl {
    uct_tl_t                     *tl;
    uct_daxpin_iface_open_func_t iface_open; /* the one that it had */
} uct_daxpin_hooked_tl_t;

static uct_daxpin_hooked_tl_t uct_daxpin_hooked_tls[UCT_DAXPIN_HOOK_MAX_TLS];
static unsigned uct_daxpin_num_hooked_tls;

/* By address of the interface; written under the lock, read without */
static pthread_mutex_t uct_daxpin_hooks_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(uct_daxpin_hook_t*) uct_daxpin_hooks[UCT_DAXPIN_HOOK_BUCKETS];

DAXPIN_FORK_LOCK(DAXPIN_FORK_UCX_HOOK, &uct_daxpin_hooks_lock)

ucs_status_t uct_daxpin_hook_tl(uct_tl_t *tl,
                                uct_daxpin_iface_open_func_t iface_open)
{
    uct_daxpin_hooked_tl_t *hooked;

    if (uct_daxpin_num_hooked_tls == UCT_DAXPIN_HOOK_MAX_TLS) {
        return UCS_ERR_EXCEEDS_LIMIT;
    }

    hooked             = &uct_daxpin_hooked_tls[uct_daxpin_num_hooked_tls++];
    hooked->tl         = tl;
    hooked->iface_open = tl->iface_open;
    tl->iface_open     = iface_open;
    return UCS_OK;
}

static uct_daxpin_hooked_tl_t *
uct_daxpin_hooked_tl_find(const uct_iface_params_t *params)
{
    unsigned i;

    if (!(params->open_mode & UCT_IFACE_OPEN_MODE_DEVICE)) {
        return NULL; /* None of these transports takes socket addresses */
    }

    for (i = 0; i < uct_daxpin_num_hooked_tls; ++i) {
        if (strncmp(uct_daxpin_hooked_tls[i].tl->name,
                    params->mode.device.tl_name, UCT_TL_NAME_MAX) == 0) {
            return &uct_daxpin_hooked_tls[i];
        }
    }
    return NULL;
}

ucs_status_t uct_daxpin_hook_open(uct_md_h md, uct_worker_h worker,
                                  const uct_iface_params_t *params,
                                  const uct_iface_config_t *config, void *arg,
                                  uct_iface_h *uct_iface_p)
{
    uct_daxpin_hooked_tl_t *hooked = uct_daxpin_hooked_tl_find(params);
    ucs_status_t status;

    if (hooked == NULL) {
        return UCS_ERR_NO_DEVICE;
    }

    status = hooked->iface_open(md, worker, params, config, uct_iface_p);
    if (status != UCS_OK) {
        return status;
    }

    if (uct_daxpin_hook_add(*uct_iface_p, arg) == NULL) {
        ucs_error("daxpin: no memory for an interface of %s", hooked->tl->name);
        uct_iface_close(*uct_iface_p);
        return UCS_ERR_NO_MEMORY;
    }
    return UCS_OK;
}

static unsigned uct_daxpin_hook_bucket(uct_iface_h uct_iface)
{
    /* Interfaces are some kilobytes long */
    return ((uintptr_t)uct_iface >> 10) % UCT_DAXPIN_HOOK_BUCKETS;
}

uct_daxpin_hook_t *uct_daxpin_hook_find(uct_iface_h uct_iface)
{
    unsigned bucket = uct_daxpin_hook_bucket(uct_iface);
    uct_daxpin_hook_t *hook;

    hook = atomic_load_explicit(&uct_daxpin_hooks[bucket],
                                memory_order_acquire);
    while ((hook != NULL) &&
           (atomic_load_explicit(&hook->uct, memory_order_acquire) !=
            uct_iface)) {
        hook = hook->next;
    }
    return hook;
}

uct_daxpin_hook_t *uct_daxpin_hook_add(uct_iface_h uct_iface, void *arg)
{
    unsigned bucket = uct_daxpin_hook_bucket(uct_iface);
    uct_daxpin_hook_t *hook;

    pthread_mutex_lock(&uct_daxpin_hooks_lock);
    for (hook = atomic_load(&uct_daxpin_hooks[bucket]);
         (hook != NULL) && (atomic_load(&hook->uct) != NULL);
         hook = hook->next) {
    }
    if (hook == NULL) {
        hook = ucs_calloc(1, sizeof(*hook), "daxpin_hook");
        if (hook == NULL) {
            goto out;
        }
        hook->next = atomic_load(&uct_daxpin_hooks[bucket]);
        atomic_store(&uct_daxpin_hooks[bucket], hook);
    }
    hook->inner = uct_iface->ops;
    hook->arg   = arg;
    atomic_store(&hook->uct, uct_iface);
out:
    pthread_mutex_unlock(&uct_daxpin_hooks_lock);
    return hook;
}

void uct_daxpin_hook_remove(uct_daxpin_hook_t *hook)
{
    atomic_load(&hook->uct)->ops = hook->inner;
    atomic_store(&hook->uct, NULL);
}
