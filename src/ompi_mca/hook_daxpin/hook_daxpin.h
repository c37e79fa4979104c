/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef HOOK_DAXPIN_H_
#define HOOK_DAXPIN_H_

/* What brings daxpin into an MPI program: the UCX plug-in and MCA variables */

#include "ompi_config.h"

/* Load the UCX plug-in of daxpin, so that UCX finds its component: the file
 * that $DAXPIN_UCX_MODULE names, else the file that the MCA parameter names,
 * else one near this hook, else the installed one. Have the plug-in follow its
 * variables: UCX itself may never open a memory domain. Return 0, or -1 after a
 * message. */
int hook_daxpin_load(const char *parameter);

/* Before UCX may be gone. The plug-in stays loaded. */
void hook_daxpin_unload(void);

/* Set the MCA variables that osc_daxpin needs, except variables that the user
 * has set. Called before the frameworks register the variables, and undone when
 * they have. */
void hook_daxpin_var_set(void);
void hook_daxpin_var_unset(void);

#endif
