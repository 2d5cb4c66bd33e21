"""Builds the compiled modules; everything else about the package is in pyproject.toml."""

import os
import re
import sys
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
    "-g0",
    "-fvisibility=hidden",
    "-fwrapv",  # Python's own flags have it, and CFLAGS replaces these: loops were larger without
    "-Wall",
    "-Wextra",
]
MSVC_FLAGS = ["/std:c11", "/O2"]
# Where loops over elements are, the rest takes as long with -O2 and is compiled sooner.
LOOPS = re.compile(r"kernels_\w+\.c|naive\.c|_columns\.c|_pool\.c")


class BuildChanged(build_ext):
    """Compiles side by side only those sources that would give another object."""

    def finalize_options(self):
        super().finalize_options()
        self.jobs = self.parallel or os.cpu_count() or 1
        self.parallel = self.jobs
        # An editable install would have a temporary folder, and compile all again each time.
        self.build_temp = f"build/temp.{self.plat_name}-{sys.implementation.cache_tag}"

    def build_extensions(self):
        msvc = self.compiler.compiler_type == "msvc"
        for extension in self.extensions:
            extension.extra_compile_args += MSVC_FLAGS if msvc else GNU_FLAGS
            extension.libraries += [] if msvc else ["m"]
        compile_all = self.compiler.compile
        with ThreadPoolExecutor(self.jobs) as pool:

            def compile_changed(sources, **options):
                def compile_one(source):
                    if msvc:
                        return compile_all([source], **options)[0]
                    return self.compile_if_changed(compile_all, source, dict(options))

                return list(pool.map(compile_one, sorted(sources, key=place_in_line)))

            self.compiler.compile = compile_changed
            super().build_extensions()

    def compile_if_changed(self, compile_all, source, options):
        """The object of a source, which lists the files that it was made from beside it."""
        del options["depends"]
        if CSRC in Path(source).parents:  # that of an isolated build has another path each time
            options["include_dirs"] = [str(CSRC)]
        [name] = self.compiler.object_filenames([source], output_dir=options["output_dir"])
        files, command = Path(f"{name}.files"), Path(f"{name}.command")
        optimize = "-O3" if LOOPS.fullmatch(Path(source).name) else "-O2"
        options["extra_postargs"] = [
            *options["extra_postargs"],
            optimize,
            "-MMD",
            "-MF",
            str(files),
        ]
        wanted = repr((self.compiler.compiler_so, sorted(options.items())))
        if not is_current(Path(name), files, command, wanted):
            command.unlink(missing_ok=True)
            files.parent.mkdir(parents=True, exist_ok=True)
            compile_all([source], **options)
            command.write_text(wanted)
        return name


def is_current(built, files, command, wanted):
    """Whether an object was built by this command after the last change to any of its files."""
    try:
        names = files.read_text().replace("\\\n", " ").partition(": ")[2]
        times = [
            os.stat(name.replace("\\ ", " ")).st_mtime for name in re.findall(r"(?:\\ |\S)+", names)
        ]
        return command.read_text() == wanted and max(times) < built.stat().st_mtime
    except FileNotFoundError:
        return False


def place_in_line(source):
    """The kernels first: they take the longest."""
    return "kernels_" not in source, source


def numpy_include():
    import numpy

    return numpy.get_include()


c_sources = sorted(str(path) for path in CSRC.rglob("*.c"))
# What makes setuptools ask at all whether something is to be compiled and linked.
depends = ["setup.py", *sorted(str(path) for path in CSRC.rglob("*.h"))]

extensions = [
    Extension(
        f"fastconv.{name}",
        [f"fastconv/{name}.pyx", *sources],
        depends=depends,
        include_dirs=[str(CSRC), numpy_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    )
    for name, sources in (("_columns", []), ("_pool", []), ("_core", c_sources))
]

setup(
    ext_modules=cythonize(extensions, build_dir="build/cython"),
    cmdclass={"build_ext": BuildChanged},
)
