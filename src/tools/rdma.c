/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The RDMA devices of this machine and their NUMA nodes */

#include "rdma.h"

#include "daxpin/os/locality.h"
#include "daxpin/os/proc.h"

#include <dirent.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* hwloc does not list software devices */
#define RDMA_CLASS "/sys/class/infiniband"

static int rdma_is_active(const char *name)
{
    char pattern[PATH_MAX], state[64];
    int active = 0;
    glob_t ports;
    size_t i;

    snprintf(pattern, sizeof(pattern), RDMA_CLASS "/%s/ports/*/state", name);
    if (glob(pattern, 0, NULL, &ports) != 0) {
        return 0;
    }
    for (i = 0; i < ports.gl_pathc; ++i) {
        active |= (daxpin_proc_read_line(ports.gl_pathv[i], state,
                                    sizeof(state)) == 0) &&
                  (strstr(state, "ACTIVE") != NULL);
    }
    globfree(&ports);
    return active;
}

static void rdma_query(const char *name, int numa_node, daxpin_rdma_t *rdma)
{
    char path[PATH_MAX];

    memset(rdma, 0, sizeof(*rdma));
    snprintf(rdma->name, sizeof(rdma->name), "%.63s", name);
    snprintf(path, sizeof(path), RDMA_CLASS "/%s/parent", rdma->name);
    if (daxpin_proc_read_line(path, rdma->interface, sizeof(rdma->interface)) !=
        0) {
        rdma->interface[0] = '\0';
    }
    if (rdma->interface[0] != '\0') {
        snprintf(path, sizeof(path), "/sys/class/net/%s", rdma->interface);
    } else {
        snprintf(path, sizeof(path), RDMA_CLASS "/%s", rdma->name);
    }
    rdma->numa_node = daxpin_locality_of_sysfs(path);
    rdma->distance  = daxpin_locality_distance(numa_node, rdma->numa_node);
    rdma->active    = rdma_is_active(rdma->name);
}

static int rdma_compare(const void *one, const void *two)
{
    const daxpin_rdma_t *a = one, *b = two;

    if (a->distance != b->distance) {
        return ((unsigned)a->distance < (unsigned)b->distance) ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

daxpin_rdma_t *daxpin_rdma_list(int numa_node, size_t *count_p)
{
    daxpin_rdma_t *list = NULL, *longer;
    struct dirent *entry;
    DIR *dir;

    *count_p = 0;
    dir      = opendir(RDMA_CLASS);
    while ((dir != NULL) && ((entry = readdir(dir)) != NULL)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        longer = realloc(list, (*count_p + 1) * sizeof(*list));
        if (longer == NULL) {
            break;
        }
        list = longer;
        rdma_query(entry->d_name, numa_node, &list[(*count_p)++]);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    if (*count_p > 0) {
        qsort(list, *count_p, sizeof(*list), rdma_compare);
    }
    return list;
}
