/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Moving data by way of a packed copy, to memory of another process that is not
 * mapped in this one
 */

#include "osc_daxpin_pack.h"

#include "osc_daxpin_error.h"

#include "opal/datatype/opal_convertor.h"

#include <stdlib.h>
#include <string.h>

/* Elements of one type that Open MPI copies at a time. 6.0.0rc2 counts them by an
 * int, and crashes. */
#define OSC_DAXPIN_COPY_MAX ((size_t)1 << 30)

/* Bytes of a packed copy: process_vm_readv() moves no more by one call, and a
 * message has not many more */
#define OSC_DAXPIN_PACKED_MAX 0x7ffff000

int osc_daxpin_copy(const void *source, osc_daxpin_count_t source_count,
                    const ompi_datatype_t *source_dt, void *dest,
                    osc_daxpin_count_t dest_count,
                    const ompi_datatype_t *dest_dt)
{
    const osc_daxpin_count_t most = OSC_DAXPIN_COPY_MAX;
    ptrdiff_t lb, extent;
    int ret;

    while (OPAL_UNLIKELY((source_dt == dest_dt) && (source_count > most) &&
                         (dest_count > most))) {
        ret = ompi_datatype_sndrcv(source, most, source_dt, dest, most,
                                   dest_dt);
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
        ompi_datatype_get_extent(dest_dt, &lb, &extent);
        source        = (const char*)source + (ptrdiff_t)most * extent;
        dest          = (char*)dest + (ptrdiff_t)most * extent;
        source_count -= most;
        dest_count   -= most;
    }
    return ompi_datatype_sndrcv(source, source_count, source_dt, dest,
                                dest_count, dest_dt);
}

void osc_daxpin_copy_chunks(const daxpin_access_t *access,
                            daxpin_copy_func_t copy, char *dest,
                            const char *source, size_t length)
{
    size_t done = 0, chunk;

    while ((done < length) && ((done == 0) || (access == NULL) ||
                               daxpin_access_may_go_on(access))) {
        chunk = length - done;
        chunk = (chunk < DAXPIN_ACCESS_CHUNK) ? chunk : DAXPIN_ACCESS_CHUNK;
        if (copy != NULL) {
            copy(dest + done, source + done, chunk, 0);
        } else {
            memcpy(dest + done, source + done, chunk);
        }
        done += chunk;
    }
}

/* Copy all pieces of a datatype at an address there */
static int osc_daxpin_pack_copy(osc_daxpin_module_t *module, int target,
                                void *packed, char *addr,
                                osc_daxpin_count_t count,
                                const ompi_datatype_t *dt, int is_put,
                                osc_daxpin_pack_copy_t copy)
{
    struct iovec local = {.iov_base = packed};
    struct iovec remote[OSC_DAXPIN_IOV_MAX];
    opal_convertor_t convertor;
    uint32_t num;
    int ret = OMPI_SUCCESS;
    int done;

    OBJ_CONSTRUCT(&convertor, opal_convertor_t);
    opal_convertor_copy_and_prepare_for_recv(ompi_mpi_local_convertor,
                                             &dt->super, count, addr, 0,
                                             &convertor);
    do {
        num           = OSC_DAXPIN_IOV_MAX;
        local.iov_len = 0;
        done = opal_convertor_raw(&convertor, remote, &num, &local.iov_len);
        if (num > 0) {
            ret = copy(module, target, &local, remote, num, is_put);
        }
        local.iov_base = (char*)local.iov_base + local.iov_len;
    } while (!done && (ret == OMPI_SUCCESS));
    opal_convertor_cleanup(&convertor);
    OBJ_DESTRUCT(&convertor);
    return ret;
}

int osc_daxpin_pack_move(osc_daxpin_module_t *module,
                         const osc_daxpin_range_t *range,
                         const osc_daxpin_move_t *move,
                         osc_daxpin_pack_copy_t copy)
{
    size_t size = move->target_dt->super.size * move->target_count;
    int ret     = OMPI_SUCCESS;
    void *packed;

    if (size > OSC_DAXPIN_PACKED_MAX) {
        return osc_daxpin_error(MPI_ERR_COUNT, "rank %d, target rank %d: an "
                                "operation of %zu bytes on memory that is "
                                "neither mapped here nor reached by a device "
                                "is too long: make several of at most %d",
                                module->rank, range->target, size,
                                OSC_DAXPIN_PACKED_MAX);
    }
    packed = malloc(size);
    if (packed == NULL) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    if (move->is_put) {
        ret = osc_daxpin_copy(move->origin, move->origin_count,
                              move->origin_dt, packed,
                              (osc_daxpin_count_t)size, MPI_PACKED);
    }
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_pack_copy(module, range->target, packed, range->addr,
                                   move->target_count, move->target_dt,
                                   move->is_put, copy);
    }
    if ((ret == OMPI_SUCCESS) && !move->is_put) {
        ret = osc_daxpin_copy(packed, (osc_daxpin_count_t)size, MPI_PACKED,
                              move->origin, move->origin_count,
                              move->origin_dt);
    }
    osc_daxpin_error_free(ret, packed);
    return ret;
}
