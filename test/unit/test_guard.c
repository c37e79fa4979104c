/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * libdaxpin as a client of the guard daemon
 *
 * The daemon here is a thread of the test. It answers as the real daemon does,
 * or wrongly, but it guards nothing. test/vm tests the real daemon.
 */

#include "intruder.h"
#include "daxpin/file/file.h"
#include "daxpin/file/guard.h"
#include "wire/guardd.h"
#include "member.h"
#include "mutex.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define GUARD_CONNS 16
#define GUARD_MANY  3000
#define GUARD_PAGE  4096

typedef enum guard_mode {
    GUARD_FAIR,       /* confirms every message */
    GUARD_OTHER_USER, /* confirms, but belongs to another user */
    GUARD_REFUSES,
    GUARD_FULL,  /* has no room for one more connection */
    GUARD_NEWER, /* does not know this version any more */
    GUARD_SILENT,
    GUARD_STOPPED, /* accepts and receives nothing */
    GUARD_SENDS_GARBAGE,
    GUARD_DISCONNECTS,
    GUARD_STAYS /* confirms, and does not end the connection */
} guard_mode_t;

static struct {
    _Atomic guard_mode_t mode;
    uint32_t     grace_ms;
    int          knows; /* it knows the pins of the daemon before it */
    int          listen_fd;
    int          stop[2];
    pthread_t    thread;
    atomic_int   conns;
    atomic_int   opened; /* connections so far */
    atomic_int   ended;  /* ends of connections noticed so far */
    atomic_int   ranges;
    atomic_int   unleased; /* files received without a lease */
} guard;

/*
 * The daemon
 */

static int guard_take_fd(struct msghdr *header)
{
    struct cmsghdr *ancillary = CMSG_FIRSTHDR(header);
    int fd;

    if (ancillary == NULL) {
        return -1;
    }
    memcpy(&fd, CMSG_DATA(ancillary), sizeof(fd));
    return fd;
}

static void guard_answer_in(int sock, uint16_t version, uint32_t error)
{
    const uint16_t type = guard.knows ? DAXPIN_GUARD_KNOWN :
                                        DAXPIN_GUARD_ANSWER;
    const daxpin_guard_head_t answer = {.magic   = DAXPIN_GUARD_MAGIC,
                                        .version = version,
                                        .type    = type,
                                        .count   = guard.grace_ms,
                                        .error   = error};

    (void)send(sock, &answer, sizeof(answer), MSG_NOSIGNAL);
}

static void guard_answer(int sock, uint32_t error)
{
    guard_answer_in(sock, DAXPIN_GUARD_VERSION, error);
}

static void guard_count(const daxpin_guard_message_t *message, int fd)
{
    switch (message->head.type) {
    case DAXPIN_GUARD_FILE:
        guard.unleased += (fd < 0) || (fcntl(fd, F_GETLEASE) != F_WRLCK);
        break;
    case DAXPIN_GUARD_ADD:
        guard.ranges += (int)message->head.count;
        break;
    case DAXPIN_GUARD_REMOVE:
        guard.ranges -= (int)message->head.count;
        break;
    default:
        break;
    }
}

/* Receive and answer one message. Return 0 if the connection has ended. */
static int guard_serve(int sock)
{
    daxpin_guard_message_t message;
    char space[CMSG_SPACE(sizeof(int))];
    struct iovec iov     = {&message, sizeof(message)};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = space,
                            .msg_controllen = sizeof(space)};
    int fd;

    if (recvmsg(sock, &header, MSG_CMSG_CLOEXEC) <= 0) {
        ++guard.ended;
        unit_sleep_ms(guard.mode == GUARD_STAYS);
        return guard.mode == GUARD_STAYS;
    }
    fd = guard_take_fd(&header);
    guard_count(&message, fd);
    if (fd >= 0) {
        close(fd);
    }
    switch (guard.mode) {
    case GUARD_REFUSES:
        guard_answer(sock, EDQUOT);
        return 1;
    case GUARD_FULL:
        guard_answer_in(sock, DAXPIN_GUARD_OLDEST, EUSERS);
        return 0;
    case GUARD_NEWER:
        guard_answer_in(sock, DAXPIN_GUARD_VERSION + 1, EPROTONOSUPPORT);
        return 0;
    case GUARD_SENDS_GARBAGE:
        (void)send(sock, "wrong", 5, MSG_NOSIGNAL);
        return 1;
    case GUARD_DISCONNECTS:
        return 0;
    case GUARD_SILENT:
        return 1;
    default:
        guard_answer(sock, 0);
        return 1;
    }
}

static void *guard_run_daemon(void *arg)
{
    struct pollfd fds[2 + GUARD_CONNS] = {
        {.fd = guard.stop[0], .events = POLLIN},
        {.fd = guard.listen_fd, .events = POLLIN}
    };
    int count = 2, i;
    char how = 0;

    (void)arg;
    while (poll(fds, (guard.mode == GUARD_STOPPED) ? 1 : (nfds_t)count, -1) >
           0) {
        for (i = count - 1; i >= 2; --i) {
            if ((fds[i].revents != 0) && !guard_serve(fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--count];
                --guard.conns;
            }
        }
        if ((fds[1].revents != 0) && (count < 2 + GUARD_CONNS)) {
            fds[count].fd       = accept4(guard.listen_fd, NULL, NULL,
                                          SOCK_CLOEXEC);
            fds[count].revents  = 0;
            fds[count++].events = POLLIN;
            ++guard.conns;
            ++guard.opened;
        }
        if (fds[0].revents != 0) {
            (void)!read(guard.stop[0], &how, 1);
            break;
        }
    }
    for (i = 2; i < count; ++i) {
        if (how == 'e') {
            guard_answer(fds[i].fd, ESHUTDOWN);
        }
        close(fds[i].fd);
    }
    return NULL;
}

static void guard_start_daemon(guard_mode_t mode, uint32_t grace_ms)
{
    const char *path           = getenv("DAXPIN_GUARD_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    guard.mode     = mode;
    guard.grace_ms = grace_ms;
    guard.conns    = 0;
    guard.opened   = 0;
    guard.ended    = 0;
    guard.ranges   = 0;
    guard.unleased = 0;
    strcpy(address.sun_path, path);
    unlink(path);
    guard.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(guard.listen_fd, (struct sockaddr*)&address,
                          sizeof(address)), 0);
    /* SO_PEERCRED shows the user that called listen() */
    if (mode == GUARD_OTHER_USER) {
        assert_int_equal(syscall(SYS_setresuid, -1, UNIT_NOBODY, -1), 0);
    }
    assert_int_equal(listen(guard.listen_fd, 64), 0);
    if (mode == GUARD_OTHER_USER) {
        assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
    }
    assert_int_equal(pipe2(guard.stop, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&guard.thread, NULL, guard_run_daemon,
                                    NULL),
                     0);
}

/* End the daemon. how: "k" as if killed, "e" with a message to its clients */
static void guard_end_daemon(const char *how)
{
    assert_int_equal(write(guard.stop[1], how, 1), 1);
    pthread_join(guard.thread, NULL);
    close(guard.listen_fd);
    close(guard.stop[0]);
    close(guard.stop[1]);
    unlink(getenv("DAXPIN_GUARD_SOCKET"));
    guard.knows = 0;
}

/*
 * Tests
 */

static int guard_is_on(daxpin_file_t *file)
{
    return (daxpin_file_locks(file) & DAXPIN_LOCK_GUARD) != 0;
}

/* Check that a condition holds when the daemon has answered. A call does not wait
 * longer than a second for that. */
#define assert_soon(_condition) assert_true(unit_await(5000, _condition))

static daxpin_pin_t *guard_pin(daxpin_file_t *file, uint64_t offset,
                               size_t length)
{
    daxpin_pin_t *pin;

    assert_ok(daxpin_pin(file, offset, length, NULL, &pin));
    return pin;
}

/* Check that the guard is not in use, so that a writer ends the lease. */
static void guard_check_writer_revokes(daxpin_file_t *file, const char *path)
{
    child_t writer;

    assert_false(guard_is_on(file));
    intruder_start(&writer, "write", path, 0);
    assert_int_equal(intruder_result(&writer, CHILD_WAIT_MS), 0);
    assert_becomes(file, REVOKED);
    child_finish(&writer);
}

static void guard_check_no_guard(void)
{
    const char *path    = unit_path(unit_memory, "no-guard");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin   = guard_pin(file, 0, GUARD_PAGE);

    guard_check_writer_revokes(file, path);
    daxpin_unpin(pin);
    daxpin_file_close(file);
}

static void test_no_daemon(void **state)
{
    guard_check_no_guard();
}

static void test_daemon_of_other_user(void **state)
{
    if (geteuid() != 0) {
        skip();
    }
    guard_start_daemon(GUARD_OTHER_USER, 0);
    guard_check_no_guard();
    assert_int_equal(guard.ranges, 0);
    guard_end_daemon("k");
}

static void test_daemon_refuses(void **state)
{
    guard_start_daemon(GUARD_REFUSES, 0);
    guard_check_no_guard();
    guard_end_daemon("k");
    assert_contains(unit_log, "max-ranges");
    unit_log_clear();
}

static void test_daemon_sends_garbage(void **state)
{
    guard_start_daemon(GUARD_SENDS_GARBAGE, 0);
    guard_check_no_guard();
    guard_end_daemon("k");
}

/* A daemon of the first version of the protocol ends the connection after a first
 * message that it does not know. That once or twice is no reason for a message: the
 * daemon may have ended. */
static void test_daemon_disconnects(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_memory, "older"),
                                    UNIT_LENGTH);
    daxpin_pin_t *pin;

    guard_start_daemon(GUARD_DISCONNECTS, 0);
    guard_check_no_guard();
    pin = guard_pin(file, 0, GUARD_PAGE);
    assert_true(unit_await(10000, strstr(unit_log, "another release") != NULL));
    assert_true(guard.ended + guard.opened > 2);
    assert_contains(unit_log, "install both of one release");
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
    unit_log_clear();
    (void)state;
}

/* What a daemon of a later version answers is understood, in its version. */
static void test_daemon_is_newer(void **state)
{
    guard_start_daemon(GUARD_NEWER, 0);
    guard_check_no_guard();
    guard_end_daemon("k");
    assert_contains(unit_log, "install both of one release");
    unit_log_clear();
    (void)state;
}

static void test_daemon_is_full(void **state)
{
    guard_start_daemon(GUARD_FULL, 0);
    guard_check_no_guard();
    guard_end_daemon("k");
    assert_contains(unit_log, "max-clients");
    unit_log_clear();
    (void)state;
}

/* The library does not wait long for the daemon. */
static void test_daemon_is_silent(void **state)
{
    guard_start_daemon(GUARD_SILENT, 0);
    guard_check_no_guard();
    guard_end_daemon("k");
    assert_contains(unit_log, "does not answer");
    unit_log_clear();
}

/* The file of a job that has ended is not open any more, though a daemon that is
 * stopped has not received what the job has sent. */
static void test_daemon_is_stopped(void **state)
{
    const char *path    = unit_path(unit_memory, "stopped");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin;
    int fd;

    guard_start_daemon(GUARD_STOPPED, 0);
    pin = guard_pin(file, 0, GUARD_PAGE);
    assert_false(guard_is_on(file));
    daxpin_unpin(pin);
    daxpin_file_close(file);
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    close(fd);
    guard_end_daemon("k");
    assert_contains(unit_log, "does not answer");
    unit_log_clear();
}

/* The library does not rely on a daemon that has stopped to answer, though its
 * connections are there. */
static void test_daemon_falls_silent(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_memory, "falls"),
                                    UNIT_LENGTH);
    daxpin_pin_t *pin;

    guard_start_daemon(GUARD_FAIR, 20000);
    pin = guard_pin(file, 0, GUARD_PAGE);
    assert_soon(guard_is_on(file));
    unit_sleep_ms(1500); /* It is asked, and answers */
    assert_true(unit_await(10000, guard_is_on(file)));
    guard.mode = GUARD_SILENT;
    assert_true(unit_await(30000, !guard_is_on(file) &&
                           (strstr(unit_log, "does not answer") != NULL)));
    assert_false(guard_is_on(file));
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
    unit_log_clear();
}

static int guard_is_coming(daxpin_file_t *file)
{
    int is_coming;

    pthread_mutex_lock(&daxpin_mutex);
    is_coming = daxpin_guard_is_coming(file);
    pthread_mutex_unlock(&daxpin_mutex);
    return is_coming;
}

/* A daemon that takes the place of another, and does not answer, is not waited for
 * without end: whoever wants to write to the file waits meanwhile. */
static void test_daemon_comes_silent(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_memory, "comes"),
                                    UNIT_LENGTH);
    daxpin_pin_t *pin;

    guard_start_daemon(GUARD_FAIR, 0);
    pin = guard_pin(file, 0, GUARD_PAGE);
    assert_soon(guard_is_on(file));
    guard_end_daemon("k");
    assert_true(unit_await(5000, !guard_is_on(file)));
    guard_start_daemon(GUARD_SILENT, 0);
    assert_true(unit_await(10000, guard.opened > 0));
    assert_true(unit_await(10000, !guard_is_coming(file)));
    guard.mode = GUARD_FAIR;
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
    unit_log_clear();
    (void)state;
}

/* The pins of a file whose lease was given back stay guarded when another daemon
 * takes the place of the first. */
static void test_released(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_memory, "released"),
                                    UNIT_LENGTH);
    daxpin_pin_t *pin;

    guard_start_daemon(GUARD_FAIR, 60000);
    pin = guard_pin(file, 0, GUARD_PAGE);
    assert_ok(daxpin_lease_release(file));
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_RELEASED);
    guard_end_daemon("k");
    guard.knows = 1;
    guard_start_daemon(GUARD_FAIR, 60000);
    assert_true(unit_await(10000, guard.ranges == 1));
    assert_soon(guard_is_on(file));
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
    unit_log_clear();
    (void)state;
}

/* No thread waits with daxpin_mutex for a daemon that does not end guarding: at
 * the end of a file, and in a revoke. */
static void test_daemon_stays(void **state)
{
    const char *path = unit_path(unit_memory, "stays");
    daxpin_file_t *file;
    daxpin_pin_t *pin;
    int fd;

    guard_start_daemon(GUARD_STAYS, 0);
    mutex_sleeps = 0;
    file         = unit_open(path, UNIT_LENGTH);
    pin          = guard_pin(file, 0, GUARD_PAGE);
    assert_soon(guard_is_on(file));
    daxpin_unpin(pin);
    daxpin_file_close(file);
    assert_string_equal(intruder_lease(path), "");

    file = unit_open(path, UNIT_LENGTH);
    pin  = guard_pin(file, 0, GUARD_PAGE);
    fd   = member_number(&(member_t){.file = file});
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_becomes(file, REVOKED);
    assert_true(unit_await(10000, intruder_lease(path)[0] == '\0'));
    daxpin_unpin(pin);
    daxpin_file_close(file);
    assert_int_equal(mutex_sleeps, 0);
    guard_end_daemon("k");
    unit_log_clear();
    (void)state;
}

static void *guard_close_file(void *file)
{
    daxpin_file_close(file);
    return NULL;
}

/* While a thread that closes the file waits for the daemon, another one opens
 * and pins it: the first one leaves the new connection alone. */
static void test_pin_while_closing(void **state)
{
    const char *path    = unit_path(unit_memory, "closing");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin, *other;
    pthread_t closer;

    guard_start_daemon(GUARD_STAYS, 0);
    pin = guard_pin(file, 0, GUARD_PAGE);
    daxpin_unpin(pin);
    assert_int_equal(pthread_create(&closer, NULL, guard_close_file, file), 0);
    assert_true(unit_await(10000, guard.ended > 0));
    file = unit_open(path, UNIT_LENGTH);
    pin  = guard_pin(file, 0, GUARD_PAGE);
    assert_int_equal(pthread_join(closer, NULL), 0);
    other = guard_pin(file, GUARD_PAGE, GUARD_PAGE);
    assert_soon(guard_is_on(file));
    assert_int_equal(guard.opened, 2);
    daxpin_unpin(other);
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
    (void)state;
}

static void test_pins_are_guarded(void **state)
{
    const char *path    = unit_path(unit_memory, "pins");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *first, *second;

    guard_start_daemon(GUARD_FAIR, 0);
    assert_false(guard_is_on(file));
    first  = guard_pin(file, 0, GUARD_PAGE);
    second = guard_pin(file, GUARD_PAGE, 1);
    assert_soon(guard_is_on(file));
    assert_soon(guard.ranges == 2);
    assert_int_equal(guard.conns, 1);
    assert_int_equal(guard.unleased, 0);
    daxpin_unpin(first);
    assert_soon(guard.ranges == 1);
    assert_soon(guard_is_on(file));
    daxpin_unpin(second);
    assert_soon(guard.ranges == 0);
    assert_false(guard_is_on(file));
    daxpin_file_close(file);
    assert_true(unit_await(5000, guard.conns == 0));
    guard_end_daemon("k");
}

static void guard_check_writer_is_let_in(daxpin_file_t *file, const char *path)
{
    child_t writer;

    intruder_start(&writer, "write", path, 0);
    assert_int_equal(intruder_result(&writer, CHILD_WAIT_MS), 0);
    assert_becomes(file, LENT);
    child_finish(&writer);
    assert_becomes(file, HELD);
}

static void test_writer_is_let_in(void **state)
{
    const char *path    = unit_path(unit_memory, "writer");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin;

    guard_start_daemon(GUARD_FAIR, 0);
    pin = guard_pin(file, 0, GUARD_PAGE);
    guard_check_writer_is_let_in(file, path);
    guard_check_writer_is_let_in(file, path);
    daxpin_unpin(pin);
    guard_check_writer_revokes(file, path); /* no pin, so no guard */
    daxpin_file_close(file);
    guard_end_daemon("k");
}

/* A truncate behind all pins does not end the lease. */
static void test_truncate_behind_pins(void **state)
{
    const char *path    = unit_path(unit_memory, "behind");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin;

    guard_start_daemon(GUARD_FAIR, 0);
    pin = guard_pin(file, 0, GUARD_PAGE);
    intruder_run("truncate", path, GUARD_PAGE, CHILD_WAIT_MS);
    assert_becomes(file, HELD);
    assert_int_equal(daxpin_file_length(file), GUARD_PAGE);
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
}

/* If the daemon ends while a writer has the file open, the lease ends, because
 * nothing keeps the writer in check. */
static void guard_check_end_revokes(const char *how, uint32_t grace_ms)
{
    const char *path    = unit_path(unit_memory, "end");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char cause[1024];
    daxpin_pin_t *pin;
    child_t writer;

    guard_start_daemon(GUARD_FAIR, grace_ms);
    pin = guard_pin(file, 0, GUARD_PAGE);
    intruder_start(&writer, "write", path, 0);
    assert_int_equal(intruder_result(&writer, CHILD_WAIT_MS), 0);
    assert_becomes(file, LENT);
    guard_end_daemon(how);
    assert_becomes(file, REVOKED);
    daxpin_file_cause(file, cause, sizeof(cause));
    assert_contains(cause, "daxpin-guardd");
    child_finish(&writer);
    daxpin_unpin(pin);
    daxpin_file_close(file);
}

static void test_daemon_dies_without_grace(void **state)
{
    guard_check_end_revokes("k", 0);
}

static void test_daemon_dies_with_grace(void **state)
{
    guard_check_end_revokes("k", 1000);
}

static void test_daemon_shuts_down(void **state)
{
    guard_check_end_revokes("e", 100000);
}

/* End the daemon and start a new one while a writer has the file open. If the
 * new daemon does not know the pins, the lease ends. */
static void guard_check_restart(int knows)
{
    const char *path    = unit_path(unit_memory, "restart");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin, *other;
    child_t writer;

    guard_start_daemon(GUARD_FAIR, 60000);
    pin = guard_pin(file, 0, GUARD_PAGE);
    intruder_start(&writer, "write", path, 0);
    assert_int_equal(intruder_result(&writer, CHILD_WAIT_MS), 0);
    assert_becomes(file, LENT);
    guard_end_daemon("k");
    unit_sleep_ms(300);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_LENT);
    guard.knows = knows;
    guard_start_daemon(GUARD_FAIR, 60000);
    if (!knows) {
        assert_becomes(file, REVOKED);
        child_finish(&writer);
        goto out;
    }
    other = guard_pin(file, GUARD_PAGE, GUARD_PAGE);
    assert_true(unit_await(10000, guard.ranges == 2));
    assert_true(unit_await(10000, guard_is_on(file)));
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_LENT);
    child_finish(&writer);
    assert_becomes(file, HELD);
    guard_check_writer_is_let_in(file, path);
    daxpin_unpin(other);
out:
    daxpin_unpin(pin);
    daxpin_file_close(file);
    guard_end_daemon("k");
}

static void test_daemon_restarts(void **state)
{
    guard_check_restart(1);
}

/* The new daemon does not know the pins: for some time nothing guarded them. */
static void test_daemon_restarts_too_late(void **state)
{
    guard_check_restart(0);
}

/* A daemon that starts late receives all pins, and so does the next one. */
static void test_many_pins(void **state)
{
    static daxpin_pin_t *pins[GUARD_MANY];
    const char *path    = unit_path(unit_memory, "many");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    int i;

    for (i = 0; i < GUARD_MANY; ++i) {
        pins[i] = guard_pin(file, (uint64_t)i * 64, 32);
    }
    guard_start_daemon(GUARD_FAIR, 60000);
    assert_true(unit_await(15000, guard.ranges == GUARD_MANY));
    assert_true(unit_await(5000, guard_is_on(file)));
    guard_end_daemon("k");
    guard_start_daemon(GUARD_FAIR, 60000);
    assert_true(unit_await(15000, guard.ranges == GUARD_MANY));
    for (i = 0; i < GUARD_MANY; ++i) {
        daxpin_unpin(pins[i]);
    }
    assert_soon(guard.ranges == 0);
    daxpin_file_close(file);
    guard_end_daemon("k");
}

/* A child of fork() does not keep its parent's connection to the daemon. */
static void test_fork(void **state)
{
    const char *path    = unit_path(unit_memory, "fork");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_pin_t *pin;
    pid_t pid;

    guard_start_daemon(GUARD_FAIR, 0);
    pin = guard_pin(file, 0, GUARD_PAGE);
    assert_soon(guard_is_on(file));
    pid = fork();
    if (pid == 0) {
        unit_sleep_ms(60000);
        _exit(0);
    }
    assert_int_equal(guard.conns, 1);
    daxpin_unpin(pin);
    daxpin_file_close(file);
    assert_true(unit_await(10000, guard.conns == 0));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    guard_end_daemon("k");
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_no_daemon),
        unit_case(test_daemon_of_other_user),
        unit_case(test_daemon_refuses),
        unit_case(test_daemon_sends_garbage),
        unit_case(test_daemon_disconnects),
        unit_case(test_daemon_is_newer),
        unit_case(test_daemon_is_full),
        unit_case(test_daemon_is_silent),
        unit_case(test_daemon_is_stopped),
        unit_case(test_daemon_falls_silent),
        unit_case(test_daemon_comes_silent),
        unit_case(test_released),
        unit_case(test_daemon_stays),
        unit_case(test_pin_while_closing),
        unit_case(test_pins_are_guarded),
        unit_case(test_writer_is_let_in),
        unit_case(test_truncate_behind_pins),
        unit_case(test_daemon_dies_without_grace),
        unit_case(test_daemon_dies_with_grace),
        unit_case(test_daemon_shuts_down),
        unit_case(test_daemon_restarts),
        unit_case(test_daemon_restarts_too_late),
        unit_case(test_many_pins),
        unit_case(test_fork)
    };
    char path[64];

    snprintf(path, sizeof(path), "/tmp/daxpin-test-guard.%d", (int)getpid());
    setenv("DAXPIN_GUARD_SOCKET", path, 1);
    return unit_main("guard", argc, argv, children, tests);
}
