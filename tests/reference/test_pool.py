"""The plain loops of the pools against PyTorch and numbers worked by hand."""

import math

import numpy as np
import pytest
from cases import distinct, integers
from numpy.testing import assert_array_equal

from fastconv import reference

NAN, INF = math.nan, math.inf


# ---------------------------------------------------------------------- max pooling against PyTorch

MAX_POOL_CASES = {
    "1d": ((2, 3, 9), 3, {}),
    "1d_overlapping": ((2, 2, 9), 3, {"stride": 1, "padding": 1}),
    "1d_ceil_mode_kernel_larger_than_input": ((1, 1, 2), 3, {"stride": 2, "ceil_mode": True}),
    "2d_2x2": ((2, 3, 6, 6), 2, {}),
    "2d_resnet_stem": ((1, 2, 8, 7), 3, {"stride": 2, "padding": 1}),
    "2d_per_axis": ((1, 2, 7, 9), (3, 2), {"stride": (1, 3), "padding": (1, 0)}),
    "2d_dilation": ((1, 2, 8, 9), 2, {"stride": 1, "dilation": (2, 3)}),
    "2d_dilation_with_padding": (
        (1, 2, 7, 8),
        3,
        {"stride": 2, "padding": 1, "dilation": (1, 2)},
    ),
    "2d_ceil_mode": ((1, 2, 6, 8), 3, {"stride": 2, "ceil_mode": True}),
    "2d_ceil_mode_drops_the_last_window": (
        (1, 2, 5, 5),
        2,
        {"stride": 2, "padding": 1, "ceil_mode": True},
    ),
    "2d_ceil_mode_stride_beyond_kernel": ((1, 1, 7, 8), 2, {"stride": 4, "ceil_mode": True}),
    "3d": ((1, 2, 4, 5, 6), 2, {"ceil_mode": True}),
    "3d_everything": (
        (1, 1, 6, 5, 7),
        (2, 3, 2),
        {"stride": (2, 1, 2), "padding": 1, "dilation": (1, 2, 2), "ceil_mode": True},
    ),
}


@pytest.mark.parametrize("values", [distinct, integers], ids=["distinct", "with_ties"])
@pytest.mark.parametrize("case", MAX_POOL_CASES)
def test_max_pool_values_indices_and_gradient_equal_pytorch(torch, case, values):
    x_shape, kernel_size, options = MAX_POOL_CASES[case]
    x = values(0, *x_shape)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    F = torch.nn.functional
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[x.ndim - 2]
    ty, tindices = pool(tx, kernel_size, return_indices=True, **options)
    dy = integers(1, *ty.shape)
    ty.backward(torch.from_numpy(dy))

    y, indices = reference.max_pool_forward(x, kernel_size, **options)
    assert_array_equal(y, ty.detach())
    assert_array_equal(indices, tindices)
    assert indices.dtype == np.int64
    assert_array_equal(reference.max_pool_backward(dy, indices, x.shape), tx.grad)


# ------------------------------------------------------------------------- max pooling: by hand


def test_2x2_max_pool_gradient_goes_to_the_maximum_only():
    x = np.array([[4.0, 1.0], [2.0, 3.0]]).reshape(1, 1, 2, 2)
    y, indices = reference.max_pool_forward(x, 2)
    assert_array_equal(y, [[[[4]]]])
    dx = reference.max_pool_backward(np.array([[[[5.0]]]]), indices, x.shape)
    assert_array_equal(dx, [[[[5, 0], [0, 0]]]])


def test_max_pool_gradients_of_overlapping_windows_add_up():
    x = np.array([[[0.0, 9.0, 1.0]]])
    _, indices = reference.max_pool_forward(x, 2, stride=1)
    dx = reference.max_pool_backward(np.array([[[3.0, 4.0]]]), indices, x.shape)
    assert_array_equal(dx, [[[0, 7, 0]]])


def test_max_pool_first_of_equal_maxima_in_row_major_order_gets_the_index():
    x = np.array([[0.0, 5.0, 1.0], [5.0, 5.0, 2.0], [5.0, 0.0, 0.0]]).reshape(1, 1, 3, 3)
    _, indices = reference.max_pool_forward(x, 3)
    assert indices.item() == 1
    _, indices = reference.max_pool_forward(np.full((1, 1, 3, 4), -INF), 3, stride=1)
    assert_array_equal(indices, [[[[0, 1]]]])


@pytest.mark.parametrize("at", range(6))
def test_max_pool_nan_wins_wherever_it_is(at):
    x = np.array([[1.0, INF, 3.0], [4.0, 5.0, 6.0]])
    x.flat[at] = NAN
    y, indices = reference.max_pool_forward(x.reshape(1, 1, 2, 3), (2, 3))
    assert np.isnan(y.item())
    assert indices.item() == at


def test_max_pool_first_nan_wins():
    x = np.array([[[1.0, NAN, 7.0, NAN]]])
    _, indices = reference.max_pool_forward(x, 4)
    assert indices.item() == 1
    _, indices = reference.max_pool_forward(np.full((1, 1, 4), NAN), 2)
    assert_array_equal(indices, [[[0, 2]]])


def test_max_pool_padding_never_wins():
    x = np.full((1, 1, 2, 2), -7.0)
    y, indices = reference.max_pool_forward(x, 2, stride=1, padding=1)
    assert_array_equal(y, np.full((1, 1, 3, 3), -7.0))
    assert_array_equal(indices, [[[[0, 0, 1], [0, 0, 1], [2, 2, 3]]]])


def test_max_pool_asymmetric_pads():
    x = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    y, indices = reference.max_pool_forward(x, 3, stride=2, padding=((2, 1),))
    assert_array_equal(y, [[[1, 3, 4]]])
    assert_array_equal(indices, [[[0, 2, 3]]])


def test_max_pool_same_puts_the_odd_cell_at_the_end_and_same_lower_at_the_start():
    x = np.array([[[1.0, 2.0, 3.0]]])
    y, _ = reference.max_pool_forward(x, 2, stride=1, padding="same")
    assert_array_equal(y, [[[2, 3, 3]]])
    y, _ = reference.max_pool_forward(x, 2, stride=1, padding="same_lower")
    assert_array_equal(y, [[[1, 2, 3]]])


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g"]
)
def test_max_pool_takes_every_real_dtype(dtype):
    x = np.array([0, 1, 0, 0, 1, 1]).astype(dtype).reshape(1, 1, 6)
    y, indices = reference.max_pool_forward(x, 3)
    assert y.dtype == x.dtype
    assert_array_equal(y, np.ones((1, 1, 2)))
    assert_array_equal(indices, [[[1, 4]]])


def test_max_pool_compares_large_integers_exactly():
    x = np.array([[[2**63 - 2, 2**63 - 1]]], dtype=np.int64)
    y, indices = reference.max_pool_forward(x, 2)
    assert (y.item(), indices.item()) == (2**63 - 1, 1)
    x = np.array([[[2**64 - 2, 2**64 - 1]]], dtype=np.uint64)
    y, indices = reference.max_pool_forward(x, 2)
    assert (y.item(), indices.item()) == (2**64 - 1, 1)


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_max_pool_channels_last_equals_channels_first_transposed(layout):
    axes = len(layout) - 2
    x = integers(0, 2, 3, *(5, 4, 6)[:axes])
    options = {"stride": 2, "padding": 1}
    y, indices = reference.max_pool_forward(x, 3, **options)
    dy = integers(1, *y.shape)
    dx = reference.max_pool_backward(dy, indices, x.shape)

    x_last, dy_last = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
    y_last, indices_last = reference.max_pool_forward(x_last, 3, layout=layout, **options)
    assert_array_equal(y_last, np.moveaxis(y, 1, -1))
    assert_array_equal(indices_last, np.moveaxis(indices, 1, -1))
    dx_last = reference.max_pool_backward(dy_last, indices_last, x_last.shape, layout=layout)
    assert_array_equal(dx_last, np.moveaxis(dx, 1, -1))
    assert all(a.flags.c_contiguous for a in (y_last, indices_last, dx_last))


def test_pools_refuse_a_window_without_data():
    with pytest.raises(ValueError, match="a window must overlap the data"):
        reference.max_pool_forward(np.zeros((1, 1, 4)), 2, padding=2)
    with pytest.raises(ValueError, match="a window must overlap the data"):
        reference.max_pool_forward(np.zeros((1, 1, 4)), 2, padding=((0, 2),))
    with pytest.raises(ValueError, match="has no cell inside the input"):
        reference.max_pool_forward(np.zeros((1, 1, 1)), 2, stride=1, padding=2, dilation=4)
    with pytest.raises(ValueError, match="has no cell inside the input"):
        reference.avg_pool_forward(np.zeros((1, 1, 0)), 2, stride=1, padding=1)


def test_max_pool_backward_refuses_indices_outside_the_plane():
    dy = np.ones((1, 1, 2))
    for indices in ([[[0, 4]]], [[[-1, 0]]], [[[0, 2**32 + 3]]]):
        with pytest.raises(ValueError, match="indices are in"):
            reference.max_pool_backward(dy, np.array(indices), (1, 1, 4))


# ------------------------------------------------------------------ average pooling against PyTorch

AVG_POOL_CASES = {
    "1d": ((2, 3, 9), 3, {}),
    "1d_overlapping": ((2, 2, 9), 3, {"stride": 1, "padding": 1}),
    "1d_ceil_mode": ((1, 2, 8), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "1d_ceil_mode_kernel_larger_than_input": ((1, 1, 2), 3, {"stride": 2, "ceil_mode": True}),
    "2d_2x2": ((2, 3, 6, 6), 2, {}),
    "2d_padding": ((1, 2, 7, 6), 3, {"stride": 2, "padding": 1}),
    "2d_per_axis": ((1, 2, 7, 9), (3, 2), {"stride": (1, 3), "padding": (1, 0)}),
    "2d_ceil_mode": ((1, 2, 6, 8), 3, {"stride": 2, "ceil_mode": True}),
    "2d_ceil_mode_padding": ((1, 2, 6, 7), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "2d_ceil_mode_drops_the_last_window": (
        (1, 2, 5, 5),
        2,
        {"stride": 2, "padding": 1, "ceil_mode": True},
    ),
    "2d_ceil_mode_window_hangs_over_the_padding": (
        (1, 1, 6, 6),
        (3, 2),
        {"stride": (3, 4), "padding": 1, "ceil_mode": True},
    ),
    "3d": (
        (1, 2, 4, 5, 4),
        (2, 3, 2),
        {"stride": (2, 2, 1), "padding": (1, 1, 0), "ceil_mode": True},
    ),
}


@pytest.mark.parametrize("divisor_override", [None, 5, 7])
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", AVG_POOL_CASES)
def test_avg_pool_and_its_gradient_equal_pytorch(torch, case, count_include_pad, divisor_override):
    x_shape, kernel_size, options = AVG_POOL_CASES[case]
    options = {**options, "count_include_pad": count_include_pad}
    if divisor_override is not None:
        options["divisor_override"] = divisor_override
        if (
            len(x_shape) == 3
        ):  # PyTorch has no divisor_override on one axis: take two, one of size 1
            N, C, W = x_shape
            x_shape, kernel_size = (N, C, 1, W), (1, kernel_size)
            options["stride"] = (1, options.get("stride", kernel_size[1]))
            options["padding"] = (0, options.get("padding", 0))
    F = torch.nn.functional
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(x_shape) - 2]
    x = integers(0, *x_shape)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    ty = pool(tx, kernel_size, **options)
    dy = 7560 * integers(1, *ty.shape)  # divided by any divisor here it is an integer
    ty.backward(torch.from_numpy(dy))

    assert_array_equal(reference.avg_pool_forward(x, kernel_size, **options), ty.detach())
    dx = reference.avg_pool_backward(dy, x.shape, kernel_size, **options)
    assert_array_equal(dx, tx.grad)


# --------------------------------------------------------------------- average pooling: by hand


def test_2x2_average_pool_shares_the_gradient_in_four():
    x = np.array([[4.0, 1.0], [2.0, 3.0]]).reshape(1, 1, 2, 2)
    assert_array_equal(reference.avg_pool_forward(x, 2), [[[[2.5]]]])
    dx = reference.avg_pool_backward(np.array([[[[6.0]]]]), x.shape, 2)
    assert_array_equal(dx, np.full((1, 1, 2, 2), 1.5))


def test_avg_pool_divisors_with_asymmetric_pads():
    x, options = np.full((1, 1, 4), 12.0), {"stride": 2, "padding": ((2, 1),)}
    y = reference.avg_pool_forward(x, 3, **options)
    assert_array_equal(y, [[[4, 12, 8]]])
    y = reference.avg_pool_forward(x, 3, count_include_pad=False, **options)
    assert_array_equal(y, [[[12, 12, 12]]])
    y = reference.avg_pool_forward(x, 3, divisor_override=6, **options)
    assert_array_equal(y, [[[2, 6, 4]]])


def test_avg_pool_window_past_the_padding_counts_its_cells_inside_the_padded_input():
    x = np.full((1, 1, 5), 12.0)
    y = reference.avg_pool_forward(x, 4, stride=4, padding=((0, 1),), ceil_mode=True)
    assert_array_equal(y, [[[12, 6]]])  # one cell of data, one of padding, two beyond


def test_avg_pool_same_puts_the_odd_cell_at_the_end_and_same_lower_at_the_start():
    x = np.array([[[2.0, 4.0, 6.0]]])
    y = reference.avg_pool_forward(x, 2, stride=1, padding="same")
    assert_array_equal(y, [[[3, 5, 3]]])
    y = reference.avg_pool_forward(x, 2, stride=1, padding="same_lower")
    assert_array_equal(y, [[[1, 3, 5]]])


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_avg_pool_channels_last_equals_channels_first_transposed(layout):
    axes = len(layout) - 2
    x = integers(0, 2, 3, *(5, 4, 6)[:axes])
    options = {"stride": 2, "padding": 1, "count_include_pad": False}
    y = reference.avg_pool_forward(x, 3, **options)
    dy = integers(1, *y.shape)
    dx = reference.avg_pool_backward(dy, x.shape, 3, **options)

    x_last, dy_last = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
    y_last = reference.avg_pool_forward(x_last, 3, layout=layout, **options)
    assert_array_equal(y_last, np.moveaxis(y, 1, -1))
    dx_last = reference.avg_pool_backward(dy_last, x_last.shape, 3, layout=layout, **options)
    assert_array_equal(dx_last, np.moveaxis(dx, 1, -1))
    assert y_last.flags.c_contiguous and dx_last.flags.c_contiguous


@pytest.mark.parametrize("divisor", [0, -7])
def test_avg_pool_refuses_divisor_override_below_1(divisor):
    with pytest.raises(ValueError, match=f"divisor_override is {divisor}"):
        reference.avg_pool_forward(np.zeros((1, 1, 4)), 2, divisor_override=divisor)
    with pytest.raises(ValueError, match=f"divisor_override is {divisor}"):
        reference.avg_pool_backward(np.zeros((1, 1, 2)), (1, 1, 4), 2, divisor_override=divisor)
