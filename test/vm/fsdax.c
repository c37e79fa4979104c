/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What only fsdax shows: files whose blocks are held, and what becomes of those
 * who want to take them away.
 *
 * usage: fsdax DIRECTORY      (as root, in the virtual machine: it changes
 *                              fs.lease-break-time)
 *
 * Prints "ok NAME" or "not ok NAME: why" for each test.
 */

#define _GNU_SOURCE

#include <daxpin.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH (1 << 20)

static const char *directory;
static int        failed;
static char       why[2 * PATH_MAX];
static int        hold_works;

#define CHECK(_condition, ...) \
    do { \
        if (!(_condition)) { \
            snprintf(why, sizeof(why), __VA_ARGS__); \
            return; \
        } \
    } while (0)


static void note(daxpin_log_level_t level, const char *message)
{
    hold_works |= strstr(message, "stops a truncate") != NULL;
    fprintf(stderr, "# %d: %s\n", level, message);
}


static void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}


/* Is he still at it after so long? Waits no longer than needed. */
static int is_waiting(pid_t pid, long ms)
{
    for (; ms > 0; ms -= 20) {
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            return 0;
        }
        pause_ms(20);
    }
    return 1;
}


static int becomes(daxpin_file_t *file, daxpin_state_t state)
{
    int i;

    for (i = 0; (i < 500) && (daxpin_file_state(file) != state); ++i) {
        pause_ms(20);
    }
    return daxpin_file_state(file) == state;
}


/* A file of the program's own, mapped and then adopted */
typedef struct adopted {
    char          path[PATH_MAX];
    int           fd;
    char          *memory;
    daxpin_file_t *file;
} adopted_t;


static int adopt(adopted_t *me, const char *name, daxpin_on_break_t on_break)
{
    const daxpin_params_t params = {.on_break = on_break};
    uint64_t offset;

    snprintf(me->path, sizeof(me->path), "%s/%s", directory, name);
    me->fd = open(me->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if ((me->fd < 0) || (posix_fallocate(me->fd, 0, LENGTH) != 0)) {
        return -1;
    }
    me->memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
                      me->fd, 0);
    memset(me->memory, 'a', LENGTH);
    return daxpin_file_adopt(me->memory, LENGTH, &params, &me->file, &offset);
}


static void give_back(adopted_t *me)
{
    daxpin_file_unadopt(me->file, me->memory, LENGTH);
    daxpin_file_close(me->file);
    munmap(me->memory, LENGTH);
    close(me->fd);
    unlink(me->path);
}


static void test_is_held(void)
{
    adopted_t me;

    CHECK(adopt(&me, "held", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_file_is_dax(me.file), "%s is not DAX", me.path);
    CHECK(hold_works, "nobody said that a hold stops a truncate");
    CHECK(daxpin_file_state(me.file) == DAXPIN_STATE_HELD, "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    CHECK(daxpin_file_locks(me.file) == (DAXPIN_LOCK_LEASE | DAXPIN_LOCK_HOLD),
          "its locks are %u", daxpin_file_locks(me.file));
    give_back(&me);
}


static void test_reader(void)
{
    adopted_t me;
    pid_t pid;
    char byte = 0;
    int fd, is_lent;

    CHECK(adopt(&me, "read", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        fd = open(me.path, O_RDONLY);
        if (read(fd, &byte, 1) != 1) {
            _exit(1);
        }
        pause_ms(500);
        _exit(byte != 'a');
    }
    is_lent = becomes(me.file, DAXPIN_STATE_LENT);
    CHECK(!is_waiting(pid, 5000), "the reader was not let in");
    CHECK(is_lent, "it was never LENT");
    CHECK(becomes(me.file, DAXPIN_STATE_HELD), "it is %s after the reader",
          daxpin_state_name(daxpin_file_state(me.file)));
    give_back(&me);
}


/* The lease sees nothing of these; the hold makes them wait */
static void test_description(const char *name, int mode)
{
    adopted_t me;
    int waited;
    pid_t pid;

    CHECK(adopt(&me, name, DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        _exit(((mode == 0) ? ftruncate(me.fd, 4096) :
                             fallocate(me.fd, mode, LENGTH / 2, 65536)) != 0);
    }
    waited = is_waiting(pid, 1500);
    CHECK(waited, "it did not wait");
    CHECK(daxpin_file_state(me.file) == DAXPIN_STATE_HELD, "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    me.memory[LENGTH - 1] = 'b'; /* its block is still its own */
    daxpin_file_unadopt(me.file, me.memory, LENGTH);
    daxpin_file_close(me.file);
    CHECK(!is_waiting(pid, 10000), "it waits although the file is given back");
    munmap(me.memory, LENGTH);
    close(me.fd);
    unlink(me.path);
}


static void test_ftruncate(void)
{
    test_description("ftruncate", 0);
}


static void test_punch(void)
{
    test_description("punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}


static pid_t truncate_by_path(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(truncate(path, 4096) != 0);
    }
    return pid;
}


static void test_revoke(void)
{
    adopted_t me;
    char cause[1024];
    pid_t pid;

    CHECK(adopt(&me, "revoke", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    pid = truncate_by_path(me.path);
    CHECK(!is_waiting(pid, 10000), "the truncate was not let through");
    CHECK(becomes(me.file, DAXPIN_STATE_REVOKED), "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    CHECK(me.memory[LENGTH - 1] == 0, "the memory is not anonymous");
    daxpin_file_cause(me.file, cause, sizeof(cause));
    CHECK(strstr(cause, me.path) != NULL, "the cause is: %s", cause);
    give_back(&me);
}


/* The lease expires after a second; the hold does not */
static void test_expiry(void)
{
    adopted_t me;
    int waited;
    pid_t pid;

    CHECK(adopt(&me, "expiry", DAXPIN_ON_BREAK_HOLD) == 0, "%s",
          daxpin_errormsg());
    pid    = truncate_by_path(me.path);
    waited = is_waiting(pid, 5000);
    CHECK(waited, "the truncate did not wait");
    me.memory[LENGTH - 1] = 'b';
    give_back(&me);
    CHECK(!is_waiting(pid, 10000), "it waits although the file is given back");
}


/* Who dies holds nothing */
static void test_death(void)
{
    adopted_t me;
    int ready[2];
    char byte;
    pid_t holder, intruder;

    CHECK(pipe(ready) == 0, "no pipe");
    snprintf(me.path, sizeof(me.path), "%s/death", directory);
    holder = fork();
    if (holder == 0) {
        byte = adopt(&me, "death", DAXPIN_ON_BREAK_HOLD) == 0;
        if (write(ready[1], &byte, 1) == 1) {
            pause();
        }
        _exit(1);
    }
    CHECK((read(ready[0], &byte, 1) == 1) && byte, "it cannot be adopted");
    intruder = truncate_by_path(me.path);
    CHECK(is_waiting(intruder, 500), "the truncate did not wait");
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    CHECK(!is_waiting(intruder, 10000), "it waits for a dead process");
    unlink(me.path);
}


static void run(const char *name, void (*test)(void))
{
    why[0] = '\0';
    test();
    if (why[0] == '\0') {
        printf("ok %s\n", name);
    } else {
        printf("not ok %s: %s\n", name, why);
        failed = 1;
    }
}


static int set_lease_break_time(const char *seconds)
{
    FILE *file = fopen("/proc/sys/fs/lease-break-time", "w");

    return (file != NULL) && (fputs(seconds, file) >= 0) &&
           (fclose(file) == 0);
}


int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if ((argc != 2) || !set_lease_break_time("45")) {
        fprintf(stderr, "usage: fsdax DIRECTORY (as root)\n");
        return 2;
    }
    directory = argv[1];
    daxpin_set_log(note);
    run("a file is DAX and held", test_is_held);
    run("a reader is let in and costs nothing", test_reader);
    run("ftruncate of an open description waits", test_ftruncate);
    run("a hole punch of an open description waits", test_punch);
    run("a truncate revokes", test_revoke);
    run("the death of a holder lets a truncate pass", test_death);
    (void)set_lease_break_time("1");
    run("a truncate waits beyond the end of the lease", test_expiry);
    (void)set_lease_break_time("45");
    return failed;
}
