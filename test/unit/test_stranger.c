/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The guard daemon's way with descriptors of strangers, without its programs in
 * the kernel. A pipe shows when what was passed has been closed. */

#include "child.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* Where a child closes what is not its own, a test can stop it */
#define close_range stop_at_gate
static int stop_at_gate(unsigned first, unsigned last, int flags);
#include "guardd/log.c"
#include "guardd/loop.c"
#include "guardd/user.c"
#include "guardd/stranger.c"
#undef close_range

static int gate[2] = {-1, -1}; /* a byte in it lets a child pass */

static void close_gate(void)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    gate[0] = fcntl(ends[0], F_DUPFD_CLOEXEC, 100); /* A child uses 3 to 5 */
    gate[1] = fcntl(ends[1], F_DUPFD_CLOEXEC, 100);
    close(ends[0]);
    close(ends[1]);
}

static void open_gate(void)
{
    assert_int_equal(write(gate[1], "", 1), 1);
    close(gate[1]);
    close(gate[0]);
    gate[0] = -1;
}

static int stop_at_gate(unsigned first, unsigned last, int flags)
{
    struct pollfd way = {.fd = gate[0], .events = POLLIN};
    char byte;

    if ((gate[0] >= 0) && (poll(&way, 1, 2 * CHILD_WAIT_MS) == 1)) {
        (void)!read(gate[0], &byte, 1);
    }
    return close_range(first, last, flags);
}

/* Send a message with a descriptor, which only the message has afterwards. */
static void pass(int sock, int fd)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } ancillary          = {.space = {0}};
    char byte            = 'm';
    struct iovec iov     = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov        = &iov,
                            .msg_iovlen     = 1,
                            .msg_control    = &ancillary,
                            .msg_controllen = sizeof(ancillary)};

    ancillary.header.cmsg_level = SOL_SOCKET;
    ancillary.header.cmsg_type  = SCM_RIGHTS;
    ancillary.header.cmsg_len   = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof(int));
    assert_int_equal(sendmsg(sock, &header, 0), 1);
    close(fd);
}

/* Make a connection: ends[0] is the daemon's. */
static void connect_pair(int *ends)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
                                ends), 0);
}

/* Return whether the other end of a pipe is closed, within a time (ms). */
static int is_closed(int pipe_fd, int ms)
{
    struct pollfd end = {.fd = pipe_fd};

    return (poll(&end, 1, ms) == 1) && (end.revents & POLLHUP);
}

/* Make a connection with a descriptor in its queue, of which the client is gone.
 * Return the end of a pipe that shows when the descriptor is closed.
 * is_unread: the client has not read all answers */
static int leave_message(int *sock_p, int is_unread)
{
    int ends[2], pipe_ends[2];

    connect_pair(ends);
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    if (is_unread) {
        assert_int_equal(send(ends[0], "a", 1, 0), 1);
    }
    pass(ends[1], pipe_ends[1]);
    close(ends[1]);
    *sock_p = ends[0];
    return pipe_ends[0];
}

/* The kernel tells of answers that were not read, and then of the message. */
static void test_brings_unread(void **state)
{
    int sock, pipe_fd = leave_message(&sock, 1);

    assert_true(guard_stranger_brings(sock));
    assert_true(guard_stranger_brings(sock));
    close(sock);
    close(pipe_fd);
    (void)state;
}

/* The daemon itself closes nothing of what was passed, it leaves it to a
 * child. */
static void check_close(int is_unread)
{
    int sock, pipe_fd = leave_message(&sock, is_unread);

    guard_stranger_close(sock);
    assert_false(is_closed(pipe_fd, 0));
    guard_stranger_tick();
    assert_true(is_closed(pipe_fd, CHILD_WAIT_MS));
    close(pipe_fd);
}

static void test_close(void **state)
{
    check_close(0);
    (void)state;
}

static void test_close_unread(void **state)
{
    check_close(1);
    (void)state;
}

/*
 * Children that receive a message
 */

static guard_proof_t found;
static int           is_found;

static void note_proof(void *arg, const guard_proof_t *proof, int path_fd)
{
    if (path_fd >= 0) {
        close(path_fd);
    }
    found    = *proof;
    is_found = 1;
    (void)arg;
}

/* Pass a file, and start a child that receives it. Return the client's end. */
static int examine(int *sock_p, int fd)
{
    guard_user_t *user = guard_user_enter(getuid());
    int ends[2];

    connect_pair(ends);
    pass(ends[1], fd);
    is_found = 0;
    assert_int_equal(guard_stranger_examine(ends[0], user, note_proof, &found),
                     0);
    guard_user_leave(user);
    guard_stranger_tick();
    *sock_p = ends[0];
    return ends[1];
}

static int examine_memory(int *sock_p)
{
    return examine(sock_p, memfd_create("file", MFD_CLOEXEC));
}

static void await_proof(void)
{
    const long deadline = guard_now_ms() + CHILD_WAIT_MS;

    while (!is_found && (guard_now_ms() < deadline)) {
        guard_loop_wait(100, NULL);
        guard_stranger_tick();
    }
    assert_true(is_found);
}

/* Whoever has the answer can end the lease by closing the file: no child has it
 * any more. */
static void test_examine_lease(void **state)
{
    const char *path = unit_path(unit_disk, "leased");
    int sock, client, fd, i;

    unit_make_file(path, 4096, 'x');
    for (i = 0; i < 200; ++i) {
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
        client = examine(&sock, fd);
        await_proof();
        assert_int_equal(found.error, 0);
        assert_true(found.has_lease);
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        assert_true(fd >= 0);
        close(fd);
        close(client);
        guard_stranger_close(sock);
    }
    unlink(path);
    (void)state;
}

static void test_examine(void **state)
{
    int sock, client = examine_memory(&sock);

    await_proof();
    assert_true((found.error == 0) || (found.error == EAGAIN));
    close(client);
    guard_stranger_close(sock);
    (void)state;
}

/* Return whether a child has ended, within a time (ms). */
static int has_ended(pid_t pid, int ms)
{
    siginfo_t info = {.si_pid = 0};

    for (; (ms > 0) && (info.si_pid == 0); ms -= 10) {
        usleep(10000);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info,
                                WEXITED | WNOHANG | WNOWAIT), 0);
    }
    return info.si_pid != 0;
}

/* A child that was started before is late to close what is not its own. It must
 * not be the last one to close another client's socket. */
static void test_close_last(void **state)
{
    int sock, client, stranger, pipe_fd = leave_message(&stranger, 0);
    pid_t closer;

    close_gate();
    client = examine_memory(&sock);
    guard_stranger_close(stranger);
    guard_stranger_tick();
    closer = guard_closers[0];
    assert_true(closer > 0);
    assert_false(has_ended(closer, 300));
    open_gate();
    assert_true(has_ended(closer, CHILD_WAIT_MS));
    assert_true(is_closed(pipe_fd, CHILD_WAIT_MS));
    await_proof();
    close(client);
    guard_stranger_close(sock);
    close(pipe_fd);
    (void)state;
}

/* A daemon that ends leaves no child behind. */
static void test_death(void **state)
{
    int sock, ends[2];
    pid_t daemon;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close_gate();
    daemon = fork();
    if (daemon == 0) {
        (void)examine_memory(&sock);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    assert_true(is_closed(ends[0], CHILD_WAIT_MS));
    open_gate();
    close(ends[0]);
    (void)state;
}

/*
 * The loop
 */

static volatile sig_atomic_t is_stopped;

static void note_stop(int number)
{
    is_stopped = number;
}

static void ignore_event(void *arg)
{
    (void)arg;
}

/* A signal comes in though there is always something to read. */
static void test_signal_in_flood(void **state)
{
    const struct sigaction stop = {.sa_handler = note_stop};
    guard_event_t event         = {.ready = ignore_event};
    struct sigaction former;
    sigset_t stops, mask;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    assert_int_equal(guard_loop_add(ends[0], &event), 0);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    assert_int_equal(sigaction(SIGTERM, &stop, &former), 0);
    assert_int_equal(sigprocmask(SIG_BLOCK, &stops, &mask), 0);
    is_stopped = 0;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(is_stopped, 0);
    guard_loop_wait(1000, &mask);
    assert_int_equal(is_stopped, SIGTERM);
    assert_int_equal(sigprocmask(SIG_SETMASK, &mask, NULL), 0);
    assert_int_equal(sigaction(SIGTERM, &former, NULL), 0);
    guard_loop_remove(ends[0]);
    close(ends[0]);
    close(ends[1]);
    (void)state;
}

/*
 * Signals
 */

/* Make a socket of which the last close() waits for an hour. Return the one that
 * would have to read from it. */
static int make_lingering(int *sock_p)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 3600};
    struct sockaddr_in address = {.sin_family      = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length           = sizeof(address);
    static char block[65536];
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    int other;

    *sock_p = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr*)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr*)&address, &length),
                     0);
    assert_int_equal(connect(*sock_p, (struct sockaddr*)&address, length), 0);
    other = accept(listener, NULL, NULL);
    assert_true(other >= 0);
    while (send(*sock_p, block, sizeof(block), MSG_DONTWAIT) > 0) {
    }
    assert_int_equal(setsockopt(*sock_p, SOL_SOCKET, SO_LINGER, &linger,
                                sizeof(linger)), 0);
    close(listener);
    return other;
}

/* Do this in a process of its own, with these signals ignored and blocked by its
 * parent. Return its status, or -1 if it takes too long. */
static int run_daemon(void (*func)(void))
{
    int status    = -1;
    pid_t daemon  = fork();
    sigset_t all;

    if (daemon == 0) {
        signal(SIGCHLD, SIG_IGN);
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        func();
        _exit(0);
    }
    if (!has_ended(daemon, CHILD_WAIT_MS)) {
        kill(daemon, SIGKILL);
        waitpid(daemon, NULL, 0);
        return -1;
    }
    assert_int_equal(waitpid(daemon, &status, 0), daemon);
    return status;
}

static void close_lingering(void)
{
    int sock, other = make_lingering(&sock);

    if (guard_stranger_init() != 0) {
        _exit(1);
    }
    close(sock);
    close(other);
}

/* What the daemon has to close after all does not stop it. */
static void test_lingering(void **state)
{
    assert_int_equal(run_daemon(close_lingering), 0);
    (void)state;
}

static void reap_children(void)
{
    int sock;

    if (guard_stranger_init() != 0) {
        _exit(1);
    }
    (void)examine_memory(&sock);
    while (!is_found || (guard_children > 0)) {
        guard_loop_wait(100, NULL);
        guard_stranger_tick();
    }
}

/* A parent that ignores SIGCHLD costs the daemon no places for children. */
static void test_reap(void **state)
{
    assert_int_equal(run_daemon(reap_children), 0);
    (void)state;
}

/* A user who reaches the limit again and again does not fill the log. */
static void test_log_at_limit(void **state)
{
    const guard_limits_t limits = guard_limits;
    const int log               = memfd_create("log", MFD_CLOEXEC);
    const int others            = dup(STDERR_FILENO);
    guard_user_t *first, *second;
    char lines[4096] = "";
    int i;

    guard_limits.clients = 2;
    assert_int_equal(dup2(log, STDERR_FILENO), STDERR_FILENO);
    first = guard_user_enter(1000);
    for (i = 0; i < 100; ++i) {
        second = guard_user_enter(1000);
        guard_user_leave(second);
    }
    guard_user_leave(first);
    assert_int_equal(dup2(others, STDERR_FILENO), STDERR_FILENO);
    close(others);
    guard_limits = limits;
    assert_true(pread(log, lines, sizeof(lines) - 1, 0) > 0);
    close(log);
    assert_contains(lines, "--max-clients");
    assert_ptr_equal(strchr(lines, '\n'), strrchr(lines, '\n'));
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_brings_unread),
                                       unit_case(test_close),
                                       unit_case(test_close_unread),
                                       unit_case(test_examine),
                                       unit_case(test_examine_lease),
                                       unit_case(test_close_last),
                                       unit_case(test_death),
                                       unit_case(test_signal_in_flood),
                                       unit_case(test_lingering),
                                       unit_case(test_reap),
                                       unit_case(test_log_at_limit)};

    if (guard_loop_init() != 0) {
        return 1;
    }
    return unit_main("stranger", argc, argv, children, tests);
}
