/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Tests of the hand-over: a member takes the place of a holder that has
 * ended */

#include "intruder.h"
#include "member.h"

#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/resource.h>

/* Time for a process that could go on wrongly to do so */
#define HANDOVER_WAIT_MS 300

/*
 * Members
 */

static void handover_open(child_t *members, unsigned count, const char *path)
{
    unsigned i;

    /* Other users of the directory may have another version of daxpin */
    assert_int_equal(setenv("DAXPIN_RUNTIME_DIR",
                            unit_path(unit_memory, "run"), 1), 0);
    for (i = 0; i < count; ++i) {
        member_start_open(&members[i], path);
    }
}

/* Remove a member that was killed. */
static void handover_bury(child_t *members, unsigned *count_p, unsigned which)
{
    child_kill(&members[which]);
    members[which] = members[--*count_p];
}

static void handover_finish(child_t *members, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        child_finish(&members[i]);
    }
}

/* Leave a process so many numbers for new descriptors. Return 0 if its limit
 * cannot be set. */
static int handover_limit(const child_t *child, unsigned spare,
                          struct rlimit *old)
{
    struct rlimit limit;
    char path[64], link[80];
    struct stat st;
    unsigned number;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)child->pid);
    for (number = 0;; ++number) {
        snprintf(link, sizeof(link), "%s/%u", path, number);
        if ((lstat(link, &st) != 0) && (spare-- == 0)) {
            break;
        }
    }
    if (prlimit(child->pid, RLIMIT_NOFILE, NULL, old) != 0) {
        return 0;
    }
    limit          = *old;
    limit.rlim_cur = number;
    return prlimit(child->pid, RLIMIT_NOFILE, &limit, NULL) == 0;
}

/*
 * A process that is slow: each of its system calls takes a while
 */

static int handover_seize(pid_t pid)
{
    char path[64];
    struct dirent *entry;
    int count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while ((dir != NULL) && ((entry = readdir(dir)) != NULL)) {
        if ((atoi(entry->d_name) > 0) &&
            (ptrace(PTRACE_SEIZE, atoi(entry->d_name), NULL,
                    PTRACE_O_TRACESYSGOOD) == 0) &&
            (ptrace(PTRACE_INTERRUPT, atoi(entry->d_name), NULL, NULL) == 0)) {
            ++count;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

/* Make a process slow. The arguments are its pid and the milliseconds of each
 * system call. Report how many threads are traced. */
static int handover_slow_child(int argc, char **argv)
{
    const unsigned ms = (unsigned)atoi(argv[2]);
    int status, signo;
    pid_t tid;

    (void)argc;
    child_report(handover_seize(atoi(argv[1])), "threads");
    while ((tid = waitpid(-1, &status, __WALL)) > 0) {
        signo = 0;
        if (WIFSTOPPED(status) && (WSTOPSIG(status) == (SIGTRAP | 0x80))) {
            unit_sleep_ms(ms);
        } else if (WIFSTOPPED(status) && ((status >> 16) == 0)) {
            signo = WSTOPSIG(status);
        }
        ptrace(PTRACE_SYSCALL, tid, NULL, (void*)(long)signo);
    }
    return 0;
}

static int handover_slow_down(child_t *tracer, const child_t *child,
                              unsigned ms)
{
    char pid[16], pause[16];

    snprintf(pid, sizeof(pid), "%d", (int)child->pid);
    snprintf(pause, sizeof(pause), "%u", ms);
    child_spawn(tracer, "slow", pid, pause, NULL);
    return child_answer(tracer, CHILD_WAIT_MS) > 0;
}

/* A member that takes its time to read the answer of the new holder follows it
 * all the same. */
static void test_slow_member_follows(void **state)
{
    const char *path = unit_path(unit_disk, "slow");
    child_t members[3], tracer;
    unsigned count = 3;

    handover_open(members, 3, path);
    if (!handover_slow_down(&tracer, &members[1], 3)) {
        skip();
    }
    handover_bury(members, &count, 0);
    assert_true(unit_await(20000, member_find_holder(members, 2) < 2));
    (void)member_await_holder(members, 2, path);
    child_kill(&tracer);
    assert_child_ok(&members[0], "put 0 100 1");
    assert_child_ok(&members[0], "check");
    assert_child_ok(&members[1], "check");
    handover_finish(members, 2);
    (void)state;
}

/*
 * Members that follow late, or not at all
 */

/* A member that did not see two hand-overs, and then cannot follow, ends its
 * own access, and not the lease that the others rely on. */
static void test_orphan_of_two_handovers(void **state)
{
    const char *path = unit_path(unit_disk, "orphan");
    child_t members[4], orphan, writer;
    unsigned count = 4, i;
    struct rlimit old;

    handover_open(members, 4, path);
    orphan     = members[3];
    count      = 3;
    if (!handover_limit(&orphan, 1, &old)) {
        skip();
    }
    child_stop(&orphan);
    handover_bury(members, &count, 0);
    assert_true(unit_await(10000, member_find_holder(members, count) < count));
    unit_sleep_ms(HANDOVER_WAIT_MS); /* the other one follows */
    handover_bury(members, &count, member_find_holder(members, count));
    assert_true(unit_await(10000, member_find_holder(members, 1) == 0));
    assert_int_equal(kill(orphan.pid, SIGCONT), 0);
    assert_member_becomes(&orphan, REVOKED);
    (void)member_await_holder(members, 1, path);
    for (i = 0; i < 20; ++i) { /* It stays */
        assert_string_equal(intruder_lease(path), "ACTIVE");
        unit_sleep_ms(5);
    }
    assert_child_ok(&members[0], "put 0 100 1");
    assert_child_ok(&members[0], "check");
    intruder_start(&writer, "write", path, 0);
    assert_int_equal(intruder_result(&writer, 2000), 0);
    assert_member_becomes(&members[0], REVOKED);
    child_finish(&writer);
    assert_int_equal(prlimit(orphan.pid, RLIMIT_NOFILE, &old, NULL), 0);
    child_finish(&orphan);
    child_finish(&members[0]);
    (void)state;
}

/* As long as a member has only the page of the holder before, which says HELD,
 * the lease is not given back: no process gets in, not even to read, because
 * behind that process another one could come in to write. */
static void test_no_intruder_before_all_follow(void **state)
{
    const char *path = unit_path(unit_disk, "early");
    child_t members[3], reader, writer;
    unsigned count = 3;
    struct rlimit old;

    handover_open(members, 3, path);
    if (!handover_limit(&members[2], 0, &old)) {
        skip();
    }
    handover_bury(members, &count, 0); /* [0] is the limited one now */
    assert_true(unit_await(10000, child_query(&members[1], "holder") == 1));
    intruder_start(&reader, "read", path, 0);
    unit_sleep_ms(HANDOVER_WAIT_MS);
    intruder_start(&writer, "write-trunc", path, 0);
    unit_sleep_ms(HANDOVER_WAIT_MS);
    assert_child_ok(&members[0], "put 0 100 1");
    if (child_query(&members[0], "check") == 0) {
        assert_blocked(&writer, 0);
    }
    assert_int_equal(prlimit(members[0].pid, RLIMIT_NOFILE, &old, NULL), 0);
    assert_int_equal(intruder_result(&reader, 20000), 0);
    assert_int_equal(intruder_result(&writer, 20000), 0);
    child_finish(&reader);
    child_finish(&writer);
    assert_member_becomes(&members[0], REVOKED);
    assert_member_becomes(&members[1], REVOKED);
    handover_finish(members, 2);
    (void)state;
}

/* A member that has not followed the new holder uses the file all the same, and
 * would find its memory without a file. */
static void test_no_shrink_before_all_follow(void **state)
{
    const char *path = unit_path(unit_disk, "shrink");
    child_t members[3];
    unsigned count = 3;
    struct stat st;

    handover_open(members, 3, path);
    child_stop(&members[2]);
    handover_bury(members, &count, 0); /* [0] is the stopped one now */
    assert_true(unit_await(10000, child_query(&members[1], "holder") == 1));
    assert_int_equal(child_query(&members[1], "shrink 4096"), -EBUSY);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, UNIT_LENGTH);
    assert_int_equal(kill(members[0].pid, SIGCONT), 0);
    (void)member_await_holder(members, 2, path);
    assert_int_equal(child_query(&members[1], "shrink 4096"), -EBUSY);
    child_finish(&members[0]);
    assert_true(unit_await(10000,
                           child_query(&members[1], "shrink 4096") == 0));
    child_finish(&members[1]);
    (void)state;
}

/*
 * Newcomers
 */

/* Let a newcomer come while there is no holder. Return its answer. */
static void handover_check_newcomer(const char *name, int attaches)
{
    const char *path = unit_path(unit_disk, name);
    child_t members[3], newcomer;
    unsigned count = 3, i;
    char key[CHILD_LINE_MAX];
    long number;

    handover_open(members, 3, path);
    assert_child_ok(&members[0], "key");
    snprintf(key, sizeof(key), "%s", members[0].text);
    member_start(&newcomer);
    for (i = 1; i < 3; ++i) {
        child_stop(&members[i]);
    }
    handover_bury(members, &count, 0);
    if (attaches) {
        child_send(&newcomer, "attach %s", key);
    } else {
        child_send(&newcomer, "open %s %d 20000", path, UNIT_LENGTH);
    }
    unit_sleep_ms(HANDOVER_WAIT_MS);
    for (i = 0; i < 2; ++i) {
        assert_int_equal(kill(members[i].pid, SIGCONT), 0);
    }
    if (child_answer(&newcomer, 30000) != 0) {
        fail_msg("the newcomer: %s", newcomer.text);
    }
    (void)member_await_holder(members, 2, path);
    number = child_query(&members[0], "number");
    assert_child_ok(&newcomer, "same %d %ld", (int)members[0].pid, number);
    for (i = 0; i < 2; ++i) {
        assert_child_ok(&members[i], "put 100 100 2");
        assert_child_ok(&members[i], "check");
    }
    assert_int_equal(child_query(&newcomer, "mem 100"), 2);
    child_finish(&newcomer);
    handover_finish(members, 2);
}

/* A process that opens the file by its path meanwhile becomes a member. */
static void test_newcomer_waits(void **state)
{
    handover_check_newcomer("newcomer", 0);
    (void)state;
}

static void test_attach_waits(void **state)
{
    handover_check_newcomer("attach", 1);
    (void)state;
}

/*
 * What the holder leaves behind
 */

/* A process that gave up, or has opened the file with O_NONBLOCK, has changed
 * nothing: that its kind cannot be seen any more is no reason to revoke. */
static void test_holder_leaves_a_break(void **state)
{
    const char *path = unit_path(unit_disk, "poke");
    child_t members[3], child;
    unsigned count = 3;

    handover_open(members, 3, path);
    child_stop(&members[0]);
    intruder_start(&child, "write-poke", path, 0);
    assert_int_equal(intruder_result(&child, 2000), EWOULDBLOCK);
    child_finish(&child);
    assert_string_equal(intruder_lease(path), "BREAKING");
    handover_bury(members, &count, 0);
    (void)member_await_holder(members, 2, path);
    assert_child_ok(&members[0], "put 0 100 1");
    assert_child_ok(&members[0], "check");
    handover_finish(members, 2);
    (void)state;
}

/* Kill a new holder between its taking the lease and HELD. Return whether that
 * was done. */
static int handover_kill_in_between(child_t *members, unsigned *count_p,
                                    const char *path)
{
    child_t tracer;
    int done;

    child_stop(&members[2]);
    handover_bury(members, count_p, 0); /* [0] is the stopped one now */
    assert_true(unit_await(10000, child_query(&members[1], "holder") == 1));
    if (!handover_slow_down(&tracer, &members[1], 50)) {
        skip();
    }
    assert_int_equal(kill(members[0].pid, SIGCONT), 0);
    assert_true(unit_await(20000, member_has_lease(&members[1], path)));
    done = member_has_state(&members[0], LENT);
    handover_bury(members, count_p, 1);
    child_kill(&tracer);
    return done;
}

/* /proc/locks does not show who waits for such a lease, which has the pid of a
 * process that has ended. The next holder takes its own. */
static void test_holder_leaves_a_lease_while_lent(void **state)
{
    const char *path = unit_path(unit_disk, "retaken");
    child_t members[3], reader;
    unsigned count = 3;

    handover_open(members, 3, path);
    if (!handover_kill_in_between(members, &count, path)) {
        skip();
    }
    (void)member_await_holder(members, 1, path);
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, 2000), 0);
    assert_member_becomes(&members[0], LENT);
    child_finish(&reader);
    (void)member_await_holder(members, 1, path);
    child_finish(&members[0]);
    (void)state;
}

/* What a stopped holder has not read when it ends is a reason to revoke; the
 * cause names it. */
static void test_holder_leaves_an_event(void **state)
{
    const char *path = unit_path(unit_disk, "unread");
    child_t members[3], reader;
    unsigned count = 3, i;
    int fd;

    handover_open(members, 3, path);
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, 2000), 0);
    assert_member_becomes(&members[0], LENT);
    child_stop(&members[0]);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "X", 1, 0), 1);
    close(fd);
    handover_bury(members, &count, 0);
    for (i = 0; i < 2; ++i) {
        assert_member_becomes(&members[i], REVOKED);
        assert_int_equal(child_query(&members[i], "put 0 1 1"), -ESTALE);
        assert_int_equal(child_query(&members[i], "cause"), 0);
        assert_contains(members[i].text, "written");
    }
    child_finish(&reader);
    handover_finish(members, 2);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"slow", handover_slow_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_slow_member_follows),
        unit_case(test_orphan_of_two_handovers),
        unit_case(test_no_intruder_before_all_follow),
        unit_case(test_no_shrink_before_all_follow),
        unit_case(test_newcomer_waits),
        unit_case(test_attach_waits),
        unit_case(test_holder_leaves_a_break),
        unit_case(test_holder_leaves_a_lease_while_lent),
        unit_case(test_holder_leaves_an_event)
    };

    return unit_main("handover", argc, argv, children, tests);
}
