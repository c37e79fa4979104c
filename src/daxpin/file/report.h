/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_REPORT_H_
#define DAXPIN_REPORT_H_

/* The pins of this process, published for the command "daxpin" */

#include "daxpin/daxpin.h"
#include "wire/report.h"

#include <stddef.h>
#include <sys/types.h>

/* Create the report of this process, or log a warning. Caller holds
 * daxpin_mutex. */
void daxpin_report_open(void);

/* Close the parent's report in the child of a fork. Caller holds
 * daxpin_mutex. */
void daxpin_report_fork(void);

/* Count one more pin. Return its record, or NULL if no record is left; then the
 * report counts the pin as omitted. Caller holds daxpin_mutex. */
daxpin_report_record_t *daxpin_report_add(const daxpin_file_t *file,
                                          const daxpin_owner_t *owner,
                                          size_t length);

/* Publish the present locks, holder and counts of a file. Caller holds
 * daxpin_mutex. */
void daxpin_report_update(const daxpin_file_t *file);

/* Publish how often this process has accessed the file, once a second. A file
 * without pins gets a record as well, as long as one is left. Return when to look again
 * (ns). Caller holds daxpin_mutex. */
uint64_t daxpin_report_tick(daxpin_file_t *file, uint64_t now);

/* Remove what is left of a file without pins. Caller holds daxpin_mutex. */
void daxpin_report_drop(const daxpin_file_t *file);

/* Count a break of the lease that the holder has noticed, unless it was counted
 * before. Caller holds daxpin_mutex, as with the next three. */
void daxpin_report_broken(daxpin_file_t *file, uint64_t now);

/* Note that the lease is whole: the process that broke it has given up. */
void daxpin_report_whole(daxpin_file_t *file);

/* Count that the file was lent because of the break. */
void daxpin_report_lent(daxpin_file_t *file);

/* Count the end of a revoke in this process. */
void daxpin_report_revoked(daxpin_file_t *file);

/* Return how many forks led to this process. A record is valid only as long as
 * this number does not change. Caller holds daxpin_mutex. */
unsigned daxpin_report_get_forks(void);

/* Count one pin less. Caller holds daxpin_mutex. */
void daxpin_report_remove(daxpin_report_record_t *record, size_t length);

typedef void (*daxpin_report_func_t)(const daxpin_report_record_t *record,
                                     void *arg);

/* Call func for each file and owner of pins in this process. func must not call
 * the library. Caller does not hold daxpin_mutex. */
void daxpin_report_walk(daxpin_report_func_t func, void *arg);

/* Return whether a process of the same user uses daxpin. Needs no lock. */
int daxpin_report_exists(pid_t pid);

#endif
