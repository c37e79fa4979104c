/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Revokes: accesses under way, members, callbacks, memory afterwards, SIGBUS */

#include "intruder.h"
#include "member.h"

#include "daxpin/file/file.h"
#include "daxpin/file/pin.h"

#include <pthread.h>

#define REVOKE_BIG      (64ul << 20)
#define REVOKE_DRAIN_MS 2000 /* the library's limit for accesses to end */
#define REVOKE_ACKS_MS  5000 /* the library's limit for members to answer */

/*
 * Accesses under way
 */

typedef struct revoke_copy {
    daxpin_file_t *file;
    char          *memory;
    _Atomic int   started;
    unsigned      copies;
    int           ret; /* of the last one */
} revoke_copy_t;

/* Copy in chunks, as a transport does. */
static int revoke_copy_once(daxpin_access_t *access, char *to,
                            const char *from, _Atomic int *started)
{
    size_t done;

    if (daxpin_access_begin(access) != 0) {
        return -ESTALE;
    }
    for (done = 0; done < REVOKE_BIG; done += DAXPIN_ACCESS_CHUNK) {
        if (!daxpin_access_may_go_on(access)) {
            break;
        }
        memcpy(to + done, from + done, DAXPIN_ACCESS_CHUNK);
        *started = 1;
    }
    return daxpin_access_end(access, 0, REVOKE_BIG);
}

static void *revoke_copy_thread(void *arg)
{
    revoke_copy_t *copy = arg;
    char *from          = malloc(REVOKE_BIG);
    unsigned slot       = daxpin_slot_get();
    daxpin_access_t access;

    memset(from, 'c', REVOKE_BIG);
    daxpin_access_init(copy->file, slot, &access);
    do {
        copy->ret = revoke_copy_once(&access, copy->memory, from,
                                     &copy->started);
        ++copy->copies;
    } while (copy->ret == 0);
    daxpin_slot_put(slot);
    free(from);
    return NULL;
}

static void test_truncate_during_large_copy(void **state)
{
    const char *path   = unit_path(unit_memory, "large");
    revoke_copy_t copy = {.file = unit_open(path, REVOKE_BIG)};
    pthread_t thread;
    child_t child;

    copy.memory = daxpin_file_addr(copy.file, 0, REVOKE_BIG);
    assert_int_equal(pthread_create(&thread, NULL, revoke_copy_thread, &copy),
                     0);
    assert_true(unit_await(5000, copy.started));
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 1000), 0);
    assert_true(atol(child.text) < 1000 * unit_slow());
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(copy.ret, -ESTALE);
    assert_int_equal(daxpin_file_state(copy.file), DAXPIN_STATE_REVOKED);
    assert_int_equal(copy.memory[0], 0); /* memory was replaced */
    child_finish(&child);
    assert_int_equal(unit_file_size(path), 0);
    daxpin_file_close(copy.file);
    assert_one_revoke(); /* and no time limit was reached */
    (void)state;
}

/* The intruder waits until the access ends, and no longer. */
static void test_waits_for_access(void **state)
{
    const char *path    = unit_path(unit_disk, "access");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_access_t access, late;
    child_t child;

    daxpin_access_init(file, daxpin_slot_get(), &access);
    daxpin_access_init(file, daxpin_slot_get(), &late);
    assert_int_equal(daxpin_access_begin(&access), 0);
    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 300);
    assert_becomes(file, BREAKING);
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    assert_int_equal(daxpin_access_may_go_on(&access), 0);
    assert_int_equal(daxpin_access_begin(&late), -ESTALE); /* no new access */
    assert_int_equal(daxpin_access_end(&access, 0, 1), -ESTALE);
    assert_int_equal(intruder_result(&child, 1000), 0);
    child_finish(&child);
    daxpin_slot_put(0);
    daxpin_slot_put(1);
    daxpin_file_close(file);
    (void)state;
}

/* All accesses that find no free slot share the last one. */
static void test_users_of_shared_slot(void **state)
{
    const char *path    = unit_path(unit_disk, "shared");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_access_t one, two;
    child_t child;

    daxpin_access_init(file, DAXPIN_SLOTS - 1, &one);
    daxpin_access_init(file, DAXPIN_SLOTS - 1, &two);
    assert_int_equal(daxpin_access_begin(&one), 0);
    assert_int_equal(daxpin_access_begin(&two), 0);
    assert_int_equal(daxpin_access_end(&one, 0, 1), 0);
    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 200);
    assert_becomes(file, BREAKING);
    assert_int_equal(daxpin_access_begin(&one), -ESTALE); /* has left */
    assert_blocked(&child, 100);
    assert_int_equal(daxpin_access_end(&two, 0, 1), -ESTALE);
    assert_int_equal(intruder_result(&child, 1000), 0);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

static void test_slots_are_given_out(void **state)
{
    unsigned i, slots[DAXPIN_SLOTS + 1];

    for (i = 0; i < DAXPIN_SLOTS + 1; ++i) {
        slots[i] = daxpin_slot_get();
        assert_int_equal(slots[i], (i < DAXPIN_SLOTS) ? i : DAXPIN_SLOTS - 1);
    }
    daxpin_slot_put(17);
    assert_int_equal(daxpin_slot_get(), 17);
    for (i = 0; i < DAXPIN_SLOTS + 1; ++i) {
        daxpin_slot_put(slots[i]);
    }
    assert_int_equal(daxpin_slot_get(), 0);
    daxpin_slot_put(0);
    (void)state;
}

/* A revoke waits 2 s for an access that does not end. The access fails then. */
static void test_stuck_access(void **state)
{
    const char *path    = unit_path(unit_disk, "stuck");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    daxpin_access_t access;
    child_t child;
    long ms;

    daxpin_access_init(file, 3, &access);
    assert_int_equal(daxpin_access_begin(&access), 0);
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, REVOKE_DRAIN_MS + 1000), 0);
    ms = atol(child.text);
    assert_true(ms >= REVOKE_DRAIN_MS - 100);
    child_finish(&child);
    assert_contains(unit_log, path);
    assert_contains(unit_log, "access");
    assert_int_equal(daxpin_access_end(&access, 0, 1), -ESTALE);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_REVOKED);
    daxpin_file_close(file);
    (void)state;
}

/*
 * Members
 */

static void test_member_follows(void **state)
{
    const char *path    = unit_path(unit_disk, "follows");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, child;

    member_start_open(&member, path);
    assert_child_ok(&member, "put 10 1 65");
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_true(member_has_state(&member, REVOKED)); /* before the intruder */
    assert_int_equal(child_query(&member, "put 10 1 65"), -ESTALE);
    assert_int_equal(child_query(&member, "mem 10"), 0);
    assert_int_equal(child_query(&member, "cause"), 0);
    assert_contains(member.text, path);
    assert_contains(member.text, "truncates");
    child_finish(&child);
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

static void test_waits_for_access_of_member(void **state)
{
    const char *path    = unit_path(unit_disk, "member-access");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, child;

    member_start_open(&member, path);
    assert_child_ok(&member, "begin");
    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 300);
    assert_becomes(file, BREAKING);
    assert_child_ok(&member, "set 100 1"); /* the access may still finish */
    assert_int_equal(child_query(&member, "end"), -ESTALE);
    assert_int_equal(intruder_result(&child, 1000), 0);
    child_finish(&child);
    child_finish(&member);
    daxpin_file_close(file);
    (void)state;
}

/* A revoke does not wait for the access of a member that has died. */
static void test_member_dies_in_access(void **state)
{
    const char *path    = unit_path(unit_disk, "member-dies");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, child;

    member_start_open(&member, path);
    assert_child_ok(&member, "begin");
    child_kill(&member);
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 500), 0);
    child_finish(&child);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_REVOKED);
    daxpin_file_close(file);
    assert_one_revoke();
    (void)state;
}

/* The member dies while the revoke waits for its access. */
static void test_member_dies_during_revoke(void **state)
{
    const char *path    = unit_path(unit_disk, "member-dies-late");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, child;

    member_start_open(&member, path);
    assert_child_ok(&member, "begin");
    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 200);
    child_kill(&member);
    assert_int_equal(intruder_result(&child, 500), 0);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/* The intruder goes on after the time limit for the stopped member. On DAX the
 * stopped member's own hold keeps the blocks, so the intruder waits until the
 * member continues. The member then sees the revoke. */
static void test_member_is_stopped(void **state)
{
    const int held      = unit_is_dax(unit_disk);
    const char *path    = unit_path(unit_disk, "member-stopped");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    child_t member, child;
    char pid[32];

    member_start_open(&member, path);
    assert_child_ok(&member, "begin");
    child_stop(&member);
    intruder_start(&child, "truncate", path, 0);
    if (held) {
        assert_becomes(file, REVOKED);
        assert_blocked(&child, 500);
        assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    } else {
        assert_int_equal(intruder_result(&child, REVOKE_ACKS_MS + 1500), 0);
        assert_true(atol(child.text) >= REVOKE_ACKS_MS - 100);
    }
    snprintf(pid, sizeof(pid), "pid %d", (int)member.pid);
    assert_contains(unit_log, path);
    assert_contains(unit_log, pid);
    assert_int_equal(kill(member.pid, SIGCONT), 0);
    /* The member's store meets the end of the file, or still reaches the file.
     * Its access fails in both cases. */
    assert_child_ok(&member, "set 100 1");
    assert_int_equal(child_query(&member, "end"), -ESTALE);
    assert_member_becomes(&member, REVOKED);
    if (held) {
        assert_int_equal(intruder_result(&child, 2000), 0);
    }
    child_finish(&child);
    child_finish(&member);
    assert_int_equal(unit_file_size(path), 0);
    daxpin_file_close(file);
    (void)state;
}

/*
 * Callbacks
 */

typedef struct revoke_called {
    _Atomic int    count;
    daxpin_pin_t   *pin;    /* the callback unpins it */
    int            close;   /* the callback closes the file */
    int            byte;    /* of memory, as the callback saw it */
    off_t          size;    /* of the file, as the callback saw it */
    daxpin_state_t state;
    char           *memory;
    const char     *path;
} revoke_called_t;

static void revoke_callback(daxpin_file_t *file, void *arg)
{
    revoke_called_t *called = arg;

    called->state = daxpin_file_state(file);
    called->size  = unit_file_size(called->path);
    called->byte  = called->memory[100];
    daxpin_unpin(called->pin);
    if (called->close) {
        daxpin_file_close(file);
    }
    ++called->count;
}

static void test_callbacks(void **state)
{
    const char *path       = unit_path(unit_disk, "callbacks");
    daxpin_file_t *file    = unit_open(path, UNIT_LENGTH);
    char *memory           = daxpin_file_addr(file, 0, UNIT_LENGTH);
    revoke_called_t called = {.memory = memory, .path = path};
    revoke_called_t cancelled = called, closes = called;

    memory[100] = 1;
    assert_ok(daxpin_pin(file, 0, 4096, NULL, &called.pin));
    assert_ok(daxpin_file_on_revoke(file, revoke_callback, &called));
    assert_ok(daxpin_file_on_revoke(file, revoke_callback, &cancelled));
    assert_ok(daxpin_file_on_revoke(file, revoke_callback, &closes));
    daxpin_file_ref(file);
    closes.close = 1;
    daxpin_file_cancel_on_revoke(file, revoke_callback, &cancelled);
    intruder_run("truncate", path, 0, 2000);
    assert_int_equal(called.count, 1);
    assert_int_equal(closes.count, 1);
    assert_int_equal(cancelled.count, 0);
    assert_int_equal(called.byte, 0);           /* memory was replaced */
    assert_int_equal(called.size, UNIT_LENGTH); /* the truncate still waits */
    assert_int_equal(called.state, DAXPIN_STATE_BREAKING);
    assert_null(daxpin_pin_find(file, 0, UNIT_LENGTH));

    assert_int_equal(daxpin_file_on_revoke(file, revoke_callback, &called),
                     -ESTALE);
    assert_message(path);
    daxpin_file_cancel_on_revoke(file, revoke_callback, &called); /* no-op */
    daxpin_file_close(file);
    assert_int_equal(called.count, 1);
    (void)state;
}

/* The callback closes the last reference. */
static void test_callback_closes(void **state)
{
    const char *path       = unit_path(unit_disk, "callback-closes");
    daxpin_file_t *file    = unit_open(path, UNIT_LENGTH);
    revoke_called_t closes = {.path = path, .close = 1};

    closes.memory = daxpin_file_addr(file, 0, UNIT_LENGTH);
    assert_ok(daxpin_file_on_revoke(file, revoke_callback, &closes));
    intruder_run("truncate", path, 0, 2000);
    assert_int_equal(closes.count, 1);
    assert_string_equal(intruder_lease(path), "");
    daxpin_file_close(unit_open(path, UNIT_LENGTH));
    (void)state;
}

/* A reader, a release and a close call no callback. */
static void test_no_callback(void **state)
{
    const char *path       = unit_path(unit_disk, "no-callback");
    daxpin_file_t *file    = unit_open(path, UNIT_LENGTH);
    revoke_called_t called = {.path = path};

    called.memory = daxpin_file_addr(file, 0, UNIT_LENGTH);
    assert_ok(daxpin_file_on_revoke(file, revoke_callback, &called));
    intruder_run("read", path, 0, 2000);
    assert_becomes(file, HELD);
    assert_ok(daxpin_lease_release(file));
    daxpin_file_close(file);
    assert_int_equal(called.count, 0);
    (void)state;
}

static void revoke_slow_callback(daxpin_file_t *file, void *arg)
{
    _Atomic int *phase = arg;

    (void)file;
    *phase = 1;
    unit_sleep_ms(300);
    *phase = 2;
}

/* Cancelling a callback waits until that callback has returned. */
static void test_cancel_waits(void **state)
{
    const char *path    = unit_path(unit_disk, "cancel");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    _Atomic int phase   = 0;
    child_t child;

    assert_ok(daxpin_file_on_revoke(file, revoke_slow_callback,
                                    (void*)&phase));
    intruder_start(&child, "truncate", path, 0);
    assert_true(unit_await(2000, phase != 0));
    daxpin_file_cancel_on_revoke(file, revoke_slow_callback, (void*)&phase);
    assert_int_equal(phase, 2);
    assert_int_equal(intruder_result(&child, 2000), 0);
    child_finish(&child);
    daxpin_file_close(file);
    (void)state;
}

/*
 * Without the holder
 */

static void test_holder_is_killed(void **state)
{
    const char *path = unit_path(unit_disk, "killed");
    child_t holder, members[2], child;
    unsigned i;

    member_start_open(&holder, path);
    for (i = 0; i < 2; ++i) {
        member_start_open(&members[i], path);
    }
    child_kill(&holder);
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 1000), 0);
    child_finish(&child);
    for (i = 0; i < 2; ++i) {
        assert_member_becomes(&members[i], REVOKED);
        assert_int_equal(child_query(&members[i], "put 0 1 1"), -ESTALE);
        assert_int_equal(child_query(&members[i], "cause"), 0);
        assert_contains(members[i].text, path);
        child_finish(&members[i]);
    }
    daxpin_file_close(unit_open(path, UNIT_LENGTH)); /* can be opened again */
    (void)state;
}

/* As long as a process has the file, it goes on, whoever was the first. */
static void test_holders_are_killed(void **state)
{
    const char *path = unit_path(unit_disk, "heirs");
    child_t members[4], reader;
    unsigned holder, i, count;

    for (i = 0; i < 4; ++i) {
        member_start_open(&members[i], path);
    }
    for (count = 4; count > 1; --count) {
        holder = member_await_holder(members, count, path);
        assert_child_ok(&members[holder], "put 0 100 1");
        child_kill(&members[holder]);
        members[holder] = members[count - 1];
        for (i = 0; i < count - 1; ++i) {
            assert_child_ok(&members[i], "put 100 100 2");
            assert_child_ok(&members[i], "check");
        }
    }
    assert_int_equal(member_await_holder(members, 1, path), 0);
    assert_string_equal(intruder_lease(path), "ACTIVE");
    /* The last one is a holder like the first */
    member_start_open(&members[1], path);
    intruder_start(&reader, "read", path, 0);
    assert_int_equal(intruder_result(&reader, 2000), 0);
    assert_member_becomes(&members[1], LENT);
    child_finish(&reader);
    assert_member_becomes(&members[1], HELD);
    intruder_run("truncate", path, 0, 1000);
    for (i = 0; i < 2; ++i) {
        assert_member_becomes(&members[i], REVOKED);
        assert_int_equal(child_query(&members[i], "put 0 1 1"), -ESTALE);
        child_finish(&members[i]);
    }
    (void)state;
}

/* The same while the file is lent: a change in the moment without a holder is
 * not overlooked, and no change is no reason to revoke. */
static void test_holder_is_killed_while_lent(void **state)
{
    const char *path = unit_path(unit_disk, "heir-lent");
    child_t holder, members[2], reader;
    unsigned round, i;
    int fd;

    for (round = 0; round < 2; ++round) {
        member_start_open(&holder, path);
        for (i = 0; i < 2; ++i) {
            member_start_open(&members[i], path);
        }
        intruder_start(&reader, "read", path, 0);
        assert_int_equal(intruder_result(&reader, 2000), 0);
        assert_member_becomes(&members[0], LENT);
        assert_int_equal(kill(holder.pid, SIGSTOP), 0);
        if (round > 0) {
            fd = open(path, O_WRONLY | O_CLOEXEC);
            assert_true(fd >= 0);
            assert_int_equal(pwrite(fd, "X", 1, 0), 1);
            close(fd);
        }
        child_kill(&holder);
        for (i = 0; i < 2; ++i) {
            if (round > 0) {
                assert_member_becomes(&members[i], REVOKED);
            } else {
                assert_true(unit_await(10000,
                                       member_find_holder(members, 2) < 2));
            }
        }
        child_finish(&reader);
        if (round == 0) {
            member_await_holder(members, 2, path);
        }
        for (i = 0; i < 2; ++i) {
            assert_int_equal(child_query(&members[i], "put 0 1 1"),
                             (round > 0) ? -ESTALE : 0);
            /* What a member did not receive it does not close */
            assert_int_equal(child_query(&members[i], "has 0"), 1);
            child_finish(&members[i]);
        }
    }
    (void)state;
}

/* Kill one of three members, or none, and start an intruder at the same time,
 * while all members access the file. */
static void revoke_die_in_traffic(unsigned round)
{
    static const char *const intrusions[] = {"truncate", "write-trunc",
                                             "write"};
    const char *path = unit_path(unit_disk, "deaths");
    child_t members[3], child;
    unsigned i, victim = round % 4;

    for (i = 0; i < 3; ++i) {
        member_start_open(&members[i], path);
        child_send(&members[i], "traffic");
    }
    unit_sleep_ms(round % 5);
    if (victim < 3) {
        child_kill(&members[victim]);
    }
    intruder_start(&child, intrusions[round % 3], path, 0);
    assert_int_equal(intruder_result(&child, 4000), 0);
    child_finish(&child);
    for (i = 0; i < 3; ++i) {
        if (i != victim) {
            assert_int_equal(child_answer(&members[i], 4000), -ESTALE);
            assert_member_becomes(&members[i], REVOKED);
            child_finish(&members[i]);
        }
    }
    assert_string_equal(intruder_lease(path), "");
    unlink(path);
}

static void test_many_deaths(void **state)
{
    unsigned round, rounds = UNIT_SANITIZED ? 12 : pace_rounds(60, 12);

    for (round = 0; round < rounds; ++round) {
        revoke_die_in_traffic(round);
    }
    (void)state;
}

/* After the hand-over the intruder waits for a member's access. */
static void test_holder_is_killed_during_access(void **state)
{
    const char *path = unit_path(unit_disk, "killed-access");
    child_t holder, members[2], child;
    child_t *busy = &members[0], *idle = &members[1];
    uint64_t start;
    long ret;

    member_start_open(&holder, path);
    member_start_open(busy, path);
    member_start_open(idle, path);
    assert_child_ok(busy, "begin");
    child_kill(&holder);
    /* The new holder gives the old lease back and takes its own; for that moment
     * the file is lent, and a truncate does not wait */
    (void)member_await_holder(members, 2, path);
    start = unit_ms();
    intruder_start(&child, "truncate", path, 0);
    ret = child_answer_within(&child, 100);
    if (unit_ms() - start < REVOKE_DRAIN_MS) {
        assert_int_equal(ret, INTRUDER_BLOCKED);
    }
    /* On a busy machine the intruder has perhaps not even begun by then */
    assert_true(unit_await(10000, member_has_state(busy, BREAKING) ||
                                  member_has_state(busy, REVOKED)));
    assert_child_ok(busy, "set 5000 1");
    assert_int_equal(child_query(busy, "end"), -ESTALE);
    if (ret == INTRUDER_BLOCKED) {
        assert_int_equal(intruder_result(&child, 1000), 0);
    }
    child_finish(&child);
    assert_member_becomes(idle, REVOKED);
    assert_member_becomes(busy, REVOKED);
    child_finish(idle);
    child_finish(busy);
    (void)state;
}

/* The holder dies in the middle of a revoke. The members end the revoke. */
static void test_holder_is_killed_during_revoke(void **state)
{
    const char *path = unit_path(unit_disk, "killed-revoke");
    child_t holder, member, idle, child;

    member_start_open(&holder, path);
    member_start_open(&member, path);
    member_start_open(&idle, path);
    assert_child_ok(&holder, "begin"); /* the revoke waits for this access */
    intruder_start(&child, "truncate", path, 0);
    assert_blocked(&child, 200);
    child_kill(&holder);
    assert_int_equal(intruder_result(&child, 1000), 0);
    assert_member_becomes(&member, REVOKED);
    assert_member_becomes(&idle, REVOKED);
    child_finish(&child);
    child_finish(&member);
    child_finish(&idle);
    (void)state;
}

/* The lease of a holder that has no members ends when the holder dies. */
static void test_holder_without_members_is_killed(void **state)
{
    const char *path = unit_path(unit_disk, "killed-alone");
    child_t holder;

    member_start_open(&holder, path);
    child_kill(&holder);
    intruder_run("truncate", path, 0, 500);
    (void)state;
}

static void test_holder_closes_first(void **state)
{
    const char *path = unit_path(unit_disk, "lingers");
    child_t holder, member, late, child;

    member_start_open(&holder, path);
    member_start_open(&member, path);
    assert_child_ok(&holder, "close");
    assert_child_ok(&member, "put 5000 1 66");
    assert_true(member_has_state(&member, HELD));
    member_start_open(&late, path); /* the holder still serves joins */
    assert_int_equal(child_query(&late, "mem 5000"), 66);
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_true(member_has_state(&member, REVOKED));
    assert_true(member_has_state(&late, REVOKED));
    child_finish(&child);
    child_finish(&late);
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

static void test_last_member_closes(void **state)
{
    const char *path = unit_path(unit_disk, "last");
    child_t holder, member;

    member_start_open(&holder, path);
    member_start_open(&member, path);
    assert_child_ok(&holder, "close");
    assert_string_equal(intruder_lease(path), "ACTIVE");
    assert_child_ok(&member, "close");
    assert_true(unit_await(2000, !strcmp(intruder_lease(path), "")));
    child_finish(&member);
    child_finish(&holder);
    (void)state;
}

static void test_lingering_holder_exits(void **state)
{
    const char *path = unit_path(unit_disk, "exits");
    child_t holder, member;

    member_start_open(&holder, path);
    member_start_open(&member, path);
    assert_child_ok(&holder, "close");
    child_finish(&holder);
    assert_true(unit_await(10000, child_query(&member, "holder") == 1));
    assert_member_becomes(&member, HELD);
    assert_child_ok(&member, "put 0 100 1");
    assert_child_ok(&member, "check");
    intruder_run("truncate", path, 0, 500);
    assert_member_becomes(&member, REVOKED);
    child_finish(&member);
    (void)state;
}

/*
 * Memory after a revoke
 */

static void test_memory_afterwards(void **state)
{
    const char *path    = unit_path(unit_disk, "afterwards");
    daxpin_file_t *file = unit_open(path, UNIT_LENGTH);
    char *memory        = daxpin_file_addr(file, 0, UNIT_LENGTH);
    unsigned i;

    memset(memory, 'm', UNIT_LENGTH);
    intruder_run("truncate", path, 100, 2000);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_REVOKED);
    for (i = 0; i < UNIT_LENGTH; ++i) {
        assert_int_equal(memory[i], 0);
    }
    assert_ptr_equal(daxpin_file_addr(file, 0, 100), memory);
    memset(memory, 'n', UNIT_LENGTH);
    assert_int_equal(unit_file_size(path), 100);
    assert_int_equal(unit_file_byte(path, 50), 'm');
    assert_int_equal(truncate(path, UNIT_LENGTH), 0);
    assert_int_equal(unit_file_byte(path, 5000), 0);
    daxpin_file_close(file);
    (void)state;
}

/*
 * Truncates through the shared open file description
 *
 * The kernel breaks no lease for them. The test uses other processes, because
 * cmocka has its own handler of SIGBUS.
 */

static void revoke_check_cut(const char *cutter, const char *putter)
{
    const char *path = unit_path(unit_memory, "cut");
    child_t members[2], *cuts, *puts;
    unsigned i;

    for (i = 0; i < 2; ++i) {
        member_start_open(&members[i], path);
    }
    cuts = &members[strcmp(cutter, "member") == 0];
    puts = &members[strcmp(putter, "member") == 0];
    assert_child_ok(puts, "put 5000 1 1");
    assert_child_ok(cuts, "cut 0");
    assert_int_equal(child_query(puts, "put 5000 10 1"), -ESTALE);
    for (i = 0; i < 2; ++i) {
        assert_member_becomes(&members[i], REVOKED);
        /* A member may hear of the end first, and of the cause then */
        assert_true(unit_await(10000,
                               (child_query(&members[i], "cause") == 0) &&
                               (strstr(members[i].text, path) != NULL)));
        assert_contains(members[i].text, "truncated");
        assert_child_ok(&members[i], "set 200000 1"); /* not in the file */
        assert_int_equal(child_query(&members[i], "put 0 1 1"), -ESTALE);
    }
    assert_int_equal(unit_file_size(path), 0);
    for (i = 0; i < 2; ++i) {
        child_finish(&members[i]);
    }
}

static void test_cut_through_description(void **state)
{
    revoke_check_cut("holder", "holder");
    revoke_check_cut("holder", "member");
    revoke_check_cut("member", "holder");
    revoke_check_cut("member", "member");
    (void)state;
}

/* The holder ends access in the moment in which the fault handler of a member
 * has replaced the control page, so that the holder's cause is not on it. */
static void test_fault_meets_break(void **state)
{
    const char *path = unit_path(unit_disk, "meets");
    char cause[DAXPIN_CAUSE_MAX];
    child_t holder, other;
    daxpin_file_t *file;

    member_start(&other);
    member_start_open(&holder, path);
    file = unit_open(path, UNIT_LENGTH);
    pthread_mutex_lock(&daxpin_mutex); /* BREAK has to wait */
    daxpin_control_detach(file->control, DAXPIN_STATE_BREAKING);
    atomic_store(&file->parted, 1);
    child_send(&other, "grow %s %d", path, 2 * UNIT_LENGTH);
    assert_member_becomes(&holder, BREAKING);
    pthread_mutex_unlock(&daxpin_mutex);
    assert_int_equal(child_answer(&other, REVOKE_ACKS_MS), 0);
    assert_becomes(file, REVOKED);
    daxpin_file_cause(file, cause, sizeof(cause));
    assert_contains(cause, path);
    child_finish(&other);
    daxpin_file_close(file);
    child_finish(&holder);
    (void)state;
}

/*
 * SIGBUS in memory that is not the library's
 */

static volatile sig_atomic_t revoke_faults;
static sigjmp_buf            revoke_jump;

static void revoke_on_bus(int signo)
{
    (void)signo;
    ++revoke_faults;
    siglongjmp(revoke_jump, 1);
}

static void revoke_on_bus_info(int signo, siginfo_t *info, void *context)
{
    (void)context;
    (void)info;
    revoke_on_bus(signo);
}

static void revoke_set_handler(const char *kind)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    if (strcmp(kind, "plain") == 0) {
        action.sa_handler = revoke_on_bus;
    } else if (strcmp(kind, "info") == 0) {
        action.sa_sigaction = revoke_on_bus_info;
        action.sa_flags     = SA_SIGINFO;
    }
    sigaction(SIGBUS, &action, NULL);
}

/* Fault in memory of this process's own. The arguments are the kind of handler,
 * a path for this process and a path for the library. Report how often the
 * handler was called. */
static int revoke_bus_child(int argc, char **argv)
{
    daxpin_file_t *file;
    volatile char *memory;
    int fd;

    (void)argc;
    revoke_set_handler(argv[1]);
    if (daxpin_file_open(argv[3], UNIT_LENGTH, NULL, &file) != 0) {
        return 1;
    }
    fd     = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    memory = unit_map(fd, 4096);
    if (sigsetjmp(revoke_jump, 1) == 0) {
        memory[0] = 1; /* beyond the end of the file */
    }
    child_report(revoke_faults, "%s",
                 daxpin_state_name(daxpin_file_state(file)));
    return 0;
}

static void revoke_check_bus(const char *kind)
{
    const char *own    = unit_path(unit_disk, "own");
    const char *leased = unit_path(unit_disk, "leased");
    int status;
    child_t child;

    child_spawn(&child, "bus", kind, own, leased, NULL);
    if (strcmp(kind, "default") == 0) {
        assert_int_equal(child_answer(&child, CHILD_WAIT_MS), CHILD_DIED);
        close(child.out);
        status = child_reap(&child, CHILD_WAIT_MS);
        /* A sanitizer reports the SIGBUS and exits */
        assert_true(UNIT_SANITIZED ? (status != 0) :
                    (WIFSIGNALED(status) && (WTERMSIG(status) == SIGBUS)));
        return;
    }
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), 1);
    assert_string_equal(child.text, "HELD");
    child_finish(&child);
}

static void test_fault_in_other_memory(void **state)
{
    revoke_check_bus("plain");
    revoke_check_bus("info");
    revoke_check_bus("default");
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"bus", revoke_bus_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_truncate_during_large_copy),
        unit_case(test_waits_for_access),
        unit_case(test_users_of_shared_slot),
        unit_case(test_slots_are_given_out),
        unit_case(test_stuck_access),
        unit_case(test_member_follows),
        unit_case(test_waits_for_access_of_member),
        unit_case(test_member_dies_in_access),
        unit_case(test_member_dies_during_revoke),
        unit_case(test_member_is_stopped),
        unit_case(test_callbacks),
        unit_case(test_callback_closes),
        unit_case(test_no_callback),
        unit_case(test_cancel_waits),
        unit_case(test_holder_is_killed),
        unit_case(test_holders_are_killed),
        unit_case(test_holder_is_killed_while_lent),
        unit_case(test_many_deaths),
        unit_case(test_holder_is_killed_during_access),
        unit_case(test_holder_is_killed_during_revoke),
        unit_case(test_holder_without_members_is_killed),
        unit_case(test_holder_closes_first),
        unit_case(test_last_member_closes),
        unit_case(test_lingering_holder_exits),
        unit_case(test_memory_afterwards),
        unit_case(test_cut_through_description),
        unit_case(test_fault_meets_break),
        unit_case(test_fault_in_other_memory)
    };

    return unit_main("revoke", argc, argv, children, tests);
}
