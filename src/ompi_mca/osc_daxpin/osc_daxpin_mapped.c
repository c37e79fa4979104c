/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Targets whose segment is mapped in this process, or empty. Data is moved
 * inline, see osc_daxpin_range.h.
 */

#include "osc_daxpin_mapped.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_segment.h"

#include <errno.h>

int osc_daxpin_mem_is_good(const osc_daxpin_mem_t *mem)
{
    return !mem->dead && ((mem->access.file == NULL) ||
                          osc_daxpin_file_is_good(mem->access.file));
}

int osc_daxpin_mem_persist(osc_daxpin_module_t *module, int target,
                           const osc_daxpin_mem_t *mem, uint64_t start,
                           uint64_t length)
{
    int ret;

    if (mem->access.file == NULL) {
        return OMPI_SUCCESS;
    }
    ret = daxpin_file_persist(mem->access.file, mem->offset + start, length);
    if (ret == -ESTALE) {
        return OSC_DAXPIN_REVOKED;
    }
    if (ret != 0) {
        return osc_daxpin_error(MPI_ERR_IO, "rank %d, target rank %d: %s",
                                module->rank, target, daxpin_errormsg());
    }
    return OMPI_SUCCESS;
}

int osc_daxpin_mem_complete(osc_daxpin_module_t *module, int target)
{
    return OMPI_SUCCESS;
}

static int osc_daxpin_mapped_check(osc_daxpin_module_t *module, int target)
{
    return osc_daxpin_mem_is_good(&module->peers[target].mem) ?
                   OMPI_SUCCESS :
                   OSC_DAXPIN_REVOKED;
}

static int osc_daxpin_mapped_cause(osc_daxpin_module_t *module, int target,
                                   char *buffer, size_t size)
{
    const osc_daxpin_mem_t *mem = &module->peers[target].mem;

    if (!osc_daxpin_mem_is_good(mem)) {
        daxpin_file_cause(mem->access.file, buffer, size);
    }
    return OMPI_SUCCESS;
}

const osc_daxpin_way_t osc_daxpin_way_mapped = {
    .complete = osc_daxpin_mem_complete,
    .check    = osc_daxpin_mapped_check,
    .cause    = osc_daxpin_mapped_cause,
    .persist  = osc_daxpin_mem_persist
};
