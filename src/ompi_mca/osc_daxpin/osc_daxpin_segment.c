/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* This rank's memory of a window, and the file that the memory is in */

#include "osc_daxpin_segment.h"

#include "osc_daxpin_error.h"
#include "osc_daxpin_node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What ranks of a node send to each other. Equal paths are one file. */
typedef struct osc_daxpin_claim {
    char                 path[PATH_MAX];
    uint64_t             offset;
    uint64_t             size;
    int64_t              length; /* of the file before the window; -1: no file
                                    is there. No rank opens the file before it
                                    has received that of the leader. */
    osc_daxpin_process_t process;
} osc_daxpin_claim_t;

static int64_t osc_daxpin_segment_length(const osc_daxpin_segment_t *segment)
{
    struct stat st;

    return (stat(segment->path, &st) == 0) ? st.st_size : -1;
}

/* Add what a segment takes of its file; page: it ends at a multiple of that. No
 * file is longer than an off_t can tell. */
static int osc_daxpin_segment_add(const osc_daxpin_claim_t *claim,
                                  uint64_t page, uint64_t *end_p)
{
    const uint64_t most = (uint64_t)INT64_MAX & ~(page - 1);

    if ((*end_p > most) || (claim->size > most - *end_p)) {
        return osc_daxpin_error(MPI_ERR_SIZE, "%s: the segments of its ranks "
                                "end beyond the greatest offset of a file, %"
                                PRId64 "; give a smaller size or daxpin_offset",
                                claim->path, INT64_MAX);
    }
    *end_p += (claim->size + page - 1) & ~(page - 1);
    return OMPI_SUCCESS;
}

/* Place the segments one behind the other, in the order of ranks */
static int osc_daxpin_segment_place(osc_daxpin_module_t *module,
                                    const osc_daxpin_claim_t *claims,
                                    int count, int self)
{
    const uint64_t page           = (uint64_t)sysconf(_SC_PAGESIZE);
    int exact                     = (module->flavor == MPI_WIN_FLAVOR_SHARED) &&
                                    !module->spec.noncontiguous;
    osc_daxpin_segment_t *segment = &module->segment;
    uint64_t end                  = claims[self].offset;
    int i, ret;

    segment->leader = -1;
    for (i = 0; i < count; ++i) {
        if (strcmp(claims[i].path, claims[self].path) != 0) {
            if (exact) {
                return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: the ranks of "
                                        "a shared window have different files; "
                                        "name one for all, or set "
                                        "alloc_shared_noncontig to true",
                                        claims[self].path);
            }
            continue;
        }
        if (claims[i].offset != claims[self].offset) {
            return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: two ranks that "
                                    "share it give different offsets, %" PRIu64
                                    " and %" PRIu64, claims[self].path,
                                    claims[i].offset, claims[self].offset);
        }
        segment->leader = (segment->leader < 0) ? i : segment->leader;
        if (i == self) {
            segment->offset = end;
        }
        ret = osc_daxpin_segment_add(&claims[i], exact ? 1 : page, &end);
        if (ret != OMPI_SUCCESS) {
            return ret;
        }
    }
    segment->file_length = (end > 0) ? end : page;
    segment->old_length  = claims[segment->leader].length;
    return OMPI_SUCCESS;
}

/* Exchange the claims of the node, and place this rank's segment */
static int osc_daxpin_segment_claim(osc_daxpin_module_t *module,
                                    osc_daxpin_claim_t *claims)
{
    ompi_communicator_t *comm = module->node.comm;
    int count                 = ompi_comm_size(comm);
    osc_daxpin_claim_t own;
    int ret;

    memset(&own, 0, sizeof(own));
    memcpy(own.path, module->spec.path, sizeof(own.path));
    own.offset  = module->spec.offset;
    own.size    = module->segment.size;
    own.length  = osc_daxpin_segment_length(&module->segment);
    own.process = osc_daxpin_process_self(module->rank);
    ret = comm->c_coll->coll_allgather(&own, sizeof(own), MPI_BYTE, claims,
                                       sizeof(own), MPI_BYTE, comm,
                                       comm->c_coll->coll_allgather_module);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_segment_place(module, claims, count,
                                       ompi_comm_rank(comm));
    }
    return ret;
}

/* Pin what is exposed. That fails if the lease was lost at once; the first
 * access reports why. */
static void osc_daxpin_segment_pin(osc_daxpin_segment_t *segment)
{
    if (segment->size > 0) {
        daxpin_pin(segment->file, segment->offset, segment->size, NULL,
                   &segment->pin);
    }
}

static void osc_daxpin_segment_unpin(osc_daxpin_segment_t *segment)
{
    daxpin_unpin(segment->pin);
    segment->pin = NULL;
}

/* Report why the file cannot be opened, with the ranks that have it open */
static int osc_daxpin_segment_error(const osc_daxpin_module_t *module,
                                    const osc_daxpin_claim_t *claims)
{
    const int self = ompi_comm_rank(module->node.comm);
    char text[1024];
    int i;

    snprintf(text, sizeof(text), "%s", daxpin_errormsg());
    for (i = 0; i < ompi_comm_size(module->node.comm); ++i) {
        osc_daxpin_error_name(&claims[i].process, &claims[self].process, text,
                              sizeof(text));
    }
    return osc_daxpin_error(OMPI_ERR_FILE_OPEN_FAILURE, "rank %d: %s",
                            module->rank, text);
}

static int osc_daxpin_segment_map(osc_daxpin_module_t *module,
                                  const osc_daxpin_claim_t *claims)
{
    osc_daxpin_segment_t *segment = &module->segment;
    const daxpin_params_t params  = {
        .size       = sizeof(params),
        .timeout_ms = module->timeout_ms,
        .on_break   = module->spec.on_break,
        .any_fs     = module->spec.any_fs
    };
    char *base;

    if (daxpin_file_open(segment->path, segment->file_length, &params,
                         &segment->file) != 0) {
        return osc_daxpin_segment_error(module, claims);
    }
    base = daxpin_file_addr(segment->file, 0, segment->file_length);
    if (base == NULL) {
        return osc_daxpin_error(OMPI_ERR_OUT_OF_RESOURCE, "rank %d: %s",
                                module->rank, daxpin_errormsg());
    }
    segment->base = base + segment->offset;
    osc_daxpin_segment_pin(segment);
    return OMPI_SUCCESS;
}

/* Make the path absolute, because the program may change its directory before
 * the window is freed. A directory that cannot be named is left out. */
static int osc_daxpin_segment_name(osc_daxpin_module_t *module)
{
    char *path = module->spec.path;
    char directory[PATH_MAX], relative[PATH_MAX];
    int length;

    if ((path[0] == '/') || (getcwd(directory, sizeof(directory)) == NULL)) {
        return OMPI_SUCCESS;
    }
    memcpy(relative, path, sizeof(relative));
    length = snprintf(path, sizeof(module->spec.path), "%s/%s",
                      (directory[1] == '\0') ? "" : directory, relative);
    if (length < (int)sizeof(module->spec.path) - OSC_DAXPIN_NODE_ID_MAX) {
        return OMPI_SUCCESS;
    }
    memcpy(path, relative, sizeof(relative));
    return osc_daxpin_error(OMPI_ERR_BAD_PARAM, "%s: the path is too long in "
                            "the directory %s; use a shorter one", relative,
                            directory);
}

/* Add the node to the name, because nodes may share the directory */
static void osc_daxpin_segment_name_node(osc_daxpin_module_t *module)
{
    size_t length = strlen(module->spec.path);

    snprintf(module->spec.path + length, sizeof(module->spec.path) - length,
             ".%d", module->node.id);
}

/* Find the place of this rank's segment, and map the file there */
static int osc_daxpin_segment_open_claimed(osc_daxpin_module_t *module,
                                           osc_daxpin_claim_t *claims)
{
    osc_daxpin_segment_t *segment = &module->segment;
    int status, ret;

    status = osc_daxpin_segment_name(module);
    if (module->spec.temporary) {
        osc_daxpin_segment_name_node(module);
    }
    memcpy(segment->path, module->spec.path, sizeof(segment->path));
    ret = osc_daxpin_segment_claim(module, claims);
    ret = osc_daxpin_agree(module, (status != OMPI_SUCCESS) ? status : ret);
    return (ret != OMPI_SUCCESS) ?
                   ret :
                   osc_daxpin_agree(module,
                                    osc_daxpin_segment_map(module, claims));
}

int osc_daxpin_segment_open(osc_daxpin_module_t *module, size_t size)
{
    osc_daxpin_claim_t *claims;
    int ret;

    module->segment.size = size;
    claims = malloc(ompi_comm_size(module->node.comm) * sizeof(*claims));
    ret    = osc_daxpin_agree(module, (claims == NULL) ?
                                              OMPI_ERR_OUT_OF_RESOURCE :
                                              OMPI_SUCCESS);
    if (ret == OMPI_SUCCESS) {
        ret = osc_daxpin_segment_open_claimed(module, claims);
    }
    free(claims);
    return ret;
}

void osc_daxpin_segment_take(osc_daxpin_segment_t *segment, daxpin_file_t *file,
                             uint64_t offset)
{
    segment->file    = file;
    segment->offset  = offset;
    segment->adopted = 1;
    osc_daxpin_segment_pin(segment);
}

int osc_daxpin_segment_without_lease(const osc_daxpin_segment_t *segment,
                                     int ret)
{
    if (!segment->read_only || ((ret != -EACCES) && (ret != -EPERM) &&
                                (ret != -EROFS) && (ret != -EAGAIN))) {
        return 0;
    }
    opal_output(0, "osc/daxpin: %s. The window is made without a lease, "
                "because its memory here is read-only: others can get from it, "
                "and if a process truncates the file, this one may end by "
                "SIGBUS", daxpin_errormsg());
    return 1;
}

/* Return whether the name still leads to the file that was opened */
static int osc_daxpin_segment_is_there(const osc_daxpin_segment_t *segment,
                                       const daxpin_key_t *key)
{
    struct stat st;

    return (stat(segment->path, &st) == 0) && (st.st_ino == key->ino) &&
           (st.st_dev == key->dev);
}

/* Undo what opening did to the file. Only its holder can, through the lease,
 * when the other ranks have closed the file and no other window is on it. If no
 * rank could open it, libdaxpin has left nothing. */
static void osc_daxpin_segment_undo(osc_daxpin_segment_t *segment)
{
    size_t length = (segment->old_length > 0) ? (size_t)segment->old_length : 0;
    daxpin_key_t key;

    if (daxpin_file_shrink(segment->file, length) != 0) {
        opal_output(0, "osc/daxpin: %s", daxpin_errormsg());
        return;
    }
    daxpin_file_key(segment->file, &key);
    if ((segment->old_length < 0) &&
        osc_daxpin_segment_is_there(segment, &key)) {
        unlink(segment->path);
    }
}

/* Return whether this rank is to remove the name */
static int osc_daxpin_segment_is_leader(const osc_daxpin_module_t *module)
{
    const osc_daxpin_segment_t *segment = &module->segment;

    return (segment->file != NULL) && !segment->adopted &&
           (segment->leader == ompi_comm_rank(module->node.comm));
}

static void osc_daxpin_segment_remove(const osc_daxpin_segment_t *segment,
                                      const daxpin_key_t *key)
{
    if (!osc_daxpin_segment_is_there(segment, key)) {
        opal_output(0, "osc/daxpin: %s: cannot unlink: the name does not lead "
                    "to the window's file any more; if the file was renamed, "
                    "remove it by its new name", segment->path);
    } else if (unlink(segment->path) != 0) {
        opal_output(0, "osc/daxpin: %s: cannot unlink: %s", segment->path,
                    strerror(errno));
    }
}

void osc_daxpin_segment_unlink(osc_daxpin_module_t *module)
{
    daxpin_key_t key;

    if (osc_daxpin_segment_is_leader(module)) {
        daxpin_file_key(module->segment.file, &key);
        osc_daxpin_segment_remove(&module->segment, &key);
    }
}

void osc_daxpin_segment_release(osc_daxpin_segment_t *segment)
{
    osc_daxpin_segment_unpin(segment);
    if ((segment->file != NULL) && segment->adopted) {
        daxpin_file_unadopt(segment->file, segment->base, segment->size);
    }
    daxpin_file_close(segment->file);
    while (segment->num_lent > 0) {
        daxpin_file_close(segment->lent[--segment->num_lent]);
    }
    free(segment->lent);
    free(segment->touched);
    segment->file    = NULL;
    segment->lent    = NULL;
    segment->touched = NULL;
}

void osc_daxpin_segment_close(osc_daxpin_module_t *module, int undo)
{
    ompi_communicator_t *node     = module->node.comm;
    osc_daxpin_segment_t *segment = &module->segment;
    int unlinks                   = !undo && module->spec.unlink &&
                                    osc_daxpin_segment_is_leader(module);
    daxpin_key_t key;

    if (unlinks) {
        daxpin_file_key(segment->file, &key);
    }
    osc_daxpin_segment_unpin(segment);
    undo = undo && (node != NULL) && (segment->path[0] != '\0');
    if (!undo || (segment->file == NULL) ||
        !daxpin_file_is_holder(segment->file)) {
        osc_daxpin_segment_release(segment);
    }
    if (unlinks) {
        /* The hold is dropped before, because a process that waits for the
         * hold in truncate has the inode locked */
        osc_daxpin_segment_remove(segment, &key);
    }
    if (undo) {
        node->c_coll->coll_barrier(node, node->c_coll->coll_barrier_module);
        if (segment->file != NULL) {
            osc_daxpin_segment_undo(segment);
            osc_daxpin_segment_release(segment);
        }
    }
}
