/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* SIGBUS, and the memory that takes the place of a revoked file: signals that
 * come late or concern others, strict limits, memory that was used again. Each
 * in a process of its own, because cmocka has its own handler of SIGBUS. */

#include "intruder.h"
#include "member.h"
#include "old_kernel.h"

#include "daxpin/file/fault.h"
#include "daxpin/file/file.h"
#include "daxpin/os/loop.h"
#include "daxpin/os/sink.h"
#include "daxpin/os/vma.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define FAULT_PAGE    4096ul
#define FAULT_BIG     (160ul << 20)
#define FAULT_TAKEN   3900 /* of the watches, which are 4096 */
#define FAULT_ROUNDS  400  /* more than there are left */
#define FAULT_SIGNALS 5000 /* more than an access is tried again */

/* Report where a child has found something wrong. */
#define fault_check(_condition) \
    do { \
        if (!(_condition)) { \
            child_report(__LINE__, "%s; %s", #_condition, daxpin_errormsg()); \
            return 0; \
        } \
    } while (0)

#define fault_check_becomes(_file, _state) \
    fault_check(unit_await(10000, daxpin_file_state(_file) == \
                                  DAXPIN_STATE_##_state))

static volatile sig_atomic_t fault_count;
static sigjmp_buf            fault_jump;
static volatile sig_atomic_t fault_jumps;

static void fault_on_bus(int signo)
{
    (void)signo;
    ++fault_count;
    if (fault_jumps) {
        siglongjmp(fault_jump, 1);
    }
}

static void fault_set_handler(const char *kind)
{
    unit_set_signal(SIGBUS, (strcmp(kind, "ignore") == 0) ? SIG_IGN :
                            (strcmp(kind, "plain") == 0)  ? fault_on_bus :
                                                            SIG_DFL);
}

static int fault_handler_is(const struct sigaction *wanted)
{
    struct sigaction action;

    return (sigaction(SIGBUS, NULL, &action) == 0) &&
           (action.sa_sigaction == wanted->sa_sigaction);
}

/* Truncate the file through its one description, which breaks no lease. On DAX
 * a hold would make this wait, so the tests use unit_memory. */
static int fault_cut(daxpin_file_t *file, off_t length)
{
    member_t me = {.file = file};

    return ftruncate(member_number(&me), length);
}

static UNIT_RACY void fault_store(char *memory, char byte)
{
    *(volatile char*)memory = byte;
}

static UNIT_RACY char fault_load(const char *memory)
{
    return *(const volatile char*)memory;
}

/* Return whether a file is mapped at an address. */
static int fault_shows(const void *addr, uint64_t ino)
{
    daxpin_piece_t piece;

    return (daxpin_vma_find((uintptr_t)addr, &piece) == 0) &&
           (piece.start <= (uintptr_t)addr) && (piece.ino == ino);
}

/* Return whether memory of a revoked file is its own: neither the file, nor the
 * page that the handler puts there for a while. */
static int fault_is_replaced(const void *addr, const daxpin_file_t *file)
{
    daxpin_piece_t piece;

    return (daxpin_vma_find((uintptr_t)addr, &piece) == 0) &&
           (piece.start <= (uintptr_t)addr) &&
           ((piece.ino != file->map_ino) || (piece.dev != file->map_dev)) &&
           (!daxpin_sink_is_reserve(piece.dev, piece.ino) ||
            (piece.offset != 0));
}

/* Deliver the signal of an access that met the end of a file. */
static void fault_queue(void *addr)
{
    siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_ADRERR};

    info.si_addr = addr;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info);
}

/* The thread for which no time passes; 0: none. A machine may be too slow to
 * deliver in a second as many signals as the handler counts in one. */
static _Atomic pid_t   fault_timeless;
static struct timespec fault_time;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if ((fault_timeless != 0) && (fault_timeless == gettid())) {
        *now = fault_time;
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, now);
}

/* Deliver the signal of one access again and again, within no time. */
static void fault_queue_many(char *addr)
{
    unsigned i;

    clock_gettime(CLOCK_MONOTONIC, &fault_time);
    fault_timeless = gettid();
    for (i = 0; i < FAULT_SIGNALS; ++i) {
        munmap(addr, FAULT_PAGE);
        fault_queue(addr);
    }
    fault_timeless = 0;
}

/* Start a child and check that it finds nothing wrong. */
static void fault_run(const char *func, const char *a, const char *b,
                      const char *c)
{
    child_t child;
    long line;

    child_spawn(&child, func, a, b, c, NULL);
    line = child_answer(&child, 2 * CHILD_WAIT_MS);
    if (line != 0) {
        fail_msg("%s %s %s: line %ld: %s", func, a, b, line, child.text);
    }
    child_finish(&child);
}

/* Start a child that is to die of SIGBUS. */
static void fault_run_to_death(const char *func, const char *a, const char *b,
                               const char *c)
{
    child_t child;
    int status;

    child_spawn(&child, func, a, b, c, NULL);
    if (child_answer(&child, CHILD_WAIT_MS) != CHILD_DIED) {
        fail_msg("%s %s %s lives: %s", func, a, b, child.text);
    }
    close(child.out);
    status = child_reap(&child, CHILD_WAIT_MS);
    assert_true(WIFSIGNALED(status) && (WTERMSIG(status) == SIGBUS));
}

/*
 * Late signals
 */

/* Two threads meet the end of a file at one page. The signal of the second one
 * arrives when the page was replaced. The arguments are the handler that was
 * there before, a path, and "old" for a kernel without PROCMAP_QUERY. */
static int fault_late_child(int argc, char **argv)
{
    struct sigaction action;
    daxpin_file_t *file;
    char *memory;
    int i;

    (void)argc;
    if ((strcmp(argv[3], "old") == 0) && !old_kernel_begin()) {
        child_report(0, "no seccomp");
        return 0;
    }
    fault_set_handler(argv[1]);
    fault_check(daxpin_file_open(argv[2], UNIT_LENGTH, NULL, &file) == 0);
    memory = daxpin_file_addr(file, 0, UNIT_LENGTH);
    fault_check(sigaction(SIGBUS, NULL, &action) == 0);
    fault_check(fault_cut(file, 0) == 0);
    fault_store(memory + 5000, 1);
    fault_queue(memory + 5000);
    fault_check_becomes(file, REVOKED);
    /* Faults of more than a second ago do not count: too many get a page that
     * needs no memory */
    unit_sleep_ms(1100);
    fault_queue(memory + 5000);
    /* The loop may have been first: it looks at the truncate by itself */
    fault_check(unit_await(10000, fault_is_replaced(memory + 5000, file)));

    /* An access that cannot get memory gets the page that is there */
    for (i = 0; i < 10; ++i) {
        fault_queue(memory + 9000);
    }
    fault_check(!fault_shows(memory + 9000, file->sink_ino));
    fault_check(fault_is_replaced(memory + 5000, file));
    fault_store(memory + 9000, 1);
    fault_check(fault_count == 0);
    fault_check(fault_handler_is(&action));

    /* A signal that comes again and again is another one's */
    if (strcmp(argv[1], "plain") == 0) {
        fault_queue_many(memory + 5 * FAULT_PAGE);
    }
    fault_check((fault_count > 0) == (strcmp(argv[1], "plain") == 0));
    child_report(0, "well");
    return 0;
}

static void test_late_signal(void **state)
{
    fault_run("late", "plain", unit_path(unit_memory, "late"), "new");
    fault_run("late", "default", unit_path(unit_memory, "late"), "new");
    fault_run("late", "plain", unit_path(unit_memory, "late"), "old");
    fault_run("late", "ignore", unit_path(unit_memory, "late"), "old");
    (void)state;
}

/* Do what the handler does that has judged a fault, and replaces the page after
 * the loop has replaced all. */
static void fault_replace_late(daxpin_file_t *file, char *addr)
{
    daxpin_sink_replace_page((uintptr_t)addr & ~(FAULT_PAGE - 1), FAULT_PAGE);
    atomic_store(&file->faulted, 1);
    daxpin_loop_wake_all();
}

/* Two pages that the handler replaces late do not stay one. The handler of
 * SIGBUS is cmocka's here, which meets no fault. */
static void test_late_handler(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_memory, "late"),
                                    UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);

    assert_int_equal(fault_cut(file, 0), 0);
    assert_becomes(file, REVOKED);
    assert_true(fault_is_replaced(memory, file));
    fault_replace_late(file, memory + 5000);
    fault_replace_late(file, memory + 4 * FAULT_PAGE);
    assert_true(unit_await(10000, fault_is_replaced(memory + 5000, file)));
    assert_true(unit_await(10000, fault_is_replaced(memory + 4 * FAULT_PAGE,
                                                    file)));
    fault_store(memory + 5000, 1);
    fault_store(memory + 4 * FAULT_PAGE + 5000 % FAULT_PAGE, 2);
    assert_int_equal(fault_load(memory + 5000), 1);
    daxpin_file_close(file);
    (void)state;
}

/*
 * A file that is closed while a handler is under way
 */

/* A thread that meets the end of a file, and whose handler is held when it replaces
 * the page */
typedef struct fault_held {
    char       *memory;
    uint64_t   place;    /* the mmap() to hold: its address, and */
    uint32_t   length;   /* its length */
    int        fd;       /* of the file */
    atomic_int listener; /* of the filter; -1: none; 0: not known yet */
    uint64_t   id;       /* of the call that is held */
    atomic_int is_freed; /* it goes on */
} fault_held_t;

static void *fault_held_thread(void *arg)
{
    fault_held_t *held          = arg;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)held->place, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, held->length, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };

    held->listener = filter_listen(filter, sizeof(filter) / sizeof(filter[0]));
    if ((held->listener > 0) && (ftruncate(held->fd, 0) == 0)) {
        fault_store(held->memory, 1);
    }
    return NULL;
}

/* Wait until the thread is held. */
static int fault_await_held(fault_held_t *held)
{
    struct seccomp_notif call = {.id = 0};
    struct pollfd ready       = {.fd = held->listener, .events = POLLIN};

    if ((poll(&ready, 1, CHILD_WAIT_MS * (int)unit_slow()) != 1) ||
        (ioctl(held->listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)) {
        return 0;
    }
    held->id = call.id;
    return 1;
}

/* Start a thread whose handler is held. Return 1; 0 if that fails; or -1 if the
 * kernel has no such filter. */
static int fault_hold(fault_held_t *held, pthread_t *thread)
{
    if (pthread_create(thread, NULL, fault_held_thread, held) != 0) {
        return 0;
    }
    (void)unit_await(CHILD_WAIT_MS, held->listener != 0);
    return (held->listener < 0) ? -1 : fault_await_held(held);
}

/* Let the thread go on after a while. */
static void *fault_free_thread(void *arg)
{
    fault_held_t *held               = arg;
    struct seccomp_notif_resp answer = {
        .id    = held->id,
        .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE
    };

    unit_sleep_ms(100);
    held->is_freed = 1;
    (void)ioctl(held->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return NULL;
}

/* What precedes that a file is freed waits for a handler that uses the file. The
 * mutex keeps the loop from being first. The argument is a path. */
static int fault_held_child(int argc, char **argv)
{
    fault_held_t held = {.listener = 0};
    pthread_t thread, other;
    daxpin_file_t *file;
    member_t me;
    int is_held;

    (void)argc;
    fault_check(daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file) == 0);
    me.file     = file;
    held.fd     = member_number(&me);
    held.memory = daxpin_file_addr(file, 0, UNIT_LENGTH);
    held.place  = (uintptr_t)held.memory;
    held.length = FAULT_PAGE;
    pthread_mutex_lock(&daxpin_mutex);
    is_held = fault_hold(&held, &thread);
    if (is_held < 0) {
        child_report(0, "no seccomp");
        return 0;
    }
    fault_check(is_held);
    fault_check(pthread_create(&other, NULL, fault_free_thread, &held) == 0);
    fault_check(daxpin_fault_unwatch(file));
    fault_check(held.is_freed);
    pthread_mutex_unlock(&daxpin_mutex);
    pthread_join(other, NULL);
    pthread_join(thread, NULL);
    fault_check_becomes(file, REVOKED);
    daxpin_file_close(file);
    child_report(0, "well");
    return 0;
}

static void test_close_beside_handler(void **state)
{
    fault_run("held", unit_path(unit_memory, "held"), NULL, NULL);
    (void)state;
}

/* A member becomes the holder while a handler ends its access as a member's.
 * The argument is a path. */
static int fault_heir_child(int argc, char **argv)
{
    fault_held_t held = {.listener = 0, .length = DAXPIN_CONTROL_SIZE};
    char cause[DAXPIN_CAUSE_MAX];
    pthread_t thread, other;
    daxpin_file_t *file;
    member_t me;
    int is_held;

    (void)argc;
    fault_check(daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file) == 0);
    fault_check(!file->holder);
    me.file     = file;
    held.fd     = member_number(&me);
    held.memory = daxpin_file_addr(file, 0, UNIT_LENGTH);
    child_report(0, "member");
    child_wait();
    is_held = fault_hold(&held, &thread);
    if (is_held < 0) {
        child_report(0, "no seccomp");
        return 0;
    }
    fault_check(is_held);
    child_report(0, "held");
    fault_check(unit_await(CHILD_WAIT_MS,
                           file->holder || (daxpin_file_state(file) ==
                                            DAXPIN_STATE_REVOKED)));
    fault_check(pthread_create(&other, NULL, fault_free_thread, &held) == 0);
    pthread_join(other, NULL);
    pthread_join(thread, NULL);
    fault_check_becomes(file, REVOKED);
    daxpin_file_cause(file, cause, sizeof(cause));
    fault_check(strstr(cause, argv[1]) != NULL);
    daxpin_file_close(file);
    child_report(0, "well");
    return 0;
}

static void test_handover_beside_handler(void **state)
{
    const char *path = unit_path(unit_memory, "heir");
    child_t holder, heir;

    member_start_open(&holder, path);
    child_spawn(&heir, "heir", path, NULL);
    assert_int_equal(child_answer(&heir, CHILD_WAIT_MS), 0);
    child_stop(&holder); /* It is not to see what is cut */
    child_send(&heir, "go");
    assert_int_equal(child_answer(&heir, CHILD_WAIT_MS), 0);
    child_kill(&holder);
    if ((strcmp(heir.text, "held") == 0) &&
        (child_answer(&heir, 2 * CHILD_WAIT_MS) != 0)) {
        fail_msg("%s", heir.text);
    }
    child_finish(&heir);
    (void)state;
}

/*
 * Signals that concern others
 */

/* A process sends SIGBUS. If this process goes on, so does the handler. The
 * arguments are the handler that was there before, and a path. */
static int fault_sent_child(int argc, char **argv)
{
    struct sigaction action;
    daxpin_file_t *file;
    char *memory;

    (void)argc;
    fault_set_handler(argv[1]);
    fault_check(daxpin_file_open(argv[2], UNIT_LENGTH, NULL, &file) == 0);
    memory = daxpin_file_addr(file, 0, UNIT_LENGTH);
    fault_check(sigaction(SIGBUS, NULL, &action) == 0);
    kill(getpid(), SIGBUS);
    fault_check(fault_count == (strcmp(argv[1], "plain") == 0));
    fault_check(fault_handler_is(&action));
    fault_check(fault_cut(file, 0) == 0);
    fault_store(memory + 5000, 1);
    fault_check_becomes(file, REVOKED);
    child_report(0, "well");
    return 0;
}

/* An access of this process meets the end of a file that is not leased. */
static int fault_other_child(int argc, char **argv)
{
    daxpin_file_t *file;
    char *memory;
    int fd;

    (void)argc;
    fault_set_handler(argv[1]);
    fault_check(daxpin_file_open(argv[2], UNIT_LENGTH, NULL, &file) == 0);
    fd     = open(argv[3], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    memory = unit_map(fd, FAULT_PAGE);
    fault_store(memory, 1);
    child_report(0, "lives");
    return 0;
}

static void test_signals_of_others(void **state)
{
    fault_run("sent", "plain", unit_path(unit_memory, "sent"), NULL);
    fault_run("sent", "ignore", unit_path(unit_memory, "sent"), NULL);
    if (!UNIT_SANITIZED) { /* they have a handler of their own */
        fault_run_to_death("sent", "default", unit_path(unit_memory, "sent"),
                           NULL);
        fault_run_to_death("other", "default", unit_path(unit_memory, "sent"),
                           unit_path(unit_memory, "other"));
        fault_run_to_death("other", "ignore", unit_path(unit_memory, "sent"),
                           unit_path(unit_memory, "other"));
    }
    (void)state;
}

/* A file that the program has mapped by itself is truncated, and then read in a
 * child of fork(). Return whether the child met the end of the file, as without
 * the library. */
static int fault_forked(const char *path, const char *memory)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        fault_jumps = 1;
        if (sigsetjmp(fault_jump, 1) == 0) {
            if (truncate(path, 0) == 0) {
                (void)fault_load(memory + 5000);
            }
            _exit(1);
        }
        _exit(0);
    }
    return (pid > 0) && (waitpid(pid, &status, 0) == pid) && (status == 0);
}

static int fault_forked_child(int argc, char **argv)
{
    const char *dirs[] = {argv[1], NULL};
    const char *path   = argv[2];
    daxpin_file_t *file;
    uint64_t offset;
    char *memory;
    int fd;

    (void)argc;
    fault_set_handler("plain");
    fd     = open(path, O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, UNIT_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fault_check((fd >= 0) && (memory != MAP_FAILED));
    fault_check(daxpin_set_files(dirs) == 0);
    fault_check(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset) ==
                0);
    fault_check(fault_forked(path, memory));
    fault_check_becomes(file, REVOKED);
    fault_check((fault_load(memory + 5000) == 0) && (fault_count == 0));
    child_report(0, "well");
    return 0;
}

static void test_truncate_in_forked_child(void **state)
{
    const char *path = unit_path(unit_memory, "forked");

    unit_make_file(path, UNIT_LENGTH, 'x');
    fault_run("forked", unit_memory, path, NULL);
    (void)state;
}

/*
 * Limits
 */

static int fault_limit(int resource, rlim_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

    return setrlimit(resource, &limit) == 0;
}

/* Use up all mappings that a process may have. Neighbours differ, so that no
 * two are merged. */
static int fault_use_mappings(void)
{
    unsigned i;
    char *page;

    for (i = 0; i < 1000000; ++i) {
        page = mmap(NULL, FAULT_PAGE, (i % 2) ? PROT_READ : PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (page == MAP_FAILED) {
            return i > 1000;
        }
    }
    return 0;
}

static int fault_set_limit(const char *name)
{
    if (strcmp(name, "data") == 0) {
        return fault_limit(RLIMIT_DATA, 1);
    } else if (strcmp(name, "space") == 0) {
        return unit_limit_space(0) == 0;
    } else if (strcmp(name, "files") == 0) {
        return fault_limit(RLIMIT_NOFILE, 0);
    } else if (strcmp(name, "size") == 0) {
        return fault_limit(RLIMIT_FSIZE, FAULT_PAGE);
    }
    return fault_use_mappings();
}

/* Be revoked under a limit, and store into all of the memory. The arguments are
 * a path, the name of the limit, and "cut" or "path". Report 0 before the
 * truncate through the path, and again at the end. */
static int fault_limit_child(int argc, char **argv)
{
    const char *dirs[]    = {"/", NULL};
    const size_t length   = DAXPIN_SINK_MIN + (1 << 20); /* two mappings */
    daxpin_file_t *file, *adopted;
    char *memory, *own;
    uint64_t offset;
    int fd;

    (void)argc;
    fault_check(daxpin_set_files(dirs) == 0);
    fault_check(daxpin_file_open(argv[1], length, NULL, &file) == 0);
    memory = daxpin_file_addr(file, 0, length);
    fd     = member_number(&(member_t){.file = file});
    own    = mmap(NULL, 4 * FAULT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
               FAULT_PAGE);
    fault_check(own != MAP_FAILED);
    fault_check(daxpin_file_adopt(own, 4 * FAULT_PAGE, NULL, &adopted,
                                  &offset) == 0);
    fault_check(fault_set_limit(argv[2]));
    if (strcmp(argv[3], "cut") == 0) {
        fault_check(ftruncate(fd, 0) == 0);
        fault_store(own + 5000, 1);
        fault_store(memory + 5000, 1);
    }
    child_report(0, "ready");
    fault_check_becomes(file, REVOKED);
    memset(memory, 1, length);
    memset(own, 1, 4 * FAULT_PAGE);
    child_report(0, "well");
    _exit(0); /* The search for leaks needs descriptors */
}

static void fault_check_limit(const char *name, const char *how)
{
    const char *path = unit_path(unit_memory, name);
    child_t child;
    long line;

    child_spawn(&child, "limit", path, name, how, NULL);
    line = child_answer(&child, CHILD_WAIT_MS);
    if ((line == 0) && (strcmp(how, "path") == 0)) {
        intruder_run("truncate", path, 0, 5000);
    }
    if (line == 0) {
        line = child_answer(&child, CHILD_WAIT_MS);
    }
    if (line != 0) {
        fail_msg("%s %s: line %ld: %s", name, how, line, child.text);
    }
    assert_int_equal(unit_file_size(path), 0);
    child_finish(&child);
    unlink(path);
}

static void test_limits(void **state)
{
    static const char *limits[] = {"files", "size", "data", "maps", "space"};
    unsigned i;

    /* Sanitizers need memory and mappings of their own all the time */
    for (i = 0; i < (UNIT_SANITIZED ? 2 : 5); ++i) {
        fault_check_limit(limits[i], "path");
        fault_check_limit(limits[i], "cut");
    }
    (void)state;
}

/* Store into all of a large window after the revoke. The argument is a path. */
static int fault_big_child(int argc, char **argv)
{
    daxpin_file_t *file;
    char *memory;
    long before, after;
    size_t i;

    (void)argc;
    fault_check(daxpin_file_open(argv[1], FAULT_BIG, NULL, &file) == 0);
    memory = daxpin_file_addr(file, 0, FAULT_BIG);
    child_report(0, "ready");
    fault_check_becomes(file, REVOKED);
    before = unit_number_in("/proc/self/smaps_rollup", "Pss:");
    for (i = 0; i < FAULT_BIG; i += FAULT_PAGE) {
        fault_check(fault_load(memory + i) == 0);
    }
    memset(memory, 1, FAULT_BIG);
    after = unit_number_in("/proc/self/smaps_rollup", "Pss:");
    fault_check(before > 0);
    child_report(after - before, "KiB");
    return 0;
}

/* The memory that is stored into has a limit, not the length of the file. */
static void test_memory_is_bounded(void **state)
{
    const char *path = unit_path(unit_memory, "big");
    child_t child;
    long grown;

    child_spawn(&child, "big", path, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    intruder_run("truncate", path, 0, 5000);
    grown = child_answer(&child, CHILD_WAIT_MS);
    if (labs(grown - (long)(DAXPIN_SINK_MIN >> 10)) > (16 << 10)) {
        fail_msg("%ld KiB of %lu", grown, FAULT_BIG >> 10);
    }
    child_finish(&child);
    unlink(path);
    (void)state;
}

/* A small memory is not repeated, and each file has its own. */
static void test_memory_is_apart(void **state)
{
    const char *paths[2] = {unit_path(unit_disk, "apart"),
                            unit_path(unit_disk, "apart")};
    daxpin_file_t *files[2];
    char *memories[2];
    unsigned i, j;

    for (i = 0; i < 2; ++i) {
        files[i]    = unit_open(paths[i], UNIT_LENGTH);
        memories[i] = daxpin_file_addr(files[i], 0, UNIT_LENGTH);
        intruder_run("truncate", paths[i], 0, 5000);
        for (j = 0; j < UNIT_LENGTH; j += FAULT_PAGE) {
            assert_int_equal(memories[i][j], 0);
            memset(memories[i] + j, (int)i + 1, FAULT_PAGE);
        }
    }
    for (i = 0; i < 2; ++i) {
        for (j = 0; j < UNIT_LENGTH; ++j) {
            assert_int_equal(memories[i][j], i + 1);
        }
        daxpin_file_close(files[i]);
    }
    (void)state;
}

/*
 * Watches
 */

static char *fault_map(const char *path, size_t size, int *fd_p)
{
    unit_make_file(path, size, 'x');
    return unit_map_file(path, size, fd_p);
}

/* Use most of the watches, by ranges of a mapping that stays. */
static void fault_take_watches(daxpin_file_t *file, const char *memory)
{
    uintptr_t start = (uintptr_t)memory;
    int i;

    pthread_mutex_lock(&daxpin_mutex);
    for (i = 1; i <= FAULT_TAKEN; ++i) {
        assert_ok(daxpin_fault_watch(file, start + i,
                                     start + i + 4 * FAULT_PAGE));
    }
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Adopt, unadopt and unmap without end, while the file is in use. */
static void test_watches_are_given_back(void **state)
{
    const char *dirs[] = {unit_disk, NULL};
    const char *path   = unit_path(unit_disk, "rounds");
    daxpin_file_t *file, *again;
    char *memory, *other;
    uint64_t offset;
    int fd, i;

    memory = fault_map(path, 4 * FAULT_PAGE, &fd);
    assert_ok(daxpin_set_files(dirs));
    assert_ok(daxpin_file_adopt(memory, FAULT_PAGE, NULL, &file, &offset));
    fault_take_watches(file, memory);
    /* Each at another address */
    other = mmap(NULL, FAULT_ROUNDS * FAULT_PAGE, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (i = 0; i < FAULT_ROUNDS; ++i) {
        assert_ptr_equal(mmap(other, FAULT_PAGE, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_FIXED, fd, 0), other);
        assert_ok(daxpin_file_adopt(other, FAULT_PAGE, NULL, &again, &offset));
        daxpin_file_unadopt(again, other, FAULT_PAGE);
        daxpin_file_close(again);
        munmap(other, FAULT_PAGE);
        other += FAULT_PAGE;
    }
    daxpin_file_unadopt(file, memory, FAULT_PAGE);
    daxpin_file_close(file);
    munmap(memory, 4 * FAULT_PAGE);
    close(fd);
    (void)state;
}

/* Adopted memory is unmapped, another file is mapped there, and an access meets
 * its end. The arguments are two paths and "old" or "new". */
static int fault_stale_child(int argc, char **argv)
{
    const char *dirs[] = {"/", NULL};
    daxpin_file_t *file;
    char *memory, *moved;
    uint64_t offset;
    int fd, other;

    (void)argc;
    if ((strcmp(argv[3], "old") == 0) && !old_kernel_begin()) {
        child_report(0, "no seccomp");
        return 0;
    }
    fault_set_handler("plain");
    fault_check(daxpin_set_files(dirs) == 0);
    memory = fault_map(argv[1], 8 * FAULT_PAGE, &fd);
    fault_check(daxpin_file_adopt(memory, 8 * FAULT_PAGE, NULL, &file,
                                  &offset) == 0);
    munmap(memory, 4 * FAULT_PAGE);
    other = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    fault_check(mmap(memory, FAULT_PAGE, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_FIXED, other, 0) == memory);
    fault_jumps = 1;
    if (sigsetjmp(fault_jump, 1) == 0) {
        fault_store(memory, 1);
    }
    fault_jumps = 0;
    fault_check(fault_count == 1);
    fault_check(daxpin_file_state(file) == DAXPIN_STATE_HELD);
    fault_check(fault_load(memory + 4 * FAULT_PAGE) == 'x');

    /* The rest is still watched, and also what is moved away */
    moved = mmap(NULL, 8 * FAULT_PAGE, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fault_check(mremap(memory + 6 * FAULT_PAGE, 2 * FAULT_PAGE, 2 * FAULT_PAGE,
                       MREMAP_MAYMOVE | MREMAP_FIXED, moved) == moved);
    fault_check(ftruncate(fd, 0) == 0);
    fault_store(moved + FAULT_PAGE, 1);
    fault_store(memory + 4 * FAULT_PAGE, 1);
    fault_check_becomes(file, REVOKED);
    fault_check(fault_count == 1);
    child_report(0, "well");
    return 0;
}

static void test_stale_watch(void **state)
{
    fault_run("stale", unit_path(unit_memory, "stale"),
              unit_path(unit_memory, "other"), "new");
    fault_run("stale", unit_path(unit_memory, "stale"),
              unit_path(unit_memory, "other"), "old");
    (void)state;
}

/*
 * Memory that is not the file's any more, or is it elsewhere
 */

/* The arguments are a path, and "old" or "new". Report 0 before the truncate,
 * and again at the end. */
static int fault_reuse_child(int argc, char **argv)
{
    const char *dirs[] = {"/", NULL};
    char *memory, *moved, *later;
    daxpin_vma_t vma;
    daxpin_file_t *file;
    uint64_t offset;
    int fd, i;

    (void)argc;
    if ((strcmp(argv[2], "old") == 0) && !old_kernel_begin()) {
        child_report(0, "no seccomp");
    }
    fault_check(daxpin_set_files(dirs) == 0);
    memory = fault_map(argv[1], 32 * FAULT_PAGE, &fd);
    fault_check(daxpin_file_adopt(memory, 32 * FAULT_PAGE, NULL, &file,
                                  &offset) == 0);
    /* Pages 4 to 7 are other memory, 8 to 11 unmapped, 12 to 15 read-only, 16
     * to 19 moved away; one more mapping is made later */
    fault_check(mmap(memory + 4 * FAULT_PAGE, 4 * FAULT_PAGE,
                     PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0) != MAP_FAILED);
    memset(memory + 4 * FAULT_PAGE, 'q', 4 * FAULT_PAGE);
    munmap(memory + 8 * FAULT_PAGE, 4 * FAULT_PAGE);
    mprotect(memory + 12 * FAULT_PAGE, 4 * FAULT_PAGE, PROT_READ);
    moved = mmap(NULL, 4 * FAULT_PAGE, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fault_check(mremap(memory + 16 * FAULT_PAGE, 4 * FAULT_PAGE,
                       4 * FAULT_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                       moved) == moved);
    later = mmap(NULL, FAULT_PAGE, PROT_READ, MAP_SHARED, fd, 0);
    child_report(0, "ready");
    fault_check_becomes(file, REVOKED);

    for (i = 0; i < (int)(4 * FAULT_PAGE); ++i) {
        fault_check(fault_load(memory + i) == 0);
        fault_check(fault_load(memory + 4 * FAULT_PAGE + i) == 'q');
        fault_check(fault_load(memory + 12 * FAULT_PAGE + i) == 0);
    }
    /* Other memory may be mapped where there was none */
    fault_check(daxpin_vma_query((uintptr_t)memory +
                                         12 * FAULT_PAGE,
                                 &vma) == 0);
    fault_check(vma.start == (uintptr_t)memory + 12 * FAULT_PAGE);
    fault_check(vma.prot == PROT_READ);
    memset(memory, 's', 4 * FAULT_PAGE);
    memset(memory + 20 * FAULT_PAGE, 's', 12 * FAULT_PAGE);
    memset(moved, 's', 4 * FAULT_PAGE);
    fault_check(mprotect(later, FAULT_PAGE, PROT_READ | PROT_WRITE) == 0);
    memset(later, 's', FAULT_PAGE);
    child_report(0, "well");
    return 0;
}

static void fault_check_reuse(const char *kernel)
{
    const char *path = unit_path(unit_disk, "reuse");
    child_t child;
    long line, i;

    child_spawn(&child, "reuse", path, kernel, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    if (strcmp(child.text, "no seccomp") == 0) {
        assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    }
    /* Page 18 becomes the last one, so that the moved part is cut, too */
    intruder_run("truncate", path, 18 * FAULT_PAGE + 5, 5000);
    line = child_answer(&child, CHILD_WAIT_MS);
    if (line != 0) {
        fail_msg("%s: line %ld: %s", kernel, line, child.text);
    }
    child_finish(&child);
    for (i = 0; i < (long)(18 * FAULT_PAGE + 5); i += 100) {
        if (unit_file_byte(path, i) != 'x') {
            fail_msg("byte %ld of the file is '%c'", i,
                     unit_file_byte(path, i));
        }
    }
}

static void test_reused_memory(void **state)
{
    fault_check_reuse("new");
    fault_check_reuse("old");
    (void)state;
}

/* A mapping of the program through a description of its own that only reads
 * stays as it is. */
static void test_other_reader_stays(void **state)
{
    const char *path    = unit_path(unit_disk, "reader");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    char *read_only;
    int fd;

    memory[0] = 'x';
    fd        = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    read_only = mmap(NULL, FAULT_PAGE, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(read_only != MAP_FAILED);
    close(fd);
    intruder_run("truncate", path, 100, 5000);
    assert_becomes(file, REVOKED);
    assert_int_equal(memory[0], 0);
    assert_int_equal(read_only[0], 'x');
    munmap(read_only, FAULT_PAGE);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"late", fault_late_child},
        {"held", fault_held_child},
        {"heir", fault_heir_child},
        {"sent", fault_sent_child},
        {"other", fault_other_child},
        {"forked", fault_forked_child},
        {"limit", fault_limit_child},
        {"big", fault_big_child},
        {"stale", fault_stale_child},
        {"reuse", fault_reuse_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_late_signal),
        unit_case(test_late_handler),
        unit_case(test_close_beside_handler),
        unit_case(test_handover_beside_handler),
        unit_case(test_signals_of_others),
        unit_case(test_truncate_in_forked_child),
        unit_case(test_limits),
        unit_case(test_memory_is_bounded),
        unit_case(test_memory_is_apart),
        unit_case(test_watches_are_given_back),
        unit_case(test_stale_watch),
        unit_case(test_reused_memory),
        unit_case(test_other_reader_stays)
    };

    return unit_main("fault", argc, argv, children, tests);
}
