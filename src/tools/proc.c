/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What only the tools read in /proc: the user of a process, all leases */

#include "proc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int daxpin_proc_read_status(pid_t pid, daxpin_proc_t *proc)
{
    char path[64], line[256];
    const char *last;
    FILE *file;

    proc->pid     = pid;
    proc->own_pid = pid;
    proc->uid     = (uid_t)-1;
    snprintf(proc->command, sizeof(proc->command), "?");
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "Name:\t", 6) == 0) {
            snprintf(proc->command, sizeof(proc->command), "%.31s", line + 6);
        } else if (strncmp(line, "Uid:\t", 5) == 0) {
            proc->uid = (uid_t)strtoul(line + 5, NULL, 10);
        } else if (strncmp(line, "NSpid:", 6) == 0) {
            last          = strrchr(line, '\t');
            proc->own_pid = (last != NULL) ? (pid_t)atoi(last) : pid;
        }
    }
    fclose(file);
    return 0;
}

static int proc_add_lease(const daxpin_lease_line_t *lease, void *arg)
{
    daxpin_leases_t *leases = arg;
    daxpin_lease_line_t *lines;

    if (lease->waits) {
        return 0;
    }
    lines = realloc(leases->lines, (leases->count + 1) * sizeof(*lines));
    if (lines == NULL) {
        return -ENOMEM;
    }
    leases->lines                  = lines;
    leases->lines[leases->count++] = *lease;
    return 0;
}

void daxpin_leases_read(daxpin_leases_t *leases)
{
    memset(leases, 0, sizeof(*leases));
    leases->error = -daxpin_proc_each_lease(DAXPIN_PROC_LOCKS, proc_add_lease,
                                            leases);
}

void daxpin_leases_free(daxpin_leases_t *leases)
{
    free(leases->lines);
    memset(leases, 0, sizeof(*leases));
}

const daxpin_lease_line_t *daxpin_leases_find(const daxpin_leases_t *leases,
                                              dev_t dev, uint64_t ino,
                                              pid_t pid)
{
    size_t i;

    for (i = 0; i < leases->count; ++i) {
        if ((leases->lines[i].ino == ino) &&
            ((leases->lines[i].dev == dev) || (leases->lines[i].pid == pid))) {
            return &leases->lines[i];
        }
    }
    return NULL;
}
