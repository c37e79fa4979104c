/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The guard daemon's way with clients, without its programs in the kernel
 *
 *   DAXPIN_GUARD_CALLS  random messages; default: 100000
 *   DAXPIN_GUARD_SEED   repeats them
 */

#include "child.h"
#include "../guard_fuzz.h"

#include <sys/socket.h>

#include "guardd/log.c"
#include "guardd/loop.c"
/* How long the daemon has waited, ns */
#define nanosleep count_nanosleep
static int count_nanosleep(const struct timespec *pause, struct timespec *rest);
#include "guardd/patience.c"
#undef nanosleep
#include "guardd/user.c"
#include "guardd/stranger.c"
#include "guardd/space.c"
/* How many bytes of entries are moved */
#define memmove count_move
static void *count_move(void *to, const void *from, size_t length);
#include "guardd/inode.c"
#undef memmove
#include "guardd/client.c"

/*
 * In place of programs.c
 */

static long        waited;   /* ns */
static int         waiting;  /* connections */
static guard_map_t last_map; /* that the kernel got */

guard_range_t *guard_programs_ranges(void)
{
    static guard_range_t ranges[GUARD_RANGES_MAX];

    return ranges;
}

static int count_nanosleep(const struct timespec *pause, struct timespec *rest)
{
    assert_null(rest);
    assert_int_equal(pause->tv_sec, 0);
    assert_in_range(pause->tv_nsec, 1, 999999999);
    waited += pause->tv_nsec;
    return 0;
}

/* Check what the program in the kernel relies on: a range that is not empty, or such
 * ranges one behind the other, from the map's start to its end. */
int guard_programs_set(int fd, const guard_map_t *map)
{
    const guard_range_t *ranges = guard_programs_ranges() + map->first;
    uint32_t i;

    assert_true(fcntl(fd, F_GETFD) >= 0);
    assert_true(map->start < map->end);
    assert_true(map->first + map->count <= GUARD_RANGES_MAX);
    for (i = 0; i < map->count; ++i) {
        assert_true(ranges[i].start < ranges[i].end);
        assert_true((i == 0) || (ranges[i - 1].end < ranges[i].start));
    }
    if (map->count > 0) {
        assert_int_equal(ranges[0].start, map->start);
        assert_int_equal(ranges[map->count - 1].end, map->end);
    }
    last_map = *map;
    return 0;
}

int guard_programs_owner(int fd, uid_t *owner_p)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    *owner_p = st.st_uid;
    return 0;
}

int guard_programs_clear(int fd)
{
    assert_true(fcntl(fd, F_GETFD) >= 0);
    return 0;
}

int guard_programs_are_pinned(void)
{
    return 1;
}

int guard_programs_knew(int fd, uid_t uid)
{
    (void)fd;
    (void)uid;
    return 0;
}

/* What becomes of each entry of the table of ranges in test_space */
enum { ENTRY_FREE, ENTRY_LIVE, ENTRY_WAITS };

static unsigned char entries[GUARD_RANGES_MAX];
static unsigned      settled; /* times */

int guard_programs_settle(void)
{
    size_t i;

    for (i = 0; i < GUARD_RANGES_MAX; ++i) {
        if (entries[i] == ENTRY_WAITS) {
            entries[i] = ENTRY_FREE;
        }
    }
    ++settled;
    return 1;
}

uid_t guard_programs_payer(int sock, uid_t uid, int *waits_p)
{
    (void)sock;
    *waits_p = 1;
    return uid;
}

void guard_programs_served(uid_t payer)
{
    (void)payer;
    --waiting;
}

/*
 * A client
 */

/* Return the client's end of a connection that the daemon has accepted. */
static int connect_client(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
                                ends), 0);
    ++waiting;
    guard_client_accept(ends[0]);
    return ends[1];
}

/* Have the daemon do all that there is to do. */
static void serve(void)
{
    int i;

    for (i = 0; i < 3; ++i) {
        guard_loop_wait(0, NULL);
        guard_clients_finish();
    }
}

/* Send a request without ranges in a version of the protocol. Return whether there is
 * an answer. */
static int request(int sock, unsigned version, unsigned type,
                   daxpin_guard_head_t *answer)
{
    const daxpin_guard_head_t head = {.magic   = DAXPIN_GUARD_MAGIC,
                                      .version = (uint16_t)version,
                                      .type    = (uint16_t)type};

    assert_int_equal(send(sock, &head, sizeof(head), MSG_NOSIGNAL),
                     sizeof(head));
    serve();
    return recv(sock, answer, sizeof(*answer), MSG_DONTWAIT) == sizeof(*answer);
}

static int has_hung_up(int sock)
{
    char byte;

    return recv(sock, &byte, 1, MSG_DONTWAIT) == 0;
}

/* Return a descriptor that gets what the daemon logs, for read_log(). */
static int others = -1;

static int catch_log(void)
{
    const int log = memfd_create("log", MFD_CLOEXEC);

    others = dup(STDERR_FILENO);
    assert_int_equal(dup2(log, STDERR_FILENO), STDERR_FILENO);
    return log;
}

static void read_log(int log, char *lines, size_t size)
{
    memset(lines, 0, size);
    assert_int_equal(dup2(others, STDERR_FILENO), STDERR_FILENO);
    close(others);
    assert_true(pread(log, lines, size - 1, 0) >= 0);
    close(log);
}

/*
 * Tests
 */

/* A client of each version that the daemon knows is answered in its version. */
static void test_versions(void **state)
{
    daxpin_guard_head_t answer;
    unsigned version;
    int sock;

    for (version = DAXPIN_GUARD_OLDEST; version <= DAXPIN_GUARD_VERSION;
         ++version) {
        sock = connect_client();
        assert_true(request(sock, version, DAXPIN_GUARD_HELLO, &answer));
        assert_int_equal(answer.version, version);
        assert_int_equal(answer.error, 0);
        assert_false(has_hung_up(sock));
        close(sock);
        serve();
    }
    assert_false(guard_clients_exist());
    (void)state;
}

/* One of another version is answered once, in its version, and the log has it. */
static void check_unknown(unsigned version)
{
    const int sock = connect_client();
    daxpin_guard_head_t answer;

    assert_true(request(sock, version, DAXPIN_GUARD_HELLO, &answer));
    assert_int_equal(answer.version, version);
    assert_int_equal(answer.error, EPROTONOSUPPORT);
    assert_int_equal(answer.count, DAXPIN_GUARD_VERSION);
    assert_true(has_hung_up(sock));
    assert_false(guard_clients_exist());
    close(sock);
}

static void test_other_version(void **state)
{
    const int log = catch_log();
    char lines[1024];

    check_unknown(DAXPIN_GUARD_VERSION + 1);
    check_unknown(DAXPIN_GUARD_OLDEST - 1);
    read_log(log, lines, sizeof(lines));
    assert_contains(lines,
                    "install daxpin-guardd and libdaxpin of one release");
    assert_ptr_equal(strchr(lines, '\n'), strrchr(lines, '\n'));
    (void)state;
}

/* What is no message at all gets no answer. */
static void test_nonsense(void **state)
{
    const int sock = connect_client();

    assert_int_equal(send(sock, "nonsense", 8, MSG_NOSIGNAL), 8);
    serve();
    assert_true(has_hung_up(sock));
    assert_false(guard_clients_exist());
    close(sock);
    (void)state;
}

/* A client beyond the limit learns why. */
static void test_full(void **state)
{
    const guard_limits_t limits = guard_limits;
    const int log               = catch_log();
    daxpin_guard_head_t answer;
    char lines[1024];
    int first, second;

    guard_limits.clients = 1;
    first                = connect_client();
    second               = connect_client();
    assert_int_equal(recv(second, &answer, sizeof(answer), MSG_DONTWAIT),
                     sizeof(answer));
    assert_int_equal(answer.error, EUSERS);
    assert_true(has_hung_up(second));
    guard_limits = limits;
    close(first);
    close(second);
    serve();
    read_log(log, lines, sizeof(lines));
    assert_contains(lines, "--max-clients");
    (void)state;
}

/* A connection counts as one that waits until its first answer, or its end. */
static void test_waiting(void **state)
{
    daxpin_guard_head_t answer;
    int served, silent;

    waiting = 0;
    served  = connect_client();
    silent  = connect_client();
    assert_int_equal(waiting, 2);
    assert_true(request(served, DAXPIN_GUARD_VERSION, DAXPIN_GUARD_HELLO,
                        &answer));
    assert_int_equal(waiting, 1);
    assert_true(request(served, DAXPIN_GUARD_VERSION, DAXPIN_GUARD_HELLO,
                        &answer));
    assert_int_equal(waiting, 1);
    close(silent);
    serve();
    assert_int_equal(waiting, 0);
    close(served);
    serve();
    assert_int_equal(waiting, 0);
    assert_false(guard_clients_exist());
    (void)state;
}

/* Set entries that have to be something before. */
static void set_entries(uint32_t first, uint32_t count, int before, int after)
{
    uint32_t i;

    assert_true(first + count <= GUARD_RANGES_MAX);
    for (i = first; i < first + count; ++i) {
        assert_int_equal(entries[i], before);
        entries[i] = (unsigned char)after;
    }
}

/* Check that free runs are in order, apart, and not in use. Return their number. */
static unsigned check_free(void)
{
    const guard_extent_t *extent;
    uint32_t end   = 0;
    unsigned count = 0, i;

    LIST_FOREACH(extent, &guard_free, link) {
        assert_true((count == 0) || (extent->run.first > end));
        for (i = 0; i < extent->run.count; ++i) {
            assert_int_equal(entries[extent->run.first + i], ENTRY_FREE);
        }
        end = extent->run.first + extent->run.count;
        ++count;
    }
    return count;
}

/* Linux has no memory for a map's entry for a moment, and then it has */
static void test_momentary(void **state)
{
    const int momentary[] = {-ENOMEM, -EBUSY, -EAGAIN, -EDEADLK, -ETIMEDOUT};
    unsigned tries;
    size_t i;

    for (i = 0; i < sizeof(momentary) / sizeof(*momentary); ++i) {
        waited = 0;
        tries  = 0;
        guard_patience_renew();
        while (guard_try_again(momentary[i], &tries)) {
            assert_in_range(waited, 1, GUARD_PATIENCE_MS * 1000000l);
        }
        assert_int_equal(waited, GUARD_PATIENCE_MS * 1000000l);
        tries = 0; /* another call in the same round */
        assert_false(guard_try_again(momentary[i], &tries));
    }
    waited = 0;
    tries  = 0;
    guard_patience_renew();
    assert_false(guard_try_again(0, &tries));
    assert_false(guard_try_again(-ENOENT, &tries));
    assert_false(guard_try_again(-EPERM, &tries));
    assert_int_equal(waited, 0);
    (void)state;
}

/* As many files as one user may have, which change in any order: their room in the
 * table is used again, but no sooner than the kernel lets it go, and before so much
 * waits for it that sorting it would take long. */
static void test_space(void **state)
{
    enum { FILES = 4096, UPDATES = 600000 };
    static uint32_t firsts[FILES];
    uint32_t i, at, first;

    settled = 0;
    for (i = 0; i < FILES; ++i) {
        assert_int_equal(guard_space_get(2, &firsts[i]), 0);
        set_entries(firsts[i], 2, ENTRY_FREE, ENTRY_LIVE);
    }
    for (i = 0; i < UPDATES; ++i) {
        at = (uint32_t)random() % FILES;
        assert_int_equal(guard_space_get(2, &first), 0);
        set_entries(first, 2, ENTRY_FREE, ENTRY_LIVE);
        guard_space_put(firsts[at], 2);
        set_entries(firsts[at], 2, ENTRY_LIVE, ENTRY_WAITS);
        firsts[at] = first;
    }
    assert_in_range(settled, UPDATES / GUARD_SPACE_USED - 1,
                    UPDATES / GUARD_SPACE_USED + 1);
    assert_true(guard_top < GUARD_RANGES_MAX / 8);
    assert_true(check_free() > 0);
    for (i = 0; i < FILES; ++i) {
        guard_space_put(firsts[i], 2);
        set_entries(firsts[i], 2, ENTRY_LIVE, ENTRY_WAITS);
    }
    assert_true(guard_space_reuse());
    assert_int_equal(check_free(), 1); /* All that was ever used */
    assert_int_equal(LIST_FIRST(&guard_free)->run.count, guard_top);
    (void)state;
}

/*
 * Random messages
 */

#define FUZZ_CONNS 24
#define FUZZ_FILES 4
#define FUZZ_PASS  192 /* one message in so many passes something */

typedef struct fuzzer {
    uint64_t state; /* of the random numbers */
    int      conns[FUZZ_CONNS];
    int      files[FUZZ_FILES]; /* under lease */
    long     guarded;
} fuzzer_t;

static void fuzz_connect(fuzzer_t *fuzzer, unsigned slot)
{
    close(fuzzer->conns[slot]);
    fuzzer->conns[slot] = connect_client();
}

/* Send a message with or without a descriptor. Return whether it was sent. */
static int fuzz_send(int sock, const guard_fuzz_t *message, size_t length,
                     int fd)
{
    union {
        struct cmsghdr header;
        char           space[CMSG_SPACE(sizeof(int))];
    } ancillary          = {.space = {0}};
    struct iovec iov     = {(void*)message, length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type  = SCM_RIGHTS;
        ancillary.header.cmsg_len   = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof(int));
        header.msg_control    = &ancillary;
        header.msg_controllen = sizeof(ancillary);
    }
    return sendmsg(sock, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/* Have the daemon do a round, as its loop does. */
static void fuzz_serve(void)
{
    guard_loop_wait(0, NULL);
    guard_stranger_tick();
    guard_clients_finish();
}

/* Serve until there is an answer, or the end of a connection. */
static void fuzz_await(int sock)
{
    unsigned i;
    char byte;

    for (i = 0; (i < 1000 * unit_slow()) &&
                (recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0);
         ++i) {
        fuzz_serve();
        unit_sleep_ms(1);
    }
}

/* Send one message by one of the connections. */
static int fuzz_once(fuzzer_t *fuzzer)
{
    static guard_fuzz_t message;
    const unsigned slot = guard_fuzz_dice(&fuzzer->state, FUZZ_CONNS);
    size_t length       = guard_fuzz_make(&fuzzer->state, &message);
    int fd              = -1, i;

    if (guard_fuzz_dice(&fuzzer->state, FUZZ_PASS) == 0) {
        fd = guard_fuzz_dice(&fuzzer->state, 4) ?
                     fuzzer->files[guard_fuzz_dice(&fuzzer->state,
                                                   FUZZ_FILES)] :
                     fuzzer->conns[slot];
        if (guard_fuzz_dice(&fuzzer->state, 8)) {
            fuzz_connect(fuzzer, slot);
            length = guard_fuzz_valid(&fuzzer->state, DAXPIN_GUARD_FILE,
                                      &message);
        }
    }
    if (!fuzz_send(fuzzer->conns[slot], &message, length, fd)) {
        fuzz_connect(fuzzer, slot);
        return 0;
    }
    if (fd >= 0) {
        fuzz_await(fuzzer->conns[slot]); /* So that some guard something soon */
    }
    for (i = 0; i < 2; ++i) {
        (void)recv(fuzzer->conns[slot], &message, sizeof(message),
                   MSG_DONTWAIT);
    }
    if (guard_fuzz_dice(&fuzzer->state, 256) == 0) {
        shutdown(fuzzer->conns[slot], (int)guard_fuzz_dice(&fuzzer->state, 3));
    }
    return 1;
}

/* Count what is open but for a pipe that outlives the last child. */
static int count_fds(void)
{
    return unit_count_fds() - ((guard_others[0] >= 0) ? 2 : 0);
}

/* Send a request as a client, and return the error of its answer; -1: none comes. */
static int ask(int sock, unsigned type, const daxpin_guard_range_t *ranges,
               uint32_t count, int fd)
{
    guard_fuzz_t request          = {.message = {.head = {0}}};
    daxpin_guard_head_t *head     = &request.message.head;
    daxpin_guard_head_t answer;
    unsigned i;

    *head = (daxpin_guard_head_t){.magic   = DAXPIN_GUARD_MAGIC,
                                  .version = DAXPIN_GUARD_VERSION,
                                  .type    = (uint16_t)type,
                                  .count   = count};
    if (count > 0) {
        memcpy(request.message.ranges, ranges, count * sizeof(*ranges));
    }
    assert_true(fuzz_send(sock, &request, DAXPIN_GUARD_SIZE(count), fd));
    for (i = 0; i < 1000 * unit_slow(); ++i) {
        fuzz_serve();
        if (recv(sock, &answer, sizeof(answer), MSG_DONTWAIT) > 0) {
            return (int)answer.error;
        }
        unit_sleep_ms(1);
    }
    return -1;
}

/* When the kernel's table is full, nobody is let down: of a file whose ranges have
 * no room there, what is between them is guarded as well. */
static void test_table_full(void **state)
{
    const daxpin_guard_range_t ranges[] = {{4096, 8192}, {16384, 20480},
                                           {65536, 69632}};
    const int fds                       = count_fds();
    const int fd = open(unit_path(unit_memory, "table"), O_RDWR | O_CREAT |
                        O_CLOEXEC, 0600);
    const int sock                      = connect_client();
    const guard_extent_t *extent;
    uint32_t taken[64], counts[64], count = 0, i;
    char lines[1024];
    int log;

    assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    assert_int_equal(ask(sock, DAXPIN_GUARD_FILE, NULL, 0, fd), 0);
    assert_int_equal(ask(sock, DAXPIN_GUARD_ADD, ranges, 2, -1), 0);
    assert_int_equal(last_map.count, 2);
    while ((count < 64) &&
           (((extent = LIST_FIRST(&guard_free)) != NULL) ||
            (guard_top < GUARD_RANGES_MAX))) {
        counts[count] = (extent != NULL) ? extent->run.count :
                                           GUARD_RANGES_MAX - guard_top;
        assert_int_equal(guard_space_get(counts[count], &taken[count]), 0);
        ++count;
    }
    assert_true(count < 64);
    log = catch_log();
    assert_int_equal(ask(sock, DAXPIN_GUARD_ADD, &ranges[2], 1, -1), 0);
    read_log(log, lines, sizeof(lines));
    assert_contains(lines, "the table is full");
    assert_int_equal(last_map.count, 0); /* All from start to end */
    assert_int_equal(last_map.start, ranges[0].start);
    assert_int_equal(last_map.end, ranges[2].end);
    for (i = 0; i < count; ++i) {
        guard_space_put(taken[i], counts[i]);
    }
    assert_int_equal(ask(sock, DAXPIN_GUARD_REMOVE, &ranges[1], 1, -1), 0);
    assert_int_equal(last_map.count, 2);
    close(sock);
    close(fd);
    for (i = 0; (i < 1000 * unit_slow()) && (count_fds() > fds); ++i) {
        fuzz_serve();
        unit_sleep_ms(5);
    }
    assert_false(guard_clients_exist());
    (void)state;
}

static size_t moved; /* bytes */

static void *count_move(void *to, const void *from, size_t length)
{
    moved += length;
    return memmove(to, from, length);
}

/* Fill a file's table with pages, each with a page between it and the next one,
 * from the last page to the first. */
static void fill_ranges(guard_inode_t *inode, unsigned messages)
{
    guard_range_t ranges[DAXPIN_GUARD_RANGES];
    unsigned i, j;

    for (i = messages; i-- > 0;) {
        for (j = 0; j < DAXPIN_GUARD_RANGES; ++j) {
            ranges[j].start = (i * DAXPIN_GUARD_RANGES + j) * 8192ull;
            ranges[j].end   = ranges[j].start + 4096;
        }
        moved = 0;
        assert_int_equal(guard_inode_add(inode, inode, ranges,
                                         DAXPIN_GUARD_RANGES), 0);
        assert_true(moved <= inode->count * sizeof(*inode->entries));
    }
}

/* A message of many ranges moves each range of the file once, wherever they are: a
 * user would stop the daemon with what takes long. */
static void test_many_at_once(void **state)
{
    enum { MESSAGES = 256 };
    guard_inode_t inode = {.dirty = 1}; /* Not to be published */
    guard_range_t ranges[DAXPIN_GUARD_RANGES];
    size_t i, all = MESSAGES * DAXPIN_GUARD_RANGES;

    fill_ranges(&inode, MESSAGES);
    for (i = 0; i < all; ++i) {
        assert_int_equal(inode.entries[i].range.start, i * 8192);
    }
    /* All over the file, backwards */
    for (i = 0; i < DAXPIN_GUARD_RANGES; ++i) {
        ranges[i] = inode.entries[all - 1 - i * MESSAGES].range;
    }
    ranges[1] = ranges[0]; /* Is there but once */
    moved     = 0;
    assert_int_equal(guard_inode_remove(&inode, &inode, ranges,
                                        DAXPIN_GUARD_RANGES),
                     DAXPIN_GUARD_RANGES - 1);
    assert_true(moved <= all * sizeof(*inode.entries));
    assert_int_equal(inode.count, all - DAXPIN_GUARD_RANGES + 1);
    for (i = 1; i < inode.count; ++i) {
        assert_true(inode.entries[i - 1].range.end <
                    inode.entries[i].range.start);
    }
    assert_int_equal(guard_inode_remove(&inode, NULL, &inode.entries[7].range,
                                        1), 0); /* Of another owner */
    free(inode.entries);
    (void)state;
}

/* Count the inodes. */
static int inodes;

static void count_inode(guard_inode_t *inode)
{
    (void)inode;
    ++inodes;
}

static void fuzz_begin(fuzzer_t *fuzzer)
{
    char name[32];
    unsigned i;

    for (i = 0; i < FUZZ_FILES; ++i) {
        snprintf(name, sizeof(name), "fuzz.%u", i);
        fuzzer->files[i] = open(unit_path(unit_memory, name), O_RDWR | O_CREAT |
                                O_CLOEXEC, 0600);
        assert_int_equal(fcntl(fuzzer->files[i], F_SETLEASE, F_WRLCK), 0);
    }
    for (i = 0; i < FUZZ_CONNS; ++i) {
        fuzzer->conns[i] = connect_client();
    }
}

/* Close all, and wait until the daemon has done so. */
static void fuzz_end(fuzzer_t *fuzzer, int fds)
{
    unsigned i;

    for (i = 0; i < FUZZ_CONNS; ++i) {
        close(fuzzer->conns[i]);
    }
    for (i = 0; i < FUZZ_FILES; ++i) {
        close(fuzzer->files[i]);
    }
    /* A child that is not reaped yet has the user */
    for (i = 0; (i < 1000 * unit_slow()) &&
                ((count_fds() > fds) || !LIST_EMPTY(&guard_users));
         ++i) {
        fuzz_serve();
        unit_sleep_ms(5);
    }
}

/* Whatever comes, the daemon's ranges are those that its programs can search, and
 * nothing is left of a client that has gone. */
static void test_fuzz(void **state)
{
    const char *value = getenv("DAXPIN_GUARD_CALLS");
    const char *start = getenv("DAXPIN_GUARD_SEED");
    const long calls  = (value != NULL) ? atol(value) : 100000;
    fuzzer_t fuzzer   = {.state = (start != NULL) ? strtoull(start, NULL, 0) :
                                                    (uint64_t)time(NULL)};
    const int fds            = count_fds();
    const unsigned long seed = fuzzer.state;
    long sent;

    waiting = 0;
    fuzz_begin(&fuzzer);
    for (sent = 0; sent < calls;) {
        sent += fuzz_once(&fuzzer);
        fuzz_serve();
        fuzzer.guarded += guard_all_ranges > 0;
    }
    fuzz_end(&fuzzer, fds);
    guard_inodes_each(count_inode);
    printf("# seed %lu: %ld of %ld rounds with a guarded file\n", seed,
           fuzzer.guarded, sent);
    assert_true(fuzzer.guarded > calls / 10);
    assert_false(guard_clients_exist());
    assert_int_equal(waiting, 0);
    assert_int_equal(guard_all_clients, 0);
    assert_int_equal(guard_all_ranges, 0);
    assert_true(LIST_EMPTY(&guard_users));
    assert_int_equal(inodes, 0);
    assert_int_equal(count_fds(), fds);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_versions),
                                       unit_case(test_other_version),
                                       unit_case(test_nonsense),
                                       unit_case(test_full),
                                       unit_case(test_waiting),
                                       unit_case(test_momentary),
                                       unit_case(test_space),
                                       unit_case(test_table_full),
                                       unit_case(test_many_at_once),
                                       unit_case(test_fuzz)};

    if (guard_loop_init() != 0) {
        return 1;
    }
    return unit_main("guardd", argc, argv, children, tests);
}
