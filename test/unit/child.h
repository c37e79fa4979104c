/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Other processes of a test
 *
 * Each child executes this program again, with the name of a function. Test and
 * child send each other one line at a time. The children die with the test.
 */

#ifndef CHILD_H_
#define CHILD_H_

#include "unit.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CHILD_IN       3
#define CHILD_OUT      4
#define CHILDREN_MAX   256
#define CHILD_LINE_MAX 2048
#define CHILD_WAIT_MS  15000 /* that an answer may take */
#define CHILD_DIED     (-100000)
#define CHILD_SILENT   (-100001)

typedef struct child {
    pid_t pid; /* 0: none */
    int   in;
    int   out;
    char  text[CHILD_LINE_MAX]; /* of the last answer, after the number */
} child_t;

typedef int (*child_func_t)(int argc, char **argv);

typedef struct child_entry {
    const char   *name;
    child_func_t func;
} child_entry_t;

static pid_t       child_pids[CHILDREN_MAX]; /* children that still run */

/*
 * In the child
 */

/* Read the next line, without its end. Return 0 at the end of the input. */
static UNIT_UNUSED int child_read(char *line, size_t size)
{
    size_t used = 0;
    char c;

    while (read(CHILD_IN, &c, 1) == 1) {
        if (c == '\n') {
            line[used] = '\0';
            return 1;
        }
        if (used + 1 < size) {
            line[used++] = c;
        }
    }
    return 0;
}

/* Send a number and a text to the test. */
static UNIT_UNUSED __attribute__((format(printf, 2, 3))) void
child_report(long number, const char *format, ...)
{
    char line[CHILD_LINE_MAX];
    va_list ap;
    int used;

    used = snprintf(line, sizeof(line), "%ld ", number);
    va_start(ap, format);
    used += vsnprintf(line + used, sizeof(line) - (size_t)used, format, ap);
    va_end(ap);
    used = (used < (int)sizeof(line) - 1) ? used : (int)sizeof(line) - 2;
    line[used] = '\n';
    if (write(CHILD_OUT, line, (size_t)used + 1) < 0) {
        _exit(3);
    }
}

static UNIT_UNUSED void child_wait(void)
{
    char line[CHILD_LINE_MAX];

    (void)child_read(line, sizeof(line));
}

static int child_main(int argc, char **argv, const child_entry_t *entries)
{
    unsigned i;

    for (i = 0; entries[i].name != NULL; ++i) {
        if (strcmp(entries[i].name, argv[2]) == 0) {
            alarm(UNIT_SECONDS * unit_slow());
            unit_set_signal(SIGPIPE, SIG_IGN);
            daxpin_set_log(unit_log_add);
            return entries[i].func(argc - 2, argv + 2);
        }
    }
    fprintf(stderr, "# there is no child function %s\n", argv[2]);
    return 2;
}

/*
 * In the test
 */

static UNIT_UNUSED __attribute__((noreturn)) void
child_exec(const int in[2], const int out[2], const char *const *args)
{
    static char exe[PATH_MAX];
    const char *argv[16] = {exe, "child"};
    unsigned i;
    int from, to;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    from = fcntl(in[0], F_DUPFD, 100);
    to   = fcntl(out[1], F_DUPFD, 100);
    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0) {
        _exit(2);
    }
    dup2(from, CHILD_IN);
    dup2(to, CHILD_OUT);
    close(from);
    close(to);
    for (i = 0; (i < 13) && (args[i] != NULL); ++i) {
        argv[2 + i] = args[i];
    }
    execv(exe, (char**)argv);
    /* In a chroot the path may not exist. /proc/self/exe works there, but not
     * under valgrind. */
    execv("/proc/self/exe", (char**)argv);
    _exit(2);
}

static UNIT_UNUSED void child_remember(pid_t pid)
{
    unsigned i;

    for (i = 0; i < CHILDREN_MAX; ++i) {
        if (child_pids[i] == 0) {
            child_pids[i] = pid;
            return;
        }
    }
}

static void child_forget(pid_t pid)
{
    unsigned i;

    for (i = 0; i < CHILDREN_MAX; ++i) {
        if (child_pids[i] == pid) {
            child_pids[i] = 0;
        }
    }
}

/* Start a child. The arguments are the name of its function, the strings for
 * that function, and NULL. */
static UNIT_UNUSED void child_spawn(child_t *child, ...)
{
    const char *args[14] = {NULL};
    int in[2], out[2];
    unsigned i = 0;
    va_list ap;

    va_start(ap, child);
    do {
        args[i] = va_arg(ap, const char*);
    } while ((args[i] != NULL) && (++i < 13));
    va_end(ap);

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    child->pid = fork();
    assert_true(child->pid >= 0);
    if (child->pid == 0) {
        child_exec(in, out, args);
    }
    child_remember(child->pid);
    close(in[0]);
    close(out[1]);
    child->in      = out[0];
    child->out     = in[1];
    child->text[0] = '\0';
}

/* Put into a child's text how it ended. Its status stays for child_reap(). */
static void child_tell_end(child_t *child)
{
    siginfo_t info = {.si_pid = 0};

    (void)unit_await(1000, (waitid(P_PID, (id_t)child->pid, &info,
                                   WEXITED | WNOHANG | WNOWAIT) != 0) ||
                           (info.si_pid != 0));
    if (info.si_pid == 0) {
        snprintf(child->text, sizeof(child->text), "the child closed its end");
    } else if (info.si_code == CLD_EXITED) {
        snprintf(child->text, sizeof(child->text), "the child exited with %d",
                 info.si_status);
    } else {
        snprintf(child->text, sizeof(child->text), "the child died of %s",
                 strsignal(info.si_status));
    }
}

/* Return the number of the next answer and keep its text in child->text. The
 * time limit does not grow on a slow machine. */
static UNIT_UNUSED long child_answer_within(child_t *child, uint64_t ms)
{
    uint64_t end = unit_ms() + ms;
    struct pollfd pollfd = {.fd = child->in, .events = POLLIN};
    char line[CHILD_LINE_MAX];
    size_t used = 0;
    uint64_t now;
    char *text;
    long number;

    for (;;) {
        now = unit_ms();
        if (poll(&pollfd, 1, (now < end) ? (int)(end - now) : 0) == 0) {
            return CHILD_SILENT;
        }
        if (read(child->in, &line[used], 1) != 1) {
            child_tell_end(child);
            return CHILD_DIED;
        }
        if (line[used] == '\n') {
            break;
        }
        used += (used + 1 < sizeof(line));
    }
    line[used] = '\0';
    number     = strtol(line, &text, 10);
    snprintf(child->text, sizeof(child->text), "%s",
             (*text == ' ') ? text + 1 : text);
    return number;
}

/* Do the same, with a time limit that grows on a slow machine. */
static UNIT_UNUSED long child_answer(child_t *child, uint64_t ms)
{
    return child_answer_within(child, ms * unit_slow());
}

static UNIT_UNUSED __attribute__((format(printf, 2, 3))) void
child_send(child_t *child, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    assert_true(vdprintf(child->out, format, ap) >= 0);
    va_end(ap);
    assert_int_equal(write(child->out, "\n", 1), 1);
}

/* Send a command and return the number of its answer. */
#define child_query(_child, ...) \
    ({ \
        child_send(_child, __VA_ARGS__); \
        child_answer(_child, CHILD_WAIT_MS); \
    })

/* Check that a child answers 0, or show the text of its answer. */
#define assert_child_ok(_child, ...) \
    do { \
        long unit_reply = child_query(_child, __VA_ARGS__); \
        if (unit_reply != 0) { \
            fail_msg("%s: %ld: %s", #__VA_ARGS__, unit_reply, (_child)->text); \
        } \
    } while (0)

/* Wait until a child ends and return its status from waitpid(). If the child
 * does not end in time, kill it and return -1. */
static UNIT_UNUSED int child_reap(child_t *child, uint64_t ms)
{
    int status = -1;
    int ended  = unit_await(ms, waitpid(child->pid, &status, WNOHANG) ==
                            child->pid);

    if (!ended) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, &status, 0);
        status = -1;
    }
    child_forget(child->pid);
    close(child->in);
    child->pid = 0;
    return status;
}

/* Close the child's input and check that the child exits with status 0. */
static UNIT_UNUSED void child_finish(child_t *child)
{
    int status;

    close(child->out);
    status = child_reap(child, CHILD_WAIT_MS);
    if (status != 0) {
        fail_msg("a child ended with status 0x%x", (unsigned)status);
    }
}

static UNIT_UNUSED void child_kill(child_t *child)
{
    kill(child->pid, SIGKILL);
    close(child->out);
    (void)child_reap(child, CHILD_WAIT_MS);
}

/* Return whether a child is stopped. */
static UNIT_UNUSED int child_is_stopped(const child_t *child)
{
    char path[64], line[256];
    int stopped = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)child->pid);
    file = fopen(path, "re");
    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        stopped |= strncmp(line, "State:\tT", 8) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return stopped;
}

static UNIT_UNUSED void child_stop(child_t *child)
{
    assert_int_equal(kill(child->pid, SIGSTOP), 0);
    assert_true(unit_await(2000, child_is_stopped(child)));
}

/*
 * Around each test
 */

static void unit_kill_children(void)
{
    unsigned i;

    for (i = 0; i < CHILDREN_MAX; ++i) {
        if (child_pids[i] != 0) {
            kill(child_pids[i], SIGKILL);
            waitpid(child_pids[i], NULL, 0);
            child_pids[i] = 0;
        }
    }
}

/* End a program that hangs. Not all of this is async-signal-safe, but the
 * program ends here anyway. */
static void unit_on_alarm(int signo)
{
    static const char text[] = "not ok 0 - timeout (in the test after the "
                               "last one named)\n";

    (void)signo;
    (void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
    unit_kill_children();
    unit_remove_dirs();
    _exit(1);
}

static UNIT_UNUSED int unit_setup(void **state)
{
    (void)state;
    unit_log_clear();
    alarm(UNIT_SECONDS * unit_slow());
    return 0;
}

static UNIT_UNUSED int unit_teardown(void **state)
{
    (void)state;
    alarm(0);
    unit_kill_children();
    return 0;
}

static UNIT_UNUSED int unit_group_setup(void **state)
{
    (void)state;
    unit_set_signal(SIGALRM, unit_on_alarm);
    unit_set_signal(SIGPIPE, SIG_IGN);
    daxpin_set_log(unit_log_add);
    unit_own_mounts();
    return unit_make_dirs();
}

static UNIT_UNUSED int unit_group_teardown(void **state)
{
    (void)state;
    unit_remove_dirs();
    return 0;
}

#define unit_case(_func) \
    cmocka_unit_test_setup_teardown(_func, unit_setup, unit_teardown)

/* Return the exit status of a test program. _children and _tests are arrays. */
#define unit_main(_name, _argc, _argv, _children, _tests) \
    ({ \
        int unit_status; \
        setvbuf(stdout, NULL, _IOLBF, 0); \
        if (((_argc) > 2) && (strcmp((_argv)[1], "child") == 0)) { \
            unit_status = child_main(_argc, _argv, _children); \
        } else { \
            if ((_argc) > 1) { \
                cmocka_set_test_filter((_argv)[1]); \
            } \
            unit_status = cmocka_run_group_tests_name( \
                    _name, _tests, unit_group_setup, unit_group_teardown); \
        } \
        unit_status; \
    })

#endif
