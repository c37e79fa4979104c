/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_INNER_H_
#define OSC_DAXPIN_INNER_H_

/* Targets that are reached through the inner component */

#include "osc_daxpin.h"

extern const osc_daxpin_way_t osc_daxpin_way_inner;

/* The part of a target's control page that shows the state of its file */
typedef struct osc_daxpin_view {
    uint64_t checks;
    uint32_t state;
    uint32_t locks;
    uint32_t unread[4];
    uint64_t sure_until;
    uint64_t sure_for;
} osc_daxpin_view_t;

#define OSC_DAXPIN_VIEW_OFFSET offsetof(daxpin_control_t, checks)
#define OSC_DAXPIN_VIEW_FIRST  UINT64_MAX

typedef enum osc_daxpin_verdict {
    OSC_DAXPIN_VIEW_GOOD,
    OSC_DAXPIN_VIEW_BAD,
    OSC_DAXPIN_VIEW_UNCLEAR /* read it again */
} osc_daxpin_verdict_t;

/* Return whether what was complete before the view of a target was read is in
 * the file. begun: when that read began (ns). *first_p is OSC_DAXPIN_VIEW_FIRST for
 * the first view. */
osc_daxpin_verdict_t osc_daxpin_view_judge(osc_daxpin_peer_t *peer,
                                           const osc_daxpin_view_t *view,
                                           uint64_t begun, uint64_t *first_p);

/* A holder checks a lent file every 20 ms, and looks at its lease every second;
 * if it has not for so long, it does not run */
#define OSC_DAXPIN_VIEW_BOUND_SEC 30.0

/* Return the error of a view that is unclear for so long */
int osc_daxpin_view_error(const osc_daxpin_module_t *module, int target);

/* Wait until what was moved to all targets is there */
int osc_daxpin_inner_complete_all(osc_daxpin_module_t *module);

#endif
