/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* A turn of the loop has only those files take a step that have one to take */

#include "disk.h"
#include "member.h"

#include "daxpin/file/file.h"
#include "daxpin/file/revoke.h"

/* Count the steps of each file, by a function that every step calls. */
static uint64_t turns_count_step(daxpin_file_t *file, uint64_t now);
#define daxpin_revoke_tick turns_count_step
#include "library.c"
#undef daxpin_revoke_tick

#define TURNS_FILES  8
#define TURNS_EVENTS 50
#define TURNS_SECOND 12 /* steps of a file to which nothing happens, at most */

static daxpin_file_t *turns_files[TURNS_FILES];
static unsigned      turns_steps[TURNS_FILES]; /* under daxpin_mutex */

static uint64_t turns_count_step(daxpin_file_t *file, uint64_t now)
{
    unsigned i;

    for (i = 0; i < TURNS_FILES; ++i) {
        turns_steps[i] += turns_files[i] == file;
    }
    return daxpin_revoke_tick(file, now);
}

static unsigned turns_get(unsigned i)
{
    unsigned steps;

    pthread_mutex_lock(&daxpin_mutex);
    steps = turns_steps[i];
    pthread_mutex_unlock(&daxpin_mutex);
    return steps;
}

/* Wait until little happens, and begin to count. */
static void turns_forget(void)
{
    unit_sleep_ms(100);
    pthread_mutex_lock(&daxpin_mutex);
    memset(turns_steps, 0, sizeof(turns_steps));
    pthread_mutex_unlock(&daxpin_mutex);
}

/* Open all files. */
static void turns_begin(void)
{
    char name[32];
    unsigned i;

    for (i = 0; i < TURNS_FILES; ++i) {
        snprintf(name, sizeof(name), "turns-%u", i);
        assert_ok(daxpin_file_open(unit_path(unit_memory, name), UNIT_LENGTH,
                                   NULL, &turns_files[i]));
    }
    turns_forget();
}

static void turns_end(void)
{
    unsigned i;

    for (i = 0; i < TURNS_FILES; ++i) {
        daxpin_file_close(turns_files[i]);
        turns_files[i] = NULL;
    }
}

/* Check that the first file has taken so many steps, and the others, to which
 * nothing has happened, only those that are due now and then. */
static void turns_check(unsigned steps, uint64_t start)
{
    const unsigned seconds = (unsigned)((unit_ms() - start) / 1000) + 1;
    unsigned i;

    assert_true(turns_get(0) >= steps);
    for (i = 1; i < TURNS_FILES; ++i) {
        assert_in_range(turns_get(i), 0, TURNS_SECOND * seconds);
    }
}

/* Open the first file for reading: its lease breaks. */
static void turns_break(void)
{
    int fd;

    assert_true(unit_await(1000, daxpin_file_state(turns_files[0]) ==
                                 DAXPIN_STATE_HELD));
    fd = open(daxpin_file_path(turns_files[0]), O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    close(fd);
}

static void test_break(void **state)
{
    const uint64_t start = unit_ms();
    unsigned i;

    turns_begin();
    for (i = 0; i < TURNS_EVENTS; ++i) {
        turns_break();
    }
    turns_check(TURNS_EVENTS, start);
    turns_end();
    (void)state;
}

static void test_message(void **state)
{
    child_t member;
    uint64_t start;
    unsigned i, steps;

    turns_begin();
    child_spawn(&member, "member", NULL);
    assert_child_ok(&member, "open %s %d 1000",
                    daxpin_file_path(turns_files[0]), UNIT_LENGTH);
    start = unit_ms();
    turns_forget();
    for (i = 1; i <= TURNS_EVENTS; ++i) { /* it tells the holder of each */
        steps = turns_get(0);
        assert_child_ok(&member, "open %s %d 1000",
                        daxpin_file_path(turns_files[0]),
                        (int)(UNIT_LENGTH + i * 4096));
        /* One step may be for several messages */
        assert_true(unit_await(1000, turns_get(0) > steps));
    }
    turns_check(TURNS_EVENTS, start);
    child_kill(&member);
    turns_end();
    (void)state;
}

/* Something that was told to nobody does not stay so while the loop has something
 * to do. */
static void test_missed(void **state)
{
    uint64_t until;
    unsigned i;

    turns_begin();
    until = unit_ms() + 2500;
    while (unit_ms() < until) {
        turns_break();
        unit_sleep_ms(10);
    }
    for (i = 1; i < TURNS_FILES; ++i) {
        assert_true(turns_get(i) >= 1);
    }
    turns_end();
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {MEMBER_ENTRY, {NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_break),
                                       unit_case(test_message),
                                       unit_case(test_missed)};

    return unit_main("turns", argc, argv, children, tests);
}
