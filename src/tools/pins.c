/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin pins: what processes report that they pin, and the state of leases */

#include "pins.h"

#include "commands.h"
#include "json.h"

#include "daxpin/daxpin.h"
#include "daxpin/os/control.h"
#include "daxpin/os/memfd.h"
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PINS_CONTROL       "/memfd:daxpin-control" /* as in /proc */
#define PINS_READ_TRIES    10
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

static dev_t pins_memfd_dev(void)
{
    struct stat st = {.st_dev = 0};
    int fd         = daxpin_memfd_create("daxpin", 0);

    if (fd >= 0) {
        fstat(fd, &st);
        close(fd);
    }
    return st.st_dev;
}

/* Open a descriptor of /proc/<pid>/fd if it is a memfd. By now it may be a
 * device or another thing that must not be opened. Return the descriptor or
 * -1. */
static int pins_open_memory(const pins_list_t *list, int dir, int fd)
{
    char name[64];
    struct stat st;
    int path_fd, memory = -1;

    snprintf(name, sizeof(name), "%d", fd);
    path_fd = openat(dir, name, O_PATH | O_CLOEXEC);
    if (path_fd < 0) {
        return -1;
    }
    if ((daxpin_proc_stat_fd(path_fd, "", &st) == 0) && S_ISREG(st.st_mode) &&
        (st.st_dev == list->memfd_dev)) {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
        memory = open(name, O_RDONLY | O_CLOEXEC);
    }
    close(path_fd);
    return memory;
}

/* Copy a memfd as it is at one moment, though the process may write it: two
 * copies have to be the same. An older process has less in it, but at least
 * that; the rest is 0. The caller frees it; NULL: cannot read it. */
static void *pins_read_memory(int fd, size_t size, size_t least)
{
    char *one = calloc(1, size), *two = calloc(1, size);
    ssize_t length;
    unsigned tries;

    for (tries = 0; (one != NULL) && (two != NULL) &&
                    (tries < PINS_READ_TRIES); ++tries) {
        length = pread(fd, one, size, 0);
        if ((length < (ssize_t)least) ||
            (pread(fd, two, size, 0) != length)) {
            break;
        }
        if (memcmp(one, two, size) == 0) {
            free(two);
            return one;
        }
    }
    free(one);
    free(two);
    return NULL;
}

typedef struct pins_search {
    const pins_list_t *list;
    const char        *name;
    size_t            size;
    size_t            least; /* what there is of it */
    void              *found;
    int               (*accept)(const void *memory, const void *arg);
    const void        *arg;
} pins_search_t;

static int pins_search_fd(int dir, int fd, const char *target, void *arg)
{
    pins_search_t *search = arg;
    size_t length         = strlen(search->name);
    int memory;

    if ((strncmp(target, search->name, length) != 0) ||
        ((target[length] != '\0') && (target[length] != ' '))) {
        return 0;
    }
    memory = pins_open_memory(search->list, dir, fd);
    if (memory < 0) {
        return 0;
    }
    search->found = pins_read_memory(memory, search->size, search->least);
    close(memory);
    if ((search->found != NULL) && !search->accept(search->found,
                                                   search->arg)) {
        free(search->found);
        search->found = NULL;
    }
    return search->found != NULL;
}

/* Check that a report is that of the process: a child of a fork that has not
 * executed anything has the descriptor of its parent's report. */
static int pins_accept_report(const void *memory, const void *arg)
{
    const daxpin_report_t *report = memory;
    const daxpin_proc_t *proc     = arg;

    if ((report->magic != DAXPIN_REPORT_MAGIC) ||
        (report->pid != (uint32_t)proc->own_pid)) {
        return 0;
    }
    if ((report->version < DAXPIN_REPORT_OLDEST) ||
        (report->version > DAXPIN_REPORT_VERSION) ||
        (report->num_records != DAXPIN_REPORT_RECORDS)) {
        fprintf(stderr, "daxpin pins: cannot read the report of pid %d (",
                (int)proc->pid);
        daxpin_text_put(stderr, proc->command);
        fprintf(stderr,
                "): it has version %u, this command reads versions %u to %u; "
                "use the daxpin command of the daxpin that the process uses\n",
                report->version, DAXPIN_REPORT_OLDEST, DAXPIN_REPORT_VERSION);
        return 0;
    }
    return 1;
}

static int pins_accept_control(const void *memory, const void *arg)
{
    const daxpin_control_t *control = memory;
    const pins_file_t *file         = arg;

    return (control->magic == DAXPIN_CONTROL_MAGIC) &&
           (control->dev == file->dev) && (control->ino == file->ino);
}

/* Return the state that the control page of a process says, or -1. */
static int pins_read_state(const pins_list_t *list, pid_t pid,
                           const pins_file_t *file)
{
    pins_search_t search = {.list   = list,
                            .name   = PINS_CONTROL,
                            .size   = DAXPIN_CONTROL_SIZE,
                            .least  = DAXPIN_CONTROL_SIZE,
                            .accept = pins_accept_control,
                            .arg    = file};
    int state = -1;

    daxpin_proc_each_link(pid, pins_search_fd, &search);
    if (search.found != NULL) {
        state = (int)atomic_load(
                &((const daxpin_control_t*)search.found)->state);
        free(search.found);
    }
    return state;
}

/* A member has its holder's control page, and no descriptor of it. In another pid
 * namespace the holder's number may be another process's, which has no control
 * page of this file. */
static int pins_find_state(const pins_list_t *list, pid_t pid,
                           const pins_file_t *file)
{
    int state = pins_read_state(list, pid, file);

    return ((state >= 0) || (file->holder == pid)) ?
                   state :
                   pins_read_state(list, file->holder, file);
}

/* Update the path of a file: the kernel follows renames of an open file */
static int pins_name_fd(int dir, int fd, const char *target, void *arg)
{
    pins_file_t *file = arg;
    char name[16];
    struct stat st;

    if (fd == file->owner_fd) {
        snprintf(file->owner_path, sizeof(file->owner_path), "%s", target);
    }
    snprintf(name, sizeof(name), "%d", fd);
    if ((target[0] == '/') && (daxpin_proc_stat_fd(dir, name, &st) == 0) &&
        (st.st_ino == file->ino) && (st.st_dev == file->dev)) {
        snprintf(file->path, sizeof(file->path), "%s", target);
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

/* Look what there is of the file beside the report. That takes long, and a process
 * accesses the files of many others: do so for pins alone. */
static void pins_look(const pins_list_t *list, const pins_process_t *process,
                      pins_file_t *file)
{
    file->state = -1;
    if (file->pins > 0) {
        daxpin_proc_each_link(process->proc.pid, pins_name_fd, file);
        file->state = pins_find_state(list, process->proc.pid, file);
        pins_check_lease(list, file);
        file->note = pins_note(process, file);
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

static int pins_fill(const pins_list_t *list, const daxpin_report_t *report,
                     pins_process_t *process)
{
    const daxpin_report_record_t *record;
    pins_file_t *file;
    unsigned i;

    process->omitted = atomic_load(&report->omitted);
    process->files   = calloc(DAXPIN_REPORT_RECORDS, sizeof(*file));
    if (process->files == NULL) {
        fprintf(stderr, "daxpin pins: out of memory\n");
        return -1;
    }
    for (i = 0; i < DAXPIN_REPORT_RECORDS; ++i) {
        record = &report->records[i];
        if (!atomic_load(&record->used) ||
            ((atomic_load(&record->pins) == 0) && !list->all)) {
            continue;
        }
        file            = &process->files[process->count++];
        file->owner_fd  = (record->owner_type == DAXPIN_OWNER_FILE) ?
                                  record->owner_fd :
                                  -1;
        file->dev       = record->dev;
        file->ino       = record->ino;
        file->pins      = atomic_load(&record->pins);
        file->bytes     = atomic_load(&record->bytes);
        file->holder    = (pid_t)record->holder_pid;
        file->locks     = atomic_load(&record->locks);
        file->numa_node = record->numa_node;
        snprintf(file->path, sizeof(file->path), "%.*s",
                 DAXPIN_REPORT_PATH - 1, record->path);
        pins_read_counts(report, i, &file->counts);
        if (list->look) {
            pins_look(list, process, file);
        }
    }
    qsort(process->files, process->count, sizeof(*file), pins_compare);
    return 0;
}

static int pins_add(pins_list_t *list, const daxpin_proc_t *proc,
                    const daxpin_report_t *report)
{
    pins_process_t *processes, *process;

    processes = realloc(list->processes,
                        (list->count + 1) * sizeof(*processes));
    if (processes == NULL) {
        fprintf(stderr, "daxpin pins: out of memory\n");
        return -1;
    }
    list->processes = processes;
    process         = &processes[list->count++];
    memset(process, 0, sizeof(*process));
    process->proc = *proc;
    return pins_fill(list, report, process);
}

/* Read the report of a process. Return 0 or a negative errno value. The caller
 * frees *report_p; NULL: there is none. */
static int pins_read_report(const pins_list_t *list, pid_t pid,
                            daxpin_proc_t *proc, daxpin_report_t **report_p)
{
    pins_search_t search = {.list   = list,
                            .name   = DAXPIN_REPORT_LINK,
                            .size   = sizeof(daxpin_report_t),
                            .least  = offsetof(daxpin_report_t, events),
                            .accept = pins_accept_report,
                            .arg    = proc};
    int ret;

    *report_p = NULL;
    ret       = daxpin_proc_read_status(pid, proc);
    if (ret != 0) {
        return ret;
    }
    ret = daxpin_proc_each_link(pid, pins_search_fd, &search);
    if (ret < 0) {
        return ret;
    }
    *report_p = search.found;
    return 0;
}

static int pins_read_process(pid_t pid, pins_list_t *list)
{
    daxpin_report_t *report;
    daxpin_proc_t proc;
    int ret;

    ret = pins_read_report(list, pid, &proc, &report);
    if (report != NULL) {
        ret = (pins_add(list, &proc, report) == 0) ? 0 : -ENOMEM;
        free(report);
    }
    return ret;
}

int daxpin_pins_read_counts(pid_t pid, dev_t dev, uint64_t ino,
                            daxpin_pins_counts_t *counts)
{
    const pins_list_t list = {.memfd_dev = pins_memfd_dev()};
    const daxpin_report_record_t *record;
    daxpin_report_t *report;
    daxpin_proc_t proc;
    int i, found = 0;

    if ((pins_read_report(&list, pid, &proc, &report) != 0) ||
        (report == NULL)) {
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
    list->memfd_dev = pins_memfd_dev();
    list->all       = args->json || args->prometheus || args->watch;
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

static void pins_free(pins_list_t *list)
{
    size_t i;

    for (i = 0; i < list->count; ++i) {
        free(list->processes[i].files);
    }
    free(list->processes);
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
            daxpin_text_put(stream, (file->owner_path[0] != '\0') ?
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

/* Return the signals that are to end the command. One that is ignored, as SIGHUP
 * is by nohup, would come nevertheless if it were blocked. */
static sigset_t pins_get_ends(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action;
    sigset_t ends;
    size_t i;

    sigemptyset(&ends);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); ++i) {
        if ((sigaction(numbers[i], NULL, &action) == 0) &&
            (action.sa_handler != SIG_IGN)) {
            sigaddset(&ends, numbers[i]);
        }
    }
    return ends;
}

/* Write the file until a signal comes, also if nothing has changed, so that its
 * time shows that the command goes on. Then remove it: what nobody brings up to
 * date must not be collected for ever. Standard output may be anything. */
static int pins_watch_file(const pins_args_t *args)
{
    const sigset_t ends         = pins_get_ends();
    const time_t seconds        = (time_t)args->seconds;
    const struct timespec pause = {
        .tv_sec  = seconds,
        .tv_nsec = (long)((args->seconds - (double)seconds) * 1e9)
    };
    int failed, status, number = -1, written = 0;
    sigset_t before;
    char *text;

    sigprocmask(SIG_BLOCK, &ends, &before);
    do {
        text   = pins_print(args, &failed);
        status = ((text != NULL) && !failed) ? pins_write(args, text) : 1;
        free(text);
        if (status == 0) {
            written = 1;
            number  = sigtimedwait(&ends, NULL, &pause);
        }
    } while ((status == 0) && (number < 0));
    if (written && (unlink(args->output) != 0) && (errno != ENOENT)) {
        fprintf(stderr, "daxpin pins: cannot remove %s: %s\n", args->output,
                strerror(errno));
        status = 1;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (number > 0) {
        raise(number);
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
        if (pins_parse_pid(argv[optind], &args->pids[args->count++]) != 0) {
            return -1;
        }
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
