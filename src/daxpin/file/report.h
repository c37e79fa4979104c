/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_REPORT_H_
#define DAXPIN_REPORT_H_

#include "daxpin/daxpin.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What a process pins, for anybody who may read its /proc/<pid>/fd: a memfd of
 * this name, which goes when the process goes. The same name tells a holder
 * that a process is a user of daxpin.
 */
#define DAXPIN_REPORT_NAME    "daxpin-report"
#define DAXPIN_REPORT_MAGIC   0x72747264u
#define DAXPIN_REPORT_VERSION 2u
#define DAXPIN_REPORT_RECORDS 256
#define DAXPIN_REPORT_PATH    456

typedef struct daxpin_report_record {
    _Atomic uint32_t used;
    uint32_t         owner_type;  /* daxpin_owner_type_t */
    int32_t          owner_fd;
    uint32_t         holder_pid;
    uint64_t         dev;
    uint64_t         ino;
    _Atomic uint64_t pins;
    _Atomic uint64_t bytes;
    _Atomic uint32_t locks;       /* daxpin_lock_t; a peer is not told that a
                                     reader is let in: /proc/locks knows */
    int32_t          numa_node;   /* of its device; -1: not known */
    char             path[DAXPIN_REPORT_PATH];
} daxpin_report_record_t;

typedef struct daxpin_report {
    uint32_t               magic;
    uint32_t               version;
    uint32_t               pid;
    uint32_t               num_records;
    _Atomic uint64_t       omitted; /* pins that found no record */
    daxpin_report_record_t records[DAXPIN_REPORT_RECORDS];
} daxpin_report_t;

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
