"""explain and the log: what would run is said, can be forced, and is what runs."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import CONV, CONV_BY_NAME, LAYOUT_LAST, Case

import fastconv
from fastconv import _core, plans

PROBLEMS = [
    *CONV,
    Case("many_channels", (2, 40, 14, 14), (36, 40, 3, 3), {"padding": 1}),
    Case("strided_many", (2, 24, 15, 15), (40, 24, 3, 3), {"padding": 1, "stride": 2}),
    Case("planes_of_one_channel", (2, 24, 7, 7), (24, 1, 3, 3), {"padding": 1, "groups": 24}),
]


def contiguous(case, last):
    """x_shape and options of a case in a layout."""
    if not last:
        return case.x, dict(case.options)
    shape = (case.x[0], *case.x[2:], case.x[1])
    return shape, dict(case.options, layout=LAYOUT_LAST[len(case.x) - 2])


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("op", plans.CONV_OPS)
@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_one_path_is_taken_and_each_before_it_says_why_not(case, op, last, isa):
    x_shape, options = contiguous(case, last)
    explained = fastconv.explain(op, x_shape, case.w, **options)
    verdicts = [row["verdict"] for row in explained["candidates"]]
    taken = verdicts.index("taken")
    assert verdicts.count("taken") == 1
    assert explained["candidates"][taken]["path"] == explained["path"]
    for verdict in verdicts[:taken]:
        assert verdict.startswith(("refused: ", "passed over: ")) and len(verdict) > 20
    assert explained["candidates"][-1]["path"] == "naive"
    assert explained["candidates"][-1]["refusal"] is None


@pytest.mark.parametrize("op", plans.CONV_OPS)
@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_every_path_runs_if_named_or_refuses_with_the_reason_that_is_shown(case, op, isa):
    for row in fastconv.explain(op, case.x, case.w, **case.options)["candidates"]:
        options = dict(case.options, algorithm=row["path"])
        if row["refusal"] is None:
            forced = fastconv.explain(op, case.x, case.w, **options)
            assert (forced["path"], forced["asked"]) == (row["path"], row["path"])
            continue
        with pytest.raises(ValueError) as raised:
            fastconv.explain(op, case.x, case.w, **options)
        assert str(raised.value) == (
            f"algorithm {row['path']!r} cannot do this problem: {row['refusal']}"
        )


def direct_cycles(op, images, planes):
    """Estimates of the direct paths that do a depthwise volume."""
    shape, options = (images, 24, planes, 9, 9), {"padding": (0, 1, 1), "groups": 24}
    rows = fastconv.explain(op, shape, (24, 1, 1, 3, 3), **options)["candidates"]
    own = [row for row in rows if row["path"].startswith("direct/") and not row["refusal"]]
    return {row["path"]: row["cycles"] for row in own}


@pytest.mark.parametrize("op", plans.CONV_OPS)
def test_direct_estimates_count_images_and_output_planes(op, isa):
    one, more = direct_cycles(op, 2, 1), direct_cycles(op, 2, 3)
    assert one.keys() == more.keys() >= {"direct/transposed", "direct/copies"}
    for path, cycles in one.items():
        assert cycles > 0 and more[path] == pytest.approx(3 * cycles)
        if op != "dw":  # whose sums are as many for any number of images
            assert direct_cycles(op, 4, 1)[path] == pytest.approx(2 * cycles)


@pytest.mark.parametrize("op", plans.CONV_OPS)
def test_an_algorithm_is_the_first_of_its_paths_that_suits(op):
    case = CONV_BY_NAME["same_3x3"]
    for name in {path.partition("/")[0] for path in fastconv.algorithms()}:
        try:
            explained = fastconv.explain(op, case.x, case.w, algorithm=name, **case.options)
        except ValueError as error:
            assert f"algorithm {name!r} cannot do this problem: " in str(error)
            continue
        assert explained["path"].partition("/")[0] == name


def test_plan_and_explanation_say_the_same():
    case = CONV_BY_NAME["same_3x3"]
    plan = fastconv.ConvPlan(case.x, np.ones(case.w, np.float32), **case.options)
    explained = fastconv.explain("forward", case.x, case.w, **case.options)
    assert plan.algorithm == explained["path"]
    assert str(plan).splitlines()[1:] == str(explained).splitlines()[1:]


def test_explanation_prints_as_a_table_and_is_a_dict():
    explained = fastconv.explain("dx", (2, 3, 9, 9), (4, 3, 3, 3), stride=2, dtype="float64")
    text = str(explained)
    assert text == repr(explained)
    assert text.startswith("dx: x (2, 3, 9, 9), w (4, 3, 3, 3) -> y (2, 4, 4, 4), float64, ")
    for row in explained["candidates"]:
        assert row["path"] in text and row["verdict"] in text
    assert isinstance(explained, dict) and explained["threads"] == fastconv.get_num_threads()


def test_every_op_that_has_a_plan_is_explained():
    # But the scatter behind the backward pass of a max pool, which has a single path.
    explained = {*plans.CONV_OPS, *plans.POOL_OPS, *plans.COLUMN_OPS}
    assert explained == set(_core.ops()) - {"max_pool_backward"}


@pytest.mark.parametrize("op", plans.POOL_OPS)
@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_pools_are_explained(op, layout, isa):
    x_shape = (2, 12, 12, 8) if layout else (2, 8, 12, 12)
    explained = fastconv.explain(op, x_shape, 2, layout=layout)
    assert [row["verdict"] for row in explained["candidates"]].count("taken") == 1
    assert explained["w_shape"] == (2, 2)
    assert explained["y_shape"] == ((2, 6, 6, 8) if layout else (2, 8, 6, 6))


def test_pool_of_elements_that_the_engine_has_no_vectors_for_goes_to_loops():
    assert fastconv.explain("max_pool", (1, 2, 4, 4), 2, dtype="int64")["path"] == "cython"


@pytest.mark.parametrize("op", plans.COLUMN_OPS)
def test_columns_are_explained(op):
    explained = fastconv.explain(op, (2, 3, 8, 8), 3, padding=1)
    assert explained["y_shape"] == (2, 27, 64)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("fft", (1, 1, 4, 4), (1, 1, 3, 3)), ValueError, "op is 'fft', expected one of"),
        (("dw", (1, 1, 4, 4), (1, 2, 3, 3)), ValueError, "w has 2 channels per group"),
        (("dw", (1, 1, 4, 4), (1, 1, 3)), ValueError, "x_shape is"),
        (("max_pool", (1, 1, 4, 4), 5), ValueError, "kernel_size"),
    ],
)
def test_wrong_arguments_are_said(arguments, error, message):
    with pytest.raises(error, match=message):
        fastconv.explain(*arguments)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "nothing", None, 3])
def test_dtypes_that_no_convolution_has_are_refused(dtype):
    if dtype is None:  # NumPy's default
        assert fastconv.explain("dw", (1, 1, 4, 4), (1, 1, 3, 3), dtype=None)["dtype"] == "float64"
        return
    with pytest.raises(TypeError, match="dtype is"):
        fastconv.explain("dw", (1, 1, 4, 4), (1, 1, 3, 3), dtype=dtype)


LOGGED = """
import numpy as np, fastconv
x, w = np.ones((2, 4, 9, 9), np.float32), np.ones((6, 2, 3, 3), np.float32)
for _ in range(3):
    y = fastconv.conv_forward(x, w, groups=2, stride=2, padding=1)
fastconv.conv_backward(y, x, w, groups=2, stride=2, padding=1)
fastconv.max_pool_forward(x, 2)
"""


def logged(value):
    environment = os.environ | {"FASTCONV_LOG": value}
    done = subprocess.run(
        [sys.executable, "-c", LOGGED], env=environment, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_log_has_a_line_for_each_new_plan():
    lines = logged("plan")
    ops = [line.split()[1] for line in lines]
    assert ops == ["forward", "dx", "dw", "max_pool"]
    assert lines[0].startswith(
        "fastconv: forward 2x4x9x9 by 3x3, stride 2x2, padding 1x1 -> 6 channels in 2 groups, "
        "float32, "
    )


def test_log_of_anything_else_is_warned_of():
    assert any("FASTCONV_LOG is 'all', expected 'plan'" in line for line in logged("all"))
    assert logged("") == []


def test_plans_of_changed_settings_are_made_anew():
    shapes = (2, 16, 12, 12), (16, 16, 3, 3)
    for isa in fastconv.isas():
        for threads in (1, 2):
            with fastconv.use_isa(isa), fastconv.num_threads(threads):
                explained = fastconv.explain("forward", *shapes, padding=1)
                assert (explained["isa"], explained["threads"]) == (isa, threads)
