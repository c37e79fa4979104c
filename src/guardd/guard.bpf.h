/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the daemon and its programs in the kernel share. Ends are exclusive. */

#ifndef DAXPIN_GUARD_BPF_H_
#define DAXPIN_GUARD_BPF_H_

#include <linux/types.h>

/* A binary search in GUARD_RANGES_MAX ranges takes GUARD_SEARCH_STEPS steps */
#define GUARD_SEARCH_STEPS 20
#define GUARD_RANGES_MAX   (1u << GUARD_SEARCH_STEPS)

/* Ranges stay guarded for so long after the daemon has died */
#define GUARD_GRACE_MS 20000

/* While it lives it says so each GUARD_BEAT_MS. When it has said nothing for
 * GUARD_SILENCE_MS, nothing is guarded: longer than a client takes to find out,
 * see daxpin_guard_tick() in libdaxpin. */
#define GUARD_BEAT_MS    500
#define GUARD_SILENCE_MS 4500

/* Connections of a user that wait for their first answer, most. The queue of the
 * socket has room for GUARD_BACKLOG of all users. Users are counted by the remainder
 * of their IDs, so that the kernel and the daemon count in the same memory: two users
 * may have one limit. */
#define GUARD_BACKLOG     4096
#define GUARD_WAITING_MAX 512
#define GUARD_SLOTS       16384

/* guard_map_t.owner: whoever owns the file; nobody, whose is not known */
#define GUARD_ANY_OWNER (~0u)
#define GUARD_NO_OWNER  (~0u - 1)

/* guard_map_t.uid of the daemon's own file: calls on it are to learn from */
#define GUARD_LEARN (~0u)

typedef struct guard_range {
    __u64 start;
    __u64 end;
} guard_range_t;

/* The ranges of an inode, in its storage */
typedef struct guard_map {
    __u64 start; /* of the first range */
    __u64 end;   /* of the last one */
    __u32 first; /* index of the first range in `ranges`, sorted, apart */
    __u32 count; /* 0: everything from start to end */
    __u32 uid;   /* of a user that guards it */
    __u32 owner; /* of the file: for a later one nothing is guarded */
} guard_map_t;

#endif
