/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* File systems whose leases do not notify of every process: here an overlay,
 * whose files change in the directory below it as well */

#include "intruder.h"

#include "daxpin/file/file.h"
#include "daxpin/os/fstype.h"

static char fstype_overlay[PATH_MAX]; /* mounted; "": none */

/* Mount an overlay of two directories of a tmpfs. Skip the test if this process
 * may not mount. */
#define fstype_need_overlay() \
    do { \
        if (!fstype_mount()) { \
            print_message("# no overlay can be mounted here\n"); \
            skip(); \
        } \
    } while (0)

static int fstype_mount(void)
{
    const char *dir = unit_path(unit_memory, "overlay");
    char lower[PATH_MAX], upper[PATH_MAX], work[PATH_MAX];
    char options[4 * PATH_MAX];

    unsetenv(DAXPIN_FSTYPE_ENV);
    if (fstype_overlay[0] != '\0') {
        return 1;
    }
    if (!unit_mount(dir, "size=16m")) {
        return 0;
    }
    snprintf(lower, sizeof(lower), "%s/lower", dir);
    snprintf(work, sizeof(work), "%s/work", dir);
    snprintf(upper, sizeof(upper), "%s/upper", dir);
    snprintf(fstype_overlay, sizeof(fstype_overlay), "%s/all", dir);
    snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s",
             lower, upper, work);
    if ((mkdir(lower, 0755) != 0) || (mkdir(work, 0755) != 0) ||
        (mkdir(upper, 0755) != 0) ||
        (mkdir(fstype_overlay, 0755) != 0) ||
        (mount("none", fstype_overlay, "overlay", 0, options) != 0)) {
        fstype_overlay[0] = '\0';
        return 0;
    }
    return 1;
}

static int fstype_count(const char *text, const char *word)
{
    int count = 0;

    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        ++count;
    }
    return count;
}

static void test_table(void **state)
{
    static const unsigned long trusted[] = {
        0xef53, 0x58465342, 0x01021994, 0x9123683e
    };
    static const unsigned long others[] = {
        0x6969, 0x65735546, 0x01021997, 0x0bd00bd0, 0x794c7630, 0xff534d42,
        0x2fc12fc1, 0x00c36400, 0x47504653, 0x19830326
    };
    char text[DAXPIN_FSTYPE_TEXT_MAX];
    daxpin_fstype_t type;
    size_t i;

    for (i = 0; i < sizeof(trusted) / sizeof(trusted[0]); ++i) {
        daxpin_fstype_find(trusted[i], &type);
        assert_null(type.why);
        assert_int_equal(type.counts, i < 3); /* btrfs compresses */
    }
    for (i = 0; i < sizeof(others) / sizeof(others[0]); ++i) {
        daxpin_fstype_find(others[i], &type);
        assert_non_null(type.why);
        assert_non_null(type.name);
        assert_int_equal(type.counts, 0);
        assert_contains(daxpin_fstype_explain(&type, text, sizeof(text)),
                        DAXPIN_FSTYPE_ENV "=1");
    }
    (void)state;
}

/* What is in no table is not trusted, and neither is what cannot be queried. */
static void test_unknown(void **state)
{
    char text[DAXPIN_FSTYPE_TEXT_MAX];
    daxpin_fstype_t type;
    int fd;

    daxpin_fstype_find(0x12345678, &type);
    assert_non_null(type.why);
    assert_contains(daxpin_fstype_explain(&type, text, sizeof(text)),
                    "0x12345678");
    assert_int_equal(daxpin_fstype_of_fd(-1, &type), -EBADF);
    assert_non_null(type.why);
    assert_int_equal(daxpin_fstype_of_path("/nonexistent", &type), -ENOENT);
    assert_non_null(type.why);
    assert_ok(daxpin_fstype_of_path(unit_memory, &type));
    assert_null(type.why);
    assert_ok(daxpin_fstype_of_path("/proc", &type));
    assert_non_null(type.why);
    fd = memfd_create("fstype", MFD_CLOEXEC); /* its mount is not listed */
    assert_ok(daxpin_fstype_of_fd(fd, &type));
    assert_null(type.why);
    close(fd);
    (void)state;
}

static void test_refused(void **state)
{
    const char *path, *old;
    daxpin_file_t *file = NULL;
    struct stat before, after;

    fstype_need_overlay();
    path = unit_path(fstype_overlay, "refused");
    old  = unit_path(fstype_overlay, "old");
    assert_int_equal(daxpin_file_open(path, UNIT_LENGTH, NULL, &file),
                     -EOPNOTSUPP);
    assert_null(file);
    assert_message(path);
    assert_message("overlayfs");
    assert_message("mount a volume");
    assert_message("DAXPIN_ANY_FS=1");
    assert_false(unit_exists(path));

    unit_make_file(old, 5000, 'x');
    assert_int_equal(stat(old, &before), 0);
    assert_int_equal(daxpin_file_open(old, UNIT_LENGTH, NULL, &file),
                     -EOPNOTSUPP);
    assert_int_equal(stat(old, &after), 0);
    assert_int_equal(after.st_size, 5000);
    assert_int_equal(after.st_blocks, before.st_blocks);
    assert_string_equal(intruder_lease(old), "");
    (void)state;
}

/* A directory that the user names, on a file system that cannot be trusted, is
 * an error, rather than memory that daxpin has no concern with. */
static void test_adopt_refused(void **state)
{
    const char *path;
    daxpin_file_t *file = NULL;
    uint64_t offset;
    void *memory;
    int fd;

    fstype_need_overlay();
    path = unit_path(fstype_overlay, "adopted");
    unit_make_file(path, 8192, 'x');
    unit_use_dir(fstype_overlay);
    memory = unit_map_file(path, 8192, &fd);
    assert_int_equal(daxpin_file_adopt(memory, 8192, NULL, &file, &offset),
                     -EOPNOTSUPP);
    assert_null(file);
    assert_message(path);
    assert_message("overlayfs");
    assert_true(fcntl(fd, F_GETFD) >= 0);

    setenv(DAXPIN_FSTYPE_ENV, "1", 1);
    assert_ok(daxpin_file_adopt(memory, 8192, NULL, &file, &offset));
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    daxpin_file_unadopt(file, memory, 8192);
    daxpin_file_close(file);
    munmap(memory, 8192);
    close(fd);
    (void)state;
}

/* The user does without, and is warned once a file. */
static void test_allowed(void **state)
{
    const daxpin_params_t params = {.size = sizeof(params), .any_fs = 1};
    const char *path, *other;
    daxpin_file_t *file;

    fstype_need_overlay();
    path  = unit_path(fstype_overlay, "allowed");
    other = unit_path(fstype_overlay, "variable");
    assert_ok(daxpin_file_open(path, UNIT_LENGTH, &params, &file));
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    daxpin_file_close(file);
    assert_int_equal(fstype_count(unit_log, "overlayfs"), 1);
    assert_contains(unit_log, path);
    assert_ok(daxpin_file_open(path, UNIT_LENGTH, &params, &file));
    daxpin_file_close(file);
    assert_int_equal(fstype_count(unit_log, "overlayfs"), 1);

    setenv(DAXPIN_FSTYPE_ENV, "0", 1);
    assert_int_equal(daxpin_file_open(other, UNIT_LENGTH, NULL, &file),
                     -EOPNOTSUPP);
    setenv(DAXPIN_FSTYPE_ENV, "yes", 1);
    assert_ok(daxpin_file_open(other, UNIT_LENGTH, NULL, &file));
    daxpin_file_close(file);
    assert_int_equal(fstype_count(unit_log, "overlayfs"), 2);
    unsetenv(DAXPIN_FSTYPE_ENV);
    (void)state;
}

/* Lend a file to a reader, take a block away meanwhile, as compression does,
 * and wait until the reader has left. Return the state that follows. */
static daxpin_state_t fstype_lose_block(daxpin_file_t *file)
{
    child_t child;
    int fd;

    intruder_start(&child, "read", daxpin_file_path(file), 0);
    assert_int_equal(intruder_result(&child, CHILD_WAIT_MS), 0);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_LENT);
    fd = daxpin_file_borrow_fd(file);
    assert_true(fd >= 0);
    pthread_mutex_lock(&daxpin_mutex);
    ++file->growing; /* else the watch takes it for another process */
    pthread_mutex_unlock(&daxpin_mutex);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               UNIT_LENGTH / 2, UNIT_LENGTH / 4), 0);
    daxpin_file_return_fd(file);
    child_finish(&child);
    unit_await(CHILD_WAIT_MS,
               (daxpin_file_state(file) == DAXPIN_STATE_HELD) ||
               (daxpin_file_state(file) == DAXPIN_STATE_REVOKED));
    pthread_mutex_lock(&daxpin_mutex);
    --file->growing;
    pthread_mutex_unlock(&daxpin_mutex);
    return daxpin_file_state(file);
}

/* Fewer blocks are a loss only where their number is steady. */
static void test_blocks(void **state)
{
    const daxpin_params_t params = {.size = sizeof(params), .any_fs = 1};
    daxpin_file_t *file;

    fstype_need_overlay();
    assert_ok(daxpin_file_open(unit_path(fstype_overlay, "blocks"), UNIT_LENGTH,
                               &params, &file));
    assert_int_equal(fstype_lose_block(file), DAXPIN_STATE_HELD);
    daxpin_file_close(file);

    file = unit_open(unit_path(unit_memory, "blocks"), UNIT_LENGTH);
    assert_int_equal(fstype_lose_block(file), DAXPIN_STATE_REVOKED);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_table),
        unit_case(test_unknown),
        unit_case(test_refused),
        unit_case(test_adopt_refused),
        unit_case(test_allowed),
        unit_case(test_blocks)
    };

    return unit_main("fstype", argc, argv, children, tests);
}
