/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Show the pins as UCX's file system of its objects does. usage: vfs FILE */

#include <ucp/api/ucp.h>
#include <ucs/vfs/base/vfs_obj.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define VFS_LENGTH (1u << 20)
#define VFS_PATH   "/uct/component/daxpin/memory_domain/daxpin/pins"

static void vfs_show(const char *when)
{
    ucs_string_buffer_t text;

    ucs_string_buffer_init(&text);
    if (ucs_vfs_path_read_file(VFS_PATH, &text) != UCS_OK) {
        printf("%s: no such file\n", when);
    } else {
        printf("%s: %s", when, ucs_string_buffer_cstr(&text));
    }
    printf("\n");
    ucs_string_buffer_cleanup(&text);
}

static void vfs_check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK) {
        fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES,
        .features   = UCP_FEATURE_RMA | UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64
    };
    ucp_mem_map_params_t map = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                      UCP_MEM_MAP_PARAM_FIELD_LENGTH,
        .length     = VFS_LENGTH
    };
    ucp_context_h context;
    ucp_mem_h memh;
    size_t length;
    void *key;
    int fd;

    fd = open(argv[argc - 1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if ((fd < 0) || (posix_fallocate(fd, 0, VFS_LENGTH) != 0)) {
        perror(argv[argc - 1]);
        return 1;
    }
    map.address = mmap(NULL, VFS_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
                       fd, 0);
    vfs_check(ucp_init(&params, NULL, &context), "ucp_init");
    vfs_show("before");
    vfs_check(ucp_mem_map(context, &map, &memh), "ucp_mem_map");
    vfs_show("mapped");
    vfs_check(ucp_rkey_pack(context, memh, &key, &length), "ucp_rkey_pack");
    ucp_rkey_buffer_release(key);
    vfs_show("packed");
    vfs_check(ucp_mem_unmap(context, memh), "ucp_mem_unmap");
    vfs_show("unmapped");
    ucp_cleanup(context);
    vfs_show("after");
    return 0;
}
