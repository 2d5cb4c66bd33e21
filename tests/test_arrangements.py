"""The paths of gathered GEMMs, on shapes large enough for each: against the naive loops.

Every path that does not refuse a problem is forced. All elements are small integers, so that every
sum is exact in every order.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import (
    LAYOUT_LAST,
    Case,
    assert_same_bits,
    channels_first,
    channels_last,
    kept,
    paths_that_can,
)

import fastconv

# Wide padding: most taps read it.
PADDED = [
    Case("most_taps_out", (2, 24, 9, 9), (50, 24, 3, 3), {"padding": 4, "dilation": 4}),
    Case("most_taps_out_few_channels", (2, 24, 9, 9), (3, 24, 3, 3), {"padding": 4, "dilation": 4}),
    Case("some_windows_all_out", (1, 24, 9, 9), (20, 24, 3, 3), {"padding": 20, "dilation": 9}),
    Case("one_side", (2, 24, 9, 9), (40, 24, 3, 3), {"padding": ((0, 6), (6, 0)), "dilation": 3}),
    Case("small_images", (6, 24, 4, 4), (33, 24, 3, 3), {"padding": 1}),
    Case("stride_2", (2, 24, 9, 9), (50, 24, 3, 3), {"padding": 4, "dilation": 4, "stride": 2}),
    Case("groups", (2, 48, 8, 8), (50, 24, 3, 3), {"padding": 3, "dilation": 3, "groups": 2}),
    Case("chains", (1, 140, 7, 7), (40, 140, 3, 3), {"padding": 2, "dilation": 2}),
    Case("line", (3, 24, 20), (50, 24, 5), {"padding": 10, "dilation": 5}),
    Case(
        "volume",
        (1, 12, 4, 6, 6),
        (40, 12, 2, 3, 3),
        {"padding": (1, 4, 4), "dilation": (1, 4, 4)},
    ),
    Case("rows_above_and_below", (1, 5, 12, 16), (33, 5, 9, 9), {"padding": 4}),
    Case("rows_of_several_chains", (2, 40, 12, 12), (40, 40, 7, 5), {"padding": (3, 2)}),
    Case("rows_that_see_nothing", (2, 20, 9, 8), (36, 20, 6, 6), {"padding": ((9, 2), (2, 3))}),
]
CHANNELS = [
    Case(
        f"{c}_to_{k}_stride_{stride}",
        (2, c, 9, 10),
        (k, c, 3, 3),
        {"padding": 1, "stride": stride},
    )
    for c, k in [(70, 70), (70, 24), (70, 3), (24, 70), (24, 3), (3, 70), (3, 24)]
    for stride in (1, 2)
]
POINTWISE = [
    Case(f"pointwise_{c}_to_{k}_stride_{stride}", (2, c, 9, 10), (k, c, 1, 1), {"stride": stride})
    for c, k in [(70, 24), (5, 70)]
    for stride in (1, 2)
] + [
    # Several blocks of pixels, and channels that are taken in several steps.
    Case("pointwise_blocks", (3, 150, 12, 13), (70, 150, 1, 1)),
    Case("pointwise_blocks_stride_2", (2, 67, 40, 9), (80, 67, 1, 1), {"stride": (1, 2)}),
    Case("pointwise_many_channels", (2, 1100, 17, 16), (24, 1100, 1, 1)),
]
# Few sums, of dy that is read in place with pixels in the vector.
FEW_SUMS = [
    Case("notebook", (5, 3, 31, 31), (25, 3, 3, 3), {"padding": 1, "stride": 2}),
    Case("three_layer", (3, 3, 32, 32), (32, 3, 7, 7), {"padding": 3}),
    *(
        Case(f"{k}_filters_of_{c}_channels", (2, c, 12, 19), (k, c, 3, 3), {"padding": 1})
        for c, k in [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8), (6, 33)]
    ),
    Case("dense_pointwise", (3, 5, 21, 37), (6, 5, 1, 1)),
    Case("many_blocks", (60, 2, 13, 33), (8, 2, 3, 2), {"padding": (1, 0)}),
    Case("rows_in_parts", (2, 2, 2, 5003), (9, 2, 1, 5), {"padding": (0, 2)}),
    Case("stride_3_dilation_2", (2, 2, 30, 61), (11, 2, 3, 4), {"stride": 3, "dilation": 2}),
    Case("groups", (2, 6, 14, 24), (20, 3, 3, 3), {"groups": 2, "padding": ((0, 2), (2, 0))}),
    Case("volume", (2, 2, 4, 9, 20), (9, 2, 3, 3, 3), {"padding": 1}),
]
VOLUMES = [
    Case("volume_valid", (2, 12, 4, 5, 6), (40, 12, 2, 3, 3)),
    Case("volume_padded", (2, 12, 4, 5, 6), (40, 12, 3, 3, 3), {"padding": 1}),
    Case("volume_same_stride_2", (1, 12, 5, 7, 6), (40, 12, 3, 3, 3), {"padding": 1, "stride": 2}),
    Case("volume_deep_padding", (1, 12, 3, 6, 7), (40, 12, 2, 2, 2), {"padding": (3, 0, 1)}),
    Case("volume_groups", (1, 24, 4, 5, 6), (40, 12, 2, 3, 3), {"padding": 1, "groups": 2}),
]
LAYOUTS = pytest.mark.parametrize("last", [False, True], ids=["first", "last"])


@pytest.fixture(autouse=True)
def direct_sums():
    """Those of integers are exact."""
    with fastconv.accuracy("high"):
        yield


def view_in_nan(array, slices):
    """The same values in a view of those slices; all else in its buffer is NaN."""
    every = [slices.get(axis, slice(None)) for axis in range(array.ndim)]
    shape = [
        n if s == slice(None) else 2 * n if s.step == 2 else n + 1
        for n, s in zip(array.shape, every, strict=True)
    ]
    view = np.full(shape, np.nan, array.dtype)[tuple(every)]
    view[...] = array
    return view


def all_results(x, w, b, dy, options, last=False):
    """y, dx, dw, db; channels last if asked, but returned channels first."""
    if not last:
        y = fastconv.conv_forward(x, w, b, **options)
        return [y, *fastconv.conv_backward(dy, x, w, **options)]
    options = dict(options, layout=LAYOUT_LAST[x.ndim - 2])
    x, dy = channels_last(x), channels_last(dy)
    y = fastconv.conv_forward(x, w, b, **options)
    dx, dw, db = fastconv.conv_backward(dy, x, w, **options)
    return [channels_first(y), channels_first(dx), dw, db]


@kept
def by_naive_loops(case, dtype=np.float32, seed=0, spoiled=None):
    """x, w, b, dy and y, dx, dw, db; `spoiled` is (name of an array, flat position, value)."""
    x, w, b = case.integers(seed, dtype)
    shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    dy = np.random.default_rng(1).integers(-4, 5, shape).astype(dtype)
    if spoiled:
        name, position, value = spoiled
        {"x": x, "w": w, "dy": dy}[name].flat[position] = value
    return x, w, b, dy, *all_results(x, w, b, dy, dict(case.options, algorithm="naive"))


def check(case, last, dtype=np.float32, seed=0, spoiled=None, view=np.asarray):
    """Every path's results, and its plan's, are those of the naive loops, whatever view is of w."""
    x, w, b, dy, y, *gradients = by_naive_loops(case, dtype, seed, spoiled)
    w, options, first = view(w), dict(case.options), np.asarray
    if last:
        x, dy, first = channels_last(x), channels_last(dy), channels_first
        options["layout"] = LAYOUT_LAST[x.ndim - 2]
    for path in paths_that_can("implicit_gemm", "forward", x, w, options):
        here = dict(options, algorithm=path)
        actual = fastconv.conv_forward(x, w, b, **here)
        np.testing.assert_array_equal(first(actual), y, err_msg=f"y by {path}")
        actual = fastconv.ConvPlan(x.shape, w, b, **here)(x)
        np.testing.assert_array_equal(first(actual), y, err_msg=f"plan by {path}")
    for op, names in {"dx": ("dx",), "dw": ("dw", "db")}.items():
        for path in paths_that_can("implicit_gemm", op, x, w, options):
            actual = fastconv.conv_backward(dy, x, w, need=names, algorithm=path, **options)
            for name, expected in zip(("dx", "dw", "db"), gradients, strict=True):
                if name in names:
                    a = getattr(actual, name)
                    a = first(a) if name == "dx" else a
                    np.testing.assert_array_equal(a, expected, err_msg=f"{name} by {path}")


def test_cases_of_this_file_meet_every_path_of_y_and_dx(isa):
    can, every = set(), set()
    for case in PADDED + CHANNELS + POINTWISE + VOLUMES + FEW_SUMS:
        for layout in (None, LAYOUT_LAST[len(case.x) - 2]):
            x_shape = (case.x[0], *case.x[2:], case.x[1]) if layout else case.x
            for op in ("forward", "dx"):
                plan = fastconv.explain(op, x_shape, case.w, layout=layout, **case.options)
                paths = {(op, row["path"]): row["refusal"] for row in plan["candidates"]}
                every |= {path for path in paths if path[1].startswith("implicit_gemm/")}
                can |= {path for path, refusal in paths.items() if refusal is None}
    assert every <= can


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", PADDED, ids=str)
def test_taps_in_the_padding_may_be_left_out(case, dtype, last, isa):
    check(case, last, dtype)


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("case", PADDED, ids=str)
def test_one_weight_that_is_not_finite_counts_over_the_padding(case, value, last, isa):
    size = math.prod(case.w)
    for position in (0, size // 2, size - 1):
        spoiled = ("w", position, value)
        y = by_naive_loops(case, np.float32, 0, spoiled)[4]
        assert np.isnan(y).any() and np.isfinite(y).any()
        check(case, last, spoiled=spoiled)


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("spoiled", ["x", "dy"])
@pytest.mark.parametrize("case", PADDED + FEW_SUMS, ids=str)
def test_one_infinite_element_of_x_or_dy_reaches_what_it_meets(case, spoiled, last, isa):
    for position in (0, -1):
        spoil = (spoiled, position, np.inf)
        *arguments, y, dx, dw, db = by_naive_loops(case, np.float32, 0, spoil)
        actual = all_results(*arguments, case.options, last)
        for name, a, e in zip(("y", "dx", "dw", "db"), actual, (y, dx, dw, db), strict=True):
            np.testing.assert_array_equal(a, e, err_msg=name)


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CHANNELS + POINTWISE + FEW_SUMS, ids=str)
def test_many_and_few_channels_in_both_layouts(case, dtype, last, isa):
    check(case, last, dtype)


@LAYOUTS
def test_weights_that_are_packed_and_used_in_parts(last, isa):
    case = Case("heavy", (2, 1300, 9, 8), (1301, 1300, 1, 1))  # 12.9 MiB
    x, w, b = case.integers(dtype=np.float64)
    y = np.maximum(
        np.einsum("nchw,kc->nkhw", x, w[:, :, 0, 0], optimize=True) + b[:, None, None], 0
    )
    dx = np.einsum("nkhw,kc->nchw", y, w[:, :, 0, 0], optimize=True)
    layout, put = ("NHWC", channels_last) if last else (None, np.asarray)
    actual = fastconv.conv_forward(put(x), w, b, layout=layout, activation="relu")
    np.testing.assert_array_equal(actual, put(y))
    plan = fastconv.ConvPlan(put(x).shape, w, b, layout=layout, activation="relu")
    np.testing.assert_array_equal(plan(put(x)), put(y))
    back = fastconv.conv_backward(put(y), put(x), w, layout=layout, need=["dx"]).dx
    np.testing.assert_array_equal(back, put(dx))


@LAYOUTS
@pytest.mark.parametrize("case", VOLUMES, ids=str)
def test_volumes_of_many_channels(case, last, isa):
    check(case, last)
    check(case, last, view=np.asfortranarray)


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("case", VOLUMES, ids=str)
def test_volumes_with_one_weight_that_is_not_finite(case, value, last, isa):
    for position in (0, math.prod(case.w) - 1):
        check(case, last, spoiled=("w", position, value))
        check(case, last, spoiled=("w", position, value), view=np.asfortranarray)


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [1, 4, 8, 16])
def test_weights_of_any_strides_count_where_planes_lie_in_the_padding(outputs, dtype, last, isa):
    padding = ((0, 2), (4, 4), (4, 4))
    case = Case("beside", (1, 64, 1, 4, 4), (outputs, 64, 1, 1, 1), {"padding": padding})
    for view in (np.asarray, np.asfortranarray, lambda w: view_in_nan(w, {1: slice(1, None, 2)})):
        check(case, last, dtype, spoiled=("w", 5, np.inf), view=view)


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("outputs", [1, 3, 8, 9, 33])
@pytest.mark.parametrize("taps", [1, 3])
def test_lines_of_every_length_about_whole_vectors(taps, outputs, last, isa):
    for length in range(38, 103):
        check(Case("line", (1, 6, length), (outputs, 6, taps)), last, seed=length)


# Slices of some axes of an array that is larger along them, so that the view ends where the array
# does, begins where it does, or is read backwards.
VIEWS = {
    **{f"axis_{axis}_from_1": {axis: slice(1, None)} for axis in range(4)},
    **{f"axis_{axis}_up_to_the_last": {axis: slice(None, -1)} for axis in range(4)},
    **{f"axis_{axis}_reversed": {axis: slice(None, 0, -1)} for axis in (1, 2, 3)},
    "every_axis_from_1": {axis: slice(1, None) for axis in range(4)},
    "axis_3_every_second": {3: slice(1, None, 2)},
}


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("outputs", [5, 70])
def test_pointwise_on_views_reads_nothing_beside_them(outputs, stride, name, last, isa):
    for channels, size in [(3, (7, 9)), (24, (9, 17)), (70, (4, 37)), (9, (1, 130))]:
        case = Case("view", (2, channels, *size), (outputs, channels, 1, 1), {"stride": stride})
        x, w, b = case.integers()
        options = dict(case.options)
        if last:
            x, options["layout"] = channels_last(x), "NHWC"
        naive = dict(options, algorithm="naive")
        y = fastconv.conv_forward(x, w, b, **naive)
        dy = np.random.default_rng(1).integers(-4, 5, y.shape).astype(y.dtype)
        expected = all_results(x, w, b, dy, naive)
        views = [view_in_nan(array, VIEWS[name]) for array in (x, w, dy)]
        assert all(np.isnan(view.base).any() for view in views)
        actual = all_results(views[0], views[1], b, views[2], options)
        for what, a, e in zip(("y", "dx", "dw", "db"), actual, expected, strict=True):
            np.testing.assert_array_equal(a, e, err_msg=f"{what} of {case.x}")
        y = fastconv.ConvPlan(x.shape, views[1], b, **options)(views[0])
        np.testing.assert_array_equal(y, expected[0], err_msg=f"plan of {case.x}")


GUARDED = """
import ctypes, faulthandler, itertools, mmap, sys, numpy as np, fastconv
sys.path.append(sys.argv[2])
from tiers import covering
faulthandler.enable()
PAGE, protect = mmap.PAGESIZE, ctypes.CDLL(None).mprotect

def guarded(array, at_end):
    "A copy whose first or last byte has a page beside it that cannot be read."
    size = -(-array.nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, size + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + size):
        assert protect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
    offset = PAGE + (size - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy

VIEWS = [
    lambda a: a, lambda a: a[..., 1:], lambda a: a[..., :-1], lambda a: a[:, :, 1:],
    lambda a: a[:, 1:], lambda a: a[..., ::-1], lambda a: a[:, ::-1], lambda a: a[..., 1::2],
    lambda a: a[:, :, ::2], lambda a: a.swapaxes(1, -1), lambda a: a.swapaxes(0, 1),
]
CASES = [
    ((1, 5, 9, 17), 9, (1, 1), {}),
    ((3, 5, 9, 17), 9, (1, 1), {}),
    ((3, 5, 9, 17), 70, (1, 1), {"stride": 2}),
    ((1, 21, 8, 12), 4, (3, 3), {}),
    ((2, 21, 8, 12), 40, (3, 3), {}),
    ((2, 21, 8, 12), 3, (3, 3), {"padding": 1}),
    ((2, 21, 9, 9), 40, (2, 3), {"stride": 2}),
    ((2, 20, 8, 9), 70, (3, 3), {"padding": 4, "dilation": 4}),
    ((3, 3, 11, 35), 6, (3, 3), {"padding": 1}),
    ((2, 2, 23, 24), 25, (3, 3), {"padding": 1, "stride": 2}),
    ((1, 8, 61), 33, (3,), {}),
    ((2, 8, 61), 5, (1,), {}),
    ((2, 6, 4, 5, 6), 40, (2, 3, 3), {"padding": 1}),
]
LAST = {3: "NWC", 4: "NHWC", 5: "NDHWC"}
EXACT = fastconv.get_accuracy() == "high"
def same(actual, expected):
    return np.allclose(actual, expected, rtol=0, atol=0 if EXACT else 2e-3)
HOW = [(True, "f4"), (False, "f4"), (True, "f8")]
rng = np.random.default_rng(0)
sweep = list(itertools.product(*map(range, (len(CASES), len(VIEWS), 2, len(HOW)))))
few = [sweep[position] for position in covering(sweep)]
for which in few if sys.argv[1] == "few" else sorted(set(sweep).difference(few)):
    case, view, last, (at_end, dtype) = (
        values[i] for values, i in zip((CASES, VIEWS, (False, True), HOW), which, strict=True)
    )
    x_shape, k, kernel, options = case
    base = rng.integers(-4, 5, x_shape).astype(dtype)
    x = view(guarded(base, at_end))
    options = dict(options, layout=LAST[x.ndim] if last else None)
    c = x.shape[-1 if last else 1]
    try:
        w_shape = (k, c, *kernel)
        y_shape = fastconv.conv_output_shape(x.shape, w_shape, **options)
    except ValueError:
        continue
    w = guarded(rng.integers(-4, 5, w_shape).astype(dtype), at_end)
    b = guarded(rng.integers(-4, 5, k).astype(dtype), at_end)
    dy = guarded(rng.integers(-4, 5, y_shape).astype(dtype), at_end)
    out = guarded(np.zeros(y_shape, dtype), at_end)
    print(case, VIEWS.index(view), last, at_end, dtype, file=sys.stderr)
    expected = fastconv.conv_forward(x, w, b, algorithm="naive", **options)
    fastconv.conv_forward(x, w, b, out=out, **options)
    assert same(out, expected)
    out[...] = 0
    fastconv.ConvPlan(x.shape, w, b, **options)(x, out=out)
    assert same(out, expected)
    actual = fastconv.conv_backward(dy, x, w, **options)
    expected = fastconv.conv_backward(dy, x, w, algorithm="naive", **options)
    assert all(map(same, actual, expected))
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages as Linux does")
@pytest.mark.parametrize("sweep", ["few", pytest.param("all_others", marks=pytest.mark.long)])
@pytest.mark.parametrize("accuracy", ["normal", "high"])
@pytest.mark.parametrize("isa", fastconv.isas())
def test_nothing_is_read_or_written_beyond_the_arrays(isa, accuracy, sweep):
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, sweep, Path(__file__).parent],
        env=os.environ | {"FASTCONV_ISA": isa, "FASTCONV_ACCURACY": accuracy},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "done", done.stderr[-3000:]


# The gradients of the weights of the last three are too large to be summed in parts.
SHARED_OUT = [
    Case("many_outputs", (2, 20, 9, 9), (70, 20, 3, 3), {"padding": 1}),
    Case("far_taps", (2, 24, 9, 9), (64, 24, 3, 3), {"padding": 4, "dilation": 4}),
    Case("pointwise", (3, 40, 12, 13), (66, 40, 1, 1), {"stride": 2}),
    Case("line", (3, 16, 300), (65, 16, 5)),
    Case("volume", (1, 12, 4, 6, 6), (70, 12, 2, 3, 3), {"padding": 1}),
    Case("groups", (2, 40, 9, 9), (140, 20, 3, 3), {"groups": 2}),
    Case("dw_200x96", (1, 96, 10, 10), (200, 96, 3, 3)),
    Case("dw_256x128", (2, 128, 8, 8), (256, 128, 3, 3), {"padding": 1}),
    Case("dw_130x257", (3, 257, 7, 7), (130, 257, 3, 3), {"stride": 2}),
]


@pytest.mark.pairwise
@LAYOUTS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", SHARED_OUT + FEW_SUMS, ids=str)
def test_every_thread_count_gives_the_same_bits(case, dtype, last, isa):
    x, w, b = case.random(dtype=dtype)
    shape = fastconv.conv_output_shape(case.x, case.w, **case.options)
    dy = np.random.default_rng(9).uniform(-1, 1, shape).astype(dtype)
    with fastconv.num_threads(1):
        expected = all_results(x, w, b, dy, case.options, last)
    for threads in (2, 3, 5):
        with fastconv.num_threads(threads):
            results = all_results(x, w, b, dy, case.options, last)
        for actual, want in zip(results, expected, strict=True):
            assert_same_bits(actual, want)


@pytest.mark.parametrize("case", SHARED_OUT[-3:], ids=str)
def test_large_gradients_of_weights_are_right(case, isa):
    with fastconv.num_threads(3):
        check(case, False, np.float64)


@LAYOUTS
def test_gradient_of_a_kernel_as_large_as_an_image(last, isa):
    x, w, _ = Case("huge_kernel", (1, 2, 101, 100), (130, 2, 100, 100)).integers()
    dy = np.random.default_rng(1).integers(-4, 5, (1, 130, 2, 1)).astype(np.float32)
    expected = fastconv.conv_backward(dy, x, w, need=("dw", "db"), algorithm="naive")
    if last:
        x, dy = channels_last(x), channels_last(dy)
    options = {"need": ("dw", "db"), "layout": "NHWC" if last else None}
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            _, dw, db = fastconv.conv_backward(dy, x, w, **options)
        np.testing.assert_array_equal(dw, expected.dw)
        np.testing.assert_array_equal(db, expected.db)


@pytest.mark.parametrize("step", [1000, 2**20, 2**32 - 1])
def test_taps_as_far_apart_as_outputs_copy_only_what_they_read(step):
    x = np.array([[[[3.0]]]])
    w = np.array([[[[1.0, 2.0], [4.0, 8.0]]]])
    geometry = {"stride": step, "dilation": step, "padding": ((0, step), (0, step))}
    y = fastconv.conv_forward(x, w, **geometry)
    np.testing.assert_array_equal(y, [[[[3.0]]]])
    dx, dw, db = fastconv.conv_backward(np.array([[[[5.0]]]]), x, w, **geometry)
    np.testing.assert_array_equal(dx, [[[[5.0]]]])
    np.testing.assert_array_equal(dw, [[[[15.0, 0.0], [0.0, 0.0]]]])
    np.testing.assert_array_equal(db, [5.0])
    many = np.full((64, 64, 2, 2), 2.0, np.float32)
    y = fastconv.conv_forward(np.ones((1, 64, 1, 1), np.float32), many, **geometry)
    np.testing.assert_array_equal(y, np.full((1, 64, 1, 1), 128.0))
