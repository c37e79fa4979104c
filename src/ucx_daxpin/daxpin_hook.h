/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Interfaces of UCX's own transports in which daxpin replaces operations */

#ifndef UCT_DAXPIN_HOOK_H_
#define UCT_DAXPIN_HOOK_H_

#include "abi/adapt.h"

#include <stdatomic.h>

typedef ucs_status_t (*uct_daxpin_iface_open_func_t)(
        uct_md_h md, uct_worker_h worker, const uct_iface_params_t *params,
        const uct_iface_config_t *config, uct_iface_h *uct_iface_p);

/* One interface. Hooks are never freed but used again, so that an operation can
 * search them without a lock. */
typedef struct uct_daxpin_hook {
    _Atomic(uct_iface_h)   uct;   /* NULL: free for another interface */
    struct uct_daxpin_hook *next;
    uct_iface_ops_t        inner; /* the operations that the interface had */
    void                   *arg;  /* the caller's */
} uct_daxpin_hook_t;

/* Replace the function that opens interfaces of a transport. Called before the
 * transport is used, by one thread at a time. */
ucs_status_t uct_daxpin_hook_tl(uct_tl_t *tl,
                                uct_daxpin_iface_open_func_t iface_open);

/* Open an interface of such a transport as the transport itself does, and add a
 * hook */
ucs_status_t uct_daxpin_hook_open(uct_md_h md, uct_worker_h worker,
                                  const uct_iface_params_t *params,
                                  const uct_iface_config_t *config, void *arg,
                                  uct_iface_h *uct_iface_p);

/* Add a hook, before operations of the interface are replaced. Return NULL if
 * no memory is left. */
uct_daxpin_hook_t *uct_daxpin_hook_add(uct_iface_h uct_iface, void *arg);

/* Return the hook of an interface that has one. Takes no lock. */
uct_daxpin_hook_t *uct_daxpin_hook_find(uct_iface_h uct_iface);

/* Give the interface its own operations back, so that it can be closed. Called
 * before that, because another interface may get the address. */
void uct_daxpin_hook_remove(uct_daxpin_hook_t *hook);

#endif
