/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A rank that only stores into its own memory, or in a shared window into
 * another rank's, gets the error of a revoke: from the next call that ends its
 * epoch or its window, once.
 *
 * usage: stores KIND PATH INTRUDE PERSIST
 */

#define _GNU_SOURCE

#include "window.h"

#include <daxpin_mpi.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>

#define SIZE 65536

extern char **environ;

static window_t window;
static const char *intrude, *persist;

/* Calls that get the error; each returns the error of the call */

static int call_free(void)
{
    return MPI_SUCCESS; /* of the window, at the end of each turn */
}

static int call_sync(void)
{
    return MPI_Win_sync(window.win);
}

static int call_fence(void)
{
    return MPI_Win_fence(0, window.win);
}

static int call_flush(void)
{
    return MPI_Win_flush(check_rank, window.win);
}

static int call_flush_all(void)
{
    return MPI_Win_flush_all(window.win);
}

static int call_flush_local(void)
{
    return MPI_Win_flush_local(check_rank, window.win);
}

static int call_flush_local_all(void)
{
    return MPI_Win_flush_local_all(window.win);
}

static int call_unlock(void)
{
    int ret = MPI_Win_unlock(check_rank, window.win);

    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, check_rank, 0, window.win), "lock");
    return ret;
}

static int call_unlock_all(void)
{
    int ret = MPI_Win_unlock_all(window.win);

    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    return ret;
}

static void open_none(void)
{
}

static void open_lock(void)
{
    check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, check_rank, 0, window.win), "lock");
}

static void close_lock(void)
{
    check_mpi(MPI_Win_unlock(check_rank, window.win), "the last unlock");
}

static void open_lock_all(void)
{
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
}

static void close_lock_all(void)
{
    check_mpi(MPI_Win_unlock_all(window.win), "the last unlock_all");
}

static void open_start(void)
{
    MPI_Group self;
    MPI_Group all;

    MPI_Win_get_group(window.win, &all);
    MPI_Group_incl(all, 1, &check_rank, &self);
    check_mpi(MPI_Win_post(self, 0, window.win), "post");
    check_mpi(MPI_Win_start(self, 0, window.win), "start");
    MPI_Group_free(&self);
    MPI_Group_free(&all);
}

static int call_complete(void)
{
    int ret = MPI_Win_complete(window.win);

    check_mpi(MPI_Win_wait(window.win), "wait");
    open_start();
    return ret;
}

static void close_start(void)
{
    check_mpi(MPI_Win_complete(window.win), "the last complete");
    check_mpi(MPI_Win_wait(window.win), "the last wait");
}

static int call_detach(void)
{
    return MPI_Win_detach(window.win, window.base);
}

static const struct {
    const char *name;
    int        (*call)(void);
    void       (*open)(void);
    void       (*close)(void);
} calls[] = {
    {"free", call_free, open_none, open_none},
    {"sync", call_sync, open_none, open_none},
    {"fence", call_fence, open_none, open_none},
    {"flush", call_flush, open_lock, close_lock},
    {"flush_all", call_flush_all, open_lock_all, close_lock_all},
    {"flush_local", call_flush_local, open_lock_all, close_lock_all},
    {"flush_local_all", call_flush_local_all, open_lock_all, close_lock_all},
    {"unlock", call_unlock, open_lock, close_lock},
    {"unlock_all", call_unlock_all, open_lock_all, close_lock_all},
    {"complete", call_complete, open_start, close_start},
    {"detach", call_detach, open_none, open_none}
};

/* Have the file of rank 0 truncated, and wait for it */
static void truncate_first(void)
{
    char copy[PATH_MAX];
    char *argv[] = {(char*)intrude, window.file, copy, NULL};
    int status   = 0;
    pid_t pid;

    snprintf(copy, sizeof(copy), "%s.copy", window.path);
    check((posix_spawn(&pid, intrude, NULL, NULL, argv, environ) == 0) &&
                  (waitpid(pid, &status, 0) == pid) && (status == 0),
          "the intruder failed");
    unlink(copy);
}

static void check_revoked(int ret, int target, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length, rank                = -1;

    check(ret != MPI_SUCCESS, "%s reports no error", what);
    MPI_Error_string(ret, text, &length);
    sscanf(text, "MPIX_ERR_DAXPIN_REVOKED: target rank %d: ", &rank);
    check((rank == target) && (strstr(text, window.path) != NULL),
          "%s: the error is %s", what, text);
}

/* One kind of call */
static void turn(unsigned number)
{
    const char *name = calls[number].name;
    int is_detach    = strcmp(name, "detach") == 0;
    int is_victim, ret;

    check_mpi(window_open(&window), "window");
    memset(window.base, 0, SIZE);
    calls[number].open();
    ((volatile uint64_t*)window.base)[0] = 1;
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        truncate_first();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    is_victim = (check_rank == 0) || window_is(&window, "one") ||
                window_is(&window, "shared");
    ((volatile uint64_t*)window.base)[1] = 2;
    ret                                  = calls[number].call();
    if (is_victim && (calls[number].call != call_free)) {
        check_revoked(ret, check_rank, name);
    } else {
        check_mpi(ret, name);
    }
    if (!is_detach) {
        check_mpi(calls[number].call(), "the second call");
    }
    calls[number].close();
    MPI_Barrier(MPI_COMM_WORLD);
    ret = MPI_Win_free(&window.win);
    if (is_victim && (calls[number].call == call_free)) {
        check_revoked(ret, check_rank, "MPI_Win_free");
        check_mpi(MPI_Win_free(&window.win), "the second MPI_Win_free");
    } else {
        check_mpi(ret, "MPI_Win_free");
    }
    check(window.win == MPI_WIN_NULL, "there is still a window");
    if (window_is_mapped(&window)) {
        munmap(window.base, SIZE);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    unlink(window.file);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* A shared window with a file for each rank: all store into the memory of rank
 * 0, whose file is truncated */
static void turn_neighbour(void)
{
    char path[PATH_MAX];
    uint64_t *words;
    MPI_Aint bytes;
    MPI_Info info;
    int unit;

    MPI_Info_dup(window.info, &info);
    snprintf(path, sizeof(path), "%s.%%r", window.path);
    snprintf(window.file, sizeof(window.file), "%s.0", window.path);
    MPI_Info_set(info, "daxpin_path", path);
    MPI_Info_set(info, "alloc_shared_noncontig", "true");
    check_mpi(MPI_Win_allocate_shared(SIZE, 8, info, MPI_COMM_WORLD,
                                      &window.base, &window.win), "window");
    MPI_Win_set_errhandler(window.win, MPI_ERRORS_RETURN);
    check_mpi(MPI_Win_shared_query(window.win, 0, &bytes, &unit, &words),
              "shared_query");
    check_mpi(MPI_Win_lock_all(0, window.win), "lock_all");
    words[check_rank] = 1;
    check_mpi(MPI_Win_flush(0, window.win), "flush before the truncate");
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        truncate_first();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    words[check_rank] = 2;
    if (check_rank > 0) {
        check_mpi(MPI_Win_flush(check_rank, window.win), "flush of its own");
    }
    check_revoked(MPI_Win_flush(0, window.win), 0, "flush");
    check_mpi(MPI_Win_flush(0, window.win), "the second flush");
    check_mpi(MPI_Win_unlock_all(window.win), "unlock_all");
    check_mpi(MPI_Win_free(&window.win), "free");
    MPI_Barrier(MPI_COMM_WORLD);
    snprintf(window.file, sizeof(window.file), "%s.%d", window.path,
             check_rank);
    unlink(window.file);
    MPI_Info_free(&info);
}

int main(int argc, char **argv)
{
    unsigned i;

    check_init(&argc, &argv);
    check(argc == 5, "usage: stores KIND PATH INTRUDE PERSIST");
    window  = (window_t){.kind = argv[1], .path = argv[2], .size = SIZE,
                         .unit = 8};
    intrude = argv[3];
    persist = argv[4];
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", persist);
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); ++i) {
        if ((calls[i].call != call_detach) || window_is(&window, "dynamic")) {
            turn(i);
        }
    }
    if (window_is(&window, "shared")) {
        turn_neighbour();
    }
    MPI_Info_free(&window.info);
    MPI_Finalize();
    return 0;
}
