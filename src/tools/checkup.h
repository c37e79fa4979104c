/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_CHECKUP_H_
#define DAXPIN_TOOLS_CHECKUP_H_

#include "json.h"
#include "place.h"

#include "wire/ucx_md.h"

#include <stddef.h>

/* What `daxpin doctor` finds, a line each */

typedef enum daxpin_finding {
    DAXPIN_FINDING_OK,
    DAXPIN_FINDING_NOTE, /* right as it is; something to know */
    DAXPIN_FINDING_WARN, /* works, but worse than it could, or may surprise */
    DAXPIN_FINDING_BAD,  /* daxpin does not work, or does not protect */
    DAXPIN_FINDING_COUNT
} daxpin_finding_t;

typedef struct daxpin_checkup {
    daxpin_place_t place;
    daxpin_json_t  *json;  /* NULL: text */
    int            colour;
    unsigned       counts[DAXPIN_FINDING_COUNT];
    int            hook;   /* Open MPI has the hook */
    char           dir[PATH_MAX]; /* where the job can make files; "" */
} daxpin_checkup_t;

/* name: what was looked at, the same for ever. The rest: what is so and, where
 * that is not right, what to do. */
void daxpin_checkup_say(daxpin_checkup_t *checkup, daxpin_finding_t finding,
                        const char *name, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* The parts of the chain, from below */
void daxpin_check_system(daxpin_checkup_t *checkup);
void daxpin_check_storage(daxpin_checkup_t *checkup, char **paths);
void daxpin_check_ucx(daxpin_checkup_t *checkup);
void daxpin_check_ompi(daxpin_checkup_t *checkup);

/* In a job: launcher and its options, NULL for one of our own */
void daxpin_check_job(daxpin_checkup_t *checkup, char **launcher);

/* Run a command and take what it says, on both outputs; to be freed. Returns
 * its exit status as of a shell, 124 if it takes longer than that, -errno if it
 * cannot be started. */
int daxpin_capture(char *const *argv, unsigned seconds, char **said_p);

#endif
