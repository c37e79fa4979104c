/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A victim of adversary.c that has an RDMA device write to the file: libdaxpin
 * opens the file, the pin module pins it, and it is registered at the address
 * of the file's mapping. A victim whose file is revoked deregisters it after
 * some more writes; until then the adversary has to wait.
 *
 * usage: nic_member BOARD NUMBER
 */

#include "nic.h"

#include "adversary.h"

#include "daxpin/file/pin.h"

#include <daxpin.h>

/* Most writes after the revoke; ranks of MPI need some time, too */
#define LATE_PUTS 8

typedef struct victim {
    daxpin_file_t *file;
    daxpin_pin_t  *pin;
    char          *memory;
    struct ibv_mr *mr;
} victim_t;

static board_t  *board;
static member_t *me;
static int      number;
static uint64_t seed;
static nic_t    nic;

static void complain(const char *what)
{
    snprintf(me->why, sizeof(me->why), "member %d: %s", number, what);
    atomic_store(&board->failed, 1);
}

static int open_file(victim_t *victim)
{
    const daxpin_params_t params = {
        .timeout_ms = 60000, /* under emulation, a slow holder is not dead */
        .on_break   = (daxpin_on_break_t)board->on_break
    };

    if (daxpin_file_open(board->path, FILE_BYTES, &params, &victim->file) !=
        0) {
        complain(daxpin_errormsg());
        return -1;
    }
    victim->memory = daxpin_file_addr(victim->file, 0, FILE_BYTES);
    if (daxpin_pin(victim->file, 0, FILE_BYTES, NULL, &victim->pin) != 0) {
        complain(daxpin_errormsg());
        goto err_close;
    }
    victim->mr = ibv_reg_mr_iova(nic.far.pd, daxpin_pin_alias(victim->pin),
                                 FILE_BYTES, (uintptr_t)victim->memory,
                                 NIC_ACCESS);
    if (victim->mr == NULL) {
        complain("ibv_reg_mr_iova");
        goto err_unpin;
    }
    if (daxpin_file_is_holder(victim->file)) {
        atomic_store(&board->holder, number);
    }
    return 0;

err_unpin:
    daxpin_unpin(victim->pin);
err_close:
    daxpin_file_close(victim->file);
    return -1;
}

/* Put any record. Return the status of the transfer. */
static int put(const victim_t *victim, uint32_t rkey)
{
    uint64_t record = next_random(&seed) % (FILE_BYTES / RECORD_BYTES);

    memset(nic.buffer, MEMBER_BYTE | number, RECORD_BYTES);
    return nic_transfer(&nic, IBV_WR_RDMA_WRITE,
                        (uintptr_t)victim->memory + record * RECORD_BYTES, rkey,
                        RECORD_BYTES);
}

static int is_gone(const victim_t *victim)
{
    return daxpin_file_state(victim->file) == DAXPIN_STATE_REVOKED;
}

/* Deregister the file, and check that a further write fails. */
static void deregister(victim_t *victim)
{
    uint32_t rkey = victim->mr->rkey;

    if (ibv_dereg_mr(victim->mr) != 0) {
        complain("ibv_dereg_mr");
    }
    victim->mr = NULL;
    if (put(victim, rkey) == 0) {
        complain("the device writes by a key that was given back");
    }
    if (nic_connect(&nic) != 0) {
        complain("the queue pairs are not to be had any more");
    }
}

static void one_round(uint32_t round)
{
    uint64_t late = 0, limit = next_random(&seed) % LATE_PUTS;
    victim_t victim;

    if (open_file(&victim) != 0) {
        return;
    }
    atomic_store(&me->ready, round);
    while (!board_is_over(board, round)) {
        if (victim.mr == NULL) {
            /* A program's own memory, where the file was */
            memset(victim.memory, MEMBER_BYTE | number, FILE_BYTES);
            pause_ms(1);
            continue;
        }
        if (put(&victim, victim.mr->rkey) != 0) {
            complain("the device cannot write");
            break;
        }
        if (!is_gone(&victim)) {
            atomic_fetch_add(&me->acked, 1);
            continue;
        }
        atomic_fetch_add(&me->refused, 1);
        if (late++ == limit) {
            deregister(&victim);
        }
    }
    if (victim.mr != NULL) {
        deregister(&victim);
    }
    daxpin_unpin(victim.pin);
    daxpin_file_close(victim.file);
}

int main(int argc, char **argv)
{
    uint32_t round;

    if (argc != 3) {
        fprintf(stderr, "usage: nic_member BOARD NUMBER\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    board  = board_map(argv[1]);
    number = atoi(argv[2]);
    me     = &board->member[number];
    seed   = 0x9e3779b97f4a7c15ull * (unsigned)(number + 1);
    round  = atomic_load(&board->round);
    daxpin_set_pin_policy(DAXPIN_PIN_MODULE);
    if (nic_open(&nic) != 0) {
        complain(why);
        return 2;
    }
    atomic_store(&me->pid, getpid());
    while ((round = board_await_round(board, round)) != 0) {
        one_round(round);
        atomic_store(&me->gone, round);
    }
    nic_close(&nic);
    return 0;
}
