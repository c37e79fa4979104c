/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: whether there is an MPICH that daxpin can work with */

#include "checkup.h"
#include "launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MPICH_TIME   60 /* seconds */
#define MPICH_DEVICE "ch4:ucx"

/* Copy the first word after a title that begins a line; "" if there is none. */
static void mpich_find(const char *output, const char *title, char *word,
                       size_t size)
{
    const char *found = daxpin_capture_find(output, title);

    word[0] = '\0';
    if (found != NULL) {
        found += strspn(found, " \t");
        snprintf(word, size, "%.*s", (int)strcspn(found, " \t\n"), found);
    }
}

static void mpich_check_output(daxpin_checkup_t *checkup, const char *output)
{
    char version[32], device[64];

    mpich_find(output, "MPICH Version:", version, sizeof(version));
    mpich_find(output, "MPICH Device:", device, sizeof(device));
    if (version[0] == '\0') {
        return; /* of another MPI that comes from MPICH */
    }
    checkup->mpich = strcmp(device, MPICH_DEVICE) == 0;
    if (checkup->mpich) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "MPICH", "%s (%s); "
                           "start its programs with `%s -n 2 daxpin run "
                           "./program`: daxpin(7), MPICH, has what they get",
                           version, device,
                           daxpin_launcher_is_mpich("mpiexec") ?
                           "mpiexec" : "mpiexec.mpich");
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, "MPICH", "%s (%s) "
                           "does not use UCX, and daxpin does nothing for its "
                           "programs; use one of " MPICH_DEVICE, version,
                           (device[0] != '\0') ? device : "unknown device");
    }
}

/* Whoever has no MPICH need not hear of it. */
void daxpin_check_mpich(daxpin_checkup_t *checkup)
{
    char program[] = "mpichversion";
    char *argv[]   = {program, NULL};
    char *output   = NULL;

    if ((daxpin_capture(argv, MPICH_TIME, &output) == 0) && (output != NULL)) {
        mpich_check_output(checkup, output);
    }
    free(output);
}
