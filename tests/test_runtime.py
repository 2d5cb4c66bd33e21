"""What the package says of itself, and what importing it costs."""

import doctest
import importlib
import inspect
import pkgutil
import platform
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import metadata, requires
from pathlib import Path

import numpy as np
import pytest
from cases import is_refusal

import fastconv
from fastconv import cs231n, reference

ALGORITHMS = list(dict.fromkeys(name.partition("/")[0] for name in fastconv.algorithms()))
PUBLIC = [name for name in fastconv.__all__ if not name[0].isupper()]


def test_algorithms_are_names_that_conv_forward_takes():
    assert fastconv.algorithms()[-1] == "naive"
    x = np.ones((1, 1, 3, 3))
    for name in ALGORITHMS:
        y = fastconv.conv_forward(x, x, algorithm=name)
        np.testing.assert_allclose(y, [[[[9]]]], rtol=1e-12)


def test_show_config_names_what_a_report_needs(capsys):
    fastconv.show_config()
    shown = capsys.readouterr().out
    for part in (fastconv.__version__, np.__version__, *fastconv.algorithms()):
        assert part in shown
    for part in (*fastconv.isas(), f"threads    {fastconv.get_num_threads()}"):
        assert part in shown


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo")
def test_show_config_names_the_processor(capsys):
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    fastconv.show_config()
    assert names[0].strip() in capsys.readouterr().out if names else True


def test_numpy_is_the_only_dependency_at_run_time():
    always = [line for line in requires("fastconv") if "extra ==" not in line]
    assert always == ["numpy>=2.0"]
    assert metadata("fastconv")["Requires-Python"] == ">=3.11"


def test_importing_loads_no_optional_partner():
    partners = "scipy torch matplotlib rich onnx autograd dask fastconv.cs231n"
    code = f"import sys, fastconv; print([m for m in {partners.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_uncompiled_sources_say_what_they_are(tmp_path):
    sources = Path(__file__).parents[1] / "fastconv"
    shutil.copytree(sources, tmp_path / "fastconv", ignore=shutil.ignore_patterns("*.so", "*.pyd"))
    # Without site, that is without an editable install, which would lend them its compiled modules.
    command = [sys.executable, "-S", "-c", "import fastconv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = f"ImportError: {tmp_path / 'fastconv'} holds the sources of fastconv, uncompiled"
    assert said in done.stderr and 'run "pip install -e ." here' in done.stderr


@pytest.mark.parametrize("name", PUBLIC)
def test_public_docstrings_state_parameters_results_and_errors(name):
    doc = inspect.getdoc(getattr(fastconv, name))
    function = getattr(fastconv, name)
    section = doc.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    lines = re.findall(r"^(\w+(?:, \w+)*)(?: :|$)", section, re.MULTILINE)
    documented = {parameter for line in lines for parameter in line.split(", ")}
    for parameter in inspect.signature(function).parameters:
        assert parameter in documented, f"{name} does not document {parameter}"
    assert "Returns\n-------" in doc or name in ("check_gradients", "show_config")
    if inspect.signature(function).parameters:
        assert "Raises\n------" in doc


@pytest.mark.parametrize("name", [name for name in PUBLIC if hasattr(reference, name)])
def test_reference_has_the_same_signature(name):
    ours = inspect.signature(getattr(fastconv, name)).parameters.values()
    theirs = inspect.signature(getattr(reference, name)).parameters.values()
    assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in theirs]
    assert [p.default for p in ours] == [p.default for p in theirs]


def test_every_function_with_a_kernel_has_a_reference():
    derived = {
        "algorithms",
        "explain",
        "show_config",
        "check_gradients",
        "numerical_gradient",
        "isas",
    }
    derived |= {
        "accuracy",
        "get_accuracy",
        "set_accuracy",
        "use_isa",
        "num_threads",
        "get_num_threads",
        "set_num_threads",
    }
    derived |= {"conv_cost", "conv_output_shape", "pool_output_shape"}
    assert set(PUBLIC) - derived == set(reference.__all__) - {"ConvGradients"}


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(fastconv.__path__)])
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(f"fastconv.{module}"))
    assert result.failed == 0


def test_example_of_the_readme_computes_the_gradients_of_the_whole_chain():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    x, w, b, dy = (names[name] for name in ("x", "w", "b", "dy"))
    pool = {"pool_height": 2, "pool_width": 2, "stride": 2}
    out, cache = cs231n.conv_relu_pool_forward(x, w, b, {"stride": 1, "pad": 1}, pool)
    np.testing.assert_array_equal(names["y"], out)
    for name, expected in zip(
        ("dx", "dw", "db"), cs231n.conv_relu_pool_backward(dy, cache), strict=True
    ):
        np.testing.assert_array_equal(names[name], expected, err_msg=name)


HAS_FLOAT_MODE = platform.machine() in ("x86_64", "aarch64")


@pytest.mark.skipif(not HAS_FLOAT_MODE, reason="denormals are computed here")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "naive"])
def test_row_29_denormals_count_as_zero_and_the_callers_mode_stays(name, dtype):
    half = np.finfo(dtype).tiny / 2
    groups = 20 if name == "direct" else 1
    size = 3 if name == "fully_connected" else 9
    x, w = np.ones((2, 20, size, size), dtype), np.full((20, 20 // groups, 3, 3), half, dtype)
    for isa in fastconv.isas():
        for threads in (1, 2):
            with fastconv.use_isa(isa), fastconv.num_threads(threads):
                y = fastconv.conv_forward(x, w, groups=groups, algorithm=name)
                assert not y.any()
                for need in ("dx", "dw"):
                    try:
                        found = fastconv.conv_backward(
                            y + 1, x, w, need=need, groups=groups, algorithm=name
                        )
                    except ValueError as error:  # it has no path for one of the gradients
                        assert is_refusal(error, name)
                        continue
                    assert not found.dx.any() if need == "dx" else found.dw.all()
                assert float(half) * 1 != 0 and (w * 1).all()
    naive = fastconv.conv_forward(x, w, groups=groups, algorithm="naive")
    assert naive.all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_row_29_signal_handlers_have_the_callers_mode():
    seen = []
    x, w = np.ones((4, 128, 56, 56)), np.ones((256, 128, 3, 3))
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(sys.float_info.min * 0.5))
    try:
        with fastconv.use_isa("portable"), fastconv.num_threads(1):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            fastconv.conv_forward(x, w, algorithm="implicit_gemm")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen and seen[0] > 0
