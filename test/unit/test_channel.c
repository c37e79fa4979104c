/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Two processes have one connection, however many files they share */

#include "intruder.h"
#include "member.h"

#include "daxpin/file/channel.h"
#include "daxpin/file/join.h"
#include "daxpin/file/life.h"
#include "daxpin/file/share.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/rundir.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FILES  12
#define MANY   (DAXPIN_CHANNEL_CONNS + 3) /* so that there is a second one */
#define CLOSED 40 /* files, so that the close of all takes a while */
#define LENGTH 8192
#define FLOOD  1000 /* messages, more than a socket has room for */
#define OTHERS 120 /* messages, more than are read of one file at once */

static const char *channel_path(unsigned i)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof(path), "%.200s/channel.%u", unit_memory, i);
    return path;
}

/* Return how many sockets a process has. */
static int channel_count(pid_t pid)
{
    char path[64], link[320], target[64];
    struct dirent *entry;
    int count = 0;
    ssize_t length;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
        length = readlink(link, target, sizeof(target) - 1);
        count += (length > 7) && (memcmp(target, "socket:", 7) == 0);
    }
    closedir(dir);
    return count;
}

/*
 * A process that has files: channel_path(0) and so on
 */

static daxpin_file_t *channel_files[MANY];

static int channel_open(unsigned first, unsigned count)
{
    daxpin_params_t params = {.timeout_ms = 10000 * unit_slow()};
    unsigned i;
    int ret = 0;

    for (i = first; (ret == 0) && (i < first + count); ++i) {
        ret = daxpin_file_open(channel_path(i), LENGTH, &params,
                               &channel_files[i]);
    }
    return ret;
}

static void channel_close(unsigned i)
{
    daxpin_file_close(channel_files[i]);
    channel_files[i] = NULL;
}

static void channel_close_all(void)
{
    unsigned i;

    for (i = 0; i < MANY; ++i) {
        channel_close(i);
    }
}

/* Return how many members the holder of a file has. */
static int channel_members(unsigned i)
{
    const daxpin_conn_t *conn;
    int count = 0;

    pthread_mutex_lock(&daxpin_mutex);
    LIST_FOREACH(conn, &channel_files[i]->share.conns, link) {
        ++count;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return count;
}

static long channel_do(member_t *me, const char *what, char *args)
{
    unsigned i = 0, count = 0;

    (void)me;
    (void)sscanf(args, "%u %u", &i, &count);
    if (strcmp(what, "open") == 0) {
        return channel_open(i, count);
    } else if (strcmp(what, "close") == 0) {
        channel_close(i);
        return 0;
    } else if (strcmp(what, "members") == 0) {
        return channel_members(i);
    } else if (strcmp(what, "hold") == 0) {
        pthread_mutex_lock(&daxpin_mutex);
        daxpin_share_send_hold(channel_files[i]);
        pthread_mutex_unlock(&daxpin_mutex);
        return 0;
    } else if (strcmp(what, "is") == 0) {
        return daxpin_file_state(channel_files[i]);
    }
    return -1;
}

/* The argument is the directory of the files. */
static int channel_child(int argc, char **argv)
{
    (void)argc;
    snprintf(unit_memory, sizeof(unit_memory), "%.60s", argv[1]);
    member_serve(channel_do);
    channel_close_all();
    return 0;
}

/* Start a process that holds files. */
static void channel_start(child_t *child, unsigned count)
{
    child_spawn(child, "files", unit_memory, NULL);
    assert_child_ok(child, "open 0 %u", count);
}

#define assert_members(_child, _i, _count) \
    assert_true(unit_await(5000, child_query(_child, "members %u", _i) == \
                                 (_count)))

#define assert_is(_i, _state) \
    assert_int_equal(daxpin_file_state(channel_files[_i]), \
                     DAXPIN_STATE_##_state)

/*
 * How many sockets there are
 */

/* The holder closes the fresh socket of a join after its answer. */
#define assert_sockets(_pid, _count) \
    assert_true(unit_await(5000, channel_count(_pid) == (_count)))

static void test_one_connection(void **state)
{
    int before, own;
    child_t child;
    unsigned i;

    channel_start(&child, FILES);
    before = channel_count(child.pid);
    own    = channel_count(getpid());
    assert_ok(channel_open(0, FILES));
    for (i = 0; i < FILES; ++i) {
        assert_int_equal(daxpin_file_is_holder(channel_files[i]), 0);
        assert_members(&child, i, 1);
    }
    assert_int_equal(channel_count(getpid()), own + 1);
    assert_sockets(child.pid, before + 1);
    channel_close_all();
    assert_int_equal(channel_count(getpid()), own);
    assert_sockets(child.pid, before);
    child_finish(&child);
    (void)state;
}

/* Each process holds files of the other. */
static void test_both_directions(void **state)
{
    int before, own;
    child_t child;

    channel_start(&child, FILES);
    assert_ok(channel_open(FILES, FILES));
    before = channel_count(child.pid);
    own    = channel_count(getpid());
    assert_ok(channel_open(0, FILES));
    assert_child_ok(&child, "open %u %u", FILES, FILES);
    assert_sockets(getpid(), own + 2);
    assert_sockets(child.pid, before + 2);
    assert_int_equal(channel_members(FILES), 1);
    child_finish(&child);
    assert_true(unit_await(5000, channel_members(FILES) == 0));
    channel_close_all();
    (void)state;
}

/* So many files that one socket may have no room for all of them */
static void test_many_files(void **state)
{
    child_t child;
    int before;

    channel_start(&child, MANY);
    before = channel_count(child.pid);
    assert_ok(channel_open(0, MANY));
    assert_sockets(child.pid, before + 2);
    intruder_run("truncate", channel_path(0), 0, 3000);
    intruder_run("truncate", channel_path(MANY - 1), 0, 3000);
    assert_true(unit_await(5000, daxpin_file_state(channel_files[0]) ==
                                 DAXPIN_STATE_REVOKED));
    assert_true(unit_await(5000, daxpin_file_state(channel_files[MANY - 1]) ==
                                 DAXPIN_STATE_REVOKED));
    assert_is(1, HELD);
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/*
 * A file ends, the others stay
 */

static void test_one_file_ends(void **state)
{
    child_t child;
    unsigned i;

    channel_start(&child, FILES);
    assert_ok(channel_open(0, FILES));
    /* The first one, which has brought the connection */
    intruder_run("truncate", channel_path(0), 0, 3000);
    assert_becomes(channel_files[0], REVOKED);
    assert_int_equal(child_query(&child, "is 0"), DAXPIN_STATE_REVOKED);
    assert_only_revokes();
    channel_close(1);
    assert_members(&child, 1, 0);
    channel_close(0);
    for (i = 2; i < FILES; ++i) {
        assert_is(i, HELD);
        assert_int_equal(child_query(&child, "members %u", i), 1);
    }
    /* Both are joined again, by the same connection */
    assert_child_ok(&child, "close 0");
    assert_child_ok(&child, "open 0 1");
    assert_ok(channel_open(0, 2));
    assert_members(&child, 0, 1);
    assert_members(&child, 1, 1);
    for (i = 0; i < FILES; ++i) {
        intruder_run("truncate", channel_path(i), 0, 3000);
        assert_becomes(channel_files[i], REVOKED);
    }
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/* The holder ends: this process and another one become the holders. Then there is
 * the door, and one connection for what each of them holds. */
static void test_holder_dies(void **state)
{
    child_t child, other;
    unsigned i;
    int before;

    before = channel_count(getpid());
    channel_start(&child, FILES);
    assert_ok(channel_open(0, FILES));
    channel_start(&other, FILES);
    child_kill(&child);
    for (i = 0; i < FILES; ++i) {
        assert_true(unit_await(10000,
                               (daxpin_file_is_holder(channel_files[i]) ||
                                (channel_files[i]->holder_pid == other.pid))));
        assert_becomes(channel_files[i], HELD);
    }
    assert_true(unit_await(5000, channel_count(getpid()) <= before + 3));
    for (i = 0; i < FILES; ++i) {
        intruder_run("truncate", channel_path(i), 0, 5000);
        assert_becomes(channel_files[i], REVOKED);
    }
    channel_close_all();
    child_finish(&other);
    (void)state;
}

/* The child of a fork closes the connection without a word: the parent goes on. */
static void test_fork(void **state)
{
    child_t child;
    int status;
    unsigned i;
    pid_t pid;

    channel_start(&child, FILES);
    assert_ok(channel_open(0, FILES));
    pid = fork();
    if (pid == 0) {
        channel_close_all();
        _exit(channel_open(0, 1) != 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (i = 0; i < FILES; ++i) {
        assert_is(i, HELD);
        assert_members(&child, i, 1);
    }
    intruder_run("truncate", channel_path(1), 0, 3000);
    assert_becomes(channel_files[1], REVOKED);
    assert_only_revokes();
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/* The loop of a process that exits destroys the files that other processes leave
 * at that moment. libpmem2 has ended by then. */
static void test_exit_meets_close(void **state)
{
    const unsigned rounds = pace_rounds(40, 20);
    unsigned round, i;
    child_t child;

    for (round = 0; round < rounds; ++round) {
        channel_start(&child, CLOSED);
        assert_ok(channel_open(0, CLOSED));
        for (i = 0; i < CLOSED; ++i) {
            child_send(&child, "close %u", i);
        }
        for (i = 0; i < CLOSED; ++i) {
            assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
        }
        child_send(&child, "exit");
        usleep(round % 20 * 100); /* this, and what exit() takes, differ */
        channel_close_all();
        close(child.out);
        assert_int_equal(child_reap(&child, CHILD_WAIT_MS), 0);
    }
    (void)state;
}

/*
 * Between HELLO and the use of the answer
 */

/* Ask the holder of a file, and wait until it has answered. */
static void channel_ask(unsigned i, struct stat *st, daxpin_key_t *key,
                        daxpin_welcome_t *welcome)
{
    struct pollfd pollfd = {.events = POLLIN};
    int ret;

    assert_int_equal(stat(channel_path(i), st), 0);
    memset(key, 0, sizeof(*key));
    key->dev = st->st_dev;
    key->ino = st->st_ino;
    assert_int_equal(daxpin_join_connect(channel_path(i), key, 0, welcome), 0);
    pthread_mutex_lock(&daxpin_mutex);
    ret = daxpin_join_ask(channel_path(i), key, 0, welcome);
    pthread_mutex_unlock(&daxpin_mutex);
    assert_int_equal(ret, 0);
    pollfd.fd = welcome->sock;
    assert_int_equal(poll(&pollfd, 1, 5000 * (int)unit_slow()), 1);
}

/* Return what has come for a file that is not joined yet. */
static unsigned channel_notes(const daxpin_welcome_t *welcome)
{
    unsigned notes;

    pthread_mutex_lock(&daxpin_mutex);
    notes = welcome->conn->notes;
    pthread_mutex_unlock(&daxpin_mutex);
    return notes;
}

/* Use the answer. */
static void channel_join(unsigned i, const struct stat *st,
                         const daxpin_key_t *key, daxpin_welcome_t *welcome)
{
    assert_int_equal(daxpin_join_receive(channel_path(i), key, welcome), 0);
    assert_int_equal(welcome->sock, -1); /* There is a connection already */
    assert_ok(daxpin_file_create_member(channel_path(i), st, welcome, 1,
                                        &channel_files[i]));
}

/* BREAK comes by the connection before the thread that joins has read its
 * WELCOME. */
static void test_break_while_joining(void **state)
{
    daxpin_welcome_t welcome;
    child_t child, intruder;
    daxpin_key_t key;
    struct stat st;

    channel_start(&child, 2);
    assert_ok(channel_open(0, 1));
    channel_ask(1, &st, &key, &welcome);
    intruder_start(&intruder, "truncate", channel_path(1), 0);
    assert_true(unit_await(5000, channel_notes(&welcome) &
                                 DAXPIN_NOTE_BREAK));
    channel_join(1, &st, &key, &welcome);
    assert_becomes(channel_files[1], REVOKED);
    assert_int_equal(intruder_result(&intruder, 5000), 0);
    child_finish(&intruder);
    assert_is(0, HELD);
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/* A thread that gives up leaves nothing behind. */
static void test_gives_up(void **state)
{
    daxpin_welcome_t welcome;
    daxpin_key_t key;
    struct stat st;
    child_t child;
    int own;

    channel_start(&child, 2);
    assert_ok(channel_open(0, 1));
    own = unit_count_fds();
    channel_ask(1, &st, &key, &welcome);
    assert_members(&child, 1, 1);
    daxpin_welcome_discard(&welcome);
    assert_members(&child, 1, 0);
    assert_int_equal(unit_count_fds(), own);
    assert_is(0, HELD);
    assert_members(&child, 0, 1);
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/* The holder has a member that does not know of it. */
static void test_left_without_leave(void **state)
{
    daxpin_welcome_t welcome;
    daxpin_key_t key;
    struct stat st;
    child_t child;

    channel_start(&child, 2);
    assert_ok(channel_open(0, 1));
    channel_ask(1, &st, &key, &welcome);
    assert_members(&child, 1, 1);
    daxpin_welcome_close(&welcome);
    pthread_mutex_lock(&daxpin_mutex);
    daxpin_conn_withdraw(welcome.conn);
    pthread_mutex_unlock(&daxpin_mutex);
    free(welcome.conn);
    assert_child_ok(&child, "hold 1");
    assert_members(&child, 1, 0);
    assert_int_equal(child_query(&child, "members 0"), 1);
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/* The holder ends, or closes the file that has brought the connection. */
static void test_holder_ends_while_joining(void **state)
{
    daxpin_welcome_t welcome;
    daxpin_key_t key;
    struct stat st;
    child_t child;

    channel_start(&child, 2);
    assert_ok(channel_open(0, 1));
    channel_ask(1, &st, &key, &welcome);
    child_kill(&child);
    assert_true(unit_await(5000, channel_notes(&welcome) & DAXPIN_NOTE_GONE));
    channel_join(1, &st, &key, &welcome);
    assert_true(unit_await(10000, daxpin_file_is_holder(channel_files[0])));
    assert_true(unit_await(10000, daxpin_file_is_holder(channel_files[1])));
    assert_becomes(channel_files[0], HELD);
    assert_becomes(channel_files[1], HELD);
    channel_close_all();
    (void)state;
}

static void test_first_file_ends_while_joining(void **state)
{
    daxpin_welcome_t welcome;
    daxpin_key_t key;
    struct stat st;
    child_t child;

    channel_start(&child, 2);
    assert_ok(channel_open(0, 1));
    channel_ask(1, &st, &key, &welcome);
    channel_close(0);
    assert_members(&child, 0, 0);
    channel_join(1, &st, &key, &welcome);
    assert_members(&child, 1, 1);
    intruder_run("truncate", channel_path(1), 0, 3000);
    assert_becomes(channel_files[1], REVOKED);
    channel_close_all();
    child_finish(&child);
    (void)state;
}

/*
 * A member that is not this library
 */

static int channel_connect(unsigned i)
{
    struct timeval limit = {.tv_sec = 6 * unit_slow()};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char dir[DAXPIN_RUNDIR_MAX] = "";
    struct stat st = {0};
    int fd;

    (void)stat(channel_path(i), &st);
    close(daxpin_rundir_open(dir));
    snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/%lx-%lx", dir,
             st.st_dev, st.st_ino);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr*)&address, sizeof(address)),
                     0);
    return fd;
}

static void channel_say(int fd, unsigned i, daxpin_message_type_t type,
                        uint64_t token, uint64_t channel)
{
    struct stat st   = {0};
    daxpin_key_t key = {0};
    daxpin_message_t message;

    (void)stat(channel_path(i), &st);
    key.dev = st.st_dev;
    key.ino = st.st_ino;
    daxpin_message_init(&message, type, &key);
    message.token   = token;
    message.channel = channel;
    assert_int_equal(send(fd, &message, sizeof(message), MSG_NOSIGNAL),
                     sizeof(message));
}

/* Receive a message of a type and token, after others. Return how many; -1: the
 * connection has ended. */
static int channel_await(int fd, uint32_t type, uint64_t token)
{
    daxpin_message_t message;
    int count = 0;

    for (;;) {
        if (recv(fd, &message, sizeof(message), 0) != sizeof(message)) {
            return -1;
        }
        if ((message.type == type) && (message.token == token)) {
            return count;
        }
        ++count;
    }
}

/* Join a file. Return the socket; *channel_p is the one that the holder uses. */
static int channel_hello(unsigned i, uint64_t token, uint64_t channel,
                         uint64_t *channel_p)
{
    daxpin_message_t answer = {0};
    int fd                  = channel_connect(i);

    channel_say(fd, i, DAXPIN_MESSAGE_HELLO, token, channel);
    if (recv(fd, &answer, sizeof(answer), 0) == sizeof(answer)) {
        assert_int_equal(answer.type, DAXPIN_MESSAGE_WELCOME);
        assert_true(answer.token == token);
    }
    *channel_p = answer.channel;
    return fd;
}

static int channel_is_closed(int fd)
{
    char byte;
    ssize_t ret = recv(fd, &byte, 1, 0);

    return (ret == 0) || ((ret < 0) && (errno == ECONNRESET));
}

/* Join so many files by one connection, with the tokens 101 and so on. */
static int channel_pretend(unsigned count)
{
    uint64_t channel;
    int first, fd;
    unsigned i;

    first = channel_hello(0, 101, 0, &channel);
    assert_true(channel == 0);
    for (i = 1; i < count; ++i) {
        fd = channel_hello(i, 101 + i, 101, &channel);
        assert_true(channel == 101);
        assert_true(channel_is_closed(fd));
        close(fd);
    }
    return first;
}

/* Wrong tokens end at most the connection of the process that sends them. */
static void test_wrong_tokens(void **state)
{
    uint64_t channel;
    child_t member;
    int fd, other;

    assert_ok(channel_open(0, 3));
    fd = channel_pretend(2);
    child_spawn(&member, "files", unit_memory, NULL);
    assert_child_ok(&member, "open 0 2");
    assert_int_equal(channel_members(0), 2);
    assert_int_equal(channel_members(1), 2);

    /* Unknown */
    channel_say(fd, 0, DAXPIN_MESSAGE_ACK, 999, 0);
    channel_say(fd, 0, DAXPIN_MESSAGE_LEAVE, 999, 0);
    channel_say(fd, 0, DAXPIN_MESSAGE_LEAVE, 0, 0);
    /* Used already */
    other = channel_hello(2, 102, 101, &channel);
    assert_true(channel == 0);
    assert_true(channel_is_closed(other));
    close(other);
    assert_int_equal(channel_members(2), 0);
    /* A channel that does not exist */
    other = channel_hello(2, 103, 999, &channel);
    assert_true(channel == 0);
    assert_true(unit_await(5000, channel_members(2) == 1));
    close(other);
    assert_true(unit_await(5000, channel_members(2) == 0));
    /* Left, twice */
    channel_say(fd, 1, DAXPIN_MESSAGE_LEAVE, 102, 0);
    channel_say(fd, 1, DAXPIN_MESSAGE_LEAVE, 102, 0);
    channel_say(fd, 1, DAXPIN_MESSAGE_EXPOSE, 102, 0);
    assert_true(unit_await(5000, channel_members(1) == 1));
    assert_int_equal(channel_members(0), 2);
    /* No message of a member */
    channel_say(fd, 0, DAXPIN_MESSAGE_BREAK, 999, 0);
    assert_true(channel_is_closed(fd));
    close(fd);
    assert_true(unit_await(5000, channel_members(0) == 1));
    assert_int_equal(channel_members(1), 1);
    assert_int_equal(child_query(&member, "is 0"), DAXPIN_STATE_HELD);
    intruder_run("truncate", channel_path(0), 0, 3000);
    intruder_run("truncate", channel_path(1), 0, 3000);
    assert_only_revokes();
    channel_close_all();
    child_finish(&member);
    (void)state;
}

/* Name the channel of the parent. The argument is the directory. Report what the holder uses. */
static int channel_foreign_child(int argc, char **argv)
{
    uint64_t channel;

    (void)argc;
    snprintf(unit_memory, sizeof(unit_memory), "%.60s", argv[1]);
    channel_hello(1, 500, 101, &channel);
    child_report((long)channel, "channel");
    child_wait();
    return 0;
}

/* Another process cannot have its messages go to a channel. */
static void test_foreign_channel(void **state)
{
    child_t child;
    int fd;

    assert_ok(channel_open(0, 2));
    fd = channel_pretend(1);
    child_spawn(&child, "foreign", unit_memory, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 0);
    assert_true(unit_await(5000, channel_members(1) == 1));
    channel_say(fd, 1, DAXPIN_MESSAGE_LEAVE, 500, 0); /* of the other one */
    channel_say(fd, 0, DAXPIN_MESSAGE_LEAVE, 101, 0);
    assert_true(channel_is_closed(fd));
    close(fd);
    assert_int_equal(channel_members(1), 1);
    child_finish(&child);
    assert_true(unit_await(5000, channel_members(1) == 0));
    channel_close_all();
    (void)state;
}

/* A member that does not read gets what each file needs to say when it goes on,
 * and keeps no file from others. */
static void test_full_socket(void **state)
{
    int fd, i;

    assert_ok(channel_open(0, 3));
    fd = channel_pretend(3);
    pthread_mutex_lock(&daxpin_mutex);
    for (i = 0; i < FLOOD; ++i) {
        daxpin_share_send_hold(channel_files[0]);
    }
    daxpin_share_send_break(channel_files[1]);
    daxpin_share_send_break(channel_files[2]);
    daxpin_share_close(channel_files[2]); /* BREAK is void now */
    pthread_mutex_unlock(&daxpin_mutex);
    i = channel_await(fd, DAXPIN_MESSAGE_BREAK, 102);
    assert_in_range(i, 1, FLOOD - 1);
    assert_true(channel_await(fd, DAXPIN_MESSAGE_LEAVE, 103) >= 0);
    /* It goes on */
    channel_say(fd, 0, DAXPIN_MESSAGE_LEAVE, 101, 0);
    assert_true(unit_await(5000, channel_members(0) == 0));
    assert_int_equal(channel_members(1), 1);
    close(fd);
    channel_close_all();
    (void)state;
}

/* Before the holder judges a change of a file, it reads what a member has sent of
 * it, also behind what that process has sent of other files. */
static void test_reads_behind_other_files(void **state)
{
    int fd, i, before, grew;

    assert_ok(channel_open(0, 2));
    fd = channel_pretend(2);
    pthread_mutex_lock(&daxpin_mutex);
    (void)daxpin_share_take_grew(channel_files[1]);
    before = daxpin_share_take_grew(channel_files[1]);
    for (i = 0; i < OTHERS; ++i) {
        channel_say(fd, 0, DAXPIN_MESSAGE_EXPOSE, 101, 0);
    }
    channel_say(fd, 1, DAXPIN_MESSAGE_GROW, 102, 0);
    grew = daxpin_share_take_grew(channel_files[1]);
    pthread_mutex_unlock(&daxpin_mutex);
    assert_int_equal(before, 0);
    assert_int_equal(grew, 1);
    close(fd);
    assert_true(unit_await(5000, channel_members(0) == 0));
    channel_close_all();
    (void)state;
}

/* BREAK and the answer go by the connection, and the end of the revoke is LEAVE.
 */
static void test_break_by_token(void **state)
{
    child_t intruder;
    int fd;

    assert_ok(channel_open(0, 3));
    fd = channel_pretend(3);
    intruder_start(&intruder, "truncate", channel_path(1), 0);
    assert_int_equal(channel_await(fd, DAXPIN_MESSAGE_BREAK, 102), 0);
    /* Of another file: the revoke still waits */
    channel_say(fd, 2, DAXPIN_MESSAGE_ACK, 103, 0);
    assert_blocked(&intruder, 100);
    channel_say(fd, 1, DAXPIN_MESSAGE_ACK, 102, 0);
    assert_int_equal(intruder_result(&intruder, 3000), 0);
    assert_int_equal(channel_await(fd, DAXPIN_MESSAGE_LEAVE, 102), 0);
    assert_is(0, HELD);
    assert_one_revoke();
    child_finish(&intruder);
    /* A member that leaves while BREAK is under way has answered */
    intruder_start(&intruder, "truncate", channel_path(0), 0);
    assert_int_equal(channel_await(fd, DAXPIN_MESSAGE_BREAK, 101), 0);
    channel_say(fd, 0, DAXPIN_MESSAGE_LEAVE, 101, 0);
    assert_int_equal(intruder_result(&intruder, 3000), 0);
    child_finish(&intruder);
    channel_say(fd, 2, DAXPIN_MESSAGE_LEAVE, 103, 0);
    assert_true(channel_is_closed(fd));
    close(fd);
    assert_only_revokes();
    channel_close_all();
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"files", channel_child},
        {"foreign", channel_foreign_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_one_connection),
        unit_case(test_both_directions),
        unit_case(test_many_files),
        unit_case(test_one_file_ends),
        unit_case(test_holder_dies),
        unit_case(test_fork),
        unit_case(test_exit_meets_close),
        unit_case(test_break_while_joining),
        unit_case(test_gives_up),
        unit_case(test_left_without_leave),
        unit_case(test_holder_ends_while_joining),
        unit_case(test_first_file_ends_while_joining),
        unit_case(test_wrong_tokens),
        unit_case(test_foreign_channel),
        unit_case(test_full_socket),
        unit_case(test_reads_behind_other_files),
        unit_case(test_break_by_token)
    };

    return unit_main("channel", argc, argv, children, tests);
}
