/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The guard daemon's way with descriptors of strangers, without its programs in
 * the kernel. A pipe shows when what was passed has been closed. */

#include "child.h"

#include "guardd/log.c"
#include "guardd/loop.c"
#include "guardd/user.c"
#include "guardd/stranger.c"

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

/* Have a child look at what was sent, and wait for its answer. */
static void examine(int sock)
{
    guard_user_t *user  = guard_user_enter(getuid());
    const long deadline = guard_now_ms() + CHILD_WAIT_MS;

    is_found = 0;
    assert_int_equal(guard_stranger_examine(sock, user, note_proof, &found), 0);
    guard_user_leave(user);
    while (!is_found && (guard_now_ms() < deadline)) {
        guard_stranger_tick();
        guard_loop_wait(10, NULL);
    }
    assert_true(is_found);
}

/* Whoever has the answer can end the lease by closing the file: no child has it
 * any more. */
static void test_examine_lease(void **state)
{
    const char *path = unit_path(unit_disk, "leased");
    int ends[2], fd, i;

    unit_make_file(path, 4096, 'x');
    for (i = 0; i < 200; ++i) {
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
        connect_pair(ends);
        pass(ends[1], fd);
        examine(ends[0]);
        assert_int_equal(found.error, 0);
        assert_true(found.has_lease);
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        assert_true(fd >= 0);
        close(fd);
        close(ends[1]);
        guard_stranger_close(ends[0]);
    }
    unlink(path);
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

int main(int argc, char **argv)
{
    const child_entry_t children[] = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_brings_unread),
                                       unit_case(test_close),
                                       unit_case(test_close_unread),
                                       unit_case(test_examine_lease),
                                       unit_case(test_signal_in_flood)};

    if (guard_loop_init() != 0) {
        return 1;
    }
    return unit_main("stranger", argc, argv, children, tests);
}
