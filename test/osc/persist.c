/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What daxpin_persist makes durable, and when: each rank puts numbers to its
 * neighbour and ends with one synchronisation.
 *
 * usage: persist PERSIST PATH CALL [BOARD]
 *
 * CALL is flush, flush_all, unlock, unlock_all, fence, wait, sync or free. With
 * BOARD, a file, the ranks repeat this until they are killed, and each writes
 * there the number of its last put that was acknowledged as durable.
 */

#define _GNU_SOURCE

#include "window.h"

#include <stdint.h>

#define SIZE 8192

static window_t window;
static MPI_Win win;
static int left, right;
static const char *call;

static int is(const char *name)
{
    return strcmp(call, name) == 0;
}

static void put(uint64_t *number)
{
    check_mpi(MPI_Put(number, 1, MPI_UINT64_T, right, 0, 1, MPI_UINT64_T, win),
              "put");
}

static void turn_start(uint64_t *number)
{
    MPI_Group all, from, to;

    MPI_Win_get_group(win, &all);
    MPI_Group_incl(all, 1, &left, &from);
    MPI_Group_incl(all, 1, &right, &to);
    check_mpi(MPI_Win_post(from, 0, win), "post");
    check_mpi(MPI_Win_start(to, 0, win), "start");
    put(number);
    check_mpi(MPI_Win_complete(win), "complete");
    check_mpi(MPI_Win_wait(win), "wait");
    MPI_Group_free(&all);
    MPI_Group_free(&from);
    MPI_Group_free(&to);
}

static void turn(uint64_t *number)
{
    if (is("fence")) {
        put(number);
        check_mpi(MPI_Win_fence(0, win), "fence");
    } else if (is("wait")) {
        turn_start(number);
    } else if (is("unlock")) {
        check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win), "lock");
        put(number);
        check_mpi(MPI_Win_unlock(right, win), "unlock");
    } else if (is("unlock_all")) {
        check_mpi(MPI_Win_lock_all(0, win), "lock_all");
        put(number);
        check_mpi(MPI_Win_unlock_all(win), "unlock_all");
    } else {
        put(number);
        if (is("flush")) {
            check_mpi(MPI_Win_flush(right, win), "flush");
        } else if (is("flush_all")) {
            check_mpi(MPI_Win_flush_all(win), "flush_all");
        } else if (is("sync")) {
            check_mpi(MPI_Win_sync(win), "sync");
        }
    }
}

static volatile uint64_t *map_board(const char *path)
{
    int fd = open(path, O_RDWR);
    void *board;

    check(fd >= 0, "%s: %m", path);
    board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(board != MAP_FAILED, "%s: %m", path);
    close(fd);
    return board;
}

int main(int argc, char **argv)
{
    int passive, ret;
    volatile uint64_t *board = NULL;
    uint64_t number          = 0;

    check_init(&argc, &argv);
    check(argc >= 4, "usage: persist PERSIST PATH CALL [BOARD]");
    call    = argv[3];
    right   = (check_rank + 1) % check_size;
    left    = (check_rank + check_size - 1) % check_size;
    window  = (window_t){.kind = "own", .path = argv[2], .size = SIZE,
                         .unit = 8};
    passive = is("flush") || is("flush_all") || is("sync") || is("free");
    board   = (argc > 4) ? map_board(argv[4]) : NULL;
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", argv[1]);
    check_mpi(window_open(&window), "window");
    win = window.win;
    if (is("fence")) {
        MPI_Win_fence(MPI_MODE_NOPRECEDE, win);
    } else if (passive) {
        MPI_Win_lock_all(0, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    do {
        ++number;
        turn(&number);
        if (board != NULL) {
            board[right] = number;
        }
    } while (board != NULL);
    if (passive) {
        MPI_Win_unlock_all(win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    ret = MPI_Win_free(&win);
    check_mpi(ret, "free");
    MPI_Info_free(&window.info);
    MPI_Finalize();
    return 0;
}
