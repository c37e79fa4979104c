/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_MAP_H_
#define DAXPIN_MAP_H_

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

/* One mapping of this process, as the kernel tells it. dev is the file
 * system's, which on btrfs and overlayfs is not what fstat() says. */
typedef struct daxpin_vma {
    uintptr_t start;
    uintptr_t end;
    uint64_t  offset;
    dev_t     dev;
    uint64_t  ino;    /* 0: no file */
    int       prot;   /* PROT_READ | PROT_WRITE | PROT_EXEC */
    int       shared;
    char      path[PATH_MAX];
} daxpin_vma_t;

/* What lies at an address or, where nothing does, next above it: 0, -ENOENT
 * or another negative errno. Thread-safe. */
int daxpin_vma_query(uintptr_t addr, daxpin_vma_t *vma);

typedef int (*daxpin_vma_func_t)(const daxpin_vma_t *vma, void *arg);

/* All mappings, by address, in one pass, until func returns non-zero: that, 0
 * or -errno. It may replace the mapping that it is given. Thread-safe. */
int daxpin_vma_for_each(daxpin_vma_func_t func, void *arg);

/* The same for a maps file: /proc/<pid>/maps. Thread-safe. */
int daxpin_vma_read(const char *maps, daxpin_vma_func_t func, void *arg);

/* Is the mapping at the address of this file? Async-signal-safe; without
 * PROCMAP_QUERY in the kernel the answer is yes. */
int daxpin_vma_is_file(uintptr_t addr, dev_t dev, uint64_t ino);

/* Forget what was opened; in the child of a fork */
void daxpin_vma_fork(void);

/*
 * The answer cache: ranges known to be foreign. epoch is to be read before
 * the query that an insertion rests on: an unmapping in between voids it.
 */
int      daxpin_cache_is_foreign(uintptr_t addr, size_t length);
unsigned daxpin_cache_epoch(void);
void     daxpin_cache_insert(uintptr_t start, uintptr_t end, unsigned epoch);

#endif
