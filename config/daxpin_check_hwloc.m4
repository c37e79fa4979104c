# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_CHECK_HWLOC
# ------------------
# hwloc 2, to find the NUMA node of a file's memory; optional.
AC_DEFUN([DAXPIN_CHECK_HWLOC], [
    AC_ARG_WITH([hwloc],
        [AS_HELP_STRING([--with-hwloc=DIR],
            [where hwloc is installed; no: without it])],
        [], [with_hwloc=check])

    daxpin_hwloc=no
    daxpin_hwloc_summary="no"
    AS_IF([test "x$with_hwloc" != xno], [
        DAXPIN_DEPENDENCY_FLAGS([HWLOC], [$with_hwloc], [hwloc], [-lhwloc])
        daxpin_save_CPPFLAGS="$CPPFLAGS"
        daxpin_save_LIBS="$LIBS"
        CPPFLAGS="$CPPFLAGS $HWLOC_CFLAGS"
        LIBS="$HWLOC_LIBS $LIBS"
        daxpin_hwloc=yes
        AC_CHECK_HEADER([hwloc.h], [], [daxpin_hwloc=no])
        AC_CHECK_FUNC([hwloc_get_local_numanode_objs], [], [daxpin_hwloc=no])
        CPPFLAGS="$daxpin_save_CPPFLAGS"
        LIBS="$daxpin_save_LIBS"
        AS_IF([test "x$daxpin_hwloc" = xyes],
            [AC_DEFINE([HAVE_HWLOC], [1], [hwloc 2.3 or later is there])
             daxpin_hwloc_summary="yes"],
            [test "x$with_hwloc" != xcheck],
            [AC_MSG_ERROR([hwloc 2.3 or later (Debian: libhwloc-dev) was not
    found; see --with-hwloc.])])
    ])
    AM_CONDITIONAL([HAVE_HWLOC], [test "x$daxpin_hwloc" = xyes])
])
