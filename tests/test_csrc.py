"""The C side alone: tests/csrc/driver.c plain, with sanitizers, and for aarch64 emulated."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiers import long_except

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "tests/csrc/driver.c", *sorted((ROOT / "csrc").rglob("*.c"))]
# -g1: the lines of a trace; all of -g would take half as long again to compile.
FLAGS = [
    "-std=c11",
    "-D_POSIX_C_SOURCE=200809L",
    "-DFC_ASSERTS",
    "-Wall",
    "-Wextra",
    "-g1",
    f"-I{ROOT / 'csrc'}",
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
    "aarch64": (ARM[0], ["-O2", "-static", "-Werror"], [30], [ARM[1]]),
}


@pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="needs the source tree")
@pytest.mark.parametrize("name", long_except(["short"], BUILDS))
def test_driver_finds_no_difference_and_no_stray_access(name, tmp_path):
    compiler, options, sizes, runner = BUILDS[name]
    for tool in (compiler, *runner):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    program, flags = tmp_path / "driver", [*FLAGS, *options]

    def build(arguments):
        built = subprocess.run([compiler, *flags, *arguments], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr

    objects = [str(tmp_path / f"{i}.o") for i in range(len(SOURCES))]
    largest_first = sorted(
        zip(SOURCES, objects, strict=True), key=lambda pair: "isa" not in str(pair[0])
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda pair: build(["-c", str(pair[0]), "-o", pair[1]]), largest_first))
    build([*objects, "-o", str(program), *LIBRARIES])
    done = subprocess.run(
        [*runner, str(program), *map(str, sizes)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].endswith(" 0 failed")
