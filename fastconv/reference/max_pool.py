"""Max pooling: the largest value of each window, and where it was; and the way back."""

import math

import numpy as np

from ._geometry import (
    accumulator,
    channels_first,
    channels_first_shape,
    check_shape,
    flat_index,
    in_layout,
    native,
    pool_windows,
)


def max_pool_forward(
    x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True,
    layout=None
):  # fmt: skip
    """The maximum of each window, channel by channel, and its place in the input.

    On two spatial axes, over those cells of the window that lie inside the input (padding never
    wins, whatever its value would be)::

        y[n, c, p, q] = max over r, s of
            x[n, c, p * stride + r * dilation - before, q * stride + s * dilation - before]

    Of equal maxima the first counts, in row-major order of the window. A NaN is larger than
    everything, and the first NaN counts.

    Sources: Scherer, Müller & Behnke 2010, "Evaluation of pooling operations in convolutional
    architectures for object recognition"; Dumoulin & Visin 2016, arXiv:1603.07285 (output sizes).

    Parameters
    ----------
    x : (N, C, *in_size) or, channels last, (N, *in_size, C); any real dtype; one to three axes
    kernel_size, dilation : an integer or one per axis
    stride : the same; None means kernel_size
    padding : as in :func:`~fastconv.reference.conv_forward`; less than the effective kernel size
    ceil_mode : round the output size up, but drop a last window that would start in the padding
        after the input, as PyTorch does
    return_indices : whether indices are returned, too

    Returns
    -------
    y : (N, C, *out_size) or (N, *out_size, C), in the dtype of x
    indices : the same shape, int64: the flat position of the maximum in the spatial plane of x,
        row-major over the spatial axes (h * W + w on two)
    """
    x = np.asarray(x)
    dtype = native(x.dtype)
    x = channels_first(x, layout)
    N, C, *in_size = x.shape
    windows = pool_windows(in_size, kernel_size, stride, padding, dilation, ceil_mode)

    y = np.empty((N, C, *windows.out_size), dtype=dtype)
    indices = np.empty(y.shape, dtype=np.int64)
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*windows.out_size):
            best = place_of_maximum(x[n, c], windows.cells(position))
            y[(n, c, *position)] = x[(n, c, *best)]
            indices[(n, c, *position)] = flat_index(best, in_size)
    y = in_layout(y, layout, dtype)
    return (y, in_layout(indices, layout, np.int64)) if return_indices else y


def place_of_maximum(plane, cells):
    """The cell of the largest value: the first of equal ones, the first NaN where there is one."""
    best = cells[0]
    for cell in cells[1:]:
        value, largest = plane[cell], plane[best]
        if math.isnan(largest):
            break
        if value > largest or math.isnan(value):
            best = cell
    return best


@np.errstate(over="ignore", invalid="ignore")
def max_pool_backward(dy, indices, x_shape, *, layout=None):
    """The gradient of a scalar loss in x: each dy goes to the one cell that was the maximum.

    ::

        for every n, c, p, q:
            dx[n, c, cell at indices[n, c, p, q]] += dy[n, c, p, q]

    The other cells of the window have no influence on y, and get nothing. Windows that overlap may
    share their maximum: its gradients add up.

    Parameters
    ----------
    dy, indices : the shape of y in :func:`max_pool_forward`; indices as returned there
    x_shape : the shape of x, in the same layout

    Returns
    -------
    dx : shape x_shape, in the dtype of dy
    """
    dy, indices = np.asarray(dy), np.asarray(indices)
    dtype = native(dy.dtype)
    dy, indices, in_size = _planes("dy", dy, indices, x_shape, layout)
    N, C, *out_size = dy.shape

    dx = np.zeros((N, C, math.prod(in_size)), dtype=accumulator(dtype))
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*out_size):
            dx[n, c, indices[(n, c, *position)]] += dy[(n, c, *position)]
    return in_layout(dx.reshape(N, C, *in_size), layout, dtype)


def max_unpool(y, indices, x_shape, *, layout=None):
    """Put each maximum back where it stood, and zeros elsewhere: a partial inverse of max pooling.

    ::

        for every n, c, p, q, in row-major order:
            x[n, c, cell at indices[n, c, p, q]] = y[n, c, p, q]

    Values do not add up as gradients do in :func:`max_pool_backward`: of several that share a
    cell, the last one stays.

    Source: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901.

    Parameters
    ----------
    y, indices : the shape of y in :func:`max_pool_forward`; indices as returned there
    x_shape : the shape of x, in the same layout

    Returns
    -------
    x : shape x_shape, in the dtype of y
    """
    y, indices = np.asarray(y), np.asarray(indices)
    dtype = native(y.dtype)
    y, indices, in_size = _planes("y", y, indices, x_shape, layout)
    N, C, *out_size = y.shape

    x = np.zeros((N, C, math.prod(in_size)), dtype=dtype)
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*out_size):
            x[n, c, indices[(n, c, *position)]] = y[(n, c, *position)]
    return in_layout(x.reshape(N, C, *in_size), layout, dtype)


def _planes(name, values, indices, x_shape, layout):
    """Values (dy, y) and indices, channels first, and the size of the plane they belong to."""
    check_shape("indices", indices, values.shape)
    N, C, *in_size = channels_first_shape(x_shape, layout)
    values, indices = channels_first(values, layout), channels_first(indices, layout)
    check_shape(f"{name}, channels first,", values, (N, C, *values.shape[2:]))
    plane = math.prod(in_size)
    if indices.size and not (0 <= indices.min() and indices.max() < plane):
        raise ValueError(
            f"indices are in {indices.min()} ... {indices.max()}, expected 0 ... {plane - 1}"
        )
    return values, indices, in_size
