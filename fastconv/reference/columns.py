"""im2col, which turns a convolution into a matrix product, and its adjoint col2im.

Source: Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks for
document processing".
"""

import math

import numpy as np

from ._geometry import (
    accumulator,
    check_shape,
    conv_windows,
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
