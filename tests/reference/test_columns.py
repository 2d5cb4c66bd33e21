"""The plain loops of im2col and col2im."""

import numpy as np
import pytest
from cases import distinct, integers
from numpy.testing import assert_array_equal

from fastconv import reference

# ----------------------------------------------------------------------------------- im2col, col2im

COLUMNS_CASES = {
    "2x2": (2, {}),
    "3x2_stride": ((3, 2), {"stride": (2, 1)}),
    "3x3_padding": (3, {"padding": 1}),
    "everything": ((2, 3), {"stride": 2, "padding": (2, 1), "dilation": (3, 2)}),
}


@pytest.mark.parametrize("case", COLUMNS_CASES)
def test_im2col_and_col2im_equal_pytorch_unfold_and_fold(torch, case):
    kernel_size, options = COLUMNS_CASES[case]
    x = integers(0, 2, 3, 6, 7)
    expected = torch.nn.functional.unfold(torch.from_numpy(x), kernel_size, **options)
    assert_array_equal(reference.im2col(x, kernel_size, **options), expected)

    cols = integers(1, *expected.shape)
    expected = torch.nn.functional.fold(torch.from_numpy(cols), (6, 7), kernel_size, **options)
    assert_array_equal(reference.col2im(cols, x.shape, kernel_size, **options), expected)


def test_im2col_rows_count_c_r_s_and_columns_p_q():
    N, C, R, S, P, Q = 2, 3, 2, 3, 4, 2
    x = distinct(0, N, C, P + R - 1, Q + S - 1)
    cols = reference.im2col(x, (R, S))
    assert cols.shape == (N, C * R * S, P * Q)
    for n, c, r, s, p, q in np.ndindex(N, C, R, S, P, Q):
        assert cols[n, (c * R + r) * S + s, p * Q + q] == x[n, c, p + r, q + s]


COLUMNS_SHAPES = [
    ((2, 3, 8), (3,), {"stride": 2, "padding": ((0, 2),)}),
    ((2, 3, 5, 6), (3, 2), {"padding": "same", "stride": (1, 2)}),
    ((1, 2, 4, 3, 5), (2, 2, 3), {"padding": 1, "dilation": (1, 2, 1)}),
]


@pytest.mark.parametrize(("x_shape", "kernel", "options"), COLUMNS_SHAPES, ids=["1d", "2d", "3d"])
def test_filters_times_im2col_is_the_convolution(x_shape, kernel, options):
    x, w = integers(0, *x_shape), integers(1, 4, x_shape[1], *kernel)
    y = reference.conv_forward(x, w, **options)
    cols = reference.im2col(x, kernel, **options)
    assert_array_equal((w.reshape(4, -1) @ cols).reshape(y.shape), y)


@pytest.mark.parametrize(("x_shape", "kernel", "options"), COLUMNS_SHAPES, ids=["1d", "2d", "3d"])
def test_col2im_is_the_adjoint_of_im2col(x_shape, kernel, options):
    x = integers(0, *x_shape)
    cols = reference.im2col(x, kernel, **options)
    dcols = integers(1, *cols.shape)
    dx = reference.col2im(dcols, x.shape, kernel, **options)
    assert (cols * dcols).sum() == (x * dx).sum()


def test_col2im_of_im2col_counts_the_windows_over_each_cell():
    x = np.ones((1, 1, 4))
    assert_array_equal(reference.col2im(reference.im2col(x, 3), x.shape, 3), [[[1, 2, 2, 1]]])


def test_im2col_keeps_integers_as_they_are():
    x = np.array([[[2**62, 1 - 2**62, 3]]])
    cols = reference.im2col(x, 2)
    assert cols.dtype == np.int64
    assert_array_equal(cols, [[[2**62, 1 - 2**62], [1 - 2**62, 3]]])
    assert_array_equal(reference.col2im(cols, x.shape, 2), [[[2**62, 2 - 2**63, 3]]])
