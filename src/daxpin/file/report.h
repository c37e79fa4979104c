/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_REPORT_H_
#define DAXPIN_REPORT_H_

#include "daxpin/daxpin.h"
#include "wire/report.h"

#include <stddef.h>
#include <sys/types.h>

/* With daxpin_mutex held */
void daxpin_report_open(void);
void daxpin_report_fork(void);
/* One more pin. NULL: no record is left, it is counted as omitted */
daxpin_report_record_t *daxpin_report_add(const daxpin_file_t *file,
                                          const daxpin_owner_t *owner,
                                          size_t length);
/* Its locks are others now */
void daxpin_report_update(const daxpin_file_t *file);
/* In the child of a fork, the records of its parent's pins are gone */
unsigned daxpin_report_get_life(void);
void daxpin_report_remove(daxpin_report_record_t *record, size_t length);

/* What this process pins: one call for each file and owner. func must not call
 * the library. Without daxpin_mutex. */
typedef void (*daxpin_report_func_t)(const daxpin_report_record_t *record,
                                     void *arg);
void daxpin_report_walk(daxpin_report_func_t func, void *arg);

/* Does this process, of the same user, use daxpin? */
int daxpin_report_exists(pid_t pid);

#endif
