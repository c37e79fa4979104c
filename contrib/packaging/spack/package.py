# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

from spack.package import *


class Daxpin(AutotoolsPackage):
    """One-sided communication into files, above all files in persistent
    memory, that stays right when another process truncates a file."""

    # A site puts its checkout here: spack install daxpin@main
    # and `spack develop --path CHECKOUT daxpin@main`
    license("BSD-3-Clause")

    version("main", branch="main")

    variant("ucx", default=True, description="The UCX component")
    variant("mpi", default=True, description="The Open MPI components")
    variant("hwloc", default=True, description="NUMA nodes of files")

    depends_on("c", type="build")
    depends_on("autoconf", type="build")
    depends_on("automake", type="build")
    depends_on("libtool", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("pmdk@1.9:")
    depends_on("ucx@1.13:1.23", when="+ucx")
    depends_on("openmpi@4.1:6.0 fabrics=ucx", when="+mpi")
    depends_on("hwloc@2.3:", when="+hwloc")

    conflicts("platform=darwin")
    conflicts("+mpi", when="~ucx", msg="the Open MPI components need UCX's")

    def autoreconf(self, spec, prefix):
        Executable("./autogen.sh")()

    def configure_args(self):
        spec = self.spec
        args = [f"--with-pmem2={spec['pmdk'].prefix}", "--without-guard"]
        for variant, package, option in [
            ("+ucx", "ucx", "ucx"),
            ("+mpi", "openmpi", "ompi"),
            ("+hwloc", "hwloc", "hwloc"),
        ]:
            if variant in spec:
                args.append(f"--with-{option}={spec[package].prefix}")
            else:
                args.append(f"--without-{option}")
        return args

    def setup_run_environment(self, env):
        prefix = self.prefix
        env.set("DAXPIN_UCX_MODULE", prefix.lib.ucx.join("libuct_daxpin.so.0"))
        if "+mpi" in self.spec:
            env.set(
                "OMPI_MCA_opal_mca_base_component_path",
                f"SYSTEM_DEFAULT:{prefix.lib.openmpi}:USER_DEFAULT",
            )
