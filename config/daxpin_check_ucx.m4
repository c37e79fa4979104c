# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_CHECK_UCX
# ----------------
# The interface between UCX and its components is private and changes with
# every release, so that the component is built for one release: DAXPIN_UCX_ABI
# is 100 * major + minor of it. A release whose interface is not described in
# src/ucx_daxpin/abi is refused here rather than guessed.
AC_DEFUN([DAXPIN_UCX_OLDEST_MINOR], [13])
AC_DEFUN([DAXPIN_UCX_NEWEST_MINOR], [23])

AC_DEFUN([DAXPIN_CHECK_UCX], [
    AC_ARG_WITH([ucx],
        [AS_HELP_STRING([--with-ucx=DIR],
            [where UCX is installed; no: without the UCX component])],
        [], [with_ucx=check])

    daxpin_ucx=no
    daxpin_ucx_summary="no"
    daxpin_ucx_build="no"
    daxpin_ucx_release=""
    AS_IF([test "x$with_ucx" != xno], [
        DAXPIN_DEPENDENCY_FLAGS([UCX], [$with_ucx], [ucx],
                                [-lucp -luct -lucs -lucm])
        daxpin_save_CPPFLAGS="$CPPFLAGS"
        daxpin_save_LIBS="$LIBS"
        CPPFLAGS="$CPPFLAGS $UCX_CFLAGS"
        LIBS="$UCX_LIBS $LIBS"
        daxpin_ucx=yes
        AC_CHECK_HEADERS([ucp/api/ucp.h uct/api/uct.h ucs/config/parser.h],
                         [], [daxpin_ucx=no; break])
        AC_CHECK_FUNCS([ucp_get_version uct_component_register \
                        uct_iface_open ucs_config_parser_fill_opts],
                       [], [daxpin_ucx=no; break])
        AS_IF([test "x$daxpin_ucx" = xyes], [
            AC_COMPUTE_INT([daxpin_ucx_major], [UCP_API_MAJOR],
                           [@%:@include <ucp/api/ucp_version.h>],
                           [daxpin_ucx=no])
            AC_COMPUTE_INT([daxpin_ucx_minor], [UCP_API_MINOR],
                           [@%:@include <ucp/api/ucp_version.h>],
                           [daxpin_ucx=no])
        ])
        CPPFLAGS="$daxpin_save_CPPFLAGS"
        LIBS="$daxpin_save_LIBS"

        AS_IF([test "x$daxpin_ucx" = xyes],
            [daxpin_ucx_release="$daxpin_ucx_major.$daxpin_ucx_minor"
             daxpin_ucx_summary="$daxpin_ucx_release"
             daxpin_ucx_abi=""
             AS_IF([test "$daxpin_ucx_major" -eq 1 &&
                    test "$daxpin_ucx_minor" -ge DAXPIN_UCX_OLDEST_MINOR &&
                    test "$daxpin_ucx_minor" -le DAXPIN_UCX_NEWEST_MINOR],
                 [daxpin_ucx_abi=`expr 100 + $daxpin_ucx_minor`])],
            [daxpin_ucx_why="UCX was not found. Install it (Debian: libucx-dev) or say --with-ucx=DIR."])
        AS_IF([test "x$daxpin_ucx" = xyes && test -z "$daxpin_ucx_abi"],
            [daxpin_ucx=no
             daxpin_ucx_summary="$daxpin_ucx_release, not known"
             daxpin_ucx_why="UCX $daxpin_ucx_release is a release whose component interface this daxpin does not know, but it knows 1.DAXPIN_UCX_OLDEST_MINOR to 1.DAXPIN_UCX_NEWEST_MINOR: install one of these, or a daxpin that knows UCX $daxpin_ucx_release, or add the release as docs/developers.md says. To build without the UCX component, say --without-ucx."])

        AS_IF([test "x$daxpin_ucx" = xyes],
            [AC_DEFINE_UNQUOTED([DAXPIN_UCX_ABI], [$daxpin_ucx_abi],
                 [Release of UCX the component is for: 100 * major + minor])
             AC_DEFINE_UNQUOTED([DAXPIN_UCX_OLDEST],
                 [`expr 100 + DAXPIN_UCX_OLDEST_MINOR`],
                 [The oldest release of UCX that daxpin knows])
             AC_DEFINE_UNQUOTED([DAXPIN_UCX_NEWEST],
                 [`expr 100 + DAXPIN_UCX_NEWEST_MINOR`],
                 [The newest release of UCX that daxpin knows])
             daxpin_ucx_build="yes"],
            [test "x$with_ucx" != xcheck || test -n "$daxpin_ucx_release"],
            [AC_MSG_ERROR([$daxpin_ucx_why])],
            [AC_MSG_WARN([$daxpin_ucx_why
    The UCX component is not built.])])
    ])
    AM_CONDITIONAL([HAVE_UCX], [test "x$daxpin_ucx" = xyes])
])
