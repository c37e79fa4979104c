/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_SPACE_H_
#define DAXPIN_SPACE_H_

/* Blocks of a file: allocate, fill, cut, and wait for a truncate to end.
 * Nothing here needs a lock; path is for messages. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A range without blocks: whole blocks */
typedef struct daxpin_hole {
    off_t start;
    off_t end;
} daxpin_hole_t;

typedef struct daxpin_holes {
    daxpin_hole_t *list;
    size_t        count;
    size_t        capacity;
} daxpin_holes_t;

/* A range of a file that gets blocks, and what undoes that. The caller sets the
 * first fields, and zero the others. */
typedef struct daxpin_space {
    const char    *path;
    int           fd;       /* open for reading and writing */
    uint64_t      offset;
    uint64_t      end;      /* if the file ends before, it grows to it */
    int           converts; /* convert blocks that were never written, because
                               on DAX the first store would do so in a page
                               fault, which a NIC cannot wait for */
    int           shared;   /* other threads or processes may store to the
                               range meanwhile, or see the new length */
    int           lends;    /* the holder may give the lease back meanwhile, to
                               let another process in */
    /* Called between two pieces of the work, which need a second at most:
     * return 0; or -errno with a message, to stop; or NULL */
    int           (*check)(void *arg);
    void          *arg;     /* of check() */

    off_t         old_size;
    uint64_t      owned;    /* ns, when the lease was last seen whole; 0:
                               never */
    int           grown;    /* the size was changed */
    int           changed;  /* blocks were allocated */
    int           exact;    /* holes have no blocks that were allocated but
                               never written */
    daxpin_holes_t holes;   /* of the range, before */
} daxpin_space_t;

/* Return whether the file is at least @a end bytes long and has no holes. */
int daxpin_space_is_allocated(int fd, uint64_t end);

/* Wait until no process is in a truncate of the file, which is on DAX. The
 * truncate may itself wait for a registration of the file, perhaps of this
 * process; fallocate() would then wait for the truncate without end. Return 0,
 * or -EAGAIN with a message after the deadline (ns). */
int daxpin_space_await_truncate(const char *path, int fd, uint64_t deadline);

/* Allocate the blocks of the range, convert them and grow the file, as wanted.
 * No byte is ever written, so that data stays that another process writes to
 * the range at the same time. Return 0, or -errno with a message after
 * daxpin_space_undo(). The caller frees @a space in both cases. */
int daxpin_space_fill(daxpin_space_t *space);

/* Restore length and holes as they were before daxpin_space_fill(), if no other
 * process can have changed the file since, because of the lease. Otherwise
 * leave everything, and report that. If the range is shared, the length stays,
 * and so do blocks that have data. */
void daxpin_space_undo(daxpin_space_t *space);

/* Free what is needed to undo. */
void daxpin_space_free(daxpin_space_t *space);

/* Cut the file to @a length bytes if it is longer. Return 0 or -errno, without
 * a message, because this may run after an error that has one. */
int daxpin_space_cut(int fd, size_t length);

#endif
