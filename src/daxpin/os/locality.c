/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* NUMA nodes: those of files and devices, and those near this process */

#include "locality.h"

#include "daxpin/daxpin.h"
#include "mount.h"
#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifdef HAVE_HWLOC
#include <hwloc.h>
#endif

#define LOCALITY_SYSFS     "/sys"
#define LOCALITY_NODES     LOCALITY_SYSFS "/devices/system/node"
#define LOCALITY_DEPTH_MAX 8 /* device mapper on device mapper on ... */

/* Nodes of block devices that were looked up: a lookup is 30 system calls, and
 * each file that is opened needs one. The number of a device, and below it its
 * node + 2; 0: none. */
#define LOCALITY_KNOWN     8
#define LOCALITY_NODE_BITS 16

static _Atomic uint64_t locality_known[LOCALITY_KNOWN];

/* Read the first line of a file. Return whether there is one. */
static int locality_read(const char *path, char *buffer, size_t size)
{
    return (daxpin_proc_read_line(path, buffer, size) == 0) &&
           (buffer[0] != '\0');
}

/* Return the only node of this machine; -1 if there are several or none */
static int locality_only_node(void)
{
    char online[64], *end;
    long node;

    if (!locality_read(LOCALITY_NODES "/online", online, sizeof(online))) {
        return -1;
    }
    node = strtol(online, &end, 10);
    return ((end != online) && (*end == '\0')) ? (int)node : -1;
}

int daxpin_locality_of_sysfs(const char *path)
{
    char dir[PATH_MAX], name[PATH_MAX + 16], value[32];
    char *slash;

    if (realpath(path, dir) == NULL) {
        return -1;
    }
    while ((strncmp(dir, LOCALITY_SYSFS "/", 5) == 0) &&
           ((slash = strrchr(dir, '/')) != NULL)) {
        snprintf(name, sizeof(name), "%s/numa_node", dir);
        if (locality_read(name, value, sizeof(value)) && (value[0] != '-')) {
            return atoi(value);
        }
        *slash = '\0';
    }
    return locality_only_node();
}

static int locality_of_device(dev_t dev, unsigned depth);

/* Return the node of the devices that a device consists of; -1 if they are on
 * several. *found_p: whether it consists of others. */
static int locality_of_parts(const char *dir, unsigned depth, int *found_p)
{
    char path[PATH_MAX], value[32];
    unsigned major, minor;
    struct dirent *entry;
    int node = -1, part;
    DIR *parts;

    *found_p = 0;
    snprintf(path, sizeof(path), "%s/slaves", dir);
    parts = opendir(path);
    while ((parts != NULL) && ((entry = readdir(parts)) != NULL)) {
        snprintf(path, sizeof(path), "%s/slaves/%s/dev", dir, entry->d_name);
        if ((entry->d_name[0] == '.') ||
            !locality_read(path, value, sizeof(value)) ||
            (sscanf(value, "%u:%u", &major, &minor) != 2)) {
            continue;
        }
        part     = locality_of_device(makedev(major, minor), depth + 1);
        node     = (!*found_p || (node == part)) ? part : -1;
        *found_p = 1;
        if (node < 0) {
            break;
        }
    }
    if (parts != NULL) {
        closedir(parts);
    }
    return node;
}

static int locality_of_device(dev_t dev, unsigned depth)
{
    char dir[64], path[PATH_MAX], backing[PATH_MAX];
    struct stat st;
    int node, found;

    if ((dev == 0) || (depth > LOCALITY_DEPTH_MAX)) {
        return -1;
    }
    snprintf(dir, sizeof(dir), LOCALITY_SYSFS "/dev/block/%u:%u", major(dev),
             minor(dev));
    node = locality_of_parts(dir, depth, &found);
    if (found) {
        return node;
    }
    snprintf(path, sizeof(path), "%s/loop/backing_file", dir);
    if (locality_read(path, backing, sizeof(backing))) {
        return (stat(backing, &st) == 0) ?
                       locality_of_device(st.st_dev, depth + 1) :
                       -1;
    }
    return daxpin_locality_of_sysfs(dir);
}

/* Return the node of a block device, as it was when this process first looked */
static int locality_of_block(dev_t dev)
{
    const uint64_t number  = ((uint64_t)major(dev) << 32) | minor(dev);
    _Atomic uint64_t *known = &locality_known[(major(dev) + minor(dev)) %
                                              LOCALITY_KNOWN];
    uint64_t value          = atomic_load(known);

    if ((value == 0) || (value >> LOCALITY_NODE_BITS != number)) {
        value = (number << LOCALITY_NODE_BITS) |
                (uint64_t)(locality_of_device(dev, 0) + 2);
        atomic_store(known, value);
    }
    return (int)(value & ((1u << LOCALITY_NODE_BITS) - 1)) - 2;
}

int daxpin_locality_of_file(int dirfd, const char *path)
{
    daxpin_mount_t mount;
    struct stat st;

    if (fstatat(dirfd, path, &st, AT_EMPTY_PATH) != 0) {
        return -1;
    }
    if (S_ISCHR(st.st_mode)) { /* device DAX */
        snprintf(mount.point, sizeof(mount.point),
                 LOCALITY_SYSFS "/dev/char/%u:%u", major(st.st_rdev),
                 minor(st.st_rdev));
        return daxpin_locality_of_sysfs(mount.point);
    }
    if (major(st.st_dev) != 0) {
        return locality_of_block(st.st_dev);
    }
    return (daxpin_mount_find(dirfd, path, &mount) == 0) ?
                   locality_of_device(daxpin_mount_device(&mount), 0) :
                   -1;
}

/* A row of the table has a number for each node that is online, in order */
int daxpin_locality_distance(int from, int to)
{
    char path[64], row[4096], *p = row, *end;
    int node, distance;

    snprintf(path, sizeof(path), LOCALITY_NODES "/node%d/distance", from);
    if ((from < 0) || (to < 0) || !locality_read(path, row, sizeof(row))) {
        return -1;
    }
    for (node = 0; node <= to; ++node) {
        snprintf(path, sizeof(path), LOCALITY_NODES "/node%d", node);
        if (access(path, F_OK) != 0) {
            continue;
        }
        distance = (int)strtol(p, &end, 10);
        if (end == p) {
            return -1;
        }
        if (node == to) {
            return distance;
        }
        p = end;
    }
    return -1;
}

/*
 * This process
 */

#ifdef HAVE_HWLOC

static hwloc_topology_t locality_topology; /* NULL: it cannot be loaded */

static void locality_load(void)
{
    if (hwloc_topology_init(&locality_topology) != 0) {
        locality_topology = NULL;
    } else if (hwloc_topology_load(locality_topology) != 0) {
        hwloc_topology_destroy(locality_topology);
        locality_topology = NULL;
    }
}

/* Load the topology once, because that takes milliseconds */
static hwloc_topology_t locality_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, locality_load);
    return locality_topology;
}

/* If several nodes are near the processors of this process, the one near the
 * processor that it runs on counts */
int daxpin_cpu_numa_node(void)
{
    hwloc_topology_t topology = locality_get();
    hwloc_bitmap_t cpus       = hwloc_bitmap_alloc();
    hwloc_bitmap_t nodes      = hwloc_bitmap_alloc();
    int node                  = -1;

    if ((topology != NULL) && (cpus != NULL) && (nodes != NULL)) {
        if (hwloc_get_cpubind(topology, cpus, HWLOC_CPUBIND_PROCESS) == 0) {
            hwloc_cpuset_to_nodeset(topology, cpus, nodes);
        }
        if ((hwloc_bitmap_weight(nodes) != 1) &&
            (hwloc_get_last_cpu_location(topology, cpus,
                                         HWLOC_CPUBIND_PROCESS) == 0)) {
            hwloc_cpuset_to_nodeset(topology, cpus, nodes);
        }
        node = hwloc_bitmap_first(nodes);
    }
    hwloc_bitmap_free(nodes);
    hwloc_bitmap_free(cpus);
    return node;
}

/* For a node without processors, hwloc names the processors around it */
static int locality_is_far(int node)
{
    hwloc_topology_t topology = locality_get();
    hwloc_bitmap_t cpus       = hwloc_bitmap_alloc();
    int far                   = 0;
    hwloc_obj_t memory;

    if ((topology != NULL) && (cpus != NULL)) {
        memory = hwloc_get_numanode_obj_by_os_index(topology, (unsigned)node);
        far    = (memory != NULL) && (memory->cpuset != NULL) &&
              !hwloc_bitmap_iszero(memory->cpuset) &&
              (hwloc_get_cpubind(topology, cpus, HWLOC_CPUBIND_PROCESS) ==
               0) &&
              !hwloc_bitmap_intersects(memory->cpuset, cpus);
    }
    hwloc_bitmap_free(cpus);
    return far;
}

#else

int daxpin_cpu_numa_node(void)
{
    unsigned node;

    return (syscall(SYS_getcpu, NULL, &node, NULL) == 0) ? (int)node : -1;
}

/* Without hwloc only the present processor is known, and it may change */
static int locality_is_far(int node)
{
    (void)node;
    return 0;
}

#endif

int daxpin_locality_is_far(int node)
{
    /* With one node, the topology need not be loaded */
    return (node >= 0) && (locality_only_node() < 0) && locality_is_far(node);
}
