/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_COMMANDS_H_
#define DAXPIN_TOOLS_COMMANDS_H_

/* What `daxpin NAME` does: argv[0] is NAME. Exit status of the command; 2 for
 * wrong arguments. */
int daxpin_cmd_env(int argc, char **argv);
int daxpin_cmd_info(int argc, char **argv);
int daxpin_cmd_pins(int argc, char **argv);
int daxpin_cmd_run(int argc, char **argv);

#endif
