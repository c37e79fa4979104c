/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * Which operations MPI allows with which types. MPI_Reduce_local() knows, but
 * calls the error handler of MPI_COMM_WORLD, which is not the window's, and
 * mostly ends the job.
 */

#include "osc_daxpin_op.h"

typedef enum osc_daxpin_types {
    OSC_DAXPIN_INTEGER = 1 << 0, /* of C */
    OSC_DAXPIN_FORTRAN = 1 << 1, /* integers */
    OSC_DAXPIN_REAL    = 1 << 2,
    OSC_DAXPIN_COMPLEX = 1 << 3,
    OSC_DAXPIN_LOGICAL = 1 << 4,
    OSC_DAXPIN_PAIR    = 1 << 5,
    OSC_DAXPIN_OTHER   = 1 << 6,
    OSC_DAXPIN_ANY     = (1 << 7) - 1
} osc_daxpin_types_t;

#define OSC_DAXPIN_INTEGERS (OSC_DAXPIN_INTEGER | OSC_DAXPIN_FORTRAN)

/* The most frequent ones come first */
static const struct {
    const ompi_datatype_t *dt;
    osc_daxpin_types_t    types;
} osc_daxpin_types[] = {
    {MPI_INT64_T, OSC_DAXPIN_INTEGER},
    {MPI_UINT64_T, OSC_DAXPIN_INTEGER},
    {MPI_LONG, OSC_DAXPIN_INTEGER},
    {MPI_INT, OSC_DAXPIN_INTEGER},
    {MPI_DOUBLE, OSC_DAXPIN_REAL},
    {MPI_UNSIGNED_LONG, OSC_DAXPIN_INTEGER},
    {MPI_AINT, OSC_DAXPIN_INTEGER},
    {MPI_LONG_LONG, OSC_DAXPIN_INTEGER},
    {MPI_UNSIGNED_LONG_LONG, OSC_DAXPIN_INTEGER},
    {MPI_UNSIGNED, OSC_DAXPIN_INTEGER},
    {MPI_INT32_T, OSC_DAXPIN_INTEGER},
    {MPI_UINT32_T, OSC_DAXPIN_INTEGER},
    {MPI_FLOAT, OSC_DAXPIN_REAL},
    {MPI_OFFSET, OSC_DAXPIN_INTEGER},
    {MPI_COUNT, OSC_DAXPIN_INTEGER},
    {MPI_SHORT, OSC_DAXPIN_INTEGER},
    {MPI_UNSIGNED_SHORT, OSC_DAXPIN_INTEGER},
    {MPI_SIGNED_CHAR, OSC_DAXPIN_INTEGER},
    {MPI_UNSIGNED_CHAR, OSC_DAXPIN_INTEGER},
    {MPI_INT8_T, OSC_DAXPIN_INTEGER},
    {MPI_INT16_T, OSC_DAXPIN_INTEGER},
    {MPI_UINT8_T, OSC_DAXPIN_INTEGER},
    {MPI_UINT16_T, OSC_DAXPIN_INTEGER},
    {MPI_INTEGER, OSC_DAXPIN_FORTRAN},
    {MPI_LONG_DOUBLE, OSC_DAXPIN_REAL},
    {MPI_REAL, OSC_DAXPIN_REAL},
    {MPI_DOUBLE_PRECISION, OSC_DAXPIN_REAL},
    {MPI_C_FLOAT_COMPLEX, OSC_DAXPIN_COMPLEX},
    {MPI_C_DOUBLE_COMPLEX, OSC_DAXPIN_COMPLEX},
    {MPI_C_LONG_DOUBLE_COMPLEX, OSC_DAXPIN_COMPLEX},
    {MPI_COMPLEX, OSC_DAXPIN_COMPLEX},
    {MPI_DOUBLE_COMPLEX, OSC_DAXPIN_COMPLEX},
    {MPI_LOGICAL, OSC_DAXPIN_LOGICAL},
    {MPI_2INT, OSC_DAXPIN_PAIR},
    {MPI_FLOAT_INT, OSC_DAXPIN_PAIR},
    {MPI_DOUBLE_INT, OSC_DAXPIN_PAIR},
    {MPI_LONG_INT, OSC_DAXPIN_PAIR},
    {MPI_SHORT_INT, OSC_DAXPIN_PAIR},
    {MPI_LONG_DOUBLE_INT, OSC_DAXPIN_PAIR},
    {MPI_2REAL, OSC_DAXPIN_PAIR},
    {MPI_2DOUBLE_PRECISION, OSC_DAXPIN_PAIR},
    {MPI_2INTEGER, OSC_DAXPIN_PAIR},
    /* Open MPI takes these for integers, which MPI does not */
    {MPI_BYTE, OSC_DAXPIN_INTEGER},
    {MPI_CHAR, OSC_DAXPIN_INTEGER},
    {MPI_C_BOOL, OSC_DAXPIN_LOGICAL},
    {MPI_CXX_BOOL, OSC_DAXPIN_LOGICAL},
#ifdef MPI_CXX_FLOAT_COMPLEX
    {MPI_CXX_FLOAT_COMPLEX, OSC_DAXPIN_COMPLEX},
#endif
#ifdef MPI_CXX_DOUBLE_COMPLEX
    {MPI_CXX_DOUBLE_COMPLEX, OSC_DAXPIN_COMPLEX},
#endif
#ifdef MPI_CXX_LONG_DOUBLE_COMPLEX
    {MPI_CXX_LONG_DOUBLE_COMPLEX, OSC_DAXPIN_COMPLEX},
#endif
/* Those that the Fortran compiler of Open MPI has */
#ifdef MPI_INTEGER1
    {MPI_INTEGER1, OSC_DAXPIN_FORTRAN},
#endif
#ifdef MPI_INTEGER2
    {MPI_INTEGER2, OSC_DAXPIN_FORTRAN},
#endif
#ifdef MPI_INTEGER4
    {MPI_INTEGER4, OSC_DAXPIN_FORTRAN},
#endif
#ifdef MPI_INTEGER8
    {MPI_INTEGER8, OSC_DAXPIN_FORTRAN},
#endif
#ifdef MPI_REAL4
    {MPI_REAL4, OSC_DAXPIN_REAL},
#endif
#ifdef MPI_REAL8
    {MPI_REAL8, OSC_DAXPIN_REAL},
#endif
#ifdef MPI_COMPLEX8
    {MPI_COMPLEX8, OSC_DAXPIN_COMPLEX},
#endif
#ifdef MPI_COMPLEX16
    {MPI_COMPLEX16, OSC_DAXPIN_COMPLEX},
#endif
#ifdef MPI_LOGICAL1
    {MPI_LOGICAL1, OSC_DAXPIN_LOGICAL},
#endif
#ifdef MPI_LOGICAL2
    {MPI_LOGICAL2, OSC_DAXPIN_LOGICAL},
#endif
#ifdef MPI_LOGICAL4
    {MPI_LOGICAL4, OSC_DAXPIN_LOGICAL},
#endif
#ifdef MPI_LOGICAL8
    {MPI_LOGICAL8, OSC_DAXPIN_LOGICAL},
#endif
/* Open MPI has operations on these only if C has such a type */
#if defined(MPI_REAL16) && OMPI_REAL16_MATCHES_C
    {MPI_REAL16, OSC_DAXPIN_REAL},
#endif
#if defined(MPI_COMPLEX32) && OMPI_REAL16_MATCHES_C
    {MPI_COMPLEX32, OSC_DAXPIN_COMPLEX},
#endif
};

static const struct {
    const ompi_op_t *op;
    unsigned        types;
} osc_daxpin_ops[] = {
    {MPI_SUM, OSC_DAXPIN_INTEGERS | OSC_DAXPIN_REAL | OSC_DAXPIN_COMPLEX},
    {MPI_REPLACE, OSC_DAXPIN_ANY},
    {MPI_NO_OP, OSC_DAXPIN_ANY},
    {MPI_MAX, OSC_DAXPIN_INTEGERS | OSC_DAXPIN_REAL},
    {MPI_MIN, OSC_DAXPIN_INTEGERS | OSC_DAXPIN_REAL},
    {MPI_PROD, OSC_DAXPIN_INTEGERS | OSC_DAXPIN_REAL | OSC_DAXPIN_COMPLEX},
    {MPI_LAND, OSC_DAXPIN_INTEGER | OSC_DAXPIN_LOGICAL},
    {MPI_LOR, OSC_DAXPIN_INTEGER | OSC_DAXPIN_LOGICAL},
    {MPI_LXOR, OSC_DAXPIN_INTEGER | OSC_DAXPIN_LOGICAL},
    {MPI_BAND, OSC_DAXPIN_INTEGERS},
    {MPI_BOR, OSC_DAXPIN_INTEGERS},
    {MPI_BXOR, OSC_DAXPIN_INTEGERS},
    {MPI_MAXLOC, OSC_DAXPIN_PAIR},
    {MPI_MINLOC, OSC_DAXPIN_PAIR}
};

/* No operation but to replace and to fetch is done on a type that is not in the
 * table: Open MPI 4.1 checks for all calls but MPI_Fetch_and_op(), and nothing
 * checks below. */
static unsigned osc_daxpin_types_of(const ompi_datatype_t *dt)
{
    size_t i;

    for (i = 0; i < sizeof(osc_daxpin_types) / sizeof(osc_daxpin_types[0]);
         ++i) {
        if (osc_daxpin_types[i].dt == dt) {
            return osc_daxpin_types[i].types;
        }
    }
    return OSC_DAXPIN_OTHER;
}

int osc_daxpin_op_is_integer(const ompi_datatype_t *dt)
{
    return (osc_daxpin_types_of(dt) & OSC_DAXPIN_INTEGERS) != 0;
}

int osc_daxpin_op_check(const ompi_op_t *op, const ompi_datatype_t *dt)
{
    size_t i;

    for (i = 0; i < sizeof(osc_daxpin_ops) / sizeof(osc_daxpin_ops[0]); ++i) {
        if (osc_daxpin_ops[i].op == op) {
            return (osc_daxpin_ops[i].types & osc_daxpin_types_of(dt)) ?
                           OMPI_SUCCESS :
                           MPI_ERR_OP;
        }
    }
    return MPI_ERR_OP; /* none, or one of the program */
}
