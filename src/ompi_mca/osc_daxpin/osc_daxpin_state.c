/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The state of a target's file, and the error if it is revoked */

#include "osc_daxpin_state.h"

#include "osc_daxpin_attached.h"
#include "osc_daxpin_error.h"

#include <time.h>

/* Queries of the cause, 1 ms apart */
#define OSC_DAXPIN_CAUSE_QUERIES 1000

int osc_daxpin_peer_check(osc_daxpin_module_t *module, int target)
{
    int ret = module->peers[target].way->check(module, target);

    return (ret == OSC_DAXPIN_REVOKED) ?
                   osc_daxpin_peer_revoked(module, target) :
                   ret;
}

int osc_daxpin_own_check(osc_daxpin_module_t *module)
{
    return (osc_daxpin_own_revoked(module) == NULL) ?
                   OMPI_SUCCESS :
                   osc_daxpin_peer_revoked(module, module->rank);
}

int osc_daxpin_peer_cause(osc_daxpin_module_t *module, int target,
                          char *buffer, size_t size)
{
    buffer[0] = '\0';
    return module->peers[target].way->cause(module, target, buffer, size);
}

/* An access may find a revoked file before libdaxpin's loop thread has set the
 * cause, so wait for the cause */
int osc_daxpin_peer_revoked(osc_daxpin_module_t *module, int target)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    char cause[DAXPIN_CAUSE_MAX];
    unsigned i;

    for (i = 0; i < OSC_DAXPIN_CAUSE_QUERIES; ++i) {
        if ((osc_daxpin_peer_cause(module, target, cause, sizeof(cause)) !=
             OMPI_SUCCESS) ||
            (cause[0] != '\0')) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    return osc_daxpin_error_revoked(module, target, cause);
}
