/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What programs have mapped, for the memory domain that packs the keys */

#include "daxpin_mapped.h"

#include "daxpin/os/fork.h"

#include <pthread.h>

static pthread_mutex_t uct_daxpin_mapped_lock = PTHREAD_MUTEX_INITIALIZER;
static ucs_list_link_t uct_daxpin_mapped      =
        UCS_LIST_INITIALIZER(&uct_daxpin_mapped, &uct_daxpin_mapped);

DAXPIN_FORK_LOCK(DAXPIN_FORK_UCX_MAPPED, &uct_daxpin_mapped_lock)

void uct_daxpin_mapped_add(uct_daxpin_memh_t *memh)
{
    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    ucs_list_add_head(&uct_daxpin_mapped, &memh->list);
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
}

void uct_daxpin_mapped_remove(uct_daxpin_memh_t *memh)
{
    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    ucs_list_del(&memh->list);
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
}

/* Return the registration of a range, of several the last. UCP packs the key of
 * a mapping with the range of the mapping; a part of that is a message. */
static const uct_daxpin_memh_t *uct_daxpin_mapped_find(uint64_t va,
                                                       uint64_t length)
{
    const uct_daxpin_memh_t *memh;

    ucs_list_for_each(memh, &uct_daxpin_mapped, list) {
        if ((memh->va == va) && (memh->length == length)) {
            return memh;
        }
    }
    return NULL;
}

void uct_daxpin_mapped_pack(const void *address, size_t length,
                            void *rkey_buffer)
{
    const uct_daxpin_memh_t buffer = {
        .va     = (uintptr_t)address,
        .length = length
    };
    const uct_daxpin_memh_t *memh;

    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    memh = uct_daxpin_mapped_find(buffer.va, buffer.length);
    uct_daxpin_mkey_write((memh != NULL) ? memh : &buffer, rkey_buffer);
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
}
