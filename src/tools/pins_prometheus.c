/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin pins --prometheus: text for the textfile collector of node_exporter */

#include "pins.h"

#include "json.h"

#include <stddef.h>
#include <sys/sysmacros.h>

typedef struct pins_metric {
    const char *name;
    const char *type;
    const char *help;
    size_t     offset;  /* of a uint64_t in daxpin_report_events_t */
    int        seconds; /* it is in microseconds */
} pins_metric_t;

#define PINS_METRICS(_events, _what)                                          \
    {"daxpin_" #_events "_total", "counter", _what,                           \
      offsetof(daxpin_report_events_t, _events.count), 0 },           \
            { "daxpin_" #_events "_last_seconds", "gauge",            \
              "Delay of the last of "                                 \
              "daxpin_" #_events "_total.",                           \
              offsetof(daxpin_report_events_t, _events.last_us), 1 }, \
    {                                                                 \
        "daxpin_" #_events "_max_seconds", "gauge",                   \
                "Longest delay of "                                   \
                "daxpin_" #_events "_total.",                         \
                offsetof(daxpin_report_events_t, _events.max_us), 1   \
    }

static const pins_metric_t pins_metrics[] = {
    PINS_METRICS(breaks, "Breaks of the lease that its holder has noticed."),
    PINS_METRICS(lends, "How often the lease was lent because of a break."),
    PINS_METRICS(revokes, "Revokes of the file in this process.")
};

/* Return whether the process has no file before this one that is the same:
 * there is one for each owner, and a series must not appear twice */
static int pins_is_first(const pins_process_t *process, size_t index)
{
    const pins_file_t *file = &process->files[index];
    size_t i;

    for (i = 0; i < index; ++i) {
        if ((process->files[i].dev == file->dev) &&
            (process->files[i].ino == file->ino)) {
            return 0;
        }
    }
    return 1;
}

static void pins_sum(const pins_process_t *process, const pins_file_t *file,
                     unsigned long *pins_p, unsigned long *bytes_p)
{
    size_t i;

    *pins_p  = 0;
    *bytes_p = 0;
    for (i = 0; i < process->count; ++i) {
        if ((process->files[i].dev == file->dev) &&
            (process->files[i].ino == file->ino)) {
            *pins_p  += process->files[i].pins;
            *bytes_p += process->files[i].bytes;
        }
    }
}

/* Begin a series of a process; its labels may be more. */
static void pins_begin_series(FILE *stream, const char *name,
                              const pins_process_t *process)
{
    fprintf(stream, "%s{pid=\"%d\",command=", name, (int)process->proc.pid);
    daxpin_label_put(stream, process->proc.command);
}

static void pins_put_series(FILE *stream, const char *name,
                            const pins_process_t *process,
                            const pins_file_t *file)
{
    pins_begin_series(stream, name, process);
    fprintf(stream, ",device=\"%u:%u\",inode=\"%llu\",path=",
            major(file->dev), minor(file->dev),
            (unsigned long long)file->ino);
    daxpin_label_put(stream, file->path);
    fputs("} ", stream);
}

typedef void (*pins_value_func_t)(FILE *stream, const pins_process_t *process,
                                  const pins_file_t *file, const void *arg);

/* Write a series for each file of each process. */
static void pins_each(FILE *stream, const pins_list_t *list,
                      pins_value_func_t func, const void *arg)
{
    const pins_process_t *process;
    size_t i, j;

    for (i = 0; i < list->count; ++i) {
        process = &list->processes[i];
        for (j = 0; j < process->count; ++j) {
            if (pins_is_first(process, j)) {
                func(stream, process, &process->files[j], arg);
            }
        }
    }
}

static void pins_put_title(FILE *stream, const char *name, const char *type,
                           const char *help)
{
    fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int pins_has_events(const daxpin_report_events_t *events)
{
    return (events->breaks.count > 0) || (events->lends.count > 0) ||
           (events->revokes.count > 0);
}

static void pins_put_event(FILE *stream, const pins_process_t *process,
                           const pins_file_t *file, const void *arg)
{
    const pins_metric_t *metric = arg;
    const uint64_t value        = *(const uint64_t*)(const void*)
            ((const char*)&file->counts.events + metric->offset);

    if (!file->counts.has_events ||
        ((file->pins == 0) && !pins_has_events(&file->counts.events))) {
        return; /* the report of an older daxpin; or there is nothing to tell */
    }
    pins_put_series(stream, metric->name, process, file);
    if (metric->seconds) {
        fprintf(stream, "%llu.%06llu\n", (unsigned long long)value / 1000000,
                (unsigned long long)value % 1000000);
    } else {
        fprintf(stream, "%llu\n", (unsigned long long)value);
    }
}

static void pins_put_accesses(FILE *stream, const pins_process_t *process,
                              const pins_file_t *file, const void *arg)
{
    if (!file->counts.has_accesses) {
        return; /* likewise */
    }
    pins_put_series(stream, arg, process, file);
    fprintf(stream, "%llu\n", (unsigned long long)file->counts.accesses);
}

static void pins_put_pins(FILE *stream, const pins_process_t *process,
                          const pins_file_t *file, const void *arg)
{
    unsigned long pins, bytes;

    pins_sum(process, file, &pins, &bytes);
    if (pins > 0) {
        pins_put_series(stream, arg, process, file);
        fprintf(stream, "%lu\n", pins);
    }
}

static void pins_put_bytes(FILE *stream, const pins_process_t *process,
                           const pins_file_t *file, const void *arg)
{
    unsigned long pins, bytes;

    pins_sum(process, file, &pins, &bytes);
    if (pins > 0) {
        pins_put_series(stream, arg, process, file);
        fprintf(stream, "%lu\n", bytes);
    }
}

/* Write how many pins of each process are in no other series. 0 as well, so that
 * an alert can tell it from a process that is not there. */
static void pins_put_omitted(FILE *stream, const pins_list_t *list)
{
    static const char *name = "daxpin_pins_omitted";
    size_t i;

    pins_put_title(stream, name, "gauge",
                   "Pins without room in the report of the process, which are "
                   "in no other series.");
    for (i = 0; i < list->count; ++i) {
        pins_begin_series(stream, name, &list->processes[i]);
        fprintf(stream, "} %lu\n", list->processes[i].omitted);
    }
}

void daxpin_pins_print_prometheus(FILE *stream, const pins_list_t *list)
{
    const pins_metric_t *metric;
    size_t i;

    pins_put_title(stream, "daxpin_pins", "gauge", "Pins of the file.");
    pins_each(stream, list, pins_put_pins, "daxpin_pins");
    pins_put_title(stream, "daxpin_pinned_bytes", "gauge",
                   "Sum of the lengths of its pins.");
    pins_each(stream, list, pins_put_bytes, "daxpin_pinned_bytes");
    pins_put_omitted(stream, list);
    pins_put_title(stream, "daxpin_accesses_total", "counter",
                   "Accesses by this process to the file.");
    pins_each(stream, list, pins_put_accesses, "daxpin_accesses_total");
    for (i = 0; i < sizeof(pins_metrics) / sizeof(pins_metrics[0]); ++i) {
        metric = &pins_metrics[i];
        pins_put_title(stream, metric->name, metric->type, metric->help);
        pins_each(stream, list, pins_put_event, metric);
    }
}
