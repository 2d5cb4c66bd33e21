"""Builds the compiled modules; everything else about the package is in pyproject.toml."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path("csrc")
GNU_FLAGS = [
    "-std=c11",
    "-D_POSIX_C_SOURCE=200809L",
    "-pthread",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
]
MSVC_FLAGS = ["/std:c11", "/O2"]


class ParallelBuildExt(build_ext):
    """Compiles the sources of each extension side by side: one job a processor."""

    def finalize_options(self):
        super().finalize_options()
        self.jobs = self.parallel or os.cpu_count() or 1
        self.parallel = self.jobs

    def build_extensions(self):
        msvc = self.compiler.compiler_type == "msvc"
        for extension in self.extensions:
            extension.extra_compile_args += MSVC_FLAGS if msvc else GNU_FLAGS
            extension.libraries += [] if msvc else ["m"]
        compile_in_order = self.compiler.compile

        def compile_side_by_side(sources, *args, **kwargs):
            with ThreadPoolExecutor(self.jobs) as pool:
                objects = pool.map(lambda s: compile_in_order([s], *args, **kwargs), sources)
                return [name for group in objects for name in group]

        self.compiler.compile = compile_side_by_side
        super().build_extensions()


def numpy_include():
    import numpy

    return numpy.get_include()


c_sources = sorted(str(path) for path in CSRC.rglob("*.c"))
c_headers = sorted(str(path) for path in CSRC.rglob("*.h"))

extensions = [
    Extension("fastconv._columns", ["fastconv/_columns.pyx"]),
    Extension("fastconv._pool", ["fastconv/_pool.pyx"]),
    Extension(
        "fastconv._core",
        ["fastconv/_core.pyx", *c_sources],
        depends=c_headers,
        include_dirs=[str(CSRC), numpy_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    ),
]

setup(
    ext_modules=cythonize(extensions, build_dir="build/cython"),
    cmdclass={"build_ext": ParallelBuildExt},
)
