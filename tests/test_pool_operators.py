"""max_unpool and the adaptive pools, and the adjoints and gradients of every pool."""

import numpy as np
import pytest
from cases import (
    LAYOUT_LAST,
    REAL,
    assert_same_bits,
    broadcast,
    channels_last,
    distinct,
    odd_strides,
)

import fastconv
from fastconv import reference

# name: x shape, output_size
ADAPTIVE = {
    "divides": ((2, 3, 6, 8), (3, 2)),
    "does_not_divide": ((2, 3, 7, 9), (3, 4)),
    "one_axis_divides": ((1, 2, 6, 7), (2, 3)),
    "identity": ((2, 2, 4, 5), (4, 5)),
    "larger_than_input": ((1, 2, 3, 2), (7, 5)),
    "larger_on_one_axis": ((1, 2, 9, 2), (4, 5)),
    "global": ((2, 3, 5, 7), 1),
    "global_on_one_axis": ((2, 3, 5, 7), (1, 3)),
    "from_one_pixel": ((2, 3, 1, 1), 3),
    "resnet_head": ((2, 20, 7, 7), 1),
    "spatial_pyramid": ((1, 17, 13, 11), 4),
    "line": ((2, 3, 11), 4),
    "line_global": ((2, 5, 70), 1),
    "line_larger_than_input": ((2, 3, 4), 9),
    "volume": ((1, 2, 5, 4, 7), (2, 3, 4)),
    "volume_global": ((2, 3, 3, 2, 4), 1),
    "volume_larger_than_input": ((1, 2, 2, 3, 1), (3, 2, 2)),
}
EVERY = pytest.mark.parametrize("name", ADAPTIVE)

# name: x shape, kernel, options of the max pool
UNPOOLS = {
    "2x2": ((2, 3, 6, 8), 2, {}),
    "gaps": ((1, 2, 9, 9), 2, {"stride": 4}),
    "padded": ((1, 2, 7, 8), (3, 2), {"stride": (3, 2), "padding": (1, 0)}),
    "overlapping": ((2, 3, 7, 6), 3, {"stride": 1, "padding": 1}),
    "line": ((2, 3, 11), 3, {"stride": 2, "padding": 1}),
    "volume": ((1, 2, 4, 5, 6), (2, 3, 2), {"stride": (1, 2, 2), "padding": (0, 1, 1)}),
}


def values_of(dtype, shape, seed=3):
    low, high = (0, 100) if dtype[0] == "u" else (-50, 50)
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


# ---------------------------------------------------------------------------------------------
# Adaptive pools


@pytest.mark.parametrize("dtype", REAL)
@EVERY
def test_adaptive_max_pool_of_every_real_dtype_matches_the_reference(name, dtype):
    shape, output_size = ADAPTIVE[name]
    x = values_of(dtype, shape)
    y, indices = fastconv.adaptive_max_pool_forward(x, output_size)
    expected, expected_indices = reference.adaptive_max_pool_forward(x, output_size)
    assert y.dtype == x.dtype and indices.dtype == np.int64
    assert y.flags.c_contiguous and indices.flags.c_contiguous
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@EVERY
def test_adaptive_average_pool_matches_the_reference(name, dtype, isa):
    shape, output_size = ADAPTIVE[name]
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, shape).astype(dtype)
    y = fastconv.adaptive_avg_pool_forward(x, output_size)
    assert y.dtype == x.dtype and y.flags.c_contiguous
    eps = 16 * np.finfo(dtype).eps
    expected = reference.adaptive_avg_pool_forward(x, output_size)
    np.testing.assert_allclose(y, expected, rtol=eps, atol=eps)
    dy = rng.uniform(-1, 1, y.shape).astype(dtype)
    dx = fastconv.adaptive_avg_pool_backward(dy, shape)
    assert dx.dtype == x.dtype and dx.flags.c_contiguous
    expected = reference.adaptive_avg_pool_backward(dy, shape)
    np.testing.assert_allclose(dx, expected, rtol=4 * eps, atol=4 * eps)


@EVERY
def test_adaptive_channels_last_is_channels_first_transposed(name, isa):
    shape, output_size = ADAPTIVE[name]
    x = distinct(0, *shape)
    last, layout = channels_last(x), LAYOUT_LAST[x.ndim - 2]
    y, indices = fastconv.adaptive_max_pool_forward(x, output_size)
    y_last, indices_last = fastconv.adaptive_max_pool_forward(last, output_size, layout=layout)
    np.testing.assert_array_equal(y_last, channels_last(y))
    np.testing.assert_array_equal(indices_last, channels_last(indices))
    mean = fastconv.adaptive_avg_pool_forward(x, output_size)
    mean_last = fastconv.adaptive_avg_pool_forward(last, output_size, layout=layout)
    np.testing.assert_allclose(mean_last, channels_last(mean), rtol=1e-14)
    dx = fastconv.adaptive_avg_pool_backward(y, shape)
    dx_last = fastconv.adaptive_avg_pool_backward(y_last, last.shape, layout=layout)
    np.testing.assert_allclose(dx_last, channels_last(dx), rtol=1e-14)
    assert all(a.flags.c_contiguous for a in (y_last, indices_last, mean_last, dx_last))


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_adaptive_memory_layout_of_the_arguments_does_not_matter(last):
    layout = "NHWC" if last else None
    x = distinct(0, 2, 6, 7, 3, dtype="f4") if last else distinct(0, 2, 3, 6, 7, dtype="f4")
    y, indices = fastconv.adaptive_max_pool_forward(x, (4, 3), layout=layout)
    mean = fastconv.adaptive_avg_pool_forward(x, (4, 3), layout=layout)
    dx = fastconv.adaptive_avg_pool_backward(mean, x.shape, layout=layout)
    for kind, view in odd_strides(x).items():
        before = view.tobytes()
        actual = fastconv.adaptive_max_pool_forward(view, (4, 3), layout=layout)
        np.testing.assert_array_equal(actual[0], y, err_msg=kind)
        np.testing.assert_array_equal(actual[1], indices, err_msg=kind)
        actual = fastconv.adaptive_avg_pool_forward(view, (4, 3), layout=layout)
        np.testing.assert_array_equal(actual, mean, err_msg=kind)
        assert view.tobytes() == before
    for kind, view in odd_strides(mean).items():
        actual = fastconv.adaptive_avg_pool_backward(view, x.shape, layout=layout)
        np.testing.assert_array_equal(actual, dx, err_msg=kind)


def test_adaptive_broadcast_arguments_are_read_with_stride_zero():
    view, dense = broadcast(distinct(0, 2, 3, 6, 7))
    for pool in (fastconv.adaptive_max_pool_forward, fastconv.adaptive_avg_pool_forward):
        np.testing.assert_array_equal(pool(view, (4, 3)), pool(dense, (4, 3)))
    np.testing.assert_array_equal(
        fastconv.adaptive_avg_pool_backward(view, (2, 3, 9, 4)),
        fastconv.adaptive_avg_pool_backward(dense, (2, 3, 9, 4)),
    )


@EVERY
def test_adaptive_pytorch_agrees(name, torch):
    shape, output_size = ADAPTIVE[name]
    x, axes = distinct(0, *shape), len(shape) - 2
    tensor = torch.tensor(x, requires_grad=True)
    functional = torch.nn.functional
    pool = getattr(functional, f"adaptive_max_pool{axes}d")
    y, indices = pool(tensor, output_size, return_indices=True)
    dy = np.random.default_rng(8).standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    ours, our_indices = fastconv.adaptive_max_pool_forward(x, output_size)
    np.testing.assert_array_equal(ours, y.detach().numpy())
    np.testing.assert_array_equal(our_indices, indices.numpy())
    dx = fastconv.max_pool_backward(dy, our_indices, shape)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-13, atol=1e-14)
    tensor.grad = None
    mean = getattr(functional, f"adaptive_avg_pool{axes}d")(tensor, output_size)
    mean.backward(torch.tensor(dy))
    ours = fastconv.adaptive_avg_pool_forward(x, output_size)
    np.testing.assert_allclose(ours, mean.detach().numpy(), rtol=1e-13)
    dx = fastconv.adaptive_avg_pool_backward(dy, shape)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("at", range(40))
def test_adaptive_nan_wins_wherever_it_is(at, dtype, isa):
    x = np.random.default_rng(at).integers(-9, 9, (1, 1, 40)).astype(dtype)
    x[0, 0, at] = np.nan
    x[0, 0, (at + 7) % 40] = np.inf
    for output_size in (1, 3, 8, 50):
        y, indices = fastconv.adaptive_max_pool_forward(x, output_size)
        expected, expected_indices = reference.adaptive_max_pool_forward(x, output_size)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_adaptive_window_of_nothing_but_one_value_has_its_first_index(value):
    x = np.full((1, 2, 5, 5), value, np.float32)
    y, indices = fastconv.adaptive_max_pool_forward(x, 3)
    np.testing.assert_array_equal(y, np.full(y.shape, value))
    np.testing.assert_array_equal(indices[0, 0], [[0, 1, 3], [5, 6, 8], [15, 16, 18]])


def test_adaptive_average_of_nan_and_infinity_stays_within_their_windows():
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[0, 0, 0, 0], x[0, 0, 5, 5] = np.nan, np.inf
    y = fastconv.adaptive_avg_pool_forward(x, 3)[0, 0]
    assert np.isnan(y[0, 0]) and np.isinf(y[2, 2]) and np.isfinite(y).sum() == 7
    dx = fastconv.adaptive_avg_pool_backward(y[None, None], x.shape)[0, 0]
    assert np.isnan(dx[:2, :2]).all() and np.isinf(dx[4:, 4:]).all() and np.isfinite(dx).sum() == 28


def test_global_pools_worked_by_hand():
    x = np.array([[[[1.0, 2.0], [3.0, 6.0]], [[-1.0, -5.0], [-2.0, -4.0]]]])
    y, indices = fastconv.adaptive_max_pool_forward(x, 1)
    np.testing.assert_array_equal(y.ravel(), [6, -1])
    np.testing.assert_array_equal(indices.ravel(), [3, 0])
    mean = fastconv.adaptive_avg_pool_forward(x, 1)
    np.testing.assert_array_equal(mean.ravel(), [3, -3])
    dx = fastconv.adaptive_avg_pool_backward(np.array([[[[4.0]], [[8.0]]]]), x.shape)
    np.testing.assert_array_equal(dx, [[np.full((2, 2), 1), np.full((2, 2), 2)]])


def test_global_average_of_many_elements_does_not_drift():
    x = np.full((1, 1, 2**20), 0.1, np.float32)
    y = fastconv.adaptive_avg_pool_forward(x, 1)
    np.testing.assert_allclose(y, np.float32(0.1), rtol=1e-6)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_adaptive_empty_batch_gives_empty_results(layout):
    shape, y_shape = ((0, 4, 5, 2), (0, 3, 2, 2)) if layout else ((0, 2, 4, 5), (0, 2, 3, 2))
    y, indices = fastconv.adaptive_max_pool_forward(np.ones(shape), (3, 2), layout=layout)
    assert y.shape == indices.shape == y_shape
    assert (
        fastconv.adaptive_avg_pool_forward(np.ones(shape), (3, 2), layout=layout).shape == y_shape
    )
    assert fastconv.adaptive_avg_pool_backward(y, shape, layout=layout).shape == shape
    assert fastconv.max_unpool(y, indices, shape, layout=layout).shape == shape


FORWARDS = pytest.mark.parametrize(
    "pool", ["adaptive_max_pool_forward", "adaptive_avg_pool_forward"]
)


@FORWARDS
@pytest.mark.parametrize(
    "output_size", [0, -1, (2, 0), (2,), (), (2, 2, 2), 2**63, 10**30], ids=str
)
def test_output_size_that_does_not_fit_is_named_with_its_value(pool, output_size):
    with pytest.raises(ValueError, match=r"output_size(\[1\])? is .*expected"):
        getattr(fastconv, pool)(np.ones((1, 2, 4, 5)), output_size)


@FORWARDS
@pytest.mark.parametrize("output_size", [2.0, np.nan, True, "2", None, 1j, (1.0, 2)], ids=str)
def test_output_size_that_is_no_integer_is_a_type_error(pool, output_size):
    with pytest.raises(TypeError, match="output_size"):
        getattr(fastconv, pool)(np.ones((1, 2, 4, 5)), output_size)


@FORWARDS
def test_adaptive_output_beyond_int64_or_memory(pool):
    call = getattr(fastconv, pool)
    with pytest.raises(ValueError, match=r"2\*\*59"):
        call(np.ones((1, 2, 4, 5)), 2**31)
    with pytest.raises(MemoryError):
        call(np.ones((1, 2, 4, 5)), 2**24)


@FORWARDS
@pytest.mark.parametrize("shape", [(2, 3), (1, 1, 2, 2, 2, 2), (1, 0, 4), (1, 2, 0), (1, 2, 4, 0)])
def test_adaptive_shapes_without_one_to_three_axes_of_data_are_refused(pool, shape):
    with pytest.raises(ValueError, match="shape of x"):
        getattr(fastconv, pool)(np.ones(shape), 1)


@FORWARDS
def test_adaptive_layout_of_another_rank_is_refused(pool):
    with pytest.raises(ValueError, match="layout is 'NWC', expected"):
        getattr(fastconv, pool)(np.ones((1, 2, 4, 5)), 1, layout="NWC")


@pytest.mark.parametrize("dtype", [object, complex, bool, "U3"])
def test_adaptive_pools_take_real_and_float_numbers_only(dtype):
    with pytest.raises(TypeError, match="x has dtype"):
        fastconv.adaptive_max_pool_forward(np.zeros((1, 1, 4), dtype), 2)
    for floats_only in (dtype, "i4", "f2"):
        with pytest.raises(TypeError, match="x has dtype"):
            fastconv.adaptive_avg_pool_forward(np.zeros((1, 1, 4), floats_only), 2)
        with pytest.raises(TypeError, match="dy has dtype"):
            fastconv.adaptive_avg_pool_backward(np.zeros((1, 1, 2), floats_only), (1, 1, 4))


@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 3, 3), (1, 2), (1, 2, 3, 3), (1, 2, 0)])
def test_adaptive_dy_of_another_batch_channel_count_or_rank_is_refused(shape):
    with pytest.raises(ValueError, match=r"dy.*expected"):
        fastconv.adaptive_avg_pool_backward(np.ones(shape), (1, 2, 5))


# ---------------------------------------------------------------------------------------------
# Max unpooling


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", UNPOOLS)
def test_max_unpool_of_every_real_dtype_matches_the_reference(name, dtype):
    shape, kernel, options = UNPOOLS[name]
    _, indices = fastconv.max_pool_forward(distinct(0, *shape), kernel, **options)
    y = values_of(dtype, indices.shape)
    x = fastconv.max_unpool(y, indices, shape)
    assert x.dtype == y.dtype and x.shape == shape and x.flags.c_contiguous
    np.testing.assert_array_equal(x, reference.max_unpool(y, indices, shape))


@pytest.mark.parametrize("name", UNPOOLS)
def test_max_unpool_channels_last_is_channels_first_transposed(name):
    shape, kernel, options = UNPOOLS[name]
    _, indices = fastconv.max_pool_forward(distinct(0, *shape), kernel, **options)
    y = distinct(1, *indices.shape)
    layout, last_shape = LAYOUT_LAST[len(shape) - 2], (shape[0], *shape[2:], shape[1])
    last = fastconv.max_unpool(channels_last(y), channels_last(indices), last_shape, layout=layout)
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last, channels_last(fastconv.max_unpool(y, indices, shape)))


def test_max_unpool_memory_layout_of_the_arguments_does_not_matter():
    _, indices = fastconv.max_pool_forward(distinct(0, 2, 3, 6, 7), 3, stride=1, padding=1)
    y = distinct(1, *indices.shape, dtype="f4")
    x = fastconv.max_unpool(y, indices, (2, 3, 6, 7))
    index_views = odd_strides(indices)
    for kind, view in odd_strides(y).items():
        actual = fastconv.max_unpool(view, index_views[kind], (2, 3, 6, 7))
        np.testing.assert_array_equal(actual, x, err_msg=kind)
    (view, dense), (index_view, dense_indices) = broadcast(y), broadcast(indices)
    np.testing.assert_array_equal(
        fastconv.max_unpool(view, index_view, (2, 3, 6, 7)),
        fastconv.max_unpool(dense, dense_indices, (2, 3, 6, 7)),
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_max_unpool_of_a_shared_cell_keeps_the_last_value_in_row_major_order(threads):
    rng = np.random.default_rng(0)
    y, indices = distinct(0, 3, 5, 30, 40), rng.integers(0, 9, (3, 5, 30, 40))
    expected = np.zeros((3, 5, 9))
    for n, c, p, q in np.ndindex(y.shape):
        expected[n, c, indices[n, c, p, q]] = y[n, c, p, q]
    with fastconv.num_threads(threads):
        x = fastconv.max_unpool(y, indices, (3, 5, 9, 1))
        last = fastconv.max_unpool(
            channels_last(y), channels_last(indices), (3, 9, 1, 5), layout="NHWC"
        )
    np.testing.assert_array_equal(x.reshape(3, 5, 9), expected)
    np.testing.assert_array_equal(last, channels_last(x))


@pytest.mark.parametrize("name", [n for n in UNPOOLS if n not in ("overlapping", "volume", "line")])
def test_max_unpool_pytorch_agrees(name, torch):
    shape, kernel, options = UNPOOLS[name]
    y, indices = fastconv.max_pool_forward(distinct(0, *shape), kernel, **options)
    theirs = torch.nn.functional.max_unpool2d(
        torch.tensor(y), torch.tensor(indices), kernel, output_size=shape, **options
    )
    np.testing.assert_array_equal(fastconv.max_unpool(y, indices, shape), theirs.numpy())


def test_max_unpool_places_bits_as_they_are():
    y = np.array([[[np.nan, -0.0, np.inf, -np.inf]]])
    x = fastconv.max_unpool(y, np.array([[[4, 0, 1, 3]]]), (1, 1, 5))
    assert_same_bits(x, np.array([[[-0.0, np.inf, 0.0, -np.inf, np.nan]]]))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i4"])
def test_max_unpool_takes_indices_of_every_integer_dtype(dtype):
    x = fastconv.max_unpool(np.array([[[1.0, 2.0]]]), np.array([[[3, 0]]], dtype), (1, 1, 4))
    np.testing.assert_array_equal(x, [[[2, 0, 0, 1]]])


@pytest.mark.parametrize("index", [-1, 4, 2**32 + 3, -(2**63), 2**63 - 1])
def test_row_14_max_unpool_refuses_an_index_outside_the_plane(index):
    with pytest.raises(ValueError, match=f"indices contains {index}, expected .*0 to 3"):
        fastconv.max_unpool(np.ones((1, 1, 2)), np.array([[[0, index]]]), (1, 1, 4))


def test_row_14_max_unpool_refuses_shapes_and_dtypes_that_do_not_fit():
    y, indices = np.ones((1, 2, 3)), np.zeros((1, 2, 3), np.int64)
    with pytest.raises(ValueError, match=r"indices has shape \(1, 2, 2\), expected \(1, 2, 3\)"):
        fastconv.max_unpool(y, indices[..., 1:], (1, 2, 5))
    for x_shape in ((2, 2, 5), (1, 3, 5), (1, 2, 5, 5)):
        with pytest.raises(ValueError, match=r"y has shape \(1, 2, 3\), expected"):
            fastconv.max_unpool(y, indices, x_shape)
    with pytest.raises(ValueError, match=r"x_shape\[2\] is 0"):
        fastconv.max_unpool(y, indices, (1, 2, 0))
    with pytest.raises(TypeError, match="indices has dtype float64"):
        fastconv.max_unpool(y, indices.astype(float), (1, 2, 5))
    for dtype in (object, complex, bool, "U3"):
        with pytest.raises(TypeError, match="y has dtype"):
            fastconv.max_unpool(np.zeros((1, 2, 3), dtype), indices, (1, 2, 5))
    with pytest.raises(MemoryError):
        fastconv.max_unpool(y, indices, (1, 2, 2**50))


# ---------------------------------------------------------------------------------------------
# Every pool: linear in x where the maxima stay, and its backward the adjoint

MAXIMA = {
    "max": lambda x: fastconv.max_pool_forward(x, 3, stride=2, padding=1),
    "max_dilated": lambda x: fastconv.max_pool_forward(x, 2, stride=1, dilation=2),
    "max_ceil": lambda x: fastconv.max_pool_forward(x, 3, stride=3, ceil_mode=True),
    "adaptive_max": lambda x: fastconv.adaptive_max_pool_forward(x, 3),
}
AVERAGES = {
    "avg": (
        lambda x: fastconv.avg_pool_forward(x, 3, stride=2, padding=1),
        lambda dy, shape: fastconv.avg_pool_backward(dy, shape, 3, stride=2, padding=1),
    ),
    "avg_ceil": (
        lambda x: fastconv.avg_pool_forward(x, 3, stride=3, padding=1, ceil_mode=True),
        lambda dy, shape: fastconv.avg_pool_backward(
            dy, shape, 3, stride=3, padding=1, ceil_mode=True
        ),
    ),
    "avg_of_existing": (
        lambda x: fastconv.avg_pool_forward(x, 2, padding=1, count_include_pad=False),
        lambda dy, shape: fastconv.avg_pool_backward(
            dy, shape, 2, padding=1, count_include_pad=False
        ),
    ),
    "adaptive_avg": (
        lambda x: fastconv.adaptive_avg_pool_forward(x, 3),
        lambda dy, shape: fastconv.adaptive_avg_pool_backward(dy, shape),
    ),
    "adaptive_avg_larger": (
        lambda x: fastconv.adaptive_avg_pool_forward(x, 11),
        lambda dy, shape: fastconv.adaptive_avg_pool_backward(dy, shape),
    ),
}
SHAPES = pytest.mark.parametrize("shape", [(2, 3, 8), (2, 2, 7, 6), (1, 2, 4, 5, 6)], ids=str)


@SHAPES
@pytest.mark.parametrize("name", MAXIMA)
def test_max_pool_backward_is_the_adjoint_where_the_maxima_stay(name, shape):
    x = distinct(0, *shape) + 1
    y, indices = MAXIMA[name](x)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx = fastconv.max_pool_backward(dy, indices, shape)
    np.testing.assert_allclose(np.vdot(x, dx), np.vdot(y, dy), rtol=1e-12, atol=1e-12)
    fastconv.check_gradients(
        lambda x: MAXIMA[name](x)[0],
        lambda dy, x: fastconv.max_pool_backward(dy, MAXIMA[name](x)[1], shape),
        [x / 10],
        rtol=1e-7,
        atol=1e-8,
    )


@SHAPES
@pytest.mark.parametrize("name", AVERAGES)
def test_average_pool_backward_is_the_adjoint(name, shape):
    forward, backward = AVERAGES[name]
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    y = forward(x)
    dy = rng.standard_normal(y.shape)
    dx = backward(dy, shape)
    np.testing.assert_allclose(np.vdot(x, dx), np.vdot(y, dy), rtol=1e-12, atol=1e-12)
    fastconv.check_gradients(forward, lambda dy, x: backward(dy, shape), [x], rtol=1e-7, atol=1e-8)


@SHAPES
def test_max_unpool_is_the_adjoint_of_gathering_the_maxima(shape):
    _, indices = fastconv.max_pool_forward(distinct(0, *shape), 2)
    rng = np.random.default_rng(1)
    y, x = rng.standard_normal(indices.shape), rng.standard_normal(shape)
    flat = indices.reshape(*shape[:2], -1)
    gathered = np.take_along_axis(x.reshape(*shape[:2], -1), flat, axis=2).reshape(y.shape)
    spread = fastconv.max_unpool(y, indices, shape)
    np.testing.assert_allclose(np.vdot(spread, x), np.vdot(y, gathered), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_one_and_two_threads_give_the_same_bits(layout, isa):
    shape = (2, 21, 23, 19) if layout is None else (2, 21, 19, 23)
    x = np.random.default_rng(2).uniform(-1, 1, shape).astype(np.float32)
    results = []
    for count in (1, 2):
        with fastconv.num_threads(count):
            y, indices = fastconv.adaptive_max_pool_forward(x, 5, layout=layout)
            mean = fastconv.adaptive_avg_pool_forward(x, 5, layout=layout)
            dx = fastconv.adaptive_avg_pool_backward(mean, shape, layout=layout)
            back = fastconv.max_unpool(y, indices, shape, layout=layout)
            results.append([y, indices, mean, dx, back])
    for one, two in zip(*results, strict=True):
        assert_same_bits(one, two)
