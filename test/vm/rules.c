/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The rules of "RDMA/FS DAX truncate proposal V1,000,002", 2019, as daxpin
 * gives them, on real fsdax. The name of each result has the number of
 * the rule and, after "by", the mechanism that kept the rule: the lease, the
 * hold, or none. Rule 3 has a line for everything that a process may do to an
 * exposed file; the table in README.md is made from these lines.
 *
 * usage: rules DIRECTORY      (as root, in the virtual machine: it changes
 *                              fs.lease-break-time)
 *
 * Prints "ok NAME" or "not ok NAME: why" for each test.
 */

#define _GNU_SOURCE

#include "daxpin/access.h"
#include "daxpin/file/file.h"
#include "daxpin/file/pin.h"
#include "daxpin/file/report.h"
#include "result.h"

#include <daxpin.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH   (1 << 20)
#define HALF     (LENGTH / 2)
#define EXTENT   65536
#define HUGE     (2 << 20)
#define WATCH_MS 700   /* a process that waits so long counts as waiting */
#define PASS_MS  30000 /* a process that has to pass passes within it */

static const char *directory;
static int        hold_works;

static void note(daxpin_log_level_t level, const char *message)
{
    hold_works |= strstr(message, "stops a truncate") != NULL;
    if (level < DAXPIN_LOG_DEBUG) {
        fprintf(stderr, "# %s\n", message);
    }
}

/* Return whether the process still runs after so long. Return early if not. */
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

/* Find the size of a file system. What of it is free is not known: XFS gives back
 * the blocks of files that were removed some time later. */
static int get_room(int fd, off_t *bytes_p)
{
    struct statvfs fs;

    if (fstatvfs(fd, &fs) != 0) {
        return -1;
    }
    *bytes_p = (off_t)(fs.f_blocks * fs.f_frsize);
    return 0;
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

static int set_lease_break_time(const char *seconds)
{
    FILE *file = fopen("/proc/sys/fs/lease-break-time", "w");

    return (file != NULL) && (fputs(seconds, file) >= 0) &&
           (fclose(file) == 0);
}

/* Return the mechanism that holds the file, for the name of a test. */
static const char *locks_of(const adopted_t *me)
{
    static char names[DAXPIN_LOCKS_NAMES_MAX];

    return daxpin_locks_names(daxpin_file_locks(me->file), names,
                              sizeof(names));
}

static int is_intact(const adopted_t *me)
{
    size_t i;

    for (i = 0; i < LENGTH; i += 4096) {
        if (me->memory[i] != 'a') {
            return 0;
        }
    }
    return 1;
}

/* Return the type of the lease of a description. */
static int lease_of(int fd)
{
    return fcntl(fd, F_GETLEASE);
}

/* Create a file without holes in the directory, and return its descriptor. */
static int make_file(char *path, const char *name, size_t length)
{
    int fd;

    snprintf(path, PATH_MAX, "%s/%s", directory, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if ((fd >= 0) && (posix_fallocate(fd, 0, (off_t)length) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/*
 * Rules 0 to 2
 */

static void test_device(void)
{
    uint64_t offset;
    daxpin_file_t *file;
    void *memory;
    glob_t found;
    int fd, ret;

    CHECK(glob("/dev/dax*", 0, NULL, &found) == 0, "there is no device DAX");
    fd     = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED, "%s: %m", found.gl_pathv[0]);
    ret = daxpin_file_adopt(memory, LENGTH, NULL, &file, &offset);
    CHECK(ret == DAXPIN_FOREIGN, "adopting it gives %d: %s", ret,
          daxpin_errormsg());
    CHECK(lease_of(fd) != F_WRLCK, "it has a lease");
    ret = daxpin_file_open(found.gl_pathv[0], LENGTH, NULL, &file);
    CHECK((ret == -EINVAL) && (strstr(daxpin_errormsg(), "device") != NULL),
          "opening it gives %d: %s", ret, daxpin_errormsg());
    munmap(memory, 2 << 20);
    close(fd);
    globfree(&found);
}

static void test_opt_in(void)
{
    char path[PATH_MAX];
    adopted_t me;
    void *memory;
    int fd;

    fd     = make_file(path, "not-in", LENGTH);
    memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK((memory != MAP_FAILED) && (lease_of(fd) == F_UNLCK),
          "a file that was mapped has a lease");
    CHECK(truncate(path, 4096) == 0, "it cannot be truncated: %m");
    munmap(memory, LENGTH);
    close(fd);
    unlink(path);

    CHECK(adopt(&me, "in", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK(lease_of(me.fd) == F_WRLCK, "the lease is of type %d",
          lease_of(me.fd));
    CHECK(daxpin_file_is_dax(me.file) && hold_works, "it is not held");
    CHECK(daxpin_file_locks(me.file) == (DAXPIN_LOCK_LEASE | DAXPIN_LOCK_HOLD),
          "its locks are %s", locks_of(&me));
    fd = open(me.path, O_RDWR | O_NONBLOCK);
    CHECK((fd < 0) && (errno == EAGAIN), "another process may open it");
    give_back(&me);
}

static void test_pin_without(void)
{
    daxpin_pin_t *pin;
    adopted_t me;
    int ret;

    CHECK(adopt(&me, "pin", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_lease_release(me.file) == 0, "%s", daxpin_errormsg());
    ret = daxpin_pin(me.file, 0, 4096, NULL, &pin);
    CHECK((ret == -EPERM) && (strstr(daxpin_errormsg(), me.path) != NULL),
          "a pin after the release gives %d: %s", ret, daxpin_errormsg());
    give_back(&me);

    CHECK(adopt(&me, "pin", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK((truncate(me.path, 4096) == 0) &&
          becomes(me.file, DAXPIN_STATE_REVOKED), "it is not revoked");
    ret = daxpin_pin(me.file, 0, 4096, NULL, &pin);
    CHECK(ret == -EPERM, "a pin after a revoke gives %d", ret);
    give_back(&me);
}

/*
 * Rule 3: what an intruder may do to an exposed file. fd refers to the
 * description that has the lease. Each function returns 0 or an errno value.
 */

static int error_of(int ret)
{
    return (ret < 0) ? errno : 0;
}

static int do_open(const char *path, int flags)
{
    int fd = open(path, flags);

    if (fd >= 0) {
        close(fd);
    }
    return error_of(fd);
}

static int do_read(const char *path, int fd)
{
    char byte = 0;

    fd = open(path, O_RDONLY);
    if ((fd < 0) || (read(fd, &byte, 1) != 1)) {
        return errno;
    }
    pause_ms(3000); /* so that it can be seen */
    return (byte == 'a') ? 0 : EIO;
}

static int do_stat(const char *path, int fd)
{
    struct stat st;

    (void)fd;
    return error_of(stat(path, &st));
}

static int do_write(const char *path, int fd)
{
    (void)fd;
    return do_open(path, O_RDWR);
}

static int do_o_trunc(const char *path, int fd)
{
    (void)fd;
    return do_open(path, O_WRONLY | O_TRUNC);
}

static int do_nonblock(const char *path, int fd)
{
    (void)fd;
    return do_open(path, O_WRONLY | O_NONBLOCK);
}

static int do_truncate(const char *path, int fd)
{
    (void)fd;
    return error_of(truncate(path, 4096));
}

static int do_grow(const char *path, int fd)
{
    (void)fd;
    return error_of(truncate(path, 2 * LENGTH));
}

static int do_punch_path(const char *path, int fd)
{
    fd = open(path, O_RDWR);
    return (fd < 0) ? errno :
           error_of(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              HALF, EXTENT));
}

static int do_ftruncate(const char *path, int fd)
{
    (void)path;
    return error_of(ftruncate(fd, 4096));
}

static int do_punch(const char *path, int fd)
{
    (void)path;
    return error_of(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              HALF, EXTENT));
}

static int do_collapse(const char *path, int fd)
{
    (void)path;
    return error_of(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, HALF, EXTENT));
}

static int do_unlink(const char *path, int fd)
{
    (void)fd;
    return error_of(unlink(path));
}

static int do_rename_over(const char *path, int fd)
{
    char other[PATH_MAX];

    fd = make_file(other, "other", 4096);
    close(fd);
    return error_of(rename(other, path));
}

typedef enum outcome {
    OUTCOME_NOTICED, /* it succeeds; the lease is lent to it, and comes back */
    OUTCOME_NOTHING, /* it succeeds, unnoticed */
    OUTCOME_AGAIN,   /* it gets EAGAIN */
    OUTCOME_REVOKES, /* it waits for the revoke */
    OUTCOME_WAITS    /* it waits until the file is released */
} outcome_t;

typedef struct intrusion {
    const char *name;
    int        (*func)(const char *path, int fd);
    outcome_t  outcome;
} intrusion_t;

static const intrusion_t intrusions[] = {
    {"open to read",                do_read,        OUTCOME_NOTICED},
    {"stat",                        do_stat,        OUTCOME_NOTHING},
    {"unlink",                      do_unlink,      OUTCOME_NOTHING},
    {"rename over it",              do_rename_over, OUTCOME_NOTHING},
    {"open with O_NONBLOCK",        do_nonblock,    OUTCOME_AGAIN},
    {"open to write",               do_write,       OUTCOME_REVOKES},
    {"open with O_TRUNC",           do_o_trunc,     OUTCOME_REVOKES},
    {"truncate",                    do_truncate,    OUTCOME_REVOKES},
    {"truncate that grows it",      do_grow,        OUTCOME_REVOKES},
    {"hole punch by path",          do_punch_path,  OUTCOME_REVOKES},
    {"ftruncate, inherited",        do_ftruncate,   OUTCOME_WAITS},
    {"hole punch, inherited",       do_punch,       OUTCOME_WAITS},
    {"collapse range, inherited",   do_collapse,    OUTCOME_WAITS}
};

static const char *const outcomes[] = {
    "passes, by lending the lease", "passes, by nothing being lost",
    "gets EAGAIN, by the lease",    "waits for the revoke, by the lease",
    "waits for the file to be given back, by the hold"
};

static const intrusion_t *intrusion; /* of the test that runs */

static pid_t start_intruder(const adopted_t *me)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(intrusion->func(me->path, me->fd));
    }
    return pid;
}

/* Return the errno value of the intruder, or -1 if it does not end. */
static int end_intruder(pid_t pid, long ms)
{
    int status = -1;

    for (; ms > 0; ms -= 20) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
        pause_ms(20);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return -1;
}

static void must_revoke(adopted_t *me, pid_t pid)
{
    char cause[1024];
    int error = end_intruder(pid, PASS_MS);

    CHECK(error == 0, "the intruder got error %d", error);
    CHECK(becomes(me->file, DAXPIN_STATE_REVOKED), "it is %s",
          daxpin_state_name(daxpin_file_state(me->file)));
    daxpin_file_cause(me->file, cause, sizeof(cause));
    CHECK(strstr(cause, me->path) != NULL, "the cause is: %s", cause);
    memset(me->memory, 'b', LENGTH); /* anonymous: no SIGBUS */
}

static void must_pass(adopted_t *me, pid_t pid, outcome_t outcome)
{
    int was_lent = (outcome == OUTCOME_NOTICED) &&
                   becomes(me->file, DAXPIN_STATE_LENT);
    int error    = end_intruder(pid, PASS_MS);

    CHECK(error == ((outcome == OUTCOME_AGAIN) ? EAGAIN : 0),
          "the intruder got error %d", error);
    CHECK((outcome != OUTCOME_NOTICED) || was_lent, "it was never LENT");
    CHECK(becomes(me->file, DAXPIN_STATE_HELD), "it is %s",
          daxpin_state_name(daxpin_file_state(me->file)));
    CHECK(is_intact(me), "the memory has changed");
}

/* No process is notified, and nothing is lost. */
static void must_wait(adopted_t *me, pid_t pid)
{
    CHECK(is_waiting(pid, WATCH_MS), "the intruder did not wait");
    CHECK(daxpin_file_state(me->file) == DAXPIN_STATE_HELD, "it is %s",
          daxpin_state_name(daxpin_file_state(me->file)));
    CHECK(is_intact(me), "the memory has changed");
    me->memory[LENGTH - 1] = 'b'; /* its block is still its own */
}

static void test_intrusion(void)
{
    outcome_t outcome = intrusion->outcome;
    int error;
    adopted_t me;
    pid_t pid;

    CHECK(adopt(&me, "file", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    pid = start_intruder(&me);
    if (outcome == OUTCOME_WAITS) {
        must_wait(&me, pid);
        daxpin_file_unadopt(me.file, me.memory, LENGTH);
        daxpin_file_close(me.file);
        error = end_intruder(pid, PASS_MS);
        CHECK(error == 0,
              "when the file is released, the intruder gets error %d", error);
        munmap(me.memory, LENGTH);
        close(me.fd);
        unlink(me.path);
        return;
    }
    if (outcome == OUTCOME_REVOKES) {
        must_revoke(&me, pid);
    } else {
        must_pass(&me, pid, outcome);
    }
    give_back(&me);
}

/* The lease expires after a second; the hold does not */
static void test_expiry(void)
{
    adopted_t me;
    int waited;
    pid_t pid;

    CHECK(set_lease_break_time("1"), "fs.lease-break-time: %m");
    CHECK(adopt(&me, "expiry", DAXPIN_ON_BREAK_HOLD) == 0, "%s",
          daxpin_errormsg());
    pid    = start_intruder(&me);
    waited = is_waiting(pid, 3000);
    CHECK(waited, "the truncate did not wait");
    CHECK(lease_of(me.fd) != F_WRLCK, "the lease is still there");
    CHECK(is_intact(&me), "the memory has changed");
    me.memory[LENGTH - 1] = 'b';
    give_back(&me);
    CHECK(end_intruder(pid, PASS_MS) == 0,
          "it waits although the file is given back");
    CHECK(set_lease_break_time("45"), "fs.lease-break-time: %m");
}

/* A reader keeps the file open, and another one truncates the file: the
 * truncate does not wait for the reader that the lease was lent to. */
static void test_lent(void)
{
    adopted_t me;
    pid_t pid;
    int fd;

    CHECK(adopt(&me, "lent", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    fd = open(me.path, O_RDONLY);
    CHECK((fd >= 0) && becomes(me.file, DAXPIN_STATE_LENT), "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    pause_ms(2000); /* longer than a truncate is waited for */
    CHECK(daxpin_file_state(me.file) == DAXPIN_STATE_LENT, "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    pid = start_intruder(&me);
    must_revoke(&me, pid);
    close(fd);
    give_back(&me);
}

/*
 * A process that waits for the hold goes on when the hold is dropped, although
 * the pages are used meanwhile, and so mapped. Since Linux 6.15 the kernel
 * waits for that, too.
 */

/* The range that the file is mapped to may be locked, with huge pages. */
static void test_used(void)
{
    const size_t size = 4 * HUGE;
    uint64_t offset;
    adopted_t me;
    pid_t pid;
    int error;

    me.fd     = make_file(me.path, "used", size);
    me.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, me.fd, 0);
    CHECK(me.memory != MAP_FAILED, "%m");
    memset(me.memory, 'a', size);
    CHECK(mlock(me.memory, size) == 0, "mlock: %m");
    CHECK(daxpin_file_adopt(me.memory, size, NULL, &me.file, &offset) == 0,
          "%s", daxpin_errormsg());
    pid = start_intruder(&me);
    CHECK(is_waiting(pid, WATCH_MS), "the intruder did not wait");
    me.memory[HUGE - 1] = 'b'; /* of the same huge page, if there are any */
    me.memory[0] = 'b';
    daxpin_file_unadopt(me.file, me.memory, size);
    daxpin_file_close(me.file);
    error = end_intruder(pid, PASS_MS);
    CHECK(error == 0, "the intruder gets error %d", error);
    munmap(me.memory, size);
    close(me.fd);
    unlink(me.path);
}

typedef struct user {
    char        *memory;
    _Atomic int done;
} user_t;

static void *use_page(void *arg)
{
    user_t *user = arg;

    while (!atomic_load(&user->done)) {
        (*(volatile char*)user->memory)++;
        pause_ms(1);
    }
    return NULL;
}

/* The library drops the hold to make the file longer, and then waits for the
 * process that waits for the hold. */
static void test_used_grow(void)
{
    daxpin_file_t *longer = NULL;
    user_t user           = {.done = 0};
    pthread_t thread;
    adopted_t me;
    int error, ret;
    pid_t pid;

    snprintf(me.path, sizeof(me.path), "%s/grow", directory);
    CHECK(daxpin_file_open(me.path, LENGTH, NULL, &me.file) == 0, "%s",
          daxpin_errormsg());
    me.fd       = dup(me.file->fd);
    user.memory = daxpin_file_addr(me.file, 0, LENGTH);
    CHECK((me.fd >= 0) && (user.memory != NULL), "%s", daxpin_errormsg());
    pid = start_intruder(&me);
    CHECK(is_waiting(pid, WATCH_MS), "the intruder did not wait");
    CHECK(pthread_create(&thread, NULL, use_page, &user) == 0, "no thread");
    pause_ms(100);
    ret   = daxpin_file_open(me.path, 2 * LENGTH, NULL, &longer);
    error = end_intruder(pid, PASS_MS);
    atomic_store(&user.done, 1);
    pthread_join(thread, NULL);
    daxpin_file_close(longer);
    daxpin_file_close(me.file);
    close(me.fd);
    unlink(me.path);
    CHECK(ret == 0, "making it longer gives %d", ret);
    CHECK(error == 0, "the intruder gets error %d", error);
}

/* A dead process holds nothing. */
static void test_death(void)
{
    pid_t holder, pid;
    adopted_t me;
    int ready[2];
    char byte;

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
    pid = start_intruder(&me);
    CHECK(is_waiting(pid, WATCH_MS), "the truncate did not wait");
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    CHECK(end_intruder(pid, PASS_MS) == 0, "it waits for a dead process");
    unlink(me.path);
}

/*
 * Rules 4 to 9
 */

static void test_release(void)
{
    daxpin_pin_t *old, *new;
    daxpin_access_t access;
    adopted_t me;
    pid_t pid;

    CHECK(adopt(&me, "release", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_pin(me.file, 0, LENGTH, NULL, &old) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_lease_release(me.file) == 0, "%s", daxpin_errormsg());
    CHECK(lease_of(me.fd) == F_UNLCK, "the lease is still there");
    CHECK(daxpin_pin(me.file, 0, 4096, NULL, &new) == -EPERM,
          "a new pin is allowed");
    CHECK(daxpin_pin_find(me.file, HALF, 1) == old, "the old pin is gone");
    daxpin_access_init(me.file, daxpin_slot_get(), &access);
    CHECK(daxpin_access_begin(&access) == 0, "access is not allowed");
    me.memory[HALF] = 'a';
    CHECK(daxpin_access_end(&access, HALF, 1) == 0, "access has failed");

    pid = start_intruder(&me);
    CHECK(is_waiting(pid, WATCH_MS), "a truncate of the old pin passes");
    CHECK(is_intact(&me), "the memory has changed");
    daxpin_unpin(old);
    give_back(&me);
    CHECK(end_intruder(pid, PASS_MS) != -1, "the intruder waits for ever");
}

/* The pin holds, whatever the program closes or unmaps. */
static void without_mine(int unmaps)
{
    daxpin_pin_t *pin;
    adopted_t me;
    int fd;

    CHECK(adopt(&me, "mine", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_pin(me.file, 0, LENGTH, NULL, &pin) == 0, "%s",
          daxpin_errormsg());
    fd = dup(me.fd); /* the intruder's */
    close(me.fd);
    if (unmaps) {
        daxpin_file_unadopt(me.file, me.memory, LENGTH);
        munmap(me.memory, LENGTH);
    }
    CHECK((daxpin_file_state(me.file) == DAXPIN_STATE_HELD) &&
          (lease_of(fd) == F_WRLCK), "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    me.fd = fd;
    const pid_t pid = start_intruder(&me);
    CHECK(is_waiting(pid, WATCH_MS), "an ftruncate of the pin passes");
    daxpin_unpin(pin);
    if (!unmaps) {
        daxpin_file_unadopt(me.file, me.memory, LENGTH);
    }
    daxpin_file_close(me.file);
    CHECK(end_intruder(pid, PASS_MS) == 0, "the intruder waits for ever");
    if (!unmaps) {
        munmap(me.memory, LENGTH);
    }
    close(fd);
    unlink(me.path);
}

static void test_close(void)
{
    without_mine(0);
}

static void test_unmap(void)
{
    without_mine(1);
}

/* Find the record of this process's pins of a path for an owner. */
static daxpin_report_record_t find_record(const char *path, int owner_fd)
{
    daxpin_report_record_t none = {.used = 0};
    char link[64], target[128];
    daxpin_report_t *report;
    ssize_t length;
    int fd, i;

    for (fd = 0; fd < 256; ++fd) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        length = readlink(link, target, sizeof(target) - 1);
        target[(length > 0) ? length : 0] = '\0';
        if (strstr(target, DAXPIN_REPORT_NAME) == NULL) {
            continue;
        }
        report = mmap(NULL, sizeof(*report), PROT_READ, MAP_SHARED, fd, 0);
        for (i = 0; i < DAXPIN_REPORT_RECORDS; ++i) {
            if (report->records[i].used &&
                (report->records[i].owner_fd == owner_fd) &&
                (strcmp(report->records[i].path, path) == 0)) {
                none = report->records[i];
            }
        }
        munmap(report, sizeof(*report));
    }
    return none;
}

static void test_owner(void)
{
    daxpin_report_record_t record;
    daxpin_owner_t owner = {.type = DAXPIN_OWNER_FILE};
    daxpin_pin_t *pin, *mine;
    adopted_t me;

    owner.fd = open("/dev/null", O_RDWR); /* for a context of a NIC's */
    CHECK(adopt(&me, "owner", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK((daxpin_pin(me.file, 0, HALF, &owner, &pin) == 0) &&
          (daxpin_pin(me.file, 0, LENGTH, NULL, &mine) == 0), "%s",
          daxpin_errormsg());
    record = find_record(me.path, owner.fd);
    CHECK(record.used && (record.bytes == HALF) &&
          (record.owner_type == DAXPIN_OWNER_FILE) &&
          (record.holder_pid == (uint32_t)getpid()),
          "the file that owns a pin is not reported");
    record = find_record(me.path, -1);
    CHECK(record.used && (record.bytes == LENGTH) &&
          (record.owner_type == DAXPIN_OWNER_PROCESS),
          "the process that owns a pin is not reported");
    daxpin_unpin(mine);
    daxpin_unpin(pin);
    CHECK(!find_record(me.path, owner.fd).used &&
          !find_record(me.path, -1).used, "pins that are gone are reported");
    close(owner.fd);
    give_back(&me);
}

/* A process without a NIC that puts until an access is refused */
static int put_until_revoked(const daxpin_key_t *key, int ready)
{
    daxpin_access_t access;
    daxpin_file_t *file;
    char *memory, byte;
    long i;

    if (daxpin_file_attach(key, &file) != 0) {
        return 1;
    }
    memory = daxpin_file_addr(file, 0, LENGTH);
    daxpin_access_init(file, daxpin_slot_get(), &access);
    for (i = 0; daxpin_access_begin(&access) == 0; ++i) {
        memory[i % LENGTH] = 'p';
        if (daxpin_access_end(&access, (uint64_t)(i % LENGTH), 1) != 0) {
            break;
        }
        if ((i == 1000) && (write(ready, &byte, 1) != 1)) {
            return 2;
        }
    }
    daxpin_file_close(file);
    return (i > 1000) ? 0 : 3;
}

static void test_shared_memory(void)
{
    pid_t origin, pid;
    daxpin_key_t key;
    adopted_t me;
    int ready[2], error;
    char byte;

    CHECK(adopt(&me, "shared", DAXPIN_ON_BREAK_REVOKE) == 0, "%s",
          daxpin_errormsg());
    CHECK(pipe(ready) == 0, "no pipe");
    daxpin_file_key(me.file, &key);
    origin = fork();
    if (origin == 0) {
        _exit(put_until_revoked(&key, ready[1]));
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1, "it puts nothing");
    pid   = start_intruder(&me);
    error = end_intruder(pid, PASS_MS);
    CHECK(error == 0, "the truncate gets error %d", error);
    error = end_intruder(origin, PASS_MS);
    CHECK(error == 0, "the process that puts ends with %d", error);
    close(ready[0]);
    give_back(&me);
}

static void test_neither(void)
{
    char path[PATH_MAX];
    adopted_t me;
    int fd;

    CHECK(adopt(&me, "both", DAXPIN_ON_BREAK_HOLD) == 0, "%s",
          daxpin_errormsg());
    fd = make_file(path, "neither", LENGTH);
    CHECK((ftruncate(fd, 4096) == 0) && (truncate(path, 0) == 0),
          "another file: %m");
    close(fd);
    unlink(path);
    daxpin_file_unadopt(me.file, me.memory, LENGTH);
    daxpin_file_close(me.file);
    CHECK((ftruncate(me.fd, HALF) == 0) && (truncate(me.path, 4096) == 0),
          "the file when it is given back: %m");
    munmap(me.memory, LENGTH);
    close(me.fd);
    unlink(me.path);
}

/* Run this test first: libdaxpin tries once whether a hold works, and here the
 * file system has no space for the trial. */
static void test_full(void)
{
    char path[PATH_MAX];
    off_t part, end = 0;
    adopted_t me;
    int fd, ret;
    pid_t pid;

    me.fd = make_file(me.path, "full", LENGTH);
    me.memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, me.fd,
                     0);
    memset(me.memory, 'a', LENGTH);
    munmap(me.memory, LENGTH);
    close(me.fd);
    fd = make_file(path, "ballast", 4096);
    for (part = 1 << 28; part >= 4096; part /= 2) {
        while (fallocate(fd, 0, end, part) == 0) {
            end += part;
        }
    }
    ret = daxpin_file_open(me.path, LENGTH, NULL, &me.file);
    if (ret == 0) {
        me.fd  = fcntl(me.file->fd, F_DUPFD_CLOEXEC, 0);
        pid    = start_intruder(&me);
        ret    = is_waiting(pid, WATCH_MS);
        close(me.fd);
        daxpin_file_close(me.file);
        end_intruder(pid, PASS_MS);
    }
    close(fd);
    unlink(path);
    unlink(me.path);
    CHECK(ret >= 0, "%s", daxpin_errormsg());
    CHECK(ret, "an ftruncate passes");
}

/* A sparse file may be longer than its file system has room for: it is refused,
 * and the file system does not become full. */
static void test_sparse(void)
{
    struct stat before, after;
    uint64_t offset;
    adopted_t me;
    off_t length;
    int ret;

    me.fd = make_file(me.path, "sparse", 4096);
    CHECK(get_room(me.fd, &length) == 0, "statvfs: %m");
    length += 64 * LENGTH;
    CHECK((ftruncate(me.fd, length) == 0) && (fstat(me.fd, &before) == 0),
          "a sparse file: %m");
    me.memory = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED,
                     me.fd, 0);
    CHECK(me.memory != MAP_FAILED, "its mapping: %m");
    ret = daxpin_file_adopt(me.memory, (size_t)length, NULL, &me.file, &offset);
    munmap(me.memory, (size_t)length);
    CHECK(ret == -ENOSPC, "adopted: %d: %s", ret, daxpin_errormsg());
    close(me.fd);
    ret = daxpin_file_open(me.path, 0, NULL, &me.file);
    CHECK(ret == -ENOSPC, "opened: %d: %s", ret, daxpin_errormsg());
    CHECK(stat(me.path, &after) == 0, "stat: %m");
    CHECK((after.st_blocks == before.st_blocks) &&
          (after.st_size == before.st_size), "it has %ld blocks instead of %ld",
          (long)after.st_blocks, (long)before.st_blocks);
    unlink(me.path);
}

static const intrusion_t *find_intrusion(int (*func)(const char *, int))
{
    size_t i = 0;

    while (intrusions[i].func != func) {
        ++i;
    }
    return &intrusions[i];
}

static void run_intrusions(void)
{
    char name[256];
    size_t i;

    for (i = 0; i < sizeof(intrusions) / sizeof(intrusions[0]); ++i) {
        intrusion = &intrusions[i];
        snprintf(name, sizeof(name), "rule 3: %s %s", intrusion->name,
                 outcomes[intrusion->outcome]);
        run(name, test_intrusion);
    }
    intrusion = find_intrusion(do_truncate);
    run("rule 3: a truncate waits when the lease is over, by the hold",
        test_expiry);
    run("rule 3: a truncate while a reader is let in waits for the revoke, by "
        "the hold", test_lent);
    intrusion = find_intrusion(do_punch);
    run("rule 3: a hole punch goes on when the file is given back, though its "
        "pages are used, by unmapping", test_used);
    run("rule 3: a hole punch goes on while the file is made longer, though "
        "its pages are used, by unmapping", test_used_grow);
    intrusion = find_intrusion(do_truncate);
    run("rule 3: a truncate does not wait longer once the holder is killed, "
        "by none", test_death);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if ((argc != 2) || !set_lease_break_time("45")) {
        fprintf(stderr, "usage: rules DIRECTORY (as root)\n");
        return 2;
    }
    directory = argv[1];
    daxpin_set_log(note);
    intrusion = find_intrusion(do_ftruncate);
    run("on a full file system a file is held, by the hold", test_full);
    run("a sparse file that has no room stays sparse, by none", test_sparse);
    run("rule 0: device DAX is not touched, by none", test_device);
    run("rule 1: the user opts in with an exclusive lease, by F_WRLCK",
        test_opt_in);
    run("rule 2: a pin fails without a lease, by the library",
        test_pin_without);
    run_intrusions();
    run("rule 4: a release stops new pins and keeps old ones, by the hold",
        test_release);
    intrusion = find_intrusion(do_ftruncate);
    run("rule 5: closing is fine, by a descriptor of the library's own and "
        "the hold", test_close);
    run("rule 6: unmapping is fine, by a mapping of the library's own and the "
        "hold", test_unmap);
    run("rule 7: a pin has an owner, by the report", test_owner);
    intrusion = find_intrusion(do_truncate);
    run("rule 8: not only for NICs: shared memory, by the access check",
        test_shared_memory);
    run("rule 9: what is neither pinned nor leased can be truncated, by none",
        test_neither);
    return failed;
}
