/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A process ends although the file that it holds has no name any more, and the
 * process is the last one that has the file: whatever numbers its descriptors
 * have, and however it ends. The kernel frees the file then. From 6.15 on that
 * waits for the hold, and no signal ends the wait.
 *
 * usage: killed DIRECTORY
 *
 *   DAXPIN_TEST_SLOW   as everywhere
 *
 * Prints "ok NAME" or "not ok NAME: why" for each test.
 */

#define _GNU_SOURCE

#include "result.h"

#include <daxpin.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH   (1 << 20)
#define END_MS   5000
#define NUM_LOW  64
#define LIMIT    256
#define HIGH     1000 /* above all that libdaxpin opens */
#define CROWD    900  /* more than there are below the pipe */

/* What the process has done before its end, in any combination */
enum {
    FREE_LOW   = 1 << 0, /* closed descriptors below that of the file */
    CLOSED     = 1 << 1, /* closed and unmapped the file itself */
    DUP_LOW    = 1 << 2, /* duplicated its descriptor to a low number */
    DUP_HIGH   = 1 << 3, /* and to one above the pipe of the hold */
    CROWDED    = 1 << 4, /* opened many descriptors before */
    LIMITED    = 1 << 5, /* lowered the limit of descriptors */
    MEMBER     = 1 << 6  /* given the file to a member, which ends as well */
};

static const struct {
    int        flag;
    const char *name;
} steps[] = {
    {FREE_LOW, "low numbers free"}, {CLOSED, "closed and unmapped"},
    {DUP_LOW, "a low duplicate"},   {DUP_HIGH, "a high duplicate"},
    {CROWDED, "many descriptors"},  {LIMITED, "a low limit"},
    {MEMBER, "a member"}
};

typedef enum end {
    END_KILL,
    END_EXIT,
    END_EXEC,
    END_CLOSE, /* closes and unmaps all by itself, the library's first */
    END_CLOSE_LAST /* the library's last */
} end_t;

static const char *const ends[] = {
    "killed", "exits", "executes another program", "closes the library's first",
    "closes the library's last"
};

static const char *directory;
static long       slow = 1;
static int        how;
static end_t      end;

/* The process that ends */
typedef struct victim {
    char          path[PATH_MAX];
    int           low[NUM_LOW];
    int           fd;
    int           duplicates[2];
    char          *memory;
    daxpin_file_t *file;
} victim_t;

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void let_go(victim_t *me)
{
    if (me->memory != NULL) {
        munmap(me->memory, LENGTH);
        me->memory = NULL;
    }
    close_fd(&me->fd);
    close_fd(&me->duplicates[0]);
    close_fd(&me->duplicates[1]);
}

/* Open descriptors, so that those of the library get other numbers. */
static void take_numbers(victim_t *me)
{
    const struct rlimit limit = {LIMIT, LIMIT};
    int i;

    if (how & LIMITED) {
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (i = 0; i < NUM_LOW; ++i) {
        me->low[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    for (i = 0; (how & CROWDED) && (i < CROWD); ++i) {
        (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static int make_file(victim_t *me)
{
    snprintf(me->path, sizeof(me->path), "%s/killed", directory);
    unlink(me->path);
    me->fd = open(me->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if ((me->fd < 0) || (posix_fallocate(me->fd, 0, LENGTH) != 0)) {
        return -1;
    }
    me->memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
                      me->fd, 0);
    if (me->memory == MAP_FAILED) {
        return -1;
    }
    memset(me->memory, 'a', LENGTH);
    return 0;
}

/* A member that uses the file until it is killed with its parent */
static void be_member(const daxpin_key_t *key, int ready)
{
    daxpin_file_t *file;
    char *memory, byte = 'm';

    if ((daxpin_file_attach(key, &file) == 0) &&
        ((memory = daxpin_file_addr(file, 0, LENGTH)) != NULL)) {
        memory[0] = byte;
        if (write(ready, &byte, 1) == 1) {
            for (;;) {
                pause();
            }
        }
    }
    _exit(1);
}

static int start_member(const victim_t *me)
{
    daxpin_key_t key;
    int ready[2], ret;
    char byte;

    daxpin_file_key(me->file, &key);
    if (pipe2(ready, O_CLOEXEC) != 0) {
        return -1;
    }
    if (fork() == 0) {
        be_member(&key, ready[1]);
    }
    close(ready[1]);
    ret = (read(ready[0], &byte, 1) == 1) ? 0 : -1;
    close(ready[0]);
    return ret;
}

/* Adopt a file and do the steps. Return the name of what failed, or NULL. */
static const char *prepare(victim_t *me)
{
    const daxpin_params_t params = {.on_break = DAXPIN_ON_BREAK_REVOKE};
    uint64_t offset;
    int i;

    me->duplicates[0] = me->duplicates[1] = -1;
    take_numbers(me);
    if (make_file(me) != 0) {
        return "a file";
    }
    for (i = 0; (how & FREE_LOW) && (i < NUM_LOW / 2); ++i) {
        close(me->low[i]);
    }
    if (daxpin_file_adopt(me->memory, LENGTH, &params, &me->file,
                          &offset) != 0) {
        return daxpin_errormsg();
    }
    if (!(daxpin_file_locks(me->file) & DAXPIN_LOCK_HOLD)) {
        return "the hold: there is none";
    }
    if (how & DUP_LOW) {
        me->duplicates[0] = dup2(me->fd, me->low[NUM_LOW - 1]);
    }
    if (how & DUP_HIGH) {
        me->duplicates[1] = fcntl(me->fd, F_DUPFD_CLOEXEC,
                                  (how & LIMITED) ? LIMIT - 1 : HIGH);
        if (me->duplicates[1] < 0) {
            return "a high duplicate";
        }
    }
    if (how & CLOSED) {
        daxpin_file_unadopt(me->file, me->memory, LENGTH);
        munmap(me->memory, LENGTH);
        me->memory = NULL;
        close_fd(&me->fd);
    }
    if ((how & MEMBER) && (start_member(me) != 0)) {
        return "a member";
    }
    return (unlink(me->path) == 0) ? NULL : "the unlink";
}

static void end_victim(victim_t *me)
{
    switch (end) {
    case END_KILL:
        kill(0, SIGKILL);
        break;
    case END_EXIT:
        _exit(0);
    case END_EXEC:
        execl("/bin/true", "true", NULL);
        _exit(3);
    case END_CLOSE:
        daxpin_file_close(me->file);
        let_go(me);
        _exit(0);
    case END_CLOSE_LAST:
        if (me->memory != NULL) {
            daxpin_file_unadopt(me->file, me->memory, LENGTH);
        }
        let_go(me);
        daxpin_file_close(me->file);
        _exit(0);
    }
}

static void be_victim(int report)
{
    victim_t me = {.fd = -1};
    const char *problem;

    setpgid(0, 0);
    problem = prepare(&me);
    if (problem == NULL) {
        problem = "";
    }
    if ((write(report, problem, strlen(problem) + 1) < 0) ||
        (problem[0] != '\0')) {
        _exit(2);
    }
    end_victim(&me);
    _exit(4);
}

static void test_end(void)
{
    char problem[1024] = "";
    int report[2], status, ended = 0;
    pid_t pid;
    long ms;

    CHECK(pipe2(report, O_CLOEXEC) == 0, "pipe: %m");
    pid = fork();
    if (pid == 0) {
        be_victim(report[1]);
    }
    close(report[1]);
    /* One of its own, because a process that does not end keeps the pipe */
    CHECK(read(report[0], problem, sizeof(problem) - 1) > 0,
          "the process ended early");
    close(report[0]);
    for (ms = 0; !ended && (ms < END_MS * slow); ms += 20) {
        ended = waitpid(pid, &status, WNOHANG) == pid;
        pause_ms(20);
    }
    CHECK(problem[0] == '\0', "cannot be tested: %s", problem);
    CHECK(ended, "the process is still there after %ld ms", END_MS * slow);
    CHECK((end == END_KILL) ? WIFSIGNALED(status) :
          (WIFEXITED(status) && (WEXITSTATUS(status) == 0)),
          "the process ended with status %#x", status);
}

static void run_end(int flags, end_t kind)
{
    char name[256];
    size_t used, i;

    how  = flags;
    end  = kind;
    used = (size_t)snprintf(name, sizeof(name), "%s", ends[kind]);
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); ++i) {
        if (flags & steps[i].flag) {
            used += (size_t)snprintf(name + used, sizeof(name) - used, ", %s",
                                     steps[i].name);
        }
    }
    run(name, test_end);
}

int main(int argc, char **argv)
{
    const char *factor = getenv("DAXPIN_TEST_SLOW");
    int flags;
    end_t kind;

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: killed DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    slow      = (factor != NULL) ? atol(factor) : 1;
    for (flags = 0; flags < CROWDED; ++flags) {
        run_end(flags, END_KILL);
    }
    run_end(DUP_LOW | DUP_HIGH | CROWDED, END_KILL);
    run_end(DUP_LOW | DUP_HIGH | LIMITED, END_KILL);
    run_end(DUP_LOW | DUP_HIGH | MEMBER, END_KILL);
    run_end(CLOSED | MEMBER, END_KILL);
    for (kind = END_EXIT; kind <= END_CLOSE_LAST; ++kind) {
        run_end(0, kind);
        run_end(FREE_LOW | DUP_LOW | DUP_HIGH, kind);
    }
    return failed;
}
