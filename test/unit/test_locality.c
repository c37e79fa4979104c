/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* NUMA nodes and mounts, compared with other files of the kernel */

#include "child.h"

#include "daxpin/os/locality.h"
#include "daxpin/os/mount.h"

#include <dirent.h>

#define LOCALITY_NODE_DIR "/sys/devices/system/node"

/* Return the node to which a processor's directory has a link. -1: no NUMA */
static int locality_node_of_cpu(unsigned cpu)
{
    char path[64];
    struct dirent *entry;
    int node = -1;
    DIR *dir;

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u", cpu);
    dir = opendir(path);
    while ((dir != NULL) && ((entry = readdir(dir)) != NULL)) {
        if (sscanf(entry->d_name, "node%d", &node) == 1) {
            break;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return node;
}

static int locality_node_exists(int node)
{
    char path[64];

    snprintf(path, sizeof(path), LOCALITY_NODE_DIR "/node%d", node);
    return access(path, F_OK) == 0;
}

static void test_node_of_cpus(void **state)
{
    cpu_set_t before, one;
    unsigned cpu;

    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    for (cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &before) || (locality_node_of_cpu(cpu) < 0)) {
            continue;
        }
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
        assert_int_equal(daxpin_cpu_numa_node(), locality_node_of_cpu(cpu));
        assert_int_equal(daxpin_locality_is_far(locality_node_of_cpu(cpu)), 0);
    }
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    (void)state;
}

static void test_distance(void **state)
{
    int node;

    for (node = 0; node < 64; ++node) {
        assert_int_equal(daxpin_locality_distance(node, node),
                         locality_node_exists(node) ? 10 : -1);
    }
    assert_int_equal(daxpin_locality_distance(-1, 0), -1);
    assert_int_equal(daxpin_locality_distance(0, -1), -1);
    (void)state;
}

/* A file in memory has no node. The node of a disk, if any, exists. */
static void test_node_of_files(void **state)
{
    const char *path;
    int fd, node;

    fd = memfd_create("locality", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(daxpin_locality_of_file(fd, ""), -1);
    close(fd);
    assert_int_equal(daxpin_locality_of_file(AT_FDCWD, "/nonexistent"), -1);

    path = unit_path(unit_memory, "a");
    unit_make_file(path, 4096, 1);
    assert_int_equal(daxpin_locality_of_file(AT_FDCWD, path), -1);

    path = unit_path(unit_disk, "a");
    unit_make_file(path, 4096, 1);
    node = daxpin_locality_of_file(AT_FDCWD, path);
    assert_true((node == -1) || locality_node_exists(node));
    assert_int_equal(daxpin_locality_is_far(-1), 0);
    (void)state;
}

static void test_node_of_handle(void **state)
{
    const char *path;
    daxpin_file_t *file;

    path = unit_path(unit_disk, "a");
    assert_ok(daxpin_file_open(path, UNIT_LENGTH, NULL, &file));
    assert_int_equal(daxpin_file_numa_node(file),
                     daxpin_locality_of_file(AT_FDCWD, path));
    daxpin_file_close(file);
    (void)state;
}

static int locality_has_dev(const daxpin_mount_t *mount, void *arg)
{
    return mount->dev == *(const dev_t*)arg;
}

static void test_mounts(void **state)
{
    const char *path;
    daxpin_mount_t mount;
    struct stat st;

    assert_ok(daxpin_mount_find(AT_FDCWD, "/proc/self", &mount));
    assert_string_equal(mount.type, "proc");
    assert_string_equal(mount.point, "/proc");
    assert_int_equal(daxpin_mount_device(&mount), 0);
    assert_true(daxpin_mount_has_option(&mount, "rw") ||
                daxpin_mount_has_option(&mount, "ro"));
    assert_false(daxpin_mount_has_option(&mount, "r"));
    assert_int_equal(daxpin_mount_find(AT_FDCWD, "/nonexistent", &mount),
                     -ENOENT);

    path = unit_path(unit_memory, "a");
    unit_make_file(path, 4096, 1);
    assert_int_equal(stat(path, &st), 0);
    assert_ok(daxpin_mount_find(AT_FDCWD, path, &mount));
    assert_string_equal(mount.type, "tmpfs");
    assert_int_equal(mount.dev, st.st_dev);
    assert_int_equal(daxpin_mount_walk(locality_has_dev, &st.st_dev), 1);
    st.st_dev = (dev_t)-1;
    assert_int_equal(daxpin_mount_walk(locality_has_dev, &st.st_dev), 0);
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[] = {
        {NULL, NULL}
    };
    const struct CMUnitTest tests[] = {
        unit_case(test_node_of_cpus),
        unit_case(test_distance),
        unit_case(test_node_of_files),
        unit_case(test_node_of_handle),
        unit_case(test_mounts)
    };

    return unit_main("locality", argc, argv, children, tests);
}
