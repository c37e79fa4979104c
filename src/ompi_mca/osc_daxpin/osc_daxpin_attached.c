/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Memory that this rank attached to a dynamic window: for each region a
 * segment, and an entry in a table that the ranks of its node share
 */

#include "osc_daxpin_attached.h"

#include "osc_daxpin_adopt.h"
#include "osc_daxpin_error.h"
#include "osc_daxpin_lend.h"
#include "osc_daxpin_segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static osc_daxpin_table_t *
osc_daxpin_own_table(const osc_daxpin_module_t *module)
{
    return &module->node.tables[ompi_comm_rank(module->node.comm)];
}

static void osc_daxpin_table_begin(osc_daxpin_table_t *table)
{
    atomic_fetch_add(&table->version, 1);
    atomic_thread_fence(memory_order_seq_cst);
}

static void osc_daxpin_table_end(osc_daxpin_table_t *table)
{
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(&table->version, 1);
}

static int osc_daxpin_table_overlaps(const osc_daxpin_table_t *table,
                                     uint64_t start, uint64_t size)
{
    const osc_daxpin_region_t *region;
    uint64_t i;

    for (i = 0; i < table->count; ++i) {
        region = &table->regions[i];
        if ((size > 0) && (region->size > 0) &&
            (start < region->start + region->size) &&
            (region->start < start + size)) {
            return 1;
        }
    }
    return 0;
}

osc_daxpin_segment_t *osc_daxpin_own_segments(osc_daxpin_module_t *module,
                                              uint64_t *count_p)
{
    if (module->attached == NULL) {
        *count_p = 1;
        return &module->segment;
    }
    *count_p = osc_daxpin_own_table(module)->count;
    return module->attached;
}

void osc_daxpin_own_cause(osc_daxpin_module_t *module, char *buffer,
                          size_t size)
{
    const osc_daxpin_segment_t *segment;
    uint64_t i, count;

    OPAL_THREAD_LOCK(&module->attach_mutex);
    segment = osc_daxpin_own_segments(module, &count);
    for (i = 0; i < count; ++i, ++segment) {
        if ((segment->file != NULL) &&
            !osc_daxpin_file_is_good(segment->file)) {
            daxpin_file_cause(segment->file, buffer, size);
            break;
        }
    }
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
}

osc_daxpin_segment_t *osc_daxpin_attached_find(osc_daxpin_module_t *module,
                                               uint64_t start)
{
    uint64_t i, count = osc_daxpin_own_table(module)->count;
    osc_daxpin_segment_t *segment;

    for (i = 0; i < count; ++i) {
        segment = &module->attached[i];
        if ((start >= (uintptr_t)segment->base) &&
            (start - (uintptr_t)segment->base < segment->size)) {
            return segment;
        }
    }
    return NULL;
}

int osc_daxpin_attached_open(osc_daxpin_module_t *module)
{
    module->attached = calloc(OSC_DAXPIN_REGIONS_MAX,
                              sizeof(*module->attached));
    return (module->attached == NULL) ? OMPI_ERR_OUT_OF_RESOURCE :
                                        OMPI_SUCCESS;
}

void osc_daxpin_attached_close(osc_daxpin_module_t *module)
{
    uint64_t count;

    if (module->attached == NULL) {
        return;
    }
    for (count = osc_daxpin_own_table(module)->count; count > 0; --count) {
        osc_daxpin_segment_release(&module->attached[count - 1]);
    }
    free(module->attached);
    module->attached = NULL;
}

/* Describe the file to the ranks of this node */
static void osc_daxpin_region_fill(const osc_daxpin_segment_t *segment,
                                   osc_daxpin_region_t *region)
{
    const char *path = daxpin_file_path(segment->file);
    size_t length    = strlen(path);
    size_t size      = sizeof(region->path);

    daxpin_file_key(segment->file, &region->key);
    region->offset = segment->offset;
    snprintf(region->path, size, "%s",
             path + ((length < size) ? 0 : length - size + 1));
}

/* Caller holds attach_mutex. Check that there is room for a region. */
static int osc_daxpin_attach_check(const osc_daxpin_table_t *table, void *base,
                                   size_t size)
{
    if (table->count == OSC_DAXPIN_REGIONS_MAX) {
        return osc_daxpin_error(MPI_ERR_RMA_ATTACH, "cannot attach %zu bytes "
                                "at %p: %d regions are attached, which is the "
                                "limit; detach some", size, base,
                                OSC_DAXPIN_REGIONS_MAX);
    }
    if (osc_daxpin_table_overlaps(table, (uintptr_t)base, size)) {
        return osc_daxpin_error(MPI_ERR_RMA_ATTACH, "cannot attach %zu bytes "
                                "at %p: they overlap memory that is attached "
                                "already", size, base);
    }
    return OMPI_SUCCESS;
}

/* Take the file that the program has mapped at an address. The file stays NULL
 * if the mapping is not of a file that daxpin leases. Other ranks are waited
 * for, whose messages need attach_mutex: the caller does not hold it. */
static int osc_daxpin_attach_adopt(osc_daxpin_module_t *module, void *base,
                                   size_t size, osc_daxpin_segment_t *segment)
{
    daxpin_adoption_t adoption;
    int ret;

    memset(segment, 0, sizeof(*segment));
    segment->base = base;
    segment->size = size;
    ret = osc_daxpin_adopt_locate(base, size, module->timeout_ms, &adoption,
                                  segment);
    if ((ret != OMPI_SUCCESS) || !adoption.located) {
        return (ret != OMPI_SUCCESS) ? MPI_ERR_RMA_ATTACH : ret;
    }
    ret = osc_daxpin_lend_adopt(module, &adoption);
    if (ret == 0) {
        osc_daxpin_segment_take(segment, adoption.file, adoption.offset);
        return OMPI_SUCCESS;
    }
    return osc_daxpin_segment_without_lease(segment, ret) ?
                   OMPI_SUCCESS :
                   osc_daxpin_error(MPI_ERR_RMA_ATTACH, "%s",
                                    daxpin_errormsg());
}

/* Caller holds attach_mutex. Another thread may have attached meanwhile. */
static int osc_daxpin_attach_insert(osc_daxpin_module_t *module,
                                    osc_daxpin_segment_t *segment)
{
    osc_daxpin_region_t region = {.start     = (uintptr_t)segment->base,
                                  .size      = segment->size,
                                  .read_only = segment->read_only};
    osc_daxpin_table_t *table  = osc_daxpin_own_table(module);
    int ret;

    ret = osc_daxpin_attach_check(table, segment->base, segment->size);
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    if ((segment->file != NULL) && module->has_am) {
        segment->touched = calloc(module->size, sizeof(*segment->touched));
        if (segment->touched == NULL) {
            return OMPI_ERR_OUT_OF_RESOURCE;
        }
    }
    if (segment->file != NULL) {
        osc_daxpin_region_fill(segment, &region);
    }
    osc_daxpin_table_begin(table);
    module->attached[table->count] = *segment;
    table->regions[table->count++] = region;
    osc_daxpin_table_end(table);
    return OMPI_SUCCESS;
}

int osc_daxpin_win_attach(ompi_win_t *win, void *base, size_t size)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_segment_t segment;
    int ret;

    if (module->flavor != MPI_WIN_FLAVOR_DYNAMIC) {
        return MPI_ERR_RMA_FLAVOR;
    }
    if ((ptrdiff_t)size < 0) {
        return MPI_ERR_SIZE;
    }
    OPAL_THREAD_LOCK(&module->attach_mutex);
    ret = osc_daxpin_attach_check(osc_daxpin_own_table(module), base, size);
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_attach_adopt(module, base, size, &segment);
    }
    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    OPAL_THREAD_LOCK(&module->attach_mutex);
    ret = osc_daxpin_attach_insert(module, &segment);
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    if (ret != OMPI_SUCCESS) {
        osc_daxpin_segment_release(&segment);
    }
    return ret;
}

static int osc_daxpin_detach(osc_daxpin_module_t *module, const void *base)
{
    osc_daxpin_table_t *table = osc_daxpin_own_table(module);
    uint64_t i, last;

    for (i = 0; (i < table->count) && (module->attached[i].base != base);
         ++i) {
    }
    if (i == table->count) {
        return MPI_ERR_BASE;
    }
    osc_daxpin_segment_release(&module->attached[i]);
    osc_daxpin_table_begin(table);
    last                = --table->count;
    module->attached[i] = module->attached[last];
    table->regions[i]   = table->regions[last];
    osc_daxpin_table_end(table);
    return OMPI_SUCCESS;
}

int osc_daxpin_win_detach(ompi_win_t *win, const void *base)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    int ret;

    if (module->flavor != MPI_WIN_FLAVOR_DYNAMIC) {
        return MPI_ERR_RMA_FLAVOR;
    }
    OPAL_THREAD_LOCK(&module->attach_mutex);
    ret = osc_daxpin_detach(module, base);
    OPAL_THREAD_UNLOCK(&module->attach_mutex);
    return ret;
}
