"""The plain loop of max_unpool against PyTorch and numbers worked by hand."""

import numpy as np
import pytest
from cases import distinct, integers
from numpy.testing import assert_array_equal

from fastconv import reference

# name: x shape, kernel_size, options of the pool
UNPOOL_CASES = {
    "1d": ((2, 3, 9), 3, {}),
    "1d_gaps": ((1, 2, 9), 2, {"stride": 4}),
    "2d": ((2, 3, 6, 8), 2, {}),
    "2d_padding": ((1, 2, 7, 8), (3, 2), {"stride": (3, 2), "padding": (1, 0)}),
    "3d": ((1, 2, 4, 4, 6), 2, {}),
}


@pytest.mark.parametrize("case", UNPOOL_CASES)
def test_max_unpool_equals_pytorch(torch, case):
    x_shape, kernel_size, options = UNPOOL_CASES[case]
    y, indices = reference.max_pool_forward(distinct(0, *x_shape), kernel_size, **options)
    unpool = getattr(torch.nn.functional, f"max_unpool{len(x_shape) - 2}d")
    tx = unpool(
        torch.from_numpy(y),
        torch.from_numpy(indices),
        kernel_size,
        output_size=x_shape,
        **options,
    )
    assert_array_equal(reference.max_unpool(y, indices, x_shape), tx)


@pytest.mark.parametrize("case", UNPOOL_CASES)
def test_max_unpool_keeps_the_maxima_and_zeroes_the_rest(case):
    x_shape, kernel_size, options = UNPOOL_CASES[case]
    x = distinct(0, *x_shape) + 1
    y, indices = reference.max_pool_forward(x, kernel_size, **options)
    back = reference.max_unpool(y, indices, x_shape)
    assert np.count_nonzero(back) == y.size
    assert_array_equal(back, np.where(back > 0, x, 0))


def test_max_unpool_of_disjoint_windows_is_max_pool_backward():
    x = integers(0, 2, 3, 6, 6)
    _, indices = reference.max_pool_forward(x, 2)
    values = integers(1, *indices.shape)
    assert_array_equal(
        reference.max_unpool(values, indices, x.shape),
        reference.max_pool_backward(values, indices, x.shape),
    )


def test_max_unpool_of_a_shared_cell_keeps_the_last_value_in_row_major_order():
    y = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    x = reference.max_unpool(y, np.array([[[[5, 0], [5, 0]]]]), (1, 1, 2, 3))
    assert_array_equal(x, [[[[4, 0, 0], [0, 0, 3]]]])
    x = reference.max_unpool(y, np.full((1, 1, 2, 2), 2), (1, 1, 2, 3))
    assert_array_equal(x, [[[[0, 0, 4], [0, 0, 0]]]])


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_max_unpool_channels_last_equals_channels_first_transposed(layout):
    axes = len(layout) - 2
    x = integers(0, 2, 3, *(5, 4, 6)[:axes])
    y, indices = reference.max_pool_forward(x, 3, stride=1, padding=1)  # cells are shared
    values = distinct(1, *y.shape)
    back = reference.max_unpool(values, indices, x.shape)
    back_last = reference.max_unpool(
        np.moveaxis(values, 1, -1),
        np.moveaxis(indices, 1, -1),
        np.moveaxis(x, 1, -1).shape,
        layout=layout,
    )
    assert back_last.flags.c_contiguous
    assert_array_equal(back_last, np.moveaxis(back, 1, -1))


def test_max_unpool_keeps_the_dtype_of_y():
    y = np.array([[[2**62 + 1, -5]]])
    x = reference.max_unpool(y, np.array([[[2, 0]]]), (1, 1, 3))
    assert x.dtype == np.int64
    assert_array_equal(x, [[[-5, 0, 2**62 + 1]]])


def test_max_unpool_refuses_indices_outside_the_plane_and_shapes_that_do_not_fit():
    y = np.ones((1, 1, 2))
    for indices in ([[[0, 4]]], [[[-1, 0]]], [[[0, 2**32 + 3]]]):
        with pytest.raises(ValueError, match="indices are in"):
            reference.max_unpool(y, np.array(indices), (1, 1, 4))
    with pytest.raises(ValueError, match="indices has shape"):
        reference.max_unpool(y, np.zeros((1, 1, 3), int), (1, 1, 4))
    with pytest.raises(ValueError, match="y, channels first, has shape"):
        reference.max_unpool(y, np.zeros((1, 1, 2), int), (1, 2, 4))
