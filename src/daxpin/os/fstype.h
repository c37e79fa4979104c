/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_FSTYPE_H_
#define DAXPIN_FSTYPE_H_

/* What the type of a file system says of its leases and its blocks */

#include <stddef.h>

/*
 * Every type of file system may grant a lease. But a lease notifies daxpin only
 * of the processes that the kernel asks to wait for it: those of this node, that
 * use the same inode. So the types whose files change by these processes alone
 * are listed, and daxpin trusts no other.
 */
typedef struct daxpin_fstype {
    unsigned long magic;   /* as of statfs() */
    const char    *name;   /* NULL: not in the table */
    const char    *why;    /* not trusted: who changes a file unnoticed; NULL:
                              trusted */
    int           counts;  /* st_blocks gets smaller only if the file loses
                              blocks, not by compression or by delay */
} daxpin_fstype_t;

/* Bytes that are enough for daxpin_fstype_name() and daxpin_fstype_explain() */
#define DAXPIN_FSTYPE_TEXT_MAX 512

/* The setting of users who do without; see daxpin(7) */
#define DAXPIN_FSTYPE_ENV "DAXPIN_ANY_FS"

/* Find the type with a magic number. Types that are not in the table are not
 * trusted. */
void daxpin_fstype_find(unsigned long magic, daxpin_fstype_t *type);

/* Find the type of the file system of a descriptor, which may be of O_PATH, or
 * of a path. Return 0, or -errno, and then a type that is not trusted. */
int daxpin_fstype_of_fd(int fd, daxpin_fstype_t *type);
int daxpin_fstype_of_path(const char *path, daxpin_fstype_t *type);

/* Write the name of a type, or its number if it has none. Return @a buffer. */
char *daxpin_fstype_name(const daxpin_fstype_t *type, char *buffer,
                         size_t size);

/* Write why a type is not trusted, and what to do. Return @a buffer. */
char *daxpin_fstype_explain(const daxpin_fstype_t *type, char *buffer,
                            size_t size);

/* Return whether the environment allows types that are not trusted. */
int daxpin_fstype_allows_any(void);

#endif
