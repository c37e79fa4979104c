/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The memory that the adversary and its victims share, in a file that daxpin
 * does not use. Each word holds the number of the last round that reached it.
 */

#ifndef DAXPIN_TEST_ADVERSARY_H_
#define DAXPIN_TEST_ADVERSARY_H_

#include "result.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define MEMBERS_MAX  16
#define FILE_BYTES   (1u << 20)
#define RECORD_BYTES 4096u

/* What a member reports; its bytes in the file are 0x80 and its number */
#define MEMBER_BYTE  0x80

typedef struct member {
    _Atomic pid_t    pid;
    _Atomic uint32_t ready;   /* it puts */
    _Atomic uint32_t gone;    /* it has released the file */
    _Atomic uint64_t acked;   /* puts of this round that succeeded */
    _Atomic uint64_t refused; /* puts of this round that did not */
    _Atomic int      caught;  /* the library met a SIGBUS, ever */
    char             why[512];
} member_t;

typedef struct board {
    _Atomic uint32_t round;    /* begins; what follows is set */
    _Atomic uint32_t stop;     /* ends */
    _Atomic uint32_t quit;
    _Atomic int      holder;   /* the number of the member that is the holder */
    _Atomic int      failed;   /* a member failed: see why */
    uint32_t         members;
    int              on_break; /* daxpin_on_break_t */
    int              blocks;   /* the members block all signals */
    char             path[PATH_MAX];
    member_t         member[MEMBERS_MAX];
} board_t;

static inline board_t *board_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *board;

    if ((fd < 0) || (ftruncate(fd, sizeof(board_t)) != 0)) {
        perror(path);
        exit(2);
    }
    board = mmap(NULL, sizeof(board_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 0);
    if (board == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    return board;
}

/* The next round after this one, or 0: there is none any more */
static inline uint32_t board_await_round(board_t *board, uint32_t last)
{
    uint32_t round;

    while ((round = atomic_load(&board->round)) == last) {
        if (atomic_load(&board->quit)) {
            return 0;
        }
        pause_ms(1);
    }
    return round;
}

static inline int board_is_over(const board_t *board, uint32_t round)
{
    return (atomic_load(&board->stop) >= round) || atomic_load(&board->quit);
}

/* Cheap and different for every member */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
