/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef UCT_DAXPIN_RKEY_H_
#define UCT_DAXPIN_RKEY_H_

#include "daxpin_md.h"
#include "daxpin/access.h"

/* What travels. Memory that is none of daxpin's business has a key that is of
 * use to its own process only, by its pid and the generation. */
typedef struct uct_daxpin_packed_rkey {
    uint32_t     magic;
    uint32_t     version;
    uint64_t     node;   /* machine, and */
    uint64_t     ipc_ns; /* namespace on it: posix's idea of "same node" */
    daxpin_key_t key;    /* holder, file, generation */
    uint64_t     offset; /* of the range in the file */
    uint64_t     va;     /* the target's address of it */
    uint64_t     length;
    uint64_t     sum;    /* over all of the above */
} uct_daxpin_packed_rkey_t;

/* What uct_rkey_t points to. Used by several interfaces at a time: each has an
 * access of its own, by the index of its slot. Without a file it is this
 * process's ordinary memory. A dead one, of which status says why, has no length, so that no range lies
 * in it. */
typedef struct uct_daxpin_rkey {
    uint64_t        va;
    uint64_t        length;
    ucs_status_t    status;
    char            *address; /* the range in this process */
    uint64_t        offset;
    daxpin_file_t   *file;
    daxpin_access_t access[DAXPIN_SLOTS];
} uct_daxpin_rkey_t;

ucs_status_t uct_daxpin_mkey_pack(uct_md_h md, uct_mem_h memh,
                                  const uct_md_mkey_pack_params_t *params,
                                  void *rkey_buffer);

ucs_status_t uct_daxpin_rkey_unpack(uct_component_t *component,
                                    const void *rkey_buffer,
                                    uct_rkey_t *rkey_p, void **handle_p);

ucs_status_t uct_daxpin_rkey_release(uct_component_t *component,
                                     uct_rkey_t rkey, void *handle);

#endif
