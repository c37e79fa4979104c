/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef OSC_DAXPIN_ERROR_H_
#define OSC_DAXPIN_ERROR_H_

/* Messages, and MPI's error code of a revoked file */

#include "osc_daxpin.h"

/* Print a message and return an error */
#define osc_daxpin_error(_error, _format, ...) \
    (opal_output(0, "osc/daxpin: " _format, ##__VA_ARGS__), (_error))

/* Add MPIX_ERR_DAXPIN_REVOKED to MPI's errors, once in a process. osc_init is
 * too early, because MPI makes its table of errors later. */
int osc_daxpin_error_add(void);

int osc_daxpin_error_class(void);
int osc_daxpin_error_code(void);

/* Make the text of the error and return its code */
int osc_daxpin_error_revoked(const osc_daxpin_module_t *module, int target,
                             const char *cause);

#endif
