/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What is mapped at an address, and a cache of what is known about ranges */

#ifndef DAXPIN_VMA_H_
#define DAXPIN_VMA_H_

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One mapping of this process, as the kernel reports it. dev is the
 * number of the file system, which on btrfs and overlayfs differs from that of
 * fstat(). */
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

/* Return the mapping at an address or, if nothing is mapped there, the next one
 * above: 0; -ENOENT if there is none; or another negative errno if that cannot
 * be found out, because no descriptor is left or there is no /proc. Memory
 * without a file may have no path then. Thread-safe. */
int daxpin_vma_query(uintptr_t addr, daxpin_vma_t *vma);

typedef int (*daxpin_vma_func_t)(const daxpin_vma_t *vma, void *arg);

/* Call func for all mappings, by address, in one pass, until func returns
 * non-zero. Return func's last result, 0 or -errno. func may replace the
 * mapping that it gets. Thread-safe. */
int daxpin_vma_for_each(daxpin_vma_func_t func, void *arg);

/* Do the same for a maps file: /proc/<pid>/maps. Thread-safe. */
int daxpin_vma_read(const char *maps, daxpin_vma_func_t func, void *arg);

/* A mapping without its name, for callers that must not allocate */
typedef struct daxpin_piece {
    uintptr_t start;
    uintptr_t end;
    uint64_t  offset;
    dev_t     dev;
    uint64_t  ino;    /* 0: no file */
    int       prot;
    int       shared;
} daxpin_piece_t;

/* Do what daxpin_vma_query() does, also where nothing can be allocated or
 * opened any more. Async-signal-safe, but it may change errno. */
int daxpin_vma_find(uintptr_t addr, daxpin_piece_t *piece);

typedef int (*daxpin_piece_func_t)(const daxpin_piece_t *piece, void *arg);

/* Do what daxpin_vma_for_each() does, also where nothing can be allocated or
 * opened any more. Async-signal-safe, but it may change errno. */
int daxpin_vma_scan(daxpin_piece_func_t func, void *arg);

/* Do the same, for shared mappings at least: the kernel skips the others where
 * it can, since Linux 6.11. func may get a mapping, or what it has put in its
 * place, a second time, and has to look whether it is shared. */
int daxpin_vma_scan_shared(daxpin_piece_func_t func, void *arg);

/* Replace all mappings of a page-aligned range by anonymous memory, private if
 * the limits of the process allow it, in one step as seen by other threads.
 * flags: MAP_NORESERVE for a range that may be large and is hardly touched, so
 * that it does not count against the limit of memory; 0 for memory that is
 * about to be written. Return 0 or -errno, without a message.
 * Async-signal-safe, but it may change errno. */
int daxpin_vma_replace(void *addr, size_t length, int prot, int flags);

/* Replace all mappings of a page-aligned range by addresses that may not be
 * accessed: a load or store there is SIGSEGV. Return 0 or -errno, without a
 * message. Async-signal-safe, but it may change errno. */
int daxpin_vma_forbid(void *addr, size_t length);

/* Close what was opened. Called in the child of a fork. */
void daxpin_vma_fork(void);

/*
 * The cache has two answers about a range: foreign, that is all of it is memory
 * that daxpin_file_adopt() leaves alone; and fsdax, that is a mapping of a file
 * on fsdax is in it. A range without an answer is unknown. Both answers are
 * enabled and forgotten together, see daxpin_cache_enable() and
 * daxpin_cache_forget() in daxpin.h.
 */

/* Check whether all of the range is known to be foreign */
int daxpin_cache_is_foreign(uintptr_t addr, size_t length);

/* Check whether some of the range is known to be fsdax */
int daxpin_cache_is_fsdax(uintptr_t addr, size_t length);

/* Return the epoch, which every unmapping changes. Read the epoch before the
 * query that an insertion rests on: an unmapping in between voids the
 * insertion. */
unsigned daxpin_cache_epoch(void);

/* Insert a range that is foreign */
void daxpin_cache_insert(uintptr_t start, uintptr_t end, unsigned epoch);

/* Insert a mapping of an fsdax file */
void daxpin_cache_insert_fsdax(uintptr_t start, uintptr_t end, unsigned epoch);

#endif
