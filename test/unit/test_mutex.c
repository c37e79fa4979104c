/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* No thread sleeps while it has daxpin_mutex: all files of the process would
 * wait */

#include "disk.h"
#include "intruder.h"
#include "member.h"
#include "mutex.h"

#include "daxpin/file/file.h"

#include <sys/uio.h>

#define MUTEX_TRIES 5 /* at least, while a process waits for a hold */

static _Atomic unsigned mutex_looks;     /* for a process that waits */
static _Atomic int      mutex_contended; /* a process waits for the hold */

/* A read that must not wait shows whether a process has the inode locked. */
ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                int flags)
{
    if ((flags & RWF_NOWAIT) && mutex_contended) {
        ++mutex_looks;
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)syscall(SYS_preadv2, fd, iov, count, offset, 0, flags);
}

/* Have a process seem to wait for holds. */
static void mutex_begin(void)
{
    mutex_sleeps    = 0;
    mutex_looks     = 0;
    mutex_contended = 1;
}

/* Check that the loop has tried again to let that process go, for some time,
 * and that no thread has slept with the mutex. */
static void mutex_end(void)
{
    assert_true(unit_await(10000, mutex_looks >= MUTEX_TRIES));
    mutex_contended = 0;
    assert_int_equal(mutex_sleeps, 0);
}

static void test_growth(void **state)
{
    const char *path = unit_path(unit_disk, "growth");
    daxpin_file_t *file, *more;

    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    file = unit_open(path, UNIT_LENGTH);
    mutex_begin();
    more = unit_open(path, 2 * UNIT_LENGTH);
    mutex_end();
    daxpin_file_close(more);
    daxpin_file_close(file);
    (void)state;
}

/* The mapping of the program stays when the file is closed. */
static void test_close(void **state)
{
    const char *dirs[] = {unit_disk, NULL};
    const char *path   = unit_path(unit_disk, "close");
    daxpin_file_t *file;
    uint64_t offset;
    char *memory;
    int fd, before;

    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    fd     = open(path, O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, UNIT_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_ok(daxpin_set_files(dirs));
    assert_ok(daxpin_file_adopt(memory, UNIT_LENGTH, NULL, &file, &offset));
    before = unit_count_fds();
    mutex_begin();
    daxpin_file_close(file);
    mutex_end();
    assert_true(unit_await(10000, unit_count_fds() < before));
    assert_int_equal(memory[0], 'x');
    munmap(memory, UNIT_LENGTH);
    close(fd);
    (void)state;
}

/* The library refuses to truncate a file while another process does, because it
 * would wait for that process, with the mutex. */
static void test_shrink(void **state)
{
    const char *path = unit_path(unit_disk, "shrink");
    daxpin_file_t *file;

    unit_make_file(path, UNIT_LENGTH, 'x');
    disk_mark(path, "dax");
    file = unit_open(path, 2 * UNIT_LENGTH);
    mutex_begin();
    assert_int_equal(daxpin_file_shrink(file, UNIT_LENGTH), -EAGAIN);
    assert_message(path);
    assert_int_equal(unit_file_size(path), 2 * UNIT_LENGTH);
    mutex_end();
    assert_ok(daxpin_file_shrink(file, UNIT_LENGTH));
    assert_int_equal(unit_file_size(path), UNIT_LENGTH);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_growth),
        unit_case(test_close),
        unit_case(test_shrink)
    };

    return unit_main("mutex", argc, argv, children, tests);
}
