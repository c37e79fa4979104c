/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Messages, and MPI's error code of a revoked file */

#include "osc_daxpin_error.h"

#include "ompi/errhandler/errcode.h"
#include "ompi/errhandler/errhandler.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OSC_DAXPIN_ERROR_NAME "MPIX_ERR_DAXPIN_REVOKED"

static int osc_daxpin_revoked_class;
static int osc_daxpin_revoked_code; /* 0: not added yet */
static int osc_daxpin_gone_code;    /* of a rank that has ended */
static int osc_daxpin_silent_code;  /* of one that does not answer */

/* Caller holds the mutex of osc_daxpin_error_add(). */
static int osc_daxpin_error_add_codes(void)
{
    static const char name[MPI_MAX_ERROR_STRING] = OSC_DAXPIN_ERROR_NAME;
    int error_class, code, gone, silent;

    error_class = ompi_mpi_errclass_add();
    code        = ompi_mpi_errcode_add(error_class);
    gone        = ompi_mpi_errcode_add(OSC_DAXPIN_ERR_GONE);
    silent      = ompi_mpi_errcode_add(MPI_ERR_OTHER);
    if ((error_class < 0) || (code < 0) || (gone < 0) || (silent < 0)) {
        return OMPI_ERR_OUT_OF_RESOURCE;
    }
    ompi_mpi_errnum_add_string(error_class, name, sizeof(name));
    ompi_mpi_errnum_add_string(code, name, sizeof(name));
    osc_daxpin_revoked_class = error_class;
    osc_daxpin_revoked_code  = code;
    osc_daxpin_gone_code     = gone;
    osc_daxpin_silent_code   = silent;
    return OMPI_SUCCESS;
}

/* Threads may make their first windows at once, and Open MPI's list of codes has
 * no lock */
int osc_daxpin_error_add(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    int ret                      = OMPI_SUCCESS;

    pthread_mutex_lock(&mutex);
    if (osc_daxpin_revoked_code == 0) {
        ret = osc_daxpin_error_add_codes();
    }
    pthread_mutex_unlock(&mutex);
    return ret;
}

int osc_daxpin_error_class(void)
{
    return osc_daxpin_revoked_class;
}

int osc_daxpin_error_code(void)
{
    return osc_daxpin_revoked_code;
}

int osc_daxpin_error_read_only(osc_daxpin_module_t *module, int target)
{
    if (!module->told) {
        module->told = 1;
        opal_output(0, "osc/daxpin: rank %d: cannot store at rank %d: it has "
                    "mapped this memory of its window read-only; map it with "
                    "PROT_READ and PROT_WRITE there", module->rank, target);
    }
    return MPI_ERR_ACCESS;
}

/* MPI_Win_free() returns one error, and no call comes after it */
int osc_daxpin_error_revoked(osc_daxpin_module_t *module, int target,
                             const char *cause)
{
    char text[MPI_MAX_ERROR_STRING] = "";

    snprintf(text, sizeof(text), OSC_DAXPIN_ERROR_NAME
             ": target rank %d: %s", target, cause);
    if (module->freeing && module->free_revoked) {
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank, text);
        return osc_daxpin_revoked_code;
    }
    module->free_revoked = module->freeing;
    ompi_mpi_errnum_add_string(osc_daxpin_revoked_code, text, sizeof(text));
    if (module->win->error_handler == &ompi_mpi_errors_are_fatal.eh) {
        /* MPI prints the text as well, but when several ranks end at once
         * Open MPI may lose what they print */
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank, text);
    }
    return osc_daxpin_revoked_code;
}

void osc_daxpin_error_print_revoked(const osc_daxpin_module_t *module)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;

    PMPI_Error_string(osc_daxpin_revoked_code, text, &length);
    opal_output(0, "osc/daxpin: rank %d: %s", module->rank, text);
}

int osc_daxpin_error_gone(osc_daxpin_module_t *module, int rank)
{
    char text[MPI_MAX_ERROR_STRING] = "";

    snprintf(text, sizeof(text), "rank %d of the window has ended, or cannot "
             "be reached any more", rank);
    if (!atomic_exchange(&module->peers[rank].gone, 1)) {
        opal_output(0, "osc/daxpin: rank %d: %s", module->rank, text);
    }
    ompi_mpi_errnum_add_string(osc_daxpin_gone_code, text, sizeof(text));
    return osc_daxpin_gone_code;
}

int osc_daxpin_error_silent(const osc_daxpin_module_t *module, int rank)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    char name[32]                   = "one of the ranks";

    if (rank >= 0) {
        snprintf(name, sizeof(name), "rank %d", rank);
    }
    snprintf(text, sizeof(text), "%s of the window has not answered for %g s; "
             "is it stopped, or the network?", name,
             module->component->peer_timeout_ms / 1e3);
    opal_output(0, "osc/daxpin: rank %d: %s", module->rank, text);
    ompi_mpi_errnum_add_string(osc_daxpin_silent_code, text, sizeof(text));
    return osc_daxpin_silent_code;
}

int osc_daxpin_error_is_gone(int ret)
{
    return (ret != OMPI_SUCCESS) &&
           ((ret == osc_daxpin_gone_code) || (ret == osc_daxpin_silent_code));
}

void osc_daxpin_error_free(int ret, void *memory)
{
    if (!osc_daxpin_error_is_gone(ret)) {
        free(memory);
    }
}

int osc_daxpin_error_is_final(int ret)
{
    return (ret == OMPI_SUCCESS) || (ret == osc_daxpin_revoked_code) ||
           osc_daxpin_error_is_gone(ret);
}

osc_daxpin_process_t osc_daxpin_process_self(int rank)
{
    osc_daxpin_process_t self = {.pid = getpid(), .rank = rank};
    struct stat st;

    if (stat("/proc/self/ns/pid", &st) == 0) {
        self.pid_ns = st.st_ino;
    }
    return self;
}

void osc_daxpin_error_name(const osc_daxpin_process_t *process,
                           const osc_daxpin_process_t *self, char *text,
                           size_t size)
{
    size_t used = strlen(text);
    char name[32];

    if ((process->pid_ns == 0) || (process->pid_ns != self->pid_ns)) {
        return;
    }
    snprintf(name, sizeof(name), "pid %d (", process->pid);
    if (strstr(text, name) != NULL) {
        snprintf(text + used, size - used, "; pid %d is rank %d of this window",
                 process->pid, process->rank);
    }
}
