/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Epochs in all orders that MPI allows, and in some that it does not: locks
 * that exclude each other and starve nobody, posts that come early, groups,
 * threads.
 *
 * usage: epochs KIND PATH TURNS [threads]
 */

#define _GNU_SOURCE

#include "window.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#define SIZE    65536
#define THREADS 4
#define COUNTER 0   /* words of each rank */
#define TWIN    8   /* always equal to the next word, but under a lock */
#define SLOTS   64  /* one for each rank */

static window_t window;
static MPI_Win win;
static MPI_Group everybody;
static volatile uint64_t *words;
static int turns, has_threads;

static MPI_Group group_of(int first, int count)
{
    int range[1][3] = {{first, first + count - 1, 1}};
    MPI_Group group;

    MPI_Group_range_incl(everybody, 1, range, &group);
    return group;
}

static void put(uint64_t value, int target, int word)
{
    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, target, word, 1, MPI_UINT64_T,
                      win), "put");
}

static uint64_t get(int target, int word)
{
    uint64_t value = 0;

    check_mpi(MPI_Get(&value, 1, MPI_UINT64_T, target, word, 1, MPI_UINT64_T,
                      win), "get");
    check_mpi(MPI_Win_flush(target, win), "flush");
    return value;
}

static void clear(void)
{
    check_mpi(MPI_Barrier(MPI_COMM_WORLD), "barrier");
    memset(window.base, 0, SIZE);
    check_mpi(MPI_Barrier(MPI_COMM_WORLD), "barrier");
}

/*
 * Locks
 */

static void count_up(int target)
{
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, target, 0, win), "lock");
    put(get(target, COUNTER) + 1, target, COUNTER);
    check_mpi(MPI_Win_unlock(target, win), "unlock");
}

static void change_twins(int target)
{
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, target, 0, win), "lock");
    put(get(target, TWIN) + 1, target, TWIN);
    check_mpi(MPI_Win_flush(target, win), "flush");
    sched_yield();
    put(get(target, TWIN), target, TWIN + 1);
    check_mpi(MPI_Win_unlock(target, win), "unlock");
}

static void read_twins(int target)
{
    uint64_t first, second;

    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, target, 0, win), "lock");
    first = get(target, TWIN);
    sched_yield();
    second = get(target, TWIN + 1);
    check_mpi(MPI_Win_unlock(target, win), "unlock");
    check(first == second, "a shared lock reads %lu and %lu", first, second);
}

static void test_exclusion(void)
{
    int i;

    clear();
    for (i = 0; i < turns; ++i) {
        count_up(i % check_size);
        if ((i + check_rank) % 3 == 0) {
            change_twins(i % check_size);
        } else {
            read_twins(i % check_size);
        }
        if (i % 16 == 0) {
            check_mpi(MPI_Win_lock_all(0, win), "lock_all");
            check(get(i % check_size, TWIN) == get(i % check_size, TWIN + 1),
                  "lock_all reads two values");
            check_mpi(MPI_Win_unlock_all(win), "unlock_all");
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, check_rank, 0, win), "lock");
    for (i = 0; i < turns; ++i) {
        if (i % check_size == check_rank) {
            check(words[COUNTER] >= (uint64_t)check_size,
                  "a rank counted to %lu", words[COUNTER]);
            words[COUNTER] -= check_size;
        }
    }
    check(words[COUNTER] == 0, "%lu too many", words[COUNTER]);
    check_mpi(MPI_Win_unlock(check_rank, win), "unlock");
}

/* Rank 0 locks exclusively while there are always others with shared locks,
 * then the other way round */
static void test_starvation(int type, int others)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int done            = 0;
    int i;

    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        for (i = 0; i < turns; ++i) {
            check_mpi(MPI_Win_lock(type, 0, 0, win), "lock");
            check_mpi(MPI_Win_unlock(0, win), "unlock");
        }
        MPI_Ibarrier(MPI_COMM_WORLD, &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
        return;
    }
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    while (!done) {
        check_mpi(MPI_Win_lock(others, 0, 0, win), "lock");
        sched_yield();
        check_mpi(MPI_Win_unlock(0, win), "unlock");
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
}

/* Lock one target, then another one, while the other rank does the same */
static void lock_two(int first, int second)
{
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, first, 0, win), "lock");
    MPI_Sendrecv(NULL, 0, MPI_BYTE, second, 0, NULL, 0, MPI_BYTE, second, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    sched_yield();
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, second, 0, win), "lock");
    check_mpi(MPI_Win_unlock(first, win), "unlock");
    check_mpi(MPI_Win_unlock(second, win), "unlock");
}

/* Ranks that have a shared lock get another one, although others wait for an
 * exclusive one on the same targets */
static void test_nested(void)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int done            = 0;
    int i;

    MPI_Barrier(MPI_COMM_WORLD); /* all have ended the last test */
    for (i = 0; (i < turns) && (check_rank < 2) && (check_size > 1); ++i) {
        lock_two(check_rank, 1 - check_rank);
    }
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    while (!done) {
        if (check_rank >= 2) {
            i = check_rank % 2;
            check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, i, 0, win), "lock");
            check_mpi(MPI_Win_unlock(i, win), "unlock");
        }
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Rank 0 has a shared lock of rank 1 and wants an exclusive one of rank 0, rank
 * 1 wants an exclusive one of itself, and the others lock all. The latter have
 * rank 0 locked: at rank 1 they must not queue behind rank 1. */
static void test_all_and_two(void)
{
    int i;

    for (i = 0; i < turns; ++i) {
        MPI_Barrier(MPI_COMM_WORLD);
        if (check_rank == 0) {
            check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, 1 % check_size, 0, win),
                      "lock");
            usleep(i % 4 * 200);
            if (check_size > 1) {
                check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win), "lock");
                check_mpi(MPI_Win_unlock(0, win), "unlock");
            }
            check_mpi(MPI_Win_unlock(1 % check_size, win), "unlock");
        } else if (check_rank == 1) {
            check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 1, 0, win), "lock");
            check_mpi(MPI_Win_unlock(1, win), "unlock");
        } else {
            check_mpi(MPI_Win_lock_all(0, win), "lock_all");
            check_mpi(MPI_Win_unlock_all(win), "unlock_all");
        }
    }
}

static void test_nocheck(void)
{
    check_mpi(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, MPI_MODE_NOCHECK, win),
              "lock");
    MPI_Barrier(MPI_COMM_WORLD); /* all have it */
    check_mpi(MPI_Win_unlock(0, win), "unlock");
    check_mpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, win), "lock_all");
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
}

/*
 * Fence
 */

static void test_fence(void)
{
    int right = (check_rank + 1) % check_size;
    int left  = (check_rank + check_size - 1) % check_size;
    int i, hints;

    clear();
    check_mpi(MPI_Win_fence(MPI_MODE_NOPRECEDE, win), "fence");
    for (i = 1; i <= turns; ++i) {
        hints = (i == turns) ? MPI_MODE_NOSUCCEED : 0;
        put(i, right, SLOTS + check_rank);
        if ((i + check_rank) % 7 == 0) {
            sched_yield();
        }
        check_mpi(MPI_Win_fence(hints, win), "fence");
        check(words[SLOTS + left] == (uint64_t)i, "fence %d: %lu", i,
              words[SLOTS + left]);
        check_mpi(MPI_Win_fence(hints, win), "fence");
    }
}

/*
 * Post, start, complete, wait
 */

static void await(int by_test)
{
    int flag = 0;

    if (!by_test) {
        check_mpi(MPI_Win_wait(win), "wait");
        return;
    }
    while (!flag) {
        check_mpi(MPI_Win_test(win, &flag), "test");
    }
}

/* All others post to rank 0 at once, as fast as they can; rank 0 accesses one
 * after the other, and so in many epochs whose posts came before those of
 * others */
static void test_early_posts(void)
{
    MPI_Group first = group_of(0, 1), one;
    int i, rank;

    clear();
    for (i = 1; i <= turns; ++i) {
        if (check_rank != 0) {
            check_mpi(MPI_Win_post(first, 0, win), "post");
            await(i % 2);
            check(words[SLOTS] == (uint64_t)i, "epoch %d: %lu", i,
                  words[SLOTS]);
            continue;
        }
        for (rank = check_size - 1; rank > 0; --rank) {
            one = group_of(rank, 1);
            check_mpi(MPI_Win_start(one, 0, win), "start");
            put(i, rank, SLOTS);
            check_mpi(MPI_Win_complete(win), "complete");
            MPI_Group_free(&one);
        }
    }
    MPI_Group_free(&first);
}

/* All access all, in groups with and without this rank */
static void test_groups(void)
{
    MPI_Group others, self = group_of(check_rank, 1);
    int i, rank;

    MPI_Group_difference(everybody, self, &others);
    clear();
    for (i = 1; i <= turns; ++i) {
        MPI_Group group = (i % 2) ? everybody : others;

        check_mpi(MPI_Win_post(group, 0, win), "post");
        check_mpi(MPI_Win_start(group, 0, win), "start");
        for (rank = 0; rank < check_size; ++rank) {
            if ((i % 2) || (rank != check_rank)) {
                put(i, rank, SLOTS + check_rank);
            }
        }
        check_mpi(MPI_Win_complete(win), "complete");
        await(check_rank % 2);
        for (rank = 0; rank < check_size; ++rank) {
            check((words[SLOTS + rank] == (uint64_t)i) ||
                          ((i % 2 == 0) && (rank == check_rank)),
                  "epoch %d: rank %d has put %lu", i, rank,
                  words[SLOTS + rank]);
        }
    }
    MPI_Group_free(&others);
    MPI_Group_free(&self);
}

static void test_special_groups(void)
{
    MPI_Group self = group_of(check_rank, 1);

    check_mpi(MPI_Win_post(MPI_GROUP_EMPTY, 0, win), "post to nobody");
    check_mpi(MPI_Win_wait(win), "wait for nobody");
    check_mpi(MPI_Win_start(MPI_GROUP_EMPTY, 0, win), "start of nobody");
    check_mpi(MPI_Win_complete(win), "complete of nobody");
    check_mpi(MPI_Win_post(self, 0, win), "post");
    check_mpi(MPI_Win_start(self, 0, win), "start");
    put(7, check_rank, SLOTS);
    check_mpi(MPI_Win_complete(win), "complete");
    check_mpi(MPI_Win_wait(win), "wait");
    check(words[SLOTS] == 7, "put to itself: %lu", words[SLOTS]);
    MPI_Group_free(&self);

    /* Nobody waits for a post that was before */
    check_mpi(MPI_Win_post(everybody, MPI_MODE_NOCHECK, win), "post");
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_start(everybody, MPI_MODE_NOCHECK, win), "start");
    check_mpi(MPI_Win_complete(win), "complete");
    check_mpi(MPI_Win_wait(win), "wait");
}

/*
 * Wrong calls
 */

static void is_wrong(int ret, const char *what)
{
    check_class(ret, MPI_ERR_RMA_SYNC, what);
}

static void test_wrong_locks(void)
{
    is_wrong(MPI_Win_unlock(0, win), "unlock");
    is_wrong(MPI_Win_unlock_all(win), "unlock_all");
    is_wrong(MPI_Win_flush_all(win), "flush_all");
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win), "lock");
    is_wrong(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win), "a second lock");
    is_wrong(MPI_Win_lock_all(0, win), "lock, lock_all");
    is_wrong(MPI_Win_unlock_all(win), "lock, unlock_all");
    is_wrong(MPI_Win_start(everybody, 0, win), "lock, start");
    is_wrong(MPI_Win_fence(0, win), "lock, fence");
    check_mpi(MPI_Win_unlock(0, win), "unlock");
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    is_wrong(MPI_Win_lock_all(0, win), "a second lock_all");
    is_wrong(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win), "lock_all, lock");
    is_wrong(MPI_Win_unlock(0, win), "lock_all, unlock");
    is_wrong(MPI_Win_start(everybody, 0, win), "lock_all, start");
    is_wrong(MPI_Win_complete(win), "lock_all, complete");
    check_mpi(MPI_Win_unlock_all(win), "unlock_all");
}

static void test_wrong_starts(void)
{
    int flag;

    is_wrong(MPI_Win_complete(win), "complete");
    is_wrong(MPI_Win_wait(win), "wait");
    is_wrong(MPI_Win_test(win, &flag), "test");
    check_mpi(MPI_Win_post(everybody, 0, win), "post");
    is_wrong(MPI_Win_post(everybody, 0, win), "a second post");
    check_mpi(MPI_Win_start(everybody, 0, win), "start");
    is_wrong(MPI_Win_start(everybody, 0, win), "a second start");
    is_wrong(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win), "start, lock");
    is_wrong(MPI_Win_lock_all(0, win), "start, lock_all");
    is_wrong(MPI_Win_fence(0, win), "start, fence");
    put(9, check_rank, SLOTS); /* this epoch is still open */
    check_mpi(MPI_Win_complete(win), "complete");
    is_wrong(MPI_Win_complete(win), "a second complete");
    check_mpi(MPI_Win_wait(win), "wait");
    is_wrong(MPI_Win_wait(win), "a second wait");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* What would wait for itself is an error */
static void test_alone(void)
{
    if ((check_size > 1) || has_threads) {
        return;
    }
    check_mpi(MPI_Win_start(everybody, 0, win), "start");
    check_mpi(MPI_Win_post(everybody, 0, win), "post");
    is_wrong(MPI_Win_wait(win), "wait before complete");
    check_mpi(MPI_Win_complete(win), "complete");
    check_mpi(MPI_Win_wait(win), "wait");
}

/*
 * Threads
 */

/* Each thread locks targets that no other thread of this rank locks */
static void *lock_targets(void *arg)
{
    int thread = (int)(intptr_t)arg;
    int i, target;

    for (i = 0; i < turns; ++i) {
        for (target = thread; target < check_size; target += THREADS) {
            count_up(target);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    intptr_t i;

    clear();
    for (i = 0; i < THREADS; ++i) {
        check(pthread_create(&threads[i], NULL, lock_targets, (void*)i) == 0,
              "no thread");
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check(words[COUNTER] == (uint64_t)turns * check_size,
          "the threads counted to %lu", words[COUNTER]);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    int provided = MPI_THREAD_SINGLE;

    check((argc == 4) || (argc == 5), "usage: epochs KIND PATH TURNS "
          "[threads]");
    has_threads = argc == 5;
    MPI_Init_thread(&argc, &argv, has_threads ? MPI_THREAD_MULTIPLE :
                                                MPI_THREAD_SINGLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(!has_threads || (provided == MPI_THREAD_MULTIPLE), "no threads");
    window = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                        .unit = 8, .info = MPI_INFO_NULL};
    turns  = atoi(argv[3]);
    check_mpi(window_open(&window), "window");
    win   = window.win;
    words = (uint64_t*)window.base;
    MPI_Comm_group(MPI_COMM_WORLD, &everybody);

    test_exclusion();
    test_starvation(MPI_LOCK_EXCLUSIVE, MPI_LOCK_SHARED);
    test_starvation(MPI_LOCK_SHARED, MPI_LOCK_EXCLUSIVE);
    test_nested();
    test_all_and_two();
    test_nocheck();
    test_fence();
    test_early_posts();
    test_groups();
    test_special_groups();
    test_wrong_locks();
    test_wrong_starts();
    test_alone();
    if (has_threads) {
        test_threads();
    }
    MPI_Group_free(&everybody);
    MPI_Barrier(MPI_COMM_WORLD);
    window_close(&window);
    MPI_Finalize();
    return 0;
}
