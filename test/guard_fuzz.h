/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Messages for the guard daemon that are valid, nearly valid, or not at all. For
 * test/unit/test_guardd.c and test/vm/guardd_fuzz.c.
 */

#ifndef GUARD_FUZZ_H_
#define GUARD_FUZZ_H_

#include "wire/guardd.h"

#include <string.h>

#define GUARD_FUZZ_PAGE 4096
#define GUARD_FUZZ_MOST (16 * sizeof(daxpin_guard_message_t)) /* bytes */

typedef union guard_fuzz {
    daxpin_guard_message_t message;
    unsigned char          bytes[GUARD_FUZZ_MOST];
} guard_fuzz_t;

/* Return a random number less than `sides`, which is not 0. */
static inline uint32_t guard_fuzz_dice(uint64_t *state, uint32_t sides)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33) % sides;
}

/* Return the place of a page of a small file, an edge case, or any number. */
static inline uint64_t guard_fuzz_place(uint64_t *state)
{
    static const uint64_t edges[] = {0, 1, GUARD_FUZZ_PAGE - 1, 1ull << 31,
                                     1ull << 32, INT64_MAX, 1ull << 63,
                                     UINT64_MAX};

    switch (guard_fuzz_dice(state, 16)) {
    case 0:
        return ((uint64_t)guard_fuzz_dice(state, UINT32_MAX) << 32) |
               guard_fuzz_dice(state, UINT32_MAX);
    case 1:
        return edges[guard_fuzz_dice(state, 8)];
    default:
        return (uint64_t)guard_fuzz_dice(state, 32) * GUARD_FUZZ_PAGE;
    }
}

static inline uint32_t guard_fuzz_count(uint64_t *state)
{
    switch (guard_fuzz_dice(state, 16)) {
    case 0:
        return 0;
    case 1:
        return DAXPIN_GUARD_RANGES;
    default:
        return 1 + guard_fuzz_dice(state, 4);
    }
}

/* Make a valid message of a type. Return its length. */
static inline size_t guard_fuzz_valid(uint64_t *state, unsigned type,
                                      guard_fuzz_t *fuzz)
{
    daxpin_guard_message_t *message = &fuzz->message;
    uint32_t i;

    memset(message, 0, sizeof(*message));
    message->head.magic   = DAXPIN_GUARD_MAGIC;
    message->head.version = (uint16_t)(DAXPIN_GUARD_OLDEST +
                                       guard_fuzz_dice(state, 2));
    message->head.type    = (uint16_t)type;
    if ((type == DAXPIN_GUARD_ADD) || (type == DAXPIN_GUARD_REMOVE)) {
        message->head.count = guard_fuzz_count(state);
    }
    for (i = 0; i < message->head.count; ++i) {
        message->ranges[i].start = guard_fuzz_place(state);
        message->ranges[i].end   = guard_fuzz_dice(state, 8) ?
                                           message->ranges[i].start +
                                                   GUARD_FUZZ_PAGE :
                                           guard_fuzz_place(state);
    }
    return DAXPIN_GUARD_SIZE(message->head.count);
}

/* Spoil a message. Return its length. */
static inline size_t guard_fuzz_spoil(uint64_t *state, guard_fuzz_t *fuzz,
                                      size_t length)
{
    static const uint32_t counts[] = {1, DAXPIN_GUARD_RANGES,
                                      DAXPIN_GUARD_RANGES + 1, 1u << 28,
                                      (1u << 28) - 1, 1u << 31, UINT32_MAX};
    daxpin_guard_head_t *head = &fuzz->message.head;
    size_t i;

    switch (guard_fuzz_dice(state, 9)) {
    case 0:
        head->magic = guard_fuzz_dice(state, UINT32_MAX);
        return length;
    case 1:
        head->version = guard_fuzz_dice(state, 2) ?
                                (uint16_t)guard_fuzz_dice(state, 4) :
                                (uint16_t)guard_fuzz_dice(state, 1u << 16);
        return length;
    case 2:
        head->type = guard_fuzz_dice(state, 2) ?
                             (uint16_t)guard_fuzz_dice(state, 8) :
                             (uint16_t)guard_fuzz_dice(state, 1u << 16);
        return length;
    case 3:
        head->count = counts[guard_fuzz_dice(state, 7)];
        return length;
    case 4:
        return guard_fuzz_dice(state, (uint32_t)length); /* Or nothing at all */
    case 5:
        return length + guard_fuzz_dice(state, (uint32_t)(GUARD_FUZZ_MOST -
                                                          length));
    case 6:
        fuzz->bytes[guard_fuzz_dice(state, (uint32_t)length)] ^=
                (unsigned char)(1 + guard_fuzz_dice(state, 255));
        return length;
    case 7:
        head->count = DAXPIN_GUARD_RANGES + 1; /* And all of them are there */
        return DAXPIN_GUARD_SIZE(DAXPIN_GUARD_RANGES + 1);
    default:
        length = guard_fuzz_dice(state, 256);
        for (i = 0; i < length; ++i) {
            fuzz->bytes[i] = (unsigned char)guard_fuzz_dice(state, 256);
        }
        return length;
    }
}

/* Make a message, spoiled now and then. Return its length. */
static inline size_t guard_fuzz_make(uint64_t *state, guard_fuzz_t *fuzz)
{
    static const unsigned types[] = {DAXPIN_GUARD_ADD,    DAXPIN_GUARD_ADD,
                                     DAXPIN_GUARD_ADD,    DAXPIN_GUARD_REMOVE,
                                     DAXPIN_GUARD_REMOVE, DAXPIN_GUARD_HELLO,
                                     DAXPIN_GUARD_HELLO,  DAXPIN_GUARD_FILE};
    size_t length = guard_fuzz_valid(state, types[guard_fuzz_dice(state, 8)],
                                     fuzz);

    return guard_fuzz_dice(state, 8) ? length :
                                       guard_fuzz_spoil(state, fuzz, length);
}

#endif
