/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What users can take of the pin module from each other: at their limits, with
 * many processes, as processes that are killed, and with a file system that does
 * not answer.
 *
 * usage: kmod_users SLOW DIRECTORY (on fsdax, as root, with the module loaded;
 * SLOW is on another file system, which is ext4, and is frozen for a while)
 */

#include "pinned.h"

#include <grp.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

#define ALICE     1000
#define BOB       1001
#define MIB       (1ul << 20)
#define PROCESSES 256
#define KILLS     100

/* Ranges of one file whose lease is broken, and how often in a row */
#define BREAK_PINS  64
#define BREAK_TIMES 50

/* A user's files, of which so many are never given back by their file system;
 * processes that pin all the time; and what another user does meanwhile, which is
 * more than the limit, so that it needs what was given back */
#define QUEUE_LIMIT  24
#define QUEUE_STUCK  16
#define QUEUE_BUSY   4
#define QUEUE_ROUNDS 40

/* How long one round may take: more than a lease that nobody gives up */
#define QUEUE_WAIT_S 90

#define NO_NAMESPACE -2

#define PARAMETERS "/sys/module/daxpin/parameters/"

/* What a process of a user has pinned, and at what error it has stopped */
typedef struct taken {
    int count;
    int error; /* of errno, or NO_NAMESPACE, or -1: of something else */
} taken_t;

/* What a process of a user is to pin: each of so many files so often */
typedef struct order {
    uid_t  uid;
    int    files;
    int    pins;
    size_t length;
    int    nested; /* in a user namespace of the user's own */
} order_t;

static const char *slow; /* directory on a file system that can be frozen */

static int set_parameter(const char *name, long value)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), PARAMETERS "%s", name);
    file = fopen(path, "w");
    if ((file == NULL) || (fprintf(file, "%ld", value) < 0) ||
        (fclose(file) != 0)) {
        return fail(path);
    }
    return 0;
}

static int become(uid_t uid)
{
    if ((setgroups(0, NULL) != 0) || (setgid(uid) != 0) ||
        (setuid(uid) != 0)) {
        return -1;
    }
    return prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid() clears it */
}

/* Pin until it fails. Descriptors of the device stay open, and so a file whose ranges
 * are pinned is the module's alone. */
static taken_t take(const order_t *order)
{
    taken_t taken = { 0 };
    char name[32];
    pinned_t file;
    int i, j, device;

    for (i = 0; i < order->files; ++i) {
        snprintf(name, sizeof(name), "%u/%d.%d", (unsigned)order->uid,
                 (int)getpid(), i);
        if ((make(&file, name, order->length) != 0) || (lease(&file) != 0)) {
            taken.error = -1;
            return taken;
        }
        unlink(file.path);
        for (j = 0; j < order->pins; ++j) {
            device      = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
            taken.error = pin_at(device, file.fd, file.memory, 0,
                                 order->length);
            if (taken.error != 0) {
                close(device);
                return taken;
            }
            ++taken.count;
        }
        unmap_file(&file);
        close_file(&file);
    }
    return taken;
}

static int write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

    ret = (write(fd, text, strlen(text)) == (ssize_t)strlen(text)) ? 0 : -1;
    close(fd);
    return ret;
}

/* Enter a user namespace, in which the user is root. */
static int nest(const order_t *order)
{
    char map[32];

    prctl(PR_SET_DUMPABLE, 1); /* or /proc/self is root's */
    if (unshare(CLONE_NEWUSER) != 0) {
        return NO_NAMESPACE;
    }
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)order->uid);
    return ((write_to("/proc/self/setgroups", "deny") == 0) &&
            (write_to("/proc/self/uid_map", map) == 0) &&
            (write_to("/proc/self/gid_map", map) == 0)) ? 0 : -1;
}

/* Start a process of a user that pins, and keeps it until it is killed. Return
 * what it has pinned. */
static taken_t start(const order_t *order, pid_t *pid_p)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    taken_t taken            = {.error = -1};
    int pipes[2];

    if (pipe(pipes) != 0) {
        *pid_p = 0;
        return taken;
    }
    *pid_p = fork();
    if (*pid_p == 0) {
        if ((setrlimit(RLIMIT_MEMLOCK, &none) == 0) &&
            (become(order->uid) == 0)) {
            taken.error = order->nested ? nest(order) : 0;
        }
        if (taken.error == 0) {
            taken = take(order);
        }
        if (write(pipes[1], &taken, sizeof(taken)) == sizeof(taken)) {
            pause();
        }
        _exit(1);
    }
    close(pipes[1]);
    if (read(pipes[0], &taken, sizeof(taken)) != sizeof(taken)) {
        taken.error = -1;
    }
    close(pipes[0]);
    return taken;
}

static void stop(pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

static int is_clean(void)
{
    return becomes(DEVICE_DIR "pins", 0) && becomes(DEVICE_DIR "pages", 0) &&
           becomes(DEVICE_DIR "files", 0) &&
           becomes(DEVICE_DIR "lingering", 0);
}

/* Have Alice take all that she can get; then Bob and root take some. */
static int try_limit(const order_t *alice, const order_t *bob,
                     const order_t *root, int most)
{
    pid_t pids[3] = { 0 };
    taken_t taken;
    int i;

    taken = start(alice, &pids[0]);
    if ((taken.count != most) || (taken.error != ENOMEM)) {
        snprintf(why, sizeof(why), "the first user got %d of %d, error %d",
                 taken.count, most, taken.error);
        goto out;
    }
    taken = start(bob, &pids[1]);
    if (taken.count != bob->files * bob->pins) {
        snprintf(why, sizeof(why), "the second user got %d, error %d",
                 taken.count, taken.error);
        goto out;
    }
    taken = start(root, &pids[2]);
    if (taken.count != root->files * root->pins) {
        snprintf(why, sizeof(why), "root got %d, error %d", taken.count,
                 taken.error);
    }
out:
    for (i = 0; i < 3; ++i) {
        stop(pids[i]);
    }
    return (why[0] == '\0') ? 0 : -1;
}

/* Of 8 MiB Alice gets a half, all users but root three quarters */
static void test_pages(void)
{
    const order_t alice = {ALICE, 1, 100, MIB, 0}, bob = {BOB, 1, 2, MIB, 0};
    const order_t root  = {0, 1, 2, MIB, 0};

    TRY(set_parameter("limit_mib", 8));
    (void)try_limit(&alice, &bob, &root, 4);
    set_parameter("limit_mib", 0);
    CHECK(is_clean(), "something is left");
}

static void test_user_pages(void)
{
    const order_t alice = {ALICE, 1, 100, MIB, 0}, bob = {BOB, 1, 3, MIB, 0};
    const order_t root  = {0, 1, 5, MIB, 0};

    TRY(set_parameter("limit_user_mib", 3));
    (void)try_limit(&alice, &bob, &root, 3);
    set_parameter("limit_user_mib", 0);
    CHECK(is_clean(), "something is left");
}

static void test_pins(void)
{
    const order_t alice = {ALICE, 2, 10, PAGE, 0}, bob = {BOB, 1, 12, PAGE, 0};
    const order_t root  = {0, 1, 20, PAGE, 0};

    TRY(set_parameter("limit_user_pins", 12));
    (void)try_limit(&alice, &bob, &root, 12);
    set_parameter("limit_user_pins", 16384);
    CHECK(is_clean(), "something is left");
}

/* All pins of a file have one guard mapping */
static void test_files(void)
{
    const order_t alice = {ALICE, 5, 10, PAGE, 0}, bob = {BOB, 4, 3, PAGE, 0};
    const order_t root  = {0, 9, 2, PAGE, 0}, few = {BOB, 3, 7, PAGE, 0};
    taken_t taken;
    pid_t pid;

    TRY(set_parameter("limit_user_files", 4));
    (void)try_limit(&alice, &bob, &root, 40);
    set_parameter("limit_user_files", 4096);
    CHECK(is_clean(), "something is left");
    taken = start(&few, &pid);
    CHECK((taken.count == 21) && (number_in(DEVICE_DIR "pins") == 21) &&
          (number_in(DEVICE_DIR "files") == 3), "%d pins, %ld of %ld files",
          taken.count, number_in(DEVICE_DIR "pins"),
          number_in(DEVICE_DIR "files"));
    stop(pid);
    CHECK(is_clean(), "something is left");
}

/* Who makes a user namespace stays the user that he is */
static void test_namespace(void)
{
    const order_t alice = {ALICE, 1, 8, PAGE, 0};
    order_t nested      = alice;
    taken_t taken, more;
    pid_t pid, other;

    nested.nested = 1;
    TRY(set_parameter("limit_user_pins", 12));
    taken = start(&alice, &pid);
    more  = start(&nested, &other);
    stop(pid);
    stop(other);
    set_parameter("limit_user_pins", 16384);
    CHECK(taken.count == 8, "%d pins, error %d", taken.count, taken.error);
    if (more.error == NO_NAMESPACE) {
        skipped = 1;
        FAIL("this root directory is one by chroot(), or there are no user "
             "namespaces");
    }
    CHECK((more.count == 4) && (more.error == ENOMEM),
          "%d more pins in a user namespace, error %d", more.count, more.error);
}

/* Many processes at once, as the ranks of a large job */
static void test_processes(void)
{
    const order_t order = {ALICE, 1, 1, 64 * PAGE, 0};
    pid_t pids[PROCESSES];
    int i, count = 0;

    for (i = 0; i < PROCESSES; ++i) {
        count += start(&order, &pids[i]).count;
    }
    if ((count != PROCESSES) ||
        (number_in(DEVICE_DIR "pages") != PROCESSES * 64) ||
        (number_in(DEVICE_DIR "files") != PROCESSES)) {
        snprintf(why, sizeof(why), "%d pins, %ld pages, %ld files", count,
                 number_in(DEVICE_DIR "pages"), number_in(DEVICE_DIR "files"));
    }
    for (i = 0; i < PROCESSES; ++i) {
        stop(pids[i]);
    }
    CHECK(is_clean(), "something is left");
}

/* Start a child that reads the file, for which it waits for the lease. */
static pid_t start_reader(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_range(3, ~0u, 0);
        _exit((open(path, O_RDONLY | O_CLOEXEC) >= 0) ? 0 : errno);
    }
    return pid;
}

/* Each of the devices reports so many breaks since the last time. */
static int report(const int *devices, uint64_t wanted, const char *when)
{
    uint64_t breaks;
    int i;

    for (i = 0; i < BREAK_PINS; ++i) {
        if (read(devices[i], &breaks, sizeof(breaks)) != sizeof(breaks)) {
            breaks = 0;
        }
        if (breaks != wanted) {
            snprintf(why, sizeof(why), "%s: device %d reports %lu breaks, and "
                     "not %lu", when, i, (unsigned long)breaks,
                     (unsigned long)wanted);
            return -1;
        }
    }
    return 0;
}

/* Break the lease without waiting for it. */
static int break_by(const pinned_t *me, int flags)
{
    return ((open(me->path, flags | O_NONBLOCK | O_CLOEXEC) < 0) &&
            (errno == EAGAIN)) ? 0 : fail("it was not turned away");
}

static int lease_again(pinned_t *me)
{
    return (fcntl(me->fd, F_SETLEASE, F_UNLCK) == 0) ? lease(me) :
                                                       fail("F_UNLCK");
}

/* A reader's break is the same one for as long as he waits, and is not gone
 * through again for all ranges of the file; any other break is another one. */
static void break_often(pinned_t *me, const int *devices)
{
    pid_t pid = start_reader(me->path);
    int i;

    CHECK(waits(pid), "the reader did not wait");
    pause_ms(1000);
    TRY(break_by(me, O_RDONLY));
    TRY(report(devices, 1, "a reader that waits"));
    TRY(report(devices, 0, "he waits still"));
    TRY(break_by(me, O_WRONLY));
    TRY(report(devices, 1, "a writer, too"));
    CHECK(fcntl(me->fd, F_SETLEASE, F_UNLCK) == 0, "F_UNLCK: %m");
    CHECK(passes(pid), "the reader waits still, or failed");
    TRY(lease(me));
    for (i = 0; i < BREAK_TIMES; ++i) {
        TRY(break_by(me, O_RDONLY));
        TRY(lease_again(me));
    }
    TRY(report(devices, BREAK_TIMES, "another lease each time"));
}

static void test_breaks(void)
{
    int devices[BREAK_PINS], i, error = 0;
    pinned_t me;

    TRY(make(&me, "breaks", LENGTH));
    TRY(lease(&me));
    for (i = 0; i < BREAK_PINS; ++i) {
        devices[i] = open(DAXPIN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        error     |= pin_at(devices[i], me.fd, me.memory + i * PAGE, i * PAGE,
                            PAGE);
    }
    if (error != 0) {
        snprintf(why, sizeof(why), "pin: error %d", error);
    } else {
        break_often(&me, devices);
    }
    /* The first of those that are left is another one each time */
    for (i = 0; i < BREAK_PINS; ++i) {
        close(devices[i]);
    }
    release_all(&me);
    CHECK((why[0] != '\0') || is_clean(), "something is left");
}

/* Pin and unpin without a pause, until killed */
static void pin_for_ever(int number)
{
    char name[32];
    pinned_t me;
    int device;

    snprintf(name, sizeof(name), "%d/kill%d", ALICE, number);
    while ((make(&me, name, LENGTH) == 0) && (lease(&me) == 0)) {
        device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
        pin_at(device, me.fd, me.memory, 0, LENGTH);
        close(device);
        unmap_file(&me);
        close_file(&me);
    }
    _exit(1);
}

static void test_kill(void)
{
    pid_t pid;
    int i, j;

    for (i = 0; i < KILLS; ++i) {
        pid = fork();
        if (pid == 0) {
            if (become(ALICE) == 0) {
                pin_for_ever(i);
            }
            _exit(1);
        }
        pause_ms(1 + i % 20);
        kill(pid, SIGKILL);
        for (j = 0; (j < 1000) && (waitpid(pid, NULL, WNOHANG) != pid); ++j) {
            pause_ms(20);
        }
        CHECK(j < 1000, "process %d does not end", i);
    }
    CHECK(is_clean(), "something is left");
}

/* Pin and unpin a file that is pinned anyway, without a pause. */
static void pin_again(int number)
{
    char name[32];
    pinned_t me;
    int device;

    snprintf(name, sizeof(name), "%d/busy%d", ALICE, number);
    if ((make(&me, name, PAGE) != 0) || (lease(&me) != 0)) {
        _exit(1);
    }
    me.device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    while (pin_at(me.device, me.fd, me.memory, 0, PAGE) != 0) {
        pause_ms(20);
    }
    for (;;) {
        device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
        pin_at(device, me.fd, me.memory, 0, PAGE);
        close(device);
    }
}

/* Start processes of Alice that pin all the time. */
static void start_busy(pid_t *pids)
{
    int i;

    for (i = 0; i < QUEUE_BUSY; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            if (become(ALICE) == 0) {
                pin_again(i);
            }
            _exit(1);
        }
    }
}

/* Freeze the file system of `slow`. It is thawed when the descriptor is closed,
 * and so also when this process is killed. Return -1 if it cannot be frozen. */
static int freeze(pid_t *pid_p)
{
    const int fd = open(slow, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int pipes[2];
    char byte;

    if ((fd < 0) || (pipe2(pipes, O_CLOEXEC) != 0) ||
        (ioctl(fd, FIFREEZE, 0) != 0)) {
        return fail(slow);
    }
    *pid_p = fork();
    if (*pid_p == 0) {
        setsid(); /* Not killed together with its parent */
        close(pipes[1]);
        (void)!read(pipes[0], &byte, 1);
        _exit(ioctl(fd, FITHAW, 0) != 0);
    }
    close(pipes[0]);
    close(fd);
    return pipes[1];
}

static void thaw(int frozen, pid_t pid)
{
    close(frozen);
    if (passes(pid) == 0) {
        snprintf(why, sizeof(why), "%s: it cannot be thawed", slow);
    }
}

/* Pin, for as long as the user is at his limit. What he has given back is on its
 * way. */
static int pin_in_time(pinned_t *me)
{
    int i, error = ENOMEM;

    me->device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    for (i = 0; (i < 1000) && (error == ENOMEM); ++i) {
        error = pin_at(me->device, me->fd, me->memory, 0, me->length);
        if (error == ENOMEM) {
            pause_ms(20);
        }
    }
    return error;
}

/* Pin a file, have its lease broken, give it back when the truncate waits. Return
 * an errno value. */
static int queue_round(int number)
{
    char name[32];
    pinned_t me;
    pid_t pid;
    int error;

    snprintf(name, sizeof(name), "%d/round%d", BOB, number);
    if ((make(&me, name, PAGE) != 0) || (lease(&me) != 0)) {
        return EIO;
    }
    error = pin_in_time(&me);
    if (error != 0) {
        return error;
    }
    unmap_file(&me); /* Or the intruder has the mapping, and so the lease */
    pid = intrude(me.path);
    if (!waits(pid)) {
        return ENOLCK;
    }
    close_device(&me);
    close_file(&me);
    if (!passes(pid)) {
        return ETIMEDOUT;
    }
    unlink(me.path);
    return 0;
}

/* Have Bob go through rounds, which he counts. Return an errno value, EBUSY if a
 * round takes too long. */
static int run_rounds(atomic_int *done)
{
    const pid_t pid = fork();
    int status = 0, seen = 0;
    double end = now() + QUEUE_WAIT_S;

    if (pid == 0) {
        status = (become(BOB) == 0) ? 0 : EPERM;
        while ((status == 0) && (*done < QUEUE_ROUNDS)) {
            status = queue_round(*done);
            *done += (status == 0);
        }
        _exit(status);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (*done != seen) {
            seen = *done;
            end  = now() + QUEUE_WAIT_S;
        } else if (now() > end) {
            stop(pid);
            return EBUSY;
        }
        pause_ms(20);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Have files of Alice's be the module's to give back, which waits for their file
 * system. */
static int make_stuck(int *frozen_p, pid_t *thawer_p)
{
    const order_t alice   = {ALICE, QUEUE_STUCK, 1, PAGE, 0};
    const char *const mine = directory;
    taken_t taken;
    pid_t pid;

    directory = slow;
    taken     = start(&alice, &pid);
    directory = mine;
    if (taken.count != QUEUE_STUCK) {
        snprintf(why, sizeof(why), "%d pins, error %d", taken.count,
                 taken.error);
        stop(pid);
        return -1;
    }
    *frozen_p = freeze(thawer_p);
    stop(pid);
    return (*frozen_p < 0) ? -1 : 0;
}

/* Alice's files, which her file system does not give back, and her processes, which
 * pin all the time, keep no other user from what he does. */
static void test_queue(void)
{
    atomic_int *done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t busy[QUEUE_BUSY], thawer = 0;
    int frozen, error, i;

    TRY(set_parameter("limit_user_files", QUEUE_LIMIT));
    TRY(make_stuck(&frozen, &thawer));
    start_busy(busy);
    error = run_rounds(done);
    for (i = 0; i < QUEUE_BUSY; ++i) {
        stop(busy[i]);
    }
    if (error != 0) {
        snprintf(why, sizeof(why), "after %d of %d rounds: %s", *done,
                 QUEUE_ROUNDS, strerror(error));
    } else if (!becomes(DEVICE_DIR "files", QUEUE_STUCK + QUEUE_BUSY)) {
        snprintf(why, sizeof(why), "%ld files, and not only Alice's",
                 number_in(DEVICE_DIR "files"));
    }
    thaw(frozen, thawer);
    set_parameter("limit_user_files", 4096);
    munmap(done, PAGE);
    CHECK((why[0] != '\0') || is_clean(), "something is left");
}

static int make_directory(const char *parent, uid_t uid)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%u", parent, (unsigned)uid);
    return ((mkdir(path, 0700) == 0) && (chown(path, uid, uid) == 0)) ?
                   0 :
                   fail(path);
}

static void test_directories(void)
{
    TRY(make_directory(directory, ALICE));
    TRY(make_directory(directory, BOB));
    TRY(make_directory(directory, 0));
    TRY(make_directory(slow, ALICE));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 3) {
        fprintf(stderr, "usage: kmod_users SLOW DIRECTORY\n");
        return 2;
    }
    slow      = argv[1];
    directory = argv[2];
    chmod(slow, 0711);
    chmod(directory, 0711);
    if (run("kmod: users have directories", test_directories) != 0) {
        return failed;
    }
    run("kmod: a user's part of what all may pin", test_pages);
    run("kmod: what one user may pin", test_user_pages);
    run("kmod: how many ranges one user may pin", test_pins);
    run("kmod: of how many files one user may pin ranges", test_files);
    run("kmod: a user namespace makes no new user", test_namespace);
    run("kmod: 256 processes of one user", test_processes);
    run("kmod: a break is reported once", test_breaks);
    run("kmod: processes that are killed while they pin", test_kill);
    run("kmod: users have their turn beside one whose file system does not answer",
        test_queue);
    return failed;
}
