# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_CHECK_VERBS
# ------------------
# libibverbs, for registrations of a NIC; optional.
AC_DEFUN([DAXPIN_CHECK_VERBS], [
    AC_ARG_WITH([verbs],
        [AS_HELP_STRING([--with-verbs=DIR],
            [where libibverbs is installed; no: without it])],
        [], [with_verbs=check])

    daxpin_verbs=no
    daxpin_verbs_summary="no"
    AS_IF([test "x$with_verbs" != xno], [
        DAXPIN_DEPENDENCY_FLAGS([VERBS], [$with_verbs], [libibverbs],
                                [-libverbs])
        daxpin_save_CPPFLAGS="$CPPFLAGS"
        daxpin_save_LIBS="$LIBS"
        CPPFLAGS="$CPPFLAGS $VERBS_CFLAGS"
        LIBS="$VERBS_LIBS $LIBS"
        daxpin_verbs=yes
        AC_CHECK_HEADER([infiniband/verbs.h], [], [daxpin_verbs=no])
        AC_CHECK_FUNC([ibv_reg_mr_iova2], [], [daxpin_verbs=no])
        CPPFLAGS="$daxpin_save_CPPFLAGS"
        LIBS="$daxpin_save_LIBS"
        AS_IF([test "x$daxpin_verbs" = xyes],
            [AC_DEFINE([HAVE_VERBS], [1], [libibverbs is there])
             daxpin_verbs_summary="yes"],
            [test "x$with_verbs" != xcheck],
            [AC_MSG_ERROR([libibverbs (Debian: libibverbs-dev) was not found;
    see --with-verbs.])])
    ])
    AM_CONDITIONAL([HAVE_VERBS], [test "x$daxpin_verbs" = xyes])
])
