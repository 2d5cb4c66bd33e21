"""A convolution as a matrix product: im2col arranges x for it, conv_matrix arranges w.

Sources: Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks for
document processing" (im2col); Dumoulin & Visin 2016, arXiv:1603.07285, section 4.1 (conv_matrix).
"""

import math

import numpy as np

from ._geometry import (
    accumulator,
    check_shape,
    conv_windows,
    flat_index,
    float_dtype,
    native,
    padded_shape,
    without_padding,
    zero_pad,
)


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1):
    """Copy every window of x into a column, so that a convolution is ``w.reshape(K, -1) @ cols``.

    On two spatial axes, with x already zero-padded::

        cols[n, (c * R + r) * S + s, p * Q + q] =
            x[n, c, p * stride + r * dilation, q * stride + s * dilation]

    Parameters
    ----------
    x : (N, C, *in_size), any real dtype, one to three spatial axes
    kernel_size, stride, dilation : an integer or one per axis
    padding : as in :func:`~fastconv.reference.conv_forward`

    Returns
    -------
    cols : (N, C*R*S, P*Q), in the dtype of x
    """
    x = np.asarray(x)
    N, C, *in_size = x.shape
    windows = conv_windows(in_size, kernel_size, stride, padding, dilation)
    xp = zero_pad(x, windows.pads, native(x.dtype))

    cols = np.empty(_cols_shape(N, C, windows), dtype=xp.dtype)
    for n in range(N):
        for row, col, cell in _rows_and_columns(C, windows):
            cols[n, row, col] = xp[(n, *cell)]
    return cols


@np.errstate(over="ignore", invalid="ignore")
def col2im(cols, x_shape, kernel_size, *, stride=1, padding=0, dilation=1):
    """The adjoint of :func:`im2col`: add every entry back onto the cell it was copied from.

    ::

        for every n, c, r, s, p, q:
            x[n, c, p * stride + r * dilation, q * stride + s * dilation] +=
                cols[n, (c * R + r) * S + s, p * Q + q]

    Cells where windows overlap receive several entries, cells that no window covers stay zero,
    and what falls on the padding is dropped. So this is not the inverse of im2col: it is its
    transpose as a linear map, sum(im2col(x) * cols) == sum(x * col2im(cols)).

    Parameters
    ----------
    cols : (N, C*R*S, P*Q)
    x_shape : (N, C, *in_size)
    kernel_size, stride, padding, dilation : as in :func:`im2col`

    Returns
    -------
    x : shape x_shape, in the dtype of cols
    """
    cols = np.asarray(cols)
    dtype = native(cols.dtype)
    N, C, *in_size = x_shape
    windows = conv_windows(in_size, kernel_size, stride, padding, dilation)
    check_shape("cols", cols, _cols_shape(N, C, windows))

    xp = np.zeros(padded_shape(x_shape, windows.pads), dtype=accumulator(dtype))
    for n in range(N):
        for row, col, cell in _rows_and_columns(C, windows):
            xp[(n, *cell)] += cols[n, row, col]
    return np.array(xp[without_padding(in_size, windows.pads)], dtype=dtype, order="C")


def conv_matrix(w, x_shape, *, stride=1, padding=0, dilation=1, groups=1, sparse=False):
    """The matrix that a convolution of one image is: ``A @ x.ravel() == y.ravel()``.

    On two spatial axes, row (k, p, q) holds w[k], each weight in the column of the cell that it
    meets::

        A[(k * P + p) * Q + q, (c * H + h) * W + w'] = w[k, c, r, s]
            where h = p * stride + r * dilation - before, w' = q * stride + s * dilation - before

    with c counted in the group of k for w and in all of x for the column. Everything else is zero:
    weights that meet the padding have no column. The same weights stand in all rows of one filter,
    and ``A.T`` is the matrix of the gradient in x.

    Parameters
    ----------
    w : (K, C/G, *kernel)
    x_shape : (N, C, *in_size); N does not matter
    stride, padding, dilation, groups : as in :func:`~fastconv.reference.conv_forward`
    sparse : a scipy.sparse.csr_array instead, which stores the weights that meet the image

    Returns
    -------
    A : (K*P*Q, C*H*W), in the dtype of w
    """
    w = np.asarray(w)
    dtype = float_dtype(w, "w")
    _, C, *in_size = x_shape
    K, C_per_group, *kernel = w.shape
    if len(kernel) != len(in_size):
        raise ValueError(f"w has {len(kernel)} spatial axes and x_shape has {len(in_size)}")
    if groups < 1 or K % groups or C != groups * C_per_group:
        raise ValueError(
            f"w has {K} filters of {C_per_group} channels and x has {C} channels: "
            f"they do not fit {groups} group(s)"
        )
    windows = conv_windows(in_size, kernel, stride, padding, dilation)

    rows, columns, values = [], [], []
    for row, (k, *position) in enumerate(np.ndindex(K, *windows.out_size)):
        first = k // (K // groups) * C_per_group  # channel of the group of k
        for c, *tap in np.ndindex(C_per_group, *kernel):
            cell = [
                p * stride + r * dilation - before
                for p, r, stride, dilation, (before, _) in zip(
                    position, tap, windows.stride, windows.dilation, windows.pads, strict=True
                )
            ]
            if all(0 <= at < size for at, size in zip(cell, in_size, strict=True)):
                rows.append(row)
                columns.append(flat_index((first + c, *cell), (C, *in_size)))
                values.append(w[(k, c, *tap)])

    shape = (K * math.prod(windows.out_size), C * math.prod(in_size))
    values = np.array(values, dtype=dtype)
    at = np.array(rows, dtype=np.intp), np.array(columns, dtype=np.intp)
    if sparse:
        from scipy.sparse import csr_array

        return csr_array((values, at), shape=shape)
    A = np.zeros(shape, dtype=dtype)
    A[at] = values
    return A


def _cols_shape(N, C, windows):
    return N, C * math.prod(windows.kernel), math.prod(windows.out_size)


def _rows_and_columns(C, windows):
    """Each (row, column) of one image's matrix, with the cell (c, h, w) of the padded image.

    Rows count through (c, r, s) and columns through (p, q), both in row-major order.
    """
    for row, (c, *tap) in enumerate(np.ndindex(C, *windows.kernel)):
        for col, position in enumerate(np.ndindex(*windows.out_size)):
            cell = (
                p * stride + r * dilation
                for p, r, stride, dilation in zip(
                    position, tap, windows.stride, windows.dilation, strict=True
                )
            )
            yield row, col, (c, *cell)
