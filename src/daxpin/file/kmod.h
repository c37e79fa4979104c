/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_KMOD_H_
#define DAXPIN_KMOD_H_

/* The client of the pin module (src/kmod) */

#include "daxpin/daxpin.h"

/*
 * A kernel pin keeps the blocks of a range. RDMA devices can register a mapping
 * of the module's device, which shows them, or a dma-buf of them; which one
 * depends on the kernel. Pins of the library share a kernel pin, because each
 * kernel pin counts as locked memory.
 */
typedef struct daxpin_kmod_pin {
    unsigned refs;     /* pins of the library that share it */
    int      fd;       /* of the device; -1: closed */
    uint64_t event;    /* of the loop, for fd; 0: none */
    void     *addr;    /* of the mapping of the device; NULL: none */
    int      dmabuf;   /* -1: none, or closed */
    size_t   length;   /* of what is pinned: whole pages */
    uint64_t offset;   /* of what is pinned, in the file */
    int      revoked;  /* the mapping is anonymous memory now */
} daxpin_kmod_pin_t;

/* Return whether the policy allows the pin module, and this process may open
 * its device. Needs no lock. */
int daxpin_kmod_is_available(void);

/* Return whether the policy forbids the pin module. Needs no lock. */
int daxpin_kmod_is_off(void);

/* Return a part of a number of seconds, fs.lease-break-time, in milliseconds, and
 * no more than the module takes; 0: that, because no lease expires. Needs no
 * lock. */
unsigned daxpin_kmod_grace(unsigned break_time, unsigned part);

/* Return whether devices can register the kernel pin: it is not revoked, and not
 * one of the parent. */
int daxpin_kmod_is_live(const daxpin_kmod_pin_t *pin);

/* Pin a range in the kernel, if the policy allows it and the device is there.
 * Return 0, with NULL if the range goes without; or -errno with a message, if
 * the policy requires the pin. Caller does not hold daxpin_mutex: may sleep for
 * as long as a reader is let in. */
int daxpin_kmod_pin(daxpin_file_t *file, uint64_t offset, size_t length,
                    daxpin_kmod_pin_t **pin_p);

/* Have the device report breaks of the lease to the loop, if wanted;
 * otherwise close the device, if its mapping keeps the kernel pin. Caller holds
 * daxpin_mutex. */
void daxpin_kmod_watch(daxpin_kmod_pin_t *pin, int wanted);

/* Drop a reference; the last one ends the kernel pin. NULL does nothing. Caller
 * holds daxpin_mutex. */
void daxpin_kmod_unpin(daxpin_kmod_pin_t *pin);

/* End the kernel pin at a revoke, and leave anonymous memory in the place of
 * the mapping of the device. A dma-buf is taken from devices, which takes them
 * a moment; a truncate waits for that in the kernel. If later, devices keep it
 * until they give it back, but no longer than fs.lease-break-time, or a minute.
 * Caller holds daxpin_mutex. */
void daxpin_kmod_revoke(daxpin_kmod_pin_t *pin, int later);

/* Forget the kernel pin in the child of a fork, which inherits the descriptor,
 * but not its mapping. Caller holds daxpin_mutex. */
void daxpin_kmod_fork(daxpin_kmod_pin_t *pin);

#endif
