"""The plain loops of the adaptive pools against PyTorch and numbers worked by hand."""

import math

import numpy as np
import pytest
from cases import distinct, integers
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import reference

NAN, INF = math.nan, math.inf

# name: x shape, output_size
ADAPTIVE_CASES = {
    "1d_divides": ((2, 3, 8), 4),
    "1d_overlapping": ((2, 2, 7), 3),
    "1d_global": ((2, 3, 5), 1),
    "1d_identity": ((1, 2, 5), 5),
    "1d_larger_than_input": ((1, 2, 3), 7),
    "2d_divides": ((2, 3, 6, 4), (3, 2)),
    "2d_overlapping": ((2, 2, 7, 5), (3, 4)),
    "2d_larger_than_input": ((1, 2, 2, 5), (5, 3)),
    "2d_global": ((2, 3, 4, 5), 1),
    "3d_overlapping": ((1, 2, 5, 4, 7), (2, 3, 4)),
    "3d_global": ((1, 2, 3, 2, 4), 1),
}


def pool_of_torch(torch, kind, axes):
    return getattr(torch.nn.functional, f"adaptive_{kind}_pool{axes}d")


@pytest.mark.parametrize("values", [distinct, integers], ids=["distinct", "with_ties"])
@pytest.mark.parametrize("case", ADAPTIVE_CASES)
def test_adaptive_max_pool_values_indices_and_gradient_equal_pytorch(torch, case, values):
    x_shape, output_size = ADAPTIVE_CASES[case]
    x = values(0, *x_shape)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    pool = pool_of_torch(torch, "max", x.ndim - 2)
    ty, tindices = pool(tx, output_size, return_indices=True)
    dy = integers(1, *ty.shape)
    ty.backward(torch.from_numpy(dy))

    y, indices = reference.adaptive_max_pool_forward(x, output_size)
    assert_array_equal(y, ty.detach())
    assert_array_equal(indices, tindices)
    assert indices.dtype == np.int64
    assert_array_equal(reference.max_pool_backward(dy, indices, x.shape), tx.grad)


@pytest.mark.parametrize("case", ADAPTIVE_CASES)
def test_adaptive_avg_pool_and_its_gradient_equal_pytorch(torch, case):
    x_shape, output_size = ADAPTIVE_CASES[case]
    x = integers(0, *x_shape)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    ty = pool_of_torch(torch, "avg", x.ndim - 2)(tx, output_size)
    dy = integers(1, *ty.shape)
    ty.backward(torch.from_numpy(dy))

    y = reference.adaptive_avg_pool_forward(x, output_size)
    assert_allclose(y, ty.detach(), rtol=1e-14, atol=1e-14)
    dx = reference.adaptive_avg_pool_backward(dy, x.shape)
    assert_allclose(dx, tx.grad, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize("case", ADAPTIVE_CASES)
def test_adaptive_avg_pool_backward_is_the_adjoint_of_forward(case):
    x_shape, output_size = ADAPTIVE_CASES[case]
    x = integers(0, *x_shape)
    y = reference.adaptive_avg_pool_forward(x, output_size)
    dy = integers(1, *y.shape)
    dx = reference.adaptive_avg_pool_backward(dy, x.shape)
    assert_allclose((dy * y).sum(), (dx * x).sum(), rtol=1e-13, atol=1e-12)


def test_windows_that_do_not_divide_worked_by_hand():
    x = np.array([[[1.0, 2.0, 6.0, 4.0, 5.0]]])  # windows 0..1, 1..3, 3..4
    y, indices = reference.adaptive_max_pool_forward(x, 3)
    assert_array_equal(y, [[[2, 6, 5]]])
    assert_array_equal(indices, [[[1, 2, 4]]])
    assert_array_equal(reference.adaptive_avg_pool_forward(x, 3), [[[1.5, 4, 4.5]]])
    dx = reference.adaptive_avg_pool_backward(np.array([[[2.0, 3.0, 8.0]]]), x.shape)
    assert_array_equal(dx, [[[1, 2, 1, 5, 4]]])


def test_output_larger_than_the_input_repeats_elements():
    x = np.array([[[1.0, 3.0]]])  # windows 0, 0..1, 1
    assert_array_equal(reference.adaptive_avg_pool_forward(x, 3), [[[1, 2, 3]]])
    y, indices = reference.adaptive_max_pool_forward(x, 4)
    assert_array_equal(y, [[[1, 1, 3, 3]]])
    assert_array_equal(indices, [[[0, 0, 1, 1]]])


def test_size_1_is_the_global_pool():
    x = integers(0, 2, 3, 4, 5)
    y, indices = reference.adaptive_max_pool_forward(x, 1)
    assert_array_equal(y[..., 0, 0], x.max(axis=(2, 3)))
    assert_array_equal(indices[..., 0, 0], x.reshape(2, 3, -1).argmax(axis=2))
    mean = reference.adaptive_avg_pool_forward(x, 1)
    assert_allclose(mean[..., 0, 0], x.mean(axis=(2, 3)), rtol=1e-14)


def test_size_that_divides_is_the_pool_with_that_window():
    x = integers(0, 2, 3, 6, 8)
    expected, expected_indices = reference.max_pool_forward(x, (3, 2))
    y, indices = reference.adaptive_max_pool_forward(x, (2, 4))
    assert_array_equal(y, expected)
    assert_array_equal(indices, expected_indices)
    mean = reference.adaptive_avg_pool_forward(x, (2, 4))
    assert_array_equal(mean, reference.avg_pool_forward(x, (3, 2)))
    assert_array_equal(
        reference.adaptive_avg_pool_backward(y, x.shape),
        reference.avg_pool_backward(y, x.shape, (3, 2)),
    )


@pytest.mark.parametrize("at", range(6))
def test_nan_wins_wherever_it_is(at):
    x = np.array([[1.0, INF, 3.0], [4.0, 5.0, 6.0]])
    x.flat[at] = NAN
    y, indices = reference.adaptive_max_pool_forward(x.reshape(1, 1, 2, 3), 1)
    assert np.isnan(y.item())
    assert indices.item() == at


def test_first_nan_and_first_of_equal_maxima_win():
    x = np.array([[[1.0, NAN, 7.0, NAN, -INF, -INF]]])
    _, indices = reference.adaptive_max_pool_forward(x, 2)
    assert_array_equal(indices, [[[1, 3]]])
    _, indices = reference.adaptive_max_pool_forward(x[..., 4:], 1)
    assert indices.item() == 0


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "g"])
def test_adaptive_max_pool_takes_every_real_dtype(dtype):
    x = np.array([0, 1, 0, 0, 1, 1]).astype(dtype).reshape(1, 1, 6)
    y, indices = reference.adaptive_max_pool_forward(x, 2)
    assert y.dtype == x.dtype
    assert_array_equal(y, np.ones((1, 1, 2)))
    assert_array_equal(indices, [[[1, 4]]])


@pytest.mark.parametrize("layout", ["NWC", "NHWC", "NDHWC"])
def test_channels_last_equals_channels_first_transposed(layout):
    axes = len(layout) - 2
    x, output_size = integers(0, 2, 3, *(5, 4, 6)[:axes]), (2, 3, 4)[:axes]
    y, indices = reference.adaptive_max_pool_forward(x, output_size)
    mean = reference.adaptive_avg_pool_forward(x, output_size)
    dx = reference.adaptive_avg_pool_backward(y, x.shape)

    x_last = np.moveaxis(x, 1, -1)
    y_last, indices_last = reference.adaptive_max_pool_forward(x_last, output_size, layout=layout)
    assert_array_equal(y_last, np.moveaxis(y, 1, -1))
    assert_array_equal(indices_last, np.moveaxis(indices, 1, -1))
    mean_last = reference.adaptive_avg_pool_forward(x_last, output_size, layout=layout)
    assert_array_equal(mean_last, np.moveaxis(mean, 1, -1))
    dx_last = reference.adaptive_avg_pool_backward(y_last, x_last.shape, layout=layout)
    assert_array_equal(dx_last, np.moveaxis(dx, 1, -1))
    assert all(a.flags.c_contiguous for a in (y_last, indices_last, mean_last, dx_last))


@pytest.mark.parametrize("output_size", [0, -1, (2, 0), (2,), (2, 2, 2)], ids=str)
def test_output_sizes_that_do_not_fit_are_refused(output_size):
    x = np.ones((1, 2, 4, 5))
    with pytest.raises(ValueError, match="output_size is"):
        reference.adaptive_max_pool_forward(x, output_size)
    with pytest.raises(ValueError, match="output_size is"):
        reference.adaptive_avg_pool_forward(x, output_size)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the input size is"):
        reference.adaptive_max_pool_forward(np.ones((1, 2, 0)), 1)
    with pytest.raises(ValueError, match="dy"):
        reference.adaptive_avg_pool_backward(np.ones((1, 3, 2)), (1, 2, 4))
    with pytest.raises(TypeError, match="int64"):
        reference.adaptive_avg_pool_forward(np.ones((1, 1, 4), int), 2)
