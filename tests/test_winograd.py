"""Winograd: near the defining sums, exactly them where elements are not finite; and who gets it."""

import numpy as np
import pytest
from cases import channels_last, kept

import fastconv
from fastconv import _core, _problem

# path: (a kernel of its own, the stride)
PATHS = {
    "winograd/2x2_3x3": ((3, 3), 1),
    "winograd/4x4_3x3": ((3, 3), 1),
    "winograd/4x2_5x5": ((5, 5), 1),
    "winograd/5x5_2x2": ((3, 3), 2),
    "winograd/5_2": ((1, 2), 1),
    "winograd/4_3": ((3, 1), 1),
    "winograd/4_5": ((1, 5), 1),
    "winograd/2_7": ((7, 1), 1),
}

# name: (x as channels first, w, options)
CASES = {
    "one_tile": ((1, 16, 4, 4), (16, 16, 3, 3), {"padding": 1}),
    "one_output": ((1, 16, 3, 3), (16, 16, 3, 3), {}),
    "tiles_cut_on_both_sides": ((2, 20, 14, 11), (35, 20, 3, 3), {"padding": 1}),
    "few_channels": ((2, 3, 9, 10), (5, 3, 3, 3), {"padding": 1}),
    "one_channel": ((1, 1, 8, 8), (1, 1, 3, 3), {"padding": 1}),
    "channels_beyond_a_chain": ((1, 130, 9, 7), (17, 130, 3, 3), {"padding": 1}),
    "several_panels": ((2, 24, 10, 10), (150, 24, 3, 3), {}),
    "several_blocks": ((3, 64, 30, 30), (64, 64, 3, 3), {"padding": 1}),
    "weights_a_chunk_at_a_time": ((2, 300, 6, 6), (260, 300, 3, 3), {"padding": 1}),
    "one_side_padded": ((2, 16, 7, 8), (16, 16, 3, 3), {"padding": ((2, 0), (0, 2))}),
    "wide_padding": ((1, 16, 5, 5), (16, 16, 3, 3), {"padding": 7}),
    "several_parts": ((2, 16, 184, 184), (18, 16, 3, 3), {"padding": 1}),
    "5x5": ((2, 20, 14, 11), (35, 20, 5, 5), {"padding": 2}),
    "5x5_one_tile": ((1, 16, 6, 6), (16, 16, 5, 5), {}),
    "5x5_several_blocks": ((3, 64, 17, 16), (64, 64, 5, 5), {"padding": ((1, 2), (4, 0))}),
    "5x5_several_parts": ((3, 16, 90, 90), (18, 16, 5, 5), {"padding": 2}),
    "5x5_groups": ((2, 6, 9, 9), (34, 3, 5, 5), {"padding": 2, "groups": 2}),
    "dilated": ((2, 20, 14, 11), (35, 20, 3, 3), {"padding": 2, "dilation": 2}),
    "dilated_unlike": ((2, 20, 15, 11), (35, 20, 3, 3), {"padding": (3, 1), "dilation": (3, 1)}),
    "dilated_to_single_outputs": ((1, 16, 9, 9), (16, 16, 3, 3), {"padding": 9, "dilation": 9}),
    "dilated_5x5": ((2, 16, 17, 14), (20, 16, 5, 5), {"padding": 4, "dilation": 2}),
    "groups": ((2, 40, 9, 9), (34, 20, 3, 3), {"padding": 1, "groups": 2}),
    "1x2": ((2, 20, 14, 12), (35, 20, 1, 2), {"padding": ((0, 0), (1, 0))}),
    "2x1_dilated": ((2, 20, 15, 11), (35, 20, 2, 1), {"dilation": (4, 1)}),
    "1x3": ((2, 20, 14, 11), (35, 20, 1, 3), {"padding": (0, 1)}),
    "3x1": ((2, 20, 14, 11), (35, 20, 3, 1), {"padding": (1, 0)}),
    "3x1_dilated": ((2, 20, 15, 11), (35, 20, 3, 1), {"padding": (3, 1), "dilation": (3, 1)}),
    "1x5": ((2, 20, 9, 13), (17, 20, 1, 5), {"padding": (1, 2)}),
    "5x1": ((2, 20, 13, 9), (17, 20, 5, 1), {"padding": ((1, 3), (0, 0))}),
    "1x7": ((2, 20, 9, 13), (17, 20, 1, 7), {"padding": (0, 3)}),
    "7x1": ((2, 20, 13, 9), (17, 20, 7, 1), {"padding": (3, 0)}),
    "7x1_groups": ((2, 40, 13, 9), (34, 20, 7, 1), {"padding": (3, 0), "groups": 2}),
    "volume": ((2, 20, 5, 9, 10), (35, 20, 3, 3, 3), {"padding": 1}),
    "volume_of_a_chain_and_more": ((1, 50, 4, 7, 6), (17, 50, 2, 3, 3), {"padding": (0, 1, 1)}),
    "volume_dilated_one_side_padded": (
        (2, 18, 7, 9, 8),
        (20, 9, 3, 3, 3),
        {"padding": ((3, 1), (2, 2), (0, 1)), "dilation": (2, 2, 1), "groups": 2},
    ),
    "volume_of_one_channel": ((2, 1, 5, 9, 10), (3, 1, 3, 3, 3), {"padding": 1}),
    "volume_1x7": ((1, 16, 3, 6, 20), (16, 16, 3, 1, 7), {"padding": (1, 0, 3)}),
    "signal": ((3, 20, 1000), (35, 20, 3), {"padding": 1}),
    "signal_of_one_output": ((2, 16, 5), (16, 16, 5), {}),
    "signal_dilated": ((2, 20, 1003), (35, 20, 3), {"padding": 64, "dilation": 64}),
    "signal_of_7_taps": ((2, 20, 333), (18, 20, 7), {"padding": ((0, 6),)}),
    "rows_cut_into_segments": ((2, 16, 5, 700), (18, 16, 3, 3), {"padding": 1}),
    "5x5_cut_into_segments": ((1, 16, 6, 301), (18, 16, 5, 5), {"padding": ((2, 2), (0, 4))}),
    "dilated_cut_into_segments": (
        (1, 16, 9, 613),
        (18, 16, 3, 3),
        {"padding": (1, 5), "dilation": (1, 5)},
    ),
}


# dx where the first of three axes has stride 1.
STRIDED = {
    "stride_2": ((2, 20, 14, 11), (35, 20, 3, 3), {"padding": 1, "stride": 2}),
    "stride_2_valid": ((2, 64, 15, 29), (16, 64, 3, 3), {"stride": 2}),
    "stride_2_one_output": ((1, 16, 3, 3), (16, 16, 3, 3), {"stride": 2}),
    "stride_2_two_tiles": (
        (1, 70, 24, 25),
        (40, 70, 3, 3),
        {"padding": ((0, 1), (2, 0)), "stride": 2},
    ),
    "stride_2_few_channels": ((2, 3, 40, 41), (5, 3, 3, 3), {"padding": 1, "stride": 2}),
    "stride_2_groups": ((2, 40, 12, 9), (34, 20, 3, 3), {"padding": 1, "stride": 2, "groups": 2}),
    "stride_2_chunks": ((2, 150, 12, 12), (260, 150, 3, 3), {"padding": 1, "stride": 2}),
    "stride_2_segments": ((1, 16, 6, 1400), (18, 16, 3, 3), {"padding": 1, "stride": 2}),
    "stride_2_odd_and_even": ((2, 34, 21, 12), (20, 34, 3, 3), {"padding": (2, 1), "stride": 2}),
    "stride_2_unreached_edge": ((2, 70, 12, 26), (33, 70, 3, 3), {"stride": 2}),
    "stride_2_volume": ((2, 9, 5, 12, 11), (20, 9, 2, 3, 3), {"padding": 1, "stride": (3, 2, 2)}),
    "stride_2_in_planes": (
        (2, 9, 4, 13, 11),
        (20, 9, 2, 3, 3),
        {"padding": 1, "stride": (1, 2, 2)},
    ),
}


def arrays_of(case, last, dtype):
    x_shape, w_shape, options = (CASES | STRIDED)[case]
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    b = rng.standard_normal(w_shape[0]).astype(dtype)
    if last:
        layout = {3: "NWC", 4: "NHWC", 5: "NDHWC"}[x.ndim]
        x, options = np.ascontiguousarray(np.moveaxis(x, 1, -1)), options | {"layout": layout}
    return x, w, b, options


def results(x, w, b, dy, options, algorithm):
    options = options | {"algorithm": algorithm}
    y = fastconv.conv_forward(x, w, b, activation="relu", **options)
    strides = np.broadcast_to(options.get("stride", 1), x.ndim - 2)
    if len(strides) == 3 and strides[0] > 1:
        gradients = fastconv.conv_backward(dy, x, w, need=("dw", "db"), **options)
        return y, gradients.dw, gradients.db
    return y, *fastconv.conv_backward(dy, x, w, **options)


@kept
def defining_sums(case, dtype):
    """dy and the results of the naive loops, in double; channels first."""
    x, w, b, options = arrays_of(case, False, dtype)
    shape = fastconv.conv_output_shape(x.shape, w.shape, **options)
    dy = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    return dy, *results(*(a.astype(np.float64) for a in (x, w, b, dy)), options, "naive")


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("case", [*CASES, *STRIDED])
def test_winograd_is_near_the_defining_sums(case, last, dtype, isa):
    x, w, b, options = arrays_of(case, last, dtype)
    dy, *exact = defining_sums(case, dtype)
    # Where dtype is double, the oracle's own error comes on top: that of dw grows with the outputs.
    own = np.sqrt(dy.size / dy.shape[1]) if dtype == np.float64 else 0
    bound = ((20 if w.shape[-2:] == (5, 5) else 12) + own / 4) * np.finfo(dtype).eps
    if last:  # so are y and dx, which come before dw and db
        dy, exact = channels_last(dy), [*map(channels_last, exact[:-2]), *exact[-2:]]
    with fastconv.num_threads(1):
        single = results(x, w, b, dy, options, "winograd")
    for actual, right in zip(single, exact, strict=True):
        error = np.sqrt(np.mean((actual - right) ** 2) / np.mean(right**2))
        assert error <= bound
    for threads in (2, 3, 5):
        with fastconv.num_threads(threads):
            many = results(x, w, b, dy, options, "winograd")
        for one, other in zip(single, many, strict=True):
            assert one.tobytes() == other.tobytes(), threads


@pytest.mark.pairwise
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("where", ["x", "w", "b"])
@pytest.mark.parametrize(
    "case",
    ["tiles_cut_on_both_sides", "5x5", "dilated", "7x1", "signal_dilated", "volume", "stride_2"],
)
def test_what_is_not_finite_stays_where_the_defining_sum_puts_it(case, where, value, last):
    x, w, b, options = arrays_of(case, last, np.float32)
    {"x": x, "w": w, "b": b}[where].flat[7] = value
    shape = fastconv.conv_forward(x, w, b, **options).shape
    dy = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    if where == "x":
        dy.flat[11] = value
    # Sums of 3e38 in float32 may overflow on the way; the naive ones are in double.
    expected = results(x, w, b, dy, options, "implicit_gemm" if value == 3e38 else "naive")
    actual = results(x, w, b, dy, options, "winograd")
    for one, right in zip(actual, expected, strict=True):
        assert (np.isnan(one) == np.isnan(right)).all()
        assert (np.isinf(one) == np.isinf(right)).all()
        finite = np.isfinite(right)
        scale = np.abs(right[finite]).max() if value != 3e38 or not finite.any() else 3e38
        assert np.abs(one[finite] - right[finite]).max() <= 2e-5 * scale


@pytest.mark.parametrize(
    ("w_shape", "options", "reason"),
    [
        ((16, 16, 7, 7), {}, "kernel is not 3x3"),
        ((16, 16, 3, 5), {}, "kernel is not 3x3"),
        ((16, 16, 1, 1), {}, "kernel is not 3x3"),
        ((16, 16, 3, 3), {"stride": 3}, "stride is not 1"),
        ((16, 16, 3, 3), {"stride": (1, 2)}, "stride is not 1"),
        ((16, 16, 5, 5), {"stride": 2}, "stride is not 1"),
        ((16, 16, 3, 3), {"stride": 2, "dilation": 2}, "dilated kernels have a stride"),
        ((16, 16, 3, 3), {"dilation": 10, "padding": 10}, "dilation is larger"),
    ],
)
def test_what_winograd_cannot_do_is_refused_with_the_reason(w_shape, options, reason):
    x, w = np.ones((1, 16, 9, 9)), np.ones(w_shape)
    with pytest.raises(ValueError, match=reason):
        fastconv.conv_forward(x, w, algorithm="winograd", **options)


def problem_of(path, channels=20, filters=18):
    kernel, stride = PATHS[path]
    x_shape, w_shape = (2, channels, 15, 13), (filters, channels, *kernel)
    options = {"stride": stride, "padding": tuple(n // 2 for n in kernel)}
    return _problem.conv_problem(x_shape, w_shape, **options), x_shape, w_shape, options


def candidates(op, problem):
    return {row["path"]: row for row in _core.conv_candidates(op, problem, "f")}


def test_paths_are_those_of_the_engine():
    assert list(PATHS) == [n for n in fastconv.algorithms() if n.startswith("winograd/")]


@pytest.mark.parametrize("level", ["normal", "high"])
@pytest.mark.parametrize("path", PATHS)
def test_path_that_is_named_runs_whatever_the_accuracy(path, level):
    _, x_shape, w_shape, options = problem_of(path)
    rng = np.random.default_rng(12)
    x, w, b = (rng.standard_normal(shape) for shape in (x_shape, w_shape, w_shape[:1]))
    dy = rng.standard_normal(fastconv.conv_forward(x, w, b, **options).shape)
    right = results(x, w, b, dy, options, "naive")
    alike = [name for name in PATHS if PATHS[name] == PATHS[path]]
    with fastconv.accuracy(level):
        near = results(x, w, b, dy, options, path)
        unasked = results(x, w, b, dy, options, "winograd")
        for other in PATHS:
            if other not in alike:
                with pytest.raises(ValueError, match=f"'{other}' cannot .*: the kernel is not"):
                    fastconv.conv_forward(x, w, b, algorithm=other, **options)
    for one, expected in zip(near, right, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-11)
    taken = alike[0] if level == "high" else alike[-1]
    for one, other in zip(near[:3], unasked[:3], strict=True):  # db has no tiles
        assert (one.tobytes() == other.tobytes()) == (path == taken)


@pytest.mark.parametrize("op", ["forward", "dx", "dw"])
@pytest.mark.parametrize("path", PATHS)
def test_path_says_what_it_costs_and_how_it_runs(path, op):
    problem, *_ = problem_of(path)
    asked = candidates(op, problem)
    assert asked[path]["refusal"] is None and asked[path]["cycles"] > 0
    assert asked[path]["exact"] == (path == "winograd/2x2_3x3")
    with fastconv.num_threads(2):
        plan = _core.describe_conv(op, path, problem, "f")
    assert plan["path"] == path and "F(" in plan["how"]
    assert plan["fallback"].partition("/")[0] == "implicit_gemm"
    assert min(*plan["tile"], *plan["block"], plan["tasks"], plan["workspace_bytes"]) > 0
    outputs = problem.window.in_size if op == "dx" else problem.window.out_size
    assert plan["block"][1] <= outputs[1] and plan["block"][2] <= outputs[2]


@pytest.mark.parametrize("op", ["forward", "dx", "dw"])
def test_accuracy_decides_between_the_tiles_of_3x3(op):
    problem, *_ = problem_of("winograd/4x4_3x3", channels=64, filters=64)
    asked = candidates(op, problem)
    assert asked["winograd/2x2_3x3"]["doubt"] == "accuracy normal takes larger tiles"
    assert asked["winograd/4x4_3x3"]["doubt"] is None
    assert asked["winograd/4x4_3x3"]["cycles"] < asked["winograd/2x2_3x3"]["cycles"]
    with fastconv.accuracy("high"):
        asked = candidates(op, problem)
    assert asked["winograd/2x2_3x3"]["doubt"] is None
    assert asked["winograd/4x4_3x3"]["doubt"] == "accuracy high asks for 2x2_3x3"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("isa", fastconv.isas())
def test_path_that_is_exact_sums_small_whole_numbers_as_they_are(isa, dtype):
    rng = np.random.default_rng(13)
    x, w = rng.integers(-4, 5, (2, 33, 15, 13)), rng.integers(-4, 5, (20, 33, 3, 3))
    dy, b = rng.integers(-4, 5, (2, 20, 15, 13)), rng.integers(-4, 5, 20)
    arrays = [a.astype(dtype) for a in (x, w, b, dy)]
    right = results(*arrays, {"padding": 1}, "naive")
    with fastconv.use_isa(isa):
        actual = results(*arrays, {"padding": 1}, "winograd/2x2_3x3")
    for one, expected in zip(actual, right, strict=True):
        np.testing.assert_array_equal(one, expected)


def test_weights_prepared_for_other_tiles_are_not_taken():
    problem, x_shape, w_shape, _ = problem_of("winograd/4x4_3x3")
    rng = np.random.default_rng(14)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    for path, other in (("2x2_3x3", "4x4_3x3"), ("4x4_3x3", "2x2_3x3")):
        weights = _core.prepare_weights(f"winograd/{other}", problem, w, False, False)
        y, expected = np.empty(problem.y_shape), np.empty(problem.y_shape)
        _core.conv_forward(f"winograd/{path}", problem, x, w, None, False, expected, None)
        _core.conv_forward(f"winograd/{path}", problem, x, w, None, False, y, weights)
        assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(512, 160), (40, 1200)])
def test_dw_of_channels_that_must_be_cut(shape, threads):
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal((9, shape[0], 12, 12)), np.empty((shape[1], shape[0], 3, 3))
    dy = rng.standard_normal((9, shape[1], 12, 12))
    with fastconv.num_threads(threads):
        right = fastconv.conv_backward(dy, x, w, padding=1, algorithm="implicit_gemm")
        near = fastconv.conv_backward(dy, x, w, padding=1, algorithm="winograd", need=("dw", "db"))
    np.testing.assert_allclose(near.dw, right.dw, atol=1e-11)
    np.testing.assert_allclose(near.db, right.db, atol=1e-11)


# (C, K, size): the last range by itself would have other register tiles than the first, and, of the
# large images, more of them or larger sums.
RANGES_UNLIKE = [(16, 520, 14), (112, 40, 14), (104, 72, 7), (272, 64, 184), (136, 20, 184)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("channels", "filters", "size"), RANGES_UNLIKE)
def test_dw_of_ranges_that_differ_in_size(channels, filters, size, dtype):
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, channels, size, size)).astype(dtype)
    w = np.empty((filters, channels, 3, 3), dtype)
    dy = rng.standard_normal((1, filters, size, size)).astype(dtype)
    for isa in [name for name in fastconv.isas() if name != "portable"]:
        results = []
        for threads in (1, 2, 3, 4, 8):
            with fastconv.use_isa(isa), fastconv.num_threads(threads):
                results.append(fastconv.conv_backward(dy, x, w, padding=1, need=("dw", "db")))
        with fastconv.use_isa(isa):
            right = fastconv.conv_backward(dy, x, w, padding=1, algorithm="implicit_gemm")
        for one in results:
            assert one.dw.tobytes() == results[0].dw.tobytes(), isa
            assert one.db.tobytes() == results[0].db.tobytes(), isa
        near = 2e-5 * np.abs(right.dw).max() if dtype == np.float32 else 1e-11
        np.testing.assert_allclose(results[0].dw, right.dw, atol=near)
        np.testing.assert_allclose(results[0].db, right.db, atol=near, rtol=1e-5)


def test_db_alone():
    x, w = np.ones((1, 16, 9, 9)), np.ones((16, 16, 3, 3))
    dy = np.ones((1, 16, 7, 7))
    for algorithm in ("auto", "winograd"):
        gradients = fastconv.conv_backward(dy, x, w, need="db", algorithm=algorithm)
        assert gradients.dw is None and (gradients.db == 49).all()
    with pytest.raises(ValueError, match="dw is not wanted"):
        fastconv.conv_backward(dy, x, w, need="db", algorithm="winograd/4x4_3x3")
    with pytest.raises(ValueError, match="the kernel is not 3x3, 5x5"):
        w = np.ones((16, 16, 7, 7))
        fastconv.conv_backward(dy[..., :3, :3], x, w, need="db", algorithm="winograd")


def test_empty_batch_has_zero_gradients():
    x, w = np.ones((0, 16, 9, 9)), np.ones((16, 16, 3, 3))
    gradients = fastconv.conv_backward(np.ones((0, 16, 7, 7)), x, w, algorithm="winograd")
    assert not gradients.dw.any() and not gradients.db.any()


MANY_CHANNELS = [
    ((8, 4096, 8, 8), 16, "f4"),
    ((16, 2000, 8, 8), 32, "f4"),
    ((3, 2049, 9, 8), 33, "f8"),
    ((4, 16, 112, 112), 5000, "f4"),
]


@pytest.mark.parametrize("shape, filters, dtype", MANY_CHANNELS)
def test_many_channels_keep_to_the_workspace(shape, filters, dtype):
    rng = np.random.default_rng(4)
    x = rng.standard_normal(shape).astype(dtype)
    w = rng.standard_normal((filters, shape[1], 3, 3)).astype(dtype)
    with fastconv.num_threads(1):
        plan = fastconv.ConvPlan(shape, w, padding=1, algorithm="winograd")
        assert plan.workspace_bytes < 12 << 20  # and up to 10 MiB of weights for a call alone
        y = fastconv.conv_forward(x[:, :, :8], w, padding=1, algorithm="winograd")
        right = fastconv.conv_forward(x[:, :, :8], w, padding=1, algorithm="implicit_gemm")
    size = np.sqrt(np.mean(right.astype("f8") ** 2))
    np.testing.assert_allclose(y, right, rtol=0, atol=100 * np.finfo(dtype).eps * size)


def test_plan_says_how():
    plan = fastconv.ConvPlan((8, 64, 56, 56), np.ones((64, 64, 3, 3)), algorithm="winograd")
    assert "F(4x4, 3x3)" in str(plan) and plan.workspace_bytes > 0


def chosen(shape, channels, kernel=3, **options):
    size = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    w = np.ones((channels, shape[1], *size), np.float32)
    path = fastconv.ConvPlan(shape, w, **{"padding": 1} | options).algorithm
    return path.partition("/")[0]


def test_auto_takes_it_where_tiles_and_channels_are_many():
    assert chosen((8, 64, 56, 56), 64) == "winograd"
    assert chosen((1, 32, 28, 28), 32) == "winograd"
    assert chosen((8, 64, 28, 28), 64, kernel=5) == "winograd"
    assert chosen((4, 64, 28, 28), 64, dilation=2, padding=2) == "winograd"
    assert chosen((8, 64, 28, 28), 64, kernel=7) == "implicit_gemm"
    assert chosen((8, 15, 56, 56), 64) == chosen((8, 64, 56, 56), 20) == "winograd"
    assert chosen((8, 7, 56, 56), 64) == chosen((8, 64, 56, 56), 7) == "implicit_gemm"
    assert chosen((8, 15, 28, 28), 64, kernel=5) == "implicit_gemm"
    assert chosen((1, 512, 7, 7), 512) == "winograd"
    assert chosen((8, 256, 4, 4), 512) == "winograd"
    assert chosen((64, 32, 2, 2), 32) == "implicit_gemm"
    assert chosen((8, 64, 56, 56), 64, stride=2) == "winograd"
    assert chosen((8, 64, 7, 7), 64, stride=2) == "implicit_gemm"
    assert chosen((8, 64, 56, 56), 64, stride=3) == "implicit_gemm"
    assert chosen((8, 64, 28, 28), 64, kernel=(1, 7), padding=(0, 3)) == "winograd"
    assert chosen((8, 64, 28, 28), 64, kernel=(3, 1), padding=(1, 0)) == "winograd"
    assert chosen((4, 64, 4096), 128, kernel=(3,), padding=64, dilation=64) == "winograd"
    assert chosen((1, 64, 8), 64, kernel=(3,)) == "implicit_gemm"
    assert chosen((2, 64, 8, 28, 28), 64, kernel=(3, 3, 3)) == "winograd"


@pytest.mark.parametrize("threads", [1, 2])
def test_accuracy_high_has_the_error_of_direct_sums(threads):
    rng = np.random.default_rng(9)
    x, w = rng.standard_normal((2, 64, 20, 20)), rng.standard_normal((64, 64, 3, 3))
    dy = rng.standard_normal((2, 64, 20, 20))
    options = {"padding": 1}
    single = [a.astype("f4") for a in (x, w, dy)]
    exact = results(
        *(a.astype("f8") for a in single[:2]), None, single[2].astype("f8"), options, "naive"
    )
    errors = {}
    for level, algorithm in (("high", "auto"), ("high", "implicit_gemm"), ("normal", "auto")):
        with fastconv.accuracy(level), fastconv.num_threads(threads):
            near = results(*single[:2], None, single[2], options, algorithm)
        errors[level, algorithm] = [
            np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))
            for a, b in zip(near[:3], exact[:3], strict=True)
        ]
    direct = errors["high", "implicit_gemm"]
    assert all(a <= 1.5 * b for a, b in zip(errors["high", "auto"], direct, strict=True))
    assert all(a <= 4 * b for a, b in zip(errors["normal", "auto"], direct, strict=True))


def test_accuracy_high_is_exact_where_direct_sums_are():
    rng = np.random.default_rng(3)
    x, dy = rng.integers(-4, 5, (2, 2, 32, 20, 20)).astype("f4")
    w = rng.integers(-4, 5, (32, 32, 3, 3)).astype("f4")
    exact = fastconv.conv_forward(x, w, padding=1, algorithm="naive")
    back = fastconv.conv_backward(dy, x, w, padding=1, algorithm="naive").dx
    plan = fastconv.ConvPlan(x.shape, w, padding=1)
    for level in ("high", "normal", "high"):
        with fastconv.accuracy(level):
            assert ("F(2x2, 3x3)" if level == "high" else "F(4x4, 3x3)") in str(plan)
            y, dx = plan(x), fastconv.conv_backward(dy, x, w, padding=1).dx
            assert y.tobytes() == fastconv.conv_forward(x, w, padding=1).tobytes()
            for actual, right in ((y, exact), (dx, back)):
                if level == "high":
                    np.testing.assert_array_equal(actual, right)
                else:
                    np.testing.assert_allclose(actual, right, atol=2e-5 * np.abs(right).max())
    assert fastconv.get_accuracy() == "normal"
    with fastconv.accuracy("high"):
        y = fastconv.conv_forward(x, w, padding=1, algorithm="winograd")
        assert y.tobytes() == fastconv.conv_forward(x, w, padding=1).tobytes()


@pytest.mark.parametrize("level", ["low", 1, None])
def test_other_accuracies_are_refused(level):
    with pytest.raises(ValueError, match=r"level is .*expected one of \('normal', 'high'\)"):
        fastconv.set_accuracy(level)
    assert fastconv.get_accuracy() == "normal"


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("case", [*CASES, *STRIDED])
def test_plans_give_the_same_bits(case, last):
    x, w, b, options = arrays_of(case, last, np.float32)
    options = options | {"algorithm": "winograd", "activation": "relu"}
    y = fastconv.conv_forward(x, w, b, **options)
    plan = fastconv.ConvPlan(x.shape, w, b, **options)
    assert plan(x).tobytes() == y.tobytes() == plan(x).tobytes()
    w.flat[3] = np.nan
    y = fastconv.conv_forward(x, w, b, **options)
    np.testing.assert_array_equal(fastconv.ConvPlan(x.shape, w, b, **options)(x), y)


@pytest.mark.parametrize("layout", [None, "NDHWC"])
def test_planes_behind_the_only_one_are_not_left_out(layout):
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((1, 32, 1, 28, 28)), rng.standard_normal((32, 32, 1, 3, 3))
    x = x if layout is None else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    options = {"padding": ((0, 1), (1, 1), (1, 1)), "layout": layout}
    expected = fastconv.conv_forward(x, w, algorithm="naive", **options)
    for algorithm in ("auto", "winograd"):
        out = np.full(expected.shape, np.nan)
        y = fastconv.conv_forward(x, w, out=out, algorithm=algorithm, **options)
        np.testing.assert_allclose(y, expected, atol=1e-11)


def test_residue_of_no_positions_has_no_dx():
    x, w = np.ones((1, 16, 1, 9)), np.ones((16, 16, 3, 3))
    options = {"stride": 2, "padding": 1, "algorithm": "winograd"}
    y = fastconv.conv_forward(x, w, **options)
    with pytest.raises(ValueError, match="residue of no positions"):
        fastconv.conv_backward(y, x, w, need="dx", **options)


@kept
def upsampled():
    """x, w, b and the transposed convolution of stride 2, by the naive loops; channels first."""
    rng = np.random.default_rng(11)
    x, w, b = (rng.standard_normal(shape) for shape in ((4, 64, 28, 28), (64, 48, 3, 3), (48,)))
    options = {"stride": 2, "padding": 1, "algorithm": "naive"}
    y = fastconv.conv_backward(x, np.zeros((4, 48, 56, 56)), w, need="dx", **options).dx
    return x, w, b, y + b[:, None, None]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_transposed_convolution_of_stride_2_adds_the_bias(layout, isa):
    x, w, b, expected = upsampled()
    options = {"stride": 2, "padding": 1, "output_padding": 1, "layout": layout}
    x = x if layout == "NCHW" else channels_last(x)
    y = fastconv.conv_transpose_forward(x, w, b, **options)
    y = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y, expected, atol=1e-11)


def test_depth_with_a_stride_has_no_dx():
    x, w = np.ones((1, 16, 5, 9, 9)), np.ones((16, 16, 3, 3, 3))
    options = {"stride": (2, 1, 1), "algorithm": "winograd"}
    y = fastconv.conv_forward(x, w, **options)
    np.testing.assert_allclose(y, 432, atol=1e-10)
    fastconv.conv_backward(y, x, w, need="dw", **options)
    with pytest.raises(ValueError, match="stride of the first axis is not 1"):
        fastconv.conv_backward(y, x, w, need="dx", **options)


@pytest.mark.parametrize("count", [1, 40])
def test_a_few_elements_that_are_not_finite_in_a_large_image(count):
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((1, 16, 80, 80)), rng.standard_normal((16, 16, 3, 3))
    x.flat[rng.integers(0, x.size, count)] = np.nan
    expected = fastconv.conv_forward(x, w, padding=1, algorithm="naive")
    y = fastconv.conv_forward(x, w, padding=1, algorithm="winograd")
    np.testing.assert_allclose(y, expected, atol=1e-11)


def test_weights_of_any_strides_are_transformed():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 32, 20, 20))
    w = rng.standard_normal((3, 3, 32, 48)).transpose(3, 2, 0, 1)  # as TensorFlow keeps them
    expected = fastconv.conv_forward(x, w, padding=1, algorithm="naive")
    np.testing.assert_allclose(fastconv.conv_forward(x, w, padding=1), expected, atol=1e-11)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("channels, width", [(16, 890), (32, 720), (64, 520), (130, 300)])
def test_rows_of_wide_images_fit_the_workspace(channels, width, dtype, layout):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, 5, width)).astype(dtype)
    w = rng.standard_normal((17, channels, 3, 3)).astype(dtype)
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    options = {"padding": 1, "layout": layout}
    y = fastconv.conv_forward(x, w, algorithm="winograd", **options)
    expected = fastconv.conv_forward(x, w, algorithm="naive", **options)
    np.testing.assert_allclose(y, expected, atol=3e-4 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("channels", [64, 192])
def test_points_that_no_tap_needs_do_not_decide_who_sums_dw(channels):
    """Where a residue of a stride lacks a tap, elements near the largest overflow in it alone."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, 25, 25)).astype("f4")
    x[0, 3, 10, 7] = 1.8e38
    dy = (rng.standard_normal((1, 64, 12, 12)) * 0.01).astype("f4")
    w = np.zeros((64, channels, 3, 3), "f4")
    bits = set()
    for threads in (1, 2, 5):
        with fastconv.num_threads(threads):
            gradients = fastconv.conv_backward(
                dy, x, w, stride=2, need=("dw",), algorithm="winograd"
            )
            bits.add(gradients.dw.tobytes())
    assert len(bits) == 1


@pytest.mark.parametrize(
    ("x_shape", "filters", "kernel"),
    [((1, 2048, 34, 110), 32, 3), ((1, 1600, 34, 56), 32, 5)],
)
def test_one_row_of_tiles_leaves_room_for_shared_weights(x_shape, filters, kernel):
    w = np.zeros((filters, x_shape[1], kernel, kernel), "f4")
    with fastconv.num_threads(1):
        plan = fastconv.ConvPlan(x_shape, w, padding=1, algorithm="winograd")
    assert plan.workspace_bytes < 6 << 20  # and up to 10 MiB of weights for a call alone
