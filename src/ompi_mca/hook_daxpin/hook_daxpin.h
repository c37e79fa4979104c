/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef HOOK_DAXPIN_H_
#define HOOK_DAXPIN_H_

#include "ompi_config.h"

/* Load the UCX module of daxpin, so that UCX finds its component: the one
 * that $DAXPIN_UCX_MODULE names, else the one that the user named in the MCA
 * parameter, else one near this hook or where it was installed. 0, or -1
 * after a message. */
int hook_daxpin_load(const char *parameter);

/* Set the MCA variables without which Open MPI would not use UCX, except
 * those that the user has set. To be called before their frameworks register
 * them, and undone when they have. */
void hook_daxpin_var_set(void);
void hook_daxpin_var_unset(void);

#endif
