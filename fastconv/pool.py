"""Max and average pooling, forward and backward, over one to three spatial axes."""

import math

import numpy as np

from . import _core, _geometry, _pool, _problem, _values

INT64 = np.dtype(np.int64)
# Copies of arrays that are not contiguous are made of so many bytes at a time.
COPIED_BYTES = 16 << 20


def max_pool_forward(
    x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True,
    layout=None
):  # fmt: skip
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
    return_indices : bool
        False: y alone, in less time, where nothing is to be propagated back.

    Returns
    -------
    y : ndarray
        In the dtype of x, in the layout of x.
    indices : ndarray of int64, shape of y
        Unless `return_indices` is False. Flat position of the maximum in x's spatial plane,
        row-major over the spatial axes: the first of equal ones in row-major window order. A NaN
        wins; the first one, too.

    Raises
    ------
    TypeError
        Not a real dtype; geometry that is no integer, ceil_mode or return_indices that is no bool.
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
    x = x if _core.are_plain(x) else _values.real_array("x", x)
    problem = pool_problem(
        x.shape, kernel_size, stride, padding, dilation, ceil_mode, layout, "shape of x"
    )
    return max_pool(x, problem, _values.flag("return_indices", return_indices))


def pool_problem(x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout, name):
    """The problem of a pool; of a call like an earlier one, that one's."""
    mode = "ceil" if _values.flag("ceil_mode", ceil_mode) else "floor"
    arguments = (x_shape, kernel_size, stride, padding, dilation, mode, layout)
    problem = _core.recall("pool", arguments)
    if problem is None:
        problem = _problem.pool_problem(
            x_shape,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            layout=layout,
            name=name,
        )
        _core.keep("pool", arguments, problem)
    return problem


def adaptive_problem(x_shape, output_size, layout, name):
    """The problem of an adaptive pool; of a call like an earlier one, that one's."""
    arguments = (x_shape, output_size, layout)
    problem = _core.recall("adaptive", arguments)
    if problem is None:
        problem = _problem.adaptive_problem(x_shape, output_size, layout, name)
        _core.keep("adaptive", arguments, problem)
    return problem


def max_pool(x, problem, return_indices=True):
    """(y, indices), or y, of a checked array and its problem."""
    wide = _values.widened(x)
    y = np.empty(problem.y_shape, wide.dtype)
    indices = np.empty(problem.y_shape, np.int64) if return_indices else None
    last = problem.channels_last
    for x_part, y_part, *parts in contiguous_parts(wide, y, *[indices] * return_indices):
        if not _core.max_pool_forward(problem, x_part, y_part, parts[0] if parts else None):
            places = parts[0] if parts else np.empty(y_part.shape, np.int64)
            _pool.max_pool_forward(
                _geometry.canonical(x_part, last),
                problem.window,
                _geometry.canonical(y_part, last),
                _geometry.canonical(places, last),
            )
    y = y.astype(x.dtype, copy=False)
    return (y, indices) if return_indices else y


def contiguous_parts(array, *results):
    """(part of array, parts of the results): images of an array that is contiguous, or copied."""
    if array.flags.c_contiguous or len(array) == 0:
        yield array, *results
        return
    images = max(1, COPIED_BYTES // (math.prod(array.shape[1:]) * array.itemsize))
    for first in range(0, len(array), images):
        part = slice(first, first + images)
        yield np.ascontiguousarray(array[part]), *(result[part] for result in results)


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
    arguments = indexed_arguments(dy, indices, x_shape, layout)
    return scattered(*arguments, add=True)


def max_unpool(y, indices, x_shape, *, layout=None):
    """Puts the maxima of `max_pool_forward` back where they stood, zeros elsewhere.

        x[n, c].flat[indices[n, c, p, q]] = y[n, c, p, q]

    (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1).

    Parameters
    ----------
    y : array_like
        Any real dtype.
    indices : array_like of int, shape of y
        From `max_pool_forward`. Where one occurs twice, the last in row-major order counts.
    x_shape : tuple of int
        Shape of the result.
    layout
        As in `max_pool_forward`.

    Returns
    -------
    x : ndarray, `x_shape`
        In the dtype of y.

    Raises
    ------
    TypeError
        y not of a real dtype, indices not of an integer one.
    ValueError
        Shapes that do not fit, or an index outside the plane.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.max_unpool(np.array([[[[5.0]]]]), np.array([[[[2]]]]), (1, 1, 2, 2))
    array([[[[0., 0.],
             [5., 0.]]]])
    """
    arguments = indexed_arguments(y, indices, x_shape, layout, "y")
    return scattered(*arguments, add=False)


def indexed_arguments(dy, indices, x_shape, layout, name="dy"):
    """_problem.indexed_arguments, which a call like an earlier one does not ask again."""
    key = None
    is_plain = type(indices) is np.ndarray and indices.dtype is INT64 and indices.flags.aligned
    if is_plain and _core.are_plain(dy):
        key = x_shape, dy.shape, indices.shape, layout
        channels_last = _core.recall("indexed", key)
        if channels_last is not None:
            return dy, indices, x_shape, channels_last
    arguments = _problem.indexed_arguments(dy, indices, x_shape, layout, name)
    if key is not None and arguments[1] is indices:
        _core.keep("indexed", key, arguments[3])
    return arguments


def scattered(source, indices, x_shape, channels_last, *, add):
    """An array of `x_shape` with the elements of `source` where `indices` say."""
    wide = _values.widened(source)
    x = np.empty(x_shape, wide.dtype)
    if wide.dtype.char in "fd":
        arrays = np.ascontiguousarray(wide), np.ascontiguousarray(indices)
        fits = _core.scatter(*arrays, channels_last, add, x)
    else:
        x.fill(0)
        arrays = (plane_view(array, channels_last) for array in (wide, indices))
        outside = _pool.max_pool_backward(*arrays, add, plane_view(x, channels_last))
        fits = outside is None
    if not fits:
        _problem.raise_index_outside(indices, x_shape, channels_last)
    return x.astype(source.dtype, copy=False)


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
    x = x if _core.are_plain(x) else _values.float_array("x", x)
    problem = pool_problem(
        x.shape, kernel_size, stride, padding, 1, ceil_mode, layout, "shape of x"
    )
    divisor = _problem.divisor(divisor_override)
    count_include_pad = _values.flag("count_include_pad", count_include_pad)
    return avg_pool(x, problem, divisor, count_include_pad)


def avg_pool(x, problem, divisor=0, count_include_pad=False):
    """y of a checked array and its problem; divisor 0: of each window its own."""
    y = np.empty(problem.y_shape, x.dtype)
    last = problem.channels_last
    for x_part, y_part in contiguous_parts(x, y):
        if not _core.avg_pool_forward(problem, x_part, divisor, count_include_pad, y_part):
            _pool.avg_pool_forward(
                _geometry.canonical(x_part, last),
                problem.window,
                divisor,
                count_include_pad,
                _geometry.canonical(y_part, last),
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
    dy = dy if _core.are_plain(dy) else _values.float_array("dy", dy)
    problem = pool_problem(x_shape, kernel_size, stride, padding, 1, ceil_mode, layout, "x_shape")
    divisor = _problem.divisor(divisor_override)
    count_include_pad = _values.flag("count_include_pad", count_include_pad)
    _values.check_shape("dy", dy, problem.y_shape)
    return avg_pool_gradient(dy, problem, divisor, count_include_pad)


def avg_pool_gradient(dy, problem, divisor=0, count_include_pad=False):
    """dx of a checked array and its problem, as `avg_pool`."""
    dx = np.empty(problem.x_shape, dy.dtype)
    last = problem.channels_last
    for dy_part, dx_part in contiguous_parts(dy, dx):
        if not _core.avg_pool_backward(problem, dy_part, divisor, count_include_pad, dx_part):
            dx_part.fill(0)
            _pool.avg_pool_backward(
                _geometry.canonical(dy_part, last),
                problem.window,
                divisor,
                count_include_pad,
                _geometry.canonical(dx_part, last),
            )
    return dx


def adaptive_max_pool_forward(x, output_size, *, layout=None):
    """Maximum of each of `output_size` windows that cover x evenly, and where it stands.

    Output o of an axis of H elements and P outputs sees floor(o * H / P) to
    ceil((o + 1) * H / P) - 1; the gradient is `max_pool_backward` (He et al. 2015,
    arXiv:1406.4729, pools to a fixed size so).

    Parameters
    ----------
    x : array_like, (N, C, *size) or, channels last, (N, *size, C)
        Any real dtype, one to three spatial axes, any strides. N may be 0.
    output_size : int or one int per spatial axis
        At least 1; it may exceed the size of x. 1 is the global pool.
    layout
        As in `conv_forward`.

    Returns
    -------
    y, indices : ndarray
        As `max_pool_forward`.

    Raises
    ------
    TypeError, ValueError
        As `max_pool_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_max_pool_forward(np.array([[[1, 5, 7, 3, 2]]]), 2)
    (array([[[7, 7]]]), array([[[2, 2]]]))
    """
    x = x if _core.are_plain(x) else _values.real_array("x", x)
    problem = adaptive_problem(x.shape, output_size, layout, "shape of x")
    return max_pool(x, problem)


def adaptive_avg_pool_forward(x, output_size, *, layout=None):
    """Mean of each of `output_size` windows that cover x evenly.

    Windows are those of `adaptive_max_pool_forward`; output_size 1 is the global average pool
    (Lin et al. 2014, arXiv:1312.4400, section 3.2).

    Parameters
    ----------
    x : array_like, (N, C, *size) or, channels last, (N, *size, C)
        float32 or float64, one to three spatial axes, any strides. N may be 0.
    output_size, layout
        As in `adaptive_max_pool_forward`.

    Returns
    -------
    y : ndarray
        As `avg_pool_forward`.

    Raises
    ------
    TypeError, ValueError
        As `avg_pool_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool_forward(np.array([[[1.0, 5.0, 6.0]]]), 2)
    array([[[3. , 5.5]]])
    """
    x = x if _core.are_plain(x) else _values.float_array("x", x)
    problem = adaptive_problem(x.shape, output_size, layout, "shape of x")
    return avg_pool(x, problem)


def adaptive_avg_pool_backward(dy, x_shape, *, layout=None):
    """Gradient through `adaptive_avg_pool_forward`: dy is shared out evenly over its windows.

    Parameters
    ----------
    dy : array_like, shape of y
        float32 or float64.
    x_shape : tuple of int
        Shape of x.
    layout
        As in `adaptive_avg_pool_forward`.

    Returns
    -------
    dx : ndarray, `x_shape`
        In the dtype of dy.

    Raises
    ------
    TypeError, ValueError
        As `adaptive_avg_pool_forward`; ValueError if dy has not the batch and channels of
        x_shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool_backward(np.array([[[2.0, 4.0]]]), (1, 1, 3))
    array([[[1., 3., 2.]]])
    """
    dy = dy if _core.are_plain(dy) else _values.float_array("dy", dy)
    x_shape, output_size = _problem.adaptive_gradient_sizes(dy, x_shape, layout)
    problem = adaptive_problem(x_shape, output_size, layout, "x_shape")
    _values.check_shape("dy", dy, problem.y_shape)
    return avg_pool_gradient(dy, problem)
