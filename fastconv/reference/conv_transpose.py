"""Transposed convolution: the adjoint of a convolution in x, as a layer of its own."""

import numpy as np

from ._geometry import (
    channels_first,
    check_shape,
    float_dtype,
    in_layout,
    into,
    padded_shape,
    transposed_windows,
    without_padding,
    zero_pad,
)
from .conv import ConvGradients


@np.errstate(over="ignore", invalid="ignore")
def conv_transpose_forward(
    x,
    w,
    b=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    layout=None,
    out=None,
):
    """Spread each element of x over the output: add the filter, times the element, at its window.

    On one spatial axis, with c running over the channels of the group that k belongs to, and p and
    r over the pairs that meet h::

        y[n, k, h] = b[k] + sum over c, p, r with p * stride + r * dilation - before == h of
            x[n, c, p] * w[c, k, r]

    That is dx of :func:`~fastconv.reference.conv_backward` for dy = x: what a convolution of y,
    with the same w, stride, padding and dilation, would have read, is written here. Only existing
    elements of x take part; where none meets h, y is b. The output has

        H = (P - 1) * stride - before - after + (R - 1) * dilation + 1 + output_padding

    elements: padding takes away, output_padding adds at the end.

    Sources: Zeiler, Krishnan, Taylor & Fergus 2010, "Deconvolutional networks" (the layer);
    Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4 (the arithmetic, output_padding as a).

    Parameters
    ----------
    x : (N, C, *in_size) or, channels last, (N, *in_size, C); one to three spatial axes
    w : (C, K/G, *kernel), whatever the layout
    b : (K,), optional
    stride, dilation : an integer or one per axis
    padding : an integer, one per axis, one (before, after) pair per axis, "valid", or "same" or
        "same_lower": H = P * stride, with the pads of the convolution that makes P of H
    output_padding : an integer or one per axis, less than the stride or the dilation of its axis; 0
        with "same" and "same_lower"
    groups : G; the channels of x and of y are cut into G equal parts, and each part of y is made of
        one part of x
    layout : None (channels first), or "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"
    out : an array of y's shape and dtype that receives the result

    Returns
    -------
    y : (N, K, *out_size) or (N, *out_size, K), in the dtype of x
    """
    x, w = np.asarray(x), np.asarray(w)
    dtype = float_dtype(x)
    x, windows = _arguments(x, w, stride, padding, output_padding, dilation, groups, layout)
    (N, C), K = x.shape[:2], w.shape[1] * groups
    w = w.astype(np.float64)
    b = np.zeros(K) if b is None else np.asarray(b, dtype=np.float64)
    check_shape("b", b, (K,))

    yp = np.zeros(padded_shape((N, K, *windows.in_size), windows.pads))  # the padding is cut off
    for n, c in np.ndindex(N, C):
        filters = _filters_of_channel(c, w.shape, groups)
        for position in np.ndindex(*windows.out_size):
            yp[(n, filters, *windows.slices(position))] += x[(n, c, *position)] * w[c]
    y = yp[without_padding(windows.in_size, windows.pads)]
    y += b.reshape(K, *(1 for _ in windows.in_size))
    return into(out, in_layout(y, layout, dtype))


@np.errstate(over="ignore", invalid="ignore")
def conv_transpose_backward(
    dy,
    x,
    w,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    layout=None,
    need=("dx", "dw", "db"),
):
    """Gradients of a scalar loss with respect to x, w and b, given dy, its gradient in y.

    The adjoint of an adjoint is the map itself: dx is the convolution of dy with w. With dy already
    zero-padded, and c and p fixed, what x[n, c, p] was spread over is the window of dy there::

        for every n, c, p:
            dx[n, c, p] = sum over k, r of dy[n, k, p * stride + r * dilation] * w[c, k, r]
            dw[c]      += x[n, c, p] * dy[window]
        db[k] = sum over n, h of dy[n, k, h]

    As in :func:`~fastconv.reference.conv_forward`, a padded zero takes part in the sums of dx and
    dw: an infinite weight over the padding of dy gives NaN.

    Parameters
    ----------
    dy : the shape of y in :func:`conv_transpose_forward`
    need : which gradients to compute, of "dx", "dw" and "db"
    x, w and the rest : as in :func:`conv_transpose_forward`

    Returns
    -------
    ConvGradients(dx, dw, db)
        The shapes of x, w and b, in the dtype of x; None where not in ``need``.
    """
    dy, x, w = np.asarray(dy), np.asarray(x), np.asarray(w)
    dtype = float_dtype(x)
    if not set(need) <= {"dx", "dw", "db"}:
        raise ValueError(f'need is {need!r}, expected names out of "dx", "dw" and "db"')
    x, windows = _arguments(x, w, stride, padding, output_padding, dilation, groups, layout)
    (N, C), K = x.shape[:2], w.shape[1] * groups
    dy = channels_first(dy, layout)
    check_shape("dy, channels first,", dy, (N, K, *windows.in_size))
    dyp = zero_pad(dy, windows.pads, np.float64)
    w = w.astype(np.float64)

    dx = np.empty(x.shape)
    dw = np.zeros(w.shape)
    for n, c in np.ndindex(N, C):
        filters = _filters_of_channel(c, w.shape, groups)
        for position in np.ndindex(*windows.out_size):
            window = dyp[(n, filters, *windows.slices(position))]
            dx[(n, c, *position)] = (window * w[c]).sum()
            dw[c] += x[(n, c, *position)] * window
    db = np.array([dy[:, k].sum(dtype=np.float64) for k in range(K)])

    return ConvGradients(
        in_layout(dx, layout, dtype) if "dx" in need else None,
        dw.astype(dtype) if "dw" in need else None,
        db.astype(dtype) if "db" in need else None,
    )


def _arguments(x, w, stride, padding, output_padding, dilation, groups, layout):
    """x as (N, C, *in_size) in float64, and the windows over y that its elements are spread on."""
    if not 3 <= x.ndim == w.ndim <= 5:
        raise ValueError(f"x has {x.ndim} axes and w has {w.ndim}: expected the same, 3 to 5")
    x = channels_first(x, layout).astype(np.float64)
    C = x.shape[1]
    if groups < 1 or C % groups or w.shape[0] != C:
        raise ValueError(
            f"w has {w.shape[0]} filters and x has {C} channels: "
            f"expected as many, and {groups} group(s) of them"
        )
    windows = transposed_windows(
        x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation
    )
    return x, windows


def _filters_of_channel(c, w_shape, groups):
    """The channels of y that channel c of x is spread over: those of its group g."""
    C, K_per_group = w_shape[:2]
    g = c // (C // groups)
    return slice(g * K_per_group, (g + 1) * K_per_group)
