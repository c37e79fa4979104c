/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The files of several ranks are truncated before one call checks them all. Rank
 * 0, which has accessed them, gets the error of each file: one from each call,
 * until all were named.
 *
 * usage: several KIND PATH INTRUDE PERSIST
 */

#define _GNU_SOURCE

#include "window.h"

#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>

#define SIZE  65536
#define RANKS 3
#define EXTRA 3 /* a second file of rank 1, in a dynamic window */
#define FILES 4

extern char **environ;

static window_t window;
static const char *intrude;
static int named[FILES]; /* how often an error named the file of a rank */

static void file_of(int number, char *path, size_t size)
{
    snprintf(path, size, "%s.%d", window.path, number);
}

static void truncate_file(int number)
{
    char file[PATH_MAX], copy[PATH_MAX];
    char *argv[] = {(char*)intrude, file, copy, NULL};
    int status;
    pid_t pid;

    file_of(number, file, sizeof(file));
    snprintf(copy, sizeof(copy), "%s.copy.%d", window.path, number);
    check((posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0) &&
          (waitpid(pid, &status, 0) == pid) && (status == 0),
          "%s: the intruder failed", file);
    unlink(copy);
}

/* Check that an error is that of a revoked file, and note which file it names */
static void note(int ret, const char *what)
{
    char text[MPI_MAX_ERROR_STRING], file[PATH_MAX];
    int length, rank, number;

    if (ret == MPI_SUCCESS) {
        return;
    }
    MPI_Error_string(ret, text, &length);
    check(sscanf(text, "MPIX_ERR_DAXPIN_REVOKED: target rank %d: ", &rank) == 1,
          "%s: the error is: %s", what, text);
    for (number = 0; number < FILES; ++number) {
        file_of(number, file, sizeof(file));
        if (strstr(text, file) != NULL) {
            check(rank == ((number == EXTRA) ? 1 : number),
                  "%s: an error for another rank: %s", what, text);
            ++named[number];
            return;
        }
    }
    fail("%s: the error names no file: %s", what, text);
}

static void put(int target)
{
    static const uint64_t value = 7;

    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, target,
                      window_disp(&window, target, 1), 1, MPI_UINT64_T,
                      window.win), "put");
}

/* What ends an epoch; each begins another one, too */

static void call_flush_all(void)
{
    note(MPI_Win_flush_all(window.win), "flush_all");
}

static void call_unlock_all(void)
{
    note(MPI_Win_unlock_all(window.win), "unlock_all");
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
}

static void open_lock_all(void)
{
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
}

static void close_lock_all(void)
{
    check_mpi(MPI_Win_unlock_all(window.win), "the last unlock_all");
}

static void call_fence(void)
{
    note(MPI_Win_fence(0, window.win), "fence");
}

static void open_fence(void)
{
    check_mpi(MPI_Win_fence(0, window.win), "the first fence");
}

static void close_fence(void)
{
    check_mpi(MPI_Win_fence(MPI_MODE_NOSUCCEED, window.win), "the last fence");
}

static void open_start(void)
{
    MPI_Group all;

    MPI_Win_get_group(window.win, &all);
    check_mpi(MPI_Win_post(all, 0, window.win), "post");
    check_mpi(MPI_Win_start(all, 0, window.win), "start");
    MPI_Group_free(&all);
}

static void call_complete(void)
{
    note(MPI_Win_complete(window.win), "complete");
    note(MPI_Win_wait(window.win), "wait");
    open_start();
}

static void close_start(void)
{
    check_mpi(MPI_Win_complete(window.win), "the last complete");
    check_mpi(MPI_Win_wait(window.win), "the last wait");
}

static const struct {
    const char *name;
    void       (*call)(void);
    void       (*open)(void);
    void       (*close)(void);
    int        own; /* the file of rank 0 is truncated, too */
} calls[] = {
    {"flush_all", call_flush_all, open_lock_all, close_lock_all, 0},
    {"flush_all, own file", call_flush_all, open_lock_all, close_lock_all, 1},
    {"unlock_all", call_unlock_all, open_lock_all, close_lock_all, 0},
    {"unlock_all, own file", call_unlock_all, open_lock_all, close_lock_all, 1},
    {"fence", call_fence, open_fence, close_fence, 0},
    {"fence, own file", call_fence, open_fence, close_fence, 1},
    {"complete", call_complete, open_start, close_start, 0},
    {"complete, own file", call_complete, open_start, close_start, 1},
};

static void window_begin(void)
{
    memset(named, 0, sizeof(named));
    check_mpi(window_open(&window), "window");
}

static void window_end(void)
{
    check(window.win == MPI_WIN_NULL, "there is still a window");
    if (window_is_mapped(&window)) {
        munmap(window.base, SIZE);
    }
    unlink(window.file);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Access the targets, and have their files truncated */
static void begin(int own)
{
    int rank;

    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        ((volatile uint64_t*)window.base)[2] = 1;
        for (rank = 1; rank < RANKS; ++rank) {
            put(rank);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (own || (check_rank > 0)) {
        truncate_file(check_rank); /* may be on another node */
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Rank 0 was told of all files, another rank of its own one, once. */
static void check_named(const char *name, int own)
{
    int rank, wanted;

    for (rank = 0; rank < RANKS; ++rank) {
        wanted = (own || (rank > 0)) &&
                 ((check_rank == 0) || (check_rank == rank));
        check(named[rank] == wanted, "%s: errors for rank %d: %d, wanted %d",
              name, rank, named[rank], wanted);
    }
}

static void turn(unsigned number)
{
    const char *name = calls[number].name;
    const int own    = calls[number].own;
    int i;

    window_begin();
    calls[number].open();
    begin(own);
    for (i = own ? 0 : 1; i < RANKS; ++i) {
        calls[number].call();
    }
    check_named(name, own);
    calls[number].call();
    check_named(name, own);
    calls[number].close();
    MPI_Barrier(MPI_COMM_WORLD);
    check_mpi(MPI_Win_free(&window.win), "free");
    window_end();
}

/* MPI_Win_free() is the last call: it returns one error, and prints others. */
static void turn_free(int unlocks)
{
    window_begin();
    open_lock_all();
    begin(1);
    if (unlocks && (check_rank == 0)) {
        note(MPI_Win_unlock_all(window.win), "unlock_all before free");
    }
    note(MPI_Win_free(&window.win), "free");
    check(named[0] + named[1] + named[2] == 1 + (unlocks && (check_rank == 0)),
          "free: no error");
    if (check_rank == 0) {
        printf("named: %d %d %d\n", named[0], named[1], named[2]);
        fflush(stdout);
    }
    check_mpi(MPI_Win_free(&window.win), "the second free");
    window_end();
}

/* The memory that a rank attaches may be in several files */
static void turn_extra(void)
{
    window_t extra = window;
    int i;

    window_begin();
    file_of(EXTRA, extra.file, sizeof(extra.file));
    if (check_rank == 1) {
        window_map(&extra);
        check_mpi(MPI_Win_attach(window.win, extra.base, SIZE), "attach");
        MPI_Get_address(extra.base, &extra.starts[1]);
    }
    MPI_Bcast(&extra.starts[1], 1, MPI_AINT, 1, MPI_COMM_WORLD);
    open_lock_all();
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        put(1);
        window.starts[1] = extra.starts[1];
        put(1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        truncate_file(1);
        truncate_file(EXTRA);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < 3; ++i) {
        call_flush_all();
        check((i == 0) || (check_rank > 0) || (named[1] + named[EXTRA] == 2),
              "%d and %d errors", named[1], named[EXTRA]);
    }
    close_lock_all();
    check_mpi(MPI_Win_free(&window.win), "free");
    if (check_rank == 1) {
        munmap(extra.base, SIZE);
        unlink(extra.file);
    }
    window_end();
}

int main(int argc, char **argv)
{
    unsigned i;

    check_init(&argc, &argv);
    check((argc == 5) && (check_size == RANKS),
          "usage: several KIND PATH INTRUDE PERSIST");
    window  = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                         .unit = 8};
    intrude = argv[3];
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", argv[4]);
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); ++i) {
        turn(i);
    }
    turn_free(0);
    turn_free(1);
    if (window_is(&window, "dynamic")) {
        turn_extra();
    }
    MPI_Info_free(&window.info);
    MPI_Finalize();
    return 0;
}
