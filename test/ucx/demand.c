/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What is registered on demand ends with the file: the device must not write
 * into the memory that replaces the file's, and report success, unless others look
 * for themselves: what it writes until the end is in the file. A dma-buf is taken
 * where there is one, unless the device does not take it. The pin module's mapping
 * is taken unless a revoke replaces it meanwhile. A key is given out only while it is
 * of the file that is in memory. The device is verbs.c, which counts.
 *
 * usage: demand VERBS DIRECTORY
 */

#include "daxpin/access.h"
#include "ucx_daxpin/daxpin_mapped.h"
#include "ucx_daxpin/daxpin_process.h"

#include <infiniband/verbs.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH        65536
#define DMABUF_OFFSET 4096

static atomic_int *registered, *failures, *dmabufs, *error;
static atomic_ullong *dmabuf_offset;
static int has_dmabuf; /* the pin module, for which this program stands in; or
                        -errno, for which it gives none */
static int pin_error;  /* of daxpin_pin(); 0: libdaxpin's own */
static int has_alias;  /* how often the pin module's mapping is there still */
static char alias[LENGTH];

/* Of the component, without which it is not linked here */
int uct_daxpin_process_params(daxpin_params_t *params)
{
    memset(params, 0, sizeof(*params));
    return 1;
}

/* The same: no key is packed here. */
void uct_daxpin_mkey_write(const uct_daxpin_memh_t *memh, void *rkey_buffer)
{
    (void)memh;
    (void)rkey_buffer;
}

/* In place of libdaxpin's: what it lacks is not there. */
int daxpin_pin(daxpin_file_t *file, uint64_t offset, size_t length,
               const daxpin_owner_t *owner, daxpin_pin_t **pin_p)
{
    int (*pin)(daxpin_file_t *, uint64_t, size_t, const daxpin_owner_t *,
               daxpin_pin_t **) = dlsym(RTLD_NEXT, "daxpin_pin");

    return (pin_error != 0) ? pin_error :
                              pin(file, offset, length, owner, pin_p);
}

/* In place of libdaxpin's: the range begins in the middle of the dma-buf. */
int daxpin_pin_dmabuf(const daxpin_pin_t *pin, uint64_t *offset_p)
{
    int fd;

    (void)pin;
    if (has_dmabuf <= 0) {
        return (has_dmabuf < 0) ? has_dmabuf : -ENOENT;
    }
    *offset_p = DMABUF_OFFSET;
    fd        = memfd_create("dmabuf", MFD_CLOEXEC);
    return (ftruncate(fd, DMABUF_OFFSET + LENGTH) == 0) ? fd : -errno;
}

/* In place of libdaxpin's: a revoke replaces the mapping after a while. */
void *daxpin_pin_alias(const daxpin_pin_t *pin)
{
    (void)pin;
    if (has_alias == 0) {
        return NULL;
    }
    --has_alias;
    return alias;
}

static ucs_status_t no_query(uct_md_h md, uct_daxpin_md_attr_t *attr)
{
    return UCS_ERR_UNSUPPORTED;
}

static int fail(const char *what)
{
    printf("%s; %d registrations\n", what, *registered);
    return 0;
}

static int comes_true(daxpin_file_t *file, daxpin_state_t state)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    int i;

    for (i = 0; (i < 6000) && (daxpin_file_state(file) != state); ++i) {
        nanosleep(&pause, NULL);
    }
    return daxpin_file_state(file) == state;
}

/* Have another process truncate the file. */
static int truncate_by_other(const char *path)
{
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        _exit(truncate(path, 0) != 0);
    }
    return (waitpid(pid, &status, 0) == pid) && (status == 0);
}

/* Map a file of its own, at this address if it is not NULL. */
static void *map_file_at(const char *path, void *address)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    void *memory = MAP_FAILED;

    if (ftruncate(fd, LENGTH) == 0) {
        memory = mmap(address, LENGTH, PROT_READ | PROT_WRITE,
                      MAP_SHARED | ((address != NULL) ? MAP_FIXED : 0), fd, 0);
    }
    close(fd);
    return memory;
}

static void *map_file(const char *path)
{
    return map_file_at(path, NULL);
}

/* Map a file, and adopt it as daxpin's own memory domain does. Return NULL with a
 * message if that fails. */
static void *adopt_file(const char *path, daxpin_file_t **file_p)
{
    void *memory = map_file(path);
    uint64_t offset;

    if ((memory == MAP_FAILED) ||
        (daxpin_file_adopt(memory, LENGTH, NULL, file_p, &offset) != 0)) {
        printf("%s\n", daxpin_errormsg());
        return NULL;
    }
    return memory;
}

static void give_back(const char *path, void *memory, daxpin_file_t *file)
{
    daxpin_file_unadopt(file, memory, LENGTH);
    daxpin_file_close(file);
    munmap(memory, LENGTH);
    unlink(path);
}

/* revoked: the file is truncated while it is registered. broken: the device
 * does not release at that moment, but later. distant: others read the control page
 * after their accesses, so nothing is released until the program does that. */
static int test(uct_md_h md, const char *path, int revoked, int broken,
                int distant)
{
    daxpin_file_t *file;
    uct_daxpin_mr_caps_t caps = {.is_known = 1, .has_odp = 1};
    void *memory              = adopt_file(path, &file);
    const char *how           = "";
    uct_daxpin_mr_t *mr;

    if (memory == NULL) {
        return fail("it cannot be adopted");
    }
    if (uct_daxpin_mr_reg(md, &caps, memory, LENGTH, &mr, &how) != UCS_OK) {
        printf("%s\n", how);
        return fail("it is not registered");
    }
    if (*registered != 1) {
        return fail("there is not one registration");
    }
    *failures = broken;
    if (distant) {
        daxpin_file_set_distant(mr->file);
    }
    if (revoked && (!truncate_by_other(path) ||
                    !comes_true(mr->file, DAXPIN_STATE_REVOKED))) {
        return fail("it is not revoked");
    }
    if (*registered != (!revoked || broken || distant)) {
        return fail("after the revoke it is not as it should be");
    }
    if ((uct_daxpin_mr_dereg(mr) != UCS_OK) || (*registered != 0)) {
        return fail("it is not released once");
    }
    daxpin_file_unadopt(file, memory, LENGTH);
    daxpin_file_close(file);
    munmap(memory, LENGTH);
    unlink(path);
    return 1;
}

/* Have another process open the file for writing, so that it is revoked. */
static int open_by_other(const char *path)
{
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        _exit(open(path, O_WRONLY) < 0);
    }
    return (waitpid(pid, &status, 0) == pid) && (status == 0);
}

/* Return the first byte of a file. */
static int first_byte(const char *path)
{
    const int fd = open(path, O_RDONLY);
    char byte    = 0;

    (void)!pread(fd, &byte, 1, 0);
    close(fd);
    return byte;
}

/* What the device writes until its registration ends is in the file, and not in
 * what takes the place of the file's memory. */
static int test_last_write(uct_md_h md, const char *path)
{
    uct_daxpin_mr_caps_t caps = {.is_known = 1, .has_odp = 1};
    char *memory              = map_file(path);
    const char *how           = "";
    uct_daxpin_mr_t *mr;
    daxpin_file_t *file;
    uint64_t offset;

    if ((memory == MAP_FAILED) ||
        (daxpin_file_adopt(memory, LENGTH, NULL, &file, &offset) != 0) ||
        (uct_daxpin_mr_reg(md, &caps, memory, LENGTH, &mr, &how) != UCS_OK)) {
        return fail("it cannot be adopted and registered");
    }
    memory[0] = 'a';
    if (!open_by_other(path) ||
        !comes_true(mr->file, DAXPIN_STATE_REVOKED) || (*registered != 0)) {
        return fail("it is not revoked and released");
    }
    if (first_byte(path) != 'd') {
        printf("the file has '%c'\n", first_byte(path));
        return fail("the device's last byte is not in the file");
    }
    (void)uct_daxpin_mr_dereg(mr);
    daxpin_file_unadopt(file, memory, LENGTH);
    daxpin_file_close(file);
    munmap(memory, LENGTH);
    unlink(path);
    return 1;
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir) != NULL) {
        ++count;
    }
    closedir(dir);
    return count;
}

/* Register and release. Return whether it ends with `status`, by a way that has
 * this word in it, and leaves nothing open. */
static int try_way(uct_md_h md, uct_daxpin_mr_caps_t *caps, void *memory,
                   int errno_of_device, ucs_status_t status,
                   const char *word)
{
    const int fds   = count_fds();
    const char *how = "";
    ucs_status_t got;
    uct_daxpin_mr_t *mr;

    *error = errno_of_device;
    got    = uct_daxpin_mr_reg(md, caps, memory, LENGTH, &mr, &how);
    if ((got != status) || (strstr(how, word) == NULL)) {
        printf("%s: %s, and not %s\n", ucs_status_string(got), how, word);
        return 0;
    }
    if ((got == UCS_OK) && ((*registered != 1) ||
                            (uct_daxpin_mr_dereg(mr) != UCS_OK))) {
        return fail("there is not one registration");
    }
    if (*registered != 0) {
        return fail("it is not released once");
    }
    return (count_fds() == fds) ? 1 : fail("a descriptor is left");
}

/* With the pin module's dma-buf: who takes it, who does not, and what else they
 * have */
static int test_dmabuf(uct_md_h md, const char *path)
{
    daxpin_file_t *file;
    uct_daxpin_mr_caps_t odp  = {.is_known = 1, .has_odp = 1};
    uct_daxpin_mr_caps_t none = {.is_known = 1};
    void *memory              = adopt_file(path, &file);
    int ok;

    has_dmabuf = 1;
    if (memory == NULL) {
        return fail("it cannot be adopted");
    }
    ok = try_way(md, &none, memory, 0, UCS_OK, "as a dma-buf") &&
         try_way(md, &none, memory, ENOMEM, UCS_ERR_NO_RESOURCE,
                 "memory") &&
         try_way(md, &none, memory, ENODEV, UCS_ERR_NO_RESOURCE,
                 "revoked") &&
         try_way(md, &none, memory, 0, UCS_OK, "as a dma-buf") &&
         try_way(md, &none, memory, EOPNOTSUPP, UCS_ERR_UNSUPPORTED,
                 "takes no dma-buf") &&
         try_way(md, &odp, memory, 0, UCS_OK, "as a dma-buf") &&
         try_way(md, &odp, memory, EOPNOTSUPP, UCS_OK, "on demand");
    if (ok && ((*dmabufs != 7) || (*dmabuf_offset != DMABUF_OFFSET))) {
        ok = fail("not each dma-buf was tried, at its offset");
    }
    /* What the device does not take is not tried again */
    ok = ok && try_way(md, &odp, memory, 0, UCS_OK, "on demand") &&
         try_way(md, &none, memory, 0, UCS_ERR_UNSUPPORTED,
                 "takes no dma-buf");
    if (ok && (*dmabufs != 7)) {
        ok = fail("a dma-buf was tried again");
    }
    has_dmabuf = 0;
    give_back(path, memory, file);
    return ok;
}

/* With the pin module's mapping: a revoke comes while the device registers it, or
 * later */
static int test_alias(uct_md_h md, const char *path)
{
    daxpin_file_t *file;
    uct_daxpin_mr_caps_t none = {.is_known = 1};
    void *memory              = adopt_file(path, &file);
    int ok;

    if (memory == NULL) {
        return fail("it cannot be adopted");
    }
    has_alias = 1;
    ok        = try_way(md, &none, memory, 0, UCS_ERR_NO_RESOURCE, "revoked");
    has_alias = 2;
    ok        = ok && try_way(md, &none, memory, 0, UCS_OK, "pinned");
    has_alias = 0;
    give_back(path, memory, file);
    return ok;
}

/* Why it is not registered is said, and what to do about it. */
static int test_reasons(uct_md_h md, const char *path)
{
    daxpin_file_t *file;
    static const struct {
        int        error;
        const char *word;
    } pins[] = {
        {-ENOMEM, "ulimit -l"},
        {-EMFILE, "ulimit -n"},
        {-ENFILE, "ulimit -n"},
        {-EPERM, "not under lease"},
        {-EOPNOTSUPP, "UCX_LOG_LEVEL"}
    };
    uct_daxpin_mr_caps_t none = {.is_known = 1};
    uct_daxpin_mr_caps_t odp  = {.is_known = 1, .has_odp = 1};
    void *memory              = adopt_file(path, &file);
    size_t i;
    int ok;

    if (memory == NULL) {
        return fail("it cannot be adopted");
    }
    ok = try_way(md, &odp, alias, 0, UCS_ERR_BUSY, "UCX_DAXPIN_FILES");
    for (i = 0; ok && (i < sizeof(pins) / sizeof(pins[0])); ++i) {
        pin_error = pins[i].error;
        ok        = try_way(md, &odp, memory, 0, UCS_ERR_BUSY, pins[i].word);
    }
    pin_error  = 0;
    has_dmabuf = -EMFILE;
    ok         = ok && try_way(md, &none, memory, 0, UCS_ERR_NO_RESOURCE,
                               "ulimit -n");
    has_dmabuf = 0;
    give_back(path, memory, file);
    return ok;
}

/* Register memory as daxpin's own memory domain does, and then with the device. */
static uct_daxpin_mr_t *add_mapped(uct_md_h md, void *memory,
                                   uct_daxpin_memh_t *memh)
{
    uct_daxpin_mr_caps_t caps = {.is_known = 1, .has_odp = 1};
    const char *how           = "";
    uct_daxpin_mr_t *mr;
    uint32_t rkey;

    memset(memh, 0, sizeof(*memh));
    memh->va     = (uintptr_t)memory;
    memh->length = LENGTH;
    if (daxpin_file_adopt(memory, LENGTH, NULL, &memh->file, &memh->offset) !=
        0) {
        printf("%s\n", daxpin_errormsg());
        return NULL;
    }
    uct_daxpin_mapped_add(memh);
    if (!uct_daxpin_mapped_has_file(memory, LENGTH) ||
        uct_daxpin_mapped_mr_key(md, memory, LENGTH, &rkey)) {
        printf("there is a key before there is a registration\n");
        return NULL;
    }
    if (uct_daxpin_mr_reg(md, &caps, memory, LENGTH, &mr, &how) != UCS_OK) {
        printf("%s\n", how);
        return NULL;
    }
    if (!uct_daxpin_mapped_add_mr(mr) ||
        !uct_daxpin_mapped_mr_key(md, memory, LENGTH, &rkey) ||
        (rkey != mr->super.rkey)) {
        printf("its key is not found\n");
        return NULL;
    }
    return mr;
}

static void remove_mapped(uct_daxpin_memh_t *memh)
{
    uct_daxpin_mapped_remove(memh);
    daxpin_file_unadopt(memh->file, (void*)memh->va, LENGTH);
    daxpin_file_close(memh->file);
}

/* Have a registered file revoked. kept: the device keeps what the revoke has
 * ended. Return 0 if it has a key after that. */
static int end_mapped(uct_md_h md, const char *path, uct_daxpin_mr_t *mr,
                      int kept)
{
    uint32_t rkey;

    if (kept) {
        daxpin_file_set_distant(mr->file);
    }
    if (!truncate_by_other(path) ||
        !comes_true(mr->file, DAXPIN_STATE_REVOKED) || (*registered != kept)) {
        return fail("after the revoke it is not as it should be");
    }
    return (uct_daxpin_mapped_mr_key(md, mr->address, LENGTH, &rkey) ||
            uct_daxpin_mapped_has_file(mr->address, LENGTH)) ?
                   fail("a revoked file has a key still") :
                   1;
}

/* End two registrations of one address, of which the last has a region, and what is
 * mapped there. what: what that region is of. */
static int end_two(uct_md_h md, uct_daxpin_memh_t *first,
                   uct_daxpin_memh_t *second, const uct_daxpin_mr_t *mr,
                   const char *what)
{
    void *memory = (void*)second->va;
    uint32_t rkey;

    remove_mapped(first);
    if ((*registered != 1) ||
        !uct_daxpin_mapped_mr_key(md, memory, LENGTH, &rkey) ||
        (rkey != mr->super.rkey)) {
        return fail(what);
    }
    remove_mapped(second);
    munmap(memory, LENGTH);
    return (*registered == 0) ? 1 : fail("not all is released");
}

/* A key is of the file that is mapped now, and not of the one before, which was
 * revoked or not. */
static int test_mapped(uct_md_h md, const char *path, int revoked, int kept)
{
    char *memory = map_file(path);
    uct_daxpin_memh_t first, second;
    uct_daxpin_mr_t *mr, *last;
    char other[4096];
    int ok;

    snprintf(other, sizeof(other), "%s-other", path);
    mr = (memory != MAP_FAILED) ? add_mapped(md, memory, &first) : NULL;
    if (mr == NULL) {
        return fail("it is not registered");
    }
    if (revoked && !end_mapped(md, path, mr, kept)) {
        return 0;
    }
    last = (map_file_at(other, memory) == memory) ?
                   add_mapped(md, memory, &second) : NULL;
    if (last == NULL) {
        return fail("another file in its place is not registered");
    }
    if (uct_daxpin_mapped_add_mr(mr) || (*registered != 1 + kept)) {
        return fail("a region of the former file is taken for the other's");
    }
    ok = end_two(md, &first, &second, last,
                 "what is left is not the other file's region");
    unlink(path);
    unlink(other);
    return ok;
}

/* A key is of the part of the file that is mapped now, and not of the one that was
 * mapped at that address before. */
static int test_parts(uct_md_h md, const char *path)
{
    char *memory = map_file(path);
    const int fd = open(path, O_RDWR);
    uct_daxpin_memh_t first, second;
    uct_daxpin_mr_t *mr, *other;
    int ok;

    if ((memory == MAP_FAILED) || (fd < 0) ||
        (ftruncate(fd, 2 * LENGTH) != 0)) {
        return fail("there is no file of two parts");
    }
    mr = add_mapped(md, memory, &first);
    if ((mr == NULL) ||
        (mmap(memory, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
              fd, LENGTH) != memory)) {
        return fail("a part is not registered, or the other not mapped");
    }
    other = add_mapped(md, memory, &second);
    if ((other == NULL) || uct_daxpin_mapped_add_mr(mr)) {
        return fail("the other part is not registered, or taken for the first");
    }
    ok = end_two(md, &first, &second, other,
                 "what is left is not the region of the other part");
    close(fd);
    unlink(path);
    return ok;
}

int main(int argc, char **argv)
{
    uct_md_ops_t ops           = {.query = no_query};
    struct ibv_context context = {.cmd_fd = -1};
    struct ibv_pd pd           = {.context = &context};
    uct_ib_md_t md             = {.super = {.ops = &ops}, .pd = &pd};
    const char *files[]        = {argv[argc - 1], NULL};
    uct_daxpin_mr_caps_t caps;
    char path[4096];
    void *verbs;

    verbs = (argc == 3) ? dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    if ((verbs == NULL) || (daxpin_set_files(files) != 0)) {
        fprintf(stderr, "usage: demand VERBS DIRECTORY\n");
        return 2;
    }
    registered = dlsym(verbs, "verbs_registered");
    failures   = dlsym(verbs, "verbs_failures");
    dmabufs    = dlsym(verbs, "verbs_dmabufs");
    error      = dlsym(verbs, "verbs_error");
    dmabuf_offset = dlsym(verbs, "verbs_offset");
    snprintf(path, sizeof(path), "%s/demand", argv[2]);
    uct_daxpin_mr_query(&md.super, "none", &caps); /* Finds the functions */
    return !(test(&md.super, path, 0, 0, 0) &&
             test(&md.super, path, 1, 0, 0) &&
             test(&md.super, path, 1, 1, 0) &&
             test(&md.super, path, 1, 0, 1) &&
             test_last_write(&md.super, path) &&
             test_dmabuf(&md.super, path) &&
             test_alias(&md.super, path) &&
             test_reasons(&md.super, path) &&
             test_parts(&md.super, path) &&
             test_mapped(&md.super, path, 0, 1) &&
             test_mapped(&md.super, path, 1, 0) &&
             test_mapped(&md.super, path, 1, 1));
}
