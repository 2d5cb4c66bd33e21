"""An algorithm added by the recipe of csrc/README.md breaks no test, whatever it refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider"]
COPIED = [".ci", "csrc", "fastconv", "tests", "bench", "docs", "build"]

STANDIN = """
#include "algorithm.h"

static const char *refuses(const fc_path *path, fc_op op, const fc_problem *problem) {
    (void)path, (void)op;
    const fc_conv_problem *p = &problem->conv;
    if (p->groups > 1) return "it takes one group";
    for (int axis = 0; axis < 3; axis++)
        if (p->stride[axis] > 1 || p->dilation[axis] > 1) return "it takes no strides or dilation";
    return NULL;
}

typedef struct {
    const fc_plan *plan;
    const fc_arrays *arrays;
    fc_question interrupted;
    fc_status status;
} bound_call;

static void task(void *context, int index) {
    bound_call *call = context;
    (void)index;
    call->status = fc_path_naive.run(call->plan, call->arrays, call->interrupted);
}

static fc_status run(const fc_plan *plan, const fc_arrays *arrays, fc_question interrupted) {
    bound_call call = {.plan = plan, .arrays = arrays, .interrupted = interrupted};
    fc_run one = fc_start(1, interrupted);
    one.flush = 1;
    fc_parallel(&one, 1, task, &call);
    return call.status;
}

const fc_path fc_path_standin = {.name = "standin", .exact = 1, .refuses = refuses, .run = run};
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="needs the source tree"),
]


def insert(path, line, before, times):
    """A line before each that begins with `before`."""
    text = path.read_text()
    assert text.count(before) == times
    path.write_text(text.replace(before, f"{line}\n{before}"))


def run(tree, *arguments):
    """What Python prints in a tree, whose package comes before any that is installed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy, with what has been built of it, that has one algorithm more."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    tree = tmp_path_factory.mktemp("standin")
    for folder in COPIED:
        if (ROOT / folder).exists():
            shutil.copytree(
                ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__")
            )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
    conv = tree / "csrc/conv"
    (conv / "standin.c").write_text(STANDIN)
    insert(
        conv / "algorithm.h",
        "extern const fc_path fc_path_standin;",
        "extern const fc_path fc_path_fully",
        1,
    )
    insert(tree / "csrc/plan.c", "    &fc_path_standin,", "    &fc_path_naive,", 3)
    run(tree, "setup.py", "build_ext", "--inplace")
    return tree


def test_it_is_listed_and_explained(tree):
    script = (
        "import fastconv\n"
        "print('standin' in fastconv.algorithms())\n"
        "for stride in (1, 2):\n"
        "    made = fastconv.explain('dx', (2, 3, 8, 8), (4, 3, 3, 3), stride=stride)\n"
        "    print({row['path']: row['refusal'] for row in made['candidates']}['standin'])"
    )
    assert run(tree, "-c", script).splitlines() == [
        "True",
        "None",
        "it takes no strides or dilation",
    ]


def test_the_tests_pass_with_it(tree):
    """All that are not long, among them many that ask for it."""
    lines = run(tree, *PYTEST, "-v", "--ignore=tests/test_csrc.py", "tests").splitlines()
    passed = [line for line in lines if "PASSED" in line and "[standin" in line]
    assert len(passed) > 100
