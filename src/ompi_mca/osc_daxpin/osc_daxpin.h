/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_H_
#define OSC_DAXPIN_H_

#include "ompi_config.h"

#include "ompi/constants.h"
#include "ompi/communicator/communicator.h"
#include "ompi/datatype/ompi_datatype.h"
#include "ompi/mca/coll/coll.h"
#include "ompi/mca/osc/base/base.h"
#include "ompi/mca/osc/osc.h"
#include "ompi/request/request.h"
#include "ompi/win/win.h"
#include "opal/runtime/opal_progress.h"
#include "opal/util/output.h"

#include "daxpin/access.h"
#include "daxpin/daxpin.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* ompi/op/op.h includes what is not installed */
typedef struct ompi_op_t ompi_op_t;

/*
 * Windows over leased files. Who can map a target's file, that is every rank
 * of its node, accesses it with its own CPU, under libdaxpin's guard; so each
 * operation knows by itself whether it got into the file. What goes to other
 * nodes, and all synchronisation, is the work of another osc component, on
 * shadow windows that the program never sees:
 *
 *   sync   over a few bytes of nothing: fences, locks, post and start
 *   data   over the window's memory
 *   lock   over a word a rank, that makes accumulates atomic
 *   state  over the page in which libdaxpin says what the lease is doing
 *   ask    over what ranks of other nodes want to be made durable
 *
 * The last four are there only where a rank cannot map another's file. They
 * are locked for all their life, so that data and state can be waited for in
 * any epoch of the program: first the data is complete, then the state says
 * whether it went into the file, then the epoch ends.
 */

typedef enum osc_daxpin_persist {
    OSC_DAXPIN_PERSIST_NONE,
    OSC_DAXPIN_PERSIST_SYNC, /* own part: fence, wait, sync, free */
    OSC_DAXPIN_PERSIST_FLUSH /* and the target's: flush, unlock */
} osc_daxpin_persist_t;

/* What the info of a window says */
typedef struct osc_daxpin_spec {
    char                 path[PATH_MAX]; /* "": no file is named */
    uint64_t             offset;
    int                  unlink;
    daxpin_on_break_t    on_break;
    osc_daxpin_persist_t persist;
    int                  noncontiguous; /* of a shared window */
    int                  attach;        /* a dynamic window is for files;
                                           -1: not said */
    int                  temporary;     /* the name goes when it is open */
} osc_daxpin_spec_t;

/* What is added to the path of a temporary file: a dot and a rank */
#define OSC_DAXPIN_NODE_ID_MAX 12

/* A file that this rank has opened or adopted for its part of a window */
typedef struct osc_daxpin_segment {
    daxpin_file_t *file;
    daxpin_pin_t  *pin;        /* of the bytes of the window */
    char          *base;       /* where the part begins in memory */
    size_t        size;        /* bytes of the window */
    uint64_t      offset;      /* of the part in the file */
    size_t        file_length; /* least length of the file for all parts */
    int           adopted;
    int           leader;      /* the first rank of the node that has it */
    off_t         old_length;  /* before us; -1: it was not there */
    char          path[PATH_MAX];
    uint64_t      *touched;    /* attached: the epoch in which a rank of
                                  another node has last accessed it */
} osc_daxpin_segment_t;

/* Memory of a target: its segment, or what it attached to a dynamic window */
typedef struct osc_daxpin_mem {
    daxpin_access_t access; /* file NULL: there is nothing to guard */
    daxpin_key_t    key;    /* generation 0: no file */
    char            *base;  /* here; NULL: not mapped in this process */
    uint64_t        start;  /* in terms of displacements, in bytes */
    uint64_t        size;
    uint64_t        offset; /* in the file */
    int             dead;   /* the file was revoked before it could be had */
    int             touched;     /* there were accesses in this epoch */
    uint64_t        dirty_start; /* what a flush has to persist */
    uint64_t        dirty_end;
} osc_daxpin_mem_t;

/* A target */
typedef struct osc_daxpin_peer {
    osc_daxpin_mem_t mem;       /* its part */
    osc_daxpin_mem_t *mems;     /* the one above, or what it has attached */
    unsigned         num_mems;
    uint64_t         version;   /* of what it has attached */
    int              disp_unit;
    int              node_rank; /* -1: on another node */
    int              pid;
    int              state_rank; /* whose control page tells of it from afar */
    uint64_t         epoch;     /* so many are over */
    uint64_t         share;     /* of its lock, see osc_daxpin_wait.c */
    int              open;      /* accesses are allowed */
    int              locked;    /* by MPI_Win_lock() */
    int              touched;   /* there were some in this epoch */
    uint64_t         number;    /* of what it was asked to make durable */
} osc_daxpin_peer_t;

/* The inner component's window, and the memory it is over */
typedef struct osc_daxpin_shadow {
    ompi_win_t             *win;
    ompi_osc_base_module_t *module;
} osc_daxpin_shadow_t;

/* What ranks of a node share, besides files */
typedef struct osc_daxpin_slot {
    _Atomic uint64_t lock;   /* of accumulates: 0 or 1 + rank that has it */
    _Atomic uint64_t epochs; /* see osc_daxpin_wait.c */
    char             pad[DAXPIN_CACHELINE - 2 * sizeof(uint64_t)];
} osc_daxpin_slot_t;

/* What a rank of another node asks for; see osc_daxpin_progress.c */
typedef struct osc_daxpin_record {
    uint64_t         start;  /* in the part */
    uint64_t         length;
    _Atomic uint64_t number; /* another one for each */
    _Atomic uint64_t answer;
    char             pad[DAXPIN_CACHELINE - 4 * sizeof(uint64_t)];
} osc_daxpin_record_t;

/* What a rank has attached to a dynamic window. An odd version: it is being
 * changed. */
#define OSC_DAXPIN_REGIONS_MAX 4096
#define OSC_DAXPIN_NAME_MAX    184

typedef struct osc_daxpin_region {
    uint64_t     start;
    uint64_t     size;
    uint64_t     offset; /* in the file */
    daxpin_key_t key;    /* generation 0: no file */
    char         path[OSC_DAXPIN_NAME_MAX]; /* of the file, or its end */
} osc_daxpin_region_t;

typedef struct osc_daxpin_table {
    _Atomic uint64_t    version;
    uint64_t            count;
    osc_daxpin_region_t regions[OSC_DAXPIN_REGIONS_MAX];
} osc_daxpin_table_t;

typedef struct osc_daxpin_node {
    ompi_communicator_t *comm;
    int                 id;     /* rank of its first member in the window */
    int                 fd;     /* at that rank: the memory */
    osc_daxpin_slot_t   *slots; /* one a rank of the node */
    osc_daxpin_table_t  *tables; /* the same; of a dynamic window */
    size_t              length;
} osc_daxpin_node_t;

typedef struct osc_daxpin_module {
    ompi_osc_base_module_t super;
    ompi_win_t             *win;
    ompi_communicator_t    *comm;
    int                    rank;
    int                    size;
    int                    flavor;
    size_t                 work;     /* since there was progress */
    int                    all_open; /* as peer->open, for all */
    int                    all_locked;
    opal_mutex_t           mutex;    /* of dirty ranges */
    opal_mutex_t           persist_mutex; /* of making them durable */
    opal_mutex_t           attach_mutex; /* of what this rank has attached */
    opal_recursive_mutex_t peers_mutex;  /* of what others have attached */
    int                    has_threads;  /* that mutex is to be taken */
    osc_daxpin_spec_t      spec;
    osc_daxpin_segment_t      segment;
    osc_daxpin_segment_t      *attached; /* as in this rank's table */
    struct osc_daxpin_module *am_next;
    int                    has_am;
    osc_daxpin_node_t      node;
    osc_daxpin_peer_t      *peers;
    unsigned               slot;     /* of libdaxpin */
    int                    has_slot;
    int                    remote;   /* data, lock and state are there */
    int                    has_requests;
    int                    undo;     /* it came to nothing */
    osc_daxpin_shadow_t    sync;
    osc_daxpin_shadow_t    data;
    osc_daxpin_shadow_t    lock;
    osc_daxpin_shadow_t    state;
    osc_daxpin_shadow_t    persist;
    struct {
        pthread_t        thread;
        _Atomic int      stop;
        int              running;
        int              wanted; /* by any rank */
        osc_daxpin_record_t *records; /* one a rank */
    } progress;
    int                    *started; /* ranks of the group of a start */
    int                    num_started;
    char                   sync_memory[DAXPIN_CACHELINE]; /* sync is over it */
    daxpin_control_t       *dummy_control; /* of a part without a file */
} osc_daxpin_module_t;

typedef struct osc_daxpin_component {
    ompi_osc_base_component_t super;
    int                       priority;
    char                      *inner;
    char                      *dir;
    unsigned                  timeout_ms;
    int                       error_class;
    int                       error_code;
} osc_daxpin_component_t;

OMPI_MODULE_DECLSPEC extern osc_daxpin_component_t mca_osc_daxpin_component;
extern const ompi_osc_base_module_t osc_daxpin_module_template;

static inline osc_daxpin_module_t *osc_daxpin_module(const ompi_win_t *win)
{
    return (osc_daxpin_module_t*)win->w_osc_module;
}

/* What this process does with its own CPU moves nothing else, but others may
 * wait for it: for a lock, say, that the inner component has it grant. Looking
 * there costs more than an operation, so it is done once in a while: after so
 * many small operations, or fewer that are as much work. */
#define OSC_DAXPIN_POLL_WORK  512
#define OSC_DAXPIN_POLL_SHIFT 12

static inline void osc_daxpin_poll(osc_daxpin_module_t *module,
                                       size_t length)
{
    module->work += 1 + (length >> OSC_DAXPIN_POLL_SHIFT);
    if (OPAL_UNLIKELY(module->work >= OSC_DAXPIN_POLL_WORK)) {
        module->work = 0;
        opal_progress();
    }
}

/* What is known of a target's memory changes when it attaches some: one thread
 * at a time looks at it. Windows that are not dynamic need not. */
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

/* Say it and return what MPI makes an error of window creation from */
#define osc_daxpin_error(_error, _format, ...) \
    (opal_output(0, "osc/daxpin: " _format, ##__VA_ARGS__), (_error))

void osc_daxpin_module_delete(osc_daxpin_module_t *module);

/* The first error of any rank, on all ranks. Collective. */
int osc_daxpin_agree(osc_daxpin_module_t *module, int ret);

/*
 * spec: info keys
 */

/* *wanted_p: a file is named. OMPI_ERR_BAD_PARAM after a message. */
int osc_daxpin_spec_read(opal_info_t *info, int rank, osc_daxpin_spec_t *spec,
                         int *wanted_p);

/* What was used, for MPI_Win_get_info() */
void osc_daxpin_spec_publish(const osc_daxpin_module_t *module,
                             opal_info_t *info);

/* Where the functions of daxpin_mpi.h are */
void osc_daxpin_mpi_publish(opal_info_t *info);

/*
 * part: files and memory
 */

/* All ranks succeed or none, which then leaves nothing behind. Collective. */
int osc_daxpin_segment_open(osc_daxpin_module_t *module, size_t size);

/* Give it back; with @a undo also what opening it did to the file */
void osc_daxpin_segment_close(osc_daxpin_module_t *module, int undo);

/* What the program has mapped; file stays NULL where that is no file of ours.
 * To be released, if no window comes of it. Not collective. */
int osc_daxpin_segment_adopt(void *base, size_t size,
                             osc_daxpin_segment_t *segment);
void osc_daxpin_segment_release(osc_daxpin_segment_t *segment);

/* Its leader removes the name */
void osc_daxpin_segment_unlink(osc_daxpin_module_t *module);

/* All that this rank exposes */
int osc_daxpin_own_persist(osc_daxpin_module_t *module);

/* A range of the part */
int osc_daxpin_segment_persist(osc_daxpin_module_t *module, uint64_t start,
                            size_t length);

/*
 * node: the ranks of this node
 */

int  osc_daxpin_node_open(osc_daxpin_module_t *module);
void osc_daxpin_node_close(osc_daxpin_node_t *node);

/*
 * peer: targets, their state and what is wrong with it
 */

int  osc_daxpin_peers_open(osc_daxpin_module_t *module, int disp_unit);
void osc_daxpin_peers_close(osc_daxpin_module_t *module);

/* 0, or the error where a target's file is revoked. Waits where it is on
 * another node. */
int  osc_daxpin_peer_check(osc_daxpin_module_t *module, int target);

/* A file is as it should be */
int osc_daxpin_file_is_good(const daxpin_file_t *file);

/* The same of this rank's own part */
int  osc_daxpin_own_check(osc_daxpin_module_t *module);

/* What others look at for it */
const daxpin_control_t *osc_daxpin_own_control(osc_daxpin_module_t *module);

/* What is read of a target's control page to know about its file */
typedef struct osc_daxpin_view {
    uint64_t checks;
    uint32_t state;
    uint32_t locks;
} osc_daxpin_view_t;

#define OSC_DAXPIN_VIEW_OFFSET offsetof(daxpin_control_t, checks)
#define OSC_DAXPIN_VIEW_FIRST  UINT64_MAX

typedef enum osc_daxpin_verdict {
    OSC_DAXPIN_VIEW_GOOD,
    OSC_DAXPIN_VIEW_BAD,
    OSC_DAXPIN_VIEW_UNCLEAR /* look again */
} osc_daxpin_verdict_t;

/* Is what was complete before this was read in the file? *first_p is
 * OSC_DAXPIN_VIEW_FIRST when it is looked at for the first time. */
osc_daxpin_verdict_t osc_daxpin_view_judge(const osc_daxpin_view_t *view,
                                           uint64_t *first_p);

/* Why a target's file is revoked; empty where it is not */
int osc_daxpin_peer_cause(osc_daxpin_module_t *module, int target,
                          char *buffer, size_t size);

/* Make the text of that error and return its code. The cause is found out, or
 * known. */
int  osc_daxpin_peer_revoked(osc_daxpin_module_t *module, int target);
int  osc_daxpin_peer_raise(osc_daxpin_module_t *module, int target,
                           const char *cause);

/* Make what this rank wrote to a target durable */
int  osc_daxpin_peer_persist(osc_daxpin_module_t *module, int target);

/* A range of a target's memory is to be made durable by the next flush */
void osc_daxpin_dirty_add(osc_daxpin_module_t *module, osc_daxpin_mem_t *mem,
                          uint64_t start, uint64_t end);

/* A new epoch: there were no accesses */
static inline void osc_daxpin_peer_forget(osc_daxpin_peer_t *peer)
{
    unsigned i;

    peer->touched = 0;
    ++peer->epoch;
    if (OPAL_UNLIKELY(peer->mems != &peer->mem)) {
        for (i = 0; i < peer->num_mems; ++i) {
            peer->mems[i].touched = 0;
        }
    }
}

/* Nothing was revoked: what there is to know of a target most of the time */
static inline int osc_daxpin_peer_is_held(const osc_daxpin_peer_t *peer)
{
    const daxpin_access_t *access = &peer->mem.access;

    return OPAL_LIKELY((access->file != NULL) &&
                       (atomic_load_explicit(access->state,
                                             memory_order_acquire) ==
                        DAXPIN_STATE_HELD));
}

/*
 * agent: makes the part durable for ranks of other nodes
 */

/* The memory, before the shadow window over it is there; and its end */
int  osc_daxpin_progress_alloc(osc_daxpin_module_t *module);
void osc_daxpin_progress_free(osc_daxpin_module_t *module);

int  osc_daxpin_progress_start(osc_daxpin_module_t *module);
void osc_daxpin_progress_stop(osc_daxpin_module_t *module);

/* Make durable what is complete in a range of the part of a target on another
 * node. One thread at a time: there is one record a rank. */
int  osc_daxpin_progress_persist_at(osc_daxpin_module_t *module, int target,
                          uint64_t start, uint64_t length);

/*
 * request: of MPI_Rput() and MPI_Rget() to other nodes
 */

/* Once a process */
void osc_daxpin_requests_init(void);
void osc_daxpin_requests_finalize(void);

/* Of a window that has targets on other nodes. At its end none is under way any
 * more. */
void osc_daxpin_requests_open(osc_daxpin_module_t *module);
void osc_daxpin_requests_close(osc_daxpin_module_t *module);

/* @a inner moves the data, and is ours from now on */
int osc_daxpin_request_start(osc_daxpin_module_t *module, int target,
                             ompi_request_t *inner,
                             ompi_request_t **request_p);

/*
 * region: dynamic windows
 */

/* Where a target's memory from @a start on is; NULL: not attached */
osc_daxpin_mem_t *osc_daxpin_region_find(osc_daxpin_module_t *module,
                                         int target, uint64_t start,
                                         uint64_t length);

/* The name of the file that a target has attached; empty if it is detached */
void osc_daxpin_region_path(osc_daxpin_module_t *module, int target,
                            const osc_daxpin_mem_t *mem, char *path,
                            size_t size);

/* See what a target has attached and detached meanwhile */
void osc_daxpin_region_refresh(osc_daxpin_module_t *module, int target);

int  osc_daxpin_regions_open(osc_daxpin_module_t *module);
void osc_daxpin_regions_close(osc_daxpin_module_t *module);

/* Copy between this process's packed data and a target's memory that is not
 * mapped here, as a datatype at @a addr there says */
int osc_daxpin_region_copy(osc_daxpin_module_t *module, int target,
                           void *packed, char *addr, int count,
                           const ompi_datatype_t *dt, int is_put);

/* What this rank has attached: the number of it, and what has the byte at an
 * address, or NULL. With attach_mutex. */
uint64_t          osc_daxpin_attached_count(const osc_daxpin_module_t *module);
osc_daxpin_segment_t *osc_daxpin_attached_find(osc_daxpin_module_t *module,
                                            uint64_t start);

/*
 * mail: dynamic windows between nodes
 */

#define OSC_DAXPIN_IOV_MAX 32

void osc_daxpin_am_open(osc_daxpin_module_t *module);
void osc_daxpin_am_close(osc_daxpin_module_t *module);

/* Put or get; @a local is one range, as long as all of @a remote */
int osc_daxpin_am_copy(osc_daxpin_module_t *module, int target,
                         const struct iovec *local,
                         const struct iovec *remote, unsigned count,
                         int is_put);

/* Why a file that this rank has accessed, or any one, is revoked; empty where
 * none is */
int osc_daxpin_am_check(osc_daxpin_module_t *module, int target, int all,
                          char *cause, size_t size);

/* Make a range of addresses at a target durable */
int osc_daxpin_am_persist(osc_daxpin_module_t *module, int target,
                            uint64_t start, uint64_t length);

/*
 * wait: for others, who wait for an answer to their am. All of it is nothing
 * where there is no am.
 */

int osc_daxpin_wait_lock(osc_daxpin_module_t *module, int type, int target,
                         int hints);
int osc_daxpin_wait_unlock(osc_daxpin_module_t *module, int target);
int osc_daxpin_wait_lock_all(osc_daxpin_module_t *module, int hints);
int osc_daxpin_wait_unlock_all(osc_daxpin_module_t *module);

/* MPI_Win_post() tells those who may wait in MPI_Win_start() */
int osc_daxpin_wait_notify(osc_daxpin_module_t *module, const int *ranks,
                         int count);
int osc_daxpin_wait_posts(osc_daxpin_module_t *module, const int *ranks,
                          int count);

/* MPI_Win_wait(), in any case */
int osc_daxpin_wait_completions(osc_daxpin_module_t *module);

/* What is then asked of the inner component need not be checked by it */
static inline int osc_daxpin_wait_hints(const osc_daxpin_module_t *module,
                                        int hints)
{
    return module->has_am ? hints | MPI_MODE_NOCHECK : hints;
}

/*
 * shadow: windows of the inner component
 */

/* Collective; the same result on all ranks. @a info may be NULL. */
int  osc_daxpin_shadow_open(const ompi_win_t *win, ompi_communicator_t *comm,
                            void *base, size_t size, int disp_unit,
                            opal_info_t *info, int *model_p,
                            osc_daxpin_shadow_t *shadow);
void osc_daxpin_shadow_close(osc_daxpin_shadow_t *shadow);

/* In its place in a window of one process: synchronisation only */
int  osc_daxpin_single_new(ompi_win_t *win, int *model);

/* A window without a file: the best component does all of it */
int  osc_daxpin_pass_through(ompi_win_t *win, void **base, size_t size,
                             int disp_unit, ompi_communicator_t *comm,
                             opal_info_t *info, int flavor, int *model);

/*
 * The functions of a module
 */

int osc_daxpin_shared_query(ompi_win_t *win, int rank, size_t *size,
                            int *disp_unit, void *baseptr);
int osc_daxpin_win_attach(ompi_win_t *win, void *base, size_t size);
int osc_daxpin_win_detach(ompi_win_t *win, const void *base);
int osc_daxpin_free(ompi_win_t *win);

int osc_daxpin_put(const void *origin, int origin_count,
                   ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                   int target_count, ompi_datatype_t *target_dt,
                   ompi_win_t *win);
int osc_daxpin_get(void *origin, int origin_count, ompi_datatype_t *origin_dt,
                   int target, ptrdiff_t disp, int target_count,
                   ompi_datatype_t *target_dt, ompi_win_t *win);
int osc_daxpin_accumulate(const void *origin, int origin_count,
                          ompi_datatype_t *origin_dt, int target,
                          ptrdiff_t disp, int target_count,
                          ompi_datatype_t *target_dt, ompi_op_t *op,
                          ompi_win_t *win);
int osc_daxpin_compare_and_swap(const void *origin, const void *compare,
                                void *result, ompi_datatype_t *dt, int target,
                                ptrdiff_t disp, ompi_win_t *win);
int osc_daxpin_fetch_and_op(const void *origin, void *result,
                            ompi_datatype_t *dt, int target, ptrdiff_t disp,
                            ompi_op_t *op, ompi_win_t *win);
int osc_daxpin_get_accumulate(const void *origin, int origin_count,
                              ompi_datatype_t *origin_dt, void *result,
                              int result_count, ompi_datatype_t *result_dt,
                              int target, ptrdiff_t disp, int target_count,
                              ompi_datatype_t *target_dt, ompi_op_t *op,
                              ompi_win_t *win);
int osc_daxpin_rput(const void *origin, int origin_count,
                    ompi_datatype_t *origin_dt, int target, ptrdiff_t disp,
                    int target_count, ompi_datatype_t *target_dt,
                    ompi_win_t *win, ompi_request_t **request);
int osc_daxpin_rget(void *origin, int origin_count, ompi_datatype_t *origin_dt,
                    int target, ptrdiff_t disp, int target_count,
                    ompi_datatype_t *target_dt, ompi_win_t *win,
                    ompi_request_t **request);
int osc_daxpin_raccumulate(const void *origin, int origin_count,
                           ompi_datatype_t *origin_dt, int target,
                           ptrdiff_t disp, int target_count,
                           ompi_datatype_t *target_dt, ompi_op_t *op,
                           ompi_win_t *win, ompi_request_t **request);
int osc_daxpin_rget_accumulate(const void *origin, int origin_count,
                               ompi_datatype_t *origin_dt, void *result,
                               int result_count, ompi_datatype_t *result_dt,
                               int target, ptrdiff_t disp, int target_count,
                               ompi_datatype_t *target_dt, ompi_op_t *op,
                               ompi_win_t *win, ompi_request_t **request);

int osc_daxpin_fence(int hints, ompi_win_t *win);
int osc_daxpin_start(ompi_group_t *group, int hints, ompi_win_t *win);
int osc_daxpin_complete(ompi_win_t *win);
int osc_daxpin_post(ompi_group_t *group, int hints, ompi_win_t *win);
int osc_daxpin_wait(ompi_win_t *win);
int osc_daxpin_test(ompi_win_t *win, int *flag);
int osc_daxpin_lock(int type, int target, int hints, ompi_win_t *win);
int osc_daxpin_unlock(int target, ompi_win_t *win);
int osc_daxpin_lock_all(int hints, ompi_win_t *win);
int osc_daxpin_unlock_all(ompi_win_t *win);
int osc_daxpin_sync(ompi_win_t *win);
int osc_daxpin_flush(int target, ompi_win_t *win);
int osc_daxpin_flush_all(ompi_win_t *win);
int osc_daxpin_flush_local(int target, ompi_win_t *win);
int osc_daxpin_flush_local_all(ompi_win_t *win);

#endif
