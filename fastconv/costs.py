"""Shapes and costs without data."""

from typing import NamedTuple

from . import _problem


class ConvCost(NamedTuple):
    """What a convolution costs: see `conv_cost`."""

    parameters: int
    multiply_adds: int
    output_shape: tuple[int, ...]
    dense_parameters: int


def conv_output_shape(
    x_shape, w_shape, *, stride=1, padding=0, dilation=1, groups=1, layout=None
):  # fmt: skip
    """Shape of `conv_forward`'s y.

        P = floor((H + padding before and after - ((R - 1) * dilation + 1)) / stride) + 1

    (Dumoulin & Visin 2016, arXiv:1603.07285, relationship 15).

    Parameters
    ----------
    x_shape, w_shape : tuple of int
    stride, padding, dilation, groups, layout
        As in `conv_forward`.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv_output_shape((1, 3, 32, 32), (10, 3, 5, 5), padding=2)
    (1, 10, 32, 32)
    """
    return _problem.conv_problem(
        x_shape,
        w_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        layout=layout,
        x_name="x_shape",
        w_name="w_shape",
    ).y_shape


def pool_output_shape(
    x_shape, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, layout=None
):
    """Shape of `max_pool_forward`'s y; of `avg_pool_forward`'s with dilation 1.

    Parameters
    ----------
    x_shape : tuple of int
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `max_pool_forward`.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        As `max_pool_forward`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.pool_output_shape((1, 32, 30, 30), 2, padding=1)
    (1, 32, 16, 16)
    """
    return _problem.pool_problem(
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    ).y_shape


def conv_cost(
    x_shape, w_shape, *, bias=True, stride=1, padding=0, dilation=1, groups=1, layout=None
):
    """Parameters and arithmetic of a convolution, and of the fully connected layer it replaces.

    Parameters
    ----------
    x_shape, w_shape : tuple of int
    bias : bool
        Whether to count one parameter per output channel more.
    stride, padding, dilation, groups, layout
        As in `conv_forward`.

    Returns
    -------
    ConvCost
        Named tuple: parameters; multiply_adds of the whole batch, taps on padding included;
        output_shape; dense_parameters, those of a fully connected layer (with a bias if `bias`)
        from all inputs to all outputs of one image.

    Raises
    ------
    TypeError, ValueError
        As `conv_forward`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv_cost((1, 3, 32, 32), (10, 3, 5, 5), padding=2).parameters
    760
    """
    problem = _problem.conv_problem(
        x_shape,
        w_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        layout=layout,
        x_name="x_shape",
        w_name="w_shape",
    )
    window = problem.window
    depth = problem.in_channels // problem.groups * window.taps
    inputs = problem.in_channels * window.in_size[0] * window.in_size[1] * window.in_size[2]
    outputs = problem.out_channels * window.out_pixels
    return ConvCost(
        parameters=problem.out_channels * (depth + bool(bias)),
        multiply_adds=problem.batch * outputs * depth,
        output_shape=problem.y_shape,
        dense_parameters=outputs * (inputs + bool(bias)),
    )
