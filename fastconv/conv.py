"""Convolution, forward and backward, over one to three spatial axes."""

import dataclasses
from typing import NamedTuple

import numpy as np

from . import _core, _problem, _values, plans


class ConvGradients(NamedTuple):
    """Gradients of a convolution; None where `need` did not ask."""

    dx: np.ndarray | None
    dw: np.ndarray | None
    db: np.ndarray | None


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
    """Convolution (cross-correlation) of a batch of images with a bank of filters.

    For two spatial axes, with x taken as zero outside its bounds,

        y[n, k, p, q] = b[k] + sum over c, r, s of w[k, c, r, s]
                        * x[n, c, p * stride - padding + r * dilation,
                                  q * stride - padding + s * dilation]

    where c runs over the channels of k's group (LeCun et al. 1998; arithmetic of the shapes:
    Dumoulin & Visin 2016, arXiv:1603.07285).

    Parameters
    ----------
    x : array_like, (N, C, *size) or, channels last, (N, *size, C)
        Input, float32 or float64, one to three spatial axes, any strides. N may be 0.
    w : array_like, (K, C / groups, *kernel)
        Filters in the dtype of x.
    b : array_like, (K,), optional
        Bias in the dtype of x.
    stride, dilation : int or one int per spatial axis
        Step between windows, step between taps; at least 1.
    padding : int, one int or one (before, after) pair per spatial axis, or str
        Zeros around x. "valid": none. "same": the output has ceil(size / stride) elements, an
        odd zero goes to the end; "same_lower": to the start.
    groups : int
        Splits C and K into this many independent convolutions.
    layout : {None, "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"}
        Layout of x and y; None is channels first.
    activation : {None, "relu"}
        Applied to y.
    algorithm : str
        "auto", or a name from `algorithms()`. See `set_accuracy` for what "auto" may take.
    out : ndarray, optional
        C-contiguous array of y's shape and dtype to write to; it may overlap an input.

    Returns
    -------
    y : ndarray, (N, K, *out_size) or (N, *out_size, K)
        In the dtype of x, C-contiguous; `out` if given. A zero of the padding takes part in the
        sum: an infinite weight over padding gives NaN. Denormal numbers (below 1.2e-38 in float32,
        2.2e-308 in float64) may count as zero, in arguments and in sums.

    Raises
    ------
    TypeError
        Dtypes other than float32 and float64, or not all the same; geometry that is no integer.
    ValueError
        Shapes or geometry that do not fit together, an unknown name, an unusable `out`.
    MemoryError
        No memory for the result.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> w = np.ones((1, 1, 3, 3))
    >>> fastconv.conv_forward(x, w)
    array([[[[45., 54.],
             [81., 90.]]]])
    """
    geometry = (stride, padding, dilation, groups, layout)
    problem = _core.kept_problem("conv", x, w, b, None, geometry)
    if problem is None:
        x, w, b, problem = _problem.conv_arguments(x, w, b, geometry)
        problem = kept_alike(x, w, geometry, problem)
    relu = _values.activation_is_relu(activation)
    algorithm = _values.algorithm_name(algorithm, plans.ALGORITHMS)
    y, target = _values.result_array(out, problem.y_shape, x.dtype, (x, w, b))
    _core.conv_forward(algorithm, problem, x, w, b, relu, y)
    if target is not y:
        target[...] = y
    return y if out is None else out


def kept_alike(x, w, geometry, problem):
    """The problem of an earlier call with the same arguments, whose plans are made, or this one."""
    arguments = (x.shape, w.shape, geometry)
    kept = _core.recall("conv", arguments)
    if kept is None:
        _core.keep("conv", arguments, problem)
        return problem
    return kept


class ConvPlan:
    """Inference with one bank of filters: `conv_forward` for inputs of one shape, prepared.

    Arguments are checked once, and the weights are arranged once in the order in which the
    algorithm reads them; a call then gives what `conv_forward` gives, bit for bit. Arranged for
    Winograd's algorithm 3x3 kernels take four times their memory, 5x5 kernels twice, 3x3 kernels of
    stride 2 sixteen times, and taps along one axis 1.2 to 3 times.

    Parameters
    ----------
    x_shape : tuple of int
        Shape of every x, in `layout`.
    w, b : array_like
        As in `conv_forward`; copied.
    dtype : dtype, optional
        float32 or float64, to which w and b are converted; None: that of w.
    stride, padding, dilation, groups, layout, activation, algorithm
        As in `conv_forward`.

    Attributes
    ----------
    algorithm : str
        The name of what runs.
    workspace_bytes : int
        Memory that a call uses beside its arrays and the arranged weights, for the number of
        threads of this moment.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_forward`; calling the plan: ValueError for an x of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> plan = fastconv.ConvPlan((1, 1, 4, 4), np.ones((1, 1, 3, 3)))
    >>> plan(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[45., 54.],
             [81., 90.]]]])
    """

    def __init__(
        self,
        x_shape,
        w,
        b=None,
        *,
        dtype=None,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        layout=None,
        activation=None,
        algorithm="auto",
    ):
        geometry = (stride, padding, dilation, groups, layout)
        self._w, self._b, self._problem = _problem.plan_arguments(x_shape, w, b, dtype, geometry)
        self._relu = _values.activation_is_relu(activation)
        self._asked = _values.algorithm_name(algorithm, plans.ALGORITHMS)
        self._prepare()

    def _prepare(self):
        setting = _core.get_isa(), _core.get_accurate()
        self._prepared = (
            setting,
            _core.prepare_weights(
                self._asked, self._problem, self._w, self._relu, self._b is not None
            ),
        )

    def __getstate__(self):
        """Weights are arranged again where a copy is unpickled: for that processor."""
        problem = dataclasses.replace(self._problem, native=None)
        return {**self.__dict__, "_problem": problem, "_prepared": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._prepare()

    def _described(self):
        arguments = self._problem, self._w.dtype.char, self._relu, self._b is not None
        return _core.describe_conv("forward", self._asked, *arguments)

    @property
    def algorithm(self):
        return self._described()["path"]

    @property
    def workspace_bytes(self):
        return self._described()["workspace_bytes"]

    def __call__(self, x, out=None):
        """y of `conv_forward(x, w, b)`; x of any strides, in the plan's shape and dtype."""
        w, b = self._w, self._b
        x = _problem.plan_input(x, self._problem.x_shape, w.dtype)
        y, target = _values.result_array(out, self._problem.y_shape, w.dtype, (x,))
        setting, weights = self._prepared
        if setting != (_core.get_isa(), _core.get_accurate()):
            self._prepare()
            _, weights = self._prepared
        _core.conv_forward(self._asked, self._problem, x, w, b, self._relu, y, weights)
        if target is not y:
            target[...] = y
        return y if out is None else out

    def __str__(self):
        problem, plan = self._problem, self._described()
        arguments = problem, self._w.dtype.char, self._relu, self._b is not None
        candidates = plans.judged(_core.conv_candidates("forward", *arguments), plan["path"])
        return "\n".join(
            [
                f"ConvPlan: x {problem.x_shape}, w {self._w.shape} -> y {problem.y_shape}, "
                f"{plan['dtype']}, instruction set {plan['isa']}, {plan['threads']} thread(s)",
                *plans.plan_lines(plan),
                "  paths in order of preference",
                *plans.candidate_lines(candidates),
            ]
        )


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
    need=_values.GRADIENTS,
    algorithm="auto",
):
    """Gradients of a scalar loss through `conv_forward`, from the gradient dy at its output.

    For two spatial axes, sums running over all existing elements of dy,

        dx[n, c, h, w] = sum of dy[n, k, p, q] * w[k, c, r, s] over k, p, q, r, s that meet (h, w)
        dw[k, c, r, s] = sum over n, p, q of dy[n, k, p, q]
                         * x[n, c, p * stride - padding + r * dilation, ...]
        db[k]          = sum over n, p, q of dy[n, k, p, q]

    (LeCun et al. 1998; Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4).

    Parameters
    ----------
    dy : array_like, shape of conv_forward's y
        Gradient of the loss with respect to y, in the dtype of x. It is taken before the
        activation: where conv_forward had one, apply `relu_backward` first.
    x, w : array_like
        What conv_forward was given.
    stride, padding, dilation, groups, layout, algorithm
        As in `conv_forward`.
    need : iterable of {"dx", "dw", "db"}
        The gradients to compute.

    Returns
    -------
    ConvGradients
        Named tuple (dx, dw, db): dx in x's shape and layout, dw in w's shape, db (K,); those not
        needed are None. For an empty batch dw and db are zeros.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_forward`; ValueError if dy has not the shape of y, or `need` an unknown name.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    >>> w = np.array([[[1.0, 10.0, 100.0]]])
    >>> dx, dw, db = fastconv.conv_backward(np.array([[[1.0, 2.0]]]), x, w)
    >>> dx
    array([[[  1.,  12., 120., 200.]]])
    >>> dw
    array([[[ 5.,  8., 11.]]])
    """
    geometry = (stride, padding, dilation, groups, layout)
    problem = None if dy is None else _core.kept_problem("conv", x, w, None, dy, geometry)
    if problem is None:
        dy, x, w, problem = _problem.conv_gradient_arguments(dy, x, w, geometry)
        problem = kept_alike(x, w, geometry, problem)
    if need is not _values.GRADIENTS:
        need = _values.needed_gradients(need)
    algorithm = _values.algorithm_name(algorithm, plans.ALGORITHMS)
    if algorithm != "auto" and "dx" in need and "dw" in need:  # before either is computed
        _core.check_gradient_paths(algorithm, problem, dy, x, w, "db" in need)
    dx = np.empty(x.shape, x.dtype) if "dx" in need else None
    dw = np.empty(w.shape, x.dtype) if "dw" in need else None
    db = np.empty(problem.out_channels, x.dtype) if "db" in need else None
    if dx is not None:
        _core.conv_backward_data(algorithm, problem, dy, w, dx)
    if dw is not None or db is not None:
        _core.conv_backward_weights(algorithm, problem, dy, x, dw, db)
    return ConvGradients(dx, dw, db)


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
    """Directional derivative of `conv_forward`: forward-mode differentiation.

        y_dot = conv(x_dot, w) + conv(x, w_dot) + b_dot

    the product of the Jacobian with the tangents (Griewank & Walther 2008, chapter 3);
    `conv_backward` is its adjoint.

    Parameters
    ----------
    x, w : array_like
        As in `conv_forward`.
    x_dot, w_dot : array_like, shapes of x and w, or None
        Tangents in the dtype of x; None is zero.
    b_dot : array_like, (K,), optional
        Tangent of the bias.
    stride, padding, dilation, groups, layout, algorithm
        As in `conv_forward`.
    activation : {None, "relu"}
        "relu": the derivative of relu(conv(x, w)), at b = 0: y_dot where conv_forward(x, w) > 0,
        else 0, and 0 where that is NaN, as in `relu_backward`. For another bias take
        relu_backward(y_dot, y) of y_dot without activation and y = conv_forward(x, w, b).
    out : ndarray, optional
        C-contiguous array of y's shape and dtype to write to; it may overlap an input.

    Returns
    -------
    y_dot : ndarray, shape of conv_forward's y
        In the dtype of x, C-contiguous; `out` if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_forward`; ValueError for a tangent of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> fastconv.conv_jvp(x, w, np.ones_like(x), np.ones_like(w))
    array([[[14., 16.]]])
    """
    geometry = (stride, padding, dilation, groups, layout)
    arguments = _problem.tangent_arguments(x, w, x_dot, w_dot, b_dot, geometry)
    x, w, x_dot, w_dot, b_dot, problem = arguments
    problem = kept_alike(x, w, geometry, problem)
    relu = _values.activation_is_relu(activation)
    algorithm = _values.algorithm_name(algorithm, plans.ALGORITHMS)
    inputs = (x, w, x_dot, w_dot, b_dot)
    y_dot, target = _values.result_array(out, problem.y_shape, x.dtype, inputs)
    tangent = np.empty_like(y_dot) if relu else y_dot
    parts = []
    for image, filters in ((x_dot, w), (x, w_dot)):
        if image is None or filters is None:
            continue
        part = np.empty_like(tangent) if parts else tangent
        bias = None if parts else b_dot
        _core.conv_forward(algorithm, problem, image, filters, bias, False, part)
        parts.append(part)
    if not parts:
        channel = -1 if problem.channels_last else 1
        np.moveaxis(tangent, channel, -1)[...] = 0 if b_dot is None else b_dot
    if len(parts) == 2:
        with np.errstate(all="ignore"):
            tangent += parts[1]
    if relu:
        y = np.empty_like(tangent)
        _core.conv_forward(algorithm, problem, x, w, None, False, y)
        _core.relu(y, tangent, y_dot)
    if target is not y_dot:
        target[...] = y_dot
    return y_dot if out is None else out
