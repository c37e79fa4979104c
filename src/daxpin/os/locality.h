/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* NUMA nodes: those of files and devices, and those near this process */

#ifndef DAXPIN_LOCALITY_H_
#define DAXPIN_LOCALITY_H_

/* Nodes have the kernel's numbers; -1: not known. All functions are
 * thread-safe, and none opens a file or a device. */

/* Return the node of the device that a file is on. dirfd and path as for
 * statx(); path "" stands for dirfd itself. */
int daxpin_locality_of_file(int dirfd, const char *path);

/* Return the node of a directory of sysfs: of the nearest device above it that
 * has one */
int daxpin_locality_of_sysfs(const char *path);

/* Return the distance between two nodes as the firmware has it: 10 from a node
 * to itself; -1: not known */
int daxpin_locality_distance(int from, int to);

/* Check whether this process is kept from the processors near a node; 0 also if
 * that is not known */
int daxpin_locality_is_far(int node);

#endif
