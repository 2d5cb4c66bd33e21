"""The C side alone: tests/csrc/driver.c plain, with sanitizers, and for aarch64 emulated."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiers import long_except

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
SOURCES = [ROOT / "tests/csrc/driver.c", *sorted(CSRC.rglob("*.c"))]
# -g1: the lines of a trace; all of -g would take half as long again to compile.
FLAGS = [
    "-std=c11",
    "-D_POSIX_C_SOURCE=200809L",
    "-DFC_ASSERTS",
    "-Wall",
    "-Wextra",
    "-g1",
]
LIBRARIES = ["-pthread", "-lm"]
ARM = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static")
# name: (compiler, its options, problems to run and of how many tails one, what runs the program).
# No race is a tail's own; to look for them in every one took five minutes. -O1 compiles in 0.6 of
# the time of -O2; what -O3 makes is run by the tests of the package.
BUILDS = {
    "short": ("gcc", ["-O1", "-Werror"], [100, 4], []),
    "gcc": ("gcc", ["-O2", "-Werror"], [1000], []),
    "clang": ("clang", ["-O2", "-Werror"], [100], []),
    "address_and_undefined": (
        "gcc",
        ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        [50],
        [],
    ),
    "thread": ("gcc", ["-O1", "-fsanitize=thread"], [12, 5], []),
    "aarch64": (ARM[0], ["-O2", "-static", "-Werror"], [30, 4], [ARM[1]]),
}

needs_source = pytest.mark.skipif(not CSRC.exists(), reason="needs the source tree")


def build(folder, sources, compiler, flags):
    """The driver of these sources, built in a folder, the kernels first: they take the longest."""

    def run(arguments):
        built = subprocess.run([compiler, *flags, *arguments], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr

    objects = [str(folder / f"{i}.o") for i in range(len(sources))]
    kernels_first = sorted(
        zip(sources, objects, strict=True), key=lambda pair: "isa" not in str(pair[0])
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda pair: run(["-c", str(pair[0]), "-o", pair[1]]), kernels_first))
    run([*objects, "-o", str(folder / "driver"), *LIBRARIES])
    return folder / "driver"


def check(program, sizes, runner=()):
    done = subprocess.run(
        [*runner, str(program), *map(str, sizes)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].endswith(" 0 failed")


@needs_source
@pytest.mark.parametrize("name", long_except(["short"], BUILDS))
def test_driver_finds_no_difference_and_no_stray_access(name, tmp_path):
    compiler, options, sizes, runner = BUILDS[name]
    for tool in (compiler, *runner):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    program = build(tmp_path, SOURCES, compiler, [*FLAGS, f"-I{CSRC}", *options])
    check(program, sizes, runner)


@needs_source
@pytest.mark.long
def test_an_instruction_set_needs_the_required_operations_only(tmp_path):
    """csrc with the steps of its README "To add an instruction set", all others being left out."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    csrc = tmp_path / "csrc"
    shutil.copytree(CSRC, csrc, ignore=shutil.ignore_patterns("kernels_*.c"))
    shutil.copy(ROOT / "tests/csrc/vec_minimal.h", csrc / "isa")
    for element in ("float", "double"):
        includes = ["../compiler.h", "vec_minimal.h", "kernels.tmpl.h"]
        lines = [f"#define FC_DTYPE {element}", *(f'#include "{name}"' for name in includes)]
        (csrc / f"isa/kernels_minimal_{element}.c").write_text("\n".join(lines))
    replace(csrc / "isa/isa_list.h", r"(define FC_FOR_EACH_ISA\(X\)) .*", r"\1 X(minimal)")
    has_portable = "static int has_portable(void) { return 1; }"
    replace(
        csrc / "platform/cpu.c",
        re.escape(has_portable),
        has_portable.replace("portable", "minimal"),
    )
    sources = [ROOT / "tests/csrc/driver.c", *sorted(csrc.rglob("*.c"))]
    flags = [*FLAGS, f"-I{csrc}", "-O1", "-Wno-unused-function"]
    check(build(tmp_path, sources, "gcc", flags), [30, 3])


def replace(path, pattern, replacement):
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count > 0
    path.write_text(text)


@needs_source
def test_every_vector_operation_is_listed():
    text = (CSRC / "isa/vectors.h").read_text()
    listed = set(re.findall(r"^ \*   ([A-Z][A-Z0-9_]+)", text, re.MULTILINE))
    used = set()
    for path in [*(CSRC / "kernels").glob("*.tmpl.h"), CSRC / "isa/vec_defaults.tmpl.h"]:
        code = re.sub(r"/\*.*?\*/|#undef[^\n]*|#define \w+", "", path.read_text(), flags=re.DOTALL)
        used |= set(re.findall(r"\b(?:[VD][A-Z_0-9]+|TRANSPOSE\w*|LANES)\b", code)) - {"VECTORS"}
    assert used == {name for name in listed if not name.startswith("FC_")}
