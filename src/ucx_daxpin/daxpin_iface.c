/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What daxpin adds to an interface of posix: deferred completions */

#include "daxpin_iface.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/compiler_def.h>

#include <stdatomic.h>

/* Number of deferred completions in the process. A progress with nothing to do
 * reads this number and need not search for its interface. */
static _Atomic unsigned uct_daxpin_total_deferred;

uct_daxpin_iface_t *uct_daxpin_iface_find(uct_iface_h uct_iface)
{
    return uct_daxpin_hook_find(uct_iface)->arg;
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

/* Check whether the completion counts only operations deferred here */
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

/* Callbacks may start operations, which may be deferred in turn. Those stay for
 * the next time. waits: what has to be the last of its completion is deferred
 * again until it is. */
static unsigned uct_daxpin_iface_complete_all(uct_daxpin_iface_t *iface,
                                              int waits)
{
    uct_daxpin_deferred_t *deferred = iface->deferred;
    unsigned count                  = iface->num_deferred;
    unsigned i;

    iface->deferred     = NULL;
    iface->num_deferred = 0;
    iface->max_deferred = 0;
    atomic_fetch_sub(&uct_daxpin_total_deferred, count);

    for (i = 0; i < count; ++i) {
        if (waits && deferred[i].is_last &&
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

unsigned uct_daxpin_iface_complete(uct_daxpin_iface_t *iface)
{
    return uct_daxpin_iface_complete_all(iface, 1);
}

void uct_daxpin_iface_complete_last(uct_daxpin_iface_t *iface)
{
    while (iface->num_deferred > 0) {
        (void)uct_daxpin_iface_complete_all(iface, 0);
    }
}

unsigned uct_daxpin_iface_progress(uct_iface_h uct_iface)
{
    if (ucs_likely(atomic_load_explicit(&uct_daxpin_total_deferred,
                                        memory_order_relaxed) == 0)) {
        return 0;
    }
    return uct_daxpin_iface_complete(uct_daxpin_iface_find(uct_iface));
}
