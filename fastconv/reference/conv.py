"""Convolution, as in every deep-learning library: cross-correlation, the filter is not reversed."""

from typing import NamedTuple

import numpy as np

from ._geometry import (
    channels_first,
    check_shape,
    conv_windows,
    float_dtype,
    in_layout,
    into,
    without_padding,
    zero_pad,
)
from .relu import relu_backward


class ConvGradients(NamedTuple):
    """Gradients of a convolution. What was not asked for is None."""

    dx: np.ndarray | None
    dw: np.ndarray | None
    db: np.ndarray | None


@np.errstate(over="ignore", invalid="ignore")
def conv_forward(
    x,
    w,
    b=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout=None,
    activation=None,
    algorithm="auto",
    out=None,
):
    """Slide each filter over the input and take the dot product with the window beneath.

    On two spatial axes, with x already zero-padded and c running over the channels of the group
    that k belongs to::

        y[n, k, p, q] = b[k] + sum over c, r, s of
            x[n, c, p * stride + r * dilation, q * stride + s * dilation] * w[k, c, r, s]

    The sum runs over the zero-padded input, and a padded zero takes part in it like any other
    value: 0 * inf = NaN, so an infinite or NaN weight shows wherever its window reaches into the
    padding.

    Sources: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document
    recognition" (the layer); Dumoulin & Visin 2016, arXiv:1603.07285 (stride, padding and output
    sizes); Yu & Koltun 2016, arXiv:1511.07122 (dilation); Krizhevsky, Sutskever & Hinton 2012,
    "ImageNet classification with deep convolutional neural networks" (groups).

    Parameters
    ----------
    x : (N, C, *in_size) or, channels last, (N, *in_size, C); one to three spatial axes
    w : (K, C/G, *kernel), whatever the layout
    b : (K,), optional
    stride, dilation : an integer or one per axis
    padding : an integer, one per axis, one (before, after) pair per axis, "valid", "same" or
        "same_lower"
    groups : G; the channels of x and the filters are cut into G equal parts, and the filters of
        one part see the channels of that part only
    layout : None (channels first), or "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"
    activation : None, or "relu" for max(y, 0)
    algorithm : accepted and ignored; the reference has one algorithm, the formula above
    out : an array of y's shape and dtype that receives the result

    Returns
    -------
    y : (N, K, *out_size) or (N, *out_size, K), in the dtype of x
    """
    x, w = np.asarray(x), np.asarray(w)
    dtype = float_dtype(x)
    xp, windows = _pad(x, w, stride, padding, dilation, groups, layout)
    N, K, G = xp.shape[0], w.shape[0], groups
    w = w.astype(np.float64)
    b = np.zeros(K) if b is None else np.asarray(b, dtype=np.float64)
    check_shape("b", b, (K,))
    if activation not in (None, "relu"):
        raise ValueError(f'activation is {activation!r}, expected None or "relu"')

    y = np.empty((N, K, *windows.out_size))
    for n, k in np.ndindex(N, K):
        channels = _channels_of_filter(k, w.shape, G)
        for position in np.ndindex(*windows.out_size):
            window = xp[(n, channels, *windows.slices(position))]
            y[(n, k, *position)] = b[k] + (window * w[k]).sum()
    if activation == "relu":
        y = np.maximum(y, 0)

    return into(out, in_layout(y, layout, dtype))


@np.errstate(over="ignore", invalid="ignore")
def conv_backward(
    dy,
    x,
    w,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout=None,
    need=("dx", "dw", "db"),
    algorithm="auto",
):
    """Gradients of a scalar loss with respect to x, w and b, given dy, its gradient in y.

    The chain rule, read off the formula of :func:`conv_forward` one output at a time. y[n, k, p, q]
    is a dot product of a window and a filter, so the derivative in either is the other::

        for every n, k, p, q:
            dx[window] += dy[n, k, p, q] * w[k]
            dw[k]      += dy[n, k, p, q] * x[window]
            db[k]      += dy[n, k, p, q]

    This scatters dy over dx. Gathered per element of dx instead, it is a transposed convolution
    (Dumoulin & Visin 2016, arXiv:1603.07285); with stride 1, the convolution of dy, zero-padded by
    the kernel size less one, with the reversed filter.

    The sum of dx runs over the existing elements of dy only: there are no padded ones, and no
    0 * inf from beyond dy's border. The sum of dw runs over the zero-padded x, as the forward does:
    a padded zero times an infinite dy is NaN.

    Parameters
    ----------
    dy : the shape of y in :func:`conv_forward`
    need : which gradients to compute, of "dx", "dw" and "db"
    x, w and the rest : as in :func:`conv_forward`

    Returns
    -------
    ConvGradients(dx, dw, db)
        The shapes of x, w and b, in the dtype of x; None where not in ``need``.
    """
    dy, x, w = np.asarray(dy), np.asarray(x), np.asarray(w)
    dtype = float_dtype(x)
    if not set(need) <= {"dx", "dw", "db"}:
        raise ValueError(f'need is {need!r}, expected names out of "dx", "dw" and "db"')
    xp, windows = _pad(x, w, stride, padding, dilation, groups, layout)
    N, K, G = xp.shape[0], w.shape[0], groups
    dy = channels_first(dy, layout).astype(np.float64)
    check_shape("dy, channels first,", dy, (N, K, *windows.out_size))
    w = w.astype(np.float64)

    dxp = np.zeros(xp.shape)  # the gradient of the padded x; its padding is cut off at the end
    dw = np.zeros(w.shape)
    db = np.zeros(K)
    for n, k in np.ndindex(N, K):
        channels = _channels_of_filter(k, w.shape, G)
        for position in np.ndindex(*windows.out_size):
            d = dy[(n, k, *position)]
            window = (n, channels, *windows.slices(position))
            dxp[window] += d * w[k]
            dw[k] += d * xp[window]
            db[k] += d
    dx = dxp[without_padding(windows.in_size, windows.pads)]

    return ConvGradients(
        in_layout(dx, layout, dtype) if "dx" in need else None,
        dw.astype(dtype) if "dw" in need else None,
        db.astype(dtype) if "db" in need else None,
    )


@np.errstate(over="ignore", invalid="ignore")
def conv_jvp(
    x,
    w,
    x_dot,
    w_dot,
    b_dot=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout=None,
    activation=None,
    algorithm="auto",
    out=None,
):
    """The derivative of the convolution along a direction: the Jacobian times a vector.

    y is linear in x, in w and in b, so the product rule is all there is to it. Along
    (x_dot, w_dot, b_dot), with conv as in :func:`conv_forward` without a bias::

        y_dot = conv(x_dot, w) + conv(x, w_dot) + b_dot

    b itself has no influence. A direction that is None is zero, and its term is left out: not even
    an infinity of the other factor enters.

    With activation "relu" it is the derivative of max(conv(x, w), 0), as if b were 0, and taken as
    0 at the kink and at NaN as in :func:`~fastconv.reference.relu_backward`::

        y_dot where conv(x, w) > 0, else 0

    Source: Griewank & Walther 2008, "Evaluating derivatives", section 3.1 (the forward mode).

    Parameters
    ----------
    x_dot, w_dot, b_dot : the shapes of x, w and b in :func:`conv_forward`, or None
    out : an array of y_dot's shape and dtype that receives the result
    x, w and the rest : as there

    Returns
    -------
    y_dot : the shape of y in :func:`conv_forward`, in the dtype of x
    """
    x, w = np.asarray(x), np.asarray(w)
    dtype = float_dtype(x)
    xp, windows = _pad(x, w, stride, padding, dilation, groups, layout)
    K = w.shape[0]
    if activation not in (None, "relu"):
        raise ValueError(f'activation is {activation!r}, expected None or "relu"')
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    y_dot = np.zeros((xp.shape[0], K, *windows.out_size))
    if x_dot is not None:
        x_dot = np.asarray(x_dot, dtype=np.float64)
        check_shape("x_dot", x_dot, x.shape)
        y_dot += conv_forward(channels_first(x_dot, layout), w, **options)
    if w_dot is not None:
        w_dot = np.asarray(w_dot)
        check_shape("w_dot", w_dot, w.shape)
        y_dot += conv_forward(channels_first(x, layout).astype(np.float64), w_dot, **options)
    if b_dot is not None:
        b_dot = np.asarray(b_dot, dtype=np.float64)
        check_shape("b_dot", b_dot, (K,))
        y_dot += b_dot.reshape(K, *(1 for _ in windows.out_size))
    if activation == "relu":
        y = conv_forward(channels_first(x, layout), w, **options)
        y_dot = relu_backward(y_dot, y.astype(np.float64))

    return into(out, in_layout(y_dot, layout, dtype))


def _pad(x, w, stride, padding, dilation, groups, layout):
    """The zero-padded x, (N, C, *padded size) in float64, and the windows over it."""
    if not 3 <= x.ndim == w.ndim <= 5:
        raise ValueError(f"x has {x.ndim} axes and w has {w.ndim}: expected the same, 3 to 5")
    x = channels_first(x, layout)
    C, (K, C_per_group) = x.shape[1], w.shape[:2]
    if groups < 1 or K % groups or C != groups * C_per_group:
        raise ValueError(
            f"w has {K} filters of {C_per_group} channels and x has {C} channels: "
            f"they do not fit {groups} group(s)"
        )
    windows = conv_windows(x.shape[2:], w.shape[2:], stride, padding, dilation)
    return zero_pad(x, windows.pads, np.float64), windows


def _channels_of_filter(k, w_shape, groups):
    """The channels of x that filter k sees: those of its group g."""
    K, C_per_group = w_shape[:2]
    g = k // (K // groups)
    return slice(g * C_per_group, (g + 1) * C_per_group)
