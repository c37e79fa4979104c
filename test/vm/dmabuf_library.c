/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * libdaxpin and pins as dma-bufs: who waits for what at a revoke. The device is
 * that of test/vm/importer.
 *
 * usage: dmabuf_library [bound] DIRECTORY
 *
 * On fsdax, as root, with both modules loaded. With "bound", fs.lease-break-time
 * is to be 10 s, and else longer than a test waits.
 */

#include "imported.h"

#include "daxpin/access.h"
#include "daxpin/file/file.h"
#include "daxpin/file/pin.h"

#define PINS  DEVICE_DIR "pins"
#define PAGES DEVICE_DIR "pages"

/* A file of the library, and the device that has its dma-buf */
typedef struct opened {
    char          path[PATH_MAX + 32];
    daxpin_file_t *file;
    daxpin_pin_t  *pin;
    int           device; /* the importer; -1: closed */
} opened_t;

static int open_imported(opened_t *me, const char *name)
{
    uint64_t offset;
    int dmabuf;

    snprintf(me->path, sizeof(me->path), "%s/library-%s", directory, name);
    unlink(me->path);
    if ((daxpin_file_open(me->path, LENGTH, NULL, &me->file) != 0) ||
        (daxpin_pin(me->file, 0, LENGTH, NULL, &me->pin) != 0)) {
        snprintf(why, sizeof(why), "%s", daxpin_errormsg());
        return -1;
    }
    dmabuf = daxpin_pin_dmabuf(me->pin, &offset);
    if (dmabuf < 0) {
        return fail("daxpin_pin_dmabuf");
    }
    me->device = import(dmabuf, IMPORTER_PINNED);
    close(dmabuf); /* The device has it, as a registration does */
    if (me->device < 0) {
        return fail("IMPORTER_IOC_START");
    }
    return writes(me->device) ? 0 : fail("the device does not write");
}

static int is_revoked(const opened_t *me)
{
    int i;

    for (i = 0; (i < 500) &&
                (daxpin_file_state(me->file) != DAXPIN_STATE_REVOKED); ++i) {
        pause_ms(20);
    }
    return daxpin_file_state(me->file) == DAXPIN_STATE_REVOKED;
}

static void give_back(opened_t *me)
{
    close(me->device);
    daxpin_unpin(me->pin);
    daxpin_file_close(me->file);
    unlink(me->path);
    CHECK(becomes(PINS, 0) && becomes(PAGES, 0), "something is left");
}

/* Have the file truncated, and revoked. Return the process that truncates it, or
 * -1. */
static pid_t open_revoked(opened_t *me, const char *name, int is_distant)
{
    pid_t pid;

    if (open_imported(me, name) != 0) {
        return -1;
    }
    if (is_distant) {
        daxpin_file_set_distant(me->file);
    }
    pid = intrude(me->path);
    return is_revoked(me) ? pid : fail("it is not revoked");
}

/* Check that the device has it still, a while after the revoke. */
static void check_kept(const opened_t *me, long ms)
{
    pause_ms(ms);
    CHECK(writes(me->device) && !stats_of(me->device).is_told,
          "the device has lost it");
}

/* Check that the device loses it, and the truncate passes. */
static void check_lost(opened_t *me, pid_t pid)
{
    CHECK(passes(pid), "it waits for the device, or failed");
    CHECK(stats_of(me->device).is_told && (stats_of(me->device).late == 0),
          "the device has it still");
    give_back(me);
}

/* Nobody on another node would learn of the revoke: the device loses it */
static void test_near(void)
{
    opened_t me;
    pid_t pid = open_revoked(&me, "near", 0);

    if (pid > 0) {
        check_lost(&me, pid);
    }
}

/* A window with ranks on other nodes. They end their registrations when they
 * have heard of the revoke. */
static void test_distant(void)
{
    opened_t me;
    pid_t pid = open_revoked(&me, "distant", 1);

    if (pid < 0) {
        return;
    }
    check_kept(&me, 3000); /* the lease has been given back by then */
    CHECK(waits(pid), "it does not wait for the device");
    close(me.device);
    me.device = -1;
    CHECK(passes(pid), "it waits still, or failed");
    give_back(&me);
}

/* The same, and nobody does anything */
static void test_bound(void)
{
    opened_t me;
    pid_t pid = open_revoked(&me, "bound", 1);

    if (pid > 0) {
        check_kept(&me, 1000);
        check_lost(&me, pid);
    }
}

int main(int argc, char **argv)
{
    const int is_bound = (argc == 3) && (strcmp(argv[1], "bound") == 0);

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2 + is_bound) {
        fprintf(stderr, "usage: dmabuf_library [bound] DIRECTORY\n");
        return 2;
    }
    directory = argv[1 + is_bound];
    chmod(directory, 0711);
    daxpin_set_pin_policy(DAXPIN_PIN_MODULE);
    if (is_bound) {
        run("dmabuf_library: a device that nobody ends loses it", test_bound);
        return failed;
    }
    run("dmabuf_library: a revoke takes it from the device", test_near);
    run("dmabuf_library: ranks of other nodes give it back", test_distant);
    return failed;
}
