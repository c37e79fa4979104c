/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What the program has asked of its mappings */

#include "advice.h"

#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *flag;  /* in the line VmFlags */
    unsigned   advice;
    int        call;   /* of madvise(); -1: none */
    const char *name;
} daxpin_advices[] = {
    {"lo", DAXPIN_ADVICE_LOCK, -1, "mlock"},
    {"lf", DAXPIN_ADVICE_ONFAULT, -1, "mlock2"},
    {"lo ??", DAXPIN_ADVICE_ONFAULT, -1, "mlock2"}, /* the same on Linux 6.1 */
    {"dc", DAXPIN_ADVICE_DONTFORK, MADV_DONTFORK, "MADV_DONTFORK"},
    {"dd", DAXPIN_ADVICE_DONTDUMP, MADV_DONTDUMP, "MADV_DONTDUMP"},
    {"rr", DAXPIN_ADVICE_RANDOM, MADV_RANDOM, "MADV_RANDOM"},
    {"sr", DAXPIN_ADVICE_SEQUENTIAL, MADV_SEQUENTIAL, "MADV_SEQUENTIAL"},
    {"hg", DAXPIN_ADVICE_HUGEPAGE, MADV_HUGEPAGE, "MADV_HUGEPAGE"},
    {"nh", DAXPIN_ADVICE_NOHUGEPAGE, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE"},
    {"um", DAXPIN_ADVICE_USERFAULT, -1, "userfaultfd"},
    {"uw", DAXPIN_ADVICE_USERFAULT, -1, "userfaultfd"},
    {"ui", DAXPIN_ADVICE_USERFAULT, -1, "userfaultfd"}
};

#define DAXPIN_ADVICES (sizeof(daxpin_advices) / sizeof(daxpin_advices[0]))

/* Parse the flags, "rd wr sh lo". */
static unsigned daxpin_advice_parse(const char *flags)
{
    unsigned advice = 0;
    const char *flag;
    size_t i;

    for (i = 0; i < DAXPIN_ADVICES; ++i) {
        for (flag = strstr(flags, daxpin_advices[i].flag); flag != NULL;
             flag = strstr(flag + 1, daxpin_advices[i].flag)) {
            if ((flag > flags) && (flag[-1] == ' ')) {
                advice |= daxpin_advices[i].advice;
            }
        }
    }
    return advice;
}

int daxpin_advice_each(daxpin_advice_func_t func, void *arg)
{
    unsigned long start = 0, end = 0, from, to;
    unsigned key        = 0;
    char line[PATH_MAX + 128], perms[5];
    int ret    = 0;
    FILE *file = fopen("/proc/self/smaps", "re");

    if (file == NULL) {
        return -errno;
    }
    /* Each mapping has a first line as in maps, and VmFlags as its last */
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, perms) == 3) {
            start = from;
            end   = to;
            key   = 0;
        } else if (strncmp(line, "VmFlags:", 8) == 0) {
            func(start, end, daxpin_advice_parse(line + 8) |
                 ((key != 0) ? DAXPIN_ADVICE_KEY : 0), arg);
        } else {
            (void)sscanf(line, "ProtectionKey: %u", &key);
        }
    }
    if (ferror(file)) {
        ret = -EIO;
    }
    fclose(file);
    return ret;
}

static int daxpin_advice_advise(uintptr_t start, uintptr_t end, unsigned advice,
                                const char **name_p)
{
    size_t i;

    for (i = 0; i < DAXPIN_ADVICES; ++i) {
        if ((advice & daxpin_advices[i].advice) &&
            (daxpin_advices[i].call >= 0) &&
            (madvise((void*)start, end - start, daxpin_advices[i].call) != 0)) {
            *name_p = daxpin_advices[i].name;
            return -errno;
        }
    }
    return 0;
}

static int daxpin_advice_lock(uintptr_t start, uintptr_t end, int flags,
                              const char **name_p)
{
    *name_p = "mlock";
    return (mlock2((void*)start, end - start, flags) == 0) ? 0 : -errno;
}

/* The limit counts all that is locked: one page of it tells. */
int daxpin_advice_check(uintptr_t start, uintptr_t end, unsigned advice,
                        const char **name_p)
{
    int ret = daxpin_advice_advise(start, end, advice, name_p);

    return ((ret != 0) || !(advice & DAXPIN_ADVICE_LOCK)) ? ret :
           daxpin_advice_lock(start, start + (uintptr_t)sysconf(_SC_PAGESIZE),
                              (advice & DAXPIN_ADVICE_ONFAULT) ?
                              MLOCK_ONFAULT : 0, name_p);
}

int daxpin_advice_apply(uintptr_t start, uintptr_t end, unsigned advice,
                        const char **name_p)
{
    int ret = daxpin_advice_advise(start, end, advice, name_p);

    return ((ret != 0) || !(advice & DAXPIN_ADVICE_LOCK)) ? ret :
           daxpin_advice_lock(start, end, MLOCK_ONFAULT, name_p);
}

int daxpin_advice_fills(unsigned advice)
{
    return (advice & DAXPIN_ADVICE_LOCK) && !(advice & DAXPIN_ADVICE_ONFAULT);
}

void daxpin_advice_fill(uintptr_t start, uintptr_t end)
{
    (void)mlock2((void*)start, end - start, 0);
}

void daxpin_policy_get(uintptr_t addr, daxpin_policy_t *policy)
{
    memset(policy, 0, sizeof(*policy));
    if (syscall(SYS_get_mempolicy, &policy->mode, policy->nodes,
                (unsigned long)DAXPIN_POLICY_NODES, addr, MPOL_F_ADDR) != 0) {
        policy->mode = MPOL_DEFAULT;
    }
}

int daxpin_policy_apply(uintptr_t start, uintptr_t end,
                        const daxpin_policy_t *policy)
{
    daxpin_policy_t now;

    daxpin_policy_get(start, &now);
    if ((now.mode == policy->mode) &&
        (memcmp(now.nodes, policy->nodes, sizeof(now.nodes)) == 0)) {
        return 0;
    }
    return (syscall(SYS_mbind, start, end - start, policy->mode, policy->nodes,
                    (unsigned long)DAXPIN_POLICY_NODES, 0) == 0) ? 0 : -errno;
}
