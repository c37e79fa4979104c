/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What programs have mapped, for the memory domain that packs the keys */

#include "daxpin_mapped.h"

#include "daxpin/os/fork.h"
#include "daxpin_process.h"

#include <pthread.h>

static pthread_mutex_t uct_daxpin_mapped_lock = PTHREAD_MUTEX_INITIALIZER;
static ucs_list_link_t uct_daxpin_mapped      =
        UCS_LIST_INITIALIZER(&uct_daxpin_mapped, &uct_daxpin_mapped);

/* Memory regions of RDMA devices over these */
static ucs_list_link_t uct_daxpin_mapped_mrs  =
        UCS_LIST_INITIALIZER(&uct_daxpin_mapped_mrs, &uct_daxpin_mapped_mrs);

DAXPIN_FORK_LOCK(DAXPIN_FORK_UCX_MAPPED, &uct_daxpin_mapped_lock)

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

/* Return whether a registration is of ordinary memory. Its key is the same as that of
 * a message's buffer, so it need not be found, and there may be many. */
static int uct_daxpin_memh_is_plain(const uct_daxpin_memh_t *memh)
{
    return (memh->file == NULL) && (memh->status == UCS_OK);
}

void uct_daxpin_mapped_add(uct_daxpin_memh_t *memh)
{
    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    if (!uct_daxpin_memh_is_plain(memh) ||
        (uct_daxpin_mapped_find(memh->va, memh->length) != NULL)) {
        ucs_list_add_head(&uct_daxpin_mapped, &memh->list);
    } else {
        ucs_list_head_init(&memh->list);
    }
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
}

/* Return whether two registrations are of one range of a file, at one address. */
static int uct_daxpin_memh_is_like(const uct_daxpin_memh_t *memh,
                                   const uct_daxpin_memh_t *other)
{
    return (memh->va == other->va) && (memh->length == other->length) &&
           (memh->file == other->file) && (memh->offset == other->offset);
}

/* Return whether the range of the file of a registration has another one. */
static int uct_daxpin_mapped_has(const uct_daxpin_memh_t *removed)
{
    const uct_daxpin_memh_t *memh;

    ucs_list_for_each(memh, &uct_daxpin_mapped, list) {
        if (uct_daxpin_memh_is_like(memh, removed)) {
            return 1;
        }
    }
    return 0;
}

/* Return whether a memory region is of what was registered: the program may have
 * mapped another file there since, or another part of the file. */
static int uct_daxpin_mr_is_of(const uct_daxpin_mr_t *mr,
                               const uct_daxpin_memh_t *memh)
{
    return ((uintptr_t)mr->address == memh->va) &&
           (mr->length == memh->length) && (mr->file == memh->file) &&
           (mr->offset == memh->offset);
}

/* End memory regions that nobody finds any more. Caller does not hold the lock. */
static void uct_daxpin_mapped_dereg(ucs_list_link_t *ended)
{
    uct_daxpin_mr_t *mr, *next;

    ucs_list_for_each_safe(mr, next, ended, list) {
        (void)uct_daxpin_mr_dereg(mr); /* It has reported an error */
    }
}

static void uct_daxpin_mapped_move(uct_daxpin_mr_t *mr, ucs_list_link_t *to)
{
    ucs_list_del(&mr->list);
    ucs_list_add_tail(to, &mr->list);
}

void uct_daxpin_mapped_remove(uct_daxpin_memh_t *memh)
{
    uct_daxpin_mr_t *mr, *next;
    UCS_LIST_HEAD(ended);

    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    ucs_list_del(&memh->list);
    if (!uct_daxpin_memh_is_plain(memh) && !uct_daxpin_mapped_has(memh)) {
        ucs_list_for_each_safe(mr, next, &uct_daxpin_mapped_mrs, list) {
            if (uct_daxpin_mr_is_of(mr, memh)) {
                uct_daxpin_mapped_move(mr, &ended);
            }
        }
    }
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
    uct_daxpin_mapped_dereg(&ended);
}

int uct_daxpin_mapped_has_file(const void *address, size_t length)
{
    const uct_daxpin_memh_t *memh;
    int has_file;

    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    memh     = uct_daxpin_mapped_find((uintptr_t)address, length);
    has_file = (memh != NULL) && (memh->file != NULL) && !memh->read_only &&
               !uct_daxpin_is_over(memh->file);
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
    return has_file;
}

int uct_daxpin_mapped_add_mr(uct_daxpin_mr_t *mr)
{
    const uct_daxpin_memh_t *memh;
    int is_mapped;

    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    memh      = uct_daxpin_mapped_find((uintptr_t)mr->address, mr->length);
    is_mapped = (memh != NULL) && uct_daxpin_mr_is_of(mr, memh);
    if (is_mapped) {
        ucs_list_add_head(&uct_daxpin_mapped_mrs, &mr->list);
    }
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
    return is_mapped;
}

int uct_daxpin_mapped_mr_key(uct_md_h md, const void *address, size_t length,
                             uint32_t *rkey_p)
{
    const uct_daxpin_memh_t *memh;
    const uct_daxpin_mr_t *mr;
    int found = 0;

    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    memh = uct_daxpin_mapped_find((uintptr_t)address, length);
    ucs_list_for_each(mr, &uct_daxpin_mapped_mrs, list) {
        if ((memh != NULL) && (mr->md == md) &&
            uct_daxpin_mr_is_of(mr, memh) && uct_daxpin_mr_key(mr, rkey_p)) {
            found = 1;
            break;
        }
    }
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
    return found;
}

void uct_daxpin_mapped_end_mrs(uct_md_h md)
{
    uct_daxpin_mr_t *mr, *next;
    UCS_LIST_HEAD(ended);

    pthread_mutex_lock(&uct_daxpin_mapped_lock);
    ucs_list_for_each_safe(mr, next, &uct_daxpin_mapped_mrs, list) {
        if (mr->md == md) {
            uct_daxpin_mapped_move(mr, &ended);
        }
    }
    pthread_mutex_unlock(&uct_daxpin_mapped_lock);
    uct_daxpin_mapped_dereg(&ended);
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
