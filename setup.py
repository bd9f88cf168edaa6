"""Compiled extensions of spconv; all other metadata is in setup.cfg."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

OPENMP_FLAGS = ["/openmp"] if sys.platform == "win32" else ["-fopenmp"]
OPENMP_PROBE = """
#include <omp.h>
#include <stdio.h>
int main(void) {
    int n = 0;
    #pragma omp parallel reduction(+:n) num_threads(2)
    n += 1;
    printf("%d", n);
    return 0;
}
"""


def has_openmp():
    """Compile and run a small OpenMP program with the compiler that will build the extensions."""
    if os.environ.get("SPCONV_NO_OPENMP"):
        return False
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(OPENMP_PROBE)
        try:
            objects = compiler.compile([str(source)], folder, extra_postargs=OPENMP_FLAGS)
            compiler.link_executable(objects, "probe", folder, extra_postargs=OPENMP_FLAGS)
            run = subprocess.run([str(Path(folder, "probe"))], capture_output=True, timeout=30)
        except Exception as error:
            print(f"spconv: the OpenMP probe failed: {error}", file=sys.stderr)
            return False
    return run.returncode == 0


def extensions():
    openmp = OPENMP_FLAGS if has_openmp() else []
    if not openmp:
        print(
            "spconv: WARNING: no working OpenMP; the kernels are built single-threaded.",
            file=sys.stderr,
        )
    # The compiler fuses no product and sum: some are bit-equal to NumPy, and of convolutions it
    # would fuse those of some loops only (multiply_add in vector.h fuses all).
    unix = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    optimize = ["/O2"] if sys.platform == "win32" else unix
    sanitize = os.environ.get("SPCONV_SANITIZE", "").split()

    return [
        Extension(
            f"spconv.kernels.{source.stem}",
            [str(source)],
            include_dirs=[np.get_include(), "kernels"],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
            depends=[str(header) for header in sorted(Path("kernels").glob("*.h"))],
            extra_compile_args=optimize + openmp + sanitize,
            extra_link_args=openmp + sanitize,
        )
        for source in sorted(Path("kernels").glob("*.pyx"))
    ]


def cythonized(modules, directives):
    """C code of the modules, whose declarations Cython looks for where the package will be."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "spconv", "kernels")
        package.mkdir(parents=True)
        for init in (package.parent, package):
            Path(init, "__init__.py").touch()
        for declarations in Path("kernels").glob("*.pxd"):
            shutil.copy2(declarations, package)
        return cythonize(modules, include_path=[folder], compiler_directives=directives)


checks = bool(os.environ.get("SPCONV_BOUNDS_CHECKS"))
directives = {
    "language_level": 3,
    "boundscheck": checks,
    "wraparound": False,
    "initializedcheck": checks,
    "cdivision": True,
    "freethreading_compatible": True,
}
setup(
    packages=[*find_packages(include=["spconv*"]), "spconv.kernels"],
    ext_modules=cythonized(extensions(), directives),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
