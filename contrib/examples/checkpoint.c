/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Checkpoints in a window over files. Each rank's file has two areas: its own
 * checkpoints, and copies of its left neighbour's. An area has two slots, used
 * in turn, and a slot a header that is written when the data is durable; so
 * whenever the job is killed, one slot is whole. At the start each rank looks
 * for its last checkpoint at home and at its right neighbour, and all go on
 * from the last step that everybody has.
 *
 * usage: checkpoint FILE STEPS
 *
 * Rank R has FILE.R. Kill it at any moment, delete one rank's file if you like,
 * and start it again. Exit status 1: a checkpoint was not what it had to be.
 */

#include <inttypes.h>
#include <mpi.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS  8192
#define PAGE   4096
#define MAGIC  0x63686b7074ull

typedef struct header {
    uint64_t magic;
    uint64_t step;
    uint64_t data_sum;
    uint64_t sum; /* of what is before it */
} header_t;

/* Headers and data on pages of their own */
typedef struct slot {
    header_t header;
    char     pad[PAGE - sizeof(header_t)];
    uint64_t data[WORDS];
} slot_t;

typedef struct area {
    slot_t slots[2];
} area_t;

enum { OWN, COPY, AREAS };

static int rank, size, right;
static uint64_t state[WORDS];
static area_t *areas;
static MPI_Win win;

static uint64_t sum_of(const void *data, size_t length)
{
    const unsigned char *byte = data;
    uint64_t sum              = 0xcbf29ce484222325ull;

    while (length-- > 0) {
        sum = (sum ^ *byte++) * 0x100000001b3ull;
    }
    return sum;
}

/* A computation: what a rank has after a step */
static void compute(uint64_t step)
{
    uint64_t i;

    for (i = 0; i < WORDS; ++i) {
        state[i] = (step * 1000003 + rank) * 31 + i;
    }
}

static int is_right(uint64_t step)
{
    uint64_t i;

    for (i = 0; i < WORDS; ++i) {
        if (state[i] != (step * 1000003 + rank) * 31 + i) {
            return 0;
        }
    }
    return 1;
}

static MPI_Aint place(int area, int slot)
{
    return (MPI_Aint)(area * sizeof(area_t) + slot * sizeof(slot_t));
}

static void put(const void *data, size_t length, int target, MPI_Aint where)
{
    MPI_Put(data, (int)length, MPI_BYTE, target, where, (int)length, MPI_BYTE,
            win);
}

/* With daxpin_persist=sync a fence makes what is in the own file durable
 * before it returns; after the barrier that is so everywhere. */
static void make_durable(void)
{
    MPI_Win_fence(0, win);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void checkpoint(uint64_t step)
{
    int slot          = (int)(step % 2);
    const size_t from = offsetof(slot_t, data);
    header_t header   = {.magic = MAGIC, .step = step};

    put(state, sizeof(state), rank, place(OWN, slot) + from);
    put(state, sizeof(state), right, place(COPY, slot) + from);
    make_durable();

    header.data_sum = sum_of(state, sizeof(state));
    header.sum      = sum_of(&header, offsetof(header_t, sum));
    put(&header, sizeof(header), rank, place(OWN, slot));
    put(&header, sizeof(header), right, place(COPY, slot));
    make_durable();
}

static int is_whole(const slot_t *slot)
{
    const header_t *header = &slot->header;

    return (header->magic == MAGIC) &&
           (header->sum == sum_of(header, offsetof(header_t, sum))) &&
           (header->data_sum == sum_of(slot->data, sizeof(slot->data)));
}

/* The last step of which an area has a checkpoint; 0: none */
static uint64_t last_step(const area_t *area)
{
    uint64_t step = 0;
    int i;

    for (i = 0; i < 2; ++i) {
        if (is_whole(&area->slots[i]) &&
            (area->slots[i].header.step > step)) {
            step = area->slots[i].header.step;
        }
    }
    return step;
}

static int restore(const area_t *area, uint64_t step)
{
    const slot_t *slot = &area->slots[step % 2];

    if (!is_whole(slot) || (slot->header.step != step)) {
        return 0;
    }
    memcpy(state, slot->data, sizeof(state));
    return 1;
}

/* Where all can go on. 0: at the beginning. */
static uint64_t restart(void)
{
    area_t *copy = malloc(sizeof(*copy));
    uint64_t step, other;
    const char *from = "its own file";

    if (copy == NULL) {
        MPI_Abort(MPI_COMM_WORLD, 1);
        exit(1);
    }
    MPI_Win_fence(0, win);
    MPI_Get(copy, sizeof(*copy), MPI_BYTE, right, place(COPY, 0),
            sizeof(*copy), MPI_BYTE, win);
    MPI_Win_fence(0, win);

    step  = last_step(&areas[OWN]);
    other = last_step(copy);
    step  = (step > other) ? step : other;
    MPI_Allreduce(MPI_IN_PLACE, &step, 1, MPI_UINT64_T, MPI_MIN,
                  MPI_COMM_WORLD);
    if ((step > 0) && !restore(&areas[OWN], step)) {
        from = "its neighbour's copy";
        if (!restore(copy, step)) {
            from = NULL;
        }
    }
    free(copy);
    if ((step > 0) && ((from == NULL) || !is_right(step))) {
        printf("rank %d: no good checkpoint of step %" PRIu64 "\n", rank,
               step);
        MPI_Abort(MPI_COMM_WORLD, 1);
        exit(1);
    }
    if (step > 0) {
        printf("rank %d: goes on after step %" PRIu64 ", from %s\n", rank,
               step, from);
    } else {
        printf("rank %d: starts at the beginning\n", rank);
    }
    return step;
}

int main(int argc, char **argv)
{
    uint64_t step, steps;
    char path[MPI_MAX_INFO_VAL];
    MPI_Info info;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE STEPS\n", argv[0]);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    right = (rank + 1) % size;
    steps = strtoull(argv[2], NULL, 10);

    snprintf(path, sizeof(path), "%s.%%r", argv[1]);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    MPI_Info_set(info, "daxpin_persist", "sync");
    MPI_Win_allocate(AREAS * sizeof(area_t), 1, info, MPI_COMM_WORLD, &areas,
                     &win);
    MPI_Info_free(&info);

    step = restart();
    while (step < steps) {
        compute(++step);
        checkpoint(step);
    }
    printf("rank %d: done with step %" PRIu64 "\n", rank, step);
    MPI_Win_free(&win);
    MPI_Finalize();
    return 0;
}
