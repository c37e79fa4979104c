/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The commands of daxpin(1) */

#ifndef DAXPIN_TOOLS_COMMANDS_H_
#define DAXPIN_TOOLS_COMMANDS_H_

/* Run `daxpin NAME`. argv[0] is NAME. Return the exit status: 2 if the
 * arguments are wrong. */
int daxpin_cmd_doctor(int argc, char **argv);
int daxpin_cmd_env(int argc, char **argv);
int daxpin_cmd_info(int argc, char **argv);
int daxpin_cmd_pins(int argc, char **argv);
int daxpin_cmd_run(int argc, char **argv);

/* Print what the arguments of a command are. Return its exit status: 2. */
int daxpin_cmd_usage(const char *command);

/* Write out what a command printed. Return 0, or 1 after a message. */
int daxpin_cmd_flush(const char *command);

/* Load a UCX plug-in and print the result for `daxpin doctor` */
int daxpin_cmd_try_ucx(int argc, char **argv);

#endif
