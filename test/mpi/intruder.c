/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The intruder of storm.c, which is no MPI program: it breaks into the file of
 * every round, and checks what the ranks acknowledged.
 *
 * - As soon as it is let in, it reads the file. Every record that a rank
 *   reports as acknowledged in that round must be there. This finds
 *   acknowledgements that come too late or too early.
 * - Then it overwrites the whole file, and reads the file again when the ranks
 *   have finished. This finds accesses after the lease was given up.
 *
 * usage: intruder BOARD          rounds until quit is set on the board
 *        intruder HOW FILE       one intrusion: truncate, o_trunc or open;
 *                                prints how long it took, in ms
 */

#define _GNU_SOURCE

#include "../pace.h"
#include "board.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define SCRIBBLE        0x5a
#define PATIENCE_SEC    (30.0 * pace_slow())
#define MAX_ROUNDS      10000

static const char *const how[] = {"truncate", "o_trunc", "open"};

static board_t *board;
static double delays_ms[MAX_ROUNDS];
static int delay_count;
static int failures;

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + (ts.tv_nsec * 1e-9);
}

static void fatal(const char *what)
{
    fprintf(stderr, "intruder: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Break in. *kept_p: so many bytes of the file are kept. */
static int intrude(intrusion_t intrusion, const char *path, uint64_t *kept_p,
                   double *delay_ms)
{
    double start = now();
    int fd       = -1;

    if (intrusion == INTRUSION_TRUNCATE) {
        if (truncate(path, *kept_p) != 0) {
            fatal("truncate");
        }
        *delay_ms = (now() - start) * 1e3;
        fd        = open(path, O_RDWR);
    } else if (intrusion == INTRUSION_O_TRUNC) {
        *kept_p   = 0;
        fd        = open(path, O_RDWR | O_TRUNC);
        *delay_ms = (now() - start) * 1e3;
    } else {
        fd        = open(path, O_RDWR);
        *delay_ms = (now() - start) * 1e3;
    }
    if (fd < 0) {
        fatal("open");
    }
    return fd;
}

static void read_all(int fd, void *buffer, uint64_t length)
{
    if (pread(fd, buffer, length, 0) != (ssize_t)length) {
        fatal("read");
    }
}

/* Check that every 8 bytes of a place are of its last acknowledged record, or
 * of a later one */
static void check_stream(const uint8_t *content, uint64_t kept, uint32_t index)
{
    uint64_t places = BOARD_SLOT_BYTES / board->record_bytes;
    uint64_t acked  = atomic_load(&board->stream[index].acked);
    uint64_t tried  = atomic_load(&board->stream[index].tried);
    uint64_t slot   = board->slots_offset + (uint64_t)index * BOARD_SLOT_BYTES;
    uint64_t place, need, word, offset, i;

    for (place = 0; place < places; ++place) {
        need = (acked > place) ?
               (acked - ((acked - 1 - place) % places)) : 0;
        for (i = 0; i < board->record_bytes; i += sizeof(word)) {
            offset = slot + (place * board->record_bytes) + i;
            if (offset + sizeof(word) > kept) {
                return;
            }
            memcpy(&word, content + offset, sizeof(word));
            if ((word < need) || (word > tried) ||
                ((word != 0) && ((word - 1) % places != place))) {
                fprintf(stderr, "intruder: round %u (%s): origin %u had %lu "
                        "records acknowledged, but at offset %lu of the file "
                        "is %lu instead of %lu\n", board->go,
                        how[board->intrusion], index, acked, offset, word,
                        need);
                ++failures;
                return;
            }
        }
    }
}

static void scribble(int fd, uint8_t *buffer)
{
    memset(buffer, SCRIBBLE, board->file_length);
    if ((ftruncate(fd, board->file_length) != 0) ||
        (pwrite(fd, buffer, board->file_length, 0) !=
         (ssize_t)board->file_length)) {
        fatal("write");
    }
}

static void check_scribble(int fd, uint8_t *buffer)
{
    uint64_t i;

    read_all(fd, buffer, board->file_length);
    for (i = 0; i < board->file_length; ++i) {
        if (buffer[i] != SCRIBBLE) {
            fprintf(stderr, "intruder: round %u (%s): offset %lu was written "
                    "to after the lease was given up\n", board->go,
                    how[board->intrusion], i);
            ++failures;
            return;
        }
    }
}

/* Wait until the word has the number of the round. Return -1 if there are no
 * more rounds. */
static int wait_for(_Atomic uint32_t *word, uint32_t round)
{
    double end = now() + PATIENCE_SEC;

    while (atomic_load(word) != round) {
        if (atomic_load(&board->quit)) {
            return -1;
        }
        if (now() > end) {
            fprintf(stderr, "intruder: round %u: the ranks are stuck\n",
                    round);
            exit(1);
        }
        usleep(100);
    }
    return 0;
}

static void wait_for_traffic(void)
{
    double end = now() + PATIENCE_SEC;
    uint32_t i;

    for (i = 0; i < board->streams; ++i) {
        while (atomic_load(&board->stream[i].acked) < BOARD_WARM) {
            if (now() > end) {
                fprintf(stderr, "intruder: no traffic from rank %u\n", i);
                exit(1);
            }
            usleep(100);
        }
    }
    usleep(rand() % 2000);
}

static int one_round(uint32_t round)
{
    uint8_t *content;
    uint64_t kept;
    uint32_t i;
    int fd;

    if (wait_for(&board->go, round) != 0) {
        return -1;
    }
    content = malloc(2 * board->file_length);
    if (content == NULL) {
        fatal("malloc");
    }
    wait_for_traffic();

    /* mostly within a record */
    kept = (board->intrusion == INTRUSION_TRUNCATE) ?
           board->slots_offset +
           (rand() % ((uint64_t)board->streams * BOARD_SLOT_BYTES)) :
           board->file_length;
    fd   = intrude(board->intrusion, board->path, &kept,
                   &delays_ms[delay_count]);
    read_all(fd, content, kept);
    scribble(fd, content + board->file_length);
    if (++delay_count == MAX_ROUNDS) {
        fatal("too many rounds");
    }
    atomic_store(&board->in, round);

    if (wait_for(&board->over, round) != 0) {
        return -1;
    }
    for (i = 0; i < board->streams; ++i) {
        check_stream(content, kept, i);
    }
    check_scribble(fd, content);
    close(fd);
    free(content);
    atomic_store(&board->checked, round);
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double*)a, y = *(const double*)b;

    return (x > y) - (x < y);
}

static int once(const char *name, const char *path)
{
    uint64_t kept = 0;
    double delay_ms;
    unsigned i;

    for (i = 0; i < INTRUSION_LAST; ++i) {
        if (strcmp(name, how[i]) == 0) {
            close(intrude(i, path, &kept, &delay_ms));
            printf("%.3f\n", delay_ms);
            return 0;
        }
    }
    fprintf(stderr, "intruder: unknown intrusion %s\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    uint32_t round = 1;

    if (argc == 3) {
        return once(argv[1], argv[2]);
    }
    if (argc != 2) {
        fprintf(stderr, "usage: intruder BOARD | intruder HOW FILE\n");
        return 2;
    }

    board = board_map(argv[1]);
    while (one_round(round) == 0) {
        ++round;
    }

    if (delay_count > 0) {
        qsort(delays_ms, delay_count, sizeof(double), compare);
        printf("# truncate delay median %.3f ms, greatest %.3f ms, "
               "%d intrusions\n", delays_ms[delay_count / 2],
               delays_ms[delay_count - 1], delay_count);
    }
    return (failures == 0) ? 0 : 1;
}
