"""explain and the log: what would run is said, can be forced, and is what runs."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import CONV, CONV_BY_NAME, LAYOUT_LAST, REAL, Case

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
        suiting = [
            row["path"]
            for row in explained["candidates"]
            if row["path"].partition("/")[0] == name and row["refusal"] is None
        ]
        assert explained["path"] in suiting
        first = fastconv.explain(op, case.x, case.w, **case.options)
        if first["path"].partition("/")[0] == name:
            assert explained["path"] == first["path"]


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


class NewPlans:
    """The descriptions of plans that are made meanwhile."""

    def __enter__(self):
        self.made = []
        _core.log_plans(self.made.append)
        return self.made

    def __exit__(self, *exception):
        _core.log_plans(None)


CALLS = {
    "max_pool": lambda x: fastconv.max_pool_forward(x, 2),
    "im2col": lambda x: fastconv.im2col(x, 2),
    "col2im": lambda x: fastconv.col2im(fastconv.im2col(x, 2), x.shape, 2),
}


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("op", CALLS)
def test_what_is_explained_of_a_dtype_is_what_runs(op, dtype):
    # A shape of its own for each, since plans of earlier calls are kept.
    shape = (1, 2, 5, 6 + list(CALLS).index(op) + 3 * REAL.index(dtype))
    with NewPlans() as made:
        CALLS[op](np.ones(shape, dtype))
    ran = [plan for plan in made if plan["op"] == op]
    explained = fastconv.explain(op, shape, 2, dtype=dtype)
    assert explained["path"] == (ran[0]["path"] if ran else "cython")
    assert explained["dtype"] == np.dtype(dtype).name
    if ran and np.dtype(dtype) != np.float16 and op != "im2col":
        assert ran[0]["dtype"] == explained["dtype"]


@pytest.mark.parametrize(
    ("op", "option", "value"),
    [
        ("max_pool", "algorithm", "naive"),
        ("avg_pool", "dilation", 2),
        ("avg_pool_backward", "groups", 2),
        ("im2col", "layout", "NHWC"),
        ("col2im", "ceil_mode", True),
        ("dw", "ceil_mode", True),
    ],
)
def test_options_that_an_op_does_not_have_are_refused(op, option, value):
    shapes = ((1, 1, 6, 6), (1, 1, 2, 2) if op == "dw" else 2)
    with pytest.raises(ValueError, match=f"{option} is {value!r}, but {op!r} has none"):
        fastconv.explain(op, *shapes, **{option: value})


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


@pytest.mark.parametrize("op", ["max_pool", *plans.COLUMN_OPS])
def test_dtypes_that_are_no_real_numbers_are_refused(op):
    with pytest.raises(TypeError, match="dtype is complex64, expected a real number type"):
        fastconv.explain(op, (1, 1, 4, 4), 2, dtype="complex64")


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
    x, w = np.ones((2, 16, 12, 11), np.float32), np.ones((16, 16, 3, 3), np.float32)
    settings = [(isa, threads) for isa in fastconv.isas() for threads in (1, 2)]
    for turn in range(2):
        for isa, threads in settings:
            with fastconv.use_isa(isa), fastconv.num_threads(threads), NewPlans() as made:
                fastconv.conv_forward(x, w, padding=1)
            said = [(plan["isa"], plan["threads"]) for plan in made]
            assert said == ([(isa, threads)] if turn == 0 else [])
    with fastconv.accuracy("high"), NewPlans() as made:
        fastconv.conv_forward(x, w, padding=1)
    assert len(made) == 1 and made[0]["path"] != "winograd/4x4_3x3"


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: fastconv.conv_jvp(x, w, x, w),
        lambda x, w: fastconv.adaptive_avg_pool_backward(w[:2, :, :2, :2], (2, 3, 7, 9)),
        lambda x, w: fastconv.conv_transpose_forward(x, w.transpose(1, 0, 2, 3).copy()),
    ],
    ids=["conv_jvp", "adaptive_avg_pool_backward", "conv_transpose_forward"],
)
def test_calls_like_an_earlier_one_make_no_plan(call):
    x, w = np.ones((2, 3, 8, 13), np.float32), np.ones((5, 3, 3, 3), np.float32)
    with NewPlans() as first:
        call(x, w)
    with NewPlans() as again:
        call(x, w)
    assert first and not again


@pytest.mark.parametrize("closed", [False, True])
def test_call_does_not_fail_for_its_log(monkeypatch, closed):
    stream = open(os.devnull, "w") if closed else None
    if closed:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    plans.log(fastconv.explain("forward", (1, 1, 4, 4), (1, 1, 3, 3)))
