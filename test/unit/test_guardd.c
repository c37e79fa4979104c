/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The guard daemon's way with clients, without its programs in the kernel */

#include "child.h"

#include <sys/socket.h>

#include "guardd/log.c"
#include "guardd/loop.c"
#include "guardd/user.c"
#include "guardd/stranger.c"
#include "guardd/space.c"
#include "guardd/inode.c"
#include "guardd/client.c"

/*
 * In place of programs.c
 */

static int waiting; /* connections */

guard_range_t *guard_programs_ranges(void)
{
    static guard_range_t ranges[GUARD_RANGES_MAX];

    return ranges;
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

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_versions),
                                       unit_case(test_other_version),
                                       unit_case(test_nonsense),
                                       unit_case(test_full),
                                       unit_case(test_waiting),
                                       unit_case(test_space)};

    if (guard_loop_init() != 0) {
        return 1;
    }
    return unit_main("guardd", argc, argv, children, tests);
}
