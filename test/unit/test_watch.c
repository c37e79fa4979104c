/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What others do to a file while they are let in, or while nobody looks */

#include "daxpin/os/loop.h"
#include "intruder.h"
#include "member.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* The state of a file when the library last searched all processes. The
 * function replaces that of the C library in this program. */
static daxpin_file_t *_Atomic watch_file;
static _Atomic int   watch_searched_in;

/* How long the loop stops where it looks at a file (ms), and the variable that
 * says how long a child stops before it makes a file longer, and in how many steps
 * it does. The functions replace those of the C library in this program. */
static _Atomic unsigned watch_look_ms;

#define WATCH_GROW "WATCH_GROW"

int fstat(int fd, struct stat *st)
{
    const int ret = fstatat(fd, "", st, AT_EMPTY_PATH);

    unit_sleep_ms(watch_look_ms);
    return ret;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    const char *how = getenv(WATCH_GROW);
    unsigned ms = 0, steps = 1;
    int ret = 0;

    if ((how != NULL) && (sscanf(how, "%u %u", &ms, &steps) != 2)) {
        abort();
    }
    for (; (ret == 0) && (steps > 0); --steps) {
        unit_sleep_ms(ms);
        ret = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    }
    return ret;
}

DIR *opendir(const char *path)
{
    daxpin_file_t *file = watch_file;
    int fd              = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if ((file != NULL) && (strcmp(path, "/proc") == 0)) {
        watch_searched_in = (int)daxpin_file_state(file);
    }
    return (fd >= 0) ? fdopendir(fd) : NULL;
}

/*
 * Another program
 *
 * It reads one command a line, and answers with 0 or an errno value:
 *
 *   read      open for reading, and keep open
 *   write     open for reading and writing, and keep open
 *   put       write over the first page
 *   over      open with O_TRUNC and write as much as there was, as cp does
 *   map       map by the descriptor that can write, and close that
 *   set       store to that mapping
 *   cut       truncate by path to nothing, and back
 *   close     close and unmap all
 */
typedef struct other {
    const char *path;
    int        read_fd;
    int        write_fd;
    char       *memory;
} other_t;

static int other_put(int fd, size_t length)
{
    char *bytes = malloc(length);
    ssize_t ret;

    memset(bytes, 'X', length);
    ret = pwrite(fd, bytes, length, 0);
    free(bytes);
    return (ret == (ssize_t)length) ? 0 : EIO;
}

static int other_over(const other_t *me)
{
    int fd = open(me->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    int ret;

    if (fd < 0) {
        return errno;
    }
    ret = other_put(fd, UNIT_LENGTH);
    close(fd);
    return ret;
}

static int other_close(other_t *me)
{
    if (me->memory != NULL) {
        munmap(me->memory, 4096);
        me->memory = NULL;
    }
    close(me->read_fd);
    close(me->write_fd);
    me->read_fd = me->write_fd = -1;
    return 0;
}

static int other_do(other_t *me, const char *what)
{
    if (strcmp(what, "read") == 0) {
        me->read_fd = open(me->path, O_RDONLY | O_CLOEXEC);
        return (me->read_fd >= 0) ? 0 : errno;
    } else if (strcmp(what, "write") == 0) {
        me->write_fd = open(me->path, O_RDWR | O_CLOEXEC);
        return (me->write_fd >= 0) ? 0 : errno;
    } else if (strcmp(what, "put") == 0) {
        return other_put(me->write_fd, 4096);
    } else if (strcmp(what, "over") == 0) {
        return other_over(me);
    } else if (strcmp(what, "map") == 0) {
        me->memory = unit_map(me->write_fd, 4096);
        close(me->write_fd);
        return (me->memory != MAP_FAILED) ? 0 : errno;
    } else if (strcmp(what, "set") == 0) {
        me->memory[0] = 'X';
        return 0;
    } else if (strcmp(what, "cut") == 0) {
        return ((truncate(me->path, 0) == 0) &&
                (truncate(me->path, UNIT_LENGTH) == 0)) ? 0 : errno;
    }
    return (strcmp(what, "close") == 0) ? other_close(me) : EINVAL;
}

static int other_child(int argc, char **argv)
{
    other_t me = {.path = argv[argc - 1], .read_fd = -1, .write_fd = -1};
    char line[CHILD_LINE_MAX];

    while (child_read(line, sizeof(line))) {
        child_report(other_do(&me, line), "%s", line);
    }
    return 0;
}

/* A file under lease, and another program that it is lent to */
typedef struct lent {
    const char    *path;
    daxpin_file_t *file;
    child_t       other;
} lent_t;

static void watch_lend(lent_t *lent, const char *dir)
{
    lent->path = unit_path(dir, "watch");
    lent->file = unit_open(lent->path, UNIT_LENGTH);
    child_spawn(&lent->other, "other", lent->path, NULL);
    assert_child_ok(&lent->other, "read");
    assert_becomes(lent->file, LENT);
}

static void watch_check_revoked(daxpin_file_t *file, const char *why)
{
    char cause[1024];

    assert_becomes(file, REVOKED);
    daxpin_file_cause(file, cause, sizeof(cause));
    assert_contains(cause, daxpin_file_path(file));
    assert_contains(cause, why);
}

static void watch_end(lent_t *lent)
{
    child_finish(&lent->other);
    daxpin_file_close(lent->file);
}

static const char *const watch_dirs[] = {unit_disk, unit_memory};

/* A reader that stays a reader is noticed when it goes. */
static void test_reader(void **state)
{
    unsigned i;
    lent_t lent;

    for (i = 0; i < 2; ++i) {
        watch_lend(&lent, watch_dirs[i]);
        assert_int_equal(daxpin_file_check(lent.file), 0);
        assert_child_ok(&lent.other, "close");
        assert_becomes(lent.file, HELD);
        assert_int_equal(daxpin_file_check(lent.file), 0);
        watch_end(&lent);
    }
    (void)state;
}

/* A program opens for reading, then for writing, and writes as much. */
static void test_reader_writes(void **state)
{
    unsigned i;
    lent_t lent;

    for (i = 0; i < 2; ++i) {
        watch_lend(&lent, watch_dirs[i]);
        assert_child_ok(&lent.other, "write");
        assert_child_ok(&lent.other, "put");
        /* Whatever the holder has noticed by now, this must not succeed */
        assert_int_equal(daxpin_file_check(lent.file), -ESTALE);
        watch_check_revoked(lent.file, "opened it for writing");
        watch_end(&lent);
    }
    (void)state;
}

/* All end access before the holder searches for the name of that program. */
static void test_name_comes_last(void **state)
{
    char name[32];
    lent_t lent;

    watch_lend(&lent, unit_disk);
    watch_searched_in = -1;
    watch_file        = lent.file;
    assert_child_ok(&lent.other, "write");
    assert_child_ok(&lent.other, "put");
    snprintf(name, sizeof(name), "%d", (int)lent.other.pid);
    watch_check_revoked(lent.file, name);
    assert_int_equal(watch_searched_in, DAXPIN_STATE_BREAKING);
    watch_file = NULL;
    watch_end(&lent);
    (void)state;
}

/* The same, over in a moment: the size and the blocks are what they were. */
static void test_copy_over(void **state)
{
    const unsigned rounds = pace_rounds(10, 3);
    unsigned i;
    lent_t lent;

    for (i = 0; i < 2 * rounds; ++i) {
        watch_lend(&lent, watch_dirs[i % 2]);
        assert_child_ok(&lent.other, "over");
        assert_child_ok(&lent.other, "close");
        watch_check_revoked(lent.file, "let in");
        watch_end(&lent);
    }
    (void)state;
}

/* No descriptor is ever open for that. */
static void test_cut_and_restored(void **state)
{
    unsigned i;
    lent_t lent;

    for (i = 0; i < 2; ++i) {
        watch_lend(&lent, watch_dirs[i]);
        assert_child_ok(&lent.other, "cut");
        assert_int_equal(daxpin_file_check(lent.file), -ESTALE);
        watch_check_revoked(lent.file, lent.path);
        watch_end(&lent);
    }
    (void)state;
}

/* No watch reports a store, but the end of the mapping is reported. */
static void test_stores(void **state)
{
    lent_t lent;

    watch_lend(&lent, unit_disk);
    assert_child_ok(&lent.other, "write");
    assert_child_ok(&lent.other, "map");
    assert_child_ok(&lent.other, "set");
    assert_child_ok(&lent.other, "close");
    watch_check_revoked(lent.file, "opened it for writing");
    watch_end(&lent);
    (void)state;
}

/* The program's own writes, by members and by the holder, are its own
 * matter. */
static void test_own_writes(void **state)
{
    const char *path = unit_path(unit_disk, "own");
    const char *dir  = unit_disk;
    child_t members[2], reader;
    unsigned i;

    unit_make_file(path, UNIT_LENGTH, 'a');
    for (i = 0; i < 2; ++i) {
        member_start(&members[i]);
        assert_child_ok(&members[i], "map %s %d -", path, UNIT_LENGTH);
    }
    for (i = 0; i < 2; ++i) {
        child_send(&members[i], "adopt %s 5000", dir);
    }
    for (i = 0; i < 2; ++i) {
        assert_int_equal(child_answer(&members[i], CHILD_WAIT_MS), 0);
        assert_child_ok(&members[i], "put 0 8 1");
        assert_child_ok(&members[i], "write 4096 100");
    }
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, 5000), 0);
    for (i = 0; i < 10; ++i) {
        assert_child_ok(&members[i % 2], "write %u 100", 4096 * i);
        assert_child_ok(&members[i % 2], "check");
        assert_int_equal(child_query(&members[i % 2], "state"),
                         DAXPIN_STATE_LENT);
        unit_sleep_ms(10);
    }
    child_finish(&reader);
    for (i = 0; i < 2; ++i) {
        assert_member_becomes(&members[i], HELD);
        assert_child_ok(&members[i], "put 0 8 1");
    }
    for (i = 0; i < 2; ++i) {
        child_finish(&members[i]);
    }
    (void)state;
}

/* A member makes a file longer that is lent. */
static void watch_grow(child_t *member, const lent_t *lent)
{
    unsigned i;

    member_start_open(member, lent->path);
    for (i = 2; i < 5; ++i) {
        assert_child_ok(member, "open %s %u 5000", lent->path, i * UNIT_LENGTH);
        assert_int_equal(daxpin_file_length(lent->file), i * UNIT_LENGTH);
        unit_sleep_ms(30);
        assert_int_equal(daxpin_file_state(lent->file), DAXPIN_STATE_LENT);
    }
}

static void test_own_growth(void **state)
{
    child_t member;
    lent_t lent;

    watch_lend(&lent, unit_memory);
    watch_grow(&member, &lent);
    assert_child_ok(&lent.other, "close");
    assert_becomes(lent.file, HELD);
    child_finish(&member);
    watch_end(&lent);
    (void)state;
}

/* The holder reads of the first change only, and then hears that the member is
 * done. */
static void test_own_growth_in_a_moment(void **state)
{
    child_t member;
    lent_t lent;

    watch_lend(&lent, unit_memory);
    watch_look_ms = 50;
    setenv(WATCH_GROW, "30 1", 1);
    watch_grow(&member, &lent);
    unsetenv(WATCH_GROW);
    watch_look_ms = 0;
    child_finish(&member);
    watch_end(&lent);
    (void)state;
}

/* A member is killed while it makes a file longer that is lent: all that it has
 * done to the file was its own. */
static void test_own_growth_is_killed(void **state)
{
    const unsigned rounds = pace_rounds(8, 4);
    child_t member;
    lent_t lent;
    unsigned i;

    watch_lend(&lent, unit_memory);
    watch_look_ms = 12;
    for (i = 0; i < rounds; ++i) {
        setenv(WATCH_GROW, "3 300", 1);
        member_start_open(&member, lent.path);
        unsetenv(WATCH_GROW);
        child_send(&member, "open %s %u 5000", lent.path, 2 * UNIT_LENGTH);
        unit_sleep_ms(60 + i);
        child_kill(&member);
        unit_sleep_ms(60);
        assert_int_equal(daxpin_file_state(lent.file), DAXPIN_STATE_LENT);
        assert_int_equal(daxpin_file_length(lent.file), UNIT_LENGTH);
    }
    watch_look_ms = 0;
    watch_end(&lent);
    (void)state;
}

/* Map and adopt the file of a path, and have a member of it that does the same. No
 * process accesses it yet. */
static daxpin_file_t *watch_adopt(const char *path, char **memory_p,
                                  child_t *member)
{
    daxpin_params_t params = {.timeout_ms = 8000};
    daxpin_file_t *file;
    uint64_t offset;
    int fd;

    unit_make_file(path, UNIT_LENGTH, 'a');
    /* From here on the member is known to use daxpin */
    member_start_open(member, unit_path(unit_memory, "other"));
    assert_child_ok(member, "close");
    fd        = open(path, O_RDWR | O_CLOEXEC);
    *memory_p = unit_map(fd, UNIT_LENGTH);
    close(fd);
    unit_use_dir(unit_memory);
    assert_ok(daxpin_file_adopt(*memory_p, UNIT_LENGTH, &params, &file,
                                &offset));
    assert_child_ok(member, "map %s %d -", path, UNIT_LENGTH);
    assert_child_ok(member, "adopt %s 8000", unit_memory);
    assert_becomes(file, HELD);
    return file;
}

/* The first access to a file that is lent, and another program that writes over
 * it: the holder reads of that before it hears of the access. On DAX, the program
 * would wait for a hold. */
static void test_first_access(void **state)
{
    const char *path = unit_path(unit_memory, "first");
    long put, over;
    child_t member, other;
    daxpin_file_t *file;
    char *memory;

    file = watch_adopt(path, &memory, &member);
    child_spawn(&other, "other", path, NULL);
    assert_child_ok(&other, "read");
    assert_becomes(file, LENT);
    /* The loop has its events by then, but the mutex only at the end of this */
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_loop_wake_all();
    unit_sleep_ms(20);
    child_send(&member, "put 0 8 1");
    put = child_answer(&member, CHILD_WAIT_MS);
    child_send(&other, "over");
    over = child_answer(&other, CHILD_WAIT_MS);
    pthread_mutex_unlock(&daxpin_mutex);
    assert_int_equal(put, 0);
    assert_int_equal(over, 0);
    watch_check_revoked(file, "let in");
    child_finish(&other);
    child_finish(&member);
    daxpin_file_unadopt(file, memory, UNIT_LENGTH);
    daxpin_file_close(file);
    munmap(memory, UNIT_LENGTH);
    (void)state;
}

/* The holder shortens its file that is lent. */
static void test_own_cut(void **state)
{
    lent_t lent;

    watch_lend(&lent, unit_memory);
    assert_ok(daxpin_file_shrink(lent.file, UNIT_LENGTH / 2));
    unit_sleep_ms(30);
    assert_int_equal(daxpin_file_state(lent.file), DAXPIN_STATE_LENT);
    assert_int_equal(daxpin_file_check(lent.file), 0);
    assert_child_ok(&lent.other, "close");
    assert_becomes(lent.file, HELD);
    watch_end(&lent);
    (void)state;
}

/*
 * A process that cannot look
 */

/* Use up all descriptors. */
static void watch_use_up(int *fds, unsigned room)
{
    struct rlimit limit;
    unsigned count = 0;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 256;
    setrlimit(RLIMIT_NOFILE, &limit);
    while ((count < room) && ((fds[count] = dup(CHILD_IN)) >= 0)) {
        ++count;
    }
}

static int watch_write(const char *path, const char *text)
{
    int fd  = open(path, O_WRONLY | O_CLOEXEC);
    int ret = (fd >= 0) && (write(fd, text, strlen(text)) ==
                            (ssize_t)strlen(text));

    close(fd);
    return ret;
}

/* In a user namespace of its own, a process may have its own limits. */
static int watch_without_inotify(void)
{
    return (unshare(CLONE_NEWUSER) == 0) &&
           watch_write("/proc/self/uid_map", "0 0 1") &&
           watch_write("/proc/sys/user/max_inotify_instances", "0");
}

/* Open a file, lose the means to look, and tell how the lease ends. Arguments:
 * the path, what is lost, and the state that is expected */
static int blind_child(int argc, char **argv)
{
    daxpin_file_t *file;
    static int fds[256];
    char cause[1024];
    int ret;

    (void)argc;
    if (strcmp(argv[2], "proc") == 0) {
        unit_own_mounts();
    }
    if ((strcmp(argv[2], "inotify") == 0) && !watch_without_inotify()) {
        child_report(1, "no user namespace");
        return 0;
    }
    ret = daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file);
    if (ret != 0) {
        child_report(ret, "%s", daxpin_errormsg());
        return 0;
    }
    if (strcmp(argv[2], "descriptors") == 0) {
        watch_use_up(fds, 256);
    } else if ((strcmp(argv[2], "proc") == 0) &&
               (mount("none", "/proc", "tmpfs", 0, "") != 0)) {
        child_report(1, "cannot mount over /proc");
        return 0;
    }
    child_report(0, "ready");
    while (daxpin_file_state(file) == DAXPIN_STATE_HELD) {
        usleep(1000);
    }
    unit_await(2000, daxpin_file_state(file) != DAXPIN_STATE_BREAKING);
    daxpin_file_cause(file, cause, sizeof(cause));
    child_report(daxpin_file_state(file), "%s", cause);
    child_wait();
    _exit(0); /* Without /proc, leaks cannot be searched for */
}

static void watch_check_blind(const char *lost, const char *intruder,
                              daxpin_state_t expected, const char *why)
{
    const char *path = unit_path(unit_disk, "blind");
    child_t blind, other;
    long ret;

    child_spawn(&blind, "blind", path, lost, NULL);
    ret = child_answer(&blind, CHILD_WAIT_MS);
    if (ret != 0) {
        print_message("# %s: %s\n", lost, blind.text);
        child_finish(&blind);
        assert_int_equal(ret, 1);
        skip();
    }
    intruder_start(&other, intruder, path, UNIT_LENGTH);
    assert_int_equal(child_answer(&blind, CHILD_WAIT_MS), expected);
    assert_contains(blind.text, why);
    assert_int_equal(intruder_result(&other, 5000), 0);
    child_finish(&other);
    child_finish(&blind);
}

static void test_no_descriptors(void **state)
{
    watch_check_blind("descriptors", "write", DAXPIN_STATE_REVOKED, "");
    watch_check_blind("descriptors", "truncate", DAXPIN_STATE_REVOKED, "");
    watch_check_blind("descriptors", "read", DAXPIN_STATE_LENT, "");
    (void)state;
}

static void test_no_proc(void **state)
{
    if (!unit_may_mount) {
        skip();
    }
    watch_check_blind("proc", "write", DAXPIN_STATE_REVOKED, "/proc/locks");
    watch_check_blind("proc", "truncate", DAXPIN_STATE_REVOKED, "/proc/locks");
    watch_check_blind("proc", "read", DAXPIN_STATE_LENT, "");
    (void)state;
}

static void test_no_inotify(void **state)
{
    watch_check_blind("inotify", "read", DAXPIN_STATE_REVOKED,
                      "fs.inotify.max_user_instances");
    watch_check_blind("inotify", "write", DAXPIN_STATE_REVOKED, "opens it");
    (void)state;
}

/*
 * A holder that is stopped
 */

static unsigned watch_break_time(void)
{
    return (unsigned)unit_number_in("/proc/sys/fs/lease-break-time", "");
}

/* The lease of a stopped holder expires, and another program writes as much.
 * Its member learns that before, the holder afterwards. */
static void test_stopped_holder(void **state)
{
    const char *path       = unit_path(unit_disk, "stopped");
    const unsigned seconds = watch_break_time();
    child_t holder, member, other;

    if ((seconds == 0) || (seconds > 3)) {
        skip(); /* the setting is that of the whole machine */
    }
    member_start_open(&holder, path);
    member_start_open(&member, path);
    assert_child_ok(&member, "put 0 8 1");
    assert_int_equal(kill(holder.pid, SIGSTOP), 0);
    child_spawn(&other, "other", path, NULL);
    child_send(&other, "write"); /* a truncate would wait for a hold */
    assert_int_equal(child_answer(&other, 10000 + seconds * 1000), 0);
    assert_child_ok(&other, "put");
    assert_child_ok(&other, "close");
    assert_int_equal(child_query(&member, "check"), -ESTALE);
    assert_int_equal(child_query(&member, "put 0 8 1"), -ESTALE);
    assert_child_ok(&member, "cause");
    assert_contains(member.text, "does not answer");
    assert_int_equal(kill(holder.pid, SIGCONT), 0);
    assert_member_becomes(&holder, REVOKED);
    assert_child_ok(&holder, "cause");
    assert_contains(holder.text, "was stopped");
    assert_int_equal(unit_file_byte(path, 0), 'X');
    child_finish(&other);
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

/* The same, but the member makes no synchronisation: its loop looks. */
static void test_stopped_holder_and_idle_member(void **state)
{
    const char *path       = unit_path(unit_disk, "idle");
    const unsigned seconds = watch_break_time();
    child_t holder, member, other;

    if ((seconds == 0) || (seconds > 3)) {
        skip();
    }
    member_start_open(&holder, path);
    member_start_open(&member, path);
    assert_int_equal(kill(holder.pid, SIGSTOP), 0);
    child_spawn(&other, "other", path, NULL);
    child_send(&other, "write");
    assert_int_equal(child_answer(&other, 10000 + seconds * 1000), 0);
    assert_true(unit_await(1000, !member_has_state(&member, HELD)));
    assert_int_equal(child_query(&member, "put 0 8 1"), -ESTALE);
    assert_int_equal(kill(holder.pid, SIGCONT), 0);
    child_finish(&other);
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

/* The same, but the other program only reads. */
static void test_stopped_holder_and_reader(void **state)
{
    const char *path       = unit_path(unit_disk, "asleep");
    const unsigned seconds = watch_break_time();
    child_t holder, other;

    if ((seconds == 0) || (seconds > 3)) {
        skip();
    }
    member_start_open(&holder, path);
    assert_int_equal(kill(holder.pid, SIGSTOP), 0);
    child_spawn(&other, "other", path, NULL);
    child_send(&other, "read");
    assert_int_equal(child_answer(&other, 10000 + seconds * 1000), 0);
    assert_child_ok(&other, "close");
    assert_int_equal(kill(holder.pid, SIGCONT), 0);
    assert_child_ok(&holder, "check");
    assert_child_ok(&holder, "put 0 8 1");
    assert_member_becomes(&holder, HELD);
    child_finish(&other);
    child_finish(&holder);
    (void)state;
}

int main(int argc, char **argv)
{
    static const child_entry_t children[] = {
        MEMBER_ENTRY, INTRUDER_ENTRY, {"other", other_child},
        {"blind", blind_child}, {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_reader),
        unit_case(test_reader_writes),
        unit_case(test_name_comes_last),
        unit_case(test_copy_over),
        unit_case(test_cut_and_restored),
        unit_case(test_stores),
        unit_case(test_own_writes),
        unit_case(test_own_growth),
        unit_case(test_own_growth_in_a_moment),
        unit_case(test_own_growth_is_killed),
        unit_case(test_first_access),
        unit_case(test_own_cut),
        unit_case(test_no_descriptors),
        unit_case(test_no_proc),
        unit_case(test_no_inotify),
        unit_case(test_stopped_holder),
        unit_case(test_stopped_holder_and_idle_member),
        unit_case(test_stopped_holder_and_reader)
    };

    return unit_main("watch", argc, argv, children, tests);
}
