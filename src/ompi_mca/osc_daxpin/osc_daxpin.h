/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_H_
#define OSC_DAXPIN_H_

/* Types that all files of the component share */

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

#include "osc_daxpin_release.h"

#include "daxpin/access.h"
#include "daxpin/daxpin.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What operations of a few nanoseconds consist of */
#define OSC_DAXPIN_INLINE __attribute__((always_inline)) inline

/* ompi/op/op.h includes what is not installed */
typedef struct ompi_op_t ompi_op_t;

/*
 * Windows over leased files. Every rank of a target's node can map the target's
 * file. Such a rank accesses the file with its own CPU, between the begin and
 * the end of libdaxpin's access check, so each operation knows whether it got
 * into the file. The ranks of one node synchronise by memory that they share,
 * see osc_daxpin_local.c: a window that is on one node, and all in files, needs
 * nobody else. Another osc component, the inner component, does everything
 * between nodes. It works on shadow windows that the program never sees:
 *
 *   sync     over a few bytes that are never accessed: locks
 *   data     over the window's memory
 *   lock     over one word of each rank, which makes accumulates atomic
 *   state    over the page in which libdaxpin shows the state of the lease
 *   persist  over the records by which ranks request a rank of another node to
 *            make a range durable
 *
 * Sync and lock exist only if the window is on several nodes, and the others
 * only if a rank cannot map another rank's memory. The last four are locked
 * from beginning to end, so that data and state can be waited for in any epoch
 * of the program: first the data is complete, then the state shows whether the
 * data went into the file, then the epoch ends.
 */

typedef enum osc_daxpin_persist {
    OSC_DAXPIN_PERSIST_NONE,
    OSC_DAXPIN_PERSIST_SYNC, /* own segment: fence, wait, sync, free */
    OSC_DAXPIN_PERSIST_FLUSH /* and the target's: flush, unlock */
} osc_daxpin_persist_t;

/* The info keys of a window */
typedef struct osc_daxpin_spec {
    char                 path[PATH_MAX]; /* "": no file is named */
    uint64_t             offset;
    int                  unlink;
    daxpin_on_break_t    on_break;
    osc_daxpin_persist_t persist;
    int                  noncontiguous; /* of a shared window */
    int                  attach;        /* a dynamic window is for files;
                                           -1: the key is missing */
    int                  temporary;     /* unlink the file once it is open */
    int                  any_fs;        /* take a file of any file system */
} osc_daxpin_spec_t;

/* Space for what is added to the path of a temporary file: a dot, a rank */
#define OSC_DAXPIN_NODE_ID_MAX 12

/* This rank's memory of a window, and the file that the memory is in */
typedef struct osc_daxpin_segment {
    daxpin_file_t *file;
    daxpin_pin_t  *pin;        /* of the bytes of the window */
    char          *base;       /* first byte in memory */
    size_t        size;        /* bytes of the window */
    uint64_t      offset;      /* of the segment in the file */
    size_t        file_length; /* least, for all segments */
    int           adopted;     /* the program has mapped it */
    int           read_only;   /* likewise: others may only get from it */
    int           leader;      /* first rank of the node that shares it */
    off_t         old_length;  /* before the window; -1: no file was there */
    char          path[PATH_MAX];
    daxpin_file_t **lent;      /* files of other ranks that this one has open */
    int           num_lent;
    uint64_t      *touched;    /* attached: for each rank, its epoch in which
                                  it last accessed this by message */
    _Atomic int   reported;    /* the program knows that it is revoked */
} osc_daxpin_segment_t;

/* Memory of a target: its segment, or a region of a dynamic window */
typedef struct osc_daxpin_mem {
    daxpin_access_t access; /* file NULL: no access check is needed */
    daxpin_key_t    key;    /* generation 0: no file */
    char            *base;  /* in this process; NULL: not mapped, or not yet */
    uint64_t        start;  /* in terms of displacements, in bytes */
    uint64_t        size;
    uint64_t        offset; /* in the file */
    int             dead;   /* revoked before this process shared the file */
    int             touched;     /* accessed in this epoch */
    int             read_only;   /* by the target */
    int             faults;      /* the first store to each page after a flush
                                    faults, see osc_daxpin_range.c */
    daxpin_copy_func_t copy;     /* of long puts with daxpin_persist=flush, which
                                    makes them durable; NULL: none */
    uint64_t        dirty_start; /* range that a flush has to persist */
    uint64_t        dirty_end;
} osc_daxpin_mem_t;

typedef struct osc_daxpin_way osc_daxpin_way_t;

/* What is known of the lease of a file on another node, which has another
 * clock; see osc_daxpin_view_judge() */
typedef struct osc_daxpin_sure {
    uint64_t seen;   /* ns there: the latest sure_until of the control page */
    uint64_t until;  /* ns here: the lease has not expired unseen before */
    uint64_t looked; /* ns here: the control page had no later one then */
} osc_daxpin_sure_t;

/* A target */
typedef struct osc_daxpin_peer {
    osc_daxpin_mem_t mem;       /* its segment */
    osc_daxpin_mem_t *mems;     /* mem, or the regions that it attached */
    unsigned         num_mems;
    unsigned         first_touched; /* the regions accessed in this epoch are */
    unsigned         end_touched;   /* from here to before there; 0: none */
    uint64_t         version;   /* of its table of regions */
    osc_daxpin_unit_t disp_unit;
    int              node_rank; /* -1: on another node */
    int              pid;       /* of a dynamic window; 0: its memory is
                                   reached by messages */
    uint64_t         probe;     /* with pid: where a word is in its memory */
    uint64_t         probe_is;  /* that word */
    uint64_t         probed;    /* ns: when it was there last */
    uint64_t         epoch;     /* number of this one */
    daxpin_key_t     told;      /* of the last file in an error */
    uint64_t         share;     /* of its lock, see osc_daxpin_wait.h */
    int              has_left;  /* this rank has left the queue for that */
    uint32_t         left;      /* its number there, see osc_daxpin_local.c */
    int              open;      /* accesses are allowed */
    int              locked;    /* by MPI_Win_lock() */
    int              touched;   /* accessed in this epoch */
    _Atomic int      reported;  /* as of a segment; in a shared window */
    int              queried;   /* the program has its address, and may access
                                   it in any epoch */
    uint64_t         number;    /* of the last request to persist */
    uint64_t         short_get; /* bytes of its segment that may be accessed in
                                   the short way, see osc_daxpin_range.h */
    uint64_t         short_put; /* likewise */
    _Atomic int      gone;      /* it has ended, and that was printed */
    int              process;   /* its pid, if it is on this node and in this
                                   pid namespace; else 0 */
    uint64_t         process_start; /* of daxpin_proc_start(), or 0 */
    _Atomic unsigned stops;     /* probes that have found it stopped */
    osc_daxpin_sure_t sure;     /* if it is on another node */
    const osc_daxpin_way_t *way;
    /* Of one that is reached by messages, behind what each access reads: */
    int              has_more;    /* when it told of the file `told`, another one
                                     was revoked, too */
    daxpin_key_t     known;       /* a file that need not be told of any more */
    uint64_t         known_epoch; /* in that epoch; 0: none */
} osc_daxpin_peer_t;

/* A window of the inner component */
typedef struct osc_daxpin_shadow {
    ompi_win_t             *win;
    ompi_osc_base_module_t *module;
} osc_daxpin_shadow_t;

/* Shared by ranks of a node: one for each rank */
typedef struct osc_daxpin_slot {
    _Atomic uint64_t lock;   /* of accumulates, if the window is on several
                                nodes and a rank has remote targets; 0: free,
                                see osc_daxpin_acc.c */
    _Atomic uint64_t epochs; /* see osc_daxpin_wait.c */
    char             pad[DAXPIN_CACHELINE - 2 * sizeof(uint64_t)];
    _Atomic uint64_t holders; /* these, see osc_daxpin_local.c */
    _Atomic uint32_t next;
    _Atomic uint32_t turn;
    char             pad_lock[DAXPIN_CACHELINE - 2 * sizeof(uint64_t)];
    _Atomic uint64_t fences;
    char             pad_fences[DAXPIN_CACHELINE - sizeof(uint64_t)];
} osc_daxpin_slot_t;

/* A bound of a wait, see osc_daxpin_bound.h */
typedef struct osc_daxpin_patience {
    double left;
    double last; /* check */
} osc_daxpin_patience_t;

/* Any rank of the window */
#define OSC_DAXPIN_ANY_RANK (-1)

/* A wait of this rank for another one */
typedef struct osc_daxpin_bound {
    struct osc_daxpin_module *module;
    int                      rank;  /* or OSC_DAXPIN_ANY_RANK */
    int                      next;  /* rank to probe */
    int                      at;    /* the rank has the lock of accumulates of
                                       this one; -1: it is another wait */
    osc_daxpin_patience_t    probe; /* until then */
    osc_daxpin_patience_t    patience;
} osc_daxpin_bound_t;

/* The ranks of a group, in the window. The last ones are kept, because most
 * programs use the same group each time. */
typedef struct osc_daxpin_ranks {
    unsigned     users;
    ompi_group_t *group;
    int          count;
    int          ranks[];
} osc_daxpin_ranks_t;

/* A request of a rank of another node, see osc_daxpin_progress.c */
typedef struct osc_daxpin_record {
    uint64_t         start;  /* in the segment */
    uint64_t         length;
    _Atomic uint64_t number; /* a new one for each request */
    _Atomic uint64_t answer;
    char             pad[DAXPIN_CACHELINE - 4 * sizeof(uint64_t)];
} osc_daxpin_record_t;

/* Memory that a rank attached to a dynamic window */
#define OSC_DAXPIN_REGIONS_MAX 4096
#define OSC_DAXPIN_NAME_MAX    184

typedef struct osc_daxpin_region {
    uint64_t     start;
    uint64_t     size;
    uint64_t     offset; /* in the file */
    daxpin_key_t key;    /* generation 0: no file */
    int          read_only;
    char         path[OSC_DAXPIN_NAME_MAX]; /* of the file, or its end */
} osc_daxpin_region_t;

typedef struct osc_daxpin_table {
    _Atomic uint64_t    version; /* odd: the rank is changing the table */
    uint64_t            count;
    osc_daxpin_region_t regions[OSC_DAXPIN_REGIONS_MAX];
} osc_daxpin_table_t;

/* A request of a rank that attaches a file: one for each rank of the node, see
 * osc_daxpin_lend.c */
typedef struct osc_daxpin_lend {
    _Atomic uint32_t calls;  /* of the first rank: requests of all ranks */
    _Atomic uint32_t number; /* odd: the rank is changing the request */
    uint64_t         dev;    /* with the others: daxpin_inode_t */
    uint64_t         ino;
    uint64_t         map_dev;
    uint64_t         map_ino;
} osc_daxpin_lend_t;

/* Makes accumulates of the ranks of a node atomic: one for each rank. The
 * kernel ends the lock of a process that has ended. */
typedef struct osc_daxpin_lock {
    pthread_mutex_t mutex;  /* robust */
    int             broken; /* a process has ended while it had the mutex */
} __attribute__((aligned(DAXPIN_CACHELINE))) osc_daxpin_lock_t;

typedef struct osc_daxpin_node {
    ompi_communicator_t *comm;
    int                 id;     /* rank of its first member in the window */
    int                 is_all; /* no rank of the window is on another node */
    osc_daxpin_slot_t   *slots; /* one for each rank of the node */
    osc_daxpin_lock_t   *locks; /* likewise */
    osc_daxpin_table_t  *tables; /* likewise; of a dynamic window */
    osc_daxpin_lend_t   *lends;  /* likewise */
    _Atomic uint32_t    *answers; /* to them, for each pair of ranks */
    char                *pairs;  /* if is_all: for each pair of ranks, see
                                    osc_daxpin_local.c */
    size_t              length;
} osc_daxpin_node_t;

/* An access epoch */
typedef enum osc_daxpin_epoch {
    OSC_DAXPIN_EPOCH_NONE,
    OSC_DAXPIN_EPOCH_FENCE,
    OSC_DAXPIN_EPOCH_START,
    OSC_DAXPIN_EPOCH_LOCK,
    OSC_DAXPIN_EPOCH_LOCK_ALL
} osc_daxpin_epoch_t;

typedef struct osc_daxpin_epochs osc_daxpin_epochs_t;

/* What a rank does for others when it makes progress */
typedef enum osc_daxpin_service {
    OSC_DAXPIN_SERVICE_LEND, /* files that they attach, osc_daxpin_lend.c */
    OSC_DAXPIN_SERVICE_AM,   /* active messages, osc_daxpin_am.c */
    OSC_DAXPIN_SERVICES
} osc_daxpin_service_t;

typedef struct osc_daxpin_module osc_daxpin_module_t;

/* Serve a window, and return the number of requests */
typedef int (*osc_daxpin_serve_func_t)(osc_daxpin_module_t *module);

/* The epochs of this rank, see osc_daxpin_local.c */
typedef struct osc_daxpin_local {
    opal_mutex_t       mutex;
    osc_daxpin_epoch_t access;
    int                num_locks;
    uint64_t           share;       /* of the locks of MPI_Win_lock_all() */
    int                is_exposed;  /* by MPI_Win_post() */
    osc_daxpin_ranks_t *last_start; /* see osc_daxpin_ranks_get() */
    osc_daxpin_ranks_t *last_post;
    osc_daxpin_ranks_t *exposed;    /* the ranks to which this one is exposed */
    MPI_Request        *requests;   /* between nodes: of their completions */
    osc_daxpin_bound_t tested;      /* wait for one of them, by tests */
    uint64_t           fences;      /* that this rank has begun */
    int                fence_error; /* of the one that failed */
    uint32_t           *started;    /* for each rank: how often to it */
    uint32_t           *posted;     /* likewise */
    _Atomic unsigned   looks;       /* before it lets others run */
} osc_daxpin_local_t;

typedef struct osc_daxpin_component {
    ompi_osc_base_component_t super;
    int                       priority;
    char                      *inner;
    char                      *only_inner; /* names, with commas between */
    char                      *dir;
    unsigned                  timeout_ms;
    unsigned                  requests_max;
    unsigned                  requests_timeout_ms;
    unsigned                  peer_timeout_ms;
} osc_daxpin_component_t;

struct osc_daxpin_module {
    ompi_osc_base_module_t super;
    const osc_daxpin_component_t *component;
    ompi_win_t             *win;
    ompi_communicator_t    *comm;
    int                    rank;
    int                    size;
    int                    flavor;
    unsigned               timeout_ms;
    size_t                 work;     /* since Open MPI last made progress */
    int                    all_open; /* as peer->open, for all */
    int                    all_locked;
    opal_mutex_t           mutex;    /* of dirty ranges */
    opal_mutex_t           persist_mutex; /* of making them durable */
    opal_mutex_t           attach_mutex; /* of this rank's regions */
    opal_mutex_t           lend_mutex;   /* of this rank's request to lend */
    opal_recursive_mutex_t peers_mutex;  /* of the regions of targets */
    int                    has_threads;  /* peers_mutex has to be locked */
    osc_daxpin_spec_t      spec;
    osc_daxpin_segment_t   segment;
    osc_daxpin_segment_t   *attached; /* in the order of this rank's table */
    struct {
        osc_daxpin_module_t     *next;
        int                     listed;
        osc_daxpin_serve_func_t funcs[OSC_DAXPIN_SERVICES]; /* or NULL */
    } served;                          /* see osc_daxpin_service.c */
    int                    lends;      /* to ranks that attach files */
    uint32_t               lend_calls; /* that were answered */
    int                    has_am;   /* uses active messages */
    osc_daxpin_node_t      node;
    osc_daxpin_peer_t      *peers;
    unsigned               slot;     /* of libdaxpin */
    int                    has_slot;
    int                    remote;   /* any rank has remote targets */
    int                    has_requests;
    int                    undo;     /* making the window failed */
    int                    freeing;  /* by MPI_Win_free() */
    int                    free_revoked; /* it has the error of a revoked file */
    const osc_daxpin_epochs_t *epochs;
    osc_daxpin_local_t     local;
    int                    told;     /* that memory is read-only */
    osc_daxpin_shadow_t    sync;
    osc_daxpin_shadow_t    data;
    osc_daxpin_shadow_t    lock;
    osc_daxpin_shadow_t    state;
    osc_daxpin_shadow_t    persist;
    struct {
        osc_daxpin_module_t *next;    /* of those that are served */
        int                 served;
        int                 wanted;   /* by any rank */
        osc_daxpin_record_t *records; /* one for each rank */
    } progress;
    osc_daxpin_ranks_t     *started; /* of the group of a start; or NULL */
    char                   sync_memory[DAXPIN_CACHELINE];
    uint64_t               probe;    /* other ranks try to access it */
    uint64_t               probed;   /* what was at a rank, see
                                        osc_daxpin_bound.c */
    int                    has_inside;
    daxpin_control_t       *dummy_control; /* of a segment without a file */
};

/*
 * How targets are reached
 */

/* A put or a get */
typedef struct osc_daxpin_move {
    void            *origin;
    osc_daxpin_count_t origin_count;
    ompi_datatype_t *origin_dt;
    ptrdiff_t       disp;
    osc_daxpin_count_t target_count;
    ompi_datatype_t *target_dt;
    int             is_put;
} osc_daxpin_move_t;

/* The bytes that an operation accesses at a target */
typedef struct osc_daxpin_range {
    osc_daxpin_mem_t *mem;
    int              target;
    char             *addr;  /* where the datatype begins; here or there */
    uint64_t         start;  /* first byte, in the memory */
    uint64_t         length; /* up to the last byte */
    ptrdiff_t        first;  /* from addr to the first byte */
} osc_daxpin_range_t;

/* Results besides Open MPI's, from which a caller makes an error */
typedef enum osc_daxpin_result {
    OSC_DAXPIN_REVOKED = INT_MIN, /* the target's file is revoked */
    OSC_DAXPIN_FAILED             /* the target failed, perhaps because its
                                     file was revoked: check */
} osc_daxpin_result_t;

/* The operations that differ from target to target; which way it is, is chosen
 * once, when the target is opened. What is mapped in this process is accessed
 * inline, see osc_daxpin_range.h. */
struct osc_daxpin_way {
    /* The target needs the shadow windows, or messages */
    int is_remote;

    /* Move what is not mapped here */
    int (*move)(osc_daxpin_module_t *module, const osc_daxpin_range_t *range,
                const osc_daxpin_move_t *move);

    /* Likewise, with a request. NULL: a move is complete when it returns. */
    int (*rmove)(osc_daxpin_module_t *module, const osc_daxpin_range_t *range,
                 const osc_daxpin_move_t *move, ompi_request_t **request_p);

    /* Wait until what was moved is at the target */
    int (*complete)(osc_daxpin_module_t *module, int target);

    /* Return OSC_DAXPIN_REVOKED if a file that this rank accessed in this epoch
     * is revoked. May wait. */
    int (*check)(osc_daxpin_module_t *module, int target);

    /* Report why a file is revoked, if one is. The caller has emptied the
     * buffer. */
    int (*cause)(osc_daxpin_module_t *module, int target, char *buffer,
                 size_t size);

    /* Make a range of the target's memory durable */
    int (*persist)(osc_daxpin_module_t *module, int target,
                   const osc_daxpin_mem_t *mem, uint64_t start,
                   uint64_t length);
};

/* How epochs begin and end: among the ranks of one node, or by the inner
 * component. Each function returns OMPI_ERR_RMA_SYNC in the wrong epoch. Ranks
 * are those of the window. */
struct osc_daxpin_epochs {
    int (*fence)(osc_daxpin_module_t *module, int hints);
    int (*start)(osc_daxpin_module_t *module, const osc_daxpin_ranks_t *group,
                 int hints);
    int (*complete)(osc_daxpin_module_t *module,
                    const osc_daxpin_ranks_t *group);
    int (*post)(osc_daxpin_module_t *module, ompi_group_t *group, int hints);
    int (*wait)(osc_daxpin_module_t *module);
    int (*test)(osc_daxpin_module_t *module, int *flag_p);
    int (*lock)(osc_daxpin_module_t *module, int type, int target, int hints);
    int (*unlock)(osc_daxpin_module_t *module, int target);
    int (*lock_all)(osc_daxpin_module_t *module, int hints);
    int (*unlock_all)(osc_daxpin_module_t *module);
};

static inline osc_daxpin_module_t *osc_daxpin_module(const ompi_win_t *win)
{
    return (osc_daxpin_module_t*)win->w_osc_module;
}

#endif
