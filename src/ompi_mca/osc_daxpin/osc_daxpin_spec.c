/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The info keys of a window: reading them, and setting what was used */

#include "osc_daxpin_spec.h"

#include "daxpin/os/fstype.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_info.h"
#include "osc_daxpin_segment.h"

#include "opal/util/info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct osc_daxpin_word {
    const char *word;
    int        value;
} osc_daxpin_word_t;

static const osc_daxpin_word_t osc_daxpin_bool_words[] = {
    {"true", 1}, {"false", 0}, {NULL}
};

static const osc_daxpin_word_t osc_daxpin_on_break_words[] = {
    {"revoke", DAXPIN_ON_BREAK_REVOKE}, {"hold", DAXPIN_ON_BREAK_HOLD}, {NULL}
};

static const osc_daxpin_word_t osc_daxpin_persist_words[] = {
    {"none", OSC_DAXPIN_PERSIST_NONE},
    {"sync", OSC_DAXPIN_PERSIST_SYNC},
    {"flush", OSC_DAXPIN_PERSIST_FLUSH},
    {NULL}
};

static const osc_daxpin_word_t osc_daxpin_alloc_words[] = {
    {"memory", 0}, {"storage", 1}, {NULL}
};

static int osc_daxpin_spec_get(opal_info_t *info, const char *key, char *value)
{
    return (info != NULL) && osc_daxpin_info_get(info, key, value);
}

/* Read a key whose value is one of some words. *value_p stays as it is if the
 * key is missing. */
static int osc_daxpin_spec_word(opal_info_t *info, const char *key,
                                const osc_daxpin_word_t *words, int *value_p)
{
    char value[OPAL_MAX_INFO_VAL + 1], known[128] = "";
    size_t used = 0;

    if (!osc_daxpin_spec_get(info, key, value)) {
        return OMPI_SUCCESS;
    }
    for (; words->word != NULL; ++words) {
        if (strcmp(value, words->word) == 0) {
            *value_p = words->value;
            return OMPI_SUCCESS;
        }
        used += snprintf(known + used, sizeof(known) - used, "%s%s",
                         (used > 0) ? ", " : "", words->word);
    }
    return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "info key %s has the value "
                            "\"%s\", which is not one of: %s", key, value,
                            known);
}

static int osc_daxpin_spec_offset(opal_info_t *info, const char *key,
                                  uint64_t *offset_p)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    char value[OPAL_MAX_INFO_VAL + 1];
    char *end;

    if (!osc_daxpin_spec_get(info, key, value)) {
        return OMPI_SUCCESS;
    }
    errno     = 0;
    *offset_p = strtoull(value, &end, 10);
    if ((errno != 0) || (end == value) || (*end != '\0') ||
        (value[0] == '-') || (*offset_p > INT64_MAX)) {
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "info key %s has the value "
                                "\"%s\", which is not a number of bytes", key,
                                value);
    }
    if (*offset_p % page != 0) {
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "info key %s is %" PRIu64
                                ", which is not a multiple of the page size, "
                                "%" PRIu64 " bytes", key, *offset_p, page);
    }
    return OMPI_SUCCESS;
}

/*
 * Templates of paths
 */

static int osc_daxpin_expand_one(char what, const char *template, int rank,
                                 char *buffer, size_t size)
{
    int node;

    switch (what) {
    case '%':
        snprintf(buffer, size, "%%");
        return OMPI_SUCCESS;
    case 'r':
        snprintf(buffer, size, "%d", rank);
        return OMPI_SUCCESS;
    case 'h':
        if (gethostname(buffer, size) == 0) {
            return OMPI_SUCCESS;
        }
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: cannot get the name "
                                "of this host for %%h: %s", template,
                                strerror(errno));
    case 'n':
        node = daxpin_cpu_numa_node();
        snprintf(buffer, size, "%d", node);
        if (node >= 0) {
            return OMPI_SUCCESS;
        }
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: cannot get the NUMA "
                                "node of rank %d for %%n", template, rank);
    default:
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: unknown %% sequence; "
                                "use %%r for the rank, %%h for the host, %%n "
                                "for the NUMA node, %%%% for a percent sign",
                                template);
    }
}

static int osc_daxpin_expand(const char *template, int rank, char *path)
{
    const char *p = template;
    char piece[256];
    size_t used = 0;
    int ret;

    for (; *p != '\0'; ++p) {
        piece[0] = *p;
        piece[1] = '\0';
        if (*p == '%') {
            ret = osc_daxpin_expand_one(p[1], template, rank, piece,
                                        sizeof(piece));
            if (ret != OMPI_SUCCESS) {
                return ret;
            }
            ++p;
        }
        used += snprintf(path + used, PATH_MAX - used, "%s", piece);
        if (used >= PATH_MAX) {
            return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: the path is too "
                                    "long", template);
        }
    }
    return OMPI_SUCCESS;
}

/*
 * Keys
 */

/* Read the keys of MPI storage windows. Such a window is durable when
 * MPI_Win_sync() and MPI_Win_free() return, unless it is to be discarded. */
static int osc_daxpin_spec_storage(opal_info_t *info, int rank,
                                   osc_daxpin_spec_t *spec)
{
    char template[OPAL_MAX_INFO_VAL + 1];
    int storage = 0, discard = 0;
    int ret;

    ret = osc_daxpin_spec_word(info, "alloc_type", osc_daxpin_alloc_words,
                               &storage);
    if ((ret != OMPI_SUCCESS) || !storage) {
        return ret;
    }
    if (!osc_daxpin_spec_get(info, "storage_alloc_filename", template) ||
        (template[0] == '\0')) {
        return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "info key alloc_type is "
                                "\"storage\", but storage_alloc_filename "
                                "names no file");
    }
    ret = osc_daxpin_spec_offset(info, "storage_alloc_offset", &spec->offset);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "storage_alloc_unlink",
                                   osc_daxpin_bool_words, &spec->unlink);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "storage_alloc_discard",
                                   osc_daxpin_bool_words, &discard);
    }
    spec->persist = discard ? OSC_DAXPIN_PERSIST_NONE :
                              OSC_DAXPIN_PERSIST_SYNC;
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_expand(template, rank, spec->path);
    }
    return ret;
}

static int osc_daxpin_spec_own(opal_info_t *info, int rank,
                               osc_daxpin_spec_t *spec)
{
    int on_break = spec->on_break, persist = spec->persist;
    char template[OPAL_MAX_INFO_VAL + 1];
    int ret;

    ret = osc_daxpin_spec_offset(info, "daxpin_offset", &spec->offset);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "daxpin_unlink",
                                   osc_daxpin_bool_words, &spec->unlink);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "daxpin_on_break",
                                   osc_daxpin_on_break_words, &on_break);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "daxpin_persist",
                                   osc_daxpin_persist_words, &persist);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "daxpin_attach",
                                   osc_daxpin_bool_words, &spec->attach);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_word(info, "daxpin_any_fs",
                                   osc_daxpin_bool_words, &spec->any_fs);
    }
    if ((ret == OMPI_SUCCESS) &&
        osc_daxpin_spec_get(info, "daxpin_path", template)) {
        if (template[0] == '\0') {
            return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "info key daxpin_path "
                                    "is empty; name a file");
        }
        ret = osc_daxpin_expand(template, rank, spec->path);
    }
    spec->on_break = on_break;
    spec->persist  = persist;
    return ret;
}

int osc_daxpin_spec_read(opal_info_t *info, int rank, osc_daxpin_spec_t *spec,
                         int *wanted_p)
{
    bool noncontiguous = false;
    int flag, ret;

    memset(spec, 0, sizeof(*spec));
    if (info != NULL) {
        opal_info_get_bool(info, "alloc_shared_noncontig", &noncontiguous,
                           &flag);
    }
    spec->noncontiguous = noncontiguous;
    spec->attach        = -1;
    ret                 = osc_daxpin_spec_storage(info, rank, spec);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_spec_own(info, rank, spec);
    }
    *wanted_p = (ret == OMPI_SUCCESS) && (spec->path[0] != '\0');
    return ret;
}

/*
 * What was used
 */

static void osc_daxpin_file_system(const char *path, char *name, size_t size)
{
    daxpin_fstype_t type;

    if (daxpin_fstype_of_path(path, &type) != 0) {
        snprintf(name, size, "unknown");
    } else if (type.name != NULL) {
        snprintf(name, size, "%s", type.name);
    } else {
        snprintf(name, size, "0x%lx", type.magic);
    }
}

static const char *osc_daxpin_bool(int value)
{
    return value ? "true" : "false";
}

/* Set what is known of the file of this rank's segment. */
static void osc_daxpin_spec_publish_file(ompi_win_t *win, daxpin_file_t *file)
{
    char value[OPAL_MAX_INFO_VAL + 1];

    osc_daxpin_file_system(daxpin_file_path(file), value, sizeof(value));
    osc_daxpin_info_use(win, "daxpin_file_system", value);
    osc_daxpin_info_use(win, "daxpin_dax",
                        osc_daxpin_bool(daxpin_file_is_dax(file)));
    osc_daxpin_info_use(win, "daxpin_granularity",
                        daxpin_file_granularity(file));
    osc_daxpin_info_use(win, "daxpin_locks",
                        daxpin_locks_names(daxpin_file_locks(file), value,
                                           sizeof(value)));
    osc_daxpin_info_use(win, "daxpin_holder",
                        osc_daxpin_bool(daxpin_file_is_holder(file)));
    /* The first process that opens a file decides for all of them */
    osc_daxpin_info_use(win, "daxpin_on_break",
                        (daxpin_file_control(file)->on_break ==
                         DAXPIN_ON_BREAK_HOLD) ? "hold" : "revoke");
}

/* Set where this rank's segment is, and for memory that the window allocates the
 * same as keys of MPI storage windows. */
static void osc_daxpin_spec_publish_place(ompi_win_t *win,
                                          const osc_daxpin_module_t *module)
{
    const osc_daxpin_spec_t *spec = &module->spec;
    const int allocates           = osc_daxpin_allocates(module->flavor);
    const char *unlinks           = osc_daxpin_bool(allocates && spec->unlink);
    char path[OPAL_MAX_INFO_VAL + 1], offset[32];

    snprintf(path, sizeof(path), "%.*s", OPAL_MAX_INFO_VAL - 1,
             daxpin_file_path(module->segment.file));
    snprintf(offset, sizeof(offset), "%" PRIu64, module->segment.offset);
    osc_daxpin_info_use(win, "daxpin_path", path);
    osc_daxpin_info_use(win, "daxpin_offset", offset);
    osc_daxpin_info_use(win, "daxpin_unlink", unlinks);
    osc_daxpin_info_use(win, "daxpin_any_fs",
                        osc_daxpin_bool(spec->any_fs ||
                                        daxpin_fstype_allows_any()));
    if (allocates && !spec->temporary) {
        osc_daxpin_info_use(win, "alloc_type", "storage");
        osc_daxpin_info_use(win, "storage_alloc_filename", path);
        osc_daxpin_info_use(win, "storage_alloc_offset", offset);
        osc_daxpin_info_use(win, "storage_alloc_unlink", unlinks);
        osc_daxpin_info_use(win, "storage_alloc_discard",
                            osc_daxpin_bool(spec->persist ==
                                            OSC_DAXPIN_PERSIST_NONE));
    }
}

void osc_daxpin_spec_publish(ompi_win_t *win)
{
    static const char *const persist[] = {"none", "sync", "flush"};
    const osc_daxpin_module_t *module  = osc_daxpin_module(win);

    osc_daxpin_info_use(win, "daxpin_persist", persist[module->spec.persist]);
    if (module->flavor == MPI_WIN_FLAVOR_DYNAMIC) {
        osc_daxpin_info_use(win, "daxpin_attach", "true");
    }
    if (module->flavor == MPI_WIN_FLAVOR_SHARED) {
        osc_daxpin_info_use(win, "alloc_shared_noncontig",
                            osc_daxpin_bool(module->spec.noncontiguous));
    }
    if (module->segment.file != NULL) {
        osc_daxpin_spec_publish_place(win, module);
        osc_daxpin_spec_publish_file(win, module->segment.file);
    }
}
