/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The pin module by itself: what it refuses, and that pinned blocks are not
 * reused, in whatever order files are closed and unmapped and processes killed.
 *
 * usage: kmod DIRECTORY       (on fsdax, as root, with the module loaded)
 */

#include "pinned.h"

#include <grp.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define USER      1000
#define HUGE_PAGE (2ul << 20)

#define PINS      DEVICE_DIR "pins"
#define PAGES     DEVICE_DIR "pages"
#define LINGERING DEVICE_DIR "lingering"
#define LIMIT     "/sys/module/daxpin/parameters/limit_mib"

/* A new description of the device refuses to pin a range: with which error? */
static int refusal(int fd, const void *addr, uint64_t offset, uint64_t length)
{
    int device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC), ret;

    ret = pin_at(device, fd, addr, offset, length);
    close(device);
    return ret;
}

#define CHECK_REFUSAL(_error, ...) \
    do { \
        int check_ret = refusal(__VA_ARGS__); \
        CHECK(check_ret == (_error), "line %d: %s instead of %s", __LINE__, \
              strerror(check_ret), strerror(_error)); \
    } while (0)

static void test_version(void)
{
    int device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    uint32_t version;

    CHECK(ioctl(device, DAXPIN_IOC_GET_VERSION, &version) == 0, "%m");
    CHECK(version == DAXPIN_IOC_VERSION, "it is %u", version);
    CHECK((ioctl(device, DAXPIN_IOC_GET_VERSION, NULL) != 0) &&
          (errno == EFAULT), "NULL: %m");
    CHECK((ioctl(device, _IO(0xDA, 77)) != 0) && (errno == ENOTTY), "%m");
    CHECK((ioctl(device, DAXPIN_IOC_PIN, NULL) != 0) && (errno == EFAULT),
          "NULL: %m");
    close(device);
}

static void test_ranges(void)
{
    struct daxpin_ioc_pin args;
    pinned_t me;
    int device;

    TRY(make(&me, "ranges", LENGTH));
    TRY(lease(&me));
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, 0, 0);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory + 1, 0, PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, 1, PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, 0, PAGE - 1);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, 0, LENGTH + PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, LENGTH, PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, -PAGE, 2 * PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, PAGE, -PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, me.memory, 0, 1ul << 63);
    CHECK_REFUSAL(EINVAL, me.fd, (void*)-PAGE, 0, 2 * PAGE);
    CHECK_REFUSAL(EINVAL, me.fd, (void*)(1ul << 63), 0, PAGE);
    /* Memory that is not a mapping of the file */
    CHECK_REFUSAL(EFAULT, me.fd, NULL, 0, PAGE);
    CHECK_REFUSAL(EFAULT, me.fd, me.memory, PAGE, PAGE);
    CHECK_REFUSAL(EFAULT, me.fd, me.memory + PAGE, 0, LENGTH);
    args = (struct daxpin_ioc_pin){.addr   = (uintptr_t)me.memory,
                                   .length = PAGE,
                                   .fd     = me.fd,
                                   .flags  = 1};
    device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    CHECK((ioctl(device, DAXPIN_IOC_PIN, &args) != 0) && (errno == EINVAL),
          "unknown flags: %m");
    close(device);
    CHECK_REFUSAL(0, me.fd, me.memory + PAGE, PAGE, LENGTH - PAGE);
    release_all(&me);
}

static void test_memory(void)
{
    pinned_t me, other;
    char *memory;

    TRY(make(&me, "memory", LENGTH));
    TRY(lease(&me));
    memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_REFUSAL(EFAULT, me.fd, memory, 0, PAGE);
    munmap(memory, PAGE);
    memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, me.fd, 0);
    CHECK_REFUSAL(EFAULT, me.fd, memory, 0, PAGE);
    munmap(memory, PAGE);
    memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, me.fd, 0);
    CHECK_REFUSAL(EFAULT, me.fd, memory, 0, PAGE);
    munmap(memory, PAGE);
    TRY(make(&other, "other", LENGTH));
    CHECK_REFUSAL(EFAULT, me.fd, other.memory, 0, PAGE);
    release_all(&other);
    release_all(&me);
}

static void test_files(void)
{
    char *memory;
    pinned_t me;
    int fd;

    TRY(make(&me, "files", LENGTH));
    CHECK_REFUSAL(EBADF, -1, me.memory, 0, PAGE);
    CHECK_REFUSAL(EBADF, 1023, me.memory, 0, PAGE);
    fd = open(me.path, O_PATH | O_CLOEXEC);
    CHECK_REFUSAL(EBADF, fd, me.memory, 0, PAGE);
    close(fd);
    fd = open(directory, O_RDONLY | O_CLOEXEC);
    CHECK_REFUSAL(EOPNOTSUPP, fd, me.memory, 0, PAGE);
    close(fd);
    fd = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    CHECK_REFUSAL(EOPNOTSUPP, fd, me.memory, 0, PAGE);
    close(fd);
    fd = memfd_create("kmod", MFD_CLOEXEC);
    CHECK(ftruncate(fd, PAGE) == 0, "%m");
    memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK_REFUSAL(EOPNOTSUPP, fd, memory, 0, PAGE);
    munmap(memory, PAGE);
    close(fd);
    release_all(&me);
}

static void test_access(void)
{
    pinned_t me;
    int device, fd;

    TRY(make(&me, "access", LENGTH));
    unmap_file(&me);
    close_file(&me);
    fd = open(me.path, O_RDONLY | O_CLOEXEC);
    CHECK(fcntl(fd, F_SETLEASE, F_WRLCK) == 0, "F_SETLEASE: %m");
    me.memory = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_REFUSAL(EACCES, fd, me.memory, 0, PAGE);
    unmap_file(&me);
    close(fd);
    TRY(make(&me, "access", LENGTH));
    TRY(lease(&me));
    device = open(DAXPIN_DEVICE, O_RDONLY | O_CLOEXEC);
    CHECK(pin_at(device, me.fd, me.memory, 0, PAGE) == EBADF,
          "a device that was opened for reading only");
    close(device);
    release_all(&me);
}

/* Rule 2: no pin without a lease that is the caller's and lives */
static void test_lease(void)
{
    pinned_t me;
    int fd;

    TRY(make(&me, "lease", LENGTH));
    CHECK_REFUSAL(EPERM, me.fd, me.memory, 0, PAGE);
    TRY(lease(&me));
    CHECK_REFUSAL(0, me.fd, me.memory, 0, PAGE);
    fd = dup(me.fd);
    CHECK_REFUSAL(0, fd, me.memory, 0, PAGE);
    close(fd);
    CHECK((open(me.path, O_RDONLY | O_NONBLOCK) < 0) && (errno == EAGAIN),
          "a reader was not turned away: %m");
    CHECK_REFUSAL(EPERM, me.fd, me.memory, 0, PAGE);
    CHECK(fcntl(me.fd, F_SETLEASE, F_UNLCK) == 0, "F_UNLCK: %m");
    CHECK_REFUSAL(EPERM, me.fd, me.memory, 0, PAGE);
    TRY(lease(&me));
    CHECK_REFUSAL(0, me.fd, me.memory, 0, PAGE);
    CHECK((open(me.path, O_WRONLY | O_NONBLOCK) < 0) && (errno == EAGAIN),
          "a writer was not turned away: %m");
    CHECK_REFUSAL(EPERM, me.fd, me.memory, 0, PAGE);
    CHECK(fcntl(me.fd, F_SETLEASE, F_UNLCK) == 0, "F_UNLCK: %m");
    fd = open(me.path, O_RDONLY | O_CLOEXEC);
    unmap_file(&me);
    close_file(&me);
    CHECK(fcntl(fd, F_SETLEASE, F_RDLCK) == 0, "F_RDLCK: %m");
    CHECK_REFUSAL(EACCES, fd, NULL, 0, PAGE);
    close(fd);
    release_all(&me);
}

static void test_one_pin(void)
{
    pinned_t me;
    char *memory;

    TRY(make_pinned(&me, "one"));
    CHECK(pin_at(me.device, me.fd, me.memory, 0, PAGE) == EBUSY,
          "a second pin of one description");
    memory = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, me.device, 0);
    CHECK((memory == MAP_FAILED) && (errno == EINVAL), "MAP_PRIVATE: %m");
    memory = mmap(NULL, PAGE, PROT_EXEC, MAP_SHARED, me.device, 0);
    CHECK(memory == MAP_FAILED, "PROT_EXEC");
    memory = mmap(NULL, LENGTH + PAGE, PROT_READ, MAP_SHARED, me.device, 0);
    CHECK((memory == MAP_FAILED) && (errno == EINVAL), "too long: %m");
    memory = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, me.device,
                  LENGTH - PAGE);
    CHECK((memory == MAP_FAILED) && (errno == EINVAL), "beyond the end: %m");
    CHECK(mprotect(me.alias, PAGE, PROT_READ | PROT_EXEC) != 0,
          "it can be made executable");
    release_all(&me);
}

static void test_content(void)
{
    pinned_t me;
    size_t i;
    char c;

    TRY(make_pinned(&me, "content"));
    for (i = 0; i < LENGTH; i += PAGE) {
        me.alias[i] = (char)('b' + i / PAGE % 20);
        CHECK(me.memory[i] == (char)('b' + i / PAGE % 20), "page %zu",
              i / PAGE);
        me.memory[i + 1] = 'z';
        CHECK(me.alias[i + 1] == 'z', "page %zu, back", i / PAGE);
    }
    CHECK((pread(me.fd, &c, 1, 3 * PAGE) == 1) && (c == 'e'), "pread: %c", c);
    /* Pages that are zapped are mapped again on a fault */
    CHECK(madvise(me.alias, LENGTH, MADV_DONTNEED) == 0, "madvise: %m");
    CHECK((me.alias[3 * PAGE] == 'e') && (me.alias[3 * PAGE + 1] == 'z'),
          "after MADV_DONTNEED");
    /* A part of the mapping, elsewhere in the device */
    unmap_device(&me);
    me.alias = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, me.device, 5 * PAGE);
    CHECK((me.alias != MAP_FAILED) && (me.alias[0] == 'g'), "page 5");
    munmap(me.alias, PAGE);
    me.alias = NULL;
    release_all(&me);
}

/* Pins of ranges that begin and end anywhere */
static void test_parts(void)
{
    unsigned first, count;
    pinned_t me;
    char *alias;
    size_t i;

    TRY(make(&me, "parts", LENGTH));
    for (i = 0; i < LENGTH / PAGE; ++i) {
        me.memory[i * PAGE] = (char)i;
    }
    TRY(lease(&me));
    for (i = 0; i < 64; ++i) {
        first     = (unsigned)(i * 29 % 64);
        count     = 1 + (unsigned)(i * 13 % (64 - first));
        me.device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
        CHECK(pin_at(me.device, me.fd, me.memory + first * PAGE, first * PAGE,
                     count * PAGE) == 0, "%u pages from %u", count, first);
        alias = mmap(NULL, count * PAGE, PROT_READ, MAP_SHARED, me.device, 0);
        CHECK(alias != MAP_FAILED, "mmap: %m");
        CHECK((alias[0] == (char)first) &&
              (alias[(count - 1) * PAGE] == (char)(first + count - 1)),
              "%u pages from %u show others", count, first);
        munmap(alias, count * PAGE);
        close_device(&me);
    }
    release_all(&me);
}

/* Every page that is mapped there begins with its number */
static int look(const char *map, size_t first, size_t count, const char *when)
{
    size_t i, number;

    for (i = 0; i < count; ++i) {
        memcpy(&number, map + i * PAGE, sizeof(number));
        if (number != first + i) {
            snprintf(why, sizeof(why), "%s: page %zu shows page %zu", when,
                     first + i, number);
            return -1;
        }
    }
    return 0;
}

/* Such as the module maps by huge pages, where it can: in pieces, in other
 * places, at other times, it is the same file */
static void test_huge(void)
{
    size_t pages = 6 * HUGE_PAGE / PAGE, first = 3, i;
    char *map, *moved;
    pinned_t me;

    TRY(make(&me, "huge", pages * PAGE));
    for (i = 0; i < pages; ++i) {
        memcpy(me.memory + i * PAGE, &i, sizeof(i));
    }
    TRY(lease(&me));
    TRY(pin(&me));
    TRY(look(me.alias, 0, pages, "at first"));
    /* Some of it, from somewhere on */
    map = mmap(NULL, (pages - first) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
               me.device, (off_t)(first * PAGE));
    CHECK(map != MAP_FAILED, "mmap: %m");
    CHECK(madvise(map, 2 * HUGE_PAGE, MADV_DONTNEED) == 0, "madvise: %m");
    CHECK(mprotect(map, 3 * HUGE_PAGE, PROT_READ) == 0, "mprotect: %m");
    TRY(look(map, first, pages - first, "to be read only"));
    CHECK(mprotect(map, 3 * HUGE_PAGE, PROT_READ | PROT_WRITE) == 0, "%m");
    for (i = first; i < pages; ++i) {
        map[(i - first) * PAGE + PAGE - 1] = 'h';
        CHECK(me.memory[i * PAGE + PAGE - 1] == 'h', "page %zu, written", i);
    }
    /* A hole in the middle, and the part behind it elsewhere */
    munmap(map + 100 * PAGE, 100 * PAGE);
    TRY(look(map, first, 100, "before the hole"));
    TRY(look(map + 200 * PAGE, first + 200, pages - first - 200,
             "behind the hole"));
    moved = mremap(map + 3 * HUGE_PAGE, 2 * HUGE_PAGE, 2 * HUGE_PAGE,
                   MREMAP_MAYMOVE | MREMAP_FIXED, me.alias);
    CHECK(moved == me.alias, "mremap: %m");
    TRY(look(moved, first + 3 * HUGE_PAGE / PAGE, 2 * HUGE_PAGE / PAGE,
             "moved"));
    munmap(map, (pages - first) * PAGE);
    TRY(look(moved + 2 * HUGE_PAGE, 2 * HUGE_PAGE / PAGE,
             4 * HUGE_PAGE / PAGE, "in the end"));
    release_all(&me);
    CHECK(becomes(PINS, 0) && becomes(LINGERING, 0), "it is still pinned");
}

/*
 * Which process waits, and until when
 */

/* Without the anchor mapping, no process would have the file mapped. */
static void test_unmapped(void)
{
    pinned_t me;
    pid_t pid;

    TRY(make_pinned(&me, "unmapped"));
    unmap_file(&me);
    close_file(&me);
    pid = intrude(me.path);
    CHECK(waits(pid), "with a mapping of the device, it did not wait");
    unmap_device(&me);
    CHECK(waits(pid), "with a descriptor of the device, it did not wait");
    kill(pid, SIGTERM);
    CHECK(!passes(pid), "it got through");
    pid = intrude(me.path);
    CHECK(waits(pid), "the second one did not wait");
    close_device(&me);
    CHECK(passes(pid), "it waits still, or failed");
    release_all(&me);
}

static void test_ftruncate(void)
{
    pinned_t me;
    pid_t pid;
    int mode;

    for (mode = 0; mode < 3; ++mode) {
        TRY(make_pinned(&me, "ftruncate"));
        unmap_file(&me);
        pid = fork();
        if (pid == 0) {
            close_device(&me);
            _exit(((mode == 0) ? ftruncate(me.fd, PAGE) :
                   fallocate(me.fd, (mode == 1) ?
                             FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE :
                             FALLOC_FL_ZERO_RANGE, PAGE, PAGE)) != 0);
        }
        CHECK(waits(pid), "way %d: it did not wait", mode);
        me.alias[PAGE] = 'b';
        unmap_device(&me);
        close_device(&me);
        CHECK(passes(pid), "way %d: it waits still, or failed", mode);
        release_all(&me);
    }
}

/* Rules 4, 5, 6: without a lease any more, in any order */
static int end_in_order(const char *order)
{
    static const struct {
        char name;
        void (*step)(pinned_t *me);
    } steps[] = {{'f', close_file},
                 {'m', unmap_file},
                 {'d', close_device},
                 {'a', unmap_device}};
    pinned_t me;
    char path[PATH_MAX + 8];
    pid_t pid = 0;
    unsigned i;

    if (make_pinned(&me, "order") != 0) {
        return -1;
    }
    fcntl(me.fd, F_SETLEASE, F_UNLCK);
    snprintf(path, sizeof(path), "%s.2", me.path);
    if (link(me.path, path) != 0) {
        return fail("link");
    }
    for (; *order != '\0'; ++order) {
        if ((*order == 'u') && (pid == 0)) {
            unlink(me.path); /* later the intruder has locked it */
        }
        for (i = 0; i < 4; ++i) {
            if (steps[i].name == *order) {
                steps[i].step(&me);
            }
        }
        if ((pid == 0) && ((me.device < 0) != (me.alias == NULL))) {
            pid = intrude(path); /* the last thing that holds the pin */
        }
        if ((pid != 0) && ((me.device >= 0) || (me.alias != NULL)) &&
            !waits(pid)) {
            return fail("it did not wait");
        }
    }
    if (!passes(pid)) {
        return fail("it did not pass");
    }
    unlink(me.path);
    unlink(path);
    return 0;
}

/* All orders, of which every fifth is tried: each one takes its time */
static void try_orders(char *order, int done)
{
    static int number;
    char swapped;
    int i;

    if (why[0] != '\0') {
        return;
    }
    if (order[done] == '\0') {
        if ((number++ % 5 == 0) && (end_in_order(order) != 0)) {
            snprintf(why + strlen(why), sizeof(why) - strlen(why),
                     " (order %s)", order);
        }
        return;
    }
    for (i = done; order[i] != '\0'; ++i) {
        swapped     = order[done];
        order[done] = order[i];
        order[i]    = swapped;
        try_orders(order, done + 1);
        order[i]    = order[done];
        order[done] = swapped;
    }
}

static void test_orders(void)
{
    char order[] = "fmdau"; /* close, unmap file; close, unmap device; unlink */

    try_orders(order, 0);
    CHECK((why[0] != '\0') || becomes(PINS, 0), "%ld pins are left",
          number_in(PINS));
}

/* A copy that shares its blocks, by a child that has both files open; return
 * its pid */
static pid_t start_clone(const char *path, const char *copy)
{
    pid_t pid = fork();
    int in, out;

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_range(3, ~0u, 0);
        in  = open(path, O_RDONLY | O_CLOEXEC);
        out = open(copy, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        _exit((ioctl(out, FICLONE, in) == 0) ? 0 : errno);
    }
    return pid;
}

/* A file has no blocks in common with another one while it is pinned, else what
 * is written to it were in both */
static void clone_once(const char *name, int is_older)
{
    char copy[PATH_MAX + 8], byte;
    pinned_t me;
    int status, fd;
    pid_t pid;

    snprintf(copy, sizeof(copy), "%s/%s.copy", directory, name);
    close(open(is_older ? "/dev/null" : copy, O_RDWR | O_CREAT, 0600));
    TRY(make(&me, name, LENGTH));
    pid = start_clone(me.path, copy);
    waitpid(pid, &status, 0);
    if (WEXITSTATUS(status) == EOPNOTSUPP) {
        release_all(&me);
        unlink(copy);
        skipped = 1;
        FAIL("this file system has no reflinks");
    }
    CHECK(status == 0, "reflink: %s", strerror(WEXITSTATUS(status)));
    TRY(lease(&me));
    TRY(pin(&me));
    me.alias[0] = 'p';
    fd          = open(copy, O_RDONLY | O_CLOEXEC);
    CHECK((me.memory[0] == 'p') && (pread(fd, &byte, 1, 0) == 1) &&
          (byte == 'a'), "the copy was written to");
    close(fd);
    /* And once more, while it is pinned */
    fcntl(me.fd, F_SETLEASE, F_UNLCK);
    pid = start_clone(me.path, copy);
    pause_ms(500);
    CHECK(waitpid(pid, &status, WNOHANG) == 0, "it did not wait");
    unmap_device(&me);
    close_device(&me);
    CHECK(passes(pid), "it waits still, or failed");
    release_all(&me);
    unlink(copy);
}

static void test_clone(void)
{
    clone_once("reflinked", 1);
    if (why[0] == '\0') {
        clone_once("reflinked too", 0);
    }
}

/* Pinned blocks of an unlinked, closed file are not reused. */
static void test_unlinked(void)
{
    static char block[1 << 20];
    char path[PATH_MAX];
    pinned_t me;
    size_t i;
    int fd;

    TRY(make_pinned(&me, "unlinked"));
    unlink(me.path);
    unmap_file(&me);
    close_file(&me);
    memset(block, 'x', sizeof(block));
    snprintf(path, sizeof(path), "%s/full", directory);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof(block)) > 0) {
    }
    CHECK(errno == ENOSPC, "filling the file system: %m");
    close(fd);
    for (i = 0; (i < LENGTH) && (me.alias[i] == 'a'); ++i) {
    }
    unlink(path);
    CHECK(i == LENGTH, "byte %zu is %c", i, me.alias[i]);
    release_all(&me);
}

/*
 * Processes
 */

static void test_fork(void)
{
    pinned_t me;
    int status;
    pid_t child, pid;

    TRY(make_pinned(&me, "fork"));
    child = fork();
    if (child == 0) {
        _exit(me.alias[0]); /* dies: it has no such mapping */
    }
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV),
          "the child has the mapping, too (%#x)", status);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    /* It has the descriptors: the pin is its own, too */
    fcntl(me.fd, F_SETLEASE, F_UNLCK);
    unmap_file(&me);
    close_file(&me);
    unmap_device(&me);
    close_device(&me);
    pid = intrude(me.path);
    CHECK(waits(pid), "it did not wait for the child");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK(passes(pid), "it waits still, or failed");
    release_all(&me);
}

/* Start a child that pins, and then waits or executes another program. */
static pid_t pin_in_child(const char *name, int does_exec)
{
    char byte = 0;
    int ready[2];
    pinned_t me;
    pid_t pid;

    if (pipe(ready) != 0) {
        return -1;
    }
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        byte = (make_pinned(&me, name) == 0) &&
               (fcntl(me.fd, F_SETLEASE, F_UNLCK) == 0);
        if (write(ready[1], &byte, 1) != 1) {
            _exit(1);
        }
        if (does_exec) {
            pause_ms(4000); /* an intruder begins to wait meanwhile */
            execlp("sleep", "sleep", "60", NULL);
        }
        pause();
        _exit(1);
    }
    if ((read(ready[0], &byte, 1) != 1) || !byte) {
        pid = -1;
    }
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_kill(void)
{
    char path[PATH_MAX];
    pid_t child, pid;
    int i;

    snprintf(path, sizeof(path), "%s/kill", directory);
    for (i = 0; i < 10; ++i) {
        child = pin_in_child("kill", 0);
        CHECK(child > 0, "a child cannot pin");
        pid = intrude(path);
        CHECK(waits(pid), "it did not wait");
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        CHECK(passes(pid), "it waits for a dead process");
    }
    unlink(path);
}

static void test_exec(void)
{
    char path[PATH_MAX];
    pid_t child, pid;

    snprintf(path, sizeof(path), "%s/exec", directory);
    child = pin_in_child("exec", 1);
    CHECK(child > 0, "a child cannot pin");
    pid = intrude(path);
    CHECK(waits(pid), "it did not wait");
    CHECK(passes(pid), "it waits for another program");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    unlink(path);
}

static void test_mremap(void)
{
    pinned_t me;
    char *moved;
    pid_t pid;

    TRY(make_pinned(&me, "mremap"));
    fcntl(me.fd, F_SETLEASE, F_UNLCK);
    me.memory[PAGE] = 'b';
    CHECK(mremap(me.alias, LENGTH, 2 * LENGTH, MREMAP_MAYMOVE) == MAP_FAILED,
          "it can grow");
    moved = mremap(me.alias, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED,
                   mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0));
    CHECK(moved != MAP_FAILED, "it cannot be moved: %m");
    CHECK(moved[PAGE] == 'b', "it shows something else after a move");
    munmap(moved + 8 * PAGE, LENGTH - 16 * PAGE);
    munmap(moved, PAGE);
    CHECK((moved[PAGE] == 'b') && (moved[LENGTH - PAGE] == 'a'),
          "parts of it show something else");
    me.alias = NULL;
    close_device(&me);
    unmap_file(&me);
    close_file(&me);
    pid = intrude(me.path);
    CHECK(waits(pid), "a part of the mapping does not hold the pin");
    munmap(moved + PAGE, 7 * PAGE);
    CHECK(waits(pid), "the last part does not hold the pin");
    munmap(moved + LENGTH - 8 * PAGE, 8 * PAGE);
    CHECK(passes(pid), "it waits still, or failed");
    release_all(&me);
}

static void test_rmmod(void)
{
    pinned_t me;

    TRY(make_pinned(&me, "rmmod"));
    close_device(&me);
    CHECK((syscall(SYS_delete_module, "daxpin", O_NONBLOCK) != 0) &&
          (errno == EWOULDBLOCK), "the module was unloaded");
    me.alias[0] = 'b';
    CHECK(me.memory[0] == 'b', "the mapping shows something else");
    release_all(&me);
}

/*
 * Accounting and reports
 */

static long pinned_kb(void)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    long kb    = -1;

    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        sscanf(line, "VmPin: %ld", &kb);
    }
    fclose(file);
    return kb;
}

static void as_user(void)
{
    struct rlimit limit = {LENGTH, LENGTH};
    pinned_t me, other;

    TRY(make(&me, "user/mine", LENGTH));
    TRY(make(&other, "user/mine too", LENGTH));
    TRY(lease(&me));
    TRY(lease(&other));
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit: %m");
    TRY(pin(&me));
    CHECK(pinned_kb() == LENGTH / 1024, "%ld kB are pinned", pinned_kb());
    CHECK_REFUSAL(ENOMEM, other.fd, other.memory, 0, PAGE);
    unmap_device(&me);
    close_device(&me);
    CHECK(pinned_kb() == 0, "%ld kB are left", pinned_kb());
    CHECK_REFUSAL(0, other.fd, other.memory, 0, LENGTH);
}

static void test_user(void)
{
    char path[PATH_MAX];
    int status, said[2];
    pid_t pid;

    snprintf(path, sizeof(path), "%s/user", directory);
    CHECK((mkdir(path, 0700) == 0) && (chown(path, USER, USER) == 0) &&
          (pipe(said) == 0), "%s: %m", path);
    pid = fork();
    if (pid == 0) {
        if ((setgroups(0, NULL) != 0) || (setgid(USER) != 0) ||
            (setuid(USER) != 0)) {
            _exit(2);
        }
        as_user();
        if (write(said[1], why, strlen(why)) < 0) {
            _exit(3);
        }
        _exit(0);
    }
    close(said[1]);
    status = (int)read(said[0], why, sizeof(why) - 1);
    why[(status > 0) ? status : 0] = '\0';
    close(said[0]);
    waitpid(pid, &status, 0);
    CHECK(status == 0, "exit status %#x", status);
}

static void test_limit(void)
{
    pinned_t me;
    FILE *limit = fopen(LIMIT, "w");
    int ret;

    TRY(make(&me, "limit", 2 << 20));
    TRY(lease(&me));
    CHECK((limit != NULL) && (fputs("1", limit) >= 0) && (fclose(limit) == 0),
          "%s: %m", LIMIT);
    ret   = refusal(me.fd, me.memory, 0, (1 << 20) + PAGE);
    limit = fopen(LIMIT, "w");
    CHECK((fputs("0", limit) >= 0) && (fclose(limit) == 0), "%s: %m", LIMIT);
    CHECK(ret == ENOMEM, "%s", strerror(ret));
    CHECK_REFUSAL(0, me.fd, me.memory, 0, (1 << 20) + PAGE);
    release_all(&me);
}

static void test_poll(void)
{
    struct pollfd pollfd = {.events = POLLIN};
    uint64_t breaks      = 0;
    pinned_t me, other;

    TRY(make_pinned(&me, "poll"));
    TRY(make_pinned(&other, "poll too"));
    fcntl(me.device, F_SETFL, O_NONBLOCK);
    pollfd.fd = me.device;
    CHECK(poll(&pollfd, 1, 0) == 0, "readable although nothing happened");
    CHECK((read(me.device, &breaks, 8) < 0) && (errno == EAGAIN), "%m");
    CHECK(open(other.path, O_RDONLY | O_NONBLOCK) < 0, "it could be opened");
    CHECK(poll(&pollfd, 1, 0) == 0, "another file's lease");
    CHECK(open(me.path, O_RDONLY | O_NONBLOCK) < 0, "it could be opened");
    CHECK((poll(&pollfd, 1, 10000) == 1) && (pollfd.revents == POLLIN),
          "the break was not reported");
    CHECK((read(me.device, &breaks, 4) < 0) && (errno == EINVAL), "%m");
    CHECK((read(me.device, &breaks, 8) == 8) && (breaks == 1), "%lu breaks",
          breaks);
    CHECK(poll(&pollfd, 1, 0) == 0, "still readable");
    release_all(&other);
    release_all(&me);
}

static int has_line(const char *path, const char *wanted)
{
    char line[PATH_MAX + 64];
    FILE *file = fopen(path, "r");
    int found  = 0;

    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        line[strcspn(line, "\n")] = '\0';
        found |= strcmp(line, wanted) == 0;
    }
    fclose(file);
    return found;
}

static void test_fdinfo(void)
{
    char path[64], line[PATH_MAX + 64];
    pinned_t me;

    TRY(make_pinned(&me, "fdinfo"));
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", me.device);
    snprintf(line, sizeof(line), "file:\t%s", me.path);
    CHECK(has_line(path, line), "no line %s", line);
    snprintf(line, sizeof(line), "length:\t%lu", LENGTH);
    CHECK(has_line(path, line), "no line %s", line);
    CHECK(has_line(path, "offset:\t0"), "no line offset");
    CHECK((number_in(PINS) == 1) && (number_in(PAGES) == LENGTH / PAGE),
          "%ld pins, %ld pages", number_in(PINS), number_in(PAGES));
    release_all(&me);
}

static long vmstat(const char *name)
{
    char line[256], key[128];
    FILE *file = fopen("/proc/vmstat", "r");
    long value = -1, found = -1;

    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        if ((sscanf(line, "%127s %ld", key, &value) == 2) &&
            (strcmp(key, name) == 0)) {
            found = value;
        }
    }
    fclose(file);
    return found;
}

/* Pinned pages of the whole system that were not given back yet */
static long pages_out(void)
{
    number_in("/proc/sys/vm/stat_refresh"); /* what processors count apart */
    return vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released");
}

static void test_leaks(void)
{
    long before = pages_out(), slab;
    unsigned long i, pages;
    pinned_t me;

    TRY(make(&me, "leaks", 1200 * PAGE));
    TRY(lease(&me));
    slab = vmstat("nr_slab_unreclaimable");
    for (i = 0; i < 400; ++i) {
        pages = 1 + i * 3;
        CHECK_REFUSAL(0, me.fd, me.memory, 0, pages * PAGE);
        CHECK_REFUSAL(EFAULT, me.fd, me.memory + PAGE, 0, 1200 * PAGE);
    }
    CHECK(becomes(PINS, 0) && becomes(LINGERING, 0) && becomes(PAGES, 0),
          "%ld pins, %ld lingering, %ld pages", number_in(PINS),
          number_in(LINGERING), number_in(PAGES));
    CHECK(pages_out() == before, "%ld pinned pages, %ld before", pages_out(),
          before);
    CHECK(pinned_kb() == 0, "%ld kB count for this process", pinned_kb());
    pause_ms(200);
    /* 800 pins of which each has some objects: a leak were hundreds of pages */
    CHECK(vmstat("nr_slab_unreclaimable") - slab < 100,
          "the kernel uses %ld pages more",
          vmstat("nr_slab_unreclaimable") - slab);
    release_all(&me);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: kmod DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    chmod(directory, 0711);
    run("kmod: the interface has a version", test_version);
    run("kmod: ranges that cannot be pinned", test_ranges);
    run("kmod: memory that cannot be pinned", test_memory);
    run("kmod: files that cannot be pinned", test_files);
    run("kmod: no pin without write access", test_access);
    run("kmod: no pin without a live lease", test_lease);
    run("kmod: one pin a description, mapped shared", test_one_pin);
    run("kmod: the device shows the file", test_content);
    run("kmod: the device shows parts of the file", test_parts);
    run("kmod: the device shows huge pages of the file", test_huge);
    run("kmod: a truncate waits though no process maps the file",
        test_unmapped);
    run("kmod: ftruncate and hole punch wait", test_ftruncate);
    run("kmod: closing, unmapping, unlinking in any order", test_orders);
    run("kmod: no reflink shares pinned blocks", test_clone);
    run("kmod: a file without a name keeps its blocks", test_unlinked);
    run("kmod: a child has the pin, but no mapping", test_fork);
    run("kmod: the death of a process ends its pins", test_kill);
    run("kmod: another program has no pins", test_exec);
    run("kmod: mappings are moved and cut", test_mremap);
    run("kmod: the module stays while there are pins", test_rmmod);
    run("kmod: pins count for RLIMIT_MEMLOCK", test_user);
    run("kmod: a limit for all users", test_limit);
    run("kmod: poll reports a broken lease", test_poll);
    run("kmod: pins can be seen", test_fdinfo);
    run("kmod: nothing leaks", test_leaks);
    return failed;
}
