"""algorithm="direct": its paths against the defining sums; the same bits at every thread count.

Which path runs depends on the instruction set: with AVX2 and AVX-512, which mask loads, planes are
read where they lie. Tests that need a path force it.
"""

import numpy as np
import pytest

import fastconv

OPS = {"forward": ("y",), "dx": ("dx",), "dw": ("dw", "db")}
# name: (x as channels first, w, options)
CASES = {
    "rows_of_half_a_vector": ((3, 40, 7, 7), (40, 1, 3, 3), {"padding": 1, "groups": 40}),
    "rows_beyond_half_a_vector": ((2, 20, 9, 13), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    "whole_and_part_vectors": ((2, 17, 21, 57), (17, 1, 3, 3), {"padding": 1, "groups": 17}),
    "several_bands": ((1, 3, 150, 170), (3, 1, 5, 5), {"padding": 2, "groups": 3}),
    "stride": ((2, 18, 23, 40), (18, 1, 3, 3), {"padding": 1, "stride": 2, "groups": 18}),
    "stride_of_short_rows": (
        (2, 33, 13, 14),
        (33, 1, 5, 5),
        {"padding": 2, "stride": 2, "groups": 33},
    ),
    "stride_beyond_the_taps": ((2, 5, 20, 20), (5, 1, 2, 1), {"stride": (3, 4), "groups": 5}),
    "stride_of_many_residues": ((1, 4, 30, 41), (4, 1, 4, 5), {"stride": (3, 5), "groups": 4}),
    "dilation": ((2, 16, 20, 30), (16, 1, 3, 3), {"padding": 3, "dilation": 3, "groups": 16}),
    "seven_taps": ((1, 20, 18, 33), (20, 1, 7, 7), {"padding": 3, "groups": 20}),
    "any_number_of_taps": ((1, 6, 20, 34), (6, 1, 9, 4), {"padding": (4, 1), "groups": 6}),
    "kernel_as_large_as_the_image": ((2, 20, 6, 6), (20, 1, 6, 6), {"groups": 20}),
    "several_outputs_a_channel": ((2, 18, 11, 19), (54, 1, 3, 3), {"padding": 1, "groups": 18}),
    "groups_of_four": ((2, 24, 14, 21), (24, 4, 3, 3), {"padding": 1, "groups": 6}),
    "groups_from_eight_to_two": ((2, 24, 10, 37), (6, 8, 3, 3), {"stride": 2, "groups": 3}),
    "pairs_of_outputs_and_one_more": ((1, 12, 9, 35), (9, 4, 3, 3), {"padding": 1, "groups": 3}),
    "narrow_planes_of_many_rows": (
        (2, 35, 21, 5),
        (35, 1, 5, 3),
        {"padding": (2, 1), "groups": 35},
    ),
    "narrow_planes_of_one_row": ((2, 20, 1, 7), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    "narrow_planes_and_dilation": (
        (2, 33, 8, 8),
        (33, 1, 3, 3),
        {"padding": (1, 2), "dilation": (1, 2), "groups": 33},
    ),
    "more_narrow_planes_than_a_call_takes": (
        (1, 70, 4, 3),
        (70, 1, 7, 3),
        {"padding": 3, "groups": 70},
    ),
    "stride_of_five_taps": ((2, 6, 21, 45), (6, 1, 5, 5), {"padding": 2, "stride": 2, "groups": 6}),
    "stride_of_unlike_axes": ((2, 5, 14, 37), (5, 1, 3, 4), {"stride": (1, 2), "groups": 5}),
    "stride_and_dilation": (
        (2, 5, 19, 37),
        (5, 1, 3, 3),
        {"padding": 2, "stride": 2, "dilation": 3, "groups": 5},
    ),
    "padding_wider_than_a_vector": ((1, 3, 6, 5), (3, 1, 3, 3), {"padding": (1, 40), "groups": 3}),
    "one_channel": ((2, 1, 30, 40), (1, 1, 3, 3), {"padding": 1}),
    "signal": ((2, 20, 300), (20, 1, 5), {"padding": 2, "groups": 20}),
    "signal_with_stride": ((2, 20, 301), (20, 1, 5), {"padding": 2, "stride": 2, "groups": 20}),
    "long_signal": ((1, 2, 70000), (2, 1, 3), {"dilation": 2, "groups": 2}),
    "volume": ((2, 18, 5, 6, 9), (18, 1, 3, 3, 3), {"padding": 1, "groups": 18}),
    "small_planes_of_volumes": (
        (2, 20, 4, 2, 2),
        (20, 1, 3, 3, 3),
        {"padding": 1, "groups": 20},
    ),
    "residues_in_two_calls": ((2, 20, 1, 9), (20, 1, 1, 9), {"stride": (1, 9), "groups": 20}),
}
LAST = {3: "NWC", 4: "NHWC", 5: "NDHWC"}


def arrays_of(case, layout, dtype):
    x_shape, w_shape, options = CASES[case]
    rng = np.random.default_rng(1)
    x = rng.standard_normal(x_shape).astype(dtype)
    w, b = rng.standard_normal(w_shape).astype(dtype), rng.standard_normal(w_shape[0]).astype(dtype)
    if layout == "last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        options = options | {"layout": LAST[x.ndim]}
    return x, w, b, options


def results(x, w, b, dy, options, algorithm):
    options = options | {"algorithm": algorithm}
    y = fastconv.conv_forward(x, w, b, activation="relu", **options)
    return y, *fastconv.conv_backward(dy, x, w, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CASES)
def test_direct_gives_the_defining_sums(case, layout, dtype):
    x, w, b, options = arrays_of(case, layout, dtype)
    y = fastconv.conv_forward(x, w, b, **options)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
    expected = results(x, w, b, dy, options, "naive")
    tolerance = 3e-6 if dtype == np.float32 else 1e-13
    for isa in fastconv.isas():
        with fastconv.use_isa(isa), fastconv.num_threads(1):
            single = results(x, w, b, dy, options, "direct")
        for name, actual, right in zip(("y", "dx", "dw", "db"), single, expected, strict=True):
            limit = tolerance * max(1, np.abs(right).max())
            assert np.abs(actual - right).max() <= limit, (name, isa)
        for threads in (2, 3):
            with fastconv.use_isa(isa), fastconv.num_threads(threads):
                many = results(x, w, b, dy, options, "direct")
            for name, one, other in zip(("y", "dx", "dw", "db"), single, many, strict=True):
                assert one.tobytes() == other.tobytes(), (name, isa, threads)


def paths_of(op, x, w, options, dtype="float32"):
    """The paths of direct that do not refuse the problem, and the refusals of the others."""
    rows = fastconv.explain(op, x.shape, w.shape, dtype=dtype, **options)["candidates"]
    rows = [row for row in rows if row["path"].startswith("direct/")]
    assert len(rows) == 6
    refused = {row["path"]: row["refusal"] for row in rows if row["refusal"] is not None}
    return [row["path"] for row in rows if row["path"] not in refused], refused


def result_of(op, x, w, b, dy, options, path):
    """y, or dx, or dw and db, by one path."""
    if op == "forward":
        return (fastconv.conv_forward(x, w, b, activation="relu", algorithm=path, **options),)
    found = fastconv.conv_backward(dy, x, w, need=OPS[op], algorithm=path, **options)
    return tuple(getattr(found, name) for name in OPS[op])


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CASES)
def test_every_path_gives_the_defining_sums(case, layout, isa):
    x, w, b, options = arrays_of(case, layout, np.float32)
    dy = np.ones_like(fastconv.conv_forward(x, w, b, **options))
    dy *= np.random.default_rng(2).standard_normal(dy.shape)
    for op in OPS:
        expected = result_of(op, x, w, b, dy, options, "naive")
        for path in paths_of(op, x, w, options)[0]:
            actual = result_of(op, x, w, b, dy, options, path)
            for name, a, e in zip(OPS[op], actual, expected, strict=True):
                assert np.abs(a - e).max() <= 3e-6 * max(1, np.abs(e).max()), (name, path)


# (case, layout, op): (with AVX-512, with AVX2, without masked loads)
CHOICES = {
    ("rows_of_half_a_vector", "first", "forward"): ("narrow", "narrow", "copies"),
    ("rows_of_half_a_vector", "first", "dx"): ("narrow", "narrow", "copies"),
    ("rows_of_half_a_vector", "first", "dw"): ("narrow", "transposed", "copies"),
    ("rows_of_half_a_vector", "last", "forward"): ("channels", "channels", "channels"),
    ("rows_of_half_a_vector", "last", "dx"): ("channels", "channels", "channels"),
    ("rows_of_half_a_vector", "last", "dw"): ("channels", "channels", "channels"),
    ("narrow_planes_and_dilation", "first", "forward"): ("narrow", "narrow", "copies"),
    ("narrow_planes_of_many_rows", "first", "dw"): ("transposed", "transposed", "copies"),
    ("more_narrow_planes_than_a_call_takes", "first", "forward"): (
        "narrow",
        "transposed",
        "copies",
    ),
    ("kernel_as_large_as_the_image", "first", "forward"): (
        "transposed",
        "transposed",
        "transposed",
    ),
    ("kernel_as_large_as_the_image", "first", "dx"): ("transposed", "transposed", "copies"),
    ("stride_of_short_rows", "first", "forward"): ("transposed", "narrow", "copies"),
    ("stride_of_short_rows", "first", "dx"): ("in_place", "narrow", "copies"),
    ("whole_and_part_vectors", "first", "forward"): ("in_place", "in_place", "copies"),
    ("stride", "first", "dw"): ("in_place", "in_place", "copies"),
    ("groups_of_four", "first", "forward"): ("in_place", "copies", "copies"),
    ("groups_of_four", "last", "forward"): ("copies", "copies", "copies"),
    ("seven_taps", "first", "forward"): ("in_place", "copies", "copies"),
    ("stride_of_many_residues", "first", "dx"): ("copies", "copies", "copies"),
    ("signal", "first", "forward"): ("copies", "copies", "copies"),
    ("volume", "first", "forward"): ("in_place", "in_place", "copies"),
    ("small_planes_of_volumes", "first", "forward"): ("mixed", "mixed", "mixed"),
    ("small_planes_of_volumes", "first", "dx"): ("transposed", "transposed", "transposed"),
    ("small_planes_of_volumes", "first", "dw"): ("mixed", "mixed", "mixed"),
    ("residues_in_two_calls", "first", "dx"): ("mixed", "mixed", "mixed"),
}


@pytest.mark.parametrize(("case", "layout", "op"), CHOICES, ids=map("-".join, CHOICES))
def test_each_arrangement_is_taken_where_it_is_quickest(case, layout, op, isa):
    x, w, _, options = arrays_of(case, layout, np.float32)
    explained = fastconv.explain(op, x.shape, w.shape, algorithm="direct", **options)
    avx512, avx2, unmasked = CHOICES[case, layout, op]
    wanted = {"avx512": avx512, "avx2": avx2}.get(isa, unmasked)
    assert explained["path"] == f"direct/{wanted}"
    others = [row for row in explained["candidates"] if row["path"].startswith("direct/")]
    assert all(row["doubt"] for row in others if not row["refusal"] and row["verdict"] != "taken")


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CASES)
def test_plans_of_every_op_are_described(case, layout, isa):
    x, w, _, options = arrays_of(case, layout, np.float32)
    for op in OPS:
        for path in paths_of(op, x, w, options)[0]:
            plan = fastconv.explain(op, x.shape, w.shape, algorithm=path, **options)
            assert plan["path"] == path and plan["how"], (op, path)
            assert min(*plan["tile"], *plan["block"], plan["tasks"]) >= 1, (op, path)
            assert plan["tasks"] <= plan["threads"]
            narrow = path == "direct/narrow" and op != "dw"
            assert (plan["workspace_bytes"] == 0) == narrow, (op, path)
            assert ("defining sums" in plan["how"]) == (op == "dw"), (op, path)


def test_db_alone_is_summed_over_copies(isa):
    x, w, _, options = arrays_of("whole_and_part_vectors", "first", np.float32)
    dy = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    for path in ("direct", "direct/copies"):
        db = fastconv.conv_backward(dy, x, w, need=("db",), algorithm=path, **options).db
        np.testing.assert_allclose(db, dy.sum((0, 2, 3), dtype=np.float64), rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="cannot do this problem: dw is not wanted"):
        fastconv.conv_backward(dy, x, w, need=("db",), algorithm="direct/in_place", **options)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CASES)
def test_auto_takes_direct_where_groups_are_narrow(case, layout):
    x, w, _, options = arrays_of(case, layout, np.float32)
    assert fastconv.ConvPlan(x.shape, w, **options).algorithm.startswith("direct/")


@pytest.mark.parametrize("size", [252, 256, 512, 3000])
def test_auto_takes_direct_for_depthwise_images_of_any_size(size):
    w = np.ones((32, 1, 3, 3), np.float32)
    plan = fastconv.ConvPlan((1, 32, size, size), w, stride=2, padding=1, groups=32)
    assert plan.algorithm.startswith("direct/") and plan.workspace_bytes < 16 << 20


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "groups"),
    [
        ((1, 32, 8, 8), (32, 16, 2, 2), 2),
        ((8, 8, 56, 56), (8, 8, 3, 3), 1),
        ((8, 8, 56, 56), (8, 2, 1, 1), 4),
        ((8, 8, 4, 4), (8, 2, 3, 3), 4),
    ],
    ids=["wide_groups", "eight_channels", "one_tap", "short_rows"],
)
def test_auto_leaves_to_products_what_they_do_better(x_shape, w_shape, groups):
    plan = fastconv.ConvPlan(x_shape, np.ones(w_shape, np.float32), groups=groups)
    assert plan.algorithm.partition("/")[0] in ("implicit_gemm", "winograd")


def test_row_of_outputs_that_is_padding_takes_no_memory():
    w = np.ones((16, 1, 3, 3), np.float32)
    plan = fastconv.ConvPlan((1, 16, 4, 4), w, padding=(100000, 1), groups=16, algorithm="direct")
    assert plan.workspace_bytes < fastconv.get_num_threads() * (16 << 20)


# Lanes beside the outputs meet zeros of dy: what they read must not matter.
@pytest.mark.parametrize("size", [7, 13, 57])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_dw_of_non_finite_inputs_is_that_of_the_defining_sums(value, layout, size):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((2, 20, 9, size)), rng.standard_normal((20, 1, 3, 3))
    x[1, 7, 4, -1] = value  # only the last column of taps reaches it
    x[0, 3, 0, 0] = value
    dy = rng.standard_normal((2, 20, 7, size - 2))
    options = {"groups": 20}
    if layout == "last":
        x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
        options["layout"] = "NHWC"
    _, expected, _ = fastconv.conv_backward(dy, x, w, need="dw", algorithm="naive", **options)
    assert np.isfinite(expected).any() and not np.isfinite(expected).all()
    for path in paths_of("dw", x, w, options, "float64")[0]:
        _, actual, _ = fastconv.conv_backward(dy, x, w, need="dw", algorithm=path, **options)
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12, err_msg=path)


@pytest.mark.parametrize(
    "case", ["rows_of_half_a_vector", "whole_and_part_vectors", "stride", "groups_of_four"]
)
@pytest.mark.parametrize("where", ["x", "w", "dy"])
def test_non_finite_values_land_where_the_defining_sums_put_them(case, where):
    x, w, b, options = arrays_of(case, "first", np.float32)
    dy = np.ones_like(fastconv.conv_forward(x, w, b, **options))
    array = {"x": x, "w": w, "dy": dy}[where]
    array[-1, 0, 0, -1], array[0, 0, -1, 0] = np.inf, np.nan
    expected = results(x, w, b, dy, options, "naive")
    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            actual = results(x, w, b, dy, options, "direct")
        for name, a, e in zip(("y", "dx", "dw", "db"), actual, expected, strict=True):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(e), err_msg=f"{name} {isa}")
            np.testing.assert_array_equal(np.isinf(a), np.isinf(e), err_msg=f"{name} {isa}")


# Planes whose rows have gaps, and begin anywhere.
@pytest.mark.parametrize("columns", [7, 8, 30])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_slices_are_read_in_place(columns, first):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 24, 9, columns + 4), dtype=np.float32)[
        :, ::2, 1:-1, first : first + columns
    ]
    w = rng.standard_normal((12, 1, 3, 3), dtype=np.float32)
    options = {"padding": 1, "groups": 12}
    dy = rng.standard_normal((2, 12, 7, columns + 3), dtype=np.float32)[..., 2:-1]
    expected = results(x, w, None, dy, options, "naive")
    actual = results(x, w, None, dy, options, "direct")
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [5, 8, 4097, 5000])
def test_planes_that_are_left_to_copies(width):
    """Tall narrow ones, whose fetch would take the square of their rows; long rows."""
    rng = np.random.default_rng(5)
    shape = (1, 17, 40, width) if width < 16 else (1, 3, 4, width)
    x, w = rng.standard_normal(shape), rng.standard_normal((shape[1], 1, 3, 3))
    dy, options = rng.standard_normal(shape), {"padding": 1, "groups": shape[1]}
    expected = results(x, w, None, dy, options, "naive")
    for a, e in zip(results(x, w, None, dy, options, "direct"), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 3_000_000), (1, 1, 3, 1_000_000)])
def test_long_rows_take_little_scratch_and_are_shared_out(shape):
    w = np.ones((1, 1, *[3] * (len(shape) - 2)), np.float32)
    rooms = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            plan = fastconv.ConvPlan(shape, w, padding=1, algorithm="direct")
            rooms.append(plan.workspace_bytes)
    assert rooms[0] < 1 << 20 and rooms[1] == 2 * rooms[0]


@pytest.mark.skipif("avx512" not in fastconv.isas(), reason="other planes are copied")
@pytest.mark.parametrize("stride", [1, 2])
def test_dw_of_large_planes_in_place_is_not_one_long_chain(stride):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 112, 112))
    dy = rng.standard_normal((2, 8, 112 // stride, 112 // stride))
    w = np.ones((8, 1, 3, 3))
    options = {"stride": stride, "padding": 1, "groups": 8, "need": ("dw",)}
    exact = fastconv.conv_backward(dy, x, w, **options)[1]
    with fastconv.use_isa("avx512"):
        arrays = [array.astype("f4") for array in (dy, x, w)]
        dw = fastconv.conv_backward(*arrays, algorithm="direct", **options)[1]
    # 1.8 eps; summed over whole planes in a register 3.9, and 2.4 with stride 2.
    error = np.sqrt(np.mean((dw - exact) ** 2) / np.mean(exact**2))
    assert error < 2.2 * np.finfo("f4").eps


@pytest.mark.parametrize("stride", [1, 2])
def test_long_lines_that_are_fetched_ahead_give_the_defining_sums(stride, isa):
    rng = np.random.default_rng(0)  # whole numbers, whose sums are exact; 18 MB of x and y
    x = rng.integers(-4, 5, (2, 29 * stride, 201, 199)).astype("f4")
    w = rng.integers(-4, 5, (29 * stride, 1, 3, 3)).astype("f4")
    options = {"stride": stride, "padding": 1, "groups": 29 * stride}
    y = fastconv.conv_forward(x, w, algorithm="naive", **options)
    dy = np.sign(y)
    np.testing.assert_array_equal(
        fastconv.conv_forward(x, w, algorithm="direct", **options), y, strict=True
    )
    expected = fastconv.conv_backward(dy, x, w, need=("dx", "dw"), algorithm="naive", **options)
    for name in ("dx", "dw"):
        found = fastconv.conv_backward(dy, x, w, need=(name,), algorithm="direct", **options)
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
