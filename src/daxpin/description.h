/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_DESCRIPTION_H_
#define DAXPIN_DESCRIPTION_H_

/* How the holder of a file gets its open file description, and fills the file
 * as soon as it has the lease, and not before */

#include "daxpin.h"

#include <stdint.h>
#include <sys/stat.h>

/*
 * No byte, length or block of the file changes before the lease is there. Then,
 * in phase FILLING, the thread that opened the file fills it: without
 * daxpin_mutex, because that may take minutes, and in pieces, because a process
 * may break the lease. That process is let in when the file is as it was, and
 * the lease is taken again. The state is PENDING all the time, and the other
 * processes wait for HELD.
 */

/* What differs between daxpin_file_open() and daxpin_file_adopt(). Called
 * without daxpin_mutex; path is for messages. */
typedef struct daxpin_description_ops {
    /* Return a descriptor that is open for reading and writing, or -errno with
     * a message. st: the file that was elected for, as stat() reported it. */
    int (*open)(void *arg, const char *path, const struct stat *st,
                uint64_t deadline);

    /* The error if the descriptor is of another file than st: an errno value,
     * and the message without the path */
    int        other_error;
    const char *other_message;

    /* Whether fill() adds blocks even if the file is empty */
    int        grows;

    /* Allocate the blocks, with daxpin_description_check() between the pieces.
     * fd: of file. Return 0, or -errno with a message after the file was
     * restored. */
    int (*fill)(void *arg, daxpin_file_t *file, int fd);

    /* Undo what the caller did to the file before the election; or NULL. Called
     * if fill() has failed, under the lease, or the wait before; and not if the
     * file is another one. */
    void (*undo)(void *arg, const char *path);
} daxpin_description_ops_t;

/* For ops->open(): open a file by its path for reading and writing, unless the
 * path leads to another file than st. Wait until the deadline (ns) for another
 * program's lease. Return the descriptor, or -errno with a message. */
int daxpin_description_open(const char *path, const struct stat *st,
                            uint64_t deadline,
                            const daxpin_description_ops_t *ops);

/* Open the description, check that it is of file @a st and on a file system that
 * may be leased, and wait on DAX until no process truncates the file. *fd_p is the
 * descriptor as soon as there is one: the child of a fork has to close it. Return
 * it, or -errno with a message. Caller does not hold daxpin_mutex. */
int daxpin_description_get(const char *path, const struct stat *st,
                           const daxpin_params_t *params, uint64_t deadline,
                           const daxpin_description_ops_t *ops, void *arg,
                           int *fd_p);

/* Wait for the lease, fill the file, and wait until it is HELD. Called by the
 * thread for which daxpin_elect() has called ops->open(). Return 0, or -errno
 * with a message. Caller does not hold daxpin_mutex. */
int daxpin_description_fill(daxpin_file_t *file,
                            const daxpin_description_ops_t *ops, void *arg,
                            uint64_t deadline);

/* For daxpin_space_t: return 0 if the daxpin_file_t @a arg may still be changed;
 * -ECANCELED if the lease was broken in phase FILLING; or another -errno with a
 * message. */
int daxpin_description_check(void *arg);

#endif
