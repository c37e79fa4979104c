/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The limit of open files. The tests are in order: what the limit is when the
 * library looks first, counts. */

#include "child.h"

#include <sys/resource.h>

#define LIMIT_LOW   96 /* more than the first file takes */
#define LIMIT_FILES 40

static rlim_t limit_get(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
}

static void limit_set(rlim_t soft)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Open files until one cannot be opened, and close them. Return how many could
 * be. error_p: of the one that could not be. */
static int limit_open_many(int *error_p)
{
    daxpin_file_t *files[LIMIT_FILES];
    char name[32];
    int i, count;

    *error_p = 0;
    for (count = 0; (count < LIMIT_FILES) && (*error_p == 0); ++count) {
        snprintf(name, sizeof(name), "limit.%d", count);
        *error_p = daxpin_file_open(unit_path(unit_memory, name), UNIT_LENGTH,
                                    NULL, &files[count]);
    }
    count -= *error_p != 0;
    for (i = 0; i < count; ++i) {
        daxpin_file_close(files[i]);
    }
    return count;
}

/* The soft limit is raised when few descriptors are left, and not before. */
static void test_raised(void **state)
{
    struct rlimit limit;
    daxpin_file_t *file;
    int error;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 1024) {
        skip();
    }
    limit_set(LIMIT_LOW);
    file = unit_open(unit_path(unit_memory, "limit"), UNIT_LENGTH);
    assert_int_equal(limit_get(), LIMIT_LOW);
    assert_int_equal(limit_open_many(&error), LIMIT_FILES);
    assert_true(limit_get() > LIMIT_LOW);
    daxpin_file_close(file);
    (void)state;
}

/* A limit that the program has set since is the program's. */
static void test_kept(void **state)
{
    const rlim_t old = limit_get(), own = LIMIT_LOW + 10;
    int error;

    limit_set(own);
    assert_true(limit_open_many(&error) < LIMIT_FILES);
    assert_int_equal(error, -EMFILE);
    assert_int_equal(limit_get(), own);
    limit_set(old);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {
        unit_case(test_raised),
        unit_case(test_kept)
    };

    return unit_main("limit", argc, argv, children, tests);
}
