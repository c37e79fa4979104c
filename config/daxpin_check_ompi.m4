# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_OMPI_COMPAT
# ------------------
# opal_config.h of Open MPI 5.0 and later names headers that are not installed.
# Add ours to the flags where they are missing.
AC_DEFUN([DAXPIN_OMPI_COMPAT], [
    AC_CACHE_CHECK([whether the headers of Open MPI are complete],
        [daxpin_cv_ompi_complete],
        [AC_PREPROC_IFELSE(
            [AC_LANG_PROGRAM([[@%:@include "ompi_config.h"
                               @%:@include "opal/util/info.h"
                               @%:@include "opal/runtime/opal_progress.h"]])],
            [daxpin_cv_ompi_complete=yes], [daxpin_cv_ompi_complete=no])])
    AS_IF([test "x$daxpin_cv_ompi_complete" = xno],
        [daxpin_compat="-I`cd "$srcdir" && pwd`/src/ompi_mca/compat"
         OMPI_CFLAGS="$OMPI_CFLAGS $daxpin_compat"
         CPPFLAGS="$CPPFLAGS $daxpin_compat"])
])

# DAXPIN_OMPI_RELEASES
# --------------------
# The releases of Open MPI that the components know, for a list in a sentence.
m4_define([DAXPIN_OMPI_RELEASES], [[4.1, 5.0, 6.0]])

# DAXPIN_CHECK_OMPI
# -----------------
# Components of Open MPI are built against its internal headers, which are
# there when it was configured --with-devel-headers (Debian's is).
AC_DEFUN([DAXPIN_CHECK_OMPI], [
    AC_ARG_WITH([ompi],
        [AS_HELP_STRING([--with-ompi=DIR],
            [where Open MPI is installed; no: without its components])],
        [], [with_ompi=check])
    AC_ARG_WITH([ompi-plugindir],
        [AS_HELP_STRING([--with-ompi-plugindir=DIR],
            [where to install components of Open MPI @<:@LIBDIR/openmpi@:>@])],
        [], [with_ompi_plugindir='${libdir}/openmpi'])
    AS_CASE([$with_ompi_plugindir], [yes|no],
        [AC_MSG_ERROR([--with-ompi-plugindir needs a directory])])
    AC_SUBST([mcacomponentdir], [$with_ompi_plugindir])

    AC_DEFINE([DAXPIN_OMPI_KNOWN], ["DAXPIN_OMPI_RELEASES"],
              [The releases of Open MPI that daxpin knows])
    daxpin_ompi=no
    daxpin_ompi_summary="no"
    daxpin_ompi_build="no"
    AS_IF([test "x$with_ompi" != xno], [
        dnl Debian has its .pc also where pkg-config does not look
        daxpin_save_PKG_CONFIG_PATH="$PKG_CONFIG_PATH"
        daxpin_multiarch=`$CC -print-multiarch 2>/dev/null`
        daxpin_ompi_pc="/usr/lib/$daxpin_multiarch/openmpi/lib/pkgconfig"
        AS_IF([test -d "$daxpin_ompi_pc"],
            [PKG_CONFIG_PATH="${PKG_CONFIG_PATH:+$PKG_CONFIG_PATH:}$daxpin_ompi_pc"])
        AS_CASE([$with_ompi], [yes|check], [],
            [PATH="$with_ompi/bin:$PATH"])
        DAXPIN_DEPENDENCY_FLAGS([OMPI], [$with_ompi], [ompi-c], [-lmpi])
        PKG_CONFIG_PATH="$daxpin_save_PKG_CONFIG_PATH"

        dnl From 5.0 on, headers of Open MPI include those of PMIx
        PKG_CHECK_MODULES([PMIX], [pmix],
            [OMPI_CFLAGS="$OMPI_CFLAGS $PMIX_CFLAGS"], [:])

        daxpin_save_CPPFLAGS="$CPPFLAGS"
        daxpin_save_LIBS="$LIBS"
        CPPFLAGS="$CPPFLAGS $OMPI_CFLAGS"
        LIBS="$OMPI_LIBS -lopen-pal $LIBS"
        DAXPIN_OMPI_COMPAT
        daxpin_mpi=yes
        AC_CHECK_HEADER([mpi.h], [], [daxpin_mpi=no])
        AC_CHECK_FUNC([MPI_Win_create], [], [daxpin_mpi=no])
        daxpin_ompi="$daxpin_mpi"
        AS_IF([test "x$daxpin_mpi" = xyes], [
            AC_CHECK_HEADER([ompi/mca/hook/hook.h], [], [daxpin_ompi=no],
                            [@%:@include "ompi_config.h"
                             @%:@include "ompi/constants.h"])
            AC_CHECK_FUNC([mca_base_component_var_register], [],
                          [daxpin_ompi=no])
            AC_COMPUTE_INT([daxpin_ompi_major], [OMPI_MAJOR_VERSION],
                           [@%:@include <mpi.h>], [daxpin_ompi=no])
            AC_COMPUTE_INT([daxpin_ompi_minor], [OMPI_MINOR_VERSION],
                           [@%:@include <mpi.h>], [daxpin_ompi=no])
            AC_COMPUTE_INT([daxpin_ompi_release], [OMPI_RELEASE_VERSION],
                           [@%:@include <mpi.h>], [daxpin_ompi=no])
        ])
        CPPFLAGS="$daxpin_save_CPPFLAGS"
        LIBS="$daxpin_save_LIBS"

        AS_IF([test "x$daxpin_ompi" = xyes],
            [AS_CASE([", DAXPIN_OMPI_RELEASES,"],
                [*", $daxpin_ompi_major.$daxpin_ompi_minor,"*], [],
                [AC_MSG_ERROR([daxpin knows Open MPI DAXPIN_OMPI_RELEASES, and not
    $daxpin_ompi_major.$daxpin_ompi_minor: use one of these, see --with-ompi, or give --without-ompi.])])])

        daxpin_ompi_version="$daxpin_ompi_major.$daxpin_ompi_minor.$daxpin_ompi_release"
        AS_IF([test "x$daxpin_ompi" = xyes],
            [AC_DEFINE([HAVE_OMPI], [1], [Components of Open MPI are built])
             AC_DEFINE_UNQUOTED([DAXPIN_OMPI_ABI],
                 [`expr 100 '*' $daxpin_ompi_major + $daxpin_ompi_minor`],
                 [Release of Open MPI they are for: 100 * major + minor])
             OMPI_PAL_LIBS="-lopen-pal"
             daxpin_ompi_summary="$daxpin_ompi_version"
             daxpin_ompi_build="yes"],
            [test "x$with_ompi" = xcheck],
            [AC_MSG_WARN([Open MPI with its development headers (configured
    --with-devel-headers; Debian: libopenmpi-dev) was not found. Its
    components are not built.])],
            [AC_MSG_ERROR([Open MPI with its development headers (configured
    --with-devel-headers; Debian: libopenmpi-dev) was not found; see
    --with-ompi.])])
    ])
    AC_SUBST([OMPI_PAL_LIBS])
    AM_CONDITIONAL([HAVE_OMPI], [test "x$daxpin_ompi" = xyes])
    AM_CONDITIONAL([HAVE_MPI], [test "x$daxpin_mpi" = xyes])
])
