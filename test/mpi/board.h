/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_BOARD_H_
#define DAXPIN_TEST_BOARD_H_

/*
 * The board of a truncate storm: memory that the ranks and the intruder share,
 * in a file that daxpin does not lease.
 *
 * The steps of a round are go, in, over, checked. Each has a word with the
 * number of the last round that reached the step. A writer writes its data
 * first, then the word.
 *
 * Every origin puts a stream of records into a slot of its own in the victim's
 * segment of the file: record number s (from 1) is record_bytes of the number
 * s, at place (s - 1) % records of the slot. So every 8 bytes of the file show
 * which record they belong to.
 */

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOARD_STREAMS    16
#define BOARD_SLOT_BYTES (1u << 20) /* of one stream in the file */
#define BOARD_WARM       8          /* records acknowledged before the storm */

typedef enum intrusion {
    INTRUSION_TRUNCATE, /* truncate(2) to some length */
    INTRUSION_O_TRUNC,  /* open, truncating to nothing */
    INTRUSION_OPEN,     /* open for writing */
    INTRUSION_LAST
} intrusion_t;

typedef struct stream {
    _Atomic uint64_t tried; /* last record, set before its put */
    _Atomic uint64_t acked; /* last record whose put and flush succeeded */
    char             pad[48];
} stream_t;

typedef struct board {
    _Atomic uint32_t go;      /* traffic begins; the members below are set */
    _Atomic uint32_t in;      /* the intruder was let in */
    _Atomic uint32_t over;    /* all ranks have closed the file */
    _Atomic uint32_t checked; /* the intruder has checked the file */
    _Atomic uint32_t quit;    /* no more rounds */
    intrusion_t      intrusion;
    uint32_t         streams;
    uint32_t         record_bytes;
    uint64_t         slots_offset; /* in the file, of the victim's slots */
    uint64_t         file_length;
    char             path[4096];
    stream_t         stream[BOARD_STREAMS];
} board_t;

static inline board_t *board_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    void *board;

    if ((fd < 0) || (ftruncate(fd, sizeof(board_t)) != 0)) {
        perror(path);
        exit(1);
    }
    board = mmap(NULL, sizeof(board_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 0);
    close(fd);
    if (board == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return board;
}

#endif
