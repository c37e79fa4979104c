/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * All ranks accumulate at the same words of the last rank, by all calls and
 * with types and counts that take different ways through osc_daxpin: nothing is
 * lost, of whatever way.
 *
 * usage: words KIND PATH TURNS
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

#define SIZE  65536
#define WORDS 3 /* a counter, one that no operation changes, a token */

typedef union number {
    uint64_t u64;
    int32_t  i32;
    double   real;
    float    single;
} number_t;

static window_t window;
static int last, turns;
static MPI_Datatype type, pair;
static int is_integer;
static MPI_Aint first; /* displacement of the words of this type */

static number_t number(double value)
{
    number_t result = {0};

    if (type == MPI_UINT64_T) {
        result.u64 = (uint64_t)value;
    } else if (type == MPI_INT32_T) {
        result.i32 = (int32_t)value;
    } else if (type == MPI_DOUBLE) {
        result.real = value;
    } else {
        result.single = (float)value;
    }
    return result;
}

static double value_of(const void *bytes)
{
    number_t from;

    memcpy(&from, bytes, sizeof(from));
    return (type == MPI_UINT64_T) ? (double)from.u64 :
           (type == MPI_INT32_T)  ? from.i32 :
           (type == MPI_DOUBLE)   ? from.real : from.single;
}

static MPI_Aint at(int word)
{
    int size;

    MPI_Type_size(type, &size);
    return window_disp(&window, last, first + word * size);
}

static double fetch(double operand, int word, MPI_Op op)
{
    const number_t value = number(operand);
    number_t was         = {0};

    check_mpi(MPI_Fetch_and_op(&value, &was, type, last, at(word), op,
                               window.win), "fetch_and_op");
    check_mpi(MPI_Win_flush(last, window.win), "flush");
    return value_of(&was);
}

/* Add 1 to the counter, and 0 to the words behind */
static void add_all(void)
{
    char values[WORDS * sizeof(number_t)] = "";
    const number_t one                    = number(1);

    memcpy(values, &one, sizeof(one));
    check_mpi(MPI_Accumulate(values, WORDS - 1, type, last, at(0), WORDS - 1,
                             type, MPI_SUM, window.win), "accumulate, words");
}

static void add_one(void)
{
    const number_t one = number(1);

    check_mpi(MPI_Accumulate(&one, 1, type, last, at(0), 1, type, MPI_SUM,
                             window.win), "accumulate");
}

/* The same with a derived type, and a result */
static void add_derived(void)
{
    char values[2 * sizeof(number_t)] = "", were[2 * sizeof(number_t)];
    const number_t one                = number(1);

    memcpy(values, &one, sizeof(one));
    check_mpi(MPI_Get_accumulate(values, 2, type, were, 2, type, last, at(0), 1,
                                 pair, MPI_SUM, window.win), "get_accumulate");
}

static void add_swap(void)
{
    double was = fetch(0, 0, MPI_NO_OP), expected;
    number_t value, compare, seen;

    do {
        expected = was;
        value    = number(expected + 1);
        compare  = number(expected);
        seen     = number(0);
        check_mpi(MPI_Compare_and_swap(&value, &compare, &seen, type, last,
                                       at(0), window.win), "compare_and_swap");
        check_mpi(MPI_Win_flush(last, window.win), "flush");
        was = value_of(&seen);
    } while (was != expected);
}

static void change_nothing(int turn)
{
    static const struct {
        MPI_Op op;
        double operand;
        int    integer;
    } same[] = {
        {MPI_PROD, 1, 0}, {MPI_MAX, 0, 0}, {MPI_SUM, 0, 0},
        {MPI_BOR, 0, 1}, {MPI_BXOR, 0, 1}
    };
    size_t i = (size_t)turn % (sizeof(same) / sizeof(same[0]));

    if (is_integer || !same[i].integer) {
        fetch(same[i].operand, 0, same[i].op);
    }
}

/* Each rank puts numbers in the place of others. Return by how much those that
 * it got are more than those that it put. */
static double pass_token(int turn)
{
    const double token = turn % 100;

    return fetch(token, WORDS - 1, MPI_REPLACE) - token;
}

static void check_words(double tokens)
{
    const char *words = window.base + first;
    double all;
    int size;

    MPI_Type_size(type, &size);
    MPI_Allreduce(&tokens, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (check_rank == last) {
        check(value_of(words) == (double)turns * check_size * 5,
              "the counter is %g", value_of(words));
        check(value_of(words + size) == 0, "the next word is %g",
              value_of(words + size));
        check(value_of(words + 2 * size) + all == 0,
              "the token is %g, and %g are lost",
              value_of(words + 2 * size), all);
    }
}

static void run_type(MPI_Datatype which, int integer, MPI_Aint place)
{
    double tokens = 0;
    int i;

    type       = which;
    is_integer = integer;
    first      = place;
    MPI_Type_contiguous(2, type, &pair);
    MPI_Type_commit(&pair);
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    for (i = 0; i < turns; ++i) {
        fetch(1, 0, MPI_SUM);
        add_one();
        add_all();
        add_derived();
        if (is_integer) {
            add_swap();
        } else {
            add_one();
        }
        change_nothing(i);
        tokens += pass_token(i);
    }
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    MPI_Barrier(MPI_COMM_WORLD);
    check_words(tokens);
    MPI_Type_free(&pair);
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    check((argc == 4) && (check_size > 1), "usage: words KIND PATH TURNS");
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 1, .info = MPI_INFO_NULL};
    turns  = atoi(argv[3]);
    last   = check_size - 1;
    check_mpi(window_open(&window), "the window");
    run_type(MPI_UINT64_T, 1, 0);
    run_type(MPI_INT32_T, 1, 4096);
    run_type(MPI_DOUBLE, 0, 8192);
    run_type(MPI_FLOAT, 0, 12288);
    run_type(MPI_UINT64_T, 1, 16387); /* not where a word should begin */
    window_close(&window);
    MPI_Finalize();
    return 0;
}
