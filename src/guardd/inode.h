/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* An inode: a guarded file, and the ranges of all its clients */

#ifndef GUARD_INODE_H_
#define GUARD_INODE_H_

#include "guard.bpf.h"
#include "stranger.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

typedef struct guard_inode {
    LIST_ENTRY(guard_inode) link;
    LIST_ENTRY(guard_inode) dirty_link;
    dev_t       dev;
    ino_t       ino;
    int         path_fd;  /* O_PATH: keeps the inode, but no lease */
    unsigned    refs;
    uid_t       uid;      /* of the newest client */
    uid_t       shown;    /* owner of the file, as path_fd shows it */
    uid_t       owner;    /* owner, as the kernel has it */
    int         is_new;   /* the owner: clients are to be checked */
    int         is_roots; /* one of its clients was the superuser's */
    int         dirty;    /* the kernel does not have all ranges yet */
    int         error;    /* errno value of the last update */
    size_t      count;
    size_t      capacity;
    struct guard_entry *entries; /* sorted by start */
    guard_map_t map;      /* as the kernel has it */
    uint32_t    space;    /* number of entries in the kernel's table */
} guard_inode_t;

/* One range of one client; owner identifies the client */
typedef struct guard_entry {
    guard_range_t range;
    const void    *owner;
} guard_entry_t;

/* All return 0 or -errno. Nothing reaches the kernel before
 * guard_inodes_publish(). */

/* Find or create the inode, and take a reference. Takes path_fd. owner: as the kernel
 * has it; uid: of the client. */
int  guard_inode_get(int path_fd, const guard_proof_t *proof, uid_t owner,
                     uid_t uid, guard_inode_t **inode_p);
void guard_inode_put(guard_inode_t *inode);

/* Find an inode; NULL if it is not guarded. Takes no reference. */
guard_inode_t *guard_inode_find(dev_t dev, ino_t ino);

/* Both sort the ranges. They move each entry once, however many ranges there are,
 * because clients send hundreds at a time. The first adds all or none; the second
 * returns how many were there. */
int    guard_inode_add(guard_inode_t *inode, const void *owner,
                       guard_range_t *ranges, size_t count);
size_t guard_inode_remove(guard_inode_t *inode, const void *owner,
                          guard_range_t *ranges, size_t count);
void guard_inode_remove_all(guard_inode_t *inode, const void *owner);

/* Look at the owners of all files, and set guard_inode_t.is_new. */
void guard_inodes_check(void);

/* Guard them for their new owners. */
void guard_inodes_accept(void);

/* Update all changed inodes in the kernel, and set guard_inode_t.error. */
void guard_inodes_publish(void);

#endif
