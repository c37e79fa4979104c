/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A storm of truncates. In each round all ranks make files and a window and put
 * records into the file of one of them, the victim, while intruder.c breaks
 * into that file. Every rank must get an error from MPI soon, and go on.
 *
 * usage: storm FILE own|shared BOARD ROUNDS
 */

#define _GNU_SOURCE

#include "../pace.h"
#include "segment.h"
#include "board.h"

#define BATCH_MAX     4
#define ERROR_SEC     (5.0 * pace_slow()) /* from intrusion to error */
#define INTRUDER_SEC  (20.0 * pace_slow())
#define OWN_BYTES     4096 /* of its rank, behind the slots */

static const uint32_t record_sizes[] = {8, 64, 4096, 65536, 262144};

static board_t *board;
static MPI_Win win;
static uint64_t *records; /* BATCH_MAX of them */

/* Check for an error: MPI_ERR_OTHER of osc/ucx, or osc/daxpin's own class */
static void must_fail(int ret, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int class, length;

    CHECK(ret != MPI_SUCCESS, "%s on a revoked window succeeded", what);
    MPI_Error_class(ret, &class);
    MPI_Error_string(ret, text, &length);
    CHECK((class == MPI_ERR_OTHER) ||
          ((class > MPI_ERR_LASTCODE) && (strstr(text, board->path) != NULL)),
          "%s: error class %d, which does not name %s: %s", what, class,
          board->path, text);
}

/* Put one batch of records and flush it; return the first error of MPI */
static int put_batch(stream_t *stream, uint64_t *number, int batch, int victim,
                     size_t bytes)
{
    uint64_t places = BOARD_SLOT_BYTES / bytes;
    int ret         = MPI_SUCCESS;
    uint64_t *record;
    MPI_Aint disp;
    size_t i;
    int b;

    for (b = 0; (b < batch) && (ret == MPI_SUCCESS); ++b) {
        ++*number;
        record = records + (b * bytes / sizeof(*record));
        for (i = 0; i < bytes / sizeof(*record); ++i) {
            record[i] = *number;
        }
        disp = ((MPI_Aint)comm_rank * BOARD_SLOT_BYTES) +
               (((*number - 1) % places) * bytes);
        atomic_store(&stream->tried, *number);
        ret  = MPI_Put(record, bytes, MPI_BYTE, victim, disp, bytes, MPI_BYTE,
                       win);
    }
    return (ret != MPI_SUCCESS) ? ret : MPI_Win_flush(victim, win);
}

/* Put records until there is an error. Every rank also writes to its own
 * memory, which it may at any time: there must be no signal, and the intruder
 * must not find it in the file. */
static void put_stream(uint32_t round, int batch, int victim,
                       volatile uint64_t *own)
{
    stream_t *stream = &board->stream[comm_rank];
    uint64_t number  = 0;
    double deadline  = 0;
    int ret;

    for (;;) {
        ret = put_batch(stream, &number, batch, victim, board->record_bytes);
        if (ret != MPI_SUCCESS) {
            break;
        }
        atomic_store(&stream->acked, number);
        own[number % (OWN_BYTES / sizeof(*own))] = number;

        if (atomic_load(&board->in) == round) {
            deadline = (deadline == 0) ? now() + ERROR_SEC : deadline;
            CHECK(now() < deadline, "round %u: puts of %u bytes still succeed "
                  "%.0f s after the intrusion", round, board->record_bytes,
                  ERROR_SEC);
        }
    }
    must_fail(ret, "a put in mid-traffic");
}

/* Check that every operation on a revoked segment fails, in the call or in the
 * flush */
static void try_all(int victim)
{
    static const int sizes[] = {1, 8, 300, 9000, 100000};
    char *bytes              = (char*)records;
    int64_t one = 1, old     = 0;
    int ret;
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        ret = MPI_Put(bytes, sizes[i], MPI_BYTE, victim, 0, sizes[i], MPI_BYTE,
                      win);
        must_fail((ret != MPI_SUCCESS) ? ret : MPI_Win_flush(victim, win),
                  "a put");
        ret = MPI_Get(bytes, sizes[i], MPI_BYTE, victim, 0, sizes[i], MPI_BYTE,
                      win);
        must_fail((ret != MPI_SUCCESS) ? ret : MPI_Win_flush(victim, win),
                  "a get");
    }
    ret = MPI_Fetch_and_op(&one, &old, MPI_INT64_T, victim, 0, MPI_SUM, win);
    must_fail((ret != MPI_SUCCESS) ? ret : MPI_Win_flush(victim, win),
              "a fetch and add");
}

/* Check that the files of other ranks are not affected */
static void try_others(int victim)
{
    uint64_t sent = comm_rank + 1, got = 0;
    int target    = (victim + 1) % comm_size;
    MPI_Aint disp = (MPI_Aint)comm_rank * BOARD_SLOT_BYTES;
    int ret;

    ret = MPI_Put(&sent, 8, MPI_BYTE, target, disp, 8, MPI_BYTE, win);
    CHECK(ret == MPI_SUCCESS, "put to rank %d, not the victim: %d", target,
          ret);
    ret = MPI_Win_flush(target, win);
    CHECK(ret == MPI_SUCCESS, "flush of rank %d, not the victim: %d", target,
          ret);
    MPI_Get(&got, 8, MPI_BYTE, target, disp, 8, MPI_BYTE, win);
    ret = MPI_Win_flush(target, win);
    CHECK((ret == MPI_SUCCESS) && (got == sent), "get from rank %d: %d, %lu",
          target, ret, (unsigned long)got);
}

static void post_round(uint32_t round, const char *prefix, int shared,
                       int victim, size_t segment_bytes)
{
    uint32_t i;

    segment_path(board->path, sizeof(board->path), prefix, shared, victim);
    board->intrusion    = round % INTRUSION_LAST;
    board->streams      = comm_size;
    board->record_bytes = record_sizes[(round / INTRUSION_LAST) %
                                       (sizeof(record_sizes) /
                                        sizeof(record_sizes[0]))];
    board->slots_offset = shared ? victim * segment_bytes : 0;
    board->file_length  = segment_bytes * (shared ? comm_size : 1);
    for (i = 0; i < BOARD_STREAMS; ++i) {
        atomic_store(&board->stream[i].tried, 0);
        atomic_store(&board->stream[i].acked, 0);
    }
}

static void wait_for(_Atomic uint32_t *word, uint32_t round, const char *what)
{
    double deadline = now() + INTRUDER_SEC;

    while (atomic_load(word) != round) {
        CHECK(now() < deadline, "round %u: the intruder %s", round, what);
        usleep(100);
    }
}

static void one_round(uint32_t round, const char *prefix, int shared)
{
    size_t slots_bytes = (size_t)comm_size * BOARD_SLOT_BYTES;
    size_t segment_bytes  = slots_bytes + OWN_BYTES;
    int victim         = round % comm_size;
    segment_t segment;
    int ret;

    if (comm_rank == 0) {
        post_round(round, prefix, shared, victim, segment_bytes);
    }
    segment_create(prefix, shared, segment_bytes);
    segment_open(&segment, prefix, shared, segment_bytes);
    ret = MPI_Win_create(segment.base, segment.length, 1, MPI_INFO_NULL,
                         MPI_COMM_WORLD, &win);
    CHECK(ret == MPI_SUCCESS, "round %u: cannot make a window: %d", round, ret);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    CHECK(segment_has_lease(&segment), "round %u: no lease", round);
    MPI_Win_lock_all(0, win);
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank == 0) {
        atomic_store(&board->go, round);
    }

    put_stream(round, 1 + (round % BATCH_MAX), victim,
               (uint64_t*)(segment.base + slots_bytes));
    try_all(victim);
    if (!shared) {
        try_others(victim);
    }
    wait_for(&board->in, round, "was not let in");
    if (shared || (comm_rank == victim)) {
        memset(segment.base, 0xab, segment.length);
    }

    /* If it reports an error again, osc/ucx is still in the epoch */
    if (MPI_Win_unlock_all(win) != MPI_SUCCESS) {
        MPI_Win_unlock_all(win);
    }
    ret = MPI_Win_free(&win);
    CHECK(ret == MPI_SUCCESS, "round %u: cannot free the window: %d", round,
          ret);
    segment_close(&segment);

    MPI_Barrier(MPI_COMM_WORLD);
    if (comm_rank == 0) {
        atomic_store(&board->over, round);
        wait_for(&board->checked, round, "has not checked the file");
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    uint32_t round, rounds;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &comm_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm_size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    CHECK(argc == 5, "usage: storm FILE own|shared BOARD ROUNDS");
    CHECK(comm_size <= BOARD_STREAMS, "too many ranks");

    board   = board_map(argv[3]);
    rounds  = atoi(argv[4]);
    records = malloc(BATCH_MAX * (size_t)BOARD_SLOT_BYTES);
    CHECK(records != NULL, "no memory");

    for (round = 1; round <= rounds; ++round) {
        one_round(round, argv[1], strcmp(argv[2], "shared") == 0);
    }
    atomic_store(&board->quit, 1);
    free(records);
    MPI_Finalize();
    return 0;
}
