/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* No byte, length or block of a file changes before the lease is there, and
 * what fails leaves the file as it was */

#include "disk.h"
#include "intruder.h"
#include "member.h"

#include "daxpin/file/file.h"
#include "daxpin/os/roster.h"

#include <sys/statvfs.h>

/* Not every DAX device allows MAP_SYNC. Where it is refused, the kernel has removed
 * already what was mapped at the address. */
static int      own_refuses_sync;
static unsigned own_holes;

/* Mappings in place of others from an offset that is not one of a page */
static unsigned own_odd;

void *mmap(void *addr, size_t length, int prot, int flags, int fd,
           off_t offset)
{
    own_odd += (flags & MAP_FIXED) && (offset % sysconf(_SC_PAGESIZE) != 0);
    if (own_refuses_sync && (flags & MAP_SYNC)) {
        own_holes += (flags & MAP_FIXED) != 0;
        errno = EOPNOTSUPP;
        return MAP_FAILED;
    }
    return (void*)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

/* A descriptor of the program, which another thread closes and opens again for
 * another file when the library is about to exchange it */
static int        own_reused = -1;
static const char *own_other_path;

int fcntl(int fd, int command, ...)
{
    va_list ap;
    long arg;
    int other;

    va_start(ap, command);
    arg = va_arg(ap, long);
    va_end(ap);
    if ((command == F_GETFD) && (fd == own_reused)) {
        other = open(own_other_path, O_RDWR | O_CLOEXEC);
        dup2(other, fd);
        close(other);
        own_reused = -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, arg);
}

#define OWN_MIB     (1l << 20)
#define OWN_LENGTH  (8 * OWN_MIB)
#define OWN_ISLAND  (2 * OWN_MIB) /* the file has data here and at 0 */
#define OWN_DATA    4096
#define OWN_EXTRA   (65536 / 512) /* blocks of metadata */

/* What must stay as it was */
typedef struct own_file {
    const char  *path;
    struct stat st;
} own_file_t;

/* Make a file with two holes. */
static void own_make(own_file_t *file, const char *dir, const char *name)
{
    char data[OWN_DATA];
    int fd;

    file->path = unit_path(dir, name);
    memset(data, 'x', sizeof(data));
    fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 2 * OWN_ISLAND), 0);
    assert_int_equal(pwrite(fd, data, OWN_DATA, 0), OWN_DATA);
    assert_int_equal(pwrite(fd, data, OWN_DATA, OWN_ISLAND), OWN_DATA);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(fstat(fd, &file->st), 0);
    assert_true(file->st.st_blocks * 512 < OWN_MIB);
    close(fd);
}

static void own_check_unchanged(const own_file_t *file)
{
    struct stat st;

    assert_int_equal(stat(file->path, &st), 0);
    assert_int_equal(st.st_size, file->st.st_size);
    /* A file system may keep a block for its list of extents */
    assert_in_range(st.st_blocks, file->st.st_blocks,
                    file->st.st_blocks + OWN_EXTRA);
}

static void own_check_content(const own_file_t *file)
{
    assert_int_equal(unit_file_byte(file->path, 0), 'x');
    assert_int_equal(unit_file_byte(file->path, OWN_DATA - 1), 'x');
    assert_int_equal(unit_file_byte(file->path, OWN_DATA), 0);
    assert_int_equal(unit_file_byte(file->path, OWN_ISLAND - 1), 0);
    assert_int_equal(unit_file_byte(file->path, OWN_ISLAND), 'x');
    assert_int_equal(unit_file_byte(file->path, 2 * OWN_ISLAND - 1), 0);
}

/*
 * Without the lease
 */

/* Another program has the file open, so that there is no lease. */
static void own_check_refused(const char *dir, int is_dax)
{
    daxpin_params_t params = {.timeout_ms = 200};
    daxpin_file_t *opened;
    child_t other;
    own_file_t file;

    own_make(&file, dir, "refused");
    if (is_dax) {
        disk_mark(file.path, "dax");
    }
    intruder_start(&other, "write", file.path, 0);
    assert_int_equal(intruder_result(&other, 5000), 0);
    assert_int_equal(daxpin_file_open(file.path, OWN_LENGTH, &params, &opened),
                     -EAGAIN);
    own_check_unchanged(&file);
    assert_int_equal(stat(file.path, &file.st), 0);
    child_finish(&other);
    own_check_content(&file);
}

static void test_refused(void **state)
{
    own_check_refused(unit_disk, 0);
    own_check_refused(unit_disk, 1);
    own_check_refused(unit_memory, 0);
    own_check_refused(unit_memory, 1);
    (void)state;
}

static int own_other = -1;

static void own_open_at_once(const char *path)
{
    own_other      = open(path, O_RDWR | O_CLOEXEC);
    disk_path_hook = NULL;
}

/* A new file that another program has opened before there was a lease is not
 * deleted: that program may be about to write to it. */
static void test_refused_new_file(void **state)
{
    const char *path       = unit_path(unit_disk, "shared-new");
    daxpin_params_t params = {.timeout_ms = 200};
    daxpin_file_t *opened;

    disk_path_hook = own_open_at_once;
    assert_int_equal(daxpin_file_open(path, OWN_LENGTH, &params, &opened),
                     -EAGAIN);
    assert_true(own_other >= 0);
    assert_int_equal(unit_file_size(path), 0);
    close(own_other);
    (void)state;
}

static child_t own_filler;

/* Have another process become the holder of the new file, and begin to fill
 * it. */
static void own_fill_elsewhere(const char *path)
{
    disk_path_hook = NULL;
    disk_mark(path, "wait");
    disk_mark(path, "never");
    member_start(&own_filler);
    child_send(&own_filler, "open %s %d %u", path, UNIT_LENGTH,
               5000 * unit_slow());
    assert_true(unit_await(5000, disk_is_marked(path, "waits")));
}

/* A new file whose holder is another process, which cannot fill it, is deleted by
 * the process that created it. */
static void test_holder_cannot_fill(void **state)
{
    const char *path       = unit_path(unit_disk, "filled-elsewhere");
    daxpin_params_t params = {.timeout_ms = 5000 * unit_slow()};
    daxpin_file_t *opened;
    pid_t pid;

    disk_path_hook = own_fill_elsewhere;
    pid            = fork();
    if (pid == 0) {
        unit_sleep_ms(500); /* until this process has joined */
        while (!disk_is_marked(path, "waits")) {
            unit_sleep_ms(10);
        }
        unit_sleep_ms(300);
        disk_unmark(path, "wait");
        _exit(0);
    }
    assert_int_equal(daxpin_file_open(path, UNIT_LENGTH, &params, &opened),
                     -ENOSPC);
    assert_int_equal(child_answer(&own_filler, 5000), -ENOSPC);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    child_finish(&own_filler);
    disk_unmark(path, "never");
    disk_unmark(path, "waits");
    (void)state;
}

static char own_renamed[PATH_MAX];

/* Have another file of another job take the name. */
static void own_rename(const char *path)
{
    disk_path_hook = NULL;
    assert_int_equal(rename(own_renamed, path), 0);
}

/* A file that gets the name while this process opens it keeps its lease: its
 * holder sees nothing of the open. */
static void test_renamed_meanwhile(void **state)
{
    const char *path = unit_path(unit_disk, "name");
    daxpin_file_t *opened;
    child_t child;

    strcpy(own_renamed, unit_path(unit_disk, "other"));
    unit_make_file(path, UNIT_LENGTH, 'a');
    unit_make_file(own_renamed, UNIT_LENGTH, 'b');
    member_start_open(&child, own_renamed);
    disk_path_hook = own_rename;
    opened         = unit_open(path, UNIT_LENGTH);
    assert_int_equal(daxpin_file_is_holder(opened), 0);
    assert_int_equal(*(char*)daxpin_file_addr(opened, 0, 1), 'b');
    assert_int_equal(child_query(&child, "state"), DAXPIN_STATE_HELD);
    assert_int_equal(child_query(&child, "locks") & DAXPIN_LOCK_LEASE,
                     DAXPIN_LOCK_LEASE);
    daxpin_file_close(opened);
    child_finish(&child);
    (void)state;
}

/*
 * Few descriptors
 */

static void own_limit_fds(rlim_t soft)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A new file that cannot be opened is deleted, whatever lacks a descriptor. */
static void test_few_descriptors(void **state)
{
    const char *path = unit_path(unit_disk, "few");
    daxpin_file_t *opened;
    struct rlimit limit;
    int first, more, ret = -1;

    daxpin_file_close(unit_open(unit_path(unit_disk, "first"), UNIT_LENGTH));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    first = dup(0);
    close(first);
    for (more = 0; (more < 64) && (ret != 0); ++more) {
        own_limit_fds((rlim_t)(first + more));
        ret = daxpin_file_open(path, UNIT_LENGTH, NULL, &opened);
        own_limit_fds(limit.rlim_cur);
        if ((ret != 0) && unit_exists(path)) {
            fail_msg("%d more descriptors: %s", more, daxpin_errormsg());
        }
        if (ret != 0) {
            assert_message(path);
        }
    }
    assert_int_equal(ret, 0);
    assert_true(more > 1);
    daxpin_file_close(opened);
    (void)state;
}

/*
 * Beside other writers
 */

/* A byte that is written to a hole, after the library has found the hole,
 * stays. Only descriptors of the same open file description can do that under
 * the lease. */
static void own_check_written(const char *dir)
{
    unsigned found = 0;
    daxpin_file_t *opened;
    own_file_t file;
    char *memory;
    long i;

    own_make(&file, dir, "written");
    disk_mark(file.path, "dax");
    disk_written = 0;
    disk_writes  = 1;
    opened       = unit_open(file.path, OWN_LENGTH);
    disk_writes  = 0;
    memory       = daxpin_file_addr(opened, 0, OWN_LENGTH);
    assert_non_null(memory);
    for (i = 0; i < OWN_LENGTH; ++i) {
        found += memory[i] == DISK_WRITTEN;
    }
    assert_true(disk_written > 0);
    assert_int_equal(found, disk_written);
    daxpin_file_close(opened);
    own_check_content(&file);
}

static void test_written_while_filled(void **state)
{
    for (disk_is_old = 0; disk_is_old < 2; ++disk_is_old) {
        own_check_written(unit_disk);
        own_check_written(unit_memory);
    }
    disk_is_old = 0;
    (void)state;
}

static const char *own_appends; /* the path */
static off_t      own_appended; /* the offset of the byte; 0: not yet */

/* Append as a process does that was let in, behind what the library is about to
 * make the length. */
static void own_append(int fd)
{
    const char byte = DISK_WRITTEN;
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    if ((own_appended == 0) && (strcmp(path, own_appends) == 0)) {
        own_appended = OWN_LENGTH;
        assert_int_equal(pwrite(fd, &byte, 1, own_appended), 1);
    }
}

/* What another process appends while the file grows is not cut off: neither
 * when the file is opened, nor later. */
static void test_appended_while_grown(void **state)
{
    daxpin_file_t *file, *more;
    own_file_t made;
    unsigned i;

    for (i = 0; i < 2; ++i) {
        own_make(&made, unit_disk, "appended");
        file             = (i == 0) ? NULL : unit_open(made.path, OWN_MIB);
        own_appends      = made.path;
        own_appended     = 0;
        disk_length_hook = own_append;
        more             = unit_open(made.path, OWN_LENGTH);
        disk_length_hook = NULL;
        assert_int_equal(own_appended, OWN_LENGTH);
        assert_int_equal(unit_file_size(made.path), OWN_LENGTH + 1);
        assert_int_equal(unit_file_byte(made.path, OWN_LENGTH), DISK_WRITTEN);
        daxpin_file_close(more);
        daxpin_file_close(file);
    }
    (void)state;
}

/* On DAX no hole is left, and no block that was never written. */
static void own_check_converted(const char *dir)
{
    daxpin_file_t *opened;
    own_file_t file;
    int fd;

    own_make(&file, dir, "converted");
    disk_mark(file.path, "dax");
    opened = unit_open(file.path, OWN_LENGTH);
    daxpin_file_close(opened);
    own_check_content(&file);
    fd = open(file.path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), OWN_LENGTH);
    close(fd);
}

static void test_converted(void **state)
{
    for (disk_is_old = 0; disk_is_old < 2; ++disk_is_old) {
        own_check_converted(unit_disk);
        own_check_converted(unit_memory);
    }
    disk_is_old = 0;
    (void)state;
}

/* A file system that does not report holes: all is allocated. */
static void test_hidden_holes(void **state)
{
    daxpin_file_t *opened;
    struct stat st;
    own_file_t file;

    own_make(&file, unit_disk, "hidden");
    disk_hides_holes = 1;
    opened           = unit_open(file.path, OWN_LENGTH);
    disk_hides_holes = 0;
    assert_int_equal(stat(file.path, &st), 0);
    assert_true(st.st_blocks * 512 >= OWN_LENGTH);
    daxpin_file_close(opened);
    own_check_content(&file);
    (void)state;
}

/*
 * The lease is broken while the file is filled
 */

/* A reader is let in before the work ends. It finds the file as it was. */
static void test_reader_while_filled(void **state)
{
    child_t opener, reader;
    own_file_t file;

    own_make(&file, unit_disk, "reader");
    disk_mark(file.path, "wait");
    member_start(&opener);
    child_send(&opener, "open %s %ld 20000", file.path, OWN_LENGTH);
    assert_true(unit_await(5000, disk_is_marked(file.path, "waits")));
    assert_string_equal(intruder_lease(file.path), "ACTIVE");
    own_check_unchanged(&file);
    intruder_start(&reader, "read", file.path, 0);
    assert_blocked(&reader, 300);
    disk_unmark(file.path, "wait");
    assert_int_equal(intruder_result(&reader, 5000), 0);
    own_check_unchanged(&file);
    assert_int_equal(child_answer_within(&opener, 300), CHILD_SILENT);
    child_finish(&reader);
    assert_int_equal(child_answer(&opener, CHILD_WAIT_MS), 0);
    assert_true(member_has_state(&opener, HELD));
    assert_int_equal(unit_file_size(file.path), OWN_LENGTH);
    child_finish(&opener);
    own_check_content(&file);
    (void)state;
}

/*
 * No space
 */

static void own_check_full(const char *dir, int is_dax)
{
    daxpin_file_t *opened;
    own_file_t file;

    own_make(&file, dir, "full");
    if (is_dax) {
        disk_mark(file.path, "dax");
    }
    disk_mark(file.path, "full");
    assert_int_equal(daxpin_file_open(file.path, OWN_LENGTH, NULL, &opened),
                     -ENOSPC);
    assert_message(file.path);
    assert_message("space");
    assert_string_equal(intruder_lease(file.path), "");
    own_check_unchanged(&file);
    own_check_content(&file);
    opened = unit_open(file.path, OWN_LENGTH); /* there is space by now */
    daxpin_file_close(opened);
}

static void test_full(void **state)
{
    own_check_full(unit_disk, 0);
    own_check_full(unit_disk, 1);
    own_check_full(unit_memory, 0);
    (void)state;
}

/* A file that is open stays as it was if it cannot grow. */
static void test_full_while_open(void **state)
{
    const char *path    = unit_path(unit_disk, "open-full");
    daxpin_file_t *file = unit_open(path, OWN_MIB), *more;
    struct stat before, after;

    assert_int_equal(stat(path, &before), 0);
    disk_mark(path, "full");
    assert_int_equal(daxpin_file_open(path, OWN_LENGTH, NULL, &more), -ENOSPC);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(after.st_blocks, before.st_blocks);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_HELD);
    daxpin_file_close(file);
    (void)state;
}

static daxpin_file_t *own_lent;
static child_t       own_reader;

/* Have a reader let in before the library finds that there is no space. */
static void own_lend(int fd, off_t offset)
{
    (void)fd;
    (void)offset;
    intruder_start(&own_reader, "read", own_lent->path, 0);
    assert_int_equal(intruder_result(&own_reader, 5000), 0);
    assert_int_equal(daxpin_file_state(own_lent), DAXPIN_STATE_LENT);
    own_appends      = own_lent->path;
    own_appended     = 0;
    disk_length_hook = own_append;
}

/* When the lease was given back meanwhile, nothing is cut off: another process
 * may append at any moment. */
static void test_full_while_lent(void **state)
{
    /* On DAX, the file has no hold while it grows, and a reader ends access */
    const char *path = unit_path(unit_is_dax(unit_disk) ? unit_memory :
                                                          unit_disk,
                                 "lent-full");
    daxpin_file_t *more;
    int fd;

    own_lent = unit_open(path, OWN_MIB);
    fd       = member_number(&(member_t){.file = own_lent});
    disk_mark(path, "full");
    disk_full_hook = own_lend;
    assert_int_equal(daxpin_file_open(path, OWN_LENGTH, NULL, &more), -ENOSPC);
    disk_full_hook = NULL;
    own_append(fd); /* if the library did not set the length at all */
    disk_length_hook = NULL;
    assert_int_equal(unit_file_size(path), OWN_LENGTH + 1);
    assert_int_equal(unit_file_byte(path, OWN_LENGTH), DISK_WRITTEN);
    child_finish(&own_reader);
    daxpin_file_close(own_lent);
    (void)state;
}

/* The blocks that a program has allocated itself stay, although it has never
 * written to them. */
static void test_full_beside_allocated(void **state)
{
    struct fiemap map = {.fm_length = OWN_LENGTH};
    daxpin_file_t *opened;
    own_file_t file;
    int fd, listed;

    own_make(&file, unit_disk, "allocated");
    fd = open(file.path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fallocate(fd, 0, OWN_DATA, OWN_MIB), 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(fstat(fd, &file.st), 0);
    listed = ioctl(fd, FS_IOC_FIEMAP, &map) == 0;
    close(fd);
    disk_mark(file.path, "full");
    assert_int_equal(daxpin_file_open(file.path, OWN_LENGTH, NULL, &opened),
                     -ENOSPC);
    if (listed) {
        own_check_unchanged(&file);
    } else { /* tmpfs: nothing shows which blocks were there before */
        assert_int_equal(unit_file_size(file.path), file.st.st_size);
    }
    own_check_content(&file);
    (void)state;
}

static int own_adopt(const own_file_t *file, const char *dir, char **memory_p,
                     daxpin_file_t **file_p)
{
    daxpin_params_t params = {.timeout_ms = 1000};
    size_t length          = (size_t)file->st.st_size;
    uint64_t offset;
    int fd;

    *memory_p = unit_map_file(file->path, length, &fd);
    unit_use_dir(dir);
    close(fd);
    return daxpin_file_adopt(*memory_p, length, &params, file_p, &offset);
}

/* Store as another rank would that uses the same file. */
static void own_store(int fd, off_t offset)
{
    char byte = DISK_WRITTEN;

    assert_int_equal(pwrite(fd, &byte, 1, offset + DISK_BEHIND), 1);
}

/* The adopted file loses the blocks again, but no byte that was stored
 * meanwhile. */
static void own_check_adopt_full(int is_dax)
{
    daxpin_file_t *adopted;
    own_file_t file;
    struct stat st;
    char *memory;

    own_make(&file, unit_disk, "adopt-full");
    if (is_dax) {
        disk_mark(file.path, "dax");
    }
    disk_mark(file.path, "full");
    disk_full_hook = own_store;
    assert_int_equal(own_adopt(&file, unit_disk, &memory, &adopted), -ENOSPC);
    disk_full_hook = NULL;
    assert_message(file.path);
    assert_message("space");
    munmap(memory, (size_t)file.st.st_size);
    assert_int_equal(stat(file.path, &st), 0);
    assert_int_equal(st.st_size, file.st.st_size);
    assert_true(st.st_blocks * 512 < OWN_MIB);
    assert_int_equal(unit_file_byte(file.path, OWN_DATA + DISK_BEHIND),
                     DISK_WRITTEN);
    own_check_content(&file);
}

static void test_adopt_full(void **state)
{
    own_check_adopt_full(0);
    own_check_adopt_full(1);
    (void)state;
}

/* If the file system has less than is missing, nothing is even tried. */
static void own_check_too_sparse(const char *dir, int adopt)
{
    daxpin_file_t *opened;
    struct statvfs fs;
    own_file_t file;
    uint64_t length;
    char *memory = NULL;

    own_make(&file, dir, "too-sparse");
    assert_int_equal(statvfs(dir, &fs), 0);
    length = ((uint64_t)fs.f_bfree * fs.f_frsize + OWN_LENGTH) & ~4095ul;
    if (truncate(file.path, (off_t)length) != 0) {
        skip(); /* no file may be as long as the file system */
    }
    assert_int_equal(stat(file.path, &file.st), 0);
    disk_mark(file.path, "never");
    disk_allocations = 0;
    assert_int_equal(adopt ? own_adopt(&file, dir, &memory, &opened) :
                             daxpin_file_open(file.path, 0, NULL, &opened),
                     -ENOSPC);
    assert_int_equal(disk_allocations, 0);
    assert_message(file.path);
    assert_message("free");
    own_check_unchanged(&file);
    if (memory != NULL) {
        munmap(memory, (size_t)file.st.st_size);
    }
    unlink(file.path);
}

static void test_too_sparse(void **state)
{
    const char *dir = unit_path(unit_disk, "tmpfs");

    own_check_too_sparse(unit_disk, 0);
    own_check_too_sparse(unit_disk, 1);
    if (unit_mount(dir, "size=8m")) {
        own_check_too_sparse(dir, 0);
        own_check_too_sparse(dir, 1);
        assert_int_equal(umount(dir), 0);
    }
    (void)state;
}

/* A process that wanted less than the holder does not fail with it. */
static void test_holder_wants_too_much(void **state)
{
    child_t greedy, modest;
    own_file_t file;

    own_make(&file, unit_disk, "greedy");
    disk_mark(file.path, "wait");
    member_start(&greedy);
    member_start(&modest);
    child_send(&greedy, "open %s %ld 20000", file.path, OWN_LENGTH);
    assert_true(unit_await(5000, disk_is_marked(file.path, "waits")));
    assert_string_equal(intruder_lease(file.path), "ACTIVE");
    child_send(&modest, "open %s 0 20000", file.path);
    assert_int_equal(child_answer_within(&modest, 500), CHILD_SILENT);
    disk_mark(file.path, "full");
    disk_unmark(file.path, "wait");
    assert_int_equal(child_answer(&greedy, CHILD_WAIT_MS), -ENOSPC);
    if (child_answer(&modest, CHILD_WAIT_MS) != 0) {
        fail_msg("%s", modest.text);
    }
    assert_int_equal(unit_file_size(file.path), 2 * OWN_ISLAND);
    child_finish(&modest);
    child_finish(&greedy);
    (void)state;
}

/*
 * Record locks
 */

static int own_locker_child(int argc, char **argv)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    int fd            = open(argv[1], O_RDONLY | O_CLOEXEC);

    (void)argc;
    child_report((fcntl(fd, F_SETLK, &lock) == 0) ? 0 : errno, "lock");
    child_wait();
    return 0;
}

/* Another program has a record lock on the file: the wait has its bound. */
static void test_locked_elsewhere(void **state)
{
    child_t locker, opener;
    own_file_t file;

    own_make(&file, unit_disk, "locked");
    child_spawn(&locker, "locker", file.path, NULL);
    assert_int_equal(child_answer(&locker, CHILD_WAIT_MS), 0);
    member_start(&opener);
    assert_int_equal(child_query(&opener, "open %s 0 300", file.path), -EAGAIN);
    assert_contains(opener.text, file.path);
    child_send(&opener, "open %s %ld 20000", file.path, OWN_LENGTH);
    child_finish(&locker);
    assert_int_equal(child_answer(&opener, CHILD_WAIT_MS), 0);
    child_finish(&opener);
    (void)state;
}

/* Return whether another process meets a record lock on the first byte. */
static int own_is_locked(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int status        = -1;
    pid_t pid         = fork();

    if (pid == 0) {
        _exit((fcntl(fd, F_GETLK, &lock) == 0) && (lock.l_type != F_UNLCK));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

/* The program's own record lock stays when more of an adopted file is
 * allocated. */
static void test_own_lock_stays(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    daxpin_file_t *adopted, *again;
    own_file_t file;
    uint64_t offset;
    char *memory;
    int fd;

    own_make(&file, unit_disk, "own-lock");
    memory = unit_map_file(file.path, 2 * OWN_ISLAND, &fd);
    unit_use_dir(unit_disk);
    assert_ok(daxpin_file_adopt(memory, OWN_ISLAND, NULL, &adopted, &offset));
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    assert_true(own_is_locked(fd));
    assert_ok(daxpin_file_adopt(memory + OWN_ISLAND, OWN_ISLAND, NULL, &again,
                                &offset));
    assert_true(own_is_locked(fd));
    daxpin_file_unadopt(again, memory + OWN_ISLAND, OWN_ISLAND);
    daxpin_file_close(again);
    daxpin_file_unadopt(adopted, memory, OWN_ISLAND);
    daxpin_file_close(adopted);
    munmap(memory, 2 * OWN_ISLAND);
    close(fd);
    (void)state;
}

/* Threads of the program may use its memory while the mapping is exchanged. */
static void test_exchange_without_sync(void **state)
{
    const char *path = unit_path(unit_disk, "sync");
    daxpin_file_t *file;
    uint64_t offset;
    char *memory;
    int fd;

    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    memory = unit_map_file(path, UNIT_LENGTH, &fd);
    unit_use_dir(unit_disk);
    own_holes        = 0;
    own_refuses_sync = 1;
    assert_ok(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset));
    own_refuses_sync = 0;
    assert_int_equal(own_holes, 0);
    assert_int_equal(memory[UNIT_LENGTH - 1], 'x');
    daxpin_file_unadopt(file, memory, UNIT_LENGTH);
    daxpin_file_close(file);
    munmap(memory, UNIT_LENGTH);
    close(fd);
    (void)state;
}

/* The number of a descriptor that is closed meanwhile may be another file's. */
static void test_exchange_of_reused_number(void **state)
{
    const char *path  = unit_path(unit_disk, "reused");
    const char *other = unit_path(unit_disk, "reuses");
    daxpin_file_t *file;
    struct stat st, wanted;
    uint64_t offset;
    char *memory;
    int fd, reused;

    unit_make_file(path, UNIT_LENGTH, 'x');
    unit_make_file(other, 1, 'y');
    assert_int_equal(stat(other, &wanted), 0);
    memory = unit_map_file(path, UNIT_LENGTH, &fd);
    reused = open(path, O_RDWR | O_CLOEXEC);
    assert_true(reused >= 0);
    unit_use_dir(unit_disk);
    own_other_path = other;
    own_reused     = reused;
    assert_ok(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset));
    assert_int_equal(own_reused, -1);
    assert_int_equal(fstat(reused, &st), 0);
    assert_int_equal(st.st_ino, wanted.st_ino);
    daxpin_file_unadopt(file, memory, UNIT_LENGTH);
    daxpin_file_close(file);
    munmap(memory, UNIT_LENGTH);
    close(reused);
    close(fd);
    (void)state;
}

/* A length that is not one of whole pages leads to no mapping that the kernel
 * refuses. */
static void test_revoke_of_odd_length(void **state)
{
    const char *path = unit_path(unit_disk, "odd");
    daxpin_file_t *file, *more;

    file = unit_open(path, UNIT_LENGTH - 7);
    more = unit_open(path, 2 * UNIT_LENGTH - 7); /* another mapping */
    assert_ptr_equal(file, more);
    own_odd = 0;
    intruder_run("truncate", path, 0, 5000);
    assert_becomes(file, REVOKED);
    assert_int_equal(own_odd, 0);
    daxpin_file_close(more);
    daxpin_file_close(file);
    (void)state;
}

/* One thread at a time makes a file longer; the others wait for their own
 * time. */
static void test_growth_is_locked(void **state)
{
    const char *path       = unit_path(unit_disk, "growth");
    daxpin_file_t *file    = unit_open(path, OWN_MIB), *more;
    daxpin_params_t params = {.timeout_ms = 200};
    child_t member;
    int lock_fd;

    member_start(&member);
    assert_child_ok(&member, "open %s 0 5000", path);
    lock_fd = daxpin_roster_try_growth(file->roster_fd);
    assert_true(lock_fd >= 0);
    if (!daxpin_file_is_dax(file)) { /* where its hold keeps it from growing */
        assert_int_equal(daxpin_file_open(path, OWN_LENGTH, &params, &more),
                         -ETIMEDOUT);
        assert_message(path);
        assert_int_equal(unit_file_size(path), OWN_MIB);
    }
    close(lock_fd);
    child_finish(&member);
    assert_true(unit_await(10000, member_is_alone(file))); /* the loop knows */
    assert_ok(daxpin_file_open(path, OWN_LENGTH, &params, &more));
    assert_int_equal(unit_file_size(path), OWN_LENGTH);
    daxpin_file_close(more);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"locker", own_locker_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_refused),
        unit_case(test_refused_new_file),
        unit_case(test_holder_cannot_fill),
        unit_case(test_renamed_meanwhile),
        unit_case(test_few_descriptors),
        unit_case(test_written_while_filled),
        unit_case(test_appended_while_grown),
        unit_case(test_converted),
        unit_case(test_hidden_holes),
        unit_case(test_reader_while_filled),
        unit_case(test_full),
        unit_case(test_full_while_open),
        unit_case(test_full_while_lent),
        unit_case(test_full_beside_allocated),
        unit_case(test_adopt_full),
        unit_case(test_too_sparse),
        unit_case(test_holder_wants_too_much),
        unit_case(test_locked_elsewhere),
        unit_case(test_own_lock_stays),
        unit_case(test_exchange_without_sync),
        unit_case(test_exchange_of_reused_number),
        unit_case(test_revoke_of_odd_length),
        unit_case(test_growth_is_locked)
    };

    return unit_main("own", argc, argv, children, tests);
}
