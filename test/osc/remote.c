/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The errors that rank 0 gets for accesses to the file of rank 1, on another
 * node or the same one.
 *
 * usage: remote WHAT PATH FLAG [MS]
 *
 * WHAT is
 *   requests  MPI_Rput and MPI_Rget return while rank 1 makes no progress, and
 *             their requests report a revoke
 *   stalled   where only MOST of them may be under way, and rank 1 is stopped, a
 *             flush gives up after MS, but not if rank 0 was stopped as well
 *   lent      a process reads the file, and another one truncates it then
 *   fail      data cannot be made durable: msync() fails while FLAG exists
 *
 * FLAG is a file of the ranks' own, which both can open.
 */

#define _GNU_SOURCE

#include "../pace.h"
#include "window.h"

#include <daxpin_mpi.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

#define SIZE        65536
#define WORDS       (SIZE / 8)
#define LAST        (WORDS - 1)
#define CUT         64   /* bytes cut off, the last word with them */
#define REQUESTS    500
#define MOST        8
#define MORE        20
#define ROUNDS      5
#define PATIENCE_MS 30000

extern char **environ;

static window_t window;
static MPI_Win win;
static uint64_t buffer[WORDS];

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

static void open_window(const char *persist)
{
    MPI_Info_create(&window.info);
    MPI_Info_set(window.info, "daxpin_persist", persist);
    check_mpi(window_open(&window), "window");
    win = window.win;
    check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* The file may be revoked */
static void close_window(void)
{
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    window_close(&window);
    MPI_Info_free(&window.info);
    unlink(window.file);
}

static void check_revoked(int ret, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int class = MPI_SUCCESS, length, revoked;

    check(ret != MPI_SUCCESS, "%s: no error", what);
    MPI_Error_class(ret, &class);
    check_mpi(daxpin_mpi_error_class(win, &revoked), "error class");
    check(class == revoked, "%s: error class %d, not %d", what, class,
          revoked);
    MPI_Error_string(ret, text, &length);
    check(strstr(text, "/w.1") != NULL, "%s: the error names no file: %s",
          what, text);
}

/*
 * Requests
 */

static void flag_set(const char *flag)
{
    int fd = open(flag, O_WRONLY | O_CREAT, 0600);

    check(fd >= 0, "%s: %m", flag);
    close(fd);
}

/* Wait without MPI, so that this rank makes no progress for the other one */
static void flag_await(const char *flag)
{
    const int most = PATIENCE_MS * (int)pace_slow();
    int ms;

    for (ms = 0; (access(flag, F_OK) != 0) && (ms < most); ms += 10) {
        pause_ms(10);
    }
    check(access(flag, F_OK) == 0, "MPI_Rput or MPI_Rget does not return");
}

static void requests_begin(MPI_Request *requests)
{
    int i;

    for (i = 0; i < REQUESTS; ++i) {
        buffer[i] = 1000 + (uint64_t)i;
        check_mpi(MPI_Rput(&buffer[i], 1, MPI_UINT64_T, 1, i, 1, MPI_UINT64_T,
                           win, &requests[i]), "rput");
    }
    for (i = 0; i < REQUESTS; ++i) {
        check_mpi(MPI_Rget(&buffer[REQUESTS + i], 1, MPI_UINT64_T, 1,
                           REQUESTS + i, 1, MPI_UINT64_T, win,
                           &requests[REQUESTS + i]), "rget");
    }
}

static void requests_origin(const char *flag)
{
    MPI_Request requests[2 * REQUESTS];
    int i;

    requests_begin(requests);
    flag_set(flag);
    check_mpi(MPI_Waitall(2 * REQUESTS, requests, MPI_STATUSES_IGNORE),
              "waitall");
    for (i = 0; i < REQUESTS; ++i) {
        check(buffer[REQUESTS + i] == 5000 + (uint64_t)i, "rget of %d: %lu",
              i, buffer[REQUESTS + i]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void requests_target(const char *flag)
{
    uint64_t *words = (uint64_t*)window.base;
    int i;

    flag_await(flag);
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < REQUESTS; ++i) {
        check(words[i] == 1000 + (uint64_t)i, "rput of %d: %lu", i, words[i]);
    }
}

/* The file is revoked: waiting for a request returns the error */
static void requests_after(void)
{
    char cause[1024] = "";
    MPI_Request request;

    check_mpi(MPI_Rput(buffer, 1, MPI_UINT64_T, 1, 0, 1, MPI_UINT64_T, win,
                       &request), "rput");
    check_revoked(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait for rput");
    check_mpi(MPI_Rget(buffer, 1, MPI_UINT64_T, 1, 0, 1, MPI_UINT64_T, win,
                       &request), "rget");
    check_revoked(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait for rget");
    check_mpi(daxpin_mpi_cause(win, 1, cause, sizeof(cause)), "cause");
    check(strstr(cause, "which is this program itself") != NULL,
          "the cause is: %s", cause);
}

static void test_requests(const char *flag)
{
    int i;

    open_window("none");
    for (i = 0; (check_rank == 1) && (i < REQUESTS); ++i) {
        ((uint64_t*)window.base)[REQUESTS + i] = 5000 + (uint64_t)i;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        requests_origin(flag);
    } else {
        requests_target(flag);
    }
    if ((check_rank == 1) && (truncate(window.file, 0) != 0)) {
        fail("%s: truncate: %m", window.file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        requests_after();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    close_window();
}

/*
 * Requests to a target that is stopped
 */

static void shell(const char *script, const char *flag, long ms)
{
    char name[]           = "sh", option[] = "-c";
    char command[1024], pid[32], seconds[32], path[1024];
    char *argv[] = {name, option, command, name, pid, path, seconds, NULL};
    pid_t child;

    snprintf(command, sizeof(command), "%s", script);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    snprintf(path, sizeof(path), "%s", flag);
    snprintf(seconds, sizeof(seconds), "%ld.%03ld", ms / 1000, ms % 1000);
    check(posix_spawnp(&child, name, NULL, NULL, argv, environ) == 0,
          "cannot start a shell");
}

/* Stop this process. Others see FLAG.stopped then, and make FLAG to let it go
 * on. */
static void stop_until(const char *flag)
{
    shell("until grep -q '^State:.T' /proc/$1/status; do sleep 0.05; done\n"
          ": >\"$2.stopped\"\n"
          "until [ -e \"$2\" ]; do sleep 0.05; done\n"
          "rm \"$2.stopped\"; kill -CONT $1", flag, 0);
    raise(SIGSTOP);
}

/* Have this process and the target stopped, in a moment, and after some
 * milliseconds have both go on */
static void stop_both(const char *flag, long ms)
{
    shell("sleep 0.5; kill -STOP $1; sleep $3; : >\"$2\"; kill -CONT $1", flag,
          ms);
}

static void stalled_origin(const char *flag, long ms, int suspended)
{
    MPI_Request requests[MORE];
    MPI_Datatype type;
    char stopped[1024];
    int i, ret;

    snprintf(stopped, sizeof(stopped), "%s.stopped", flag);
    flag_await(stopped);
    /* A type that is freed before the request begins */
    check_mpi(MPI_Type_contiguous(8, MPI_BYTE, &type), "type");
    check_mpi(MPI_Type_commit(&type), "commit");
    for (i = 0; i < MORE; ++i) {
        buffer[i] = 2000 + (uint64_t)i;
        check_mpi(MPI_Rput(&buffer[i], 1, type, 1, i, 1, type, win,
                           &requests[i]), "rput");
    }
    check_mpi(MPI_Type_free(&type), "type free");
    if (suspended) {
        stop_both(flag, 2 * ms);
    }
    ret = MPI_Win_flush(1, win);
    if (suspended) {
        check_mpi(ret, "flush after a suspend of the job");
    } else {
        check_class(ret, MPI_ERR_OTHER, "flush of a target that is stopped");
        flag_set(flag);
        check_mpi(MPI_Win_flush_local(1, win), "flush again");
    }
    check_mpi(MPI_Waitall(MORE, requests, MPI_STATUSES_IGNORE), "waitall");
}

static void stalled_target(const char *flag)
{
    uint64_t *words = (uint64_t*)window.base;
    int i;

    stop_until(flag);
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < MORE; ++i) {
        check(words[i] == 2000 + (uint64_t)i, "rput of %d: %lu", i, words[i]);
    }
}

static void test_stalled(const char *flag, long ms)
{
    int suspended;

    open_window("none");
    check_mpi(MPI_Win_flush_all(win), "flush_all");
    for (suspended = 0; suspended < 2; ++suspended) {
        MPI_Barrier(MPI_COMM_WORLD);
        if (check_rank == 0) {
            stalled_origin(flag, ms, suspended);
            unlink(flag);
            MPI_Barrier(MPI_COMM_WORLD);
        } else {
            stalled_target(flag);
        }
    }
    close_window();
}

/*
 * A reader
 */

/* Start a reader, and wait until it has the file open */
static pid_t reader_start(void)
{
    char *argv[] = {"sleep", "1000", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, window.file, O_RDONLY, 0);
    check(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) == 0,
          "cannot start a reader");
    posix_spawn_file_actions_destroy(&actions);
    pause_ms(300);
    return pid;
}

static int put_last(uint64_t value)
{
    int ret = MPI_Put(&value, 1, MPI_UINT64_T, 1, LAST, 1, MPI_UINT64_T, win);

    return (ret != MPI_SUCCESS) ? ret : MPI_Win_flush(1, win);
}

static int get_last(void)
{
    MPI_Request request;
    int ret = MPI_Rget(buffer, 1, MPI_UINT64_T, 1, LAST, 1, MPI_UINT64_T, win,
                       &request);

    return (ret != MPI_SUCCESS) ? ret : MPI_Wait(&request, MPI_STATUS_IGNORE);
}

/* Cut the file in its last page, which stays mapped: only the size shows that,
 * until the holder has checked the file */
static void test_lent(int round)
{
    pid_t reader = -1;

    open_window((round % 2) ? "flush" : "none");
    if (check_rank == 1) {
        reader = reader_start();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 0) {
        check_mpi(put_last(1), "flush while there is a reader");
        check_mpi(get_last(), "rget while there is a reader");
        check(buffer[0] == 1, "rget: %lu", buffer[0]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if ((check_rank == 1) && (truncate(window.file, SIZE - CUT) != 0)) {
        fail("%s: truncate: %m", window.file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if ((check_rank == 0) && (round % 3 == 2)) {
        check_revoked(get_last(), "rget of what was cut off");
    } else if (check_rank == 0) {
        check_revoked(put_last(2), "flush of what was cut off");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == 1) {
        kill(reader, SIGKILL);
        waitpid(reader, NULL, 0);
    }
    close_window();
}

/*
 * Data that cannot be made durable
 */

/* The epoch ends, and the next one tries again */
static void fail_unlock(const char *flag)
{
    const uint64_t value = 3;

    check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, 1, LAST, 1, MPI_UINT64_T, win),
              "put");
    flag_set(flag);
    check_class(MPI_Win_unlock_all(win), MPI_ERR_IO, "unlock_all");
    check_mpi(MPI_Win_lock_all(0, win), "lock_all after that");
    check_class(MPI_Win_flush(1, win), MPI_ERR_IO, "flush after that");
    check_class(MPI_Win_flush_all(win), MPI_ERR_IO, "flush_all after that");
    unlink(flag);
    check_mpi(MPI_Win_flush(1, win), "flush of what is left");
    flag_set(flag);
    check_mpi(MPI_Win_flush(1, win), "flush of nothing");
    unlink(flag);
}

static void test_fail(const char *flag)
{
    open_window("flush");
    if (check_rank == 0) {
        check_mpi(put_last(1), "flush");
        flag_set(flag);
        check_class(put_last(2), MPI_ERR_IO, "flush");
        check_class(MPI_Win_flush_all(win), MPI_ERR_IO, "flush_all");
        unlink(flag);
        check_mpi(MPI_Win_flush(1, win), "flush again");
        check_mpi(MPI_Win_flush(1, win), "flush without a put");
        fail_unlock(flag);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    close_window();
}

int main(int argc, char **argv)
{
    int round;

    check_init(&argc, &argv);
    check((argc >= 4) && (check_size == 2), "usage: remote WHAT PATH FLAG");
    window = (window_t){.kind = "own", .path = argv[2], .size = SIZE,
                        .unit = 8};
    if (strcmp(argv[1], "requests") == 0) {
        test_requests(argv[3]);
    } else if ((strcmp(argv[1], "stalled") == 0) && (argc == 5)) {
        test_stalled(argv[3], atol(argv[4]));
    } else if (strcmp(argv[1], "fail") == 0) {
        test_fail(argv[3]);
    } else {
        for (round = 0; round < ROUNDS; ++round) {
            test_lent(round);
        }
    }
    MPI_Finalize();
    return 0;
}
