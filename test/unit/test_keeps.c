/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What an adoption leaves to the program: its mappings, and what it asked of
 * them; its descriptors and locks */

#include "intruder.h"
#include "member.h"

#include "daxpin/os/loop.h"

#include <dlfcn.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define KEEPS_PAGE   4096ul
#define KEEPS_LENGTH (64ul << 20)
#define KEEPS_FAULTS 256ul /* that other threads may cause meanwhile */
#define KEEPS_LOCKED (1ul << 20)

typedef struct keeps_map {
    const char    *path;
    int           fd;
    size_t        length;
    char          *memory;
    daxpin_file_t *file;  /* of the whole mapping */
    daxpin_file_t *more;  /* of its second page */
} keeps_map_t;

static void keeps_map(keeps_map_t *map, const char *path, int flags)
{
    const char *dirs[] = {unit_disk, unit_memory, NULL};

    map->path   = path;
    map->fd     = open(path, O_RDWR | O_CLOEXEC | flags);
    map->length = (size_t)unit_file_size(path);
    map->memory = unit_map(map->fd, map->length);
    map->file   = NULL;
    map->more   = NULL;
    assert_true((map->fd >= 0) && (map->memory != MAP_FAILED));
    assert_ok(daxpin_set_files(dirs));
}

static void keeps_make(keeps_map_t *map, const char *dir, size_t length,
                       int flags)
{
    const char *path = unit_path(dir, "keeps");

    unit_make_file(path, length, 'x');
    keeps_map(map, path, flags);
}

static int keeps_adopt(keeps_map_t *map)
{
    daxpin_params_t params = {.timeout_ms = 8000 * unit_slow()};
    uint64_t offset;

    return daxpin_file_adopt(map->memory, map->length, &params, &map->file,
                             &offset);
}

static int keeps_adopt_more(keeps_map_t *map)
{
    uint64_t offset;

    return daxpin_file_adopt(map->memory + KEEPS_PAGE, KEEPS_PAGE, NULL,
                             &map->more, &offset);
}

static void keeps_end(keeps_map_t *map)
{
    if (map->more != NULL) {
        daxpin_file_unadopt(map->more, map->memory + KEEPS_PAGE, KEEPS_PAGE);
        daxpin_file_close(map->more);
    }
    if (map->file != NULL) {
        daxpin_file_unadopt(map->file, map->memory, map->length);
        daxpin_file_close(map->file);
    }
    munmap(map->memory, map->length);
    close(map->fd);
}

/*
 * Mappings
 */

/* Touch all pages. Return how many had to be mapped for it. */
static unsigned long keeps_touch(const keeps_map_t *map)
{
    struct rusage before, after;
    size_t i;

    getrusage(RUSAGE_SELF, &before);
    for (i = 0; i < map->length; i += KEEPS_PAGE) {
        ++((volatile char*)map->memory)[i];
    }
    getrusage(RUSAGE_SELF, &after);
    return (unsigned long)(after.ru_minflt - before.ru_minflt);
}

/* Return how many bytes of this process are locked in memory. */
static size_t keeps_locked(void)
{
    return (size_t)unit_number_in("/proc/self/status", "VmLck:") * 1024;
}

/* Check that one more adoption does not map the memory again. */
static void keeps_check_more(keeps_map_t *map)
{
    size_t locked = keeps_locked();
    unsigned long faults;

    /* AddressSanitizer makes mlock() do nothing */
    assert_int_equal(mlock2(map->memory, KEEPS_LOCKED, 0), 0);
    keeps_touch(map);
    assert_in_range(keeps_touch(map), 0, KEEPS_FAULTS);
    assert_int_equal(keeps_locked(), locked + KEEPS_LOCKED);
    assert_ok(keeps_adopt_more(map));
    assert_ptr_equal(map->file, map->more);
    faults = keeps_touch(map);
    if (faults > KEEPS_FAULTS) {
        fail_msg("%lu faults after one more adoption", faults);
    }
    assert_int_equal(keeps_locked(), locked + KEEPS_LOCKED);
}

static void test_more_of_holder(void **state)
{
    keeps_map_t map;

    keeps_make(&map, unit_memory, KEEPS_LENGTH, 0);
    assert_ok(keeps_adopt(&map));
    keeps_check_more(&map);
    keeps_end(&map);
    (void)state;
}

/* A second description makes the holder exchange what it has, once. */
static void test_more_of_two_descriptions(void **state)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_memory, KEEPS_LENGTH, 0);
    fd = open(map.path, O_RDWR | O_CLOEXEC);
    assert_ok(keeps_adopt(&map));
    keeps_check_more(&map);
    close(fd);
    keeps_end(&map);
    (void)state;
}

/* The first adoption exchanges nothing either, if there is nothing else. */
static void test_sole_description(void **state)
{
    keeps_map_t map;

    keeps_make(&map, unit_memory, KEEPS_LENGTH, 0);
    keeps_touch(&map);
    assert_ok(keeps_adopt(&map));
    assert_in_range(keeps_touch(&map), 0, KEEPS_FAULTS);
    keeps_end(&map);
    (void)state;
}

/* Start a process that adopts a file, then map it here: this process is known
 * to use daxpin, so that the holder waits for it to join. */
static void keeps_join(keeps_map_t *map, child_t *holder, size_t length,
                       int flags)
{
    const char *path = unit_path(unit_memory, "member");

    unit_make_file(path, length, 'x');
    member_start(holder);
    daxpin_file_close(unit_open(unit_path(unit_memory, "other"), 4096));
    assert_child_ok(holder, "map %s %zu -", path, length);
    assert_child_ok(holder, "adopt %s %u", unit_memory, 8000 * unit_slow());
    keeps_map(map, path, flags);
}

static void test_more_of_member(void **state)
{
    keeps_map_t map;
    child_t holder;

    keeps_join(&map, &holder, KEEPS_LENGTH, 0);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(daxpin_file_is_holder(map.file), 0);
    keeps_check_more(&map);
    keeps_end(&map);
    child_finish(&holder);
    (void)state;
}

/* Unmap what was exchanged, and map the file at the same place through a
 * description of its own. */
static void keeps_map_anew(const keeps_map_t *map)
{
    int fd;

    assert_int_equal(munmap(map->memory, map->length), 0);
    fd = open(map->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ptr_equal(mmap(map->memory, map->length, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0),
                     map->memory);
    close(fd);
}

/* What the program has mapped anew is exchanged, too. */
static void test_mapped_anew(void **state)
{
    keeps_map_t map;
    child_t holder;

    keeps_join(&map, &holder, UNIT_LENGTH, 0);
    assert_ok(keeps_adopt(&map));
    keeps_map_anew(&map);
    daxpin_file_unadopt(map.file, map.memory, map.length);
    daxpin_file_close(map.file);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(daxpin_file_is_holder(map.file), 0);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_HELD);
    keeps_end(&map);
    child_finish(&holder);
    (void)state;
}

/* As before, with another adoption of the file that goes on meanwhile */
static void test_mapped_anew_meanwhile(void **state)
{
    keeps_map_t map;
    child_t holder;

    keeps_join(&map, &holder, UNIT_LENGTH, 0);
    assert_ok(keeps_adopt(&map));
    keeps_map_anew(&map);
    assert_ok(keeps_adopt_more(&map));
    assert_ptr_equal(map.file, map.more);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_HELD);
    keeps_end(&map);
    child_finish(&holder);
    (void)state;
}

/*
 * Descriptors
 */

#define KEEPS_STATUS (O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

/* Check that the file is not adopted because of a descriptor, which stays as it
 * is, and that the message has the descriptor and a word. */
static void keeps_check_refused(keeps_map_t *map, int fd, const char *word)
{
    int flags = fcntl(fd, F_GETFL);
    char name[32];

    assert_int_equal(keeps_adopt(map), -EBUSY);
    assert_null(map->file);
    snprintf(name, sizeof(name), "descriptor %d ", fd);
    assert_message(map->path);
    assert_message(name);
    assert_message(word);
    assert_int_equal(fcntl(fd, F_GETFL), flags);
}

/* Open the file once more, with flags. The descriptor comes after that of the
 * map, because the first one is what daxpin shares: lower numbers may have become
 * free, by what its thread has closed meanwhile. Return -1 with errno if the disk
 * does not have the flags. */
static int keeps_open_again(const keeps_map_t *map, int flags)
{
    int fd = open(map->path, O_RDWR | O_CLOEXEC | flags), after;

    if ((fd < 0) || (fd > map->fd)) {
        return fd;
    }
    after = fcntl(fd, F_DUPFD_CLOEXEC, map->fd);
    assert_true(after > map->fd);
    close(fd);
    return after;
}

static void keeps_check_flag(int flag, const char *name)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_disk, UNIT_LENGTH, 0);
    fd = keeps_open_again(&map, flag);
    if (fd < 0) {
        assert_int_equal(errno, EINVAL); /* O_DIRECT is not for every disk */
        keeps_end(&map);
        return;
    }
    keeps_check_refused(&map, fd, name);
    close(fd);
    assert_ok(keeps_adopt(&map));
    keeps_end(&map);

    /* The other way around: the shared one would give the flag to the other */
    keeps_make(&map, unit_disk, UNIT_LENGTH, flag);
    fd = keeps_open_again(&map, 0);
    keeps_check_refused(&map, fd, name);
    close(fd);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(fcntl(map.fd, F_GETFL) & KEEPS_STATUS, flag);
    keeps_end(&map);
}

static void test_status_flags(void **state)
{
    keeps_check_flag(O_DSYNC, "O_DSYNC");
    keeps_check_flag(O_SYNC, "O_SYNC");
    keeps_check_flag(O_NOATIME, "O_NOATIME");
    keeps_check_flag(O_DIRECT, "O_DIRECT");
    (void)state;
}

static void test_same_status_flags(void **state)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_disk, UNIT_LENGTH, O_DSYNC);
    fd = open(map.path, O_RDWR | O_CLOEXEC | O_DSYNC);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(fcntl(fd, F_GETFL) & KEEPS_STATUS, O_DSYNC);
    assert_int_equal(fcntl(map.fd, F_GETFL) & KEEPS_STATUS, O_DSYNC);
    close(fd);
    keeps_end(&map);
    (void)state;
}

static void test_status_flags_of_member(void **state)
{
    keeps_map_t map;
    child_t holder;

    keeps_join(&map, &holder, UNIT_LENGTH, O_DSYNC);
    keeps_check_refused(&map, map.fd, "O_DSYNC");
    keeps_end(&map);
    child_finish(&holder);
    (void)state;
}

/* A narrower mode gets wider, as daxpin.h says. That is reported once. */
static void test_read_only(void **state)
{
    char expected[PATH_MAX + 64];
    keeps_map_t map;
    int fds[2];

    keeps_make(&map, unit_disk, UNIT_LENGTH, 0);
    fds[0] = open(map.path, O_RDONLY);
    fds[1] = open(map.path, O_RDONLY | O_CLOEXEC);
    unit_log_clear();
    assert_ok(keeps_adopt(&map));
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_ACCMODE, O_RDWR);
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_ACCMODE, O_RDWR);
    assert_int_equal(fcntl(fds[0], F_GETFD), 0);
    assert_int_equal(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    snprintf(expected, sizeof(expected), "%s: descriptor %d was read-only",
             map.path, (fds[0] < fds[1]) ? fds[0] : fds[1]);
    assert_contains(unit_log, expected);
    assert_null(strstr(strstr(unit_log, "read-only") + 1, "read-only"));
    unit_log_clear();
    close(fds[0]);
    close(fds[1]);
    keeps_end(&map);
    (void)state;
}

/*
 * Locks
 */

static int keeps_lock(int fd, int command, int type)
{
    struct flock lock = {.l_type = (short)type, .l_len = 100};

    return fcntl(fd, command, &lock);
}

/* Return whether there is a lock of another kind than the command asks for:
 * F_GETLK sees those of F_OFD_SETLK, and the other way around. */
static int keeps_has_lock(int fd, int command)
{
    struct flock lock = {.l_type = F_WRLCK, .l_len = 100};

    assert_int_equal(fcntl(fd, command, &lock), 0);
    return lock.l_type != F_UNLCK;
}

/* Record locks stay when nothing is exchanged, and when the library closes its
 * descriptors. */
static void test_record_lock_of_holder(void **state)
{
    int fds = unit_count_fds(), before = 0, i;
    keeps_map_t map;

    keeps_make(&map, unit_disk, UNIT_LENGTH, 0);
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_WRLCK), 0);
    for (i = 0; i < 3; ++i) {
        assert_ok(keeps_adopt(&map));
        assert_true(keeps_has_lock(map.fd, F_OFD_GETLK));
        daxpin_file_unadopt(map.file, map.memory, map.length);
        daxpin_file_close(map.file);
        map.file = NULL;
        assert_true(keeps_has_lock(map.fd, F_OFD_GETLK));
        before = (i == 0) ? unit_count_fds() : before;
    }
    /* One is kept, not three. The loop has some open for a moment. */
    assert_true(unit_await(10000, unit_count_fds() <= before));
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_UNLCK), 0);
    assert_true(unit_await(10000, unit_count_fds() < before));
    keeps_end(&map);
    assert_in_range(unit_count_fds(), 0, fds + 8); /* of the loop */
    (void)state;
}

/* As before, but the lock is taken after the adoption, and the lease ends with
 * a revoke. */
static void test_record_lock_and_revoke(void **state)
{
    keeps_map_t map;

    keeps_make(&map, unit_disk, UNIT_LENGTH, 0);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_WRLCK), 0);
    intruder_run("truncate", map.path, UNIT_LENGTH, 2000);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_REVOKED);
    assert_true(keeps_has_lock(map.fd, F_OFD_GETLK));
    keeps_end(&map);
    (void)state;
}

static void test_record_lock_of_member(void **state)
{
    keeps_map_t map;
    child_t holder;

    keeps_join(&map, &holder, UNIT_LENGTH, 0);
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_WRLCK), 0);
    keeps_check_refused(&map, map.fd, "record locks");
    assert_true(keeps_has_lock(map.fd, F_OFD_GETLK));
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_UNLCK), 0);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(daxpin_file_is_holder(map.file), 0);
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_WRLCK), 0);
    daxpin_file_unadopt(map.file, map.memory, map.length);
    daxpin_file_close(map.file);
    map.file = NULL;
    assert_true(keeps_has_lock(map.fd, F_OFD_GETLK));
    keeps_end(&map);
    child_finish(&holder);
    (void)state;
}

static void test_record_lock_and_two_descriptions(void **state)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_disk, UNIT_LENGTH, 0);
    fd = keeps_open_again(&map, 0);
    assert_int_equal(keeps_lock(map.fd, F_SETLK, F_WRLCK), 0);
    keeps_check_refused(&map, fd, "record locks");
    assert_true(keeps_has_lock(map.fd, F_OFD_GETLK));
    close(fd);
    keeps_end(&map);
    (void)state;
}

/* A lock of a description: of the one that would be replaced, or of the one
 * that would replace it. */
static void test_locks_of_description(void **state)
{
    keeps_map_t map;
    int fd, *locked;
    unsigned i;

    for (i = 0; i < 2; ++i) {
        keeps_make(&map, unit_disk, UNIT_LENGTH, 0);
        fd     = keeps_open_again(&map, 0);
        locked = (i == 0) ? &fd : &map.fd;
        assert_int_equal(flock(*locked, LOCK_EX), 0);
        keeps_check_refused(&map, fd, "flock");
        assert_int_equal(flock((i == 0) ? map.fd : fd, LOCK_EX | LOCK_NB), -1);
        assert_int_equal(flock(*locked, LOCK_UN), 0);

        assert_int_equal(keeps_lock(*locked, F_OFD_SETLK, F_WRLCK), 0);
        keeps_check_refused(&map, fd, "F_OFD_SETLK");
        assert_true(keeps_has_lock(map.fd, F_GETLK));
        assert_int_equal(keeps_lock(*locked, F_OFD_SETLK, F_UNLCK), 0);
        assert_ok(keeps_adopt(&map));
        close(fd);
        keeps_end(&map);
    }
    (void)state;
}

static void test_flock_of_member(void **state)
{
    keeps_map_t map;
    child_t holder;

    keeps_join(&map, &holder, UNIT_LENGTH, 0);
    assert_int_equal(flock(map.fd, LOCK_EX | LOCK_NB), 0);
    keeps_check_refused(&map, map.fd, "flock");
    keeps_end(&map);
    child_finish(&holder);
    (void)state;
}

/*
 * Attributes of mappings
 */

/* How often the attributes of all mappings were read, and by a thread that held
 * daxpin_mutex */
static int keeps_reads;
static int keeps_locked_reads;

/* A file that is mapped once more at each of these, or NULL */
static const keeps_map_t *keeps_churned;

static void keeps_map_more(const keeps_map_t *map)
{
    int fd = open(map->path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_true(mmap(NULL, map->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                     0) != MAP_FAILED);
    close(fd);
}

/* Open a file, in place of the C library's function. */
FILE *fopen(const char *path, const char *mode)
{
    typedef FILE *(*fopen_t)(const char *, const char *);
    const fopen_t next = (fopen_t)dlsym(RTLD_NEXT, "fopen");
    struct timespec deadline;

    if (strcmp(path, "/proc/self/smaps") == 0) {
        ++keeps_reads;
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 2 * unit_slow();
        if (pthread_mutex_timedlock(&daxpin_mutex, &deadline) == 0) {
            pthread_mutex_unlock(&daxpin_mutex);
        } else {
            ++keeps_locked_reads;
        }
        if (keeps_churned != NULL) {
            keeps_map_more(keeps_churned);
        }
    }
    return next(path, mode);
}

/* The kernel looks at each page of the process for them, which takes long:
 * revokes of other files do not wait for that. */
static void test_no_lock_meanwhile(void **state)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_memory, UNIT_LENGTH, 0);
    fd                 = open(map.path, O_RDWR | O_CLOEXEC);
    keeps_reads        = 0;
    keeps_locked_reads = 0;
    assert_ok(keeps_adopt(&map));
    assert_true(keeps_reads > 0);
    assert_int_equal(keeps_locked_reads, 0);
    close(fd);
    keeps_end(&map);
    (void)state;
}

/* A thread that maps the file all the time does not keep an adoption busy. */
static void test_maps_change(void **state)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_memory, UNIT_LENGTH, 0);
    fd            = open(map.path, O_RDWR | O_CLOEXEC);
    keeps_churned = &map;
    assert_int_equal(keeps_adopt(&map), -EBUSY);
    assert_message("change all the time");
    keeps_churned = NULL;
    assert_ok(keeps_adopt(&map));
    close(fd);
    keeps_end(&map);
    (void)state;
}

/* Return the line VmFlags of the mapping. */
static const char *keeps_flags(const keeps_map_t *map)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    static char line[PATH_MAX + 128];
    unsigned long start, end;
    int is_ours = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            is_ours = start == (unsigned long)map->memory;
        } else if (is_ours && (strncmp(line, "VmFlags:", 8) == 0)) {
            break;
        }
    }
    fclose(file);
    return line;
}

/* Check that an exchange leaves what madvise() or mlock2() has set. */
static void keeps_check_advice(int advice, const char *flag)
{
    keeps_map_t map;
    int fd;

    keeps_make(&map, unit_memory, UNIT_LENGTH, 0);
    fd = open(map.path, O_RDWR | O_CLOEXEC);
    if (advice >= 0) {
        assert_int_equal(madvise(map.memory, map.length, advice), 0);
    } else {
        assert_int_equal(mlock2(map.memory, map.length,
                                (advice == -1) ? 0 : MLOCK_ONFAULT), 0);
    }
    if ((strcmp(flag, " lf") == 0) &&
        (strstr(keeps_flags(&map), " ??") != NULL)) {
        flag = " ??"; /* as Linux 6.1 shows it */
    }
    assert_contains(keeps_flags(&map), flag);
    assert_ok(keeps_adopt(&map));
    assert_contains(keeps_flags(&map), flag);
    close(fd);
    keeps_end(&map);
}

static void test_advice(void **state)
{
    keeps_check_advice(-1, " lo");
    keeps_check_advice(-2, " lf");
    keeps_check_advice(MADV_DONTFORK, " dc");
    keeps_check_advice(MADV_DONTDUMP, " dd");
    keeps_check_advice(MADV_RANDOM, " rr");
    keeps_check_advice(MADV_SEQUENTIAL, " sr");
    (void)state;
}

static void test_huge_pages(void **state)
{
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) {
        skip();
    }
    keeps_check_advice(MADV_HUGEPAGE, " hg");
    keeps_check_advice(MADV_NOHUGEPAGE, " nh");
    (void)state;
}

/* Have a privileged process obey the limit of locked memory, too. */
static int keeps_drop_privilege(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) != 0) {
        return 0;
    }
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    return syscall(SYS_capset, &header, data) == 0;
}

/* Adopt a mapping that is locked, when no memory may be locked any more. The
 * arguments are the two directories. */
static int keeps_limit_child(int argc, char **argv)
{
    struct rlimit limit = {0, 0};
    keeps_map_t map;
    size_t locked;
    int fd, ret;

    (void)argc;
    snprintf(unit_disk, sizeof(unit_disk), "%s", argv[1]);
    snprintf(unit_memory, sizeof(unit_memory), "%s", argv[2]);
    keeps_make(&map, unit_memory, UNIT_LENGTH, 0);
    fd     = open(map.path, O_RDWR | O_CLOEXEC);
    locked = keeps_locked();
    if ((mlock(map.memory, map.length) != 0) ||
        (keeps_locked() != locked + map.length)) {
        child_report(0, "cannot lock");
        return 0;
    }
    locked = keeps_locked();
    if ((setrlimit(RLIMIT_MEMLOCK, &limit) != 0) || !keeps_drop_privilege()) {
        child_report(0, "cannot lock");
        return 0;
    }
    ret = keeps_adopt(&map);
    if (keeps_locked() != locked) {
        child_report(__LINE__, "%zu bytes are locked, and not %zu",
                     keeps_locked(), locked);
    } else if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, map.fd) ==
               0) {
        child_report(__LINE__, "the descriptor is another one");
    } else {
        child_report(ret, "%s", daxpin_errormsg());
    }
    close(fd);
    return 0;
}

/* What cannot be set again is not lost: there is no adoption. */
static void test_lock_beyond_limit(void **state)
{
    child_t child;
    long ret;

    child_spawn(&child, "limit", unit_disk, unit_memory, NULL);
    ret = child_answer(&child, CHILD_WAIT_MS);
    if ((ret == 0) && (strcmp(child.text, "cannot lock") == 0)) {
        child_finish(&child);
        skip();
    }
    if (ret != -EBUSY) {
        fail_msg("%ld: %s", ret, child.text);
    }
    assert_contains(child.text, "mlock");
    child_finish(&child);
    (void)state;
}

static int keeps_set_policy(char *addr, size_t length, int mode)
{
    unsigned long nodes = 1;

    return (int)syscall(SYS_mbind, addr, length, mode, &nodes, 64ul, 0);
}

static int keeps_policy(const char *addr)
{
    int mode = -1;

    (void)syscall(SYS_get_mempolicy, &mode, NULL, 0ul, addr, MPOL_F_ADDR);
    return mode;
}

/* The policy of a mapping stays; and where a file system keeps the policies of
 * the parts of a file, each part has its own. */
static void keeps_check_policy(const char *dir)
{
    keeps_map_t map;
    char *middle;
    int fd;

    keeps_make(&map, dir, UNIT_LENGTH, 0);
    fd     = open(map.path, O_RDWR | O_CLOEXEC);
    middle = map.memory + 4 * KEEPS_PAGE;
    assert_int_equal(keeps_set_policy(middle, KEEPS_PAGE, MPOL_BIND), 0);
    assert_int_equal(keeps_policy(middle), MPOL_BIND);
    assert_ok(keeps_adopt(&map));
    assert_int_equal(keeps_policy(map.memory), MPOL_DEFAULT);
    assert_int_equal(keeps_policy(middle), MPOL_BIND);
    assert_int_equal(keeps_policy(middle + KEEPS_PAGE), MPOL_DEFAULT);
    close(fd);
    keeps_end(&map);
}

static void test_policy(void **state)
{
    char *memory = mmap(NULL, KEEPS_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if ((keeps_set_policy(memory, KEEPS_PAGE, MPOL_BIND) != 0) ||
        (keeps_policy(memory) != MPOL_BIND)) {
        munmap(memory, KEEPS_PAGE);
        skip();
    }
    munmap(memory, KEEPS_PAGE);
    keeps_check_policy(unit_disk);
    keeps_check_policy(unit_memory);
    (void)state;
}

static void test_userfault(void **state)
{
    struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    struct uffdio_api api        = {.api = UFFD_API};
    keeps_map_t map;
    int fd, fault;

    fault = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if ((fault < 0) || (ioctl(fault, UFFDIO_API, &api) != 0)) {
        skip();
    }
    keeps_make(&map, unit_memory, UNIT_LENGTH, 0);
    fd = open(map.path, O_RDWR | O_CLOEXEC);
    range.range.start = (uintptr_t)map.memory;
    range.range.len   = map.length;
    assert_int_equal(ioctl(fault, UFFDIO_REGISTER, &range), 0);
    assert_int_equal(keeps_adopt(&map), -EBUSY);
    assert_message("userfaultfd");
    assert_contains(keeps_flags(&map), " um");
    close(fault);
    assert_ok(keeps_adopt(&map));
    close(fd);
    keeps_end(&map);
    (void)state;
}

static void test_protection_key(void **state)
{
    int fd, key = pkey_alloc(0, 0);
    keeps_map_t map;

    if (key < 0) {
        skip();
    }
    keeps_make(&map, unit_memory, UNIT_LENGTH, 0);
    fd = open(map.path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pkey_mprotect(map.memory, map.length,
                                   PROT_READ | PROT_WRITE, key), 0);
    assert_int_equal(keeps_adopt(&map), -EBUSY);
    assert_message("protection key");
    close(fd);
    assert_ok(keeps_adopt(&map));
    keeps_end(&map);
    pkey_free(key);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"limit", keeps_limit_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_more_of_holder),
        unit_case(test_more_of_two_descriptions),
        unit_case(test_sole_description),
        unit_case(test_more_of_member),
        unit_case(test_mapped_anew),
        unit_case(test_mapped_anew_meanwhile),
        unit_case(test_status_flags),
        unit_case(test_same_status_flags),
        unit_case(test_status_flags_of_member),
        unit_case(test_read_only),
        unit_case(test_record_lock_of_holder),
        unit_case(test_record_lock_and_revoke),
        unit_case(test_record_lock_of_member),
        unit_case(test_record_lock_and_two_descriptions),
        unit_case(test_locks_of_description),
        unit_case(test_flock_of_member),
        unit_case(test_no_lock_meanwhile),
        unit_case(test_maps_change),
        unit_case(test_advice),
        unit_case(test_huge_pages),
        unit_case(test_lock_beyond_limit),
        unit_case(test_policy),
        unit_case(test_userfault),
        unit_case(test_protection_key)
    };

    return unit_main("keeps", argc, argv, children, tests);
}
