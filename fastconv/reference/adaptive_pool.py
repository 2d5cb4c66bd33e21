"""Adaptive pooling: the output size is given, the windows follow from it.

On one axis with H cells and P outputs, the window of output p covers the cells

    floor(p * H / P) ... ceil((p + 1) * H / P) - 1

so that the windows cover the input without a gap, overlapping by a cell where P does not divide H.
Where P is larger than H, cells repeat. P = 1 is the global pool.

Sources: He, Zhang, Ren & Sun 2015, "Spatial pyramid pooling in deep convolutional networks for
visual recognition", arXiv:1406.4729 (windows of a given number); Lin, Chen & Yan 2013, "Network in
network", arXiv:1312.4400 (the global average).
"""

import itertools

import numpy as np

from ._geometry import (
    channels_first,
    channels_first_shape,
    check_shape,
    flat_index,
    float_dtype,
    in_layout,
    native,
    per_axis,
)
from .max_pool import place_of_maximum


def adaptive_max_pool_forward(x, output_size, *, layout=None):
    """The maximum of each window, channel by channel, and its place in the input.

    ::

        y[n, c, p, q] = max over the cells (h, w) of window (p, q) of x[n, c, h, w]

    Of equal maxima the first counts, in row-major order of the window. A NaN is larger than
    everything, and the first NaN counts. The gradient is that of
    :func:`~fastconv.reference.max_pool_backward`.

    Parameters
    ----------
    x : (N, C, *in_size) or, channels last, (N, *in_size, C); any real dtype; one to three axes
    output_size : an integer or one per axis

    Returns
    -------
    y : (N, C, *output_size) or (N, *output_size, C), in the dtype of x
    indices : the same shape, int64: the flat position of the maximum in the spatial plane of x,
        row-major over the spatial axes (h * W + w on two)
    """
    x = np.asarray(x)
    dtype = native(x.dtype)
    x = channels_first(x, layout)
    N, C, *in_size = x.shape
    out_size = _output_size(output_size, in_size)

    y = np.empty((N, C, *out_size), dtype=dtype)
    indices = np.empty(y.shape, dtype=np.int64)
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*out_size):
            best = place_of_maximum(x[n, c], _cells(position, in_size, out_size))
            y[(n, c, *position)] = x[(n, c, *best)]
            indices[(n, c, *position)] = flat_index(best, in_size)
    return in_layout(y, layout, dtype), in_layout(indices, layout, np.int64)


@np.errstate(over="ignore", invalid="ignore")
def adaptive_avg_pool_forward(x, output_size, *, layout=None):
    """The mean of each window, channel by channel.

    ::

        y[n, c, p, q] = mean over the cells (h, w) of window (p, q) of x[n, c, h, w]

    Parameters
    ----------
    x : (N, C, *in_size) or, channels last, (N, *in_size, C); one to three spatial axes
    output_size : an integer or one per axis

    Returns
    -------
    y : (N, C, *output_size) or (N, *output_size, C), in the dtype of x
    """
    x = np.asarray(x)
    dtype = float_dtype(x)
    x = channels_first(x, layout).astype(np.float64)
    N, C, *in_size = x.shape
    out_size = _output_size(output_size, in_size)

    y = np.empty((N, C, *out_size))
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*out_size):
            cells = _cells(position, in_size, out_size)
            total = 0.0
            for cell in cells:
                total += x[(n, c, *cell)]
            y[(n, c, *position)] = total / len(cells)
    return in_layout(y, layout, dtype)


@np.errstate(over="ignore", invalid="ignore")
def adaptive_avg_pool_backward(dy, x_shape, *, layout=None):
    """The gradient of a scalar loss in x: each dy is shared out equally over its window.

    ::

        for every n, c, p, q, and every cell of window (p, q):
            dx[n, c, cell] += dy[n, c, p, q] / number of cells of the window

    Parameters
    ----------
    dy : the shape of y in :func:`adaptive_avg_pool_forward`; it says the output size
    x_shape : the shape of x, in the same layout

    Returns
    -------
    dx : shape x_shape, in the dtype of dy
    """
    dy = np.asarray(dy)
    dtype = float_dtype(dy, "dy")
    dy = channels_first(dy, layout).astype(np.float64)
    N, C, *in_size = channels_first_shape(x_shape, layout)
    out_size = _output_size(dy.shape[2:], in_size)
    check_shape("dy, channels first,", dy, (N, C, *out_size))

    dx = np.zeros((N, C, *in_size))
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*out_size):
            cells = _cells(position, in_size, out_size)
            for cell in cells:
                dx[(n, c, *cell)] += dy[(n, c, *position)] / len(cells)
    return in_layout(dx, layout, dtype)


def _output_size(output_size, in_size):
    """One size per spatial axis; the input must have something to pool."""
    if not 1 <= len(in_size) <= 3 or min(in_size) < 1:
        raise ValueError(f"the input size is {tuple(in_size)}, expected one to three axes from 1")
    return per_axis(output_size, len(in_size), "output_size")


def _cells(position, in_size, out_size):
    """The cells of the window of one output position, in row-major order."""
    per_axis = [
        range(p * size // out, -(-(p + 1) * size // out))
        for p, size, out in zip(position, in_size, out_size, strict=True)
    ]
    return list(itertools.product(*per_axis))
