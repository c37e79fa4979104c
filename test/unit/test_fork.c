/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* fork(), exec() and exit() with files open */

#include "daxpin/file/pin.h"
#include "daxpin/file/report.h"
#include "daxpin/os/loop.h"
#include "disk.h"
#include "intruder.h"
#include "member.h"

#include <spawn.h>
#include <sys/uio.h>

extern char **environ;

/* Check a condition in a child of fork(). The assertions of cmocka would go on
 * with the next test there. */
#define FORK_CHECK(_condition) \
    do { \
        if (!(_condition)) { \
            fprintf(stderr, "# %s:%d: %s (%s)\n", __FILE__, __LINE__, \
                    #_condition, daxpin_errormsg()); \
            _exit(1); \
        } \
    } while (0)

typedef void (*fork_func_t)(void *arg);

/* Run a function in a child of fork(), and check that the child succeeds. */
static void fork_run(fork_func_t func, void *arg)
{
    child_t child = {.in = -1};

    fflush(NULL);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        func(arg);
        _exit(0);
    }
    child_remember(child.pid);
    child.in = dup(STDIN_FILENO);
    assert_int_equal(child_reap(&child, CHILD_WAIT_MS), 0);
}

typedef struct fork_files {
    daxpin_file_t *file;
    char          *memory;
    const char    *path;
    const char    *other;
    daxpin_pin_t  *pin;
} fork_files_t;

static void fork_open(fork_files_t *files, const char *dir)
{
    memset(files, 0, sizeof(*files));
    files->path   = unit_path(dir, "forked");
    files->other  = unit_path(dir, "other");
    files->file   = unit_open(files->path, UNIT_LENGTH);
    files->memory = daxpin_file_addr(files->file, 0, UNIT_LENGTH);
    memset(files->memory, 'p', UNIT_LENGTH);
    assert_ok(daxpin_pin(files->file, 0, 4096, NULL, &files->pin));
}

/* Check that the parent's file is as before and can be revoked. Close it. */
static void fork_close(fork_files_t *files)
{
    assert_int_equal(daxpin_file_state(files->file), DAXPIN_STATE_HELD);
    assert_int_equal(files->memory[0], 'p');
    assert_ptr_equal(daxpin_pin_find(files->file, 0, 1), files->pin);
    assert_string_equal(intruder_lease(files->path), "ACTIVE");
    intruder_run("truncate", files->path, 0, 2000);
    assert_int_equal(daxpin_file_state(files->file), DAXPIN_STATE_REVOKED);
    daxpin_unpin(files->pin);
    daxpin_file_close(files->file);
}

static void fork_check_handles(void *arg)
{
    fork_files_t *files = arg;
    daxpin_access_t access;
    daxpin_pin_t *pin;
    char cause[1024];

    FORK_CHECK(daxpin_file_state(files->file) == DAXPIN_STATE_REVOKED);
    daxpin_file_cause(files->file, cause, sizeof(cause));
    FORK_CHECK(strstr(cause, files->path) != NULL);
    FORK_CHECK(strstr(cause, "child") != NULL);
    daxpin_access_init(files->file, 0, &access);
    FORK_CHECK(daxpin_access_begin(&access) == -ESTALE);
    FORK_CHECK(daxpin_pin(files->file, 0, 4096, NULL, &pin) == -EPERM);
    FORK_CHECK(daxpin_file_persist(files->file, 0, 4096) == -ESTALE);
    FORK_CHECK(daxpin_lease_release(files->file) < 0);
    daxpin_unpin(files->pin);
    daxpin_file_close(files->file);
}

static void test_handles_of_child(void **state)
{
    fork_files_t files;

    fork_open(&files, unit_disk);
    fork_run(fork_check_handles, &files);
    fork_close(&files);
    (void)state;
}

/* Return whether a byte of this process's memory can be read or written. The
 * kernel does it, so that nothing faults. */
static int fork_can_access(void *addr, int is_write)
{
    char byte           = 'c';
    struct iovec local  = {.iov_base = &byte, .iov_len = 1};
    struct iovec remote = {.iov_base = addr, .iov_len = 1};

    return (is_write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0) :
                       process_vm_readv(getpid(), &local, 1, &remote, 1, 0)) ==
           1;
}

/* Check that the child has no descriptor of the file, and that the memory is
 * not there: what the file has is not to be read as zeros. */
static void fork_access_memory(void *arg)
{
    fork_files_t *files = arg;
    struct stat st, own;
    int fd;

    FORK_CHECK(stat(files->path, &st) == 0);
    for (fd = 0; fd < 1024; ++fd) {
        FORK_CHECK((fstat(fd, &own) != 0) || (own.st_ino != st.st_ino) ||
                   (own.st_dev != st.st_dev));
    }
    FORK_CHECK(fork_can_access(&st, 0) && fork_can_access(&st, 1));
    FORK_CHECK(!fork_can_access(files->memory, 0));
    FORK_CHECK(!fork_can_access(files->memory, 1));
    FORK_CHECK(!fork_can_access(files->memory + UNIT_LENGTH - 1, 0));
    FORK_CHECK(!fork_can_access(files->memory + UNIT_LENGTH - 1, 1));
}

static void test_memory_of_child(void **state)
{
    fork_files_t files;

    fork_open(&files, unit_disk);
    assert_true(fork_can_access(files.memory, 0));
    fork_run(fork_access_memory, &files);
    fork_close(&files);
    (void)state;
}

/* Check that the child inherits a mapping that the program itself has made. */
static void fork_check_adopted(void *arg)
{
    fork_files_t *files = arg;

    FORK_CHECK(files->memory[5] == 'x');
    daxpin_file_unadopt(files->file, files->memory, UNIT_LENGTH);
    daxpin_file_close(files->file);
}

static void test_adopted_in_child(void **state)
{
    fork_files_t files = {.path = unit_path(unit_disk, "adopted")};
    uint64_t offset;
    int fd;

    unit_make_file(files.path, UNIT_LENGTH, 'x');
    files.memory = unit_map_file(files.path, UNIT_LENGTH, &fd);
    unit_use_dir(unit_disk);
    assert_ok(daxpin_file_adopt(files.memory, UNIT_LENGTH, NULL, &files.file,
                                &offset));
    fork_run(fork_check_adopted, &files);
    assert_int_equal(daxpin_file_state(files.file), DAXPIN_STATE_HELD);
    assert_int_equal(files.memory[5], 'x');
    daxpin_file_unadopt(files.file, files.memory, UNIT_LENGTH);
    daxpin_file_close(files.file);
    munmap(files.memory, UNIT_LENGTH);
    close(fd);
    (void)state;
}

static void fork_open_files(void *arg)
{
    fork_files_t *files = arg;
    daxpin_file_t *own, *same;
    daxpin_key_t key;
    daxpin_pin_t *pin;

    FORK_CHECK(daxpin_file_open(files->other, 8192, NULL, &own) == 0);
    FORK_CHECK(daxpin_file_is_holder(own));
    FORK_CHECK(daxpin_pin(own, 0, 4096, NULL, &pin) == 0);
    FORK_CHECK(truncate(files->other, 0) == 0);
    FORK_CHECK(daxpin_file_state(own) == DAXPIN_STATE_REVOKED);
    daxpin_unpin(pin);
    daxpin_file_close(own);

    /* The child can become a member of the parent's file */
    FORK_CHECK(daxpin_file_open(files->path, UNIT_LENGTH, NULL, &same) == 0);
    FORK_CHECK(same != files->file);
    FORK_CHECK(!daxpin_file_is_holder(same));
    daxpin_file_key(same, &key);
    FORK_CHECK(key.pid == (uint32_t)getppid());
    FORK_CHECK(*(char*)daxpin_file_addr(same, 0, 1) == 'p');
    daxpin_file_close(same);
    daxpin_file_close(files->file);
}

static void test_child_opens(void **state)
{
    fork_files_t files;

    fork_open(&files, unit_disk);
    fork_run(fork_open_files, &files);
    fork_close(&files);
    (void)state;
}

static daxpin_report_t *fork_find_report(void)
{
    return mmap(NULL, sizeof(daxpin_report_t), PROT_READ, MAP_SHARED,
                unit_find_fd(DAXPIN_REPORT_NAME), 0);
}

/* Check that the child's report has the child's pin only, and that unpinning
 * the parent's pin does not change the report. */
static void fork_unpin(void *arg)
{
    fork_files_t *files = arg;
    daxpin_report_t *report;
    daxpin_file_t *own;
    daxpin_pin_t *pin;

    FORK_CHECK(fork_find_report() == MAP_FAILED);
    FORK_CHECK(daxpin_file_open(files->other, 8192, NULL, &own) == 0);
    FORK_CHECK(daxpin_pin(own, 0, 100, NULL, &pin) == 0);
    report = fork_find_report();
    FORK_CHECK(report != MAP_FAILED);
    FORK_CHECK(report->pid == (uint32_t)getpid());
    daxpin_unpin(files->pin);
    FORK_CHECK(report->omitted == 0);
    FORK_CHECK((report->records[0].used == 1) &&
               (report->records[0].pins == 1) &&
               (report->records[0].bytes == 100));
    daxpin_unpin(pin);
    daxpin_file_close(own);
}

static void test_report_of_child(void **state)
{
    fork_files_t files;

    fork_open(&files, unit_disk);
    fork_run(fork_unpin, &files);
    fork_close(&files);
    (void)state;
}

static void fork_grandchild(void *arg)
{
    fork_files_t *files = arg;
    daxpin_file_t *own;
    pid_t pid;
    int status;

    FORK_CHECK(daxpin_file_open(files->other, 8192, NULL, &own) == 0);
    pid = fork();
    if (pid == 0) {
        FORK_CHECK(daxpin_file_state(own) == DAXPIN_STATE_REVOKED);
        fork_check_handles(files);
        _exit(0);
    }
    FORK_CHECK((waitpid(pid, &status, 0) == pid) && (status == 0));
    FORK_CHECK(daxpin_file_state(own) == DAXPIN_STATE_HELD);
    daxpin_file_close(own);
}

static void test_grandchild(void **state)
{
    fork_files_t files;

    fork_open(&files, unit_disk);
    fork_run(fork_grandchild, &files);
    fork_close(&files);
    (void)state;
}

/* system() and popen() start processes in this way. */
static void test_posix_spawn(void **state)
{
    char *const argv[] = {"true", NULL};
    fork_files_t files;
    pid_t pid;
    int i;

    fork_open(&files, unit_disk);
    for (i = 0; i < 20; ++i) {
        assert_int_equal(posix_spawnp(&pid, "true", NULL, NULL, argv,
                                      environ), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    fork_close(&files);
    (void)state;
}

static void fork_nothing(void *arg)
{
    (void)arg;
}

static void test_many_forks(void **state)
{
    fork_files_t files;
    int i, fds;

    fork_open(&files, unit_disk);
    fds = member_count_fds();
    for (i = 0; i < 50; ++i) {
        fork_run(fork_nothing, NULL);
    }
    assert_int_equal(member_count_fds(), fds);
    fork_close(&files);
    (void)state;
}

/*
 * fork() while an open is under way
 */

#define FORK_RUN "run-of-fork" /* the directory in which processes meet */

static const char *fork_path;  /* of the file */
static unsigned   fork_number; /* of forks meanwhile */

/* Check that the child has no descriptor of the file, which would keep the lease,
 * and none of its address or roster. */
static void fork_check_fds(void *arg)
{
    char path[PATH_MAX];
    int fd;

    (void)arg;
    for (fd = 0; fd < 1024; ++fd) {
        unit_fd_path(fd, path);
        FORK_CHECK(strcmp(path, fork_path) != 0);
        FORK_CHECK(strstr(path, FORK_RUN) == NULL);
    }
}

/* Fork in the midst of what the library does with the file, as another thread
 * may. While this thread has the mutex none can. The loop's thread may have it
 * at this moment: fork() waits for that one. */
static void fork_meanwhile(int fd)
{
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    if ((gettid() == getpid()) && (strcmp(path, fork_path) == 0) &&
        (daxpin_mutex.__data.__owner != gettid())) {
        fork_run(fork_check_fds, NULL);
        ++fork_number;
    }
}

/* Open a file, and fork meanwhile. */
static daxpin_file_t *fork_while_opening(const char *path, size_t length)
{
    daxpin_file_t *file;

    fork_path        = path;
    fork_number      = 0;
    disk_look_hook   = fork_meanwhile;
    disk_length_hook = fork_meanwhile;
    file             = unit_open(path, length);
    disk_look_hook   = NULL;
    disk_length_hook = NULL;
    assert_true(fork_number > 0);
    return file;
}

static void fork_begin_meeting(void)
{
    assert_int_equal(setenv("DAXPIN_RUNTIME_DIR",
                            unit_path(unit_memory, FORK_RUN), 1), 0);
}

static void fork_end_meeting(void)
{
    assert_int_equal(unsetenv("DAXPIN_RUNTIME_DIR"), 0);
}

static void test_fork_while_holder_opens(void **state)
{
    fork_begin_meeting();
    daxpin_file_close(fork_while_opening(unit_path(unit_disk, "holds"),
                                         UNIT_LENGTH));
    fork_end_meeting();
    (void)state;
}

static void test_fork_while_member_opens(void **state)
{
    const char *path = unit_path(unit_disk, "joins");
    child_t holder;

    fork_begin_meeting();
    member_start_open(&holder, path);
    daxpin_file_close(fork_while_opening(path, 0));
    child_finish(&holder);
    fork_end_meeting();
    (void)state;
}

static void test_fork_while_file_grows(void **state)
{
    const char *path = unit_path(unit_memory, "grows"); /* not as DAX does */
    daxpin_file_t *file;

    fork_begin_meeting();
    file = unit_open(path, UNIT_LENGTH);
    daxpin_file_close(fork_while_opening(path, 2 * UNIT_LENGTH));
    daxpin_file_close(file);
    fork_end_meeting();
    (void)state;
}

/*
 * A holder that dies before its child of fork()
 */

/* Open a file and fork a child that does nothing. Report that child's pid. The
 * argument is the path. */
static int fork_parent_child(int argc, char **argv)
{
    daxpin_file_t *file;
    pid_t pid;

    (void)argc;
    if (daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file) != 0) {
        return 1;
    }
    pid = fork();
    if (pid == 0) {
        close(CHILD_IN);
        close(CHILD_OUT);
        alarm(UNIT_SECONDS * unit_slow());
        pause();
        _exit(0);
    }
    child_report(pid, "child");
    child_wait();
    return 0;
}

static pid_t fork_start_parent(child_t *child, const char *path)
{
    pid_t pid;

    child_spawn(child, "parent", path, NULL);
    pid = (pid_t)child_answer(child, CHILD_WAIT_MS);
    assert_true(pid > 0);
    return pid;
}

static void test_member_sees_death_of_parent(void **state)
{
    const char *path = unit_path(unit_disk, "outlived");
    child_t parent, member, child;
    pid_t grandchild;
    long ret;

    grandchild = fork_start_parent(&parent, path);
    member_start_open(&member, path);
    child_kill(&parent);
    intruder_start(&child, "truncate", path, 0);
    ret = intruder_result(&child, 5000);
    kill(grandchild, SIGKILL);
    assert_int_equal(ret, 0);
    assert_member_becomes(&member, REVOKED);
    child_finish(&child);
    child_finish(&member);
    (void)state;
}

/* The holder has no members, so the lease ends with the holder. */
static void test_intruder_sees_death_of_parent(void **state)
{
    const char *path = unit_path(unit_disk, "outlived-alone");
    child_t parent, child;
    pid_t grandchild;
    long ret;

    grandchild = fork_start_parent(&parent, path);
    child_kill(&parent);
    intruder_start(&child, "truncate", path, 0);
    ret = intruder_result(&child, 5000);
    kill(grandchild, SIGKILL);
    assert_int_equal(ret, 0);
    child_finish(&child);
    (void)state;
}

/*
 * exec() and exit()
 */

/* Open the file at the argument's path, and later execute another program. */
static int fork_exec_child(int argc, char **argv)
{
    char *const args[] = {"cat", NULL};
    daxpin_file_t *file;

    (void)argc;
    if (daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file) != 0) {
        return 1;
    }
    child_report(0, "open");
    child_wait();
    dup2(CHILD_IN, 0);
    dup2(CHILD_OUT, 1);
    execvp("cat", args);
    return 1;
}

static void test_exec(void **state)
{
    const char *path = unit_path(unit_disk, "exec");
    child_t holder, member;

    child_spawn(&holder, "exec", path, NULL);
    assert_int_equal(child_answer(&holder, CHILD_WAIT_MS), 0);
    member_start_open(&member, path);
    child_send(&holder, "go");
    assert_true(unit_await(10000, child_query(&member, "holder") == 1));
    assert_member_becomes(&member, HELD);
    intruder_run("truncate", path, 0, 5000);
    assert_member_becomes(&member, REVOKED);
    assert_int_equal(child_query(&holder, "77 from cat"), 77);
    close(holder.out);
    (void)child_reap(&holder, 2000);
    child_finish(&member);
    (void)state;
}

static void test_exit_without_close(void **state)
{
    const char *path = unit_path(unit_disk, "exit");
    child_t holder, member;

    member_start_open(&holder, path);
    member_start_open(&member, path);
    assert_child_ok(&member, "pin 0 4096");
    child_send(&holder, "exit");
    child_finish(&holder);
    assert_true(unit_await(10000, child_query(&member, "holder") == 1));
    child_send(&member, "exit");
    child_finish(&member);
    assert_string_equal(intruder_lease(path), "");
    daxpin_file_close(unit_open(path, UNIT_LENGTH));
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"parent", fork_parent_child},
        {"exec", fork_exec_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_handles_of_child),
        unit_case(test_memory_of_child),
        unit_case(test_adopted_in_child),
        unit_case(test_child_opens),
        unit_case(test_report_of_child),
        unit_case(test_grandchild),
        unit_case(test_posix_spawn),
        unit_case(test_many_forks),
        unit_case(test_fork_while_holder_opens),
        unit_case(test_fork_while_member_opens),
        unit_case(test_fork_while_file_grows),
        unit_case(test_member_sees_death_of_parent),
        unit_case(test_intruder_sees_death_of_parent),
        unit_case(test_exec),
        unit_case(test_exit_without_close)
    };

    return unit_main("fork", argc, argv, children, tests);
}
