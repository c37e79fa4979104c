/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* fork() while other threads are in every function of the library: no child
 * waits for a lock that nobody in it has */

#include "daxpin/access.h"
#include "daxpin/os/hold.h"
#include "child.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LOCK_FORKS    40
#define LOCK_TRIAL_MS 20 /* that a trial of a hold takes at least */
#define LOCK_CHILD_S  3  /* that a child may take, on a fast machine */

static const char  *lock_dir;
static _Atomic int lock_end;
static _Atomic int lock_faking; /* in threads_child() alone */

/* Every regular file is on DAX, so that the library tries whether holds work
 * there. */
int statx(int dirfd, const char *restrict path, int flags, unsigned mask,
          struct statx *restrict stx)
{
    int ret = (int)syscall(SYS_statx, dirfd, path, flags, mask, stx);

    if ((ret == 0) && lock_faking && S_ISREG(stx->stx_mode)) {
        stx->stx_attributes |= STATX_ATTR_DAX;
    }
    return ret;
}

/* A trial cuts a file, and takes as long as a disk may. */
int ftruncate(int fd, off_t length)
{
    if (lock_faking && (length == 0)) {
        unit_sleep_ms(LOCK_TRIAL_MS);
    }
    return (int)syscall(SYS_ftruncate, fd, length);
}

static void lock_callback(daxpin_file_t *file, void *arg)
{
    (void)file;
    (void)arg;
}

static void lock_log(daxpin_log_level_t level, const char *message)
{
    (void)level;
    (void)message;
}

static void lock_path(char *path, const char *name, int number)
{
    snprintf(path, PATH_MAX, "%s/%s-%d-%d", lock_dir, name, (int)getpid(),
             number);
}

/* Call what works on one file. Return 0 or what failed. */
static int lock_use(const char *path)
{
    const daxpin_params_t params = {.timeout_ms = 1000};
    daxpin_file_t *file, *same;
    daxpin_access_t access;
    daxpin_pin_t *pin;
    daxpin_key_t key;
    char text[1024];
    int ret;

    ret = daxpin_file_open(path, UNIT_LENGTH, &params, &file);
    if (ret != 0) {
        return ret;
    }
    daxpin_file_on_revoke(file, lock_callback, NULL);
    daxpin_file_key(file, &key);
    if (daxpin_file_attach(&key, &same) == 0) {
        daxpin_file_close(same);
    }
    daxpin_file_ref(file);
    daxpin_file_close(file);
    if (daxpin_pin(file, 0, 4096, NULL, &pin) == 0) {
        daxpin_unpin(pin);
    }
    daxpin_access_init(file, DAXPIN_SLOTS - 1, &access);
    if (daxpin_access_begin(&access) == 0) {
        *(char*)daxpin_file_addr(file, 0, 1) = 1;
        (void)daxpin_access_end(&access, 0, 1);
    }
    daxpin_file_persist(file, 0, 4096);
    daxpin_file_cause(file, text, sizeof(text));
    (void)(daxpin_file_length(file) + (size_t)daxpin_file_is_dax(file) +
           (size_t)daxpin_file_numa_node(file) +
           (size_t)daxpin_file_is_holder(file) + daxpin_file_locks(file));
    (void)daxpin_file_path(file);
    (void)daxpin_file_granularity(file);
    (void)daxpin_state_name(daxpin_file_state(file));
    (void)daxpin_locks_names(DAXPIN_LOCK_HOLD, text, sizeof(text));
    daxpin_file_cancel_on_revoke(file, lock_callback, NULL);
    daxpin_file_shrink(file, 4096);
    daxpin_lease_release(file);
    daxpin_file_close(file);
    return 0;
}

/* Call what works on the whole process. */
static void lock_set(void)
{
    const char *dirs[] = {"fsdax", lock_dir, NULL};

    (void)daxpin_set_files(dirs);
    daxpin_set_log(lock_log);
    daxpin_set_pin_policy(DAXPIN_PIN_AUTO);
    daxpin_cache_enable(1);
    daxpin_cache_forget((void*)4096, SIZE_MAX / 2);
    (void)daxpin_cpu_numa_node();
    (void)daxpin_version();
    (void)daxpin_errormsg();
}

static void *lock_use_thread(void *arg)
{
    char path[PATH_MAX];

    lock_path(path, "used", *(int*)arg);
    while (!lock_end) {
        (void)lock_use(path);
    }
    return NULL;
}

static void *lock_set_thread(void *arg)
{
    while (!lock_end) {
        lock_set();
    }
    return arg;
}

static void *lock_adopt_thread(void *arg)
{
    daxpin_file_t *file;
    char path[PATH_MAX];
    uint64_t offset;
    void *memory;
    int fd;

    lock_path(path, "adopted", 0);
    while (!lock_end) {
        fd     = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        (void)!posix_fallocate(fd, 0, UNIT_LENGTH);
        memory = unit_map(fd, UNIT_LENGTH);
        if (daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset) ==
            0) {
            daxpin_file_unadopt(file, memory, UNIT_LENGTH);
            daxpin_file_close(file);
        }
        munmap(memory, UNIT_LENGTH);
        close(fd);
    }
    return arg;
}

/* Try one file system after the other. */
static void *lock_try_thread(void *arg)
{
    char path[PATH_MAX];
    dev_t dev = 1ul << 40;

    lock_path(path, "tried", 0);
    while (!lock_end) {
        (void)daxpin_hold_works(path, -1, ++dev);
    }
    return arg;
}

/* In a child of fork(): call all functions, with an end. Opening a file tries
 * its file system, unless the parent has. */
static void lock_child(int number)
{
    char path[PATH_MAX];

    alarm(LOCK_CHILD_S * unit_slow());
    lock_path(path, "child", number);
    lock_set();
    (void)daxpin_hold_works(path, -1, (1ul << 41) + (dev_t)number);
    _exit((lock_use(path) == 0) ? 0 : 1);
}

/* The argument is a directory. Report which fork failed, and its status. */
static int lock_fork_child(int argc, char **argv)
{
    void *(*const funcs[])(void *) = {lock_use_thread, lock_use_thread,
                                      lock_set_thread, lock_adopt_thread,
                                      lock_try_thread};
    const unsigned count           = sizeof(funcs) / sizeof(*funcs);
    int numbers[]                  = {0, 1, 2, 3, 4};
    int i, status                  = 0;
    pthread_t ids[5];
    unsigned t;
    pid_t pid;

    (void)argc;
    unit_set_signal(SIGALRM, SIG_DFL);
    lock_dir    = argv[1];
    lock_faking = 1;
    lock_set();
    for (t = 0; t < count; ++t) {
        if (pthread_create(&ids[t], NULL, funcs[t], &numbers[t]) != 0) {
            return 1;
        }
    }
    for (i = 0; (i < LOCK_FORKS) && (status == 0); ++i) {
        unit_sleep_ms(5);
        pid = fork();
        if (pid == 0) {
            lock_child(i);
        }
        waitpid(pid, &status, 0);
    }
    lock_end = 1;
    for (t = 0; t < count; ++t) {
        pthread_join(ids[t], NULL);
    }
    child_report(status, "fork %d", i);
    return 0;
}

static void test_fork_beside_all_functions(void **state)
{
    child_t child;
    long status;

    if (UNIT_SANITIZED) {
        skip(); /* The allocator of a sanitizer may stay locked in a child */
    }
    child_spawn(&child, "fork", unit_disk, NULL);
    status = child_answer(&child, 2 * CHILD_WAIT_MS);
    if (status != 0) {
        fail_msg("%s: its child ended with status 0x%x", child.text,
                 (unsigned)status);
    }
    child_finish(&child);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        {"fork", lock_fork_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_fork_beside_all_functions)
    };

    return unit_main("lock", argc, argv, children, tests);
}
