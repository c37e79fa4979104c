/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Count what files and processes of libdaxpin cost */

/*
 * usage: processes DIRECTORY PROCESSES FILES [BYTES]
 * prints lines of ROLE STAGE FIELD VALUE
 *
 * All processes have all files open; the first one is the holder of each. The
 * stages, one after the other in all processes:
 *   open
 *   settle   all wait, until the directory in which they meet is not new
 *   rest     all wait
 *   traffic  each stores to each
 *   revoke   another process truncates the first file, while the last process
 *            is in an access for another 200 ms
 *   close
 * Of members, the greatest value of any is printed. A value is what the stage
 * has added.
 */

#define _GNU_SOURCE

#include "daxpin/access.h"
#include "usage.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define PROCESSES_MAX 1024
#define LENGTH        65536
#define ACCESSES      1000
#define PATIENCE_SEC  300
#define LATE_US       200000
#define REST_SEC      3

/* A stage has two steps: all processes do it, and then all are counted */
enum {
    STAGE_BEGIN,
    STAGE_OPEN,
    STAGE_SETTLE,
    STAGE_REST,
    STAGE_TRAFFIC,
    STAGE_REVOKE,
    STAGE_CLOSE,
    STAGES
};

static const char *const stage_names[STAGES] = {"begin", "open", "settle",
                                                "rest", "traffic", "revoke",
                                                "close"};

/* In memory of all processes */
typedef struct board {
    _Atomic int step;   /* that the processes are to do */
    _Atomic int opened; /* by the holder */
    _Atomic int done;   /* processes, over all steps */
    _Atomic int failed;
    _Atomic int lingers; /* the last process */
    usage_t     usages[PROCESSES_MAX][STAGES];
} board_t;

static const char *directory;
static int processes, files;
static board_t *board;
static daxpin_file_t **handles;
static void **bases;
static size_t length;

static void be_silent(daxpin_log_level_t level, const char *message)
{
    if (level == DAXPIN_LOG_ERROR) {
        fprintf(stderr, "processes: %s\n", message);
    }
}

static void give_up(const char *what)
{
    fprintf(stderr, "processes: %s: %s\n", what, daxpin_errormsg());
    atomic_store(&board->failed, 1);
    _exit(1);
}

static void wait_for(_Atomic int *word, int value)
{
    const int slow     = atoi(getenv("DAXPIN_TEST_SLOW") ?: "1");
    const time_t until = time(NULL) + PATIENCE_SEC * slow;

    while (atomic_load(word) < value) {
        if (atomic_load(&board->failed)) {
            _exit(1);
        }
        if (time(NULL) > until) {
            fprintf(stderr, "processes: a stage takes too long\n");
            atomic_store(&board->failed, 1);
            _exit(1);
        }
        usleep(2000);
    }
}

/*
 * A process that has the files
 */

static char *name_of(int i)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/scale.%d", directory, i);
    return path;
}

static void open_files(int index)
{
    int i;

    if (index > 0) {
        wait_for(&board->opened, 1);
    }
    for (i = 0; i < files; ++i) {
        if (daxpin_file_open(name_of(i), length, NULL, &handles[i]) != 0) {
            give_up(name_of(i));
        }
        bases[i] = daxpin_file_addr(handles[i], 0, length);
    }
    atomic_store(&board->opened, 1);
}

/* Wait, but not where calls are traced. */
static void rest(void)
{
    if (getenv("DAXPIN_SCALE_TRACED") == NULL) {
        usleep(REST_SEC * 1000000);
    }
}

/* Store at places of all of the file. */
static void do_traffic(unsigned slot)
{
    daxpin_access_t access;
    uint64_t value = 0;
    int i, j;

    for (i = 0; i < files; ++i) {
        daxpin_access_init(handles[i], slot, &access);
        for (j = 0; j < ACCESSES; ++j) {
            if (daxpin_access_begin(&access) != 0) {
                give_up("begin");
            }
            ((volatile uint64_t*)bases[i])[(size_t)j % 8 * (length / 64)] =
                    ++value;
            if (daxpin_access_end(&access, 0, length) != 0) {
                give_up("end");
            }
        }
    }
}

/* Be in an access to the first file, and leave it late. */
static void linger(unsigned slot)
{
    daxpin_access_t access;

    daxpin_access_init(handles[0], slot, &access);
    if (daxpin_access_begin(&access) != 0) {
        give_up("begin");
    }
    atomic_store(&board->lingers, 1);
    while (daxpin_access_may_go_on(&access)) {
        usleep(2000);
    }
    usleep(LATE_US);
    (void)daxpin_access_end(&access, 0, length);
}

static void await_revoke(void)
{
    while (daxpin_file_state(handles[0]) != DAXPIN_STATE_REVOKED) {
        usleep(2000);
    }
}

static void close_files(void)
{
    int i;

    for (i = 0; i < files; ++i) {
        daxpin_file_close(handles[i]);
    }
}

/* Count when the loop has nothing to do any more: it closes what other
 * processes have left. */
static void count_usage(usage_t *usage)
{
    usage_t before;
    int i = 0;

    if (getenv("DAXPIN_SCALE_TRACED") != NULL) {
        return; /* The calls are to be those of the library */
    }
    usage_get(usage);
    do {
        before = *usage;
        usleep(20000);
        usage_get(usage);
    } while ((memcmp(&before, usage, sizeof(before)) != 0) && (++i < 100));
}

/* Return when all processes have done the stage and are counted. */
static void end_stage(int index, int stage)
{
    atomic_fetch_add(&board->done, 1);
    wait_for(&board->step, 2 * stage + 1);
    count_usage(&board->usages[index][stage]);
    atomic_fetch_add(&board->done, 1);
    wait_for(&board->step, 2 * stage + 2);
}

static void process_main(int index)
{
    unsigned slot;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    daxpin_set_log(be_silent);
    handles = calloc((size_t)files, sizeof(*handles));
    bases   = calloc((size_t)files, sizeof(*bases));
    end_stage(index, STAGE_BEGIN);
    open_files(index);
    end_stage(index, STAGE_OPEN);
    rest();
    end_stage(index, STAGE_SETTLE);
    rest();
    end_stage(index, STAGE_REST);
    slot = daxpin_slot_get();
    do_traffic(slot);
    end_stage(index, STAGE_TRAFFIC);
    if (index == processes - 1) {
        linger(slot);
    }
    await_revoke();
    daxpin_slot_put(slot);
    end_stage(index, STAGE_REVOKE);
    close_files();
    end_stage(index, STAGE_CLOSE);
    _exit(0);
}

/*
 * The process that starts and counts them
 */

static void truncate_first(void)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        _exit((truncate(name_of(0), 0) == 0) ? 0 : 1);
    }
    if ((waitpid(child, &status, 0) != child) || (status != 0)) {
        fprintf(stderr, "processes: cannot truncate\n");
        exit(1);
    }
}

/* Print what each stage has added to a process, the greatest of several. */
static void print_role(const char *role, int first, int last)
{
    usage_t most = {0}, usage;
    int i, stage;

    for (stage = STAGE_OPEN; stage < STAGES; ++stage) {
        for (i = first; i < last; ++i) {
            usage = board->usages[i][stage];
            usage_subtract(&usage, &board->usages[i][stage - 1]);
            if (i == first) {
                most = usage;
            }
            usage_max(&most, &usage);
        }
        usage_print(role, stage_names[stage], &most);
    }
}

int main(int argc, char **argv)
{
    int i, step, status, failed = 0;

    if (argc < 4) {
        fprintf(stderr, "usage: processes DIRECTORY PROCESSES FILES [BYTES]\n");
        return 2;
    }
    directory = argv[1];
    processes = atoi(argv[2]);
    files     = atoi(argv[3]);
    length    = (argc > 4) ? strtoull(argv[4], NULL, 0) : LENGTH;
    if ((processes < 1) || (processes > PROCESSES_MAX) || (files < 1)) {
        return 2;
    }
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (i = 0; i < processes; ++i) {
        if (fork() == 0) {
            process_main(i);
        }
    }
    for (step = 1; step <= 2 * STAGES; ++step) {
        wait_for(&board->done, processes * step);
        atomic_store(&board->step, step);
        if (step == 2 * STAGE_REVOKE) {
            wait_for(&board->lingers, 1);
            truncate_first();
        }
    }
    while (wait(&status) > 0) {
        failed |= status != 0;
    }
    print_role("holder", 0, 1);
    if (processes > 1) {
        print_role("member", 1, processes);
    }
    return failed;
}
