# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_CHECK_CMOCKA
# -------------------
# cmocka, for the unit tests; optional.
AC_DEFUN([DAXPIN_CHECK_CMOCKA], [
    daxpin_cmocka=no
    DAXPIN_DEPENDENCY_FLAGS([CMOCKA], [check], [cmocka], [-lcmocka])
    daxpin_save_CPPFLAGS="$CPPFLAGS"
    daxpin_save_LIBS="$LIBS"
    CPPFLAGS="$CPPFLAGS $CMOCKA_CFLAGS"
    LIBS="$CMOCKA_LIBS $LIBS"
    daxpin_cmocka=yes
    AC_CHECK_HEADER([cmocka.h], [], [daxpin_cmocka=no],
                    [@%:@include <stdarg.h>
                     @%:@include <stddef.h>
                     @%:@include <setjmp.h>
                     @%:@include <stdint.h>])
    AC_CHECK_FUNC([_cmocka_run_group_tests], [], [daxpin_cmocka=no])
    CPPFLAGS="$daxpin_save_CPPFLAGS"
    LIBS="$daxpin_save_LIBS"
    AM_CONDITIONAL([HAVE_CMOCKA], [test "x$daxpin_cmocka" = xyes])
])
