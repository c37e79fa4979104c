/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#define _GNU_SOURCE /* for F_OFD_SETLK */

#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE        4096ull
#define MAGIC       0x746e696f706b6863ull /* "chkpoint" */
#define FORMAT      1
#define CHUNK       (32ull << 20) /* what is made durable at once */
#define MOST        (1ull << 58) /* bytes in a slot: no offset overflows */
#define LANES       4
#define ERROR_BYTES 1024
/* How long ranks of an earlier job, which was killed, may take to end */
#define LOCK_SECONDS 10
/* What to do about a damaged file; printed with its version */
#define ADVICE \
    "take it from a backup, restore the version before by starting once with " \
    "the option before = %" PRIu64 ", or remove the checkpoint to start at " \
    "the beginning"

/* At the beginning of a file, one a page, for slot 0 and 1. In any format it
 * has these bytes, begins with magic and format, and ends with sum. */
typedef struct header {
    uint64_t magic;
    uint32_t format;
    uint32_t rank; /* whose file this is; the rest is the same in all */
    uint64_t version;
    uint64_t step;
    uint32_t ranks;
    uint32_t arrays;
    uint64_t table_offset;
    uint64_t table_bytes;
    uint64_t table_sum;
    uint64_t own_offset;  /* of this rank's data */
    uint64_t copy_offset; /* of the left neighbour's; 0: there is none */
    uint64_t slot_bytes;  /* of data, at either */
    uint64_t reserved[4];
    uint64_t sum;         /* of what is before it */
} header_t;

/* The table: an array each, and then for each rank a part of each array */
typedef struct kind {
    char     name[CHECKPOINT_NAME_BYTES];
    uint64_t unit;
    uint64_t total;
} kind_t;

typedef struct part {
    uint64_t first;
    uint64_t count;
    uint64_t sum;
} part_t;

typedef struct sum {
    uint64_t lanes[LANES];
    uint64_t length;
} sum_t;

/* A checkpoint that was found */
typedef struct image {
    header_t header;
    char     *table; /* NULL: there is none */
    uint64_t own_version; /* the last one in this rank's file */
    uint64_t before, newest; /* looked for; of all that were seen */
    char     damage[ERROR_BYTES]; /* the reason not to restore damaged; or "" */
    uint64_t damaged; /* 0: of a file that has no good header */
} image_t;

struct checkpoint {
    MPI_Comm             comm;
    MPI_Win              win; /* MPI_WIN_NULL: none */
    int                  rank, size, count, copies, broken, others;
    int                  named; /* the names of the files are durable */
    int                  lost; /* MPI failed: nothing collective any more */
    int                  lock; /* the descriptor, or -1 */
    uint64_t             version;
    uint64_t             table_bytes, slot_bytes, own_bytes;
    uint64_t             done, durable; /* of own_bytes: put, and durable */
    checkpoint_array_t   *arrays;
    part_t               *parts; /* of all ranks */
    char                 *table;
    checkpoint_options_t options;
    char                 name[PATH_MAX];
};

static char error_text[ERROR_BYTES];

const char *checkpoint_error(void)
{
    return error_text;
}

static __attribute__((format(printf, 1, 2))) int fail(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(error_text, sizeof(error_text), format, ap);
    va_end(ap);
    return -1;
}

static int fail_mpi(const checkpoint_t *cp, const char *what, int error)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;

    MPI_Error_string(error, text, &length);
    return fail("%s.%d.%d: cannot %s: %s", cp->name, cp->size, cp->rank, what,
                text);
}

/* What a collective call returned: 0, or the failure of this rank */
static int reached(const checkpoint_t *cp, int error)
{
    return (error == MPI_SUCCESS) ?
           0 : fail_mpi(cp, "reach the other ranks", error);
}

/* Make a failure of any rank one of all, with its reason. If MPI itself fails,
 * for instance because a rank has died, this rank has failed. */
static int agree(checkpoint_t *cp, int status)
{
    int failed = (status == 0) ? cp->size : cp->rank;
    int ret;

    ret = MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MIN, cp->comm);
    if (ret != MPI_SUCCESS) {
        cp->lost = 1;
        return (status == 0) ? reached(cp, ret) : -1;
    }
    if (failed == cp->size) {
        return 0;
    }
    ret = MPI_Bcast(error_text, sizeof(error_text), MPI_CHAR, failed, cp->comm);
    if (ret != MPI_SUCCESS) {
        cp->lost = 1;
        reached(cp, ret);
    }
    return -1;
}

/* Combine values of all ranks */
static int combine(checkpoint_t *cp, void *values, int count, MPI_Datatype type,
                   MPI_Op op)
{
    int ret = MPI_Allreduce(MPI_IN_PLACE, values, count, type, op, cp->comm);

    return agree(cp, reached(cp, ret));
}

/* Give data of a rank to all */
static int send_to_all(checkpoint_t *cp, void *data, size_t length, int from)
{
    int ret = MPI_Bcast(data, (int)length, MPI_BYTE, from, cp->comm);

    return agree(cp, reached(cp, ret));
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/*
 * Checksums: a change of one word always changes them
 */

static void sum_words(sum_t *sum, const char *data, size_t count)
{
    uint64_t words[LANES];
    size_t i;
    int lane;

    for (i = 0; i < count; ++i) {
        memcpy(words, data + i * sizeof(words), sizeof(words));
        for (lane = 0; lane < LANES; ++lane) {
            words[lane]      = (sum->lanes[lane] ^ words[lane]) *
                               0x9e3779b97f4a7c15ull;
            sum->lanes[lane] = words[lane] ^ (words[lane] >> 29);
        }
    }
}

/* Add data; a multiple of 32 bytes unless it is the last */
static void sum_add(sum_t *sum, const void *data, size_t length)
{
    char rest[LANES * sizeof(uint64_t)] = {0};
    size_t count                        = length / sizeof(rest);

    sum_words(sum, data, count);
    if (length % sizeof(rest) > 0) {
        memcpy(rest, (const char*)data + count * sizeof(rest),
               length % sizeof(rest));
        sum_words(sum, rest, 1);
    }
    sum->length += length;
}

static uint64_t sum_end(const sum_t *sum)
{
    uint64_t result = sum->length;
    int lane;

    for (lane = 0; lane < LANES; ++lane) {
        result  = (result ^ sum->lanes[lane]) * 0x9e3779b97f4a7c15ull;
        result ^= result >> 32;
    }
    return result;
}

static uint64_t sum_of(const void *data, size_t length)
{
    sum_t sum = {{1, 2, 3, 4}, 0};

    sum_add(&sum, data, length);
    return sum_end(&sum);
}

/*
 * Only one job has the files. Its ranks lock the same byte of NAME.lock, chosen
 * at random: who finds another byte locked as well, is not alone. The kernel
 * unlocks it when the last of them has ended, in whatever way. (A file of its
 * own, because it is opened while others have it.)
 */

/* Return 1, 0 if another job has the lock, or -1 */
static int try_lock(int fd, off_t job)
{
    struct flock own   = {.l_type = F_RDLCK, .l_start = job, .l_len = 1};
    struct flock below = {.l_type = F_WRLCK, .l_start = 0, .l_len = job};
    struct flock above = {.l_type = F_WRLCK, .l_start = job + 1, .l_len = 0};

    if ((fcntl(fd, F_OFD_SETLK, &own) != 0) ||
        (fcntl(fd, F_OFD_GETLK, &below) != 0) ||
        (fcntl(fd, F_OFD_GETLK, &above) != 0)) {
        return -1;
    }
    if ((below.l_type == F_UNLCK) && (above.l_type == F_UNLCK)) {
        return 1;
    }
    own.l_type = F_UNLCK;
    return fcntl(fd, F_OFD_SETLK, &own);
}

static int take_lock(checkpoint_t *cp, uint64_t job)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    double end                  = MPI_Wtime() + LOCK_SECONDS;
    char path[PATH_MAX + 8];
    int ret;

    snprintf(path, sizeof(path), "%s.lock", cp->name);
    cp->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (cp->lock < 0) {
        return fail("%s: cannot open: %s; checkpoints need a directory in "
                    "which this user may make files", path, strerror(errno));
    }
    while (((ret = try_lock(cp->lock, (off_t)job)) == 0) &&
           (MPI_Wtime() < end)) {
        nanosleep(&pause, NULL);
    }
    if (ret < 0) {
        return fail("%s: cannot lock: %s; checkpoints need a file system with "
                    "locks", path, strerror(errno));
    }
    return (ret == 1) ? 0 :
           fail("%s: not opened: another job has this checkpoint, or ranks of "
                "it are left; end them (fuser shows who has the file), or use "
                "another name", path);
}

/*
 * Find the last checkpoint
 */

/* Return whether name is one of a file of this checkpoint, and whose */
static int is_file_of(const char *base, const char *name, int *ranks, int *rank)
{
    size_t length = strlen(base);
    int end       = 0;

    return (strncmp(name, base, length) == 0) &&
           (sscanf(name + length, ".%9d.%9d%n", ranks, rank, &end) == 2) &&
           (name[length + end] == '\0') && (*rank >= 0) && (*rank < *ranks);
}

static int read_at(int fd, void *buffer, size_t length, uint64_t offset)
{
    ssize_t got;

    while (length > 0) {
        got = pread(fd, buffer, length, (off_t)offset);
        if (got < 0) {
            return -1;
        }
        if (got == 0) { /* behind the end are zeros */
            memset(buffer, 0, length);
            return 0;
        }
        buffer  = (char*)buffer + got;
        offset += got;
        length -= got;
    }
    return 0;
}

/* Return 1: it is whole, 0: a write of it was interrupted or never begun, -1:
 * this file must not be touched */
static int check_header(const header_t *header, const char *path, int ranks,
                        int rank)
{
    if (header->magic == 0) {
        return 0;
    }
    if (header->magic != MAGIC) {
        return fail("%s: not read: it is not a checkpoint, but has a name of "
                    "one; move it away", path);
    }
    if (header->sum != sum_of(header, offsetof(header_t, sum))) {
        return 0;
    }
    if (header->format != FORMAT) {
        return fail("%s: not read: it has format %u, and this program knows "
                    "%d; use the program that wrote it, or move it away", path,
                    header->format, FORMAT);
    }
    if ((header->ranks != (uint32_t)ranks) ||
        (header->rank != (uint32_t)rank)) {
        return fail("%s: not read: it is the file of rank %u of %u, by another "
                    "name; rename it back", path, header->rank, header->ranks);
    }
    return 1;
}

/* A version whose table is not whole is an error unless there is a newer one */
static void note_damage(image_t *image, uint64_t version, const char *path)
{
    if ((image->damage[0] == '\0') || (version > image->damaged)) {
        image->damaged = version;
        snprintf(image->damage, sizeof(image->damage), "%s: not restored: the "
                 "table of version %" PRIu64 " has a wrong checksum, so the "
                 "file was damaged; " ADVICE, path, version, version);
    }
}

/* Take a checkpoint if its table is whole and it is newer than the one we have */
static int take(image_t *image, const header_t *header, int fd,
                const char *path)
{
    char *table;

    if ((header->version <= image->header.version) ||
        (header->version >= image->before)) {
        return 0;
    }
    table = malloc(header->table_bytes);
    if (table == NULL) {
        return fail("%s: no memory for its table of %" PRIu64 " bytes", path,
                    header->table_bytes);
    }
    if (read_at(fd, table, header->table_bytes, header->table_offset) != 0) {
        free(table);
        return fail("%s: cannot read: %s", path, strerror(errno));
    }
    if ((header->table_bytes != header->arrays * (sizeof(kind_t) +
                                header->ranks * sizeof(part_t))) ||
        (sum_of(table, header->table_bytes) != header->table_sum)) {
        free(table);
        note_damage(image, header->version, path);
        return 0;
    }
    free(image->table);
    image->table  = table;
    image->header = *header;
    return 0;
}

/* Return the version of a file's last header, 0 if there is none, or -1 */
static int64_t look_at(int fd, const char *path, int ranks, int rank,
                       image_t *image)
{
    header_t header;
    int64_t version = 0;
    int slot, is, begun = 0, good = 0;

    for (slot = 0; slot < 2; ++slot) {
        if (read_at(fd, &header, sizeof(header), slot * PAGE) != 0) {
            return fail("%s: cannot read: %s", path, strerror(errno));
        }
        is = check_header(&header, path, ranks, rank);
        if ((is < 0) || (is && (image != NULL) &&
                         (take(image, &header, fd, path) != 0))) {
            return -1;
        }
        begun += (header.magic != 0);
        good  += is;
        if (is && ((int64_t)header.version > version)) {
            version = (int64_t)header.version;
        }
    }
    /* Only one header is written at a time, so only one is interrupted */
    if ((begun == 2) && (good == 0) && (image != NULL) &&
        (image->damage[0] == '\0')) {
        snprintf(image->damage, sizeof(image->damage), "%s: not restored: both "
                 "headers have wrong checksums, so the file was damaged; take "
                 "it from a backup, or remove the checkpoint to start at the "
                 "beginning", path);
    }
    return version;
}

static int look_at_path(checkpoint_t *cp, const char *path, int ranks, int rank,
                        image_t *image)
{
    int64_t version;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return fail("%s: cannot open for reading: %s", path, strerror(errno));
    }
    version = look_at(fd, path, ranks, rank, image);
    close(fd);
    if (version < 0) {
        return -1;
    }
    if ((uint64_t)version > image->newest) {
        image->newest = (uint64_t)version;
    }
    if (ranks != cp->size) {
        cp->others = 1;
    } else if (rank == cp->rank) {
        image->own_version = (uint64_t)version;
    }
    return 0;
}

/* Remove a file of another number of ranks, if a checkpoint is in it that is
 * older than ours */
static int remove_path(checkpoint_t *cp, const char *path, int ranks, int rank,
                       image_t *image)
{
    int64_t version;
    int fd;

    (void)image;
    fd = (ranks != cp->size) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return 0;
    }
    version = look_at(fd, path, ranks, rank, NULL);
    close(fd);
    if ((version > 0) && ((uint64_t)version < cp->version)) {
        unlink(path);
    }
    return 0;
}

/* Call a function for all files that a checkpoint of this name has here */
static int for_files(checkpoint_t *cp, image_t *image,
                     int (*call)(checkpoint_t *cp, const char *path, int ranks,
                                 int rank, image_t *image))
{
    char path[PATH_MAX + NAME_MAX + 2];
    const char *slash = strrchr(cp->name, '/');
    const char *base  = (slash == NULL) ? cp->name : slash + 1;
    int ret           = 0, ranks, rank;
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "%.*s.", (int)(base - cp->name), cp->name);
    dir = opendir(path);
    if (dir == NULL) {
        return fail("%s: cannot look for checkpoints: %s; make the directory",
                    path, strerror(errno));
    }
    while ((ret == 0) && ((entry = readdir(dir)) != NULL)) {
        if (is_file_of(base, entry->d_name, &ranks, &rank)) {
            snprintf(path, sizeof(path), "%.*s%s", (int)(base - cp->name),
                     cp->name, entry->d_name);
            ret = call(cp, path, ranks, rank, image);
        }
    }
    closedir(dir);
    return ret;
}

/* Give all ranks the newest checkpoint that one of them found */
static int share_image(checkpoint_t *cp, image_t *image)
{
    uint64_t versions[2] = {image->header.version, image->newest};
    int from             = cp->size, damaged;

    if (combine(cp, versions, 2, MPI_UINT64_T, MPI_MAX) != 0) {
        return -1;
    }
    image->newest = versions[1];
    damaged = (image->damage[0] != '\0') &&
              ((versions[0] == 0) || (versions[0] < image->damaged));
    if (agree(cp, damaged ? fail("%s", image->damage) : 0) != 0) {
        return -1;
    }
    if (versions[0] == 0) {
        return (cp->options.before == 0) ?
               0 : fail("%s: not restored: there is no version before %" PRIu64
                        "; give no option before", cp->name,
                        cp->options.before);
    }
    if (versions[0] == image->header.version) {
        from = cp->rank;
    }
    if ((combine(cp, &from, 1, MPI_INT, MPI_MIN) != 0) ||
        (send_to_all(cp, &image->header, sizeof(image->header), from) != 0)) {
        return -1;
    }
    if (cp->rank != from) {
        free(image->table);
        image->table = malloc(image->header.table_bytes);
    }
    if (agree(cp, (image->table != NULL) ? 0 : fail("no memory")) != 0) {
        return -1;
    }
    return send_to_all(cp, image->table, image->header.table_bytes, from);
}

/*
 * Restore
 */

static const part_t *parts_of(const image_t *image, uint32_t rank)
{
    const kind_t *kinds = (const kind_t*)image->table;

    return (const part_t*)(kinds + image->header.arrays) +
           rank * image->header.arrays;
}

/* The checkpoint has the arrays of the program */
static int compare_arrays(const checkpoint_t *cp, const image_t *image)
{
    const kind_t *kinds = (const kind_t*)image->table;
    const checkpoint_array_t *array;
    int i;

    if (image->header.arrays != (uint32_t)cp->count) {
        return fail("%s: not restored: the checkpoint has %u arrays, and the "
                    "program %d; use the program that wrote it, or another "
                    "name", cp->name, image->header.arrays, cp->count);
    }
    for (i = 0; i < cp->count; ++i) {
        array = &cp->arrays[i];
        if ((strncmp(kinds[i].name, array->name, sizeof(array->name)) != 0) ||
            (kinds[i].unit != array->unit) ||
            (kinds[i].total != array->total)) {
            return fail("%s: not restored: array %d is \"%.31s\", %" PRIu64
                        " elements of %" PRIu64 " bytes, and the program has "
                        "\"%.31s\", %" PRIu64 " of %" PRIu64 "; start the "
                        "program with the size of the checkpoint, or use "
                        "another name", cp->name, i, kinds[i].name,
                        kinds[i].total, kinds[i].unit, array->name,
                        array->total, array->unit);
        }
    }
    /* The next version is not to be where this one is */
    if ((image->header.ranks == (uint32_t)cp->size) &&
        (image->header.slot_bytes != cp->slot_bytes)) {
        return fail("%s: not restored: %d ranks wrote it with blocks of other "
                    "sizes; start with another number of ranks, or use another "
                    "name", cp->name, cp->size);
    }
    return 0;
}

static int is_needed(const checkpoint_t *cp, const part_t *parts)
{
    int i;

    for (i = 0; i < cp->count; ++i) {
        if ((parts[i].first < cp->arrays[i].first + cp->arrays[i].count) &&
            (cp->arrays[i].first < parts[i].first + parts[i].count)) {
            return 1;
        }
    }
    return 0;
}

/* Copy what of a part is in this rank's block */
static void copy_part(const checkpoint_array_t *array, const part_t *part,
                      const char *data)
{
    uint64_t first = part->first, end = part->first + part->count;

    if (first < array->first) {
        first = array->first;
    }
    if (end > array->first + array->count) {
        end = array->first + array->count;
    }
    if (first < end) {
        memcpy((char*)array->data + (first - array->first) * array->unit,
               data + (first - part->first) * array->unit,
               (end - first) * array->unit);
    }
}

/* Check all parts of a rank that are in mapped memory, and copy what is ours */
static int take_parts(const checkpoint_t *cp, const image_t *image,
                      const char *path, const part_t *parts, const char *data)
{
    const checkpoint_array_t *array;
    uint64_t length;
    int i;

    for (i = 0; i < cp->count; ++i) {
        array  = &cp->arrays[i];
        length = parts[i].count * array->unit;
        if (sum_of(data, length) != parts[i].sum) {
            return fail("%s: not restored: array \"%.31s\" of version %" PRIu64
                        " has a wrong checksum, so the file was damaged; "
                        ADVICE, path, array->name, image->header.version,
                        image->header.version);
        }
        copy_part(array, &parts[i], data);
        data += round_up(length, PAGE);
    }
    return 0;
}

static int map_data(const image_t *image, const char *path, uint64_t offset,
                    char **data)
{
    uint64_t bytes = image->header.slot_bytes;
    int fd         = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        return fail("%s: not restored: %s; it has a part of version %" PRIu64
                    " that this rank needs: take it from a backup or, if it "
                    "is on another node, start where it is", path,
                    strerror(errno), image->header.version);
    }
    if ((fstat(fd, &st) != 0) || ((uint64_t)st.st_size < offset + bytes)) {
        close(fd);
        return fail("%s: not restored: it has %lld bytes and needs %" PRIu64
                    ", so it was cut off; " ADVICE, path,
                    (long long)st.st_size, offset + bytes,
                    image->header.version);
    }
    *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    close(fd);
    if (*data == MAP_FAILED) {
        return fail("%s: cannot map: %s", path, strerror(errno));
    }
    return 0;
}

/* Read the parts of a rank from a file of another or the same rank */
static int read_parts(const checkpoint_t *cp, const image_t *image,
                      uint32_t rank, uint32_t file, uint64_t offset)
{
    const header_t *header = &image->header;
    char path[PATH_MAX + 32];
    char *data;
    int ret;

    if (header->slot_bytes == 0) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s.%u.%u", cp->name, header->ranks, file);
    ret = map_data(image, path, offset, &data);
    if (ret == 0) {
        ret = take_parts(cp, image, path, parts_of(image, rank), data);
        munmap(data, header->slot_bytes);
    }
    return ret;
}

/* Fill this rank's arrays. Return the number of parts that are from copies, or
 * -1. */
static int restore(const checkpoint_t *cp, const image_t *image)
{
    const header_t *header = &image->header;
    char first_error[ERROR_BYTES];
    uint32_t rank;
    int copies = 0;

    for (rank = 0; rank < header->ranks; ++rank) {
        if (!is_needed(cp, parts_of(image, rank)) ||
            (read_parts(cp, image, rank, rank, header->own_offset) == 0)) {
            continue;
        }
        memcpy(first_error, error_text, sizeof(first_error));
        if ((header->copy_offset == 0) ||
            (read_parts(cp, image, rank, (rank + 1) % header->ranks,
                        header->copy_offset) != 0)) {
            return fail("%s", first_error);
        }
        ++copies;
    }
    return copies;
}

/*
 * Write
 */

static int put(const checkpoint_t *cp, int target, const void *data,
               size_t length, uint64_t offset)
{
    int ret = MPI_Put(data, (int)length, MPI_BYTE, target, (MPI_Aint)offset,
                      (int)length, MPI_BYTE, cp->win);

    return (ret == MPI_SUCCESS) ? 0 : fail_mpi(cp, "put", ret);
}

/* daxpin_persist=flush: what was put to the target is durable on return */
static int flush(const checkpoint_t *cp, int target)
{
    int ret = MPI_Win_flush(target, cp->win);

    return (ret == MPI_SUCCESS) ? 0 : fail_mpi(cp, "make durable", ret);
}

/* Where data is: 0 and 1 of this rank, 2 and 3 of its left neighbour */
static uint64_t data_offset(const checkpoint_t *cp, int slot)
{
    return 2 * PAGE + slot * (cp->slot_bytes + round_up(cp->table_bytes, PAGE));
}

/* The table is behind the data, so that the end of it and the table are made
 * durable as one range */
static uint64_t table_offset(const checkpoint_t *cp, int slot)
{
    return data_offset(cp, slot) + cp->slot_bytes;
}

/* Make what was put durable, here and at the neighbour */
static int flush_data(checkpoint_t *cp)
{
    if ((flush(cp, cp->rank) != 0) ||
        (cp->copies && (flush(cp, (cp->rank + 1) % cp->size) != 0))) {
        return -1;
    }
    cp->durable = cp->done;
    if (cp->options.progress != NULL) {
        cp->options.progress(cp->options.arg, cp->durable, cp->own_bytes);
    }
    return 0;
}

static int put_chunk(checkpoint_t *cp, int slot, const char *data,
                     size_t length, uint64_t offset)
{
    uint64_t copy = data_offset(cp, slot + 2) + offset;

    if ((put(cp, cp->rank, data, length, data_offset(cp, slot) + offset) !=
         0) ||
        (cp->copies &&
         (put(cp, (cp->rank + 1) % cp->size, data, length, copy) != 0))) {
        return -1;
    }
    cp->done += length;
    return (cp->done - cp->durable < CHUNK) ? 0 : flush_data(cp);
}

static int write_array(checkpoint_t *cp, int slot, int i, uint64_t offset)
{
    const checkpoint_array_t *array = &cp->arrays[i];
    uint64_t length                 = array->count * array->unit, done, bytes;
    sum_t sum                       = {{1, 2, 3, 4}, 0};

    for (done = 0; done < length; done += bytes) {
        bytes = (length - done < CHUNK) ? length - done : CHUNK;
        sum_add(&sum, (char*)array->data + done, bytes);
        if (put_chunk(cp, slot, (char*)array->data + done, bytes,
                      offset + done) != 0) {
            return -1;
        }
    }
    cp->parts[cp->rank * cp->count + i].sum = sum_end(&sum);
    return 0;
}

/* Put this rank's parts of all arrays. The last of them is not durable yet. */
static int write_data(checkpoint_t *cp, int slot)
{
    uint64_t offset = 0;
    int i;

    cp->done    = 0;
    cp->durable = 0;
    for (i = 0; i < cp->count; ++i) {
        if (write_array(cp, slot, i, offset) != 0) {
            return -1;
        }
        offset += round_up(cp->arrays[i].count * cp->arrays[i].unit, PAGE);
    }
    return 0;
}

/* Tell all ranks what this one has */
static int share_parts(checkpoint_t *cp)
{
    int ret = MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, cp->parts,
                            (int)(cp->count * sizeof(part_t)), MPI_BYTE,
                            cp->comm);

    return reached(cp, ret);
}

static int write_header(const checkpoint_t *cp, uint64_t version, uint64_t step)
{
    int slot        = (int)(version % 2);
    header_t header = {
        .magic        = MAGIC,
        .format       = FORMAT,
        .rank         = (uint32_t)cp->rank,
        .version      = version,
        .step         = step,
        .ranks        = (uint32_t)cp->size,
        .arrays       = (uint32_t)cp->count,
        .table_offset = table_offset(cp, slot),
        .table_bytes  = cp->table_bytes,
        .table_sum    = sum_of(cp->table, cp->table_bytes),
        .own_offset   = data_offset(cp, slot),
        .copy_offset  = cp->copies ? data_offset(cp, slot + 2) : 0,
        .slot_bytes   = cp->slot_bytes
    };

    header.sum = sum_of(&header, offsetof(header_t, sum));
    return ((put(cp, cp->rank, &header, sizeof(header), slot * PAGE) == 0) &&
            (flush(cp, cp->rank) == 0)) ? 0 : -1;
}

/* Make the names of new files durable */
static int sync_names(const checkpoint_t *cp)
{
    char path[PATH_MAX];
    const char *slash = strrchr(cp->name, '/');
    int fd, ret;

    snprintf(path, sizeof(path), "%.*s",
             (slash == NULL) ? 1 : (int)(slash - cp->name) + 1,
             (slash == NULL) ? "." : cp->name);
    fd  = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ret = ((fd < 0) || (fsync(fd) != 0)) ?
          fail("%s: cannot sync the directory: %s", path, strerror(errno)) : 0;
    if (fd >= 0) {
        close(fd);
    }
    return ret;
}

int checkpoint_write(checkpoint_t *cp, uint64_t step)
{
    uint64_t version = cp->version + 1;
    int slot         = (int)(version % 2), ret;

    if (cp->broken) {
        return fail("%s: not written: an earlier write failed; open the "
                    "checkpoint again", cp->name);
    }
    /* If it fails below, a header may be there, and the next write must not
     * touch the data that it stands for. */
    cp->broken = 1;
    ret        = write_data(cp, slot);
    /* In any case: the other ranks wait for it */
    if ((share_parts(cp) != 0) || (ret != 0)) {
        ret = -1;
    } else {
        ret = put(cp, cp->rank, cp->table, cp->table_bytes,
                  table_offset(cp, slot));
    }
    if (ret == 0) {
        ret = flush_data(cp);
    }
    if ((agree(cp, ret) != 0) ||
        (agree(cp, write_header(cp, version, step)) != 0) ||
        (!cp->named && (agree(cp, sync_names(cp)) != 0))) {
        return -1;
    }
    cp->version = version;
    cp->broken  = 0;
    cp->named   = 1;
    /* The files of another number of ranks go when ours are there for good */
    if (cp->others) {
        for_files(cp, NULL, remove_path);
        cp->others = 0;
    }
    return 0;
}

/*
 * Open and close
 */

/* Each element belongs to one rank, and the ranks have the same arrays */
static int check_parts(const checkpoint_t *cp)
{
    uint64_t end;
    int i, rank;

    for (i = 0; i < cp->count; ++i) {
        end = 0;
        for (rank = 0; rank < cp->size; ++rank) {
            if (cp->parts[rank * cp->count + i].first != end) {
                return fail("array \"%.31s\": the block of rank %d begins with "
                            "element %" PRIu64 ", and should with %" PRIu64,
                            cp->arrays[i].name, rank,
                            cp->parts[rank * cp->count + i].first, end);
            }
            end += cp->parts[rank * cp->count + i].count;
        }
        if (end != cp->arrays[i].total) {
            return fail("array \"%.31s\": the ranks have %" PRIu64 " elements "
                        "of %" PRIu64, cp->arrays[i].name, end,
                        cp->arrays[i].total);
        }
    }
    return 0;
}

/* Put an array of this rank into the table */
static int add_array(checkpoint_t *cp, const checkpoint_array_t *array,
                     kind_t *kind, part_t *part)
{
    uint64_t bytes;

    if ((array->first > array->total) ||
        (array->count > array->total - array->first)) {
        return fail("%s: not opened: the block of rank %d in array \"%.31s\", "
                    "%" PRIu64 " elements from %" PRIu64 " on, is not in its "
                    "%" PRIu64 "; give numbers of elements, not bytes",
                    cp->name, cp->rank, array->name, array->count, array->first,
                    array->total);
    }
    if (__builtin_mul_overflow(array->count, array->unit, &bytes) ||
        (bytes > MOST) || (cp->slot_bytes + round_up(bytes, PAGE) > MOST)) {
        return fail("%s: not opened: the block of rank %d in array \"%.31s\", "
                    "%" PRIu64 " elements of %" PRIu64 " bytes, is too large "
                    "for a file; use more ranks", cp->name, cp->rank,
                    array->name, array->count, array->unit);
    }
    memcpy(kind->name, array->name, strnlen(array->name, sizeof(kind->name)));
    kind->unit      = array->unit;
    kind->total     = array->total;
    part->first     = array->first;
    part->count     = array->count;
    cp->slot_bytes += round_up(bytes, PAGE);
    cp->own_bytes  += bytes;
    return 0;
}

static int make_table(checkpoint_t *cp, const checkpoint_array_t *arrays)
{
    kind_t *kinds;
    int i, ret = 0;

    cp->table_bytes = cp->count * (sizeof(kind_t) +
                                   cp->size * sizeof(part_t));
    cp->table       = calloc(1, cp->table_bytes);
    cp->arrays      = calloc(cp->count, sizeof(*arrays));
    if ((cp->table_bytes > CHUNK) || (cp->table == NULL) ||
        (cp->arrays == NULL)) {
        return fail("%s: no memory for a table of %" PRIu64 " bytes", cp->name,
                    cp->table_bytes);
    }
    memcpy(cp->arrays, arrays, cp->count * sizeof(*arrays));
    kinds     = (kind_t*)cp->table;
    cp->parts = (part_t*)(kinds + cp->count);
    for (i = 0; (i < cp->count) && (ret == 0); ++i) {
        ret = add_array(cp, &arrays[i], &kinds[i],
                        &cp->parts[cp->rank * cp->count + i]);
    }
    return ret;
}

/* Compare what all ranks have to have alike, and agree on a slot's size and on
 * the byte to be locked */
static int compare_ranks(checkpoint_t *cp, uint64_t *job)
{
    uint64_t options[LANES] = {cp->count, cp->copies, cp->options.before};
    sum_t sum               = {{1, 2, 3, 4}, 0};
    uint64_t values[4];

    sum_add(&sum, options, sizeof(options));
    sum_add(&sum, cp->table, cp->count * sizeof(kind_t));
    values[0] = sum_end(&sum);
    values[1] = ~values[0];
    values[2] = cp->slot_bytes;
    values[3] = *job;
    if (combine(cp, values, 4, MPI_UINT64_T, MPI_MAX) != 0) {
        return -1;
    }
    cp->slot_bytes = values[2];
    *job           = values[3];
    return (values[0] == ~values[1]) ? 0 :
           fail("%s: not opened: the ranks differ in the number of arrays, a "
                "name, unit or total of them, or the options copies and before; "
                "give the same everywhere", cp->name);
}

/* Without daxpin the keys mean nothing, and all would be in memory. MPI may
 * return them nevertheless, so ask for one that only daxpin sets. */
static int check_window(const checkpoint_t *cp)
{
    char value[MPI_MAX_INFO_VAL + 1] = "";
    MPI_Info info;
    int flag = 0;

    MPI_Win_get_info(cp->win, &info);
    MPI_Info_get(info, "daxpin_file_system", MPI_MAX_INFO_VAL, value, &flag);
    MPI_Info_free(&info);
    if (!flag) {
        return fail("%s: cannot write checkpoints: MPI gave a window that is "
                    "not in files; start the job with eval \"$(daxpin env)\" "
                    "and -x UCX_MD=daxpin, and see daxpin doctor", cp->name);
    }
    return 0;
}

static int open_window(checkpoint_t *cp)
{
    char path[PATH_MAX + 32];
    MPI_Info info;
    void *base;
    int ret;

    snprintf(path, sizeof(path), "%s.%d.%%r", cp->name, cp->size);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    MPI_Info_set(info, "daxpin_persist", "flush");
    ret = MPI_Win_allocate((MPI_Aint)data_offset(cp, cp->copies ? 4 : 2), 1,
                           info, cp->comm, &base, &cp->win);
    MPI_Info_free(&info);
    ret = (ret == MPI_SUCCESS) ?
          0 : fail_mpi(cp, "make the window (see standard error)", ret);
    if (agree(cp, ret) != 0) {
        cp->win = MPI_WIN_NULL; /* of some ranks: it cannot be freed */
        return -1;
    }
    MPI_Win_set_errhandler(cp->win, MPI_ERRORS_RETURN);
    ret = MPI_Win_lock_all(MPI_MODE_NOCHECK, cp->win);
    return agree(cp, (ret == MPI_SUCCESS) ?
                     check_window(cp) : fail_mpi(cp, "lock the window", ret));
}

/* Fill the arrays from what is there. Return 1 if a new checkpoint should be
 * written now, because what there is is not whole or in other files; 0; or
 * -1. */
static int find(checkpoint_t *cp, image_t *image, checkpoint_found_t *found)
{
    int copies, sums[2];

    if ((agree(cp, for_files(cp, image, look_at_path)) != 0) ||
        (share_image(cp, image) != 0)) {
        return -1;
    }
    if (image->table == NULL) {
        return 0;
    }
    copies = (compare_arrays(cp, image) == 0) ? restore(cp, image) : -1;
    if (agree(cp, (copies < 0) ? -1 : 0) != 0) {
        return -1;
    }
    sums[0] = copies;
    sums[1] = (image->own_version != image->header.version);
    if (combine(cp, sums, 2, MPI_INT, MPI_SUM) != 0) {
        return -1;
    }
    /* If newer versions are given up, the next one is newer than they are, and
     * not where this one is */
    cp->version = image->newest +
                  (image->newest - image->header.version) % 2;
    *found      = (checkpoint_found_t){
        .version = image->header.version,
        .step    = image->header.step,
        .ranks   = (int)image->header.ranks,
        .copies  = sums[0]
    };
    return (sums[0] > 0) || (sums[1] > 0) ||
           (image->newest > image->header.version);
}

static int start(checkpoint_t *cp, const char *name,
                 const checkpoint_array_t *arrays, checkpoint_found_t *found)
{
    image_t image = {.before = (cp->options.before > 0) ?
                               cp->options.before : UINT64_MAX};
    uint64_t job  = 0;
    int ret, renew;

    /* A name with % or a long one is not what MPI_Info can say */
    snprintf(cp->name, sizeof(cp->name), "%s", name);
    ret = (strchr(name, '%') != NULL) ||
          (strlen(name) + 32 > MPI_MAX_INFO_VAL);
    ret = ret ? fail("%s: cannot be the name of a checkpoint: it has a percent "
                     "sign or is too long; choose another one", name) :
                make_table(cp, arrays);
    if ((ret == 0) && (getrandom(&job, sizeof(job), 0) != sizeof(job))) {
        ret = fail("%s: not opened: no random number: %s", name,
                   strerror(errno));
    }
    job = (job >> 2) + 1; /* an offset in a file */
    if ((agree(cp, ret) != 0) || (compare_ranks(cp, &job) != 0) ||
        (agree(cp, share_parts(cp)) != 0) ||
        (agree(cp, check_parts(cp)) != 0) ||
        (agree(cp, take_lock(cp, job)) != 0)) {
        return -1;
    }
    renew = find(cp, &image, found);
    free(image.table);
    if ((renew < 0) || (open_window(cp) != 0)) {
        return -1;
    }
    return renew ? checkpoint_write(cp, found->step) : 0;
}

int checkpoint_open(MPI_Comm comm, const char *name,
                    const checkpoint_array_t *arrays, int count,
                    const checkpoint_options_t *options,
                    checkpoint_found_t *found, checkpoint_t **checkpoint_p)
{
    checkpoint_t *cp = calloc(1, sizeof(*cp));
    char why[ERROR_BYTES];

    *checkpoint_p = NULL;
    *found        = (checkpoint_found_t){0};
    if (cp == NULL) {
        MPI_Abort(comm, 1);
        exit(1);
    }
    if (MPI_Comm_dup(comm, &cp->comm) != MPI_SUCCESS) {
        free(cp);
        return fail("%s: not opened: MPI cannot duplicate the communicator",
                    name);
    }
    MPI_Comm_set_errhandler(cp->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(cp->comm, &cp->rank);
    MPI_Comm_size(cp->comm, &cp->size);
    cp->win   = MPI_WIN_NULL;
    cp->lock  = -1;
    cp->count = count;
    if (options != NULL) {
        cp->options = *options;
    }
    cp->copies = cp->options.copies && (cp->size > 1);
    if (start(cp, name, arrays, found) != 0) {
        memcpy(why, error_text, sizeof(why));
        checkpoint_close(cp);
        return fail("%s", why);
    }
    *checkpoint_p = cp;
    return 0;
}

int checkpoint_close(checkpoint_t *cp)
{
    int ret = cp->lost ? fail("%s: not closed: an earlier call could not reach "
                              "the other ranks", cp->name) : 0;

    /* Without the other ranks a window cannot be freed */
    if ((cp->win != MPI_WIN_NULL) && !cp->lost) {
        MPI_Win_unlock_all(cp->win);
        ret = MPI_Win_free(&cp->win);
        ret = (ret == MPI_SUCCESS) ? 0 : fail_mpi(cp, "close", ret);
        ret = agree(cp, ret);
    }
    if (cp->lock >= 0) {
        close(cp->lock);
    }
    MPI_Comm_free(&cp->comm);
    free(cp->arrays);
    free(cp->table);
    free(cp);
    return ret;
}
