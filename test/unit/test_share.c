/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The socket of a holder: members, other users, wrong and many messages
 *
 *   DAXPIN_SHARE_CALLS  random messages; default: 100000
 *   DAXPIN_SHARE_SEED   repeats them
 */

#include "intruder.h"
#include "member.h"

#include "daxpin/file/share.h"
#include "daxpin/os/rundir.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define SHARE_MAGIC   0x6873786461ull
#define SHARE_VERSION 6u
#define SHARE_MESSAGES  10000 /* more than a socket has room for */
#define SHARE_SILENT    300 /* more than a holder keeps, which is 256 */
#define SHARE_MEMBERS   (UNIT_SANITIZED ? 16u : pace_rounds(64, 12))

enum {
    SHARE_HELLO,
    SHARE_JOIN,
    SHARE_WELCOME,
    SHARE_STALE,
    SHARE_EXPOSE,
    SHARE_BREAK,
    SHARE_ACK,
    SHARE_FAULT,
    SHARE_WAIVE,
    SHARE_HOLD,
    SHARE_GUARD,
    SHARE_GROW
};

/* A copy of the message in file/message.h, so that a change of the protocol
 * fails here */
typedef struct share_message {
    uint64_t magic;
    uint32_t version;
    uint32_t type;
    uint64_t dev;
    uint64_t ino;
    uint64_t generation;
    uint64_t token;
    uint64_t channel;
    uint64_t value;
} share_message_t;

/* Find the directory in which the processes of a user meet. Only root can find
 * that of another user. */
static void share_find_dir(uid_t uid, char *dir)
{
    const uid_t self = geteuid();
    int fd;

    /* Of this thread alone: the library's does not expect it */
    if ((uid != self) && (syscall(SYS_setresuid, -1, uid, -1) != 0)) {
        fprintf(stderr, "# cannot become user %u: %m\n", (unsigned)uid);
    }
    fd = daxpin_rundir_open(dir);
    if (fd >= 0) {
        close(fd);
    }
    if (uid != self) {
        (void)syscall(SYS_setresuid, -1, self, -1);
    }
}

static void share_address(const char *path, uid_t uid,
                          struct sockaddr_un *address)
{
    char dir[DAXPIN_RUNDIR_MAX] = "";
    struct stat st              = {0};

    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    (void)stat(path, &st);
    share_find_dir(uid, dir);
    snprintf(address->sun_path, sizeof(address->sun_path), "%.60s/%lx-%lx",
             dir, st.st_dev, st.st_ino);
}

static int share_connect_to(const struct sockaddr_un *address)
{
    struct timeval limit = {.tv_sec = 6};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr*)address, sizeof(*address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int share_connect(const char *path, uid_t uid)
{
    struct sockaddr_un address;

    share_address(path, uid, &address);
    return share_connect_to(&address);
}

static void share_fill(share_message_t *message, const char *path,
                       uint32_t type)
{
    struct stat st;

    memset(message, 0, sizeof(*message));
    (void)stat(path, &st);
    message->magic   = SHARE_MAGIC;
    message->version = SHARE_VERSION;
    message->type    = type;
    message->dev     = st.st_dev;
    message->ino     = st.st_ino;
}

/* Connect, send a message, and return the socket. */
static int share_send(const char *path, const void *message, size_t size)
{
    int fd = share_connect(path, geteuid());

    assert_true(fd >= 0);
    assert_true(send(fd, message, size, MSG_NOSIGNAL) == (ssize_t)size);
    return fd;
}

/* Return whether the holder closes the connection without an answer. */
static int share_is_dropped(int fd)
{
    share_message_t answer;
    ssize_t ret = recv(fd, &answer, sizeof(answer), 0);

    return (ret == 0) || ((ret < 0) && (errno == ECONNRESET));
}

/* Send a message, and check that the holder closes the connection. */
static void share_check_refused(const char *path, const void *message,
                                size_t size)
{
    int fd = share_send(path, message, size);

    assert_true(share_is_dropped(fd));
    close(fd);
}

/* Send a hello with a generation. Return the socket and the answer's type. */
static int share_hello(const char *path, uint64_t generation,
                           uint32_t *answer_type)
{
    share_message_t message, answer;
    int fd;

    share_fill(&message, path, SHARE_HELLO);
    message.generation = generation;
    fd                 = share_send(path, &message, sizeof(message));
    assert_int_equal(recv(fd, &answer, sizeof(answer), 0), sizeof(answer));
    *answer_type = answer.type;
    return fd;
}

/* Check that the lease is held and that a process can still join. */
static void share_check_alive(daxpin_file_t *file, const char *path)
{
    child_t member;

    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    member_start_open(&member, path);
    assert_int_equal(child_query(&member, "holder"), 0);
    child_finish(&member);
}

/*
 * Wrong messages
 */

static void test_random_bytes_of_all_sizes(void **state)
{
    const char *path    = unit_path(unit_disk, "garbage");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    unsigned char bytes[300];
    unsigned size, i;

    srand(3);
    for (size = 0; size < sizeof(bytes); ++size) {
        for (i = 0; i < size; ++i) {
            bytes[i] = (unsigned char)rand();
        }
        share_check_refused(path, bytes, size);
    }
    share_check_alive(file, path);
    daxpin_file_close(file);
    (void)state;
}

static void test_wrong_messages(void **state)
{
    const char *path    = unit_path(unit_disk, "wrong");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    share_message_t message;
    uint32_t type;

    share_fill(&message, path, SHARE_HELLO);
    ++message.version;
    share_check_refused(path, &message, sizeof(message));
    share_fill(&message, path, SHARE_HELLO);
    ++message.magic;
    share_check_refused(path, &message, sizeof(message));
    share_fill(&message, path, SHARE_HELLO);
    ++message.ino;
    share_check_refused(path, &message, sizeof(message));
    share_fill(&message, path, SHARE_HELLO);
    share_check_refused(path, &message, sizeof(message) - 1);
    for (type = SHARE_WELCOME; type < SHARE_FAULT + 5; ++type) {
        share_fill(&message, path, type);
        share_check_refused(path, &message, sizeof(message));
    }
    share_check_alive(file, path);
    daxpin_file_close(file);
    (void)state;
}

/* A process that sends a wrong message is no longer a member, and a revoke does
 * not wait for it. */
static void test_wrong_message_of_member(void **state)
{
    const char *path    = unit_path(unit_disk, "member");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    share_message_t message;
    uint32_t answer_type;
    int fd = share_hello(path, 0, &answer_type);

    assert_int_equal(answer_type, SHARE_WELCOME);
    share_fill(&message, path, SHARE_WELCOME);
    assert_int_equal(send(fd, &message, sizeof(message), 0), sizeof(message));
    assert_true(share_is_dropped(fd));
    close(fd);
    share_check_alive(file, path);
    intruder_run("truncate", path, 0, 1000);
    daxpin_file_close(file);
    (void)state;
}

static void test_stale_hello(void **state)
{
    const char *path    = unit_path(unit_disk, "stale");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    uint32_t answer_type;
    int fd = share_hello(path, 12345, &answer_type);

    assert_int_equal(answer_type, SHARE_STALE);
    assert_true(share_is_dropped(fd));
    close(fd);
    daxpin_file_close(file);
    (void)state;
}

/* Receive until BREAK comes. Return how many other messages came before; -1: it
 * does not come. */
static int share_await_break(int fd)
{
    share_message_t message = {0};
    int count;

    for (count = 0; message.type != SHARE_BREAK; ++count) {
        if (recv(fd, &message, sizeof(message), 0) != sizeof(message)) {
            return -1;
        }
    }
    return count - 1;
}

/* A member that is stopped does not read, until its socket has no room. It gets
 * what it needs to know when it goes on. */
static void test_full_socket(void **state)
{
    const char *path    = unit_path(unit_disk, "full");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    uint32_t answer_type;
    int fd = share_hello(path, 0, &answer_type), i, count;

    assert_int_equal(answer_type, SHARE_WELCOME);
    pthread_mutex_lock(&daxpin_mutex);
    for (i = 0; i < SHARE_MESSAGES; ++i) {
        daxpin_share_send_hold(file);
    }
    daxpin_share_send_break(file);
    pthread_mutex_unlock(&daxpin_mutex);
    count = share_await_break(fd);
    assert_in_range(count, 1, SHARE_MESSAGES - 1);
    close(fd);
    /* For the next test */
    assert_true(unit_await(5000, member_is_alone(file)));
    daxpin_file_close(file);
    (void)state;
}

/*
 * Random messages
 */

#define SHARE_CONNS 24

typedef struct share_fuzz {
    struct sockaddr_un address;
    share_message_t    valid;
    int                conns[SHARE_CONNS];
    int                is_member[SHARE_CONNS]; /* or was one */
    int                joined; /* how often */
} share_fuzz_t;

/* Return a type that leaves the file as it is: who sends FAULT is believed. */
static uint32_t share_fuzz_type(int is_member)
{
    static const uint32_t of_members[] = {SHARE_EXPOSE, SHARE_ACK, SHARE_GUARD,
                                          SHARE_GROW};
    const uint32_t type                = (uint32_t)rand() % 16;

    if (rand() % 32 == 0) {
        return (type == SHARE_FAULT) ? UINT32_MAX : type;
    }
    return is_member ? of_members[type % 4] :
                       ((type % 2 != 0) ? SHARE_HELLO : SHARE_JOIN);
}

/* Make a message, spoiled now and then. Return its length. */
static size_t share_fuzz_make(const share_fuzz_t *fuzz, int is_member,
                              unsigned char bytes[512])
{
    share_message_t message = fuzz->valid;
    size_t length           = sizeof(message), i = (size_t)rand() % 8;

    message.type       = share_fuzz_type(is_member);
    message.value      = (rand() % 16 != 0) ? (uint64_t)(rand() % 3) :
                                              (uint64_t)rand() << 33;
    message.generation = (rand() % 16 == 0) ? (uint64_t)rand() : 0;
    memcpy(bytes, &message, sizeof(message));
    switch (rand() % 32) {
    case 0:
        length = (size_t)rand() % 512; /* Or none at all */
        break;
    case 1:
        for (i = 0; i < sizeof(message); ++i) {
            bytes[i] = (unsigned char)rand();
        }
        break;
    case 2: /* Not in the type: it could become FAULT */
        bytes[rand() % offsetof(share_message_t, type)] ^= 1u << i;
        break;
    default:
        break;
    }
    return length;
}

/* Send it, with descriptors now and then. Return whether it was sent. */
static int share_fuzz_send(int sock, unsigned char *bytes, size_t length)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(16 * sizeof(int))];
    } ancillary          = {.space = {0}};
    const unsigned count = 1 + (unsigned)rand() % 16;
    struct iovec iov     = {bytes, length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    unsigned i;

    if (rand() % 16 == 0) {
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type  = SCM_RIGHTS;
        ancillary.header.cmsg_len   = CMSG_LEN(count * sizeof(int));
        for (i = 0; i < count; ++i) {
            memcpy(CMSG_DATA(&ancillary.header) + i * sizeof(int), &sock,
                   sizeof(int));
        }
        header.msg_control    = &ancillary;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return sendmsg(sock, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/* Do something with one of the connections. Return how many messages were sent. */
static int share_fuzz_once(share_fuzz_t *fuzz)
{
    const unsigned slot = (unsigned)rand() % SHARE_CONNS;
    unsigned char bytes[512] = {0};
    share_message_t answer;
    int sock = fuzz->conns[slot];
    size_t length;

    while (recv(sock, &answer, sizeof(answer), MSG_DONTWAIT) > 0) {
        fuzz->joined += (answer.type == SHARE_WELCOME);
    }
    if (rand() % 128 == 0) {
        shutdown(sock, rand() % 3);
    }
    length = share_fuzz_make(fuzz, fuzz->is_member[slot], bytes);
    if (share_fuzz_send(sock, bytes, length)) {
        /* It may have been HELLO: what comes next is of a member */
        fuzz->is_member[slot] = 1;
        return 1;
    }
    if ((errno != EAGAIN) || (rand() % 128 == 0)) {
        close(sock);
        fuzz->conns[slot]     = share_connect_to(&fuzz->address);
        fuzz->is_member[slot] = 0;
        assert_true(fuzz->conns[slot] >= 0);
    }
    return 0;
}

/* A process of the same user that sends whatever it likes keeps no other one from
 * the file, and nothing of it is left. */
static void test_fuzz(void **state)
{
    const char *value   = getenv("DAXPIN_SHARE_CALLS");
    const char *start   = getenv("DAXPIN_SHARE_SEED");
    const long calls    = (value != NULL) ? atol(value) :
                                            (long)pace_rounds(100000, 10000);
    const unsigned seed = (start != NULL) ? (unsigned)atol(start) :
                                            (unsigned)unit_ms();
    const char *path    = unit_path(unit_disk, "fuzz");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    const int fds       = member_count_fds();
    share_fuzz_t fuzz   = {.joined = 0};
    child_t member;
    long sent;
    int i;

    srand(seed);
    member_start_open(&member, path);
    share_address(path, geteuid(), &fuzz.address);
    share_fill(&fuzz.valid, path, SHARE_HELLO);
    for (i = 0; i < SHARE_CONNS; ++i) {
        fuzz.conns[i] = share_connect_to(&fuzz.address);
    }
    for (sent = 0; sent < calls;) {
        sent += share_fuzz_once(&fuzz);
    }
    for (i = 0; i < SHARE_CONNS; ++i) {
        close(fuzz.conns[i]);
    }
    printf("# seed %u: %d joined\n", seed, fuzz.joined);
    assert_true(fuzz.joined > calls / 5000);
    assert_int_equal(child_query(&member, "holder"), 0);
    assert_int_equal(child_query(&member, "state"), DAXPIN_STATE_HELD);
    child_finish(&member);
    share_check_alive(file, path);
    assert_true(unit_await(10000, unit_count_fds() == fds));
    intruder_run("truncate", path, 0, 1000);
    daxpin_file_close(file);
    (void)state;
}

/*
 * Many connections
 */

static void test_silent_connections(void **state)
{
    const char *path    = unit_path(unit_disk, "silent");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    int fds             = member_count_fds(), silent[SHARE_SILENT];
    unsigned i;

    for (i = 0; i < SHARE_SILENT; ++i) {
        silent[i] = share_connect(path, geteuid());
        assert_true(silent[i] >= 0);
    }
    share_check_alive(file, path);
    assert_true(unit_count_fds() < fds + SHARE_SILENT + 256 + 16);
    /* Neither a process that joins nor a revoke waits for them */
    for (i = 0; i < SHARE_SILENT; ++i) {
        assert_true(share_is_dropped(silent[i]));
        close(silent[i]);
    }
    assert_true(unit_await(10000, unit_count_fds() == fds));
    silent[0] = share_connect(path, geteuid());
    intruder_run("truncate", path, 0, 1000);
    close(silent[0]);
    daxpin_file_close(file);
    (void)state;
}

static void test_short_connections(void **state)
{
    const char *path    = unit_path(unit_disk, "come");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    int fds             = member_count_fds(), fd;
    share_message_t message;
    unsigned i;

    share_fill(&message, path, SHARE_HELLO);
    for (i = 0; i < pace_rounds(1000, 100); ++i) {
        fd = share_connect(path, geteuid());
        assert_true(fd >= 0);
        if (i % 2 != 0) {
            (void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
        }
        close(fd);
    }
    share_check_alive(file, path);
    assert_true(unit_await(10000, unit_count_fds() == fds));
    intruder_run("truncate", path, 0, 1000);
    daxpin_file_close(file);
    (void)state;
}

static void test_many_members(void **state)
{
    const char *path    = unit_path(unit_memory, "members");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    child_t members[64], child;
    unsigned i;

    for (i = 0; i < SHARE_MEMBERS; ++i) {
        member_start(&members[i]);
    }
    for (i = 0; i < SHARE_MEMBERS; ++i) {
        child_send(&members[i], "attach %s", member_key_text(file));
    }
    for (i = 0; i < SHARE_MEMBERS; ++i) {
        assert_int_equal(child_answer(&members[i], CHILD_WAIT_MS), 0);
        assert_child_ok(&members[i], "put %d 1 %d", i * 64, i + 1);
        assert_int_equal(memory[i * 64], i + 1);
    }
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 3000), 0);
    for (i = 0; i < SHARE_MEMBERS; ++i) {
        assert_true(member_has_state(&members[i], REVOKED));
        child_finish(&members[i]);
    }
    child_finish(&child);
    assert_one_revoke(); /* all members had answered */
    daxpin_file_close(file);
    (void)state;
}

/* While the holder has no descriptor left, a process that joins waits. */
static void test_holder_without_descriptors(void **state)
{
    const char *path = unit_path(unit_disk, "full");
    struct rlimit limit, old;
    child_t holder, member;

    member_start_open(&holder, path);
    assert_int_equal(prlimit(holder.pid, RLIMIT_NOFILE, NULL, &old), 0);
    limit          = old;
    limit.rlim_cur = 5;
    assert_int_equal(prlimit(holder.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    member_start(&member);
    child_send(&member, "open %s %d %u", path, UNIT_LENGTH,
               4000 * unit_slow());
    assert_int_equal(child_answer(&member, 300), CHILD_SILENT);
    assert_true(member_has_state(&holder, HELD));
    assert_int_equal(prlimit(holder.pid, RLIMIT_NOFILE, &old, NULL), 0);
    assert_int_equal(child_answer(&member, 2000), 0);
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

/*
 * Other users
 */

/* Connect as another user. The arguments are a path and the user of the
 * address. Report errno. */
static int share_other_user_child(int argc, char **argv)
{
    struct sockaddr_un address;
    int fd;

    (void)argc;
    share_address(argv[1], (uid_t)atoi(argv[2]), &address);
    if (setuid(UNIT_NOBODY) != 0) {
        return 1;
    }
    fd = share_connect_to(&address);
    child_report((fd < 0) ? errno : 0, "connect");
    return 0;
}

/* Another user cannot connect; root can, and is dropped. */
static void test_other_user_is_refused(void **state)
{
    const char *path    = unit_path(unit_memory, "other-user");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    share_message_t message;
    child_t child;
    char uid[16];
    int fd;

    snprintf(uid, sizeof(uid), "%d", (int)geteuid());
    child_spawn(&child, "other-user", path, uid, NULL);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), EACCES);
    child_finish(&child);

    member_start(&child);
    assert_child_ok(&child, "user %d", UNIT_NOBODY);
    assert_int_equal(child_query(&child, "attach %s", member_key_text(file)),
                     -EPERM);
    assert_contains(child.text, "user");
    child_finish(&child);
    share_check_alive(file, path);
    daxpin_file_close(file);

    assert_int_equal(chown(path, UNIT_NOBODY, UNIT_NOBODY), 0);
    member_start(&child);
    assert_child_ok(&child, "user %d", UNIT_NOBODY);
    assert_child_ok(&child, "open %s %d 5000", path, UNIT_LENGTH);
    fd = share_connect(path, UNIT_NOBODY);
    assert_true(fd >= 0);
    share_fill(&message, path, SHARE_HELLO);
    (void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
    assert_true(share_is_dropped(fd));
    close(fd);
    child_finish(&child);
    (void)state;
}

/* Attach two descriptors to a message. */
static void share_attach_fds(struct msghdr *header, char *space, int first,
                             int second)
{
    int fds[2] = {first, second};
    struct cmsghdr *rights;

    header->msg_control    = space;
    header->msg_controllen = CMSG_SPACE(sizeof(fds));
    rights                 = CMSG_FIRSTHDR(header);
    rights->cmsg_level     = SOL_SOCKET;
    rights->cmsg_type      = SCM_RIGHTS;
    rights->cmsg_len       = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(rights), fds, sizeof(fds));
}

/* Send the answer of a process that only pretends to be the holder. */
static void share_squat_answer(int fd, const char *path, const char *what)
{
    char space[CMSG_SPACE(2 * sizeof(int))] = {0};
    share_message_t message;
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    int null;

    share_fill(&message, path, SHARE_WELCOME);
    if (strcmp(what, "garbage") == 0) {
        memset(&message, 0x55, sizeof(message));
    } else if (strcmp(what, "descriptors") == 0) {
        null = open("/dev/null", O_RDWR);
        share_attach_fds(&header, space, null, null);
    } else if (strcmp(what, "page") == 0) {
        share_attach_fds(&header, space, open(path, O_RDWR),
                         open("/dev/null", O_RDWR));
    }
    if (strcmp(what, "nothing") != 0) {
        (void)sendmsg(fd, &header, MSG_NOSIGNAL);
    }
}

/* Take the lock of an address. Another process that sweeps old names may have
 * removed the file before the lock was taken: then take that of the next one.
 * Return whether it is taken. */
static int share_squat_lock(const char *name)
{
    struct stat named, opened;
    unsigned tries;
    int fd;

    for (tries = 0; tries < 100; ++tries) {
        fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if ((flock(fd, LOCK_EX) == 0) && (stat(name, &named) == 0) &&
            (fstat(fd, &opened) == 0) && (named.st_ino == opened.st_ino)) {
            return 1;
        }
        close(fd);
    }
    return 0;
}

/* Take the address of a file's holder. The arguments are a path, the user of
 * the address, and the answer to give. End when the input ends. */
static int share_squatter_child(int argc, char **argv)
{
    const uid_t uid          = (uid_t)atoi(argv[2]);
    struct pollfd pollfds[2] = {{.fd = CHILD_IN, .events = POLLIN},
                                {.events = POLLIN}};
    struct sockaddr_un address;
    char hello[256], name[256];
    int fd, conn;

    (void)argc;
    umask(0);
    share_address(argv[1], uid, &address);
    snprintf(name, sizeof(name), "%s.lock", address.sun_path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (!share_squat_lock(name) ||
        (bind(fd, (struct sockaddr*)&address, sizeof(address)) != 0) ||
        (listen(fd, 16) != 0)) {
        return 1;
    }
    child_report(0, "squatting");
    pollfds[1].fd = fd;
    while ((poll(pollfds, 2, -1) > 0) && (pollfds[0].revents == 0)) {
        conn = accept(fd, NULL, NULL);
        /* If data is left unread, close() discards the answer */
        (void)!recv(conn, hello, sizeof(hello), 0);
        share_squat_answer(conn, argv[1], argv[3]);
        close(conn);
    }
    return 0;
}

static void share_start_squatter(child_t *child, const char *path, int user,
                                 const char *what)
{
    char uid[16];

    snprintf(uid, sizeof(uid), "%d", user);
    child_spawn(child, "squatter", path, uid, what, NULL);
    assert_int_equal(child_answer(child, CHILD_WAIT_MS), 0);
}

/* Only root can take an address of another user, and is not believed. */
static void test_squatter_of_another_user(void **state)
{
    const char *path = unit_path(unit_memory, "squatter");
    child_t child, member;
    char pid[32];

    unit_make_file(path, 4096, 'x');
    assert_int_equal(chown(path, UNIT_NOBODY, UNIT_NOBODY), 0);
    share_start_squatter(&child, path, UNIT_NOBODY, "nothing");
    member_start(&member);
    assert_child_ok(&member, "user %d", UNIT_NOBODY);
    assert_int_equal(child_query(&member, "open %s %d 5000", path, UNIT_LENGTH),
                     -EPERM);
    snprintf(pid, sizeof(pid), "pid %d", (int)child.pid);
    assert_contains(member.text, path);
    assert_contains(member.text, pid);
    assert_contains(member.text, "another user");
    assert_int_equal(unit_file_size(path), 4096);
    child_finish(&child);
    assert_child_ok(&member, "open %s %d 5000", path, UNIT_LENGTH);
    child_finish(&member);
    (void)state;
}

static void share_check_impostor(const char *what, int error)
{
    const char *path       = unit_path(unit_memory, "impostor");
    daxpin_params_t params = {.timeout_ms = 500 * unit_slow()};
    int fds                = unit_count_fds();
    daxpin_file_t *file;
    child_t child;

    unit_make_file(path, 4096, 'x');
    share_start_squatter(&child, path, (int)geteuid(), what);
    assert_int_equal(daxpin_file_open(path, UNIT_LENGTH, &params, &file),
                     error);
    assert_null(file);
    child_finish(&child);
    daxpin_file_close(unit_open(path, UNIT_LENGTH));
    assert_int_equal(unit_count_fds(), fds);
}

static void test_impostor(void **state)
{
    const char *path = unit_path(unit_memory, "first");

    daxpin_file_close(unit_open(path, UNIT_LENGTH));
    share_check_impostor("garbage", -EPROTO);
    share_check_impostor("none", -EPROTO);        /* no descriptors */
    share_check_impostor("descriptors", -EPROTO); /* of something else */
    share_check_impostor("page", -EPROTO);        /* no control page */
    share_check_impostor("nothing", -ETIMEDOUT);  /* closes every time */
    (void)state;
}

static void test_stopped_holder(void **state)
{
    const char *path = unit_path(unit_disk, "stopped");
    daxpin_file_t *file;
    child_t holder;
    char pid[32];

    member_start_open(&holder, path);
    child_stop(&holder);
    assert_int_equal(daxpin_file_open(path, UNIT_LENGTH, NULL, &file),
                     -ETIMEDOUT);
    snprintf(pid, sizeof(pid), "pid %d", (int)holder.pid);
    assert_message(path);
    assert_message(pid);
    assert_message("stopped");
    assert_int_equal(kill(holder.pid, SIGCONT), 0);
    file = unit_open(path, UNIT_LENGTH);
    assert_int_equal(daxpin_file_is_holder(file), 0);
    daxpin_file_close(file);
    child_finish(&holder);
    (void)state;
}

/* Hold a file, and daxpin_mutex, until the next line of input, so that nothing is
 * answered. The arguments are a path and what to do meanwhile: "work" or "sleep". */
static int share_silent_child(int argc, char **argv)
{
    const int works      = strcmp(argv[2], "work") == 0;
    struct pollfd pollfd = {.fd = CHILD_IN, .events = POLLIN};
    daxpin_file_t *file;
    char line[64];

    (void)argc;
    if (daxpin_file_open(argv[1], UNIT_LENGTH, NULL, &file) != 0) {
        return 1;
    }
    pthread_mutex_lock(&daxpin_mutex);
    child_report(0, "silent");
    while (poll(&pollfd, 1, works ? 0 : -1) == 0) {
    }
    (void)child_read(line, sizeof(line));
    pthread_mutex_unlock(&daxpin_mutex);
    child_wait();
    daxpin_file_close(file);
    return 0;
}

/* Have another process open the file of a silent holder. */
static void share_start_silent(child_t *holder, child_t *member,
                               const char *path, const char *how)
{
    child_spawn(holder, "silent", path, how, NULL);
    assert_int_equal(child_answer(holder, CHILD_WAIT_MS), 0);
    member_start(member);
    child_send(member, "open %s %d 1000", path, UNIT_LENGTH);
}

/* A holder that is late because it gets too little of a processor is waited for
 * longer than one that sleeps. */
static void test_loaded_holder(void **state)
{
    const char *path = unit_path(unit_disk, "loaded");
    child_t holder, member;

    share_start_silent(&holder, &member, path, "work");
    unit_sleep_ms(7000);
    child_send(&holder, "answer");
    assert_int_equal(child_answer(&member, CHILD_WAIT_MS), 0);
    assert_int_equal(child_query(&member, "holder"), 0);
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

static void test_sleeping_holder(void **state)
{
    const char *path = unit_path(unit_disk, "sleeping");
    child_t holder, member;

    share_start_silent(&holder, &member, path, "sleep");
    assert_int_equal(child_answer(&member, CHILD_WAIT_MS), -ETIMEDOUT);
    assert_contains(member.text, "does not answer");
    child_send(&holder, "answer");
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"other-user", share_other_user_child},
        {"squatter", share_squatter_child},
        {"silent", share_silent_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_random_bytes_of_all_sizes),
        unit_case(test_wrong_messages),
        unit_case(test_wrong_message_of_member),
        unit_case(test_stale_hello),
        unit_case(test_full_socket),
        unit_case(test_fuzz),
        unit_case(test_silent_connections),
        unit_case(test_short_connections),
        unit_case(test_many_members),
        unit_case(test_holder_without_descriptors),
        unit_case(test_other_user_is_refused),
        unit_case(test_squatter_of_another_user),
        unit_case(test_impostor),
        unit_case(test_stopped_holder),
        unit_case(test_loaded_holder),
        unit_case(test_sleeping_holder)
    };

    return unit_main("share", argc, argv, children, tests);
}
