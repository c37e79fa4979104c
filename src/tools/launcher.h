/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_LAUNCHER_H_
#define DAXPIN_TOOLS_LAUNCHER_H_

/* Commands that start the ranks of a job */

/* Find the program that execvp() would start, behind symbolic links. Return its
 * path, to be freed, or NULL. */
char *daxpin_launcher_find(const char *command);

/* Return whether a command leads to a launcher of MPICH: its name, or that of the
 * program behind all symbolic links, says so. */
int daxpin_launcher_is_mpich(const char *command);

/* Return whether a command only starts other programs, by Open MPI or Slurm. The
 * launchers of MPICH have the same names, and are none of these. */
int daxpin_launcher_is_ompi(const char *command);

#endif
