/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* No thread sleeps while it has daxpin_mutex: all files of the process would
 * wait */

#include "disk.h"
#include "intruder.h"
#include "member.h"
#include "mutex.h"

#include "daxpin/file/file.h"
#include "daxpin/os/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define MUTEX_LARGE (512ul << 20)
#define MUTEX_LOCKED (64ul << 20)
#define MUTEX_TRIES 5 /* at least, while a process waits for a hold */

static _Atomic unsigned mutex_looks;     /* for a process that waits */
static _Atomic int      mutex_contended; /* a process waits for the hold */

/* A read that must not wait shows whether a process has the inode locked. */
ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                int flags)
{
    if ((flags & RWF_NOWAIT) && mutex_contended) {
        ++mutex_looks;
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)syscall(SYS_preadv2, fd, iov, count, offset, 0, flags);
}

/* Skip a test where there is a real hold, which would be let go in earnest, and
 * where a file is filled in another way. */
static void mutex_skip_on_dax(void)
{
    if (unit_is_dax(unit_disk)) {
        skip();
    }
}

/* Have a process seem to wait for holds. */
static void mutex_begin(void)
{
    mutex_sleeps    = 0;
    mutex_looks     = 0;
    mutex_contended = 1;
}

/* Check that the loop has tried again to let that process go, for some time,
 * and that no thread has slept with the mutex. */
static void mutex_end(void)
{
    assert_true(unit_await(10000, mutex_looks >= MUTEX_TRIES));
    mutex_contended = 0;
    assert_int_equal(mutex_sleeps, 0);
}

/*
 * The loop
 */

#define MUTEX_EVENTS 48

static _Atomic unsigned mutex_turns;
static unsigned         mutex_handled; /* under daxpin_mutex */

/* Count turns of the loop, in place of the C library's function. */
int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    ++mutex_turns;
    return (int)syscall(SYS_epoll_pwait, fd, events, count, timeout, NULL, 0);
}

static void mutex_on_event(void *arg, uint32_t events)
{
    const int *fd = arg;
    uint64_t value;

    mutex_handled += read(*fd, &value, sizeof(value)) == sizeof(value);
    (void)events;
}

static unsigned mutex_handled_now(void)
{
    unsigned handled;

    pthread_mutex_lock(&daxpin_mutex);
    handled = mutex_handled;
    pthread_mutex_unlock(&daxpin_mutex);
    return handled;
}

/* Events that are there at once take few turns of the loop, because each turn
 * looks at all files: of n files that are closed, n * n. */
static void test_events_at_once(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "turns"), UNIT_LENGTH);
    uint64_t ids[MUTEX_EVENTS];
    int fds[MUTEX_EVENTS], i;

    pthread_mutex_lock(&daxpin_mutex);
    for (i = 0; i < MUTEX_EVENTS; ++i) {
        fds[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        ids[i] = daxpin_loop_add(fds[i], mutex_on_event, &fds[i]);
        assert_true(ids[i] != 0);
    }
    mutex_handled = 0;
    mutex_turns   = 0;
    pthread_mutex_unlock(&daxpin_mutex);
    assert_true(unit_await(10000, mutex_handled_now() == MUTEX_EVENTS));
    assert_in_range(mutex_turns, 1, MUTEX_EVENTS / 2);
    pthread_mutex_lock(&daxpin_mutex);
    for (i = 0; i < MUTEX_EVENTS; ++i) {
        daxpin_loop_remove(ids[i], fds[i]);
        close(fds[i]);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    daxpin_file_close(file);
    (void)state;
}

static void test_growth(void **state)
{
    const char *path = unit_path(unit_disk, "growth");
    daxpin_file_t *file, *more;

    mutex_skip_on_dax();
    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    file = unit_open(path, UNIT_LENGTH);
    mutex_begin();
    more = unit_open(path, 2 * UNIT_LENGTH);
    mutex_end();
    daxpin_file_close(more);
    daxpin_file_close(file);
    (void)state;
}

/* The mapping of the program stays when the file is closed. */
static void test_close(void **state)
{
    const char *dirs[] = {unit_disk, NULL};
    const char *path   = unit_path(unit_disk, "close");
    daxpin_file_t *file;
    uint64_t offset;
    char *memory;
    int fd, before;

    mutex_skip_on_dax();
    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    fd     = open(path, O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, UNIT_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_ok(daxpin_set_files(dirs));
    assert_ok(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset));
    before = unit_count_fds();
    mutex_begin();
    daxpin_file_close(file);
    mutex_end();
    assert_true(unit_await(10000, unit_count_fds() < before));
    assert_int_equal(memory[0], 'x');
    munmap(memory, UNIT_LENGTH);
    close(fd);
    (void)state;
}

static const char *mutex_path;

static void mutex_on_fill(int fd, off_t end)
{
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    if (strcmp(path, mutex_path) != 0) {
        return;
    }
    mutex_check();
    if (end == UNIT_LENGTH) {
        assert_int_equal(ftruncate(fd, 2 * UNIT_LENGTH), 0);
    }
}

/* What another process adds to a file while it is filled gets blocks, too. Only
 * DAX has holds, for which that is done. */
static void test_fill(void **state)
{
    const char *dirs[] = {unit_disk, NULL};
    const char *path   = unit_path(unit_disk, "fill");
    daxpin_file_t *file;
    uint64_t offset;
    struct stat st;
    char *memory;
    int fd;

    if (!unit_is_dax(unit_disk)) {
        skip();
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, UNIT_LENGTH), 0);
    memory = mmap(NULL, UNIT_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_ok(daxpin_set_files(dirs));
    mutex_path     = path;
    mutex_sleeps   = 0;
    disk_fill_hook = mutex_on_fill;
    assert_ok(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset));
    disk_fill_hook = NULL;
    assert_int_equal(mutex_sleeps, 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 2 * UNIT_LENGTH);
    assert_true(st.st_blocks * 512 >= 2 * UNIT_LENGTH);
    assert_int_equal(daxpin_file_locks(file),
                     DAXPIN_LOCK_LEASE | DAXPIN_LOCK_HOLD);
    daxpin_file_unadopt(file, memory, UNIT_LENGTH);
    daxpin_file_close(file);
    munmap(memory, UNIT_LENGTH);
    close(fd);
    (void)state;
}

typedef int (*mutex_create_t)(pthread_t *thread, const pthread_attr_t *attr,
                              void *(*func)(void*), void *arg);

static _Atomic int mutex_no_threads; /* no thread can be had */
static _Atomic int mutex_refused;    /* the library wanted one */
static _Atomic int mutex_held;       /* the file has become HELD after that */

int pthread_create(pthread_t *restrict thread,
                   const pthread_attr_t *restrict attr, void *(*func)(void*),
                   void *restrict arg)
{
    mutex_create_t next = (mutex_create_t)dlsym(RTLD_NEXT, "pthread_create");

    if (mutex_no_threads) {
        mutex_refused = 1;
        return EAGAIN;
    }
    return next(thread, attr, func, arg);
}

static void mutex_on_log(daxpin_log_level_t level, const char *message)
{
    if (mutex_refused && (strstr(message, ": lease held") != NULL)) {
        mutex_held = 1;
    }
    unit_log_add(level, message);
}

/* A late process makes the file longer, and there is no space for that: the file
 * is revoked, and not HELD meanwhile where no thread can be had to fill it. */
static void mutex_check_full(const char *name, int no_threads)
{
    const char *dirs[] = {unit_disk, NULL};
    const char *path   = unit_path(unit_disk, name);
    char cause[DAXPIN_CAUSE_MAX];
    daxpin_file_t *file;
    uint64_t offset;
    child_t late;
    char *memory;
    int fd;

    unit_make_file(path, UNIT_LENGTH, 'x');
    member_start_open(&late, unit_path(unit_disk, "known"));
    assert_child_ok(&late, "close");
    fd     = open(path, O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, UNIT_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_ok(daxpin_set_files(dirs));
    assert_ok(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset));
    daxpin_set_log(mutex_on_log);
    disk_mark(path, "never");
    mutex_no_threads = no_threads;
    child_send(&late, "grow %s %d", path, 2 * UNIT_LENGTH);
    assert_int_equal(child_answer(&late, CHILD_WAIT_MS), -ENOSPC);
    assert_becomes(file, REVOKED);
    mutex_no_threads = 0;
    daxpin_set_log(unit_log_add);
    assert_int_equal(mutex_refused, no_threads);
    assert_int_equal(mutex_held, 0);
    daxpin_file_cause(file, cause, sizeof(cause));
    assert_non_null(strstr(cause, path));
    daxpin_file_unadopt(file, memory, UNIT_LENGTH);
    daxpin_file_close(file);
    child_finish(&late);
    munmap(memory, UNIT_LENGTH);
    close(fd);
    unit_log_clear();
}

static void test_fill_without_space(void **state)
{
    if (!unit_is_dax(unit_disk)) {
        skip();
    }
    mutex_check_full("full", 0);
    mutex_check_full("full-without-thread", 1);
    (void)state;
}

static size_t mutex_filled; /* the most bytes at a time, with the mutex */
static size_t mutex_locked; /* all */

/* To have pages in memory takes long if there are many. */
int mlock2(const void *addr, size_t length, unsigned flags)
{
    if (!(flags & MLOCK_ONFAULT)) {
        mutex_locked += length;
        if ((daxpin_mutex.__data.__owner == gettid()) &&
            (length > mutex_filled)) {
            mutex_filled = length;
        }
    }
    return (int)syscall(SYS_mlock2, addr, length, flags);
}

/* Memory that is locked, and exchanged, is filled piece by piece. */
static void test_lock(void **state)
{
    const char *dirs[] = {unit_memory, NULL};
    const char *path   = unit_path(unit_memory, "lock");
    daxpin_file_t *file;
    uint64_t offset;
    char *memory;
    int fd;

    unit_make_file(path, MUTEX_LOCKED, 'x');
    fd     = open(path, O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, MUTEX_LOCKED, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    if (syscall(SYS_mlock2, memory, MUTEX_LOCKED, 0) != 0) {
        munmap(memory, MUTEX_LOCKED);
        close(fd);
        skip(); /* there is a limit */
    }
    close(fd); /* The mapping is of another description */
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_ok(daxpin_set_files(dirs));
    mutex_filled = 0;
    mutex_locked = 0;
    assert_ok(daxpin_file_adopt(memory, MUTEX_LOCKED, NULL, &file, &offset));
    assert_true(mutex_locked >= MUTEX_LOCKED);
    assert_true(mutex_filled <= MUTEX_LOCKED / 3);
    daxpin_file_unadopt(file, memory, MUTEX_LOCKED);
    daxpin_file_close(file);
    munmap(memory, MUTEX_LOCKED);
    close(fd);
    (void)state;
}

/* The library refuses to truncate a file while another process does, because it
 * would wait for that process, with the mutex. */
static void test_shrink(void **state)
{
    const char *path = unit_path(unit_disk, "shrink");
    daxpin_file_t *file;

    mutex_skip_on_dax();
    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    file = unit_open(path, 2 * UNIT_LENGTH);
    mutex_begin();
    assert_int_equal(daxpin_file_shrink(file, UNIT_LENGTH), -EAGAIN);
    assert_message(path);
    assert_int_equal(unit_file_size(path), 2 * UNIT_LENGTH);
    mutex_end();
    assert_ok(daxpin_file_shrink(file, UNIT_LENGTH));
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    daxpin_file_close(file);
    (void)state;
}

static void mutex_on_length(int fd)
{
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    if (strcmp(path, mutex_path) == 0) {
        mutex_check();
        ++mutex_looks;
    }
}

/* Open a file that cannot be mapped, because there is no address space for it.
 * The argument is the path. */
static int mutex_unmapped_child(int argc, char **argv)
{
    struct rlimit limit;
    daxpin_file_t *file;
    long pages = 0;
    FILE *statm;
    int ret;

    (void)argc;
    statm = fopen("/proc/self/statm", "re");
    if ((statm == NULL) || (fscanf(statm, "%ld", &pages) != 1)) {
        child_report(__LINE__, "cannot read /proc/self/statm");
        return 0;
    }
    fclose(statm);
    /* The loop thread needs a stack */
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) +
                     MUTEX_LARGE / 2;
    limit.rlim_max = limit.rlim_cur;
    if (setrlimit(RLIMIT_AS, &limit) != 0) {
        child_report(__LINE__, "setrlimit: %s", strerror(errno));
        return 0;
    }
    mutex_looks      = 0;
    mutex_path       = argv[1];
    disk_length_hook = mutex_on_length;
    ret              = daxpin_file_open(argv[1], MUTEX_LARGE, NULL, &file);
    disk_length_hook = NULL;
    child_report(ret, "%s", daxpin_errormsg());
    child_report((mutex_looks > 1) ? mutex_sleeps : 1000, "with the mutex");
    return 0;
}

/* What an open has done to the file is undone without the mutex, because a disk
 * may be slow. */
static void test_undo(void **state)
{
    const char *path = unit_path(unit_disk, "undo");
    child_t child;

    mutex_skip_on_dax();
    if (UNIT_SANITIZED) {
        skip(); /* it needs address space */
    }
    unit_make_file(path, UNIT_LENGTH, 'x');
    child_spawn(&child, "unmapped", path, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), -ENOMEM);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    child_finish(&child);
    (void)state;
}

static child_t mutex_reader;

static void mutex_let_reader_wait(int fd)
{
    (void)fd;
    mutex_check();
    intruder_start(&mutex_reader, "read", mutex_path, 0);
    assert_blocked(&mutex_reader, 100);
}

/* A file is cut without the mutex, and whoever opens it meanwhile finds it cut. */
static void test_cut(void **state)
{
    const char *path = unit_path(unit_memory, "cut");
    daxpin_file_t *file, *other;

    mutex_path   = path;
    mutex_sleeps = 0;
    file         = unit_open(path, 2 * UNIT_LENGTH);
    disk_length_hook = mutex_let_reader_wait;
    assert_ok(daxpin_file_shrink(file, UNIT_LENGTH));
    disk_length_hook = NULL;
    assert_int_equal(mutex_sleeps, 0);
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    assert_int_equal(intruder_result(&mutex_reader, CHILD_WAIT_MS), 0);
    child_finish(&mutex_reader);
    assert_ok(daxpin_file_open(path, UNIT_LENGTH, NULL, &other));
    daxpin_file_close(other);
    daxpin_file_close(file);
    (void)state;
}

static void mutex_cut_too(int fd)
{
    (void)fd;
    disk_cut_hook = NULL;
    intruder_run("truncate", mutex_path, 4096, CHILD_WAIT_MS);
}

/* What another process cuts in the same moment is not taken for the program's own. */
static void test_cut_by_another(void **state)
{
    const char *path = unit_path(unit_memory, "another");
    daxpin_file_t *file;
    child_t reader;

    mutex_path = path;
    file       = unit_open(path, 2 * UNIT_LENGTH);
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, CHILD_WAIT_MS), 0);
    assert_becomes(file, LENT);
    disk_cut_hook = mutex_cut_too;
    assert_ok(daxpin_file_shrink(file, UNIT_LENGTH));
    assert_becomes(file, REVOKED);
    assert_int_equal(unit_file_size(path), 4096);
    child_finish(&reader);
    daxpin_file_close(file);
    unit_log_clear();
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"unmapped", mutex_unmapped_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_events_at_once),
        unit_case(test_growth),
        unit_case(test_close),
        unit_case(test_fill),
        unit_case(test_fill_without_space),
        unit_case(test_lock),
        unit_case(test_shrink),
        unit_case(test_cut),
        unit_case(test_cut_by_another),
        unit_case(test_undo)
    };

    return unit_main("mutex", argc, argv, children, tests);
}
