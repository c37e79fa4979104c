/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_DESCRIPTION_H_
#define DAXPIN_DESCRIPTION_H_

/* How the holder of a file gets its open file description, before it takes the
 * lease */

#include <stdint.h>
#include <sys/stat.h>

/* What differs between daxpin_file_open() and daxpin_file_adopt(). Called
 * without daxpin_mutex; path is for messages and the same in all calls. */
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

    /* Allocate the blocks. now: the file before. Return 0, or -errno with a
     * message. */
    int (*fill)(void *arg, const char *path, int fd, const struct stat *now,
                int is_dax);

    /* Undo what the caller did to the file before the election; or NULL. Called
     * if the wait or fill() fails, and not if the file is another one. */
    void (*undo)(void *arg, const char *path);
} daxpin_description_ops_t;

/* Open the description, check that it is of file @a st, wait on DAX until no
 * process truncates the file, and allocate its blocks. Return the descriptor,
 * or -errno with a message. Caller does not hold daxpin_mutex. */
int daxpin_description_get(const char *path, const struct stat *st,
                           uint64_t deadline,
                           const daxpin_description_ops_t *ops, void *arg);

#endif
