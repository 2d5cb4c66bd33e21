"""The im2col matrix and its adjoint."""

import numpy as np

from . import _columns, _geometry, _problem, _values


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
    x_shape, window = _problem.columns_problem(
        x.shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        name="shape of x",
    )
    cols = np.empty((x_shape[0], x_shape[1] * window.taps, window.out_pixels), x.dtype)
    # A copy moves bits: half precision, which has no C type, goes as integers of its size.
    source, target = (x.view(np.uint16), cols.view(np.uint16)) if x.itemsize == 2 else (x, cols)
    source = _geometry.canonical(source)
    for n in range(x_shape[0]):
        _columns.im2col_tile(source[n : n + 1], window, 1, 0, 0, 0, target[n : n + 1])
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
    x_shape, window = _problem.columns_problem(
        x_shape, kernel_size, stride=stride, padding=padding, dilation=dilation
    )
    _values.check_shape("cols", cols, (x_shape[0], x_shape[1] * window.taps, window.out_pixels))
    wide = _values.widened(cols)
    x = np.zeros(x_shape, wide.dtype)
    target = _geometry.canonical(x)
    for n in range(x_shape[0]):
        _columns.col2im_tile(wide[n : n + 1], window, 1, 0, 0, 0, target[n : n + 1])
    return x.astype(cols.dtype, copy=False)
