/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_COMMANDS_H_
#define DAXPIN_TOOLS_COMMANDS_H_

/* What `daxpin NAME` does: argv[0] is NAME. Exit status of the command; 2 for
 * wrong arguments. */
int daxpin_cmd_doctor(int argc, char **argv);
int daxpin_cmd_env(int argc, char **argv);
int daxpin_cmd_info(int argc, char **argv);
int daxpin_cmd_pins(int argc, char **argv);
int daxpin_cmd_run(int argc, char **argv);

/* Write out what a command printed. Return 0, or 1 after a message. */
int daxpin_cmd_flush(const char *command);

/* What loading a UCX module shows, said in a way for `daxpin doctor` */
int daxpin_cmd_try_ucx(int argc, char **argv);

#endif
