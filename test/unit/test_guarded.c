/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The guard daemon's inodes, with a kernel of the test's own */

#include "child.h"

#include "guardd/inode.c"
#include "guardd/log.c"
#include "guardd/space.c"

static int error;  /* of a change; 0: it succeeds */
static int is_set; /* the kernel guards the inode */

int guard_programs_set(int fd, const guard_map_t *map)
{
    (void)fd;
    (void)map;
    is_set = (error == 0) ? 1 : is_set;
    return error;
}

int guard_programs_clear(int fd)
{
    int ret = (error == 0) && !is_set ? -ENOENT : error;

    (void)fd;
    is_set = (error == 0) ? 0 : is_set;
    return ret;
}

guard_range_t *guard_programs_ranges(void)
{
    static guard_range_t ranges[16];

    return ranges;
}

int guard_user_is_due(long *next)
{
    (void)next;
    return 1;
}

int guard_programs_settle(void)
{
    return 0;
}

/* An inode that the kernel keeps goes on to be the daemon's, until the kernel
 * lets it go. */
static void test_kept(void **state)
{
    guard_range_t range       = {.start = 4096, .end = 8192};
    const guard_proof_t proof = {.dev = 1, .ino = 2};
    guard_inode_t *inode;

    assert_int_equal(guard_inode_get(memfd_create("guarded", MFD_CLOEXEC),
                                     &proof, 1000, 1000, &inode), 0);
    assert_int_equal(guard_inode_add(inode, state, &range, 1), 0);
    guard_inodes_publish();
    assert_true(is_set);
    error = -EBUSY;
    guard_inode_remove_all(inode, state);
    guard_inode_put(inode);
    guard_inodes_publish();
    guard_inodes_publish();
    assert_true(is_set);
    error = 0;
    guard_inodes_publish();
    assert_false(is_set);
    assert_null(guard_inode_find(proof.dev, proof.ino));
}

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_kept)};

    return unit_main("guarded", argc, argv, children, tests);
}
