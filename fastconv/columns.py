"""The im2col matrix and its adjoint; a convolution as one matrix."""

import numpy as np

from . import _columns, _core, _geometry, _problem, _values


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1):
    """Columns of x: what each output pixel of a convolution multiplies.

    For two spatial axes, with x taken as zero outside its bounds,

        cols[n, (c * R + r) * S + s, p * Q + q]
            = x[n, c, p * stride - padding + r * dilation, q * stride - padding + s * dilation]

    so that conv_forward is `w.reshape(K, -1) @ cols` (Chellapilla, Puri & Simard 2006).

    Parameters
    ----------
    x : array_like, (N, C, *size)
        Any real dtype, one to three spatial axes, any strides.
    kernel_size, stride, dilation : int or one int per spatial axis
    padding
        As in `conv_forward`.

    Returns
    -------
    cols : ndarray, (N, C * prod(kernel_size), prod(out_size))
        In the dtype of x, C-contiguous.

    Raises
    ------
    TypeError
        Not a real dtype; geometry that is no integer.
    ValueError
        Geometry that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.im2col(np.array([[[1, 2, 3, 4]]]), 3)
    array([[[1, 2],
            [2, 3],
            [3, 4]]])
    """
    x = _values.real_array("x", x)
    problem = columns_problem(x.shape, kernel_size, stride, padding, dilation, "shape of x")
    cols = np.empty(problem.cols_shape, x.dtype)
    if x.itemsize in (4, 8) and x.size and _core.im2col(problem, np.ascontiguousarray(x), cols):
        return cols
    _columns.im2col(_geometry.canonical(x), problem.window, cols)
    return cols


@np.errstate(all="ignore")
def col2im(cols, x_shape, kernel_size, *, stride=1, padding=0, dilation=1):
    """Adjoint of `im2col`: adds every element of cols to where im2col read it from.

    <im2col(x), cols> == <x, col2im(cols)> for all x and cols; elements that im2col read from the
    padding are dropped.

    Parameters
    ----------
    cols : array_like, (N, C * prod(kernel_size), prod(out_size))
        Any real dtype, any strides.
    x_shape : tuple of int, (N, C, *size)
        Shape of the result.
    kernel_size, stride, padding, dilation
        As in `im2col`.

    Returns
    -------
    x : ndarray, `x_shape`
        In the dtype of cols, C-contiguous. Half precision is summed in single.

    Raises
    ------
    TypeError
        Not a real dtype; geometry that is no integer.
    ValueError
        Geometry that does not fit, or cols of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.col2im(np.ones((1, 3, 2)), (1, 1, 4), 3)
    array([[[1., 2., 2., 1.]]])
    """
    cols = _values.real_array("cols", cols)
    problem = columns_problem(x_shape, kernel_size, stride, padding, dilation, "x_shape")
    x_shape = problem.x_shape
    _values.check_shape("cols", cols, problem.cols_shape)
    wide = _values.widened(cols)
    if wide.dtype.char in "fd" and wide.size:
        x = np.empty(x_shape, wide.dtype)
        if _core.col2im(problem, np.ascontiguousarray(wide), x):
            return x.astype(cols.dtype, copy=False)
    x = np.zeros(x_shape, wide.dtype)
    _columns.col2im(wide, problem.window, _geometry.canonical(x))
    return x.astype(cols.dtype, copy=False)


def columns_problem(x_shape, kernel_size, stride, padding, dilation, name):
    """The problem of im2col and col2im; of a call like an earlier one, that one's."""
    arguments = (x_shape, kernel_size, stride, padding, dilation)
    problem = _core.recall("columns", arguments)
    if problem is None:
        problem = _problem.columns_problem(
            x_shape, kernel_size, stride=stride, padding=padding, dilation=dilation, name=name
        )
        _core.keep("columns", arguments, problem)
    return problem


def conv_matrix(w, x_shape, *, stride=1, padding=0, dilation=1, groups=1, sparse=False):
    """The matrix of a convolution: every output as a row, every input of an image as a column.

        A @ x[n].ravel() == conv_forward(x, w)[n].ravel(),   channels first

    Its transpose is dx (Dumoulin & Visin 2016, arXiv:1603.07285, section 4.1).

    Parameters
    ----------
    w : array_like, (K, C / groups, *kernel)
        Filters, float32 or float64.
    x_shape : tuple of int, (N, C, *size)
        Shape of x; A does not depend on N.
    stride, padding, dilation, groups
        As in `conv_forward`.
    sparse : bool
        Whether to return a scipy.sparse.csr_array, which holds the taps on the data alone.

    Returns
    -------
    A : ndarray or scipy.sparse.csr_array, (K * prod(out_size), C * prod(size))
        In the dtype of w.

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`; TypeError if sparse is no bool.
    MemoryError
        No memory for the matrix.
    ImportError
        sparse, and SciPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> fastconv.conv_matrix(np.array([[[1.0, 2.0, 3.0]]]), (1, 1, 4))
    array([[1., 2., 3., 0.],
           [0., 1., 2., 3.]])
    """
    w = _values.float_array("w", w)
    sparse = _values.flag("sparse", sparse)
    problem = _problem.conv_problem(
        x_shape, w.shape, stride, padding, dilation, groups, x_name="x_shape"
    )
    window, per_group = problem.window, w.shape[1]
    plane = window.in_size[0] * window.in_size[1] * window.in_size[2]
    shape = problem.out_channels * window.out_pixels, problem.in_channels * plane
    _values.check_countable("A", shape)
    matrix = None if sparse else np.zeros(shape, w.dtype)
    group = np.arange(problem.out_channels) // (problem.out_channels // problem.groups)
    channels = group[:, None] * per_group + np.arange(per_group)
    entries = []
    for tap in np.ndindex(*window.kernel):
        pixels, positions = _geometry.tap_on_data(window, tap)
        rows = np.arange(problem.out_channels)[:, None, None] * window.out_pixels + pixels
        columns = channels[:, :, None] * plane + positions
        values = w[(..., *window.of_caller(tap))][:, :, None]
        if sparse:
            entries.append(np.broadcast_arrays(values, rows, columns))
        else:
            matrix[rows, columns] = values
    if not sparse:
        return matrix
    from scipy.sparse import csr_array

    data, rows, columns = (
        np.concatenate([entry[i].ravel() for entry in entries]) for i in range(3)
    )
    return csr_array((data, (rows, columns)), shape=shape)
