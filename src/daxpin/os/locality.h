/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_LOCALITY_H_
#define DAXPIN_LOCALITY_H_

#include <sys/types.h>

/* Which memory is near which processors: NUMA nodes, by the kernel's numbers.
 * -1: cannot be told. Nothing here opens a file or a device. */

/* Of the device that a file is on; dirfd and path as for statx(), path "" is
 * dirfd itself */
int daxpin_locality_of_file(int dirfd, const char *path);

/* Of a block device, also through partitions, device mapper and loop */
int daxpin_locality_of_device(dev_t dev);

/* Of a directory of sysfs: of the nearest device above it that tells */
int daxpin_locality_of_sysfs(const char *path);

/* What the firmware says: 10 for a node and itself. -1: nothing. */
int daxpin_locality_distance(int from, int to);

/* Is this process kept from the processors near that node? 0 also where that
 * cannot be told. */
int daxpin_locality_is_far(int node);

#endif
