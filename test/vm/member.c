/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A victim of adversary.c that uses libdaxpin; or, as the control, a victim
 * that maps the file without daxpin.
 *
 * usage: member daxpin|plain BOARD NUMBER
 */

#define _GNU_SOURCE

#include "adversary.h"
#include "daxpin/access.h"

#include <daxpin.h>

#include <errno.h>
#include <signal.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

static board_t  *board;
static member_t *me;
static int      number;
static uint64_t seed;

static void fail(const char *what, const char *why)
{
    snprintf(me->why, sizeof(me->why), "member %d cannot %s: %s", number, what,
             why);
    atomic_store(&board->failed, 1);
}

static uint8_t *any_record(uint8_t *memory)
{
    return memory +
           next_random(&seed) % (FILE_BYTES / RECORD_BYTES) * RECORD_BYTES;
}

static void put(daxpin_access_t *access, uint8_t *memory)
{
    uint8_t *record = any_record(memory);

    if (daxpin_access_begin(access) == 0) {
        memset(record, MEMBER_BYTE | number, RECORD_BYTES);
        if (daxpin_access_end(access, (uint64_t)(record - memory),
                              RECORD_BYTES) == 0) {
            atomic_fetch_add(&me->acked, 1);
            return;
        }
    }
    atomic_fetch_add(&me->refused, 1);
    /* A program may write at any time: this memory is no file any more */
    memset(record, MEMBER_BYTE | number, RECORD_BYTES);
}

/* Note whether the fault handler ran; with a hold it must not. */
static void check_faults(daxpin_file_t *file)
{
    char cause[sizeof(me->why)];

    daxpin_file_cause(file, cause, sizeof(cause));
    if (strstr(cause, "open already") != NULL) {
        snprintf(me->why, sizeof(me->why), "%s", cause);
        atomic_store(&me->caught, 1);
    }
}

static void leased_round(uint32_t round)
{
    const daxpin_params_t params = {
        .timeout_ms = 60000, /* under emulation, a slow holder is not dead */
        .on_break   = (daxpin_on_break_t)board->on_break
    };
    daxpin_access_t access;
    daxpin_file_t *file;
    sigset_t all, old;
    uint8_t *memory;

    if (daxpin_file_open(board->path, FILE_BYTES, &params, &file) != 0) {
        fail("open the file", daxpin_errormsg());
        return;
    }
    memory = daxpin_file_addr(file, 0, FILE_BYTES);
    daxpin_access_init(file, daxpin_slot_get(), &access);
    if (daxpin_file_is_holder(file)) {
        atomic_store(&board->holder, number);
    }
    sigfillset(&all);
    sigprocmask(board->blocks ? SIG_BLOCK : SIG_UNBLOCK, &all, &old);
    atomic_store(&me->ready, round);
    while (!board_is_over(board, round)) {
        put(&access, memory);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    check_faults(file);
    daxpin_file_close(file);
}

static void plain_round(uint32_t round)
{
    int fd = open(board->path, O_RDWR | O_CLOEXEC);
    uint8_t *memory;

    memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        fail("map the file", strerror(errno));
        return;
    }
    atomic_store(&me->ready, round);
    while (!board_is_over(board, round)) {
        memset(any_record(memory), MEMBER_BYTE | number, RECORD_BYTES);
        atomic_fetch_add(&me->acked, 1);
    }
    munmap(memory, FILE_BYTES);
    close(fd);
}

int main(int argc, char **argv)
{
    uint32_t round = 0;
    int is_plain;

    if (argc != 4) {
        fprintf(stderr, "usage: member daxpin|plain BOARD NUMBER\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    is_plain = strcmp(argv[1], "plain") == 0;
    board    = board_map(argv[2]);
    number   = atoi(argv[3]);
    me       = &board->member[number];
    seed     = 0x9e3779b97f4a7c15ull * (unsigned)(number + 1);
    round    = atomic_load(&board->round);
    atomic_store(&me->pid, getpid());
    while ((round = board_await_round(board, round)) != 0) {
        if (is_plain) {
            plain_round(round);
        } else {
            leased_round(round);
        }
        atomic_store(&me->gone, round);
    }
    return 0;
}
