/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin pins: what processes report that they pin, and the state of leases */

#include "pins.h"

#include "commands.h"
#include "json.h"
#include "memory.h"

#include "daxpin/daxpin.h"
#include "daxpin/os/control.h"
#include "wire/report.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PINS_CONTROL       "/memfd:daxpin-control" /* as in /proc */
#define PINS_CONTROLS_MAX  4096 /* of a process; a report has 256 files */
#define PINS_REPORTS_MAX   64   /* likewise; those of its parents are others */
#define PINS_DELETED       " (deleted)" /* likewise */
#define PINS_WATCH_SECONDS 1.0
#define PINS_CLEAR         "\033[H\033[2J"

typedef struct pins_args {
    int    json;
    int    prometheus;
    char   *output; /* of prometheus; NULL: standard output */
    int    watch;
    double seconds;
    pid_t  *pids;
    size_t count;
} pins_args_t;

/*
 * Reading
 */

/* A search for the report of a process */
typedef struct pins_search {
    const daxpin_proc_t *proc;
    daxpin_report_t     *report;
    uint32_t            version; /* of a report that cannot be read; 0: there is
                                    none */
} pins_search_t;

/* Take a report if it is that of the process: a child of a fork that has not
 * executed anything has the descriptor of its parent's report. */
static int pins_take_report(int fd, void *arg)
{
    pins_search_t *search = arg;
    struct {
        uint32_t magic;
        uint32_t version;
        uint32_t pid;
        uint32_t num_records;
    } head; /* of daxpin_report_t */

    if ((pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head)) ||
        (head.magic != DAXPIN_REPORT_MAGIC) ||
        (head.pid != (uint32_t)search->proc->own_pid)) {
        return 0;
    }
    if ((head.version < DAXPIN_REPORT_OLDEST) ||
        (head.version > DAXPIN_REPORT_VERSION) ||
        (head.num_records != DAXPIN_REPORT_RECORDS)) {
        search->version = head.version;
        return 0;
    }
    search->report = daxpin_memory_read(fd, sizeof(*search->report),
                                        offsetof(daxpin_report_t, events));
    return search->report != NULL;
}

/* Take the state that a holder's page says. */
static int pins_take_state(int fd, void *arg)
{
    pins_holder_t *holder = arg;
    daxpin_control_t control;
    pins_state_t *states;
    const ssize_t least = offsetof(daxpin_control_t, locks);

    if ((pread(fd, &control, sizeof(control), 0) < least) ||
        (control.magic != DAXPIN_CONTROL_MAGIC)) {
        return 0;
    }
    states = realloc(holder->states, (holder->count + 1) * sizeof(*states));
    if (states == NULL) {
        return -ENOMEM;
    }
    holder->states = states;
    states[holder->count++] = (pins_state_t){
        .dev   = control.dev,
        .ino   = control.ino,
        .state = (int)atomic_load(&control.state)
    };
    return 0;
}

/* Return what the pages of a process say. It is read once, for all the files of
 * all processes; NULL: out of memory. */
static const pins_holder_t *pins_find_holder(pins_list_t *list, pid_t pid)
{
    size_t low = 0, high = list->num_holders, middle;
    pins_holder_t *holders, holder = {.pid = pid};

    while (low < high) {
        middle = (low + high) / 2;
        if (list->holders[middle].pid < pid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if ((low < list->num_holders) && (list->holders[low].pid == pid)) {
        return &list->holders[low];
    }
    holders = realloc(list->holders,
                      (list->num_holders + 1) * sizeof(*holders));
    if (holders == NULL) {
        return NULL;
    }
    list->holders = holders;
    daxpin_memory_each(pid, PINS_CONTROL, PINS_CONTROLS_MAX, pins_take_state,
                       &holder);
    memmove(&holders[low + 1], &holders[low],
            (list->num_holders - low) * sizeof(*holders));
    holders[low] = holder;
    ++list->num_holders;
    return &holders[low];
}

/* Return the state that the page of a process says, or -1. */
static int pins_read_state(pins_list_t *list, pid_t pid,
                           const pins_file_t *file)
{
    const pins_holder_t *holder = pins_find_holder(list, pid);
    size_t i;

    for (i = 0; (holder != NULL) && (i < holder->count); ++i) {
        if ((holder->states[i].ino == file->ino) &&
            (holder->states[i].dev == file->dev)) {
            return holder->states[i].state;
        }
    }
    return -1;
}

/* A member has its holder's control page, and no descriptor of it. In another pid
 * namespace the holder's number may be another process's, which has no control
 * page of this file. */
static int pins_find_state(pins_list_t *list, pid_t pid,
                           const pins_file_t *file)
{
    int state = pins_read_state(list, pid, file);

    return ((state >= 0) || (file->holder == pid)) ?
                   state :
                   pins_read_state(list, file->holder, file);
}

/* Replace a string. Without memory it stays. */
static void pins_set_string(char **string_p, const char *value)
{
    char *copy = strdup(value);

    if (copy != NULL) {
        free(*string_p);
        *string_p = copy;
    }
}

/* The kernel puts a word after the last name of a file that was deleted. A file
 * that has it in its name was not: it has a link. */
static void pins_cut_deleted(pins_file_t *file, nlink_t links)
{
    const size_t length = strlen(file->path), more = strlen(PINS_DELETED);

    file->deleted = (links == 0) && (length > more) &&
                    (strcmp(file->path + length - more, PINS_DELETED) == 0);
    if (file->deleted) {
        file->path[length - more] = '\0';
    }
}

/* Update the path of a file: the kernel follows renames of an open file. Do so for
 * all files at once, since a process may have very many descriptors. */
static int pins_name_fd(int dir, int fd, const char *target, void *arg)
{
    const pins_process_t *process = arg;
    char name[16];
    struct stat st;
    pins_file_t *file;
    int known;
    size_t i;

    snprintf(name, sizeof(name), "%d", fd);
    known = (target[0] == '/') && (daxpin_proc_stat_fd(dir, name, &st) == 0);
    for (i = 0; i < process->count; ++i) {
        file = &process->files[i];
        if (file->pins == 0) {
            continue;
        }
        if (fd == file->owner_fd) {
            pins_set_string(&file->owner_path, target);
        }
        if (known && (st.st_ino == file->ino) && (st.st_dev == file->dev)) {
            pins_set_string(&file->path, target);
            pins_cut_deleted(file, st.st_nlink);
        }
    }
    return 0;
}

static void pins_check_lease(const pins_list_t *list, pins_file_t *file)
{
    const daxpin_lease_line_t *lease;

    if (list->leases.error != 0) {
        return;
    }
    lease       = daxpin_leases_find(&list->leases, file->dev, file->ino,
                                     file->holder);
    file->lease = (lease == NULL)  ? "none" :
                  lease->breaking  ? "breaking" :
                  lease->write     ? "held" :
                                     "shared";
}

static int pins_holder_is_dead(const pins_file_t *file)
{
    return (kill(file->holder, 0) != 0) && (errno == ESRCH);
}

/* Return what the user should know of a pin that is not under lease now; NULL:
 * it is */
static const char *pins_note(const pins_process_t *process,
                             const pins_file_t *file)
{
    switch (file->state) {
    case DAXPIN_STATE_PENDING:
        return "pending";
    case DAXPIN_STATE_LENT:
        return "lent";
    case DAXPIN_STATE_BREAKING:
        return "breaking";
    case DAXPIN_STATE_REVOKED:
        return "revoked";
    case DAXPIN_STATE_RELEASED:
        return "released";
    default:
        break;
    }
    /* The holder's number is that of the process's own pid namespace */
    if ((process->proc.pid == process->proc.own_pid) &&
        pins_holder_is_dead(file)) {
        return "holder is dead";
    }
    if ((file->lease != NULL) && (strcmp(file->lease, "none") == 0) &&
        (process->proc.pid == process->proc.own_pid)) {
        return "no lease";
    }
    return NULL;
}

static int pins_compare(const void *one, const void *two)
{
    const pins_file_t *a = one, *b = two;

    /* Open files first, as in the RFC: as unsigned, -1 is the greatest */
    if (a->owner_fd != b->owner_fd) {
        return ((unsigned)a->owner_fd < (unsigned)b->owner_fd) ? -1 : 1;
    }
    return strcmp(a->path, b->path);
}

/* Look what there is of the files beside the report. That takes long, and a
 * process accesses the files of many others: do so for pins alone. */
static void pins_look(pins_list_t *list, pins_process_t *process)
{
    const pid_t pid = process->proc.pid;
    pins_file_t *file;
    size_t i;

    daxpin_proc_each_link(pid, pins_name_fd, process);
    for (i = 0; i < process->count; ++i) {
        file = &process->files[i];
        if (file->pins > 0) {
            file->state = pins_find_state(list, pid, file);
            pins_check_lease(list, file);
            file->note = pins_note(process, file);
        }
    }
}

/* Read the counts of a record of a report. */
static void pins_read_counts(const daxpin_report_t *report, size_t i,
                             daxpin_pins_counts_t *counts)
{
    counts->has_events   = report->version >= DAXPIN_REPORT_EVENTS;
    counts->events       = report->events[i];
    counts->has_accesses = report->version >= DAXPIN_REPORT_ACCESSES;
    counts->accesses     = report->accesses[i];
}

/* Return whether a record of a report is to be shown. */
static int pins_is_shown(const pins_list_t *list,
                         const daxpin_report_record_t *record)
{
    return atomic_load(&record->used) &&
           ((atomic_load(&record->pins) > 0) || list->all);
}

/* Fill in a file from a record of a report. Return 0 or -ENOMEM. */
static int pins_fill_file(const daxpin_report_t *report, size_t i,
                          pins_file_t *file)
{
    const daxpin_report_record_t *record = &report->records[i];

    file->owner_fd  = (record->owner_type == DAXPIN_OWNER_FILE) ?
                              record->owner_fd :
                              -1;
    file->dev       = record->dev;
    file->ino       = record->ino;
    file->pins      = atomic_load(&record->pins);
    file->bytes     = atomic_load(&record->bytes);
    file->holder    = (pid_t)record->holder_pid;
    file->state     = -1;
    file->locks     = atomic_load(&record->locks);
    file->numa_node = record->numa_node;
    pins_read_counts(report, i, &file->counts);
    file->path = strndup(record->path, DAXPIN_REPORT_PATH - 1);
    return (file->path != NULL) ? 0 : -ENOMEM;
}

static int pins_fill(pins_list_t *list, const daxpin_report_t *report,
                     pins_process_t *process)
{
    size_t i, count = 0;

    for (i = 0; i < DAXPIN_REPORT_RECORDS; ++i) {
        count += (size_t)pins_is_shown(list, &report->records[i]);
    }
    process->omitted = atomic_load(&report->omitted);
    process->files   = calloc(count + 1, sizeof(*process->files));
    if (process->files == NULL) {
        return -ENOMEM;
    }
    for (i = 0; i < DAXPIN_REPORT_RECORDS; ++i) {
        if (pins_is_shown(list, &report->records[i]) &&
            (pins_fill_file(report, i, &process->files[process->count++]) !=
             0)) {
            return -ENOMEM;
        }
    }
    if (list->look) {
        pins_look(list, process);
    }
    qsort(process->files, process->count, sizeof(*process->files),
          pins_compare);
    return 0;
}

static int pins_add(pins_list_t *list, const daxpin_proc_t *proc,
                    const daxpin_report_t *report)
{
    pins_process_t *processes, *process;

    processes = realloc(list->processes,
                        (list->count + 1) * sizeof(*processes));
    if (processes == NULL) {
        return -ENOMEM;
    }
    list->processes = processes;
    process         = &processes[list->count++];
    memset(process, 0, sizeof(*process));
    process->proc = *proc;
    return pins_fill(list, report, process);
}

/* Report that the report of a process cannot be read. */
static void pins_say_version(const char *command, const daxpin_proc_t *proc,
                             uint32_t version)
{
    fprintf(stderr, "daxpin %s: cannot read the report of pid %d (", command,
            (int)proc->pid);
    daxpin_text_put(stderr, proc->command);
    fprintf(stderr,
            "): it has version %u, this command reads versions %u to %u; use "
            "the daxpin command of the daxpin that the process uses\n",
            version, DAXPIN_REPORT_OLDEST, DAXPIN_REPORT_VERSION);
}

/* Read the report of a process. Return 0 or a negative errno value; -EPROTO: it
 * is of another version. The caller frees *report_p; NULL: there is none. */
static int pins_read_report(pid_t pid, daxpin_proc_t *proc,
                            daxpin_report_t **report_p, uint32_t *version_p)
{
    pins_search_t search = {.proc = proc};
    int ret;

    *report_p = NULL;
    ret       = daxpin_proc_read_status(pid, proc);
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_memory_each(pid, DAXPIN_REPORT_LINK, PINS_REPORTS_MAX,
                             pins_take_report, &search);
    if (ret < 0) {
        return ret;
    }
    *report_p  = search.report;
    *version_p = search.version;
    return ((search.report == NULL) && (search.version != 0)) ? -EPROTO : 0;
}

/* Return whether a process is passed for the first time. */
static int pins_is_news(pid_t pid)
{
    static pid_t *pids;
    static size_t count;
    pid_t *longer;
    size_t i;

    for (i = 0; i < count; ++i) {
        if (pids[i] == pid) {
            return 0;
        }
    }
    longer = realloc(pids, (count + 1) * sizeof(*pids));
    if (longer != NULL) {
        pids          = longer;
        pids[count++] = pid;
    }
    return 1;
}

static int pins_read_process(pid_t pid, pins_list_t *list)
{
    daxpin_report_t *report;
    daxpin_proc_t proc;
    uint32_t version;
    int ret;

    ret = pins_read_report(pid, &proc, &report, &version);
    if (report != NULL) {
        ret = pins_add(list, &proc, report);
        free(report);
    } else if ((ret == -EPROTO) && pins_is_news(pid)) {
        pins_say_version("pins", &proc, version); /* once, also by --watch */
    }
    return ret;
}

int daxpin_pins_read_counts(pid_t pid, dev_t dev, uint64_t ino,
                            daxpin_pins_counts_t *counts)
{
    const daxpin_report_record_t *record;
    daxpin_report_t *report;
    daxpin_proc_t proc;
    uint32_t version;
    int i, ret, found = 0;

    ret = pins_read_report(pid, &proc, &report, &version);
    if (ret == -EPROTO) {
        pins_say_version("info", &proc, version);
    }
    if (report == NULL) {
        return 0;
    }
    for (i = 0; (i < (int)DAXPIN_REPORT_RECORDS) && !found; ++i) {
        record = &report->records[i];
        found  = atomic_load(&record->used) && (record->dev == dev) &&
                 (record->ino == ino);
        if (found) {
            pins_read_counts(report, (size_t)i, counts);
        }
    }
    free(report);
    return found;
}

/* Skip processes of other users, and those that have ended */
static int pins_read_any(pid_t pid, void *arg)
{
    return (pins_read_process(pid, arg) == -ENOMEM) ? -ENOMEM : 0;
}

static void pins_read_named(pins_list_t *list, pid_t pid)
{
    int ret = pins_read_process(pid, list);

    if (ret == 0) {
        return;
    }
    list->failed = 1;
    if (ret == -EPROTO) {
        return; /* after a message */
    }
    if ((ret == -ENOENT) || (ret == -ESRCH)) {
        fprintf(stderr, "daxpin pins: there is no process %d\n", (int)pid);
    } else if ((ret == -EACCES) || (ret == -EPERM)) {
        fprintf(stderr,
                "daxpin pins: cannot read process %d: it belongs to "
                "another user; run as that user or as root\n",
                (int)pid);
    } else {
        fprintf(stderr, "daxpin pins: cannot read process %d: %s\n",
                (int)pid, strerror(-ret));
    }
}

static void pins_read(pins_list_t *list, const pins_args_t *args)
{
    size_t i;
    int ret;

    memset(list, 0, sizeof(*list));
    list->all = args->json || args->prometheus || args->watch;
    /* A series goes on only if its labels stay: so the name is that in the
     * report, whatever becomes of the file */
    list->look = !args->prometheus;
    if (list->look) {
        daxpin_leases_read(&list->leases);
    }
    for (i = 0; i < args->count; ++i) {
        pins_read_named(list, args->pids[i]);
    }
    if (args->count == 0) {
        ret = daxpin_proc_each(pins_read_any, list);
        if (ret != 0) {
            list->failed = 1;
            fprintf(stderr, "daxpin pins: cannot read /proc: %s\n",
                    strerror(-ret));
        }
    }
}

static void pins_free_process(pins_process_t *process)
{
    size_t i;

    for (i = 0; i < process->count; ++i) {
        free(process->files[i].path);
        free(process->files[i].owner_path);
    }
    free(process->files);
}

static void pins_free(pins_list_t *list)
{
    size_t i;

    for (i = 0; i < list->count; ++i) {
        pins_free_process(&list->processes[i]);
    }
    free(list->processes);
    for (i = 0; i < list->num_holders; ++i) {
        free(list->holders[i].states);
    }
    free(list->holders);
    daxpin_leases_free(&list->leases);
}

/*
 * Writing
 */

/* Write a count, and its delays. */
static void pins_print_count(FILE *stream, const char *name,
                             const daxpin_report_count_t *count)
{
    if (count->count > 0) {
        fprintf(stream, " [%s: %llu, last %llu us, max %llu us]", name,
                (unsigned long long)count->count,
                (unsigned long long)count->last_us,
                (unsigned long long)count->max_us);
    }
}

static void pins_print_file(FILE *stream, const pins_file_t *file, int counts)
{
    const daxpin_report_events_t *events = &file->counts.events;

    if (file->owner_fd >= 0) {
        fputc('\t', stream);
    }
    daxpin_text_put(stream, file->path);
    if (file->deleted) {
        fputs(PINS_DELETED, stream);
    }
    if (file->note != NULL) {
        fprintf(stream, " (%s)", file->note);
    }
    if (counts && (file->counts.accesses > 0)) {
        fprintf(stream, " [accesses: %llu]",
                (unsigned long long)file->counts.accesses);
    }
    if (counts) {
        pins_print_count(stream, "breaks", &events->breaks);
        pins_print_count(stream, "lends", &events->lends);
        pins_print_count(stream, "revokes", &events->revokes);
    }
    fputc('\n', stream);
}

static void pins_print_process(FILE *stream, const pins_process_t *process,
                               int title, int counts)
{
    const pins_file_t *file;
    size_t i;

    if (title) {
        fprintf(stream, "pid %d (", (int)process->proc.pid);
        daxpin_text_put(stream, process->proc.command);
        fprintf(stream, "):\n");
    }
    for (i = 0; i < process->count; ++i) {
        file = &process->files[i];
        if ((file->owner_fd >= 0) &&
            ((i == 0) || (file->owner_fd != process->files[i - 1].owner_fd))) {
            fprintf(stream, "%d: ", file->owner_fd);
            daxpin_text_put(stream, (file->owner_path != NULL) ?
                                            file->owner_path :
                                            "(closed)");
            fputc('\n', stream);
        }
        pins_print_file(stream, file, counts);
    }
    if (process->omitted > 0) {
        fprintf(stderr,
                "daxpin pins: pid %d has %lu more pins than its report has "
                "room for\n",
                (int)process->proc.pid, process->omitted);
    }
}

/* Print everything to a string, which pins_watch() compares; the caller frees
 * it */
static char *pins_print(const pins_args_t *args, int *failed_p)
{
    char *text  = NULL;
    size_t size = 0, i;
    pins_list_t list;
    FILE *stream;

    stream = open_memstream(&text, &size);
    if (stream == NULL) {
        fprintf(stderr, "daxpin pins: out of memory\n");
        *failed_p = 1;
        return NULL;
    }
    pins_read(&list, args);
    if (args->json) {
        daxpin_pins_print_json(stream, &list);
    } else if (args->prometheus) {
        daxpin_pins_print_prometheus(stream, &list);
    }
    for (i = 0; !args->json && !args->prometheus && (i < list.count); ++i) {
        if ((list.processes[i].count > 0) || (list.processes[i].omitted > 0)) {
            pins_print_process(stream, &list.processes[i], args->count != 1,
                               args->watch);
        }
    }
    *failed_p = list.failed;
    pins_free(&list);
    fclose(stream);
    return text;
}

/*
 * The command
 */

/* Write a file so that its reader sees the old text or the new one. */
static int pins_replace(const char *path, const char *text)
{
    char name[PATH_MAX];
    FILE *stream = NULL;
    struct stat st;
    int fd, failed;

    /* Root can replace /dev/null and /dev/stdout, too */
    if ((lstat(path, &st) == 0) && !S_ISREG(st.st_mode)) {
        fprintf(stderr,
                "daxpin pins: cannot write %s: it exists and is not a regular "
                "file; give another name, or --prometheus alone to print\n",
                path);
        return 1;
    }
    /* A collector of *.prom must not take the temporary name */
    if (snprintf(name, sizeof(name), "%s.XXXXXX", path) >= (int)sizeof(name)) {
        errno = ENAMETOOLONG;
        goto err;
    }
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        goto err;
    }
    fchmod(fd, 0644); /* the collector is another user */
    stream = fdopen(fd, "w");
    if (stream == NULL) {
        close(fd);
        goto err_unlink;
    }
    failed  = (fputs(text, stream) < 0);
    failed |= (fclose(stream) != 0);
    if (failed || (rename(name, path) != 0)) {
        goto err_unlink;
    }
    return 0;

err_unlink:
    fd = errno;
    unlink(name);
    errno = fd;
err:
    fprintf(stderr, "daxpin pins: cannot write %s: %s\n", path,
            strerror(errno));
    return 1;
}

/* The file to remove when a signal ends the command; NULL: there is none. It
 * changes only while signals are blocked. */
static const char *volatile pins_written;

static int pins_write(const pins_args_t *args, const char *text)
{
    sigset_t all, before;
    int status;

    if (args->output == NULL) {
        fputs(text, stdout);
        return daxpin_cmd_flush("pins");
    }
    /* A signal must not end the command while the temporary file is there */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    status = pins_replace(args->output, text);
    if ((status == 0) && args->watch) {
        pins_written = args->output;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* Print until a signal comes or the reader of the output ends. What has not
 * changed is not printed again. */
static int pins_watch(const pins_args_t *args)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    char *last        = NULL, *text;
    int failed, status = 0;

    while (status == 0) {
        text = pins_print(args, &failed);
        if ((text == NULL) || failed) {
            free(text);
            status = 1;
            break;
        }
        if ((last == NULL) || (strcmp(text, last) != 0)) {
            if (isatty(STDOUT_FILENO)) {
                fputs(PINS_CLEAR, stdout);
            } else if ((last != NULL) && !args->json) {
                fputc('\n', stdout);
            }
            status = pins_write(args, text);
        }
        free(last);
        last = text;
        if (poll(&out, 1, (int)(args->seconds * 1e3)) > 0) {
            break; /* POLLERR: the reader has ended */
        }
    }
    free(last);
    return status;
}

/* Remove the file and end as the signal does. Async-signal-safe. */
static void pins_end(int number)
{
    static const char message[] = "daxpin pins: cannot remove ";
    const char *path            = pins_written;

    if ((path != NULL) && (unlink(path) != 0) && (errno != ENOENT)) {
        (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
        (void)!write(STDERR_FILENO, path, strlen(path));
        (void)!write(STDERR_FILENO, "\n", 1);
    }
    signal(number, SIG_DFL);
    raise(number); /* it comes when this function returns */
}

/* Have the signals that end the command call pins_end(), at any time: what it
 * reads may take long. One that is ignored, as SIGHUP is by nohup, stays so. */
static void pins_catch_ends(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action;
    size_t i;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); ++i) {
        if ((sigaction(numbers[i], NULL, &action) == 0) &&
            (action.sa_handler != SIG_IGN)) {
            memset(&action, 0, sizeof(action));
            action.sa_handler = pins_end;
            sigfillset(&action.sa_mask);
            sigaction(numbers[i], &action, NULL);
        }
    }
}

/* Write the file until a signal comes, also if nothing has changed, so that its
 * time shows that the command goes on. Then remove it: what nobody brings up to
 * date must not be collected for ever. Standard output may be anything. */
static int pins_watch_file(const pins_args_t *args)
{
    const time_t seconds        = (time_t)args->seconds;
    const struct timespec pause = {
        .tv_sec  = seconds,
        .tv_nsec = (long)((args->seconds - (double)seconds) * 1e9)
    };
    int failed, status;
    char *text;

    pins_catch_ends();
    for (;;) {
        text   = pins_print(args, &failed);
        status = ((text != NULL) && !failed) ? pins_write(args, text) : 1;
        free(text);
        if (status != 0) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    if ((pins_written != NULL) && (unlink(args->output) != 0) &&
        (errno != ENOENT)) {
        fprintf(stderr, "daxpin pins: cannot remove %s: %s\n", args->output,
                strerror(errno));
    }
    return status;
}

static int pins_parse_pid(const char *text, pid_t *pid_p)
{
    char *end;
    long pid;

    errno = 0;
    pid   = strtol(text, &end, 10);
    if ((errno != 0) || (end == text) || (*end != '\0') || (pid <= 0) ||
        (pid > INT_MAX)) {
        fprintf(stderr, "daxpin pins: %s is not the number of a process\n",
                text);
        return -1;
    }
    *pid_p = (pid_t)pid;
    return 0;
}

/* Add a process, unless it is there already: none is listed twice. */
static void pins_add_pid(pins_args_t *args, pid_t pid)
{
    size_t i;

    for (i = 0; i < args->count; ++i) {
        if (args->pids[i] == pid) {
            return;
        }
    }
    args->pids[args->count++] = pid;
}

static int pins_parse_seconds(const char *text, double *seconds_p)
{
    char *end;

    if (text == NULL) {
        return 0;
    }
    *seconds_p = strtod(text, &end);
    if ((end == text) || (*end != '\0') || !(*seconds_p >= 0.01) ||
        !(*seconds_p <= 86400)) {
        fprintf(stderr, "daxpin pins: --watch=%s: give a number of seconds "
                        "from 0.01 to 86400\n", text);
        return -1;
    }
    return 0;
}

static int pins_parse(int argc, char **argv, pins_args_t *args)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"prometheus", optional_argument, NULL, 'p'},
        {"watch", optional_argument, NULL, 'w'},
        {NULL}
    };
    int option;
    pid_t pid;

    while ((option = getopt_long(argc, argv, "jpw", options, NULL)) >= 0) {
        switch (option) {
        case 'j':
            args->json = 1;
            break;
        case 'p':
            args->prometheus = 1;
            args->output     = optarg;
            if ((optarg != NULL) && (*optarg == '\0')) {
                fprintf(stderr, "daxpin pins: --prometheus=: give the name of "
                                "a file\n");
                return -1;
            }
            break;
        case 'w':
            args->watch = 1;
            if (pins_parse_seconds(optarg, &args->seconds) != 0) {
                return -1;
            }
            break;
        default:
            return -1;
        }
    }
    if (args->json && args->prometheus) {
        fprintf(stderr, "daxpin pins: --json and --prometheus exclude each "
                        "other\n");
        return -1;
    }
    args->pids = calloc((size_t)(argc - optind) + 1, sizeof(*args->pids));
    for (; (optind < argc) && (args->pids != NULL); ++optind) {
        if (pins_parse_pid(argv[optind], &pid) != 0) {
            return -1;
        }
        pins_add_pid(args, pid);
    }
    return (args->pids != NULL) ? 0 : -1;
}

int daxpin_cmd_pins(int argc, char **argv)
{
    pins_args_t args = {.seconds = PINS_WATCH_SECONDS};
    int status, failed;
    char *text;

    if (pins_parse(argc, argv, &args) != 0) {
        free(args.pids);
        return daxpin_cmd_usage("pins");
    }
    if (args.watch && (args.output != NULL)) {
        status = pins_watch_file(&args);
    } else if (args.watch) {
        status = pins_watch(&args);
    } else {
        text   = pins_print(&args, &failed);
        status = (text != NULL) ? pins_write(&args, text) | failed : 1;
        free(text);
    }
    free(args.pids);
    return status;
}
