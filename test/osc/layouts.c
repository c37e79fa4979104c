/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Puts, gets and accumulates with random derived types: vectors, blocks at any
 * place, types within types, pieces before the displacement, and extents that
 * are negative. What they should do is done on a copy by MPI_Pack() and
 * MPI_Unpack(), and compared after each round.
 *
 * usage: layouts KIND PATH ROUNDS, as in window.h
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

#define SIZE   65536
#define MIDDLE 32768 /* displacement of all operations */
#define PIECES 6     /* at most, of a type */
#define STEP   24    /* bytes, at most, from a piece to the next */
#define COUNT  3     /* elements, at most */
#define BYTES  16384 /* of an operation, at most */

static window_t window;
static MPI_Win win;
static int left, right;

static int random_below(unsigned *seed, int below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (int)((*seed >> 16) % (unsigned)below);
}

/*
 * Types. No byte of a type is there twice.
 */

static MPI_Datatype random_base(unsigned *seed)
{
    const MPI_Datatype bases[] = {MPI_INT64_T, MPI_DOUBLE, MPI_INT, MPI_SHORT};

    return bases[random_below(seed, 4)];
}

static MPI_Aint span_of(MPI_Datatype type)
{
    MPI_Aint lb, extent;

    MPI_Type_get_true_extent(type, &lb, &extent);
    return extent;
}

static MPI_Datatype replace(MPI_Datatype old, MPI_Datatype new)
{
    int integers, addresses, types, combiner;

    MPI_Type_get_envelope(old, &integers, &addresses, &types, &combiner);
    if (combiner != MPI_COMBINER_NAMED) {
        MPI_Type_free(&old);
    }
    return new;
}

static MPI_Datatype random_vector(unsigned *seed, MPI_Datatype inner)
{
    int block  = 1 + random_below(seed, 3);
    int stride = block + random_below(seed, 4);
    MPI_Datatype type;

    MPI_Type_vector(1 + random_below(seed, PIECES), block,
                    random_below(seed, 2) ? stride : -stride, inner, &type);
    return replace(inner, type);
}

static MPI_Datatype random_blocks(unsigned *seed, MPI_Datatype inner)
{
    int block = 1 + random_below(seed, 3);
    int count = 1 + random_below(seed, PIECES);
    int where[PIECES], lengths[PIECES], next = random_below(seed, 9) - 4, i;
    MPI_Datatype type;

    for (i = 0; i < count; ++i) {
        lengths[i] = 1 + random_below(seed, block);
        where[i]   = next;
        next      += block + random_below(seed, 3);
    }
    if (random_below(seed, 2)) {
        MPI_Type_create_indexed_block(count, block, where, inner, &type);
    } else {
        MPI_Type_indexed(count, lengths, where, inner, &type);
    }
    return replace(inner, type);
}

static MPI_Datatype random_hindexed(unsigned *seed, MPI_Datatype inner)
{
    int count     = 1 + random_below(seed, PIECES);
    MPI_Aint next = random_below(seed, 64) - 32;
    MPI_Aint where[PIECES];
    int lengths[PIECES], i;
    MPI_Datatype type;

    for (i = 0; i < count; ++i) {
        lengths[i] = 1;
        where[i]   = next;
        next      += span_of(inner) + random_below(seed, STEP);
    }
    if (random_below(seed, 2)) {
        MPI_Type_create_hindexed(count, lengths, where, inner, &type);
    } else {
        MPI_Type_create_hindexed_block(count, 1, where, inner, &type);
    }
    return replace(inner, type);
}

/* Change the extent, so that several elements do not overlap */
static MPI_Datatype spread(unsigned *seed, MPI_Datatype inner)
{
    MPI_Aint extent = span_of(inner) + random_below(seed, STEP);
    MPI_Datatype type;

    MPI_Type_create_resized(inner, random_below(seed, 17) - 8,
                            random_below(seed, 3) ? extent : -extent, &type);
    return replace(inner, type);
}

static MPI_Datatype random_type(unsigned *seed, MPI_Datatype base)
{
    MPI_Datatype type = base;
    int depth         = random_below(seed, 3);

    do {
        switch (random_below(seed, 3)) {
        case 0:
            type = random_vector(seed, type);
            break;
        case 1:
            type = random_blocks(seed, type);
            break;
        default:
            type = random_hindexed(seed, type);
            break;
        }
        type = spread(seed, type);
    } while (depth-- > 0);
    MPI_Type_commit(&type);
    return type;
}

/*
 * Operations
 */

typedef struct operation {
    MPI_Datatype base;
    MPI_Datatype type;   /* at the target */
    int          count;
    int          number; /* of base, in all */
    int          bytes;
    int          call;
    MPI_Op       op;
    char         data[BYTES];
} operation_t;

/* Two ranks make the same operation from the same seed. Return 0 if it would
 * leave the window. */
static int operation_make(operation_t *operation, unsigned seed)
{
    MPI_Aint lb, extent, true_lb, span;
    int size, each, i;

    operation->base  = random_base(&seed);
    operation->type  = random_type(&seed, operation->base);
    operation->count = 1 + random_below(&seed, COUNT);
    operation->call  = random_below(&seed, 5);
    operation->op    = random_below(&seed, 4) ? MPI_SUM : MPI_REPLACE;
    MPI_Type_size(operation->type, &size);
    MPI_Type_size(operation->base, &each);
    operation->bytes  = size * operation->count;
    operation->number = operation->bytes / each;
    MPI_Type_get_extent(operation->type, &lb, &extent);
    MPI_Type_get_true_extent(operation->type, &true_lb, &span);
    if (extent < 0) {
        true_lb += extent * (operation->count - 1);
    }
    if ((operation->bytes > BYTES) || (MIDDLE + true_lb < 0) ||
        (MIDDLE + true_lb + span + labs(extent) * operation->count > SIZE)) {
        MPI_Type_free(&operation->type);
        return 0;
    }
    for (i = 0; i < operation->bytes; ++i) {
        operation->data[i] = 0;
    }
    for (i = 0; i < operation->number; ++i) { /* small numbers of any type */
        operation->data[i * each] = (char)(1 + random_below(&seed, 9));
    }
    return 1;
}

static void operation_do(const operation_t *operation, char *result)
{
    const int number = operation->number;

    switch (operation->call) {
    case 0:
        check_mpi(MPI_Put(operation->data, number, operation->base, right,
                          MIDDLE, operation->count, operation->type, win),
                  "put");
        break;
    case 1:
        check_mpi(MPI_Accumulate(operation->data, number, operation->base,
                                 right, MIDDLE, operation->count,
                                 operation->type, operation->op, win),
                  "accumulate");
        break;
    case 2:
        check_mpi(MPI_Get(result, number, operation->base, right, MIDDLE,
                          operation->count, operation->type, win), "get");
        break;
    default:
        check_mpi(MPI_Get_accumulate(operation->data, number, operation->base,
                                     result, number, operation->base, right,
                                     MIDDLE, operation->count, operation->type,
                                     operation->op, win), "get_accumulate");
        break;
    }
}

/* Do to a copy what the operation does to the target. result: what it gets */
static void operation_model(const operation_t *operation, char *copy,
                            char *result)
{
    char *at = copy + MIDDLE;
    static char sum[BYTES];
    int position = 0;

    MPI_Pack(at, operation->count, operation->type, result, BYTES, &position,
             MPI_COMM_SELF);
    check(position == operation->bytes, "packed %d of %d bytes", position,
          operation->bytes);
    if (operation->call == 2) {
        return;
    }
    memcpy(sum, (operation->call == 0) || (operation->op == MPI_REPLACE) ?
                        operation->data : result, operation->bytes);
    if ((operation->call != 0) && (operation->op == MPI_SUM)) {
        MPI_Reduce_local(operation->data, sum, operation->number,
                         operation->base, MPI_SUM);
    }
    position = 0;
    MPI_Unpack(sum, operation->bytes, &position, at, operation->count,
               operation->type, MPI_COMM_SELF);
}

/* The seed of a rank's operation in a round */
static unsigned seed_of(int rank, int round)
{
    return (unsigned)(round * 64 + rank) * 2654435761u + 1;
}

/* The left neighbour's operation on this rank's memory, and this rank's on the
 * right neighbour's. Return whether there was one. */
static int test_round(int round, char *mine, char *theirs)
{
    static operation_t operation;
    static char result[BYTES], wanted[BYTES];
    int done = 0;

    memset(result, 0, sizeof(result));
    memset(wanted, 0, sizeof(wanted));
    check_mpi(MPI_Win_fence(0, win), "fence");
    if (operation_make(&operation, seed_of(check_rank, round))) {
        operation_do(&operation, result);
        check_mpi(MPI_Win_fence(0, win), "fence");
        operation_model(&operation, theirs, wanted);
        check((operation.call < 2) ||
                      (memcmp(result, wanted, operation.bytes) == 0),
              "round %d, call %d: what was got is wrong", round,
              operation.call);
        MPI_Type_free(&operation.type);
        done = 1;
    } else {
        check_mpi(MPI_Win_fence(0, win), "fence");
    }
    if (operation_make(&operation, seed_of(left, round))) {
        operation_model(&operation, mine, wanted);
        MPI_Type_free(&operation.type);
    }
    check(memcmp(window.base, mine, SIZE) == 0, "round %d: call %d of rank %d "
          "has done something else", round, operation.call, left);
    return done;
}

int main(int argc, char **argv)
{
    static char mine[SIZE], theirs[SIZE];
    int round, rounds, done = 0;

    check_init(&argc, &argv);
    check(argc == 4, "usage: layouts KIND PATH ROUNDS");
    rounds = atoi(argv[3]);
    right  = (check_rank + 1) % check_size;
    left   = (check_rank + check_size - 1) % check_size;
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 1, .info = MPI_INFO_NULL};
    check_mpi(window_open(&window), "window");
    win = window.win;
    memset(window.base, 0, SIZE);
    for (round = 0; round < rounds; ++round) {
        done += test_round(round, mine, theirs);
    }
    check(done > rounds / 2, "only %d of %d rounds had an operation", done,
          rounds);
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, win), "fence");
    window_close(&window);
    MPI_Finalize();
    return 0;
}
