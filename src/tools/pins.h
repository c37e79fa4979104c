/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_PINS_H_
#define DAXPIN_TOOLS_PINS_H_

/* What processes report that they pin, as `daxpin pins` has read it */

#include "json.h"
#include "locks.h"
#include "proc.h"

#include "wire/report.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* What a process has counted of a file. The report of an older daxpin has not
 * all of it. */
typedef struct daxpin_pins_counts {
    int                    has_events;
    daxpin_report_events_t events;
    int                    has_accesses;
    uint64_t               accesses;
} daxpin_pins_counts_t;

/* A file pinned by a process, for one owner, or accessed by it */
typedef struct pins_file {
    char             *path;
    char             *owner_path; /* of owner_fd; NULL: it is closed */
    int              owner_fd;    /* -1: the process owns the pin */
    dev_t            dev;
    uint64_t         ino;
    unsigned long    pins;     /* 0: it accesses the file only */
    unsigned long    bytes;
    pid_t            holder;   /* in the pid namespace of the process */
    int              state;    /* daxpin_state_t; -1: not known */
    unsigned         locks;    /* daxpin_lock_t */
    int              numa_node;
    const char       *lease;   /* as in /proc/locks; NULL: not known */
    const char       *note;    /* what the user should know; NULL: nothing */
    int              deleted;  /* it has no name any more; path is its last */
    daxpin_pins_counts_t counts;
} pins_file_t;

typedef struct pins_process {
    daxpin_proc_t proc;
    unsigned long omitted;
    pins_file_t   *files;
    size_t        count;
} pins_process_t;

/* The state of a file, as the holder's page has it */
typedef struct pins_state {
    dev_t    dev;
    uint64_t ino;
    int      state; /* daxpin_state_t */
} pins_state_t;

/* What the pages of a process say */
typedef struct pins_holder {
    pid_t        pid;
    pins_state_t *states;
    size_t       count;
} pins_holder_t;

typedef struct pins_list {
    pins_process_t  *processes;
    size_t          count;
    pins_holder_t   *holders; /* that were looked at, by pid */
    size_t          num_holders;
    daxpin_leases_t leases;
    int             failed; /* a message was printed */
    int             all;    /* with files that are accessed only */
    int             look;   /* also at what there is beside the reports */
} pins_list_t;

/* Read what a process has counted of a file. Return whether it reports the
 * file. */
int daxpin_pins_read_counts(pid_t pid, dev_t dev, uint64_t ino,
                            daxpin_pins_counts_t *counts);

/* Write the counts as members of a JSON object; NULL: not known. */
void daxpin_pins_json_counts(daxpin_json_t *json,
                             const daxpin_pins_counts_t *counts);

/* Write the list as one line of JSON. */
void daxpin_pins_print_json(FILE *stream, const pins_list_t *list);

/* Write the list as Prometheus has it in text. */
void daxpin_pins_print_prometheus(FILE *stream, const pins_list_t *list);

#endif
