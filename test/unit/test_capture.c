/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Commands whose output the tools read: none keeps a tool for ever */

#include "child.h"

#include "tools/checkup.c"
#include "tools/json.c"

#define CAPTURE_SHELL_MAX 256

/* Run a command of the shell for at most so many seconds, and check its exit status
 * and what it writes. */
static void check_command(const char *command, unsigned seconds, int status,
                          const char *words)
{
    char text[CAPTURE_SHELL_MAX];
    char *const argv[] = {(char*)"sh", (char*)"-c", text, NULL};
    char *output;

    snprintf(text, sizeof(text), "%s", command);
    assert_int_equal(daxpin_capture(argv, seconds, &output), status);
    assert_string_equal(output, words);
    free(output);
}

static void test_output(void **state)
{
    check_command("echo one; echo two >&2; exit 3", 60, 3, "one\ntwo\n");
    (void)state;
}

/* A command that closes its output and goes on has its exit status still. */
static void test_closed_output(void **state)
{
    check_command("echo one; exec >&- 2>&-; sleep 0.1; exit 4", 60, 4, "one\n");
    (void)state;
}

/* One that does not end is killed, whether it has closed its output or not. */
static void test_endless(void **state)
{
    const unsigned seconds = 2 * unit_slow(); /* the first word needs some */

    check_command("echo one; exec >&- 2>&-; exec sleep 1000", seconds, 124,
                  "one\n");
    check_command("echo one; exec sleep 1000", seconds, 124, "one\n");
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_output),
                                       unit_case(test_closed_output),
                                       unit_case(test_endless)};

    return unit_main("capture", argc, argv, children, tests);
}
