/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The files without a name that the library has */

#include "child.h"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

/* Return the seals of a descriptor if it is one of the library's, else -1. */
static int memfd_seals(int fd)
{
    static const char prefix[] = "/memfd:daxpin";
    char path[PATH_MAX];

    unit_fd_path(fd, path);
    return (strncmp(path, prefix, sizeof(prefix) - 1) == 0) ?
                   fcntl(fd, F_GET_SEALS) : -1;
}

/* With the sysctl vm.memfd_noexec=2, no process may have any other. */
static void test_not_executable(void **state)
{
    const int fd = memfd_create("test", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    daxpin_file_t *file;
    unsigned count = 0;
    int i, seals;

    if (fd < 0) {
        skip(); /* This kernel does not have it */
    }
    close(fd);
    file = unit_open(unit_path(unit_disk, "memfd"), UNIT_LENGTH);
    for (i = 0; i < 1024; ++i) {
        seals = memfd_seals(i);
        if (seals >= 0) {
            ++count;
            assert_true(seals & F_SEAL_EXEC);
            assert_true(seals & F_SEAL_SEAL);
        }
    }
    /* The control page, the report, and the reserve of os/sink.h */
    assert_int_equal(count, 3);
    daxpin_file_close(file);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_not_executable)};

    return unit_main("memfd", argc, argv, children, tests);
}
