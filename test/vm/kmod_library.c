/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * libdaxpin and the pin module: a file of the library, registered with an RDMA
 * device, and revoked.
 *
 * usage: kmod_library DIRECTORY   (on fsdax, as root, with the module loaded)
 */

#include "nic.h"

#include "daxpin/file/pin.h"

#include <daxpin.h>

#define PINS      DEVICE_DIR "pins"
#define LINGERING DEVICE_DIR "lingering"

typedef struct opened {
    char          path[PATH_MAX + 32];
    daxpin_file_t *file;
    daxpin_pin_t  *pin;
    char          *memory;
    char          *alias;
} opened_t;

static nic_t nic;

/* Open a file, and pin all but its first and last 100 bytes. */
static int open_pinned(opened_t *me, const char *name)
{
    snprintf(me->path, sizeof(me->path), "%s/library-%s", directory, name);
    unlink(me->path);
    me->pin = NULL;
    if ((daxpin_file_open(me->path, LENGTH, NULL, &me->file) != 0) ||
        (daxpin_pin(me->file, 100, LENGTH - 200, NULL, &me->pin) != 0)) {
        snprintf(why, sizeof(why), "%s", daxpin_errormsg());
        return -1;
    }
    me->memory = daxpin_file_addr(me->file, 0, LENGTH);
    me->alias  = daxpin_pin_alias(me->pin);
    return 0;
}

static void give_back(opened_t *me)
{
    daxpin_unpin(me->pin);
    daxpin_file_close(me->file);
    unlink(me->path);
}

static void test_policy(void)
{
    opened_t me;
    char names[DAXPIN_LOCKS_NAMES_MAX];

    daxpin_set_pin_policy(DAXPIN_PIN_OFF);
    TRY(open_pinned(&me, "off"));
    CHECK(me.alias == NULL, "off: the pin module was used");
    give_back(&me);
    daxpin_set_pin_policy(DAXPIN_PIN_AUTO);
    TRY(open_pinned(&me, "auto"));
    CHECK((me.alias != NULL) && (number_in(PINS) == 1), "auto: no alias");
    me.memory[100] = 'p';
    CHECK(me.alias[0] == 'p', "the alias shows something else");
    daxpin_locks_names(daxpin_file_locks(me.file), names, sizeof(names));
    CHECK(strstr(names, "module") != NULL, "locks: %s", names);
    /* Shrinking would wait for this pin */
    CHECK(daxpin_file_shrink(me.file, 4096) == -EBUSY, "it could shrink");
    daxpin_unpin(me.pin);
    daxpin_locks_names(daxpin_file_locks(me.file), names, sizeof(names));
    CHECK(strstr(names, "module") == NULL, "locks after unpin: %s", names);
    CHECK(number_in(PINS) == 0, "it is still pinned");
    me.pin = NULL;
    give_back(&me);
}

/* Pins of a range and of parts of it share one kernel pin, because each kernel
 * pin counts as locked memory. */
static void test_shared(void)
{
    daxpin_pin_t *part, *more;
    opened_t me;

    TRY(open_pinned(&me, "shared"));
    CHECK(daxpin_pin(me.file, 2 * PAGE, PAGE, NULL, &part) == 0, "%s",
          daxpin_errormsg());
    CHECK(daxpin_pin_alias(part) == me.alias + 2 * PAGE - 100,
          "the part has another mapping");
    CHECK(number_in(PINS) == 1, "the part has a kernel pin of its own");
    CHECK(daxpin_pin(me.file, 0, LENGTH, NULL, &more) == 0, "%s",
          daxpin_errormsg());
    CHECK((daxpin_pin_alias(more) != NULL) && (number_in(PINS) == 2),
          "the longer range has no kernel pin of its own");
    daxpin_unpin(me.pin);
    CHECK(number_in(PINS) == 2, "the part has lost its pin");
    me.memory[2 * PAGE] = 's';
    CHECK(*(char*)daxpin_pin_alias(part) == 's', "it shows something else");
    daxpin_unpin(part);
    CHECK(number_in(PINS) == 1, "the last unpin does not end the kernel pin");
    daxpin_set_pin_policy(DAXPIN_PIN_OFF);
    CHECK(daxpin_pin(me.file, 0, PAGE, NULL, &part) == 0, "%s",
          daxpin_errormsg());
    daxpin_set_pin_policy(DAXPIN_PIN_AUTO);
    CHECK(daxpin_pin_alias(part) == NULL, "off: the range shares a kernel pin");
    daxpin_unpin(part);
    me.pin = more;
    give_back(&me);
    CHECK(number_in(PINS) == 0, "it is still pinned");
}

/* Return whether `daxpin pins` reports the kernel pin of this process, which
 * has no other file. */
static int is_reported(const char *path)
{
    static char said[65536];
    char command[PATH_MAX];
    FILE *pins;

    snprintf(command, sizeof(command),
             "\"$DAXPIN_BUILD\"/src/tools/daxpin pins --json %d",
             (int)getpid());
    pins = popen(command, "r");
    if (pins == NULL) {
        return 0;
    }
    said[fread(said, 1, sizeof(said) - 1, pins)] = '\0';
    pclose(pins);
    return (strstr(said, path) != NULL) && (strstr(said, "module") != NULL);
}

static void test_report(void)
{
    daxpin_pin_t *more;
    opened_t me;

    TRY(open_pinned(&me, "report"));
    CHECK(is_reported(me.path), "it does not name the file and the module");
    daxpin_set_pin_policy(DAXPIN_PIN_OFF);
    CHECK(daxpin_pin(me.file, 0, PAGE, NULL, &more) == 0, "%s",
          daxpin_errormsg());
    daxpin_set_pin_policy(DAXPIN_PIN_AUTO);
    daxpin_unpin(me.pin);
    CHECK(!is_reported(me.path), "it still names the module");
    me.pin = more;
    give_back(&me);
}

static void test_missing(void)
{
    opened_t me;
    int ret;

    CHECK(rename(DAXPIN_DEVICE, DAXPIN_DEVICE ".gone") == 0, "%m");
    daxpin_set_pin_policy(DAXPIN_PIN_MODULE);
    ret = open_pinned(&me, "missing");
    rename(DAXPIN_DEVICE ".gone", DAXPIN_DEVICE);
    daxpin_set_pin_policy(DAXPIN_PIN_AUTO);
    CHECK(ret != 0, "it was pinned without the module");
    CHECK(strstr(why, "load the pin module") != NULL, "the message is: %s",
          daxpin_errormsg());
    why[0] = '\0';
    give_back(&me);
}

static struct ibv_mr *reg_part(const opened_t *me, struct ibv_pd *pd,
                               size_t first, size_t length, struct ibv_sge *sge)
{
    struct ibv_mr *mr;

    sge->addr   = (uintptr_t)me->memory + 100 + first;
    sge->length = (uint32_t)length;
    mr = ibv_reg_mr_iova(pd, me->alias + first, length, sge->addr, NIC_ACCESS);
    sge->lkey = (mr != NULL) ? mr->lkey : 0;
    return mr;
}

/* Send messages there and back, from the file and into it. */
static void test_pingpong(void)
{
    const size_t half = LENGTH / 2 - PAGE;
    struct ibv_mr *near_mr, *far_mr;
    struct ibv_sge near, far;
    char *left, *right;
    opened_t me;
    int i;

    TRY(open_pinned(&me, "pingpong"));
    left    = me.memory + 100;
    right   = left + LENGTH / 2;
    near_mr = reg_part(&me, nic.near.pd, 0, half, &near);
    far_mr  = reg_part(&me, nic.far.pd, LENGTH / 2, half, &far);
    CHECK((near_mr != NULL) && (far_mr != NULL), "ibv_reg_mr_iova: %m");
    for (i = 0; i < 50; ++i) {
        memset(left, 'A' + i % 26, half);
        CHECK(nic_message(&nic.near, &near, &nic.far, &far) == 0,
              "message %d there", i);
        CHECK(memcmp(left, right, half) == 0, "message %d: other bytes", i);
        memset(right, 'a' + i % 26, half);
        CHECK(nic_message(&nic.far, &far, &nic.near, &near) == 0,
              "message %d back", i);
        CHECK(memcmp(left, right, half) == 0, "message %d: other bytes", i);
    }
    ibv_dereg_mr(near_mr);
    ibv_dereg_mr(far_mr);
    give_back(&me);
}

/* A revoke: the intruder waits until the memory is deregistered. */
static void test_revoke(void)
{
    const daxpin_params_t params = {.timeout_ms = 500};
    daxpin_file_t *again;
    struct ibv_mr *mr;
    uint64_t addr;
    opened_t me;
    pid_t pid;
    int i;

    TRY(open_pinned(&me, "revoke"));
    CHECK(me.alias != NULL, "there is no alias");
    addr = (uintptr_t)me.memory + 100;
    mr   = ibv_reg_mr_iova(nic.far.pd, me.alias, LENGTH - 200, addr,
                           NIC_ACCESS);
    CHECK(mr != NULL, "ibv_reg_mr_iova: %m");
    memset(nic.buffer, 'n', LENGTH);
    CHECK(nic_transfer(&nic, IBV_WR_RDMA_WRITE, addr, mr->rkey,
                       LENGTH - 200) == 0, "the device cannot write");
    CHECK((me.memory[100] == 'n') && (me.memory[LENGTH - 101] == 'n') &&
          (me.memory[99] == 0), "the file has not got it");
    pid = intrude(me.path);
    for (i = 0; (i < 500) &&
                (daxpin_file_state(me.file) != DAXPIN_STATE_REVOKED); ++i) {
        pause_ms(20);
    }
    CHECK(daxpin_file_state(me.file) == DAXPIN_STATE_REVOKED, "it is %s",
          daxpin_state_name(daxpin_file_state(me.file)));
    CHECK((me.memory[100] == 0) && (me.alias[0] == 0) &&
          (daxpin_pin_alias(me.pin) == NULL), "the memory is still the file's");
    CHECK(waits(pid), "the truncate did not wait for the device");
    CHECK(becomes(LINGERING, 1), "nothing lingers");
    CHECK(nic_transfer(&nic, IBV_WR_RDMA_WRITE, addr, mr->rkey, 64) == 0,
          "the device cannot write any more");
    /* Opening does not wait for the intruder, which waits for the pin */
    CHECK((daxpin_file_open(me.path, LENGTH, &params, &again) == -EAGAIN) &&
          (strstr(daxpin_errormsg(), "a process waits") != NULL),
          "opening it again: %s", daxpin_errormsg());
    ibv_dereg_mr(mr);
    CHECK(passes(pid), "the truncate still waits, or failed");
    CHECK(becomes(LINGERING, 0) && becomes(PINS, 0),
          "the kernel pin lingers for ever");
    give_back(&me);
}

/* The child of a fork has no alias; unpinning there unmaps nothing. */
static void test_fork(void)
{
    opened_t me;
    int status;
    pid_t pid;

    TRY(open_pinned(&me, "fork"));
    pid = fork();
    if (pid == 0) {
        if ((daxpin_pin_alias(me.pin) != NULL) ||
            (mmap(me.alias - 100, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
                  MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)) {
            _exit(1);
        }
        daxpin_unpin(me.pin);
        _exit(*(me.alias - 100));
    }
    waitpid(pid, &status, 0);
    CHECK(status == 0, "the child: %#x", status);
    CHECK((daxpin_pin_alias(me.pin) == me.alias) && (number_in(PINS) == 1),
          "the parent has lost its pin");
    give_back(&me);
    CHECK(becomes(PINS, 0), "it is still pinned");
}

/* A reader breaks the lease for a moment. */
static void test_reader(void)
{
    char byte;
    opened_t me;
    pid_t pid;
    int fd, i;

    TRY(open_pinned(&me, "reader"));
    for (i = 0; i < 20; ++i) {
        pid = fork();
        if (pid == 0) {
            fd = open(me.path, O_RDONLY);
            pause_ms(50);
            _exit(read(fd, &byte, 1) != 1);
        }
        daxpin_unpin(me.pin);
        pause_ms(i * 3);
        me.pin = NULL;
        CHECK(daxpin_pin(me.file, 0, LENGTH, NULL, &me.pin) == 0, "%s",
              daxpin_errormsg());
        CHECK(daxpin_pin_alias(me.pin) != NULL, "round %d: without an alias",
              i);
        CHECK(passes(pid), "the reader was not let in");
    }
    give_back(&me);
}

static void note(daxpin_log_level_t level, const char *message)
{
    if (level <= DAXPIN_LOG_WARN) {
        printf("# %s\n", message);
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: kmod_library DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    daxpin_set_log(note);
    if (nic_open(&nic) != 0) {
        printf("not ok kmod: RDMA devices: %s\n", why);
        return 1;
    }
    run("kmod: libdaxpin pins as configured", test_policy);
    run("kmod: libdaxpin pins a range once", test_shared);
    run("kmod: daxpin pins shows the kernel pins", test_report);
    run("kmod: libdaxpin reports what is missing", test_missing);
    run("kmod: an RDMA device sends and receives a file", test_pingpong);
    run("kmod: a revoke waits for RDMA devices", test_revoke);
    run("kmod: libdaxpin's pins in the child of a fork", test_fork);
    run("kmod: libdaxpin pins while a reader is let in", test_reader);
    nic_close(&nic);
    return failed;
}
