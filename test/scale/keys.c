/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Count what remote keys of the UCX component cost */

/*
 * usage: keys DIRECTORY FILES KEYS
 * prints lines of process STAGE FIELD VALUE
 *
 * FILES files are registered. Then the key of each is unpacked once ("file"),
 * and KEYS times more ("keys"); all stay so until the process ends.
 *
 * usage: keys PIECES
 * prints how often the component called stat()
 *
 * Pieces of ordinary memory are registered, and their keys packed and unpacked. Then
 * all of that is given back. The function ordinary() does it, for callgrind.
 */

#define _GNU_SOURCE

#include "../uct.h"
#include "usage.h"

#include <stdint.h>
#include <sys/mman.h>

#define LENGTH   65536
#define MDS_MAX  4
#define KEY_ROOM 1024

static uct_component_h component;
static uct_md_h mds[MDS_MAX];
static unsigned num_mds;

/* Open the memory domains: the first packs the keys, and another may have the
 * leases. */
static void open_domains(void)
{
    uct_md_resource_desc_t resources[MDS_MAX];
    uct_component_attr_t attr = {
        .field_mask   = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT
    };
    uct_md_config_t *config;
    unsigned i;

    check((uct_component_query(component, &attr) == UCS_OK) &&
          (attr.md_resource_count <= MDS_MAX), "uct_component_query");
    num_mds           = attr.md_resource_count;
    attr.field_mask   = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
    attr.md_resources = resources;
    check(uct_component_query(component, &attr) == UCS_OK,
          "uct_component_query");
    for (i = 0; i < num_mds; ++i) {
        check(uct_md_config_read(component, NULL, NULL, &config) == UCS_OK,
              "uct_md_config_read");
        check(uct_md_open(component, resources[i].md_name, config,
                          &mds[i]) == UCS_OK, "uct_md_open");
        uct_config_release(config);
    }
}

/* Register a file of its own, and pack its key. */
static void pack(const char *directory, int number, uint8_t *key)
{
    uct_mem_h memh, first = NULL;
    char path[4096];
    void *memory;
    unsigned i;
    int fd;

    snprintf(path, sizeof(path), "%s/keys.%d", directory, number);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check((fd >= 0) && (posix_fallocate(fd, 0, LENGTH) == 0), path);
    memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(memory != MAP_FAILED, "mmap");
    close(fd);
    for (i = 0; i < num_mds; ++i) {
        check(uct_md_mem_reg(mds[i], memory, LENGTH, UCT_MD_MEM_ACCESS_ALL,
                             &memh) == UCS_OK, "uct_md_mem_reg");
        first = (i == 0) ? memh : first;
    }
    check(uct_md_mkey_pack(mds[0], first, key) == UCS_OK, "uct_md_mkey_pack");
}

static void unpack(const uint8_t *key)
{
    uct_rkey_bundle_t bundle;

    check(uct_rkey_unpack(component, key, &bundle) == UCS_OK,
          "uct_rkey_unpack");
}

static unsigned looks; /* calls of stat() */

/* Count, in place of the C library's function. */
int stat(const char *restrict path, struct stat *restrict st)
{
    ++looks;
    return fstatat(AT_FDCWD, path, st, 0);
}

static void ordinary(char *memory, uct_mem_h *handles, int pieces)
    __attribute__((noinline));

static void ordinary(char *memory, uct_mem_h *handles, int pieces)
{
    uct_rkey_bundle_t bundle;
    uint8_t key[KEY_ROOM];
    unsigned i;
    int piece;

    for (piece = 0; piece < pieces; ++piece) {
        for (i = 0; i < num_mds; ++i) {
            check(uct_md_mem_reg(mds[i], memory + 64 * piece, 64,
                                 UCT_MD_MEM_ACCESS_ALL,
                                 &handles[piece * MDS_MAX + (int)i]) == UCS_OK,
                  "uct_md_mem_reg");
        }
        check(uct_md_mkey_pack(mds[0], handles[piece * MDS_MAX], key) ==
              UCS_OK, "uct_md_mkey_pack");
        check(uct_rkey_unpack(component, key, &bundle) == UCS_OK,
              "uct_rkey_unpack");
        check(uct_rkey_release(component, &bundle) == UCS_OK,
              "uct_rkey_release");
    }
    for (piece = 0; piece < pieces; ++piece) {
        for (i = 0; i < num_mds; ++i) {
            check(uct_md_mem_dereg(mds[i],
                                   handles[piece * MDS_MAX + (int)i]) ==
                  UCS_OK, "uct_md_mem_dereg");
        }
    }
}

/* Register, and give back, pieces of ordinary memory. */
static void use_ordinary(int pieces)
{
    uct_mem_h *handles = calloc((size_t)pieces * MDS_MAX, sizeof(*handles));
    char *memory       = calloc((size_t)pieces, 64);

    check((handles != NULL) && (memory != NULL), "calloc");
    looks = 0;
    ordinary(memory, handles, pieces);
    printf("%u\n", looks);
    free(memory);
    free(handles);
}

int main(int argc, char **argv)
{
    usage_t before, usage;
    uint8_t *keys;
    int files, count, i, j;

    if (argc == 2) {
        component = find_component();
        open_domains();
        use_ordinary(atoi(argv[1]));
        return 0;
    }
    check(argc == 4, "usage: keys DIRECTORY FILES KEYS:");
    files = atoi(argv[2]);
    count = atoi(argv[3]);
    keys  = calloc((size_t)files, KEY_ROOM);
    component = find_component();
    open_domains();
    for (i = 0; i < files; ++i) {
        pack(argv[1], i, &keys[i * KEY_ROOM]);
    }
    usage_get(&before);
    for (i = 0; i < files; ++i) {
        unpack(&keys[i * KEY_ROOM]);
    }
    usage_get(&usage);
    usage_subtract(&usage, &before);
    usage_print("process", "file", &usage);
    usage_get(&before);
    for (i = 0; i < files; ++i) {
        for (j = 0; j < count; ++j) {
            unpack(&keys[i * KEY_ROOM]);
        }
    }
    usage_get(&usage);
    usage_subtract(&usage, &before);
    usage_print("process", "keys", &usage);
    return 0;
}
