/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin pins --json */

#include "pins.h"

#include "json.h"

#include "daxpin/daxpin.h"

#include <sys/sysmacros.h>

static void pins_print_json_count(daxpin_json_t *json, const char *key,
                                  const daxpin_report_count_t *count)
{
    daxpin_json_open(json, key, '{');
    daxpin_json_unsigned(json, "count", count->count);
    daxpin_json_unsigned(json, "last_us", count->last_us);
    daxpin_json_unsigned(json, "max_us", count->max_us);
    daxpin_json_close(json, '}');
}

void daxpin_pins_json_counts(daxpin_json_t *json,
                             const daxpin_pins_counts_t *counts)
{
    if ((counts != NULL) && counts->has_accesses) {
        daxpin_json_unsigned(json, "accesses", counts->accesses);
    } else {
        daxpin_json_string(json, "accesses", NULL);
    }
    if ((counts == NULL) || !counts->has_events) {
        daxpin_json_string(json, "breaks", NULL);
        daxpin_json_string(json, "lends", NULL);
        daxpin_json_string(json, "revokes", NULL);
        return;
    }
    pins_print_json_count(json, "breaks", &counts->events.breaks);
    pins_print_json_count(json, "lends", &counts->events.lends);
    pins_print_json_count(json, "revokes", &counts->events.revokes);
}

/* Print what the text has in parentheses after the name. */
static void pins_print_json_note(daxpin_json_t *json, const pins_file_t *file)
{
    char note[64];

    if (!file->deleted) {
        daxpin_json_string(json, "note", file->note);
        return;
    }
    snprintf(note, sizeof(note), "deleted%s%s",
             (file->note != NULL) ? ", " : "",
             (file->note != NULL) ? file->note : "");
    daxpin_json_string(json, "note", note);
}

static void pins_print_json_file(daxpin_json_t *json,
                                 const pins_file_t *file)
{
    char device[32], locks[DAXPIN_LOCKS_NAMES_MAX];

    snprintf(device, sizeof(device), "%u:%u", major(file->dev),
             minor(file->dev));
    daxpin_json_open(json, NULL, '{');
    daxpin_json_string(json, "path", file->path);
    daxpin_json_string(json, "device", device);
    daxpin_json_unsigned(json, "inode", file->ino);
    daxpin_json_open(json, "owner", '{');
    daxpin_json_string(json, "type",
                       (file->owner_fd >= 0) ? "file" : "process");
    if (file->owner_fd >= 0) {
        daxpin_json_number(json, "fd", file->owner_fd);
        daxpin_json_string(json, "path", file->owner_path);
    }
    daxpin_json_close(json, '}');
    daxpin_json_unsigned(json, "pins", file->pins);
    daxpin_json_unsigned(json, "bytes", file->bytes);
    daxpin_json_count(json, "numa_node", file->numa_node);
    daxpin_json_number(json, "holder", file->holder);
    daxpin_json_string(json, "locks",
                       daxpin_locks_names(file->locks, locks, sizeof(locks)));
    daxpin_json_string(json, "state",
                       (file->state < 0) ?
                               NULL :
                               daxpin_state_name((daxpin_state_t)file->state));
    daxpin_json_string(json, "lease", file->lease);
    pins_print_json_note(json, file);
    daxpin_pins_json_counts(json, &file->counts);
    daxpin_json_close(json, '}');
}

void daxpin_pins_print_json(FILE *stream, const pins_list_t *list)
{
    daxpin_json_t json = {.stream = stream};
    const pins_process_t *process;
    size_t i, j;

    daxpin_json_open(&json, NULL, '{');
    daxpin_json_open(&json, "processes", '[');
    for (i = 0; i < list->count; ++i) {
        process = &list->processes[i];
        daxpin_json_open(&json, NULL, '{');
        daxpin_json_number(&json, "pid", process->proc.pid);
        daxpin_json_string(&json, "command", process->proc.command);
        daxpin_json_number(&json, "uid", process->proc.uid);
        daxpin_json_unsigned(&json, "omitted", process->omitted);
        daxpin_json_open(&json, "files", '[');
        for (j = 0; j < process->count; ++j) {
            pins_print_json_file(&json, &process->files[j]);
        }
        daxpin_json_close(&json, ']');
        daxpin_json_close(&json, '}');
    }
    daxpin_json_close(&json, ']');
    daxpin_json_close(&json, '}');
    fputc('\n', stream);
}
