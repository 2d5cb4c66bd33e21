"""Transposed convolution: the adjoint of a convolution in its input, on the same engine."""

import numpy as np

from . import _core, _problem, _values
from .conv import ConvGradients


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
    """Transposed convolution: every element of x spreads a filter over y.

    For two spatial axes,

        y[n, k, h, v] = b[k] + sum of x[n, c, p, q] * w[c, k, r, s] over the c of k's group and
                        p * stride - padding + r * dilation = h,
                        q * stride - padding + s * dilation = v

    which is dx of `conv_backward` for dy = x (Zeiler et al. 2010; Dumoulin & Visin 2016,
    arXiv:1603.07285, chapter 4). An axis of P elements and R taps becomes

        (P - 1) * stride - padding before and after + (R - 1) * dilation + 1 + output_padding

    Parameters
    ----------
    x : array_like, (N, C, *size) or, channels last, (N, *size, C)
        Input, float32 or float64, one to three spatial axes, any strides. N may be 0.
    w : array_like, (C, K / groups, *kernel)
        Filters in the dtype of x.
    b : array_like, (K,), optional
        Bias in the dtype of x.
    stride, dilation : int or one int per spatial axis
        At least 1.
    padding : int, one int or one (before, after) pair per spatial axis, or str
        Elements cut off y. "same", "same_lower": y has size * stride elements, an odd one is cut
        off at the end, at the start; "valid": none is.
    output_padding : int or one int per spatial axis
        Elements more at the end of y; less than the larger of stride and dilation, 0 with "same".
    groups : int
        Splits C and K into this many independent parts.
    layout : {None, "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"}
        Layout of x and y; None is channels first.
    out : ndarray, optional
        C-contiguous array of y's shape and dtype to write to; it may overlap an input.

    Returns
    -------
    y : ndarray, (N, K, *out_size) or (N, *out_size, K)
        In the dtype of x, C-contiguous; `out` if given. Sums run over the elements of x alone.

    Raises
    ------
    TypeError
        Dtypes other than float32 and float64, or not all the same; geometry that is no integer.
    ValueError
        Shapes or geometry that do not fit together, an unusable `out`.
    MemoryError
        No memory for the result.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    >>> fastconv.conv_transpose_forward(x, w, stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    problem = _core.kept_problem("transposed", x, w, b, None, geometry)
    if problem is None:
        x, w, b, problem = _problem.transposed_arguments(x, w, b, geometry)
        _core.keep("transposed", (x.shape, w.shape, geometry), problem)
    y, target = _values.result_array(out, problem.x_shape, x.dtype, (x, w, b))
    _core.conv_backward_data("auto", problem, x, w, y, b)
    if target is not y:
        target[...] = y
    return y if out is None else out


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
    need=_values.GRADIENTS,
):
    """Gradients of a scalar loss through `conv_transpose_forward`, from the gradient dy.

    For one spatial axis, dy taken as zero outside its bounds,

        dx[n, c, p] = sum over k, r of dy[n, k, p * stride - padding + r * dilation] * w[c, k, r]
        dw[c, k, r] = sum over n, p of dy[n, k, p * stride - padding + r * dilation] * x[n, c, p]
        db[k]       = sum over n, h of dy[n, k, h]

    dx is the convolution of dy with w (Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4).

    Parameters
    ----------
    dy : array_like, shape of conv_transpose_forward's y
        In the dtype of x.
    x, w : array_like
        What conv_transpose_forward was given.
    stride, padding, output_padding, dilation, groups, layout
        As in `conv_transpose_forward`.
    need : iterable of {"dx", "dw", "db"}
        The gradients to compute.

    Returns
    -------
    ConvGradients
        Named tuple (dx, dw, db), in the shapes of x, w and b; those not needed are None. For an
        empty batch dw and db are zeros.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_transpose_forward`; ValueError if dy has not the shape of y, or `need` an unknown
        name.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    >>> dx, dw, db = fastconv.conv_transpose_backward(np.ones((1, 1, 5)), x, w, stride=2)
    >>> dx, dw, db
    (array([[[111., 111.]]]), array([[[3., 3., 3.]]]), array([5.]))
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    problem = None if dy is None else _core.kept_problem("transposed", x, w, None, dy, geometry)
    if problem is None:
        dy, x, w, problem = _problem.transposed_gradient_arguments(dy, x, w, geometry)
        _core.keep("transposed", (x.shape, w.shape, geometry), problem)
    if need is not _values.GRADIENTS:
        need = _values.needed_gradients(need)
    dx = np.empty(x.shape, x.dtype) if "dx" in need else None
    dw = np.empty(w.shape, x.dtype) if "dw" in need else None
    db = None
    if dx is not None:
        _core.conv_forward("auto", problem, dy, w, None, False, dx)
    if dw is not None:
        _core.conv_backward_weights("auto", problem, x, dy, dw, None)
    if "db" in need:
        channel = dy.ndim - 1 if problem.channels_last else 1
        others = tuple(axis for axis in range(dy.ndim) if axis != channel)
        with np.errstate(all="ignore"):
            db = dy.sum(axis=others, dtype=np.float64).astype(dy.dtype)
    return ConvGradients(dx, dw, db)
