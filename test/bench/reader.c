/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Time accesses to a file while another process reads it, and while none does */

/*
 * usage: reader FILE; prints lines of WHAT LENT_NS HELD_NS, medians of turns
 *
 * access  an access of 8 bytes, as windows make it: the synchronisation checks
 *         the file
 * check   that synchronisation
 */

#define _GNU_SOURCE

#include "daxpin/access.h"
#include "stats.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define ROUNDS   41
#define ACCESSES 200000
#define CHECKS   2000

static daxpin_file_t *file;
static daxpin_access_t access_8;
static volatile uint64_t *memory;

static void give_up(const char *what)
{
    fprintf(stderr, "reader: %s: %s\n", what, daxpin_errormsg());
    exit(1);
}

static double time_access(void)
{
    double start = now();
    int i;

    for (i = 0; i < ACCESSES; ++i) {
        if (daxpin_access_begin(&access_8) != 0) {
            give_up("begin");
        }
        memory[i % 8] = (uint64_t)i;
        if (daxpin_access_end(&access_8, 0, 64) != 0) {
            give_up("end");
        }
    }
    return (now() - start) * 1e9 / ACCESSES;
}

static double time_check(void)
{
    double start = now();
    int i;

    for (i = 0; i < CHECKS; ++i) {
        if (daxpin_file_check(file) != 0) {
            give_up("check");
        }
    }
    return (now() - start) * 1e9 / CHECKS;
}

static void await(daxpin_state_t state)
{
    double end = now() + 10;

    while (daxpin_file_state(file) != state) {
        if (now() > end) {
            give_up("the state does not change");
        }
        usleep(100);
    }
}

int main(int argc, char **argv)
{
    double held[2][ROUNDS], lent[2][ROUNDS];
    const char *path = argv[1];
    int i, fd;

    if ((argc != 2) || (daxpin_file_open(path, 4096, NULL, &file) != 0)) {
        give_up("open");
    }
    memory = daxpin_file_addr(file, 0, 4096);
    daxpin_access_init(file, daxpin_slot_get(), &access_8);
    daxpin_access_relax(&access_8);
    for (i = 0; i < ROUNDS; ++i) {
        await(DAXPIN_STATE_HELD);
        held[0][i] = time_access();
        held[1][i] = time_check();
        fd         = open(path, O_RDONLY | O_CLOEXEC);
        await(DAXPIN_STATE_LENT);
        lent[0][i] = time_access();
        lent[1][i] = time_check();
        close(fd);
    }
    printf("access %.3f %.3f\n", median(lent[0], ROUNDS),
           median(held[0], ROUNDS));
    printf("check %.1f %.1f\n", median(lent[1], ROUNDS),
           median(held[1], ROUNDS));
    daxpin_file_close(file);
    return 0;
}
