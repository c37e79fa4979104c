/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Files that are used with DAX, for whatever reason, have their blocks held,
 * and a process that reads them ends no access. usage: inode FILE...
 */

#include "result.h"

#include <daxpin.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INODE_LENGTH  65536
#define INODE_SECONDS 60

static const char    *inode_path;
static daxpin_file_t *inode_file;

static void test_open(void)
{
    char locks[DAXPIN_LOCKS_NAMES_MAX];

    CHECK(daxpin_file_open(inode_path, INODE_LENGTH, NULL, &inode_file) == 0,
          "%s", daxpin_errormsg());
    CHECK(daxpin_file_is_dax(inode_file), "%s is not used with DAX",
          inode_path);
    CHECK(daxpin_file_locks(inode_file) & DAXPIN_LOCK_HOLD,
          "it has the locks %s",
          daxpin_locks_names(daxpin_file_locks(inode_file), locks,
                             sizeof(locks)));
}

/* Have a process read the file. Return whether it could. */
static int inode_read(void)
{
    int status = -1;
    pid_t pid  = fork();

    if (pid == 0) {
        execlp("sh", "sh", "-c", "cat \"$0\" >/dev/null", inode_path, NULL);
        _exit(127);
    }
    return (waitpid(pid, &status, 0) == pid) && (status == 0);
}

static void test_reader(void)
{
    const double end = now() + INODE_SECONDS;
    char cause[512];

    CHECK(inode_file != NULL, "it is not open");
    *(char*)daxpin_file_addr(inode_file, 0, 1) = 'x';
    CHECK(inode_read(), "another process cannot read it");
    while ((daxpin_file_state(inode_file) == DAXPIN_STATE_LENT) &&
           (now() < end)) {
        pause_ms(5);
    }
    daxpin_file_cause(inode_file, cause, sizeof(cause));
    CHECK(daxpin_file_state(inode_file) == DAXPIN_STATE_HELD, "it is %s: %s",
          daxpin_state_name(daxpin_file_state(inode_file)), cause);
    CHECK(daxpin_file_locks(inode_file) & DAXPIN_LOCK_HOLD, "it is not held");
    daxpin_file_close(inode_file);
    CHECK(truncate(inode_path, 0) == 0, "a truncate fails afterwards: %m");
}

int main(int argc, char **argv)
{
    char name[PATH_MAX];
    int i;

    for (i = 1; i < argc; ++i) {
        inode_path = argv[i];
        inode_file = NULL;
        snprintf(name, sizeof(name), "%s is held", strrchr(argv[i], '/') + 1);
        run(name, test_open);
        snprintf(name, sizeof(name), "%s survives a reader",
                 strrchr(argv[i], '/') + 1);
        run(name, test_reader);
    }
    return failed;
}
