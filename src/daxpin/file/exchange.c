/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Exchange the program's mappings and descriptors for the holder's
 * description */

#include "exchange.h"

#include "daxpin/os/advice.h"
#include "daxpin/os/clock.h"
#include "daxpin/os/close.h"
#include "daxpin/os/lease.h"
#include "daxpin/os/log.h"
#include "daxpin/os/proc.h"
#include "daxpin/os/vma.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DAXPIN_SPANS_STEP 16

/* Bytes that are locked in memory at a time, with daxpin_mutex held */
#define DAXPIN_FILL_STEP (16ul << 20)

/* Passes before a program that maps the file all the time is refused */
#define DAXPIN_EXCHANGE_PASSES 10

/* Another pass is due: attributes of the mappings have to be read first */
#define DAXPIN_EXCHANGE_AGAIN 1

/* One pass over the mappings of the file in this process */
typedef struct daxpin_exchange {
    daxpin_file_t  *file;
    int            is_sole; /* there is no other description of the file */
    int            trusts;  /* what an earlier pass has seen to is as it was */
    daxpin_spans_t spans;   /* by address */
    daxpin_spans_t asked;   /* of the last pass, with their advice */
} daxpin_exchange_t;

/* Return whether an earlier pass has seen to all of the span. It may have seen
 * several mappings, which the kernel shows as one when they are alike. */
static int daxpin_spans_cover(const daxpin_spans_t *spans,
                              const daxpin_span_t *span)
{
    uintptr_t addr = span->start;
    const daxpin_span_t *known;
    size_t i;

    for (i = 0; (i < spans->count) && (addr < span->end); ++i) {
        known = &spans->spans[i];
        if ((addr >= known->start) && (addr < known->end) &&
            (known->offset + (addr - known->start) ==
             span->offset + (addr - span->start))) {
            addr = known->end;
        }
    }
    return addr >= span->end;
}

static daxpin_span_t *daxpin_spans_add(daxpin_spans_t *spans)
{
    daxpin_span_t *more;

    if (spans->count % DAXPIN_SPANS_STEP == 0) {
        more = realloc(spans->spans,
                       (spans->count + DAXPIN_SPANS_STEP) * sizeof(*more));
        if (more == NULL) {
            return NULL;
        }
        spans->spans = more;
    }
    return &spans->spans[spans->count++];
}

/* Note a mapping, and whether it is to be mapped anew. While the lease is
 * whole, nobody has another description of the file. Memory on DAX is mapped
 * anew even so, once, for the sake of MAP_SYNC. While nobody has the lease, the
 * program may have mapped the file again at the same place, through a
 * description of its own. */
static int daxpin_exchange_note(const daxpin_vma_t *vma, void *arg)
{
    daxpin_exchange_t *exchange = arg;
    const daxpin_file_t *file   = exchange->file;
    daxpin_span_t *span;

    if (!vma->shared || (vma->ino != file->map_ino) ||
        (vma->dev != file->map_dev)) {
        return 0;
    }
    span = daxpin_spans_add(&exchange->spans);
    if (span == NULL) {
        return daxpin_error(ENOMEM, "%s: out of memory", file->path);
    }
    span->start  = vma->start;
    span->end    = vma->end;
    span->offset = vma->offset;
    span->advice = 0;
    span->is_known = 0;
    span->fills  = 0;
    span->prot   = vma->prot;
    span->is_old = !(exchange->is_sole && !file->is_dax) &&
                   !(exchange->trusts &&
                     daxpin_spans_cover(&file->spans, span));
    return 0;
}

/* Return the span with these bounds, or NULL. */
static daxpin_span_t *daxpin_spans_find(const daxpin_spans_t *spans,
                                        uintptr_t start, uintptr_t end)
{
    size_t i;

    for (i = 0; i < spans->count; ++i) {
        if ((spans->spans[i].start == start) && (spans->spans[i].end == end)) {
            return &spans->spans[i];
        }
    }
    return NULL;
}

static void daxpin_exchange_note_advice(uintptr_t start, uintptr_t end,
                                        unsigned advice, void *arg)
{
    daxpin_span_t *span = daxpin_spans_find(arg, start, end);

    if (span != NULL) {
        span->advice   = advice;
        span->is_known = 1;
    }
}

/* Read what the program has asked of the mappings of this pass. The kernel looks
 * at each page of the process for this, so the caller does not hold
 * daxpin_mutex. */
static void daxpin_exchange_ask(daxpin_exchange_t *exchange)
{
    free(exchange->asked.spans);
    exchange->asked = exchange->spans;
    memset(&exchange->spans, 0, sizeof(exchange->spans));
    (void)daxpin_advice_each(daxpin_exchange_note_advice, &exchange->asked);
}

/* Take over what was read of the span. Return 0, or DAXPIN_EXCHANGE_AGAIN if it
 * was not there then. */
static int daxpin_exchange_take_advice(const daxpin_exchange_t *exchange,
                                       daxpin_span_t *span)
{
    const daxpin_span_t *asked = daxpin_spans_find(&exchange->asked,
                                                   span->start, span->end);

    if (asked == NULL) {
        return DAXPIN_EXCHANGE_AGAIN;
    }
    span->advice   = asked->advice;
    span->is_known = asked->is_known;
    return 0;
}

/* Check that another mapping can have what this one has. */
static int daxpin_exchange_check_span(const daxpin_file_t *file,
                                      const daxpin_span_t *span)
{
    const char *name;
    int ret;

    if (!span->is_known) {
        return daxpin_error(EBUSY, "%s: cannot adopt it: the attributes of its "
                            "mapping at %p cannot be read; check "
                            "/proc/self/smaps", file->path,
                            (void*)span->start);
    }
    if (span->advice & (DAXPIN_ADVICE_USERFAULT | DAXPIN_ADVICE_KEY)) {
        return daxpin_error(EBUSY, "%s: cannot adopt it: its mapping at %p "
                            "%s, which would be lost; map it without, and "
                            "set that when it is adopted", file->path,
                            (void*)span->start,
                            (span->advice & DAXPIN_ADVICE_KEY) ?
                            "has a protection key" :
                            "is registered with a userfaultfd");
    }
    ret = daxpin_advice_check(span->start, span->end, span->advice, &name);
    return (ret == 0) ? 0 :
           daxpin_error(EBUSY, "%s: cannot adopt it: to exchange its mapping "
                        "at %p would end what %s has set, which cannot be set "
                        "again: %s; check the limits of the process (ulimit "
                        "-l)", file->path, (void*)span->start, name,
                        strerror(-ret));
}

/* Find out what the program has asked of the mappings that are to be exchanged.
 * Return 0, DAXPIN_EXCHANGE_AGAIN, or -EBUSY with a message. */
static int daxpin_exchange_get_advice(daxpin_exchange_t *exchange)
{
    daxpin_span_t *spans = exchange->spans.spans;
    size_t i, count      = exchange->spans.count;
    int ret = 0;

    for (i = 0; (i < count) && (ret == 0); ++i) {
        if (spans[i].is_old) {
            ret = daxpin_exchange_take_advice(exchange, &spans[i]);
        }
    }
    for (i = 0; (i < count) && (ret == 0); ++i) {
        if (spans[i].is_old) {
            ret = daxpin_exchange_check_span(exchange->file, &spans[i]);
        }
    }
    return ret;
}

static int daxpin_exchange_apply_advice(const daxpin_file_t *file,
                                        const daxpin_span_t *span,
                                        const daxpin_policy_t *policy)
{
    const char *name;
    int ret = daxpin_advice_apply(span->start, span->end, span->advice, &name);

    if (ret == 0) {
        name = "mbind";
        ret  = daxpin_policy_apply(span->start, span->end, policy);
    }
    return (ret == 0) ? 0 :
           daxpin_error(-ret, "%s: its mapping at %p was exchanged, and what "
                        "%s had set is lost, because it cannot be set again: "
                        "%s; check the limits of the process (ulimit -l)",
                        file->path, (void*)span->start, name, strerror(-ret));
}

static int daxpin_exchange_map(const daxpin_file_t *file,
                               const daxpin_span_t *span)
{
    size_t length = span->end - span->start;
    void *addr    = (void*)span->start;
    int flags     = file->syncs ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;

    /* One system call: no thread meets an unmapped range, and the pages are
     * those of the file before and after. The kernel refuses MAP_SYNC when the
     * old mapping is gone already, so that is tried elsewhere. */
    if ((mmap(addr, length, span->prot, flags | MAP_FIXED, file->fd,
              (off_t)span->offset) != addr) &&
        (mmap(addr, length, span->prot, MAP_SHARED | MAP_FIXED, file->fd,
              (off_t)span->offset) != addr)) {
        return daxpin_error(errno, "%s: cannot map it again at %p through the "
                            "descriptor of its holder: %m", file->path, addr);
    }
    return 0;
}

/* Return whether a span still shows the file, all of it: the program may have
 * other memory there by now. What cannot be found out is no. */
static int daxpin_exchange_is_there(const daxpin_file_t *file,
                                    const daxpin_span_t *span)
{
    daxpin_piece_t piece;

    return (daxpin_vma_find(span->start, &piece) == 0) &&
           (piece.start <= span->start) && (piece.end >= span->end) &&
           piece.shared && (piece.ino == file->map_ino) &&
           (piece.dev == file->map_dev) &&
           (piece.offset + (span->start - piece.start) == span->offset);
}

/* Map a span anew, with what the program has asked of it. */
static int daxpin_exchange_span(daxpin_file_t *file, const daxpin_span_t *span)
{
    daxpin_policy_t policy;
    int ret;

    daxpin_policy_get(span->start, &policy);
    if (!daxpin_exchange_is_there(file, span)) {
        return DAXPIN_EXCHANGE_AGAIN;
    }
    ret = daxpin_exchange_map(file, span);
    return (ret == 0) ? daxpin_exchange_apply_advice(file, span, &policy) : ret;
}

/* Note in the list that stays this call's own, because another thread may
 * exchange meanwhile. */
static void daxpin_exchange_note_fill(const daxpin_exchange_t *exchange,
                                      const daxpin_span_t *span)
{
    daxpin_span_t *asked = daxpin_spans_find(&exchange->asked, span->start,
                                             span->end);

    if (asked != NULL) {
        asked->fills = daxpin_advice_fills(span->advice);
    }
}

static int daxpin_exchange_maps(daxpin_exchange_t *exchange)
{
    daxpin_file_t *file = exchange->file;
    daxpin_span_t *span;
    int ret = 0;
    size_t i;

    for (i = 0; (i < exchange->spans.count) && (ret == 0); ++i) {
        span = &exchange->spans.spans[i];
        if (span->is_old) {
            ret = daxpin_exchange_span(file, span);
            daxpin_exchange_note_fill(exchange, span);
        }
        if (ret == 0) {
            ret = daxpin_fault_watch(file, span->start, span->end);
        }
    }
    return ret;
}

/* Return whether two descriptors are not of one description. What cannot be found
 * out is yes, but not for one that is closed by now. */
static int daxpin_exchange_differs(int fd, int other)
{
    long ret = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, other);

    return (ret > 0) || ((ret < 0) && (errno != EBADF));
}

/* Return whether a descriptor of the file is to be exchanged. O_PATH does not
 * keep a lease away. O_APPEND stays as it is, because through the holder's
 * description its writes would go elsewhere. The number is the program's, which
 * may have closed it since it was found, and have another file there: so look
 * whose it is, last. */
static int daxpin_exchange_is_due(const daxpin_file_t *file, int fd)
{
    struct stat st;

    return (fd != file->fd) &&
           ((fcntl(fd, F_GETFL) & (O_PATH | O_APPEND)) == 0) &&
           daxpin_exchange_differs(fd, file->fd) &&
           (daxpin_proc_stat_fd(fd, "", &st) == 0) &&
           (st.st_ino == file->ino) && (st.st_dev == file->dev);
}

/* The flags that a description keeps, and that a program relies on */
#define DAXPIN_STATUS_FLAGS (O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

static const char *daxpin_status_names(int status, char *buffer, size_t size)
{
    int is_sync = (status & O_SYNC) == O_SYNC;

    snprintf(buffer, size, "%s%s%s%s", is_sync ? " O_SYNC" : "",
             (!is_sync && (status & O_DSYNC)) ? " O_DSYNC" : "",
             (status & O_DIRECT) ? " O_DIRECT" : "",
             (status & O_NOATIME) ? " O_NOATIME" : "");
    return (buffer[0] != '\0') ? buffer + 1 : "no such flag";
}

static int daxpin_exchange_check_flags(const daxpin_file_t *file, int fd)
{
    int status = fcntl(fd, F_GETFL) & DAXPIN_STATUS_FLAGS;
    int shared = fcntl(file->fd, F_GETFL) & DAXPIN_STATUS_FLAGS;
    char holder[DAXPIN_HOLDER_NAME], has[64], lacks[64];

    if (status == shared) {
        return 0;
    }
    return daxpin_error(EBUSY, "%s: cannot adopt it: descriptor %d has %s, and "
                        "the one of %s, which all would share, has %s; open "
                        "the file with the same flags everywhere, or close the "
                        "descriptor", file->path, fd,
                        daxpin_status_names(status, has, sizeof(has)),
                        daxpin_file_holder_name(file, holder, sizeof(holder)),
                        daxpin_status_names(shared, lacks, sizeof(lacks)));
}

/* Check that no lock is on a descriptor: the exchange would end it. A lock on
 * the holder's description would exclude nobody who gets that description. */
static int daxpin_exchange_check_locks(const daxpin_file_t *file, int fd)
{
    int locks  = daxpin_fd_locks(fd) & ~DAXPIN_FD_LOCK_RECORD;
    int shared = daxpin_fd_locks(file->fd) & ~DAXPIN_FD_LOCK_RECORD;
    int record = daxpin_fd_record_locks(fd);
    char holder[DAXPIN_HOLDER_NAME];

    if ((locks < 0) || (shared < 0) || (record < 0)) {
        return daxpin_error(EBUSY, "%s: cannot adopt it: the locks of "
                            "descriptor %d cannot be read; check "
                            "/proc/self/fdinfo", file->path, fd);
    }
    if (record != 0) {
        return daxpin_error(EBUSY, "%s: cannot adopt it: to exchange "
                            "descriptor %d would end the record locks "
                            "(F_SETLK) of this process on the file; unlock it, "
                            "and lock it again afterwards", file->path, fd);
    }
    if (locks != 0) {
        return daxpin_error(EBUSY, "%s: cannot adopt it: to exchange "
                            "descriptor %d would end its lock (%s); unlock it, "
                            "or lock another file", file->path, fd,
                            (locks & DAXPIN_FD_LOCK_OFD) ? "F_OFD_SETLK" :
                                                           "flock");
    }
    if (shared != 0) {
        return daxpin_error(EBUSY, "%s: cannot adopt it: descriptor %d would "
                            "share the lock (%s) of %s, which would exclude it "
                            "no more; unlock it there, or lock another file",
                            file->path, fd,
                            (shared & DAXPIN_FD_LOCK_OFD) ? "F_OFD_SETLK" :
                                                            "flock",
                            daxpin_file_holder_name(file, holder,
                                                    sizeof(holder)));
    }
    return 0;
}

/* Check that a descriptor can be exchanged, and nothing of it is lost. */
static int daxpin_exchange_check_fd(int fd, void *arg)
{
    const daxpin_file_t *file = arg;
    int ret;

    if (!daxpin_exchange_is_due(file, fd)) {
        return 0;
    }
    ret = daxpin_exchange_check_flags(file, fd);
    return (ret == 0) ? daxpin_exchange_check_locks(file, fd) : ret;
}

/* Report, once for each file, that a descriptor has got another mode: the
 * kernel grants no lease beside a description that is open for reading only. */
static void daxpin_exchange_log_mode(daxpin_file_t *file, int fd, int mode)
{
    daxpin_log(file->logged_mode ? DAXPIN_LOG_DEBUG : DAXPIN_LOG_WARN,
               "%s: descriptor %d was %s and is for reading and writing now, "
               "because all descriptors of a file under lease are one open "
               "file description; open it for reading and writing, or close it "
               "first", file->path, fd,
               (mode == O_RDONLY) ? "read-only" : "write-only");
    file->logged_mode = 1;
}

static int daxpin_exchange_fd(int fd, void *arg)
{
    daxpin_file_t *file = arg;
    int flags           = fcntl(fd, F_GETFD);
    int mode            = fcntl(fd, F_GETFL) & O_ACCMODE;

    if (!daxpin_exchange_is_due(file, fd)) {
        return 0;
    }
    if (dup3(file->fd, fd, (flags & FD_CLOEXEC) ? O_CLOEXEC : 0) < 0) {
        return daxpin_error(EBUSY, "%s: cannot exchange descriptor %d for that "
                            "of its holder: %s", file->path, fd,
                            strerror(errno));
    }
    if (mode != O_RDWR) {
        daxpin_exchange_log_mode(file, fd, mode);
    }
    return 0;
}

/* Call func for each descriptor of the file. */
static int daxpin_exchange_fds(daxpin_file_t *file, daxpin_fd_func_t func)
{
    int ret = daxpin_fd_for_each(file->ino, file->dev, func, file);

    /* func returns -EBUSY with a message; the search leaves none */
    return ((ret == 0) || (ret == -EBUSY)) ? ret :
           daxpin_error(-ret, "%s: cannot adopt it: the descriptors of this "
                        "process cannot be exchanged: %s", file->path,
                        strerror(-ret));
}

static int daxpin_exchange_all(daxpin_exchange_t *exchange)
{
    daxpin_file_t *file = exchange->file;
    daxpin_spans_t former;
    int ret;

    ret = daxpin_exchange_fds(file, daxpin_exchange_check_fd);
    if (ret == 0) {
        ret = daxpin_vma_for_each(daxpin_exchange_note, exchange);
    }
    if (ret == 0) {
        ret = daxpin_exchange_get_advice(exchange);
    }
    if (ret == 0) {
        ret = daxpin_exchange_maps(exchange);
    }
    if (ret == 0) {
        ret = daxpin_exchange_fds(file, daxpin_exchange_fd);
    }
    if (ret != 0) {
        return ret;
    }
    former          = file->spans;
    file->spans     = exchange->spans;
    exchange->spans = former;
    return 0;
}

/* Make one pass. Return 0, DAXPIN_EXCHANGE_AGAIN, or -errno with a message. */
static int daxpin_exchange_pass(daxpin_exchange_t *exchange)
{
    daxpin_file_t *file = exchange->file;
    int ret = 0;

    pthread_mutex_lock(&daxpin_mutex);
    file->adopted = 1;
    if (file->fd >= 0) {
        exchange->is_sole = daxpin_lease_is_whole(file->fd);
        exchange->trusts  = daxpin_file_state(file) != DAXPIN_STATE_PENDING;
        ret               = daxpin_exchange_all(exchange);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

/* Return whether a mapping is as an exchange would make it: one of DAX has been
 * mapped anew, for the sake of MAP_SYNC. Caller holds daxpin_mutex. */
static int daxpin_vma_is_exchanged(const daxpin_file_t *file,
                                   const daxpin_vma_t *vma)
{
    const daxpin_span_t span = {.start  = vma->start,
                                .end    = vma->end,
                                .offset = vma->offset};

    return !file->is_dax || daxpin_spans_cover(&file->spans, &span);
}

int daxpin_file_is_exchanged(daxpin_file_t *file, const daxpin_vma_t *vma)
{
    int ret;

    pthread_mutex_lock(&daxpin_mutex);
    ret = file->adopted && (file->fd >= 0) &&
          (daxpin_file_state(file) == DAXPIN_STATE_HELD) &&
          ((vma == NULL) || daxpin_vma_is_exchanged(file, vma)) &&
          daxpin_lease_is_whole(file->fd);
    if (ret && (vma != NULL)) {
        /* All of the mapping, so that its next ranges need no watch */
        ret = daxpin_fault_watch(file, vma->start, vma->end);
        ret = (ret == 0) ? 1 : ret;
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return ret;
}

/* Have a piece of a span in memory. A revoke may have replaced the mapping, or
 * the program. Return the end of the piece. */
static uintptr_t daxpin_exchange_fill_piece(daxpin_file_t *file,
                                            uintptr_t start, uintptr_t end)
{
    daxpin_piece_t piece;

    if (end - start > DAXPIN_FILL_STEP) {
        end = start + DAXPIN_FILL_STEP;
    }
    pthread_mutex_lock(&daxpin_mutex);
    if ((file->fd >= 0) && (daxpin_vma_find(start, &piece) == 0) &&
        (piece.start <= start) && piece.shared &&
        (piece.ino == file->map_ino) && (piece.dev == file->map_dev)) {
        end = (piece.end < end) ? piece.end : end;
        daxpin_advice_fill(start, end);
    }
    pthread_mutex_unlock(&daxpin_mutex);
    return end;
}

/* Have in memory what the program had there by mlock(), piece by piece: with
 * daxpin_mutex held all at once, all files would wait. */
static void daxpin_exchange_fill(const daxpin_exchange_t *exchange)
{
    const daxpin_span_t *span;
    uintptr_t addr;
    size_t i;

    for (i = 0; i < exchange->asked.count; ++i) {
        span = &exchange->asked.spans[i];
        for (addr = span->start; span->fills && (addr < span->end);) {
            addr = daxpin_exchange_fill_piece(exchange->file, addr, span->end);
        }
    }
}

int daxpin_file_exchange(daxpin_file_t *file)
{
    daxpin_exchange_t exchange = {.file = file};
    int ret, passes;

    (void)daxpin_close_tick(daxpin_now()); /* They would be exchanged, too */
    ret = daxpin_exchange_pass(&exchange);
    for (passes = 1; (ret == DAXPIN_EXCHANGE_AGAIN) &&
                     (passes < DAXPIN_EXCHANGE_PASSES); ++passes) {
        daxpin_exchange_ask(&exchange);
        ret = daxpin_exchange_pass(&exchange);
    }
    daxpin_exchange_fill(&exchange);
    free(exchange.spans.spans);
    free(exchange.asked.spans);
    return (ret <= 0) ? ret :
           daxpin_error(EBUSY, "%s: cannot adopt it: its mappings in this "
                        "process change all the time; adopt it when no thread "
                        "maps or unmaps it", file->path);
}
