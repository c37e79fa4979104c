/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A pin as a dma-buf, with a real device: the kernel takes it back from the
 * device in the middle of transfers. contrib/check-dmabuf runs this where there
 * is such a device.
 *
 * usage: dmabuf_nic DIRECTORY DEVICE   (on fsdax, with the module loaded)
 *
 *   DAXPIN_VM_BREAKS  breaks in the middle of transfers; default: 20
 */

#include "nic.h"

static nic_t nic;

/* A pinned file, its dma-buf, and the registration */
typedef struct exported {
    pinned_t      file;
    int           dmabuf;
    struct ibv_mr *mr;
} exported_t;

static int make_exported(exported_t *me, const char *name)
{
    const struct daxpin_ioc_export args = {.grace_ms = 0};

    if ((make(&me->file, name, LENGTH) != 0) || (lease(&me->file) != 0)) {
        return -1;
    }
    me->file.device = open(DAXPIN_DEVICE, O_RDWR | O_CLOEXEC);
    errno = pin_at(me->file.device, me->file.fd, me->file.memory, 0, LENGTH);
    if (errno != 0) {
        return fail("DAXPIN_IOC_PIN");
    }
    me->dmabuf = ioctl(me->file.device, DAXPIN_IOC_EXPORT, &args);
    return (me->dmabuf >= 0) ? 0 : fail("DAXPIN_IOC_EXPORT");
}

static int reg(exported_t *me)
{
    me->mr = ibv_reg_dmabuf_mr(nic.far.pd, 0, LENGTH,
                               (uintptr_t)me->file.memory, me->dmabuf,
                               NIC_ACCESS);
    return (me->mr != NULL) ? 0 : fail("ibv_reg_dmabuf_mr");
}

static int make_registered(exported_t *me, const char *name)
{
    return (make_exported(me, name) == 0) ? reg(me) : -1;
}

static void end(exported_t *me)
{
    if (me->mr != NULL) {
        ibv_dereg_mr(me->mr);
    }
    close(me->dmabuf);
    release_all(&me->file);
}

/* Have the device write the letter everywhere. Return its status. */
static int put(const exported_t *me, char letter)
{
    memset(nic.buffer, letter, LENGTH);
    return nic_transfer(&nic, IBV_WR_RDMA_WRITE, (uintptr_t)me->file.memory,
                        me->mr->rkey, LENGTH);
}

static void test_register(void)
{
    exported_t me;

    TRY(make_exported(&me, "register"));
    if (reg(&me) != 0) {
        skipped = (errno == EOPNOTSUPP) || (errno == EPROTONOSUPPORT);
        return;
    }
    end(&me);
}

static void test_content(void)
{
    exported_t me;
    char bytes[LENGTH];
    size_t i;

    TRY(make_registered(&me, "content"));
    CHECK(put(&me, 'n') == 0, "a write fails");
    CHECK(pread(me.file.fd, bytes, LENGTH, 0) == (ssize_t)LENGTH, "%m");
    for (i = 0; i < LENGTH; ++i) {
        CHECK(bytes[i] == 'n', "byte %zu is not what was written", i);
    }
    memset(me.file.memory, 'm', LENGTH);
    memset(nic.buffer, 0, LENGTH);
    CHECK((nic_transfer(&nic, IBV_WR_RDMA_READ, (uintptr_t)me.file.memory,
                        me.mr->rkey, LENGTH) == 0) &&
          (memcmp(nic.buffer, me.file.memory, LENGTH) == 0),
          "a read got something else");
    end(&me);
}

/* Nothing of this is done by a program that waits for it: the kernel takes the
 * blocks back */
static void break_once(unsigned number)
{
    char bytes[LENGTH];
    exported_t me;
    int status = 0, i;
    pid_t pid;
    size_t j;

    TRY(make_registered(&me, "break"));
    munmap(me.file.memory, LENGTH);
    pid = intrude(me.file.path);
    for (i = 0; (i < 100000) && (status == 0); ++i) {
        status = put(&me, 'n');
    }
    CHECK(status > 0, "break %u: the device can still write", number);
    fcntl(me.file.fd, F_SETLEASE, F_UNLCK);
    CHECK(passes(pid), "break %u: the truncate does not pass", number);
    /* Its blocks are new ones, or the old ones anew */
    for (j = 0; j < LENGTH; ++j) {
        bytes[j] = 'v';
    }
    CHECK(pwrite(me.file.fd, bytes, LENGTH, 0) == (ssize_t)LENGTH, "%m");
    TRY(nic_connect(&nic));
    CHECK(put(&me, 'x') > 0, "break %u: a late write succeeds", number);
    CHECK((pread(me.file.fd, bytes, LENGTH, 0) == (ssize_t)LENGTH) &&
          (memchr(bytes, 'x', LENGTH) == NULL) &&
          (memchr(bytes, 'n', LENGTH) == NULL),
          "break %u: a late write has arrived", number);
    me.file.memory = NULL;
    CHECK(ibv_reg_dmabuf_mr(nic.far.pd, 0, LENGTH, 0, me.dmabuf, NIC_ACCESS) ==
          NULL, "break %u: it can be registered again", number);
    end(&me);
    TRY(nic_connect(&nic));
}

static void test_breaks(void)
{
    run_breaks(20, break_once);
}

static void test_open(void)
{
    TRY(nic_open(&nic));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc != 3) {
        fprintf(stderr, "usage: dmabuf_nic DIRECTORY DEVICE\n");
        return 2;
    }
    directory  = argv[1];
    nic_device = argv[2];
    if (run("dmabuf_nic: the device can be used", test_open) != 0) {
        return failed;
    }
    (void)run("dmabuf_nic: a dma-buf can be registered", test_register);
    if ((why[0] == '\0') &&
        (run("dmabuf_nic: the device reads and writes the file",
             test_content) == 0)) {
        run("dmabuf_nic: breaks in the middle of transfers", test_breaks);
    }
    return failed;
}
