/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * An intruder truncates a window's file in the middle of traffic. Every rank
 * puts a growing number into its slot at every target. A number that was
 * acknowledged must be in the file when the intruder reads it; the error must
 * be the right one, for the right target only; and the other targets stay
 * accessible.
 *
 * usage: revoke EPOCH KIND PATH ROUNDS INTRUDE [PERSIST]
 *
 * EPOCH is fence, start, lock or lock_all, or:
 *   fatal  errors end the job, as is MPI's default; with lock_all
 *   hang   traffic until the job is killed
 * KIND as in window.h: own, create or dynamic, with one rank as the victim; or
 * one or shared, with all ranks of a node.
 */

#define _GNU_SOURCE

#include "../pace.h"
#include "window.h"

#include <daxpin_mpi.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>

#define SIZE         65536
#define RANKS_MAX    16
#define START        20 /* puts before the intruder comes */
#define MORE         10 /* after the error */
#define PATIENCE_SEC (30.0 * pace_slow())

extern char **environ;

static window_t window;
static MPI_Win win;
static MPI_Group everybody;
static const char *epoch, *intrude;
static volatile uint64_t *words;
static int victim;           /* the first one, if there are several */
static int nodes[RANKS_MAX]; /* first rank of each rank's node */
static pid_t intruder;

/* For each target: the last number that was put, the last one that was
 * acknowledged, and whether there was an error */
static uint64_t tried[RANKS_MAX], sure[RANKS_MAX];
static int seen[RANKS_MAX];

/* Return whether each rank has a file of its own */
static int are_files_own(void)
{
    return window_is(&window, "own") || window_is_mapped(&window);
}

static int is_victim(int rank)
{
    return are_files_own() ? (victim == rank) :
                             (nodes[victim] == nodes[rank]);
}

static void find_nodes(void)
{
    int first = check_rank;
    MPI_Comm node;

    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &node);
    MPI_Bcast(&first, 1, MPI_INT, 0, node);
    MPI_Allgather(&first, 1, MPI_INT, nodes, 1, MPI_INT, MPI_COMM_WORLD);
    MPI_Comm_free(&node);
}

static void file_of(int rank, char *path, size_t size)
{
    if (are_files_own()) {
        snprintf(path, size, "%s.%d", window.path, rank);
    } else {
        snprintf(path, size, "%s", window.path);
    }
}

/* Check that an error is of the right class and names a victim; return its
 * rank */
static int check_error(int ret, const char *what)
{
    static const char class_name[] = "MPIX_ERR_DAXPIN_REVOKED";
    char text[MPI_MAX_ERROR_STRING], path[PATH_MAX];
    int class, length, rank, match;

    MPI_Error_class(ret, &class);
    MPI_Error_string(class, text, &length);
    check(strcmp(text, class_name) == 0, "%s: error class is \"%s\"", what,
          text);
    MPI_Error_string(ret, text, &length);
    match = sscanf(text, "MPIX_ERR_DAXPIN_REVOKED: target rank %d: ", &rank);
    check(match == 1, "%s: the text is \"%s\"", what, text);
    check(is_victim(rank), "%s: an error for rank %d, and not the victim %d",
          what, rank, victim);
    file_of(rank, path, sizeof(path));
    check(strstr(text, path) != NULL, "%s: error does not name %s: %s", what,
          path, text);
    return rank;
}

static int try_put(int target, uint64_t number)
{
    int ret;

    tried[target] = number;
    ret = MPI_Put(&tried[target], 1, MPI_UINT64_T, target,
                  window_disp(&window, target, check_rank), 1, MPI_UINT64_T,
                  win);
    if (ret != MPI_SUCCESS) {
        check(check_error(ret, "put") == target, "a put to rank %d failed for "
              "another", target);
        seen[target] = 1;
    }
    return ret;
}

static void note(int target, int put_ret, int ret, uint64_t number)
{
    if (ret != MPI_SUCCESS) {
        check(check_error(ret, epoch) == target, "an error for another target "
              "than %d", target);
        seen[target] = 1;
    } else if (put_ret == MPI_SUCCESS) {
        check(!seen[target], "rank %d is accessible again", target);
        sure[target] = number;
    } else {
        fail("a put to rank %d failed, and %s did not", target, epoch);
    }
}

/*
 * One turn: a put to every target
 */

static void turn_lock(uint64_t number)
{
    int target, put_ret;

    for (target = 0; target < check_size; ++target) {
        check_mpi(MPI_Win_lock(MPI_LOCK_SHARED, target, 0, win), "lock");
        put_ret = try_put(target, number);
        note(target, put_ret, MPI_Win_unlock(target, win), number);
    }
}

static void turn_flush(uint64_t number)
{
    int target, put_ret;

    for (target = 0; target < check_size; ++target) {
        put_ret = try_put(target, number);
        note(target, put_ret, MPI_Win_flush(target, win), number);
    }
}

/* Note one result for all targets; targets that are no victims have no error */
static void note_all(int failed_put, int ret, uint64_t number)
{
    int target, bad = -1;

    if (ret != MPI_SUCCESS) {
        bad       = check_error(ret, epoch);
        seen[bad] = 1;
    }
    check(!failed_put || (ret != MPI_SUCCESS), "a put failed, and %s did not",
          epoch);
    for (target = 0; target < check_size; ++target) {
        if ((ret == MPI_SUCCESS) || !is_victim(target)) {
            sure[target] = number;
        }
    }
}

static int try_all(uint64_t number)
{
    int target, failed = 0;

    for (target = 0; target < check_size; ++target) {
        failed |= try_put(target, number) != MPI_SUCCESS;
    }
    return failed;
}

static void turn_fence(uint64_t number)
{
    int failed = try_all(number);

    note_all(failed, MPI_Win_fence(0, win), number);
}

static void turn_start(uint64_t number)
{
    int failed, ret;

    check_mpi(MPI_Win_post(everybody, 0, win), "post");
    check_mpi(MPI_Win_start(everybody, 0, win), "start");
    failed = try_all(number);
    note_all(failed, MPI_Win_complete(win), number);
    ret = MPI_Win_wait(win);
    if (ret != MPI_SUCCESS) {
        check(check_error(ret, "wait") == check_rank, "wait fails for another");
    }
}

/*
 * A round
 */

/* Check that another window is not affected */
static void check_other_window(window_t *other)
{
    uint64_t value = 42;
    int rank;

    check_mpi(MPI_Win_lock_all(0, other->win), "lock_all of another window");
    for (rank = 0; rank < check_size; ++rank) {
        check_mpi(MPI_Put(&value, 1, MPI_UINT64_T, rank, check_rank, 1,
                          MPI_UINT64_T, other->win), "put to another window");
        check_mpi(MPI_Win_flush(rank, other->win), "flush of another window");
    }
    check_mpi(MPI_Win_unlock_all(other->win), "unlock_all of another window");
    MPI_Barrier(MPI_COMM_WORLD);
    for (rank = 0; rank < check_size; ++rank) {
        check(((uint64_t*)other->base)[rank] == 42, "another window");
    }
}

/* Write to all ranks' memory of a shared window: there must be no signal */
static void touch_shared(void)
{
    MPI_Aint size;
    char *base;
    int rank, unit;

    for (rank = 0; window_is(&window, "shared") && (rank < check_size);
         ++rank) {
        check_mpi(MPI_Win_shared_query(win, rank, &size, &unit, &base),
                  "shared_query");
        memset(base + SIZE / 2, 2, SIZE / 2);
    }
}

static void check_causes(void)
{
    char cause[256];
    int rank;

    for (rank = 0; rank < check_size; ++rank) {
        check_mpi(daxpin_mpi_cause(win, rank, cause, sizeof(cause)), "cause");
        check((cause[0] != '\0') == is_victim(rank),
              "rank %d's cause is \"%s\"", rank, cause);
    }
}

static void send_intruder(void)
{
    char file[PATH_MAX], copy[PATH_MAX];
    char *argv[] = {(char*)intrude, file, copy, NULL};

    file_of(victim, file, sizeof(file));
    snprintf(copy, sizeof(copy), "%s.copy", window.path);
    check(posix_spawn(&intruder, intrude, NULL, NULL, argv, environ) == 0,
          "%s: cannot start: %m", intrude);
}

static int victims_seen(void)
{
    int rank;

    for (rank = 0; rank < check_size; ++rank) {
        if (is_victim(rank) && seen[rank]) {
            return 1;
        }
    }
    return 0;
}

/* Return whether this round has ended. With fence and start, all ranks end
 * together. */
static int is_over(int together, int *more)
{
    int over = victims_seen();

    if (together) {
        MPI_Allreduce(MPI_IN_PLACE, &over, 1, MPI_INT, MPI_MIN,
                      MPI_COMM_WORLD);
    }
    return over && ((*more)-- == 0);
}

static void traffic(void)
{
    int together = (strcmp(epoch, "fence") == 0) ||
                   (strcmp(epoch, "start") == 0);
    int all      = !together && (strcmp(epoch, "lock") != 0);
    double end   = MPI_Wtime() + PATIENCE_SEC;
    int more     = MORE;
    uint64_t number;

    if (strcmp(epoch, "fence") == 0) {
        check_mpi(MPI_Win_fence(0, win), "first fence");
    } else if (all) {
        check_mpi(MPI_Win_lock_all(0, win), "lock_all");
    }
    for (number = 1;; ++number) {
        words[RANKS_MAX + number % 64] = number; /* there is no signal */
        if (all) {
            turn_flush(number);
        } else if (!together) {
            turn_lock(number);
        } else if (strcmp(epoch, "fence") == 0) {
            turn_fence(number);
        } else {
            turn_start(number);
        }
        if ((number == START) && (check_rank == victim) &&
            (strcmp(epoch, "hang") != 0)) {
            send_intruder();
        }
        if (is_over(together, &more)) {
            break;
        }
        check((MPI_Wtime() < end) || (strcmp(epoch, "hang") == 0),
              "no error in %g s after %lu turns", PATIENCE_SEC, number);
    }
    if (all) {
        int ret = MPI_Win_unlock_all(win);

        check(ret == MPI_SUCCESS, "unlock_all after flushes: %d", ret);
    }
}

static void check_copy(void)
{
    uint64_t all_sure[RANKS_MAX * RANKS_MAX], all_tried[RANKS_MAX * RANKS_MAX];
    static uint64_t copy[RANKS_MAX * SIZE / 8];
    char path[PATH_MAX];
    int target, rank, fd, status;
    uint64_t is;
    size_t part = 0;

    MPI_Gather(sure, RANKS_MAX, MPI_UINT64_T, all_sure, RANKS_MAX,
               MPI_UINT64_T, victim, MPI_COMM_WORLD);
    MPI_Gather(tried, RANKS_MAX, MPI_UINT64_T, all_tried, RANKS_MAX,
               MPI_UINT64_T, victim, MPI_COMM_WORLD);
    if (check_rank != victim) {
        return;
    }
    check((waitpid(intruder, &status, 0) == intruder) && (status == 0),
          "the intruder failed: %d", status);
    snprintf(path, sizeof(path), "%s.copy", window.path);
    fd = open(path, O_RDONLY);
    check((fd >= 0) && (read(fd, copy, sizeof(copy)) > 0), "%s: %m", path);
    close(fd);
    unlink(path);
    for (target = 0; target < check_size; ++target) {
        if (!is_victim(target)) {
            continue;
        }
        for (rank = 0; rank < check_size; ++rank) {
            is = copy[part + rank];
            check((is >= all_sure[rank * RANKS_MAX + target]) &&
                  (is <= all_tried[rank * RANKS_MAX + target]),
                  "rank %d: put %lu to rank %d was acknowledged, but in the "
                  "file is %lu", rank,
                  all_sure[rank * RANKS_MAX + target], target, is);
        }
        part += SIZE / 8;
    }
}

/* Check that the files of other ranks have all that was put */
static void check_others(void)
{
    uint64_t all[RANKS_MAX], mine[SIZE / 8];
    int rank;

    MPI_Alltoall(sure, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, MPI_COMM_WORLD);
    if (is_victim(check_rank)) {
        return;
    }
    window_read(&window, mine);
    for (rank = 0; rank < check_size; ++rank) {
        check(mine[rank] == all[rank], "rank %d put %lu here; in the file is "
              "%lu", rank, all[rank], mine[rank]);
    }
}

static void round_once(int number)
{
    window_t other = {.kind = "own", .size = SIZE, .unit = 8,
                      .info = MPI_INFO_NULL};
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s-other", window.path);
    other.path = path;
    victim = nodes[number % check_size];
    victim = are_files_own() ? number % check_size : victim;
    memset(tried, 0, sizeof(tried));
    memset(sure, 0, sizeof(sure));
    memset(seen, 0, sizeof(seen));
    check_mpi(window_open(&other), "another window");
    check_mpi(window_open(&window), "window");
    win   = window.win;
    words = (uint64_t*)window.base;
    memset(window.base, 0, SIZE);
    if (strcmp(epoch, "fatal") == 0) {
        MPI_Win_set_errhandler(win, MPI_ERRORS_ARE_FATAL);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (strcmp(epoch, "hang") == 0) {
        printf("the window is there\n");
        fflush(stdout);
    }
    traffic();
    check_other_window(&other);
    /* Write behind the slots, to the last page: there must be no signal */
    memset(window.base + SIZE / 2, 1, SIZE / 2);
    touch_shared();
    check_causes();
    MPI_Barrier(MPI_COMM_WORLD);
    check_copy();
    window_close(&window);
    window_close(&other);
    unlink(other.file);
    MPI_Barrier(MPI_COMM_WORLD);
    check_others();
    MPI_Barrier(MPI_COMM_WORLD);
    unlink(window.file);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    int rounds, i;

    check_init(&argc, &argv);
    check((argc >= 6) && (check_size <= RANKS_MAX),
          "usage: revoke EPOCH KIND PATH ROUNDS INTRUDE [PERSIST]");
    epoch   = argv[1];
    window  = (window_t){.kind = argv[2], .path = argv[3], .size = SIZE,
                         .unit = 8, .info = MPI_INFO_NULL};
    rounds  = atoi(argv[4]);
    intrude = argv[5];
    if (argc > 6) {
        MPI_Info_create(&window.info);
        MPI_Info_set(window.info, "daxpin_persist", argv[6]);
    }
    find_nodes();
    MPI_Comm_group(MPI_COMM_WORLD, &everybody);
    for (i = 0; i < rounds; ++i) {
        round_once(i);
    }
    MPI_Group_free(&everybody);
    MPI_Finalize();
    return 0;
}
