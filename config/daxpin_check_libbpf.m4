# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

# DAXPIN_CHECK_LIBBPF
# -------------------
# What the guard is made with: libbpf, bpftool, and a clang that compiles BPF;
# optional. The kernel that it is built on does not matter.
AC_DEFUN([DAXPIN_CHECK_LIBBPF], [
    AC_ARG_WITH([guard],
        [AS_HELP_STRING([--with-guard@<:@=DIR@:>@],
            [build daxpin-guardd, with libbpf in DIR; no: without it
             @<:@if libbpf, clang and bpftool are there@:>@])],
        [], [with_guard=check])
    AC_ARG_VAR([BPF_CLANG], [a clang that compiles BPF])
    AC_ARG_VAR([BPFTOOL], [bpftool, of Linux 5.13 or later])
    AC_ARG_VAR([BPF_CFLAGS], [flags for BPF_CLANG])

    daxpin_guard=no
    daxpin_guard_summary="no"
    AS_IF([test "x$with_guard" != xno], [
        daxpin_guard=yes
        DAXPIN_DEPENDENCY_FLAGS([LIBBPF], [$with_guard], [libbpf], [-lbpf])
        AC_PATH_PROGS([BPF_CLANG], [clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14])
        AC_PATH_PROG([BPFTOOL], [bpftool], [], [$PATH:/usr/sbin:/sbin])
        AS_CASE([$host_cpu],
            [x86_64], [daxpin_bpf_arch=x86],
            [aarch64], [daxpin_bpf_arch=arm64])
        daxpin_multiarch=`$CC -print-multiarch 2>/dev/null`
        AS_IF([test -z "$BPF_CFLAGS"],
            [BPF_CFLAGS="-O2"
             AS_IF([test -d "/usr/include/$daxpin_multiarch"],
                [BPF_CFLAGS="$BPF_CFLAGS -I/usr/include/$daxpin_multiarch"])])
        AC_SUBST([BPF_ARCH], [$daxpin_bpf_arch])

        daxpin_save_CPPFLAGS="$CPPFLAGS"
        daxpin_save_LIBS="$LIBS"
        CPPFLAGS="$CPPFLAGS $LIBBPF_CFLAGS"
        LIBS="$LIBBPF_LIBS $LIBS"
        AC_CHECK_HEADER([bpf/libbpf.h], [], [daxpin_guard=no])
        AC_CHECK_FUNC([bpf_program__set_autoload], [], [daxpin_guard=no])
        CPPFLAGS="$daxpin_save_CPPFLAGS"
        LIBS="$daxpin_save_LIBS"

        AC_MSG_CHECKING([whether ${BPF_CLANG:-clang} and ${BPFTOOL:-bpftool} make BPF programs])
        AS_IF([test -z "$BPF_CLANG" || test -z "$BPFTOOL"],
            [daxpin_bpf=no],
            [echo '#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("lsm/file_permission") int daxpin(void *context) { return 0; }' >conftest.bpf.c
             AS_IF([$BPF_CLANG -target bpf -g $BPF_CFLAGS $LIBBPF_CFLAGS -c conftest.bpf.c -o conftest.bpf.o >&AS_MESSAGE_LOG_FD 2>&1 &&
                    $BPFTOOL gen skeleton conftest.bpf.o >conftest.skel.h 2>&AS_MESSAGE_LOG_FD],
                [daxpin_bpf=yes], [daxpin_bpf=no])
             rm -f conftest.bpf.c conftest.bpf.o conftest.skel.h])
        AC_MSG_RESULT([$daxpin_bpf])
        AS_IF([test "x$daxpin_bpf" = xno], [daxpin_guard=no])

        AS_IF([test "x$daxpin_guard" = xyes],
            [daxpin_guard_summary="yes"],
            [test "x$with_guard" != xcheck],
            [AC_MSG_ERROR([the guard takes libbpf, clang and bpftool (Debian:
    libbpf-dev clang bpftool), of which not all were found; see --with-guard,
    BPF_CLANG, BPFTOOL.])])
    ])
    AM_CONDITIONAL([HAVE_GUARD], [test "x$daxpin_guard" = xyes])

    AC_ARG_WITH([systemdsystemunitdir],
        [AS_HELP_STRING([--with-systemdsystemunitdir=DIR],
            [for the unit of daxpin-guardd @<:@PREFIX/lib/systemd/system@:>@])],
        [], [with_systemdsystemunitdir='${prefix}/lib/systemd/system'])
    AC_SUBST([systemdsystemunitdir], [$with_systemdsystemunitdir])
])
