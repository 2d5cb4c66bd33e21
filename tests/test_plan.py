"""ConvPlan: what conv_forward gives, whatever was prepared and wherever it is called."""

import copy
import multiprocessing
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cases import (
    CONV_BY_NAME,
    LAYOUT_LAST,
    Case,
    algorithm_of,
    assert_same_bits,
    broadcast,
    channels_first,
    channels_last,
    odd_strides,
    unless_refused,
)

import fastconv

MANY = Case("many_outputs", (2, 20, 9, 9), (70, 20, 3, 3), {"padding": 1})
FAR = Case("most_taps_in_the_padding", (2, 24, 9, 9), (50, 24, 3, 3), {"padding": 4, "dilation": 4})
VOLUME = Case("volume_many", (2, 12, 4, 5, 6), (40, 12, 2, 3, 3), {"padding": 1})
CASES = [
    *(
        CONV_BY_NAME[name]
        for name in (
            "one_element",
            "same_3x3",
            "uneven_padding",
            "same_stride_2",
            "same_lower",
            "stride_and_dilation",
            "pointwise_stride_2",
            "groups_2",
            "depthwise_multiplier_2",
            "line_causal",
            "line_stride_dilation",
            "volume_stride",
            "volume_pairs",
            "plane_between_outputs",
        )
    ),
    MANY,
    Case("many_outputs_strided", (2, 20, 11, 10), (70, 20, 3, 3), {"stride": 2}),
    FAR,
    Case("two_groups_of_many", (2, 40, 9, 9), (70, 20, 3, 3), {"groups": 2, "padding": "same"}),
    Case("pointwise_many", (2, 33, 10, 11), (70, 33, 1, 1)),
    Case("more_terms_than_a_chain", (1, 140, 6, 6), (24, 140, 3, 3), {"padding": 1}),
    Case("line_many", (2, 20, 60), (70, 20, 5), {"padding": 2}),
    VOLUME,
]
# Taps too many and too far apart for the implicit GEMM.
REFUSED = {"dilation": 4096, "padding": 599 * 2048}
REFUSED_X, REFUSED_W = (1, 1, 2048), np.ones((1, 1, 600), np.float32)

X = np.random.default_rng(0).uniform(-1, 1, (2, 3, 7, 8)).astype(np.float32)
W = np.random.default_rng(1).uniform(-1, 1, (4, 3, 3, 3)).astype(np.float32)
B = np.random.default_rng(2).uniform(-1, 1, 4).astype(np.float32)


def in_layout(case, x, last):
    """x and the case's options, channels last if asked."""
    if not last:
        return x, dict(case.options)
    return channels_last(x), dict(case.options, layout=LAYOUT_LAST[x.ndim - 2])


def other_layout(x, last):
    """x with its channels where the other layout has them in memory."""
    if last:
        return np.moveaxis(channels_first(x), 1, -1)
    return np.moveaxis(channels_last(x), -1, 1)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_plan_gives_the_bits_of_conv_forward(case, last, dtype, algorithm):
    x, w, b = case.random(dtype=dtype)
    x, options = in_layout(case, x, last)
    for bias, activation in [(None, None), (b, None), (None, "relu"), (b, "relu")]:
        some = dict(options, activation=activation, algorithm=algorithm)
        with fastconv.num_threads(1):
            plan = fastconv.ConvPlan(x.shape, w, bias, **some)
        for threads in (1, 2):
            with fastconv.num_threads(threads):
                y = plan(x)
                assert y.dtype == dtype and y.flags.c_contiguous
                assert_same_bits(y, fastconv.conv_forward(x, w, bias, **some))


@pytest.mark.pairwise
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("case", [CONV_BY_NAME["same_3x3"], MANY, FAR, VOLUME], ids=str)
def test_x_of_any_strides_gives_the_same(case, last, algorithm):
    x, w, b = case.integers()
    x, options = in_layout(case, x, last)
    plan = fastconv.ConvPlan(x.shape, w, b, algorithm=algorithm, **options)
    expected = fastconv.conv_forward(x, w, b, algorithm=algorithm, **options)
    views = odd_strides(x)
    views["other_layout"] = other_layout(x, last)
    for kind, view in views.items():
        np.testing.assert_array_equal(plan(view), expected, err_msg=kind)
    repeated, dense = broadcast(x)
    np.testing.assert_array_equal(plan(repeated), plan(dense))


@pytest.mark.parametrize("case", [CONV_BY_NAME["same_3x3"], MANY], ids=str)
def test_out_is_filled_and_returned(case, algorithm):
    x, w, b = case.random(dtype=np.float32)
    plan = fastconv.ConvPlan(x.shape, w, b, algorithm=algorithm, **case.options)
    expected = plan(x)
    out = np.full(expected.shape, np.nan, np.float32)
    assert plan(x, out) is out and plan(x, out=out) is out
    assert_same_bits(out, expected)


def test_out_may_overlap_x(algorithm):
    memory = np.arange(150, dtype=np.float32)
    x, out = memory[:75].reshape(1, 3, 5, 5), memory[30:105].reshape(1, 3, 5, 5)
    plan = fastconv.ConvPlan(x.shape, W[:3], padding=1, algorithm=algorithm)
    expected = plan(x.copy())
    assert plan(x, out=out) is out
    assert_same_bits(out, expected)
    same = x.copy()
    expected = plan(same.copy())
    assert_same_bits(plan(same, out=same), expected)


@pytest.mark.parametrize("case", [CONV_BY_NAME["same_3x3"], MANY], ids=str)
def test_weights_and_bias_are_copied(case, algorithm):
    x, w, b = case.random(dtype=np.float32)
    plan = fastconv.ConvPlan(x.shape, w, b, algorithm=algorithm, **case.options)
    expected = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
    w[...], b[...] = np.nan, np.nan
    assert_same_bits(plan(x), expected)
    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            assert np.isfinite(plan(x)).all()
    assert_same_bits(plan(x), expected)


@pytest.mark.parametrize("called", fastconv.isas())
@pytest.mark.parametrize("made", fastconv.isas())
@pytest.mark.parametrize("case", [CONV_BY_NAME["groups_2"], MANY, FAR, VOLUME], ids=str)
def test_plan_made_under_one_instruction_set_is_right_under_another(case, made, called):
    x, w, b = case.random(dtype=np.float32)
    with fastconv.use_isa(made):
        plan = fastconv.ConvPlan(x.shape, w, b, **case.options)
    for isa in (called, made, called):
        with fastconv.use_isa(isa):
            assert_same_bits(plan(x), fastconv.conv_forward(x, w, b, **case.options))


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_infinite_weights_over_the_padding_give_nan(layout, algorithm):
    x, options = in_layout(FAR, np.ones(FAR.x, np.float32), layout)
    for value in (np.inf, np.nan):
        w = np.ones(FAR.w, np.float32)
        w[49, 23, 0, 2] = value
        plan = fastconv.ConvPlan(x.shape, w, algorithm=algorithm, **options)
        expected = fastconv.conv_forward(x, w, **dict(options, algorithm="naive"))
        assert np.isnan(expected).any() and np.isfinite(expected).any()
        np.testing.assert_array_equal(plan(x), expected)


@pytest.mark.parametrize(
    ("w_dtype", "dtype", "expected"),
    [
        ("f8", "f4", np.float32),
        ("f4", "f8", np.float64),
        ("f4", None, np.float32),
        ("f8", None, np.float64),
        ("i4", "f4", np.float32),
        ("u1", float, np.float64),
        ("f2", np.float32, np.float32),
        ("g", np.dtype("f8"), np.float64),
        (">f4", None, np.float32),
        (">f8", "f4", np.float32),
    ],
)
def test_dtype_converts_weights_and_bias(w_dtype, dtype, expected, algorithm):
    case = CONV_BY_NAME["same_3x3"]
    x, w, b = (np.abs(array) for array in case.integers())
    plan = fastconv.ConvPlan(
        x.shape, w.astype(w_dtype), b.astype("i8"), dtype=dtype, algorithm=algorithm, padding=1
    )
    x, w, b = (array.astype(expected) for array in (x, w, b))
    y = plan(x)
    assert y.dtype == expected and y.dtype.isnative
    assert_same_bits(y, fastconv.conv_forward(x, w, b, padding=1, algorithm=algorithm))


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_dtype_in_foreign_byte_order_means_the_native_one(dtype):
    native = np.dtype(dtype).newbyteorder("=")
    plan = fastconv.ConvPlan(X.shape, W, B, dtype=dtype)
    x, w, b = (array.astype(native) for array in (X, W, B))
    assert_same_bits(plan(x), fastconv.conv_forward(x, w, b))


@pytest.mark.parametrize("dtype", ["f2", "g", int, bool, complex, object, "nonsense", 5, "f4,f4"])
def test_dtype_that_is_no_float32_or_float64_is_refused(dtype):
    with pytest.raises(TypeError, match=r"^dtype is .*, expected float32 or float64$"):
        fastconv.ConvPlan(X.shape, W, dtype=dtype)


@pytest.mark.parametrize("dtype", ["i1", "u4", "i8", "f2", "g"])
def test_weights_that_are_neither_float32_nor_float64_need_a_dtype(dtype):
    shown = re.escape(str(np.dtype(dtype)))
    with pytest.raises(TypeError, match=f"^dtype is {shown}, expected float32 or float64$"):
        fastconv.ConvPlan(X.shape, np.ones(W.shape, dtype))


@pytest.mark.parametrize("place", ["w", "b"])
@pytest.mark.parametrize("dtype", [None, np.float32])
@pytest.mark.parametrize(
    "value",
    ["abc", [[1.0], [2.0, 3.0]], np.ones(4, complex), np.ones(4, bool), np.ma.ones(4)],
    ids=["str", "ragged", "complex", "bool", "masked"],
)
def test_weights_and_bias_that_are_not_numbers_are_refused(place, dtype, value):
    arguments = {"w": W, "b": B, place: value}
    with pytest.raises(TypeError, match=f"^{place} "):
        fastconv.ConvPlan(X.shape, arguments["w"], arguments["b"], dtype=dtype)


@pytest.mark.parametrize(
    ("x_shape", "options", "message"),
    [
        ((2, 3, 7), {}, r"^x_shape is \(2, 3, 7\) with 3 axes, expected 4"),
        ((2, 0, 7, 8), {}, r"^x_shape\[1\] is 0"),
        ((2, 4, 7, 8), {}, "w has 3 channels per group, but x has 4 channels"),
        ((2, 3, 2, 8), {}, "spans 3 elements on spatial axis 0, expected at most the 2"),
        ((2, 3, 7, 8), {"stride": 0}, "stride is 0"),
        ((2, 3, 7, 8), {"groups": 2}, "groups is 2, expected a divisor of x's 3 channels"),
        ((2, 3, 7, 8), {"layout": "NWC"}, "layout is 'NWC'"),
        ((2, 3, 7, 8), {"padding": "full"}, "padding is 'full'"),
        ((2, 3, 7, 8), {"activation": "tanh"}, "activation is 'tanh', expected None or 'relu'"),
        ((2, 3, 7, 8), {"algorithm": "fastest"}, "algorithm is 'fastest', expected 'auto' or one"),
        ((2, 3, 7, 8), {"algorithm": None}, "algorithm is None, expected 'auto' or one"),
        ((2, 3, 7, 8), {"b": np.ones(3)}, r"b has shape \(3,\), expected \(4,\)"),
        ((2, 3, 7, 8), {"b": 1.0}, r"b has shape \(\), expected \(4,\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_what_was_given(x_shape, options, message):
    with pytest.raises(ValueError, match=message):
        fastconv.ConvPlan(x_shape, W, **options)


@pytest.mark.parametrize("x_shape", [None, 7, "abc", (2, 3, 7, "8"), (2, 3, 7, 8.0), X])
def test_shape_that_is_no_tuple_of_integers_is_refused(x_shape):
    with pytest.raises((TypeError, ValueError), match=r"^x_shape"):
        fastconv.ConvPlan(x_shape, W)


def test_shape_may_be_a_list_or_an_array():
    for x_shape in (list(X.shape), np.array(X.shape)):
        assert_same_bits(fastconv.ConvPlan(x_shape, W)(X), fastconv.conv_forward(X, W))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X.astype("f8"), "x has dtype float64, but the plan was made for float32"),
        (X.tolist(), "x has dtype float64, but the plan was made for float32"),
        (X.astype("i4"), "x has dtype int32, expected float32 or float64"),
        (X.astype("f2"), "x has dtype float16, expected float32 or float64"),
        (None, "x has dtype object, expected float32 or float64"),
        (np.ma.array(X), "x is a masked array, expected a plain array"),
    ],
    ids=["double", "list", "int", "half", "none", "masked"],
)
def test_x_of_another_dtype_is_refused(x, message):
    plan = fastconv.ConvPlan(X.shape, W)
    plan(X)
    with pytest.raises(TypeError, match=f"^{message}"):
        plan(x)


@pytest.mark.parametrize("shape", [(1, 3, 7, 8), (2, 3, 8, 7), (2, 7, 8, 3), (2, 3, 56), (0,), ()])
def test_x_of_another_shape_is_refused(shape):
    plan = fastconv.ConvPlan(X.shape, W)
    plan(X)
    message = re.escape(f"x has shape {shape}, expected (2, 3, 7, 8)")
    with pytest.raises(ValueError, match=f"^{message}$"):
        plan(np.ones(shape, np.float32))


def read_only(shape):
    array = np.empty(shape, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((2, 4, 6, 5), np.float32), r"out has shape \(2, 4, 6, 5\) and dtype float32, "),
        (np.empty((2, 4, 5, 6)), r"out has shape \(2, 4, 5, 6\) and dtype float64, expected shape"),
        (np.empty((2, 4, 5, 6), ">f4"), r"out has shape \(2, 4, 5, 6\) and dtype >f4, expected"),
        (np.empty((2, 4, 5, 12), np.float32)[..., ::2], "out is strided, unaligned or byte-sw"),
        (read_only((2, 4, 5, 6)), "out is read-only, expected a writable array"),
    ],
    ids=["shape", "dtype", "byte_order", "strided", "read_only"],
)
def test_unusable_out_is_refused(out, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        fastconv.ConvPlan(X.shape, W)(X, out=out)


@pytest.mark.parametrize("out", [[1.0], np.ma.empty((2, 4, 5, 6), np.float32)], ids=type)
def test_out_that_is_no_array_is_refused(out):
    with pytest.raises(TypeError, match=f"^out is of type {type(out).__name__}, expected a NumPy"):
        fastconv.ConvPlan(X.shape, W)(X, out=out)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_empty_batch_gives_an_empty_result(layout, algorithm):
    x = np.ones((0, 6, 6, 2) if layout else (0, 2, 6, 6), np.float32)
    w = np.ones((4, 2, 3, 3), np.float32)
    plan = fastconv.ConvPlan(x.shape, w, np.ones(4), layout=layout, algorithm=algorithm)
    assert plan(x).shape == (0, 4, 4, 4) and plan(x).dtype == np.float32
    assert algorithm_of(plan.algorithm) == algorithm and plan.workspace_bytes == 0
    assert algorithm in str(plan)


def test_plan_names_the_algorithm_that_runs():
    assert fastconv.ConvPlan(X.shape, W).algorithm.startswith("implicit_gemm/")
    for name in fastconv.algorithms():
        plan = unless_refused(name, fastconv.ConvPlan, X.shape, W)
        if plan is not None:
            assert plan.algorithm == name
            assert f"{name}: as asked" in str(plan)


def test_algorithm_that_refuses_is_said_with_its_reason():
    with pytest.raises(ValueError, match=r"'implicit_gemm' cannot do this problem: .* 2\*\*20"):
        fastconv.ConvPlan(REFUSED_X, REFUSED_W, algorithm="implicit_gemm", **REFUSED)
    plan = fastconv.ConvPlan(REFUSED_X, REFUSED_W, **REFUSED)
    assert plan.algorithm == "naive"
    assert re.search(r"implicit_gemm.* refused: .* 2\*\*20", str(plan))
    x = np.arange(2048, dtype=np.float32).reshape(REFUSED_X)
    np.testing.assert_array_equal(plan(x), fastconv.conv_forward(x, REFUSED_W, **REFUSED))


@pytest.mark.parametrize("isa", fastconv.isas())
def test_plan_in_words_says_what_a_call_does(isa):
    x_shape, w = (2, 9, 9, 12), np.ones((70, 12, 3, 3), np.float64)
    with fastconv.use_isa(isa), fastconv.num_threads(3), fastconv.accuracy("high"):
        shown = str(fastconv.ConvPlan(x_shape, w, padding=1, layout="NHWC"))
    for part in (
        "x (2, 9, 9, 12), w (70, 12, 3, 3) -> y (2, 9, 9, 70), float64",
        f"instruction set {isa}, 3 thread(s)",
        ": the first that suits",
        "> implicit_gemm",
        "output channels in the vector",
        "workspace  ",
        "arranged once",
    ):
        assert part in shown
    assert not re.search("winograd/2x2_3x3 +refused", shown)


@pytest.mark.parametrize("layout", [None, "NHWC"])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [
        ((4, 64, 224, 224), (128, 64, 3, 3), {"padding": 1}),
        ((1, 2048, 9, 9), (96, 2048, 5, 5), {}),
        ((1, 8, 1000, 1000), (2, 8, 7, 7), {"stride": 2, "padding": 3}),
        ((2, 300, 100, 100), (2, 300, 100, 100), {}),
        ((2, 512, 40, 40), (512, 512, 1, 1), {}),
        ((2, 512, 33, 33), (256, 512, 3, 3), {"padding": 18, "dilation": 18}),
        ((2, 960, 200, 300), (960, 1, 5, 5), {"padding": 2, "groups": 960}),
        ((1, 40, 9, 9000), (40, 4, 3, 31), {"groups": 10}),
    ],
    ids=["vgg", "deep", "stem", "huge_window", "pointwise", "atrous", "depthwise", "grouped"],
)
def test_workspace_is_at_most_16_mib_a_thread(x_shape, w_shape, options, layout, algorithm):
    if layout:
        x_shape = (x_shape[0], *x_shape[2:], x_shape[1])
    w = np.ones(w_shape, np.float32)
    plan = fastconv.ConvPlan(x_shape, w, layout=layout, algorithm=algorithm, **options)
    for threads in (1, 4):
        with fastconv.num_threads(threads):
            assert type(plan.workspace_bytes) is int
            assert 0 <= plan.workspace_bytes <= threads * (16 << 20)


def test_workspace_is_that_of_the_threads_of_the_moment():
    plan = fastconv.ConvPlan((4, 64, 112, 112), np.ones((64, 64, 3, 3), "f4"), padding=1)
    with fastconv.num_threads(1):
        one = plan.workspace_bytes
    with fastconv.num_threads(3):
        assert plan.workspace_bytes == 3 * one


def test_plan_may_be_called_again_and_again():
    x, w, b = MANY.random(dtype=np.float32)
    plan = fastconv.ConvPlan(x.shape, w, b, **MANY.options)
    expected = [plan(x), plan(-x)]
    for _ in range(20):
        assert_same_bits(plan(x), expected[0])
        assert_same_bits(plan(-x), expected[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's counters")
def test_plans_that_are_gone_have_given_their_memory_back():
    def resident():
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[1]) << 10

    w = np.ones((512, 512, 3, 3), np.float32)
    before = resident()
    for _ in range(40):
        fastconv.ConvPlan((1, 512, 14, 14), w, padding=1)
    # What the library keeps for its next call, and one plan, but not forty.
    assert resident() - before < 12 * w.nbytes


@pytest.mark.parametrize("case", [CONV_BY_NAME["same_3x3"], MANY], ids=str)
def test_threads_may_share_a_plan(case):
    x, w, b = case.random(dtype=np.float32)
    plan = fastconv.ConvPlan(x.shape, w, b, **case.options)
    inputs = [x * i for i in range(1, 9)]
    expected = [fastconv.conv_forward(x, w, b, **case.options) for x in inputs]
    with fastconv.num_threads(2), ThreadPoolExecutor(4) as pool:
        results = list(pool.map(plan, inputs * 10, timeout=60))
    for actual, want in zip(results, expected * 10, strict=True):
        assert_same_bits(actual, want)


@fastconv.accuracy("high")
def test_threads_may_share_a_plan_while_the_instruction_set_changes():
    x, w, b = MANY.integers()
    plan = fastconv.ConvPlan(x.shape, w, b, **MANY.options)
    expected = plan(x)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(plan, x) for _ in range(60)]
        for isa in fastconv.isas() * 30:
            with fastconv.use_isa(isa):
                np.testing.assert_array_equal(plan(x), expected)
        for call in calls:
            np.testing.assert_array_equal(call.result(60), expected)


def call_in_child(connection, plan, x):
    with fastconv.num_threads(3):
        connection.send(plan(x).tobytes())


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork"
)
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_plan_is_right_in_the_child_of_a_fork():
    x, w, b = MANY.random(dtype=np.float32)
    with fastconv.num_threads(3):
        plan = fastconv.ConvPlan(x.shape, w, b, **MANY.options)
        expected = plan(x).tobytes()
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        child = context.Process(target=call_in_child, args=(theirs, plan, x))
        child.start()
        assert ours.poll(60), "the child hangs"
        assert ours.recv() == expected
        child.join(60)
        assert child.exitcode == 0
        assert plan(x).tobytes() == expected


def test_plan_is_pickled_and_copied_without_its_arranged_weights():
    w = np.arange(70 * 20 * 9, dtype=np.float32).reshape(70, 20, 3, 3) % 7
    x = np.arange(20 * 81, dtype=np.float32).reshape(1, 20, 9, 9) % 5
    plan = fastconv.ConvPlan(x.shape, w, padding=1)
    for other in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan)):
        np.testing.assert_array_equal(other(x), plan(x))


@pytest.mark.parametrize(
    "x_shape, w_shape, options, algorithm",
    [
        ((2, 1, 16, 16), (32, 1, 3, 3), {"padding": 1}, "direct"),
        ((2, 3, 32, 32), (32, 3, 7, 7), {"padding": 3}, "implicit_gemm"),
        ((2, 1, 16, 16), (32, 1, 1, 1), {}, "implicit_gemm"),
    ],
    ids=["one_channel", "long_sums", "pointwise"],
)
def test_few_channels_take_what_measured_faster(x_shape, w_shape, options, algorithm):
    plan = fastconv.ConvPlan(x_shape, np.ones(w_shape, "f4"), **options)
    assert algorithm_of(plan.algorithm) == algorithm
