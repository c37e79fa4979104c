/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Put and get. What is mapped in this process is accessed by its CPU, within
 * the access check; how other targets are reached, see osc_daxpin_way_t.
 */

#include "osc_daxpin_comm.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_pack.h"
#include "osc_daxpin_peer.h"
#include "osc_daxpin_range.h"
#include "osc_daxpin_request.h"
#include "osc_daxpin_state.h"

static OSC_DAXPIN_INLINE int osc_daxpin_move_mapped(
        osc_daxpin_module_t *module, void *origin,
        osc_daxpin_count_t origin_count, ompi_datatype_t *origin_dt,
        osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
        const osc_daxpin_range_t *range, int is_put)
{
    int ret = osc_daxpin_range_begin(module, range);
    int is_plain;

    if (ret != OMPI_SUCCESS) {
        return ret;
    }
    is_plain = OPAL_LIKELY(osc_daxpin_is_plain(origin_count, origin_dt,
                                               target_count, target_dt));
    if (is_put && is_plain && osc_daxpin_range_is_durable(range, origin)) {
        osc_daxpin_copy_chunks(&range->mem->access, range->mem->copy,
                               range->addr, origin, range->length);
        return osc_daxpin_range_end(module, range, ret);
    }
    if (is_plain) {
        osc_daxpin_range_copy(range->mem, is_put ? range->addr : origin,
                              is_put ? origin : range->addr, range->length);
    } else if (is_put) {
        ret = osc_daxpin_copy(origin, origin_count, origin_dt,
                              range->addr, target_count, target_dt);
    } else {
        ret = osc_daxpin_copy(range->addr, target_count, target_dt,
                              origin, origin_count, origin_dt);
    }
    if (is_put) {
        osc_daxpin_range_dirty(module, range);
    }
    return osc_daxpin_range_end(module, range, ret);
}

static __attribute__((noinline)) int osc_daxpin_move_unmapped(
        osc_daxpin_module_t *module, void *origin,
        osc_daxpin_count_t origin_count, ompi_datatype_t *origin_dt,
        ptrdiff_t disp, osc_daxpin_count_t target_count,
        ompi_datatype_t *target_dt, const osc_daxpin_range_t *range, int is_put)
{
    const osc_daxpin_move_t move = {
        .origin       = origin,
        .origin_count = origin_count,
        .origin_dt    = origin_dt,
        .disp         = disp,
        .target_count = target_count,
        .target_dt    = target_dt,
        .is_put       = is_put
    };

    return osc_daxpin_range_move(module, range, &move);
}

/* What comes from one side has to fit into the other one */
static __attribute__((noinline)) int
osc_daxpin_move_match(osc_daxpin_count_t origin_count,
                      const ompi_datatype_t *origin_dt,
                      osc_daxpin_count_t target_count,
                      const ompi_datatype_t *target_dt, int is_put)
{
    return is_put ? osc_daxpin_range_match(origin_count, origin_dt,
                                           target_count, target_dt) :
                    osc_daxpin_range_match(target_count, target_dt,
                                           origin_count, origin_dt);
}

static __attribute__((noinline)) int
osc_daxpin_move_any(void *origin, osc_daxpin_count_t origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, int is_put)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_range_t range;
    int ret;

    osc_daxpin_peers_lock(module);
    ret = osc_daxpin_range_get(module, target, disp, target_count, target_dt,
                               &range);
    if ((ret == OMPI_SUCCESS) &&
        !osc_daxpin_is_plain(origin_count, origin_dt, target_count,
                             target_dt)) {
        ret = osc_daxpin_move_match(origin_count, origin_dt, target_count,
                                    target_dt, is_put);
    }
    if ((ret != OMPI_SUCCESS) || (range.length == 0)) {
        goto out;
    }
    if (is_put && OPAL_UNLIKELY(range.mem->read_only)) {
        ret = osc_daxpin_error_read_only(module, target);
    } else if (OPAL_LIKELY(range.mem->base != NULL)) {
        ret = osc_daxpin_move_mapped(module, origin, origin_count, origin_dt,
                                     target_count, target_dt, &range, is_put);
    } else {
        ret = osc_daxpin_move_unmapped(module, origin, origin_count, origin_dt,
                                       disp, target_count, target_dt, &range,
                                       is_put);
    }
out:
    osc_daxpin_peers_unlock(module);
    return ret;
}

static OSC_DAXPIN_INLINE int
osc_daxpin_move_short(osc_daxpin_module_t *module, int target, void *origin,
                      uint64_t start, size_t length, int is_put)
{
    osc_daxpin_peer_t *peer = &module->peers[target];
    osc_daxpin_mem_t *mem   = &peer->mem;
    char *addr              = mem->base + start;

    peer->touched = 1;
    osc_daxpin_poll(module, length);
    if (daxpin_access_begin(&mem->access) != 0) {
        return osc_daxpin_peer_revoked(module, target);
    }
    osc_daxpin_range_copy(mem, is_put ? addr : origin, is_put ? origin : addr,
                          length);
    if (daxpin_access_end(&mem->access, mem->offset + start, length) != 0) {
        return osc_daxpin_peer_revoked(module, target);
    }
    return OMPI_SUCCESS;
}

static OSC_DAXPIN_INLINE int
osc_daxpin_move(void *origin, osc_daxpin_count_t origin_count,
                ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                ompi_win_t *win, int is_put)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    const size_t length         = osc_daxpin_bytes(target_count, target_dt);
    uint64_t start;

    if (OPAL_LIKELY(osc_daxpin_is_plain(origin_count, origin_dt, target_count,
                                        target_dt) &&
                    osc_daxpin_range_is_short(module, &module->peers[target],
                                              disp, length, is_put, &start))) {
        return osc_daxpin_move_short(module, target, origin, start, length,
                                     is_put);
    }
    return osc_daxpin_move_any(origin, origin_count, origin_dt, target, disp,
                               target_count, target_dt, win, is_put);
}

int osc_daxpin_put(const void *origin, osc_daxpin_count_t origin_count,
                   ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                   osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                   ompi_win_t *win)
{
    return osc_daxpin_move((void*)origin, origin_count, origin_dt, target,
                           disp, target_count, target_dt, win, 1);
}

int osc_daxpin_get(void *origin, osc_daxpin_count_t origin_count,
                   ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                   osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                   ompi_win_t *win)
{
    return osc_daxpin_move(origin, origin_count, origin_dt, target, disp,
                           target_count, target_dt, win, 0);
}

/*
 * With requests. Where a move is complete when it returns, so is its request.
 */

static inline int osc_daxpin_has_requests(const ompi_win_t *win, int target)
{
    return osc_daxpin_module(win)->peers[target].way->rmove != NULL;
}

static void osc_daxpin_note_put(osc_daxpin_module_t *module,
                                const osc_daxpin_range_t *range)
{
    osc_daxpin_range_dirty(module, range);
}

static int osc_daxpin_rmove(ompi_win_t *win, int target,
                            const osc_daxpin_move_t *move,
                            ompi_request_t **request)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);
    osc_daxpin_range_t range;
    int ret;

    *request = &ompi_request_empty;
    ret      = osc_daxpin_range_get(module, target, move->disp,
                                    move->target_count, move->target_dt,
                                    &range);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_move_match(move->origin_count, move->origin_dt,
                                    move->target_count, move->target_dt,
                                    move->is_put);
    }
    if ((ret != OMPI_SUCCESS) || (range.length == 0)) {
        return ret;
    }
    if (move->is_put && range.mem->read_only) {
        return osc_daxpin_error_read_only(module, target);
    }
    return osc_daxpin_request_start(module, move, &range, osc_daxpin_note_put,
                                    request);
}

/* Check the target, because the request is complete: its end is a
 * synchronisation. Return ret, or the error of the target. */
static int osc_daxpin_settle_request(ompi_win_t *win, int target, int ret)
{
    osc_daxpin_module_t *module = osc_daxpin_module(win);

    if (ret == OMPI_SUCCESS) {
        osc_daxpin_peers_lock(module);
        ret = osc_daxpin_peer_check(module, target);
        osc_daxpin_peers_unlock(module);
    }
    return ret;
}

int osc_daxpin_rput(const void *origin, osc_daxpin_count_t origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, ompi_request_t **request)
{
    const osc_daxpin_move_t move = {
        .origin       = (void*)origin,
        .origin_count = origin_count,
        .origin_dt    = origin_dt,
        .disp         = disp,
        .target_count = target_count,
        .target_dt    = target_dt,
        .is_put       = 1
    };

    if (osc_daxpin_has_requests(win, target)) {
        return osc_daxpin_rmove(win, target, &move, request);
    }
    *request = &ompi_request_empty;
    return osc_daxpin_settle_request(
            win, target, osc_daxpin_put(origin, origin_count, origin_dt, target,
                                        disp, target_count, target_dt, win));
}

int osc_daxpin_rget(void *origin, osc_daxpin_count_t origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    osc_daxpin_count_t target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, ompi_request_t **request)
{
    const osc_daxpin_move_t move = {
        .origin       = origin,
        .origin_count = origin_count,
        .origin_dt    = origin_dt,
        .disp         = disp,
        .target_count = target_count,
        .target_dt    = target_dt
    };

    if (osc_daxpin_has_requests(win, target)) {
        return osc_daxpin_rmove(win, target, &move, request);
    }
    *request = &ompi_request_empty;
    return osc_daxpin_settle_request(
            win, target, osc_daxpin_get(origin, origin_count, origin_dt, target,
                                        disp, target_count, target_dt, win));
}
