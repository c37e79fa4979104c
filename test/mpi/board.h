/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_BOARD_H_
#define DAXPIN_TEST_BOARD_H_

/*
 * What ranks and intruder of a truncate storm tell each other: memory they
 * share, in a file that is none of daxpin's business.
 *
 * A round goes go -> in -> over -> checked; each word holds the number of the
 * last round that got there. A writer writes its data first, then the word.
 *
 * Every origin puts a stream of records into a slot of its own in the victim's
 * part of the file: record number s (from 1) is record_bytes of the number s,
 * and lies at place (s - 1) % records of the slot. So whoever reads the file
 * can tell from every 8 bytes which record they are of.
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
    _Atomic uint64_t tried; /* last record ever put, before it was */
    _Atomic uint64_t acked; /* last record whose put and flush succeeded */
    char             pad[48];
} stream_t;

typedef struct board {
    _Atomic uint32_t go;      /* traffic is beginning; what follows is set */
    _Atomic uint32_t in;      /* the intruder was let in */
    _Atomic uint32_t over;    /* no rank has the file any more */
    _Atomic uint32_t checked; /* the intruder has looked through the file */
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
