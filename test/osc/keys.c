/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The info of a window has these values, and keeps all that is daxpin's when the
 * program sets other values, or sets again what it has got. Other keys end as
 * those of a window without daxpin do.
 *
 * usage: keys KIND PATH [KEY=GIVEN=USED]...
 *        KIND, PATH as in window.h; GIVEN "": the key is not given; USED "": it
 *        is not in use, "*": any value
 */

#define _GNU_SOURCE

#include "window.h"

#include <daxpin_mpi.h>

#define OTHER "other"

/* Open MPI 4.1 returns what the program has set last, even if that is not used */
#define RETURNS_GIVEN (OMPI_MAJOR_VERSION < 5)

static MPI_Win win;

/* Read a value of the window's info. Return whether there is one. */
static int get(MPI_Win from, const char *key, char *value)
{
    MPI_Info info;
    int flag;

    check_mpi(MPI_Win_get_info(from, &info), "MPI_Win_get_info");
    MPI_Info_get(info, key, MPI_MAX_INFO_VAL, value, &flag);
    MPI_Info_free(&info);
    return flag;
}

static void set(MPI_Win to, const char *key, const char *value)
{
    MPI_Info info;

    MPI_Info_create(&info);
    MPI_Info_set(info, key, value);
    check_mpi(MPI_Win_set_info(to, info), "MPI_Win_set_info");
    MPI_Info_free(&info);
}

static int is_ours(const char *key)
{
    return (strncmp(key, "daxpin_", 7) == 0) ||
           (strcmp(key, "alloc_type") == 0) ||
           (strncmp(key, "storage_alloc_", 14) == 0) ||
           (strcmp(key, "alloc_shared_noncontig") == 0);
}

/* Return an info with the keys of daxpin in another one, each with its value or,
 * unless value is NULL, with this one; then without the keys of daxpin_mpi.h. */
static MPI_Info copy(MPI_Info all, const char *value)
{
    char key[MPI_MAX_INFO_KEY + 1], old[MPI_MAX_INFO_VAL + 1];
    int count, flag, i;
    MPI_Info some;

    MPI_Info_create(&some);
    MPI_Info_get_nkeys(all, &count);
    for (i = 0; i < count; ++i) {
        MPI_Info_get_nthkey(all, i, key);
        MPI_Info_get(all, key, MPI_MAX_INFO_VAL, old, &flag);
        if (is_ours(key) &&
            ((value == NULL) || (strncmp(key, "daxpin_mpi", 10) != 0))) {
            MPI_Info_set(some, key, (value != NULL) ? value : old);
        }
    }
    return some;
}

/* Check that the window has these keys and values. */
static void check_same(MPI_Info before, const char *when)
{
    char key[MPI_MAX_INFO_KEY + 1], old[MPI_MAX_INFO_VAL + 1];
    char new[MPI_MAX_INFO_VAL + 1];
    int count, flag, i;

    MPI_Info_get_nkeys(before, &count);
    check(count > 0, "the window has no key of daxpin");
    for (i = 0; i < count; ++i) {
        MPI_Info_get_nthkey(before, i, key);
        MPI_Info_get(before, key, MPI_MAX_INFO_VAL, old, &flag);
        check(get(win, key, new), "%s: no %s", when, key);
        check(strcmp(old, new) == 0, "%s: %s is %s, not %s", when, key, new,
              old);
    }
}

static void test_set(void)
{
    static const char *const values[] = {OTHER, NULL, OTHER};
    MPI_Info all, before, changed, expected;
    daxpin_file_t *file;
    MPI_Aint offset;
    size_t i;

    check_mpi(MPI_Win_get_info(win, &all), "MPI_Win_get_info");
    before = copy(all, NULL);
    for (i = 0; i < sizeof(values) / sizeof(values[0]); ++i) {
        changed = copy(all, values[i]);
        check_mpi(MPI_Win_set_info(win, changed), "MPI_Win_set_info");
        expected = (RETURNS_GIVEN && (values[i] != NULL)) ? changed : before;
        check_same(expected, (values[i] != NULL) ? "other values" :
                                                   "the same values");
        MPI_Info_free(&changed);
    }
    check_mpi(daxpin_mpi_file(win, &file, &offset), "daxpin_mpi_file");
    MPI_Info_free(&before);
    MPI_Info_free(&all);
}

/* Keys that nobody knows, and those of which this window makes no use */
static void test_unknown(void)
{
    static const char *const keys[] = {"unknown", "daxpin_unknown"};
    char value[MPI_MAX_INFO_VAL + 1];
    MPI_Win plain;
    size_t i;
    void *base;

    check_mpi(MPI_Win_allocate(8, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                               &plain), "MPI_Win_allocate");
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i) {
        set(plain, keys[i], "true");
        set(win, keys[i], "true");
        check(get(win, keys[i], value) == get(plain, keys[i], value),
              "%s is not as without daxpin", keys[i]);
    }
    check_mpi(MPI_Win_free(&plain), "MPI_Win_free");
}

/* Cut "KEY=GIVEN=USED" into its parts. */
static char *cut(char **text)
{
    return strsep(text, "=");
}

int main(int argc, char **argv)
{
    char value[MPI_MAX_INFO_VAL + 1], *text, *key, *given;
    const char *used[64][2];
    window_t window = {.size = 4096, .unit = 1};
    int i;

    check_init(&argc, &argv);
    check((argc >= 3) && (argc < 64), "usage: keys KIND PATH [KEY=GIVEN=USED]");
    window.kind = argv[1];
    window.path = argv[2];
    MPI_Info_create(&window.info);
    for (i = 3; i < argc; ++i) {
        text       = argv[i];
        key        = cut(&text);
        given      = cut(&text);
        used[i][0] = key;
        used[i][1] = text;
        if (given[0] != '\0') {
            MPI_Info_set(window.info, key, given);
        }
    }
    check_mpi(window_open(&window), "a window");
    win = window.win;
    for (i = 3; i < argc; ++i) {
        if (!get(win, used[i][0], value)) {
            value[0] = '\0';
        }
        check((strcmp(value, used[i][1]) == 0) ||
              ((strcmp(used[i][1], "*") == 0) && (value[0] != '\0')),
              "%s is %s, not %s", used[i][0], value, used[i][1]);
    }
    test_set();
    test_unknown();
    MPI_Info_free(&window.info);
    window_close(&window);
    MPI_Finalize();
    return 0;
}
