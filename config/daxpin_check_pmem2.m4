# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_CHECK_PMEM2
# ------------------
# libpmem2 maps the files and makes stores durable; required.
AC_DEFUN([DAXPIN_CHECK_PMEM2], [
    AC_ARG_WITH([pmem2],
        [AS_HELP_STRING([--with-pmem2=DIR], [where libpmem2 is installed])],
        [], [with_pmem2=yes])
    AS_IF([test "x$with_pmem2" = xno],
        [AC_MSG_ERROR([libpmem2 is required; --without-pmem2 cannot be])])

    DAXPIN_DEPENDENCY_FLAGS([PMEM2], [$with_pmem2], [libpmem2], [-lpmem2])
    daxpin_save_CPPFLAGS="$CPPFLAGS"
    daxpin_save_LIBS="$LIBS"
    CPPFLAGS="$CPPFLAGS $PMEM2_CFLAGS"
    LIBS="$PMEM2_LIBS $LIBS"
    daxpin_pmem2=yes
    AC_CHECK_HEADER([libpmem2.h], [], [daxpin_pmem2=no])
    AC_CHECK_FUNC([pmem2_map_from_existing], [], [daxpin_pmem2=no])
    CPPFLAGS="$daxpin_save_CPPFLAGS"
    LIBS="$daxpin_save_LIBS"

    AS_IF([test "x$daxpin_pmem2" != xyes],
        [AC_MSG_ERROR([libpmem2 1.9 or later was not found. Install it
    (Debian: libpmem2-dev) or say --with-pmem2=DIR.])])
    daxpin_pmem2_summary="yes"
])
