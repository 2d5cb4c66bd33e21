"""algorithm="fully_connected": kernels as large as the image, against the defining sums."""

import itertools

import numpy as np
import pytest
from cases import LAYOUT_LAST

import fastconv

# name: (x as channels first, w, options)
CASES = {
    "one_element": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "squeeze": ((3, 40, 1, 1), (10, 40, 1, 1), {}),
    "one_image": ((1, 70, 3, 3), (33, 70, 3, 3), {}),
    "kernel_as_large_as_the_image": ((7, 12, 7, 7), (29, 12, 7, 7), {}),
    "images_beyond_a_tile": ((9, 20, 2, 3), (50, 20, 2, 3), {}),
    "images_beyond_a_block": ((300, 33, 1, 1), (14, 33, 1, 1), {}),
    "rows_beyond_a_chunk": ((6, 500, 3, 3), (10, 500, 3, 3), {}),
    "one_row_beyond_a_chain": ((2, 25000, 1, 1), (3, 25000, 1, 1), {}),
    "filters_beyond_a_block": ((5, 17, 2, 2), (150, 17, 2, 2), {}),
    "fewer_elements_than_a_vector": ((5, 3, 1, 1), (40, 3, 1, 1), {}),
    "groups": ((4, 24, 3, 2), (18, 8, 3, 2), {"groups": 3}),
    "groups_of_one_channel": ((3, 8, 5, 5), (8, 1, 5, 5), {"groups": 8}),
    "stride_that_has_no_second_place": ((4, 9, 3, 3), (8, 9, 3, 3), {"stride": 2}),
    "dilation_of_one_tap": ((4, 9, 1, 1), (8, 9, 1, 1), {"dilation": 3}),
    "signal": ((4, 10, 30), (12, 10, 30), {}),
    "volume": ((3, 6, 2, 3, 4), (11, 6, 2, 3, 4), {}),
}


def arrays_of(case, dtype, seed=1):
    x_shape, w_shape, options = CASES[case]
    rng = np.random.default_rng(seed)
    shapes = (x_shape, w_shape, w_shape[:1], (x_shape[0], w_shape[0]) + (1,) * (len(x_shape) - 2))
    return *(rng.standard_normal(shape).astype(dtype) for shape in shapes), options


def results(x, w, b, dy, options, algorithm):
    options = options | {"algorithm": algorithm}
    y = fastconv.conv_forward(x, w, b, activation="relu", **options)
    return y, *fastconv.conv_backward(dy, x, w, **options)


def assert_near(actual, expected, depths, name):
    for result, a, e, depth in zip(("y", "dx", "dw", "db"), actual, expected, depths, strict=True):
        limit = np.finfo(a.dtype).eps * 4 * max(4, depth**0.5)
        assert np.abs(a - e).max() <= limit * max(1, np.abs(e).max()), (result, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_fully_connected_gives_the_defining_sums_at_every_thread_count(case, dtype):
    x, w, b, dy, options = arrays_of(case, dtype)
    expected = results(x, w, b, dy, options, "naive")
    depths = (w[0].size, w.shape[0], len(x), len(x))
    for isa in fastconv.isas():
        with fastconv.use_isa(isa), fastconv.num_threads(1):
            single = results(x, w, b, dy, options, "fully_connected")
        assert_near(single, expected, depths, isa)
        for threads in (2, 3, 8):
            with fastconv.use_isa(isa), fastconv.num_threads(threads):
                many = results(x, w, b, dy, options, "fully_connected")
            for name, one, other in zip(("y", "dx", "dw", "db"), single, many, strict=True):
                assert one.tobytes() == other.tobytes(), (name, isa, threads)


# The result of one product must not depend on its place among others, which threads decide.
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_have_the_same_bits_wherever_they_stand(dtype):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, 77, 1, 1)).astype(dtype) for n in (12, 40))
    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            y = fastconv.conv_forward(x, w, algorithm="fully_connected")
            for images, filters in itertools.product((1, 2, 3, 5), (1, 5, 7)):
                part = fastconv.conv_forward(x[-images:], w[-filters:], algorithm="fully_connected")
                assert (part == y[-images:, -filters:]).all()


def test_rows_may_lie_apart_and_backwards():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((10, 60, 1, 1)), rng.standard_normal((24, 30, 1, 1))
    x, w, dy = x[::-2, :30], w[::3], rng.standard_normal((5, 16, 1, 1))[:, ::2]
    expected = results(x.copy(), w.copy(), None, dy.copy(), {}, "naive")
    assert_near(results(x, w, None, dy, {}, "fully_connected"), expected, (30, 8, 5, 5), "rows")


@pytest.mark.parametrize("case", [name for name in CASES if "volume" not in name])
def test_channels_last_is_read_in_place_where_there_is_one_tap(case):
    x, w, b, dy, options = arrays_of(case, np.float64)
    x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
    options = options | {"layout": LAYOUT_LAST[x.ndim - 2]}
    expected = results(x, w, b, dy, options, "naive")
    depths = (w[0].size, w.shape[0], len(x), len(x))
    if w[0, 0].size == 1:
        assert_near(results(x, w, b, dy, options, "fully_connected"), expected, depths, case)
    else:
        with pytest.raises(ValueError, match="channels and taps of x do not lie side by side"):
            fastconv.conv_forward(x, w, b, algorithm="fully_connected", **options)
    assert_near(results(x, w, b, dy, options, "auto"), expected, depths, case)


def test_weights_in_the_order_of_channels_last_are_read_in_place():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 5, 20))
    w = np.moveaxis(rng.standard_normal((9, 3, 5, 20)), -1, 1)
    options = {"layout": "NHWC"}
    expected = fastconv.conv_forward(x, w, algorithm="naive", **options)
    actual = fastconv.conv_forward(x, w, algorithm="fully_connected", **options)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "x_shape, w_shape, options",
    [
        ((1, 2, 4, 4), (3, 2, 3, 3), {}),
        ((1, 2, 3, 3), (3, 2, 3, 3), {"padding": 1, "stride": 3}),
        ((1, 2, 4, 4), (3, 2, 3, 3), {"stride": 2}),
        ((1, 2, 5, 5), (3, 2, 3, 3), {"dilation": 2}),
        ((1, 2, 1, 1), (3, 2, 1, 1), {"padding": 1}),
    ],
    ids=["outputs", "padding", "image_beyond_the_kernel", "dilation", "padded_pixel"],
)
def test_other_kernels_are_refused(x_shape, w_shape, options):
    with pytest.raises(ValueError, match="the kernel is not just as large as the image"):
        fastconv.conv_forward(
            np.ones(x_shape), np.ones(w_shape), algorithm="fully_connected", **options
        )


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_sums(value):
    for position in (0, 17, 76):
        x, w, b, dy, options = arrays_of("rows_beyond_a_chunk", np.float32)
        x[1].flat[position] = w[2].flat[-1 - position] = dy[3, 4] = value
        x[0].flat[-1 - position] = 0  # times infinity
        with np.errstate(invalid="ignore"):
            expected = results(x, w, b, dy, options, "naive")
        for isa in fastconv.isas():
            with fastconv.use_isa(isa):
                actual = results(x, w, b, dy, options, "fully_connected")
            for a, e in zip(actual, expected, strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


def test_transposed_convolution_of_single_pixels_adds_its_bias():
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in ((5, 100, 1, 1), (100, 8, 4, 4), (16,)))
    y = fastconv.conv_transpose_forward(x, w, b, groups=2)
    expected = np.einsum("ngc,gckhw->ngkhw", x.reshape(5, 2, 50), w.reshape(2, 50, 8, 4, 4))
    expected = expected.reshape(5, 16, 4, 4) + b[:, None, None]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    dx, dw, db = fastconv.conv_transpose_backward(y, x, w, groups=2)
    expected = np.einsum("ngkhw,ngc->gckhw", y.reshape(5, 2, 8, 4, 4), x.reshape(5, 2, 50))
    np.testing.assert_allclose(dw.reshape(expected.shape), expected, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(db, y.sum((0, 2, 3)), rtol=1e-12)
    assert dx.shape == x.shape


# 2000 positions are several blocks, which begin between channels and between the elements of one.
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("images", [1, 3, 140])
def test_bias_of_dx_stands_at_every_position_of_its_channel(images, last, isa):
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-4, 5, s).astype("f8") for s in ((images, 5), (5, 16, 5, 25), (16,)))
    expected = np.einsum("nk,kchw->nchw", x, w) + b[:, None, None]
    if last:
        x, w = x[:, None, None], np.moveaxis(np.ascontiguousarray(np.moveaxis(w, 1, -1)), -1, 1)
        y = fastconv.conv_transpose_forward(x, w, b, layout="NHWC")
        y = np.moveaxis(y, -1, 1)
    else:
        y = fastconv.conv_transpose_forward(x[:, :, None, None], w, b)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("op", ["forward", "dx", "dw"])
def test_plans_of_all_directions_say_how_they_run(op, isa):
    plan = fastconv.explain(op, (8, 64, 7, 7), (128, 64, 7, 7), algorithm="fully_connected")
    assert plan["path"] == "fully_connected" and plan["how"]
    assert min(plan["tile"]) >= 1 and plan["block"][0] == 8 and plan["tasks"] >= 1


def test_no_images_have_weight_gradients_of_zero():
    x, w = np.ones((0, 5, 3, 3)), np.ones((4, 5, 3, 3))
    assert fastconv.conv_forward(x, w, algorithm="fully_connected").shape == (0, 4, 1, 1)
    dy = np.ones((0, 4, 1, 1))
    dx, dw, db = fastconv.conv_backward(dy, x, w, algorithm="fully_connected")
    assert dx.shape == x.shape and not dw.any() and not db.any()


def test_auto_takes_it_for_few_images():
    def chosen(images, channels, filters, size=1):
        w = np.ones((filters, channels, size, size), "f4")
        plan = fastconv.ConvPlan((images, channels, size, size), w)
        return plan.algorithm.partition("/")[0]

    assert (
        chosen(8, 512, 128, 7) == chosen(1, 2048, 1000) == chosen(8, 256, 64) == "fully_connected"
    )
    assert chosen(100, 2048, 10) == "fully_connected"
    assert chosen(128, 64, 256) == chosen(2000, 512, 512) == "implicit_gemm"


def test_plan_reads_weights_where_they_lie():
    x, w, b, _, _ = arrays_of("kernel_as_large_as_the_image", np.float32)
    plan = fastconv.ConvPlan(x.shape, w, b, activation="relu", algorithm="fully_connected")
    assert plan.algorithm == "fully_connected"
    np.testing.assert_array_equal(plan(x), fastconv.conv_forward(x, w, b, activation="relu"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_sums_keep_their_accuracy(dtype):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, 1, 200, 200)).astype(dtype) for n in (2, 3))
    expected = np.einsum("nchw,kchw->nk", x.astype("g"), w.astype("g")).astype("f8")
    for isa in fastconv.isas():
        with fastconv.use_isa(isa):
            y = fastconv.conv_forward(x, w, algorithm="fully_connected")[:, :, 0, 0]
        assert np.linalg.norm(y - expected) < np.finfo(dtype).eps * 8 * np.linalg.norm(expected)
