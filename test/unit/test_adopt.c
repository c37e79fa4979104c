/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Adopting files: leases for mappings that the program itself has made */

#include "daxpin/adopt.h"
#include "daxpin/os/backing.h"
#include "daxpin/os/vma.h"
#include "intruder.h"
#include "member.h"
#include "old_kernel.h"

#define ADOPT_PAGE      4096ul
#define ADOPT_PROCESSES 4

typedef struct adopt_map {
    const char    *path;
    int           fd;
    char          *memory;
    daxpin_file_t *file;
    uint64_t      offset;
} adopt_map_t;

static void adopt_map_flags(adopt_map_t *map, const char *dir, int open_flags,
                            int prot, int flags)
{
    memset(map, 0, sizeof(*map));
    map->path = unit_path(dir, "adopt");
    unit_make_file(map->path, UNIT_LENGTH, 'x');
    map->fd     = open(map->path, open_flags | O_CLOEXEC);
    map->memory = mmap(NULL, UNIT_LENGTH, prot, flags, map->fd, 0);
    assert_true((map->fd >= 0) && (map->memory != MAP_FAILED));
    unit_use_dir(dir);
}

static void adopt_map(adopt_map_t *map, const char *dir)
{
    adopt_map_flags(map, dir, O_RDWR, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static int adopt_part(adopt_map_t *map, size_t from, size_t length)
{
    daxpin_params_t params = {.timeout_ms = 1000};

    return daxpin_file_adopt(map->memory + from, length, &params, &map->file,
                             &map->offset);
}

static int adopt_all(adopt_map_t *map)
{
    return adopt_part(map, 0, UNIT_LENGTH);
}

static void adopt_end(adopt_map_t *map)
{
    if (map->file != NULL) {
        daxpin_file_unadopt(map->file, map->memory, UNIT_LENGTH);
        daxpin_file_close(map->file);
    }
    munmap(map->memory, UNIT_LENGTH);
    if (map->fd >= 0) {
        close(map->fd);
    }
    assert_string_equal(intruder_lease(map->path), "");
}

static void adopt_check_held(const adopt_map_t *map)
{
    assert_int_equal(daxpin_file_state(map->file), DAXPIN_STATE_HELD);
    assert_string_equal(intruder_lease(map->path), "ACTIVE");
    map->memory[7] = 'y';
    assert_int_equal(map->memory[8], 'x');
}

/*
 * One process
 */

static void adopt_check_dir(const char *dir)
{
    adopt_map_t map;
    daxpin_pin_t *pin;

    adopt_map(&map, dir);
    assert_ok(adopt_all(&map));
    assert_int_equal(map.offset, 0);
    assert_int_equal(daxpin_file_is_holder(map.file), 1);
    assert_string_equal(daxpin_file_path(map.file), map.path);
    adopt_check_held(&map);
    assert_ok(daxpin_pin(map.file, 0, UNIT_LENGTH, NULL, &pin));
    daxpin_unpin(pin);
    intruder_run("truncate", map.path, 0, 2000);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_REVOKED);
    assert_int_equal(map.memory[7], 0); /* memory was replaced in place */
    map.memory[7] = 1;
    assert_int_equal(unit_file_size(map.path), 0);
    adopt_end(&map);
}

static void test_open_descriptor(void **state)
{
    adopt_check_dir(unit_disk);
    adopt_check_dir(unit_memory);
    (void)state;
}

static void test_closed_descriptor(void **state)
{
    adopt_map_t map;
    int fd;

    adopt_map(&map, unit_disk);
    close(map.fd);
    map.fd = -1;
    assert_ok(adopt_all(&map));
    adopt_check_held(&map);
    fd = unit_find_fd(map.path); /* the program may get it by an exchange */
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    adopt_end(&map);
    (void)state;
}

static volatile sig_atomic_t adopt_leased = -1;

/* Give back the lease of another program. */
static void adopt_unlease(int signo)
{
    (void)signo;
    fcntl(adopt_leased, F_SETLEASE, F_UNLCK);
}

/* The file is opened when another program gives its lease back. */
static void test_leased_elsewhere(void **state)
{
    const daxpin_params_t params = {.size = sizeof(params), .read_only = 1,
                                    .timeout_ms = 5000};
    adopt_map_t map;

    adopt_map_flags(&map, unit_disk, O_RDONLY, PROT_READ, MAP_SHARED);
    adopt_leased = map.fd;
    unit_set_signal(SIGIO, adopt_unlease);
    if (fcntl(map.fd, F_SETLEASE, F_RDLCK) != 0) {
        adopt_end(&map);
        skip();
    }
    assert_ok(daxpin_file_adopt(map.memory, UNIT_LENGTH, &params, &map.file,
                                &map.offset));
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_HELD);
    unit_set_signal(SIGIO, SIG_DFL);
    adopt_end(&map);
    (void)state;
}

static void test_read_only_descriptor_too(void **state)
{
    adopt_map_t map;
    char byte;
    int fd;

    adopt_map(&map, unit_disk);
    fd = open(map.path, O_RDONLY | O_CLOEXEC);
    assert_ok(adopt_all(&map));
    adopt_check_held(&map);
    assert_int_equal(pread(fd, &byte, 1, 100), 1);
    adopt_end(&map);
    close(fd);
    (void)state;
}

static void test_deleted(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_disk);
    unlink(map.path);
    assert_ok(adopt_all(&map));
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_HELD);
    daxpin_file_unadopt(map.file, map.memory, UNIT_LENGTH);
    daxpin_file_close(map.file);

    close(map.fd);
    map.fd = -1;
    assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    assert_null(map.file);
    assert_int_equal(map.memory[8], 'x');
    adopt_end(&map);
    (void)state;
}

/* The file has its name, which leads to something else in this process. */
static void test_hidden(void **state)
{
    const char *dir = unit_path(unit_disk, "hidden");
    adopt_map_t map;

    if (!unit_may_mount) {
        skip();
    }
    assert_int_equal(mkdir(dir, 0700), 0);
    adopt_map(&map, dir);
    close(map.fd);
    map.fd = -1;
    assert_int_equal(mount("none", dir, "tmpfs", 0, NULL), 0);
    assert_int_equal(adopt_all(&map), -ENOENT);
    assert_message(map.path);
    assert_message("keep it open");
    assert_int_equal(umount(dir), 0);
    adopt_end(&map);
    unit_use_dir(unit_disk);
    (void)state;
}

/* Another file has the name now. The library does not lease that file. */
static void test_replaced(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_disk);
    close(map.fd);
    map.fd = -1;
    unlink(map.path);
    unit_make_file(map.path, UNIT_LENGTH, 'z');
    assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    assert_string_equal(intruder_lease(map.path), "");
    assert_int_equal(map.memory[0], 'x');
    adopt_end(&map);
    (void)state;
}

static void test_read_only(void **state)
{
    adopt_map_t map;

    adopt_map_flags(&map, unit_disk, O_RDWR, PROT_READ, MAP_SHARED);
    assert_int_equal(adopt_all(&map), -EROFS);
    assert_message(map.path);
    assert_message("read-only");
    adopt_end(&map);
    adopt_map_flags(&map, unit_disk, O_RDWR, PROT_NONE, MAP_SHARED);
    assert_int_equal(adopt_all(&map), -EACCES);
    assert_message("cannot be read");
    adopt_end(&map);
    (void)state;
}

static int adopt_prot(const adopt_map_t *map)
{
    daxpin_vma_t vma;

    assert_ok(daxpin_vma_query((uintptr_t)map->memory, &vma));
    return vma.prot;
}

/* A caller that asks for it gets a read-only mapping leased, too. It stays
 * read-only, also when it is replaced. */
static void test_read_only_wanted(void **state)
{
    const daxpin_params_t params = {.size = sizeof(params),
                                    .timeout_ms = 1000, .read_only = 1};
    adopt_map_t map;

    adopt_map_flags(&map, unit_disk, O_RDONLY, PROT_READ, MAP_SHARED);
    assert_ok(daxpin_file_adopt(map.memory, UNIT_LENGTH, &params, &map.file,
                                &map.offset));
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_HELD);
    assert_string_equal(intruder_lease(map.path), "ACTIVE");
    assert_int_equal(map.memory[7], 'x');
    assert_int_equal(adopt_prot(&map), PROT_READ);
    intruder_run("truncate", map.path, 0, 2000);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_REVOKED);
    assert_int_equal(map.memory[7], 0);
    assert_int_equal(adopt_prot(&map), PROT_READ);
    adopt_end(&map);
    (void)state;
}

/* A range may have mappings of which only some are writable. */
static void test_partly_read_only(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_disk);
    assert_int_equal(mprotect(map.memory + UNIT_LENGTH / 2, UNIT_LENGTH / 2,
                              PROT_READ), 0);
    assert_int_equal(adopt_all(&map), -EROFS);
    assert_message("read-only");
    assert_ok(adopt_part(&map, 0, UNIT_LENGTH / 2));
    daxpin_file_unadopt(map.file, map.memory, UNIT_LENGTH / 2);
    daxpin_file_close(map.file);
    map.file = NULL;
    adopt_end(&map);
    (void)state;
}

static void test_other_memory_is_not_adopted(void **state)
{
    adopt_map_t map;
    char *memory;
    int fd;

    /* Private */
    adopt_map_flags(&map, unit_disk, O_RDWR, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE);
    assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    assert_null(map.file);
    adopt_end(&map);

    /* In a directory that was not passed to daxpin_set_files() */
    adopt_map(&map, unit_disk);
    unit_use_dir(unit_memory);
    assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    adopt_end(&map);

    /* Stack, heap, nothing, a character device, shared memory without a file */
    unit_use_dir("/");
    map.memory = (char*)&map;
    assert_int_equal(adopt_part(&map, 0, 8), DAXPIN_FOREIGN);
    map.memory = malloc(100);
    assert_int_equal(adopt_part(&map, 0, 100), DAXPIN_FOREIGN);
    free(map.memory);
    assert_int_equal(adopt_part(&map, 0, 0), DAXPIN_FOREIGN);
    map.memory = NULL;
    assert_int_equal(adopt_part(&map, 0, 4096), DAXPIN_FOREIGN);
    fd     = open("/dev/zero", O_RDWR | O_CLOEXEC);
    memory = unit_map(fd, 8192);
    map.memory = memory;
    assert_int_equal(adopt_part(&map, 0, 8192), DAXPIN_FOREIGN);
    munmap(memory, 8192);
    close(fd);
    fd     = memfd_create("adopt", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 8192), 0);
    memory = unit_map(fd, 8192);
    map.memory = memory;
    assert_int_equal(adopt_part(&map, 0, 8192), DAXPIN_FOREIGN);
    munmap(memory, 8192);
    close(fd);
    memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    map.memory = memory;
    assert_int_equal(adopt_part(&map, 0, 8192), DAXPIN_FOREIGN);
    munmap(memory, 8192);
    unit_use_dir(unit_disk);
    (void)state;
}

/* "fsdax" stands for all files on DAX, and for no other file. */
static void test_fsdax(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_memory);
    unit_use_dir("fsdax");
    assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    adopt_end(&map);
    adopt_map(&map, unit_disk);
    unit_use_dir("fsdax");
    if (unit_is_dax(unit_disk)) {
        assert_ok(adopt_all(&map));
        adopt_check_held(&map);
    } else {
        assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    }
    adopt_end(&map);
    (void)state;
}

/* The name of a directory must match as a whole, not only its beginning. */
static void test_directories(void **state)
{
    adopt_map_t map;
    char name[PATH_MAX];
    const char *none[] = {name, "/nowhere", NULL};

    adopt_map(&map, unit_disk);
    snprintf(name, sizeof(name), "%s/dir", unit_disk);
    assert_int_equal(mkdir(name, 0700), 0);
    unit_use_dir(name);
    assert_int_equal(adopt_all(&map), DAXPIN_FOREIGN);
    unit_use_dir("/");
    assert_ok(adopt_all(&map));
    adopt_end(&map);

    /* An error leaves the names as they were */
    adopt_map(&map, unit_disk);
    assert_int_equal(daxpin_set_files(none), -ENOENT);
    assert_message("/nowhere");
    assert_ok(adopt_all(&map));
    adopt_end(&map);
    (void)state;
}

static void test_range_spans_files(void **state)
{
    char *area = mmap(NULL, 16 * ADOPT_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    adopt_map_t map, two;

    adopt_map(&map, unit_disk);
    adopt_map(&two, unit_disk);
    mmap(area + 4 * ADOPT_PAGE, 4 * ADOPT_PAGE, PROT_READ | PROT_WRITE,
         MAP_SHARED | MAP_FIXED, map.fd, 0);
    mmap(area + 8 * ADOPT_PAGE, 4 * ADOPT_PAGE, PROT_READ | PROT_WRITE,
         MAP_SHARED | MAP_FIXED, two.fd, 0);
    munmap(map.memory, UNIT_LENGTH);
    map.memory = area;
    /* From other memory into the first file, from the first file into the
     * second, from the second file into other memory */
    assert_int_equal(adopt_part(&map, 0, 6 * ADOPT_PAGE), -EFAULT);
    assert_message(map.path);
    assert_int_equal(adopt_part(&map, 5 * ADOPT_PAGE, 5 * ADOPT_PAGE),
                     -EFAULT);
    assert_message(map.path);
    assert_int_equal(adopt_part(&map, 10 * ADOPT_PAGE, 4 * ADOPT_PAGE),
                     -EFAULT);
    assert_message(two.path);
    assert_null(map.file);
    assert_ok(adopt_part(&map, 5 * ADOPT_PAGE + 7, ADOPT_PAGE));
    assert_int_equal(map.offset, ADOPT_PAGE + 7);
    daxpin_file_unadopt(map.file, map.memory + 5 * ADOPT_PAGE + 7,
                        ADOPT_PAGE);
    daxpin_file_close(map.file);
    map.file = NULL;
    munmap(area, 16 * ADOPT_PAGE);
    close(map.fd);
    adopt_end(&two);
    (void)state;
}

/* Two adjacent mappings of adjacent parts of a file are one range. */
static void test_adjacent_mappings(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_disk);
    assert_int_equal(mprotect(map.memory, ADOPT_PAGE,
                              PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    assert_ok(adopt_all(&map));
    adopt_check_held(&map);
    intruder_run("truncate", map.path, 0, 2000);
    assert_int_equal(map.memory[0], 0);
    assert_int_equal(map.memory[UNIT_LENGTH - 1], 0);
    adopt_end(&map);
    (void)state;
}

static void test_beyond_the_end(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_disk);
    assert_int_equal(ftruncate(map.fd, UNIT_LENGTH - ADOPT_PAGE), 0);
    assert_int_equal(adopt_all(&map), -EFAULT);
    assert_message(map.path);
    assert_message("beyond the end");
    assert_ok(adopt_part(&map, 0, UNIT_LENGTH - ADOPT_PAGE));
    daxpin_file_unadopt(map.file, map.memory, UNIT_LENGTH - ADOPT_PAGE);
    daxpin_file_close(map.file);
    map.file = NULL;
    adopt_end(&map);
    (void)state;
}

/* Adopting a sparse file allocates its blocks. */
static void test_sparse(void **state)
{
    adopt_map_t map;
    struct stat st;

    adopt_map(&map, unit_disk);
    assert_int_equal(ftruncate(map.fd, 0), 0);
    assert_int_equal(ftruncate(map.fd, UNIT_LENGTH), 0);
    assert_ok(adopt_all(&map));
    assert_int_equal(fstat(map.fd, &st), 0);
    assert_true(st.st_blocks * 512 >= UNIT_LENGTH);
    adopt_end(&map);
    (void)state;
}

/* A file that is also open with O_APPEND is not adopted: the holder's
 * description would replace that one, and writes would not append any more. */
static void test_append(void **state)
{
    adopt_map_t map;
    int fd;

    adopt_map(&map, unit_disk);
    fd = open(map.path, O_RDWR | O_APPEND | O_CLOEXEC);
    assert_int_equal(adopt_all(&map), -EAGAIN);
    assert_message(map.path);
    assert_message("O_APPEND");
    assert_int_equal(fcntl(fd, F_GETFL) & O_APPEND, O_APPEND);
    close(fd);
    assert_ok(adopt_all(&map));
    adopt_end(&map);
    (void)state;
}

static void test_adopt_twice(void **state)
{
    adopt_map_t map, again;

    adopt_map(&map, unit_disk);
    assert_ok(adopt_all(&map));
    again = map;
    assert_ok(adopt_all(&again));
    assert_ptr_equal(map.file, again.file);
    daxpin_file_unadopt(again.file, again.memory, UNIT_LENGTH);
    daxpin_file_close(again.file);
    adopt_check_held(&map);
    intruder_run("truncate", map.path, 0, 2000);
    assert_int_equal(map.memory[0], 0); /* adopted twice, unadopted once */
    adopt_end(&map);
    (void)state;
}

/* A revoke does not touch memory that the program has unadopted. */
static void test_unadopt(void **state)
{
    adopt_map_t map;

    adopt_map(&map, unit_disk);
    assert_ok(adopt_all(&map));
    daxpin_file_unadopt(map.file, map.memory, UNIT_LENGTH);
    munmap(map.memory, UNIT_LENGTH);
    map.memory = mmap(map.memory, UNIT_LENGTH, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    map.memory[9] = 'k';
    intruder_run("truncate", map.path, 0, 2000);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_REVOKED);
    assert_int_equal(map.memory[9], 'k');
    adopt_end(&map);
    (void)state;
}

static void test_two_ranges(void **state)
{
    adopt_map_t map, part;

    adopt_map(&map, unit_disk);
    assert_ok(adopt_part(&map, 0, 100));
    part = map;
    assert_ok(adopt_part(&part, 10 * ADOPT_PAGE + 5, 3 * ADOPT_PAGE));
    assert_ptr_equal(map.file, part.file);
    assert_int_equal(part.offset, 10 * ADOPT_PAGE + 5);
    intruder_run("truncate", map.path, 20 * ADOPT_PAGE, 2000);
    assert_int_equal(map.memory[0], 0);
    assert_int_equal(map.memory[10 * ADOPT_PAGE], 0);
    assert_int_equal(map.memory[13 * ADOPT_PAGE], 0);
    daxpin_file_unadopt(part.file, map.memory + 10 * ADOPT_PAGE + 5,
                        3 * ADOPT_PAGE);
    daxpin_file_close(part.file);
    daxpin_file_unadopt(map.file, map.memory, 100);
    daxpin_file_close(map.file);
    map.file = NULL;
    adopt_end(&map);
    (void)state;
}

/* Adopt what the program has mapped by now, not what was there before. */
static void adopt_check_place(adopt_map_t *map, int prot, int flags, int fd,
                              const char *path)
{
    adopt_map_t now = *map;
    int ret;

    assert_ptr_equal(mmap(map->memory, UNIT_LENGTH, prot, flags | MAP_FIXED, fd,
                          fd >= 0 ? ADOPT_PAGE : 0), map->memory);
    ret = adopt_part(&now, ADOPT_PAGE, ADOPT_PAGE);
    if (path == NULL) {
        assert_int_equal(ret, DAXPIN_FOREIGN);
        return;
    }
    assert_ok(ret);
    assert_string_equal(daxpin_file_path(now.file), path);
    assert_int_equal(now.offset, 2 * ADOPT_PAGE);
    now.memory[ADOPT_PAGE] = 'z';
    intruder_run("truncate", path, 0, 2000);
    assert_int_equal(daxpin_file_state(now.file), DAXPIN_STATE_REVOKED);
    assert_int_equal(now.memory[ADOPT_PAGE], 0);
    daxpin_file_unadopt(now.file, now.memory + ADOPT_PAGE, ADOPT_PAGE);
    daxpin_file_close(now.file);
}

static void test_mapped_again(void **state)
{
    const char *other = unit_path(unit_disk, "other");
    adopt_map_t map;
    int fd;

    adopt_map(&map, unit_disk);
    assert_ok(adopt_all(&map));
    adopt_check_place(&map, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL);
    unit_make_file(other, 2 * UNIT_LENGTH, 'x');
    fd = open(other, O_RDWR | O_CLOEXEC);
    adopt_check_place(&map, PROT_READ | PROT_WRITE, MAP_SHARED, fd, other);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_HELD);
    close(fd);
    fd = fcntl(map.fd, F_DUPFD_CLOEXEC, 0);
    adopt_check_place(&map, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map.path);
    close(fd);
    adopt_end(&map);
    (void)state;
}

/* daxpin_file_open() of an adopted file returns the same handle. */
static void test_with_open(void **state)
{
    adopt_map_t map;
    daxpin_file_t *file;

    adopt_map(&map, unit_disk);
    assert_ok(adopt_all(&map));
    file = unit_open(map.path, UNIT_LENGTH);
    assert_ptr_equal(file, map.file);
    *(char*)daxpin_file_addr(file, 33, 1) = 'o';
    assert_int_equal(map.memory[33], 'o');
    daxpin_file_close(file);
    adopt_end(&map);
    (void)state;
}

/*
 * Files whose inodes have the same number
 */

static int adopt_mount(char *path, const char *name)
{
    strcpy(path, unit_path(unit_disk, name));
    return unit_mount(path, "size=4m");
}

static void adopt_map_in(adopt_map_t *map, const char *dir, int fill)
{
    adopt_map(map, dir);
    memset(map->memory, fill, UNIT_LENGTH);
}

static void test_same_number_elsewhere(void **state)
{
    char one[PATH_MAX], two[PATH_MAX];
    adopt_map_t map, other;
    struct stat st, other_st;

    if (!adopt_mount(one, "one")) {
        skip();
    }
    assert_true(adopt_mount(two, "two"));
    adopt_map_in(&map, one, 'a');
    adopt_map_in(&other, two, 'b');
    assert_int_equal(fstat(map.fd, &st), 0);
    assert_int_equal(fstat(other.fd, &other_st), 0);
    assert_int_equal(st.st_ino, other_st.st_ino);
    unit_use_dir(one);
    assert_ok(adopt_all(&map));
    assert_int_equal(map.memory[0], 'a');
    assert_int_equal(other.memory[0], 'b'); /* is not adopted */
    intruder_run("truncate", map.path, 0, 2000);
    assert_int_equal(map.memory[0], 0);
    assert_int_equal(other.memory[0], 'b');
    adopt_end(&map);
    adopt_end(&other);
    umount(one);
    umount(two);
    (void)state;
}

/* Another file of the same name and number covers the one that is mapped. The
 * library does not lease that file. */
static void test_covered(void **state)
{
    char dir[PATH_MAX];
    adopt_map_t map;
    struct stat st, other_st;

    if (!adopt_mount(dir, "covered")) {
        skip();
    }
    adopt_map(&map, dir);
    assert_int_equal(fstat(map.fd, &st), 0);
    close(map.fd);
    map.fd = -1;
    assert_int_equal(mount("none", dir, "tmpfs", 0, "size=4m"), 0);
    unit_make_file(map.path, UNIT_LENGTH, 'z');
    assert_int_equal(stat(map.path, &other_st), 0);
    assert_int_equal(st.st_ino, other_st.st_ino);
    assert_int_equal(adopt_all(&map), -ENOENT);
    assert_message("keep it open");
    assert_null(map.file);
    assert_string_equal(intruder_lease(map.path), "");
    assert_int_equal(umount(dir), 0);
    assert_ok(adopt_all(&map));
    adopt_end(&map);
    umount(dir);
    unit_use_dir(unit_disk);
    (void)state;
}

/* Each file is found by its descriptor, because its name is gone. */
static void test_same_number_without_name(void **state)
{
    char dirs[2][PATH_MAX];
    const char *name;
    adopt_map_t maps[2];
    int i;

    if (!adopt_mount(dirs[0], "nameless-one")) {
        skip();
    }
    assert_true(adopt_mount(dirs[1], "nameless-two"));
    for (i = 0; i < 2; ++i) {
        adopt_map_in(&maps[i], dirs[i], 'a' + i);
        name = unit_path(dirs[i], "link");
        assert_int_equal(link(maps[i].path, name), 0);
        assert_int_equal(unlink(maps[i].path), 0);
        maps[i].path = name;
    }
    unit_use_dir(unit_disk);
    for (i = 0; i < 2; ++i) {
        assert_ok(adopt_all(&maps[i]));
        assert_int_equal(daxpin_file_state(maps[i].file), DAXPIN_STATE_HELD);
        assert_string_equal(intruder_lease(maps[i].path), "ACTIVE");
        assert_int_equal(maps[i].memory[0], 'a' + i);
    }
    for (i = 0; i < 2; ++i) {
        adopt_end(&maps[i]);
        umount(dirs[i]);
    }
    (void)state;
}

/*
 * A process that cannot find out what it has mapped
 */

/* Report what is answered of a file and of other memory while no descriptor is
 * left. Arguments: a directory, "old" or "new" */
static int adopt_blind_main(int argc, char **argv)
{
    daxpin_inode_t inode = {0};
    adopt_map_t map, other = {.memory = (char*)&map};
    struct rlimit limit, none;
    int answers[4];
    struct stat st;
    daxpin_vma_t vma;

    (void)argc;
    if ((strcmp(argv[2], "old") == 0) && !old_kernel_begin()) {
        child_report(-1, "no seccomp here");
        return 0;
    }
    adopt_map(&map, argv[1]);
    unlink(map.path);
    if ((adopt_part(&other, 0, 8) != DAXPIN_FOREIGN) ||
        (fstat(map.fd, &st) != 0) ||
        (getrlimit(RLIMIT_NOFILE, &limit) != 0)) {
        return 1;
    }
    inode.dev     = inode.map_dev = st.st_dev;
    inode.ino     = inode.map_ino = st.st_ino;
    none          = limit;
    none.rlim_cur = 0;
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) {
        return 1;
    }
    answers[0] = adopt_all(&map);
    answers[1] = strstr(daxpin_errormsg(), "ulimit -n") != NULL;
    answers[2] = daxpin_file_lend(&inode, NULL, &other.file);
    answers[3] = daxpin_range_is_dax((uintptr_t)map.memory, UNIT_LENGTH, &vma);
    child_report(adopt_part(&other, 0, 8), "%d %d %d %d", answers[0],
                 answers[1], answers[2], answers[3]);
    setrlimit(RLIMIT_NOFILE, &limit); /* a search for leaks opens files */
    return 0;
}

static void test_blind(void **state)
{
    static const char *const kernels[] = {"new", "old"};
    char wanted[64];
    child_t child;
    long ret;
    int i;

    snprintf(wanted, sizeof(wanted), "%d 1 %d %d", -EMFILE, -EMFILE, -EMFILE);
    for (i = 0; i < 2; ++i) {
        child_spawn(&child, "adopt_blind", unit_disk, kernels[i], NULL);
        ret = child_answer(&child, CHILD_WAIT_MS);
        if (ret != -1) {
            assert_string_equal(child.text, wanted);
            assert_int_equal(ret, DAXPIN_FOREIGN);
        }
        child_finish(&child);
    }
    (void)state;
}

/*
 * Many processes
 */

static void adopt_in_all(child_t *children, const char *path)
{
    unsigned i, holders = 0;
    int holder = 0, number;
    long ret;

    for (i = 0; i < ADOPT_PROCESSES; ++i) {
        child_send(&children[i], "adopt %s %u", unit_disk,
                   8000 * unit_slow());
    }
    for (i = 0; i < ADOPT_PROCESSES; ++i) {
        ret = child_answer(&children[i], CHILD_WAIT_MS);
        if (ret != 0) {
            fail_msg("process %u: %ld: %s", i, ret, children[i].text);
        }
        if (child_query(&children[i], "holder") == 1) {
            ++holders;
            holder = (int)i;
        }
    }
    assert_int_equal(holders, 1);
    assert_string_equal(intruder_lease(path), "ACTIVE");
    number = (int)child_query(&children[holder], "number");
    for (i = 0; i < ADOPT_PROCESSES; ++i) {
        /* Each process's descriptor is now the holder's description */
        assert_int_equal(child_query(&children[i], "same %d %d",
                                   (int)children[holder].pid, number), 0);
        assert_child_ok(&children[i], "put %u 1 %u", i * 5000, i + 1);
    }
    for (i = 0; i < ADOPT_PROCESSES; ++i) {
        assert_int_equal(child_query(&children[i], "mem %u", (3 - i) * 5000),
                         4 - i);
    }
}

static void test_many_processes(void **state)
{
    child_t children[ADOPT_PROCESSES], child;
    const char *path;
    unsigned i, round;

    for (round = 0; round < 5; ++round) {
        path = unit_path(unit_disk, "many");
        unit_make_file(path, UNIT_LENGTH, 'x');
        for (i = 0; i < ADOPT_PROCESSES; ++i) {
            member_start(&children[i]);
            assert_child_ok(&children[i], "map %s %d -", path, UNIT_LENGTH);
        }
        adopt_in_all(children, path);
        intruder_start(&child, "truncate", path, 0);
        assert_int_equal(intruder_result(&child, 2000), 0);
        child_finish(&child);
        for (i = 0; i < ADOPT_PROCESSES; ++i) {
            assert_true(member_has_state(&children[i], REVOKED));
            assert_int_equal(child_query(&children[i], "mem 0"), 0);
            child_finish(&children[i]);
        }
    }
    (void)state;
}

/* A process opens and maps a file after another process has adopted it. No
 * process has accessed the file yet. */
static void test_late_process(void **state)
{
    const char *path = unit_path(unit_disk, "late");
    child_t early, late;

    unit_make_file(path, UNIT_LENGTH, 'x');
    member_start(&early);
    member_start(&late);
    assert_child_ok(&early, "map %s %d -", path, UNIT_LENGTH);
    assert_child_ok(&early, "adopt %s %u", unit_disk, 8000 * unit_slow());
    assert_child_ok(&late, "map %s %d -", path, UNIT_LENGTH);
    /* If the second process is not known to use daxpin, it is an intruder */
    (void)child_query(&early, "state");
    if (member_has_state(&early, REVOKED)) {
        assert_child_ok(&early, "close");
        child_finish(&early);
        child_finish(&late);
        return;
    }
    assert_child_ok(&late, "adopt %s %u", unit_disk, 8000 * unit_slow());
    assert_member_becomes(&early, HELD);
    assert_child_ok(&late, "put 100 1 76");
    assert_int_equal(child_query(&early, "mem 100"), 76);
    child_finish(&late);
    child_finish(&early);
    (void)state;
}

/* Start two processes: the early one adopts the file, the late one uses daxpin
 * for another file. */
static void adopt_start_early_and_late(const char *path, child_t *early,
                                 child_t *late)
{
    unit_make_file(path, UNIT_LENGTH, 'x');
    member_start(early);
    /* From now on the late process is known to use daxpin */
    member_start_open(late, unit_path(unit_disk, "other"));
    assert_child_ok(late, "close");
    assert_child_ok(early, "map %s %d -", path, UNIT_LENGTH);
    assert_child_ok(early, "adopt %s %u", unit_disk, 8000 * unit_slow());
}

/* The holder waits for a late process that is known to use daxpin. */
static void test_late_member(void **state)
{
    const char *path = unit_path(unit_disk, "late-member");
    child_t early, late;

    adopt_start_early_and_late(path, &early, &late);
    assert_child_ok(&late, "map %s %d -", path, UNIT_LENGTH);
    assert_false(member_has_state(&early, REVOKED));
    assert_child_ok(&late, "adopt %s %u", unit_disk, 8000 * unit_slow());
    assert_member_becomes(&early, HELD);
    assert_member_becomes(&late, HELD);
    assert_child_ok(&late, "put 100 1 76");
    assert_int_equal(child_query(&early, "mem 100"), 76);
    child_finish(&late);
    child_finish(&early);
    (void)state;
}

/* A pin waits while the holder waits for a late process. */
static void test_late_member_and_pin(void **state)
{
    const char *path = unit_path(unit_disk, "late-pin");
    child_t early, late;

    adopt_start_early_and_late(path, &early, &late);
    assert_child_ok(&late, "map %s %d -", path, UNIT_LENGTH);
    assert_member_becomes(&early, PENDING);
    child_send(&early, "pin 0 4096");
    unit_sleep_ms(200);
    assert_child_ok(&late, "adopt %s %u", unit_disk, 8000 * unit_slow());
    assert_int_equal(child_answer(&early, CHILD_WAIT_MS), 0);
    assert_true(member_has_state(&early, HELD));
    child_finish(&late);
    child_finish(&early);
    (void)state;
}

/* The late process first makes the file longer, as ranks that share a file do.
 * The holder may not have a hold yet: the late process would wait for the hold,
 * and the holder for the late process. */
static void test_late_member_grows(void **state)
{
    const char *path = unit_path(unit_disk, "late-grows");
    child_t early, late, child;
    struct stat st;

    adopt_start_early_and_late(path, &early, &late);
    assert_child_ok(&late, "grow %s %d", path, 2 * UNIT_LENGTH);
    assert_child_ok(&late, "map %s %d -", path, 2 * UNIT_LENGTH);
    assert_child_ok(&late, "adopt %s %u", unit_disk, 8000 * unit_slow());
    assert_member_becomes(&early, HELD);
    assert_member_becomes(&late, HELD);
    assert_child_ok(&late, "put %d 1 76", 2 * UNIT_LENGTH - 1);
    assert_child_ok(&early, "put 100 1 77");
    assert_int_equal(child_query(&late, "mem 100"), 77);
    /* The hole has blocks, and the hold keeps them */
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks * 512 >= 2 * UNIT_LENGTH);
    assert_int_equal(child_query(&early, "locks"),
                     DAXPIN_LOCK_LEASE | (unit_is_dax(unit_disk) ?
                                          DAXPIN_LOCK_HOLD : 0));
    intruder_start(&child, "truncate", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    child_finish(&child);
    assert_member_becomes(&late, REVOKED);
    assert_int_equal(child_query(&late, "mem %d", 2 * UNIT_LENGTH - 1), 0);
    child_finish(&late);
    child_finish(&early);
    (void)state;
}

/* If a process may already access the file, a late process is an intruder. */
static void test_too_late_member(void **state)
{
    const char *path = unit_path(unit_disk, "too-late");
    child_t early, late, member;
    char key[CHILD_LINE_MAX];

    adopt_start_early_and_late(path, &early, &late);
    member_start(&member);
    assert_child_ok(&early, "key");
    strcpy(key, early.text);
    assert_child_ok(&member, "attach %s", key);
    assert_child_ok(&late, "map %s %d -", path, UNIT_LENGTH);
    assert_member_becomes(&early, REVOKED);
    assert_member_becomes(&member, REVOKED);
    child_finish(&late);
    child_finish(&early);
    child_finish(&member);
    (void)state;
}

static void test_open_elsewhere(void **state)
{
    daxpin_params_t params = {.timeout_ms = 300};
    adopt_map_t map;
    char pid[32];
    child_t child;
    uint64_t start;

    adopt_map(&map, unit_disk);
    intruder_start(&child, "write", map.path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    start = unit_ms();
    assert_int_equal(daxpin_file_adopt(map.memory, UNIT_LENGTH, &params,
                                       &map.file, &map.offset), -EAGAIN);
    assert_true(unit_ms() - start < 3000 * unit_slow());
    snprintf(pid, sizeof(pid), "pid %d", (int)child.pid);
    assert_message(map.path);
    assert_message(pid);
    map.memory[5] = 'z'; /* the mapping is still of the file */
    assert_int_equal(unit_file_byte(map.path, 5), 'z');
    child_finish(&child);
    assert_ok(adopt_all(&map));
    adopt_end(&map);
    (void)state;
}

/* Another process has the file open, or mapped, and has no memory of it that is
 * to be adopted. flags: of the command "map" */
static void adopt_check_lent(const char *flags)
{
    daxpin_params_t params = {.timeout_ms = 10000};
    daxpin_adoption_t adoption;
    adopt_map_t map;
    child_t child;

    adopt_map(&map, unit_disk);
    member_start(&child);
    assert_child_ok(&child, "map %s %d %s", map.path, UNIT_LENGTH, flags);
    assert_ok(daxpin_adoption_locate(map.memory, UNIT_LENGTH, &params,
                                     &adoption));
    assert_ok(daxpin_adoption_begin(&adoption));
    assert_child_ok(&child, "lend %s 12000", map.path);
    assert_ok(daxpin_adoption_end(&adoption));
    map.file = adoption.file;
    adopt_check_held(&map);
    if (strchr(flags, 'o') == NULL) {
        assert_int_equal(child_query(&child, "mem 7"), 'y');
    }
    intruder_run("truncate", map.path, 0, 5000);
    assert_int_equal(daxpin_file_state(map.file), DAXPIN_STATE_REVOKED);
    assert_member_becomes(&child, REVOKED);
    child_finish(&child);
    adopt_end(&map);
}

static void test_lend(void **state)
{
    adopt_check_lent("-");
    adopt_check_lent("r");
    adopt_check_lent("o");
    adopt_check_lent("or");
    (void)state;
}

/* An adoption that its holder gives up ends the wait of all others, which may try
 * again. */
static void test_cancel(void **state)
{
    daxpin_params_t params = {.timeout_ms = 3000 * unit_slow()};
    daxpin_adoption_t first, second;
    adopt_map_t map;
    child_t child;

    adopt_map(&map, unit_disk);
    member_start(&child);
    assert_child_ok(&child, "map %s %d -", map.path, UNIT_LENGTH);
    assert_ok(daxpin_adoption_locate(map.memory, UNIT_LENGTH, &params, &first));
    assert_ok(daxpin_adoption_begin(&first));
    assert_child_ok(&child, "lend %s 12000", map.path);
    assert_ok(daxpin_adoption_locate(map.memory, UNIT_LENGTH, &params,
                                     &second));
    assert_ok(daxpin_adoption_begin(&second));
    daxpin_adoption_cancel(&first);
    assert_int_equal(daxpin_adoption_end(&second), -ESTALE);
    assert_message("given up");
    assert_member_becomes(&child, REVOKED);
    assert_int_equal(child_query(&child, "cause"), 0);
    assert_contains(child.text, "given up");
    assert_child_ok(&child, "set 7 90");
    child_finish(&child);
    assert_int_equal(unit_file_byte(map.path, 7), 90); /* still of the file */
    assert_ok(adopt_all(&map));
    adopt_check_held(&map);
    adopt_end(&map);
    (void)state;
}

/* What the other process has cannot be exchanged. flags: as above; why: what it
 * reports */
static void adopt_check_not_lent(const char *flags, const char *why)
{
    daxpin_params_t params = {.timeout_ms = 1000 * unit_slow()};
    daxpin_adoption_t adoption;
    adopt_map_t map;
    char pid[32];
    child_t child;

    adopt_map(&map, unit_disk);
    member_start(&child);
    assert_child_ok(&child, "map %s %d %s", map.path, UNIT_LENGTH, flags);
    assert_ok(daxpin_adoption_locate(map.memory, UNIT_LENGTH, &params,
                                     &adoption));
    assert_ok(daxpin_adoption_begin(&adoption));
    assert_int_equal(child_query(&child, "lend %s 12000", map.path), -EBUSY);
    assert_contains(child.text, map.path);
    assert_contains(child.text, why);
    assert_int_equal(daxpin_adoption_end(&adoption), -EAGAIN);
    snprintf(pid, sizeof(pid), "pid %d (", (int)child.pid);
    assert_message(pid);
    child_finish(&child);
    adopt_end(&map);
}

static void test_not_lent(void **state)
{
    adopt_check_not_lent("oa", "with O_APPEND");
    adopt_check_not_lent("p", "a private mapping");
    adopt_check_not_lent("pr", "a private mapping");
    (void)state;
}

/* The other process has nothing of the file. */
static void test_nothing_to_lend(void **state)
{
    adopt_map_t map;
    child_t child;

    adopt_map(&map, unit_disk);
    member_start(&child);
    assert_int_equal(child_query(&child, "lend %s 12000", map.path),
                     DAXPIN_FOREIGN);
    assert_ok(adopt_all(&map));
    adopt_check_held(&map);
    child_finish(&child);
    adopt_end(&map);
    (void)state;
}

/* A member keeps the lease away, by what it did not exchange. Whoever comes later
 * is the member; if that is this process, it may have waited long enough before
 * the holder gives up. */
static void test_member_with_append(void **state)
{
    adopt_map_t map;
    char wanted[64];
    child_t child;
    int ret;

    adopt_map(&map, unit_disk);
    member_start(&child);
    assert_child_ok(&child, "map %s %d oa", map.path, UNIT_LENGTH);
    assert_child_ok(&child, "map %s %d -", map.path, UNIT_LENGTH);
    child_send(&child, "adopt %s 3000", unit_disk);
    ret = adopt_all(&map);
    assert_true((ret == -EAGAIN) || (ret == -ETIMEDOUT));
    snprintf(wanted, sizeof(wanted), "pid %d", (int)child.pid);
    assert_message(wanted);
    assert_int_equal(child_answer(&child, CHILD_WAIT_MS), -EAGAIN);
    child_finish(&child);
    adopt_end(&map);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        MEMBER_ENTRY,
        {"adopt_blind", adopt_blind_main},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_open_descriptor),
        unit_case(test_closed_descriptor),
        unit_case(test_leased_elsewhere),
        unit_case(test_read_only_descriptor_too),
        unit_case(test_deleted),
        unit_case(test_hidden),
        unit_case(test_replaced),
        unit_case(test_read_only),
        unit_case(test_read_only_wanted),
        unit_case(test_partly_read_only),
        unit_case(test_other_memory_is_not_adopted),
        unit_case(test_fsdax),
        unit_case(test_directories),
        unit_case(test_range_spans_files),
        unit_case(test_adjacent_mappings),
        unit_case(test_beyond_the_end),
        unit_case(test_sparse),
        unit_case(test_append),
        unit_case(test_adopt_twice),
        unit_case(test_unadopt),
        unit_case(test_two_ranges),
        unit_case(test_mapped_again),
        unit_case(test_with_open),
        unit_case(test_same_number_elsewhere),
        unit_case(test_covered),
        unit_case(test_same_number_without_name),
        unit_case(test_blind),
        unit_case(test_many_processes),
        unit_case(test_late_process),
        unit_case(test_late_member),
        unit_case(test_late_member_and_pin),
        unit_case(test_late_member_grows),
        unit_case(test_too_late_member),
        unit_case(test_open_elsewhere),
        unit_case(test_lend),
        unit_case(test_cancel),
        unit_case(test_not_lent),
        unit_case(test_nothing_to_lend),
        unit_case(test_member_with_append)
    };

    return unit_main("adopt", argc, argv, children, tests);
}
