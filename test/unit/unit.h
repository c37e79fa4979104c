/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What every unit test needs: directories, files, time, the library's log */

#ifndef UNIT_H_
#define UNIT_H_

#include "../pace.h"
#include "daxpin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNIT_UNUSED  __attribute__((unused))
#define UNIT_RACY    __attribute__((no_sanitize("thread"), noinline))
#define UNIT_NOBODY  65534
#define UNIT_LENGTH  (256 * 1024)
#define UNIT_SECONDS 40 /* that one test may take */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define UNIT_SANITIZED 1
#else
#define UNIT_SANITIZED 0
#endif

/* Check that the library's last message contains a word. */
#define assert_message(_word) assert_contains(daxpin_errormsg(), _word)

static char     unit_disk[256];   /* a directory under $TMPDIR */
static char     unit_memory[256]; /* a directory on tmpfs */
static unsigned unit_number;
static int      unit_may_mount;

/* Return the factor by which every time limit grows. */
static UNIT_UNUSED unsigned unit_slow(void)
{
    return pace_slow() * (UNIT_SANITIZED ? 3 : 1);
}

static UNIT_UNUSED uint64_t unit_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static UNIT_UNUSED void unit_sleep_ms(unsigned ms)
{
    struct timespec pause = {.tv_sec  = ms / 1000,
                             .tv_nsec = ms % 1000 * 1000000};

    while ((nanosleep(&pause, &pause) != 0) && (errno == EINTR)) {
    }
}

/* Wait until a condition holds. Return whether it held in time. */
#define unit_await(_ms, _condition) \
    ({ \
        uint64_t unit_end = unit_ms() + (uint64_t)(_ms) * unit_slow(); \
        int unit_holds; \
        while (!(unit_holds = !!(_condition)) && (unit_ms() < unit_end)) { \
            unit_sleep_ms(1); \
        } \
        unit_holds; \
    })

#define assert_contains(_text, _word) \
    do { \
        const char *unit_text = (_text); \
        if (strstr(unit_text, _word) == NULL) { \
            fail_msg("\"%s\" is not in \"%s\"", _word, unit_text); \
        } \
    } while (0)

/* Check that a call of the library succeeds, or show the library's message. */
#define assert_ok(_call) \
    do { \
        int unit_ret = (_call); \
        if (unit_ret != 0) { \
            fail_msg("%s: %d: %s", #_call, unit_ret, daxpin_errormsg()); \
        } \
    } while (0)

/*
 * The library's log
 */

static char           unit_log_text[65536];
static _Atomic size_t unit_log_used;
static _Atomic size_t unit_log_done; /* of these bytes, those that are there */

/* Return a copy of all messages. Other threads may add more meanwhile; a message
 * of which a part is there is waited for. */
static UNIT_UNUSED const char *unit_log_get(void)
{
    static char copy[sizeof(unit_log_text)];
    size_t used = 0;

    (void)unit_await(2000, unit_log_done == (used = unit_log_used));
    used = (used < sizeof(copy)) ? used : sizeof(copy) - 1;
    memcpy(copy, unit_log_text, used);
    copy[used] = '\0';
    return copy;
}

#define unit_log unit_log_get()

static UNIT_UNUSED void unit_log_add(daxpin_log_level_t level,
                                     const char *message)
{
    size_t length = strlen(message) + 1, used;

    if (getenv("DAXPIN_UNIT_VERBOSE") != NULL) {
        fprintf(stderr, "# [%d] %d %s\n", (int)getpid(), (int)level, message);
    }
    if (level > DAXPIN_LOG_WARN) {
        return;
    }
    used = atomic_fetch_add(&unit_log_used, length);
    if (used + length < sizeof(unit_log_text)) {
        memcpy(unit_log_text + used, message, length - 1);
        unit_log_text[used + length - 1] = '\n';
    }
    atomic_fetch_add(&unit_log_done, length);
}

/* Check that the log has a revoke and nothing else. */
#define assert_one_revoke() \
    do { \
        assert_contains(unit_log, "does not reach the file\n"); \
        assert_int_equal(strchr(unit_log, '\n')[1], '\0'); \
    } while (0)

/* Check that the log has nothing but revokes. */
#define assert_only_revokes() \
    do { \
        const char *unit_line = unit_log; \
        while (*unit_line != '\0') { \
            const char *unit_next = strchr(unit_line, '\n'); \
            const char *unit_end = strstr(unit_line, "reach the file\n"); \
            if ((unit_end == NULL) || (unit_end > unit_next)) { \
                fail_msg("\"%s\" is more than revokes", unit_line); \
            } \
            unit_line = unit_next + 1; \
        } \
    } while (0)

static UNIT_UNUSED void unit_log_clear(void)
{
    memset(unit_log_text, 0, sizeof(unit_log_text));
    unit_log_used = 0;
    unit_log_done = 0;
}

/*
 * Files
 */

/* Return a new path. It is valid until 16 more paths have been returned. */
static UNIT_UNUSED const char *unit_path(const char *dir, const char *name)
{
    static char paths[16][PATH_MAX];
    char *path = paths[unit_number % 16];

    snprintf(path, PATH_MAX, "%s/%u-%s", dir, unit_number++, name);
    return path;
}

static UNIT_UNUSED void unit_make_file(const char *path, size_t size, int fill)
{
    char *content = malloc(size + 1);
    int fd        = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    memset(content, fill, size);
    assert_int_equal(write(fd, content, size), size);
    close(fd);
    free(content);
}

/* Return whether files in a directory are DAX. Then holds keep their blocks. */
static UNIT_UNUSED int unit_is_dax(const char *dir)
{
    const char *path = unit_path(dir, "dax");
    struct statx stx;

    unit_make_file(path, 1, 0);
    assert_int_equal(statx(AT_FDCWD, path, 0, 0, &stx), 0);
    unlink(path);
    return (stx.stx_attributes & STATX_ATTR_DAX) != 0;
}

/* Return a byte of a file, or -1. The function opens the file itself, so it is
 * for files that are not under lease. */
static UNIT_UNUSED int unit_file_byte(const char *path, off_t offset)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char byte;
    int ret;

    assert_true(fd >= 0);
    ret = (pread(fd, &byte, 1, offset) == 1) ? byte : -1;
    close(fd);
    return ret;
}

static UNIT_UNUSED off_t unit_file_size(const char *path)
{
    struct stat st;

    return (stat(path, &st) == 0) ? st.st_size : -1;
}

static UNIT_UNUSED int unit_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Return how many descriptors this process has. */
static UNIT_UNUSED int unit_count_fds(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 4096; ++fd) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* Get the path of a descriptor, or "". */
static UNIT_UNUSED void unit_fd_path(int fd, char path[PATH_MAX])
{
    char link[64];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length                          = readlink(link, path, PATH_MAX - 1);
    path[(length > 0) ? length : 0] = '\0';
}

/* Return the first descriptor of this process that has a word in its path, or
 * -1. */
static UNIT_UNUSED int unit_find_fd(const char *word)
{
    char path[PATH_MAX];
    int fd;

    for (fd = 0; fd < 4096; ++fd) {
        unit_fd_path(fd, path);
        if (strstr(path, word) != NULL) {
            return fd;
        }
    }
    return -1;
}

/* Return the number behind a word at the begin of a line, as in files of /proc;
 * 0 if there is no such line. */
static UNIT_UNUSED long unit_number_in(const char *path, const char *word)
{
    FILE *file = fopen(path, "re");
    char line[256];
    long number = 0;

    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        if (strncmp(line, word, strlen(word)) == 0) {
            number = atol(line + strlen(word));
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return number;
}

/* Replace a page by itself. The kernel refuses that to a process that has more
 * than it is allowed, and no other thread maps something meanwhile. */
static int unit_space_suffices(void *page)
{
    return mmap(page, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                0) != MAP_FAILED;
}

/* Allow this process so many bytes of address space more than it uses. A thread
 * of the library may be in the middle of a mapping, which is allowed by the old
 * limit and counts only later; then the limit would be too low for what the
 * process has already. */
static UNIT_UNUSED int unit_limit_space(size_t more)
{
    void *page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct rlimit limit;
    long used;

    if ((page == MAP_FAILED) || (getrlimit(RLIMIT_AS, &limit) != 0)) {
        return -errno;
    }
    do {
        used           = unit_number_in("/proc/self/status", "VmSize:");
        limit.rlim_cur = (rlim_t)used * 1024;
        if ((used == 0) || (setrlimit(RLIMIT_AS, &limit) != 0)) {
            return -EIO;
        }
    } while (!unit_space_suffices(page));
    limit.rlim_cur += more;
    return (setrlimit(RLIMIT_AS, &limit) == 0) ? 0 : -errno;
}

/* Map a file for reading and writing, as a program does. */
static UNIT_UNUSED char *unit_map(int fd, size_t length)
{
    return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* Do that with a file that the function opens. */
static UNIT_UNUSED char *unit_map_file(const char *path, size_t length,
                                       int *fd_p)
{
    char *memory;

    *fd_p  = open(path, O_RDWR | O_CLOEXEC);
    memory = unit_map(*fd_p, length);
    assert_true((*fd_p >= 0) && (memory != MAP_FAILED));
    return memory;
}

/* Have daxpin adopt mappings of the files in one directory only. */
static UNIT_UNUSED void unit_use_dir(const char *dir)
{
    const char *dirs[] = {dir, NULL};

    assert_ok(daxpin_set_files(dirs));
}

/* Open a file under lease with the default parameters. The test closes it. */
static UNIT_UNUSED daxpin_file_t *unit_open(const char *path, size_t length)
{
    daxpin_file_t *file;

    assert_ok(daxpin_file_open(path, length, NULL, &file));
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    return file;
}

static UNIT_UNUSED void unit_set_signal(int signo, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigaction(signo, &action, NULL);
}

static int unit_remove_one(const char *path, const struct stat *st, int flag,
                           struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static UNIT_UNUSED void unit_remove_dirs(void)
{
    nftw(unit_disk, unit_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    nftw(unit_memory, unit_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static UNIT_UNUSED int unit_make_dirs(void)
{
    const char *tmp  = getenv("TMPDIR");
    const char *mark = getenv("DAXPIN_TEST_MARK"); /* test/lib.sh sets it */

    snprintf(unit_disk, sizeof(unit_disk), "%s/daxpin-unit.XXXXXX",
             (tmp != NULL) ? tmp : "/tmp");
    snprintf(unit_memory, sizeof(unit_memory), "/dev/shm/%s.unit.XXXXXX",
             (mark != NULL) ? mark : "daxpin");
    /* Another user may reach files in it, but may not create any */
    return ((mkdtemp(unit_disk) == NULL) || (mkdtemp(unit_memory) == NULL) ||
            (chmod(unit_disk, 0711) != 0) || (chmod(unit_memory, 0711) != 0)) ?
                   -1 :
                   0;
}

/* Enter a new mount namespace, so that the mounts of a test end with it. Call
 * this before the first thread starts. */
static UNIT_UNUSED void unit_own_mounts(void)
{
    unit_may_mount = (unshare(CLONE_NEWNS) == 0) &&
                     (mount("none", "/", "none", MS_REC | MS_PRIVATE, "") ==
                      0);
}

/* Mount a tmpfs at a new directory. Return 0 if this process may not mount. */
static UNIT_UNUSED int unit_mount(const char *path, const char *options)
{
    return unit_may_mount && (mkdir(path, 0700) == 0) &&
           (mount("none", path, "tmpfs", 0, options) == 0);
}

#endif
