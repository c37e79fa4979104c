/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The memory that takes the place of a revoked file */

#ifndef DAXPIN_SINK_H_
#define DAXPIN_SINK_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A sink is a sparse memfd, mapped over the ranges of a revoked file again and
 * again. So it needs no address space, does not count as data of the process
 * (RLIMIT_DATA) and is not accounted before a page is touched, and stores into
 * it fill a bounded part of the memory only: DAXPIN_SINK_MIN, or the 1024th of
 * the length if that is more, so that one range has about 1024 mappings at the
 * most. Ranges up to DAXPIN_SINK_MIN are not repeated.
 *
 * Each revoke has a sink of its own, whose memory goes with its last mapping.
 * One more, the reserve, is made when the library starts. It stands in where a
 * revoke cannot make one, and its first page, which has its memory already,
 * takes the place of a page that cannot be had. So do a few mappings that are
 * given up where the process may have no more of them.
 */

#define DAXPIN_SINK_MIN (64ul << 20)

typedef struct daxpin_sink {
    int      fd;     /* -1: none */
    int      own;    /* not the reserve */
    dev_t    dev;
    uint64_t ino;
    uint64_t base;   /* begin of the repeated part */
    uint64_t end;    /* of the repeated part */
    uint64_t next;   /* to be mapped next */
} daxpin_sink_t;

/* Make the reserve if there is none. Where neither a sink nor the reserve can
 * be had, plain anonymous memory stands in. The caller serialises the calls. */
void daxpin_sink_reserve(void);

/* Close the reserve. Called in the child of a fork. */
void daxpin_sink_fork(void);

/* Make a sink for ranges of up to length bytes. Never fails. */
void daxpin_sink_open(daxpin_sink_t *sink, size_t length);

/* Close a sink. Its mappings stay. */
void daxpin_sink_close(daxpin_sink_t *sink);

/* Replace all mappings of a page-aligned range by the sink. Other threads meet
 * the old memory or the new one, never a hole. Return 0, or -errno without a
 * message. */
int daxpin_sink_replace(daxpin_sink_t *sink, void *addr, size_t length,
                        int prot);

/* Do the same for one range that is not of a file. */
int daxpin_sink_replace_range(void *addr, size_t length, int prot);

/* Replace a page, to read and write, by the first page of the reserve: it needs
 * no memory, and may show what was stored by way of other mappings. Return 0 or
 * -errno. A range of several pages is mapped once, to the reserve from its
 * begin. Async-signal-safe, but it may change errno. */
int daxpin_sink_replace_page(uintptr_t addr, size_t size);

/* Return whether a file is the reserve. Async-signal-safe. */
int daxpin_sink_is_reserve(dev_t dev, uint64_t ino);

#endif
