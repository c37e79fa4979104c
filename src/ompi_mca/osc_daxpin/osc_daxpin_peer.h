/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_PEER_H_
#define OSC_DAXPIN_PEER_H_

/* The targets of a window */

#include "osc_daxpin.h"

/* Collective. Waits need the peers also after they are closed; the module frees
 * them. */
int osc_daxpin_peers_open(osc_daxpin_module_t *module,
                          osc_daxpin_unit_t disp_unit);
void osc_daxpin_peers_close(osc_daxpin_module_t *module);

/* Return where a target's memory is in this process, or NULL */
char *osc_daxpin_peer_base(const osc_daxpin_module_t *module, int target);

/* Return the page that shows other nodes the state of this rank's file */
const daxpin_control_t *osc_daxpin_own_control(osc_daxpin_module_t *module);

/* A target attaches memory at any time: one thread at a time reads its table.
 * Windows that are not dynamic need no lock. */
static inline void osc_daxpin_peers_lock(osc_daxpin_module_t *module)
{
    if (OPAL_UNLIKELY(module->has_threads)) {
        opal_mutex_lock(&module->peers_mutex);
    }
}

static inline void osc_daxpin_peers_unlock(osc_daxpin_module_t *module)
{
    if (OPAL_UNLIKELY(module->has_threads)) {
        opal_mutex_unlock(&module->peers_mutex);
    }
}

static inline int osc_daxpin_key_is_same(const daxpin_key_t *key,
                                         const daxpin_key_t *other)
{
    return (key->generation == other->generation) && (key->dev == other->dev) &&
           (key->ino == other->ino);
}

/* Return whether the segments of two targets are in one file */
static inline int osc_daxpin_peers_share(const osc_daxpin_peer_t *peer,
                                         const osc_daxpin_peer_t *other)
{
    return (peer->mem.key.generation != 0) &&
           osc_daxpin_key_is_same(&peer->mem.key, &other->mem.key);
}

/* Note that a region was accessed in this epoch */
static inline void osc_daxpin_peer_touch(osc_daxpin_peer_t *peer,
                                         osc_daxpin_mem_t *mem)
{
    const unsigned i = (unsigned)(mem - peer->mems);

    mem->touched = 1;
    if ((peer->end_touched == 0) || (i < peer->first_touched)) {
        peer->first_touched = i;
    }
    if (i >= peer->end_touched) {
        peer->end_touched = i + 1;
    }
}

/* Begin an epoch: nothing was accessed in it yet that this component knows */
static inline void osc_daxpin_peer_forget(osc_daxpin_peer_t *peer)
{
    unsigned i;

    peer->touched = peer->queried;
    ++peer->epoch;
    if (OPAL_UNLIKELY(peer->mems != &peer->mem)) {
        for (i = peer->first_touched; i < peer->end_touched; ++i) {
            peer->mems[i].touched = 0;
        }
        peer->first_touched = peer->end_touched = 0;
    }
}

/* The same after the error of a revoked file. Other files of a dynamic window's
 * target that are revoked stay accessed: the next call returns their error.
 * Caller holds the lock of the peers. */
void osc_daxpin_peer_forget_told(osc_daxpin_peer_t *peer);

#endif
