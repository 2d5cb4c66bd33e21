"""Average pooling: the mean of each window."""

import math
import operator

import numpy as np

from ._geometry import (
    channels_first,
    channels_first_shape,
    check_shape,
    float_dtype,
    in_layout,
    pool_windows,
)


@np.errstate(over="ignore", invalid="ignore")
def avg_pool_forward(
    x,
    kernel_size,
    *,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    layout=None,
):
    """The mean of each window, channel by channel.

    On two spatial axes, summing over those cells of the window that lie inside the input::

        y[n, c, p, q] = 1 / divisor * sum over r, s of
            x[n, c, p * stride + r - before, q * stride + s - before]

    The divisor follows PyTorch. It is

    - ``divisor_override`` where that is given, else
    - with ``count_include_pad``, the cells of the window inside the padded input: R * S, except
      that a last window that ``ceil_mode`` lets hang over the end of the padding counts only the
      part before that end, else
    - the cells of the window inside the input.

    Sources: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document
    recognition" (as sub-sampling); Dumoulin & Visin 2016, arXiv:1603.07285 (output sizes).

    Parameters
    ----------
    x : (N, C, *in_size) or, channels last, (N, *in_size, C); one to three spatial axes
    kernel_size : an integer or one per axis
    stride : the same; None means kernel_size
    padding : as in :func:`~fastconv.reference.conv_forward`; less than the kernel size
    ceil_mode : round the output size up, but drop a last window that would start in the padding
        after the input, as PyTorch does

    Returns
    -------
    y : (N, C, *out_size) or (N, *out_size, C), in the dtype of x
    """
    x = np.asarray(x)
    dtype = float_dtype(x)
    x = channels_first(x, layout).astype(np.float64)
    N, C, *in_size = x.shape
    windows = pool_windows(in_size, kernel_size, stride, padding, 1, ceil_mode)

    y = np.empty((N, C, *windows.out_size))
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*windows.out_size):
            total = 0.0
            for cell in windows.cells(position):
                total += x[(n, c, *cell)]
            y[(n, c, *position)] = total / _divisor(
                windows, position, count_include_pad, divisor_override
            )
    return in_layout(y, layout, dtype)


@np.errstate(over="ignore", invalid="ignore")
def avg_pool_backward(
    dy,
    x_shape,
    kernel_size,
    *,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    layout=None,
):
    """The gradient of a scalar loss in x: each dy is shared out equally over its window.

    ::

        for every n, c, p, q, and every cell of the window inside the input:
            dx[n, c, cell] += dy[n, c, p, q] / divisor

    Parameters
    ----------
    dy : the shape of y in :func:`avg_pool_forward`
    x_shape : the shape of x, in the same layout
    kernel_size and the rest : as in :func:`avg_pool_forward`

    Returns
    -------
    dx : shape x_shape, in the dtype of dy
    """
    dy = np.asarray(dy)
    dtype = float_dtype(dy, "dy")
    dy = channels_first(dy, layout).astype(np.float64)
    N, C, *in_size = channels_first_shape(x_shape, layout)
    windows = pool_windows(in_size, kernel_size, stride, padding, 1, ceil_mode)
    check_shape("dy, channels first,", dy, (N, C, *windows.out_size))

    dx = np.zeros((N, C, *in_size))
    for n, c in np.ndindex(N, C):
        for position in np.ndindex(*windows.out_size):
            divisor = _divisor(windows, position, count_include_pad, divisor_override)
            for cell in windows.cells(position):
                dx[(n, c, *cell)] += dy[(n, c, *position)] / divisor
    return in_layout(dx, layout, dtype)


def _divisor(windows, position, count_include_pad, divisor_override):
    if divisor_override is not None:
        if operator.index(divisor_override) < 1:
            raise ValueError(
                f"divisor_override is {divisor_override}, expected an integer from 1, or None"
            )
        return divisor_override
    if not count_include_pad:
        return len(windows.cells(position))
    start = [p * s for p, s in zip(position, windows.stride, strict=True)]
    padded_size = [
        before + size + after
        for size, (before, after) in zip(windows.in_size, windows.pads, strict=True)
    ]
    return math.prod(
        min(at + r, size) - at
        for at, r, size in zip(start, windows.kernel, padded_size, strict=True)
    )
