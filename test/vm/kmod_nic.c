/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The pin module and RDMA devices: a pinned range can be registered, and a
 * process that takes its blocks waits for as long as a device may write to
 * them.
 *
 * usage: kmod_nic DIRECTORY   (on fsdax, as root, with the module loaded)
 *
 *   DAXPIN_KMOD_ROUNDS  of the adversary; default: 20
 */

#include "nic.h"

#include <poll.h>
#include <sys/syscall.h>

#define PINS      DEVICE_DIR "pins"
#define LINGERING DEVICE_DIR "lingering"

static nic_t nic;

static struct ibv_mr *reg(void *addr, size_t length)
{
    struct ibv_mr *mr = ibv_reg_mr(nic.far.pd, addr, length, NIC_ACCESS);

    if (mr == NULL) {
        fail("ibv_reg_mr");
    }
    return mr;
}

/* Have the device write the letter to the range, at a registered address. */
static int put(const struct ibv_mr *mr, const void *addr, char letter,
               size_t length)
{
    int status;

    memset(nic.buffer, letter, length);
    status = nic_transfer(&nic, IBV_WR_RDMA_WRITE, (uintptr_t)addr, mr->rkey,
                          length);
    if (status != 0) {
        snprintf(why, sizeof(why), "writing %c: %s", letter,
                 ibv_wc_status_str((enum ibv_wc_status)status));
    }
    return status;
}

/* What the device reads is this letter, everywhere */
static int got(const struct ibv_mr *mr, const void *addr, char letter,
               size_t length)
{
    size_t i;

    memset(nic.buffer, 0, length);
    if (nic_transfer(&nic, IBV_WR_RDMA_READ, (uintptr_t)addr, mr->rkey,
                     length) != 0) {
        return 0;
    }
    for (i = 0; (i < length) && (nic.buffer[i] == letter); ++i) {
    }
    return i == length;
}

static int file_is(const pinned_t *me, char letter)
{
    char bytes[LENGTH];
    size_t i;

    for (i = 0; (i < LENGTH) && (me->memory[i] == letter); ++i) {
    }
    return (i == LENGTH) && (pread(me->fd, bytes, LENGTH, 0) == LENGTH) &&
           (memcmp(bytes, me->memory, LENGTH) == 0);
}

/* If a kernel ever allows this, the pin module is not needed there. */
static void test_without(void)
{
    pinned_t me;

    TRY(make(&me, "without", LENGTH));
    CHECK(reg(me.memory, LENGTH) == NULL, "a file mapping can be registered");
    why[0] = '\0';
    CHECK(errno == EOPNOTSUPP, "%m");
    release_all(&me);
}

static void test_write(void)
{
    struct ibv_mr *mr;
    pinned_t me;

    TRY(make_pinned(&me, "write"));
    mr = reg(me.alias, LENGTH);
    if ((mr == NULL) || (put(mr, me.alias, 'n', LENGTH) != 0)) {
        return;
    }
    CHECK(file_is(&me, 'n'), "the file has not got what was written");
    memset(me.memory, 'm', LENGTH);
    CHECK(got(mr, me.alias, 'm', LENGTH), "a read got something else");
    ibv_dereg_mr(mr);
    release_all(&me);
}

/* Under the address of the file's mapping, where UCX looks for it */
static void test_iova(void)
{
    struct ibv_mr *mr;
    pinned_t me;

    TRY(make_pinned(&me, "iova"));
    mr = ibv_reg_mr_iova(nic.far.pd, me.alias + PAGE, LENGTH - PAGE,
                         (uintptr_t)me.memory + PAGE, NIC_ACCESS);
    CHECK(mr != NULL, "ibv_reg_mr_iova: %m");
    TRY(put(mr, me.memory + PAGE, 'n', LENGTH - PAGE));
    CHECK((me.memory[PAGE] == 'n') && (me.memory[LENGTH - 1] == 'n') &&
          (me.memory[PAGE - 1] == 'a'), "it was written somewhere else");
    ibv_dereg_mr(mr);
    release_all(&me);
}

/* No process has the file or the pin; only the RDMA device uses the pages. */
static void test_lingers(void)
{
    struct ibv_mr *mr;
    pinned_t me;
    pid_t pid;

    TRY(make_pinned(&me, "lingers"));
    mr = reg(me.alias, LENGTH);
    if (mr == NULL) {
        return;
    }
    fcntl(me.fd, F_SETLEASE, F_UNLCK);
    pid = intrude(me.path);
    CHECK(waits(pid), "with all there is, it did not wait");
    unmap_file(&me);
    close_file(&me);
    CHECK(waits(pid), "without the file, it did not wait");
    close_device(&me);
    CHECK(waits(pid), "without a descriptor, it did not wait");
    unmap_device(&me);
    CHECK(waits(pid), "with nothing but a registration, it did not wait");
    CHECK((number_in(PINS) == 0) && (number_in(LINGERING) == 1),
          "%ld pins, %ld lingering", number_in(PINS), number_in(LINGERING));
    CHECK((syscall(SYS_delete_module, "daxpin", O_NONBLOCK) != 0) &&
          (errno == EWOULDBLOCK), "the module was unloaded");
    kill(pid, SIGTERM);
    CHECK(!passes(pid), "it got through");
    /* The same in the other order: no intruder was waiting */
    pid = intrude(me.path);
    CHECK(waits(pid), "the second one did not wait");
    ibv_dereg_mr(mr);
    CHECK(passes(pid), "it waits still, or failed");
    CHECK(becomes(LINGERING, 0), "it lingers for ever");
    release_all(&me);
}

/* Its blocks are still its own when nothing is left but the registration */
static void test_unlinked(void)
{
    static char block[1 << 20];
    char path[PATH_MAX], letter = 'a';
    struct ibv_mr *mr;
    pinned_t me;
    int fd, good;

    TRY(make_pinned(&me, "unlinked"));
    mr = ibv_reg_mr_iova(nic.far.pd, me.alias, LENGTH, 0, NIC_ACCESS);
    CHECK(mr != NULL, "ibv_reg_mr_iova: %m");
    release_all(&me);
    memset(block, 'x', sizeof(block));
    snprintf(path, sizeof(path), "%s/full", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof(block)) > 0) {
    }
    good = got(mr, NULL, 'a', LENGTH) && (put(mr, NULL, 'n', LENGTH) == 0);
    for (lseek(fd, 0, SEEK_SET); good && (read(fd, block, sizeof(block)) > 0);
         letter = 'x') {
        good = (memchr(block, 'n', sizeof(block)) == NULL);
    }
    close(fd);
    unlink(path);
    ibv_dereg_mr(mr);
    CHECK(good && (letter == 'x'), "blocks were given away");
    CHECK(becomes(LINGERING, 0), "it lingers for ever");
}

static int set_up_kill(void)
{
    static pinned_t me;

    memset(&nic, 0, sizeof(nic)); /* the parent's */
    return ((nic_open(&nic) == 0) && (make_pinned(&me, "kill") == 0) &&
            (reg(me.alias, LENGTH) != NULL) &&
            (fcntl(me.fd, F_SETLEASE, F_UNLCK) == 0)) ? 0 : -1;
}

static void test_kill(void)
{
    char path[PATH_MAX];
    owner_t owner;
    int waited;
    pid_t pid;

    TRY(start_owner(&owner, set_up_kill, sleep_on));
    snprintf(path, sizeof(path), "%s/kill", directory);
    pid    = intrude(path);
    waited = waits(pid);
    end_owner(&owner);
    CHECK(passes(pid), "it waits for a dead process");
    unlink(path);
    CHECK(waited, "it did not wait");
    CHECK(becomes(LINGERING, 0) && becomes(PINS, 0), "it lingers for ever");
}

/*
 * The adversary takes the blocks as soon as it gets them, while the
 * device writes
 */

/* Allocate the freed blocks to another file, and check its content. */
static int take_blocks(const char *path)
{
    static char block[LENGTH];
    char other[PATH_MAX + 16];
    int fd, i;

    snprintf(other, sizeof(other), "%s.new", path);
    fd = open(other, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if ((fd < 0) || (truncate(path, 0) != 0)) {
        return 2;
    }
    memset(block, 'b', sizeof(block));
    for (i = 0; i < 4; ++i) {
        if (write(fd, block, sizeof(block)) != sizeof(block)) {
            return 3;
        }
    }
    pause_ms(5);
    lseek(fd, 0, SEEK_SET);
    while (read(fd, block, sizeof(block)) == sizeof(block)) {
        if (memchr(block, 'n', sizeof(block)) != NULL) {
            return 4; /* a byte that the device wrote */
        }
    }
    close(fd);
    unlink(other);
    return 0;
}

/* Write until the lease is broken, and for a moment longer; then let go in one
 * order or another */
static int write_until_broken(pinned_t *me, int round)
{
    struct pollfd pollfd = {.fd = me->device, .events = POLLIN};
    struct ibv_mr *mr    = reg(me->alias, LENGTH);
    const char *addr     = me->alias; /* as the device knows it */
    int i, after = 0;

    if (mr == NULL) {
        return -1;
    }
    for (i = 0; (i < 2000) && (after <= round % 4); ++i) {
        if (put(mr, addr, 'n', LENGTH) != 0) {
            return -1;
        }
        after += poll(&pollfd, 1, 0) == 1;
    }
    if (after == 0) {
        return fail("the lease was not broken in time");
    }
    fcntl(me->fd, F_SETLEASE, F_UNLCK);
    if (round & 1) {
        unmap_device(me);
        close_device(me);
        unmap_file(me);
        close_file(me);
        for (i = 0; i < 3; ++i) {
            if (put(mr, addr, 'n', LENGTH) != 0) {
                return -1;
            }
        }
    }
    ibv_dereg_mr(mr);
    release_all(me);
    return 0;
}

static void test_adversary(void)
{
    const char *value = getenv("DAXPIN_KMOD_ROUNDS");
    int rounds        = (value != NULL) ? atoi(value) : 20, round, status;
    char path[PATH_MAX + 8];
    pinned_t me;
    pid_t pid;

    for (round = 0; round < rounds; ++round) {
        TRY(make_pinned(&me, "adversary"));
        snprintf(path, sizeof(path), "%s.link", me.path);
        CHECK(link(me.path, path) == 0, "link: %m");
        pid = fork();
        if (pid == 0) {
            pause_ms(round % 7);
            /* By a process without the file open, unlike the device's */
            close_range(3, ~0u, 0);
            munmap(me.memory, LENGTH);
            _exit(take_blocks(path));
        }
        if (write_until_broken(&me, round) != 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return;
        }
        CHECK(waitpid(pid, &status, 0) == pid, "%m");
        CHECK(status == 0, "round %d: exit status %d", round,
              WEXITSTATUS(status));
        unlink(path);
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: kmod_nic DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    if (nic_open(&nic) != 0) {
        printf("not ok kmod: RDMA devices: %s\n", why);
        return 1;
    }
    run("kmod: RDMA devices refuse a file by itself", test_without);
    run("kmod: an RDMA device writes to a file", test_write);
    run("kmod: the same under the address of the file", test_iova);
    run("kmod: a truncate waits for a registration, whatever else ended",
        test_lingers);
    run("kmod: registered blocks are not reused", test_unlinked);
    run("kmod: the death of a process ends its registrations", test_kill);
    run("kmod: a device writes no byte of another file", test_adversary);
    nic_close(&nic);
    return failed;
}
