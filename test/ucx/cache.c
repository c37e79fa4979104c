/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What a device has registered of a file ends with the program's registration,
 * whatever UCP keeps in its cache. UCP is the real one. Its component ib is here:
 * a device that registers all memory, but that of a file on fsdax only on demand, as
 * the kernel has it. What daxpin registers by itself goes to verbs.c, which is
 * preloaded and counts.
 *
 * usage: cache FILE [atomics]   with atomics, UCP registers for these as well
 *        cache FILE works | corrupts
 *                               several contexts at once, with a device whose
 *                               on-demand paging does so: one probe of it, and
 *                               the caller counts what is said
 */

#include "ucx_daxpin/abi/adapt.h"

#include <infiniband/verbs.h>
#include <ucp/api/ucp.h>
#include <ucs/vfs/base/vfs_obj.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CACHE_LENGTH (1u << 20)
#define CACHE_DEVICE "fake0"
#define CACHE_THREADS 4
#define CACHE_PINS   "/uct/component/daxpin/memory_domain/daxpin/pins"

/* Of verbs.c */
extern atomic_int verbs_registered;
extern atomic_uint verbs_key;
extern atomic_int verbs_pairs;
extern atomic_int verbs_corrupts;
extern struct ibv_pd verbs_pd;

static char *file_memory;
static ino_t file_inode;
static int failed;
static atomic_int kept; /* handles of the device that UCP has */

/*
 * The component
 */

static ucs_status_t device_resources(uct_component_t *component,
                                     uct_md_resource_desc_t **resources_p,
                                     unsigned *count_p)
{
    *resources_p = ucs_calloc(1, sizeof(**resources_p), "resource");
    *count_p     = 1;
    strcpy((*resources_p)->md_name, CACHE_DEVICE);
    return UCS_OK;
}

static void device_close(uct_md_h md)
{
    free(md);
}

static ucs_status_t device_query(uct_md_h md, uct_daxpin_md_attr_t *attr)
{
    const uint64_t host = UCS_BIT(UCS_MEMORY_TYPE_HOST);

    uct_daxpin_md_attr_init(attr);
    uct_daxpin_md_attr_set_cached(attr);
    uct_daxpin_md_attr_cap(attr)->flags            = UCT_MD_FLAG_REG |
                                                     UCT_MD_FLAG_NEED_MEMH |
                                                     UCT_MD_FLAG_NEED_RKEY;
    uct_daxpin_md_attr_cap(attr)->max_reg          = ULONG_MAX;
    uct_daxpin_md_attr_cap(attr)->reg_mem_types    = host;
    uct_daxpin_md_attr_cap(attr)->access_mem_types = host;
    attr->rkey_packed_size                         = sizeof(uint64_t);
    uct_daxpin_md_attr_set_gva(attr, host);
    return UCS_OK;
}

static int is_of_file(const char *address, size_t length)
{
    return (address < file_memory + CACHE_LENGTH) &&
           (file_memory < address + length);
}

static ucs_status_t device_reg(uct_md_h md, void *address, size_t length,
                               const uct_md_mem_reg_params_t *params,
                               uct_mem_h *memh_p)
{
    uct_ib_mem_t *mem;

    if (is_of_file(address, length) &&
        !(uct_daxpin_reg_flags(params) & UCT_MD_MEM_FLAG_NONBLOCK)) {
        return UCS_ERR_IO_ERROR;
    }
    mem       = calloc(1, sizeof(*mem));
    mem->rkey = 1;
    *memh_p   = mem;
    ++kept;
    return UCS_OK;
}

static ucs_status_t device_dereg(uct_md_h md,
                                 const uct_md_mem_dereg_params_t *params)
{
    free(params->memh);
    --kept;
    return UCS_OK;
}

static ucs_status_t device_pack(uct_md_h md, uct_mem_h memh, void *address,
                                size_t length,
                                const uct_md_mkey_pack_params_t *params,
                                void *buffer)
{
    const uint64_t key = ((const uct_ib_mem_t*)memh)->rkey;

    memcpy(buffer, &key, sizeof(key));
    return UCS_OK;
}

static ucs_status_t device_advise(uct_md_h md, uct_mem_h memh, void *address,
                                  size_t length, unsigned advice)
{
    return UCS_OK;
}

UCT_DAXPIN_ADAPT_MEM_REG(device_reg)
UCT_DAXPIN_ADAPT_MKEY_PACK(device_pack)

static uct_md_ops_t device_ops = {
    .close      = device_close,
    .query      = device_query,
    .mem_advise = device_advise,
    .mem_reg    = device_reg_op,
    .mem_dereg  = device_dereg,
    .mkey_pack  = device_pack_op,
    UCT_DAXPIN_MD_OPS_OTHERS
};

static ucs_status_t device_open(uct_component_t *component, const char *name,
                                const uct_md_config_t *config, uct_md_h *md_p)
{
    uct_ib_md_t *md = calloc(1, sizeof(*md));

    md->super.ops       = &device_ops;
    md->super.component = component;
    md->pd              = &verbs_pd;
    *md_p               = &md->super;
    return UCS_OK;
}

static ucs_status_t device_cm_open(uct_component_t *component,
                                   uct_worker_h worker,
                                   const uct_cm_config_t *config,
                                   uct_cm_h *cm_p)
{
    return UCS_ERR_UNSUPPORTED;
}

static ucs_status_t device_unpack(uct_component_t *component,
                                  const void *buffer,
                                  const struct uct_rkey_unpack_params *params,
                                  uct_rkey_t *rkey_p, void **handle_p)
{
    return UCS_ERR_UNSUPPORTED;
}

static ucs_status_t device_release(uct_component_t *component, uct_rkey_t rkey,
                                   void *handle)
{
    return UCS_OK;
}

static void device_vfs(uct_md_h md)
{
}

static ucs_status_t device_list(uct_md_h md,
                                uct_tl_device_resource_t **devices_p,
                                unsigned *count_p)
{
    *devices_p = ucs_calloc(1, sizeof(**devices_p), "device");
    *count_p   = 1;
    strcpy((*devices_p)->name, CACHE_DEVICE ":1");
    (*devices_p)->type       = UCT_DEVICE_TYPE_NET;
    (*devices_p)->sys_device = UCS_SYS_DEVICE_ID_UNKNOWN;
    return UCS_OK;
}

static ucs_status_t device_iface(uct_md_h md, uct_worker_h worker,
                                 const uct_iface_params_t *params,
                                 const uct_iface_config_t *config,
                                 uct_iface_h *iface_p)
{
    return UCS_ERR_UNSUPPORTED;
}

UCT_DAXPIN_ADAPT_RKEY_UNPACK(device_unpack)

static ucs_config_field_t no_settings[] = {{NULL}};

#define CACHE_SETTINGS(_name) \
    { \
        .name   = _name, \
        .prefix = "FAKE_", \
        .table  = no_settings, \
        .size   = sizeof(int) \
    }

static uct_component_t device = {
    .name               = "ib",
    .query_md_resources = device_resources,
    .md_open            = device_open,
    .cm_open            = device_cm_open,
    .rkey_unpack        = device_unpack_op,
    .rkey_release       = device_release,
    .md_config          = CACHE_SETTINGS("memory domain of a test"),
    .cm_config          = UCS_CONFIG_EMPTY_GLOBAL_LIST_ENTRY,
    .tl_list            = UCS_LIST_INITIALIZER(&device.tl_list,
                                               &device.tl_list),
    .md_vfs_init        = device_vfs
};

static uct_tl_t device_tl = {
    .name          = "fake",
    .query_devices = device_list,
    .iface_open    = device_iface,
    .config        = CACHE_SETTINGS("transport of a test")
};

/* In place of the C library's: the file is on fsdax. */
int statx(int dir, const char *path, int flags, unsigned mask,
          struct statx *stx)
{
    const long ret = syscall(SYS_statx, dir, path, flags, mask, stx);

    if ((ret == 0) && (file_inode != 0) && (stx->stx_ino == file_inode)) {
        stx->stx_attributes      |= STATX_ATTR_DAX;
        stx->stx_attributes_mask |= STATX_ATTR_DAX;
    }
    return (int)ret;
}

/*
 * The test
 */

static void check(ucs_status_t status, const char *what)
{
    if (status != UCS_OK) {
        fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
        exit(1);
    }
}

/* Expect as many registrations by the device, and pins or none. */
static void expect(const char *when, int registered, int pinned)
{
    ucs_string_buffer_t pins;
    int has_pins;

    ucs_string_buffer_init(&pins);
    check(ucs_vfs_path_read_file(CACHE_PINS, &pins), "pins");
    has_pins = *ucs_string_buffer_cstr(&pins) != '\0';
    if ((verbs_registered != registered) || (has_pins != pinned)) {
        printf("%s: %d registrations of the device, %d expected; pins: %s\n",
               when, verbs_registered, registered,
               ucs_string_buffer_cstr(&pins));
        failed = 1;
    }
    ucs_string_buffer_cleanup(&pins);
}

static ucp_mem_h map(ucp_context_h context, void *address, unsigned flags)
{
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                      UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                      UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .address    = address,
        .length     = CACHE_LENGTH,
        .flags      = flags
    };
    ucp_mem_h memh;

    check(ucp_mem_map(context, &params, &memh), "ucp_mem_map");
    return memh;
}

/* Pack a key. Return whether the device's last registration is in it. */
static int pack(ucp_context_h context, ucp_mem_h memh)
{
    const uint64_t key = ((uint64_t)UINT32_MAX << 32) | verbs_key;
    size_t length;
    void *buffer;
    int found;

    check(ucp_rkey_pack(context, memh, &buffer, &length), "ucp_rkey_pack");
    found = memmem(buffer, length, &key, sizeof(key)) != NULL;
    ucp_rkey_buffer_release(buffer);
    return found;
}

/* Map, pack, unmap, several times, twice at a time, and such that the device could
 * register the file by itself. Before UCP had a cache, each of its handles was a
 * registration. */
static void test_file(ucp_context_h context)
{
    const int twice = UCT_DAXPIN_UCP_HAS_CACHE ? 1 : 2;
    ucp_mem_h first, second;
    int i;

    for (i = 0; i < 3; ++i) {
        first = map(context, file_memory, (i == 0) ? UCP_MEM_MAP_NONBLOCK : 0);
        (void)pack(context, first);
        expect("mapped", 1, 1);
        if (!pack(context, first)) {
            printf("its key is not in what is packed\n");
            failed = 1;
        }
        second = map(context, file_memory, 0);
        (void)pack(context, second);
        expect("mapped twice", twice, 1);
        check(ucp_mem_unmap(context, (i == 1) ? first : second),
              "ucp_mem_unmap");
        expect("mapped twice, unmapped once", 1, 1);
        check(ucp_mem_unmap(context, (i == 1) ? second : first),
              "ucp_mem_unmap");
        expect("unmapped", 0, 0);
    }
}

/* Ordinary memory is the device's, and UCP's to keep. */
static void test_ordinary(ucp_context_h context)
{
    void *memory = mmap(NULL, CACHE_LENGTH, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const int before = kept;
    ucp_mem_h memh;

    memh = map(context, memory, 0);
    (void)pack(context, memh);
    expect("ordinary memory", 0, 0);
    if (kept != before + 1) {
        printf("ordinary memory is not registered by the device\n");
        failed = 1;
    }
    check(ucp_mem_unmap(context, memh), "ucp_mem_unmap");
    if (UCT_DAXPIN_UCP_HAS_CACHE && (kept != before + 1)) {
        printf("UCP does not keep what it has registered\n");
        failed = 1;
    }
}

static ucp_context_h create(int with_atomics)
{
    const ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES,
        .features   = UCP_FEATURE_RMA |
                      (with_atomics ? UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64 : 0)
    };
    ucp_context_h context;

    check(ucp_init(&params, NULL, &context), "ucp_init");
    return context;
}

/* Have the file registered, with a memory domain of the thread's own. */
static void *map_in_thread(void *context)
{
    const ucp_mem_h memh = map(context, file_memory, 0);

    (void)pack(context, memh);
    check(ucp_mem_unmap(context, memh), "ucp_mem_unmap");
    return NULL;
}

/* Several memory domains, some at once: the device is probed for the first. */
static void test_many(void)
{
    ucp_context_h contexts[CACHE_THREADS];
    pthread_t threads[CACHE_THREADS];
    int i;

    for (i = 0; i < CACHE_THREADS; ++i) {
        contexts[i] = create(0);
    }
    for (i = 0; i < CACHE_THREADS; ++i) {
        if (pthread_create(&threads[i], NULL, map_in_thread, contexts[i]) !=
            0) {
            fprintf(stderr, "no thread\n");
            exit(1);
        }
    }
    for (i = 0; i < CACHE_THREADS; ++i) {
        pthread_join(threads[i], NULL);
        ucp_cleanup(contexts[i]);
    }
    contexts[0] = create(0); /* After all were closed */
    map_in_thread(contexts[0]);
    ucp_cleanup(contexts[0]);
    if (verbs_pairs != 2) {
        printf("a probe makes 2 queue pairs, and %d were made\n", verbs_pairs);
        failed = 1;
    }
}

static void test_one(int with_atomics)
{
    const ucp_context_h context = create(with_atomics);

    test_ordinary(context);
    test_file(context);
    ucp_cleanup(context);
}

int main(int argc, char **argv)
{
    const char *what = (argc > 2) ? argv[2] : "";
    const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;

    if ((fd < 0) || (posix_fallocate(fd, 0, CACHE_LENGTH) != 0) ||
        (fstat(fd, &st) != 0)) {
        perror(argv[1]);
        return 1;
    }
    file_inode  = st.st_ino;
    file_memory = mmap(NULL, CACHE_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
                       fd, 0);
    close(fd);
    uct_component_register(&device);
    uct_tl_register(&device, &device_tl);
    verbs_corrupts = strcmp(what, "corrupts") == 0;
    if (verbs_corrupts || (strcmp(what, "works") == 0)) {
        test_many();
    } else {
        test_one(strcmp(what, "atomics") == 0);
    }
    if ((verbs_registered != 0) || (kept != 0)) {
        printf("at the end %d registrations and %d handles are left\n",
               verbs_registered, kept);
        failed = 1;
    }
    return failed;
}
