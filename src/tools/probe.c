/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin-probe: a rank of the job that `daxpin doctor` starts */

/*
 * It exposes a file to the other ranks, as a program does that does not know
 * daxpin, and prints what it found.
 *
 * usage: daxpin-probe DIRECTORY NAMED
 *
 * DIRECTORY: of this user alone. The rank makes it if this node has none, and
 * removes it at the end, unless another rank has a file in it.
 * NAMED: 1 if UCX_DAXPIN_FILES names the directory or need not.
 */

#include "probe.h"

#include "ompi_config.h"

#include "ompi/mca/osc/osc.h"
#include "ompi/win/win.h"

#include "wire/report.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_TIME   120 /* seconds, for all of it */
#define PROBE_LENGTH 65536

static int probe_rank, probe_size;

static void probe_print(const char *key, const char *value)
{
    char line[PATH_MAX + 256];
    int length;

    /* One write(): other ranks write to the same pipe */
    length = snprintf(line, sizeof(line), PROBE_LABEL "%d %s %s\n", probe_rank,
                      key, value);
    if (write(STDOUT_FILENO, line, (size_t)length) != length) {
        _exit(1);
    }
}

static void probe_print_error(const char *key, int error)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;

    MPI_Error_string(error, text, &length);
    probe_print(key, text);
}

/* Print the file name of the UCX plug-in if this process has loaded it */
static void probe_print_plugin(void)
{
    char line[PATH_MAX + 128];
    const char *found = NULL;
    FILE *maps        = fopen("/proc/self/maps", "re");

    while ((maps != NULL) && (found == NULL) &&
           (fgets(line, sizeof(line), maps) != NULL)) {
        line[strcspn(line, "\n")] = '\0';
        found                     = strstr(line, "/libuct_daxpin.so");
    }
    if (maps != NULL) {
        fclose(maps);
    }
    probe_print(PROBE_KEY_MODULE, (found != NULL) ? strchr(line, '/') : "none");
}

/* Print the component behind a window: "ucx" for "/.../mca_osc_ucx.so" */
static void probe_print_osc(MPI_Win win)
{
    char name[64] = "not known";
    const char *file;
    Dl_info info;

    if (dladdr((void*)win->w_osc_module->osc_put, &info) != 0) {
        file = strstr(info.dli_fname, "mca_osc_");
        if (file != NULL) {
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(file + 8, "."),
                     file + 8);
        }
    }
    probe_print(PROBE_KEY_OSC, name);
}

static int probe_report_has(int fd, ino_t ino)
{
    const daxpin_report_t *report;
    int found = 0;
    unsigned i;

    report = mmap(NULL, sizeof(*report), PROT_READ, MAP_SHARED, fd, 0);
    if (report == MAP_FAILED) {
        return 0;
    }
    for (i = 0; (i < DAXPIN_REPORT_RECORDS) &&
                (report->magic == DAXPIN_REPORT_MAGIC); ++i) {
        found |= report->records[i].used && (report->records[i].ino == ino) &&
                 (report->records[i].pins > 0);
    }
    munmap((void*)report, sizeof(*report));
    return found;
}

/* Check whether the report of this process has pins of a file */
static int probe_is_pinned(ino_t ino)
{
    char target[PATH_MAX];
    struct dirent *entry;
    int found = 0;
    ssize_t length;
    DIR *dir;

    dir = opendir("/proc/self/fd");
    while ((dir != NULL) && ((entry = readdir(dir)) != NULL)) {
        length = readlinkat(dirfd(dir), entry->d_name, target,
                            sizeof(target) - 1);
        target[(length > 0) ? length : 0] = '\0';
        if (strncmp(target, DAXPIN_REPORT_LINK,
                    strlen(DAXPIN_REPORT_LINK)) == 0) {
            found |= probe_report_has(atoi(entry->d_name), ino);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return found;
}

/* Put a number into the window of the next rank, and check the own window */
static int probe_put(MPI_Win win, const volatile int *mine)
{
    int next = (probe_rank + 1) % probe_size, value = probe_rank + 1;
    int before = (probe_rank + probe_size - 1) % probe_size;
    int ret;

    ret = MPI_Win_lock_all(0, win);
    if (ret != MPI_SUCCESS) {
        return ret;
    }
    ret = MPI_Put(&value, 1, MPI_INT, next, 0, 1, MPI_INT, win);
    if (ret == MPI_SUCCESS) {
        ret = MPI_Win_flush(next, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_sync(win);
    if (ret == MPI_SUCCESS) {
        probe_print(PROBE_KEY_DATA,
                    (*mine == before + 1) ? "yes" : "the data is not there");
    }
    MPI_Win_unlock_all(win);
    return ret;
}

/* Make a window of a new file that this process has mapped */
static void probe_window(const char *dir)
{
    char path[PATH_MAX];
    struct stat st = {0};
    int *memory    = MAP_FAILED;
    MPI_Win win;
    int fd, ret;

    snprintf(path, sizeof(path), "%s/daxpin-probe.%d.%d", dir, (int)getpid(),
             probe_rank);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if ((fd >= 0) && (posix_fallocate(fd, 0, PROBE_LENGTH) == 0) &&
        (fstat(fd, &st) == 0)) {
        memory = mmap(NULL, PROBE_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
                      fd, 0);
    }
    if (memory == MAP_FAILED) {
        perror(path); /* the other ranks wait in MPI_Win_create() */
        unlink(path);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    ret = MPI_Win_create(memory, PROBE_LENGTH, 1, MPI_INFO_NULL,
                         MPI_COMM_WORLD, &win);
    if (ret != MPI_SUCCESS) {
        probe_print_error(PROBE_KEY_OSC, ret);
        goto out;
    }
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    probe_print_osc(win);
    probe_print(PROBE_KEY_LEASE, probe_is_pinned(st.st_ino) ? "yes" : "no");
    ret = probe_put(win, memory);
    if (ret != MPI_SUCCESS) {
        probe_print_error(PROBE_KEY_DATA, ret);
    }
    MPI_Win_free(&win);
out:
    munmap(memory, PROBE_LENGTH);
    close(fd);
    unlink(path);
}

/* Allocate a window in a file that the window's info names */
static void probe_named_window(const char *dir)
{
    char path[PATH_MAX], value[MPI_MAX_INFO_VAL + 1];
    int flag = 0, ret;
    MPI_Info info;
    MPI_Win win;
    void *base;

    snprintf(path, sizeof(path), "%s/daxpin-probe.window.%%h.%%r", dir);
    MPI_Info_create(&info);
    MPI_Info_set(info, "daxpin_path", path);
    MPI_Info_set(info, "daxpin_unlink", "true");
    ret = MPI_Win_allocate(PROBE_LENGTH, 1, info, MPI_COMM_WORLD, &base, &win);
    MPI_Info_free(&info);
    if (ret != MPI_SUCCESS) {
        probe_print_error(PROBE_KEY_WINDOW, ret);
        return;
    }
    MPI_Win_get_info(win, &info);
    MPI_Info_get(info, "daxpin_holder", MPI_MAX_INFO_VAL, value, &flag);
    MPI_Info_free(&info);
    probe_print(PROBE_KEY_WINDOW, flag ? "yes" : "ordinary memory");
    MPI_Win_free(&win);
}

static void probe_print_process(void)
{
    char text[256];
    struct rlimit limit;
    const char *md = getenv("UCX_MD");

    snprintf(text, sizeof(text), "%d", probe_size);
    probe_print(PROBE_KEY_SIZE, text);
    gethostname(text, sizeof(text));
    probe_print(PROBE_KEY_HOST, text);
    probe_print(PROBE_KEY_MD, (md != NULL) ? md : "not set");
    getrlimit(RLIMIT_MEMLOCK, &limit);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)limit.rlim_cur);
    probe_print(PROBE_KEY_MEMLOCK,
              (limit.rlim_cur == RLIM_INFINITY) ? "unlimited" : text);
    probe_print_plugin();
}

/* Have daxpin take care of files in a directory */
static void probe_name_dir(const char *dir)
{
    const char *files = getenv("UCX_DAXPIN_FILES");
    char value[PATH_MAX + 1024];

    snprintf(value, sizeof(value), "%s,%s",
             ((files != NULL) && (files[0] != '\0')) ? files : "fsdax", dir);
    setenv("UCX_DAXPIN_FILES", value, 1);
}

/* Make the directory, or check that it is this user's alone: the names in it are
 * known to all. Return 0, or -1 after a message. */
static int probe_make_dir(const char *dir)
{
    struct stat st;

    if (mkdir(dir, 0700) == 0) {
        return 0;
    }
    if ((errno == EEXIST) && (lstat(dir, &st) == 0)) {
        if (S_ISDIR(st.st_mode) && (st.st_uid == geteuid()) &&
            !(st.st_mode & (S_IRWXG | S_IRWXO))) {
            return 0;
        }
        errno = EPERM;
    }
    fprintf(stderr, "%s: cannot use this directory: %s; the one above it has "
            "to be on each node, and be writable there\n", dir,
            strerror(errno));
    return -1;
}

int main(int argc, char **argv)
{
    const char *dir;

    if (argc != 3) {
        fprintf(stderr, "This is a part of `daxpin doctor`.\n");
        return 2;
    }
    dir = argv[1];
    alarm(PROBE_TIME);
    if (probe_make_dir(dir) != 0) {
        return 1;
    }
    if (strcmp(argv[2], "1") != 0) {
        probe_name_dir(dir);
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &probe_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &probe_size);
    probe_print_process();
    probe_window(dir);
    probe_named_window(dir);
    MPI_Finalize();
    rmdir(dir);
    return 0;
}
