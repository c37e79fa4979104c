/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Pins: lookups, when pinning is allowed, and the report of a process */

#include "daxpin/access.h"
#include "daxpin/file/kmod.h"
#include "daxpin/file/pin.h"
#include "daxpin/file/report.h"
#include "daxpin/os/ranges.h"
#include "wire/ioctl.h"
#include "child.h"
#include "intruder.h"

#include <sys/resource.h>

#define PIN_MANY   pace_rounds(100000, 5000)
#define PIN_LENGTH (1ull << 24)

typedef struct pin_range {
    uint64_t     offset;
    size_t       length;
    daxpin_pin_t *pin; /* NULL: removed */
} pin_range_t;

static uint64_t pin_random(void)
{
    static uint64_t x = 88172645463325252ull;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static void pin_add(daxpin_file_t *file, pin_range_t *range, uint64_t offset,
                    size_t length)
{
    range->offset = offset;
    range->length = length;
    assert_ok(daxpin_pin(file, offset, length, NULL, &range->pin));
}

static void pin_remove(pin_range_t *range)
{
    daxpin_unpin(range->pin);
    range->pin = NULL;
}

static int pin_overlaps(const pin_range_t *ranges, unsigned count,
                        uint64_t offset, size_t length)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        if ((ranges[i].pin != NULL) && (ranges[i].offset < offset + length) &&
            (offset < ranges[i].offset + ranges[i].length)) {
            return 1;
        }
    }
    return 0;
}

/* Check that the library finds an overlapping pin if and only if there is
 * one. */
static void pin_compare(daxpin_file_t *file, const pin_range_t *ranges,
                        unsigned count, uint64_t offset, size_t length)
{
    daxpin_pin_t *pin = daxpin_pin_find(file, offset, length);
    uint64_t found;
    size_t size;

    assert_int_equal(pin != NULL, pin_overlaps(ranges, count, offset, length));
    if (pin != NULL) {
        daxpin_pin_range(pin, &found, &size);
        assert_true((found < offset + length) && (offset < found + size));
    }
}

/* Add, remove and find pins at random. There are few, so that each answer can
 * be compared with a search of all pins. */
static void test_random_pins(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "random"), 4096);
    pin_range_t ranges[300];
    unsigned i, round, rounds = pace_rounds(30000, 3000);

    memset(ranges, 0, sizeof(ranges));
    for (round = 0; round < rounds; ++round) {
        i = (unsigned)(pin_random() % 300);
        if (ranges[i].pin != NULL) {
            pin_remove(&ranges[i]);
        } else if (pin_random() % 4 != 0) {
            /* Some are equal, and some begin or end at the same offset */
            uint64_t offset = pin_random() % 64 * 60;
            pin_add(file, &ranges[i], offset, 1 + pin_random() % 100);
        }
        pin_compare(file, ranges, 300, pin_random() % 4000,
                    1 + pin_random() % 60);
    }
    for (i = 0; i < 300; ++i) {
        pin_remove(&ranges[i]);
    }
    assert_null(daxpin_pin_find(file, 0, 4096));
    daxpin_file_close(file);
    (void)state;
}

static void test_equal_and_nested(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "equal"), 8192);
    pin_range_t ranges[4];

    pin_add(file, &ranges[0], 100, 50);
    pin_add(file, &ranges[1], 100, 50);
    pin_add(file, &ranges[2], 100, 50);
    pin_add(file, &ranges[3], 0, 8192);
    pin_remove(&ranges[3]);
    pin_remove(&ranges[0]);
    assert_non_null(daxpin_pin_find(file, 149, 1));
    pin_remove(&ranges[2]);
    assert_ptr_equal(daxpin_pin_find(file, 149, 1), ranges[1].pin);
    assert_null(daxpin_pin_find(file, 150, 8000)); /* adjacent */
    assert_null(daxpin_pin_find(file, 0, 100));
    pin_remove(&ranges[1]);
    assert_null(daxpin_pin_find(file, 0, 8192));
    daxpin_file_close(file);
    (void)state;
}

/* Find ranges by both of their ends, some of which are alike. */
static void test_find_by_ends(void **state)
{
    static daxpin_range_t ranges[300];
    unsigned inside[8][8] = {{0}};
    daxpin_ranges_t set   = {0};
    const daxpin_range_t *found;
    unsigned i, n;

    memset(ranges, 0, sizeof(ranges));
    for (n = 0; n < 5000; ++n) {
        i = (unsigned)(pin_random() % 300);
        if (ranges[i].end > 0) {
            daxpin_ranges_remove(&set, &ranges[i]);
            --inside[ranges[i].start][ranges[i].end - 10];
            ranges[i].end = 0;
        } else if (pin_random() % 8 == 0) {
            ranges[i].start = pin_random() % 8;
            ranges[i].end   = 10 + pin_random() % 8;
            daxpin_ranges_insert(&set, &ranges[i]);
            ++inside[ranges[i].start][ranges[i].end - 10];
        }
        i     = (unsigned)(pin_random() % 64);
        found = daxpin_ranges_find(&set, i / 8, 10 + i % 8);
        assert_int_equal(found != NULL, inside[i / 8][i % 8] > 0);
        if (found != NULL) {
            assert_int_equal(found->start, i / 8);
            assert_int_equal(found->end, 10 + i % 8);
        }
    }
    (void)state;
}

static void test_find_with_greatest_length(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "all"), 8192);
    daxpin_pin_t *from_start, *from_inside, *behind;
    pin_range_t range;

    pin_add(file, &range, 4096, 4096);
    from_start  = daxpin_pin_find(file, 0, SIZE_MAX);
    from_inside = daxpin_pin_find(file, 10, SIZE_MAX);
    behind      = daxpin_pin_find(file, 8192, SIZE_MAX);
    pin_remove(&range);
    daxpin_file_close(file);
    assert_non_null(from_start);
    assert_non_null(from_inside);
    assert_null(behind);
    (void)state;
}

/* Return how many ns one lookup takes among the present pins. */
static double pin_time_lookups(daxpin_file_t *file, unsigned count)
{
    struct timespec start, end;
    unsigned i;

    /* Measure CPU time, because the machine may be busy */
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    for (i = 0; i < count; ++i) {
        (void)daxpin_pin_find(file, pin_random() % PIN_LENGTH, 1);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return ((double)(end.tv_sec - start.tv_sec) * 1e9 +
            (double)(end.tv_nsec - start.tv_nsec)) / count;
}

/* Add many disjoint pins in random order. Each is found, and the time of a
 * lookup grows by far less than the number of pins. */
static void test_many_pins(void **state)
{
    daxpin_file_t *file  = unit_open(unit_path(unit_memory, "many"),
                                     PIN_LENGTH);
    uint64_t cell        = PIN_LENGTH / PIN_MANY;
    pin_range_t *ranges  = calloc(PIN_MANY, sizeof(*ranges));
    unsigned *order      = calloc(PIN_MANY, sizeof(*order));
    double few, many;
    unsigned i, j;

    for (i = 0; i < PIN_MANY; ++i) {
        j        = (unsigned)(pin_random() % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (i = 0; i < 100; ++i) {
        pin_add(file, &ranges[order[i]], order[i] * cell, cell / 2);
    }
    few = pin_time_lookups(file, 20000);
    for (; i < PIN_MANY; ++i) {
        pin_add(file, &ranges[order[i]], order[i] * cell, cell / 2);
    }
    many = pin_time_lookups(file, PIN_MANY);
    for (i = 0; i < PIN_MANY; ++i) {
        assert_ptr_equal(daxpin_pin_find(file, i * cell + cell / 4, 1),
                         ranges[i].pin);
        assert_null(daxpin_pin_find(file, i * cell + cell / 2, cell / 4));
    }
    /* With 1000 times the pins a lookup takes 2.5 times the steps, and has more
     * cache misses */
    if (!UNIT_SANITIZED && (unit_slow() == 1) && (many > 100 * few + 3000)) {
        fail_msg("a lookup takes %.0f ns among 100 pins and %.0f among %d",
                 few, many, PIN_MANY);
    }
    for (i = 0; i < PIN_MANY; ++i) {
        pin_remove(&ranges[order[i]]);
        if (i % 100 == 0) {
            assert_null(daxpin_pin_find(file, order[i] * cell, cell / 2));
        }
    }
    free(order);
    free(ranges);
    daxpin_file_close(file);
    (void)state;
}

/* Add pins in ascending order, which makes a list of a tree that is not
 * balanced. All pins overlap, so a search that does not skip subtrees visits
 * all. */
static void test_worst_order(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_memory, "worst"),
                                    PIN_LENGTH);
    pin_range_t *ranges = calloc(PIN_MANY, sizeof(*ranges));
    uint64_t start      = unit_ms();
    unsigned i;

    for (i = 0; i < PIN_MANY; ++i) {
        pin_add(file, &ranges[i], i, PIN_LENGTH / 2 - i);
    }
    for (i = 0; i < PIN_MANY; ++i) {
        assert_null(daxpin_pin_find(file, PIN_LENGTH / 2 + i, 1));
        assert_non_null(daxpin_pin_find(file, PIN_LENGTH / 2 - 1, 1 + i));
    }
    for (i = 0; i < PIN_MANY; ++i) {
        pin_remove(&ranges[i]);
    }
    assert_true(unit_ms() - start < 10000 * unit_slow());
    free(ranges);
    daxpin_file_close(file);
    (void)state;
}

static void test_out_of_range(void **state)
{
    const char *path    = unit_path(unit_disk, "range");
    daxpin_file_t *file = unit_open(path, 8192);
    daxpin_pin_t *pin   = (daxpin_pin_t*)&pin;

    pin = (daxpin_pin_t*)&pin; /* a failed call sets it to NULL */
    assert_int_equal(daxpin_pin(file, 0, 8193, NULL, &pin), -EINVAL);
    assert_null(pin);
    assert_message(path);
    assert_int_equal(daxpin_pin(file, 8192, 1, NULL, &pin), -EINVAL);
    assert_int_equal(daxpin_pin(file, 10, 0, NULL, &pin), -EINVAL);
    assert_int_equal(daxpin_pin(file, UINT64_MAX, 2, NULL, &pin), -EINVAL);
    assert_int_equal(daxpin_pin(file, 1, SIZE_MAX, NULL, &pin), -EINVAL);
    assert_ok(daxpin_pin(file, 0, 8192, NULL, &pin));
    daxpin_unpin(pin);
    daxpin_unpin(NULL);
    daxpin_file_close(file);
    (void)state;
}

static void test_release_keeps_pins(void **state)
{
    const char *path    = unit_path(unit_disk, "release");
    daxpin_file_t *file = unit_open(path, 8192);
    daxpin_pin_t *pin, *more;

    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pin));
    assert_ok(daxpin_lease_release(file));
    assert_int_equal(daxpin_pin(file, 4096, 4096, NULL, &more), -EPERM);
    assert_message(path);
    assert_message("RELEASED");
    assert_message("open the file again");
    assert_null(more);
    assert_ptr_equal(daxpin_pin_find(file, 0, 1), pin);
    daxpin_unpin(pin);
    daxpin_file_close(file);
    (void)state;
}

static void test_no_pin_after_revoke(void **state)
{
    const char *path    = unit_path(unit_disk, "revoked");
    daxpin_file_t *file = unit_open(path, 8192);
    daxpin_pin_t *pin, *more;

    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pin));
    intruder_run("truncate", path, 100, 5000);
    assert_int_equal(daxpin_file_state(file), DAXPIN_STATE_REVOKED);
    assert_int_equal(daxpin_pin(file, 0, 4096, NULL, &more), -EPERM);
    assert_message(path);
    assert_message("REVOKED");
    daxpin_unpin(pin); /* the pin outlives the revoke */
    daxpin_file_close(file);
    (void)state;
}

/*
 * The report
 */

static daxpin_report_t *pin_map_report(void)
{
    daxpin_report_t *report;
    char path[64];
    int own;

    snprintf(path, sizeof(path), "/proc/self/fd/%d",
             unit_find_fd(DAXPIN_REPORT_NAME));
    own    = open(path, O_RDONLY | O_CLOEXEC);
    report = mmap(NULL, sizeof(*report), PROT_READ, MAP_SHARED, own, 0);
    close(own);
    assert_true(report != MAP_FAILED);
    assert_int_equal(report->magic, DAXPIN_REPORT_MAGIC);
    assert_int_equal(report->version, DAXPIN_REPORT_VERSION);
    assert_int_equal(report->pid, getpid());
    assert_int_equal(report->num_records, DAXPIN_REPORT_RECORDS);
    return report;
}

static daxpin_report_record_t *
pin_find_record(daxpin_report_t *report, const char *path, int owner_fd)
{
    unsigned i;

    for (i = 0; i < report->num_records; ++i) {
        if (report->records[i].used &&
            (strcmp(report->records[i].path, path) == 0) &&
            (report->records[i].owner_fd == owner_fd)) {
            return &report->records[i];
        }
    }
    return NULL;
}

static void test_report(void **state)
{
    const daxpin_owner_t owner = {.type = DAXPIN_OWNER_FILE, .fd = 77};
    const char *path           = unit_path(unit_disk, "report");
    daxpin_file_t *file        = unit_open(path, 65536);
    daxpin_report_t *report    = pin_map_report();
    daxpin_report_record_t *own, *other;
    daxpin_pin_t *pins[3];
    struct stat st;

    assert_null(pin_find_record(report, path, -1));
    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pins[0]));
    assert_ok(daxpin_pin(file, 100, 200, NULL, &pins[1]));
    assert_ok(daxpin_pin(file, 0, 1000, &owner, &pins[2]));
    own   = pin_find_record(report, path, -1);
    other = pin_find_record(report, path, 77);
    assert_non_null(own);
    assert_non_null(other);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(own->ino, st.st_ino);
    assert_int_equal(own->dev, st.st_dev);
    assert_int_equal(own->holder_pid, getpid());
    assert_int_equal(own->owner_type, DAXPIN_OWNER_PROCESS);
    assert_int_equal(own->pins, 2);
    assert_int_equal(own->bytes, 4296);
    assert_int_equal(other->owner_type, DAXPIN_OWNER_FILE);
    assert_int_equal(other->pins, 1);
    assert_int_equal(other->bytes, 1000);
    daxpin_unpin(pins[0]);
    assert_int_equal(own->pins, 1);
    assert_int_equal(own->bytes, 200);
    daxpin_unpin(pins[1]);
    daxpin_unpin(pins[2]);
    assert_null(pin_find_record(report, path, -1));
    assert_null(pin_find_record(report, path, 77));
    munmap(report, sizeof(*report));
    daxpin_file_close(file);
    (void)state;
}

static void test_report_locks(void **state)
{
    const unsigned hold     = unit_is_dax(unit_disk) ? DAXPIN_LOCK_HOLD : 0;
    const char *path        = unit_path(unit_disk, "report-locks");
    daxpin_file_t *file     = unit_open(path, 65536);
    daxpin_report_t *report = pin_map_report();
    daxpin_report_record_t *own;
    daxpin_pin_t *pin;
    child_t child;

    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pin));
    own = pin_find_record(report, path, -1);
    assert_non_null(own);
    assert_int_equal(own->locks, DAXPIN_LOCK_LEASE | hold);
    intruder_start(&child, "read", path, 0);
    assert_int_equal(intruder_result(&child, 2000), 0);
    assert_true(unit_await(10000, own->locks == hold));
    child_finish(&child);
    assert_true(unit_await(10000, own->locks == (DAXPIN_LOCK_LEASE | hold)));
    intruder_run("truncate", path, 0, 5000);
    assert_int_equal(own->locks, 0);
    assert_int_equal(own->pins, 1);
    daxpin_unpin(pin);
    munmap(report, sizeof(*report));
    daxpin_file_close(file);
    (void)state;
}

/* If there are more owners than records, the report counts the omitted pins. */
static void test_report_omits(void **state)
{
    const unsigned count    = DAXPIN_REPORT_RECORDS + 10;
    const char *path        = unit_path(unit_disk, "omits");
    daxpin_file_t *file     = unit_open(path, 4096);
    daxpin_report_t *report = pin_map_report();
    daxpin_owner_t owner    = {.type = DAXPIN_OWNER_FILE};
    daxpin_pin_t *pins[DAXPIN_REPORT_RECORDS + 10];
    unsigned i;

    for (i = 0; i < count; ++i) {
        owner.fd = (int)i;
        assert_ok(daxpin_pin(file, 0, 100, &owner, &pins[i]));
    }
    assert_int_equal(report->omitted, 10);
    for (i = 0; i < count; ++i) {
        daxpin_unpin(pins[i]);
    }
    assert_int_equal(report->omitted, 0);
    for (i = 0; i < report->num_records; ++i) {
        assert_int_equal(report->records[i].used, 0);
    }
    munmap(report, sizeof(*report));
    daxpin_file_close(file);
    (void)state;
}

/* One pin finds no record. A later pin of the same owner gets one. After the
 * first pin is removed, the record still counts the later pin. */
static void test_report_omitted_then_recorded(void **state)
{
    const unsigned count    = DAXPIN_REPORT_RECORDS;
    const char *path        = unit_path(unit_disk, "late-record");
    daxpin_file_t *file     = unit_open(path, 4096);
    daxpin_report_t *report = pin_map_report();
    daxpin_owner_t owner    = {.type = DAXPIN_OWNER_FILE};
    daxpin_pin_t *pins[DAXPIN_REPORT_RECORDS], *omitted, *recorded;
    daxpin_report_record_t *record;
    unsigned i;

    for (i = 0; i < count; ++i) {
        owner.fd = (int)i;
        assert_ok(daxpin_pin(file, 0, 100, &owner, &pins[i]));
    }
    owner.fd = 5000;
    assert_ok(daxpin_pin(file, 0, 100, &owner, &omitted));
    daxpin_unpin(pins[0]);
    assert_ok(daxpin_pin(file, 0, 300, &owner, &recorded));
    daxpin_unpin(omitted);
    record = pin_find_record(report, path, 5000);
    assert_non_null(record);
    assert_int_equal(record->pins, 1);
    assert_int_equal(record->bytes, 300);
    daxpin_unpin(recorded);
    for (i = 1; i < count; ++i) {
        daxpin_unpin(pins[i]);
    }
    assert_int_equal(report->omitted, 0);
    munmap(report, sizeof(*report));
    daxpin_file_close(file);
    (void)state;
}

/* Accesses are counted once a second, also without a pin; such a record is there
 * until the file is closed. */
static void test_report_accesses(void **state)
{
    const char *path        = unit_path(unit_disk, "accesses");
    daxpin_file_t *file     = unit_open(path, 65536);
    daxpin_report_t *report = pin_map_report();
    daxpin_report_record_t *own;
    daxpin_access_t access, shared;
    daxpin_pin_t *pin;
    size_t at;
    int i;

    daxpin_access_init(file, daxpin_slot_get(), &access);
    daxpin_access_init(file, DAXPIN_SLOTS - 1, &shared);
    for (i = 0; i < 1000; ++i) {
        assert_int_equal(daxpin_access_begin(&access), 0);
        assert_int_equal(daxpin_access_end(&access, 0, 1), 0);
    }
    assert_int_equal(daxpin_access_begin(&shared), 0);
    assert_int_equal(daxpin_access_end(&shared, 0, 1), 0);
    assert_true(unit_await(10000, pin_find_record(report, path, -1) != NULL));
    own = pin_find_record(report, path, -1);
    at  = (size_t)(own - report->records);
    assert_int_equal(own->pins, 0);
    assert_true(unit_await(10000, report->accesses[at] == 1001));
    assert_ok(daxpin_pin(file, 0, 4096, NULL, &pin));
    assert_ptr_equal(pin_find_record(report, path, -1), own);
    assert_int_equal(own->pins, 1);
    daxpin_unpin(pin);
    assert_ptr_equal(pin_find_record(report, path, -1), own);
    assert_int_equal(own->pins, 0);

    intruder_run("truncate", path, 0, 5000);
    assert_int_equal(daxpin_access_begin(&access), -ESTALE);
    assert_true(unit_await(10000, report->events[at].revokes.count == 1));
    assert_int_equal(report->accesses[at], 1001);
    daxpin_file_close(file);
    assert_null(pin_find_record(report, path, -1));
    munmap(report, sizeof(*report));
    (void)state;
}

/* A file without pins takes no record that a pin needs. */
static void test_report_prefers_pins(void **state)
{
    const unsigned count    = DAXPIN_REPORT_RECORDS;
    const char *path        = unit_path(unit_disk, "accessed");
    const char *pinned      = unit_path(unit_disk, "pinned");
    daxpin_file_t *file     = unit_open(path, 4096);
    daxpin_file_t *other    = unit_open(pinned, 4096);
    daxpin_report_t *report = pin_map_report();
    daxpin_owner_t owner    = {.type = DAXPIN_OWNER_FILE};
    daxpin_pin_t *pins[DAXPIN_REPORT_RECORDS];
    daxpin_access_t access;
    unsigned i;

    daxpin_access_init(file, daxpin_slot_get(), &access);
    assert_int_equal(daxpin_access_begin(&access), 0);
    assert_int_equal(daxpin_access_end(&access, 0, 1), 0);
    assert_true(unit_await(10000, pin_find_record(report, path, -1) != NULL));
    for (i = 0; i < count; ++i) {
        owner.fd = (int)i;
        assert_ok(daxpin_pin(other, 0, 100, &owner, &pins[i]));
    }
    assert_int_equal(report->omitted, 0);
    assert_null(pin_find_record(report, path, -1));
    for (i = 0; i < count; ++i) {
        daxpin_unpin(pins[i]);
    }
    munmap(report, sizeof(*report));
    daxpin_file_close(other);
    daxpin_file_close(file);
    (void)state;
}

static void pin_set_dax(daxpin_file_t *file, int is_dax)
{
    pthread_mutex_lock(&daxpin_mutex);
    file->is_dax = is_dax;
    pthread_mutex_unlock(&daxpin_mutex);
}

/* What is said of a pin module that cannot be used is what to do about it. */
static void test_module_advice(void **state)
{
    daxpin_file_t *file = unit_open(unit_path(unit_disk, "advice"),
                                    UNIT_LENGTH);
    const int was_dax   = file->is_dax;
    struct rlimit limit, none;
    daxpin_kmod_pin_t *kmod;
    int is_limited, ret;

    pin_set_dax(file, 1);
    daxpin_set_pin_policy(DAXPIN_PIN_MODULE);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none          = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    /* valgrind looks at its own limit later than Linux */
    is_limited = (open("/nonexistent", O_RDONLY) < 0) && (errno == EMFILE);
    ret        = daxpin_kmod_pin(file, 0, 4096, &kmod);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (is_limited) {
        assert_int_equal(ret, -EMFILE);
        assert_contains(daxpin_errormsg(), "ulimit -n");
        assert_null(strstr(daxpin_errormsg(), "modprobe"));
    }
    if (access(DAXPIN_DEVICE, F_OK) != 0) {
        assert_int_equal(daxpin_kmod_pin(file, 0, 4096, &kmod), -ENOENT);
        assert_contains(daxpin_errormsg(), "modprobe daxpin");
    }
    daxpin_set_pin_policy(DAXPIN_PIN_AUTO);
    pin_set_dax(file, was_dax);
    daxpin_file_close(file);
    (void)state;
}

/* A lease that never expires leaves a device all the time that there is */
static void test_grace(void **state)
{
    assert_int_equal(daxpin_kmod_grace(45, 2), 22500);
    assert_int_equal(daxpin_kmod_grace(1, 2), 500);
    assert_int_equal(daxpin_kmod_grace(45, 1), 45000);
    assert_int_equal(daxpin_kmod_grace(61, 1), DAXPIN_IOC_GRACE_MAX);
    assert_int_equal(daxpin_kmod_grace(0, 2), DAXPIN_IOC_GRACE_MAX);
    assert_int_equal(daxpin_kmod_grace(0, 1), DAXPIN_IOC_GRACE_MAX);
    assert_int_equal(daxpin_kmod_grace(0x7fffffff, 2), DAXPIN_IOC_GRACE_MAX);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        INTRUDER_ENTRY,
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_random_pins),
        unit_case(test_equal_and_nested),
        unit_case(test_find_by_ends),
        unit_case(test_find_with_greatest_length),
        unit_case(test_many_pins),
        unit_case(test_worst_order),
        unit_case(test_out_of_range),
        unit_case(test_release_keeps_pins),
        unit_case(test_no_pin_after_revoke),
        unit_case(test_report),
        unit_case(test_report_locks),
        unit_case(test_report_omits),
        unit_case(test_report_omitted_then_recorded),
        unit_case(test_report_accesses),
        unit_case(test_report_prefers_pins),
        unit_case(test_module_advice),
        unit_case(test_grace)
    };

    return unit_main("pin", argc, argv, children, tests);
}
