/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Pack a registration into a remote key; check, unpack and release the key */

#include "daxpin_rkey.h"

#include "daxpin/os/fork.h"
#include "daxpin/os/rundir.h"
#include "daxpin_process.h"

#include <ucs/debug/log_def.h>
#include <ucs/sys/uid.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define UCT_DAXPIN_RKEY_MAGIC         0x4e495044u
#define UCT_DAXPIN_RKEY_MAGIC_PRIVATE 0x56495250u /* of ordinary memory */
#define UCT_DAXPIN_RKEY_MAGIC_DEAD    0x44414544u /* failed, or over */
#define UCT_DAXPIN_RKEY_VERSION       2u

/* FNV-1a. Detects bytes that were lost or made up, not malice: the holder's
 * socket refuses a process of another user. */
static uint64_t uct_daxpin_rkey_sum(const uct_daxpin_packed_rkey_t *packed)
{
    const uint8_t *byte = (const uint8_t*)packed;
    uint64_t sum        = 0xcbf29ce484222325ull;
    size_t i;

    for (i = 0; i < offsetof(uct_daxpin_packed_rkey_t, sum); ++i) {
        sum = (sum ^ byte[i]) * 0x100000001b3ull;
    }
    return sum;
}

/* Numbers of this process's namespaces, which it keeps while it lives; 0: not
 * looked up yet. A key of each message would look twice. */
static struct {
    _Atomic uint64_t ipc;
    _Atomic uint64_t pid;
} uct_daxpin_namespaces;

/* A child of fork() may be in another pid namespace. */
static void uct_daxpin_namespaces_fork(void)
{
    atomic_store(&uct_daxpin_namespaces.ipc, 0);
    atomic_store(&uct_daxpin_namespaces.pid, 0);
}

DAXPIN_FORK_CHILD(DAXPIN_FORK_UCX_KEY, uct_daxpin_namespaces_fork)

static uint64_t uct_daxpin_namespace(_Atomic uint64_t *known, const char *path)
{
    uint64_t number = atomic_load(known);
    struct stat st;

    if ((number == 0) && (stat(path, &st) == 0)) {
        number = st.st_ino;
        atomic_store(known, number);
    }
    return number;
}

static uint64_t uct_daxpin_ipc_ns(void)
{
    return uct_daxpin_namespace(&uct_daxpin_namespaces.ipc,
                                "/proc/self/ns/ipc");
}

static uint64_t uct_daxpin_pid_ns(void)
{
    return uct_daxpin_namespace(&uct_daxpin_namespaces.pid,
                                "/proc/self/ns/pid");
}

/* Return a number that tells apart processes with one pid, which live in
 * different namespaces or one after the other */
static uint64_t uct_daxpin_process_nonce(void)
{
    static _Atomic uint64_t nonce;
    uint64_t mine, none = 0;

    if ((atomic_load(&nonce) == 0) &&
        (getrandom(&mine, sizeof(mine), 0) == sizeof(mine))) {
        atomic_compare_exchange_strong(&nonce, &none, mine | 1);
    }
    return atomic_load(&nonce);
}

/* Return whether other transports would get what is not in the file any more. */
static int uct_daxpin_memh_is_over(const uct_daxpin_memh_t *memh)
{
    return memh->read_only && (memh->file != NULL) &&
           uct_daxpin_is_over(memh->file);
}

/* Return the number of the directory in which this process meets others; 0 if it
 * cannot be opened now, which is reported. */
static uint64_t uct_daxpin_rendezvous(void)
{
    const uint64_t id = daxpin_rundir_id();

    if (id == 0) {
        ucs_error("%s", daxpin_errormsg());
    }
    return id;
}

static void uct_daxpin_mkey_fill(const uct_daxpin_memh_t *memh,
                                 uct_daxpin_packed_rkey_t *packed)
{
    packed->version = UCT_DAXPIN_RKEY_VERSION;
    packed->node    = ucs_get_system_id();
    packed->ipc_ns  = uct_daxpin_ipc_ns();
    packed->pid_ns  = uct_daxpin_pid_ns();
    packed->va      = memh->va;
    packed->length  = memh->length;
    if ((memh->status != UCS_OK) || uct_daxpin_memh_is_over(memh)) {
        packed->magic = UCT_DAXPIN_RKEY_MAGIC_DEAD;
    } else if ((memh->file != NULL) && !memh->read_only) {
        packed->magic      = UCT_DAXPIN_RKEY_MAGIC;
        packed->offset     = memh->offset;
        packed->rendezvous = uct_daxpin_rendezvous();
        daxpin_file_key(memh->file, &packed->key);
    } else {
        packed->magic          = UCT_DAXPIN_RKEY_MAGIC_PRIVATE;
        packed->key.pid        = getpid();
        packed->key.generation = uct_daxpin_process_nonce();
    }
    packed->sum = uct_daxpin_rkey_sum(packed);
}

/* Pack a key. The buffer is part of a bigger key, and not aligned. */
void uct_daxpin_mkey_write(const uct_daxpin_memh_t *memh, void *rkey_buffer)
{
    uct_daxpin_packed_rkey_t packed;

    memset(&packed, 0, sizeof(packed));
    if (memh->length > 0) {
        uct_daxpin_mkey_fill(memh, &packed);
    } /* else a null key: the memory is not exposed */

    memcpy(rkey_buffer, &packed, sizeof(packed));
}

void uct_daxpin_mkey_write_null(void *rkey_buffer)
{
    static const uct_daxpin_null_rkey_t null_rkey;

    memcpy(rkey_buffer, &null_rkey, sizeof(null_rkey));
}

/* Check whether this process meets the holder of a file. If it does not, and is
 * in a container of its own, the target is on another node for it. Else UCX has
 * lanes to the target's memory that go around the lease: fail. */
static ucs_status_t
uct_daxpin_rkey_check_rendezvous(const uct_daxpin_packed_rkey_t *packed)
{
    const uint64_t own = uct_daxpin_rendezvous();

    if (own == 0) {
        return UCS_ERR_REJECTED;
    }

    if (packed->rendezvous == 0) {
        ucs_error("daxpin: the target of a remote key could not open the"
                  " directory in which processes meet when it packed the key;"
                  " see the target's message, and pack it again");
        return UCS_ERR_REJECTED;
    }

    if (packed->rendezvous == own) {
        return UCS_OK;
    }

    if (packed->pid_ns != uct_daxpin_pid_ns()) {
        return UCS_ERR_UNREACHABLE;
    }

    ucs_error("daxpin: the target of a remote key meets other processes in"
              " another directory than this process; set DAXPIN_RUNTIME_DIR to"
              " one directory for all processes of the job");
    return UCS_ERR_REJECTED;
}

/* Check a key. UNREACHABLE makes UCP take another lane, which is right for
 * memory that is not under a lease and for other nodes, and for nothing else: a
 * lane that goes around a broken key of this node would go around the lease. */
static ucs_status_t
uct_daxpin_rkey_check(const uct_daxpin_packed_rkey_t *packed)
{
    if (((packed->magic != UCT_DAXPIN_RKEY_MAGIC) &&
         (packed->magic != UCT_DAXPIN_RKEY_MAGIC_PRIVATE) &&
         (packed->magic != UCT_DAXPIN_RKEY_MAGIC_DEAD)) ||
        (packed->sum != uct_daxpin_rkey_sum(packed))) {
        ucs_error("daxpin: a remote key is not one of daxpin's or was changed"
                  " on its way; pack it again at the target");
        return UCS_ERR_INVALID_PARAM;
    }

    if (packed->version != UCT_DAXPIN_RKEY_VERSION) {
        ucs_error("daxpin: a remote key has version %u, this daxpin knows %u;"
                  " install the same daxpin for all processes",
                  packed->version, UCT_DAXPIN_RKEY_VERSION);
        return UCS_ERR_INVALID_PARAM;
    }

    if (packed->magic == UCT_DAXPIN_RKEY_MAGIC_DEAD) {
        ucs_error("daxpin: the target has no lease on its file; see the"
                  " target's message of when it registered the memory, or of"
                  " the revoke");
        return UCS_ERR_REJECTED;
    }

    if ((packed->length == 0) || (packed->va > UINT64_MAX - packed->length)) {
        ucs_error("daxpin: a remote key is for %" PRIu64
                  " bytes at address 0x%" PRIx64
                  ", where no memory can be; pack it again at the target",
                  packed->length, packed->va);
        return UCS_ERR_INVALID_ADDR;
    }

    if ((packed->node != ucs_get_system_id()) ||
        (packed->ipc_ns != uct_daxpin_ipc_ns())) {
        return UCS_ERR_UNREACHABLE;
    }

    if ((packed->magic == UCT_DAXPIN_RKEY_MAGIC_PRIVATE) &&
        ((packed->key.pid != (uint32_t)getpid()) ||
         (packed->key.generation != uct_daxpin_process_nonce()))) {
        return UCS_ERR_UNREACHABLE;
    }

    return (packed->magic == UCT_DAXPIN_RKEY_MAGIC) ?
           uct_daxpin_rkey_check_rendezvous(packed) : UCS_OK;
}

/* Accesses to ordinary memory, where the check always succeeds */
static daxpin_access_t uct_daxpin_private_accesses[DAXPIN_SLOTS];

static void uct_daxpin_private_init(void)
{
    static const _Atomic uint32_t always = DAXPIN_STATE_HELD;
    static daxpin_slot_t slots[DAXPIN_SLOTS];
    daxpin_access_t *access;
    unsigned i;

    for (i = 0; i < DAXPIN_SLOTS; ++i) {
        access            = &uct_daxpin_private_accesses[i];
        access->state     = &always;
        access->fast_open = &always;
        access->slot      = &slots[i];
        access->fast_slot = &slots[i];
    }
}

/* Set up a key of ordinary memory. */
static void uct_daxpin_rkey_set_private(const uct_daxpin_packed_rkey_t *packed,
                                        uct_daxpin_rkey_t *rkey)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, uct_daxpin_private_init);
    rkey->address = (void*)(uintptr_t)packed->va;
    rkey->va      = packed->va;
    rkey->length  = packed->length;
}

static ucs_status_t
uct_daxpin_rkey_attach(const uct_daxpin_packed_rkey_t *packed,
                       uct_daxpin_rkey_t *rkey)
{
    daxpin_access_t *accesses;
    void *address;
    int ret;

    ret = daxpin_file_attach(&packed->key, &rkey->file);
    if (ret != 0) {
        ucs_error("%s", daxpin_errormsg());
        return uct_daxpin_status(ret);
    }

    address  = daxpin_file_addr(rkey->file, packed->offset, packed->length);
    accesses = (address != NULL) ? daxpin_file_accesses(rkey->file) : NULL;
    if (accesses == NULL) {
        ucs_error("%s", daxpin_errormsg());
        daxpin_file_close(rkey->file);
        rkey->file = NULL;
        return (address != NULL) ? UCS_ERR_NO_MEMORY : UCS_ERR_INVALID_ADDR;
    }

    rkey->address  = address;
    rkey->va       = packed->va;
    rkey->length   = packed->length;
    rkey->offset   = packed->offset;
    rkey->accesses = accesses;
    return UCS_OK;
}

/* Check for a null key, all of which is zero. One of the other memory domain is
 * as short as the first word, so nothing behind a word of zero is read before
 * it is known to be there, which only a key that is not null can tell. */
static int uct_daxpin_rkey_is_null(const void *rkey_buffer)
{
    uct_daxpin_null_rkey_t null_rkey;

    memcpy(&null_rkey, rkey_buffer, sizeof(null_rkey));
    return null_rkey == 0;
}

/* Unpack a key. A key of this node that does not work makes a dead rkey, whose
 * operations fail. To return an error is not possible: UCP 1.13 would then
 * release the keys of the other memory domains as well, which it did not unpack
 * yet, and follow pointers that are not set. */
ucs_status_t uct_daxpin_rkey_unpack(uct_component_t *component,
                                    const void *rkey_buffer,
                                    const struct uct_rkey_unpack_params *params,
                                    uct_rkey_t *rkey_p, void **handle_p)
{
    uct_daxpin_packed_rkey_t packed;
    uct_daxpin_rkey_t *rkey;
    ucs_status_t status;

    if (uct_daxpin_rkey_is_null(rkey_buffer)) {
        return UCS_ERR_UNREACHABLE;
    }

    memcpy(&packed, rkey_buffer, sizeof(packed));
    status = uct_daxpin_rkey_check(&packed);
    if (status == UCS_ERR_UNREACHABLE) {
        return status;
    }

    rkey      = ucs_calloc(1, sizeof(*rkey), "daxpin_rkey");
    *rkey_p   = (uintptr_t)rkey;
    *handle_p = rkey;
    if (rkey == NULL) {
        ucs_error("daxpin: no memory to unpack a remote key");
        return UCS_ERR_NO_MEMORY;
    }

    rkey->accesses = uct_daxpin_private_accesses; /* of a dead key: unused */
    if ((status == UCS_OK) &&
        (packed.magic == UCT_DAXPIN_RKEY_MAGIC_PRIVATE)) {
        uct_daxpin_rkey_set_private(&packed, rkey);
    } else if (status == UCS_OK) {
        status = uct_daxpin_rkey_attach(&packed, rkey);
    }
    rkey->status = status;
    return UCS_OK;
}

ucs_status_t uct_daxpin_rkey_release(uct_component_t *component,
                                     uct_rkey_t rkey, void *handle)
{
    uct_daxpin_rkey_t *daxpin_rkey = handle;

    if (daxpin_rkey != NULL) {
        daxpin_file_close(daxpin_rkey->file);
        ucs_free(daxpin_rkey);
    }
    return UCS_OK;
}
