/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Pins as dma-bufs: that a device has them, and that the kernel takes them back
 * when the lease is broken, whatever the program does. The device is that of
 * test/vm/importer, which writes 'd' everywhere, without a pause.
 *
 * usage: dmabuf DIRECTORY     (on fsdax, as root, with both modules loaded)
 *
 *   DAXPIN_VM_BREAKS  breaks in the middle of transfers; default: 100
 */

#include "imported.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define PINS      DEVICE_DIR "pins"
#define PAGES     DEVICE_DIR "pages"
#define LINGERING DEVICE_DIR "lingering"
#define FILES     DEVICE_DIR "files"
#define BUFFERS   "/sys/kernel/debug/dma_buf/bufinfo"
#define NO_GRACE  0
#define GRACE_MS  3000
#define LONG_MS   DAXPIN_IOC_GRACE_MAX

#define BREAK_TIME "/proc/sys/fs/lease-break-time"

/* How often devices can have a dma-buf mapped, see src/kmod/dmabuf.c */
#define MAPS 1024

/* Devices that keep a user's work busy: 0.1 s each */
#define STUCK 30

/* A file of 256 segments of 64 KiB, and how often it is mapped: 8 KiB each time,
 * of which the kernel may have counted some before */
#define LARGE      (16ul << 20)
#define LARGE_MAPS 512

/* A pinned file, its dma-buf, and the device that has it */
typedef struct exported {
    pinned_t file;
    int      dmabuf; /* -1: closed */
    int      device; /* the importer; -1: closed */
} exported_t;

static int export_pin(int device, uint32_t grace_ms)
{
    const struct daxpin_ioc_export args = {.grace_ms = grace_ms};

    return ioctl(device, DAXPIN_IOC_EXPORT, &args);
}

/* Write a text to a file. Return 0 or -1. */
static int write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

    ret = (write(fd, text, strlen(text)) == (ssize_t)strlen(text)) ? 0 :
          fail(path);
    close(fd);
    return ret;
}

static int take_back(const exported_t *me)
{
    return ((ioctl(me->file.device, DAXPIN_IOC_REVOKE) == 0) &&
            (ioctl(me->file.device, DAXPIN_IOC_WAIT) == 0)) ? 0 : -1;
}

/* Pin the file, and export the pin. */
static int pin_exported(exported_t *me, uint32_t grace_ms)
{
    me->dmabuf = me->device = -1;
    me->file.device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    errno = pin_at(me->file.device, me->file.fd, me->file.memory, 0,
                   me->file.length);
    if (errno != 0) {
        return fail("DAXPIN_IOC_PIN");
    }
    me->dmabuf = export_pin(me->file.device, grace_ms);
    return (me->dmabuf >= 0) ? 0 : fail("DAXPIN_IOC_EXPORT");
}

static int make_exported_of(exported_t *me, const char *name, size_t length,
                            uint32_t grace_ms)
{
    me->dmabuf = me->device = -1;
    return ((make(&me->file, name, length) == 0) && (lease(&me->file) == 0)) ?
                   pin_exported(me, grace_ms) :
                   -1;
}

static int make_exported(exported_t *me, const char *name, uint32_t grace_ms)
{
    return make_exported_of(me, name, LENGTH, grace_ms);
}

static int make_imported(exported_t *me, const char *name, uint32_t grace_ms,
                         enum importer_mode mode)
{
    if (make_exported(me, name, grace_ms) != 0) {
        return -1;
    }
    me->device = import(me->dmabuf, mode);
    if (me->device < 0) {
        return fail("IMPORTER_IOC_START");
    }
    return writes(me->device) ? 0 : fail("the device does not write");
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void end(exported_t *me)
{
    close_fd(&me->device);
    close_fd(&me->dmabuf);
    release_all(&me->file);
}

/* Start a child that truncates the open file, which breaks no lease. */
static pid_t shrink(exported_t *me)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(me->file.fd, 3);
        close_range(4, ~0u, 0);
        _exit((ftruncate(3, 0) == 0) ? 0 : errno);
    }
    return pid;
}

static void test_interface(void)
{
    const uint32_t soon = 1, too_late = LONG_MS + 1;
    struct daxpin_ioc_export args = { 0 };
    exported_t me;
    uint32_t ways;
    int device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);

    CHECK((ioctl(device, DAXPIN_IOC_GET_WAYS, &ways) == 0) &&
          (ways == DAXPIN_IOC_DMABUF), "ways %#x", ways);
    CHECK((export_pin(device, 0) < 0) && (errno == EINVAL), "no pin: %m");
    CHECK((ioctl(device, DAXPIN_IOC_WAIT) != 0) && (errno == EINVAL), "%m");
    CHECK((ioctl(device, DAXPIN_IOC_REVOKE) != 0) && (errno == EINVAL), "%m");
    CHECK((ioctl(device, DAXPIN_IOC_REVOKE_IN, &soon) != 0) &&
          (errno == EINVAL), "later: %m");
    close(device);
    TRY(make_exported(&me, "interface", NO_GRACE));
    CHECK((ioctl(me.file.device, DAXPIN_IOC_REVOKE_IN, &too_late) != 0) &&
          (errno == EINVAL), "in more than a minute: %m");
    CHECK((ioctl(me.file.device, DAXPIN_IOC_REVOKE_IN, NULL) != 0) &&
          (errno == EFAULT), "in NULL: %m");
    CHECK((export_pin(me.file.device, 0) < 0) && (errno == EBUSY), "%m");
    close_fd(&me.dmabuf);
    CHECK((export_pin(me.file.device, LONG_MS + 1) < 0) && (errno == EINVAL),
          "grace: %m");
    args.flags = 1;
    CHECK((ioctl(me.file.device, DAXPIN_IOC_EXPORT, &args) < 0) &&
          (errno == EINVAL), "flags: %m");
    CHECK((ioctl(me.file.device, DAXPIN_IOC_EXPORT, NULL) < 0) &&
          (errno == EFAULT), "NULL: %m");
    me.dmabuf = export_pin(me.file.device, 0);
    CHECK(me.dmabuf >= 0, "once more: %m");
    CHECK(fcntl(me.dmabuf, F_GETFD) == FD_CLOEXEC, "not close-on-exec");
    CHECK(lseek(me.dmabuf, 0, SEEK_END) == (off_t)LENGTH, "its size");
    CHECK((mmap(NULL, PAGE, PROT_READ, MAP_SHARED, me.file.device, 0) ==
           MAP_FAILED) && (errno == EOPNOTSUPP), "mmap of the device: %m");
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, me.dmabuf, 0) == MAP_FAILED,
          "the dma-buf can be mapped");
    end(&me);
}

static void test_content(void)
{
    exported_t me;
    char bytes[2];
    size_t i;
    int count;

    TRY(make_imported(&me, "content", NO_GRACE, IMPORTER_AT_ONCE));
    for (i = 0; i < LENGTH; i += PAGE) {
        for (count = 0; (count < 1000) && (me.file.memory[i] != 'd');
             ++count) {
            pause_ms(5);
        }
        CHECK(me.file.memory[i + PAGE - 1] == 'd', "page %zu", i / PAGE);
    }
    CHECK((pread(me.file.fd, bytes, 2, 3 * PAGE + 5) == 2) &&
          (memcmp(bytes, "dd", 2) == 0), "pread: %.2s", bytes);
    CHECK(ioctl(me.device, IMPORTER_IOC_STOP) == 0, "%m");
    memset(me.file.memory, 'a', LENGTH);
    pause_ms(20);
    CHECK(me.file.memory[LENGTH - 1] == 'a', "it was told to stop, and writes");
    end(&me);
}

/* A device that could not be told to let go has nothing */
static void test_static(void)
{
    exported_t me;

    TRY(make_exported(&me, "static", NO_GRACE));
    CHECK((import(me.dmabuf, IMPORTER_STATIC) < 0) && (errno == EOPNOTSUPP),
          "%m");
    end(&me);
}

/* Without a break, who truncates waits for as long as the owner likes */
static void test_revoke(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "revoke", NO_GRACE, IMPORTER_AT_ONCE));
    unmap_file(&me.file);
    pid = shrink(&me);
    CHECK(waits(pid), "it did not wait");
    CHECK(writes(me.device), "the device does not write meanwhile");
    CHECK(take_back(&me) == 0, "revoke: %m");
    CHECK(stats_of(me.device).is_told && !stats_of(me.device).is_mapped,
          "the device has it still");
    CHECK(passes(pid), "it waits still, or failed");
    CHECK((import(me.dmabuf, IMPORTER_AT_ONCE) < 0) && (errno == ENODEV),
          "a second device: %m");
    CHECK((export_pin(me.file.device, 0) < 0), "it can be exported again");
    CHECK(take_back(&me) == 0, "once more: %m");
    CHECK(stats_of(me.device).late == 0, "late");
    end(&me);
}

/* Have the dma-buf taken back later */
static int take_back_in(exported_t *me, uint32_t delay_ms)
{
    return ioctl(me->file.device, DAXPIN_IOC_REVOKE_IN, &delay_ms);
}

/* Give the lease back, unless its time is over by now */
static void unlease(exported_t *me)
{
    CHECK((fcntl(me->file.fd, F_SETLEASE, F_UNLCK) == 0) || (errno == EAGAIN),
          "F_UNLCK: %m");
}

/* The owner gives the lease back, and lets the device have the dma-buf for as
 * long as it wants it */
static void keep_long(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "later", LONG_MS, IMPORTER_AT_ONCE));
    unmap_file(&me.file);
    pid = intrude(me.file.path);
    CHECK(waits(pid), "it did not wait for the lease");
    CHECK(take_back_in(&me, LONG_MS) == 0, "revoke in a minute: %m");
    unlease(&me);
    close_device(&me.file);
    pause_ms(GRACE_MS);
    CHECK(waits(pid), "it did not wait for the device");
    CHECK(writes(me.device) && !stats_of(me.device).is_told,
          "the device has lost it");
    close_fd(&me.dmabuf);
    close_fd(&me.device);
    CHECK(passes(pid), "it waits still, or failed");
    end(&me);
}

/* The owner has as much time as it takes here to say so */
static void test_later(void)
{
    TRY(write_to(BREAK_TIME, "45"));
    keep_long();
    (void)write_to(BREAK_TIME, "2");
}

/* The same, and the device wants it for longer than that */
static void keep_too_long(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "too-long", LONG_MS, IMPORTER_PINNED));
    unmap_file(&me.file);
    pid = intrude(me.file.path);
    CHECK(waits(pid), "it did not wait for the lease");
    CHECK(take_back_in(&me, LONG_MS) == 0, "%m");
    CHECK(take_back_in(&me, 3 * GRACE_MS) == 0, "earlier: %m");
    CHECK(take_back_in(&me, LONG_MS) == 0, "later: %m"); /* does nothing */
    unlease(&me);
    close_device(&me.file);
    CHECK(waits(pid), "it did not wait for the device");
    CHECK(writes(me.device) && !stats_of(me.device).is_told,
          "the device has lost it");
    CHECK(passes(pid), "it waits still, or failed");
    CHECK(stats_of(me.device).is_told && (stats_of(me.device).late == 0),
          "the device has it still");
    end(&me);
}

static void test_too_long(void)
{
    TRY(write_to(BREAK_TIME, "45"));
    keep_too_long();
    (void)write_to(BREAK_TIME, "2");
}

/* The owner needs longer for the lease than the grace, and has set a time */
static void test_own_time(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "own-time", 100, IMPORTER_AT_ONCE));
    unmap_file(&me.file);
    CHECK(take_back_in(&me, LONG_MS) == 0, "%m");
    pid = intrude(me.file.path);
    CHECK(waits(pid), "it did not wait for the lease");
    pause_ms(1000);
    CHECK(writes(me.device) && !stats_of(me.device).is_told,
          "the device has lost it at the end of the grace");
    unlease(&me);
    CHECK(ioctl(me.file.device, DAXPIN_IOC_REVOKE) == 0, "now: %m");
    CHECK(passes(pid), "it waits still, or failed");
    end(&me);
}

static int set_up_hung(void)
{
    static exported_t me;
    const int ret = make_imported(&me, "hung", NO_GRACE, IMPORTER_PINNED);

    if (ret == 0) {
        unmap_file(&me.file);
    }
    return ret;
}

static void stop(void)
{
    raise(SIGSTOP);
}

/* The owner is stopped, and does nothing at all */
static void test_hung(void)
{
    char path[PATH_MAX];
    owner_t owner;

    snprintf(path, sizeof(path), "%s/hung", directory);
    TRY(start_owner(&owner, set_up_hung, stop));
    if ((waitpid(owner.pid, NULL, WUNTRACED) != owner.pid) ||
        !passes(intrude(path))) {
        snprintf(why, sizeof(why), "a truncate waits for a program that is "
                 "stopped");
    }
    end_owner(&owner);
    unlink(path);
}

/* The owner gives the lease back, and so lends the file: nothing is taken */
static void test_lent(void)
{
    exported_t me;
    int fd;

    TRY(make_imported(&me, "lent", GRACE_MS, IMPORTER_AT_ONCE));
    CHECK((open(me.file.path, O_RDONLY | O_NONBLOCK) < 0) && (errno == EAGAIN),
          "a reader was not turned away: %m");
    CHECK(fcntl(me.file.fd, F_SETLEASE, F_UNLCK) == 0, "F_UNLCK: %m");
    fd = open(me.file.path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, "a reader: %m");
    pause_ms(GRACE_MS + GRACE_MS / 2);
    CHECK(writes(me.device) && !stats_of(me.device).is_told,
          "the device has lost it");
    close(fd);
    TRY(lease(&me.file));
    CHECK(open(me.file.path, O_RDONLY | O_NONBLOCK) < 0, "it could be opened");
    CHECK(is_told(me.device), "the second break told nothing");
    end(&me);
}

static void test_grace(void)
{
    exported_t me;

    TRY(make_imported(&me, "grace", 300, IMPORTER_LATER));
    CHECK(open(me.file.path, O_RDONLY | O_NONBLOCK) < 0, "it could be opened");
    CHECK((export_pin(me.file.device, 0) < 0) && (errno == EPERM), "%m");
    CHECK(is_told(me.device), "the grace does not end");
    end(&me);
    /* A break that came before the export */
    TRY(make_exported(&me, "grace", 0));
    close_fd(&me.dmabuf);
    CHECK(open(me.file.path, O_RDONLY | O_NONBLOCK) < 0, "it could be opened");
    CHECK((export_pin(me.file.device, 0) < 0) &&
          (errno == EPERM), "a broken lease: %m");
    end(&me);
}

/* The lease ends before the grace, which was set when leases had more time */
static void test_short_lease(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "short", 5000, IMPORTER_PINNED));
    unmap_file(&me.file);
    pid = intrude(me.file.path);
    CHECK(waits(pid), "it did not wait for the lease");
    CHECK(passes(pid), "it waits still, or failed");
    CHECK(stats_of(me.device).is_told && (stats_of(me.device).late == 0),
          "the device has it still");
    end(&me);
}

static void end_stuck(exported_t *stuck, int count)
{
    int i;

    for (i = 0; i < count; ++i) {
        close_fd(&stuck[i].device);
        close_fd(&stuck[i].dmabuf);
        close_device(&stuck[i].file);
    }
}

/* Have so many devices not let go, of which the user's work waits for each again
 * and again. */
static int start_stuck(pinned_t *file, exported_t *stuck)
{
    int i;

    if ((make(file, "stuck", LENGTH) != 0) || (lease(file) != 0)) {
        return -1;
    }
    for (i = 0; i < STUCK; ++i) {
        stuck[i].file = *file;
        if (pin_exported(&stuck[i], NO_GRACE) == 0) {
            stuck[i].device = import(stuck[i].dmabuf, IMPORTER_STUCK);
        }
        if ((stuck[i].device < 0) ||
            (ioctl(stuck[i].file.device, DAXPIN_IOC_REVOKE) != 0)) {
            (void)fail("a device that does not let go");
            end_stuck(stuck, i + 1);
            return -1;
        }
    }
    return 0;
}

/* A truncate waits for no other device than those that have the file. */
static void test_turn(void)
{
    exported_t stuck[STUCK], me;
    pinned_t file;
    pid_t pid;

    TRY(start_stuck(&file, stuck));
    if (make_imported(&me, "turn", NO_GRACE, IMPORTER_PINNED) == 0) {
        unmap_file(&me.file);
        pid = intrude(me.file.path);
        if (!passes(pid)) {
            snprintf(why, sizeof(why), "it waits still, or failed");
        }
        end(&me);
    }
    end_stuck(stuck, STUCK);
    release_all(&file);
}

/* The user's work comes only when the kernel has taken the lease. */
static void test_late(void)
{
    exported_t sleepy, me;
    pid_t pid;

    TRY(make_imported(&sleepy, "sleepy", NO_GRACE, IMPORTER_SLEEPY));
    TRY(make_imported(&me, "late", NO_GRACE, IMPORTER_PINNED));
    unmap_file(&me.file);
    CHECK(ioctl(sleepy.file.device, DAXPIN_IOC_REVOKE) == 0, "%m");
    CHECK(is_told(sleepy.device), "the revoke told nothing");
    pid = intrude(me.file.path);
    CHECK(passes(pid), "it waits still, or failed");
    end(&sleepy);
    end(&me);
}

/* Have the dma-buf mapped so often. Return how often it was. */
static int map_often(const exported_t *me, int *devices, int count)
{
    const struct rlimit limit = {2 * MAPS, 2 * MAPS};
    int i;

    setrlimit(RLIMIT_NOFILE, &limit);
    for (i = 0; i < count; ++i) {
        devices[i] = import(me->dmabuf, IMPORTER_STUCK);
        if (devices[i] < 0) {
            break;
        }
    }
    return i;
}

static void unmap_often(int *devices, int count)
{
    int error = errno, i;

    for (i = 0; i < count; ++i) {
        close(devices[i]);
    }
    errno = error;
}

static void test_maps(void)
{
    static int devices[MAPS + 1];
    exported_t me;
    int count;

    TRY(make_exported(&me, "maps", NO_GRACE));
    count = map_often(&me, devices, MAPS + 1);
    if ((count == MAPS) && (errno == EUSERS)) {
        close(devices[0]);
        devices[0] = import(me.dmabuf, IMPORTER_STUCK);
        unmap_often(devices, count);
        CHECK(devices[0] >= 0, "after one was unmapped: %m");
    } else {
        unmap_often(devices, count);
        FAIL("it can be mapped %d times: %m", count);
    }
    end(&me);
}

/* Return by how much more bytes this process, in a memory cgroup of its own, has
 * with the dma-buf mapped so often; -1: an error. */
static long grown(const exported_t *me, const char *cgroup, int *devices)
{
    char path[2 * PATH_MAX];
    long before, after;
    int count;

    snprintf(path, sizeof(path), "%s/memory.current", cgroup);
    before = number_in(path);
    count  = map_often(me, devices, LARGE_MAPS);
    after  = number_in(path);
    if ((before < 0) || (after < 0) || (count < LARGE_MAPS)) {
        (void)fail((count < LARGE_MAPS) ? "import" : path);
        after = before - 1;
    }
    unmap_often(devices, count);
    return after - before;
}

/* Enter a cgroup: where such a file system is mounted, its name. */
static int enter(const char *root, const char *name)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s%s/cgroup.procs", root, name);
    return write_to(path, "0");
}

/* What devices make of a dma-buf counts for the memory cgroup of who has them do
 * it. */
static void test_cgroup(void)
{
    char root[PATH_MAX + 8], path[PATH_MAX + 64];
    static int devices[LARGE_MAPS];
    exported_t me;
    long size = -1;

    snprintf(root, sizeof(root), "%s/cgroup", directory);
    TRY(make_exported_of(&me, "cgroup-file", LARGE, NO_GRACE));
    CHECK((mkdir(root, 0700) == 0) &&
          (mount("none", root, "cgroup2", 0, NULL) == 0), "%s: %m", root);
    snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
    if (write_to(path, "+memory") == 0) {
        snprintf(path, sizeof(path), "%s/dmabuf", root);
        if ((mkdir(path, 0700) == 0) && (enter(root, "/dmabuf") == 0)) {
            size = grown(&me, path, devices);
            enter(root, "");
        }
        rmdir(path);
    }
    umount2(root, MNT_DETACH);
    rmdir(root);
    end(&me);
    CHECK((why[0] != '\0') || (size >= LARGE_MAPS * 4l * 1024),
          "%d tables count %ld bytes", LARGE_MAPS, size);
}

/* Nobody can make the kernel take back what a device still has */
static void test_slow(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "slow", NO_GRACE, IMPORTER_SLOW));
    unmap_file(&me.file);
    pid = intrude(me.file.path);
    CHECK(is_told(me.device), "the break told nothing");
    fcntl(me.file.fd, F_SETLEASE, F_UNLCK);
    CHECK(waits(pid), "it did not wait for the device");
    CHECK((import(me.dmabuf, IMPORTER_AT_ONCE) < 0) && (errno == ENODEV),
          "a second device: %m");
    CHECK(ioctl(me.device, IMPORTER_IOC_LET_GO) == 0, "%m");
    CHECK(passes(pid), "it waits still, or failed");
    end(&me);
}

/* The check of the device finds what it is for */
static void test_rogue(void)
{
    exported_t me;
    int i;

    TRY(make_imported(&me, "rogue", NO_GRACE, IMPORTER_ROGUE));
    CHECK(take_back(&me) == 0, "%m");
    for (i = 0; (i < 500) && (stats_of(me.device).late == 0); ++i) {
        pause_ms(20);
    }
    CHECK(stats_of(me.device).late > 0, "a late access was not seen");
    end(&me);
}

/* One of many breaks. The blocks are another file's afterwards. */
static void break_once(unsigned number)
{
    static const enum importer_mode modes[] = {IMPORTER_AT_ONCE, IMPORTER_LATER,
                                               IMPORTER_PINNED};
    char victim[PATH_MAX], bytes[PAGE];
    struct importer_stats before, after;
    exported_t me;
    size_t i;
    pid_t pid;
    int fd;

    TRY(make_imported(&me, "break", NO_GRACE, modes[number % 3]));
    unmap_file(&me.file);
    if (number % 2 != 0) {
        close_device(&me.file); /* The dma-buf alone keeps the pin */
    }
    pid = intrude(me.file.path);
    CHECK(is_told(me.device), "break %u: nothing was told", number);
    fcntl(me.file.fd, F_SETLEASE, F_UNLCK);
    CHECK(passes(pid), "break %u: it waits still, or failed", number);
    before = stats_of(me.device);
    snprintf(victim, sizeof(victim), "%s/victim", directory);
    fd = open(victim, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    memset(bytes, 'v', PAGE);
    for (i = 0; i < LENGTH / PAGE; ++i) {
        CHECK(write(fd, bytes, PAGE) == PAGE, "%m");
    }
    pause_ms(2);
    after = stats_of(me.device);
    CHECK((after.late == 0) && (after.transfers == before.transfers),
          "break %u: %llu accesses after the truncate, %llu of them late",
          number, after.transfers - before.transfers, after.late);
    for (i = 0; i < LENGTH / PAGE; ++i) {
        CHECK((pread(fd, bytes, PAGE, (off_t)(i * PAGE)) == PAGE) &&
              (memchr(bytes, 'd', PAGE) == NULL),
              "break %u: page %zu of another file", number, i);
    }
    close(fd);
    unlink(victim);
    end(&me);
}

static void test_breaks(void)
{
    run_breaks(100, break_once);
}

static int set_up_kill(void)
{
    static exported_t me;
    const int ret = make_imported(&me, "kill", LONG_MS, IMPORTER_AT_ONCE);

    unlink(me.file.path);
    return ret;
}

/* The program dies while the device writes */
static void test_kill(void)
{
    owner_t owner;

    TRY(start_owner(&owner, set_up_kill, sleep_on));
    CHECK(end_owner(&owner) == 0, "it does not end");
    CHECK(becomes(PINS, 0) && becomes(PAGES, 0) && becomes(FILES, 0),
          "something is left");
}

static int unload(void)
{
    return (syscall(SYS_delete_module, "daxpin", O_NONBLOCK) == 0) ? 0 : errno;
}

/* The module stays for as long as anything of it is in use */
static void test_unload(void)
{
    exported_t me;
    pid_t pid;

    TRY(make_imported(&me, "unload", NO_GRACE, IMPORTER_SLOW));
    unmap_file(&me.file);
    close_file(&me.file);
    CHECK(unload() == EAGAIN, "with all of it");
    close_device(&me.file);
    CHECK(unload() == EAGAIN, "with the dma-buf, and a device");
    close_fd(&me.dmabuf);
    pause_ms(50);
    CHECK(unload() == EAGAIN, "with a device alone");
    pid = intrude(me.file.path);
    CHECK(waits(pid), "a device alone keeps no block");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close_fd(&me.device);
    unlink(me.file.path);
    CHECK(becomes(PINS, 0) && becomes(FILES, 0), "something is left");
    TRY(make_imported(&me, "unload", NO_GRACE, IMPORTER_SLOW));
    unmap_file(&me.file);
    pid = intrude(me.file.path);
    CHECK(is_told(me.device), "the break told nothing");
    CHECK(unload() == EAGAIN, "while a device does not let go");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    end(&me);
}

static long buffers(void)
{
    char line[256];
    FILE *file = fopen(BUFFERS, "r");
    long count = -1;

    while ((file != NULL) && (fgets(line, sizeof(line), file) != NULL)) {
        sscanf(line, "Total %ld objects", &count);
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

static void test_leaks(void)
{
    exported_t me;
    long before;
    int i;

    CHECK(becomes(PINS, 0) && becomes(LINGERING, 0) && becomes(PAGES, 0) &&
          becomes(FILES, 0), "%ld pins, %ld lingering, %ld pages, %ld files",
          number_in(PINS), number_in(LINGERING), number_in(PAGES),
          number_in(FILES));
    before = buffers();
    CHECK(before >= 0, "%s: %m", BUFFERS);
    TRY(make_imported(&me, "leaks", NO_GRACE, IMPORTER_AT_ONCE));
    CHECK(buffers() == before + 1, "%ld dma-bufs, %ld before", buffers(),
          before);
    end(&me);
    for (i = 0; (i < 500) && (buffers() > 0); ++i) {
        pause_ms(20);
    }
    CHECK(buffers() == 0, "%ld dma-bufs are left", buffers());
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: dmabuf DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    chmod(directory, 0711);
    run("dmabuf: the interface", test_interface);
    run("dmabuf: a device writes to the file", test_content);
    run("dmabuf: a device that cannot let go is refused", test_static);
    run("dmabuf: a truncate waits until the owner revokes", test_revoke);
    run("dmabuf: a device that keeps it until it gives it back", test_later);
    run("dmabuf: a device that keeps it for too long", test_too_long);
    run("dmabuf: the owner's time, and not the lease's", test_own_time);
    run("dmabuf: a break needs no help of the program", test_hung);
    run("dmabuf: a lease that is lent", test_lent);
    run("dmabuf: a grace that ends", test_grace);
    run("dmabuf: a lease that ends before the grace", test_short_lease);
    run("dmabuf: devices that keep theirs delay no other file", test_turn);
    run("dmabuf: a lease that ended before the module came", test_late);
    run("dmabuf: how often it can be mapped", test_maps);
    run("dmabuf: its tables count for the memory cgroup", test_cgroup);
    run("dmabuf: a device that lets go late", test_slow);
    run("dmabuf: a late access is seen", test_rogue);
    run("dmabuf: breaks in the middle of transfers", test_breaks);
    run("dmabuf: the death of the program", test_kill);
    run("dmabuf: the module stays while it is in use", test_unload);
    run("dmabuf: nothing leaks", test_leaks);
    return failed;
}
