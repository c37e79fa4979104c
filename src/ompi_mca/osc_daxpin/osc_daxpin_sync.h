/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_SYNC_H_
#define OSC_DAXPIN_SYNC_H_

/* Synchronisation */

#include "osc_daxpin.h"

int osc_daxpin_fence(int hints, ompi_win_t *win);
int osc_daxpin_start(ompi_group_t *group, int hints, ompi_win_t *win);
int osc_daxpin_complete(ompi_win_t *win);
int osc_daxpin_post(ompi_group_t *group, int hints, ompi_win_t *win);
int osc_daxpin_wait(ompi_win_t *win);
int osc_daxpin_test(ompi_win_t *win, int *flag);
int osc_daxpin_lock(int type, int target, int hints, ompi_win_t *win);
int osc_daxpin_unlock(int target, ompi_win_t *win);
int osc_daxpin_lock_all(int hints, ompi_win_t *win);
int osc_daxpin_unlock_all(ompi_win_t *win);
int osc_daxpin_sync(ompi_win_t *win);
int osc_daxpin_flush(int target, ompi_win_t *win);
int osc_daxpin_flush_all(ompi_win_t *win);
int osc_daxpin_flush_local(int target, ompi_win_t *win);
int osc_daxpin_flush_local_all(ompi_win_t *win);

/* Check this rank's own memory; with daxpin_persist, make it durable first */
int osc_daxpin_settle_own(osc_daxpin_module_t *module);

/* Check the targets that no call has checked since they were accessed, each.
 * Return the error of a revoked file if there is one, else any. */
int osc_daxpin_settle_rest(osc_daxpin_module_t *module);

#endif
