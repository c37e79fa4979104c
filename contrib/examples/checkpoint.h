/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Checkpoints of distributed arrays, in windows over files. To be taken into a
 * program as it is: it needs MPI 3.1 and, when it runs, osc_daxpin.
 *
 * Rank R of N has the file NAME.N.R. A file has two slots that are used in
 * turn, so that the last checkpoint stays while the next one is written:
 *
 * 1. data and a table of all parts with their checksums, made durable;
 * 2. when that is so at all ranks, the headers, made durable.
 *
 * A checkpoint is there as soon as one header is. So whenever ranks, the job or
 * the machine are killed, the next job finds the last checkpoint that
 * checkpoint_write() returned for, or the one that it was about to return for.
 *
 * The next job may have another number of ranks. Then it has other files, and
 * the earlier ones go when the first checkpoint is in the new ones, but for
 * those that have no good header: remove these by hand. What a rank restores it
 * reads from files, by their names: with another number of ranks, or from
 * copies, the files have to be in a directory that all nodes see. Each rank
 * looks at the headers of all files that it sees, so that N ranks open N^2 at a
 * start.
 *
 * One job at a time has a checkpoint: until all of its ranks have closed it or
 * ended, NAME.lock is locked, and another job is refused after 10 seconds. The
 * file stays. Never remove it while a job runs.
 *
 * The functions are called by one thread at a time. All but checkpoint_error()
 * are collective, and return the same at all ranks: 0, or -1, when
 * checkpoint_error() says why. Only if MPI itself fails, for instance because a
 * rank has died, they may differ: then ranks that know should end the job
 * (MPI_Abort), for which others may wait.
 */

#ifndef DAXPIN_EXAMPLES_CHECKPOINT_H_
#define DAXPIN_EXAMPLES_CHECKPOINT_H_

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#define CHECKPOINT_NAME_BYTES 32

/* An array that is distributed over the ranks. Each has one block, which may be
 * empty, and begins where that of the rank before ends. */
typedef struct checkpoint_array {
    char     name[CHECKPOINT_NAME_BYTES]; /* this, unit and total are the same
                                           * at all ranks */
    uint64_t unit;  /* bytes of an element */
    uint64_t total; /* elements at all ranks */
    uint64_t first; /* of this rank, in the whole array */
    uint64_t count; /* of this rank */
    void     *data; /* to stay there: each write reads it */
} checkpoint_array_t;

/* Called while this rank writes: bytes that are durable, and of how many */
typedef void (*checkpoint_progress_t)(void *arg, uint64_t done, uint64_t total);

typedef struct checkpoint_options {
    int                   copies;   /* keep one at the right neighbour, too:
                                     * one file may be lost */
    checkpoint_progress_t progress; /* or NULL */
    void                  *arg;     /* of progress */
    uint64_t              before;   /* restore the last version before this one,
                                     * which is damaged; 0: the last one. For
                                     * one start: it gives up what is newer. */
} checkpoint_options_t;

/* What checkpoint_open() found */
typedef struct checkpoint_found {
    uint64_t version; /* 1, 2, ...; 0: there was no checkpoint */
    uint64_t step;    /* as checkpoint_write() was told */
    int      ranks;   /* that wrote it */
    int      copies;  /* parts that were read from a copy */
} checkpoint_found_t;

typedef struct checkpoint checkpoint_t;

/* Look for the last checkpoint, fill the arrays from it, and make the files
 * ready for more. An error has changed no file that has a checkpoint; arrays
 * may have been filled, and checkpoint_p is set to NULL. */
int checkpoint_open(MPI_Comm comm, const char *name,
                    const checkpoint_array_t *arrays, int count,
                    const checkpoint_options_t *options,
                    checkpoint_found_t *found, checkpoint_t **checkpoint_p);

/* Write the arrays. After an error only checkpoint_close() is allowed. */
int checkpoint_write(checkpoint_t *checkpoint, uint64_t step);

int checkpoint_close(checkpoint_t *checkpoint);

/* Return the reason of the last error: of this rank, or of the lowest one that
 * had one. */
const char *checkpoint_error(void);

#endif
