/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The program's signals beside the loop, and SIGBUS in threads that block all
 * signals. All of it runs in other processes, because cmocka has handlers. */

#include "daxpin/access.h"
#include "daxpin/file/file.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/thread.h"
#include "child.h"
#include "intruder.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>

#define SIGNALS 200

/* Check a condition in a child: report the line and end. */
#define SIGNAL_CHECK(_condition) \
    do { \
        if (!(_condition)) { \
            child_report(__LINE__, "%s (%s)", #_condition, \
                         daxpin_errormsg()); \
            _exit(0); \
        } \
    } while (0)

static _Atomic int signal_count;
static int         signal_values[SIGNALS];
static pid_t       signal_sender;

static void signal_handler(int signo, siginfo_t *info, void *context)
{
    int value = info->si_value.sival_int;

    if ((value >= 0) && (value < SIGNALS)) {
        ++signal_values[value];
    }
    signal_sender = info->si_pid;
    ++signal_count;
    (void)signo;
    (void)context;
}

static void signal_handle(int signo)
{
    struct sigaction action = {.sa_sigaction = signal_handler,
                               .sa_flags     = SA_SIGINFO | SA_RESTART};

    sigaction(signo, &action, NULL);
}

static sigset_t signal_block(int signo)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, signo);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

static int signal_take(const sigset_t *signals, siginfo_t *info)
{
    const struct timespec timeout = {.tv_sec = 3 * unit_slow()};

    return sigtimedwait(signals, info, &timeout);
}

static daxpin_file_t *signal_open(const char *path)
{
    daxpin_file_t *file = NULL;

    SIGNAL_CHECK(daxpin_file_open(path, UNIT_LENGTH, NULL, &file) == 0);
    return file;
}

/* Report to the test that all went well, and the state after the test has let a
 * process truncate the file. */
static int signal_finish(daxpin_file_t *file)
{
    child_report(0, "ok");
    child_wait();
    child_report(daxpin_file_state(file), "state");
    child_wait();
    return 0;
}

/* SIGIO of the process: each one arrives, by a handler and by a wait, also if
 * the loop had time to read it. */
static int signal_io_child(int argc, char **argv)
{
    daxpin_file_t *file = signal_open(argv[1]);
    sigset_t signals;
    int i;

    (void)argc;
    signal_handle(SIGIO);
    for (i = 0; i < SIGNALS; ++i) {
        signals = signal_block(SIGIO);
        kill(getpid(), SIGIO);
        unit_sleep_ms(1);
        if (i % 2 == 0) {
            pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
            SIGNAL_CHECK(signal_count == i / 2 + 1);
        } else {
            SIGNAL_CHECK(signal_take(&signals, NULL) == SIGIO);
        }
    }
    return signal_finish(file);
}

/* The program begins to handle the very signal that the loop has chosen. */
static int signal_handler_child(int argc, char **argv)
{
    daxpin_file_t *file = signal_open(argv[1]);
    const int signo     = daxpin_loop_signal();
    sigset_t signals    = signal_block(signo);
    union sigval value;
    int i;

    (void)argc;
    signal_handle(signo);
    for (i = 0; i < SIGNALS; ++i) {
        value.sival_int = i;
        SIGNAL_CHECK(sigqueue(getpid(), signo, value) == 0);
    }
    unit_sleep_ms(20);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    SIGNAL_CHECK(unit_await(3000, signal_count == SIGNALS));
    for (i = 0; i < SIGNALS; ++i) {
        SIGNAL_CHECK(signal_values[i] == 1);
    }
    SIGNAL_CHECK(signal_sender == getpid());
    return signal_finish(file);
}

/* Have another process send a signal by kill(). Return its pid. */
static pid_t signal_send_from_other(int signo)
{
    const pid_t pid = fork();

    if (pid == 0) {
        kill(getppid(), signo);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    return pid;
}

static void signal_start_timer(int signo)
{
    struct sigevent event = {.sigev_notify          = SIGEV_SIGNAL,
                             .sigev_signo           = signo,
                             .sigev_value.sival_int = 77};
    const struct itimerspec soon = {.it_value.tv_nsec = 1};
    timer_t timer;

    SIGNAL_CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    SIGNAL_CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
}

/* The program waits for the signal that the loop has chosen, and the loop has
 * read all of them by then: each comes back with its sender and value. */
static int signal_wait_child(int argc, char **argv)
{
    daxpin_file_t *file = signal_open(argv[1]);
    const int signo     = daxpin_loop_signal();
    sigset_t signals    = signal_block(signo);
    union sigval value;
    siginfo_t info;
    pid_t sender;
    int i;

    (void)argc;
    sender = signal_send_from_other(signo);
    SIGNAL_CHECK(unit_await(3000, daxpin_loop_signal() != signo));
    SIGNAL_CHECK(signal_take(&signals, &info) == signo);
    SIGNAL_CHECK(info.si_pid == sender);
    for (i = 0; i < SIGNALS; ++i) {
        value.sival_int = i;
        SIGNAL_CHECK(sigqueue(getpid(), signo, value) == 0);
    }
    for (i = 0; i < SIGNALS; ++i) {
        SIGNAL_CHECK(signal_take(&signals, &info) == signo);
        SIGNAL_CHECK((info.si_code == SI_QUEUE) &&
                     (info.si_value.sival_int == i));
    }
    return signal_finish(file);
}

static int signal_timer_child(int argc, char **argv)
{
    daxpin_file_t *file = signal_open(argv[1]);
    const int signo     = daxpin_loop_signal();
    sigset_t signals    = signal_block(signo);
    siginfo_t info;

    (void)argc;
    signal_start_timer(signo);
    SIGNAL_CHECK(unit_await(3000, daxpin_loop_signal() != signo));
    SIGNAL_CHECK(signal_take(&signals, &info) == signo);
    SIGNAL_CHECK((info.si_code == SI_TIMER) &&
                 (info.si_value.sival_int == 77));
    return signal_finish(file);
}

/* The program sends all real-time signals, one after the other: the loop has to
 * do without one. */
static int signal_all_child(int argc, char **argv)
{
    daxpin_file_t *file = signal_open(argv[1]);
    sigset_t signals;
    int signo;

    (void)argc;
    for (signo = SIGRTMIN; signo <= SIGRTMAX; ++signo) {
        signal_block(signo);
    }
    while ((signo = daxpin_loop_signal()) >= SIGRTMIN) {
        signals = signal_block(signo);
        kill(getpid(), signo);
        SIGNAL_CHECK(unit_await(3000, daxpin_loop_signal() != signo));
        SIGNAL_CHECK(signal_take(&signals, NULL) == signo);
    }
    return signal_finish(file);
}

/* The queue of signals is full: the kernel sends SIGIO instead. */
static int signal_full_child(int argc, char **argv)
{
    const struct rlimit none = {0, 0};
    daxpin_file_t *file;

    (void)argc;
    SIGNAL_CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
    file = signal_open(argv[1]);
    return signal_finish(file);
}

/* The queue is full when the loop has to give signals back: they come when
 * there is room, and until then the file can be revoked. */
static int signal_back_child(int argc, char **argv)
{
    daxpin_file_t *file = signal_open(argv[1]);
    const int signo     = daxpin_loop_signal();
    sigset_t signals    = signal_block(signo);
    struct rlimit limit, none;
    union sigval value;
    siginfo_t info;
    int i;

    (void)argc;
    SIGNAL_CHECK(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    none          = limit;
    none.rlim_cur = 0;
    pthread_mutex_lock(&daxpin_mutex); /* The loop waits until all is set */
    for (i = 0; i < SIGNALS; ++i) {
        value.sival_int = i;
        SIGNAL_CHECK(sigqueue(getpid(), signo, value) == 0);
    }
    SIGNAL_CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
    pthread_mutex_unlock(&daxpin_mutex);
    SIGNAL_CHECK(unit_await(3000, daxpin_loop_signal() != signo));
    child_report(0, "ok");
    child_wait();
    SIGNAL_CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    for (i = 0; i < SIGNALS; ++i) {
        SIGNAL_CHECK(signal_take(&signals, &info) == signo);
        ++signal_values[info.si_value.sival_int];
    }
    for (i = 0; i < SIGNALS; ++i) {
        SIGNAL_CHECK(signal_values[i] == 1);
    }
    child_report(daxpin_file_state(file), "state");
    child_wait();
    return 0;
}

/* Run a child. Then its file must still be revoked when a process truncates
 * it. */
static void signal_run(const char *name)
{
    const char *path = unit_path(unit_disk, name);
    child_t child;
    long ret;

    child_spawn(&child, name, path, NULL);
    ret = child_answer(&child, CHILD_WAIT_MS);
    if (ret != 0) {
        fail_msg("line %ld: %s", ret, child.text);
    }
    intruder_run("truncate", path, 0, 3000);
    assert_int_equal(child_query(&child, "state"), DAXPIN_STATE_REVOKED);
    child_send(&child, "end");
    child_finish(&child);
}

static void test_io_of_program(void **state)
{
    signal_run("io");
    (void)state;
}

static void test_handler_of_program(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* ThreadSanitizer merges signals of one number */
#endif
    signal_run("handler");
    (void)state;
}

static void test_wait_of_program(void **state)
{
    signal_run("wait");
    (void)state;
}

static void test_timer_of_program(void **state)
{
    signal_run("timer");
    (void)state;
}

static void test_all_signals_used(void **state)
{
    signal_run("all");
    (void)state;
}

static void test_full_queue(void **state)
{
    signal_run("full");
    (void)state;
}

static void test_full_queue_at_giving_back(void **state)
{
    signal_run("back");
    (void)state;
}

/*
 * SIGBUS
 */

typedef struct fault {
    daxpin_file_t   *file;
    daxpin_access_t access;
    int             init;  /* in the thread that accesses */
    int             ret;
} fault_t;

/* Meet the end of the file in an access. */
static void *fault_access(void *arg)
{
    fault_t *fault        = arg;
    volatile char *memory = daxpin_file_addr(fault->file, 0, UNIT_LENGTH);

    if (fault->init) {
        daxpin_access_init(fault->file, 0, &fault->access);
    }
    fault->ret = daxpin_access_begin(&fault->access);
    if (fault->ret == 0) {
        if (ftruncate(fault->file->fd, 0) != 0) {
            abort();
        }
        memory[4096] = 1;
        fault->ret   = daxpin_access_end(&fault->access, 4096, 1);
    }
    return NULL;
}

/* The arguments are a path, and "init": the thread begins with
 * daxpin_access_init(); "shared": it uses the slot of many threads; or "own":
 * it is one of the library's threads. */
static int fault_child(int argc, char **argv)
{
    fault_t fault = {.init = strcmp(argv[2], "init") == 0};
    pthread_t thread;
    sigset_t all;

    (void)argc;
    fault.file = signal_open(argv[1]);
    daxpin_access_init(fault.file, DAXPIN_SLOTS - 1, &fault.access);
    sigfillset(&all);
    if (strcmp(argv[2], "own") == 0) {
        /* No slow path: the thread itself has SIGBUS unblocked */
        daxpin_access_init(fault.file, 0, &fault.access);
        SIGNAL_CHECK(daxpin_thread_create(&thread, fault_access, &fault) == 0);
    } else {
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        SIGNAL_CHECK(pthread_create(&thread, NULL, fault_access, &fault) == 0);
    }
    pthread_join(thread, NULL);
    SIGNAL_CHECK(fault.ret == -ESTALE);
    child_report(0, "ok");
    return 0;
}

static void fault_run(const char *how)
{
    child_t child;
    long ret;

    /* On DAX, the truncate would wait for the hold */
    child_spawn(&child, "fault", unit_path(unit_is_dax(unit_disk) ?
                                                   unit_memory : unit_disk,
                                           how), how, NULL);
    ret = child_answer(&child, CHILD_WAIT_MS);
    if (ret == CHILD_DIED) {
        fail_msg("the process died, with status 0x%x",
                 (unsigned)child_reap(&child, CHILD_WAIT_MS));
    } else if (ret != 0) {
        fail_msg("line %ld: %s", ret, child.text);
    }
    child_finish(&child);
}

static void test_fault_in_thread_of_program(void **state)
{
    fault_run("init");
    (void)state;
}

static void test_fault_in_thread_with_shared_slot(void **state)
{
    fault_run("shared");
    (void)state;
}

static void test_fault_in_thread_of_library(void **state)
{
    fault_run("own");
    (void)state;
}

/*
 * dlclose()
 */

typedef int (*unload_open_t)(const char *, size_t, const daxpin_params_t *,
                             daxpin_file_t **);
typedef void (*unload_close_t)(daxpin_file_t *);

/* Load the library, use it, unload it, and go on with signals of all kinds. The
 * arguments are the library and a path. */
static int unload_child(int argc, char **argv)
{
    unload_close_t file_close;
    unload_open_t file_open;
    daxpin_file_t *file;
    void *library;
    int i;

    (void)argc;
    signal_handle(SIGIO);
    signal_handle(SIGBUS);
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        child_report(1, "%s", dlerror());
        return 0;
    }
    file_open  = (unload_open_t)dlsym(library, "daxpin_file_open");
    file_close = (unload_close_t)dlsym(library, "daxpin_file_close");
    SIGNAL_CHECK((file_open != NULL) && (file_close != NULL));
    SIGNAL_CHECK(file_open(argv[2], UNIT_LENGTH, NULL, &file) == 0);
    file_close(file);
    SIGNAL_CHECK(dlclose(library) == 0);
    for (i = 0; i < 10; ++i) {
        kill(getpid(), SIGIO);
        kill(getpid(), SIGBUS);
        unit_sleep_ms(10);
    }
    SIGNAL_CHECK(unit_await(3000, signal_count >= 20));
    child_report(0, "ok");
    return 0;
}

/* In the virtual machine, /proc/self/exe is a path in another mount. */
static void signal_find_library(char *path, size_t size)
{
    const char *build = getenv("DAXPIN_BUILD");
    char dir[PATH_MAX - 64] = "";

    if (build != NULL) {
        snprintf(dir, sizeof(dir), "%s", build);
    } else {
        assert_true(readlink("/proc/self/exe", dir, sizeof(dir) - 8) > 0);
        strcpy(strrchr(dir, '/'), "/../..");
    }
    snprintf(path, size, "%s/src/daxpin/.libs/libdaxpin.so", dir);
}

static void test_unload(void **state)
{
    char library[PATH_MAX] = "";
    child_t child;
    long ret;

    signal_find_library(library, sizeof(library));
    child_spawn(&child, "unload", library, unit_path(unit_disk, "unload"),
                NULL);
    ret = child_answer(&child, CHILD_WAIT_MS);
    if (ret != 0) {
        fail_msg("%ld: %s (died with status 0x%x)", ret, child.text,
                 (ret == CHILD_DIED) ?
                         (unsigned)child_reap(&child, CHILD_WAIT_MS) : 0);
    }
    child_finish(&child);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        {"io", signal_io_child},
        {"handler", signal_handler_child},
        {"wait", signal_wait_child},
        {"timer", signal_timer_child},
        {"all", signal_all_child},
        {"full", signal_full_child},
        {"back", signal_back_child},
        {"fault", fault_child},
        {"unload", unload_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_io_of_program),
        unit_case(test_handler_of_program),
        unit_case(test_wait_of_program),
        unit_case(test_timer_of_program),
        unit_case(test_all_signals_used),
        unit_case(test_full_queue),
        unit_case(test_full_queue_at_giving_back),
        unit_case(test_fault_in_thread_of_program),
        unit_case(test_fault_in_thread_with_shared_slot),
        unit_case(test_fault_in_thread_of_library),
        unit_case(test_unload)
    };

    return unit_main("signal", argc, argv, children, tests);
}
