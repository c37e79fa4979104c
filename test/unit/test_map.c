/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What lies behind an address: the kernel's answers, and the cache of them */

#include "child.h"
#include "daxpin/os/vma.h"
#include "old_kernel.h"

#define MAP_PAGE   4096ul
#define MAP_PAGES  64ul
#define MAP_ASKED  600u        /* addresses */

/* An area of our own, so that neighbours are known */
static char *map_reserve(void)
{
    char *area = mmap(NULL, MAP_PAGES * MAP_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(area != MAP_FAILED);
    return area;
}

static void map_at(char *addr, unsigned pages, int prot, int flags, int fd,
                   unsigned offset_pages)
{
    assert_ptr_equal(mmap(addr, pages * MAP_PAGE, prot, flags | MAP_FIXED, fd,
                          (off_t)(offset_pages * MAP_PAGE)), addr);
}

static int map_open(const char *dir, const char *name, char *path)
{
    int fd;

    strcpy(path, unit_path(dir, name));
    unit_make_file(path, MAP_PAGES * MAP_PAGE, 1);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void map_release(char *area)
{
    munmap(area, MAP_PAGES * MAP_PAGE);
}

static void test_anonymous(void **state)
{
    char *area = map_reserve();
    daxpin_vma_t vma;

    map_at(area + 8 * MAP_PAGE, 4, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(daxpin_vma_query((uintptr_t)area + 9 * MAP_PAGE + 77,
                                      &vma), 0);
    assert_int_equal(vma.start, (uintptr_t)area + 8 * MAP_PAGE);
    assert_int_equal(vma.end, (uintptr_t)area + 12 * MAP_PAGE);
    assert_int_equal(vma.ino, 0);
    assert_int_equal(vma.shared, 0);
    assert_int_equal(vma.prot, PROT_READ | PROT_WRITE);
    map_release(area);
    (void)state;
}

/* Return whether the mapping at an address is of a file. */
static int map_is_of(uintptr_t addr, dev_t dev, uint64_t ino)
{
    daxpin_piece_t piece;

    return (daxpin_vma_find(addr, &piece) == 0) && (piece.start <= addr) &&
           (piece.dev == dev) && (piece.ino == ino);
}

static void map_check_file(const char *dir)
{
    char path[PATH_MAX];
    int fd     = map_open(dir, "file", path);
    char *area = map_reserve();
    struct stat st;
    daxpin_vma_t vma;

    map_at(area, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 3);
    map_at(area + 4 * MAP_PAGE, 4, PROT_READ, MAP_PRIVATE, fd, 9);
    assert_int_equal(fstat(fd, &st), 0);

    assert_int_equal(daxpin_vma_query((uintptr_t)area + MAP_PAGE, &vma), 0);
    assert_int_equal(vma.start, (uintptr_t)area);
    assert_int_equal(vma.end, (uintptr_t)area + 4 * MAP_PAGE);
    assert_int_equal(vma.offset, 3 * MAP_PAGE);
    assert_int_equal(vma.ino, st.st_ino);
    assert_int_equal(vma.dev, st.st_dev);
    assert_int_equal(vma.shared, 1);
    assert_int_equal(vma.prot, PROT_READ | PROT_WRITE);
    assert_string_equal(vma.path, path);
    assert_int_equal(map_is_of(vma.start, vma.dev, vma.ino), 1);
    assert_int_equal(map_is_of(vma.start, vma.dev, vma.ino + 1), 0);

    assert_int_equal(daxpin_vma_query(vma.end, &vma), 0);
    assert_int_equal(vma.offset, 9 * MAP_PAGE);
    assert_int_equal(vma.ino, st.st_ino);
    assert_int_equal(vma.shared, 0);
    assert_int_equal(vma.prot, PROT_READ);

    unlink(path);
    assert_int_equal(daxpin_vma_query((uintptr_t)area, &vma), 0);
    assert_int_equal(vma.ino, st.st_ino);
    assert_contains(vma.path, " (deleted)");
    map_release(area);
    close(fd);
}

static void test_file(void **state)
{
    map_check_file(unit_disk);
    map_check_file(unit_memory);
    (void)state;
}

static int map_count(const daxpin_vma_t *vma, void *arg)
{
    daxpin_vma_t *last = arg;

    assert_true(vma->start >= last->end);
    assert_true(vma->end > vma->start);
    *last = *vma;
    return (vma->ino != 0) && (strstr(vma->path, "-each") != NULL);
}

/* In order, until func has had enough, which may replace what it is given */
static void test_for_each(void **state)
{
    char path[PATH_MAX];
    int fd            = map_open(unit_disk, "each", path);
    char *area        = map_reserve();
    daxpin_vma_t last = {0};

    map_at(area + MAP_PAGE, 2, PROT_READ, MAP_SHARED, fd, 5);
    assert_int_equal(daxpin_vma_for_each(map_count, &last), 1);
    assert_int_equal(last.start, (uintptr_t)area + MAP_PAGE);
    assert_int_equal(last.end, (uintptr_t)area + 3 * MAP_PAGE);
    assert_int_equal(last.offset, 5 * MAP_PAGE);
    assert_int_equal(last.shared, 1);
    assert_string_equal(last.path, path);
    map_release(area);
    memset(&last, 0, sizeof(last));
    assert_int_equal(daxpin_vma_for_each(map_count, &last), 0);
    close(fd);
    (void)state;
}

/* The shared mappings of this process, in one number */
static int map_add_shared(const daxpin_piece_t *piece, void *arg)
{
    uint64_t *sum = arg;

    if (piece->shared) {
        *sum = (*sum ^ piece->start ^ (piece->end << 1) ^ (piece->offset << 2) ^
                (piece->ino << 3) ^ piece->dev ^ (uint64_t)piece->prot) *
               0x100000001b3ull;
    }
    return 0;
}

static int map_add_vma(const daxpin_vma_t *vma, void *arg)
{
    const daxpin_piece_t piece = {.start  = vma->start,
                                  .end    = vma->end,
                                  .offset = vma->offset,
                                  .dev    = vma->dev,
                                  .ino    = vma->ino,
                                  .prot   = vma->prot,
                                  .shared = vma->shared};

    return map_add_shared(&piece, arg);
}

static int map_stop(const daxpin_piece_t *piece, void *arg)
{
    *(uintptr_t*)arg = piece->start;
    return piece->shared ? 7 : 0;
}

/* A scan of shared mappings finds all of them, of other memory, too. */
static void test_scan_shared(void **state)
{
    char path[PATH_MAX];
    uint64_t each = 0, scan = 0, text = 0;
    uintptr_t first = 0;
    int fd          = map_open(unit_disk, "shared", path);
    char *area      = map_reserve();

    map_at(area, 1, PROT_READ, MAP_SHARED, fd, 3);
    map_at(area + MAP_PAGE, 1, PROT_NONE, MAP_SHARED, fd, 7);
    map_at(area + 2 * MAP_PAGE, 1, PROT_READ, MAP_PRIVATE, fd, 0);
    map_at(area + 3 * MAP_PAGE, 2, PROT_READ, MAP_SHARED, fd, 0);
    assert_int_equal(daxpin_vma_for_each(map_add_vma, &each), 0);
    assert_int_equal(daxpin_vma_scan_shared(map_add_shared, &scan), 0);
    assert_int_equal(daxpin_vma_scan(map_add_shared, &text), 0);
    assert_true(each != 0);
    assert_int_equal(scan, each);
    assert_int_equal(text, each);
    assert_int_equal(daxpin_vma_scan_shared(map_stop, &first), 7);
    assert_true((first != 0) && (first <= (uintptr_t)area));
    map_release(area);
    close(fd);
    (void)state;
}

/* Where nothing is, the next one above; at the top, nothing */
static void test_hole(void **state)
{
    char *area = map_reserve();
    daxpin_vma_t vma;
    uintptr_t addr = 0;

    munmap(area + 8 * MAP_PAGE, 8 * MAP_PAGE);
    assert_int_equal(daxpin_vma_query((uintptr_t)area + 10 * MAP_PAGE, &vma),
                     0);
    assert_int_equal(vma.start, (uintptr_t)area + 16 * MAP_PAGE);
    while (daxpin_vma_query(addr, &vma) == 0) {
        assert_true(vma.end > addr);
        addr = vma.end;
    }
    assert_int_equal(daxpin_vma_query(addr, &vma), -ENOENT);
    map_release(area);
    (void)state;
}

/* A name with all that makes parsing hard */
static void test_odd_name(void **state)
{
    char path[PATH_MAX];
    int fd     = map_open(unit_disk, "a b\tc (deleted)", path);
    char *area = map_reserve();
    daxpin_vma_t vma;

    map_at(area, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_int_equal(daxpin_vma_query((uintptr_t)area, &vma), 0);
    assert_string_equal(vma.path, path);
    map_release(area);
    close(fd);
    (void)state;
}

/*
 * The text form, for kernels without the ioctl: in a child in which the kernel
 * answers as an old one does
 */

/* Addresses: the start, the middle and the end of all that there is. Nothing
 * is mapped between the two rounds. */
static unsigned map_collect(uintptr_t *addrs)
{
    uintptr_t addr = 0;
    unsigned count = 0;
    daxpin_vma_t vma;

    while ((count + 3 <= MAP_ASKED) && (daxpin_vma_query(addr, &vma) == 0)) {
        addrs[count++] = vma.start;
        addrs[count++] = vma.start + (vma.end - vma.start) / 2;
        addrs[count++] = addr = vma.end;
    }
    return count;
}

/* The stack may grow, and names of anonymous memory are no part of it */
static int map_same(const daxpin_vma_t *a, const daxpin_vma_t *b)
{
    if ((a->ino == 0) && (b->ino == 0) && strstr(a->path, "[stack]")) {
        return 1;
    }
    return (a->start == b->start) && (a->end == b->end) &&
           (a->offset == b->offset) && (a->dev == b->dev) &&
           (a->ino == b->ino) && (a->prot == b->prot) &&
           (a->shared == b->shared) &&
           ((a->ino == 0) || (strcmp(a->path, b->path) == 0));
}

/* What a signal handler finds out is the same */
static int map_finds(uintptr_t addr, const daxpin_vma_t *vma)
{
    daxpin_piece_t piece;
    int ret = daxpin_vma_find(addr, &piece);

    if (vma->start == 0) {
        return (ret == -ENOENT) || (piece.start >= UINTPTR_MAX / 2);
    }
    if (vma->ino == 0) {
        return ret == 0; /* The stack may grow */
    }
    return (ret == 0) && (piece.start == vma->start) &&
           (piece.end == vma->end) && (piece.offset == vma->offset) &&
           (piece.dev == vma->dev) && (piece.ino == vma->ino) &&
           (piece.prot == vma->prot) && (piece.shared == vma->shared);
}

/* So that malloc() has room, and maps nothing between the two rounds */
static void map_warm_up(void)
{
    char line[PATH_MAX + 128];
    FILE *maps = fopen("/proc/self/maps", "re");

    while (fgets(line, sizeof(line), maps) != NULL) {
    }
    fclose(maps);
}

static int map_text_child(int argc, char **argv)
{
    static daxpin_vma_t answers[MAP_ASKED], again;
    static uintptr_t addrs[MAP_ASKED];
    static char path[PATH_MAX];
    uint64_t shared = 0, shared_again = 0;
    unsigned i, count, bad = 0;
    int fd;

    (void)argc;
    strcpy(path, argv[1]);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if ((mmap(NULL, MAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
         MAP_FAILED) ||
        (mmap(NULL, MAP_PAGE, PROT_READ, MAP_PRIVATE, fd, MAP_PAGE) ==
         MAP_FAILED)) {
        return 1;
    }
    map_warm_up();
    count = map_collect(addrs);
    for (i = 0; i < count; ++i) {
        answers[i].start = (uintptr_t)daxpin_vma_query(addrs[i], &answers[i]) ?
                                   0 : answers[i].start;
    }
    (void)daxpin_vma_scan_shared(map_add_shared, &shared);
    if (!old_kernel_begin()) {
        child_report(-1, "no seccomp here");
        return 0;
    }
    bad += (daxpin_vma_scan_shared(map_add_shared, &shared_again) != 0) ||
           (shared == 0) || (shared != shared_again);
    for (i = 0; i < count; ++i) {
        memset(&again, 0, sizeof(again));
        again.start = daxpin_vma_query(addrs[i], &again) ? 0 : again.start;
        /* No mapping, though the text lists it */
        if (strcmp(again.path, "[vsyscall]") == 0) {
            again.start = 0;
        }
        if (UNIT_SANITIZED && ((again.ino == 0) || (answers[i].ino == 0))) {
            continue; /* its memory changes as it goes */
        }
        if ((again.start != answers[i].start) ||
            !map_finds(addrs[i], &answers[i]) ||
            ((again.start != 0) && !map_same(&answers[i], &again))) {
            ++bad;
        }
    }
    child_report(bad, "%u", count);
    return 0;
}

static void test_text_agrees(void **state)
{
    const char *path = unit_path(unit_disk, "text file");
    child_t child;
    long bad;

    unit_make_file(path, 4 * MAP_PAGE, 1);
    child_spawn(&child, "text", path, NULL);
    bad = child_answer(&child, CHILD_WAIT_MS);
    if (bad == -1) {
        skip();
    }
    assert_int_equal(bad, 0);
    assert_true(atoi(child.text) > 30);
    child_finish(&child);
    (void)state;
}

/*
 * The cache, against one bit a page
 */

static void test_cache_off(void **state)
{
    daxpin_cache_enable(0);
    daxpin_cache_insert(0x10000, 0x20000, daxpin_cache_epoch());
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 1), 0);
    (void)state;
}

static void test_cache_merges(void **state)
{
    unsigned epoch;

    daxpin_cache_enable(1);
    epoch = daxpin_cache_epoch();
    daxpin_cache_insert(0x10000, 0x20000, epoch);
    daxpin_cache_insert(0x30000, 0x40000, epoch);
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 0x10000), 1);
    assert_int_equal(daxpin_cache_is_foreign(0x1ffff, 2), 0);
    assert_int_equal(daxpin_cache_is_foreign(0xffff, 2), 0);
    assert_int_equal(daxpin_cache_is_foreign(0x18000, 0x20000), 0);
    assert_int_equal(daxpin_cache_is_foreign(0x18000, SIZE_MAX), 0);
    daxpin_cache_insert(0x20000, 0x30000, epoch);
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 0x30000), 1);
    daxpin_cache_insert(0x8000, 0x48000, epoch);
    assert_int_equal(daxpin_cache_is_foreign(0x8000, 0x40000), 1);
    daxpin_cache_enable(0);
    (void)state;
}

static void test_cache_epoch(void **state)
{
    unsigned epoch;

    daxpin_cache_enable(1);
    epoch = daxpin_cache_epoch();
    daxpin_cache_forget((void*)0x90000, 0x1000); /* between query and insert */
    daxpin_cache_insert(0x10000, 0x20000, epoch);
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 1), 0);
    daxpin_cache_insert(0x10000, 0x20000, daxpin_cache_epoch());
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 1), 1);
    daxpin_cache_enable(1); /* anew: empty */
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 1), 0);
    daxpin_cache_enable(0);
    (void)state;
}

/* fsdax is another answer, which a range has if any of it has it. Both are
 * forgotten together, and void by the same epoch. */
static void test_cache_fsdax(void **state)
{
    unsigned epoch;

    daxpin_cache_enable(0);
    daxpin_cache_insert_fsdax(0x10000, 0x20000, daxpin_cache_epoch());
    assert_int_equal(daxpin_cache_is_fsdax(0x10000, 1), 0);

    daxpin_cache_enable(1);
    epoch = daxpin_cache_epoch();
    daxpin_cache_insert_fsdax(0x10000, 0x20000, epoch);
    daxpin_cache_insert_fsdax(0x40000, 0x50000, epoch);
    assert_int_equal(daxpin_cache_is_fsdax(0x10000, 1), 1);
    assert_int_equal(daxpin_cache_is_fsdax(0xffff, 2), 1);
    assert_int_equal(daxpin_cache_is_fsdax(0x1ffff, 0x1000), 1);
    assert_int_equal(daxpin_cache_is_fsdax(0, 0x100000), 1);
    assert_int_equal(daxpin_cache_is_fsdax(0xffff, 1), 0);
    assert_int_equal(daxpin_cache_is_fsdax(0x20000, 0x20000), 0);
    assert_int_equal(daxpin_cache_is_fsdax(0x50000, 1), 0);
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 1), 0);

    /* A private mapping of such a file is foreign as well */
    daxpin_cache_insert(0x10000, 0x30000, epoch);
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 0x20000), 1);
    assert_int_equal(daxpin_cache_is_fsdax(0x10000, 0x20000), 1);
    assert_int_equal(daxpin_cache_is_fsdax(0x20000, 0x10000), 0);

    daxpin_cache_forget((void*)0x18000, 0x1000);
    assert_int_equal(daxpin_cache_is_foreign(0x10000, 1), 0);
    assert_int_equal(daxpin_cache_is_fsdax(0x10000, 0x10000), 0);
    assert_int_equal(daxpin_cache_is_fsdax(0x40000, 1), 1);
    daxpin_cache_insert_fsdax(0x10000, 0x20000, epoch);
    assert_int_equal(daxpin_cache_is_fsdax(0x10000, 1), 0);
    daxpin_cache_enable(0);
    assert_int_equal(daxpin_cache_is_fsdax(0x40000, 1), 0);
    (void)state;
}

/* More mappings than there is room for: the newest is always known */
static void test_cache_fsdax_full(void **state)
{
    uintptr_t i;

    daxpin_cache_enable(1);
    for (i = 1; i <= 1000; ++i) {
        daxpin_cache_insert_fsdax(i * 0x10000, i * 0x10000 + MAP_PAGE,
                                  daxpin_cache_epoch());
        assert_int_equal(daxpin_cache_is_fsdax(i * 0x10000, 1), 1);
        assert_int_equal(daxpin_cache_is_fsdax(i * 0x10000 + MAP_PAGE, 1), 0);
    }
    daxpin_cache_enable(0);
    (void)state;
}

static void map_mark(char *known, unsigned from, unsigned to, int value)
{
    memset(known + from, value, to - from);
}

/* May know less than the oracle (it forgets whole ranges, and begins anew when
 * full), never more, and all of what was just inserted */
static void test_cache_random(void **state)
{
    enum { PAGES = 4096 };
    const unsigned rounds = pace_rounds(200000, 20000);
    static char known[PAGES];
    unsigned i, from, to, page;

    daxpin_cache_enable(1);
    srand(1);
    for (i = 0; i < rounds; ++i) {
        from = (unsigned)rand() % PAGES;
        to   = from + 1 + (unsigned)rand() % 8;
        to   = (to > PAGES) ? PAGES : to;
        if (rand() % 3 != 0) {
            daxpin_cache_insert(from * MAP_PAGE, to * MAP_PAGE,
                                daxpin_cache_epoch());
            map_mark(known, from, to, 1);
            assert_int_equal(daxpin_cache_is_foreign(from * MAP_PAGE,
                                                     (to - from) * MAP_PAGE),
                             1);
        } else {
            daxpin_cache_forget((void*)(from * MAP_PAGE),
                                (to - from) * MAP_PAGE);
            map_mark(known, from, to, 0);
            assert_int_equal(daxpin_cache_is_foreign(from * MAP_PAGE, 1), 0);
        }
        page = (unsigned)rand() % PAGES;
        if (daxpin_cache_is_foreign(page * MAP_PAGE, MAP_PAGE)) {
            assert_int_equal(known[page], 1);
        }
    }
    daxpin_cache_enable(0);
    (void)state;
}

/*
 * The cache and adoption together
 */

static int map_adopt(void *addr, size_t length)
{
    daxpin_file_t *file;
    uint64_t offset;
    int ret = daxpin_file_adopt(addr, length, NULL, &file, &offset);

    if (ret == 0) {
        daxpin_file_unadopt(file, addr, length);
        daxpin_file_close(file);
    }
    return ret;
}

/* A cached answer is not asked for again, and is forgotten with the memory */
static void test_cache_in_use(void **state)
{
    char path[PATH_MAX];
    int fd     = map_open(unit_disk, "cached", path);
    char *area = map_reserve();

    daxpin_cache_enable(1);
    unit_use_dir(unit_disk);
    map_at(area, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
           0);
    assert_int_equal(map_adopt(area + 100, 5000), DAXPIN_FOREIGN);
    assert_int_equal(daxpin_cache_is_foreign((uintptr_t)area, 8 * MAP_PAGE),
                     1);
    munmap(area, 8 * MAP_PAGE);
    daxpin_cache_forget(area, 8 * MAP_PAGE);
    assert_int_equal(daxpin_cache_is_foreign((uintptr_t)area, 1), 0);
    map_at(area, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_int_equal(map_adopt(area + 100, 5000), 0);
    assert_int_equal(daxpin_cache_is_foreign((uintptr_t)area, 1), 0);

    /* Another rule, another answer */
    unit_use_dir(unit_memory);
    assert_int_equal(map_adopt(area + 100, 5000), DAXPIN_FOREIGN);
    unit_use_dir(unit_disk);
    assert_int_equal(map_adopt(area + 100, 5000), 0);
    daxpin_cache_enable(0);
    map_release(area);
    close(fd);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        {"text", map_text_child},
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_anonymous),
        unit_case(test_file),
        unit_case(test_for_each),
        unit_case(test_scan_shared),
        unit_case(test_hole),
        unit_case(test_odd_name),
        unit_case(test_text_agrees),
        unit_case(test_cache_off),
        unit_case(test_cache_merges),
        unit_case(test_cache_epoch),
        unit_case(test_cache_fsdax),
        unit_case(test_cache_fsdax_full),
        unit_case(test_cache_random),
        unit_case(test_cache_in_use)
    };

    return unit_main("map", argc, argv, children, tests);
}
