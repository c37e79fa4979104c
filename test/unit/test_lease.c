/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The lease, and the processes that break it */

#include "intruder.h"
#include "daxpin/file/file.h"
#include "member.h"

#include <pthread.h>
#include <sys/resource.h>

#define LEASE_FILES  4
#define LEASE_AT_ONCE 3

/* Check that daxpin and the kernel both say that the lease is held. */
static void lease_check_held(daxpin_file_t *file, const char *path)
{
    assert_becomes(file, HELD);
    assert_true(unit_await(2000, !strcmp(intruder_lease(path), "ACTIVE")));
}

static void lease_check_revoked(daxpin_file_t *file, const char *path)
{
    char cause[1024];

    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_REVOKED);
    daxpin_file_cause(file, cause, sizeof(cause));
    assert_contains(cause, path);
    assert_string_equal(intruder_lease(path), "");
}

/* Store a byte in an access. memory is the address of the file's start. */
static int lease_put(daxpin_file_t *file, char *memory, size_t offset,
                     char byte)
{
    daxpin_access_t access;
    int ret;

    daxpin_access_init(file, DAXPIN_SLOTS - 1, &access);
    ret = daxpin_access_begin(&access);
    if (ret == 0) {
        *(volatile char*)(memory + offset) = byte;
        ret = daxpin_access_end(&access, offset, 1);
    }
    return ret;
}

/* Check what this process publishes of the one file that it has pinned. */
static void lease_check_events(unsigned breaks, unsigned lends,
                               unsigned revokes)
{
    const daxpin_report_t *report =
            mmap(NULL, sizeof(*report), PROT_READ, MAP_SHARED,
                 unit_find_fd(DAXPIN_REPORT_NAME), 0);
    const daxpin_report_events_t *events = report->events;

    assert_ptr_not_equal(report, MAP_FAILED);
    assert_int_equal(report->records[0].used, 1);
    assert_true(unit_await(2000, events->revokes.count == revokes));
    assert_int_equal(events->breaks.count, breaks);
    assert_int_equal(events->lends.count, lends);
    assert_true(events->breaks.last_us <= events->breaks.max_us);
    assert_true(events->lends.max_us <= events->breaks.max_us);
    munmap((void*)report, sizeof(*report));
}

static _Atomic unsigned lease_lists; /* reads of /proc/locks */

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    lease_lists += fd == daxpin_proc_locks_fd();
    return (ssize_t)syscall(SYS_pread64, fd, buffer, size, offset);
}

/* A reader is let in at once: not after a read of /proc/locks, for which the
 * kernel takes some 10 ms. */
static void lease_check_reader(const char *dir)
{
    const char *path    = unit_path(dir, "reader");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    daxpin_pin_t *pin;
    char cause[64];
    child_t child;

    lease_lists = 0;
    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_becomes(file, LENT);
    assert_int_equal(lease_lists, 0);
    daxpin_file_cause(file, cause, sizeof(cause));
    assert_string_equal(cause, "");
    assert_int_equal(lease_put(file, memory, 5, 'r'), 0);
    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pin));
    unit_sleep_ms(100); /* the reader keeps the file open */
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_LENT);
    child_finish(&child);
    lease_check_held(file, path);
    assert_int_equal(*(char*)daxpin_file_addr(file, 5, 1), 'r');
    lease_check_events(1, 1, 0); /* a pin made later shows what was before */
    intruder_run("truncate", path, 0, 10000);
    assert_becomes(file, REVOKED);
    assert_true(lease_lists > 0);
    lease_check_events(2, 1, 1);
    daxpin_unpin(pin);
    daxpin_file_close(file);
}

static void test_reader(void **state)
{
    lease_check_reader(unit_disk);
    lease_check_reader(unit_memory);
    (void)state;
}

/* A member sees the same states as the holder. */
static void test_reader_and_member(void **state)
{
    const char *path    = unit_path(unit_disk, "reader-member");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, child;

    member_start_open(&member, path);
    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_member_becomes(&member, LENT);
    assert_child_ok(&member, "put 100 1 80");
    child_finish(&child);
    lease_check_held(file, path);
    assert_member_becomes(&member, HELD);
    assert_int_equal(*(char*)daxpin_file_addr(file, 100, 1), 80);
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

static void test_many_readers(void **state)
{
    const char *path    = unit_path(unit_disk, "readers");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    unsigned i, rounds  = pace_rounds(50, 10);

    for (i = 0; i < rounds; ++i) {
        intruder_run("read", path, 0, 2000);
        assert_int_equal(lease_put(file, memory, i, (char)i), 0);
    }
    lease_check_held(file, path);
    daxpin_file_close(file);
    (void)state;
}

/* If the file is closed while the lease is lent, the lease does not return. */
static void test_close_while_lent(void **state)
{
    const char *path    = unit_path(unit_disk, "close-lent");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t child;

    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_becomes(file, LENT);
    daxpin_file_close(file);
    child_finish(&child);
    unit_sleep_ms(50);
    assert_string_equal(intruder_lease(path), "");
    (void)state;
}

static void lease_check_intruder(const char *dir, const char *what)
{
    const char *path    = unit_path(dir, what);
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    char cause[1024], pid[32];
    child_t child;

    intruder_start(&child, what, path, 100);
    assert_int_equal(intruder_result(&child, 2000), 0);
    lease_check_revoked(file, path);
    daxpin_file_cause(file, cause, sizeof(cause));
    snprintf(pid, sizeof(pid), "pid %d", (int)child.pid);
    assert_contains(cause, pid);
    assert_int_equal(lease_put(file, memory, 0, 1), -ESTALE);
    child_finish(&child);
    daxpin_file_close(file);
    assert_int_equal(unit_file_size(path),
                     (strcmp(what, "truncate") == 0) ? 100 :
                     (strstr(what, "-trunc") != NULL) ? 0 : UNIT_LENGTH);
}

static void test_writers(void **state)
{
    static const char *const what[] = {"truncate", "write", "write-append",
                                       "write-trunc"};
    unsigned i;

    for (i = 0; i < 4; ++i) {
        lease_check_intruder(unit_disk, what[i]);
        lease_check_intruder(unit_memory, what[i]);
    }
    (void)state;
}

/* A truncate to a greater length ends the lease too, because the kernel does
 * not say which length the process wants. */
static void test_truncate_to_more(void **state)
{
    const char *path    = unit_path(unit_disk, "to-more");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);

    intruder_run("truncate", path, 2 * UNIT_LENGTH, 2000);
    lease_check_revoked(file, path);
    daxpin_file_close(file);
    (void)state;
}

/* The kernel refuses an open with O_NONBLOCK, but breaks the lease. No process
 * waits for the lease then. */
static void lease_check_nonblock(const char *what)
{
    const char *path    = unit_path(unit_disk, what);
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    unsigned i, refused = 0;
    child_t child;
    long ret;

    for (i = 0; i < 10; ++i) {
        intruder_start(&child, what, path, 0);
        ret = intruder_result(&child, 2000);
        /* 0: the lease was away because of the intruder before */
        assert_true((ret == EAGAIN) || (ret == 0));
        refused += ret == EAGAIN;
        child_finish(&child);
        lease_check_held(file, path);
    }
    assert_true(refused > 0);
    assert_int_equal(lease_put(file, memory, 5, 'p'), 0);
    intruder_run("truncate", path, 0, 2000);
    lease_check_revoked(file, path);
    daxpin_file_close(file);
}

static void test_open_with_nonblock(void **state)
{
    lease_check_nonblock("read-poke");
    lease_check_nonblock("write-poke");
    (void)state;
}

static _Atomic int lease_is_slow;

static void lease_slow_callback(daxpin_file_t *file, void *arg)
{
    (void)file;
    lease_is_slow = 1;
    while (*(_Atomic int*)arg) {
        unit_sleep_ms(1);
    }
}

/* The intruder dies before the loop thread has seen it, because a callback for
 * another file keeps the loop thread busy. */
static void test_intruder_is_killed(void **state)
{
    const char *path    = unit_path(unit_disk, "killed");
    const char *other   = unit_path(unit_disk, "busy");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_file_t *busy = unit_open(other, UNIT_LENGTH);
    _Atomic int wait    = 1;
    child_t first, child;

    assert_ok(daxpin_file_on_revoke(busy, lease_slow_callback, (void*)&wait));
    lease_is_slow = 0;
    intruder_start(&first, "truncate", other, 0);
    assert_true(unit_await(10000, lease_is_slow));
    assert_blocked(&first, 100);
    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 100);
    child_kill(&child);
    wait = 0;
    assert_int_equal(intruder_result(&first, 2000), 0);
    child_finish(&first);
    lease_check_revoked(busy, other);

    unit_sleep_ms(50);
    lease_check_held(file, path);
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    intruder_run("truncate", path, 0, 2000);
    lease_check_revoked(file, path);
    daxpin_file_close(file);
    daxpin_file_close(busy);
    (void)state;
}

/* The process that truncates the file is the holder itself. Its loop thread
 * ends the lease. */
static void test_truncate_by_this_process(void **state)
{
    const char *path    = unit_path(unit_disk, "itself");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char cause[1024], pid[32];

    assert_int_equal(truncate(path, 10), 0);
    lease_check_revoked(file, path);
    daxpin_file_cause(file, cause, sizeof(cause));
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    assert_contains(cause, pid);
    assert_contains(cause, "which is this program itself");
    daxpin_file_close(file);

    file = unit_open(path, UNIT_LENGTH);
    close(open(path, O_RDONLY | O_CLOEXEC));
    lease_check_held(file, path);
    daxpin_file_close(file);
    (void)state;
}

/* The process that opens the file again is a member, perhaps of another job. */
static void test_open_by_a_member(void **state)
{
    const char *path    = unit_path(unit_disk, "again");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char cause[1024], pid[32];
    child_t member;

    member_start_open(&member, path);
    assert_child_ok(&member, "grow %s %d", path, UNIT_LENGTH);
    lease_check_revoked(file, path);
    daxpin_file_cause(file, cause, sizeof(cause));
    snprintf(pid, sizeof(pid), "pid %d", (int)member.pid);
    assert_contains(cause, pid);
    assert_contains(cause, "which shares it");
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

static void *lease_truncate_thread(void *path)
{
    return (void*)(intptr_t)truncate(path, 10);
}

static void test_truncate_by_a_thread(void **state)
{
    const char *path    = unit_path(unit_disk, "thread");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    pthread_t thread;
    void *ret;

    assert_int_equal(pthread_create(&thread, NULL, lease_truncate_thread,
                                    (void*)path), 0);
    assert_int_equal(pthread_join(thread, &ret), 0);
    assert_null(ret);
    lease_check_revoked(file, path);
    daxpin_file_close(file);
    (void)state;
}

static void test_two_revokes_at_once(void **state)
{
    daxpin_file_t *files[2];
    const char *paths[2];
    child_t children[2];
    unsigned i, round;

    for (round = 0; round < 10; ++round) {
        for (i = 0; i < 2; ++i) {
            paths[i] = unit_path(unit_disk, "two");
            files[i] = unit_open(paths[i], UNIT_LENGTH);
        }
        for (i = 0; i < 2; ++i) {
            intruder_start(&children[i], "truncate", paths[i], 0);
        }
        for (i = 0; i < 2; ++i) {
            assert_int_equal(intruder_result(&children[i], 2000), 0);
            child_finish(&children[i]);
            lease_check_revoked(files[i], paths[i]);
            daxpin_file_close(files[i]);
        }
    }
    (void)state;
}

/*
 * Many intruders at once: none waits for long
 */

static void lease_intrude_at_once(daxpin_file_t **files, const char **paths)
{
    static const char *const what[] = {"read", "read-poke", "truncate",
                                       "write", "write-poke", "read",
                                       "write-trunc", "read"};
    child_t children[LEASE_AT_ONCE];
    unsigned which[LEASE_AT_ONCE], i;
    long ret;

    for (i = 0; i < LEASE_AT_ONCE; ++i) {
        which[i] = (unsigned)rand() % LEASE_FILES;
        intruder_start(&children[i], what[rand() % 8], paths[which[i]],
                       UNIT_LENGTH / 2);
    }
    for (i = 0; i < LEASE_AT_ONCE; ++i) {
        ret = intruder_result(&children[i], 5000);
        if ((ret != 0) && (ret != EAGAIN)) {
            fail_msg("an intruder on %s: %ld", paths[which[i]], ret);
        }
    }
    for (i = 0; i < LEASE_AT_ONCE; ++i) {
        child_finish(&children[i]);
    }
    for (i = 0; i < LEASE_FILES; ++i) {
        /* The loop may still handle the break of an open that has ended */
        assert_true(unit_await(3000,
                (daxpin_file_state(files[i]) == DAXPIN_STATE_HELD) ||
                (daxpin_file_state(files[i]) == DAXPIN_STATE_REVOKED)));
        if (daxpin_file_state(files[i]) == DAXPIN_STATE_REVOKED) {
            daxpin_file_close(files[i]);
            files[i] = unit_open(paths[i], UNIT_LENGTH);
        }
    }
}

static void test_many_intruders_at_once(void **state)
{
    unsigned rounds = UNIT_SANITIZED ? 60 : pace_rounds(200, 20);
    daxpin_file_t *files[LEASE_FILES];
    const char *paths[LEASE_FILES];
    unsigned i;

    srand(2);
    for (i = 0; i < LEASE_FILES; ++i) {
        paths[i] = unit_path((i % 2) ? unit_disk : unit_memory, "storm");
        files[i] = unit_open(paths[i], UNIT_LENGTH);
    }
    for (i = 0; i < rounds; ++i) {
        lease_intrude_at_once(files, paths);
    }
    for (i = 0; i < LEASE_FILES; ++i) {
        lease_check_held(files[i], paths[i]);
        daxpin_file_close(files[i]);
    }
    assert_only_revokes();
    (void)state;
}

/* Two files on different file systems have the same inode number. The intruder
 * of one is not taken for an intruder of the other. */
static void test_same_number_elsewhere(void **state)
{
    const char *dirs[] = {unit_path(unit_disk, "one"),
                          unit_path(unit_disk, "two")};
    char paths[2][PATH_MAX];
    daxpin_file_t *files[2];
    child_t intruder, reader;
    daxpin_access_t access;
    struct stat st[2];
    unsigned i;

    for (i = 0; i < 2; ++i) {
        if (!unit_mount(dirs[i], "size=4m")) {
            skip();
        }
        snprintf(paths[i], PATH_MAX, "%s/file", dirs[i]);
        files[i] = unit_open(paths[i], UNIT_LENGTH);
        assert_int_equal(stat(paths[i], &st[i]), 0);
    }
    assert_int_equal(st[0].st_ino, st[1].st_ino);
    /* The intruder waits for an access while the reader opens the other file */
    daxpin_access_init(files[1], DAXPIN_SLOTS - 1, &access);
    assert_int_equal(daxpin_access_begin(&access), 0);
    intruder_start(&intruder, "truncate", paths[1], 0);
    assert_blocked(&intruder, 100);
    assert_true(unit_await(10000, daxpin_file_state(files[1]) !=
                                  DAXPIN_STATE_HELD));
    intruder_start(&reader, "read", paths[0], 0);
    assert_int_equal(intruder_result(&reader, 2000), 0);
    assert_int_equal(daxpin_access_end(&access, 0, 1), -ESTALE);
    assert_int_equal(intruder_result(&intruder, 2000), 0);
    assert_becomes(files[1], REVOKED);
    child_finish(&intruder);
    child_finish(&reader);
    lease_check_held(files[0], paths[0]);
    for (i = 0; i < 2; ++i) {
        daxpin_file_close(files[i]);
        umount(dirs[i]);
    }
    (void)state;
}

/*
 * Locks
 */

static void test_locks(void **state)
{
    const unsigned hold = unit_is_dax(unit_disk) ? DAXPIN_LOCK_HOLD : 0;
    const char *path    = unit_path(unit_disk, "locks");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, reader;

    member_start_open(&member, path);
    assert_int_equal(daxpin_file_locks(file), DAXPIN_LOCK_LEASE | hold);
    assert_int_equal(child_query(&member, "locks"), DAXPIN_LOCK_LEASE | hold);
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, 2000), 0);
    assert_becomes(file, LENT);
    assert_int_equal(daxpin_file_locks(file), hold);
    assert_int_equal(child_query(&member, "locks"), hold);
    child_finish(&reader);
    assert_becomes(file, HELD);
    assert_int_equal(daxpin_file_locks(file), DAXPIN_LOCK_LEASE | hold);
    intruder_run("truncate", path, 100, 5000);
    assert_becomes(file, REVOKED);
    assert_int_equal(daxpin_file_locks(file), 0);
    assert_int_equal(child_query(&member, "locks"), 0);
    child_send(&member, "exit");
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

/* A hold counts in the process that has placed it, on tmpfs too. The locks that
 * the holder publishes make a member place its own. */
static void test_locks_with_hold(void **state)
{
    const char *path    = unit_path(unit_memory, "locks-hold");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member;

    pthread_mutex_lock(&daxpin_mutex);
    assert_ok(daxpin_hold_place(path, file->fd, &file->hold));
    pthread_mutex_unlock(&daxpin_mutex);
    assert_int_equal(daxpin_file_locks(file),
                     DAXPIN_LOCK_LEASE | DAXPIN_LOCK_HOLD);
    atomic_store(&file->control->locks, DAXPIN_LOCK_HOLD);
    member_start_open(&member, path);
    assert_int_equal(child_query(&member, "locks"),
                     DAXPIN_LOCK_LEASE | DAXPIN_LOCK_HOLD);
    /* The member's own hold counts, whatever the holder publishes */
    atomic_store(&file->control->locks, 0);
    assert_int_equal(child_query(&member, "locks"),
                     DAXPIN_LOCK_LEASE | DAXPIN_LOCK_HOLD);
    atomic_store(&file->control->locks, DAXPIN_LOCK_HOLD);
    intruder_run("truncate", path, 100, 5000);
    assert_becomes(file, REVOKED);
    assert_int_equal(daxpin_file_locks(file), 0);
    assert_member_becomes(&member, REVOKED);
    assert_int_equal(child_query(&member, "locks"), 0);
    child_send(&member, "exit");
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

/* Place a hold and check that a process that ends closes the pipe before the
 * last descriptor of the file: see os/hold.c. */
static void check_hold_descriptors(const char *path, int fd)
{
    struct stat st, pinned;
    daxpin_hold_t hold;
    int i;

    assert_ok(daxpin_hold_place(path, fd, &hold));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(fstat(hold.path_fd, &pinned), 0);
    assert_int_equal(pinned.st_ino, st.st_ino);
    assert_true(fcntl(hold.path_fd, F_GETFL) & O_PATH);
    assert_true(fcntl(hold.path_fd, F_GETFD) & FD_CLOEXEC);
    for (i = 0; i < 2; ++i) {
        assert_true(hold.pipe[i] > hold.path_fd);
        assert_true(fcntl(hold.pipe[i], F_GETFD) & FD_CLOEXEC);
    }
    daxpin_hold_drop(&hold);
    assert_int_equal(hold.path_fd, -1);
}

/* Return the lowest free number of a descriptor, while the loop has none for a
 * moment. */
static int lease_next_fd(int fd)
{
    int next;

    pthread_mutex_lock(&daxpin_mutex);
    next = fcntl(fd, F_DUPFD, 0);
    close(next);
    pthread_mutex_unlock(&daxpin_mutex);
    return next;
}

static void test_hold_descriptors(void **state)
{
    const char *path    = unit_path(unit_memory, "hold-order");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    int crowd[900], fd, next, i;
    struct rlimit limit, low;

    fd   = daxpin_file_borrow_fd(file);
    next = lease_next_fd(fd);
    check_hold_descriptors(path, fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){200, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    check_hold_descriptors(path, fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (i = 0; i < 900; ++i) {
        crowd[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        assert_true(crowd[i] >= 0);
    }
    check_hold_descriptors(path, fd);
    for (i = 0; i < 900; ++i) {
        close(crowd[i]);
    }
    /* Nothing is left open */
    assert_int_equal(lease_next_fd(fd), next);
    daxpin_file_return_fd(file);
    daxpin_file_close(file);
    (void)state;
}

static void test_locks_names(void **state)
{
    char text[DAXPIN_LOCKS_NAMES_MAX];

    assert_string_equal(daxpin_locks_names(0, text, sizeof(text)), "none");
    assert_string_equal(daxpin_locks_names(DAXPIN_LOCK_HOLD, text,
                                           sizeof(text)), "hold");
    assert_string_equal(daxpin_locks_names(DAXPIN_LOCK_LEASE |
                                           DAXPIN_LOCK_HOLD, text,
                                           sizeof(text)), "lease,hold");
    assert_string_equal(daxpin_locks_names(DAXPIN_LOCK_LEASE |
                                           DAXPIN_LOCK_HOLD, text, 8),
                        "lease,h");
    (void)state;
}

/*
 * Truncates while the lease is lent
 */

static void test_truncate_while_lent(void **state)
{
    const char *path    = unit_path(unit_disk, "lent");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t child;

    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_becomes(file, LENT);
    intruder_run("truncate", path, 100, 2000);
    /* The loop finds out without an access */
    assert_becomes(file, REVOKED);
    lease_check_revoked(file, path);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/* The truncate cuts within the last page, where no access faults. */
static void test_truncate_in_page_while_lent(void **state)
{
    const char *path    = unit_path(unit_disk, "lent-page");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    child_t child;

    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_becomes(file, LENT);
    assert_int_equal(daxpin_file_persist(file, 2 * UNIT_LENGTH, 1), -EINVAL);
    assert_int_equal(truncate(path, UNIT_LENGTH - 100), 0);
    assert_int_equal(daxpin_file_persist(file, UNIT_LENGTH - 50, 1), -ESTALE);
    if (daxpin_file_state(file) == DAXPIN_STATE_LENT) {
        assert_message("cut off"); /* the loop has not seen the truncate yet */
    }
    assert_int_equal(lease_put(file, memory, UNIT_LENGTH - 50, 1), -ESTALE);
    assert_becomes(file, REVOKED);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/* Punching a hole frees blocks but does not change the size. */
static void test_hole_while_lent(void **state)
{
    const char *path    = unit_path(unit_disk, "lent-hole");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t child;
    int fd;

    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_becomes(file, LENT);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               4096, 65536), 0);
    close(fd);
    child_finish(&child);
    assert_becomes(file, REVOKED);
    lease_check_revoked(file, path);
    daxpin_file_close(file);
    (void)state;
}

/* If the file has grown since the lease was taken, a truncate of the new part
 * ends the lease too. */
static void test_truncate_of_grown_while_lent(void **state)
{
    const char *path    = unit_path(unit_disk, "lent-grown");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH), *grown;
    child_t child;

    assert_ok(daxpin_file_open(path, 2 * UNIT_LENGTH, NULL, &grown));
    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_becomes(file, LENT);
    assert_int_equal(truncate(path, 2 * UNIT_LENGTH - 100), 0);
    child_finish(&child);
    /* The state after LENT is not HELD */
    assert_true(unit_await(2000, daxpin_file_state(file) !=
                                 DAXPIN_STATE_LENT));
    assert_becomes(file, REVOKED);
    daxpin_file_close(grown);
    daxpin_file_close(file);
    (void)state;
}

/*
 * DAXPIN_ON_BREAK_HOLD, and release
 */

static daxpin_file_t *lease_open_on_break_hold(const char *path)
{
    daxpin_params_t params = {.on_break = DAXPIN_ON_BREAK_HOLD};
    daxpin_file_t *file;

    assert_ok(daxpin_file_open(path, UNIT_LENGTH, &params, &file));
    return file;
}

static void test_on_break_hold(void **state)
{
    const char *path    = unit_path(unit_disk, "hold");
    daxpin_file_t *file = lease_open_on_break_hold(path);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    daxpin_pin_t *pin;
    child_t child;

    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 500);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    assert_int_equal(lease_put(file, memory, 100, 'h'), 0);
    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pin));
    daxpin_unpin(pin);
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    daxpin_file_close(file);
    assert_int_equal(intruder_result(&child, 2000), 0);
    child_finish(&child);
    assert_int_equal(unit_file_size(path), 0);
    (void)state;
}

static void test_on_break_hold_and_reader(void **state)
{
    const char *path    = unit_path(unit_disk, "hold-reader");
    daxpin_file_t *file = lease_open_on_break_hold(path);

    intruder_run("read", path, 0, 2000);
    lease_check_held(file, path);
    daxpin_file_close(file);
    (void)state;
}

static void test_on_break_hold_and_release(void **state)
{
    const char *path    = unit_path(unit_disk, "hold-release");
    daxpin_file_t *file = lease_open_on_break_hold(path);
    child_t child;

    intruder_start(&child, "truncate", path, 100);
    assert_blocked(&child, 200);
    assert_ok(daxpin_lease_release(file));
    if (unit_is_dax(unit_disk)) {
        assert_blocked(&child, 500); /* the hold stays until the close */
        daxpin_file_close(file);
        assert_int_equal(intruder_result(&child, 2000), 0);
    } else {
        assert_int_equal(intruder_result(&child, 2000), 0);
        daxpin_file_close(file);
    }
    child_finish(&child);
    (void)state;
}

static void test_release(void **state)
{
    const char *path    = unit_path(unit_disk, "release");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH), *again;
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    daxpin_params_t params = {.timeout_ms = 10000 * unit_slow()};
    uint64_t start;
    child_t member, late;

    member_start_open(&member, path);
    assert_int_equal(child_query(&member, "release"), -EPERM);
    assert_contains(member.text, "holder");
    assert_ok(daxpin_lease_release(file));
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_RELEASED);
    assert_string_equal(intruder_lease(path), "");
    assert_int_equal(daxpin_lease_release(file), -ESTALE);
    assert_message(path);
    assert_int_equal(lease_put(file, memory, 77, 'x'), 0);
    assert_child_ok(&member, "put 78 1 89");
    assert_int_equal(child_query(&member, "pin 0 1"), -EPERM);

    /* No process joins a file without a lease, and none waits for one */
    start = unit_ms();
    member_start(&late);
    assert_int_equal(child_query(&late, "open %s 0 %u", path,
                                 params.timeout_ms), -EAGAIN);
    assert_contains(late.text, path);
    assert_contains(late.text, "released");
    assert_int_equal(daxpin_file_open(path, 0, &params, &again), -EAGAIN);
    assert_message("released");
    assert_true(unit_ms() - start < params.timeout_ms);
    child_finish(&late);

    /* A writer does not wait */
    intruder_run("write", path, 0, 1000);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_RELEASED);
    child_finish(&member);
    daxpin_file_close(file);
    assert_int_equal(unit_file_byte(path, 78), 89);
    (void)state;
}

/* A truncate after the release kills no process. On DAX the truncate waits
 * until the file is closed, because of the hold. The test uses another process,
 * because cmocka has its own handler of SIGBUS. */
static void test_truncate_after_release(void **state)
{
    const char *path = unit_path(unit_disk, "after-release");
    child_t child, intruder;

    member_start_open(&child, path);
    assert_child_ok(&child, "release");
    intruder_start(&intruder, "truncate", path, 0);
    if (unit_is_dax(unit_disk)) {
        assert_blocked(&intruder, 500);
        assert_child_ok(&child, "put 5000 1 1");
        assert_child_ok(&child, "close");
        assert_int_equal(intruder_result(&intruder, 2000), 0);
    } else {
        assert_int_equal(intruder_result(&intruder, 2000), 0);
        assert_int_equal(child_query(&child, "put 5000 1 1"), -ESTALE);
        assert_member_becomes(&child, REVOKED);
    }
    child_finish(&intruder);
    child_finish(&child);
    (void)state;
}

/* When the lease may have expired, the state alone is no answer. */
static void test_sure(void **state)
{
    const char *path    = unit_path(unit_memory, "sure");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_control_t *control;
    daxpin_access_t access;
    child_t intruder;
    uint64_t until;
    int is_sure;

    control = (daxpin_control_t*)daxpin_file_control(file);
    daxpin_access_init(file, DAXPIN_SLOTS - 1, &access);
    assert_true(daxpin_access_is_sure(&access));
    pthread_mutex_lock(&daxpin_mutex); /* the loop sets it, too */
    until = atomic_exchange(&control->sure_until, 1);
    atomic_store(&access.sure, 0); /* the second is over */
    is_sure = daxpin_access_is_sure(&access);
    pthread_mutex_unlock(&daxpin_mutex);
    assert_false(is_sure);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    assert_int_equal(daxpin_file_check(file), 0); /* It is whole */
    atomic_store(&control->sure_until, until);
    assert_true(daxpin_access_is_sure(&access));

    intruder_start(&intruder, "truncate", path, 0);
    assert_int_equal(intruder_result(&intruder, 2000), 0);
    assert_false(daxpin_access_is_sure(&access)); /* in any second */
    child_finish(&intruder);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_reader),
        unit_case(test_reader_and_member),
        unit_case(test_many_readers),
        unit_case(test_close_while_lent),
        unit_case(test_writers),
        unit_case(test_truncate_to_more),
        unit_case(test_open_with_nonblock),
        unit_case(test_intruder_is_killed),
        unit_case(test_truncate_by_this_process),
        unit_case(test_open_by_a_member),
        unit_case(test_truncate_by_a_thread),
        unit_case(test_two_revokes_at_once),
        unit_case(test_many_intruders_at_once),
        unit_case(test_same_number_elsewhere),
        unit_case(test_truncate_while_lent),
        unit_case(test_truncate_in_page_while_lent),
        unit_case(test_hole_while_lent),
        unit_case(test_truncate_of_grown_while_lent),
        unit_case(test_locks),
        unit_case(test_locks_with_hold),
        unit_case(test_hold_descriptors),
        unit_case(test_locks_names),
        unit_case(test_on_break_hold),
        unit_case(test_on_break_hold_and_reader),
        unit_case(test_on_break_hold_and_release),
        unit_case(test_release),
        unit_case(test_truncate_after_release),
        unit_case(test_sure)
    };

    return unit_main("lease", argc, argv, children, tests);
}
