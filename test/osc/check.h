/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TEST_CHECK_H_
#define DAXPIN_TEST_CHECK_H_

/* Checks that end the whole job when they fail */

#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int check_rank, check_size;

/* Report an error and end the job */
__attribute__((format(printf, 1, 2), noreturn, unused))
static void fail(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    printf("rank %d: ", check_rank);
    vprintf(format, ap);
    printf("\n");
    va_end(ap);
    fflush(stdout);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

#define check(_condition, ...) \
    do { \
        if (!(_condition)) { \
            fail(__VA_ARGS__); \
        } \
    } while (0)

__attribute__((unused))
static void check_mpi(int ret, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;

    if (ret != MPI_SUCCESS) {
        MPI_Error_string(ret, text, &length);
        fail("%s: %s", what, text);
    }
}

__attribute__((unused))
static void check_class(int ret, int class, const char *what)
{
    int is = MPI_SUCCESS;

    if (ret != MPI_SUCCESS) {
        MPI_Error_class(ret, &is);
    }
    check(is == class, "%s: error class %d, wanted %d", what, is, class);
}

__attribute__((unused))
static void check_init(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

#endif
