/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Structures of parameters, from programs of other releases */

#include "child.h"

#include "daxpin/file/params.h"

/* What a later release could have */
typedef struct params_later {
    daxpin_params_t params;
    uint64_t        later;
} params_later_t;

static void test_none(void **state)
{
    const daxpin_params_t zero = {0};
    daxpin_params_t params     = {.mode = 1};

    assert_int_equal(daxpin_params_copy(NULL, &params), 0);
    assert_memory_equal(&params, &zero, sizeof(zero));
    (void)state;
}

static void test_sizes(void **state)
{
    daxpin_params_t given = {.timeout_ms = 7, .mode = 0640, .any_fs = 1};
    daxpin_params_t params;

    assert_int_equal(daxpin_params_copy(&given, &params), 0);
    assert_int_equal(params.timeout_ms, 7);
    assert_int_equal(params.mode, 0640);
    assert_int_equal(params.any_fs, 1);

    given.size = sizeof(given);
    assert_int_equal(daxpin_params_copy(&given, &params), 0);
    assert_int_equal(params.timeout_ms, 7);
    assert_int_equal(params.mode, 0640);
    assert_int_equal(params.any_fs, 1);
    (void)state;
}

static void test_too_small(void **state)
{
    daxpin_params_t given = {.size = sizeof(size_t)}, params;
    daxpin_owner_t owner  = {.size = 1}, copy;

    assert_int_equal(daxpin_params_copy(&given, &params), -EINVAL);
    assert_message("daxpin_params_t");
    assert_int_equal(daxpin_owner_copy(&owner, &copy), -EINVAL);
    assert_message("daxpin_owner_t");
    (void)state;
}

static void test_later_release(void **state)
{
    params_later_t given = {.params = {.size = sizeof(given), .timeout_ms = 9}};
    daxpin_params_t params;

    assert_int_equal(daxpin_params_copy(&given.params, &params), 0);
    assert_int_equal(params.timeout_ms, 9);
    given.later = 1;
    assert_int_equal(daxpin_params_copy(&given.params, &params), -EINVAL);
    assert_message(daxpin_version());
    (void)state;
}

/* The calls that take them look at the size before they do anything */
static void test_calls(void **state)
{
    const char *path             = unit_path(unit_disk, "params");
    const daxpin_params_t params = {.size = 3};
    const daxpin_owner_t owner   = {.size = 3};
    daxpin_file_t *file;
    daxpin_pin_t *pin;
    uint64_t offset;
    char *memory;
    int fd;

    assert_int_equal(daxpin_file_open(path, 4096, &params, &file), -EINVAL);
    assert_null(file);
    assert_int_not_equal(access(path, F_OK), 0);
    file = unit_open(path, 4096);
    assert_int_equal(daxpin_pin(file, 0, 4096, &owner, &pin), -EINVAL);
    assert_null(pin);
    daxpin_file_close(file);

    unit_use_dir(unit_disk);
    memory = unit_map_file(path, 4096, &fd);
    assert_int_equal(daxpin_file_adopt(memory, 8, &params, &file, &offset),
                     -EINVAL);
    assert_null(file);
    munmap(memory, 4096);
    close(fd);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_none),
        unit_case(test_sizes),
        unit_case(test_too_small),
        unit_case(test_later_release),
        unit_case(test_calls)
    };

    return unit_main("params", argc, argv, children, tests);
}
