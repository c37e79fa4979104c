/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What `daxpin doctor` checks, and the findings that it prints */

#ifndef DAXPIN_TOOLS_CHECKUP_H_
#define DAXPIN_TOOLS_CHECKUP_H_

#include "json.h"
#include "place.h"

#include "wire/ucx_md.h"

#include <signal.h>
#include <stddef.h>

typedef enum daxpin_finding {
    DAXPIN_FINDING_OK,
    DAXPIN_FINDING_NOTE, /* nothing to do; the user should know it */
    DAXPIN_FINDING_WARN, /* daxpin works, but worse than it could */
    DAXPIN_FINDING_BAD,  /* daxpin does not work, or does not protect */
    DAXPIN_FINDING_COUNT
} daxpin_finding_t;

typedef struct daxpin_checkup {
    daxpin_place_t place;
    daxpin_json_t  *json;  /* NULL: text */
    int            colour;
    unsigned       counts[DAXPIN_FINDING_COUNT];
    int            mpich;  /* there is an MPICH that uses UCX */
    int            ompi;   /* there is Open MPI */
    int            hook;   /* Open MPI finds hook_daxpin */
    char           dir[PATH_MAX]; /* where the job can create files; "" */
} daxpin_checkup_t;

/* Add a finding: print and count it. name: what was checked; programs know it,
 * so it does not change between releases. The text: the result and, if that is
 * not good, what to do about it. */
void daxpin_checkup_add(daxpin_checkup_t *checkup, daxpin_finding_t finding,
                        const char *name, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* Check the parts that a job needs, the lowest first */
void daxpin_check_system(daxpin_checkup_t *checkup);
void daxpin_check_storage(daxpin_checkup_t *checkup, char **paths);
void daxpin_check_ucx(daxpin_checkup_t *checkup);
void daxpin_check_mpich(daxpin_checkup_t *checkup);
void daxpin_check_ompi(daxpin_checkup_t *checkup);

/* Check the ranks of a job of Open MPI. launcher: a command and its options;
 * NULL: mpirun on this node. */
void daxpin_check_job(daxpin_checkup_t *checkup, char **launcher);

/* Block the signals that end the doctor, so that what has to be undone is. They
 * are in force nevertheless while daxpin_capture() waits: it ends the command,
 * and returns with the signal pending. before: the mask to restore. */
void daxpin_capture_block(sigset_t *before);

/* Run a command and store what it writes to standard output and standard error;
 * the caller frees it. Return its exit status as a shell has it, 124 if it
 * takes longer than that, or -errno if it cannot be started; -EINTR: the doctor is
 * to end. */
int daxpin_capture(char *const *argv, unsigned seconds, char **output_p);

/* Return the rest of the first line of such output that begins with a string, and
 * all lines after it; NULL: there is no such line */
const char *daxpin_capture_find(const char *output, const char *begin);

#endif
