/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The guard daemon without libdaxpin: which calls and clients it refuses, and
 * which it does not affect.
 *
 * usage: guardd SOCKET DIRECTORY      (as root, in the virtual machine, while
 *                                      the daemon listens at SOCKET with
 *                                      --max-clients 2500 --max-ranges 20000)
 *
 * Prints "ok NAME", "not ok NAME: why" or "skip NAME: why" for each test.
 */

#define _GNU_SOURCE

#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KB      1024ll
#define PAGE    (4 * KB)
#define LENGTH  (256 * KB)
#define START   (64 * KB)  /* of the range that is guarded */
#define END     (128 * KB)
#define OTHER   1000       /* another user */
#define THIRD   1001
#define PUNCH   (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static const char *directory;
static char       path[PATH_MAX];

static int make_file(const char *name)
{
    static char block[64 * KB];
    int fd, i;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    memset(block, 'a', sizeof(block));
    for (i = 0; i < LENGTH / (int)sizeof(block); ++i) {
        if (write(fd, block, sizeof(block)) != sizeof(block)) {
            return -1;
        }
    }
    return fd;
}

/* Make a file of which START .. END is guarded. Its lease is given back, so
 * that opens do not wait. */
static int guard_file(const char *name, int *sock_p)
{
    int fd = make_file(name);

    *sock_p = dial();
    if ((fd < 0) || (*sock_p < 0) || (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) ||
        (ask(*sock_p, DAXPIN_GUARD_FILE, NULL, 0, fd) != 0) ||
        (add(*sock_p, START, END) != 0) ||
        (fcntl(fd, F_SETLEASE, F_UNLCK) != 0)) {
        snprintf(why, sizeof(why), "%s cannot be guarded: %s", path,
                 strerror(errno));
        return -1;
    }
    return fd;
}

static int close_both(int fd, int sock)
{
    close(fd);
    close(sock);
    return unlink(path);
}

/* errno of a call, 0 if it succeeded */
#define ERROR_OF(_call) (((_call) < 0) ? errno : 0)

/*
 * Tests
 */

/* Calls that are refused */
static void test_refused(void)
{
    int sock, fd = guard_file("refused", &sock), i, other;
    const off_t sizes[]   = {0, 1, START, START + 1, END - 1};
    const struct {
        const char *name;
        int        mode;
        off_t      offset;
        off_t      length;
    } calls[] = {
        {"punch all", PUNCH, 0, LENGTH},
        {"punch the first page", PUNCH, START, PAGE},
        {"punch the last byte", PUNCH, END - 1, 2},
        {"zero", FALLOC_FL_ZERO_RANGE, START - PAGE, 2 * PAGE},
        {"zero, keep size", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, START,
         PAGE},
        {"collapse before it", FALLOC_FL_COLLAPSE_RANGE, 0, PAGE},
        {"insert before it", FALLOC_FL_INSERT_RANGE, PAGE, PAGE},
        {"collapse in it", FALLOC_FL_COLLAPSE_RANGE, START, PAGE}
    };

    if (fd < 0) {
        return;
    }
    for (i = 0; i < (int)(sizeof(sizes) / sizeof(sizes[0])); ++i) {
        CHECK(ERROR_OF(ftruncate(fd, sizes[i])) == ETXTBSY,
              "ftruncate to %ld: %m", (long)sizes[i]);
        CHECK(ERROR_OF(truncate(path, sizes[i])) == ETXTBSY,
              "truncate to %ld: %m", (long)sizes[i]);
    }
    for (i = 0; i < (int)(sizeof(calls) / sizeof(calls[0])); ++i) {
        CHECK(ERROR_OF(fallocate(fd, calls[i].mode, calls[i].offset,
                                 calls[i].length)) == ETXTBSY,
              "%s: %m", calls[i].name);
    }
    CHECK(ERROR_OF(open(path, O_RDONLY | O_TRUNC)) == ETXTBSY, "O_TRUNC: %m");
    CHECK(ERROR_OF(creat(path, 0600)) == ETXTBSY, "creat: %m");
    other = open(path, O_RDWR);
    CHECK((other >= 0) && (ERROR_OF(ftruncate(other, 0)) == ETXTBSY),
          "another description: %m");
    close(other);
    close_both(fd, sock);
}

/* The same calls and others outside guarded ranges */
static void test_others(void)
{
    int sock, fd = guard_file("others", &sock), other;
    char link_path[PATH_MAX + 8], byte = 'b';

    if (fd < 0) {
        return;
    }
    snprintf(link_path, sizeof(link_path), "%s.link", path);
    CHECK(fallocate(fd, PUNCH, 0, START) == 0, "punch before it: %m");
    CHECK(fallocate(fd, PUNCH, END, PAGE) == 0, "punch behind it: %m");
    CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, END, PAGE) == 0, "zero: %m");
    CHECK(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, END, PAGE) == 0,
          "collapse behind it: %m");
    CHECK(fallocate(fd, FALLOC_FL_INSERT_RANGE, END, PAGE) == 0,
          "insert behind it: %m");
    CHECK(ftruncate(fd, END) == 0, "ftruncate to its end: %m");
    CHECK(truncate(path, LENGTH) == 0, "truncate to grow: %m");
    CHECK(fallocate(fd, 0, 0, 2 * LENGTH) == 0, "fallocate: %m");
    CHECK(pwrite(fd, &byte, 1, START) == 1, "write: %m");
    CHECK(fchmod(fd, 0640) == 0, "chmod: %m");
    other = open(path, O_RDWR | O_APPEND);
    CHECK((other >= 0) && (write(other, &byte, 1) == 1), "append: %m");
    close(other);
    CHECK(link(path, link_path) == 0, "link: %m");
    CHECK(unlink(link_path) == 0, "unlink: %m");
    CHECK(rename(path, link_path) == 0, "rename: %m");
    CHECK(rename(link_path, path) == 0, "rename back: %m");
    other = open(link_path, O_RDWR | O_CREAT, 0600);
    CHECK((write(other, &byte, 1) == 1) && (ftruncate(other, 0) == 0),
          "another file: %m");
    close(other);
    CHECK(rename(link_path, path) == 0, "rename over it: %m");
    close_both(fd, sock);
}

/* Which process may guard which file */
static void test_proof(void)
{
    int fd = make_file("proof"), sock = dial(), other;

    CHECK(ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == EPERM,
          "guarded without a lease");
    CHECK(fcntl(fd, F_SETLEASE, F_WRLCK) == 0, "no lease: %m");
    CHECK(ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0, "refused");
    CHECK(add(sock, START, END) == 0, "range refused");
    CHECK(fcntl(fd, F_SETLEASE, F_UNLCK) == 0, "%m");
    /* Another description of a file that is guarded already: by the same user
     * only */
    other = dial();
    CHECK(ask(other, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0,
          "refused to the same user");
    close(other);
    CHECK(seteuid(OTHER) == 0, "%m");
    other = dial();
    CHECK(seteuid(0) == 0, "%m");
    CHECK(ask(other, DAXPIN_GUARD_FILE, NULL, 0, fd) == EACCES,
          "another user may guard it");
    close(other);
    close_both(fd, sock);
}

/* The daemon keeps no descriptor that would keep the lease. */
static void test_lease_goes(void)
{
    int fd = make_file("lease"), sock = dial(), other;

    CHECK(fcntl(fd, F_SETLEASE, F_WRLCK) == 0, "no lease: %m");
    CHECK(ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0, "refused");
    CHECK(add(sock, START, END) == 0, "range refused");
    CHECK(fcntl(fd, F_GETLEASE) == F_WRLCK, "the lease is broken");
    close(fd);
    other = open(path, O_RDWR | O_NONBLOCK);
    CHECK(other >= 0, "the lease is still there: %m");
    CHECK(fcntl(other, F_SETLEASE, F_WRLCK) == 0, "no new lease: %m");
    close_both(other, sock);
}

static void test_death(void)
{
    int sock, fd, ready[2];
    char byte;
    pid_t pid;

    CHECK(pipe(ready) == 0, "%m");
    fd = make_file("death");
    close(fd);
    pid = fork();
    if (pid == 0) {
        fd = guard_file("death", &sock);
        if ((fd >= 0) && (write(ready[1], "", 1) == 1)) {
            pause();
        }
        _exit(1);
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1, "the child cannot guard");
    CHECK(ERROR_OF(truncate(path, 0)) == ETXTBSY, "truncate: %m");
    kill(pid, SIGKILL);
    CHECK(truncates_soon(path), "the range of a dead process is still guarded");
    waitpid(pid, NULL, 0);
    close(ready[0]);
    unlink(path);
}

static void test_two_clients(void)
{
    const daxpin_guard_range_t range = {START, END};
    int sock, other, fd = guard_file("two", &sock);

    if (fd < 0) {
        return;
    }
    other = dial();
    CHECK(ask(other, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0, "refused");
    CHECK(add(other, START, END) == 0, "range refused");
    CHECK(add(other, START, END) == 0, "range refused");
    close(sock);
    pause_ms(50);
    CHECK(ERROR_OF(ftruncate(fd, START)) == ETXTBSY, "after one left: %m");
    CHECK(ask(other, DAXPIN_GUARD_REMOVE, &range, 1, -1) == 0, "remove");
    CHECK(ERROR_OF(ftruncate(fd, START)) == ETXTBSY, "one of two: %m");
    CHECK(ask(other, DAXPIN_GUARD_REMOVE, &range, 1, -1) == 0, "remove");
    CHECK(ftruncate(fd, START) == 0, "none is left: %m");
    CHECK(ask(other, DAXPIN_GUARD_REMOVE, &range, 1, -1) == ENOENT,
          "a range was removed that was not there");
    close_both(fd, other);
}

/* Thousands of ranges, page by page with a page between them */
static void test_many_ranges(void)
{
    enum { RANGES = 5120 };
    daxpin_guard_range_t ranges[DAXPIN_GUARD_RANGES];
    int sock, fd = guard_file("ranges", &sock), i, j, error, page;

    if (fd < 0) {
        return;
    }
    CHECK(ftruncate(fd, (2 * RANGES + 64) * PAGE) == 0, "%m");
    for (i = 0; i < RANGES; i += DAXPIN_GUARD_RANGES) {
        for (j = 0; j < DAXPIN_GUARD_RANGES; ++j) {
            ranges[j].start = (uint64_t)((2 * (i + j) + 64) * PAGE);
            ranges[j].end   = ranges[j].start + PAGE;
        }
        CHECK(ask(sock, DAXPIN_GUARD_ADD, ranges, DAXPIN_GUARD_RANGES, -1) ==
              0, "range %d is refused", i);
    }
    for (i = 0; i < 2000; ++i) {
        page  = 64 + (int)(random() % (2 * RANGES));
        error = ERROR_OF(fallocate(fd, PUNCH, page * PAGE, PAGE));
        CHECK(error == ((page % 2 == 0) ? ETXTBSY : 0), "page %d: %s", page,
              strerror(error));
        error = ERROR_OF(fallocate(fd, PUNCH, page * PAGE + 1, PAGE));
        CHECK(error == ETXTBSY, "pages %d and next: %s", page,
              strerror(error));
    }
    CHECK(ask(sock, DAXPIN_GUARD_REMOVE, ranges, DAXPIN_GUARD_RANGES, -1) == 0,
          "the last ones cannot be removed");
    CHECK(ftruncate(fd, (off_t)ranges[0].start) == 0, "truncate: %m");
    CHECK(ERROR_OF(ftruncate(fd, (off_t)ranges[0].start - PAGE - 1)) ==
          ETXTBSY, "truncate: %m");
    close_both(fd, sock);
}

/* Hundreds of clients, each with its own file */
static void test_many_clients(void)
{
    enum { CLIENTS = 2000 };
    static int socks[CLIENTS], fds[CLIENTS];
    char name[32];
    int i;

    for (i = 0; i < CLIENTS; ++i) {
        snprintf(name, sizeof(name), "many%d", i);
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        fds[i]   = open(path, O_RDWR | O_CREAT, 0600);
        socks[i] = dial();
        CHECK((ftruncate(fds[i], PAGE) == 0) &&
              (fcntl(fds[i], F_SETLEASE, F_WRLCK) == 0), "%s: %m", path);
        CHECK((ask(socks[i], DAXPIN_GUARD_FILE, NULL, 0, fds[i]) == 0) &&
              (add(socks[i], 0, PAGE) == 0), "client %d is refused", i);
    }
    for (i = 0; i < CLIENTS; ++i) {
        CHECK(ERROR_OF(ftruncate(fds[i], 0)) == ETXTBSY, "client %d: %m", i);
        close(socks[i]);
    }
    for (i = 0; i < CLIENTS; ++i) {
        fcntl(fds[i], F_SETLEASE, F_UNLCK);
        snprintf(path, sizeof(path), "%s/many%d", directory, i);
        CHECK(truncates_soon(path), "%s is still guarded", path);
        close(fds[i]);
        unlink(path);
    }
}

static void test_limits(void)
{
    enum { MOST = 2500 };
    daxpin_guard_range_t ranges[DAXPIN_GUARD_RANGES];
    int socks[MOST], sock, fd = guard_file("limits", &sock), i, error = 0;
    int count;

    if (fd < 0) {
        return;
    }
    for (i = 0; i < DAXPIN_GUARD_RANGES; ++i) {
        ranges[i].start = (uint64_t)(i * 2 * PAGE);
        ranges[i].end   = ranges[i].start + PAGE;
    }
    for (i = 0; (i < 100) && (error == 0); ++i) {
        error = ask(sock, DAXPIN_GUARD_ADD, ranges, DAXPIN_GUARD_RANGES, -1);
    }
    CHECK((error == EDQUOT) && (i == 20000 / DAXPIN_GUARD_RANGES + 1),
          "message %d: %s", i, strerror(error));
    /* One is there already; the one beyond the limit is refused */
    for (count = 0, error = 0; (count < MOST) && (error == 0); ++count) {
        socks[count] = dial();
        /* Who is refused may get the answer before it has asked */
        (void)say(socks[count], DAXPIN_GUARD_HELLO, NULL, 0, -1);
        error = hear(socks[count]);
    }
    for (i = 0; i < count; ++i) {
        close(socks[i]);
    }
    CHECK((error == EUSERS) && (count == MOST), "client %d: %d", count, error);
    close_both(fd, sock);
}

/* Connect until the daemon has no more room for this user, and write how often that
 * was possible. Then send a file on each, and write how many were answered when a
 * byte comes. */
static void queue_many(int most, int go, int result)
{
    struct pollfd *conns = calloc((size_t)most, sizeof(*conns));
    int fd               = open("/dev/shm/guardd-queue", O_RDWR | O_CREAT, 0600);
    int count, i, answered = 0;
    char byte;

    for (count = 0; count < most; ++count) {
        conns[count].events = POLLIN;
        conns[count].fd     = dial_now();
        if (conns[count].fd < 0) {
            break;
        }
        say(conns[count].fd, DAXPIN_GUARD_FILE, NULL, 0, fd);
    }
    if ((write(result, &count, sizeof(count)) != sizeof(count)) ||
        (read(go, &byte, 1) != 1)) {
        _exit(1);
    }
    poll(conns, (nfds_t)count, 0);
    for (i = 0; i < count; ++i) {
        answered += conns[i].revents != 0;
    }
    (void)!write(result, &answered, sizeof(answered));
    _exit(0);
}

/* A user's first connection finds room, and comes before another user's hundredth,
 * though the other user has connected as often as possible while the daemon did
 * nothing. */
static void check_first(pid_t daemon, int go, int result)
{
    int fd = make_file("first"), sock, queued = -1, answered = -1;

    CHECK(read(result, &queued, sizeof(queued)) == sizeof(queued),
          "the other user has failed");
    CHECK(queued > 100, "only %d connections of the other user", queued);
    sock = dial_now();
    CHECK(sock >= 0, "no room beside %d connections: %m", queued);
    CHECK(fcntl(fd, F_SETLEASE, F_WRLCK) == 0, "%m");
    kill(daemon, SIGCONT);
    CHECK((ask(sock, DAXPIN_GUARD_HELLO, NULL, 0, -1) == 0) &&
          (ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0), "it is refused");
    CHECK((write(go, "", 1) == 1) &&
          (read(result, &answered, sizeof(answered)) == sizeof(answered)),
          "the other user has failed");
    CHECK(answered < 100, "%d of %d came before it", answered, queued);
    close_both(fd, sock);
}

static void test_first(void)
{
    enum { MOST = 6000 };
    struct ucred daemon;
    socklen_t length = sizeof(daemon);
    int go[2], result[2], sock = dial();
    pid_t pid;

    CHECK((getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &daemon, &length) == 0) &&
          (pipe(go) == 0) && (pipe(result) == 0), "%m");
    close(sock);
    kill(daemon.pid, SIGSTOP);
    pid = fork();
    if (pid == 0) {
        _exit((setuid(OTHER) == 0) ? (queue_many(MOST, go[0], result[1]), 0) :
                                     1);
    }
    close(result[1]);
    check_first(daemon.pid, go[1], result[0]);
    kill(daemon.pid, SIGCONT);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(go[0]);
    close(go[1]);
    close(result[0]);
}

/* A client that sends an invalid message is disconnected; others are not. */
static void test_nonsense(void)
{
    static char garbage[8192];
    const daxpin_guard_range_t empty = {END, START};
    int sock, fd = guard_file("an invalid message ends the connection", &sock),
              other, fds[2], i;

    if (fd < 0) {
        return;
    }
    for (i = 0; i < 200; ++i) {
        other = dial();
        CHECK(other >= 0, "the daemon has ended");
        memset(garbage, i, sizeof(garbage));
        send(other, garbage, (size_t)(random() % (long)sizeof(garbage)),
             MSG_NOSIGNAL);
        CHECK(hear(other) == -1, "nonsense was answered");
        close(other);
    }
    other = dial();
    CHECK(ask(other, DAXPIN_GUARD_ADD, &empty, 1, -1) == -1, "no file yet");
    close(other);
    other = dial();
    CHECK(pipe(fds) == 0, "%m");
    CHECK(ask(other, DAXPIN_GUARD_FILE, NULL, 0, fds[0]) == EPERM, "a pipe");
    CHECK(ask(other, DAXPIN_GUARD_FILE, NULL, 0, -1) == -1, "no descriptor");
    close(other);
    other = dial();
    CHECK(ask(other, DAXPIN_GUARD_FILE, NULL, 0, other) == EPERM, "itself");
    close(other);
    CHECK(add(sock, END, START) == EINVAL, "a range from end to start");
    CHECK(ERROR_OF(ftruncate(fd, 0)) == ETXTBSY, "no more guarded: %m");
    close(fds[0]);
    close(fds[1]);
    close_both(fd, sock);
}

static void test_flood(void)
{
    enum { FLOODERS = 3, ROUNDS = 200 };
    const daxpin_guard_range_t range = {0, PAGE};
    int sock, fd = guard_file("flood", &sock), i;
    double begin, longest = 0;
    pid_t pids[FLOODERS];

    if (fd < 0) {
        return;
    }
    for (i = 0; i < FLOODERS; ++i) {
        pids[i] = fork();
        if (pids[i] == 0) {
            if (setuid(OTHER) == 0) {
                flood();
            }
            _exit(1);
        }
    }
    pause_ms(1000);
    for (i = 0; i < ROUNDS; ++i) {
        begin = now();
        CHECK(add(sock, 0, PAGE) == 0, "refused");
        CHECK(ask(sock, DAXPIN_GUARD_REMOVE, &range, 1, -1) == 0, "refused");
        longest = (now() - begin > longest) ? now() - begin : longest;
        CHECK(ERROR_OF(ftruncate(fd, 0)) == ETXTBSY, "not guarded: %m");
    }
    for (i = 0; i < FLOODERS; ++i) {
        CHECK(waitpid(pids[i], NULL, WNOHANG) == 0, "a flooder has ended");
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    fprintf(stderr, "# longest time for two requests in the flood: %.1f ms\n",
            longest * 1e3);
    CHECK(longest < 10, "an answer took %.1f s", longest);
    close_both(fd, sock);
}

/*
 * Descriptors that the daemon would have to wait for
 */

/* Start a process of the other user's that does this. Return its pid, or -1. */
static pid_t start_hostile(void (*pass)(int ready))
{
    char byte;
    int ready[2];
    pid_t pid;

    if (pipe(ready) != 0) {
        return -1;
    }
    pid = fork();
    if (pid == 0) {
        if (setuid(OTHER) == 0) {
            pass(ready[1]);
        }
        _exit(1);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) {
        waitpid(pid, NULL, 0);
        pid = -1;
    }
    close(ready[0]);
    return pid;
}

/* Check that the daemon serves a client within its time; say in `why` if not. */
static int serves(const char *name)
{
    const struct timeval bound = {.tv_sec = 60};
    int fd = make_file(name), sock = dial(), error = -1, range = -1, cut = -1;

    if ((fd >= 0) && (sock >= 0) &&
        (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound)) ==
         0) &&
        (fcntl(fd, F_SETLEASE, F_WRLCK) == 0)) {
        error = ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd);
        range = (error == 0) ? add(sock, START, END) : -1;
        cut   = ERROR_OF(ftruncate(fd, START));
        fcntl(fd, F_SETLEASE, F_UNLCK);
    }
    close(sock);
    if ((error != 0) || (range != 0) || (cut != ETXTBSY)) {
        snprintf(why, sizeof(why), "the daemon does not serve others: FILE: "
                 "%d, ADD: %d, truncate: %s", error, range, strerror(cut));
    } else if (!truncates_soon(path)) {
        snprintf(why, sizeof(why), "the daemon does not let a file go");
    }
    close(fd);
    unlink(path);
    return why[0] == '\0';
}

static void test_lingering(void)
{
    const pid_t pid = start_hostile(pass_lingering);
    int i;

    CHECK(pid > 0, "no such sockets: %m");
    for (i = 0; (i < 3) && serves("lingering"); ++i) {
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_fuse(void)
{
    char where[PATH_MAX];
    int fd, conns[12], i;
    pid_t server;

    snprintf(where, sizeof(where), "%s/fuse", directory);
    fd = open_fuse(where, OTHER, &server);
    if (fd < 0) {
        skipped = 1;
        FAIL("no file system of a process can be mounted: %m");
    }
    CHECK(seteuid(OTHER) == 0, "%m");
    for (i = 0; i < 12; ++i) {
        conns[i] = dial();
        say(conns[i], DAXPIN_GUARD_FILE, NULL, 0, fd);
    }
    CHECK(seteuid(0) == 0, "%m");
    (void)serves("beside-fuse");
    for (i = 0; i < 12; ++i) {
        if ((why[0] == '\0') && (hear(conns[i]) != EPERM)) {
            snprintf(why, sizeof(why), "client %d was not refused", i);
        }
        close(conns[i]);
    }
    kill(server, SIGKILL); /* This ends the calls that wait for it */
    waitpid(server, NULL, 0);
    close(fd);
    umount2(where, MNT_DETACH);
    unlink(where);
}

/* The other user guards a file of his; then it becomes a third one's. */
static void guard_own(int ready)
{
    int sock, fd = make_file("chown");

    sock = dial();
    if ((fd < 0) || (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) ||
        (ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) != 0) ||
        (add(sock, START, END) != 0) ||
        (fcntl(fd, F_SETLEASE, F_UNLCK) != 0)) {
        _exit(1);
    }
    close(fd);
    (void)!write(ready, "", 1);
    _exit(((hear(sock) == EACCES) && (recv(sock, &fd, 1, 0) == 0)) ? 0 : 1);
}

/* The same, but the lease, which outlives the change, is kept. */
static void guard_own_leased(int ready)
{
    int sock, fd = make_file("chown");

    sock = dial();
    if ((fd < 0) || (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) ||
        (ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) != 0) ||
        (add(sock, START, END) != 0)) {
        _exit(1);
    }
    (void)!write(ready, "", 1);
    if ((hear(sock) != EACCES) || (fcntl(fd, F_GETLEASE) != F_WRLCK)) {
        _exit(2);
    }
    close(sock);
    sock = dial();
    _exit((ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == EACCES) ? 0 : 3);
}

static void test_chown(void)
{
    int status, error;
    pid_t pid;

    CHECK(chmod(directory, 0777) == 0, "%m");
    pid = start_hostile(guard_own);
    snprintf(path, sizeof(path), "%s/chown", directory);
    CHECK(pid > 0, "the other user cannot guard his file");
    CHECK(ERROR_OF(truncate(path, 0)) == ETXTBSY, "it is not guarded: %m");
    CHECK(chown(path, THIRD, THIRD) == 0, "%m");
    CHECK(seteuid(THIRD) == 0, "%m");
    error = ERROR_OF(truncate(path, 0));
    CHECK(seteuid(0) == 0, "%m");
    CHECK(error == 0, "its new owner cannot truncate it: %s", strerror(error));
    CHECK((waitpid(pid, &status, 0) == pid) && (status == 0),
          "the former owner was not disconnected: %d", status);
    unlink(path);
}

static void test_chown_leased(void)
{
    int status;
    pid_t pid;

    CHECK(chmod(directory, 0777) == 0, "%m");
    pid = start_hostile(guard_own_leased);
    snprintf(path, sizeof(path), "%s/chown", directory);
    CHECK(pid > 0, "the other user cannot guard his file");
    CHECK(chown(path, THIRD, THIRD) == 0, "%m");
    CHECK((waitpid(pid, &status, 0) == pid) && (status == 0),
          "the former owner guards it again: %d", status);
    CHECK(ERROR_OF(truncate(path, 0)) == 0, "it is guarded: %m");
    unlink(path);
}

/* Begin calls that end before the hook, and write, while other threads do so on the same
 * processor: the programs at the end of some calls are left out. */
static void *leave_notes(void *arg)
{
    const int fd       = *(int*)arg;
    const time_t until = time(NULL) + 4;

    while (time(NULL) < until) {
        (void)!fallocate(fd, 0, 0, 0);
        (void)!pwrite(fd, "b", 1, 0);
    }
    return NULL;
}

static void guard_and_leave_notes(int ready)
{
    int i, sock, fd = make_file("notes");
    pthread_t threads[32];
    cpu_set_t first;

    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sock = dial();
    if ((fd < 0) || (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) ||
        (ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) != 0) ||
        (add(sock, START, END) != 0) ||
        (sched_setaffinity(0, sizeof(first), &first) != 0)) {
        _exit(1);
    }
    for (i = 0; i < 32; ++i) {
        if (pthread_create(&threads[i], NULL, leave_notes, &fd) != 0) {
            _exit(1);
        }
    }
    for (i = 0; i < 32; ++i) {
        pthread_join(threads[i], NULL);
    }
    (void)!write(ready, "", 1);
    _exit(0);
}

/* A call that has ended is not taken for one under way. Else every write to every
 * guarded file would be refused, as one that takes blocks away. */
static void test_left_notes(void)
{
    int fd = make_file("written"), sock = dial(), i;
    pid_t pid;

    CHECK((fd >= 0) && (fcntl(fd, F_SETLEASE, F_WRLCK) == 0), "%m");
    CHECK(ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0, "it is refused");
    CHECK(add(sock, START, END) == 0, "its range is refused");
    CHECK(chmod(directory, 0777) == 0, "%m");
    pid = start_hostile(guard_and_leave_notes);
    CHECK(pid > 0, "the other user cannot guard his file");
    waitpid(pid, NULL, 0);
    for (i = 0; i < 100; ++i) {
        CHECK(pwrite(fd, "c", 1, START + i) == 1, "write: %m");
    }
    CHECK(ERROR_OF(fallocate(fd, PUNCH, START, PAGE)) == ETXTBSY,
          "it is not guarded any more: %m");
    close(sock);
    close(fd);
}

/* Have a child in a user namespace in which a user has another number. Return a
 * descriptor of that namespace or -1. */
static int open_mapping(uid_t user, uid_t shown)
{
    char name[64], line[64];
    int fd = -1, pair[2];
    pid_t pid;

    if ((socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) ||
        ((pid = fork()) < 0)) {
        return -1;
    }
    if (pid == 0) {
        close(pair[0]);
        (void)!write(pair[1], "", unshare(CLONE_NEWUSER) == 0);
        shutdown(pair[1], SHUT_WR);
        (void)!read(pair[1], line, 1);
        _exit(0);
    }
    close(pair[1]);
    if (read(pair[0], line, 1) == 1) {
        snprintf(line, sizeof(line), "%u %u 1", (unsigned)user,
                 (unsigned)shown);
        snprintf(name, sizeof(name), "/proc/%d/uid_map", (int)pid);
        fd = open(name, O_WRONLY | O_CLOEXEC);
        (void)!write(fd, line, strlen(line));
        close(fd);
        snprintf(name, sizeof(name), "/proc/%d/gid_map", (int)pid);
        fd = open(name, O_WRONLY | O_CLOEXEC);
        (void)!write(fd, line, strlen(line));
        close(fd);
        snprintf(name, sizeof(name), "/proc/%d/ns/user", (int)pid);
        fd = open(name, O_RDONLY | O_CLOEXEC);
    }
    close(pair[0]);
    waitpid(pid, NULL, 0);
    return fd;
}

/* Mount a directory once more, with another owner of what a user owns. */
static int mount_mapped(const char *where, uid_t user, uid_t shown)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP};
    int ret, mapping       = open_mapping(user, shown);
    int tree               = (int)syscall(SYS_open_tree, AT_FDCWD, directory,
                                          OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    attr.userns_fd = (uint64_t)mapping;
    ret = ((mapping >= 0) && (tree >= 0) &&
           (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr,
                    sizeof(attr)) == 0) &&
           (syscall(SYS_move_mount, tree, "", AT_FDCWD, where,
                    MOVE_MOUNT_F_EMPTY_PATH) == 0)) ? 0 : -1;
    if (mapping >= 0) {
        close(mapping);
    }
    if (tree >= 0) {
        close(tree);
    }
    return ret;
}

/* A container's mount shows other owners than the file system has. */
static void test_mapped_owner(void)
{
    static const char where[] = "/run/daxpin-mapped";
    const uid_t shown         = 70000;
    int fd = make_file("mapped"), sock;
    char plain[PATH_MAX];

    CHECK(fd >= 0, "%m");
    close(fd);
    strcpy(plain, path);
    mkdir(where, 0755);
    CHECK((chmod(directory, 0777) == 0) && (chown(plain, OTHER, OTHER) == 0) &&
          (mount_mapped(where, OTHER, shown) == 0), "%m");
    CHECK(seteuid(shown) == 0, "%m");
    snprintf(path, sizeof(path), "%s/mapped", where);
    fd   = open(path, O_RDWR | O_CLOEXEC);
    sock = dial();
    CHECK((fd >= 0) && (fcntl(fd, F_SETLEASE, F_WRLCK) == 0), "%m");
    CHECK(ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd) == 0, "it is refused");
    CHECK(add(sock, START, END) == 0, "its range is refused");
    CHECK((fcntl(fd, F_SETLEASE, F_UNLCK) == 0) && (seteuid(0) == 0), "%m");
    CHECK(ERROR_OF(truncate(plain, 0)) == ETXTBSY, "it is not guarded: %m");
    CHECK(chown(plain, THIRD, THIRD) == 0, "%m");
    CHECK(hear(sock) == EACCES, "the former owner was not told");
    CHECK(ERROR_OF(truncate(plain, 0)) == 0, "it is guarded: %m");
    close(sock);
    close(fd);
    umount2(where, MNT_DETACH);
    rmdir(where);
    unlink(plain);
}

/* Connect as user IDs of a user namespace, `most` times in all, and write how
 * many of them were accepted. */
static void connect_as_many(int most, int go, int result)
{
    int i, sock, accepted = 0;
    char byte;

    /* Capabilities stay, for systems that let no other user have a namespace */
    if ((prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0) ||
        (setuid(OTHER) != 0) || (unshare(CLONE_NEWUSER) != 0)) {
        fprintf(stderr, "# no user namespace: %m\n");
        _exit(1);
    }
    if ((write(result, &accepted, sizeof(accepted)) != sizeof(accepted)) ||
        (read(go, &byte, 1) != 1) || (setuid(0) != 0)) {
        _exit(1);
    }
    for (i = 0; i < most; ++i) {
        if (seteuid((uid_t)(i % 50)) != 0) {
            _exit(1);
        }
        sock = dial();
        if (seteuid(0) != 0) {
            _exit(1);
        }
        say(sock, DAXPIN_GUARD_FILE, NULL, 0, sock);
        accepted += hear(sock) == EPERM;
    }
    (void)!write(result, &accepted, sizeof(accepted));
    _exit(0);
}

/* A user with a range of user IDs has no more connections than with one. */
static void test_many_uids(void)
{
    enum { MOST = 2520, LIMIT = 2500 };
    int go[2], result[2], accepted = -1, fd;
    char file[64];
    const char map[] = "0 100000 1000\n";
    pid_t pid;

    CHECK((pipe(go) == 0) && (pipe(result) == 0), "%m");
    pid = fork();
    if (pid == 0) {
        connect_as_many(MOST, go[0], result[1]);
    }
    close(result[1]);
    if (read(result[0], &accepted, sizeof(accepted)) != sizeof(accepted)) {
        skipped = 1;
        FAIL("the other user cannot have a user namespace");
    }
    snprintf(file, sizeof(file), "/proc/%d/uid_map", (int)pid);
    fd = open(file, O_WRONLY);
    CHECK(write(fd, map, sizeof(map) - 1) == sizeof(map) - 1, "%s: %m", file);
    close(fd);
    CHECK(write(go[1], "", 1) == 1, "%m");
    accepted = -1;
    CHECK(read(result[0], &accepted, sizeof(accepted)) == sizeof(accepted),
          "the other user has failed");
    waitpid(pid, NULL, 0);
    CHECK(accepted == LIMIT, "%d connections were accepted", accepted);
    close(go[0]);
    close(go[1]);
    close(result[0]);
}

/*
 * io_uring, without a library: one request at a time
 */

typedef struct ring {
    int                 fd;
    struct io_uring_sqe *sqes;
    char                *queue;
    struct io_uring_params params;
} ring_t;

static int ring_open(ring_t *ring)
{
    memset(&ring->params, 0, sizeof(ring->params));
    ring->fd = (int)syscall(SYS_io_uring_setup, 2, &ring->params);
    if (ring->fd < 0) {
        return -1;
    }
    ring->sqes  = mmap(NULL, 2 * sizeof(*ring->sqes), PROT_READ | PROT_WRITE,
                       MAP_SHARED, ring->fd, IORING_OFF_SQES);
    ring->queue = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
                       ring->fd, IORING_OFF_SQ_RING);
    return ((void*)ring->sqes == MAP_FAILED) ||
                   ((void*)ring->queue == MAP_FAILED) ? -1 : 0;
}

static uint32_t *ring_word(ring_t *ring, uint32_t offset)
{
    return (uint32_t*)(void*)(ring->queue + offset);
}

/* Its result: 0 or more, or -errno */
static int ring_do(ring_t *ring, const struct io_uring_sqe *sqe)
{
    const struct io_cqring_offsets *cq = &ring->params.cq_off;
    uint32_t *tail = ring_word(ring, ring->params.sq_off.tail);
    uint32_t mask  = *ring_word(ring, ring->params.sq_off.ring_mask);
    uint32_t *head = ring_word(ring, cq->head);
    struct io_uring_cqe *cqes;

    ring->sqes[*tail & mask] = *sqe;
    ring_word(ring, ring->params.sq_off.array)[*tail & mask] = *tail & mask;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS,
                NULL, 0) != 1) {
        return -errno;
    }
    cqes = (struct io_uring_cqe*)(void*)(ring->queue + cq->cqes);
    mask = *ring_word(ring, cq->ring_mask);
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return cqes[(*head - 1) & mask].res;
}

static void test_io_uring(void)
{
    int sock, fd = guard_file("uring", &sock), ret;
    struct io_uring_sqe sqe;
    ring_t ring;

    if (fd < 0) {
        return;
    }
    CHECK(ring_open(&ring) == 0, "io_uring_setup: %m");
    memset(&sqe, 0, sizeof(sqe));
    sqe.opcode = IORING_OP_FALLOCATE;
    sqe.fd     = fd;
    sqe.len    = PUNCH;
    sqe.off    = START;
    sqe.addr   = PAGE;
    ret        = ring_do(&ring, &sqe);
    CHECK(ret == -ETXTBSY, "punch: %s", strerror(-ret));
    sqe.off = 0;
    ret     = ring_do(&ring, &sqe);
    CHECK(ret == 0, "punch before it: %s", strerror(-ret));

    memset(&sqe, 0, sizeof(sqe));
    sqe.opcode     = IORING_OP_OPENAT;
    sqe.fd         = AT_FDCWD;
    sqe.addr       = (uint64_t)(uintptr_t)path;
    sqe.open_flags = O_RDWR | O_TRUNC;
    ret            = ring_do(&ring, &sqe);
    CHECK(ret == -ETXTBSY, "open with O_TRUNC: %s", strerror(-ret));

    memset(&sqe, 0, sizeof(sqe));
    sqe.opcode = 55; /* IORING_OP_FTRUNCATE, since Linux 6.9 */
    sqe.fd     = fd;
    sqe.off    = START;
    ret        = ring_do(&ring, &sqe);
    CHECK((ret == -ETXTBSY) || (ret == -EINVAL), "ftruncate: %s",
          strerror(-ret));
    if (ret == -EINVAL) {
        printf("skip io_uring's ftruncate: this kernel has none\n");
    } else {
        sqe.off = END;
        ret     = ring_do(&ring, &sqe);
        CHECK(ret == 0, "ftruncate to its end: %s", strerror(-ret));
    }
    close(ring.fd);
    close_both(fd, sock);
}

/* Blocks that another file's take the place of */
static void test_clone(void)
{
    int sock, fd = guard_file("clone", &sock), other;
    struct file_clone_range range = {.src_length  = PAGE,
                                     .dest_offset = START};
    char other_path[PATH_MAX + 8];

    if (fd < 0) {
        return;
    }
    snprintf(other_path, sizeof(other_path), "%s.other", path);
    other           = open(other_path, O_RDWR | O_CREAT, 0600);
    range.src_fd    = other;
    CHECK(pwrite(other, path, PAGE, 0) == PAGE, "%m");
    CHECK(fsync(other) == 0, "%m");
    range.dest_offset = 0;
    if (ioctl(fd, FICLONERANGE, &range) != 0) {
        skipped = 1;
        snprintf(why, sizeof(why), "the file system does not clone: %m");
        goto out;
    }
    range.dest_offset = START;
    CHECK(ERROR_OF(ioctl(fd, FICLONERANGE, &range)) == ETXTBSY,
          "FICLONERANGE: %m");
    CHECK(ERROR_OF(ioctl(fd, FICLONE, other)) == ETXTBSY, "FICLONE: %m");
out:
    close(other);
    unlink(other_path);
    close_both(fd, sock);
}

/* Have one page of a file share its block with another file's. Return errno value. */
static int dedupe(int from, int fd, off_t offset)
{
    union {
        struct file_dedupe_range range;
        char space[sizeof(struct file_dedupe_range) +
                   sizeof(struct file_dedupe_range_info)];
    } args = {.range = {.src_length = PAGE, .dest_count = 1}};

    args.range.info[0].dest_fd     = fd;
    args.range.info[0].dest_offset = (uint64_t)offset;
    if (ioctl(from, FIDEDUPERANGE, &args) != 0) {
        return errno;
    }
    return (args.range.info[0].status < 0) ? -args.range.info[0].status : 0;
}

/* The same content, in a block of another file */
static void test_dedupe(void)
{
    int sock, fd = guard_file("dedupe", &sock), other, error;
    char other_path[PATH_MAX + 8], page[PAGE];

    if (fd < 0) {
        return;
    }
    snprintf(other_path, sizeof(other_path), "%s.other", path);
    other = open(other_path, O_RDWR | O_CREAT, 0600);
    memset(page, 'a', sizeof(page));
    CHECK(pwrite(other, page, PAGE, 0) == PAGE, "%m");
    CHECK((fsync(other) == 0) && (fsync(fd) == 0), "%m");
    error = dedupe(other, fd, 0);
    if (error != 0) {
        skipped = 1;
        snprintf(why, sizeof(why), "the file system does not deduplicate: %s",
                 strerror(error));
        goto out;
    }
    error = dedupe(other, fd, START);
    CHECK(error == ETXTBSY, "FIDEDUPERANGE: %s", strerror(error));
    error = dedupe(other, fd, END);
    CHECK(error == 0, "behind it: %s", strerror(error));
out:
    close(other);
    unlink(other_path);
    close_both(fd, sock);
}

int main(int argc, char **argv)
{
    const struct rlimit many = {8192, 8192};

    setvbuf(stdout, NULL, _IONBF, 0);
    if ((argc != 3) || (setrlimit(RLIMIT_NOFILE, &many) != 0)) {
        fprintf(stderr, "usage: guardd SOCKET DIRECTORY (as root)\n");
        return 2;
    }
    signal(SIGIO, SIG_IGN); /* a lease that breaks */
    socket_path = argv[1];
    directory   = argv[2];
    run("truncates and hole punches of a guarded range are refused",
        test_refused);
    run("other calls and files are not affected", test_others);
    run("only a process with the lease may guard a file", test_proof);
    run("the daemon keeps no lease", test_lease_goes);
    run("a dead process guards nothing", test_death);
    run("two guard the same range", test_two_clients);
    run("thousands of ranges", test_many_ranges);
    run("thousands of clients", test_many_clients);
    run("limits of a user", test_limits);
    run("a first connection beside many of another user", test_first);
    run("an invalid message ends the connection", test_nonsense);
    run("a flood by another user", test_flood);
    run("sockets that linger", test_lingering);
    run("a file system that does not answer", test_fuse);
    run("a file gets another owner", test_chown);
    run("a file gets another owner, and keeps its lease", test_chown_leased);
    run("a mount shows another owner", test_mapped_owner);
    run("calls that end early", test_left_notes);
    run("a user with many user IDs", test_many_uids);
    run("io_uring", test_io_uring);
    run("cloning into a guarded range", test_clone);
    run("cloning by deduplication into a guarded range", test_dedupe);
    return failed;
}
