"""The plain loops of im2col and col2im, and the explicit matrix."""

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


# -------------------------------------------------------------------------------------- conv_matrix

MATRIX_CASES = {
    "1d": ((1, 2, 8), (3, 2, 3), {"stride": 2, "padding": ((0, 2),)}),
    "1d_depthwise": ((1, 3, 6), (6, 1, 2), {"groups": 3, "dilation": 2}),
    "2d": ((1, 3, 5, 6), (4, 3, 3, 2), {"padding": "same", "stride": (1, 2)}),
    "2d_groups": ((1, 4, 4, 5), (6, 2, 3, 3), {"padding": 1, "groups": 2}),
    "2d_padding_beyond_kernel": ((1, 1, 2, 2), (1, 1, 2, 2), {"padding": 3}),
    "3d": ((1, 2, 4, 3, 5), (2, 2, 2, 2, 3), {"padding": 1, "dilation": (1, 2, 1)}),
}


@pytest.mark.parametrize("case", MATRIX_CASES)
def test_conv_matrix_times_x_is_the_convolution_and_its_transpose_the_gradient(case):
    x_shape, w_shape, options = MATRIX_CASES[case]
    x, w = integers(0, *x_shape), integers(1, *w_shape)
    A = reference.conv_matrix(w, x_shape, **options)
    y = reference.conv_forward(x, w, **options)
    assert A.shape == (y.size, x.size) and A.dtype == w.dtype
    assert_array_equal(A @ x.ravel(), y.ravel())
    dy = integers(2, *y.shape)
    dx = reference.conv_backward(dy, x, w, **options).dx
    assert_array_equal(A.T @ dy.ravel(), dx.ravel())


@pytest.mark.parametrize("case", [c for c in MATRIX_CASES if "groups" not in MATRIX_CASES[c][2]])
def test_column_of_conv_matrix_is_the_response_to_one_lit_pixel(case):
    x_shape, w_shape, options = MATRIX_CASES[case]
    w = integers(1, *w_shape)
    A = reference.conv_matrix(w, x_shape, **options)
    for column in range(0, A.shape[1], 3):
        x = np.zeros(x_shape)
        x.flat[column] = 1
        assert_array_equal(A[:, column], reference.conv_forward(x, w, **options).ravel())


def test_conv_matrix_of_the_4x6_example_written_out():
    w1, w2, w3 = 2.0, -3.0, 5.0
    A = reference.conv_matrix(np.array([[[w1, w2, w3]]]), (1, 1, 6))
    expected = [
        [w1, w2, w3, 0, 0, 0],
        [0, w1, w2, w3, 0, 0],
        [0, 0, w1, w2, w3, 0],
        [0, 0, 0, w1, w2, w3],
    ]
    assert_array_equal(A, expected)
    # Padding by 1 in place of two more elements: the outer columns go.
    A = reference.conv_matrix(np.array([[[w1, w2, w3]]]), (1, 1, 4), padding=1)
    assert_array_equal(A, np.array(expected)[:, 1:5])


@pytest.mark.parametrize("case", MATRIX_CASES)
def test_sparse_conv_matrix_equals_the_dense_one(case):
    sparse = pytest.importorskip("scipy.sparse")
    x_shape, w_shape, options = MATRIX_CASES[case]
    w = np.random.default_rng(0).uniform(1, 2, w_shape).astype(np.float32)
    dense = reference.conv_matrix(w, x_shape, **options)
    A = reference.conv_matrix(w, x_shape, sparse=True, **options)
    assert isinstance(A, sparse.csr_array) and A.dtype == np.float32
    assert A.nnz == np.count_nonzero(dense)
    assert_array_equal(A.toarray(), dense)


def test_conv_matrix_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        reference.conv_matrix(np.ones((2, 3, 3)), (1, 2, 5))
    with pytest.raises(ValueError, match="do not fit"):
        reference.conv_matrix(np.ones((3, 1, 3)), (1, 2, 5), groups=2)
    with pytest.raises(ValueError, match="spatial axes"):
        reference.conv_matrix(np.ones((2, 2, 3)), (1, 2, 5, 5))
    with pytest.raises(ValueError, match="output size"):
        reference.conv_matrix(np.ones((2, 2, 3)), (1, 2, 2))
    with pytest.raises(TypeError, match="w has dtype int64"):
        reference.conv_matrix(np.ones((2, 2, 3), int), (1, 2, 5))
