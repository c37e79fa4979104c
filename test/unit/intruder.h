/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Intruders: processes that open, truncate or delete a file without daxpin */

#ifndef INTRUDER_H_
#define INTRUDER_H_

#include "child.h"

#include <sys/sysmacros.h>

#define INTRUDER_BLOCKED CHILD_SILENT

static UNIT_UNUSED int intruder_act(const char *what, const char *path,
                                    long length, int *fd_p)
{
    int flags = O_CLOEXEC;

    if (strcmp(what, "truncate") == 0) {
        return truncate(path, length);
    }
    if (strcmp(what, "unlink") == 0) {
        return unlink(path);
    }
    flags |= (strncmp(what, "read", 4) == 0) ? O_RDONLY : O_RDWR;
    flags |= (strstr(what, "-poke") != NULL) ? O_NONBLOCK : 0;
    flags |= (strstr(what, "-trunc") != NULL) ? O_TRUNC : 0;
    flags |= (strstr(what, "-append") != NULL) ? O_APPEND : 0;
    *fd_p  = open(path, flags);
    return (*fd_p >= 0) ? 0 : -1;
}

/* Run an intruder. The arguments are an action, a path and a length. The
 * intruder reports 0, acts, reports errno and milliseconds, and keeps the file
 * open until its input ends. */
static UNIT_UNUSED int intruder_child(int argc, char **argv)
{
    uint64_t start;
    int ret, fd = -1;

    if (argc < 4) {
        return 2;
    }
    child_report(0, "ready");
    start = unit_ms();
    ret   = (intruder_act(argv[1], argv[2], atol(argv[3]), &fd) == 0) ? 0 :
                                                                        errno;
    child_report(ret, "%lu", unit_ms() - start);
    child_wait();
    return 0;
}

#define INTRUDER_ENTRY {"intruder", intruder_child}

/* Start an intruder and wait until it is about to act. */
static UNIT_UNUSED void intruder_start(child_t *child, const char *what,
                                       const char *path, long length)
{
    char number[32];

    snprintf(number, sizeof(number), "%ld", length);
    child_spawn(child, "intruder", what, path, number, NULL);
    assert_int_equal(child_answer(child, CHILD_WAIT_MS), 0);
}

/* Return the errno value of the intruder's action, or INTRUDER_BLOCKED if the
 * action has not ended in time. */
static UNIT_UNUSED long intruder_result(child_t *child, uint64_t ms)
{
    return child_answer(child, ms);
}

/* Check that the intruder's action does not end within a time. */
#define assert_blocked(_child, _ms) \
    assert_int_equal(child_answer_within(_child, _ms), INTRUDER_BLOCKED)

/* Run an intruder, and check that its action succeeds within a time. */
static UNIT_UNUSED void intruder_run(const char *what, const char *path,
                                     long length, uint64_t ms)
{
    child_t child;

    intruder_start(&child, what, path, length);
    assert_int_equal(intruder_result(&child, ms), 0);
    child_finish(&child);
}

/* Search /proc/locks for the lease of a file, and return the word for it. */
static const char *intruder_find_lease(const char *wanted)
{
    char line[512], kind[16], where[64];
    static char status[16];
    FILE *locks = fopen("/proc/locks", "re");

    while ((locks != NULL) && (fgets(line, sizeof(line), locks) != NULL)) {
        if ((sscanf(line, "%*s %15s %15s %*s %*d %63s", kind, status,
                    where) == 3) && (strcmp(kind, "LEASE") == 0) &&
            (strcmp(where, wanted) == 0)) {
            fclose(locks);
            return status;
        }
    }
    if (locks != NULL) {
        fclose(locks);
    }
    return "";
}

/* Return the kernel's word for the lease of a file: "ACTIVE", "BREAKING", or
 * "" if there is no lease. A lease that is there may not be found: lines move
 * while others lock and unlock. */
static UNIT_UNUSED const char *intruder_lease(const char *path)
{
    const char *status = "";
    char wanted[64]    = "";
    unsigned tries;
    struct stat st;

    if (stat(path, &st) == 0) {
        snprintf(wanted, sizeof(wanted), "%02x:%02x:%lu", major(st.st_dev),
                 minor(st.st_dev), st.st_ino);
    }
    for (tries = 0; (tries < 10) && (status[0] == '\0'); ++tries) {
        status = intruder_find_lease(wanted);
    }
    return status;
}

#endif
