/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Every operation of MPI on a window over a file, compared byte by byte with
 * what the file has then.
 *
 * usage: rma FILE own|shared [big]
 *
 * big: puts and gets up to 64 MiB and nothing else
 */

#define _GNU_SOURCE

#include "../pace.h"
#include "segment.h"

#define SLOT_MAX      (64u << 20)
#define SLOT_SMALL    (2u << 20)
#define MARGIN_BYTES  4096   /* behind a slot's data; must not change */
#define CAS_ROUNDS    50
#define ASLEEP_SEC    (1.5 * pace_slow())
#define ONE_SIDED_SEC (0.5 * pace_slow())
#define LEASE_SEC     (2.0 * pace_slow()) /* from free to its release */

static const size_t small_sizes[] = {1,    2,    3,    4,     7,     8,
                                     9,    15,   64,   255,   1024,  4096,
                                     8191, 8256, 65536, 100001, 1u << 20};
static const size_t big_sizes[]   = {1, 8u << 20, (32u << 20) + 1, 64u << 20};

static segment_t segment;
static MPI_Win win;
static size_t slot_bytes; /* of a slot; each origin has one */
static uint8_t *buffer;

static uint8_t pattern(int origin, int target, size_t length, size_t i)
{
    uint32_t x = (uint32_t)i * 2654435761u;

    x ^= (uint32_t)(length * 40503u) + origin * 977u + target * 131u;
    return x ^ (x >> 11) ^ (x >> 23);
}

/*
 * Ways to begin and end an access
 */
enum { SYNC_FENCE, SYNC_LOCK, SYNC_LOCK_ALL, SYNC_PSCW, SYNC_LAST };

static MPI_Group group_of(int rank)
{
    MPI_Group all, one;

    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_Group_incl(all, 1, &rank, &one);
    MPI_Group_free(&all);
    return one;
}

static void sync_begin(int sync, int origin, int target)
{
    MPI_Group group;

    switch (sync) {
    case SYNC_FENCE:
        MPI_Win_fence(0, win);
        break;
    case SYNC_LOCK:
        MPI_Win_lock(MPI_LOCK_SHARED, target, 0, win);
        break;
    case SYNC_LOCK_ALL:
        MPI_Win_lock_all(0, win);
        break;
    default:
        group = group_of(origin);
        MPI_Win_post(group, 0, win);
        MPI_Group_free(&group);
        group = group_of(target);
        MPI_Win_start(group, 0, win);
        MPI_Group_free(&group);
    }
}

static void sync_end(int sync, int target)
{
    switch (sync) {
    case SYNC_FENCE:
        MPI_Win_fence(MPI_MODE_NOSUCCEED, win);
        break;
    case SYNC_LOCK:
        MPI_Win_unlock(target, win);
        break;
    case SYNC_LOCK_ALL:
        MPI_Win_flush(target, win);
        MPI_Win_unlock_all(win);
        break;
    default:
        MPI_Win_complete(win);
        MPI_Win_wait(win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Move contiguous bytes, or every other byte of twice the length */
static void move(int is_put, int strided, int target, size_t disp,
                 size_t length)
{
    MPI_Datatype type;

    if (strided) {
        MPI_Type_vector(length, 1, 2, MPI_BYTE, &type);
        MPI_Type_commit(&type);
    } else {
        type = MPI_BYTE;
    }

    if (is_put) {
        MPI_Put(buffer, length, MPI_BYTE, target, disp, strided ? 1 : length,
                type, win);
    } else {
        MPI_Get(buffer, length, MPI_BYTE, target, disp, strided ? 1 : length,
                type, win);
    }

    if (strided) {
        MPI_Type_free(&type);
    }
}

/* Put to the rank @a distance behind, check the file, and get */
static void put_and_get(int sync, int distance, int strided, size_t length)
{
    int step      = strided ? 2 : 1;
    int target    = (comm_rank + distance) % comm_size;
    int origin    = (comm_rank + comm_size - distance) % comm_size;
    size_t to     = comm_rank * slot_bytes;
    size_t from   = origin * slot_bytes;
    size_t extent = (length * step) + MARGIN_BYTES;
    uint8_t *file = buffer + slot_bytes;
    size_t i;
    uint8_t want;

    memset(segment.base + from, 0xee, extent);
    for (i = 0; i < length; ++i) {
        buffer[i] = pattern(comm_rank, target, length, i);
    }
    MPI_Barrier(MPI_COMM_WORLD);

    sync_begin(sync, origin, target);
    move(1, strided, target, to, length);
    sync_end(sync, target);

    segment_read(&segment, file, from, extent);
    for (i = 0; i < extent; ++i) {
        want = ((i >= length * step) || ((i % step) != 0)) ?
               0xee : pattern(origin, comm_rank, length, i / step);
        CHECK(file[i] == want, "put of %zu bytes from rank %d by sync %d: "
              "byte %zu is %#x instead of %#x", length, origin, sync, i,
              file[i], want);
    }

    /* Change the data in the file, so that a get has to read the file */
    for (i = 0; i < length; ++i) {
        segment.base[from + (i * step)] ^= 0xff;
    }
    memset(buffer, 0, length);
    MPI_Barrier(MPI_COMM_WORLD);

    sync_begin(sync, origin, target);
    move(0, strided, target, to, length);
    sync_end(sync, target);

    for (i = 0; i < length; ++i) {
        want = pattern(comm_rank, target, length, i) ^ 0xff;
        CHECK(buffer[i] == want, "get of %zu bytes from rank %d by sync %d: "
              "byte %zu is %#x instead of %#x", length, target, sync, i,
              buffer[i], want);
    }
}

/* Put and get with requests */
static void put_and_get_by_request(size_t length)
{
    int target = (comm_rank + 1) % comm_size;
    size_t to  = comm_rank * slot_bytes;
    MPI_Request request;
    size_t i;

    for (i = 0; i < length; ++i) {
        buffer[i] = pattern(comm_rank, target, length, i);
    }
    MPI_Win_lock_all(0, win);
    MPI_Rput(buffer, length, MPI_BYTE, target, to, length, MPI_BYTE, win,
             &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Win_flush(target, win);
    memset(buffer, 0, length);
    MPI_Rget(buffer, length, MPI_BYTE, target, to, length, MPI_BYTE, win,
             &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);

    for (i = 0; i < length; ++i) {
        CHECK(buffer[i] == pattern(comm_rank, target, length, i),
              "rget of %zu bytes from rank %d: byte %zu", length, target, i);
    }
}

/*
 * Atomics. All ranks do the same operation on one word at once; each word is
 * for one combination of type, operation and call. Rank R's operand is 1 << R.
 */
#define OPS 11
#define TYPES 4
#define CALLS 3
#define WORDS (OPS * TYPES * CALLS)

static uint64_t initial_of(int op)
{
    static const uint64_t initial[OPS] = {0, 1, 0x1000, 0, ~0ull, 0, 0,
                                          ~0ull, 1, 0, 0};

    return initial[op];
}

static MPI_Op op_of(int op)
{
    const MPI_Op ops[OPS] = {MPI_SUM,  MPI_PROD, MPI_MIN,  MPI_MAX,
                             MPI_BAND, MPI_BOR,  MPI_BXOR, MPI_REPLACE,
                             MPI_LAND, MPI_LOR,  MPI_NO_OP};

    return ops[op];
}

static uint64_t apply(int op, uint64_t a, uint64_t b)
{
    switch (op) {
    case 0:
        return a + b;
    case 1:
        return a * b;
    case 2:
        return (a < b) ? a : b;
    case 3:
        return (a > b) ? a : b;
    case 4:
        return a & b;
    case 5:
        return a | b;
    case 6:
        return a ^ b;
    case 7:
        return b;
    case 8:
        return a && b;
    case 9:
        return a || b;
    default:
        return a;
    }
}

/* Check the result of all ranks' operations; of REPLACE it is any operand */
static int atomic_is_right(int op, uint64_t mask, uint64_t got)
{
    uint64_t value = initial_of(op) & mask;
    int i;

    for (i = 0; i < comm_size; ++i) {
        if ((op == 7) && (got == (1ull << i))) {
            return 1;
        }
        value = apply(op, value, 1ull << i) & mask;
    }
    return got == value;
}

/* Check what the ranks fetched of a SUM: sums of 0, 1, 2 ... operands */
static void check_fetched(uint64_t fetched, int target)
{
    uint64_t all[64], count[64] = {0};
    int i;

    MPI_Allgather(&fetched, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T,
                  MPI_COMM_WORLD);
    for (i = 0; i < comm_size; ++i) {
        CHECK((all[i] >> comm_size) == 0, "%#lx fetched from rank %d",
              (unsigned long)all[i], target);
        ++count[__builtin_popcountll(all[i])];
    }
    for (i = 0; i < comm_size; ++i) {
        CHECK(count[i] == 1, "%lu ranks fetched a sum of %d operands",
              (unsigned long)count[i], i);
    }
}

static void one_atomic(int target, int op, MPI_Datatype type, size_t width,
                       int call, size_t disp)
{
    uint64_t operand = 1ull << comm_rank;
    uint64_t fetched = 0;

    switch (call) {
    case 0:
        if (op == 10) {
            return; /* MPI_Accumulate has no NO_OP */
        }
        MPI_Accumulate(&operand, 1, type, target, disp, 1, type, op_of(op),
                       win);
        break;
    case 1:
        MPI_Get_accumulate(&operand, 1, type, &fetched, 1, type, target, disp,
                           1, type, op_of(op), win);
        break;
    default:
        MPI_Fetch_and_op(&operand, &fetched, type, target, disp, op_of(op),
                         win);
    }
    MPI_Win_flush(target, win);
    if ((call != 0) && (op == 0)) {
        CHECK((width == 8) || ((fetched >> 32) == 0), "fetched too much");
        check_fetched(fetched, target);
    }
}

static void atomics(void)
{
    const MPI_Datatype types[TYPES] = {MPI_INT32_T, MPI_UINT32_T, MPI_INT64_T,
                                       MPI_UINT64_T};
    uint64_t words[WORDS];
    uint64_t mask;
    size_t width, index;
    int target, op, type, call;

    for (index = 0; index < WORDS; ++index) {
        words[index] = initial_of((index / CALLS) % OPS);
    }
    /* the other half of a 4-byte word must not change */
    memcpy(segment.base, words, sizeof(words));
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Win_lock_all(0, win);
    for (target = 0; target < comm_size; ++target) {
        for (index = 0; index < WORDS; ++index) {
            call  = index % CALLS;
            op    = (index / CALLS) % OPS;
            type  = index / (CALLS * OPS);
            width = (type < 2) ? 4 : 8;
            one_atomic(target, op, types[type], width, call, index * 8);
        }
    }
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);

    segment_read(&segment, words, 0, sizeof(words));
    for (index = 0; index < WORDS; ++index) {
        call = index % CALLS;
        op   = (index / CALLS) % OPS;
        type = index / (CALLS * OPS);
        mask = (type < 2) ? UINT32_MAX : UINT64_MAX;
        CHECK((words[index] & ~mask) == (initial_of(op) & ~mask),
              "word %zu: a 4-byte atomic changed 8 bytes", index);
        if ((call == 0) && (op == 10)) {
            continue;
        }
        CHECK(atomic_is_right(op, mask, words[index] & mask),
              "word %zu (type %d, operation %d, call %d) is %#lx", index, type,
              op, call, (unsigned long)words[index]);
    }
}

/* All ranks count to the same word by compare-and-swap */
static void compare_and_swap(MPI_Datatype type, size_t width, size_t disp)
{
    uint64_t seen = 0, next, old;
    int i;

    memset(segment.base + disp, 0, 8);
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Win_lock_all(0, win);
    for (i = 0; i < CAS_ROUNDS;) {
        next = seen + 1;
        old  = 0;
        MPI_Compare_and_swap(&next, &seen, &old, type, 0, disp, win);
        MPI_Win_flush(0, win);
        i   += (old == seen);
        seen = (old == seen) ? next : old;
    }
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);

    if (comm_rank == 0) {
        segment_read(&segment, &seen, disp, 8);
        CHECK(seen == (uint64_t)CAS_ROUNDS * comm_size,
              "%zu-byte compare-and-swap counted %lu", width,
              (unsigned long)seen);
    }
}

/*
 * The target sleeps outside MPI; emulated RMA would wait until it wakes up.
 * There are no atomics, because osc/ucx locks the target before an atomic.
 */
static void without_target(void)
{
    uint64_t value = 77, got = 0;
    double start;

    memset(segment.base, 0, 64);
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank != 0) {
        usleep(ASLEEP_SEC * 1e6);
    } else {
        MPI_Win_lock(MPI_LOCK_SHARED, 1, MPI_MODE_NOCHECK, win);
        start = now();
        MPI_Put(&value, 8, MPI_BYTE, 1, 0, 8, MPI_BYTE, win);
        MPI_Win_flush(1, win);
        MPI_Get(&got, 8, MPI_BYTE, 1, 0, 8, MPI_BYTE, win);
        MPI_Win_flush(1, win);
        CHECK(now() - start < ONE_SIDED_SEC, "put and get took %.3f s: they "
              "waited for the target", now() - start);
        CHECK(got == value, "got %lu", (unsigned long)got);
        MPI_Win_unlock(1, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void small(void)
{
    const size_t count = sizeof(small_sizes) / sizeof(small_sizes[0]);
    int sync = 0;
    int distance;
    size_t i;

    for (i = 0; i < count; ++i) {
        for (distance = 0; distance < comm_size; ++distance) {
            put_and_get(sync++ % SYNC_LAST, distance, 0, small_sizes[i]);
        }
        if (small_sizes[i] <= 8192) {
            put_and_get(SYNC_LOCK_ALL, 1 % comm_size, 1, small_sizes[i]);
            put_and_get_by_request(small_sizes[i]);
        }
    }

    atomics();
    compare_and_swap(MPI_UINT32_T, 4, 8);
    compare_and_swap(MPI_UINT64_T, 8, 64);
    if (with_daxpin()) {
        without_target();
    }
}

static void big(void)
{
    size_t i;

    for (i = 0; i < sizeof(big_sizes) / sizeof(big_sizes[0]); ++i) {
        put_and_get(SYNC_LOCK_ALL, 1, 0, big_sizes[i]);
    }
}

/* Read the file by its path, when the window and all mappings are gone */
static void read_again(const void *before)
{
    void *after = malloc(segment.length);
    int fd      = open(segment.path, O_RDONLY);

    CHECK((after != NULL) && (fd >= 0), "%s: %m", segment.path);
    CHECK(pread(fd, after, segment.length, segment.offset) ==
                  (ssize_t)segment.length,
          "%s: %m", segment.path);
    CHECK(memcmp(before, after, segment.length) == 0,
          "%s changed when the window was freed", segment.path);
    close(fd);
    free(after);
}

int main(int argc, char **argv)
{
    int is_big, is_shared;
    void *content;
    double end;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &comm_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm_size);
    CHECK(argc >= 3, "usage: rma FILE own|shared [big]");

    is_shared  = (strcmp(argv[2], "shared") == 0);
    is_big     = (argc > 3);
    slot_bytes = (is_big ? SLOT_MAX : SLOT_SMALL) + MARGIN_BYTES;
    buffer     = malloc(2 * slot_bytes);
    CHECK(buffer != NULL, "no memory");

    segment_create(argv[1], is_shared, slot_bytes * comm_size);
    segment_open(&segment, argv[1], is_shared, slot_bytes * comm_size);
    MPI_Win_create(segment.base, segment.length, 1, MPI_INFO_NULL,
                   MPI_COMM_WORLD, &win);
    CHECK(segment_has_lease(&segment) == with_daxpin(),
          "%s: lease %d, daxpin %d", segment.path, segment_has_lease(&segment),
          with_daxpin());

    if (is_big) {
        big();
    } else {
        small();
    }

    content = malloc(segment.length);
    CHECK(content != NULL, "no memory");
    segment_read(&segment, content, 0, segment.length);
    CHECK(segment_has_lease(&segment) == with_daxpin(),
          "%s: the lease was lost", segment.path);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_free(&win);
    /* the holder of a shared file may be another rank, which is slower */
    for (end = now() + LEASE_SEC; segment_has_lease(&segment);) {
        CHECK(now() < end, "%s: a lease without a window", segment.path);
        usleep(1000);
    }
    segment_close(&segment);
    MPI_Barrier(MPI_COMM_WORLD);
    read_again(content);

    free(content);
    free(buffer);
    MPI_Finalize();
    return 0;
}
