/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* daxpin doctor: a job whose ranks report what they got */

#include "checkup.h"
#include "env.h"
#include "launcher.h"
#include "list.h"
#include "probe.h"

#include "daxpin/os/fstype.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JOB_TIME      180 /* seconds */
#define JOB_RANKS_MAX 4096
#define JOB_KEY_MAX   16
#define JOB_VALUE_MAX 512

#define JOB_REMOVE_TRIES 40
#define JOB_REMOVE_PAUSE 50000000 /* ns */

/* A line that a rank printed */
typedef struct job_line {
    int  rank;
    char key[JOB_KEY_MAX];
    char value[JOB_VALUE_MAX];
} job_line_t;

typedef struct job {
    char       *output;
    job_line_t *lines;
    size_t     count;
    int        size;   /* of MPI_COMM_WORLD; 0: no rank answered */
} job_t;

/* What the value of a key should be */
typedef struct job_rule {
    const char *key;
    const char *name;
    const char *wanted;   /* the value, a list, has an element of this list;
                             NULL: the value is not `unwanted` */
    const char *unwanted;
    const char *good;
    const char *advice;
} job_rule_t;

static const job_rule_t job_rules[] = {
    { PROBE_KEY_MD, "job: UCX_MD", "daxpin", NULL, "names daxpin",
      "pass it on: mpirun -x UCX_MD=daxpin" },
    { PROBE_KEY_MODULE, "job: UCX module", NULL, "none", "is loaded",
      "hook_daxpin did not load it; it needs UCX_MD=daxpin, "
      "OMPI_MCA_opal_mca_base_component_path and DAXPIN_UCX_MODULE, which "
      "`eval \"$(daxpin env)\"` sets and mpirun -x passes to other nodes" },
    { PROBE_KEY_OSC, "job: osc", "daxpin,ucx", NULL, "is daxpin or ucx",
      "daxpin does not protect windows; see osc_daxpin and osc above, and "
      "options of the launcher" },
    { PROBE_KEY_LEASE, "job: lease", "yes", NULL,
      "a window's file is pinned under lease",
      "a window's file is not under lease: a truncate crashes the job; see the "
      "other findings" },
    { PROBE_KEY_DATA, "job: data", "yes", NULL,
      "MPI_Put writes into the file of the other rank",
      "MPI_Put does not work" },
    { PROBE_KEY_WINDOW, "job: osc_daxpin", "yes", NULL,
      "makes windows in files that their info names",
      "windows whose info names a file are not in that file; see osc_daxpin "
      "above" }
};

/*
 * Output of the ranks
 */

static int job_add(job_t *job, const char *line)
{
    job_line_t *lines, *last;

    lines = realloc(job->lines, (job->count + 1) * sizeof(*lines));
    if (lines == NULL) {
        return -ENOMEM;
    }
    job->lines = lines;
    last       = &lines[job->count];
    if ((sscanf(line, PROBE_LABEL "%d %15s %511[^\n]", &last->rank, last->key,
                last->value) != 3) ||
        (last->rank < 0) || (last->rank >= JOB_RANKS_MAX)) {
        return 0;
    }
    if (strcmp(last->key, PROBE_KEY_SIZE) == 0) {
        job->size = atoi(last->value);
    }
    ++job->count;
    return 0;
}

/* The launcher may begin each line with something, such as the rank */
static void job_parse(job_t *job)
{
    const char *p = job->output;

    while ((p != NULL) && ((p = strstr(p, PROBE_LABEL)) != NULL)) {
        if (job_add(job, p) != 0) {
            return;
        }
        p = strchr(p, '\n');
    }
}

static const char *job_value(const job_t *job, int rank, const char *key)
{
    size_t i;

    for (i = 0; i < job->count; ++i) {
        if ((job->lines[i].rank == rank) &&
            (strcmp(job->lines[i].key, key) == 0)) {
            return job->lines[i].value;
        }
    }
    return NULL;
}

/* Collect the lines that the probe did not print: errors of the launcher */
static void job_tail(const char *output, char *text, size_t size)
{
    char *copy = strdup((output != NULL) ? output : ""), *line, *save = NULL;
    size_t used = 0, length;

    text[0] = '\0';
    for (line = (copy != NULL) ? strtok_r(copy, "\n", &save) : NULL;
         line != NULL; line = strtok_r(NULL, "\n", &save)) {
        length = strlen(line);
        if ((strstr(line, PROBE_LABEL) != NULL) || (length < 4) ||
            (strspn(line, "-=* ") == length)) {
            continue;
        }
        if (used + length + 3 < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s",
                                     (used > 0) ? " | " : "", line);
        }
    }
    free(copy);
}

/*
 * Findings
 */

static int job_is_good(const job_rule_t *rule, const char *value)
{
    const char *wanted = rule->wanted;
    char element[32];

    if (wanted == NULL) {
        return strcmp(value, rule->unwanted) != 0;
    }
    while (daxpin_list_next(&wanted, element, sizeof(element))) {
        if (daxpin_list_has(value, element)) {
            return 1;
        }
    }
    return 0;
}

static void job_check_rule(daxpin_checkup_t *checkup, const job_t *job,
                           const job_rule_t *rule)
{
    char ranks[256] = "", number[16];
    const char *value, *bad = NULL;
    unsigned count  = 0;
    int rank;

    for (rank = 0; rank < job->size; ++rank) {
        value = job_value(job, rank, rule->key);
        if ((value != NULL) && job_is_good(rule, value)) {
            continue;
        }
        bad  = (bad != NULL) ? bad : (value != NULL) ? value : "not reported";
        snprintf(number, sizeof(number), "%d", rank);
        if (count++ < 16) {
            daxpin_list_append(ranks, sizeof(ranks), ",", number);
        }
    }
    if (count == 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, rule->name,
                           "%s (%d ranks)", rule->good, job->size);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, rule->name,
                           "rank%s %s%s: \"%s\"; %s", (count > 1) ? "s" : "",
                           ranks, (count > 16) ? ",..." : "", bad,
                           rule->advice);
    }
}

static void job_check_hosts(daxpin_checkup_t *checkup, const job_t *job)
{
    char hosts[1024] = "";
    const char *value;
    int rank;

    for (rank = 0; rank < job->size; ++rank) {
        value = job_value(job, rank, PROBE_KEY_HOST);
        if ((value != NULL) && !daxpin_list_has(hosts, value)) {
            daxpin_list_append(hosts, sizeof(hosts), ",", value);
        }
    }
    daxpin_checkup_add(checkup, DAXPIN_FINDING_OK, "job", "%d ranks on %s",
                       job->size, hosts);
}

static void job_add_findings(daxpin_checkup_t *checkup, const job_t *job,
                             int status)
{
    char tail[2048];
    size_t i;

    job_tail(job->output, tail, sizeof(tail));
    if (job->size == 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "job",
                           "no rank answered%s: %s",
                           (status == 124) ? " in time" :
                           (status == 127) ? ", the launcher is not in PATH" :
                                             "", tail);
        return;
    }
    job_check_hosts(checkup, job);
    for (i = 0; i < sizeof(job_rules) / sizeof(job_rules[0]); ++i) {
        job_check_rule(checkup, job, &job_rules[i]);
    }
    if (status != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "job",
                           "ended with status %d: %s", status, tail);
    }
}

/*
 * The job
 */

static int job_set(const char *name, const char *value)
{
    return setenv(name, value, 1);
}

/* This job shows whether the installation works. What the user's environment
 * lacks, other findings report: set it. */
static void job_prepare(daxpin_checkup_t *checkup)
{
    daxpin_env_walk(&checkup->place, job_set);
    daxpin_env_add("UCX_MD", "daxpin", ',', 0, job_set);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
}

/* Return where the job's file is if no directory was good for it. In a
 * container, /tmp may be on an overlay, which daxpin refuses. */
static const char *job_spare_dir(void)
{
    const char *dir = getenv("TMPDIR");
    daxpin_fstype_t type;

    dir = ((dir != NULL) && (dir[0] != '\0')) ? dir : "/tmp";
    (void)daxpin_fstype_of_path(dir, &type);
    return ((type.why == NULL) || daxpin_fstype_allows_any()) ? dir :
                                                                "/dev/shm";
}

/* Make a directory for the files of the job, which nobody else can write to, at a
 * place for the job's files. Return 0 or -errno. */
static int job_make_dir(const char *place, char *dir, size_t size)
{
    if (snprintf(dir, size, "%s/daxpin-probe.XXXXXX", place) >= (int)size) {
        return -ENAMETOOLONG;
    }
    return (mkdtemp(dir) != NULL) ? 0 : -errno; /* of mode 0700 */
}

/* Remove the files in a directory. Return 0, or -1 with errno. */
static int job_empty_dir(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int error = 0;

    if (dir == NULL) {
        return -1;
    }
    while ((entry = readdir(dir)) != NULL) {
        if ((strcmp(entry->d_name, ".") != 0) &&
            (strcmp(entry->d_name, "..") != 0) &&
            (unlinkat(dirfd(dir), entry->d_name, 0) != 0) &&
            (errno != ENOENT)) {
            error = errno;
        }
    }
    closedir(dir);
    errno = error;
    return (error == 0) ? 0 : -1;
}

/* Remove the directory of the job with its files. The ranks may have done so; one
 * that did not end in time may still add a file. */
static void job_remove_dir(const char *dir)
{
    const struct timespec pause = {.tv_nsec = JOB_REMOVE_PAUSE};
    unsigned tries              = 0;

    while ((job_empty_dir(dir) != 0) || (rmdir(dir) != 0)) {
        if (errno == ENOENT) {
            return;
        }
        if ((errno != ENOTEMPTY) || (++tries == JOB_REMOVE_TRIES)) {
            fprintf(stderr, "daxpin doctor: cannot remove %s: %s\n", dir,
                    strerror(errno));
            return;
        }
        nanosleep(&pause, NULL);
    }
}

/* Start the job with its directory. Return as daxpin_capture(). */
static int job_start(daxpin_checkup_t *checkup, char **launcher, char *probe,
                     char *dir, job_t *job)
{
    char mpirun[] = "mpirun", n[] = "-n", two[] = "2";
    char oversubscribe[] = "--oversubscribe";
    char *own[]          = {mpirun, n, two, oversubscribe, NULL};
    char named[2];
    size_t count = 0;
    char **argv;
    int status;

    if (launcher == NULL) {
        job_prepare(checkup);
        launcher = own;
    }
    while (launcher[count] != NULL) {
        ++count;
    }
    argv = calloc(count + 4, sizeof(*argv));
    if (argv == NULL) {
        return -ENOMEM;
    }
    snprintf(named, sizeof(named), "%d", checkup->dir[0] != '\0');
    memcpy(argv, launcher, count * sizeof(*argv));
    argv[count]     = probe;
    argv[count + 1] = dir;
    argv[count + 2] = named;
    status          = daxpin_capture(argv, JOB_TIME, &job->output);
    free(argv);
    return status;
}

/* Start the job, and remove what it leaves. Return 0, or -errno if it has no
 * directory. */
static int job_run(daxpin_checkup_t *checkup, char **launcher, char *probe,
                   job_t *job, int *status_p)
{
    const char *place = (checkup->dir[0] != '\0') ? checkup->dir :
                                                    job_spare_dir();
    char dir[PATH_MAX];
    sigset_t before;
    int ret;

    daxpin_capture_block(&before);
    ret = job_make_dir(place, dir, sizeof(dir));
    if (ret == 0) {
        *status_p = job_start(checkup, launcher, probe, dir, job);
        job_remove_dir(dir);
    } else {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_BAD, "job",
                           "cannot start one: cannot make a directory for its "
                           "files in %s: %s; name another one (daxpin doctor "
                           "DIRECTORY)", place, strerror(-ret));
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ret;
}

/* Return whether a launcher starts programs of Open MPI, or say why not. */
static int job_can_start(daxpin_checkup_t *checkup, const char *launcher)
{
    if (!checkup->ompi && checkup->mpich) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_NOTE, "job",
                           "not started: it is a program of Open MPI");
        return 0;
    }
    if (daxpin_launcher_is_mpich(launcher)) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "job",
                           "cannot start one: %s is that of MPICH; name Open "
                           "MPI's, as in daxpin doctor -- mpirun.openmpi -n 2 "
                           "-x UCX_MD=daxpin", launcher);
        return 0;
    }
    return 1;
}

void daxpin_check_job(daxpin_checkup_t *checkup, char **launcher)
{
    char *probe = checkup->place.probe;
    job_t job   = {0};
    int status  = 0;

    if (!job_can_start(checkup, (launcher != NULL) ? launcher[0] : "mpirun")) {
        return;
    }
    if (access(probe, X_OK) != 0) {
        daxpin_checkup_add(checkup, DAXPIN_FINDING_WARN, "job",
                           "cannot start one: there is no %s; build daxpin "
                           "with Open MPI and install it", probe);
        return;
    }
    if (job_run(checkup, launcher, probe, &job, &status) == 0) {
        job_parse(&job);
        job_add_findings(checkup, &job, status);
    }
    free(job.lines);
    free(job.output);
}
