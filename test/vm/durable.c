/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Data that was reported as durable is there after a power failure. See
 * test/vm/power, which makes one; reports are written to a directory of the
 * host.
 *
 * usage: mpirun -n 2 durable write DIRECTORY ACKS    until the power fails
 *        durable check DIRECTORY ACKS                after the next boot
 *
 * Each of two ranks
 * - puts numbered records to the other one, into a window of MPI_Win_allocate()
 *   and one of MPI_Win_create(), with daxpin_persist=flush, and flushes;
 * - makes new files with libdaxpin, writes them, and persists them;
 * - at last writes a file by a mapping and flushes nothing: the control.
 */

#define _GNU_SOURCE

#include <daxpin.h>
#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RANKS        2
#define WINDOWS      2
#define PLACES       1024
#define RECORD_WORDS 8
#define RECORD_BYTES (RECORD_WORDS * sizeof(uint64_t))
#define PART_BYTES   (PLACES * RECORD_BYTES)
#define FILES        24
#define FILE_WORDS   8192
#define TURNS        8 /* of puts, for each file */

/* Data of a rank that was reported as durable */
typedef struct acks {
    uint64_t puts[WINDOWS]; /* number of the last record */
    uint64_t files;
    uint64_t control;       /* is there */
} acks_t;

static const char *const window_names[] = {"allocated", "created"};

static const char *directory;
static int        rank, failed;
static acks_t     acks;
static int        acks_fd;

static __attribute__((format(printf, 1, 2), noreturn)) void
give_up(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

/* Write through 9p without a cache: the host has the data on return. */
static void tell(void)
{
    if (pwrite(acks_fd, &acks, sizeof(acks), 0) != sizeof(acks)) {
        give_up("rank %d cannot tell what is durable: %m", rank);
    }
}

static void path_of(char *path, const char *name, int owner)
{
    snprintf(path, PATH_MAX, "%s/%s.%d", directory, name, owner);
}

static void *map_new(const char *path, size_t length)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    void *memory;

    if ((fd < 0) || (posix_fallocate(fd, 0, (off_t)length) != 0)) {
        give_up("%s: %m", path);
    }
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        give_up("%s: %m", path);
    }
    close(fd);
    return memory;
}

/*
 * write
 */

static void make_window(int kind, MPI_Win *win)
{
    char path[PATH_MAX];
    MPI_Info info;
    void *base;
    int ret;

    path_of(path, window_names[kind], rank);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_persist", "flush");
    if (kind == 0) {
        MPI_Info_set(info, "daxpin_path", path);
        ret = MPI_Win_allocate(PART_BYTES, 1, info, MPI_COMM_WORLD, &base,
                               win);
    } else {
        ret = MPI_Win_create(map_new(path, PART_BYTES), PART_BYTES, 1, info,
                             MPI_COMM_WORLD, win);
    }
    if (ret != MPI_SUCCESS) {
        give_up("%s: no window", path);
    }
    MPI_Info_free(&info);
    MPI_Win_lock_all(0, *win);
}

static void put(MPI_Win win, uint64_t number)
{
    uint64_t record[RECORD_WORDS];
    int i;

    for (i = 0; i < RECORD_WORDS; ++i) {
        record[i] = number;
    }
    MPI_Put(record, RECORD_BYTES, MPI_BYTE, 1 - rank,
            (MPI_Aint)(number % PLACES * RECORD_BYTES), RECORD_BYTES, MPI_BYTE,
            win);
    MPI_Win_flush(1 - rank, win);
}

static void write_file(uint64_t number)
{
    char name[32], path[PATH_MAX];
    daxpin_file_t *file;
    uint64_t *words;
    size_t i;

    snprintf(name, sizeof(name), "file%lu", number);
    path_of(path, name, rank);
    if (daxpin_file_open(path, FILE_WORDS * sizeof(*words), NULL, &file) != 0) {
        give_up("%s", daxpin_errormsg());
    }
    words = daxpin_file_addr(file, 0, FILE_WORDS * sizeof(*words));
    for (i = 0; i < FILE_WORDS; ++i) {
        words[i] = number + i;
    }
    if (daxpin_file_persist(file, 0, FILE_WORDS * sizeof(*words)) != 0) {
        give_up("%s", daxpin_errormsg());
    }
    daxpin_file_close(file);
}

static void write_control(void)
{
    char path[PATH_MAX];

    path_of(path, "control", rank);
    memset(map_new(path, PART_BYTES), 'c', PART_BYTES);
}

static void write_all(void)
{
    MPI_Win win[WINDOWS];
    uint64_t turn;
    int kind;

    for (kind = 0; kind < WINDOWS; ++kind) {
        make_window(kind, &win[kind]);
    }
    for (turn = 1;; ++turn) {
        for (kind = 0; kind < WINDOWS; ++kind) {
            put(win[kind], turn);
            acks.puts[kind] = turn;
            tell();
        }
        if ((turn % TURNS == 0) && (acks.files < FILES)) {
            write_file(acks.files);
            ++acks.files;
            tell();
        }
        if (turn == TURNS * FILES + PLACES) {
            /* From now on only the bytes of files change */
            MPI_Barrier(MPI_COMM_WORLD);
            write_control();
            acks.control = 1;
            tell();
        }
    }
}

/*
 * check
 */

static __attribute__((format(printf, 3, 4))) void
report(int good, const char *name, const char *format, ...)
{
    va_list ap;

    printf("%s power: rank %d: %s%s", good ? "ok" : "not ok", rank, name,
           good ? "" : ": ");
    if (!good) {
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        failed = 1;
    }
    putchar('\n');
}

/* Read a file. Return the number of bytes, or -1. */
static ssize_t load(const char *name, int owner, void *buffer, size_t size)
{
    char path[PATH_MAX];
    ssize_t length;
    int fd;

    path_of(path, name, owner);
    fd = open(path, O_RDONLY);
    if (fd < 0) {
        return -1;
    }
    length = read(fd, buffer, size);
    close(fd);
    return length;
}

/* Return the least record number that a place must hold. */
static uint64_t number_at(uint64_t place, uint64_t last)
{
    uint64_t back = (last + PLACES - place) % PLACES;

    return (last >= back) ? last - back : 0;
}

static void check_window(int kind)
{
    static uint64_t words[PLACES][RECORD_WORDS];
    uint64_t place, need;
    char name[64];
    int i;

    snprintf(name, sizeof(name), "%lu puts into a window that was %s",
             acks.puts[kind], window_names[kind]);
    if (load(window_names[kind], 1 - rank, words, sizeof(words)) !=
        sizeof(words)) {
        report(0, name, "the file is not there, or not whole");
        return;
    }
    for (place = 0; place < PLACES; ++place) {
        need = number_at(place, acks.puts[kind]);
        for (i = 0; i < RECORD_WORDS; ++i) {
            if ((words[place][i] < need) ||
                ((words[place][i] > 0) &&
                 (words[place][i] % PLACES != place))) {
                report(0, name, "record %lu is not there, but %lu", need,
                       words[place][i]);
                return;
            }
        }
    }
    report(acks.puts[kind] > 0, name, "none was acknowledged");
}

static void check_files(void)
{
    static uint64_t words[FILE_WORDS];
    uint64_t number, i;
    char name[64];

    for (number = 0; number < acks.files; ++number) {
        snprintf(name, sizeof(name), "file%lu", number);
        if (load(name, rank, words, sizeof(words)) != sizeof(words)) {
            report(0, name, "it is not there, or not whole");
            return;
        }
        for (i = 0; i < FILE_WORDS; ++i) {
            if (words[i] != number + i) {
                report(0, name, "word %lu is %lu", i, words[i]);
                return;
            }
        }
    }
    snprintf(name, sizeof(name), "%lu new files", acks.files);
    report(acks.files > 0, name, "none was acknowledged");
}

/* If this file survived, the test would show nothing. */
static void check_control(void)
{
    static char bytes[PART_BYTES];

    memset(bytes, 0, sizeof(bytes));
    load("control", rank, bytes, sizeof(bytes));
    report(acks.control && (memchr(bytes, 'c', sizeof(bytes)) == NULL),
           "control: a file that was not flushed is lost",
           acks.control ? "it is there" : "it was not made");
}

static void check_all(const char *acks_prefix)
{
    char path[PATH_MAX];
    int kind;

    for (rank = 0; rank < RANKS; ++rank) {
        snprintf(path, sizeof(path), "%s.%d", acks_prefix, rank);
        acks_fd = open(path, O_RDONLY);
        if ((acks_fd < 0) || (read(acks_fd, &acks, sizeof(acks)) !=
                              sizeof(acks))) {
            give_up("%s: %m", path);
        }
        close(acks_fd);
        for (kind = 0; kind < WINDOWS; ++kind) {
            check_window(kind);
        }
        check_files();
        check_control();
    }
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];

    if (argc != 4) {
        give_up("usage: durable write|check DIRECTORY ACKS");
    }
    directory = argv[2];
    if (strcmp(argv[1], "check") == 0) {
        check_all(argv[3]);
        return failed;
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(path, sizeof(path), "%s.%d", argv[3], rank);
    acks_fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (acks_fd < 0) {
        give_up("%s: %m", path);
    }
    write_all();
    return 0;
}
