/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Remote keys: what a registration is packed into, and what becomes of it */

#ifndef UCT_DAXPIN_RKEY_H_
#define UCT_DAXPIN_RKEY_H_

#include "abi/adapt.h"
#include "daxpin/access.h"

/* A registration. Memory that daxpin leaves alone has no file. */
typedef struct uct_daxpin_memh {
    ucs_list_link_t list; /* see daxpin_mapped.h */
    ucs_status_t  status; /* an error: the key is dead */
    daxpin_file_t *file;
    daxpin_pin_t  *pin;
    int           read_only; /* here, so that others must not map the file */
    uint64_t      offset; /* in the file */
    uint64_t      va;
    uint64_t      length; /* 0: not exposed */
} uct_daxpin_memh_t;

/* A remote key as it is sent. The key of memory that daxpin leaves alone is of
 * use to its own process only, which the pid and the generation identify. */
typedef struct uct_daxpin_packed_rkey {
    uint32_t     magic;
    uint32_t     version;
    uint64_t     node;       /* machine, and */
    uint64_t     ipc_ns;     /* namespace: posix's notion of the same node */
    uint64_t     pid_ns;
    uint64_t     rendezvous; /* directory where the target meets others */
    daxpin_key_t key;        /* holder, file, generation */
    uint64_t     offset;     /* of the range in the file */
    uint64_t     va;         /* the target's address of it */
    uint64_t     length;
    uint64_t     sum;        /* over all of the above */
} uct_daxpin_packed_rkey_t;

/* A remote key of nothing, which is the first word of the key above */
typedef uint32_t uct_daxpin_null_rkey_t;

/* An unpacked remote key, to which uct_rkey_t points. Several interfaces use
 * the key at a time, so each interface has an access by the index of its slot,
 * which all keys of the file share.
 * A key without a file is of this process's ordinary memory. A dead key, of
 * which the status gives the reason, has length 0: no range lies in it. */
typedef struct uct_daxpin_rkey {
    uint64_t        va;
    uint64_t        length;
    ucs_status_t    status;
    void            *address; /* the range in this process */
    uint64_t        offset;
    daxpin_file_t   *file;
    daxpin_access_t *accesses; /* by slot */
} uct_daxpin_rkey_t;

/* Pack the key of a registration, or a null key, which nobody can unpack */
void uct_daxpin_mkey_write(const uct_daxpin_memh_t *memh, void *rkey_buffer);

void uct_daxpin_mkey_write_null(void *rkey_buffer);

/* Operations of the component */
ucs_status_t uct_daxpin_rkey_unpack(uct_component_t *component,
                                    const void *rkey_buffer,
                                    const struct uct_rkey_unpack_params *params,
                                    uct_rkey_t *rkey_p, void **handle_p);

ucs_status_t uct_daxpin_rkey_release(uct_component_t *component,
                                     uct_rkey_t rkey, void *handle);

#endif
