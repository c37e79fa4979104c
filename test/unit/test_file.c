/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Opening, sharing and closing files */

#include "disk.h"
#include "filter.h"
#include "intruder.h"
#include "daxpin/file/file.h"
#include "member.h"
#include "daxpin/file/share.h"

#include <sys/stat.h>

#define FILE_PROCESSES 8

/* Return how many bytes of a file have blocks. */
static uint64_t file_allocated(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void file_check_new(const char *dir)
{
    const char *path       = unit_path(dir, "new");
    daxpin_params_t params = {.mode = 0640};
    daxpin_file_t *file;
    struct stat st;
    char *addr;

    assert_ok(daxpin_file_open(path, 100000, &params, &file));
    assert_int_equal(daxpin_file_length(file), 100000);
    assert_int_equal(daxpin_file_is_holder(file), 1);
    assert_int_equal(daxpin_file_is_dax(file), unit_is_dax(dir));
    assert_string_equal(daxpin_file_path(file), path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_size, 100000);
    assert_true(file_allocated(path) >= 100000);
    assert_string_equal(intruder_lease(path), "ACTIVE");
    addr = daxpin_file_addr(file, 0, 100000);
    assert_non_null(addr);
    assert_int_equal(addr[99999], 0);
    addr[99999] = 7;
    assert_ok(daxpin_file_persist(file, 99999, 1));
    daxpin_file_close(file);
    assert_string_equal(intruder_lease(path), "");
    assert_int_equal(unit_file_byte(path, 99999), 7);
}

static void test_new(void **state)
{
    file_check_new(unit_disk);
    file_check_new(unit_memory);
    (void)state;
}

static void test_default_mode(void **state)
{
    const char *path = unit_path(unit_disk, "mode");
    struct stat st;

    daxpin_file_close(unit_open(path, 4096));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    (void)state;
}

static void test_existing(void **state)
{
    const char *path = unit_path(unit_disk, "existing");
    daxpin_file_t *file;

    unit_make_file(path, 10000, 'x');
    file = unit_open(path, 0);
    assert_int_equal(daxpin_file_length(file), 10000);
    assert_int_equal(*(char*)daxpin_file_addr(file, 9999, 1), 'x');
    daxpin_file_close(file);

    file = unit_open(path, 5000); /* does not shorten the file */
    assert_int_equal(daxpin_file_length(file), 10000);
    daxpin_file_close(file);
    assert_int_equal(unit_file_size(path), 10000);
    (void)state;
}

static void test_short_grows(void **state)
{
    const char *path = unit_path(unit_disk, "short");
    daxpin_file_t *file;

    unit_make_file(path, 10000, 'x');
    file = unit_open(path, 50000);
    assert_int_equal(daxpin_file_length(file), 50000);
    assert_int_equal(*(char*)daxpin_file_addr(file, 9999, 1), 'x');
    assert_int_equal(*(char*)daxpin_file_addr(file, 10000, 1), 0);
    assert_true(file_allocated(path) >= 50000);
    daxpin_file_close(file);
    assert_int_equal(unit_file_size(path), 50000);
    (void)state;
}

static void file_check_sparse(const char *dir)
{
    const char *path = unit_path(dir, "sparse");
    daxpin_file_t *file;

    unit_make_file(path, 4096, 'x');
    assert_int_equal(truncate(path, 1 << 20), 0);
    assert_true(file_allocated(path) < 1 << 20);
    file = unit_open(path, 0);
    assert_true(file_allocated(path) >= 1 << 20);
    assert_int_equal(*(char*)daxpin_file_addr(file, 0, 1), 'x');
    assert_int_equal(*(char*)daxpin_file_addr(file, 5000, 1), 0);
    daxpin_file_close(file);
}

static void test_sparse_is_allocated(void **state)
{
    file_check_sparse(unit_disk);
    file_check_sparse(unit_memory);
    (void)state;
}

/* A second open with a greater length grows the file in place. */
static void test_again_with_more(void **state)
{
    const char *path    = unit_path(unit_disk, "more");
    daxpin_file_t *file = unit_open(path, 8192), *more;
    char *addr          = daxpin_file_addr(file, 0, 8192);

    assert_int_equal(daxpin_file_open(path, 100000, NULL, &more), 0);
    assert_ptr_equal(file, more);
    assert_int_equal(daxpin_file_length(file), 100000);
    assert_non_null(daxpin_file_addr(file, 99999, 1));
    *(char*)daxpin_file_addr(file, 4000, 1) = 9;
    assert_int_equal(addr[4000], 9); /* the old address stays valid */
    daxpin_file_close(more);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    daxpin_file_close(file);
    (void)state;
}

/* A process that opens a file while the holder grows it waits until the file
 * has grown, because its hold would keep the file from growing. */
static void test_join_while_growing(void **state)
{
    const char *path = unit_path(unit_disk, "growing");
    child_t holder, late;

    member_start_open(&holder, path);
    member_start(&late);
    disk_mark(path, "wait");
    child_send(&holder, "open %s %d 8000", path, 2 * UNIT_LENGTH);
    assert_true(unit_await(5000, disk_is_marked(path, "waits")));
    child_send(&late, "open %s %d 20000", path, UNIT_LENGTH);
    assert_int_equal(child_answer_within(&late, 300), CHILD_SILENT);
    disk_unmark(path, "wait");
    assert_int_equal(child_answer(&holder, CHILD_WAIT_MS), 0);
    assert_int_equal(child_answer(&late, CHILD_WAIT_MS), 0);
    assert_int_equal(unit_file_size(path), 2 * UNIT_LENGTH);
    assert_child_ok(&late, "put 100 1 77");
    assert_int_equal(child_query(&holder, "mem 100"), 77);
    assert_int_equal(child_query(&late, "locks"),
                     child_query(&holder, "locks"));
    child_finish(&late);
    child_finish(&holder);
    (void)state;
}

/* The first holder may need long to allocate the file. A process that opens the
 * file meanwhile waits up to its own timeout. */
static void test_join_while_created(void **state)
{
    const char *path  = unit_path(unit_disk, "created");
    child_t holder, late;

    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "wait");
    member_start(&holder);
    member_start(&late);
    child_send(&holder, "open %s %d 20000", path, 2 * UNIT_LENGTH);
    assert_true(unit_await(5000, disk_is_marked(path, "waits")));
    child_send(&late, "open %s %d 20000", path, UNIT_LENGTH);
    assert_int_equal(child_answer_within(&late, 6000), CHILD_SILENT);
    disk_unmark(path, "wait");
    assert_int_equal(child_answer(&holder, CHILD_WAIT_MS), 0);
    assert_int_equal(child_answer(&late, CHILD_WAIT_MS), 0);
    assert_child_ok(&late, "put 100 1 77");
    assert_int_equal(child_query(&holder, "mem 100"), 77);
    child_finish(&late);
    child_finish(&holder);
    (void)state;
}

/* A file can be shrunk when no other process and no other handle uses it. */
static void test_shrink(void **state)
{
    const char *path = unit_path(unit_disk, "shrink");
    daxpin_file_t *file, *again;
    child_t member;
    size_t length;

    unit_make_file(path, 10000, 'x');
    file = unit_open(path, 50000);
    assert_ok(daxpin_file_open(path, 0, NULL, &again));
    assert_int_equal(daxpin_file_shrink(file, 10000), -EBUSY);
    assert_message(path);
    assert_message("50000 bytes");
    daxpin_file_close(again);
    member_start(&member);
    assert_child_ok(&member, "open %s 50000 10000", path);
    assert_int_equal(daxpin_file_shrink(file, 10000), -EBUSY);
    assert_child_ok(&member, "close");
    assert_ok(daxpin_file_shrink(file, 10000));
    assert_int_equal(unit_file_size(path), 10000);
    assert_ok(daxpin_file_shrink(file, 20000)); /* does not make it longer */
    assert_int_equal(unit_file_size(path), 10000);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    /* On DAX the hold keeps the file from growing */
    length = daxpin_file_is_dax(file) ? 10000 : 30000;
    assert_child_ok(&member, "open %s %zu 10000", path, length);
    intruder_run("read", path, 0, 5000); /* the new length is no loss */
    assert_member_becomes(&member, HELD);
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

/* A member that has sent messages and then closed the file is no member, even
 * while its messages are unread. */
static void test_shrink_after_messages(void **state)
{
    const char *path    = unit_path(unit_disk, "messages");
    daxpin_file_t *file = unit_open(path, 50000);
    child_t member;

    member_start(&member);
    assert_child_ok(&member, "open %s 50000 10000", path);
    /* The loop thread cannot read the member's messages now */
    pthread_mutex_lock(&daxpin_mutex);
    assert_child_ok(&member, "pin 0 4096");
    assert_child_ok(&member, "close");
    assert_true(daxpin_share_is_alone(file));
    pthread_mutex_unlock(&daxpin_mutex);
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

static void test_empty(void **state)
{
    const char *path    = unit_path(unit_disk, "empty");
    const char *missing = unit_path(unit_disk, "missing");
    daxpin_file_t *file;

    unit_make_file(path, 0, 0);
    assert_int_equal(daxpin_file_open(path, 0, NULL, &file), -EINVAL);
    assert_message(path);
    assert_message("empty");
    assert_null(file);
    assert_int_equal(unit_file_size(path), 0);
    assert_int_equal(daxpin_file_open(missing, 0, NULL, &file), -EINVAL);
    assert_false(unit_exists(missing));
    (void)state;
}

static void test_wrong_type(void **state)
{
    const char *fifo = unit_path(unit_disk, "fifo");
    char inside[PATH_MAX];
    daxpin_file_t *file;

    assert_int_equal(daxpin_file_open(unit_disk, 4096, NULL, &file), -EISDIR);
    assert_message(unit_disk);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(daxpin_file_open(fifo, 4096, NULL, &file), -EINVAL);
    assert_message(fifo);
    assert_int_equal(daxpin_file_open("/dev/zero", 4096, NULL, &file),
                     -EINVAL);
    assert_message("/dev/zero");
    snprintf(inside, sizeof(inside), "%s/none/file", unit_disk);
    assert_int_equal(daxpin_file_open(inside, 4096, NULL, &file), -ENOENT);
    assert_message(inside);
    snprintf(inside, sizeof(inside), "%s/file", fifo);
    assert_int_equal(daxpin_file_open(inside, 4096, NULL, &file), -ENOTDIR);
    assert_null(file);
    (void)state;
}

static void test_file_system_without_leases(void **state)
{
    daxpin_file_t *file;
    int ret = daxpin_file_open("/proc/self/comm", 4, NULL, &file);

    assert_true(ret < 0);
    assert_message("/proc/");
    (void)state;
}

/*
 * No space
 */

static void test_no_space(void **state)
{
    const char *path = unit_path(unit_disk, "tiny");
    int fds          = unit_count_fds();
    daxpin_file_t *file;
    char inside[PATH_MAX];
    uint64_t blocks;

    if (!unit_mount(path, "size=1m")) {
        skip();
    }
    snprintf(inside, sizeof(inside), "%s/new", path);
    assert_int_equal(daxpin_file_open(inside, 4 << 20, NULL, &file), -ENOSPC);
    assert_message(inside);
    assert_message("space");
    assert_false(unit_exists(inside));

    /* An existing file stays as it was */
    snprintf(inside, sizeof(inside), "%s/old", path);
    unit_make_file(inside, 5000, 'x');
    blocks = file_allocated(inside);
    assert_int_equal(daxpin_file_open(inside, 4 << 20, NULL, &file), -ENOSPC);
    assert_int_equal(unit_file_size(inside), 5000);
    assert_int_equal(file_allocated(inside), blocks);
    assert_int_equal(unit_file_byte(inside, 4999), 'x');
    assert_string_equal(intruder_lease(inside), "");

    /* An open file cannot grow, and stays usable */
    file = unit_open(inside, 8192);
    daxpin_file_close(file);
    file = unit_open(inside, 8192);
    {
        daxpin_file_t *more;
        assert_int_equal(daxpin_file_open(inside, 4 << 20, NULL, &more),
                         -ENOSPC);
        assert_null(more);
    }
    assert_int_equal(daxpin_file_length(file), 8192);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    daxpin_file_close(file);
    assert_int_equal(umount(path), 0);
    assert_true(unit_count_fds() <= fds + 8); /* the library has a few */
    (void)state;
}

/*
 * Permissions
 */

static void test_not_owner(void **state)
{
    const char *path = unit_path(unit_memory, "open-to-all");
    child_t child;

    unit_make_file(path, 8192, 'x');
    assert_int_equal(chmod(path, 0666), 0);
    member_start(&child);
    assert_child_ok(&child, "user %d", UNIT_NOBODY);
    assert_int_equal(child_query(&child, "open %s 8192 1000", path), -EACCES);
    assert_contains(child.text, path);
    assert_contains(child.text, "owner");
    child_finish(&child);
    assert_string_equal(intruder_lease(path), "");
    assert_int_equal(unit_file_size(path), 8192);
    (void)state;
}

static void test_no_permission(void **state)
{
    const char *path    = unit_path(unit_memory, "closed");
    const char *created = unit_path(unit_memory, "not-allowed");
    child_t child;

    unit_make_file(path, 8192, 'x');
    member_start(&child);
    assert_child_ok(&child, "user %d", UNIT_NOBODY);
    assert_int_equal(child_query(&child, "open %s 8192 1000", path), -EACCES);
    assert_contains(child.text, path);
    assert_int_equal(child_query(&child, "open %s 8192 1000", created),
                     -EACCES);
    assert_contains(child.text, created);
    child_finish(&child);
    (void)state;
}

/* A user without capabilities may take the lease of a file that the user
 * owns. */
static void test_ordinary_user(void **state)
{
    const char *path = unit_path(unit_memory, "own");
    child_t child;

    unit_make_file(path, 8192, 'x');
    assert_int_equal(chown(path, UNIT_NOBODY, UNIT_NOBODY), 0);
    member_start(&child);
    assert_child_ok(&child, "user %d", UNIT_NOBODY);
    assert_child_ok(&child, "open %s %d 1000", path, UNIT_LENGTH);
    assert_string_equal(intruder_lease(path), "ACTIVE");
    intruder_run("truncate", path, 0, 5000);
    assert_member_becomes(&child, REVOKED);
    child_finish(&child);
    (void)state;
}

/*
 * A file that another process has open
 */

static void file_check_open_elsewhere(const char *how)
{
    const char *path       = unit_path(unit_disk, how);
    daxpin_params_t params = {.timeout_ms = 300};
    daxpin_file_t *file;
    uint64_t start, took;
    char pid[32];
    child_t child;

    unit_make_file(path, 8192, 'x');
    intruder_start(&child, how, path, 0);
    assert_int_equal(intruder_result(&child, 5000), 0);
    start = unit_ms();
    assert_int_equal(daxpin_file_open(path, 20000, &params, &file), -EAGAIN);
    took = unit_ms() - start;
    snprintf(pid, sizeof(pid), "pid %d (", (int)child.pid);
    assert_message(path);
    assert_message(pid);
    assert_message("close it");
    assert_true((took >= 250) && (took < 300 + 1200 * unit_slow()));
    assert_null(file);
    assert_int_equal(unit_file_size(path), 8192);
    assert_string_equal(intruder_lease(path), "");
    child_finish(&child);
    file = unit_open(path, 8192);
    daxpin_file_close(file);
}

static void test_open_elsewhere(void **state)
{
    file_check_open_elsewhere("read");
    file_check_open_elsewhere("write");
    (void)state;
}

/* While an open waits, another process makes the file longer. The open fails,
 * and the file is as the other process has left it. */
static void test_open_elsewhere_and_written(void **state)
{
    static const off_t offset[] = {3 * UNIT_LENGTH, 5 * UNIT_LENGTH};
    const char *path            = unit_path(unit_disk, "written");
    char byte                   = 'w';
    child_t child, member;
    unsigned i;
    int fd;

    for (i = 0; i < 2; ++i) {
        unit_make_file(path, UNIT_LENGTH, 'x');
        intruder_start(&child, "write", path, 0);
        assert_int_equal(intruder_result(&child, 5000), 0);
        member_start(&member);
        child_send(&member, "open %s %d %u", path, 4 * UNIT_LENGTH,
                   1000 * unit_slow());
        assert_int_equal(child_answer_within(&member, 300), CHILD_SILENT);
        assert_true((fd = open(path, O_WRONLY)) >= 0);
        assert_int_equal(pwrite(fd, &byte, 1, offset[i]), 1);
        close(fd);
        assert_int_equal(child_answer(&member, 5000), -EAGAIN);
        assert_int_equal(unit_file_size(path), offset[i] + 1);
        assert_int_equal(unit_file_byte(path, offset[i]), 'w');
        child_finish(&member);
        child_finish(&child);
        assert_int_equal(unlink(path), 0);
    }
    (void)state;
}

/* The other process closes the file before the timeout. */
static void test_open_elsewhere_for_a_while(void **state)
{
    const char *path = unit_path(unit_disk, "a-while");
    child_t child, member;

    unit_make_file(path, UNIT_LENGTH, 'x');
    intruder_start(&child, "write", path, 0);
    assert_int_equal(intruder_result(&child, 5000), 0);
    member_start(&member);
    child_send(&member, "open %s %d 10000", path, UNIT_LENGTH);
    assert_int_equal(child_answer_within(&member, 300), CHILD_SILENT);
    child_finish(&child);
    assert_int_equal(child_answer(&member, 2000), 0);
    child_finish(&member);
    (void)state;
}

static int file_leaser_child(int argc, char **argv)
{
    int fd = open(argv[1], O_RDWR | O_CLOEXEC);

    (void)argc;
    unit_set_signal(SIGIO, SIG_IGN);
    child_report((fcntl(fd, F_SETLEASE, F_WRLCK) == 0) ? 0 : errno, "lease");
    child_wait(); /* keeps the lease when it is broken */
    return 0;
}

static void test_other_program_has_a_lease(void **state)
{
    const char *path       = unit_path(unit_disk, "leased");
    daxpin_params_t params = {.timeout_ms = 300};
    daxpin_file_t *file;
    child_t child;
    uint64_t start;

    unit_make_file(path, 8192, 'x');
    child_spawn(&child, "leaser", path, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    start = unit_ms();
    assert_int_equal(daxpin_file_open(path, 8192, &params, &file), -EAGAIN);
    assert_true(unit_ms() - start < 2000 * unit_slow());
    assert_message(path);
    assert_message("lease");
    child_finish(&child);
    file = unit_open(path, 8192);
    daxpin_file_close(file);
    (void)state;
}

/*
 * Sharing
 */

static void test_same_handle(void **state)
{
    const char *path    = unit_path(unit_disk, "same");
    daxpin_file_t *file = unit_open(path, 8192), *again;
    char name[PATH_MAX];

    assert_ok(daxpin_file_open(path, 8192, NULL, &again));
    assert_ptr_equal(file, again);
    daxpin_file_close(again);
    snprintf(name, sizeof(name), "%s-link", path);
    assert_int_equal(link(path, name), 0);
    assert_ok(daxpin_file_open(name, 8192, NULL, &again));
    assert_ptr_equal(file, again); /* another name of the same file */
    daxpin_file_ref(file);
    daxpin_file_close(file);
    daxpin_file_close(again);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    daxpin_file_close(file);
    assert_string_equal(intruder_lease(path), "");
    (void)state;
}

static void test_second_process_is_member(void **state)
{
    const char *path    = unit_path(unit_disk, "second");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    child_t child;

    member_start_open(&child, path);
    assert_int_equal(child_query(&child, "holder"), 0);
    assert_true(member_has_state(&child, HELD));
    assert_child_ok(&child, "put 5000 10 65");
    assert_int_equal(memory[5009], 'A');
    memory[77] = 'B';
    assert_int_equal(child_query(&child, "mem 77"), 'B');
    assert_child_ok(&child, "pin 0 4096");
    assert_string_equal(intruder_lease(path), "ACTIVE");
    assert_child_ok(&child, "close");
    assert_child_ok(&child, "open %s 0 5000", path); /* can join again */
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/* Several processes create one file at once: one is the holder, all succeed. */
static void test_concurrent_creation(void **state)
{
    child_t children[FILE_PROCESSES];
    unsigned i, round, holders;
    const char *path;

    for (round = 0; round < 5; ++round) {
        path = unit_path((round % 2) ? unit_memory : unit_disk, "race");
        for (i = 0; i < FILE_PROCESSES; ++i) {
            member_start(&children[i]);
        }
        for (i = 0; i < FILE_PROCESSES; ++i) {
            child_send(&children[i], "open %s %d 10000", path, UNIT_LENGTH);
        }
        for (i = 0, holders = 0; i < FILE_PROCESSES; ++i) {
            long ret = child_answer(&children[i], CHILD_WAIT_MS);
            if (ret != 0) {
                fail_msg("process %u: %ld: %s", i, ret, children[i].text);
            }
            holders += child_query(&children[i], "holder") == 1;
            assert_child_ok(&children[i], "put %u 1 %u", i * 5000, i + 1);
        }
        assert_int_equal(holders, 1);
        for (i = 0; i < FILE_PROCESSES; ++i) {
            assert_int_equal(child_query(&children[i], "mem %u",
                                       (7 - i) * 5000), 8 - i);
        }
        assert_int_equal(unit_file_size(path), UNIT_LENGTH);
        for (i = 0; i < FILE_PROCESSES; ++i) {
            child_finish(&children[i]);
        }
    }
    (void)state;
}

/* A process that fails to create a file does not delete it if another process
 * has succeeded. */
static void test_failed_creation_leaves_others_alone(void **state)
{
    const char *dir = unit_path(unit_disk, "small");
    child_t poor, rich;
    char path[PATH_MAX];
    unsigned i;

    if (!unit_mount(dir, "size=2m")) {
        skip();
    }
    member_start(&poor);
    member_start(&rich);
    for (i = 0; i < 30; ++i) {
        snprintf(path, sizeof(path), "%s/%u", dir, i);
        child_send(&poor, "open %s %d %u", path, 8 << 20,
                   2000 * unit_slow());
        child_send(&rich, "open %s %d %u", path, 8192, 2000 * unit_slow());
        assert_int_equal(child_answer(&poor, CHILD_WAIT_MS), -ENOSPC);
        if (child_answer(&rich, CHILD_WAIT_MS) == 0) {
            assert_true(unit_exists(path));
            assert_child_ok(&rich, "close");
            unlink(path);
        } else {
            assert_contains(rich.text, path);
        }
    }
    child_finish(&poor);
    child_finish(&rich);
    assert_int_equal(umount(dir), 0);
    (void)state;
}

/*
 * Addresses, persistence
 */

static void test_addresses(void **state)
{
    const char *path    = unit_path(unit_disk, "addr");
    daxpin_file_t *file = unit_open(path, 10000);
    char *addr          = daxpin_file_addr(file, 0, 10000);

    assert_non_null(addr);
    assert_ptr_equal(daxpin_file_addr(file, 5000, 5000), addr + 5000);
    assert_ptr_equal(daxpin_file_addr(file, 9999, 1), addr + 9999);
    assert_null(daxpin_file_addr(file, 0, 10001));
    assert_message(path);
    assert_null(daxpin_file_addr(file, 10000, 1));
    assert_null(daxpin_file_addr(file, UINT64_MAX, 2));
    assert_null(daxpin_file_addr(file, 2, SIZE_MAX));
    daxpin_file_close(file);
    (void)state;
}

/* Have the kernel kill this process if it changes its working directory. Return
 * 0 if the kernel has no seccomp. */
static int file_forbid_chdir(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chdir, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchdir, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };

    return filter_begin(filter, sizeof(filter) / sizeof(filter[0]));
}

static int file_stays_child(int argc, char **argv)
{
    daxpin_file_t *file;
    char *addr;

    (void)argc;
    if (!file_forbid_chdir()) {
        child_report(-1, "no seccomp here");
        return 0;
    }
    if (daxpin_file_open(argv[1], 0, NULL, &file) != 0) {
        child_report(1, "%s", daxpin_errormsg());
        return 0;
    }
    addr = daxpin_file_addr(file, 0, 10000);
    if (addr != NULL) {
        memset(addr, 5, 10000);
    }
    child_report((addr == NULL) || (daxpin_file_persist(file, 0, 10000) != 0) ||
                 (strcmp(daxpin_file_granularity(file), "page") != 0), "map");
    daxpin_file_close(file);
    return 0;
}

/* Other threads open files by relative names meanwhile. On DAX, libpmem2 looks for
 * devices. */
static void test_working_directory_stays(void **state)
{
    const char *path    = unit_path(unit_disk, "stays");
    daxpin_file_t *file = unit_open(path, 10000);
    int is_dax          = daxpin_file_is_dax(file);
    child_t child;
    long answer;

    daxpin_file_close(file);
    if (is_dax) {
        skip();
    }
    child_spawn(&child, "stays", path, NULL);
    answer = child_answer(&child, CHILD_WAIT_MS);
    if (answer == -1) {
        skip();
    }
    assert_int_equal(answer, 0);
    child_finish(&child);
    assert_int_equal(unit_file_byte(path, 9999), 5);
    (void)state;
}

static void test_persist(void **state)
{
    const char *path    = unit_path(unit_disk, "persist");
    daxpin_file_t *file = unit_open(path, 10000);

    memset(daxpin_file_addr(file, 0, 10000), 3, 10000);
    assert_ok(daxpin_file_persist(file, 0, 10000));
    assert_ok(daxpin_file_persist(file, 4095, 2));
    assert_ok(daxpin_file_persist(file, 9999, 1));
    assert_int_equal(daxpin_file_persist(file, 9999, 2), -EINVAL);
    assert_int_equal(daxpin_file_persist(file, UINT64_MAX, 2), -EINVAL);
    intruder_run("truncate", path, 10, 5000);
    assert_int_equal(daxpin_file_persist(file, 0, 100), -ESTALE);
    assert_message(path);
    daxpin_file_close(file);
    assert_int_equal(unit_file_byte(path, 9), 3);
    (void)state;
}

/* daxpin_file_persist() fails for a revoked file that the program has
 * mapped. */
static void test_persist_of_adopted_after_revoke(void **state)
{
    const char *path = unit_path(unit_disk, "persist-adopted");
    daxpin_file_t *file;
    uint64_t offset;
    char *memory;
    int fd;

    unit_make_file(path, 8192, 'x');
    memory = unit_map_file(path, 8192, &fd);
    unit_use_dir(unit_disk);
    assert_ok(daxpin_file_adopt(memory, 8192, NULL, &file, &offset));
    intruder_run("truncate", path, 10, 5000);
    assert_int_equal(daxpin_file_persist(file, 0, 100), -ESTALE);
    assert_message(path);
    daxpin_file_unadopt(file, memory, 8192);
    daxpin_file_close(file);
    munmap(memory, 8192);
    close(fd);
    (void)state;
}

/*
 * Keys
 */

static void test_key_and_attach(void **state)
{
    const char *path    = unit_path(unit_disk, "key");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH), *again;
    daxpin_key_t key;
    struct stat st;
    child_t child;

    daxpin_file_key(file, &key);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(key.ino, st.st_ino);
    assert_int_equal(key.dev, st.st_dev);
    assert_true(key.generation != 0);
    assert_int_equal(key.uid, geteuid());
    assert_int_equal(key.pid, getpid());
    assert_ok(daxpin_file_attach(&key, &again));
    assert_ptr_equal(again, file);
    daxpin_file_close(again);

    member_start(&child);
    assert_child_ok(&child, "attach %s", member_key_text(file));
    assert_child_ok(&child, "put 0 100 7");
    assert_child_ok(&child, "key"); /* a member has the holder's key */
    assert_string_equal(child.text, member_key_text(file));
    assert_int_equal(*(char*)daxpin_file_addr(file, 99, 1), 7);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

static void test_stale_key(void **state)
{
    const char *path    = unit_path(unit_disk, "stale");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH), *again;
    daxpin_key_t key, wrong;
    char text[128];
    child_t child;

    daxpin_file_key(file, &key);
    snprintf(text, sizeof(text), "%s", member_key_text(file));
    wrong = key;
    ++wrong.generation;
    assert_int_equal(daxpin_file_attach(&wrong, &again), -ESTALE);
    assert_message(path);
    wrong.generation = 0;
    assert_int_equal(daxpin_file_attach(&wrong, &again), -ESTALE);
    wrong     = key;
    wrong.uid = UNIT_NOBODY;
    assert_int_equal(daxpin_file_attach(&wrong, &again), -EPERM);
    assert_message("65534");
    wrong = key;
    ++wrong.ino;
    assert_int_equal(daxpin_file_attach(&wrong, &again), -ENOENT);
    assert_message("holds it");

    daxpin_file_close(file);
    assert_int_equal(daxpin_file_attach(&key, &again), -ENOENT);
    file = unit_open(path, UNIT_LENGTH); /* a new lease */
    assert_int_equal(daxpin_file_attach(&key, &again), -ESTALE);
    assert_message(path);
    assert_null(again);
    member_start(&child);
    assert_int_equal(child_query(&child, "attach %s", text), -ESTALE);
    assert_contains(child.text, "earlier life");
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

static void test_attach_after_revoke(void **state)
{
    const char *path    = unit_path(unit_disk, "attach-revoked");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH), *again;
    child_t child;

    intruder_run("truncate", path, 0, 5000);
    member_start(&child);
    assert_int_equal(child_query(&child, "attach %s", member_key_text(file)),
                     -ENOENT);
    child_finish(&child);
    /* The path can be opened again, and the old handle stays revoked */
    again = unit_open(path, UNIT_LENGTH);
    assert_ptr_not_equal(file, again);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_REVOKED);
    daxpin_file_close(file);
    daxpin_file_close(again);
    (void)state;
}

/*
 * Names, leaks, deleted files
 */

static void test_names_of_states(void **state)
{
    assert_string_equal(daxpin_state_name(DAXPIN_STATE_HELD), "HELD");
    assert_string_equal(daxpin_state_name(DAXPIN_STATE_REVOKED), "REVOKED");
    assert_string_equal(daxpin_state_name((daxpin_state_t)99), "unknown");
    assert_true(strlen(daxpin_version()) >= 5);
    daxpin_file_close(NULL);
    (void)state;
}

/* Opening and closing a file many times leaks no descriptor. */
static void test_no_leak(void **state)
{
    const char *path = unit_path(unit_memory, "leak");
    unsigned round, rounds = pace_rounds(200, 20);
    int fds;

    daxpin_file_close(unit_open(path, 8192));
    fds = unit_count_fds();
    for (round = 0; round < rounds; ++round) {
        daxpin_file_close(unit_open(path, 8192));
    }
    assert_int_equal(unit_count_fds(), fds);
    (void)state;
}

/* A deleted file keeps its lease, and its name is free for another file. */
static void test_unlinked(void **state)
{
    const char *path    = unit_path(unit_disk, "unlinked");
    daxpin_file_t *file = unit_open(path, 8192), *other;

    intruder_run("unlink", path, 0, 5000);
    other = unit_open(path, 8192);
    assert_ptr_not_equal(file, other);
    daxpin_file_close(other);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"leaser", file_leaser_child},
        {"stays", file_stays_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_new),
        unit_case(test_default_mode),
        unit_case(test_existing),
        unit_case(test_short_grows),
        unit_case(test_sparse_is_allocated),
        unit_case(test_again_with_more),
        unit_case(test_join_while_growing),
        unit_case(test_join_while_created),
        unit_case(test_shrink),
        unit_case(test_shrink_after_messages),
        unit_case(test_empty),
        unit_case(test_wrong_type),
        unit_case(test_file_system_without_leases),
        unit_case(test_no_space),
        unit_case(test_not_owner),
        unit_case(test_no_permission),
        unit_case(test_ordinary_user),
        unit_case(test_open_elsewhere),
        unit_case(test_open_elsewhere_and_written),
        unit_case(test_open_elsewhere_for_a_while),
        unit_case(test_other_program_has_a_lease),
        unit_case(test_same_handle),
        unit_case(test_second_process_is_member),
        unit_case(test_concurrent_creation),
        unit_case(test_failed_creation_leaves_others_alone),
        unit_case(test_addresses),
        unit_case(test_working_directory_stays),
        unit_case(test_persist),
        unit_case(test_persist_of_adopted_after_revoke),
        unit_case(test_key_and_attach),
        unit_case(test_stale_key),
        unit_case(test_attach_after_revoke),
        unit_case(test_names_of_states),
        unit_case(test_no_leak),
        unit_case(test_unlinked)
    };

    return unit_main("file", argc, argv, children, tests);
}
