/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_PACK_H_
#define OSC_DAXPIN_PACK_H_

/* Moving data between layouts, and by way of a packed copy */

#include "osc_daxpin.h"

#include <sys/uio.h>

/* Most pieces of a target's memory in one call of a copy function */
#define OSC_DAXPIN_IOV_MAX 32

/* Copy between one piece of packed data and as many bytes of a target */
typedef int (*osc_daxpin_pack_copy_t)(osc_daxpin_module_t *module, int target,
                                      const struct iovec *local,
                                      const struct iovec *remote,
                                      unsigned count, int is_put);

/* Copy between two layouts in this process */
int osc_daxpin_copy(const void *source, osc_daxpin_count_t source_count,
                    const ompi_datatype_t *source_dt, void *dest,
                    osc_daxpin_count_t dest_count,
                    const ompi_datatype_t *dest_dt);

/* Copy in chunks, because a revoke does not wait for all of a long copy. The end of
 * the access reports what was left out. access NULL: there is no file. copy NULL:
 * by memcpy() */
void osc_daxpin_copy_chunks(const daxpin_access_t *access,
                            daxpin_copy_func_t copy, char *dest,
                            const char *source, size_t length);

/* Put or get: pack, copy, unpack */
int osc_daxpin_pack_move(osc_daxpin_module_t *module,
                         const osc_daxpin_range_t *range,
                         const osc_daxpin_move_t *move,
                         osc_daxpin_pack_copy_t copy);

#endif
