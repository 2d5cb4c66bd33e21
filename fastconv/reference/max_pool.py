"""Max pooling: the largest value of each window, and where it was."""

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
    x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, layout=None
):
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
            cells = windows.cells(position)
            best = cells[0]
            for cell in cells[1:]:
                value, largest = x[(n, c, *cell)], x[(n, c, *best)]
                if math.isnan(largest):
                    break
                if value > largest or math.isnan(value):
                    best = cell
            y[(n, c, *position)] = x[(n, c, *best)]
            indices[(n, c, *position)] = flat_index(best, in_size)
    return in_layout(y, layout, dtype), in_layout(indices, layout, np.int64)


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
    check_shape("indices", indices, dy.shape)
    N, C, *in_size = channels_first_shape(x_shape, layout)
    dy, indices = channels_first(dy, layout), channels_first(indices, layout)
    check_shape("dy, channels first,", dy, (N, C, *dy.shape[2:]))
    plane = math.prod(in_size)
    if indices.size and not (0 <= indices.min() and indices.max() < plane):
        raise ValueError(
            f"indices are in {indices.min()} ... {indices.max()}, expected 0 ... {plane - 1}"
        )

    dx = np.zeros((N, C, plane), dtype=accumulator(dtype))
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*dy.shape[2:]):
            dx[n, c, indices[(n, c, *position)]] += dy[(n, c, *position)]
    return in_layout(dx.reshape(N, C, *in_size), layout, dtype)
