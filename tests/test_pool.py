"""Max and average pooling against the references, PyTorch and worked numbers."""

import math

import numpy as np
import pytest
from cases import LAYOUT_LAST, REAL, broadcast, channels_last, distinct, odd_strides
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import reference

# name: x shape, kernel, options
POOLS = {
    "2x2": ((2, 3, 6, 8), 2, {}),
    "3x3_s2_p1": ((2, 3, 7, 8), 3, {"stride": 2, "padding": 1}),
    "3x3_s1_p1": ((1, 2, 5, 5), 3, {"stride": 1, "padding": 1}),
    "5x5_s1_p2": ((1, 2, 9, 6), 5, {"stride": 1, "padding": 2}),
    "does_not_tile": ((2, 2, 7, 5), (3, 2), {}),
    "overlapping": ((2, 2, 7, 6), (3, 4), {"stride": (2, 1)}),
    "gaps": ((1, 2, 9, 9), 2, {"stride": 4}),
    "whole_image": ((2, 3, 4, 5), (4, 5), {}),
    "uneven_padding": ((1, 2, 5, 6), 3, {"stride": 2, "padding": ((2, 0), (1, 2))}),
    "same": ((1, 2, 5, 6), (2, 3), {"stride": 2, "padding": "same"}),
    "same_lower": ((1, 2, 5, 6), (2, 3), {"stride": 1, "padding": "same_lower"}),
    "ceil": ((1, 2, 6, 8), 3, {"stride": 2, "ceil_mode": True}),
    "ceil_padded": ((1, 2, 7, 6), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    "ceil_drops_last": ((1, 1, 2, 2), 2, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "ceil_window_beyond_input": ((1, 1, 2, 2), 3, {"stride": 2, "ceil_mode": True}),
    "line": ((2, 3, 11), 3, {"stride": 2, "padding": 1}),
    "volume": ((1, 2, 4, 5, 6), (2, 3, 2), {"stride": (1, 2, 2), "padding": (0, 1, 1)}),
}
DILATED = {
    "dilated": ((1, 2, 9, 10), 3, {"stride": 1, "dilation": 2}),
    "dilated_padded": ((2, 2, 9, 10), 3, {"stride": 2, "dilation": (2, 3), "padding": (2, 3)}),
    "dilated_ceil": (
        (1, 2, 8, 7),
        2,
        {"stride": 3, "dilation": 3, "padding": 1, "ceil_mode": True},
    ),
    "dilated_line": ((1, 2, 12), 3, {"stride": 1, "dilation": 4, "padding": 4}),
}
AVERAGES = [{}, {"count_include_pad": False}, {"divisor_override": 3}]


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", [*POOLS, *DILATED])
def test_max_pool_of_every_real_dtype_matches_the_reference(name, dtype):
    shape, kernel, options = (POOLS | DILATED)[name]
    low, high = (0, 100) if dtype[0] == "u" else (-50, 50)
    x = np.random.default_rng(3).integers(low, high, shape).astype(dtype)
    y, indices = fastconv.max_pool_forward(x, kernel, **options)
    expected, expected_indices = reference.max_pool_forward(x, kernel, **options)
    assert y.dtype == x.dtype and indices.dtype == np.int64
    assert y.flags.c_contiguous and indices.flags.c_contiguous
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    alone = fastconv.max_pool_forward(x, kernel, return_indices=False, **options)
    np.testing.assert_array_equal(alone, y, strict=True)
    dy = np.random.default_rng(4).integers(0, 5, y.shape).astype(dtype)
    dx = fastconv.max_pool_backward(dy, indices, shape)
    assert dx.dtype == x.dtype
    np.testing.assert_array_equal(dx, reference.max_pool_backward(dy, indices, shape))


@pytest.mark.parametrize("average", AVERAGES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", POOLS)
def test_average_pool_matches_the_reference(name, dtype, average):
    shape, kernel, options = POOLS[name]
    options = options | average
    x = np.random.default_rng(5).uniform(-1, 1, shape).astype(dtype)
    y = fastconv.avg_pool_forward(x, kernel, **options)
    assert y.dtype == x.dtype and y.flags.c_contiguous
    eps = 4 * np.finfo(dtype).eps
    expected = reference.avg_pool_forward(x, kernel, **options)
    np.testing.assert_allclose(y, expected, rtol=eps, atol=eps)
    dy = np.random.default_rng(6).uniform(-1, 1, y.shape).astype(dtype)
    dx = fastconv.avg_pool_backward(dy, shape, kernel, **options)
    assert dx.dtype == x.dtype
    expected = reference.avg_pool_backward(dy, shape, kernel, **options)
    np.testing.assert_allclose(dx, expected, rtol=16 * eps, atol=16 * eps)


@pytest.mark.parametrize("name", POOLS)
def test_channels_last_is_channels_first_transposed(name, isa):
    shape, kernel, options = POOLS[name]
    x = distinct(0, *shape)
    layout = LAYOUT_LAST[x.ndim - 2]
    y, indices = fastconv.max_pool_forward(x, kernel, **options)
    last = fastconv.max_pool_forward(channels_last(x), kernel, layout=layout, **options)
    np.testing.assert_array_equal(last[0], channels_last(y))
    np.testing.assert_array_equal(last[1], channels_last(indices))
    dx = fastconv.max_pool_backward(y, indices, shape)
    last_shape = channels_last(x).shape
    np.testing.assert_array_equal(
        fastconv.max_pool_backward(*last, last_shape, layout=layout), channels_last(dx)
    )
    mean = fastconv.avg_pool_forward(x, kernel, **options)
    np.testing.assert_array_equal(
        fastconv.avg_pool_forward(channels_last(x), kernel, layout=layout, **options),
        channels_last(mean),
    )
    # Whole shares of windows of at most 25 elements, whose sums are exact: where channels fill the
    # vectors of an instruction set, dy is summed before it is divided.
    dy = distinct(1, *mean.shape) * math.lcm(*range(1, 26))
    np.testing.assert_array_equal(
        fastconv.avg_pool_backward(channels_last(dy), last_shape, kernel, layout=layout, **options),
        channels_last(fastconv.avg_pool_backward(dy, shape, kernel, **options)),
    )


def test_memory_layout_of_the_arguments_does_not_matter():
    x = distinct(0, 2, 3, 6, 7, dtype="f4")
    y, indices = fastconv.max_pool_forward(x, 3, stride=2, padding=1)
    dx = fastconv.max_pool_backward(y, indices, x.shape)
    mean = fastconv.avg_pool_forward(x, 3, stride=2, padding=1)
    dmean = fastconv.avg_pool_backward(y, x.shape, 3, stride=2, padding=1)
    for kind, xs in odd_strides(x).items():
        before = xs.tobytes()
        ys, index_view = odd_strides(y)[kind], odd_strides(indices)[kind]
        actual = fastconv.max_pool_forward(xs, 3, stride=2, padding=1)
        np.testing.assert_array_equal(actual[0], y, err_msg=kind)
        np.testing.assert_array_equal(actual[1], indices, err_msg=kind)
        np.testing.assert_array_equal(fastconv.max_pool_backward(ys, index_view, x.shape), dx)
        np.testing.assert_array_equal(fastconv.avg_pool_forward(xs, 3, stride=2, padding=1), mean)
        np.testing.assert_array_equal(
            fastconv.avg_pool_backward(ys, x.shape, 3, stride=2, padding=1), dmean
        )
        assert xs.tobytes() == before


def test_broadcast_arguments_are_read_with_stride_zero():
    options = {"stride": 2, "padding": 1}
    view, dense = broadcast(distinct(0, 2, 3, 6, 7))
    y, indices = fastconv.max_pool_forward(dense, 3, **options)
    actual = fastconv.max_pool_forward(view, 3, **options)
    np.testing.assert_array_equal(actual[0], y)
    np.testing.assert_array_equal(actual[1], indices)
    np.testing.assert_array_equal(
        fastconv.avg_pool_forward(view, 3, **options),
        fastconv.avg_pool_forward(dense, 3, **options),
    )
    (dy, dense_dy), (index_view, dense_indices) = broadcast(y), broadcast(indices)
    np.testing.assert_array_equal(
        fastconv.max_pool_backward(dy, index_view, dense.shape),
        fastconv.max_pool_backward(dense_dy, dense_indices, dense.shape),
    )
    np.testing.assert_array_equal(
        fastconv.avg_pool_backward(dy, dense.shape, 3, **options),
        fastconv.avg_pool_backward(dense_dy, dense.shape, 3, **options),
    )


def test_half_precision_overflow_is_an_infinity_without_a_warning():
    dy, indices = np.full((1, 1, 2), 6e4, np.float16), np.array([[[1, 1]]])
    dx = fastconv.max_pool_backward(dy, indices, (1, 1, 2))
    np.testing.assert_array_equal(dx, np.float16([[[0, np.inf]]]))


def test_first_of_equal_maxima_gets_the_index_and_the_gradient():
    x = np.float32([[[[1, 7, 7], [7, 0, 7]]]])
    y, indices = fastconv.max_pool_forward(x, (2, 3))
    assert (y.item(), indices.item()) == (7, 1)
    dx = fastconv.max_pool_backward(np.float32([[[[2]]]]), indices, x.shape)
    np.testing.assert_array_equal(dx, [[[[0, 2, 0], [0, 0, 0]]]])


def test_2x2_gradient_flows_to_the_maximum_only():
    x = np.array([[[[9.0, 1.0, 2.0, 3.0], [4.0, 5.0, 8.0, 6.0]]]])
    _, indices = fastconv.max_pool_forward(x, 2)
    dx = fastconv.max_pool_backward(np.array([[[[10.0, 20.0]]]]), indices, x.shape)
    np.testing.assert_array_equal(dx, [[[[10, 0, 0, 0], [0, 0, 20, 0]]]])


def test_2x2_average_gradient_is_a_quarter_each():
    dx = fastconv.avg_pool_backward(np.array([[[[8.0]]]]), (1, 1, 2, 2), 2)
    np.testing.assert_array_equal(dx, np.full((1, 1, 2, 2), 2.0))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g"])
def test_nan_wins_at_every_position_of_a_window_and_of_a_row(dtype):
    for position in range(35):
        x = distinct(position, 1, 1, 35, dtype=dtype)
        x[0, 0, position] = np.nan
        y, indices = fastconv.max_pool_forward(x, 5, stride=1)
        holds = np.arange(31) <= position
        holds &= position < np.arange(31) + 5
        np.testing.assert_array_equal(np.isnan(y[0, 0]), holds)
        np.testing.assert_array_equal(indices[0, 0][holds], position)


def test_first_of_several_nans_gets_the_index():
    x = np.array([[[[1.0, np.nan], [np.nan, 9.0]]]])
    assert fastconv.max_pool_forward(x, 2)[1].item() == 1


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_window_of_nothing_but_one_value_has_its_first_index(value):
    x = np.full((1, 2, 4, 4), value, np.float32)
    y, indices = fastconv.max_pool_forward(x, 3, stride=1, padding=1)
    np.testing.assert_array_equal(y, np.full(y.shape, value))
    assert indices[0, 0, 0, 0] == 0 and indices.min() == 0
    assert indices[0, 0, 3, 3] == 10


def test_minimum_of_an_integer_dtype_is_found_beside_padding():
    x = np.full((1, 1, 2), np.iinfo(np.int8).min, np.int8)
    y, indices = fastconv.max_pool_forward(x, 2, stride=1, padding=1)
    np.testing.assert_array_equal(y[0, 0], [-128] * 3)
    np.testing.assert_array_equal(indices[0, 0], [0, 0, 1])


def test_nan_and_infinity_stay_within_their_windows():
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[0, 0, 0, 0], x[0, 0, 5, 5] = np.nan, np.inf
    y = fastconv.avg_pool_forward(x, 2)[0, 0]
    assert np.isnan(y[0, 0]) and np.isinf(y[2, 2])
    assert np.isfinite(y).sum() == 7


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_empty_batch_gives_empty_results(layout):
    shape = (0, 4, 4, 2) if layout else (0, 2, 4, 4)
    y_shape = (0, 2, 2, 2)
    y, indices = fastconv.max_pool_forward(np.ones(shape), 2, layout=layout)
    assert y.shape == indices.shape == y_shape
    assert fastconv.max_pool_backward(y, indices, shape, layout=layout).shape == shape
    assert fastconv.avg_pool_forward(np.ones(shape), 2, layout=layout).shape == y_shape
    assert fastconv.avg_pool_backward(y, shape, 2, layout=layout).shape == shape


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i4"])
def test_indices_of_every_integer_dtype_are_accepted(dtype):
    indices = np.array([[[3, 0]]], dtype)
    dx = fastconv.max_pool_backward(np.array([[[1.0, 2.0]]]), indices, (1, 1, 4))
    np.testing.assert_array_equal(dx, [[[2, 0, 0, 1]]])


@pytest.mark.parametrize("name", POOLS)
def test_average_pool_backward_is_the_adjoint_of_forward(name):
    shape, kernel, options = POOLS[name]
    rng = np.random.default_rng(7)
    x = rng.standard_normal(shape)
    y = fastconv.avg_pool_forward(x, kernel, **options)
    dy = rng.standard_normal(y.shape)
    dx = fastconv.avg_pool_backward(dy, shape, kernel, **options)
    np.testing.assert_allclose(np.vdot(x, dx), np.vdot(y, dy), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["3x3_s2_p1", "volume", "ceil_padded"])
def test_numerical_gradients_in_float64(name):
    shape, kernel, options = POOLS[name]
    # Values 0.1 apart: a difference step never changes which one is the maximum.
    x = distinct(0, *shape) / 10
    fastconv.check_gradients(
        lambda x: fastconv.max_pool_forward(x, kernel, **options)[0],
        lambda dy, x: fastconv.max_pool_backward(
            dy, fastconv.max_pool_forward(x, kernel, **options)[1], shape
        ),
        [x],
        rtol=1e-7,
        atol=1e-8,
    )
    fastconv.check_gradients(
        lambda x: fastconv.avg_pool_forward(x, kernel, **options),
        lambda dy, x: fastconv.avg_pool_backward(dy, shape, kernel, **options),
        [x],
        rtol=1e-7,
        atol=1e-8,
    )


# ---------------------------------------------------------------------------------------------
# Legal windows and strides of any size: all but a few of their elements are padding

# name: elements of x, kernel, stride, padding; the reference would loop over the kernel
HUGE = {"stride": (8, 1, 2**63 - 1, (0, 0)), "small": (7, 5, 2, (4, 3))}
for n in (2**26, 2**31, 2**40, 2**61):
    HUGE[f"two_windows_of_{n}"] = (64, n, n, (n - 1, n - 1))
    HUGE[f"overlapping_windows_of_{n}"] = (8, n, 2, (n - 1, 0))
    HUGE[f"one_window_of_{n}"] = (5, n, 1, (n // 2, n - n // 2 - 5))

# axes before the one that is pooled, axes after it
AROUND = {
    "line": ((2, 3), ()),
    "rows": ((2, 3), (4,)),
    "columns": ((2, 3, 4), ()),
    "planes": ((2, 3), (2, 4)),
}


def huge_problem(name, around):
    """x shape, kernel, options, (begin, end, elements of the padded input) of each window."""
    size, kernel, stride, (before, after) = HUGE[name]
    lead, rest = AROUND[around]

    def on_the_axis(value, other):
        return (other,) * (len(lead) - 2) + (value,) + (other,) * len(rest)

    windows = []
    for start in range(-before, size + after - kernel + 1, stride):
        begin, end = max(start, 0), min(start + kernel, size)
        windows.append((begin, end, min(kernel, size + after - start)))
    options = {
        "stride": on_the_axis(stride, 1),
        "padding": on_the_axis((before, after), (0, 0)),
    }
    return (*lead, size, *rest), on_the_axis(kernel, 1), options, windows


def test_row_31_the_windows_of_a_small_problem_are_those_of_the_reference():
    shape, kernel, options, windows = huge_problem("small", "rows")
    x = distinct(0, *shape)
    means = [x[:, :, begin:end].sum(2) / count for begin, end, count in windows]
    expected = reference.avg_pool_forward(x, kernel, **options)
    np.testing.assert_allclose(np.stack(means, 2), expected, rtol=1e-14)


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", HUGE)
def test_row_31_windows_and_strides_of_an_average_may_be_huge(name, around, dtype, isa):
    shape, kernel, options, windows = huge_problem(name, around)
    axis, layout = len(AROUND[around][0]), LAYOUT_LAST[len(shape) - 2]
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1, shape).astype(dtype)
    dy_shape = list(shape)
    dy_shape[axis] = len(windows)
    dy = rng.uniform(0.5, 1, dy_shape).astype(dtype)
    for average in AVERAGES:
        weights = np.zeros((len(windows), shape[axis]))
        for row, (begin, end, count) in zip(weights, windows, strict=True):
            of_data = count if average.get("count_include_pad", True) else end - begin
            row[begin:end] = 1 / average.get("divisor_override", of_data)
        y = np.moveaxis(np.moveaxis(x, axis, -1) @ weights.T, -1, axis)
        dx = np.moveaxis(np.moveaxis(dy, axis, -1) @ weights, -1, axis)
        given = options | average
        with fastconv.use_isa(isa):
            ours = fastconv.avg_pool_forward(x, kernel, **given)
            our_dx = fastconv.avg_pool_backward(dy, shape, kernel, **given)
            given["layout"] = layout
            last = fastconv.avg_pool_forward(channels_last(x), kernel, **given)
            last_dx = fastconv.avg_pool_backward(
                channels_last(dy), channels_last(x).shape, kernel, **given
            )
        rtol = 64 * np.finfo(dtype).eps
        np.testing.assert_allclose(ours, y, rtol=rtol)
        np.testing.assert_allclose(our_dx, dx, rtol=rtol)
        np.testing.assert_allclose(last, channels_last(y), rtol=rtol)
        np.testing.assert_allclose(last_dx, channels_last(dx), rtol=rtol)


@pytest.mark.parametrize("isa", fastconv.isas())
@pytest.mark.parametrize("dtype", ["i1", "f4", "i8"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", HUGE)
def test_row_31_windows_and_strides_of_a_maximum_may_be_huge(name, around, dtype, isa):
    shape, kernel, options, windows = huge_problem(name, around)
    axis, layout = len(AROUND[around][0]), LAYOUT_LAST[len(shape) - 2]
    x = np.random.default_rng(0).integers(-50, 50, shape).astype(dtype)
    planes = np.broadcast_to(np.arange(np.prod(shape[2:])).reshape(shape[2:]), shape)
    y, indices = [], []
    for begin, end, _ in windows:
        part = np.arange(shape[axis])[begin:end]
        first = np.argmax(np.take(x, part, axis), axis, keepdims=True) + begin
        y.append(np.take_along_axis(x, first, axis))
        indices.append(np.take_along_axis(planes, first, axis))
    y, indices = np.concatenate(y, axis), np.concatenate(indices, axis)
    with fastconv.use_isa(isa):
        ours = fastconv.max_pool_forward(x, kernel, **options)
        last = fastconv.max_pool_forward(channels_last(x), kernel, layout=layout, **options)
    for array, last_array, expected in zip(ours, last, (y, indices), strict=True):
        np.testing.assert_array_equal(array, expected)
        np.testing.assert_array_equal(last_array, channels_last(expected))


@pytest.mark.parametrize("stride", [2**26, 2**31 - 1, 2**62, 2**63 - 1])
@pytest.mark.parametrize("shape", [(1, 1, 8), (2, 3, 4, 4), (1, 2, 2, 3, 4)], ids=str)
def test_row_31_stride_that_no_second_window_uses_may_be_huge(shape, stride):
    x, corner = distinct(0, *shape), (..., *(slice(0, 1),) * (len(shape) - 2))
    mean = fastconv.avg_pool_forward(x, 1, stride=stride)
    y, indices = fastconv.max_pool_forward(x, 1, stride=stride)
    for actual, expected in ((mean, x[corner]), (y, x[corner]), (indices, 0 * x[corner])):
        np.testing.assert_array_equal(actual, expected)
    expected = np.zeros_like(x)
    expected[corner] = x[corner]
    dx = fastconv.avg_pool_backward(mean, shape, 1, stride=stride)
    np.testing.assert_array_equal(dx, expected)
    np.testing.assert_array_equal(fastconv.max_pool_backward(y, indices, shape), expected)


TORCH_PADDING_MAKES_NO_PAIRS = ("uneven_padding", "same", "same_lower")


@pytest.mark.parametrize("name", [n for n in POOLS if n not in TORCH_PADDING_MAKES_NO_PAIRS])
def test_pytorch_agrees(name, torch):
    shape, kernel, options = POOLS[name]
    x = distinct(0, *shape)
    axes = len(shape) - 2
    tensor = torch.tensor(x, requires_grad=True)
    functional = torch.nn.functional
    y, indices = getattr(functional, f"max_pool{axes}d")(
        tensor, kernel, return_indices=True, **options
    )
    dy = np.random.default_rng(8).standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    ours, our_indices = fastconv.max_pool_forward(x, kernel, **options)
    np.testing.assert_array_equal(ours, y.detach().numpy())
    np.testing.assert_array_equal(our_indices, indices.numpy())
    np.testing.assert_allclose(
        fastconv.max_pool_backward(dy, our_indices, shape), tensor.grad.numpy(), rtol=1e-14
    )
    for average in AVERAGES:
        if axes == 1 and "divisor_override" in average:
            continue
        tensor.grad = None
        mean = getattr(functional, f"avg_pool{axes}d")(tensor, kernel, **options, **average)
        mean.backward(torch.tensor(dy))
        ours = fastconv.avg_pool_forward(x, kernel, **options, **average)
        np.testing.assert_allclose(ours, mean.detach().numpy(), rtol=1e-14)
        ours = fastconv.avg_pool_backward(dy, shape, kernel, **options, **average)
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


@st.composite
def pool_problems(draw):
    axes = draw(st.integers(1, 3))

    def several(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    kernel = several(1, 4)
    padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        *several(4, {1: 20, 2: 9, 3: 6}[axes]),
    )
    options = {"stride": several(1, 4), "padding": padding, "ceil_mode": draw(st.booleans())}
    return shape, kernel, options, several(1, 2)


@settings(max_examples=150, deadline=None)
@given(pool_problems(), st.sampled_from(AVERAGES), st.integers(0, 2**32 - 1))
def test_random_geometry_against_the_reference(problem, average, seed):
    shape, kernel, options, dilation = problem
    x = np.random.default_rng(seed).integers(-9, 9, shape).astype("f8")
    mean = fastconv.avg_pool_forward(x, kernel, **options, **average)
    np.testing.assert_allclose(
        mean, reference.avg_pool_forward(x, kernel, **options, **average), rtol=1e-14
    )
    np.testing.assert_allclose(
        fastconv.avg_pool_backward(mean, shape, kernel, **options, **average),
        reference.avg_pool_backward(mean, shape, kernel, **options, **average),
        rtol=1e-12,
        atol=1e-14,
    )
    try:
        expected = reference.max_pool_forward(x, kernel, dilation=dilation, **options)
    except ValueError:
        with pytest.raises(ValueError):
            fastconv.max_pool_forward(x, kernel, dilation=dilation, **options)
        return
    actual = fastconv.max_pool_forward(x, kernel, dilation=dilation, **options)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])
