/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A job with the guard: intruders get an error and the job keeps its file, also
 * when the daemon starts and ends.
 *
 * usage: guard GUARDD DIRECTORY      (as root, in the virtual machine; no
 *                                     other daemon may run)
 *
 *   DAXPIN_GUARD_ROUNDS  intrusions in all; default: 400
 *   DAXPIN_GUARD_BENCH   measure calls on other files instead, so many each
 *
 * Prints "ok NAME" or "not ok NAME: why" for each test.
 */

#define _GNU_SOURCE

#include "daemon.h"
#include "owner.h"

#include "daxpin/access.h"
#include <daxpin.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096
#define LENGTH (64 * PAGE)
#define START  (16 * PAGE)
#define END    (32 * PAGE)
/* s; how long jobs wait for another daemon when one has died */
#define RESTART_MAX 9

#define PUNCH  (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

/* errno of a call, 0 if it succeeded */
#define ERROR_OF(_call) (((_call) < 0) ? errno : 0)

static const char *directory;

static void note(daxpin_log_level_t level, const char *message)
{
    fprintf(stderr, "# %d: %s\n", level, message);
}

/*
 * A job
 */

typedef struct job {
    char           path[PATH_MAX];
    daxpin_file_t  *file;
    daxpin_pin_t   *pin;
    daxpin_access_t access;
    char           *memory;
} job_t;

static int job_open_with(job_t *job, const char *where, const char *name,
                         const daxpin_params_t *params)
{
    snprintf(job->path, sizeof(job->path), "%s/%s", where, name);
    unlink(job->path);
    job->pin = NULL;
    if (daxpin_file_open(job->path, LENGTH, params, &job->file) != 0) {
        return -1;
    }
    job->memory = daxpin_file_addr(job->file, 0, LENGTH);
    daxpin_access_init(job->file, daxpin_slot_get(), &job->access);
    memset(job->memory, 'a', LENGTH);
    return 0;
}

static int job_open(job_t *job, const char *where, const char *name)
{
    return job_open_with(job, where, name, NULL);
}

static int job_pin(job_t *job)
{
    return daxpin_pin(job->file, START, END - START, NULL, &job->pin);
}

static int has_guard(daxpin_file_t *file)
{
    int i;

    for (i = 0; (i < 3000) && !(daxpin_file_locks(file) & DAXPIN_LOCK_GUARD);
         ++i) {
        pause_ms(20);
    }
    return i < 3000;
}

/* Do that, and wait for the guard: a pin waits for it no longer than a second,
 * and is unguarded until then. */
static int job_pin_guarded(job_t *job)
{
    int ret = job_pin(job);

    return ((ret != 0) || has_guard(job->file)) ? ret : -ETIMEDOUT;
}

static void job_close(job_t *job)
{
    daxpin_unpin(job->pin);
    daxpin_file_close(job->file);
    unlink(job->path);
}

static int becomes(daxpin_file_t *file, daxpin_state_t state)
{
    int i;

    for (i = 0; (i < 3000) && (daxpin_file_state(file) != state); ++i) {
        pause_ms(20);
    }
    return daxpin_file_state(file) == state;
}

static const char *state_of(const job_t *job)
{
    return daxpin_state_name(daxpin_file_state(job->file));
}

/*
 * Intruders are child processes. An intruder exits with the errno value that it
 * got.
 */

static int intrude(const char *path, int how)
{
    int fd, ret;

    switch (how % 5) {
    case 0:
        return (truncate(path, START) < 0) ? errno : 0;
    case 1:
        return (open(path, O_RDWR | O_TRUNC) < 0) ? errno : 0;
    case 2:
        return (creat(path, 0600) < 0) ? errno : 0;
    default:
        fd = open(path, O_RDWR);
        if (fd < 0) {
            return errno;
        }
        ret = (how % 5 == 3) ? ftruncate(fd, END - 1) :
                               fallocate(fd, PUNCH, START, PAGE);
        ret = (ret < 0) ? errno : 0;
        close(fd);
        return ret;
    }
}

static pid_t intruder(const char *path, int how)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(intrude(path, how));
    }
    return pid;
}

/* Return the exit status of a child; -1: it still runs. */
static int status_of(pid_t pid, long ms)
{
    int status;

    for (; ms > 0; ms -= 20) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
        }
        pause_ms(20);
    }
    return -1;
}

/*
 * Tests
 */

static void test_refused(void)
{
    char byte = 'b', names[DAXPIN_LOCKS_NAMES_MAX];
    job_t job;
    int how, status;

    CHECK(job_open(&job, directory, "refused") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    CHECK(daxpin_file_locks(job.file) & DAXPIN_LOCK_GUARD, "locks: %s",
          daxpin_locks_names(daxpin_file_locks(job.file), names,
                             sizeof(names)));
    for (how = 0; how < 5; ++how) {
        status = status_of(intruder(job.path, how), 60000);
        CHECK(status == ETXTBSY, "intruder %d: %s", how, strerror(status));
        CHECK(becomes(job.file, DAXPIN_STATE_HELD), "after intruder %d it is "
              "%s", how, state_of(&job));
    }
    job.memory[START] = byte;
    job_close(&job);
}

/* Start a process that opens the file and then does nothing. */
static pid_t opener(const char *path, int flags)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (open(path, flags) < 0) {
            _exit(errno);
        }
        pause();
    }
    return pid;
}

static void test_reader_in(void)
{
    int status;
    pid_t pid;
    job_t job;

    CHECK(job_open(&job, directory, "reader") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    pid = opener(job.path, O_RDONLY);
    CHECK(becomes(job.file, DAXPIN_STATE_LENT), "it is %s", state_of(&job));
    status = status_of(intruder(job.path, 0), 60000);
    CHECK(status == ETXTBSY, "truncate: %s", strerror(status));
    CHECK(daxpin_file_state(job.file) == DAXPIN_STATE_LENT, "it is %s",
          state_of(&job));
    kill(pid, SIGKILL);
    CHECK(status_of(pid, 60000) == -2, "the process still runs");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    job_close(&job);
}

/* An intruder with O_NONBLOCK gets EAGAIN. */
static void test_nonblock(void)
{
    int status;
    job_t job;

    CHECK(job_open(&job, directory, "nonblock") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    status = status_of(opener(job.path, O_WRONLY | O_NONBLOCK), 60000);
    CHECK(status == EAGAIN, "open: %s", strerror(status));
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    job_close(&job);
}

static void test_on_break_hold(void)
{
    const daxpin_params_t params = {.on_break = DAXPIN_ON_BREAK_HOLD};
    int how, status;
    job_t job;

    CHECK(job_open_with(&job, directory, "hold", &params) == 0, "%s",
          daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    for (how = 0; how < 5; ++how) {
        status = status_of(intruder(job.path, how), 60000);
        CHECK(status == ETXTBSY, "intruder %d: %s", how, strerror(status));
        CHECK(becomes(job.file, DAXPIN_STATE_HELD), "after intruder %d it is "
              "%s", how, state_of(&job));
    }
    job_close(&job);
}

static int set_break_time(const char *seconds)
{
    FILE *file = fopen("/proc/sys/fs/lease-break-time", "w");

    return (file != NULL) && (fputs(seconds, file) >= 0) &&
           (fclose(file) == 0);
}

/* The job of another process, and what lets it end */
static job_t sleeper;
static int   go[2];

static int set_up_sleeper(void)
{
    return ((job_open(&sleeper, directory, "sleeper") == 0) &&
            (job_pin(&sleeper) == 0) && has_guard(sleeper.file)) ? 0 : -1;
}

static void end_sleeper(void)
{
    char byte;

    if ((read(go[0], &byte, 1) != 1) ||
        !becomes(sleeper.file, DAXPIN_STATE_HELD) ||
        (sleeper.memory[START] != 'a')) {
        _exit(1);
    }
    job_close(&sleeper);
    _exit(0);
}

/* Truncate the file of a job that is stopped, until its lease expires. */
static void truncate_stopped(owner_t *job)
{
    char path[PATH_MAX];
    int status;

    snprintf(path, sizeof(path), "%s/sleeper", directory);
    kill(job->pid, SIGSTOP);
    CHECK(set_break_time("3"), "lease-break-time: %m");
    status = status_of(intruder(path, 0), 60000);
    CHECK(set_break_time("45"), "lease-break-time: %m");
    kill(job->pid, SIGCONT);
    CHECK(status == ETXTBSY, "truncate: %s", strerror(status));
    CHECK(write(go[1], "", 1) == 1, "%m");
    status = status_of(job->pid, 60000);
    if (status != -1) {
        job->pid = 0; /* It has ended */
    }
    CHECK(status == 0, "the job has lost its file");
}

/* A job is stopped: the lease expires, and then the guard refuses. */
static void test_stopped_job(void)
{
    owner_t job;

    CHECK(pipe(go) == 0, "%m");
    if (start_owner(&job, set_up_sleeper, end_sleeper) == 0) {
        truncate_stopped(&job);
    }
    end_owner(&job);
    close(go[0]);
    close(go[1]);
}

/* Do everything that a process may do to a range that is not pinned. Return
 * 0 or an errno value. tmpfs does not zero ranges. */
static int outside(const char *path, int fd)
{
    char bytes[PAGE];

    if ((fallocate(fd, PUNCH, 0, START) != 0) ||
        ((fallocate(fd, FALLOC_FL_ZERO_RANGE, END, PAGE) != 0) &&
         (errno != EOPNOTSUPP)) ||
        (pwrite(fd, "b", 1, END) != 1) || (pread(fd, bytes, PAGE, END) < 0) ||
        (ftruncate(fd, LENGTH - PAGE) != 0) || (truncate(path, END) != 0)) {
        return errno;
    }
    return 0;
}

/* A truncate of a range that is not pinned succeeds, and the job keeps its
 * file. first: the range of the held page is pinned */
static void by_range(const char *where, int first)
{
    const uint64_t start = first ? 0 : START;
    const unsigned hold  = !strcmp(where, directory) ? DAXPIN_LOCK_HOLD : 0;
    struct stat st;
    double begin;
    job_t job;
    pid_t pid;
    int fd, i;

    CHECK(job_open(&job, where, "range") == 0, "%s", daxpin_errormsg());
    CHECK(daxpin_pin(job.file, start, END - start, NULL, &job.pin) == 0, "%s",
          daxpin_errormsg());
    CHECK(has_guard(job.file), "it is unguarded");
    CHECK((daxpin_file_locks(job.file) & DAXPIN_LOCK_HOLD) == hold,
          "its hold is not as it should be");
    begin = now();
    for (i = 0; i < 3; ++i) {
        pid = fork();
        if (pid == 0) {
            fd = open(job.path, O_RDWR);
            if (first && (fallocate(fd, PUNCH, 0, PAGE) == 0)) {
                _exit(1);
            }
            _exit((fd < 0) ? errno : first ? 0 : outside(job.path, fd));
        }
        CHECK(status_of(pid, 60000) == 0, "the intruder was refused");
        CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s",
              state_of(&job));
        CHECK((daxpin_file_locks(job.file) & DAXPIN_LOCK_HOLD) == hold,
              "its hold is not back");
    }
    fprintf(stderr, "# %s: served in %.3f s\n", where, now() - begin);
    CHECK((stat(job.path, &st) == 0) &&
          (st.st_size == (first ? LENGTH : END)), "its size is %ld",
          (long)st.st_size);
    CHECK(job.memory[START] == 'a', "its content is gone");
    CHECK(job.memory[0] == (first ? 'a' : 0), "its first page is %d",
          job.memory[0]);
    job_close(&job);
}

static void test_by_range_held(void)
{
    by_range(directory, 0);
    by_range(directory, 1);
}

static void test_by_range_unheld(void)
{
    by_range("/dev/shm", 0);
}

/* A hold that is placed again holds, though its first page was a hole. */
static void test_hold_again(void)
{
    pid_t pid;
    job_t job;
    int fd;

    CHECK(job_open(&job, directory, "again") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        fd = open(job.path, O_RDWR);
        _exit((fd < 0) ? errno : outside(job.path, fd));
    }
    CHECK(status_of(pid, 60000) == 0, "the intruder was refused");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    daxpin_unpin(job.pin);
    job.pin = NULL;
    CHECK(daxpin_lease_release(job.file) == 0, "%s", daxpin_errormsg());
    pid = intruder(job.path, 0);
    CHECK(status_of(pid, 2000) == -1, "the intruder does not wait");
    job_close(&job);
    CHECK(status_of(pid, 60000) == 0, "the intruder still waits");
}

/* A process opened the file before there was a lease: no signal comes. */
static void test_inherited(void)
{
    const daxpin_params_t params = {.on_break = DAXPIN_ON_BREAK_REVOKE};
    char path[PATH_MAX], *memory;
    daxpin_file_t *file;
    daxpin_pin_t *pin;
    uint64_t offset;
    pid_t pid;
    int fd;

    snprintf(path, sizeof(path), "%s/inherited", directory);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK((fd >= 0) && (ftruncate(fd, LENGTH) == 0), "%m");
    memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(memory + START, 'a', END - START);
    CHECK(daxpin_file_adopt(memory, LENGTH, &params, &file, &offset) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_pin(file, START, END - START, NULL, &pin) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_file_locks(file) & DAXPIN_LOCK_HOLD, "it is not held");
    pid = fork();
    if (pid == 0) {
        if ((ftruncate(fd, END - 1) == 0) || (errno != ETXTBSY)) {
            _exit(255);
        }
        _exit(outside(path, fd));
    }
    CHECK(status_of(pid, 60000) == 0, "the intruder was not served");
    CHECK(becomes(file, DAXPIN_STATE_HELD), "it is %s",
          daxpin_state_name(daxpin_file_state(file)));
    CHECK(memory[START] == 'a', "its content is gone");
    daxpin_unpin(pin);
    daxpin_file_unadopt(file, memory, LENGTH);
    daxpin_file_close(file);
    munmap(memory, LENGTH);
    close(fd);
    unlink(path);
}

/* A writer keeps the file open: the job continues. */
static void test_writer_stays(void)
{
    job_t job;
    int fd, i;
    pid_t pid;

    CHECK(job_open(&job, directory, "writer") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        fd = open(job.path, O_RDWR);
        for (i = 0; i < 30; ++i) {
            if ((ftruncate(fd, 0) == 0) || (errno != ETXTBSY)) {
                _exit(1);
            }
            pause_ms(100);
        }
        _exit(0);
    }
    CHECK(becomes(job.file, DAXPIN_STATE_LENT), "it is %s", state_of(&job));
    for (i = 0; i < 100; ++i) {
        CHECK(daxpin_access_begin(&job.access) == 0, "no access: it is %s",
              state_of(&job));
        job.memory[START + i] = 'b';
        CHECK(daxpin_access_end(&job.access, START + (uint64_t)i, 1) == 0,
              "access %d was lost", i);
        pause_ms(10);
    }
    CHECK(status_of(pid, 60000) == 0, "the intruder was not refused");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    CHECK(job.memory[START] == 'b', "what was written is gone");
    job_close(&job);
}

static void test_unpinned(void)
{
    job_t job;

    CHECK(job_open(&job, directory, "unpinned") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    daxpin_unpin(job.pin);
    job.pin = NULL;
    CHECK(status_of(intruder(job.path, 0), 60000) == 0,
          "the intruder was refused");
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    job_close(&job);
}

/* A close waits for the guard for a tenth of a second only. */
static void test_closed(void)
{
    job_t job;

    CHECK(job_open(&job, directory, "closed") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    daxpin_unpin(job.pin);
    daxpin_file_close(job.file);
    CHECK(truncates_soon(job.path), "truncate: %m");
    unlink(job.path);
}

/* Only the second of two processes has a pin. */
static void test_member(void)
{
    int to_member[2], from_member[2], status, fd;
    daxpin_file_t *file;
    daxpin_key_t key;
    daxpin_pin_t *pin;
    char byte;
    pid_t member, other;
    job_t job;

    CHECK((pipe(to_member) == 0) && (pipe(from_member) == 0), "%m");
    member = fork();
    if (member == 0) {
        if ((read(to_member[0], &key, sizeof(key)) != sizeof(key)) ||
            (daxpin_file_attach(&key, &file) != 0) ||
            (daxpin_pin(file, START, END - START, NULL, &pin) != 0) ||
            (write(from_member[1], "", 1) != 1) ||
            (read(to_member[0], &byte, 1) != 1)) {
            _exit(1);
        }
        daxpin_unpin(pin);
        if ((write(from_member[1], "", 1) != 1) ||
            (read(to_member[0], &byte, 1) != 1)) {
            _exit(1);
        }
        _exit(daxpin_file_state(file) != DAXPIN_STATE_REVOKED);
    }
    CHECK(job_open(&job, directory, "member") == 0, "%s", daxpin_errormsg());
    daxpin_file_key(job.file, &key);
    CHECK(write(to_member[1], &key, sizeof(key)) == sizeof(key), "%m");
    CHECK(read(from_member[0], &byte, 1) == 1, "the member has failed");
    status = status_of(intruder(job.path, 0), 60000);
    CHECK(status == ETXTBSY, "truncate: %s", strerror(status));
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    other = fork();
    if (other == 0) {
        fd = open(job.path, O_RDWR);
        _exit((fd < 0) ? errno : outside(job.path, fd));
    }
    status = status_of(other, 60000);
    CHECK(status == 0, "where nothing is pinned: %s", strerror(status));
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    CHECK(write(to_member[1], "", 1) == 1, "%m");
    CHECK(read(from_member[0], &byte, 1) == 1, "the member has failed");
    status = status_of(intruder(job.path, 0), 60000);
    CHECK(status == 0, "truncate without a pin: %s", strerror(status));
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    CHECK(write(to_member[1], "", 1) == 1, "%m");
    CHECK(status_of(member, 60000) == 0, "it is not revoked at the member");
    job_close(&job);
}

typedef struct user {
    char       *page;
    atomic_int stop;
} user_t;

static void *use_page(void *arg)
{
    user_t *user = arg;

    while (!atomic_load(&user->stop)) {
        ++*(volatile char*)user->page;
        pause_ms(1);
    }
    return NULL;
}

/* A member that uses the held page until a byte comes */
static int use_as_member(const daxpin_key_t *key, int ready, int end)
{
    struct pollfd byte = {.fd = end, .events = POLLIN};
    daxpin_file_t *file;
    daxpin_pin_t *pin;
    char *memory;

    if ((daxpin_file_attach(key, &file) != 0) ||
        (daxpin_pin(file, START, END - START, NULL, &pin) != 0) ||
        ((memory = daxpin_file_addr(file, 0, LENGTH)) == NULL) ||
        (write(ready, "", 1) != 1)) {
        return 1;
    }
    while (poll(&byte, 1, 1) == 0) {
        ++*(volatile char*)memory;
    }
    return 0;
}

/* Holder and member drop their holds for an intruder, and go on to use the held
 * page. */
static void test_used(void)
{
    int to_member[2], from_member[2], status, fd;
    char path[PATH_MAX], byte;
    user_t user = {.stop = 0};
    daxpin_file_t *file;
    pthread_t thread;
    uint64_t offset;
    daxpin_key_t key;
    pid_t member, other;

    snprintf(path, sizeof(path), "%s/used", directory);
    CHECK((pipe(to_member) == 0) && (pipe(from_member) == 0), "%m");
    member = fork();
    if (member == 0) {
        _exit((read(to_member[0], &key, sizeof(key)) != sizeof(key)) ||
              use_as_member(&key, from_member[1], to_member[0]));
    }
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK((fd >= 0) && (ftruncate(fd, LENGTH) == 0), "%m");
    user.page = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(daxpin_file_adopt(user.page, LENGTH, NULL, &file, &offset) == 0, "%s",
          daxpin_errormsg());
    daxpin_file_key(file, &key);
    CHECK(write(to_member[1], &key, sizeof(key)) == sizeof(key), "%m");
    CHECK(read(from_member[0], &byte, 1) == 1, "the member has failed");
    CHECK(pthread_create(&thread, NULL, use_page, &user) == 0, "no thread");
    other = fork();
    if (other == 0) {
        _exit((fallocate(fd, PUNCH, END, PAGE) == 0) ? 0 : errno);
    }
    status = status_of(other, 60000);
    kill(other, SIGKILL);
    atomic_store(&user.stop, 1);
    pthread_join(thread, NULL);
    CHECK(write(to_member[1], "", 1) == 1, "%m");
    CHECK(status_of(member, 60000) == 0, "the member has failed");
    daxpin_file_unadopt(file, user.page, LENGTH);
    daxpin_file_close(file);
    munmap(user.page, LENGTH);
    close(fd);
    unlink(path);
    CHECK(status == 0, "the hole punch: %d", status);
}

typedef struct traffic {
    job_t       *job;
    atomic_int  stop;
    unsigned    puts;
    unsigned    refused; /* the file was revoked */
    unsigned    lost;
} traffic_t;

/* Write a number repeatedly, and read the last one back. */
static void *traffic_run(void *arg)
{
    traffic_t *traffic = arg;
    job_t *job         = traffic->job;
    uint64_t number    = 0, offset, before;

    while (!atomic_load(&traffic->stop)) {
        offset = START + (number % ((END - START) / 8)) * 8;
        if (daxpin_access_begin(&job->access) != 0) {
            ++traffic->refused;
            break;
        }
        before = (number < (END - START) / 8) ?
                         0 :
                         *(volatile uint64_t*)(void*)(job->memory + offset);
        *(volatile uint64_t*)(void*)(job->memory + offset) = number;
        if (daxpin_access_end(&job->access, offset, 8) != 0) {
            ++traffic->refused;
            break;
        }
        if ((number >= (END - START) / 8) &&
            (before != number - (END - START) / 8)) {
            ++traffic->lost;
        }
        ++traffic->puts;
        if (++number % 1024 == 0) {
            pause_ms(1); /* Two processors are all that there is */
        }
    }
    return NULL;
}

/* Intrude in every way, and do something harmless after each intrusion. Return
 * 0, an errno value of a harmless act, or 1 if an intrusion was not refused. */
static int intrude_often(const char *path, int first, int rounds, int pause)
{
    int fd = open(path, O_RDWR), k, status;

    for (k = 0; k < rounds; ++k) {
        status = intrude(path, first + k);
        if (status != ETXTBSY) {
            fprintf(stderr, "# intrusion %d: %s\n", k, strerror(status));
            return 1;
        }
        if ((fallocate(fd, PUNCH, (k % 16) * PAGE, PAGE) != 0) ||
            (ftruncate(fd, END + (k % 32) * PAGE) != 0) ||
            (pwrite(fd, "b", 1, (k % 16) * PAGE) != 1)) {
            fprintf(stderr, "# beside intrusion %d: %m\n", k);
            return errno;
        }
        pause_ms(pause);
    }
    return 0;
}

/* Start processes that intrude all the time, whatever the result. */
static void run_traffic(const char *name, int rounds, int kills)
{
    enum { INTRUDERS = 3 };
    traffic_t traffic = {.puts = 0};
    pid_t pids[INTRUDERS];
    pthread_t thread;
    job_t job;
    double begin, longest = 0;
    int i, status;

    CHECK(job_open(&job, directory, name) == 0, "%s", daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    for (i = 0; i < INTRUDERS; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            _exit(intrude_often(job.path, i, rounds / INTRUDERS,
                                (kills > 0) ? 20 : 0));
        }
    }
    traffic.job = &job;
    CHECK(pthread_create(&thread, NULL, traffic_run, &traffic) == 0, "%m");
    for (i = 0; i < kills; ++i) {
        pause_ms(1000);
        begin = now();
        daemon_end(SIGKILL);
        CHECK(daemon_start(), "the daemon does not start again");
        longest = (now() - begin > longest) ? now() - begin : longest;
        if (!has_guard(job.file)) {
            break;
        }
    }
    for (i = 0, status = 0; i < INTRUDERS; ++i) {
        status |= status_of(pids[i], 240000 + 60 * (long)rounds);
        kill(pids[i], SIGKILL);
    }
    atomic_store(&traffic.stop, 1);
    pthread_join(thread, NULL);
    fprintf(stderr, "# %s: %u puts beside %d intrusions, %d restarts of at "
            "most %.1f s\n", name, traffic.puts, rounds, kills, longest);
    if ((traffic.refused > 0) && (longest > RESTART_MAX)) {
        skipped = 1;
        FAIL("the daemon was away for %.1f s, and the file revoked for it",
             longest);
    }
    CHECK(status == 0, "an intruder was not refused (%d)", status);
    CHECK(traffic.refused == 0, "it was revoked");
    CHECK(traffic.lost == 0, "%u of %u puts were lost", traffic.lost,
          traffic.puts);
    CHECK(traffic.puts > 0, "there was no traffic");
    CHECK(becomes(job.file, DAXPIN_STATE_HELD), "it is %s", state_of(&job));
    job_close(&job);
}

static void test_traffic(void)
{
    const char *rounds = getenv("DAXPIN_GUARD_ROUNDS");

    run_traffic("traffic", (rounds != NULL) ? atoi(rounds) : 400, 0);
}

static void test_restart(void)
{
    run_traffic("restart", 600, 3);
}

/* Truncate the file until killed. First do something else that the guard allows
 * but a hold would block. */
static void insist(const char *path, int ready_fd)
{
    int fd = open(path, O_RDWR);

    if ((fd < 0) || (fallocate(fd, PUNCH, 0, START) != 0) ||
        (write(ready_fd, "", 1) != 1)) {
        _exit(1);
    }
    while (daemon_answers()) {
        (void)!ftruncate(fd, 0);
    }
    (void)!write(ready_fd, ((ftruncate(fd, 0) < 0) && (errno == ETXTBSY)) ?
                 "y" : "n", 1);
    for (;;) {
        (void)!ftruncate(fd, 0);
        (void)!fallocate(fd, PUNCH, START, PAGE);
    }
}

/* A writer has the file open when the daemon ends, and no other daemon follows.
 * If the daemon dies, its programs guard the ranges for a while longer. */
static void end_beside_writer(const char *where, int number)
{
    traffic_t traffic = {.puts = 0};
    char byte, cause[1024];
    int ready[2], status;
    pthread_t thread;
    double begin;
    job_t job;
    pid_t pid;

    CHECK(pipe(ready) == 0, "%m");
    CHECK(job_open(&job, where, "end") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin_guarded(&job) == 0, "%s", daxpin_errormsg());
    pid = fork();
    if (pid == 0) {
        insist(job.path, ready[1]);
    }
    close(ready[1]);
    traffic.job = &job;
    CHECK(pthread_create(&thread, NULL, traffic_run, &traffic) == 0, "%m");
    CHECK(read(ready[0], &byte, 1) == 1, "the intruder was not let in");
    CHECK(becomes(job.file, DAXPIN_STATE_LENT), "it is %s", state_of(&job));
    CHECK(!(daxpin_file_locks(job.file) & DAXPIN_LOCK_HOLD),
          "the hold is there, though the intruder was served");
    begin = now();
    kill(daemon_pid, number);
    if (number == SIGKILL) {
        CHECK((read(ready[0], &byte, 1) == 1) && (byte == 'y'),
              "the intruder may truncate it");
    }
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    fprintf(stderr, "# %s: revoked %.1f s after signal %d\n", where,
            now() - begin, number);
    daemon_reap();
    pthread_join(thread, NULL);
    CHECK(traffic.lost == 0, "%u of %u puts were lost", traffic.lost,
          traffic.puts);
    daxpin_file_cause(job.file, cause, sizeof(cause));
    CHECK(strstr(cause, job.path) != NULL, "the cause is: %s", cause);
    kill(pid, SIGKILL);
    status = status_of(pid, 20000);
    CHECK(status != -1, "the process still runs");
    CHECK(daemon_start(), "the daemon does not start again");
    close(ready[0]);
    job_close(&job);
}

static void test_killed_held(void)
{
    end_beside_writer(directory, SIGKILL);
}

static void test_killed_unheld(void)
{
    end_beside_writer("/dev/shm", SIGKILL);
}

static void test_ended(void)
{
    end_beside_writer(directory, SIGTERM);
}

/* Where the kernel notes which process removes a program from a function */
#define TRACING "/sys/kernel/tracing/"
#define PROBE   "daxpin_removed"

static int write_line(const char *file, int flags, const char *line)
{
    const ssize_t length = (ssize_t)strlen(line);
    const int fd         = open(file, O_WRONLY | flags);
    const int ret        = (write(fd, line, (size_t)length) == length) ? 0 : -1;

    close(fd);
    return ret;
}

/* Return how many lines of the trace are of the probe, and have this in them. */
static int traced(const char *what)
{
    char line[512];
    int count  = 0;
    FILE *file = fopen(TRACING "trace", "r");

    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        count += (strstr(line, PROBE ":") != NULL) &&
                 (strstr(line, what) != NULL);
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

/* Return whether this kernel has a process that unpins a program remove it: 6.1 does,
 * 6.12 does not. */
static int unpins_itself(void)
{
    int major = 0, minor = 0;
    struct utsname name;

    return (uname(&name) == 0) &&
           (sscanf(name.release, "%d.%d", &major, &minor) == 2) &&
           ((major < 6) || ((major == 6) && (minor < 12)));
}

/* A daemon that ends guards nothing from then on, though a client has not replaced
 * its guard; and has the kernel remove the programs, for which it would wait. */
static void end_at_once(void)
{
    const daxpin_guard_range_t range = {START, END};
    char path[PATH_MAX], self[64];
    int sock = dial(), fd, i;

    snprintf(path, sizeof(path), "%s/at-once", directory);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK((ftruncate(fd, LENGTH) == 0) &&
          (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) &&
          (ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0) &&
          (ask(sock, DAXPIN_GUARD_ADD, &range, 1, -1) == 0), "%s: %m", path);
    CHECK(ERROR_OF(ftruncate(fd, 0)) == ETXTBSY, "it is not guarded: %m");
    snprintf(self, sizeof(self), "-%d ", (int)daemon_pid);
    daemon_end(SIGTERM);
    CHECK(ERROR_OF(ftruncate(fd, 0)) == 0, "it is guarded still: %m");
    for (i = 0; (i < 3000) && (traced("") == 0); ++i) {
        pause_ms(20);
    }
    CHECK(traced("") > 0, "no program was removed");
    CHECK((traced(self) == 0) || unpins_itself(),
          "the daemon has removed %d programs itself", traced(self));
    close(fd);
    close(sock);
    unlink(path);
}

static void test_end_at_once(void)
{
    if (write_line(TRACING "kprobe_events", O_APPEND,
                   "p:" PROBE " bpf_trampoline_unlink_prog\n") != 0) {
        skipped = 1;
        FAIL("the kernel notes nothing: %s", strerror(errno));
    }
    (void)write_line(TRACING "trace", O_TRUNC, "");
    (void)write_line(TRACING "events/kprobes/" PROBE "/enable", 0, "1");
    end_at_once();
    (void)write_line(TRACING "events/kprobes/" PROBE "/enable", 0, "0");
    (void)write_line(TRACING "kprobe_events", O_APPEND, "-:" PROBE "\n");
    if (why[0] == '\0') {
        CHECK(daemon_start(), "the daemon does not start again");
    }
}

/* A daemon that does not answer keeps no job waiting. */
static void test_stopped(void)
{
    double begin, took;
    job_t job;

    CHECK(job_open(&job, directory, "stopped") == 0, "%s", daxpin_errormsg());
    kill(daemon_pid, SIGSTOP);
    begin = now();
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    took = now() - begin;
    CHECK(took < 30, "a pin took %.1f s", took);
    CHECK(!(daxpin_file_locks(job.file) & DAXPIN_LOCK_GUARD),
          "it is reported as guarded");
    CHECK(status_of(intruder(job.path, 0), 60000) == 0,
          "the intruder was refused");
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    kill(daemon_pid, SIGCONT);
    job_close(&job);
}

/* Intrude until one gets through, for a minute at most. Return 0 if none did, and
 * -1 if one did while the job was said to be guarded. */
static int intrude_until_let(const job_t *job)
{
    const double begin = now();
    int status         = ETXTBSY;

    while ((now() - begin < 60) && (status == ETXTBSY)) {
        status = status_of(intruder(job->path, 0), 60000);
    }
    if (status != 0) {
        return 0;
    }
    fprintf(stderr, "# an intruder was let in after %.1f s\n", now() - begin);
    return (daxpin_file_locks(job->file) & DAXPIN_LOCK_GUARD) ? -1 : 1;
}

/* A daemon that is stopped while it guards: the job does without it, before the
 * kernel lets intruders pass. */
static void test_stopped_on_guard(void)
{
    job_t job;
    int let;

    CHECK(job_open(&job, directory, "silent") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    CHECK(has_guard(job.file), "it is not guarded");
    kill(daemon_pid, SIGSTOP);
    let = intrude_until_let(&job);
    kill(daemon_pid, SIGCONT);
    CHECK(let != 0, "intruders are refused for as long as it is stopped");
    CHECK(let > 0, "an intruder has passed while it was said to be guarded");
    CHECK(becomes(job.file, DAXPIN_STATE_REVOKED), "it is %s", state_of(&job));
    job_close(&job);
}

/* The owner's next truncate of a file whose job and daemon are dead passes, also
 * when another process has ended that had the daemon's pid. */
static void test_pid_again(void)
{
    char last[32];
    const pid_t former = daemon_pid;
    double begin;
    job_t job;
    pid_t pid = 0;
    int fd, i;

    CHECK(job_open(&job, directory, "again-pid") == 0, "%s", daxpin_errormsg());
    CHECK(job_pin(&job) == 0, "%s", daxpin_errormsg());
    CHECK(has_guard(job.file), "it is not guarded");
    daemon_end(SIGKILL);
    daxpin_unpin(job.pin);
    daxpin_file_close(job.file);
    begin = now();
    while ((truncate(job.path, START) != 0) && (now() - begin < 120)) {
        pause_ms(200);
    }
    CHECK(now() - begin < 120, "truncate: %m");
    snprintf(last, sizeof(last), "%d", (int)former - 1);
    for (i = 0; (i < 100) && (pid != former); ++i) {
        fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
        CHECK(write(fd, last, strlen(last)) == (ssize_t)strlen(last), "%m");
        close(fd);
        pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    CHECK(pid == former, "no process has got pid %d", (int)former);
    CHECK(ERROR_OF(truncate(job.path, 0)) == 0, "truncate: %m");
    unlink(job.path);
    CHECK(daemon_start(), "the daemon does not start again");
}

/* With no room for more, a new file has no guard, and the others keep theirs. */
static void test_full(void)
{
    enum { MOST = 3 };
    char name[16];
    job_t jobs[MOST + 1];
    int i;

    daemon_end(SIGTERM);
    daemon_limit = "3";
    CHECK(daemon_start(), "the daemon does not start");
    for (i = 0; i <= MOST; ++i) {
        snprintf(name, sizeof(name), "full%d", i);
        CHECK(job_open(&jobs[i], directory, name) == 0, "%s",
              daxpin_errormsg());
        CHECK(job_pin(&jobs[i]) == 0, "%s", daxpin_errormsg());
        CHECK((i == MOST) || has_guard(jobs[i].file), "%d is not guarded", i);
    }
    CHECK(!(daxpin_file_locks(jobs[MOST].file) & DAXPIN_LOCK_GUARD),
          "more are guarded than there is room for");
    for (i = 0; i < MOST; ++i) {
        CHECK(ERROR_OF(truncate(jobs[i].path, START)) == ETXTBSY,
              "%d is not guarded any more: %m", i);
    }
    for (i = 0; i <= MOST; ++i) {
        job_close(&jobs[i]);
    }
    daemon_end(SIGTERM);
    daemon_limit = NULL;
    CHECK(daemon_start(), "the daemon does not start again");
}

/*
 * The cost for other files
 */

enum { BENCH_TRUNCATE, BENCH_WRITE, BENCH_READ, BENCH_PUNCH, BENCH_CALLS };

#define BENCH_ROUNDS 7

static int bench_call(int fd, int call, int i)
{
    char byte = 'a';

    switch (call) {
    case BENCH_TRUNCATE:
        return ftruncate(fd, PAGE * (1 + i % 2)) == 0;
    case BENCH_WRITE:
        return pwrite(fd, &byte, 1, 0) == 1;
    case BENCH_READ:
        return pread(fd, &byte, 1, 0) == 1;
    default:
        return fallocate(fd, PUNCH, 8 * PAGE, PAGE) == 0;
    }
}

/* Measure calls of each kind on a file that is not pinned, in ns a call. Return
 * 0 if a call fails. */
static int bench(int count, double *ns)
{
    char name[PATH_MAX];
    double begin;
    int fd, i, call, good = 1;

    snprintf(name, sizeof(name), "%s/bench", directory);
    fd = open(name, O_RDWR | O_CREAT, 0600);
    for (call = 0; call < BENCH_CALLS; ++call) {
        begin = now();
        for (i = 0; good && (i < count); ++i) {
            good = bench_call(fd, call, i);
        }
        ns[call] = (now() - begin) / count * 1e9;
    }
    close(fd);
    unlink(name);
    return good;
}

static int bench_compare(const void *a, const void *b)
{
    const double x = *(const double*)a, y = *(const double*)b;

    return (x > y) - (x < y);
}

static void bench_print(const char *what,
                        double ns[BENCH_ROUNDS][BENCH_CALLS])
{
    static const char *names[] = {"ftruncate", "pwrite", "pread", "punch"};
    double sorted[BENCH_ROUNDS];
    int call, round;

    printf("# %s: ns a call, median (least, most) of %d:", what, BENCH_ROUNDS);
    for (call = 0; call < BENCH_CALLS; ++call) {
        for (round = 0; round < BENCH_ROUNDS; ++round) {
            sorted[round] = ns[round][call];
        }
        qsort(sorted, BENCH_ROUNDS, sizeof(*sorted), bench_compare);
        printf(" %s %.0f (%.0f, %.0f)", names[call],
               sorted[BENCH_ROUNDS / 2], sorted[0], sorted[BENCH_ROUNDS - 1]);
    }
    printf("\n");
}

/* Measure without and with the guard in turns, because the speed of the machine
 * changes. */
static int run_bench(int count)
{
    static double without[BENCH_ROUNDS][BENCH_CALLS];
    static double idle[BENCH_ROUNDS][BENCH_CALLS];
    static double pinned[BENCH_ROUNDS][BENCH_CALLS];
    job_t job;
    int i;

    for (i = 0; i < BENCH_ROUNDS; ++i) {
        if (!bench(count, without[i]) || !daemon_start() ||
            !bench(count, idle[i]) ||
            (job_open(&job, directory, "pinned") != 0) ||
            (job_pin(&job) != 0) || !bench(count, pinned[i])) {
            printf("not ok bench: round %d: %s\n", i, strerror(errno));
            return 1;
        }
        job_close(&job);
        daemon_end(SIGTERM);
    }
    bench_print("no guard", without);
    bench_print("guard, nothing pinned", idle);
    bench_print("guard, another file pinned", pinned);
    return 0;
}

int main(int argc, char **argv)
{
    const char *count = getenv("DAXPIN_GUARD_BENCH");

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 3) {
        fprintf(stderr, "usage: guard GUARDD DIRECTORY (as root)\n");
        return 2;
    }
    guardd      = argv[1];
    directory   = argv[2];
    socket_path = "/run/daxpin-test-guard";
    setenv("DAXPIN_GUARD_SOCKET", socket_path, 1);
    daxpin_set_log(note);
    if (count != NULL) {
        return run_bench(atoi(count));
    }
    if (!daemon_start()) {
        printf("not ok the daemon: it does not start\n");
        return 1;
    }
    run("intruders get an error and the file stays", test_refused);
    run("an intruder while a reader is in", test_reader_in);
    run("an intruder with O_NONBLOCK gets EAGAIN", test_nonblock);
    run("intruders get an error with on_break=hold", test_on_break_hold);
    run("an intruder while the job is stopped", test_stopped_job);
    run("intruders of ranges without pins are served, blocks are held",
        test_by_range_held);
    run("intruders of ranges without pins are served, nothing is held",
        test_by_range_unheld);
    run("a hold that is placed again holds", test_hold_again);
    run("a process that had the file open before is served by range",
        test_inherited);
    run("a writer stays beside the job", test_writer_stays);
    run("without a pin a truncate revokes", test_unpinned);
    run("nothing is guarded when the file is closed", test_closed);
    run("a member's pin is guarded", test_member);
    run("an intruder goes on though the held page is used", test_used);
    run("intruders beside traffic", test_traffic);
    run("the daemon is killed and started again beside traffic", test_restart);
    run("the daemon is killed while a writer is in, blocks are held",
        test_killed_held);
    run("the daemon is killed while a writer is in, nothing is held",
        test_killed_unheld);
    run("the daemon ends while a writer is in", test_ended);
    run("a daemon that ends guards nothing, and waits for nothing",
        test_end_at_once);
    run("the daemon is stopped", test_stopped);
    run("the daemon is stopped while it guards", test_stopped_on_guard);
    run("a later process has the pid of a dead daemon", test_pid_again);
    run("more connections than there is room for", test_full);
    daemon_end(SIGTERM);
    return failed;
}
