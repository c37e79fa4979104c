/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Victims of adversary.c: ranks that put into each other's segments of a window
 * over the file. Ranks that put by CPU continue after the file is revoked. An
 * RDMA device may write until the memory is deregistered, so then the ranks
 * free the window.
 *
 * usage: mpirun ... ranks cpu|nic|emulated BOARD
 */

#define _GNU_SOURCE

#include "adversary.h"

#include <daxpin_mpi.h>
#include <mpi.h>
#include <string.h>

static board_t  *board;
static member_t *me;
static int      rank, size, is_nic;
static uint64_t seed;

static void fail(const char *what, int error)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;

    MPI_Error_string(error, text, &length);
    snprintf(me->why, sizeof(me->why), "rank %d: %s: %s", rank, what, text);
    atomic_store(&board->failed, 1);
}

static int make_window(uint32_t part_bytes, MPI_Win *win)
{
    MPI_Info info;
    void *base;
    int ret;

    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", board->path);
    MPI_Info_set(info, "daxpin_on_break", board->on_break ? "hold" : "revoke");
    ret = MPI_Win_allocate(part_bytes, 1, info, MPI_COMM_WORLD, &base, win);
    MPI_Info_free(&info);
    if (ret != MPI_SUCCESS) {
        fail("MPI_Win_allocate", ret);
        return 0;
    }
    MPI_Win_set_errhandler(*win, MPI_ERRORS_RETURN);
    return 1;
}

/* Note the holder, and whether the library caught a SIGBUS. */
static void look(MPI_Win win, int is_end)
{
    char cause[sizeof(me->why)] = "";
    char value[8]               = "";
    MPI_Info info;
    int flag;

    if (is_end) {
        daxpin_mpi_cause(win, rank, cause, sizeof(cause));
        if (strstr(cause, "open already") != NULL) {
            memcpy(me->why, cause, sizeof(cause));
            atomic_store(&me->caught, 1);
        }
        return;
    }
    MPI_Win_get_info(win, &info);
    MPI_Info_get(info, "daxpin_holder", (int)sizeof(value) - 1, value, &flag);
    MPI_Info_free(&info);
    if (flag && (strcmp(value, "true") == 0)) {
        atomic_store(&board->holder, rank);
    }
}

/* Put a record. Return whether that succeeded. */
static int put(MPI_Win win, uint32_t part_bytes)
{
    static uint8_t record[RECORD_BYTES];
    int target    = (int)(next_random(&seed) % (unsigned)size);
    MPI_Aint disp = (MPI_Aint)(next_random(&seed) %
                               (part_bytes / RECORD_BYTES)) *
                    RECORD_BYTES;
    int ret;

    memset(record, MEMBER_BYTE | rank, sizeof(record));
    ret = MPI_Put(record, sizeof(record), MPI_BYTE, target, disp,
                  sizeof(record), MPI_BYTE, win);
    ret = (ret == MPI_SUCCESS) ? MPI_Win_flush(target, win) : ret;
    atomic_fetch_add((ret == MPI_SUCCESS) ? &me->acked : &me->refused, 1);
    return ret == MPI_SUCCESS;
}

static void one_round(uint32_t round)
{
    uint32_t part_bytes = FILE_BYTES / (unsigned)size / RECORD_BYTES *
                          RECORD_BYTES;
    MPI_Win win;

    if (!make_window(part_bytes, &win)) {
        return;
    }
    look(win, 0);
    MPI_Win_lock_all(0, win);
    MPI_Barrier(MPI_COMM_WORLD);
    atomic_store(&me->ready, round);
    while (!board_is_over(board, round) &&
           (put(win, part_bytes) || !is_nic)) {
    }
    look(win, 1);
    /* The first call may report the error once more */
    if (MPI_Win_unlock_all(win) != MPI_SUCCESS) {
        MPI_Win_unlock_all(win);
    }
    MPI_Win_free(&win);
}

int main(int argc, char **argv)
{
    uint32_t round = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if ((argc != 3) || (size > MEMBERS_MAX)) {
        fprintf(stderr, "usage: ranks cpu|nic|emulated BOARD\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    is_nic = strcmp(argv[1], "nic") == 0;
    board  = board_map(argv[2]);
    me     = &board->member[rank];
    seed   = 0x9e3779b97f4a7c15ull * (unsigned)(rank + 1);
    round  = atomic_load(&board->round);
    atomic_store(&me->pid, getpid());
    while ((round = board_await_round(board, round)) != 0) {
        one_round(round);
        MPI_Barrier(MPI_COMM_WORLD);
        atomic_store(&me->gone, round);
    }
    MPI_Finalize();
    return 0;
}
