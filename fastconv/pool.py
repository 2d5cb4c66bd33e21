"""Max and average pooling, forward and backward, over one to three spatial axes."""

import math

import numpy as np

from . import _geometry, _pool, _problem, _values


def max_pool_forward(
    x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, layout=None
):
    """Maximum of each window, and where it stands.

        y[n, c, p, q] = max over r, s of x[n, c, p * stride - padding + r * dilation,
                                                 q * stride - padding + s * dilation]

    over the taps that lie on x; padding never wins (Ranzato et al. 2007).

    Parameters
    ----------
    x : array_like, (N, C, *size) or, channels last, (N, *size, C)
        Any real dtype, one to three spatial axes, any strides. N may be 0.
    kernel_size : int or one int per spatial axis
    stride : int or one int per spatial axis, optional
        Default: `kernel_size`.
    padding, layout
        As in `conv_forward`. Padding must be less than the dilated kernel.
    dilation : int or one int per spatial axis
    ceil_mode : bool
        Also keep a last window that is partly outside; one that would start in the padding after
        the data is dropped.

    Returns
    -------
    y : ndarray
        In the dtype of x, in the layout of x.
    indices : ndarray of int64, shape of y
        Flat position of the maximum in x's spatial plane, row-major over the spatial axes: the
        first of equal ones in row-major window order. A NaN wins; the first one, too.

    Raises
    ------
    TypeError
        Not a real dtype; geometry that is no integer, ceil_mode that is no bool.
    ValueError
        Geometry that does not fit, or a window with no tap on x.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> y, indices = fastconv.max_pool_forward(np.array([[[[1, 5], [7, 3]]]]), 2)
    >>> y, indices
    (array([[[[7]]]]), array([[[[2]]]]))
    """
    x = _values.real_array("x", x)
    problem = _problem.pool_problem(
        x.shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
        name="shape of x",
    )
    wide = _values.widened(x)
    y = np.empty(problem.y_shape, wide.dtype)
    indices = np.empty(problem.y_shape, np.int64)
    last = problem.channels_last
    _pool.max_pool_forward(
        _geometry.canonical(wide, last),
        problem.window,
        _geometry.canonical(y, last),
        _geometry.canonical(indices, last),
    )
    return y.astype(x.dtype, copy=False), indices


@np.errstate(all="ignore")
def max_pool_backward(dy, indices, x_shape, *, layout=None):
    """Gradient through `max_pool_forward`: dy goes to where the maximum stood.

        dx[n, c].flat[indices[n, c, p, q]] += dy[n, c, p, q]

    Parameters
    ----------
    dy : array_like, shape of y
        Any real dtype.
    indices : array_like of int, shape of y
        From `max_pool_forward`.
    x_shape : tuple of int
        Shape of x.
    layout
        As in `max_pool_forward`.

    Returns
    -------
    dx : ndarray, `x_shape`
        In the dtype of dy; zero where no maximum stood. Half precision is summed in single.

    Raises
    ------
    TypeError
        dy not of a real dtype, indices not of an integer one.
    ValueError
        Shapes that do not fit, or an index outside the plane.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_pool_backward(np.array([[[[5.0]]]]), np.array([[[[2]]]]), (1, 1, 2, 2))
    array([[[[0., 0.],
             [5., 0.]]]])
    """
    dy, indices, x_shape, channels_last = _problem.max_pool_gradient_arguments(
        dy, indices, x_shape, layout
    )
    wide = _values.widened(dy)
    dx = np.zeros(x_shape, wide.dtype)
    outside = _pool.max_pool_backward(
        plane_view(wide, channels_last),
        plane_view(indices, channels_last),
        plane_view(dx, channels_last),
    )
    if outside is not None:
        index = plane_view(indices, channels_last)[outside]
        _problem.raise_index_outside(index, x_shape, channels_last)
    return dx.astype(dy.dtype, copy=False)


def plane_view(array, channels_last):
    """(N, C, positions): a view if the array is contiguous, else a copy."""
    view = _geometry.canonical(array, channels_last)
    return view.reshape(*view.shape[:2], math.prod(view.shape[2:]))


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
    """Mean of each window.

        y[n, c, p, q] = sum over r, s of x[n, c, p * stride - padding + r, ...] / divisor

    (LeCun et al. 1998, subsampling layers).

    Parameters
    ----------
    x : array_like, (N, C, *size) or, channels last, (N, *size, C)
        float32 or float64, one to three spatial axes, any strides. N may be 0.
    kernel_size, stride, padding, ceil_mode, layout
        As in `max_pool_forward`.
    count_include_pad : bool
        The divisor counts the elements of the window inside the padded input; if false, inside
        x itself.
    divisor_override : int, optional
        Divisor of every window instead; at least 1.

    Returns
    -------
    y : ndarray
        In the dtype and layout of x; each sum is kept in double and rounded once.

    Raises
    ------
    TypeError
        Dtypes other than float32 and float64; geometry that is no integer, a flag that is no
        bool.
    ValueError
        Geometry that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.avg_pool_forward(np.array([[[1.0, 3.0, 5.0, 9.0]]]), 2)
    array([[[2., 7.]]])
    """
    x = _values.float_array("x", x)
    problem = _problem.pool_problem(
        x.shape,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        layout=layout,
        name="shape of x",
    )
    divisor = _problem.divisor(divisor_override)
    count_include_pad = _values.flag("count_include_pad", count_include_pad)
    y = np.empty(problem.y_shape, x.dtype)
    last = problem.channels_last
    _pool.avg_pool_forward(
        _geometry.canonical(x, last),
        problem.window,
        divisor,
        count_include_pad,
        _geometry.canonical(y, last),
    )
    return y


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
    """Gradient through `avg_pool_forward`: each element of dy is shared out over its window.

    Parameters
    ----------
    dy : array_like, shape of y
        float32 or float64.
    x_shape : tuple of int
        Shape of x.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
        As in `avg_pool_forward`.

    Returns
    -------
    dx : ndarray, `x_shape`
        In the dtype of dy.

    Raises
    ------
    TypeError, ValueError
        As `avg_pool_forward`; ValueError if dy has not the shape of y.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.avg_pool_backward(np.array([[[2.0, 4.0]]]), (1, 1, 4), 2)
    array([[[1., 1., 2., 2.]]])
    """
    dy = _values.float_array("dy", dy)
    problem = _problem.pool_problem(
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        layout=layout,
    )
    divisor = _problem.divisor(divisor_override)
    count_include_pad = _values.flag("count_include_pad", count_include_pad)
    _values.check_shape("dy", dy, problem.y_shape)
    dx = np.zeros(problem.x_shape, dy.dtype)
    last = problem.channels_last
    _pool.avg_pool_backward(
        _geometry.canonical(dy, last),
        problem.window,
        divisor,
        count_include_pad,
        _geometry.canonical(dx, last),
    )
    return dx
