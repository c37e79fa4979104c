/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_ERROR_H_
#define OSC_DAXPIN_ERROR_H_

/* Messages, and MPI's error code of a revoked file */

#include "osc_daxpin.h"

/* Print a message and return an error */
#define osc_daxpin_error(_error, _format, ...) \
    (opal_output(0, "osc/daxpin: " _format, ##__VA_ARGS__), (_error))

/* A process that a message may name */
typedef struct osc_daxpin_process {
    uint64_t pid_ns; /* its pid namespace */
    int      pid;
    int      rank;   /* in the window's communicator */
} osc_daxpin_process_t;

osc_daxpin_process_t osc_daxpin_process_self(int rank);

/* If the message, of process self, names a process by its pid, append that the
 * process is a rank of the window */
void osc_daxpin_error_name(const osc_daxpin_process_t *process,
                           const osc_daxpin_process_t *self, char *text,
                           size_t size);

/* Add MPIX_ERR_DAXPIN_REVOKED to MPI's errors, once in a process. osc_init is
 * too early, because MPI makes its table of errors later. */
int osc_daxpin_error_add(void);

int osc_daxpin_error_class(void);
int osc_daxpin_error_code(void);

/* Return the error of a store to what a target has mapped read-only; the first
 * one has a message */
int osc_daxpin_error_read_only(osc_daxpin_module_t *module, int target);

/* Return the error of a rank that has ended, or that does not answer; rank -1:
 * one of them does not */
int osc_daxpin_error_gone(osc_daxpin_module_t *module, int rank);
int osc_daxpin_error_silent(const osc_daxpin_module_t *module, int rank);

/* Return whether it is one of these errors. A message that was given up then may
 * still use its memory, because Open MPI cannot always cancel it: so the memory
 * is never freed. */
int osc_daxpin_error_is_gone(int ret);

/* Free memory of an access that returned ret, unless it may still be used */
void osc_daxpin_error_free(int ret, void *memory);

/* Return whether a synchronisation that returned ret has found out what became of
 * the data. Else the next one has to look again. */
int osc_daxpin_error_is_final(int ret);

/* Make the text of the error and return its code. While a window is freed, only
 * the first one is the text; others are printed. */
int osc_daxpin_error_revoked(osc_daxpin_module_t *module, int target,
                             const char *cause);

/* Print the text, because a call returns another error */
void osc_daxpin_error_print_revoked(const osc_daxpin_module_t *module);

#endif
