/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The report of the pins of a process, which other processes read */

#ifndef DAXPIN_WIRE_REPORT_H_
#define DAXPIN_WIRE_REPORT_H_

#include <stdatomic.h>
#include <stdint.h>

/*
 * A process that pins files has a memfd of this name with one
 * daxpin_report_t in it. Any process that may read /proc/<pid>/fd finds and
 * reads the memfd; it goes when the process ends. The name alone shows that a
 * process uses daxpin.
 *
 * A child of fork() has the descriptor of its parent's report until it
 * executes something: compare the pid in the report.
 */
#define DAXPIN_REPORT_NAME     "daxpin-report"
#define DAXPIN_REPORT_LINK     "/memfd:" DAXPIN_REPORT_NAME /* as in /proc */
#define DAXPIN_REPORT_MAGIC    0x72747264u
#define DAXPIN_REPORT_VERSION  4u
#define DAXPIN_REPORT_ACCESSES 4u /* since this version it has accesses */
#define DAXPIN_REPORT_EVENTS   3u /* likewise, events */
#define DAXPIN_REPORT_OLDEST   2u /* that readers know */
#define DAXPIN_REPORT_RECORDS  256
#define DAXPIN_REPORT_PATH     456

/* The pins of one file for one owner; or a file that the process accesses and has
 * not pinned, with pins 0 */
typedef struct daxpin_report_record {
    _Atomic uint32_t used;
    uint32_t         owner_type;  /* daxpin_owner_type_t */
    int32_t          owner_fd;
    uint32_t         holder_pid;
    uint64_t         dev;         /* as fstat() has it */
    uint64_t         ino;
    _Atomic uint64_t pins;
    _Atomic uint64_t bytes;
    _Atomic uint32_t locks;       /* daxpin_lock_t; a member's record does not
                                     show that a reader was let in:
                                     /proc/locks does */
    int32_t          numa_node;   /* of the device; -1: not known */
    char             path[DAXPIN_REPORT_PATH];
} daxpin_report_record_t;

/* How often a thing has happened to a file, and how long it took */
typedef struct daxpin_report_count {
    uint64_t count;
    uint64_t last_us;
    uint64_t max_us;
} daxpin_report_count_t;

/* What has happened to the file of a record, as far as this process knows: only
 * the holder of the lease sees breaks and lends */
typedef struct daxpin_report_events {
    daxpin_report_count_t breaks;  /* until the lease was given back */
    daxpin_report_count_t lends;   /* likewise */
    daxpin_report_count_t revokes; /* until access by this process had ended */
} daxpin_report_events_t;

typedef struct daxpin_report {
    uint32_t               magic;
    uint32_t               version;
    uint32_t               pid;     /* in the process's own pid namespace */
    uint32_t               num_records;
    _Atomic uint64_t       omitted; /* pins for which there was no record */
    daxpin_report_record_t records[DAXPIN_REPORT_RECORDS];
    daxpin_report_events_t events[DAXPIN_REPORT_RECORDS]; /* of each record */
    uint64_t               accesses[DAXPIN_REPORT_RECORDS]; /* by this process to
                                                               the file */
} daxpin_report_t;

#endif
