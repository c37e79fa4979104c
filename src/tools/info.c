/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin info: what daxpin can do with a file, and why not more */

#include "commands.h"
#include "json.h"
#include "locks.h"
#include "pins.h"
#include "rdma.h"
#include "storage.h"

#include "daxpin/daxpin.h"
#include "daxpin/os/locality.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

typedef struct info_verdict {
    daxpin_verdict_t verdict;
    char             reason[LOCKS_REASON_MAX];
} info_verdict_t;

typedef struct info {
    const char       *name;      /* as the user gave it */
    daxpin_storage_t storage;
    daxpin_rdma_t    *rdma;
    size_t           rdma_count;
    daxpin_openers_t openers;
    info_verdict_t   trust;
    info_verdict_t   lease;
    info_verdict_t   hold;
    info_verdict_t   kmod;
    info_verdict_t   guard;
} info_t;

static int info_query(const char *name, info_t *info)
{
    daxpin_storage_t *storage = &info->storage;
    int ret;

    info->name = name;
    ret        = daxpin_storage_query(name, storage);
    if (ret != 0) {
        fprintf(stderr, "daxpin info: %s: cannot stat: %s%s\n", name,
                strerror(-ret), (ret == -ENOENT) ?
                "; for a new file, name its directory" : "");
        return -1;
    }
    info->rdma = daxpin_rdma_list(storage->numa_node, &info->rdma_count);
    daxpin_openers_find(storage, &info->openers);
    info->trust.verdict  = daxpin_trust_verdict(storage, info->trust.reason);
    info->lease.verdict  = daxpin_lease_verdict(storage, &info->openers,
                                                info->lease.reason);
    info->hold.verdict   = daxpin_hold_verdict(storage, info->hold.reason);
    info->kmod.verdict   = daxpin_kmod_verdict(info->kmod.reason);
    info->guard.verdict  = daxpin_guard_verdict(info->guard.reason);
    return 0;
}

static const char *info_kind(const daxpin_storage_t *storage)
{
    return storage->is_device_dax         ? "device DAX" :
           S_ISREG(storage->st.st_mode)   ? "file" :
           S_ISDIR(storage->st.st_mode)   ? "directory" :
                                            "other";
}

static unsigned long long info_allocated(const daxpin_storage_t *storage)
{
    return (unsigned long long)storage->st.st_blocks * 512;
}

static int info_is_sparse(const daxpin_storage_t *storage)
{
    return info_allocated(storage) < (unsigned long long)storage->st.st_size;
}

/*
 * Text
 */

static void info_line(const char *name, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static void info_line(const char *name, const char *format, ...)
{
    char text[PATH_MAX + 2048];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    printf("%-13s", name);
    daxpin_text_put(stdout, text);
    putchar('\n');
}

static void info_print_storage(const daxpin_storage_t *storage)
{
    info_line("path:", "%s (%s)", storage->path, info_kind(storage));
    if (storage->has_mount) {
        info_line("file system:", "%s on %s (%s)", storage->mount.type,
                  storage->mount.point, storage->mount.options);
    }
    info_line("DAX:", "%s%s%s", (storage->dax == 1) || storage->is_device_dax ?
              "yes" : (storage->dax == 0) ? "no" : "not known",
              (storage->no_dax_reason[0] != '\0') ? ": " : "",
              storage->no_dax_reason);
    if (storage->device[0] != '\0') {
        info_line("device:", "%s (%u:%u)", storage->device,
                  major(storage->dev), minor(storage->dev));
    }
}

static void info_print_node(const daxpin_storage_t *storage)
{
    int here = daxpin_cpu_numa_node();
    int distance;

    if (storage->numa_node < 0) {
        info_line("NUMA node:", "not known");
        return;
    }
    distance = daxpin_locality_distance(here, storage->numa_node);
    if ((here >= 0) && (distance >= 0)) {
        info_line("NUMA node:", "%d (this process: node %d, distance %d)",
                  storage->numa_node, here, distance);
    } else {
        info_line("NUMA node:", "%d", storage->numa_node);
    }
}

static void info_print_rdma(const info_t *info)
{
    const unsigned offers = daxpin_kmod_offers();
    const daxpin_rdma_t *rdma;
    char node[64], reason[512];
    daxpin_rdma_way_t way;
    size_t i;

    if (info->rdma_count == 0) {
        info_line("RDMA:", "no devices");
    }
    for (i = 0; i < info->rdma_count; ++i) {
        rdma = &info->rdma[i];
        if (rdma->numa_node < 0) {
            snprintf(node, sizeof(node), "node not known");
        } else if (rdma->distance < 0) {
            snprintf(node, sizeof(node), "node %d", rdma->numa_node);
        } else {
            snprintf(node, sizeof(node), "node %d, distance %d",
                     rdma->numa_node, rdma->distance);
        }
        info_line("RDMA:", "%s (%s%s%s%s)", rdma->name, node,
                  (rdma->interface[0] != '\0') ? ", on " : "", rdma->interface,
                  rdma->active ? "" : ", not active");
        way = daxpin_rdma_way(rdma, offers, reason, sizeof(reason));
        info_line("", "reaches files on fsdax by %s: %s",
                  daxpin_rdma_way_name(way), reason);
    }
}

static const char *info_count(const daxpin_report_count_t *count, char *text,
                              size_t size)
{
    if (count->count == 0) {
        snprintf(text, size, "0");
    } else {
        snprintf(text, size, "%llu (last %llu us, max %llu us)",
                 (unsigned long long)count->count,
                 (unsigned long long)count->last_us,
                 (unsigned long long)count->max_us);
    }
    return text;
}

/* Print what a process that has pinned the file, or accesses it, reports of
 * it. */
static void info_print_counts(const daxpin_storage_t *storage, pid_t pid)
{
    char breaks[128], lends[128], revokes[128], accesses[32] = "not known";
    daxpin_pins_counts_t counts;
    const daxpin_report_events_t *events = &counts.events;

    if (!daxpin_pins_read_counts(pid, storage->st.st_dev, storage->st.st_ino,
                                 &counts) || !counts.has_events) {
        return;
    }
    if (counts.has_accesses) {
        snprintf(accesses, sizeof(accesses), "%llu",
                 (unsigned long long)counts.accesses);
    }
    info_line("used in:", "pid %d: accesses %s, breaks %s, lends %s, "
              "revokes %s", (int)pid, accesses,
              info_count(&events->breaks, breaks, sizeof(breaks)),
              info_count(&events->lends, lends, sizeof(lends)),
              info_count(&events->revokes, revokes, sizeof(revokes)));
}

static void info_print_openers(const daxpin_storage_t *storage,
                               const daxpin_openers_t *openers)
{
    unsigned i;

    for (i = 0; i < openers->count; ++i) {
        info_line("open in:", "pid %d (%s)", (int)openers->procs[i].pid,
                  openers->procs[i].command);
    }
    if (openers->more > 0) {
        info_line("open in:", "%u more processes", openers->more);
    }
    if (openers->count == 0) {
        info_line("open in:", "no process%s", (openers->hidden > 0) ?
                  " that this user may read" : "");
    }
    for (i = 0; i < openers->count; ++i) {
        info_print_counts(storage, openers->procs[i].pid);
    }
}

static void info_print_verdict(const char *name, const info_verdict_t *verdict)
{
    static const char *const words[] = {
        [DAXPIN_VERDICT_NO]      = "no",
        [DAXPIN_VERDICT_UNFIT]   = "no",
        [DAXPIN_VERDICT_YES]     = "yes",
        [DAXPIN_VERDICT_UNKNOWN] = "not known"
    };

    info_line(name, "%s%s%s", words[verdict->verdict],
              (verdict->reason[0] != '\0') ? ": " : "", verdict->reason);
}

static void info_print(const info_t *info)
{
    const daxpin_storage_t *storage = &info->storage;

    info_print_storage(storage);
    info_print_node(storage);
    info_print_rdma(info);
    info_line("granularity:", "%s", storage->granularity);
    if (S_ISREG(storage->st.st_mode)) {
        info_line("space:", "%s, %llu of %lld bytes have blocks",
                  info_is_sparse(storage) ? "sparse" : "preallocated",
                  info_allocated(storage), (long long)storage->st.st_size);
        info_print_openers(storage, &info->openers);
    }
    if (storage->has_mount) {
        info_print_verdict("trusted:", &info->trust);
    }
    info_print_verdict("lease:", &info->lease);
    info_print_verdict("hold:", &info->hold);
    info_print_verdict("module:", &info->kmod);
    info_print_verdict("guard:", &info->guard);
}

/*
 * JSON
 */

static void info_json_verdict(daxpin_json_t *json, const char *name,
                              const info_verdict_t *verdict)
{
    daxpin_json_open(json, name, '{');
    if (verdict->verdict == DAXPIN_VERDICT_UNKNOWN) {
        daxpin_json_string(json, "available", NULL);
    } else {
        daxpin_json_bool(json, "available",
                         verdict->verdict == DAXPIN_VERDICT_YES);
    }
    daxpin_json_string(json, "why",
                       (verdict->reason[0] != '\0') ? verdict->reason : NULL);
    daxpin_json_close(json, '}');
}

static void info_json_storage(daxpin_json_t *json,
                              const daxpin_storage_t *storage)
{
    daxpin_json_string(json, "path", storage->path);
    daxpin_json_string(json, "kind", info_kind(storage));
    daxpin_json_string(json, "file_system",
                       storage->has_mount ? storage->mount.type : NULL);
    daxpin_json_string(json, "mount_point",
                       storage->has_mount ? storage->mount.point : NULL);
    daxpin_json_string(json, "options",
                       storage->has_mount ? storage->mount.options : NULL);
    if ((storage->dax < 0) && !storage->is_device_dax) {
        daxpin_json_string(json, "dax", NULL);
    } else {
        daxpin_json_bool(json, "dax",
                         (storage->dax == 1) || storage->is_device_dax);
    }
    daxpin_json_string(json, "why_not_dax",
                       (storage->no_dax_reason[0] != '\0') ?
                               storage->no_dax_reason :
                               NULL);
    daxpin_json_string(json, "device", (storage->device[0] != '\0') ?
                                               storage->device :
                                               NULL);
    daxpin_json_count(json, "numa_node", storage->numa_node);
    daxpin_json_string(json, "granularity", storage->granularity);
    if (S_ISREG(storage->st.st_mode)) {
        daxpin_json_number(json, "size", (long long)storage->st.st_size);
        daxpin_json_unsigned(json, "allocated", info_allocated(storage));
        daxpin_json_bool(json, "sparse", info_is_sparse(storage));
    }
}

static void info_json_rdma(daxpin_json_t *json, const info_t *info)
{
    const unsigned offers = daxpin_kmod_offers();
    const daxpin_rdma_t *rdma;
    daxpin_rdma_way_t way;
    char reason[512];
    size_t i;

    daxpin_json_open(json, "rdma", '[');
    for (i = 0; i < info->rdma_count; ++i) {
        rdma = &info->rdma[i];
        daxpin_json_open(json, NULL, '{');
        daxpin_json_string(json, "name", rdma->name);
        daxpin_json_string(json, "interface", (rdma->interface[0] != '\0') ?
                                                      rdma->interface :
                                                      NULL);
        daxpin_json_count(json, "numa_node", rdma->numa_node);
        daxpin_json_count(json, "distance", rdma->distance);
        daxpin_json_bool(json, "active", rdma->active);
        way = daxpin_rdma_way(rdma, offers, reason, sizeof(reason));
        daxpin_json_string(json, "way", daxpin_rdma_way_name(way));
        daxpin_json_string(json, "why", reason);
        daxpin_json_close(json, '}');
    }
    daxpin_json_close(json, ']');
}

static void info_json_openers(daxpin_json_t *json,
                              const daxpin_storage_t *storage,
                              const daxpin_openers_t *openers)
{
    daxpin_pins_counts_t counts;
    unsigned i;
    int known;

    daxpin_json_open(json, "open_in", '[');
    for (i = 0; i < openers->count; ++i) {
        daxpin_json_open(json, NULL, '{');
        daxpin_json_number(json, "pid", openers->procs[i].pid);
        daxpin_json_string(json, "command", openers->procs[i].command);
        daxpin_json_number(json, "uid", openers->procs[i].uid);
        known = daxpin_pins_read_counts(openers->procs[i].pid,
                                        storage->st.st_dev,
                                        storage->st.st_ino, &counts);
        daxpin_pins_json_counts(json, known ? &counts : NULL);
        daxpin_json_close(json, '}');
    }
    daxpin_json_close(json, ']');
    daxpin_json_number(json, "more_processes", openers->more);
    daxpin_json_number(json, "hidden_processes", openers->hidden);
}

static void info_print_json(const info_t *info)
{
    daxpin_json_t json = {.stream = stdout};

    daxpin_json_open(&json, NULL, '{');
    info_json_storage(&json, &info->storage);
    info_json_rdma(&json, info);
    info_json_openers(&json, &info->storage, &info->openers);
    info_json_verdict(&json, "trusted", &info->trust);
    info_json_verdict(&json, "lease", &info->lease);
    info_json_verdict(&json, "hold", &info->hold);
    info_json_verdict(&json, "module", &info->kmod);
    info_json_verdict(&json, "guard", &info->guard);
    daxpin_json_close(&json, '}');
    putchar('\n');
}

/*
 * The command
 */

int daxpin_cmd_info(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {NULL}
    };
    int option, first, json = 0, status = 0;
    info_t *info;

    while ((option = getopt_long(argc, argv, "j", options, NULL)) >= 0) {
        if (option != 'j') {
            return daxpin_cmd_usage("info");
        }
        json = 1;
    }
    info = calloc(1, sizeof(*info));
    if ((optind == argc) || (info == NULL)) {
        free(info);
        return daxpin_cmd_usage("info");
    }
    for (first = optind; optind < argc; ++optind) {
        if (info_query(argv[optind], info) != 0) {
            status = 1;
            continue;
        }
        if (json) {
            info_print_json(info);
        } else {
            fputs((optind > first) ? "\n" : "", stdout);
            info_print(info);
        }
        free(info->rdma);
        info->rdma = NULL;
    }
    free(info);
    return status | daxpin_cmd_flush("info");
}
