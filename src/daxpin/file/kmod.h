/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_KMOD_H_
#define DAXPIN_KMOD_H_

#include "daxpin/daxpin.h"

/*
 * A pin in the kernel, by the module `daxpin` (src/kmod): the blocks of a
 * range, mapped once more where RDMA devices can register them. Pins of the
 * library share it, since each one in the kernel counts as locked memory.
 */
typedef struct daxpin_kmod_pin {
    unsigned refs;     /* pins of the library that have it */
    int      fd;       /* of the device; -1: nobody waits for news there */
    uint64_t event;    /* of the monitor, for fd; 0: none */
    void     *addr;    /* its mapping; NULL: none */
    size_t   length;   /* of the mapping: whole pages */
    uint64_t offset;   /* of the mapping, in the file */
    int      revoked;  /* the mapping is anonymous memory now */
} daxpin_kmod_pin_t;

/* Is there a device that this process may open, and does the policy want it? */
int daxpin_kmod_is_there(void);

/* Does the policy want none? */
int daxpin_kmod_is_off(void);

/* Pin, if the policy wants it and the device is there. 0, with NULL if it goes
 * without; -errno with a message if it may not. Without daxpin_mutex: may sleep
 * for as long as a reader is let in. */
int daxpin_kmod_pin(daxpin_file_t *file, uint64_t offset, size_t length,
                      daxpin_kmod_pin_t **pin_p);

/* Have the device tell of breaks of the lease, or close it; the mapping keeps
 * the pin. This and the others with daxpin_mutex held. */
void daxpin_kmod_watch(daxpin_kmod_pin_t *pin, int wanted);

/* When the last one does; NULL is nothing */
void daxpin_kmod_unpin(daxpin_kmod_pin_t *pin);

/* At a revoke: unpin, and leave anonymous memory */
void daxpin_kmod_revoke(daxpin_kmod_pin_t *pin);

/* In the child of a fork, which has the descriptor, but not the mapping */
void daxpin_kmod_fork(daxpin_kmod_pin_t *pin);

#endif
