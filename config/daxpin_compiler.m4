# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_COMPILER
# ---------------
# Language, warnings and sanitizers, for every Makefile: AM_CFLAGS,
# AM_CPPFLAGS, AM_LDFLAGS.
AC_DEFUN([DAXPIN_COMPILER], [
    AC_ARG_ENABLE([debug],
        [AS_HELP_STRING([--enable-debug],
            [assertions, no optimisation @<:@no@:>@])],
        [], [enable_debug=no])
    AC_ARG_ENABLE([asan],
        [AS_HELP_STRING([--enable-asan],
            [build with AddressSanitizer and UBSan @<:@no@:>@])],
        [], [enable_asan=no])
    AC_ARG_ENABLE([tsan],
        [AS_HELP_STRING([--enable-tsan],
            [build with ThreadSanitizer @<:@no@:>@])],
        [], [enable_tsan=no])
    AC_ARG_ENABLE([werror],
        [AS_HELP_STRING([--enable-werror],
            [warnings are errors @<:@no@:>@])],
        [], [enable_werror=no])

    AS_IF([test "x$enable_asan" = xyes && test "x$enable_tsan" = xyes],
        [AC_MSG_ERROR([--enable-asan and --enable-tsan exclude each other])])

    AM_CFLAGS="-std=gnu11 -Wall -Wextra -Wno-unused-parameter"
    AM_CFLAGS="$AM_CFLAGS -Wmissing-prototypes -Wshadow -fno-common -Werror=implicit-function-declaration"
    AS_IF([test "x$enable_werror" = xyes], [AM_CFLAGS="$AM_CFLAGS -Werror"])

    dnl The user's CFLAGS come later on the command line and win
    AS_IF([test "x$enable_debug" = xyes],
        [AM_CFLAGS="$AM_CFLAGS -O0 -g3"
         AS_IF([test "x$ac_env_CFLAGS_set" != xset], [CFLAGS=""])],
        [AC_DEFINE([NDEBUG], [1], [No assertions])])

    DAXPIN_SANITIZE=""
    AS_IF([test "x$enable_asan" = xyes],
        [DAXPIN_SANITIZE="-fsanitize=address,undefined"])
    AS_IF([test "x$enable_tsan" = xyes],
        [DAXPIN_SANITIZE="-fsanitize=thread"])
    AS_IF([test -n "$DAXPIN_SANITIZE"],
        [AM_CFLAGS="$AM_CFLAGS $DAXPIN_SANITIZE -fno-omit-frame-pointer -g"
         AC_MSG_CHECKING([whether $CC has $DAXPIN_SANITIZE])
         daxpin_save_CFLAGS="$CFLAGS"
         CFLAGS="$CFLAGS $DAXPIN_SANITIZE"
         AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
             [AC_MSG_RESULT([yes])],
             [AC_MSG_RESULT([no])
              AC_MSG_ERROR([the sanitizer's library is missing])])
         CFLAGS="$daxpin_save_CFLAGS"])

    dnl config.h comes before everything else in every file, without a line
    AC_SUBST([AM_CPPFLAGS],
             ['-include $(top_builddir)/config.h -I$(top_srcdir)/src'])
    AC_SUBST([AM_CFLAGS])
    AC_SUBST([AM_LDFLAGS], ["$DAXPIN_SANITIZE"])
    AC_SUBST([DAXPIN_SANITIZE])
])


# DAXPIN_DEPENDENCY_FLAGS(VARIABLE, DIRECTORY, PC-MODULE, LIBS)
# -------------------------------------------------------------
# Set VARIABLE_CFLAGS and VARIABLE_LIBS of a dependency: from pkg-config,
# which looks below DIRECTORY first if one was given, else the plain LIBS.
# Existing values (environment, command line) are kept.
AC_DEFUN([DAXPIN_DEPENDENCY_FLAGS], [
    AC_ARG_VAR([$1_CFLAGS], [compiler flags for $3, instead of pkg-config])
    AC_ARG_VAR([$1_LIBS], [linker flags for $3, instead of pkg-config])
    daxpin_pc_path=""
    AS_CASE([$2],
        [yes|no|check|""], [daxpin_dir=""],
        [daxpin_dir="$2"
         AS_IF([test ! -d "$daxpin_dir/include"],
             [AC_MSG_ERROR([$3 is said to be installed in $daxpin_dir, but there is no $daxpin_dir/include])])
         for daxpin_sub in lib64 lib lib/$host_cpu-linux-gnu; do
             AS_IF([test -d "$daxpin_dir/$daxpin_sub/pkgconfig"],
                 [daxpin_pc_path="$daxpin_dir/$daxpin_sub/pkgconfig:$daxpin_pc_path"])
         done])
    AS_IF([test -z "$$1_CFLAGS$$1_LIBS"],
        [AS_IF([test -n "$PKG_CONFIG" &&
                PKG_CONFIG_PATH="$daxpin_pc_path$PKG_CONFIG_PATH" \
                    $PKG_CONFIG --exists $3 &&
                (test -z "$daxpin_dir" || test -n "$daxpin_pc_path")],
             [$1_CFLAGS=`PKG_CONFIG_PATH="$daxpin_pc_path$PKG_CONFIG_PATH" \
                            $PKG_CONFIG --cflags $3`
              $1_LIBS=`PKG_CONFIG_PATH="$daxpin_pc_path$PKG_CONFIG_PATH" \
                          $PKG_CONFIG --libs $3`],
             [test -n "$daxpin_dir"],
             [$1_CFLAGS="-I$daxpin_dir/include"
              $1_LIBS="-L$daxpin_dir/lib $4"],
             [$1_LIBS="$4"])])
])
