/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef GUARD_INODE_H_
#define GUARD_INODE_H_

#include "guard.bpf.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/* A file that somebody guards, and the ranges of all who do */
typedef struct guard_inode {
    LIST_ENTRY(guard_inode) link;
    LIST_ENTRY(guard_inode) dirty_link;
    dev_t       dev;
    ino_t       ino;
    int         path_fd;  /* O_PATH: keeps the inode, and no lease from anybody */
    unsigned    refs;
    uid_t       uid;      /* of the last one who came to guard it */
    int         dirty;    /* the kernel does not know all yet */
    int         error;    /* errno value: why it could not be told */
    size_t      count;
    size_t      capacity;
    struct guard_entry *entries; /* sorted by start */
    guard_map_t map;      /* as told to the kernel */
    uint32_t    space;    /* entries of its table that this has */
} guard_inode_t;

/* One range of one client; owner only tells them apart */
typedef struct guard_entry {
    guard_range_t range;
    const void    *owner;
} guard_entry_t;

/* All return 0 or -errno. Nothing reaches the kernel before
 * guard_inodes_publish(). */

/* With one more reference, made if needed from a descriptor of it */
int  guard_inode_get(int fd, uid_t uid, guard_inode_t **inode_p);
void guard_inode_put(guard_inode_t *inode);

/* Already known? No reference. */
guard_inode_t *guard_inode_find(dev_t dev, ino_t ino);

int guard_inode_add(guard_inode_t *inode, const void *owner,
                    const guard_range_t *range);
int guard_inode_remove(guard_inode_t *inode, const void *owner,
                       const guard_range_t *range);
void guard_inode_remove_all(guard_inode_t *inode, const void *owner);

/* Tell the kernel of all that changed; see guard_inode_t.error */
void guard_inodes_publish(void);

#endif
