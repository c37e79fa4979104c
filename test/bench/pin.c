/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time registration of a file on fsdax with an RDMA device, and puts to it */

/*
 * usage: pin DIRECTORY   (on fsdax, with the pin module and the device rxe0)
 *
 * The pin module pins the file. Ordinary memory is measured in turns, for
 * comparison. Prints lines of:
 * pin BYTES NS NS NS NS, the medians of: pin and map; register that; register
 *     memory of small pages; register memory of huge pages
 * put BYTES NS NS, the medians of a put to the file and of one to memory
 */

#include "../vm/nic.h"

#define ROUNDS     15
#define PUT_ROUNDS 101
#define SIZE       (64ul << 20)

static nic_t nic;

static int compare(const void *a, const void *b)
{
    double x = *(const double*)a, y = *(const double*)b;

    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

static void give_up(const char *what)
{
    fprintf(stderr, "pin: %s: %s\n", what,
            (why[0] != '\0') ? why : strerror(errno));
    exit(1);
}

static struct ibv_mr *reg(void *addr, size_t length)
{
    struct ibv_mr *mr = ibv_reg_mr(nic.far.pd, addr, length, NIC_ACCESS);

    if (mr == NULL) {
        give_up("ibv_reg_mr");
    }
    return mr;
}

static double time_reg(void *addr, size_t length)
{
    double start = now();
    ibv_dereg_mr(reg(addr, length));
    return now() - start;
}

static void *make_memory(int advice)
{
    void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        give_up("mmap");
    }
    madvise(memory, SIZE, advice);
    memset(memory, 1, SIZE);
    return memory;
}

/* Measure the four times once */
static void pin_once(size_t length, void *small, void *huge, double *times)
{
    pinned_t me;
    double start;

    if ((make(&me, "pin", length) != 0) || (lease(&me) != 0)) {
        give_up("a file under lease");
    }
    start = now();
    if (pin(&me) != 0) {
        give_up("a pin");
    }
    times[0] = now() - start;
    times[1] = time_reg(me.alias, length);
    times[2] = time_reg(small, length);
    times[3] = time_reg(huge, length);
    let_go(&me);
}

static void measure_pin(size_t length, void *small, void *huge)
{
    double times[4][ROUNDS], once[4];
    int i, j;

    for (i = 0; i < ROUNDS; ++i) {
        pin_once(length, small, huge, once);
        for (j = 0; j < 4; ++j) {
            times[j][i] = once[j];
        }
    }
    printf("pin %zu", length);
    for (j = 0; j < 4; ++j) {
        printf(" %.0f", median(times[j], ROUNDS) * 1e9);
    }
    printf("\n");
}

static double time_puts(const struct ibv_mr *mr, const void *addr,
                        size_t length, int count)
{
    double start = now();
    int i;

    for (i = 0; i < count; ++i) {
        if (nic_transfer(&nic, IBV_WR_RDMA_WRITE, (uintptr_t)addr, mr->rkey,
                         length) != 0) {
            give_up("a put");
        }
    }
    return (now() - start) / count;
}

static void measure_puts(size_t length, int count, void *memory)
{
    struct ibv_mr *file_mr, *memory_mr;
    double times[2][PUT_ROUNDS];
    pinned_t me;
    int i;

    if ((make(&me, "put", NIC_BUFFER) != 0) || (lease(&me) != 0) ||
        (pin(&me) != 0)) {
        give_up("a pin");
    }
    file_mr   = reg(me.alias, NIC_BUFFER);
    memory_mr = reg(memory, NIC_BUFFER);
    for (i = 0; i < PUT_ROUNDS; ++i) {
        times[0][i] = time_puts(file_mr, me.alias, length, count);
        times[1][i] = time_puts(memory_mr, memory, length, count);
    }
    printf("put %zu %.0f %.0f\n", length, median(times[0], PUT_ROUNDS) * 1e9,
           median(times[1], PUT_ROUNDS) * 1e9);
    ibv_dereg_mr(file_mr);
    ibv_dereg_mr(memory_mr);
    let_go(&me);
}

int main(int argc, char **argv)
{
    void *small, *huge;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: pin DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    if (nic_open(&nic) != 0) {
        give_up("rxe0");
    }
    small = make_memory(MADV_NOHUGEPAGE);
    huge  = make_memory(MADV_HUGEPAGE);
    measure_pin(1 << 20, small, huge);
    measure_pin(SIZE, small, huge);
    measure_puts(8, 20, small);
    measure_puts(4096, 20, small);
    measure_puts(65536, 3, small);
    measure_puts(NIC_BUFFER / 2, 1, small);
    nic_close(&nic);
    return 0;
}
