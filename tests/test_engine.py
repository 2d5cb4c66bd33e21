"""The implicit GEMM on problems that could make its blocks too large, too slow, or wrong."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from cases import Case, assert_close, channels_first, channels_last, kept, paths_that_can

import fastconv

# Small results whose taps lie far apart, or are many: each takes another way through the blocks.
FAR = [
    Case("rows_further_apart_than_a_block", (1, 2, 300, 40), (3, 2, 4, 1), {"dilation": (70, 1)}),
    Case("columns_further_apart", (1, 2, 3, 9000), (3, 2, 1, 3), {"dilation": (1, 4000)}),
    Case(
        "both_with_stride", (2, 3, 90, 95), (9, 3, 3, 3), {"dilation": (40, 33), "stride": (2, 3)}
    ),
    Case("dilation_32", (1, 5, 70, 70), (4, 5, 3, 3), {"dilation": 32, "padding": 32}),
    Case("more_taps_than_a_chunk", (22, 1, 10), (9, 1, 3000), {"dilation": 3, "padding": 4500}),
    Case("taps_fill_the_input", (2, 2, 5000), (3, 2, 5000)),
    Case("stride_beyond_everything", (2, 3, 50, 50), (4, 3, 2, 2), {"stride": 2**60}),
    Case("stride_and_dilation_alike", (2, 3, 40, 41), (4, 3, 3, 3), {"stride": 6, "dilation": 4}),
]


@kept
def by_naive_loops(case, dtype=np.float32):
    """x, w, b, dy and y, dx, dw, db."""
    x, w, b = case.integers(dtype=dtype)
    naive = dict(case.options, algorithm="naive")
    y = fastconv.conv_forward(x, w, b, **naive)
    dy = np.random.default_rng(3).integers(-4, 5, y.shape).astype(dtype)
    return x, w, b, dy, y, *fastconv.conv_backward(dy, x, w, **naive)


@pytest.mark.parametrize("case", FAR, ids=str)
def test_far_and_many_taps_are_exact_on_integers(case, algorithm):
    x, w, b, dy, *expected = by_naive_loops(case)
    y = fastconv.conv_forward(x, w, b, algorithm=algorithm, **case.options)
    actual = y, *fastconv.conv_backward(dy, x, w, algorithm=algorithm, **case.options)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


# Channels, outputs: planes of whole cache lines or not, one block and several, a sum in two parts.
LINES = [(40, 24, (16, 16)), (300, 70, (24, 24)), (64, 9, (40, 41)), (1300, 20, (20, 16))]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("channels, outputs, size", LINES)
def test_planes_read_in_place_begin_anywhere_in_a_cache_line(channels, outputs, size, dtype):
    rng = np.random.default_rng(0)
    shape = (2, channels, *size)
    count = int(np.prod(shape))
    memory = rng.standard_normal(count + 32).astype(dtype)
    w = rng.standard_normal((outputs, channels, 1, 1)).astype(dtype)
    b = rng.standard_normal(outputs).astype(dtype)
    for start in (0, 1, 4, 7, 15, 31):
        x = memory[start : start + count].reshape(shape)
        expected = np.einsum("nchw,kc->nkhw", x.astype("f8"), w[:, :, 0, 0].astype("f8"))
        expected = np.maximum(expected + b[:, None, None], 0)
        results = []
        for threads in (1, 2, 3):
            with fastconv.num_threads(threads):
                results.append(fastconv.conv_forward(x, w, b, activation="relu"))
        assert_close(results[0], expected.astype(dtype), depth=channels, scale=8)
        for other in (*results[1:], fastconv.conv_forward(x.copy(), w, b, activation="relu")):
            np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("shape", [(1, 3072, 16, 16), (1, 700, 1, 275), (2, 1500, 1, 300)])
def test_blocks_narrower_than_a_cache_line(shape):
    """Of many threads, blocks become so narrow that the next line begins beyond their end."""
    memory = np.random.default_rng(1).integers(-3, 4, int(np.prod(shape)) + 16).astype("f4")
    w = np.random.default_rng(2).integers(-3, 4, (8, shape[1], 1, 1)).astype("f4")
    for start in (0, 4, 15):
        x = memory[start : start + int(np.prod(shape))].reshape(shape)
        expected = np.einsum("nchw,kc->nkhw", x, w[:, :, 0, 0])
        for threads in (1, 9, 12, 16, 20, 24):
            with fastconv.num_threads(threads):
                y = fastconv.conv_forward(x, w, algorithm="implicit_gemm")
            np.testing.assert_array_equal(y, expected)


# x, filters, kernel, stride. Of the first three the weights outweigh the input, and the last panel
# is ragged: tasks are dealt panels. Sums of the others are in several parts, whose next block is
# fetched meanwhile.
SHARED_OUT = [
    ((3, 96, 7, 7), 200, 1, 1),
    ((1, 33, 5, 6), 130, 2, 1),
    ((2, 120, 7, 7), 257, 1, 1),
    ((3, 140, 7, 8), 70, 3, 2),
    ((2, 270, 8, 9), 65, 3, 3),
]


@pytest.mark.pairwise
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape, outputs, size, stride", SHARED_OUT)
def test_tasks_that_share_channels_out(shape, outputs, size, stride, dtype, layout, isa):
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, shape).astype(dtype)
    w = rng.integers(-3, 4, (outputs, shape[1], size, size)).astype(dtype)
    b = rng.integers(-3, 4, outputs).astype(dtype)
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    options = {"stride": stride, "layout": layout}
    y = fastconv.conv_forward(x, w, b, algorithm="naive", **options)
    dy = rng.integers(-3, 4, y.shape).astype(dtype)
    dx = fastconv.conv_backward(dy, x, w, need="dx", algorithm="naive", **options)[0]
    gemm = options | {"algorithm": "implicit_gemm/channels"}
    plan = fastconv.ConvPlan(x.shape, w, b, **gemm)
    for threads in (1, 2, 3, 8):
        with fastconv.num_threads(threads):
            np.testing.assert_array_equal(fastconv.conv_forward(x, w, b, **gemm), y)
            np.testing.assert_array_equal(plan(x), y)
            actual = fastconv.conv_backward(dy, x, w, need="dx", **gemm)[0]
            np.testing.assert_array_equal(actual, dx)


def test_taps_that_no_block_can_hold_are_refused_with_the_reason():
    taps = 2**57
    w = np.broadcast_to(np.float32(1), (1, 1, taps))
    padding = (((taps - 1) * 33 + 31, 0),)
    with pytest.raises(ValueError, match=r"'implicit_gemm' cannot do this problem: .* 2\*\*20"):
        fastconv.conv_forward(
            np.ones((1, 1, 1), np.float32),
            w,
            dilation=33,
            padding=padding,
            algorithm="implicit_gemm",
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2, "padding": 2}, {"dilation": 2}])
def test_weights_that_are_all_not_finite_reach_what_they_meet(value, options, algorithm):
    x = np.ones((2, 3, 9, 9), np.float32)
    w = np.full((4, 3, 3, 3), value, np.float32)
    y = fastconv.conv_forward(x, w, **options)
    dy = np.ones_like(y)
    dx = fastconv.conv_backward(dy, x, w, need="dx", algorithm=algorithm, **options).dx
    expected = fastconv.conv_backward(dy, x, w, need="dx", algorithm="naive", **options).dx
    np.testing.assert_array_equal(dx, expected)


def test_bias_gradient_alone_equals_the_one_beside_dw():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 70, 20, 20)).astype("f4")
    w, dy = np.ones((24, 70, 3, 3), "f4"), rng.standard_normal((3, 24, 18, 18)).astype("f4")
    alone = fastconv.conv_backward(dy, x, w, need="db")
    np.testing.assert_array_equal(alone.db, fastconv.conv_backward(dy, x, w, need=("dw", "db")).db)


@pytest.mark.parametrize("images", [2, 600])
@pytest.mark.parametrize("algorithm", ["auto", "fully_connected"])
def test_bias_gradient_alone_of_a_kernel_as_large_as_the_image(algorithm, images):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((images, 30, 5, 5)).astype("f4")
    w, dy = np.ones((40, 30, 5, 5), "f4"), rng.standard_normal((images, 40, 1, 1)).astype("f4")
    alone = fastconv.conv_backward(dy, x, w, need="db", algorithm=algorithm).db
    beside = fastconv.conv_backward(dy, x, w, need=("dw", "db"), algorithm=algorithm).db
    np.testing.assert_array_equal(alone, beside)


@pytest.mark.parametrize("channels", [1, 3])
def test_dx_whose_first_tap_reaches_nothing_needs_no_memory_for_the_others(channels):
    # Taps a stride's residue apart: what tap 0 reaches says nothing of how far the others span.
    far = 2**33 + 1
    x, w = np.ones((1, channels, 1, 16), "f4"), np.ones((channels, channels, 4, 3), "f4")
    options = {"stride": (2, 1), "dilation": (far, 1), "padding": ((far, 2 * far), (0, 0))}
    dy = np.ones((1, channels, 1, 14), "f4")
    dx = fastconv.conv_backward(dy, x, w, need="dx", **options).dx
    expected = fastconv.conv_backward(dy, x, w, need="dx", algorithm="naive", **options).dx
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bias_gradient_of_any_number_of_channels(layout, dtype, isa):
    """The last vector of channels overlaps the one before it; channels fewer than a vector."""
    rng = np.random.default_rng(5)
    for channels in (*range(1, 20), 25, 31, 33, 47, 66, 130):
        dy = rng.integers(-4, 5, (2, channels, 9, 8)).astype(dtype)
        expected = dy.sum(axis=(0, 2, 3))
        x, w = np.ones((2, 2, 9, 8), dtype), np.ones((channels, 2, 3, 3), dtype)
        if layout == "NHWC":
            x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, dy))
        options = {"padding": 1, "layout": layout}
        with fastconv.use_isa(isa):
            for algorithm in ("implicit_gemm", "winograd"):
                actual = fastconv.conv_backward(
                    dy, x, w, need=("dw", "db"), algorithm=algorithm, **options
                )
                np.testing.assert_array_equal(actual.db, expected)


# x, filters, stride: outputs of several blocks of some images each, the last block of fewer, whose
# tables are kept from the block before it.
MANY_IMAGES = [
    Case("14_images", (14, 16, 32, 32), (32, 16, 3, 3), {"padding": 1, "stride": 2}),
    Case("33_images", (33, 24, 12, 12), (17, 24, 3, 3), {"padding": 1}),
    Case("40_images", (40, 3, 21, 19), (25, 3, 3, 3), {"padding": 1, "stride": 2}),
    Case("23_images", (23, 90, 9, 9), (48, 90, 3, 3), {"padding": 1}),
]


@pytest.mark.pairwise
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", MANY_IMAGES, ids=str)
def test_blocks_of_many_images(case, layout, isa):
    x, w, b, dy, *expected = by_naive_loops(case)
    options = dict(case.options, layout=layout, algorithm="implicit_gemm")
    if layout == "NHWC":
        x, dy = channels_last(x), channels_last(dy)
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            y = fastconv.conv_forward(x, w, b, **options)
            dx, dw, db = fastconv.conv_backward(dy, x, w, **options)
        if layout == "NHWC":
            y, dx = channels_first(y), channels_first(dx)
        for a, e in zip((y, dx, dw, db), expected, strict=True):
            np.testing.assert_array_equal(a, e)


# Channels of dy and of dx: a sum in one part and in several, one panel of channels and more.
@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("outputs, channels", [(6, 3), (48, 16), (300, 5), (300, 33)])
def test_dx_of_stride_2_leaves_gaps_of_every_length(outputs, channels, dtype, isa):
    options = {"stride": 2, "padding": 1}
    for kernel, height, width in [(3, 3, 16), (3, 4, 33), (2, 3, 50), (4, 5, 31), (4, 4, 71)]:
        shape, w_shape = (1, channels, height, width), (outputs, channels, kernel, kernel)
        x, w, _, dy, _, dx, *_ = by_naive_loops(Case("gaps", shape, w_shape, options), dtype)
        gemm = dict(options, need=("dx",), algorithm="implicit_gemm")
        np.testing.assert_array_equal(fastconv.conv_backward(dy, x, w, **gemm).dx, dx)


# kernel, stride, padding, dilation: residues of which one reads all that the others do, of which
# none does, of more outputs than the first, and more than eight of them.
RESIDUES = [
    (3, 2, 1, 1),
    (4, 2, 1, 1),
    (7, 2, 3, 1),
    (3, 3, 1, 1),
    (5, 3, 0, 1),
    (2, 4, 0, 1),
    (6, 5, 2, 1),
    (3, (2, 1), (0, 1), 1),
    (3, (1, 3), 1, 1),
    (3, 2, 2, 3),
    (4, 4, 3, (2, 1)),
]


@pytest.mark.pairwise
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kernel, stride, padding, dilation", RESIDUES)
def test_residues_of_dx_that_read_the_same_copies(kernel, stride, padding, dilation, layout, isa):
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    for channels, size in [(3, (17, 40)), (5, (16, 19)), (33, (11, 14)), (70, (13, 12))]:
        case = Case("residues", (2, channels, *size), (20, channels, kernel, kernel), options)
        x, w, _, dy, _, expected, *_ = by_naive_loops(case)
        gemm = dict(options, layout=layout)
        if layout == "NHWC":
            x, dy, expected = map(channels_last, (x, dy, expected))
        for path in paths_that_can("implicit_gemm", "dx", x, w, gemm):
            for threads in (1, 3):
                with fastconv.num_threads(threads):
                    dx = fastconv.conv_backward(dy, x, w, need=("dx",), algorithm=path, **gemm).dx
                np.testing.assert_array_equal(dx, expected, err_msg=f"{channels} channels, {path}")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [3, 70])
def test_residues_of_a_transposed_convolution_add_the_bias(channels, layout):
    rng = np.random.default_rng(9)
    options = {"stride": 2, "padding": 1, "layout": layout}
    x = rng.integers(-3, 4, (2, 20, 9, 12) if layout == "NCHW" else (2, 9, 12, 20)).astype("f4")
    w = rng.integers(-3, 4, (20, channels, 3, 3)).astype("f4")
    b = rng.integers(-3, 4, channels).astype("f4")
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            y = fastconv.conv_transpose_forward(x, w, b, **options)
        naive = dict(options, need=("dx",), algorithm="naive")
        expected = fastconv.conv_backward(x, np.zeros_like(y), w, **naive)[0]
        expected += b[:, None, None] if layout == "NCHW" else b
        np.testing.assert_array_equal(y, expected)


# x, filters, kernel, stride, padding: rows that lie in y as in the copy, of so few blocks that
# threads would like parts of rows, and of 512 Ki multiply-adds a thread, so that there are as many.
DENSE_ROWS = [
    ((1, 200, 4, 500), 12, (1, 1), 2, 0),
    ((1, 250, 6, 399), 8, (1, 1), (1, 2), 0),
    ((1, 100, 11, 186), 9, (3, 1), (2, 1), (1, 0)),
    ((3, 300, 9, 62), 33, (1, 1), 2, 0),
]


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("shape, outputs, kernel, stride, padding", DENSE_ROWS)
def test_dense_rows_shared_out_among_any_threads(shape, outputs, kernel, stride, padding, isa):
    rng = np.random.default_rng(10)
    x = rng.integers(-3, 4, shape).astype("f4")
    w = rng.integers(-3, 4, (outputs, shape[1], *kernel)).astype("f4")
    options = {"stride": stride, "padding": padding}
    expected = fastconv.conv_forward(x, w, algorithm="naive", **options)
    dx = fastconv.conv_backward(expected, x, w, need=("dx",), algorithm="naive", **options)[0]
    for threads in (1, 2, 3, 4, 7):
        with fastconv.num_threads(threads), fastconv.use_isa(isa):
            y = np.full_like(expected, np.nan)
            fastconv.conv_forward(x, w, out=y, algorithm="implicit_gemm/pixels", **options)
            options_here = dict(options, need=("dx",), algorithm="implicit_gemm")
            np.testing.assert_array_equal(y, expected, err_msg=f"{threads} threads")
            actual = fastconv.conv_backward(expected, x, w, **options_here)[0]
            np.testing.assert_array_equal(actual, dx, err_msg=f"{threads} threads")


def test_geometry_nested_beyond_reason_is_refused():
    nested = 1
    for _ in range(3000):
        nested = (nested, nested)
    with pytest.raises((TypeError, ValueError), match="stride"):
        fastconv.conv_forward(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), stride=nested)


FORKING = """
import os, signal, numpy as np, fastconv
fastconv.set_num_threads(2)
x, w = np.ones((8, 128, 96, 96), "f4"), np.ones((128, 128, 3, 3), "f4")
children = []
def fork(*_):
    child = os.fork()
    if child:
        children.append(child)
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    with fastconv.use_isa("portable"):
        y = fastconv.conv_forward(x, w, algorithm="implicit_gemm")
    right = bool((y == 1152).all())
except RuntimeError as error:
    right = "forked" in str(error)
tiny = fastconv.conv_forward(x[:1, :1, :3, :3], w[:1, :1]).item() == 9
if not children:
    os._exit(0 if right and tiny else 1)
print(right and tiny and os.waitpid(children[0], 0)[1] == 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(signal, "setitimer"), reason="POSIX")
def test_child_of_a_fork_in_a_signal_handler_gets_no_wrong_result():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "True", done.stderr
